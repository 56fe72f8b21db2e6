"""Files and folders that appear under their name complete or not at all."""

import contextlib
import errno
import os
import re
import secrets
import shutil
import socket
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ellipsoid.holding import Process

#: Pattern of the suffix that a temporary file adds to the name of its file and a dot: its writer, and a
#: random number.
TEMPORARY = r"(?P<host>[0-9a-f]{8})-(?P<pid>\d+)-(?P<start>\d*)-[0-9a-f]{8}\.tmp"


@contextmanager
def published(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary name beside `path`, and rename what the block makes there to `path` at its end.

    Readers see the old content or the new one, never a part of it. If the block fails, its file is removed
    and `path` stays as it was. If the process is killed in the block, the next writer of `path` removes its
    file. A folder can only replace an empty folder. A symbolic link is followed and kept.

    Parameters
    ----------
    path : path
        Name of the new file or folder. Missing parent folders are made.

    Yields
    ------
    Path
        Name at which the block makes a file or a folder.

    Raises
    ------
    OSError
        If the file or folder cannot be renamed to `path`, or if a device, a pipe or a socket is there.
    """
    path = followed(path)
    check_regular(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _temporary(path)
    try:
        yield temporary
        if temporary.is_file():
            with open(temporary, "rb+") as file:
                os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        _remove(temporary)


def _temporary(path: Path) -> Path:
    """Return a temporary name beside a path, after removing what dead processes left there."""
    # Another process may remove them at the same time, and the folder may not be readable.
    with contextlib.suppress(OSError):
        for name in os.listdir(path.parent):
            if name.startswith(f".{path.name}.") and _is_left(name.removeprefix(f".{path.name}.")):
                _remove(path.with_name(name))
    process = Process.own()
    writer = f"{_checksum(process.host)}-{process.pid}-{process.start or ''}"
    return path.with_name(f".{path.name}.{writer}-{secrets.token_hex(4)}.tmp")


def _is_left(name: str) -> bool:
    """Whether the rest of a temporary name belongs to a process that is no longer alive."""
    found = re.fullmatch(TEMPORARY, name)
    if found is None or found["host"] != _checksum(socket.gethostname()):
        return False
    return not Process(int(found["pid"]), socket.gethostname(), found["start"] or None).is_alive()


def _checksum(host: str) -> str:
    return f"{zlib.crc32(host.encode(errors='surrogateescape')):08x}"


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)


def followed(path: str | os.PathLike[str]) -> Path:
    """Return the path that a symbolic link leads to, even if nothing exists there; return others unchanged.

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
    """Refuse to replace anything but a file or a folder.

    Raises
    ------
    OSError
        If a device, a pipe or a socket is there.
    """
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise OSError(f"path: expected the name of a file or folder; got {path}, a device, pipe or socket")


def replace_file(path: str | os.PathLike[str], content: bytes) -> None:
    """Write a file completely or not at all.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    with published(path) as temporary:
        temporary.write_bytes(content)


def create_file(path: str | os.PathLike[str], content: bytes) -> bool:
    """Write a file completely or not at all, unless the name is taken; return whether it was written.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    path = Path(path)
    temporary = _temporary(path)
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
