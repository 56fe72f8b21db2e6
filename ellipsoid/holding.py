"""A file that one living process holds: a lock of the operating system, and who has it.

The lock ends with its process, however that ends, so nothing has to be judged by age. NFS shares such locks
between machines. On a file system that has no locks, the process that the file names is looked for: it still
holds the file if it lives, or if it is of another machine.
"""

import contextlib
import errno
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL}


@contextmanager
def held(path: Path, name: str, argument: str = "sink") -> Iterator[None]:
    """Hold a file while the block runs; folders above it are made.

    Parameters
    ----------
    path : Path
        Path of the file, which is removed at the end.
    name : str
        Name that messages use of what the holder may write.
    argument : str
        Name of the argument that it was given by, for messages.

    Raises
    ------
    FileExistsError
        If a living process holds it; the message says which.
    """
    file = _taken(path, name, argument)
    try:
        yield
    finally:
        # Removed before the lock ends: whoever waits for the lock then sees that its file is another.
        if _is_same(file, path):
            with contextlib.suppress(OSError):
                path.unlink()
        file.close()


def _taken(path: Path, name: str, argument: str) -> IO[bytes]:
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            file = open(path, "a+b")  # noqa: SIM115
        except FileNotFoundError:
            continue  # the folder was removed, since the result is complete
        file.seek(0)
        holder = _holder(file.read())
        if not _lock(file, holder):
            file.close()
            process = f"process {holder['pid']} on {holder['host']}" if holder else "another process"
            raise FileExistsError(f"{argument}: {name} is already being written by {process}")
        if _is_same(file, path):
            file.truncate(0)
            me = {"pid": os.getpid(), "host": socket.gethostname(), "start": _start(os.getpid())}
            file.write(json.dumps(me).encode())
            file.flush()
            return file
        file.close()


def _lock(file: IO[bytes], holder: dict[str, Any]) -> bool:
    """Lock a file, unless another process has."""
    try:
        import fcntl
    except ImportError:  # Windows
        return not _is_alive(holder)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _NO_LOCKS:
            return not _is_alive(holder)
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            return False
        raise
    return True


def _holder(content: bytes) -> dict[str, Any]:
    """Process that a file names; nothing while it is not written yet."""
    try:
        holder = json.loads(content)
        return {name: holder[name] for name in ("pid", "host", "start")}
    except (ValueError, TypeError, KeyError):
        return {}


def _is_alive(holder: dict[str, Any]) -> bool:
    """Whether a process lives, as far as this machine can tell."""
    if not holder:
        return False
    if holder["host"] != socket.gethostname():
        return True
    if os.name == "nt":  # no signal there asks without harm
        return holder["pid"] != os.getpid()
    try:
        os.kill(holder["pid"], 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return holder["start"] == _start(holder["pid"])


def _start(pid: int) -> str | None:
    """Time at which a process started, in clock ticks; None where the system does not say."""
    try:
        # The name of the program, in brackets, may hold spaces.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return None


def _is_same(file: IO[bytes], path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), os.stat(path))
    except FileNotFoundError:
        return False
