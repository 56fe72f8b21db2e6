"""Named arrays in one ``.npz`` file that states its format, without pickle.

Each kind of file in this form (states, mixtures, feature networks) has a :class:`Format`. Its class saves
itself by :func:`save_archive` and loads itself by :func:`load_archive`, with a check of its own.
"""

import hashlib
import json
import math
import os
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeVar

import jax
import numpy as np
from numpy.typing import ArrayLike

from ellipsoid.files import published

T = TypeVar("T")

#: Highest allowed ratio of the unpacked size of an archive to its size in the file. Constant arrays reach
#: 1,000; images of few grey levels, such as dSprites, reach 115.
MAX_EXPANSION = 250
# The same ratio for this package's files, which are written uncompressed; others may have compressed them.
_OWN_EXPANSION = 20
# Archives up to this unpacked size, in bytes, are always read.
_ALWAYS_UNPACKED = 2**26


@dataclass(frozen=True)
class Format:
    """Kind of file.

    Attributes
    ----------
    name : str
        Name of the format, written into each file of this kind: "ellipsoid.PCAState".
    version : int
        Version of the format that is written, and the only one that is read.
    title : str
        Name of the kind in messages: "PCA state".
    """

    name: str
    version: int
    title: str

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


class Entries(dict[str, Any]):
    """Values of a file by name; a missing name raises a ``ValueError``."""

    prefix = ""

    def __missing__(self, name: str) -> Any:
        raise ValueError(f"{self.prefix}{name}: expected an entry of this name; got none")


class Description(Entries):
    """Values of a file that are not arrays, by name."""

    prefix = "description."


def save_archive(
    path: str | os.PathLike[str],
    format: Format,
    arrays: Mapping[str, ArrayLike],
    description: Mapping[str, Any] | None = None,
) -> None:
    """Write arrays together with their format, completely or not at all.

    Parameters
    ----------
    path : path
        Exact name of the file; an existing file is replaced.
    format : Format
        Kind of the file.
    arrays : mapping of str to array
        Arrays by name.
    description : mapping of str to plain values, optional
        Values that are not arrays, kept as JSON.

    Raises
    ------
    OSError
        If the file cannot be written.
    TypeError
        If the description holds a value that JSON cannot represent.
    """
    entries = {"format": format.name, "format_version": format.version, **arrays}
    if description is not None:
        entries["description"] = json.dumps(description)
    with published(path) as temporary, open(temporary, "xb") as file:
        np.savez(file, allow_pickle=False, **entries)  # pyright: ignore[reportArgumentType]


def load_archive(
    path: str | os.PathLike[str], format: Format, check: Callable[[Entries, Description], T]
) -> T:
    """Read and check a file that :func:`save_archive` wrote.

    Parameters
    ----------
    path : path
        Name of the file.
    format : Format
        Kind that the file must be of.
    check : callable ``(arrays, description) -> value``
        Function that takes its values from the two mappings by name, and raises ``ValueError`` for wrong
        ones. Errors of other kinds pass through.

    Returns
    -------
    object
        Result of `check`.

    Raises
    ------
    FileNotFoundError
        If the file does not exist.
    ValueError
        If the file is damaged, has another format or version, or fails the check.
    """
    arrays, description = _read(path, format.title)
    name, version = _stated_format(arrays, description)
    try:
        if (name, version) != (format.name, str(format.version)):
            raise ValueError(f"expected {format}; got {name} {version}".rstrip())
        return check(arrays, description)
    except ValueError as error:
        raise _unreadable(path, format.title, error) from error


def format_name(path: str | os.PathLike[str], title: str) -> str:
    """Return the name of the format of a file that :func:`save_archive` wrote; messages call it `title`.

    Raises
    ------
    FileNotFoundError
        If the file does not exist.
    ValueError
        If the file is damaged.
    """
    return _stated_format(*_read(path, title))[0]


def _stated_format(arrays: Entries, description: Description) -> tuple[str, str]:
    # The first feature networks stated their format in the description.
    entries, version = (arrays, "format_version") if "format" in arrays else (description, "version")
    return str(entries.get("format", "an archive of something else")), str(entries.get(version, ""))


def _read(path: str | os.PathLike[str], title: str) -> tuple[Entries, Description]:
    """Return all arrays of a file, and its description, by name."""
    if not Path(path).exists():
        raise FileNotFoundError(f"path: expected a saved {title}; got no file at {path}")
    with open(path, "rb") as file:
        try:
            check_declared_sizes(file, _OWN_EXPANSION)
            with zipfile.ZipFile(file) as archive:
                # This comes before any array is read: a damaged header could claim any amount of memory.
                damaged = archive.testzip()
            if damaged is not None:
                raise ValueError(f"{damaged} is damaged")
            file.seek(0)
            with np.load(file, allow_pickle=False) as archive:
                arrays = Entries({name: archive[name] for name in archive.files})
            return arrays, Description(json.loads(str(arrays.pop("description", "{}"))))
        except Exception as error:  # zipfile, zlib, NumPy and JSON raise a dozen kinds for damaged bytes
            raise _unreadable(path, title, error) from error


def check_declared_sizes(file: IO[bytes], expansion: float = MAX_EXPANSION) -> None:
    """Refuse an ``.npy`` or ``.npz`` file whose arrays claim more bytes than it can hold.

    Only headers are read, so a small file cannot claim more memory than there is.

    Parameters
    ----------
    file : binary file
        File to check; its position is at the beginning afterwards.
    expansion : float
        Highest allowed ratio of the unpacked size to the file size, for archives above 64 MiB unpacked.

    Raises
    ------
    ValueError
        If the file does not begin like a file of NumPy, if an array or the whole archive claims more, or if a
        header is damaged.
    """
    n_bytes = file.seek(0, os.SEEK_END)
    file.seek(0)
    start = file.read(6)
    if not start.startswith((b"\x93NUMPY", b"PK")):
        # NumPy takes any other file for a pickle, and would advise to allow pickles.
        raise ValueError("it does not begin like a NumPy file")
    if not start.startswith(b"PK"):
        file.seek(0)
        _check_header(file, n_bytes)
    else:
        with zipfile.ZipFile(file) as archive:
            unpacked = sum(member.file_size for member in archive.infolist())
            if unpacked > max(_ALWAYS_UNPACKED, expansion * n_bytes):
                raise ValueError(f"it claims to unpack from {n_bytes:,} to {unpacked:,} bytes")
            for member in archive.infolist():
                with archive.open(member) as entry:
                    _check_header(entry, member.file_size)
    file.seek(0)


def reading_error(error: Exception) -> str:
    """Return why NumPy could not read a file, without NumPy's advice to allow pickles."""
    if "allow_pickle" in str(error):
        return "it holds Python objects; convert them to numbers, as in np.asarray(values, np.float32)"
    return str(error)


def _check_header(file: IO[bytes], n_bytes: int) -> None:
    try:
        version = np.lib.format.read_magic(file)
    except ValueError:
        return  # not an array, so NumPy will not read it as one
    try:
        is_first = version == (1, 0)
        read = np.lib.format.read_array_header_1_0 if is_first else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(file)
    except Exception as error:  # the header is parsed as Python, which raises many kinds
        raise ValueError(f"the header of an array is damaged ({error})") from error
    needed = math.prod(shape) * dtype.itemsize
    if needed > n_bytes and not dtype.hasobject:
        raise ValueError(
            f"an array of shape {shape} claims {needed:,} bytes; the file holds {n_bytes:,} for it"
        )


def _unreadable(path: str | os.PathLike[str], title: str, error: Exception) -> ValueError:
    return ValueError(f"path: {path} cannot be read as a {title}: {error}")


def digest(tree: Any) -> str:
    """Return the SHA-256 of all arrays of a pytree, with their paths, types and shapes."""
    total = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        array = np.asarray(leaf)
        total.update(f"{jax.tree_util.keystr(path)} {array.dtype} {array.shape}\n".encode())
        total.update(np.ascontiguousarray(array).tobytes())
    return total.hexdigest()
