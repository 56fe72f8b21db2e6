"""Sources of encoded images: folders, zip files and CelebA, listed but not yet decoded.

The label of an image is its folder, by these rules. Parts that all folders share do not count, neither at the
beginning (``photos/``) nor at the end (``images/`` in each class, like in Tiny ImageNet). Folders ``train``,
``valid`` and ``test`` with no other folder beside them are splits, and the folders in them are classes.
Folders are classes if there are two or more, and they hold more than half of the images.
"""

import contextlib
import hashlib
import io
import os
import threading
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import takewhile
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
from PIL import Image

try:
    from PIL.AvifImagePlugin import SUPPORTED as _HAS_AVIF
except ImportError:  # before Pillow 11.3
    _HAS_AVIF = False

_AVIF = ("AVIF",) if _HAS_AVIF else ()
_NETPBM = (".ppm", ".pgm", ".pbm", ".pnm", ".pfm")
_PHOTOGRAPHS = (".jpg", ".jpeg", ".jpe", ".jfif", ".webp", *(f".{name.lower()}" for name in _AVIF))
#: Suffixes of the files that are read as images.
SUFFIXES = (".png", *_PHOTOGRAPHS, ".bmp", ".gif", ".tif", ".tiff", *_NETPBM)
#: Splits of a partitioned set, in the order of their numbers.
SPLITS = ("train", "valid", "test")

# Pillow's other formats are left out: for PostScript under any name, it starts another program.
_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM", *_AVIF)
# An image that Pillow accepts without a warning, up to 89 million pixels, is smaller in any of the formats.
_MAX_FILE_BYTES = 2**29
# The longest of CelebA's lists has 27 MB.
_MAX_LIST_BYTES = 2**26
# Files that usually lie beside images, such as a cache of them; these are ignored without a warning.
_NOTES = {"", ".csv", ".db", ".htm", ".html", ".ini", ".json", ".jsonl", ".log", ".md", ".rst"}
_NOTES |= {".npy", ".tsv", ".txt", ".xml", ".yaml", ".yml"}
_SPLIT_FOLDERS = {"train": 0, "training": 0, "val": 1, "valid": 1, "validation": 1, "test": 2, "testing": 2}
_CELEBA_IMAGES = "img_align_celeba"
_CELEBA_ATTRIBUTES = "list_attr_celeba"
_CELEBA_PARTITION = "list_eval_partition"


@dataclass(frozen=True)
class Source:
    """Images that are listed, and decoded on request.

    Attributes
    ----------
    label : str
        Name of the source in messages.
    names : list of str
        Names of the images.
    open : callable
        Function that returns image ``i``, its argument, as a ``PIL.Image`` that need not be decoded yet. Any
        thread may call it.
    digest : callable
        Function that computes a fingerprint of these images without decoding them.
    labels, label_names, attributes, partition
        Labels and attributes; see :class:`ellipsoid.models.ImageSet`.
    remarks : list of str
        Texts of warnings about ignored files.
    """

    label: str
    names: list[str]
    open: Callable[[int], Image.Image]
    digest: Callable[[], str]
    labels: np.ndarray | None = None
    label_names: tuple[str, ...] = ()
    attributes: dict[str, np.ndarray] = field(default_factory=dict)
    partition: np.ndarray | None = None
    remarks: list[str] = field(default_factory=list)


class _Tree(NamedTuple):
    """Files in a folder or a zip file: names, contents, and size and time (or checksum) of each."""

    label: str
    names: list[str]
    read: Callable[[str], bytes]
    stamp: Callable[[str], tuple[int, int]]


@contextmanager
def open_source(path: Path, split: str) -> Iterator[Source]:
    """List the images of a folder or a zip file; this is a context, in which they can be read.

    Parameters
    ----------
    path : path
        Folder or zip file.
    split : {"all", "train", "valid", "test"}
        Split to list.

    Raises
    ------
    ValueError
        If there are no images, a zip file is damaged or encrypted, lists of CelebA are damaged or do not fit,
        or images without splits are asked for one.
    """
    with ExitStack() as stack:
        tree = stack.enter_context(_tree(path))
        lists = _celeba_lists(tree, path)
        names = _image_names(tree)
        if lists and not names:
            # This is CelebA in its downloaded form: the lists beside a zip file with the images.
            for name in tree.names:
                if PurePosixPath(name).name == f"{_CELEBA_IMAGES}.zip":
                    tree = stack.enter_context(_zip_tree(path / name))
                    names = _image_names(tree)
                    break
        if not names:
            others = _counted_suffixes(_visible(tree.names), set())
            raise ValueError(
                f"images: expected image files ({', '.join(SUFFIXES)}); got no images in {path} "
                f"({others or 'no files'})"
            )
        yield _listed(tree, names, lists, split)


def open_encoded(content: bytes) -> Image.Image:
    """Open the content of an image file in one of the accepted formats, without decoding it yet.

    Raises
    ------
    PIL.UnidentifiedImageError
        If it is in another format.
    """
    return Image.open(io.BytesIO(content), formats=_FORMATS)


def has_splits(source: str | Path) -> bool:
    """Whether images come with CelebA's partition, or in folders for training, validation and test.

    Raises
    ------
    ValueError
        If a folder or zip file can't be read as images; see :func:`open_source`.
    """
    path = Path(source)
    if not path.is_dir() and not (path.is_file() and path.suffix.lower() == ".zip"):
        return False
    with open_source(path, "all") as images:
        return images.partition is not None


def _tree(path: Path) -> AbstractContextManager[_Tree]:
    return contextlib.nullcontext(_folder_tree(path)) if path.is_dir() else _zip_tree(path)


def _folder_tree(folder: Path) -> _Tree:
    def stamp(name: str) -> tuple[int, int]:
        status = (folder / name).stat()
        return status.st_size, status.st_mtime_ns

    names = [path.relative_to(folder).as_posix() for path in _files_below(folder)]
    return _Tree(str(folder), names, lambda name: (folder / name).read_bytes(), stamp)


def _files_below(folder: Path) -> Iterator[Path]:
    """Yield all files, also those in linked folders, but no folder twice, so that circular links end."""
    seen, links = set(), [folder]
    while links:
        # Links come after all folders that lie there themselves, so that these keep their own names.
        for place, folders, files in os.walk(links.pop(0)):
            status = os.stat(place)
            if (status.st_dev, status.st_ino) in seen:
                folders.clear()
                continue
            seen.add((status.st_dev, status.st_ino))
            yield from (path for path in (Path(place, name) for name in files) if path.is_file())
            links += sorted(path for path in (Path(place, name) for name in folders) if path.is_symlink())


@contextmanager
def _zip_tree(path: Path) -> Iterator[_Tree]:
    try:
        archive = zipfile.ZipFile(path)
    except Exception as error:  # damaged bytes make zipfile raise many kinds
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk or the network failed, not the file
        raise ValueError(f"{path}: not a readable zip file ({error})") from None
    with archive:
        # Names are only looked up, and never become paths, so the name of a member can do no harm. Some
        # programs on Windows write backslashes.
        members = {member.filename.replace("\\", "/"): member for member in archive.infolist()}
        members = {name: member for name, member in members.items() if not name.endswith("/")}
        if any(member.flag_bits & 1 for member in members.values()):
            raise ValueError(f"{path}: encrypted; unpack it with its password and pass the folder")
        lock = threading.Lock()  # the zip file's count of open members is not safe between threads

        def read(name: str) -> bytes:
            with lock, archive.open(members[name]) as file:
                # Without the length, a member that unpacks to more than it claims would be unpacked whole.
                return file.read(members[name].file_size)

        def stamp(name: str) -> tuple[int, int]:
            return members[name].file_size, members[name].CRC

        yield _Tree(str(path), list(members), read, stamp)


def _image_names(tree: _Tree) -> list[str]:
    """List images in the order of their names."""
    images = [name for name in _visible(tree.names) if name.lower().endswith(SUFFIXES)]
    return sorted(images, key=lambda name: PurePosixPath(name).parts)


def _visible(names: list[str]) -> Iterator[str]:
    """Yield names, except for hidden files and the notes that macOS puts into zip files."""

    def is_hidden(folder: str) -> bool:
        return folder == "__MACOSX" or (folder.startswith(".") and folder != "..")

    return (name for name in names if not any(map(is_hidden, PurePosixPath(name).parts)))


def _counted_suffixes(names: Iterable[str], left_out: set[str]) -> str:
    """Count files by suffix, ``3 .heic, 1 .svg``, except for some suffixes."""
    suffixes = Counter(PurePosixPath(name).suffix.lower() for name in names)
    counts = sorted((-n, suffix) for suffix, n in suffixes.items() if suffix not in left_out)
    return ", ".join(f"{-n} {suffix or 'without suffix'}" for n, suffix in counts)


def _listed(tree: _Tree, names: list[str], lists: dict[str, "_Table"], split: str) -> Source:
    """Return the images of a tree in a split, with their labels or the entries of CelebA's lists."""
    attributes, partition = {}, None
    labels, label_names, remarks = None, (), []
    passed_over = _counted_suffixes(_visible(tree.names), _NOTES | set(SUFFIXES))
    if passed_over:
        remarks.append(f"ignored files that are not read as images: {passed_over}")
    if lists:
        aligned = [name for name in names if _CELEBA_IMAGES in PurePosixPath(name).parts]
        names = aligned or names
        if _CELEBA_ATTRIBUTES in lists:
            table = lists[_CELEBA_ATTRIBUTES]
            attributes = dict(zip(table.columns, table.rows_of(names).T > 0, strict=True))
        if _CELEBA_PARTITION in lists:
            partition = lists[_CELEBA_PARTITION].rows_of(names)[:, 0]
    else:
        labels, label_names, partition = _folder_labels(names)
        n_beside = 0 if labels is None else int(np.sum(labels < 0))
        if n_beside:
            remarks.append(
                f"gave label -1 to {n_beside} of {len(names)} images, which lie beside the class folders"
            )
    if split != "all":
        if partition is None:
            raise ValueError(
                f"split: expected 'all', since {tree.label} has no {_CELEBA_PARTITION}, nor only folders "
                f"train, valid and test; got {split!r}"
            )
        rows = np.flatnonzero(partition == SPLITS.index(split))
        if len(rows) == 0:
            raise ValueError(
                f"split: expected one of the {len(names)} images of {tree.label} in {split!r}; got none"
            )
        names, partition = [names[row] for row in rows], partition[rows]
        labels = None if labels is None else labels[rows]
        attributes = {name: values[rows] for name, values in attributes.items()}

    def digest() -> str:
        total = hashlib.sha256()
        for name in names:
            total.update(f"{name} {tree.stamp(name)}\n".encode(errors="surrogateescape"))
        return total.hexdigest()

    def open_image(index: int) -> Image.Image:
        size, _ = tree.stamp(names[index])
        if size > _MAX_FILE_BYTES:
            raise ValueError(f"{size / 1e9:,.1f} GB are too many for an image")
        return open_encoded(tree.read(names[index]))

    return Source(tree.label, names, open_image, digest, labels, label_names, attributes, partition, remarks)


def _folder_labels(names: list[str]) -> tuple[np.ndarray | None, tuple[str, ...], np.ndarray | None]:
    """Return the labels of images, the names of the classes, and the partition, from their folders."""
    folders = [PurePosixPath(name).parent.parts for name in names]
    common = len([*takewhile(lambda names: len(set(names)) == 1, zip(*folders, strict=False))])
    folders = [folder[common:] for folder in folders]
    partition = None
    tops = {folder[0].lower() for folder in folders if folder}
    if len(tops) > 1 and tops <= _SPLIT_FOLDERS.keys():
        splits = [_SPLIT_FOLDERS[folder[0].lower()] if folder else -1 for folder in folders]
        partition = np.array(splits, np.int8)
        folders = [folder[1:] for folder in folders]
    while len({folder[-1] for folder in folders if folder}) == 1:  # "images" in each of the classes
        folders = [folder[:-1] for folder in folders]
    classes = sorted({folder for folder in folders if folder}, key=lambda folder: (folder[-1], folder))
    if len(classes) < 2 or 2 * sum(map(bool, folders)) <= len(folders):
        return None, (), partition
    number = {folder: index for index, folder in enumerate(classes)}
    n_named = Counter(folder[-1] for folder in classes)
    label_names = tuple(folder[-1] if n_named[folder[-1]] == 1 else "/".join(folder) for folder in classes)
    return np.array([number.get(folder, -1) for folder in folders]), label_names, partition


# --- CelebA ----------------------------------------------------------------------------------------


class _Table(NamedTuple):
    """One of CelebA's lists, with a row of numbers for each image."""

    name: str
    columns: list[str]
    row_of: dict[str, int]
    values: np.ndarray

    def rows_of(self, names: list[str]) -> np.ndarray:
        """Return the rows of the images of these names."""
        # Suffixes are ignored: the lists say .jpg for the images in PNG form too.
        stems = [PurePosixPath(name).stem for name in names]
        try:
            return self.values[[self.row_of[stem] for stem in stems]]
        except KeyError as error:
            missing = names[stems.index(error.args[0])]
            raise ValueError(f"{self.name}: expected a row for each image; got none for {missing}") from None


def _celeba_lists(tree: _Tree, path: Path) -> dict[str, _Table]:
    """Read CelebA's lists, from the tree or, if it holds only the images, from the usual places beside it."""
    lists = {}
    for stem in (_CELEBA_ATTRIBUTES, _CELEBA_PARTITION):
        # The lists are plain text in the original, and CSV on Kaggle.
        files = {f"{stem}{suffix}" for suffix in (".txt", ".csv")}
        for name in tree.names:
            if PurePosixPath(name).name in files:
                lists[stem] = _parsed(f"{tree.label}/{name}", tree.stamp(name)[0], partial(tree.read, name))
                break
        else:
            if path.stem == _CELEBA_IMAGES:
                up = path.absolute().parent
                for folder in (up, up.parent / "Anno", up.parent / "Eval"):
                    for file in sorted(files):
                        if (folder / file).is_file():
                            listed = folder / file
                            lists[stem] = _parsed(str(listed), listed.stat().st_size, listed.read_bytes)
    return lists


def _parsed(name: str, n_bytes: int, read: Callable[[], bytes]) -> _Table:
    try:
        if n_bytes > _MAX_LIST_BYTES:
            raise ValueError(f"{n_bytes:,} bytes are too many")
        # The text is read line by line, so that a list of blanks is empty.
        text = io.TextIOWrapper(io.BytesIO(read()), "utf-8-sig")
        lines = [line for line in (line.replace(",", " ").rstrip() for line in text) if line]
        # Rows begin with the name of a file. Before them there may be a number of rows, and the names of the
        # columns.
        first = next(i for i, line in enumerate(lines) if "." in line.split(None, 1)[0])
        rows = lines[first:]
        width = len(rows[0].split()) - 1
        columns = lines[first - 1].split() if first else [str(column) for column in range(width)]
        columns = columns[columns[0] == "image_id" :]  # only Kaggle's lists name the column of the names
        if len(columns) != width:
            raise ValueError(f"{width} numbers in a row, and {len(columns)} names of columns")
        values = np.loadtxt(rows, np.int8, usecols=range(1, width + 1), ndmin=2)
        stems = [PurePosixPath(line.split(None, 1)[0]).stem for line in rows]
        return _Table(name, columns, {stem: row for row, stem in enumerate(stems)}, values)
    except Exception as error:  # a damaged zip file may raise many kinds too
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk or the network failed, not the list
        raise ValueError(f"{name}: expected one row of integers for each image ({error})") from None
