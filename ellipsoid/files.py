"""Files and folders that appear under their name complete or not at all."""

import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def published(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary name beside `path`; what the block makes there is renamed to `path` at its end.

    Readers see what was there before or what is new, never a part of it. If the block fails, what it
    made is removed and `path` stays as it was. A folder can only replace an empty folder. A symbolic link
    is followed, and stays.

    Parameters
    ----------
    path : path
        Name of the file or folder to be; folders above it are made.

    Yields
    ------
    Path
        Name at which the block makes a file or a folder.

    Raises
    ------
    OSError
        If the file or folder cannot be brought to its place, or if a device, a pipe or a socket is there.
    """
    path = followed(path)
    check_regular(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        yield temporary
        if temporary.is_file():
            with open(temporary, "rb+") as file:
                os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary)
        temporary.unlink(missing_ok=True)


def followed(path: str | os.PathLike[str]) -> Path:
    """Path that a symbolic link leads to, also where nothing is yet; any other path as it is.

    Raises
    ------
    OSError
        If links lead to each other.
    """
    path = Path(path)
    if not path.is_symlink():
        return path
    target = Path(os.path.realpath(path))
    if target.is_symlink():
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
    return target


def check_regular(path: Path) -> None:
    """Refuse to replace what is neither a file nor a folder.

    Raises
    ------
    OSError
        If a device, a pipe or a socket is there.
    """
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise OSError(f"path: expected the name of a file or folder; got {path}, a device, pipe or socket")


def replace_file(path: str | os.PathLike[str], content: bytes) -> None:
    """Write a file, complete or not at all.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    with published(path) as temporary:
        temporary.write_bytes(content)


def create_file(path: str | os.PathLike[str], content: bytes) -> bool:
    """Write a file, complete or not at all, unless something has its name; give whether it was written.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with open(temporary, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(temporary, path)
        except FileExistsError:
            return False
        except OSError:  # a file system without hard links
            if path.exists():
                return False
            os.replace(temporary, path)
        return True
    finally:
        temporary.unlink(missing_ok=True)
