"""A file that one living process holds, by a lock of the operating system.

The lock ends with its process, however that ends, so no age has to be judged. NFS shares such locks between
machines. On a file system without locks, the file is held if the process that it names is alive or runs on
another machine.
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
    """Process that writes.

    Attributes
    ----------
    pid : int
        Process id. The system may give it to another process later.
    host : str
        Name of the machine.
    start : str or None
        Start time of the process in clock ticks; None if the system does not tell.
    """

    pid: int
    host: str
    start: str | None

    @classmethod
    def own(cls) -> "Process":
        """Return the calling process."""
        return cls(os.getpid(), socket.gethostname(), _start(os.getpid()))

    def is_alive(self) -> bool:
        """Whether the process is alive; one on another machine is taken to be."""
        if self.host != socket.gethostname():
            return True
        if os.name == "nt":  # sending a signal to test a process would end it there
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
        # The program's name, in brackets, may hold spaces.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return None


@contextmanager
def held(path: Path, name: str, argument: str = "sink") -> Iterator[None]:
    """Hold a file while the block runs; missing parent folders are made.

    Parameters
    ----------
    path : Path
        Path of the file; it is removed at the end.
    name : str
        Name of the protected result in messages.
    argument : str
        Name of the argument in messages.

    Raises
    ------
    FileExistsError
        If a living process holds the file; the message names the process.
    """
    file = _taken(path, name, argument)
    try:
        yield
    finally:
        # The file is removed before the lock ends, so a waiting process sees that its own file is stale.
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
            continue  # the folder was removed because its result is complete
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
    """Lock a file; return False if another process has locked it."""
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
    """Return the process that a file names; None if it is not written yet."""
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
