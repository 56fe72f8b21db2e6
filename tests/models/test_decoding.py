"""Decoding in parallel, and the cache on disk."""

import errno
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import warnings
import zipfile
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from ellipsoid.models import decoding, load_image_set, load_images
from ellipsoid.models.sources import open_source

N, DAMAGED = 200, (40, 150)


@pytest.fixture
def folder(tmp_path):
    """Images 0 to 199, two of them damaged."""
    (tmp_path / "images").mkdir()
    rng = np.random.default_rng(0)
    for i in range(N):
        path = tmp_path / "images" / f"{i:03d}.png"
        Image.fromarray(rng.integers(0, 256, (12, 10, 3), np.uint8)).save(path)
        if i in DAMAGED:
            path.write_bytes(path.read_bytes()[:100])
    return tmp_path / "images"


@pytest.fixture
def tried(monkeypatch):
    """Numbers of the images that were tried to be decoded."""
    numbers, lock, decode_one = [], threading.Lock(), decoding._decode_one

    def noted(source, index, *options):
        with lock:
            numbers.append(index)
        return decode_one(source, index, *options)

    monkeypatch.setattr(decoding, "_decode_one", noted)
    return numbers


def load(source, **options):
    with pytest.warns(UserWarning, match=f"left out 2 of {N} images.*: 040.png .*150.png"):
        return load_image_set(source, **{"size": 8, "progress": False, **options})


def test_a_cache_holds_what_memory_would(folder, tmp_path, tried):
    cache = tmp_path / "deep" / "cache.npy"
    expected = load(folder)
    found = load(folder, cache=cache)
    assert isinstance(found.images, np.memmap)
    np.testing.assert_array_equal(found.images, expected.images)
    assert found.skipped == expected.skipped == ("040.png", "150.png")
    np.testing.assert_array_equal(np.load(cache), expected.images)
    assert sorted(path.name for path in cache.parent.iterdir()) == ["cache.npy", "cache.npy.json"]

    tried.clear()
    again = load(folder, cache=cache)
    np.testing.assert_array_equal(again.images, expected.images)
    assert again.skipped == expected.skipped
    assert tried == []
    with pytest.raises(ValueError, match=r"2 of 200 images can't be read, the first of them 040.png"):
        load_images(folder, 8, cache=cache, on_error="raise", progress=False)


@pytest.mark.parametrize("change", ["size", "channels", "content", "time", "damaged"])
def test_a_cache_of_something_else_is_made_again(folder, tmp_path, tried, change):
    cache, options = tmp_path / "cache.npy", {}
    load(folder, cache=cache)
    first = folder / "000.png"
    if change == "size":
        options = {"size": 6}
    elif change == "channels":
        options = {"channels": 1}
    elif change == "content":
        Image.new("RGB", (12, 10), (9, 9, 9)).save(first)
    elif change == "time":
        os.utime(first, ns=(0, 0))
    else:
        (folder / "040.png").write_bytes(b"")
    tried.clear()
    found = load(folder, cache=cache, **options)
    assert len(tried) == N
    np.testing.assert_array_equal(found.images, load(folder, **options).images)
    np.testing.assert_array_equal(np.load(cache), found.images)


def test_a_moved_zip_file_keeps_its_cache(tmp_path, tried):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name in ("1.png", "2.png"):
            with archive.open(name, "w") as file:
                Image.new("RGB", (8, 8)).save(file, "PNG")
    load_images(tmp_path / "a.zip", cache=tmp_path / "cache.npy", progress=False)
    os.rename(tmp_path / "a.zip", tmp_path / "b.zip")
    tried.clear()
    assert load_images(tmp_path / "b.zip", cache=tmp_path / "cache.npy", progress=False).shape == (2, 8, 8, 3)
    assert tried == []


def test_an_interrupted_cache_goes_on(folder, tmp_path, tried, monkeypatch):
    cache = tmp_path / "cache.npy"
    append = decoding._File.append

    def interrupted(self, images):
        if self.state.done >= 96:
            raise KeyboardInterrupt
        return append(self, images)

    with monkeypatch.context() as patch:
        patch.setattr(decoding._File, "append", interrupted)
        with pytest.raises(
            KeyboardInterrupt, match=r"interrupted: 96 of 200 images are decoded in .*cache.npy.partial"
        ):
            load_images(folder, 8, cache=cache, progress=False)
    assert not cache.exists()
    tried.clear()
    found = load(folder, cache=cache)
    assert sorted(tried) == list(range(96, N))
    np.testing.assert_array_equal(found.images, load(folder).images)
    assert found.skipped == ("040.png", "150.png")


def test_a_cut_that_has_lost_its_images_begins_anew(folder, tmp_path, tried, monkeypatch):
    work = tmp_path / "cache.npy.partial"
    with monkeypatch.context() as patch:
        patch.setattr(decoding._File, "complete", lambda _: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            load_images(folder, 8, cache=tmp_path / "cache.npy", progress=False)
    assert json.loads((work / "manifest.json").read_bytes())["done"] == N
    (work / "images.npy").write_bytes(b"")
    tried.clear()
    found = load(folder, cache=tmp_path / "cache.npy")
    assert sorted(tried) == list(range(N))
    np.testing.assert_array_equal(found.images, load(folder).images)


def test_a_file_that_is_gone_is_no_damaged_image(folder, monkeypatch):
    decode_one = decoding._decode_one

    def removing(source, index, *options):
        if index == 60:
            (folder / "060.png").unlink()
        return decode_one(source, index, *options)

    monkeypatch.setattr(decoding, "_decode_one", removing)
    with pytest.raises(FileNotFoundError, match=r"060\.png"):
        load_images(folder, 8, progress=False)


_SCRIPT = """
import os, signal, sys
from ellipsoid.models import decoding, load_images

decode_one = decoding._decode_one
decoding._SAVE_INTERVAL = 0

def killed(source, index, *options):
    if index == 190:
        os.kill(os.getpid(), signal.SIGKILL)
    return decode_one(source, index, *options)

decoding._decode_one = killed
decoding.n_cores = lambda: 1
load_images(sys.argv[1], 8, cache=sys.argv[2], progress=False)
"""


def test_a_killed_process_loses_little(folder, tmp_path, tried):
    cache = tmp_path / "cache.npy"
    process = subprocess.run([sys.executable, "-c", _SCRIPT, str(folder), str(cache)], check=False)
    assert process.returncode == -signal.SIGKILL
    assert not cache.exists()
    found = load(folder, cache=cache)
    assert min(tried) > 0
    np.testing.assert_array_equal(found.images, load(folder).images)


def test_a_full_disk_is_an_error_that_keeps_what_is_done(folder, tmp_path, monkeypatch):
    cache, fsync, calls = tmp_path / "cache.npy", os.fsync, []

    def full(descriptor):
        calls.append(descriptor)
        if len(calls) > 4:
            raise OSError(errno.ENOSPC, "No space left on device")
        fsync(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(decoding, "_SAVE_INTERVAL", 0)
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match=r"No space left on device: make room; \d+ of 200 images"):
            load_images(folder, 8, cache=cache, progress=False)
    np.testing.assert_array_equal(load(folder, cache=cache).images, load(folder).images)

    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(
        OSError, match=r"cache: expected room for 200 images, .* MB; got .* MB in .*; make room"
    ):
        load_images(folder, 8, cache=tmp_path / "other.npy", progress=False)


def test_other_files_are_not_overwritten(folder, tmp_path):
    path = tmp_path / "x.npy"
    np.save(path, np.arange(3))
    for manifest in (None, {"format": "ellipsoid.generation"}, "no manifest"):
        if manifest is not None:
            (tmp_path / "x.npy.json").write_text(json.dumps(manifest))
        with pytest.raises(FileExistsError, match=r"cache: .*x.npy exists and was not made as a cache"):
            load_images(folder, 8, cache=path, progress=False)
    np.testing.assert_array_equal(np.load(path), np.arange(3))
    with pytest.raises(ValueError, match=r"cache: expected a name that ends in .npy; got .*faces"):
        load_images(folder, 8, cache=tmp_path / "faces", progress=False)


def test_one_process_at_a_time_makes_a_cache(folder, tmp_path):
    work = tmp_path / "cache.npy.partial"
    work.mkdir()
    with open(work / "images.npy", "wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(OSError, match="another process is making this cache"):
            load_images(folder, 8, cache=tmp_path / "cache.npy", progress=False)
    load(folder, cache=tmp_path / "cache.npy")


def test_arrays_that_have_to_be_converted_are_cached_too(tmp_path, tried):
    images = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 3), np.uint8)
    found = load_images(images, size=4, cache=tmp_path / "cache.npy", progress=False)
    np.testing.assert_array_equal(found, load_images(images, size=4, progress=False))
    tried.clear()
    load_images(images.copy(), size=4, cache=tmp_path / "cache.npy", progress=False)
    assert tried == []
    load_images(images ^ 1, size=4, cache=tmp_path / "cache.npy", progress=False)
    assert len(tried) == 40


@pytest.mark.parametrize("cached", [False, True])
def test_grey_only_if_every_image_is(tmp_path, cached):
    (tmp_path / "images").mkdir()
    for i in range(70):
        Image.new("L", (8, 8), i).save(tmp_path / "images" / f"{i:02d}.png")
    options = {"cache": tmp_path / "cache.npy" if cached else None, "progress": False}
    for _ in range(2):
        grey = load_images(tmp_path / "images", **options)
        assert grey.shape == (70, 8, 8, 1)
        assert grey[:, 0, 0, 0].tolist() == list(range(70))
    Image.new("RGB", (8, 8), (1, 2, 3)).save(tmp_path / "images" / "99.png")
    colour = load_images(tmp_path / "images", **options)
    assert colour.shape == (71, 8, 8, 3)
    assert colour[-1, 0, 0].tolist() == [1, 2, 3]


def test_threads_leave_no_warning_filters_behind(folder, monkeypatch):
    """Two threads decode at once, and one ends before the other."""
    before, decode_one = list(warnings.filters), decoding._decode_one
    barrier, finished = threading.Barrier(2), threading.Event()

    def in_step(source, index, *options):
        if index == 0:
            barrier.wait(60)  # both are in the midst of it
        if index == N - 1 and source.label.endswith("other"):
            assert finished.wait(60)
        return decode_one(source, index, *options)

    other = folder.with_name("other")
    shutil.copytree(folder, other)
    monkeypatch.setattr(decoding, "_decode_one", in_step)
    with ThreadPoolExecutor(2) as pool:
        one = pool.submit(decoding_of, folder)
        two = pool.submit(decoding_of, other)
        one.add_done_callback(lambda _: finished.set())
        np.testing.assert_array_equal(one.result(), two.result())
    assert list(warnings.filters) == before


def decoding_of(folder):
    with open_source(folder, "all") as source:
        return decoding.decode(source, 8, 3, progress=False)[0]


def test_sixteen_bits_are_scaled_not_cut(tmp_path):
    levels = np.array([[0, 128, 129, 257, 1000, 32768, 65535]] * 7, np.uint16)
    for suffix in ("png", "tif"):
        Image.fromarray(levels).save(tmp_path / f"a.{suffix}")
    images = load_images(tmp_path, progress=False)
    assert images.shape == (2, 7, 7, 1)
    np.testing.assert_array_equal(images[:, 0, :, 0], [np.round(levels[0] / 257)] * 2)


@pytest.mark.parametrize("white", [65535, 1023])
def test_sixteen_bits_of_a_pgm_file_are_scaled_by_its_white(tmp_path, white):
    levels = np.array([0, white // 3, white])
    for name in "ab":
        header = f"P5\n3 1\n{white}\n".encode()
        (tmp_path / f"{name}.pgm").write_bytes(header + levels.astype(">u2").tobytes())
    images = load_images(tmp_path, progress=False)
    assert images.shape == (2, 1, 3, 1)
    np.testing.assert_array_equal(images[0, 0, :, 0], [0, 85, 255])


def test_floats_from_black_to_white_are_read(tmp_path):
    floats = np.linspace(0, 1, 52, dtype=np.float32).reshape(4, 13)
    for name in "ab":
        Image.fromarray(floats).save(tmp_path / f"{name}.tif")
    images = load_images(tmp_path, progress=False)
    assert images.shape == (2, 4, 13, 1)
    np.testing.assert_array_equal(images[0].ravel(), np.arange(0, 256, 5))


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (np.full((8, 8), 255, np.float32), r"expected floats in \[0, 1\]; got 255 to 255"),
        (np.full((8, 8), np.nan, np.float32), r"expected floats in \[0, 1\]; got nan to nan"),
        (np.ones((8, 8), np.int32), "32-bit integers have no fixed range; save 8 or 16 bits"),
    ],
)
def test_images_without_a_range_are_refused(tmp_path, pixels, message):
    for name in "ab":
        Image.fromarray(pixels).save(tmp_path / f"{name}.tif")
    with pytest.raises(ValueError, match=message):
        load_images(tmp_path, progress=False)


def test_large_jpeg_files_lose_nothing_by_decoding_them_small(tmp_path, monkeypatch):
    x, y = np.meshgrid(np.linspace(0, 6, 640), np.linspace(0, 5, 480))
    picture = np.stack([np.sin(k * x + y) for k in (1, 3, 9)], axis=-1) * 100 + 128
    for name in "ab":
        Image.fromarray(picture.astype(np.uint8)).save(tmp_path / f"{name}.jpg", quality=95)
    small = load_images(tmp_path, 32, progress=False).astype(int)
    used = []
    monkeypatch.setattr(
        "PIL.JpegImagePlugin.JpegImageFile.draft", lambda self, *options: used.append(options)
    )
    whole = load_images(tmp_path, 32, progress=False).astype(int)
    assert used == [(None, (64, 64))] * 2
    assert (small != whole).any()
    assert np.abs(small - whole).max() <= 3


# --- transparency ----------------------------------------------------------------------------------


def transparent(mode):
    """Make a picture of two pixels: a black one, and a transparent one of another colour."""
    if mode in ("RGBA", "LA"):
        black, hidden = ((0, 0, 0, 255), (9, 99, 9, 0)) if mode == "RGBA" else ((0, 255), (99, 0))
        image = Image.new(mode, (2, 2), black)
        image.paste(hidden, (1, 0, 2, 2))
        return image, {}
    image = Image.new("L" if mode == "I;16" else mode, (2, 2), 0)
    image.paste((99, 9, 99) if mode == "RGB" else 1, (1, 0, 2, 2))
    if mode == "I;16":
        image = Image.fromarray(np.array([[0, 300], [0, 300]], np.uint16))
    if mode == "P":
        image.putpalette([0, 0, 0, 99, 9, 99])
    return image, {"transparency": {"RGB": (99, 9, 99), "P": 1, "L": 1, "I;16": 300}[mode]}


@pytest.mark.parametrize("channels", [None, 1, 3])
@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "PA", "RGB", "L", "I;16"])
def test_transparent_images_are_laid_on_white_and_counted(tmp_path, mode, channels):
    if mode == "PA":  # Pillow writes such a file only as TIFF, and reads that as RGBA
        image = transparent("RGBA")[0].convert("PA")
        source = SimpleNamespace(open=lambda _: image.copy())
        decoded = decoding._decode_one(source, 0, None, channels)
        assert (decoded.is_transparent, decoded.is_grey) == (True, False)
        images = decoded.pixels[None]
    else:
        image, options = transparent(mode)
        for i in range(2):
            image.save(tmp_path / f"{i}.png", **options)
        Image.new("RGBA", (2, 2), (7, 7, 7, 255)).save(tmp_path / "opaque.png")
        with pytest.warns(UserWarning, match="laid 2 of 3 images, which are transparent, on white") as record:
            images = load_images(tmp_path, channels=channels, progress=False)
        assert len(record) == 1
        assert (images[2] == 7).all()
    assert images.shape[-1] == (channels or 3)
    assert (images[0, :, 0] == 0).all()
    assert (images[0, :, 1] == 255).all()


def test_half_of_a_colour_shines_through(tmp_path):
    for i in range(2):
        Image.new("RGBA", (4, 4), (200, 0, 0, 51 * i)).save(tmp_path / f"{i}.webp", lossless=True)
    cache = tmp_path / "cache.npy"
    for _ in range(2):  # the second time from the cache
        with pytest.warns(UserWarning, match="laid 2 of 2 images"):
            images = load_images(tmp_path, cache=cache, progress=False)
        assert images[:, 0, 0].tolist() == [[255] * 3, [244, 204, 204]]


def test_a_cache_of_before_still_opens(folder, tmp_path, tried):
    load(folder, cache=tmp_path / "cache.npy")
    manifest = tmp_path / "cache.npy.json"
    content = json.loads(manifest.read_bytes())
    for name in ("transparent", "crc32"):
        del content[name]
    manifest.write_text(json.dumps(content))
    tried.clear()
    load(folder, cache=tmp_path / "cache.npy")
    assert tried == []


@pytest.mark.parametrize("damage", ["pixel", "header", "length", "shape"])
def test_a_damaged_cache_is_made_again(folder, tmp_path, tried, damage):
    cache = tmp_path / "cache.npy"
    expected = load(folder, cache=cache).images.copy()
    content = bytearray(cache.read_bytes())
    if damage == "pixel":
        content[-1000] ^= 1
    elif damage == "header":
        content[20:30] = b"((((((((((  "[:10]
    elif damage == "length":
        del content[-1:]
    cache.write_bytes(content)
    if damage == "shape":
        np.save(cache, expected.reshape(2, -1))
    tried.clear()
    with pytest.warns(UserWarning, match=r"cache.npy: made again, since it is damaged"):
        found = load(folder, cache=cache)
    assert len(tried) == N
    np.testing.assert_array_equal(found.images, expected)
    tried.clear()
    load(folder, cache=cache)
    assert tried == []


def test_a_cut_whose_pixels_are_damaged_begins_anew(folder, tmp_path, tried, monkeypatch):
    cache, data = tmp_path / "cache.npy", tmp_path / "cache.npy.partial" / "images.npy"
    with monkeypatch.context() as patched:
        patched.setattr(decoding._File, "complete", lambda _: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            load_images(folder, 8, cache=cache, progress=False)
    content = bytearray(data.read_bytes())
    content[-1] ^= 1
    data.write_bytes(content)
    tried.clear()
    assert len(load(folder, cache=cache).images) == N - 2
    assert len(tried) == N
    np.testing.assert_array_equal(np.load(cache), load(folder).images)


@pytest.mark.parametrize(
    "change",
    [
        {"done": "x"},
        {"shape": "abc"},
        {"shape": None},
        {"damaged": 3},
        {"damaged": [[1]]},
        {"damaged": [[900, "x"]]},
    ],
)
@pytest.mark.parametrize("complete", [True, False])
def test_a_manifest_that_makes_no_sense_is_no_cache(folder, tmp_path, tried, monkeypatch, change, complete):
    cache = tmp_path / "cache.npy"
    manifest = tmp_path / "cache.npy.json"
    if complete:
        load(folder, cache=cache)
    else:
        manifest = tmp_path / "cache.npy.partial" / "manifest.json"
        with monkeypatch.context() as patched:
            patched.setattr(decoding._File, "complete", lambda _: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                load_images(folder, 8, cache=cache, progress=False)
    manifest.write_text(json.dumps(json.loads(manifest.read_bytes()) | change))
    tried.clear()
    load(folder, cache=cache)
    assert len(tried) == N
