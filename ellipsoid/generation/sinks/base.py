"""Where the rows of a large batch go: arrays, image files, archives, tables, or a function.

Rows come as *columns*, arrays of one name, type and row shape each: ``latents`` (D,), ``scores`` (K,),
``gauge`` () or ``images`` (H, W, C). A sink takes them a chunk at a time, in any order, from several
threads and processes at once. A chunk written twice leaves the same bytes, so nothing has to be undone
after a run was cut.

On a file system everything lies in ``NAME.partial`` beside the target until it is complete, and takes
its own name by a rename.
"""

import contextlib
import importlib.util
import io
import json
import math
import os
import shutil
import tarfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ellipsoid.blocks import n_cores
from ellipsoid.files import replace_file

Columns = Mapping[str, np.ndarray]

_IMAGES = "images"
# Drawn faces of 64 pixels: 5.8, 5.5, 5.2 and 5.1 KB at levels 1, 3, 6 and 9, in 1.0, 0.9, 1.4 and 3.5 ms.
COMPRESS_LEVEL = 3
_RESERVED_BYTES = 2**14
_RESERVED_BYTES_PER_CHUNK = 64
_BLOCK_BYTES = 4096  # what a file system gives a small file at least


class Column(NamedTuple):
    """Type and shape of one row of a column."""

    dtype: np.dtype
    shape: tuple[int, ...]

    @property
    def n_bytes(self) -> int:
        """Bytes of one row."""
        return math.prod(self.shape) * self.dtype.itemsize


@dataclass(frozen=True)
class Plan:
    """What is to be written: `n` rows of some columns, `chunk` rows at a time."""

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


class Tally:
    """Size and checksum of bytes, a piece at a time."""

    def __init__(self):
        self.n_bytes = 0
        self.crc32 = 0

    def add(self, data) -> None:
        """Count a bytes-like object."""
        self.n_bytes += len(data)
        self.crc32 = zlib.crc32(data, self.crc32)


class Sink:
    """Base of all sinks, which keeps nothing; to write one, give `write` and what else it can do.

    Attributes
    ----------
    name : str
        What messages call it.
    format : str
        What kind of thing is written; a run that goes on must find the same.
    workers : int
        Threads that may call `write` at the same time.
    """

    name = ""
    format = ""
    workers = 1

    def open(self, plan: Plan) -> None:
        """Learn what will be written and change nothing; raise ``ValueError`` for what can't be held."""

    def create(self) -> None:
        """Make the storage, or find it as an earlier run left it."""

    def write(self, start: int, columns: Columns) -> Tally:
        """Write rows from number `start` on."""
        raise NotImplementedError

    def read(self, start: int, stop: int) -> Tally:
        """Size and checksum of rows as they are stored, to compare with what :meth:`write` gave."""
        return Tally()

    def flush(self) -> None:
        """Return when all that was written is on disk."""

    def exists(self) -> bool:
        """Whether something has the name of the complete result."""
        return False

    def parts(self) -> dict[str, bytes]:
        """Manifest parts of a run that was begun, by name."""
        return {}

    def record(self, name: str, content: bytes) -> None:
        """Replace one manifest part."""

    def publish(self, manifest: bytes) -> None:
        """Give the complete result its name; several processes may do so at once."""

    def published(self) -> bytes | None:
        """Manifest of a complete result, if there is one."""

    def tidy(self) -> bool:
        """Remove what was left by a run that was cut after its result was complete; say if there was any."""
        return False

    def check_space(self, first: Columns, n: int) -> None:
        """Raise ``OSError`` if `n` more rows like these do not fit."""

    def location(self) -> Path | str | None:
        """Where the rows are now."""


class CallbackSink(Sink):
    """Rows go to a function, ``function(start, columns)``, in order, one call at a time.

    The function runs in a thread of its own while the next rows are drawn. Nothing is kept, so a run
    that is cut begins anew.
    """

    name = format = "callback"

    def __init__(self, function: Callable[[int, Columns], Any]):
        self._function = function

    def write(self, start, columns):
        """Call the function."""
        self._function(start, columns)
        tally = Tally()
        tally.n_bytes = sum(array.nbytes for array in columns.values())
        return tally


class LocalSink(Sink):
    """Base of the sinks on a file system.

    The rows lie in ``NAME.partial/data`` and the manifest parts in ``NAME.partial`` until everything is
    complete. A kind of sink says which columns are stored as one array each (`_array_files`), and how the
    others become files (`_chunk_files`, `_encode`).

    Parameters
    ----------
    path : path
        Of the complete result.
    """

    workers = 2
    _is_folder = True  # the result is one folder; otherwise files beside each other
    _manifest_name = "manifest.json"  # in the folder

    def __init__(self, path: str | os.PathLike[str]):
        self.path = Path(path)
        self.name = str(path)
        self._work = self.path.with_name(self.path.name + ".partial")
        self._data = self._work / "data"

    @property
    def _place(self) -> Path:
        """Folder where the rows are, complete or not."""
        if self._data.exists():
            return self._data
        return self.path if self._is_folder else self.path.parent

    def _array_files(self) -> dict[str, str]:
        return {}

    def _chunk_files(self, start: int, stop: int) -> Iterable[str]:
        return ()

    def _encode(self, start: int, columns: Columns) -> Iterator[tuple[str, Any]]:
        """Names and contents of the files that hold a chunk."""
        yield from ()

    def open(self, plan: Plan) -> None:
        """Learn what will be written."""
        if any(column.dtype.name == "bfloat16" for column in plan.columns.values()):
            raise ValueError(f"dtype: {self.format} files have no bfloat16; use float16, or a .zarr sink")
        self.plan = plan
        self._arrays = {
            name: _ArrayFile(file, plan.n, plan.columns[name]) for name, file in self._array_files().items()
        }

    def create(self) -> None:
        """Make the work folder and the arrays in it."""
        self._data.mkdir(parents=True, exist_ok=True)
        for array in self._arrays.values():
            array.create(self._data)
        self._reserve_space()

    def _reserve_space(self):
        # Given up when the disk is full, for the manifest that says what is on it.
        reserve = self._work / "reserve"
        if not reserve.exists():
            reserve.write_bytes(bytes(_RESERVED_BYTES + _RESERVED_BYTES_PER_CHUNK * self.plan.n_chunks))

    def write(self, start: int, columns: Columns) -> Tally:
        """Write rows from number `start` on."""
        tally = Tally()
        for name, array in self._arrays.items():
            array.write(self._data, start, columns[name], tally)
        for name, content in self._encode(start, columns):
            self._write_file(self._data / name, content)
            tally.add(content)
        return tally

    def _write_file(self, path: Path, content: Any) -> None:
        with open(path, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())

    def read(self, start: int, stop: int) -> Tally:
        """Size and checksum of rows as they are stored; what is missing does not count."""
        tally, place = Tally(), self._place
        with contextlib.suppress(FileNotFoundError):
            for array in self._arrays.values():
                array.read(place, start, stop, tally)
            for name in self._chunk_files(start, stop):
                tally.add((place / name).read_bytes())
        return tally

    def flush(self) -> None:
        """Return when all that was written is on disk."""
        for array in self._arrays.values():
            array.flush(self._data)

    def exists(self) -> bool:
        """Whether the result, or a part of it, has its name."""
        return any(path.exists() for path in [self.path, *self._targets()])

    def _targets(self) -> list[Path]:
        """Paths of the complete result, the one that was asked for last."""
        if self._is_folder:
            return [self.path]
        names = [*self._array_files().values()]
        for index in range(self.plan.n_chunks):
            names += self._chunk_files(*self.plan.rows(index))
        return [self.path.with_name(name) for name in reversed(names)]

    def parts(self) -> dict[str, bytes]:
        """Manifest parts in the work folder."""
        contents = {}
        for path in sorted(self._work.glob("part-*.json")):
            # Another process may just be removing them, since the result is complete.
            with contextlib.suppress(FileNotFoundError):
                contents[part_name(path.name)] = path.read_bytes()
        return contents

    def record(self, name: str, content: bytes) -> None:
        """Replace one manifest part."""
        try:
            replace_file(self._work / part_key(name), content)
        except OSError:
            (self._work / "reserve").unlink(missing_ok=True)
            replace_file(self._work / part_key(name), content)

    def publish(self, manifest: bytes) -> None:
        """Rename everything, and pass over what another process or an earlier run has renamed."""
        own = self._work / f"{self._manifest_name}.{os.getpid()}"
        replace_file(own, manifest)
        if self._is_folder:
            moves = [(own, self._data / self._manifest_name), (self._data, self.path)]
        else:
            moves = [(own, self._manifest), *((self._data / path.name, path) for path in self._targets())]
        for source, target in moves:
            with contextlib.suppress(FileNotFoundError):
                source.replace(target)
        missing = [str(path) for path in [self._manifest, *self._targets()] if not path.exists()]
        if missing:
            raise FileNotFoundError(
                f"{missing[0]}: its rows were removed from {self._data} before it was complete"
            )
        shutil.rmtree(self._work, ignore_errors=True)

    def tidy(self) -> bool:
        """Remove the work folder if no rows are in it; say if there was one."""
        with contextlib.suppress(OSError):
            self._data.rmdir()
        if self._data.exists() or not self._work.exists():
            return False
        shutil.rmtree(self._work, ignore_errors=True)  # another process may do so at the same time
        return True

    @property
    def _manifest(self) -> Path:
        if self._is_folder:
            return self.path / self._manifest_name
        return self.path.with_name(f"{self.path.name}.json")

    def published(self) -> bytes | None:
        """Manifest of a complete result, if there is one."""
        return self._manifest.read_bytes() if self._manifest.exists() else None

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

    def location(self) -> Path:
        """Where the rows are now."""
        return self._work if self._work.exists() else self.path


class _ArrayFile:
    """One ``.npy`` file that is written in any order.

    Written by plain writes, not through a memory map: a full disk is an error then, not a bus error, and
    pages that wait for the disk do not count as memory of the process.
    """

    def __init__(self, name: str, n: int, column: Column):
        header = io.BytesIO()
        descr = np.lib.format.dtype_to_descr(column.dtype)
        np.lib.format.write_array_header_1_0(
            header, {"descr": descr, "fortran_order": False, "shape": (n, *column.shape)}
        )
        self._name = name
        self._header = header.getvalue()
        self._row_bytes = column.n_bytes
        self._size = len(self._header) + n * column.n_bytes

    def create(self, folder):
        # Every process does all of this; each step leaves what another has written as it is.
        (folder / self._name).touch()
        with open(folder / self._name, "r+b") as file:
            file.write(self._header)
            file.truncate(self._size)

    def write(self, folder, start, rows, tally):
        data = raw(rows)
        with open(folder / self._name, "r+b") as file:
            file.seek(len(self._header) + start * self._row_bytes)
            file.write(data)
        tally.add(data)

    def read(self, folder, start, stop, tally):
        with open(folder / self._name, "rb") as file:
            if file.read(len(self._header)) == self._header:
                file.seek(len(self._header) + start * self._row_bytes)
                tally.add(file.read((stop - start) * self._row_bytes))

    def flush(self, folder):
        with open(folder / self._name, "r+b") as file:
            os.fsync(file.fileno())


class NpySink(LocalSink):
    """A ``.npy`` file, to be opened by ``np.load(path, mmap_mode="r")``.

    The first column has the name that was given, any other its own: ``x.npy``, ``x.latents.npy``.
    """

    format = "npy"
    _is_folder = False

    def _array_files(self):
        main, *others = self.plan.columns
        return {main: self.path.name} | {name: f"{self.path.stem}.{name}.npy" for name in others}


class PngSink(LocalSink):
    """A folder of numbered PNG images, in subfolders of 10,000 where there are more.

    Other columns lie beside them as arrays: ``latents.npy``, ``gauge.npy``.

    Parameters
    ----------
    path : path
    compress_level : int
        Of zlib, 0 to 9.
    """

    format = "png"

    def __init__(self, path: str | os.PathLike[str], *, compress_level: int = COMPRESS_LEVEL):
        super().__init__(path)
        self.workers = n_cores()
        self._compress_level = compress_level

    def open(self, plan):
        """Learn what will be written."""
        if _IMAGES not in plan.columns:
            raise ValueError(
                f"sink: latents are written to a .npy file, .zarr, .tar or .parquet; got {self.name!r}; "
                f"images need decode"
            )
        _check_channels(plan)
        super().open(plan)

    def _array_files(self):
        return {name: f"{name}.npy" for name in self.plan.columns if name != _IMAGES}

    def _chunk_files(self, start, stop):
        digits = max(len(str(self.plan.n - 1)), 6)
        for row in range(start, stop):
            name = f"{row:0{digits}d}"
            yield f"{name[:-4]}/{name}.png" if self.plan.n > 10_000 else f"{name}.png"

    def _encode(self, start, columns):
        images = columns[_IMAGES]
        for name, image in zip(self._chunk_files(start, start + len(images)), images, strict=True):
            yield name, _png(image, self._compress_level)

    def _write_file(self, path, content):
        try:
            path.write_bytes(content)
        except FileNotFoundError:
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(content)

    def flush(self):
        """Return when all that was written is on disk."""
        super().flush()
        # One call for all files: one a file takes longer than to encode it.
        os.sync()

    def _row_bytes(self, first):
        # A file takes whole blocks.
        sizes = [len(content) for _, content in self._encode(0, first)]
        blocks = sum(-(-size // _BLOCK_BYTES) * _BLOCK_BYTES for size in sizes)
        return super()._row_bytes(first) + (blocks - sum(sizes)) / len(sizes)


class TarSink(LocalSink):
    """WebDataset shards, one for each chunk: ``x.tar`` gives ``x-000000.tar``, ``x-000001.tar``, ...

    A row has the members ``ROW.json`` (row number, and gauge if it is asked for), ``ROW.png`` for an
    image, and ``ROW.latents.npy`` and the like for other columns.

    Parameters
    ----------
    path : path
    compress_level : int
        Of zlib within the PNG images, 0 to 9.
    """

    format = "tar"
    _is_folder = False

    def __init__(self, path: str | os.PathLike[str], *, compress_level: int = COMPRESS_LEVEL):
        super().__init__(path)
        self.workers = n_cores()
        self._compress_level = compress_level

    def open(self, plan):
        """Learn what will be written."""
        if _IMAGES in plan.columns:
            _check_channels(plan)
        super().open(plan)

    def _chunk_files(self, start, stop):
        return [f"{self.path.stem}-{start // self.plan.chunk:06d}.tar"]

    def _encode(self, start, columns):
        shard = io.BytesIO()
        with tarfile.open(fileobj=shard, mode="w", format=tarfile.USTAR_FORMAT) as archive:
            for i in range(n_rows(columns)):
                row = start + i
                for suffix, content in self._members(row, {name: columns[name][i] for name in columns}):
                    member = tarfile.TarInfo(f"{row:09d}.{suffix}")
                    member.size = len(content)
                    archive.addfile(member, io.BytesIO(content))
        yield self._chunk_files(start, start + n_rows(columns))[0], shard.getbuffer()

    def _members(self, row, values):
        about = {"row": row}
        for name, value in values.items():
            if name == _IMAGES:
                yield "png", _png(value, self._compress_level)
            elif value.ndim == 0:
                about[name] = float(value)
            else:
                array = io.BytesIO()
                np.save(array, value)
                yield f"{name}.npy", array.getvalue()
        yield "json", json.dumps(about).encode()


class ParquetSink(LocalSink):
    """A folder of Parquet files, one for each chunk: the row number and all columns but images.

    Needs pyarrow: ``pip install "ellipsoid[parquet]"``.
    """

    format = "parquet"
    _manifest_name = "_manifest.json"  # readers of such folders pass over names that begin so

    def open(self, plan):
        """Learn what will be written."""
        require("pyarrow", "parquet")
        if _IMAGES in plan.columns:
            raise ValueError("sink: .parquet is for latents; write images to a folder, .npy, .zarr or .tar")
        super().open(plan)

    def _chunk_files(self, start, stop):
        return [f"part-{start // self.plan.chunk:06d}.parquet"]

    def _encode(self, start, columns):
        import pyarrow as pa
        from pyarrow import parquet

        stop = start + n_rows(columns)
        table = {"row": pa.array(np.arange(start, stop, dtype=np.uint64))}
        for name, values in columns.items():
            flat = pa.array(values.reshape(-1))
            table[name] = (
                pa.FixedSizeListArray.from_arrays(flat, values.shape[1]) if values.ndim > 1 else flat
            )
        file = io.BytesIO()
        # Of random digits neither a dictionary nor a compressor makes less.
        parquet.write_table(pa.table(table), file, compression="NONE", use_dictionary=False)
        yield self._chunk_files(start, stop)[0], file.getbuffer()


def n_rows(columns: Columns) -> int:
    """Rows that some columns have."""
    return len(next(iter(columns.values())))


def raw(array: np.ndarray) -> memoryview:
    """Bytes of an array, row by row."""
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


def part_key(name: str) -> str:
    """Name under which a manifest part is stored."""
    return f"part-{name}.json"


def part_name(key: str) -> str:
    """Name of a manifest part that is stored so."""
    return key.removeprefix("part-").removesuffix(".json")


def _check_channels(plan: Plan) -> None:
    shape = plan.columns[_IMAGES].shape
    if shape[-1] not in (1, 3, 4):
        raise ValueError(f"decode: PNG images have 1, 3 or 4 channels; got images of shape {shape}")


def _png(image: np.ndarray, compress_level: int) -> bytes:
    from PIL import Image

    file = io.BytesIO()
    image = image.squeeze(-1) if image.shape[-1] == 1 else image
    Image.fromarray(image).save(file, "PNG", compress_level=compress_level)
    return file.getvalue()


def require(module: str, extra: str) -> None:
    """Raise ``ImportError`` with what to install if a module is missing."""
    if importlib.util.find_spec(module) is None:
        raise ImportError(f'sink: writing .{extra} needs {module}: pip install "ellipsoid[{extra}]"')


def as_sink(sink) -> Sink:
    """Choose a sink by the end of a name; give a sink back, and wrap a function.

    Raises
    ------
    TypeError
        For anything else.
    ValueError
        For a URL that does not end in ``.zarr``.
    """
    from ellipsoid.generation.sinks.zarr import RemoteZarrSink, ZarrSink

    if isinstance(sink, Sink):
        return sink
    if callable(sink):
        return CallbackSink(sink)
    if not isinstance(sink, str | os.PathLike):
        raise TypeError(f"sink: expected a path, a function or a sink object; got {type(sink).__name__}")
    name = os.fspath(sink)
    suffix = Path(name).suffix
    if "://" in name:
        if suffix != ".zarr":
            raise ValueError(f"sink: expected a URL that ends in .zarr; got {name!r}")
        return RemoteZarrSink(name)
    kinds = {".npy": NpySink, ".zarr": ZarrSink, ".tar": TarSink, ".parquet": ParquetSink}
    return kinds.get(suffix, PngSink)(name)
