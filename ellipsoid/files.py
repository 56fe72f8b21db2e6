"""Files and folders that appear under their name complete or not at all."""

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
    made is removed and `path` stays as it was. A folder can only replace an empty folder.

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
        If the file or folder cannot be brought to its place.
    """
    path = Path(path)
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
