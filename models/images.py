"""Images as users have them, read into one uint8 array ``(n, H, W, C)``."""

import contextlib
import dataclasses
import hashlib
import os
import tempfile
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike
from PIL import Image

from ellipsoid.archive import check_declared_sizes, reading_error
from ellipsoid.checks import check_count, check_images
from ellipsoid.files import published
from ellipsoid.models.batches import MAX_BYTES_IN_MEMORY
from ellipsoid.models.decoding import decode
from ellipsoid.models.sources import Source, open_source
from ellipsoid.pixels import as_uint8

#: Embedded sets, which need no file and no network.
EMBEDDED = ("faces", "digits")
#: Sets that scikit-learn downloads on request.
DOWNLOADED = ("olivetti", "lfw")

Split = Literal["all", "train", "valid", "test"]
OnError = Literal["skip", "raise"]

_N_FACES = 20_000


@dataclass(frozen=True)
class ImageSet:
    """Images, with their labels and attributes.

    Attributes
    ----------
    images : (n, H, W, C) uint8 array
        Images in memory, or a read-only memory map.
    labels : (n,) array, optional
        Class of each image: the number of its folder in `label_names`, or the label in an array file. It is
        -1 for an image beside the class folders.
    label_names : tuple of str
        Names of the class folders, if there are two or more.
    attributes : dict of str to (n,) bool array
        Attributes of each image, by name: CelebA's 40, or those of the embedded faces.
    partition : (n,) int8 array, optional
        Split of each image, by CelebA's list or its folder: 0 for train, 1 for valid, 2 for test, -1 for an
        image beside these folders.
    skipped : tuple of str
        Names of damaged images, which are left out of all other fields.
    """

    images: np.ndarray
    labels: np.ndarray | None = None
    label_names: tuple[str, ...] = ()
    attributes: dict[str, np.ndarray] = field(default_factory=dict)
    partition: np.ndarray | None = None
    skipped: tuple[str, ...] = ()


def load_images(
    source: str | os.PathLike[str] | ArrayLike,
    size: int | None = None,
    channels: int | None = None,
    *,
    split: Split = "all",
    cache: str | os.PathLike[str] | None = None,
    on_error: OnError = "skip",
    progress: bool = True,
) -> np.ndarray:
    """Read images from a folder, a zip file, CelebA, an array, or a set with a name.

    Parameters
    ----------
    source : path, array or {"faces", "digits", "olivetti", "lfw"}
        Images, as one of

        - a folder or a ``.zip`` file of images, read recursively and through links, in the order of the
          names. Hidden files are ignored, and files of other kinds are counted in one warning. A zip file is
          not unpacked. Transparent images are laid on white, and counted in one warning. 16-bit levels, and
          floats in [0, 1], are converted to 8 bits;
        - CelebA in its downloaded form: a folder or zip file with ``img_align_celeba`` (or its zip file) and
          ``list_attr_celeba`` or ``list_eval_partition``, as ``.txt`` or ``.csv``; or the images alone, with
          the lists beside them;
        - a ``.npy`` or ``.npz`` file (its array ``images``, or its only array), or an array, ``(n, H, W)``
          or ``(n, H, W, C)``, of uint8 or of floats in [0, 1]. A ``.npy`` file of more than 1 GiB is
          memory-mapped;
        - "faces", 20,000 drawn faces, or "digits", scikit-learn's 1,797 handwritten digits of 8 x 8 pixels,
          both embedded;
        - "olivetti", the 400 Olivetti faces, or "lfw", the 13,233 Labeled Faces in the Wild: scikit-learn
          downloads them into its data folder (4 and 233 MB) if they are not there.
    size : int, optional
        Height and width of the result: the largest centred square is cropped and resized, with antialiasing.
        By default images keep their size, which must be the same for all.
    channels : {1, 3}, optional
        Number of channels of the result: 1 for grey, 3 for colour. By default an array keeps its channels,
        and files give colour unless every image is grey.
    split : {"all", "train", "valid", "test"}
        Split of CelebA, or of images in folders ``train``, ``valid`` and ``test`` with nothing beside them.
    cache : path, optional
        ``.npy`` file that keeps the decoded and resized images, and from which they are memory-mapped. A
        later call uses it if `size`, `channels` and the files (by name, size and time) are the same, and
        makes it again otherwise. An interrupted call continues where it stopped. Arrays that need no change
        are not copied there.
    on_error : {"skip", "raise"}
        Treatment of images that can't be read: they are left out with one warning, or the first one raises
        an error. Images of more than ``PIL.Image.MAX_IMAGE_PIXELS`` pixels are among them.
    progress : bool
        Whether to show a progress bar while images are decoded.

    Returns
    -------
    (n, H, W, C) uint8 array
        Images.

    Raises
    ------
    FileNotFoundError
        If there is no such file or folder.
    FileExistsError
        If `cache` is a file that was not made as a cache.
    TypeError
        If `size` is not an integer.
    ValueError
        If an option is not one of those described. If the source has fewer than two images, or more than a
        tenth of them are damaged (or one, if `on_error` is "raise"). If sizes are mixed and `size` is None.
        If a zip file is damaged or encrypted, or lists do not fit the images. If the source does not have the
        split. If an array has another shape, type or range.
    OSError
        If files can't be read or written, scikit-learn can't download a set, or another process is making the
        cache.

    Examples
    --------
    >>> import numpy as np
    >>> load_images(np.zeros((3, 40, 30), np.uint8), size=16, progress=False).shape
    (3, 16, 16, 1)
    >>> load_images("digits").shape
    (1797, 8, 8, 1)
    """
    return load_image_set(
        source, size, channels, split=split, cache=cache, on_error=on_error, progress=progress
    ).images


def load_image_set(
    source: str | os.PathLike[str] | ArrayLike,
    size: int | None = None,
    channels: int | None = None,
    *,
    split: Split = "all",
    cache: str | os.PathLike[str] | None = None,
    on_error: OnError = "skip",
    progress: bool = True,
) -> ImageSet:
    """Read images with their labels, attributes and partition, if the source has them.

    Labels are the folders of the images in a folder or a zip file, by the rules of
    :mod:`ellipsoid.models.sources`, the array ``labels``, ``label``, ``target`` or ``y`` of an ``.npz`` file,
    or those of scikit-learn's sets. CelebA and the embedded faces have attributes. The partition is that of
    CelebA, or of folders ``train``, ``valid`` and ``test``.

    Parameters and errors are those of :func:`load_images`.

    Returns
    -------
    ImageSet
        Images, labels, attributes and partition.
    """
    size = None if size is None else check_count("size", size)
    _check_options(channels, split, on_error)
    with contextlib.ExitStack() as stack:
        located = _located(source, size)
        if isinstance(located, Path):
            files = stack.enter_context(open_source(located, split))
        else:
            if split != "all":
                raise ValueError(f"split: expected 'all', since only CelebA has splits; got {split!r}")
            images = _checked(located.images)
            if not _differs(images.shape, size, channels):
                return dataclasses.replace(located, images=check_images("images", images, least=2))
            channels = channels or images.shape[-1]
            files = _in_memory(located, images)
        images, state = decode(files, size, channels, cache=cache, on_error=on_error, progress=progress)
    check_images("images", images, least=2)
    damaged, n = state.damaged, len(files.names)
    for remark in files.remarks:
        warnings.warn(f"{files.label}: {remark}", stacklevel=2)
    if state.transparent:
        warnings.warn(
            f"{files.label}: laid {state.transparent} of {n} images, which are transparent, on white",
            stacklevel=2,
        )
    if damaged:
        first = "; ".join(f"{files.names[index]} ({reason})" for index, reason in damaged[:3])
        count = f"{len(damaged)} of {n} images"
        warnings.warn(f"{files.label}: left out {count}, which can't be read: {first}", stacklevel=2)
    kept = np.delete(np.arange(n), [index for index, _ in damaged])
    return ImageSet(
        images,
        None if files.labels is None else files.labels[kept],
        files.label_names,
        {name: values[kept] for name, values in files.attributes.items()},
        None if files.partition is None else files.partition[kept],
        tuple(files.names[index] for index, _ in damaged),
    )


def load_image(path: str | os.PathLike[str], size: int, channels: int) -> np.ndarray:
    """Read one picture, like :func:`load_images` reads those of a folder.

    Parameters
    ----------
    path : path
        Image file in a format that Pillow reads.
    size : int
        Height and width of the result: the largest centred square is cropped and resized.
    channels : {1, 3}
        Number of channels of the result: 1 for grey, 3 for colour.

    Returns
    -------
    (1, size, size, channels) uint8 array
        Picture.

    Raises
    ------
    FileNotFoundError
        If the file does not exist.
    ValueError
        If the file can't be read as an image, or has too many pixels.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"picture: expected an image file; got {path}, no such file")
    source = Source("picture", [path.name], lambda _: Image.open(path), lambda: "")
    return decode(source, check_count("size", size), channels, on_error="raise", progress=False)[0]


def _check_options(channels: Any, split: Any, on_error: Any) -> None:
    if channels not in (None, 1, 3):
        raise ValueError(f"channels: expected 1 (grey) or 3 (colour); got {channels!r}")
    for name, value, known in (("split", split, get_args(Split)), ("on_error", on_error, get_args(OnError))):
        if value not in known:
            raise ValueError(f"{name}: expected one of {', '.join(known)}; got {value!r}")


def _located(source: str | os.PathLike[str] | ArrayLike, size: int | None) -> Path | ImageSet:
    """Return the folder or zip file of a source, or its arrays."""
    if not isinstance(source, str | os.PathLike):
        return ImageSet(np.asarray(source))
    path = Path(source)
    if not path.exists():
        if source in EMBEDDED:
            return _embedded(str(source), size)
        if source not in DOWNLOADED:
            raise FileNotFoundError(
                f"images: expected a folder, a zip file, an array, or one of "
                f"{', '.join(EMBEDDED + DOWNLOADED)}; got {path}, no such file or folder"
            )
        try:
            path = _olivetti() if source == "olivetti" else _lfw()
        except OSError as error:
            raise OSError(f"{source}: scikit-learn could not download it ({error})") from error
    return path if path.is_dir() or path.suffix.lower() == ".zip" else _read_array(path)


def _embedded(name: str, size: int | None) -> ImageSet:
    if name == "faces":
        import ellipsoid as el
        from ellipsoid.models.faces import procedural_faces

        faces = procedural_faces(_N_FACES, size or 64, key=el.key(0))
        return ImageSet(faces.images, attributes=faces.attributes)
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)  # grey levels 0 to 16
    return ImageSet((np.reshape(pixels, (-1, 8, 8)) / 16).astype(np.float32), np.asarray(labels))


def _olivetti() -> Path:
    from sklearn.datasets import fetch_olivetti_faces, get_data_home

    path = Path(get_data_home()) / "olivetti.npz"
    if not path.exists():
        # scikit-learn keeps a pickle and reads it again; an empty folder has none that it could read.
        with tempfile.TemporaryDirectory() as empty:
            faces: Any = fetch_olivetti_faces(data_home=empty)
        with published(path) as temporary, open(temporary, "xb") as file:
            np.savez(file, images=_checked(faces.images), labels=faces.target)
    return path


def _lfw() -> Path:
    from sklearn.datasets import fetch_lfw_people, get_data_home

    folder = Path(get_data_home()) / "lfw_home" / "lfw_funneled"
    if not folder.is_dir():
        # scikit-learn finds no people with this many pictures. It therefore stops after unpacking, before it
        # reads or writes the pictures as a pickle.
        with contextlib.suppress(ValueError):
            fetch_lfw_people(min_faces_per_person=1_000_000)
    return folder


def _read_array(path: Path) -> ImageSet:
    try:
        with open(path, "rb") as file:
            check_declared_sizes(file)
        mapped = "r" if path.stat().st_size > MAX_BYTES_IN_MEMORY else None
        loaded = np.load(path, mmap_mode=mapped, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return ImageSet(loaded)
        with loaded:
            names = loaded.files
            if "images" in names or len(names) == 1:
                images = loaded["images" if "images" in names else names[0]]
                return ImageSet(images, _labels(loaded, images.shape[:1], path))
    except Warning:
        raise
    except Exception as error:  # damaged bytes make zipfile, zlib and NumPy raise a dozen kinds
        raise ValueError(f"{path}: not a readable .npy or .npz array ({reading_error(error)})") from None
    raise ValueError(f"{path}: expected an array named 'images' among {', '.join(names)}")


def _labels(arrays: Any, shape: tuple[int, ...], path: Path) -> np.ndarray | None:
    """Return the labels in an archive of arrays; None, with a warning, if they can't be used."""
    for name in ("labels", "label", "target", "y"):
        if name in arrays.files:
            try:
                labels = arrays[name]
            except ValueError:
                problem = "it is a pickle"
            except Exception as error:
                problem = f"it is damaged ({error})"
            else:
                if labels.shape[:1] == shape:
                    return labels
                problem = f"it has shape {labels.shape}"
            warnings.warn(f"{path}: left out {name!r}, since {problem}", stacklevel=2)
    return None


def _checked(images: np.ndarray) -> np.ndarray:
    """Return grey or colour images as uint8 of shape (n, H, W, C); refuse any other array."""
    if images.ndim == 3:
        images = images[..., None]
    if images.ndim != 4 or images.shape[-1] not in (1, 3) or 0 in images.shape[:3]:
        raise ValueError(
            f"images: expected shape (n, H, W), (n, H, W, 1) or (n, H, W, 3); got {images.shape}"
        )
    if images.dtype == np.uint8:
        return images
    if images.dtype == bool or not np.issubdtype(images.dtype, np.floating):
        raise ValueError(f"images: expected uint8, or floats in [0, 1]; got {images.dtype}")
    if not (images.min() >= 0 and images.max() <= 1):  # also refuses NaN
        raise ValueError(f"images: expected floats in [0, 1]; got {images.min()} to {images.max()}")
    return np.asarray(as_uint8(images))


def _differs(shape: tuple[int, ...], size: int | None, channels: int | None) -> bool:
    """Whether images of this shape have to be resized or converted."""
    return (size is not None and shape[1:3] != (size, size)) or channels not in (None, shape[3])


def _in_memory(image_set: ImageSet, images: np.ndarray) -> Source:
    """Return a source of images in memory that need another size or number of channels."""

    def open_image(index: int) -> Image.Image:
        image = images[index]
        return Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)

    def digest() -> str:
        return hashlib.sha256(np.ascontiguousarray(images).data).hexdigest()

    names = [f"image {index}" for index in range(len(images))]
    return Source("images", names, open_image, digest, image_set.labels, attributes=image_set.attributes)
