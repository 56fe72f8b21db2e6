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
    """Write a file, complete or not at all."""
    with published(path) as temporary:
        temporary.write_bytes(content)
