"""Arrays by name in one ``.npz`` file that says what it is; nothing is ever pickled."""

import hashlib
import os
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import numpy as np
from numpy.typing import ArrayLike

from ellipsoid.files import published


def write_arrays(path: str | os.PathLike[str], arrays: Mapping[str, ArrayLike]) -> None:
    """Write arrays in NumPy's ``.npz`` format under exactly this name, completely or not at all."""
    with published(path) as temporary, open(temporary, "xb") as file:
        np.savez(file, allow_pickle=False, **arrays)  # pyright: ignore[reportArgumentType]


@contextmanager
def opened(path: str | os.PathLike[str], description: str) -> Iterator[Any]:
    """Open what :func:`write_arrays` wrote, for the block to read arrays from, by name.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is damaged, or the block raises anything.
    """
    if not Path(path).exists():
        raise FileNotFoundError(f"path: expected a saved {description}; there is no file {path}")
    with open(path, "rb") as file:
        try:
            with zipfile.ZipFile(file) as archive:
                # Before any array is read: a damaged header could ask for any amount of memory.
                damaged = archive.testzip()
            if damaged is not None:
                raise ValueError(f"{damaged} is damaged")
            file.seek(0)
            with np.load(file, allow_pickle=False) as arrays:
                yield arrays
        except Exception as error:  # damaged bytes make zipfile, zlib and NumPy raise a dozen kinds
            raise ValueError(f"path: {path} cannot be read as a {description}: {error}") from error


def save_archive(
    path: str | os.PathLike[str], format: str, version: int, fields: Mapping[str, np.ndarray]
) -> None:
    """Write arrays together with the name and version of their format."""
    write_arrays(path, {"format": format, "format_version": version, **fields})


def load_archive(
    path: str | os.PathLike[str],
    format: str,
    version: int,
    description: str,
    names: Iterable[str],
    check: Callable[[dict[str, np.ndarray]], None],
) -> dict[str, np.ndarray]:
    """Read arrays that :func:`save_archive` wrote, and check them.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is damaged, of another format or version, or fails the check.
    """
    with opened(path, description) as archive:
        if "format" not in archive:
            raise ValueError("it is an archive of something else")
        if str(archive["format"]) != format:
            raise ValueError(f"it is an {archive['format']}")
        if str(archive["format_version"]) != str(version):
            raise ValueError(f"expected format version {version}; got {archive['format_version']}")
        fields = {name: archive[name] for name in names}
        check(fields)
    return fields


def format_of(path: str | os.PathLike[str]) -> str | None:
    """Format of a file that :func:`save_archive` wrote; None of any other, and of damaged ones."""
    try:
        with opened(path, "file") as archive:
            return str(archive["format"])
    except (OSError, ValueError):
        return None


def digest(tree: Any) -> str:
    """SHA-256 of all arrays of a pytree with their paths, types and shapes."""
    total = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        array = np.asarray(leaf)
        total.update(f"{jax.tree_util.keystr(path)} {array.dtype} {array.shape}\n".encode())
        total.update(np.ascontiguousarray(array).tobytes())
    return total.hexdigest()
