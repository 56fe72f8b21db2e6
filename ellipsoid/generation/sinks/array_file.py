"""One ``.npy`` file that several threads and processes fill, in any order."""

import io
import os
from pathlib import Path

import numpy as np

from ellipsoid.generation.sinks.base import Checksum, Column, raw_bytes


class ArrayFile:
    """One ``.npy`` file that is written in any order.

    It uses plain writes instead of a memory map. A full disk then raises an error instead of a bus error, and
    pages that wait for the disk do not count as memory of the process.

    Parameters
    ----------
    name : str
        Name of the file. The folder is an argument of each call, since it is renamed at the end.
    n : int
        Number of rows.
    column : Column
        Type and shape of each row.
    """

    def __init__(self, name: str, n: int, column: Column) -> None:
        header = io.BytesIO()
        descr = np.lib.format.dtype_to_descr(column.dtype)
        np.lib.format.write_array_header_1_0(
            header, {"descr": descr, "fortran_order": False, "shape": (n, *column.shape)}
        )
        self._name = name
        self._header = header.getvalue()
        self._row_bytes = column.n_bytes
        self._size = len(self._header) + n * column.n_bytes

    def create(self, folder: Path) -> None:
        """Make the file in its full size, or keep the one that another process has made."""
        # Every process runs all of this; each step leaves what another process has written unchanged.
        (folder / self._name).touch()
        with open(folder / self._name, "r+b") as file:
            file.write(self._header)
            file.truncate(self._size)

    def write(self, folder: Path, start: int, rows: np.ndarray, checksum: Checksum) -> None:
        """Write rows from number `start` on, and add them to a checksum."""
        data = raw_bytes(rows)
        with open(folder / self._name, "r+b") as file:
            file.seek(len(self._header) + start * self._row_bytes)
            file.write(data)
        checksum.add(data)

    def read(self, folder: Path, start: int, stop: int, checksum: Checksum) -> None:
        """Add stored rows to a checksum; rows under a damaged header do not count."""
        with open(folder / self._name, "rb") as file:
            if file.read(len(self._header)) == self._header:
                file.seek(len(self._header) + start * self._row_bytes)
                checksum.add(file.read((stop - start) * self._row_bytes))

    def flush(self, folder: Path) -> None:
        """Return when everything written is on disk."""
        with open(folder / self._name, "r+b") as file:
            os.fsync(file.fileno())
