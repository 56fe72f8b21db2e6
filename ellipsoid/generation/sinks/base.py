"""Base of all sinks: a sink takes the rows of a large batch a chunk at a time, and tells what became of them.

Rows come as *columns*, arrays of one name, type and row shape each: ``latents`` (D,), ``scores`` (K,),
``gauge`` (), ``part`` () or ``images`` (H, W, C). A sink takes them a chunk at a time, in any order, from
several threads and processes at once. A chunk written twice leaves the same bytes, so nothing has to be
undone after a run was cut.
"""

import importlib.util
import math
import re
import zlib
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

#: Rows of several columns, by the names of the columns.
Columns = Mapping[str, np.ndarray]

#: Name of the column that a decoder makes.
IMAGES = "images"


class Column(NamedTuple):
    """Type and shape of one row of a column.

    Attributes
    ----------
    dtype : numpy.dtype
        Type of each number.
    shape : tuple of int
        Shape of one row, ``()`` where it is a single number.
    """

    dtype: np.dtype
    shape: tuple[int, ...]

    @property
    def n_bytes(self) -> int:
        """Bytes of one row."""
        return math.prod(self.shape) * self.dtype.itemsize


@dataclass(frozen=True)
class WritePlan:
    """Rows that are to be written, and how they are cut into chunks.

    Attributes
    ----------
    n : int
        Number of rows.
    chunk : int
        Rows that are written and recorded at a time; the last chunk may have fewer.
    columns : dict of str to Column
        Columns of each row; the first one is the main one.
    """

    n: int
    chunk: int
    columns: dict[str, Column]

    @property
    def n_chunks(self) -> int:
        """Number of chunks."""
        return -(-self.n // self.chunk)

    def rows(self, index: int) -> tuple[int, int]:
        """First row of a chunk, and the one after its last."""
        return index * self.chunk, min((index + 1) * self.chunk, self.n)

    def n_rows(self, chunks: range) -> int:
        """Rows of some chunks together."""
        last = self.n_chunks - 1
        return len(chunks) * self.chunk - ((last + 1) * self.chunk - self.n if last in chunks else 0)


class Checksum:
    """Size and checksum of bytes, which are added a piece at a time.

    Attributes
    ----------
    n_bytes : int
        Number of bytes so far.
    crc32 : int
        Their CRC-32.
    """

    def __init__(self) -> None:
        self.n_bytes = 0
        self.crc32 = 0

    def add(self, data: bytes | memoryview) -> None:
        """Count some more bytes."""
        self.n_bytes += len(data)
        self.crc32 = zlib.crc32(data, self.crc32)


class Sink:
    """Base of all sinks, which keeps nothing; to write one, give `write` and what else it can do.

    Attributes
    ----------
    name : str
        Name that messages use.
    format : str
        Kind of thing that is written; a run that goes on must find the same.
    workers : int
        Threads that may call `write` at the same time.

    Examples
    --------
    >>> import numpy as np
    >>> import ellipsoid as el
    >>> from ellipsoid.generation.sinks import Checksum, Sink
    >>> class Means(Sink):
    ...     def write(self, start, columns):
    ...         print(start, columns["latents"].mean(axis=0).shape)
    ...         return Checksum()
    >>> state = el.fit(np.random.default_rng(0).normal(size=(100, 2)))
    >>> el.generate(el.key(0), state, 10, Means(), law="uniform", chunk=5, progress=False)
    0 (2,)
    5 (2,)
    """

    name = ""
    format = ""
    workers = 1

    def open(self, plan: WritePlan) -> None:
        """Learn what will be written and change nothing.

        Raises
        ------
        ValueError
            For columns that this sink cannot hold.
        ImportError
            If it needs a package that is missing.
        """

    def claim(self, manifest: bytes) -> bytes:
        """Say what will be written, once for all processes; give what the first of them has said."""
        return manifest

    def claimed(self) -> bytes | None:
        """Give what the first process of an unfinished run has said, if one has."""

    def hold(self, process: str) -> AbstractContextManager[None]:
        """Give a context in which no other living process has the same number."""
        return nullcontext()

    def create(self) -> None:
        """Make the storage, or find it as an earlier run left it."""

    def write(self, start: int, columns: Columns) -> Checksum:
        """Write rows from number `start` on; give the size and checksum of what is stored."""
        raise NotImplementedError

    def read(self, start: int, stop: int) -> Checksum:
        """Size and checksum of rows as they are stored, to compare with what :meth:`write` gave."""
        return Checksum()

    def damaged_files(self) -> list[str]:
        """Names of files that hold no rows, and are not as :meth:`create` makes them."""
        return []

    def flush(self) -> None:
        """Return when all that was written is on disk."""

    def exists(self) -> bool:
        """Whether something has the name of the complete result."""
        return False

    def records(self) -> dict[str, bytes]:
        """Give what each process of an unfinished run has recorded, by number of process."""
        return {}

    def record(self, process: str, content: bytes) -> None:
        """Replace the records of one process."""

    def publish(self, manifest: bytes) -> None:
        """Give the complete result its name; several processes may do so at once."""

    def published(self) -> bytes | None:
        """Manifest of a complete result, if there is one."""

    def is_untidy(self) -> bool:
        """Whether a run was cut when its result was complete, but not all else was removed."""
        return False

    def tidy(self) -> None:
        """Remove what such a run left beside its result."""

    def check_space(self, first: Columns, n: int) -> None:
        """Raise ``OSError`` if `n` more rows like these do not fit."""

    def location(self) -> Path | str | None:
        """Where the rows are now."""


class CallbackSink(Sink):
    """Rows go to a function, ``function(start, columns)``, in order, one call at a time.

    The function runs in a thread of its own while the next rows are drawn. Nothing is kept, so a run
    that is cut begins anew.

    Parameters
    ----------
    function : callable
        Called with the number of the first row and a dictionary of arrays.
    """

    name = format = "callback"

    def __init__(self, function: Callable[[int, Columns], Any]) -> None:
        self._function = function

    def write(self, start: int, columns: Columns) -> Checksum:
        """Call the function."""
        self._function(start, columns)
        checksum = Checksum()
        checksum.n_bytes = sum(array.nbytes for array in columns.values())
        return checksum


def n_rows(columns: Columns) -> int:
    """Rows that some columns have."""
    return len(next(iter(columns.values())))


def raw_bytes(array: np.ndarray) -> memoryview:
    """Bytes of an array, row by row."""
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


def record_file(process: str) -> str:
    """Name under which the records of a process are stored."""
    return f"part-{process}.json"


def process_of(file: str) -> str | None:
    """Process whose records are stored under this name, by its number; None for any other name."""
    name = re.fullmatch(r"part-(\d+)\.json", file)
    return None if name is None else name[1]


def require(module: str, extra: str) -> None:
    """Check that a package is there.

    Raises
    ------
    ImportError
        If it is missing; the message says what to install.
    """
    if importlib.util.find_spec(module) is None:
        raise ImportError(f'sink: writing .{extra} needs {module}: pip install "ellipsoid[{extra}]"')
