"""Images decoded once, in parallel, into one uint8 array in memory or on disk.

On disk the array is a ``.npy`` file with a manifest beside it, ``NAME.json``, that records its sources and
settings. Until the file is complete it lies in ``NAME.partial``, where an interrupted call continues. The
manifest holds a checksum of the pixels, which is compared whenever the file is opened; a damaged file is made
again.
"""

import contextlib
import errno
import io
import json
import math
import os
import shutil
import threading
import time
import warnings
import zlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import IO, Any, Literal, NamedTuple

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from ellipsoid.blocks import map_ahead, n_cores
from ellipsoid.files import replace_file
from ellipsoid.models.sources import Source, open_encoded
from ellipsoid.pixels import as_uint8
from ellipsoid.progress import progress_bar

FORMAT = "ellipsoid.images"
FORMAT_VERSION = 1
#: Largest share of damaged images; a larger one is taken for a mistake.
MAX_DAMAGED = 0.1

# Number of images in a task of a thread: tasks of one image each take a quarter longer.
_BLOCK = 32
_SAVE_INTERVAL = 2.0  # seconds


@dataclass(frozen=True)
class DecodingState:
    """Progress of the decoding; replaced as a whole, so that no interruption leaves a part of it behind.

    Attributes
    ----------
    done : int
        Number of images that were tried.
    shape : list of int
        Height, width and channels of an image; empty before the first one.
    grey : bool
        Whether all images are grey.
    damaged : list
        Index and reason of each image that can't be read.
    transparent : int or None
        Number of images with transparent parts; None in a cache of an earlier version, which did not count.
    crc32 : int or None
        Checksum of the pixels in a file; None in a cache of an earlier version.
    """

    done: int = 0
    shape: list[int] = field(default_factory=list)
    grey: bool = True
    damaged: list[tuple[int, str]] = field(default_factory=list)
    transparent: int | None = 0
    crc32: int | None = 0

    @property
    def rows(self) -> int:
        """Number of images that were read."""
        return self.done - len(self.damaged)


def decode(
    source: Source,
    size: int | None,
    channels: int | None,
    *,
    cache: str | os.PathLike[str] | None = None,
    on_error: Literal["skip", "raise"] = "skip",
    progress: bool = True,
) -> tuple[np.ndarray, DecodingState]:
    """Decode the images of a source, cropped to squares of `size` pixels.

    Parameters
    ----------
    source : Source
        Listed images.
    size : int, optional
        Height and width of the result. By default images keep their size, which must be the same for all.
    channels : {1, 3}, optional
        Number of channels of the result; by default 3, or 1 if every image is grey.
    cache : path, optional
        ``.npy`` file that keeps the decoded images, and provides them if they were decoded before.
    on_error : {"skip", "raise"}
        Treatment of images that can't be read: they are left out, or the first one raises an error.
    progress : bool
        Whether to show a progress bar.

    Returns
    -------
    images : (n, H, W, C) uint8 array
        Decoded images; a read-only memory map if there is a cache.
    state : DecodingState
        Record of the images that were left out, and of the number of transparent ones, shown on white.

    Raises
    ------
    ValueError
        If the images have several sizes and `size` is None, more than a tenth of them can't be read, one
        can't be read and `on_error` is "raise", or the name of the cache does not end in ``.npy``.
    FileExistsError
        If `cache` is a file that was not made as a cache.
    OSError
        If files can't be read or written, or another process is making the cache.
    """
    if cache is None:
        store = _Memory(len(source.names))
    else:
        cache = Path(cache)
        configuration = {"images": source.digest(), "size": size, "channels": channels}
        complete = _published(cache, configuration)
        if complete is not None:
            _check_damaged(source, complete, on_error)
            images = _intact(cache, complete)
            if images is not None:
                return _colours(images, channels, complete), complete
            warnings.warn(f"{cache}: made again, since it is damaged", stacklevel=2)
        store = _File(cache, configuration, len(source.names))
    with store:
        _decode_into(store, source, size, channels, on_error, progress)
        images = store.complete()
    return _colours(images, channels, store.state), store.state


def decode_picture(content: bytes, size: int, channels: int, *, max_pixels: int) -> np.ndarray:
    """Decode the content of one image file, cropped to a square of `size` pixels.

    Parameters
    ----------
    content : bytes
        Content of a file in any format that is read from folders of images.
    size : int
        Height and width of the result.
    channels : {1, 3}
        Number of channels of the result.
    max_pixels : int
        Number of pixels above which the image is refused before it is decoded.

    Returns
    -------
    (size, size, channels) uint8 array
        Decoded image.

    Raises
    ------
    ValueError
        If the image can't be read, or has more pixels.
    """

    def open_picture(_: int) -> Image.Image:
        image = open_encoded(content)
        if image.width * image.height > max_pixels:
            raise ValueError(f"{image.width} x {image.height} pixels, more than {max_pixels:,}")
        return image

    with _pillow_silenced():
        decoded = _decode_one(Source("picture", ["picture"], open_picture, str), 0, size, channels)
    if isinstance(decoded, str):
        raise ValueError(f"picture: expected a readable image; got one that can't be read: {decoded}")
    return decoded.pixels


def _colours(images: np.ndarray, channels: int | None, state: DecodingState) -> np.ndarray:
    return images[..., :1] if channels is None and state.grey else images


def _decode_into(
    store: "_Memory | _File",
    source: Source,
    size: int | None,
    channels: int | None,
    on_error: Literal["skip", "raise"],
    progress: bool,
) -> None:
    n = len(source.names)

    def decode_block(start: int) -> list[_Decoded | str]:
        return [_decode_one(source, i, size, channels) for i in range(start, min(start + _BLOCK, n))]

    with _pillow_silenced(), progress_bar(source.label, n, enabled=progress, unit="images") as advance:
        advance(store.state.done)
        starts = range(store.state.done, n, _BLOCK)
        for block in map_ahead(decode_block, starts, ahead=2 * n_cores(), workers=n_cores()):
            state = store.state
            shape, grey, damaged, images = state.shape, state.grey, [*state.damaged], []
            transparent, crc32 = state.transparent, state.crc32
            for index, decoded in enumerate(block, state.done):
                if isinstance(decoded, str):
                    damaged.append((index, decoded))
                    continue
                image = decoded.pixels
                shape = shape or list(image.shape)
                if list(image.shape) != shape:
                    raise ValueError(
                        f"{source.label}: {source.names[index]} has {_pixels(image.shape)} pixels, and those "
                        f"before it {_pixels(shape)}; pass size= to make them equal"
                    )
                images.append(image)
                grey &= decoded.is_grey
                if transparent is not None:
                    transparent += decoded.is_transparent
            if images:
                crc32 = store.append(np.stack(images))
            store.state = DecodingState(state.done + len(block), shape, grey, damaged, transparent, crc32)
            _check_damaged(source, store.state, on_error)
            store.update()
            advance(len(block))


_silencing = threading.Lock()
_n_silencing = 0


@contextlib.contextmanager
def _pillow_silenced() -> Iterator[None]:
    """Ignore Pillow's warnings, mostly about odd metadata, while any thread is in this context.

    Filters belong to the whole process, and threads that each restore the previous ones would bring back each
    other's. The first thread therefore adds one filter, and the last one removes it.
    """
    global _n_silencing
    ours = r"PIL\.(?#ellipsoid)"  # no other filter has this pattern
    with _silencing:
        _n_silencing += 1
        if _n_silencing == 1:
            warnings.filterwarnings("ignore", module=ours)
    try:
        yield
    finally:
        with _silencing:
            _n_silencing -= 1
            if _n_silencing == 0:
                filters: Any = warnings.filters
                filters[:] = [entry for entry in filters if getattr(entry[3], "pattern", None) != ours]


class _Decoded(NamedTuple):
    pixels: np.ndarray
    is_grey: bool
    is_transparent: bool


def _decode_one(source: Source, index: int, size: int | None, channels: int | None) -> _Decoded | str:
    """Return the pixels of an image and its properties, or the reason why it can't be read."""
    try:
        with source.open(index) as image:
            _check_size(image)
            if size is not None:
                # A large JPEG is decoded at 1/2, 1/4 or 1/8 of its size, but at no less than twice the needed
                # size: 12 megapixels take a quarter of the time, and the pixels differ by 1 of 255.
                image.draft(None, (2 * size, 2 * size))
            ImageOps.exif_transpose(image, in_place=True)
            is_grey = image.mode in ("1", "L", "LA", "La", "F", "I") or image.mode.startswith("I;16")
            image, is_transparent = _on_white(_eight_bits(image))
            mode = "L" if channels == 1 else "RGB"
            image = image if image.mode == mode else image.convert(mode)
            pixels = np.asarray(image if size is None else _square(image, size))
            return _Decoded(pixels.reshape(*pixels.shape[:2], -1), is_grey, is_transparent)
    except MemoryError:
        raise
    except UnidentifiedImageError:
        return "not in a known image format"
    # A damaged file may raise nearly anything: struct.error, SyntaxError, zlib.error, EOFError ...
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk or the network failed, not the image
        return str(error) or type(error).__name__


def _check_size(image: Image.Image) -> None:
    """Refuse sizes that Pillow only warns of; pixels are decoded later, so nothing is lost by now."""
    limit = Image.MAX_IMAGE_PIXELS
    if limit is not None and image.width * image.height > limit:
        raise ValueError(f"{image.width} x {image.height} pixels, more than {limit:,}")


def _eight_bits(image: Image.Image) -> Image.Image:
    """Convert grey levels of 16 bits, and floats in [0, 1], to 8 bits; Pillow would cut all above 255."""
    if image.mode == "F":
        floats = np.asarray(image)
        if not (floats.min() >= 0 and floats.max() <= 1):  # also refuses NaN
            raise ValueError(f"expected floats in [0, 1]; got {floats.min():.4g} to {floats.max():.4g}")
        return Image.fromarray(np.asarray(as_uint8(floats)))
    # Pillow reads a 16-bit PGM file with any white into mode I, as numbers up to 65535.
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PPM"):
        levels = np.asarray(image).astype(np.uint32)
        eight = Image.fromarray(((levels + 128) // 257).astype(np.uint8))
        key = image.info.get("transparency")
        if isinstance(key, int):
            eight.putalpha(Image.fromarray(np.where(levels == key, 0, 255).astype(np.uint8)))
        return eight
    if image.mode == "I":
        raise ValueError("pixels of 32-bit integers have no fixed range; save 8 or 16 bits")
    return image


def _on_white(image: Image.Image) -> tuple[Image.Image, bool]:
    """Lay an image on white, and return whether any of it is transparent."""
    if not image.has_transparency_data:
        return image, False
    layer = image.convert("RGBA")
    if layer.getchannel("A").getextrema()[0] == 255:
        return layer, False
    return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer), True


def _square(image: Image.Image, size: int) -> Image.Image:
    """Crop the largest centred square, and resize it with an antialiasing filter."""
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    # The image is cropped first: resize(box=...) blends pixels from outside the box into the border.
    square = image.crop((left, top, left + side, top + side))
    return square.resize((size, size), Image.Resampling.LANCZOS)


def _pixels(shape: Any) -> str:
    return f"{shape[1]} x {shape[0]}"


def _check_damaged(source: Source, state: DecodingState, on_error: Literal["skip", "raise"]) -> None:
    if not state.damaged:
        return
    n, count = len(source.names), len(state.damaged)
    if on_error == "raise" or count > MAX_DAMAGED * n:
        index, reason = state.damaged[0]
        share = "" if on_error == "raise" else f", more than {MAX_DAMAGED:.0%}"
        raise ValueError(
            f"{source.label}: {count} of {n} images can't be read{share}, "
            f"the first of them {source.names[index]} ({reason})"
        )


# --- storage of the images -------------------------------------------------------------------------


class _Memory(contextlib.AbstractContextManager):
    """One array in memory."""

    def __init__(self, n: int):
        self.state = DecodingState()
        self._n = n
        self._images = np.empty(0, np.uint8)

    def append(self, images: np.ndarray) -> int:
        rows = self.state.rows
        if rows == 0:
            self._images = np.empty((self._n, *images.shape[1:]), np.uint8)
        self._images[rows : rows + len(images)] = images
        return 0  # memory needs no checksum

    def update(self) -> None:
        """Do nothing, since there is nothing to save."""

    def complete(self) -> np.ndarray:
        return self._images[: self.state.rows]

    def __exit__(self, *_: object) -> None:
        """Do nothing, since there is nothing to close."""


class _File(contextlib.AbstractContextManager):
    """One ``.npy`` file, written in order by plain writes: a full disk is then an error, not a bus error."""

    def __init__(self, path: Path, configuration: dict[str, Any], n: int):
        self._path, self._configuration, self._n = path, configuration, n
        self._work = path.with_name(path.name + ".partial")
        self._manifest = self._work / "manifest.json"
        self._work.mkdir(parents=True, exist_ok=True)
        data = self._work / "images.npy"
        data.touch()
        self._file = open(data, "r+b")  # noqa: SIM115 (closed by __exit__)
        try:
            _lock(self._file, path)
            state = _state_of(_read_manifest(self._manifest), configuration)
            self.state = state if state and self._holds(state) else DecodingState()
        except BaseException:
            self._file.close()
            raise
        self._saved = time.monotonic()

    def _holds(self, state: DecodingState) -> bool:
        if state.rows == 0:
            return True
        self._file.seek(len(_npy_header(self._n, *state.shape)))
        crc32, n_bytes = 0, state.rows * math.prod(state.shape)
        while n_bytes and (content := self._file.read(min(n_bytes, 2**24))):
            crc32, n_bytes = zlib.crc32(content, crc32), n_bytes - len(content)
        return n_bytes == 0 and crc32 == state.crc32

    def append(self, images: np.ndarray) -> int:
        header = _npy_header(self._n, *images.shape[1:])
        if self.state.rows == 0:
            self._check_space(images[0].nbytes)
            self._file.write(header)
        self._file.seek(len(header) + self.state.rows * images[0].nbytes)
        self._file.write(images.data)
        return zlib.crc32(images.data, self.state.crc32 or 0)

    def _check_space(self, image_bytes: int) -> None:
        needed, free = self._n * image_bytes, shutil.disk_usage(self._work).free
        if needed > free:
            raise OSError(
                f"cache: expected room for {self._n:,} images, {needed / 1e6:,.1f} MB; got "
                f"{free / 1e6:,.1f} MB in {self._path.absolute().parent}; make room, or choose another folder"
            )

    def update(self) -> None:
        if time.monotonic() - self._saved > _SAVE_INTERVAL:
            self._save()

    def _save(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())
        replace_file(self._manifest, _dump(self._configuration, self.state))
        self._saved = time.monotonic()

    def complete(self) -> np.ndarray:
        self._file.seek(0)
        shape = (self.state.rows, *self.state.shape)
        header = _npy_header(*shape)
        self._file.write(header)
        self._file.truncate(len(header) + math.prod(shape))
        self._save()
        # In this order, an array under its name always has its own manifest beside it.
        self._path.unlink(missing_ok=True)
        replace_file(_manifest_of(self._path), _dump(self._configuration, self.state))
        os.replace(self._work / "images.npy", self._path)
        shutil.rmtree(self._work)
        return np.load(self._path, mmap_mode="r")

    def __exit__(self, kind: type | None, error: BaseException | None, traceback: object) -> None:
        with contextlib.suppress(OSError), self._file:
            if kind is not None:
                self._save()
        done = f"{self.state.done:,} of {self._n:,} images"
        kept = f"{done} are decoded in {self._work}; the same call goes on there"
        if kind is KeyboardInterrupt:
            raise KeyboardInterrupt(f"interrupted: {kept}") from None
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise OSError(error.errno, f"{error.strerror}: make room; {kept}") from error


def _lock(file: IO[bytes], path: Path) -> None:
    """Let only one process at a time make a cache."""
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


def _npy_header(*shape: int) -> bytes:
    """Return the header of a uint8 array; its length is the same for any number of images."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": shape})
    return header.getvalue()


def _manifest_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")


def _dump(configuration: dict[str, Any], state: DecodingState) -> bytes:
    content = {"format": FORMAT, "format_version": FORMAT_VERSION} | configuration | asdict(state)
    return json.dumps(content).encode()


def _published(path: Path, configuration: dict[str, Any]) -> DecodingState | None:
    """Return the state of a complete cache of these images; None if there is none."""
    if path.suffix != ".npy":
        raise ValueError(f"cache: expected a name that ends in .npy; got {path}")
    if not path.exists():
        return None
    manifest = _read_manifest(_manifest_of(path))
    if manifest.get("format") != FORMAT:
        raise FileExistsError(f"cache: {path} exists and was not made as a cache; choose another name")
    return _state_of(manifest, configuration)


def _intact(path: Path, state: DecodingState) -> np.ndarray | None:
    """Return the images of a complete cache; None if they do not match its manifest."""
    try:
        images = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception:  # a damaged header makes NumPy raise many kinds
        return None
    if images.dtype != np.uint8 or images.shape != (state.rows, *state.shape):
        return None
    # Caches of earlier versions have no checksum.
    return images if state.crc32 in (None, zlib.crc32(images.data)) else None


def _read_manifest(path: Path) -> dict[str, Any]:
    """Return the content of a manifest; an empty one if it is missing or damaged."""
    try:
        return dict(json.loads(path.read_bytes()))
    except (FileNotFoundError, ValueError, TypeError, RecursionError):
        return {}


def _state_of(manifest: dict[str, Any], configuration: dict[str, Any]) -> DecodingState | None:
    """Return the state in a manifest; None if it belongs to other images or settings."""
    manifest = {"transparent": None, "crc32": None} | manifest  # earlier versions did not record these
    names = [field.name for field in fields(DecodingState)]
    state = DecodingState(**{name: value for name, value in manifest.items() if name in names})
    is_same = manifest == json.loads(_dump(configuration, state))
    return state if is_same and _is_sound(state) else None


def _is_sound(state: DecodingState) -> bool:
    """Whether a state has the types that it was written with."""
    counts = [state.done, *state.shape] if isinstance(state.shape, list) else [None]
    if not all(isinstance(count, int) and count >= 0 for count in counts) or not isinstance(
        state.damaged, list
    ):
        return False
    pairs = [tuple(pair) if isinstance(pair, list) else () for pair in state.damaged]
    return all(
        len(pair) == 2 and isinstance(pair[0], int) and 0 <= pair[0] < state.done and isinstance(pair[1], str)
        for pair in pairs
    )
