"""Decoding of image files against a plain loop, and batches from disk against batches from memory.

    python benchmarks/images.py decode [--n 2000] [--size 64]
    python benchmarks/images.py epoch [--n 202599] [--size 96] [--orders blocks any]

`decode` runs all contenders interleaved in one process, on JPEG files of CelebA's 178 x 218 pixels and on
photographs of 12 megapixels, and prints medians. `epoch` writes one set of that many images and reads one
epoch of batches from it, without training. Each order has a separate process, which starts with nothing of
the set in the page cache. To try it with less memory than the images need, run it in a group of processes
that is limited, as by ``systemd-run --scope -p MemoryMax=2G``.
"""

import argparse
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from unittest import mock

import numpy as np
import PIL
from PIL import Image

from ellipsoid.models import batches, decoding, load_images
from ellipsoid.models.batches import epoch_batches

BATCH_SIZE = 128


def write_pictures(folder, n, width, height):
    """Write JPEG files of smooth noise, of about CelebA's bytes a pixel."""
    rng = np.random.default_rng(0)
    folder.mkdir()
    for i in range(n):
        coarse = rng.integers(0, 256, (height // 16 + 1, width // 16 + 1, 3), np.uint8)
        image = np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))
        noise = rng.integers(0, 13, (height, width, 1), np.uint8)
        Image.fromarray(image // 20 * 19 + noise).save(folder / f"{i:06d}.jpg", quality=90)
    return folder


def plain_loop(folder, size):
    """Read as a plain program with Pillow would."""
    images = []
    for path in sorted(folder.iterdir()):
        with Image.open(path) as file:
            image = file.convert("RGB")
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        square = image.crop((left, top, left + side, top + side))
        images.append(np.asarray(square.resize((size, size), Image.Resampling.LANCZOS)))
    return np.stack(images)


def decode(options):
    """Print the rates of decoding, and the ratios to the plain loop."""
    with tempfile.TemporaryDirectory(dir=options.folder) as place:
        faces = write_pictures(Path(place) / "faces", options.n, 178, 218)
        photographs = write_pictures(Path(place) / "photographs", 24, 4000, 3000)
        for folder in (faces, photographs):
            cache, count = Path(place) / f"{folder.name}.npy", len(list(folder.iterdir()))

            def one_thread(folder=folder):
                with mock.patch.object(decoding, "n_cores", return_value=1):
                    load_images(folder, options.size, progress=False)

            def into_cache(folder=folder, cache=cache):
                cache.unlink(missing_ok=True)
                load_images(folder, options.size, cache=cache, progress=False)

            contenders = {
                "plain Pillow loop": lambda folder=folder: plain_loop(folder, options.size),
                "load_images, one thread": one_thread,
                "load_images": lambda folder=folder: load_images(folder, options.size, progress=False),
                "load_images into a cache": into_cache,
                "load_images from the cache": lambda folder=folder, cache=cache: load_images(
                    folder, options.size, cache=cache, progress=False
                ),
            }
            seconds = {name: [] for name in contenders}
            for repeat in range(options.repeats + 1):
                for name, run in contenders.items():
                    started = time.perf_counter()
                    run()
                    if repeat:
                        seconds[name].append(time.perf_counter() - started)
            n_bytes = sum(path.stat().st_size for path in folder.iterdir()) / count
            print(f"\n{count} {folder.name}, {n_bytes / 1e3:,.0f} kB each, to {options.size} pixels")
            base = np.median(seconds["plain Pillow loop"])
            for name, values in seconds.items():
                took = np.median(values)
                print(f"{name:32}{count / took:10,.0f} images/s{base / took:8.2f} times the loop")


def write_set(path, n, size):
    """Write an array of images, a block of noise over and over."""
    noise = np.random.default_rng(0).integers(0, 256, (256, size, size, 3), np.uint8)
    header = np.lib.format.header_data_from_array_1_0(noise) | {"shape": (n, *noise.shape[1:])}
    with open(path, "wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for start in range(0, n, len(noise)):
            file.write(noise[: n - start].data)
        file.flush()
        os.fsync(file.fileno())


def epoch(options):
    """Write a set, and read an epoch of it in separate processes."""
    with tempfile.TemporaryDirectory(dir=options.folder) as place:
        path = Path(place) / "images.npy"
        write_set(path, options.n, options.size)
        print(f"\n{options.n:,} images of {options.size} pixels, {path.stat().st_size / 1e9:.2f} GB")
        for order in options.orders:
            with open(path, "rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            subprocess.run(
                [sys.executable, __file__, "once", "--orders", order, "--folder", path], check=True
            )


def anonymous_bytes():
    """Give the memory of this process that is not the page cache's."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))


def once(options):
    """Read one epoch and print its rate and the peak memory of this process."""
    (order,) = options.orders
    if order == "memory":
        images = np.load(options.folder)
    else:
        images = np.load(options.folder, mmap_mode="r")
        if order == "any":
            batches.MAX_BYTES_IN_MEMORY = images.nbytes
    before, peak = anonymous_bytes(), 0
    started = time.perf_counter()
    for i, (batch, _) in enumerate(epoch_batches(images, BATCH_SIZE, 0, 0)):
        batch[0, 0, 0, 0] = 0  # in use
        if i % 50 == 0:
            peak = max(peak, anonymous_bytes())
    seconds = time.perf_counter() - started
    shown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    rate, bytes_rate = len(images) / seconds, images.nbytes / seconds
    print(
        f"{order:8}{seconds:8.1f} s{rate:10,.0f} images/s{bytes_rate / 1e9:7.2f} GB/s, "
        f"{(peak - before) / 1e6:5.0f} MB more than before; {shown:.2f} GB at most with pages of the file",
        flush=True,
    )


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("decode", "epoch", "once"))
    parser.add_argument("--n", type=int, default=None)
    parser.add_argument("--size", type=int, default=None)
    parser.add_argument("--orders", nargs="+", choices=("blocks", "any", "memory"), default=["blocks", "any"])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    options = parser.parse_args()
    if options.what != "once":
        n, size = {"decode": (2000, 64), "epoch": (202_599, 96)}[options.what]
        options.n, options.size = options.n or n, options.size or size
        print(
            f"Pillow {PIL.__version__}, numpy {np.__version__}, Python {platform.python_version()}, "
            f"{platform.machine()}, {os.cpu_count()} cores"
        )
    {"decode": decode, "epoch": epoch, "once": once}[options.what](options)


if __name__ == "__main__":
    main()
