"""Images decoded once, in parallel, into one uint8 array in memory or on disk.

On disk the array is a ``.npy`` file with a manifest beside it, ``NAME.json``, that says what it was made of.
Until it is complete it lies in ``NAME.partial``, where an interrupted call goes on.
"""

import contextlib
import errno
import io
import json
import math
import os
import shutil
import time
import warnings
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from ellipsoid.blocks import map_ahead, n_cores
from ellipsoid.files import replace_file
from ellipsoid.models.sources import Source
from ellipsoid.progress import progress_bar

FORMAT = "ellipsoid.images"
FORMAT_VERSION = 1
#: A larger share of damaged images is taken for a mistake.
MAX_DAMAGED = 0.1

# Images in a task for a thread: tasks of one image each take a quarter longer.
_BLOCK = 32
_SAVE_INTERVAL = 2.0  # seconds


@dataclass(frozen=True)
class Progress:
    """How far the decoding is; replaced as a whole, so that no interruption leaves a part of it behind.

    Attributes
    ----------
    done : int
        Images that were tried.
    shape : list of int
        Height, width and channels of an image; empty before the first one.
    grey : bool
        None of the images has colours.
    damaged : list
        Index and reason of each image that can't be read.
    """

    done: int = 0
    shape: list[int] = field(default_factory=list)
    grey: bool = True
    damaged: list[tuple[int, str]] = field(default_factory=list)

    @property
    def rows(self) -> int:
        """Images that were read."""
        return self.done - len(self.damaged)


def decode(
    source: Source,
    size: int | None,
    channels: int | None,
    *,
    cache: str | os.PathLike[str] | None = None,
    on_error: str = "skip",
    progress: bool = True,
) -> tuple[np.ndarray, list[tuple[int, str]]]:
    """Decode the images of a source, cut to squares of `size` pixels.

    Parameters
    ----------
    source : Source
    size : int, optional
        As they are when absent; then all must have one size.
    channels : {1, 3}, optional
        By default colour, unless every image is grey.
    cache : path, optional
        The ``.npy`` file to keep them in, and to take them from if they were decoded before.
    on_error : {"skip", "raise"}
    progress : bool
        Show a progress bar.

    Returns
    -------
    images : (n, H, W, C) uint8 array
        A read-only memory map if there is a cache.
    damaged : list of (int, str)
        Index and reason of the images that were left out.
    """
    if cache is None:
        store = _Memory(len(source.names))
    else:
        cache = Path(cache)
        configuration = {"images": source.digest(), "size": size, "channels": channels}
        done = _published(cache, configuration)
        if done is not None:
            _check_damaged(source, done, on_error)
            return _colours(np.load(cache, mmap_mode="r"), channels, done), done.damaged
        store = _File(cache, configuration, len(source.names))
    with store:
        _decode_into(store, source, size, channels, on_error, progress)
        images = store.complete()
    return _colours(images, channels, store.progress), store.progress.damaged


def _colours(images, channels, progress):
    return images[..., :1] if channels is None and progress.grey else images


def _decode_into(store, source, size, channels, on_error, show):
    n = len(source.names)

    def decode_block(start):
        return [_decode_one(source, i, size, channels) for i in range(start, min(start + _BLOCK, n))]

    with warnings.catch_warnings(), progress_bar(source.label, n, enabled=show, unit="images") as advance:
        warnings.filterwarnings("ignore", module="PIL")  # of odd metadata
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        advance(store.progress.done)
        starts = range(store.progress.done, n, _BLOCK)
        for block in map_ahead(decode_block, starts, ahead=2 * n_cores(), workers=n_cores()):
            progress = store.progress
            shape, grey, damaged, images = progress.shape, progress.grey, [*progress.damaged], []
            for index, decoded in enumerate(block, progress.done):
                if isinstance(decoded, str):
                    damaged.append((index, decoded))
                    continue
                image, is_grey = decoded
                shape = shape or list(image.shape)
                if list(image.shape) != shape:
                    raise ValueError(
                        f"{source.label}: {source.names[index]} has {_pixels(image.shape)} pixels and those "
                        f"before it {_pixels(shape)}; give size= to make them equal"
                    )
                images.append(image)
                grey &= is_grey
            if images:
                store.append(np.stack(images))
            store.progress = Progress(progress.done + len(block), shape, grey, damaged)
            _check_damaged(source, store.progress, on_error)
            store.update()
            advance(len(block))


def _decode_one(source, index, size, channels):
    """Pixels of an image and whether it is grey, or why it can't be read."""
    try:
        with source.open(index) as image:
            if size is not None:
                # A large JPEG is decoded at 1/2, 1/4 or 1/8 of its size, but at twice what is needed at
                # least: a quarter of the time for 12 megapixels, and the pixels differ by 1 of 255.
                image.draft(None, (2 * size, 2 * size))
            ImageOps.exif_transpose(image, in_place=True)
            grey = image.mode in ("1", "L", "LA") or image.mode.startswith("I;16")
            image = _as_mode(image, "L" if channels == 1 else "RGB")
            pixels = np.asarray(image if size is None else _square(image, size))
            return pixels.reshape(*pixels.shape[:2], -1), grey
    except MemoryError:
        raise
    except UnidentifiedImageError:
        return "not in a known image format"
    # Nearly anything may come from a damaged file: struct.error, SyntaxError, zlib.error, EOFError ...
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk or the network, not the image
        return str(error) or type(error).__name__


def _as_mode(image, mode):
    if image.mode.startswith("I;16"):
        # Pillow would cut all values above 255.
        image = Image.fromarray(((np.asarray(image, np.uint32) + 128) // 257).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise ValueError(f"pixels of Pillow's mode {image.mode} have no fixed range; save 8 or 16 bits")
    return image if image.mode == mode else image.convert(mode)


def _square(image, size):
    """Cut out the largest centred square and resize it with an antialiasing filter."""
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    # Cropped first: resize(box=...) lets pixels from outside of the box shine in at the border.
    square = image.crop((left, top, left + side, top + side))
    return square.resize((size, size), Image.Resampling.LANCZOS)


def _pixels(shape):
    return f"{shape[1]} x {shape[0]}"


def _check_damaged(source, progress, on_error):
    if not progress.damaged:
        return
    n, count = len(source.names), len(progress.damaged)
    if on_error == "raise" or count > MAX_DAMAGED * n:
        index, reason = progress.damaged[0]
        share = "" if on_error == "raise" else f", more than {MAX_DAMAGED:.0%}"
        raise ValueError(
            f"{source.label}: {count} of {n} images can't be read{share}, "
            f"the first of them {source.names[index]} ({reason})"
        )


# --- where the images go ---------------------------------------------------------------------------


class _Memory(contextlib.AbstractContextManager):
    """One array in memory."""

    def __init__(self, n):
        self.progress = Progress()
        self._n = n
        self._images = np.empty(0, np.uint8)

    def append(self, images):
        rows = self.progress.rows
        if rows == 0:
            self._images = np.empty((self._n, *images.shape[1:]), np.uint8)
        self._images[rows : rows + len(images)] = images

    def update(self):
        """Nothing to save."""

    def complete(self):
        return self._images[: self.progress.rows]

    def __exit__(self, *_):
        """Nothing to close."""


class _File(contextlib.AbstractContextManager):
    """One ``.npy`` file, written in order by plain writes: a full disk is an error then, not a bus error."""

    def __init__(self, path, configuration, n):
        self._path, self._configuration, self._n = path, configuration, n
        self._work = path.with_name(path.name + ".partial")
        self._manifest = self._work / "manifest.json"
        self._work.mkdir(parents=True, exist_ok=True)
        data = self._work / "images.npy"
        data.touch()
        self._file = open(data, "r+b")  # noqa: SIM115 (closed by __exit__)
        try:
            _lock(self._file, path)
            progress = _progress(_read_manifest(self._manifest), configuration)
            self.progress = progress if progress and self._holds(progress) else Progress()
        except BaseException:
            self._file.close()
            raise
        self._saved = time.monotonic()

    def _holds(self, progress):
        return os.fstat(self._file.fileno()).st_size >= progress.rows * math.prod(progress.shape)

    def append(self, images):
        header = _npy_header(self._n, *images.shape[1:])
        if self.progress.rows == 0:
            self._check_space(images[0].nbytes)
            self._file.write(header)
        self._file.seek(len(header) + self.progress.rows * images[0].nbytes)
        self._file.write(images)

    def _check_space(self, image_bytes):
        needed, free = self._n * image_bytes, shutil.disk_usage(self._work).free
        if needed > free:
            raise OSError(
                f"cache: {self._n:,} images need {needed / 1e6:,.1f} MB; {free / 1e6:,.1f} MB are free in "
                f"{self._path.absolute().parent}; make room, or choose another place"
            )

    def update(self):
        if time.monotonic() - self._saved > _SAVE_INTERVAL:
            self._save()

    def _save(self):
        self._file.flush()
        os.fsync(self._file.fileno())
        replace_file(self._manifest, _dump(self._configuration, self.progress))
        self._saved = time.monotonic()

    def complete(self):
        self._file.seek(0)
        shape = (self.progress.rows, *self.progress.shape)
        header = _npy_header(*shape)
        self._file.write(header)
        self._file.truncate(len(header) + math.prod(shape))
        self._save()
        # In this order an array under its name always has its own manifest beside it.
        self._path.unlink(missing_ok=True)
        replace_file(_manifest_of(self._path), _dump(self._configuration, self.progress))
        os.replace(self._work / "images.npy", self._path)
        shutil.rmtree(self._work)
        return np.load(self._path, mmap_mode="r")

    def __exit__(self, kind, error, traceback):
        with contextlib.suppress(OSError), self._file:
            if kind is not None:
                self._save()
        done = f"{self.progress.done:,} of {self._n:,} images"
        kept = f"{done} are decoded in {self._work}; the same call goes on there"
        if kind is KeyboardInterrupt:
            raise KeyboardInterrupt(f"interrupted: {kept}") from None
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise OSError(error.errno, f"{error.strerror}: make room; {kept}") from error


def _lock(file, path):
    """Let one process at a time make a cache."""
    try:
        import fcntl
    except ImportError:  # Windows
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise BlockingIOError(
            errno.EAGAIN, f"{path}: another process is making this cache; wait until it is complete"
        ) from None


def _npy_header(*shape):
    """Header of a uint8 array; its length is the same for any number of images."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": shape})
    return header.getvalue()


def _manifest_of(path):
    return path.with_name(f"{path.name}.json")


def _dump(configuration, progress):
    content = {"format": FORMAT, "format_version": FORMAT_VERSION} | configuration | asdict(progress)
    return json.dumps(content).encode()


def _published(path, configuration):
    """Progress of a complete cache that was made of these images; None if there is none."""
    if path.suffix != ".npy":
        raise ValueError(f"cache: expected a name that ends in .npy; got {path}")
    if not path.exists():
        return None
    manifest = _read_manifest(_manifest_of(path))
    if manifest.get("format") != FORMAT:
        raise FileExistsError(f"cache: {path} exists and was not made as a cache; choose another name")
    return _progress(manifest, configuration)


def _read_manifest(path):
    """Content of a manifest; nothing if there is none or it is damaged."""
    try:
        return dict(json.loads(path.read_bytes()))
    except (FileNotFoundError, ValueError, TypeError):
        return {}


def _progress(manifest, configuration):
    """Progress that a manifest tells of; None if it is of other images or settings."""
    names = [field.name for field in fields(Progress)]
    progress = Progress(**{name: value for name, value in manifest.items() if name in names})
    return progress if manifest == json.loads(_dump(configuration, progress)) else None
