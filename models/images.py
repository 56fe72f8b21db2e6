"""Image sources: everything becomes one uint8 array ``(n, H, W, C)``."""

import os
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from ellipsoid.progress import progress_bar

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm")
#: Embedded sets that need no file and no network.
EMBEDDED = ("faces", "digits")
_N_FACES = 20_000


def load_images(source, size=None, channels=None, *, progress=True) -> np.ndarray:
    """Read images from a folder, an array file, an array, or one of the embedded sets.

    Parameters
    ----------
    source : path, array or {"faces", "digits"}
        A folder (read recursively, in the order of the names), a ``.npy`` or ``.npz`` file (its array
        ``images``, or its only array), an array ``(n, H, W)`` or ``(n, H, W, C)`` of uint8 or of floats
        in [0, 1], 20,000 drawn faces, or scikit-learn's 1,797 handwritten digits of 8 x 8 pixels.
    size : int, optional
        Height and width to give: the largest centred square is cut out and resized, antialiased. As
        they are when absent; then all must have one size.
    channels : {1, 3}, optional
        Grey or colour. By default as the array has it, and colour for a folder unless every image is
        grey.
    progress : bool
        Show a progress bar while a folder is read.

    Returns
    -------
    (n, H, W, C) uint8 array

    Raises
    ------
    FileNotFoundError
        If there is no such file or folder.
    ValueError
        For a folder without images, images that can't be read, mixed sizes without `size`, fewer than
        two images, or an array of another shape, type or range.
    """
    if channels not in (None, 1, 3):
        raise ValueError(f"channels: expected 1 (grey) or 3 (colour), got {channels!r}")
    if size is not None and (not isinstance(size, int) or size < 1):
        raise ValueError(f"size: expected a number of pixels of at least 1, got {size!r}")
    if isinstance(source, str) and source in EMBEDDED and not Path(source).exists():
        images = _embedded(source, size)
    elif isinstance(source, str | os.PathLike):
        path = Path(source)
        if path.is_dir():
            images = _read_folder(path, size, channels, progress)
        elif path.exists():
            images = _read_array(path)
        else:
            raise FileNotFoundError(
                f"{path}: no such file or folder; expected images, an array, or one of {', '.join(EMBEDDED)}"
            )
    else:
        images = np.asarray(source)
    images = _as_uint8(images)
    if len(images) < 2:
        raise ValueError(f"images: training needs at least two, got {len(images)}")
    return _resized(images, size, channels)


def _embedded(name, size):
    if name == "faces":
        import ellipsoid as el
        from ellipsoid.models.faces import procedural_faces

        return procedural_faces(_N_FACES, size or 64, key=el.key(0)).images
    from sklearn.datasets import load_digits

    pixels, _ = load_digits(return_X_y=True)  # grey levels 0 to 16
    return (np.reshape(pixels, (-1, 8, 8)) / 16).astype(np.float32)


def _read_array(path):
    try:
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return loaded
        with loaded:
            names = loaded.files
            if "images" in names or len(names) == 1:
                return loaded["images" if "images" in names else names[0]]
    except (ValueError, EOFError, OSError) as error:
        raise ValueError(f"{path}: not a readable .npy or .npz array ({error})") from None
    raise ValueError(f"{path}: expected an array named 'images' among {', '.join(names)}")


def _read_folder(folder, size, channels, progress):
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    if not paths:
        raise ValueError(f"{folder}: no images ({', '.join(SUFFIXES)}) in this folder")

    def read(path):
        try:
            with Image.open(path) as image:
                image = ImageOps.exif_transpose(image)
                grey = image.mode in ("1", "L", "I", "I;16", "F", "LA")
                image = image.convert("L" if channels == 1 else "RGB")
                return np.asarray(_square(image, size) if size else image), grey
        except (OSError, ValueError, Image.DecompressionBombError) as error:
            raise ValueError(f"{path}: not a readable image ({error})") from None

    arrays, greys = [], []
    with (
        ThreadPoolExecutor() as pool,
        progress_bar(folder.name, len(paths), enabled=progress, unit="images") as step,
    ):
        for array, grey in pool.map(read, paths):
            arrays.append(array)
            greys.append(grey)
            step(1)
    shapes = Counter(array.shape[:2] for array in arrays)
    if len(shapes) > 1:
        common = ", ".join(f"{w} x {h} ({count})" for (h, w), count in shapes.most_common(3))
        raise ValueError(
            f"{folder}: images of {len(shapes)} sizes, such as {common}; give size= to make them equal"
        )
    images = np.stack(arrays)
    return images[..., :1] if channels is None and all(greys) and images.ndim == 4 else images


def _as_uint8(images):
    if images.ndim == 3:
        images = images[..., None]
    if images.ndim != 4 or images.shape[-1] not in (1, 3) or 0 in images.shape[:3]:
        raise ValueError(
            f"images: expected shape (n, H, W), (n, H, W, 1) or (n, H, W, 3), got {images.shape}"
        )
    if images.dtype == np.uint8:
        return images
    if images.dtype == bool or not np.issubdtype(images.dtype, np.floating):
        raise ValueError(f"images: expected uint8, or floats in [0, 1], got {images.dtype}")
    if not (images.min() >= 0 and images.max() <= 1):  # also refuses NaN
        raise ValueError(f"images: expected floats in [0, 1], got {images.min()} to {images.max()}")
    return np.round(images * 255).astype(np.uint8)


def _resized(images, size, channels):
    n, height, width, present = images.shape
    if channels is None:
        channels = present
    if size is None:
        size = height if height == width else None
    if (height, width, present) == (size, size, channels) or (size is None and present == channels):
        return images
    mode = "L" if channels == 1 else "RGB"

    def convert(image):
        image = Image.fromarray(image[..., 0] if present == 1 else image).convert(mode)
        return np.asarray(_square(image, size) if size else image)

    with ThreadPoolExecutor() as pool:
        out = np.stack(list(pool.map(convert, images)))
    return out.reshape(n, *out.shape[1:3], channels)


def _square(image, size):
    """Cut out the largest centred square and resize it with an antialiasing filter."""
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    # Cropped first: resize(box=...) lets pixels from outside of the box shine in at the border.
    square = image.crop((left, top, left + side, top + side))
    return square.resize((size, size), Image.Resampling.LANCZOS)
