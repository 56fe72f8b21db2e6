"""One check of every file that is about to be written: nobody's work is replaced without being told to."""

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
    """Return the path of a file that may be written, before any work is done for it.

    A file that is there already may be replaced if `read` can read it, or by force.

    Parameters
    ----------
    name : str
        Name of the argument, for messages.
    path : path
        File to be written.
    title : str
        Kind of the file in messages, as in "a saved shape".
    read : callable ``(path) -> object``
        Function that reads a file of this kind, and raises ``ValueError`` for any other.
    inputs : sequence of path
        Files that the work reads. None of them is replaced, not even by force.
    force : bool
        Permission to replace a file of another kind.

    Raises
    ------
    FileNotFoundError
        If there is no folder to write the file in.
    FileExistsError
        If the path is a folder, a device or a FIFO, an input, or a file of another kind without `force`.
    PermissionError
        If the folder can't be written in.

    Examples
    --------
    >>> import tempfile
    >>> from ellipsoid import load
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     notes = Path(folder) / "notes.npz"
    ...     _ = notes.write_text("mine")
    ...     check_output("out", notes, "a saved shape", load)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    FileExistsError: out: expected a new file or a saved shape; got .../notes.npz, which is neither
    """
    path = Path(path)
    check_folder(name, path)
    if path.is_dir():
        raise FileExistsError(f"{name}: expected the name of a file; got {path}, which is a folder")
    if path.exists() and not path.is_file():
        raise FileExistsError(
            f"{name}: expected the name of a file; got {path}, which is a device, a FIFO or a socket"
        )
    if any(_are_same(path, file) for file in inputs):
        raise FileExistsError(f"{name}: expected another file than the one that is read; got {path} for both")
    if path.exists() and not force and not _can_be_read(path, read):
        raise FileExistsError(f"{name}: expected a new file or {title}; got {path}, which is neither")
    return path


def check_folder(name: str, path: str | os.PathLike[str]) -> None:
    """Check that a file or folder of this path can be made.

    Raises
    ------
    FileNotFoundError
        If there is no folder to make it in.
    PermissionError
        If that folder can't be written in.
    """
    folder = Path(path).parent
    if not folder.is_dir():
        got = "is no folder" if folder.exists() else "does not exist"
        raise FileNotFoundError(f"{name}: expected a name in a folder; got {path}, and {folder} {got}")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(f"{name}: expected a folder that can be written in; got {folder}")


def _are_same(path: Path, other: str | os.PathLike[str]) -> bool:
    """Whether both names mean one file, be it through links."""
    if path.exists() and os.path.exists(other):
        return os.path.samefile(path, other)
    return os.path.realpath(path) == os.path.realpath(other)


def _can_be_read(path: Path, read: Callable[[Path], Any]) -> bool:
    try:
        read(path)
    except (ValueError, TypeError, KeyError, OSError):
        return False
    return True
