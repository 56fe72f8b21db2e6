"""Arrays by name in one ``.npz`` file that says what it is; nothing is ever pickled.

Every kind of file that is kept in this form (states, mixtures, feature networks) has a :class:`Format`. Its
class saves itself by :func:`save_archive`, and loads itself by :func:`load_archive` with a check of its own.
"""

import hashlib
import json
import os
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import jax
import numpy as np
from numpy.typing import ArrayLike

from ellipsoid.files import published

T = TypeVar("T")


@dataclass(frozen=True)
class Format:
    """Kind of a file.

    Attributes
    ----------
    name : str
        Name that each file of this kind holds: "ellipsoid.PCAState".
    version : int
        Version of the form that is written, and the only one that is read.
    title : str
        The kind in messages: "PCA state".
    """

    name: str
    version: int
    title: str

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


class Entries(dict[str, Any]):
    """Values of a file by name; to ask for one that it lacks is a ``ValueError`` that tells its name."""

    prefix = ""

    def __missing__(self, name: str) -> Any:
        raise ValueError(f"{self.prefix}{name}: expected an entry of this name; got none")


class Description(Entries):
    """Values of a file that are no arrays, by name."""

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
        Exact name of the file, which is replaced if there is one.
    format : Format
        Kind of the file.
    arrays : mapping of str to array
        Arrays by name.
    description : mapping of str to plain values, optional
        Values that are no arrays, kept as JSON.

    Raises
    ------
    OSError
        If the file cannot be written.
    TypeError
        If the description holds something that JSON does not know.
    """
    entries = {"format": format.name, "format_version": format.version, **arrays}
    if description is not None:
        entries["description"] = json.dumps(description)
    with published(path) as temporary, open(temporary, "xb") as file:
        np.savez(file, allow_pickle=False, **entries)  # pyright: ignore[reportArgumentType]


def load_archive(
    path: str | os.PathLike[str], format: Format, check: Callable[[Entries, Description], T]
) -> T:
    """Read what :func:`save_archive` wrote, and check it.

    Parameters
    ----------
    path : path
        Name of the file.
    format : Format
        Kind that the file must be of.
    check : callable ``(arrays, description) -> value``
        Function that takes what it needs from the two mappings by name, and raises ``ValueError`` if that is
        wrong. Errors of any other kind pass through as they are.

    Returns
    -------
    object
        What `check` returned.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is damaged, of another format or version, or fails the check.
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
    """Name of the format of a file that :func:`save_archive` wrote, called `title` in messages.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is damaged.
    """
    return _stated_format(*_read(path, title))[0]


def _stated_format(arrays: Entries, description: Description) -> tuple[str, str]:
    # The first feature networks told it in their description.
    entries, version = (arrays, "format_version") if "format" in arrays else (description, "version")
    return str(entries.get("format", "an archive of something else")), str(entries.get(version, ""))


def _read(path: str | os.PathLike[str], title: str) -> tuple[Entries, Description]:
    """All arrays of a file by name, and its description by name."""
    if not Path(path).exists():
        raise FileNotFoundError(f"path: expected a saved {title}; got no file at {path}")
    with open(path, "rb") as file:
        try:
            with zipfile.ZipFile(file) as archive:
                # Before any array is read: a damaged header could ask for any amount of memory.
                damaged = archive.testzip()
            if damaged is not None:
                raise ValueError(f"{damaged} is damaged")
            file.seek(0)
            with np.load(file, allow_pickle=False) as archive:
                arrays = Entries({name: archive[name] for name in archive.files})
            return arrays, Description(json.loads(str(arrays.pop("description", "{}"))))
        except Exception as error:  # damaged bytes make zipfile, zlib, NumPy and JSON raise a dozen kinds
            raise _unreadable(path, title, error) from error


def _unreadable(path: str | os.PathLike[str], title: str, error: Exception) -> ValueError:
    return ValueError(f"path: {path} cannot be read as a {title}: {error}")


def digest(tree: Any) -> str:
    """SHA-256 of all arrays of a pytree with their paths, types and shapes."""
    total = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        array = np.asarray(leaf)
        total.update(f"{jax.tree_util.keystr(path)} {array.dtype} {array.shape}\n".encode())
        total.update(np.ascontiguousarray(array).tobytes())
    return total.hexdigest()
