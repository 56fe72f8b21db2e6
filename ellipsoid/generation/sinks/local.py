"""Base of the sinks on a file system.

Everything lies in ``NAME.partial`` beside the target until it is complete, and takes its own name by a
rename.
"""

import contextlib
import itertools
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

from ellipsoid.files import TEMPORARY, create_file, followed, replace_file
from ellipsoid.generation.sinks.array_file import ArrayFile
from ellipsoid.generation.sinks.base import (
    Checksum,
    Columns,
    Sink,
    WritePlan,
    n_rows,
    process_of,
    record_file,
)
from ellipsoid.holding import held

_MANIFEST = "manifest.json"
_CLAIM = "claim.json"
_RESERVED_BYTES = 2**14
_RESERVED_BYTES_PER_CHUNK = 64
# Files that runs make in the work folder, and what a kill leaves of one that is being replaced.
_FILES = r"reserve|claim\.json|holder-\d+\.json|part-\d+\.json|_?manifest\.json\.\d+|zarr\.json\.\d+"
_OURS = re.compile(rf"{_FILES}|\.({_FILES})\.({TEMPORARY}|[0-9a-f]{{8}}\.tmp)")


class LocalSink(Sink):
    """Base of the sinks on a file system.

    The rows lie in ``NAME.partial/data`` and the records of the processes in ``NAME.partial`` until
    everything is complete. A kind of sink says which columns are stored as one array each (`_array_files`),
    and how the others become files (`_chunk_files`, `_encode`).

    Parameters
    ----------
    path : path
        Name of the complete result; a symbolic link is followed.
    """

    workers = 2
    _is_folder = True  # the result is one folder; otherwise files beside each other
    _manifest_is_inside = True  # in the folder; otherwise beside the result

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = followed(path)
        self.name = str(path)
        self._work = self.path.with_name(self.path.name + ".partial")
        self._data = self._work / "data"

    # --- what a kind of sink says of itself ---

    def _array_files(self) -> dict[str, str]:
        """Columns that are stored as one array each, with the names of their files."""
        return {}

    def _chunk_files(self, start: int, stop: int) -> Iterable[str]:
        """Names of the files that hold a chunk."""
        return ()

    def _encode(self, start: int, columns: Columns) -> Iterator[tuple[str, bytes | memoryview]]:
        """Names and contents of the files that hold a chunk."""
        yield from ()

    # --- writing ---

    def open(self, plan: WritePlan) -> None:
        """Learn what will be written.

        Raises
        ------
        ValueError
            For columns that this sink cannot hold.
        """
        if any(column.dtype.name == "bfloat16" for column in plan.columns.values()):
            raise ValueError(f"dtype: {self.format} files have no bfloat16; use float16, or a .zarr sink")
        self.plan = plan
        self._arrays = {
            name: ArrayFile(file, plan.n, plan.columns[name]) for name, file in self._array_files().items()
        }

    def check_space(self, first: Columns, n: int) -> None:
        """Raise ``OSError`` if `n` more rows like these do not fit on the disk."""
        needed = n * self._row_bytes(first)
        folder = next(parent for parent in self.path.absolute().parents if parent.exists())
        free = shutil.disk_usage(folder).free
        if needed > free:
            raise OSError(
                f"sink: {n:,} rows need about {needed / 1e6:,.1f} MB; {free / 1e6:,.1f} MB are free in "
                f"{folder}; make room, write fewer rows, or choose another place"
            )

    def _row_bytes(self, first: Columns) -> float:
        arrays = sum(self.plan.columns[name].n_bytes for name in self._arrays)
        files = sum(len(content) for _, content in self._encode(0, first))
        return arrays + files / n_rows(first)

    def claim(self, manifest: bytes) -> bytes:
        """Say what will be written, once for all processes; give what the first of them has said.

        Raises
        ------
        FileExistsError
            If the work folder holds rows that no run made.
        OSError
            If it cannot be made.
        """
        # In this order: another process may be at the same step.
        has_rows = self._data.exists() and any(self._data.iterdir())
        if has_rows and not any(_OURS.fullmatch(path.name) for path in self._work.iterdir()):
            raise FileExistsError(
                f"sink: {self._work} holds something else; choose another name, or move it away"
            )
        while True:
            self._work.mkdir(parents=True, exist_ok=True)
            # Another process may just have removed the folder, since the result is complete.
            with contextlib.suppress(FileNotFoundError):
                create_file(self._work / _CLAIM, manifest)
                return (self._work / _CLAIM).read_bytes()

    def claimed(self) -> bytes | None:
        """Give what the first process of an unfinished run has said, if one has."""
        try:
            return (self._work / _CLAIM).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def hold(self, process: str) -> AbstractContextManager[None]:
        """Give a context in which no other living process has the same number."""
        return held(self._work / f"holder-{process}.json", self.name)

    def create(self) -> None:
        """Make the work folder and the arrays in it."""
        self._make_work()
        for array in self._arrays.values():
            array.create(self._data)

    def _make_work(self) -> None:
        self._data.mkdir(parents=True, exist_ok=True)
        # Given up when the disk is full, for the records that say what is on it.
        reserve = self._work / "reserve"
        if not reserve.exists():
            reserve.write_bytes(bytes(_RESERVED_BYTES + _RESERVED_BYTES_PER_CHUNK * self.plan.n_chunks))

    def write(self, start: int, columns: Columns) -> Checksum:
        """Write rows from number `start` on."""
        checksum = Checksum()
        for name, array in self._arrays.items():
            array.write(self._data, start, columns[name], checksum)
        for name, content in self._encode(start, columns):
            self._write_file(self._data / name, content)
            checksum.add(content)
        return checksum

    def _write_file(self, path: Path, content: bytes | memoryview) -> None:
        with open(path, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())

    def flush(self) -> None:
        """Return when all that was written is on disk."""
        for array in self._arrays.values():
            array.flush(self._data)

    def record(self, process: str, content: bytes) -> None:
        """Replace the records of one process."""
        self._replace_file(self._work / record_file(process), content)

    def _replace_file(self, path: Path, content: bytes) -> None:
        """Replace a file, on a full disk in the space that was kept for that."""
        try:
            replace_file(path, content)
        except OSError:
            (self._work / "reserve").unlink(missing_ok=True)
            replace_file(path, content)

    # --- what is there ---

    def exists(self) -> bool:
        """Whether the result, or a file of it, has its name."""
        if self.path.exists() or (os.path.lexists(self._manifest) and not self._manifest.is_file()):
            return True
        if self._is_folder or not self.path.parent.is_dir():
            return False
        # Not name by name: there may be billions of chunks.
        return any(self._is_target(name) for name in os.listdir(self.path.parent))

    def _is_target(self, name: str) -> bool:
        """Whether the complete result has a file of this name beside its own."""
        return name in self._array_files().values()

    def _targets(self) -> Iterator[Path]:
        """Paths of the complete result, the one that was asked for last."""
        if self._is_folder:
            yield self.path
            return
        for index in reversed(range(self.plan.n_chunks)):
            for name in self._chunk_files(*self.plan.rows(index)):
                yield self.path.with_name(name)
        for name in reversed(self._array_files().values()):
            yield self.path.with_name(name)

    def records(self) -> dict[str, bytes]:
        """Give what each process of an unfinished run has recorded, by number of process."""
        contents = {}
        for path in sorted(self._work.glob(record_file("*"))):
            # Another process may just be removing them, since the result is complete.
            process = process_of(path.name)
            with contextlib.suppress(FileNotFoundError):
                if process is not None:
                    contents[process] = path.read_bytes()
        return contents

    def read(self, start: int, stop: int) -> Checksum:
        """Size and checksum of rows as they are stored; what is missing does not count."""
        checksum, folder = Checksum(), self._folder
        with contextlib.suppress(FileNotFoundError):
            for array in self._arrays.values():
                array.read(folder, start, stop, checksum)
            for name in self._chunk_files(start, stop):
                checksum.add((folder / name).read_bytes())
        return checksum

    @property
    def _folder(self) -> Path:
        """Folder where the rows are, complete or not."""
        if self._data.exists():
            return self._data
        return self.path if self._is_folder else self.path.parent

    def location(self) -> Path:
        """Where the rows are now."""
        is_begun = self._data.exists() or (self._work.exists() and not self._manifest.exists())
        return self._work if is_begun else self.path

    # --- the end ---

    @property
    def _manifest(self) -> Path:
        if self._is_folder and self._manifest_is_inside:
            return self.path / _MANIFEST
        return self.path.with_name(f"{self.path.name}.json")

    def publish(self, manifest: bytes) -> None:
        """Rename everything, and pass over what another process or an earlier run has renamed.

        Raises
        ------
        FileNotFoundError
            If rows are neither where they were written nor where they belong.
        """
        own = self._work / f"{_MANIFEST}.{os.getpid()}"
        self._replace_file(own, manifest)
        is_inside = self._is_folder and self._manifest_is_inside
        first = (own, self._data / _MANIFEST if is_inside else self._manifest)
        rows = ((self._data if self._is_folder else self._data / path.name, path) for path in self._targets())
        for source, target in itertools.chain([first], rows):
            with contextlib.suppress(FileNotFoundError):
                source.replace(target)
        result = itertools.chain([self._manifest], self._targets())
        missing = next((path for path in result if not path.exists()), None)
        if missing is not None:
            raise FileNotFoundError(
                f"{missing}: its rows were removed from {self._data} before it was complete"
            )
        self._remove_work()

    def _remove_work(self) -> None:
        """Remove what runs make in the work folder, and the folder if nothing else is in it."""
        # Another process may do so at the same time.
        with contextlib.suppress(OSError):
            for path in self._work.iterdir():
                if _OURS.fullmatch(path.name) and not path.is_dir():
                    path.unlink(missing_ok=True)
        for folder in (self._data, self._work):
            with contextlib.suppress(OSError):
                folder.rmdir()

    def published(self) -> bytes | None:
        """Manifest of a complete result, if there is one."""
        return self._manifest.read_bytes() if self._manifest.is_file() else None

    def is_untidy(self) -> bool:
        """Whether there is a manifest of a complete result, and a work folder of a run without rows."""
        if not (self._manifest.is_file() and self._work.is_dir()):
            return False
        if self._data.exists() and any(self._data.iterdir()):
            return False
        names = [path.name for path in self._work.iterdir()]
        return not names or any(name == self._data.name or _OURS.fullmatch(name) for name in names)

    def tidy(self) -> None:
        """Remove what runs made in the work folder, if no rows are in it."""
        with contextlib.suppress(OSError):
            self._data.rmdir()
        if not self._data.exists():
            self._remove_work()
