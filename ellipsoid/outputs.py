"""One check before a file is written: no command replaces a file that it did not make, except by force."""

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any


def check_output(
    name: str,
    path: str | os.PathLike[str],
    title: str,
    read: Callable[[Path], Any],
    *,
    inputs: Iterable[str | os.PathLike[str]] = (),
    force: bool = False,
) -> Path:
    """Return the path of a file that may be written. The check comes before any work.

    An existing file may be replaced if `read` can read it, or by force.

    Parameters
    ----------
    name : str
        Name of the argument, for messages.
    path : path
        File to be written.
    title : str
        Kind of the file, for messages, such as "a saved shape".
    read : callable ``(path) -> object``
        Function that reads a file of this kind, and raises ``ValueError`` for any other.
    inputs : sequence of path
        Files that the work reads. They are never replaced, not even by force.
    force : bool
        Permission to replace a file of another kind.

    Raises
    ------
    FileNotFoundError
        If the folder of the file does not exist.
    FileExistsError
        If the path is a folder, a device, a FIFO or an input, or a file of another kind and `force` is off.
    PermissionError
        If the folder is not writable.

    Examples
    --------
    >>> import tempfile
    >>> from ellipsoid import load
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     notes = Path(folder) / "notes.npz"
    ...     _ = notes.write_text("mine")
    ...     check_output("out", notes, "a saved shape", load)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    FileExistsError: out: expected a new file or a saved shape; got .../notes.npz, a file of another kind
    """
    path = Path(path)
    check_folder(name, path)
    if path.is_dir():
        raise FileExistsError(f"{name}: expected the name of a file; got {path}, a folder")
    if path.exists() and not path.is_file():
        raise FileExistsError(f"{name}: expected the name of a file; got {path}, a device, FIFO or socket")
    if any(_are_same(path, file) for file in inputs):
        raise FileExistsError(f"{name}: expected a file other than the inputs; got {path}, which is read")
    if path.exists() and not force and not _can_be_read(path, read):
        raise FileExistsError(f"{name}: expected a new file or {title}; got {path}, a file of another kind")
    return path


def check_folder(name: str, path: str | os.PathLike[str]) -> None:
    """Check that a file or folder can be made at this path.

    Raises
    ------
    FileNotFoundError
        If the parent folder does not exist.
    PermissionError
        If the parent folder is not writable.
    """
    folder = Path(path).parent
    if not folder.is_dir():
        got = "is not a folder" if folder.exists() else "does not exist"
        raise FileNotFoundError(f"{name}: expected a path in a folder; got {path}, but {folder} {got}")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(f"{name}: expected a writable folder; got {folder}")


def _are_same(path: Path, other: str | os.PathLike[str]) -> bool:
    """Whether both paths are the same file, also through links."""
    if path.exists() and os.path.exists(other):
        return os.path.samefile(path, other)
    return os.path.realpath(path) == os.path.realpath(other)


def _can_be_read(path: Path, read: Callable[[Path], Any]) -> bool:
    try:
        read(path)
    except (ValueError, TypeError, KeyError, OSError):
        return False
    return True
