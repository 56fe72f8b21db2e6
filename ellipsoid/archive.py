"""Arrays by name in one ``.npz`` file that says what it is; nothing is ever pickled."""

import os
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np

from ellipsoid.files import published


def save_archive(
    path: str | os.PathLike[str], format: str, version: int, fields: Mapping[str, np.ndarray]
) -> None:
    """Write arrays in NumPy's ``.npz`` format under exactly this name, completely or not at all."""
    with published(path) as temporary, open(temporary, "xb") as file:
        np.savez(file, allow_pickle=False, format=format, format_version=version, **fields)


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
    if not Path(path).exists():
        raise FileNotFoundError(f"path: expected a saved {description}; there is no file {path}")
    with open(path, "rb") as file:
        try:
            fields = _read(file, format, version, names)
            check(fields)
        except Exception as error:  # damaged bytes make zipfile, zlib and NumPy raise a dozen kinds
            raise ValueError(f"path: {path} cannot be read as a {description}: {error}") from error
    return fields


def format_of(path: str | os.PathLike[str]) -> str | None:
    """Format of a file that :func:`save_archive` wrote; None of any other, and of damaged ones."""
    try:
        with open(path, "rb") as file, _opened(file) as archive:
            return str(archive["format"])
    except Exception:  # damaged bytes make zipfile, zlib and NumPy raise a dozen kinds
        return None


@contextmanager
def _opened(file: IO[bytes]) -> Iterator[Any]:
    with zipfile.ZipFile(file) as archive:
        if "format.npy" not in archive.namelist():
            raise ValueError("it is an archive of something else")
        # Before any array is read: a damaged header could ask for any amount of memory.
        damaged = archive.testzip()
        if damaged is not None:
            raise ValueError(f"{damaged} is damaged")
    file.seek(0)
    with np.load(file, allow_pickle=False) as archive:
        yield archive


def _read(file: IO[bytes], format: str, version: int, names: Iterable[str]) -> dict[str, np.ndarray]:
    with _opened(file) as archive:
        if str(archive["format"]) != format:
            raise ValueError(f"it is an {archive['format']}")
        if str(archive["format_version"]) != str(version):
            raise ValueError(f"expected format version {version}; got {archive['format_version']}")
        return {name: archive[name] for name in names}
