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
from typing import IO, NamedTuple

_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL}


class Process(NamedTuple):
    """A process that writes.

    Attributes
    ----------
    pid : int
        Number that the system gives it; to another one when it has ended.
    host : str
        Name of its machine.
    start : str or None
        Time at which it started, in clock ticks; None where the system does not say.
    """

    pid: int
    host: str
    start: str | None

    @classmethod
    def own(cls) -> "Process":
        """Make that of the caller."""
        return cls(os.getpid(), socket.gethostname(), _start(os.getpid()))

    def is_alive(self) -> bool:
        """Whether it lives, as far as this machine can tell: one of another machine does."""
        if self.host != socket.gethostname():
            return True
        if os.name == "nt":  # no signal there asks without harm
            return self.pid != os.getpid()
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except (PermissionError, OverflowError):
            pass
        return self.start == _start(self.pid)


def _start(pid: int) -> str | None:
    try:
        # The name of the program, in brackets, may hold spaces.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return None


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
            process = f"process {holder.pid} on {holder.host}" if holder else "another process"
            raise FileExistsError(f"{argument}: {name} is already being written by {process}")
        if _is_same(file, path):
            file.truncate(0)
            file.write(json.dumps(Process.own()._asdict()).encode())
            file.flush()
            return file
        file.close()


def _lock(file: IO[bytes], holder: Process | None) -> bool:
    """Lock a file, unless another process has."""
    is_held = holder is not None and holder.is_alive()
    try:
        import fcntl
    except ImportError:  # Windows
        return not is_held
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _NO_LOCKS:
            return not is_held
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            return False
        raise
    return True


def _holder(content: bytes) -> Process | None:
    """Process that a file names; None while it is not written yet."""
    try:
        holder = json.loads(content)
        return Process(int(holder["pid"]), str(holder["host"]), holder["start"])
    except (ValueError, TypeError, KeyError):
        return None


def _is_same(file: IO[bytes], path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), os.stat(path))
    except FileNotFoundError:
        return False
