"""Base of all sinks, which store the rows of a large batch chunk by chunk and record what is stored.

Rows come as *columns*, arrays of one name, type and row shape each: ``latents`` (D,), ``scores`` (K,),
``gauge`` (), ``part`` () or ``images`` (H, W, C). A sink takes them in chunks, in any order, from several
threads and processes at once. A chunk written twice leaves the same bytes, so nothing has to be undone after
an interruption.
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

#: Rows of several columns, by column name.
Columns = Mapping[str, np.ndarray]

#: Name of the column of decoded images.
IMAGES = "images"


class Column(NamedTuple):
    """Type and shape of one row of a column.

    Attributes
    ----------
    dtype : numpy.dtype
        Type of each number.
    shape : tuple of int
        Shape of one row; ``()`` for a single number.
    """

    dtype: np.dtype
    shape: tuple[int, ...]

    @property
    def n_bytes(self) -> int:
        """Size of one row in bytes."""
        return math.prod(self.shape) * self.dtype.itemsize


@dataclass(frozen=True)
class WritePlan:
    """Rows to write, and their division into chunks.

    Attributes
    ----------
    n : int
        Number of rows.
    chunk : int
        Number of rows that are written and recorded at a time; the last chunk may have fewer.
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
        """Return the first row of a chunk, and the one after its last."""
        return index * self.chunk, min((index + 1) * self.chunk, self.n)

    def n_rows(self, chunks: range) -> int:
        """Return the number of rows of some chunks together."""
        last = self.n_chunks - 1
        return len(chunks) * self.chunk - ((last + 1) * self.chunk - self.n if last in chunks else 0)


class Checksum:
    """Size and checksum of bytes that are added piece by piece.

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
        """Add more bytes."""
        self.n_bytes += len(data)
        self.crc32 = zlib.crc32(data, self.crc32)


class Sink:
    """Base of all sinks, which stores nothing. A subclass defines `write` and whatever else it supports.

    Attributes
    ----------
    name : str
        Name in messages.
    format : str
        Name of the stored format; a run can only continue with the same one.
    workers : int
        Number of threads that may call `write` at the same time.

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
        """Receive the plan of the rows, and change nothing.

        Raises
        ------
        ValueError
            If this sink cannot hold the columns.
        ImportError
            If a package that it needs is missing.
        """

    def claim(self, manifest: bytes) -> bytes:
        """Store the settings of a run if no process has; return those that the first process stored."""
        return manifest

    def claimed(self) -> bytes | None:
        """Return the settings that the first process of an unfinished run stored, or None."""

    def hold(self, process: str) -> AbstractContextManager[None]:
        """Return a context in which no other living process has the same number."""
        return nullcontext()

    def create(self) -> None:
        """Make the storage, or open that of an earlier run."""

    def write(self, start: int, columns: Columns) -> Checksum:
        """Write rows from number `start` on; return the size and checksum of the stored bytes."""
        raise NotImplementedError

    def read(self, start: int, stop: int) -> Checksum:
        """Return the size and checksum of stored rows, to compare with those of :meth:`write`."""
        return Checksum()

    def damaged_files(self) -> list[str]:
        """Return the names of damaged files that hold no rows and differ from those of :meth:`create`."""
        return []

    def flush(self) -> None:
        """Return when everything written is on disk."""

    def exists(self) -> bool:
        """Whether something has the name of the complete result."""
        return False

    def records(self) -> dict[str, bytes]:
        """Return the records of each process of an unfinished run, by the number of the process."""
        return {}

    def record(self, process: str, content: bytes) -> None:
        """Replace the records of one process."""

    def publish(self, manifest: bytes) -> None:
        """Give the complete result its name; several processes may do so at once."""

    def published(self) -> bytes | None:
        """Return the manifest of a complete result, or None."""

    def is_untidy(self) -> bool:
        """Whether a run was stopped after its result was complete, but before the rest was removed."""
        return False

    def tidy(self) -> None:
        """Remove what such a run left beside its result."""

    def check_space(self, first: Columns, n: int) -> None:
        """Raise ``OSError`` if `n` more rows like these do not fit."""

    def location(self) -> Path | str | None:
        """Return where the rows are now."""


class CallbackSink(Sink):
    """Sink that passes rows to a function, ``function(start, columns)``, in order, one call at a time.

    The function runs in its own thread while the next rows are drawn. Nothing is stored, so an interrupted
    run starts again from the first row.

    Parameters
    ----------
    function : callable
        Function of the number of the first row and a dictionary of arrays.
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
    """Return the number of rows of some columns."""
    return len(next(iter(columns.values())))


def raw_bytes(array: np.ndarray) -> memoryview:
    """Return the bytes of an array, row by row."""
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


def record_file(process: str) -> str:
    """Return the file name of a process's records."""
    return f"part-{process}.json"


def process_of(file: str) -> str | None:
    """Return the number of the process whose records have this file name; None for any other name."""
    name = re.fullmatch(r"part-(\d+)\.json", file)
    return None if name is None else name[1]


def require(module: str, extra: str) -> None:
    """Check that a package is installed.

    Raises
    ------
    ImportError
        If the package is missing; the message says what to install.
    """
    if importlib.util.find_spec(module) is None:
        raise ImportError(f'sink: writing .{extra} needs {module}; run pip install "ellipsoid[{extra}]"')
