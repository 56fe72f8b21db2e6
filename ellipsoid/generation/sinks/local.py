"""Base of the sinks on a file system.

Until a result is complete, everything lies in ``NAME.partial`` beside it. The result then gets its name by a
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
# Files that runs make in the work folder, and temporary ones that a killed process leaves.
_FILES = r"reserve|claim\.json|holder-\d+\.json|part-\d+\.json|_?manifest\.json\.\d+|zarr\.json\.\d+"
_OURS = re.compile(rf"{_FILES}|\.({_FILES})\.({TEMPORARY}|[0-9a-f]{{8}}\.tmp)")


class LocalSink(Sink):
    """Base of the sinks on a file system.

    Until everything is complete, rows lie in ``NAME.partial/data`` and records of the processes in
    ``NAME.partial``. A subclass says which columns are stored as one array each (`_array_files`), and how the
    others become files (`_chunk_files`, `_encode`).

    Parameters
    ----------
    path : path
        Name of the complete result; a symbolic link is followed.
    """

    workers = 2
    _is_folder = True  # the result is one folder, not files beside each other
    _manifest_is_inside = True  # in the folder, not beside the result
    _former_manifest: str | None = None  # its name in the folder, in results of versions that put it there

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = followed(path)
        self.name = str(path)
        self._work = self.path.with_name(self.path.name + ".partial")
        self._data = self._work / "data"

    # --- defined by each subclass ---

    def _array_files(self) -> dict[str, str]:
        """Return the columns that are stored as one array each, with their file names."""
        return {}

    def _chunk_files(self, start: int, stop: int) -> Iterable[str]:
        """Return the names of the files of a chunk."""
        return ()

    def _encode(self, start: int, columns: Columns) -> Iterator[tuple[str, bytes | memoryview]]:
        """Yield the names and contents of the files of a chunk."""
        yield from ()

    # --- writing ---

    def open(self, plan: WritePlan) -> None:
        """Receive the plan of the rows.

        Raises
        ------
        ValueError
            If this sink cannot hold the columns.
        """
        if any(column.dtype.name == "bfloat16" for column in plan.columns.values()):
            raise ValueError(
                f"dtype: expected float32 or float16 for {self.format} files; got bfloat16; use a .zarr sink"
            )
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
                f"sink: expected room for {n:,} rows, about {needed / 1e6:,.1f} MB; got "
                f"{free / 1e6:,.1f} MB in {folder}; make room, write fewer rows, or choose another place"
            )

    def _row_bytes(self, first: Columns) -> float:
        arrays = sum(self.plan.columns[name].n_bytes for name in self._arrays)
        files = sum(len(content) for _, content in self._encode(0, first))
        return arrays + files / n_rows(first)

    def claim(self, manifest: bytes) -> bytes:
        """Store the settings of a run if no process has; return those that the first process stored.

        Raises
        ------
        FileExistsError
            If the work folder holds rows that no run made.
        OSError
            If the work folder cannot be made.
        """
        # The order matters, since another process may be at the same step.
        has_rows = self._data.exists() and any(self._data.iterdir())
        if has_rows and not any(_OURS.fullmatch(path.name) for path in self._work.iterdir()):
            raise FileExistsError(
                f"sink: expected a free work folder; got {self._work}, which holds other files; choose "
                f"another name, or move it away"
            )
        while True:
            self._work.mkdir(parents=True, exist_ok=True)
            # Another process may have removed the folder after completing the result.
            with contextlib.suppress(FileNotFoundError):
                create_file(self._work / _CLAIM, manifest)
                return (self._work / _CLAIM).read_bytes()

    def claimed(self) -> bytes | None:
        """Return the settings that the first process of an unfinished run stored, or None."""
        try:
            return (self._work / _CLAIM).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def hold(self, process: str) -> AbstractContextManager[None]:
        """Return a context in which no other living process has the same number."""
        return held(self._work / f"holder-{process}.json", self.name)

    def create(self) -> None:
        """Make the work folder and the arrays in it."""
        self._make_work()
        for array in self._arrays.values():
            array.create(self._data)

    def _make_work(self) -> None:
        self._data.mkdir(parents=True, exist_ok=True)
        # This space is freed when the disk is full, so that the records of finished chunks still fit.
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
        """Return when everything written is on disk."""
        for array in self._arrays.values():
            array.flush(self._data)

    def record(self, process: str, content: bytes) -> None:
        """Replace the records of one process."""
        self._replace_file(self._work / record_file(process), content)

    def _replace_file(self, path: Path, content: bytes) -> None:
        """Replace a file; on a full disk, use the space reserved for it."""
        try:
            replace_file(path, content)
        except OSError:
            (self._work / "reserve").unlink(missing_ok=True)
            replace_file(path, content)

    # --- existing files ---

    def exists(self) -> bool:
        """Whether the result, or a file of it, has its name."""
        if self.path.exists() or (os.path.lexists(self._manifest) and not self._manifest.is_file()):
            return True
        if self._is_folder or not self.path.parent.is_dir():
            return False
        # Names are not tried one by one: there may be billions of chunks.
        return any(self._is_target(name) for name in os.listdir(self.path.parent))

    def _is_target(self, name: str) -> bool:
        """Whether the complete result has a file of this name beside its main one."""
        return name in self._array_files().values()

    def _targets(self) -> Iterator[Path]:
        """Yield the paths of the complete result; the requested one comes last."""
        if self._is_folder:
            yield self.path
            return
        for index in reversed(range(self.plan.n_chunks)):
            for name in self._chunk_files(*self.plan.rows(index)):
                yield self.path.with_name(name)
        for name in reversed(self._array_files().values()):
            yield self.path.with_name(name)

    def records(self) -> dict[str, bytes]:
        """Return the records of each process of an unfinished run, by the number of the process."""
        contents = {}
        for path in sorted(self._work.glob(record_file("*"))):
            # Another process may be removing them after completing the result.
            process = process_of(path.name)
            with contextlib.suppress(FileNotFoundError):
                if process is not None:
                    contents[process] = path.read_bytes()
        return contents

    def read(self, start: int, stop: int) -> Checksum:
        """Return the size and checksum of stored rows; missing rows do not count."""
        checksum, folder = Checksum(), self._folder
        with contextlib.suppress(FileNotFoundError):
            for array in self._arrays.values():
                array.read(folder, start, stop, checksum)
            for name in self._chunk_files(start, stop):
                checksum.add((folder / name).read_bytes())
        return checksum

    @property
    def _folder(self) -> Path:
        """Folder of the rows, complete or not."""
        if self._data.exists():
            return self._data
        return self.path if self._is_folder else self.path.parent

    def location(self) -> Path:
        """Return where the rows are now."""
        is_begun = self._data.exists() or (self._work.exists() and not self._manifest.exists())
        return self._work if is_begun else self.path

    # --- the end ---

    @property
    def _manifest(self) -> Path:
        if self._former_manifest is not None and (self.path / self._former_manifest).exists():
            return self.path / self._former_manifest
        if self._is_folder and self._manifest_is_inside:
            return self.path / _MANIFEST
        return self.path.with_name(f"{self.path.name}.json")

    def publish(self, manifest: bytes) -> None:
        """Rename everything, except for what another process or an earlier run has renamed.

        Raises
        ------
        FileNotFoundError
            If rows are neither where they were written nor at their final place.
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
                f"{missing}: its rows were removed from {self._data} before the result was complete"
            )
        self._remove_work()

    def _remove_work(self) -> None:
        """Remove the files of runs from the work folder, and the folder if nothing else is in it."""
        # Another process may do so at the same time.
        with contextlib.suppress(OSError):
            for path in self._work.iterdir():
                if _OURS.fullmatch(path.name) and not path.is_dir():
                    path.unlink(missing_ok=True)
        for folder in (self._data, self._work):
            with contextlib.suppress(OSError):
                folder.rmdir()

    def published(self) -> bytes | None:
        """Return the manifest of a complete result, or None."""
        return self._manifest.read_bytes() if self._manifest.is_file() else None

    def is_untidy(self) -> bool:
        """Whether a complete result has a manifest, and a work folder of a run without rows."""
        if not (self._manifest.is_file() and self._work.is_dir()):
            return False
        if self._data.exists() and any(self._data.iterdir()):
            return False
        names = [path.name for path in self._work.iterdir()]
        return not names or any(name == self._data.name or _OURS.fullmatch(name) for name in names)

    def tidy(self) -> None:
        """Remove the files of runs from the work folder if it holds no rows."""
        with contextlib.suppress(OSError):
            self._data.rmdir()
        if not self._data.exists():
            self._remove_work()
