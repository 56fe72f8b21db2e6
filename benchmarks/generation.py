"""Rates of large-batch generation to every sink against what bounds them, peak memory, cost of the manifest.

All contenders run interleaved in one process, each from the drawing of the rows to data on the disk; the
table gives medians, and the ratio to the slowest stage alone. The disk is where --folder is.

    python benchmarks/generation.py latents [--components 120] [--features 256] [--dtype float16]
    python benchmarks/generation.py images [--size 64] [--images 6000]
    python benchmarks/generation.py memory [--rows 10000000]

With --quick each takes a few seconds, and its figures mean little.
"""

import argparse
import io
import os
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from sampler import make_state

import ellipsoid as el
from ellipsoid.generation import manifest
from ellipsoid.generation.sinks import NpySink
from ellipsoid.generation.sinks.png import COMPRESS_LEVEL

CHUNK = 16_384


def write_plainly(path, chunks):
    """Write arrays one after the other and wait for the disk."""
    with open(path, "wb") as file:
        for chunk in chunks:
            file.write(np.ascontiguousarray(chunk).reshape(-1).view(np.uint8).data)
        file.flush()
        os.fsync(file.fileno())


def to_sink(folder, name, state, n, **options):
    """Time one sink, from nothing to a complete result on the disk, and give its bytes."""
    sink = folder / name
    started = time.perf_counter()
    el.generate(el.key(0), state, n, sink, progress=False, **options)
    seconds = time.perf_counter() - started
    n_bytes = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return seconds, n_bytes


def medians(contenders, folder, repeats):
    """Give the median seconds and last bytes of each contender, after one untimed round."""
    seconds = {name: [] for name in contenders}
    n_bytes = {}
    for repeat in range(repeats + 1):
        for name, run in contenders.items():
            own_folder = Path(tempfile.mkdtemp(dir=folder))
            took, n_bytes[name] = run(own_folder)
            shutil.rmtree(own_folder)
            if repeat:
                seconds[name].append(took)
    return {name: float(np.median(values)) for name, values in seconds.items()}, n_bytes


def timed(function) -> Callable[[Path], tuple[float, int]]:
    """Make a contender of a function of a folder that counts no bytes."""

    def run(folder):
        started = time.perf_counter()
        function(folder)
        return time.perf_counter() - started, 0

    return run


def report(n, seconds, n_bytes, stages, unit):
    """Print rates, the bound of each sink and its ratio."""
    print(f"{'':44}{unit + '/s':>12}{'MB/s':>9}{'bytes a row':>13}{'of slowest stage':>18}")
    for name, took in seconds.items():
        size = f"{n_bytes[name] / 1e6 / took:9.0f}{n_bytes[name] / n:13,.0f}" if n_bytes[name] else " " * 22
        bound = f"{max(seconds[stage] for stage in stages[name]) / took:18.2f}" if name in stages else ""
        print(f"{name:44}{n / took:12,.0f}{size}{bound}")


def latents(options):
    """Measure latents to every sink."""
    n, state = options.rows, make_state(options.components, options.features)
    draw_options = {"law": options.law, "dtype": options.dtype}
    indices = [np.arange(start, min(start + CHUNK, n), dtype=np.uint64) for start in range(0, n, CHUNK)]

    def drawn(index):
        return np.asarray(el.sample_at(el.key(0), state, index, **draw_options).latents)

    chunk = drawn(indices[0])
    chunks = [chunk] * (n // CHUNK) + [chunk[: n % CHUNK]]
    draw, write, crc = "drawing alone", "writing alone (plain file)", "checksum alone (crc32)"
    contenders = {
        draw: timed(lambda folder: [drawn(index) for index in indices]),
        write: timed(lambda folder: write_plainly(folder / "plain", chunks)),
        crc: timed(lambda folder: [zlib.crc32(memoryview(rows).cast("B")) for rows in chunks]),
    }
    names = ["z.npy", "z.zarr", "z.parquet"]
    for name in names:
        contenders[name] = lambda folder, name=name: to_sink(
            folder, name, state, n, chunk=CHUNK, **draw_options
        )
    print(f"{n:,} {options.dtype} rows, law {options.law}, {options.components} to {options.features}")
    seconds, n_bytes = medians(contenders, options.folder, options.repeats)
    report(n, seconds, n_bytes, {name: (draw, write) for name in names}, "rows")

    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        costs = manifest_costs(Path(folder) / "z.npy", state, n, draw_options)
    print(
        "manifest: {composed:.3%} of the time composing, {written:.3%} writing, in {times} times".format(
            **costs
        )
    )


def manifest_costs(path, state, n, draw_options):
    """Give the share of a run's time that goes into its manifest, without the flush of the data before it."""
    spent = {"composed": 0.0, "written": 0.0, "times": 0}

    class Timed(NpySink):
        def record(self, process, content):
            started = time.perf_counter()
            super().record(process, content)
            spent["written"] += time.perf_counter() - started
            spent["times"] += 1

    def dump(*arguments):
        started = time.perf_counter()
        content = compose(*arguments)
        spent["composed"] += time.perf_counter() - started
        return content

    compose, manifest.dump = manifest.dump, dump
    started = time.perf_counter()
    el.generate(el.key(0), state, n, Timed(path), chunk=CHUNK, progress=False, **draw_options)
    wall = time.perf_counter() - started
    manifest.dump = compose
    return spent | {name: spent[name] / wall for name in ("composed", "written")}


def images(options):
    """Measure decoded images to every sink."""
    from flax import nnx
    from PIL import Image

    from ellipsoid.models.autoencoder import Autoencoder, AutoencoderConfig, decode_function

    n, side, batch = options.images, options.size, 256
    config = AutoencoderConfig.celeba() if side == 64 else AutoencoderConfig(image_size=side)
    decode = decode_function(Autoencoder(config, rngs=nnx.Rngs(0)))
    state = make_state(min(options.components, config.latent_dim), config.latent_dim)
    rounded = jax.jit(lambda z: jnp.round(jnp.clip(decode(z), 0, 1) * 255).astype(jnp.uint8))
    z = np.asarray(el.sample(el.key(0), state, batch, law=options.law).latents)
    pixels = np.asarray(rounded(z))
    count = -(-n // batch)

    def png_file(image):
        file = io.BytesIO()
        Image.fromarray(image).save(file, "PNG", compress_level=COMPRESS_LEVEL)
        return file.getvalue()

    def encoded(images):
        return [len(png_file(image)) for image in images]

    def encode(folder):
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(encoded, [pixels] * count))

    def make_files(folder):
        content = png_file(pixels[0])
        for number in range(n):
            (folder / f"{number:06d}.png").write_bytes(content)

    decoding, encoding = "decoding alone", "encoding alone (PNG, all cores)"
    files = "making files alone, one thread"
    both = "decoding, then encoding: the cores shared"
    contenders = {
        decoding: timed(lambda folder: [np.asarray(rounded(z)) for _ in range(count)]),
        encoding: timed(encode),
        files: timed(make_files),
        both: timed(lambda folder: ([np.asarray(rounded(z)) for _ in range(count)], encode(folder))),
    }
    names = ["images", "x.tar", "x.npy", "x.zarr"]
    for name in names:
        contenders[name] = lambda folder, name=name: to_sink(
            folder, name, state, n, law=options.law, decode=decode, batch=batch
        )
    print(f"{n:,} images of {config.image_shape}, law {options.law}")
    seconds, n_bytes = medians(contenders, options.folder, options.repeats)
    stages = {"images": (decoding, encoding, files), "x.tar": (decoding, encoding)}
    report(n, seconds, n_bytes, stages | dict.fromkeys(["x.npy", "x.zarr"], (decoding,)), "images")
    print(f"of the two stages one after the other: images {seconds[both] / seconds['images']:.2f}")


def memory(options):
    """Measure the peak memory of one run, in a separate process for each n."""
    for n in sorted({min(100_000, options.rows), options.rows}):
        arguments = [sys.executable, __file__, "once", "--rows", str(n), "--dtype", options.dtype]
        arguments += ["--folder", str(options.folder), "--law", options.law]
        arguments += ["--components", str(options.components), "--features", str(options.features)]
        subprocess.run(arguments, check=True)


def once(options):
    """Write one file and print the peak memory of this process."""
    state = make_state(options.components, options.features)
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        started = time.perf_counter()
        path = Path(folder) / "z.npy"
        el.generate(
            el.key(0), state, options.rows, path, law=options.law, dtype=options.dtype, progress=False
        )
        seconds = time.perf_counter() - started
        size = os.path.getsize(path)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(
        f"{options.rows:,} rows, {size / 1e9:.2f} GB in {seconds:.1f} s, peak memory {peak:.2f} GB",
        flush=True,
    )


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("latents", "images", "memory", "once"))
    parser.add_argument("--components", type=int, default=120)
    parser.add_argument("--features", type=int, default=256)
    parser.add_argument("--rows", type=int, default=None)
    parser.add_argument("--images", type=int, default=None)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--law", default="uniform")
    parser.add_argument("--dtype", default="float16")
    parser.add_argument("--repeats", type=int, default=None)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    options = parser.parse_args()
    usual_rows = 10_000_000 if options.what == "memory" else 400_000
    defaults = (40_000, 300, 1) if options.quick else (usual_rows, 6000, 3)
    for name, default in zip(("rows", "images", "repeats"), defaults, strict=True):
        if getattr(options, name) is None:
            setattr(options, name, default)
    if options.what != "once":
        print(
            f"jax {jax.__version__}, numpy {np.__version__}, Python {platform.python_version()}, "
            f"{jax.devices()[0].device_kind}, {platform.machine()}, {os.cpu_count()} cores"
        )
    {"latents": latents, "images": images, "memory": memory, "once": once}[options.what](options)


if __name__ == "__main__":
    main()
