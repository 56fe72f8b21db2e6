"""Zarr 3 groups of arrays, written by TensorStore to a file system or an object store.

A chunk of rows is one shard of each array, so no two writers ever share one. TensorStore is needed:
``pip install "ellipsoid[zarr]"``.
"""

import errno
import functools
import json
import os
from collections.abc import Callable
from typing import Any

import numpy as np

from ellipsoid.generation.sinks.base import (
    IMAGES,
    Checksum,
    Column,
    Columns,
    Sink,
    WritePlan,
    process_of,
    raw_bytes,
    record_file,
    require,
)
from ellipsoid.generation.sinks.local import LocalSink

_GROUP = json.dumps({"zarr_format": 3, "node_type": "group", "attributes": {}}).encode()
_GROUP_FILE = "zarr.json"
_MANIFEST = "manifest.json"
_CLAIM = "claim.json"
# Names of a row's dimensions, which xarray needs to read a group.
_DIMENSIONS = {"latents": ("latent",), "scores": ("component",), IMAGES: ("height", "width", "channel")}
_READ_BYTES = 2**20
# Seconds in which a store must answer the first request.
_PATIENCE = 60
_INDEX_BYTES = 16  # for each block, at the end of its shard


class _Arrays:
    """The arrays of a group; `store` tells TensorStore where each array lies."""

    def __init__(self, plan: WritePlan, store: Callable[[str], Any]) -> None:
        import tensorstore

        self._arrays = {}
        for name in plan.columns:
            spec = _spec(plan, name, store)
            try:
                # Arrays of earlier runs may have dimensions without names.
                array = tensorstore.open(spec, open=True).result()
            except ValueError:
                spec["metadata"]["dimension_names"] = ["row", *_DIMENSIONS.get(name, ())]
                # Several processes may do this at once: one makes the array, the others open it.
                array = tensorstore.open(spec, open=True, create=True).result()
            self._arrays[name] = array

    def write(self, start: int, columns: Columns) -> Checksum:
        checksum = Checksum()
        for name, array in self._arrays.items():
            rows = columns[name]
            array[start : start + len(rows)].write(rows, can_reference_source_data_indefinitely=True).result()
            checksum.add(raw_bytes(rows))
        return checksum

    def read(self, start: int, stop: int) -> Checksum:
        checksum = Checksum()
        for array in self._arrays.values():
            try:
                checksum.add(raw_bytes(array[start:stop].read().result()))
            except ValueError:  # a damaged shard does not count
                continue
        return checksum


def _damaged_files(plan: WritePlan, group: bytes, store: Callable[[str], Any]) -> list[str]:
    """Return the files that describe a group and its arrays, and have a wrong content."""
    import tensorstore

    damaged = []
    for name in plan.columns:
        try:
            tensorstore.open(_spec(plan, name, store), open=True).result()
        except ValueError:  # it is missing, damaged, or describes another array
            damaged.append(f"{name}/{_GROUP_FILE}")
    # Earlier versions wrote groups that do not repeat what their arrays say; damaged arrays say nothing.
    if damaged:
        is_whole = group.startswith(_GROUP[:-1])
    else:
        is_whole = group in (_GROUP, _group_description(plan, store))
    return damaged if is_whole else [_GROUP_FILE, *damaged]


def _group_description(plan: WritePlan, store: Callable[[str], Any]) -> bytes:
    """Content of the file that describes a group, which repeats the descriptions of its arrays.

    xarray and zarr-python then open the group by one file. They know no bfloat16, and would not open a group
    that mentions it.
    """
    import tensorstore

    if any(column.dtype.name == "bfloat16" for column in plan.columns.values()):
        return _GROUP
    arrays = {}
    for name in sorted(plan.columns):
        content = tensorstore.KvStore.open(store(name)).result().read(_GROUP_FILE).result().value
        arrays[name] = json.loads(content)
    consolidated = {"kind": "inline", "must_understand": False, "metadata": arrays}
    return json.dumps(json.loads(_GROUP) | {"consolidated_metadata": consolidated}).encode()


def _spec(plan: WritePlan, name: str, store: Callable[[str], Any]) -> dict[str, Any]:
    return {"driver": "zarr3", "kvstore": store(name), "metadata": _metadata(plan, plan.columns[name])}


def _block_rows(plan: WritePlan, column: Column) -> int:
    """Return the rows of a block, the smallest unit of reading: a divisor of the shard, up to a megabyte."""
    most = min(plan.chunk, max(_READ_BYTES // column.n_bytes, 1))
    return next(size for size in range(most, 0, -1) if plan.chunk % size == 0)


def _metadata(plan: WritePlan, column: Column) -> dict[str, Any]:
    block = _block_rows(plan, column)
    to_bytes = [{"name": "bytes", "configuration": {"endian": "little"}}]
    # Images compress; the digits of latents are random.
    compressed = [{"name": "zstd", "configuration": {"level": 1}}] if column.dtype == np.uint8 else []
    sharding = {
        "chunk_shape": [block, *column.shape],
        "codecs": to_bytes + compressed,
        "index_codecs": [*to_bytes, {"name": "crc32c"}],
    }
    return {
        "shape": [plan.n, *column.shape],
        "data_type": column.dtype.name,
        "fill_value": 0,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [plan.chunk, *column.shape]}},
        "codecs": [{"name": "sharding_indexed", "configuration": sharding}],
    }


class ZarrSink(LocalSink):
    """Zarr 3 group on a file system, with one array for each column.

    Parameters
    ----------
    path : path
        Name of the complete result.
    """

    format = "zarr"
    workers = 4  # a worker waits for the disk after each shard
    _manifest_is_inside = False  # zarr-python warns of every file in a group that is not its own
    _former_manifest = _MANIFEST

    def open(self, plan: WritePlan) -> None:
        """Receive the plan of the rows.

        Raises
        ------
        ImportError
            If tensorstore is missing.
        """
        require("tensorstore", "zarr")
        self.plan = plan

    @functools.cached_property
    def _group(self) -> _Arrays:
        return _Arrays(self.plan, self._store)

    def _store(self, name: str) -> dict[str, str]:
        return {"driver": "file", "path": f"{self._folder.absolute()}/{name}/"}

    def create(self) -> None:
        """Make the group and its arrays."""
        self._make_work()
        for file in self.damaged_files():
            (self._data / file).unlink(missing_ok=True)
        _ = self._group
        # Made outside of what will be the result: a temporary file that a kill leaves is no part of it then.
        own = self._work / f"zarr.json.{os.getpid()}"
        self._replace_file(own, _group_description(self.plan, self._store))
        own.replace(self._data / _GROUP_FILE)

    def write(self, start: int, columns: Columns) -> Checksum:
        """Write rows from number `start` on; they are on disk on return."""
        try:
            return self._group.write(start, columns)
        except ValueError as error:  # the errors of TensorStore have no number
            if str(error).startswith("RESOURCE_EXHAUSTED"):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from error
            raise

    def read(self, start: int, stop: int) -> Checksum:
        """Return the size and checksum of stored rows, uncompressed; damaged rows do not count."""
        return self._group.read(start, stop)

    def damaged_files(self) -> list[str]:
        """Return the names of files that describe the arrays and have a wrong content."""
        file = self._folder / _GROUP_FILE
        return _damaged_files(self.plan, file.read_bytes() if file.exists() else b"", self._store)

    def flush(self) -> None:
        """Do nothing, since a write returns when its rows are on disk."""

    def _row_bytes(self, first: Columns) -> float:
        columns = self.plan.columns.values()
        blocks = sum(self.plan.chunk // _block_rows(self.plan, column) for column in columns)
        index = blocks * _INDEX_BYTES / min(self.plan.chunk, self.plan.n)
        return sum(column.n_bytes for column in columns) + index


class RemoteZarrSink(Sink):
    """Zarr 3 group in a store that TensorStore opens by URL: ``gs://bucket/x.zarr``, ``s3://bucket/x.zarr``.

    Object stores have no rename. The arrays therefore have their names from the beginning, and the result is
    complete when ``x.zarr.json`` lies beside it. Only ``file://`` is tested.

    Parameters
    ----------
    url : str
        URL of the group.
    """

    format = "zarr"
    workers = 4

    def __init__(self, url: str) -> None:
        require("tensorstore", "zarr")
        self.name = url
        self._url = url.rstrip("/") + "/"
        self._parent, _, self._name = url.rstrip("/").rpartition("/")

    @functools.cached_property
    def _files(self) -> Any:
        return _answering_store(self._url)

    @functools.cached_property
    def _manifest_files(self) -> Any:
        return _answering_store(f"{self._parent}/")

    @functools.cached_property
    def _group(self) -> _Arrays:
        return _Arrays(self.plan, self._store)

    def _store(self, name: str) -> str:
        return f"{self._url}{name}/"

    def open(self, plan: WritePlan) -> None:
        """Receive the plan of the rows."""
        self.plan = plan

    def create(self) -> None:
        """Make the group and its arrays."""
        for file in self.damaged_files():
            self._files.write(file, None).result()
        _ = self._group
        self._files.write(_GROUP_FILE, _group_description(self.plan, self._store)).result()

    def write(self, start: int, columns: Columns) -> Checksum:
        """Write rows from number `start` on; they are stored on return."""
        return self._group.write(start, columns)

    def read(self, start: int, stop: int) -> Checksum:
        """Return the size and checksum of stored rows, uncompressed; damaged rows do not count."""
        return self._group.read(start, stop)

    def damaged_files(self) -> list[str]:
        """Return the names of files that describe the arrays and have a wrong content."""
        return _damaged_files(self.plan, self._files.read(_GROUP_FILE).result().value, self._store)

    def exists(self) -> bool:
        """Whether the result is complete."""
        return self.published() is not None

    def _record_files(self) -> dict[str, str]:
        import tensorstore

        # Not all keys are listed: every shard has one.
        names = tensorstore.KvStore.KeyRange("part-", "part.")
        files = sorted(key.decode() for key in self._files.list(names).result())
        return {process: file for file in files if (process := process_of(file))}

    def claim(self, manifest: bytes) -> bytes:
        """Store the settings of a run if no process has; return those that the first process stored."""
        absent = self._files.read(_CLAIM).result()
        if not absent.value:
            self._files.write(_CLAIM, manifest, if_equal=absent.stamp.generation).result()
        return self._files.read(_CLAIM).result().value or manifest

    def claimed(self) -> bytes | None:
        """Return the settings that the first process of an unfinished run stored, or None."""
        return self._files.read(_CLAIM).result().value or None

    def records(self) -> dict[str, bytes]:
        """Return the records of each process of an unfinished run, by the number of the process."""
        files = self._record_files().items()
        contents = {process: self._files.read(file).result().value for process, file in files}
        return {process: content for process, content in contents.items() if content}

    def record(self, process: str, content: bytes) -> None:
        """Replace the records of one process."""
        self._files.write(record_file(process), content).result()

    def publish(self, manifest: bytes) -> None:
        """Write the manifest, which makes the result complete."""
        self._manifest_files.write(f"{self._name}.json", manifest).result()
        self.tidy()

    def published(self) -> bytes | None:
        """Return the manifest of a complete result, or None. Earlier versions put it into the group."""
        beside = self._manifest_files.read(f"{self._name}.json").result().value
        return beside or self._files.read(_MANIFEST).result().value or None

    def is_untidy(self) -> bool:
        """Whether records of the processes lie beside the manifest of the complete result."""
        return self.published() is not None and bool(self._record_files() or self.claimed())

    def tidy(self) -> None:
        """Remove the records and settings that the processes stored."""
        for file in [*self._record_files().values(), _CLAIM]:
            self._files.write(file, None).result()

    def location(self) -> str:
        """Return where the rows are."""
        return self.name


def _answering_store(url: str) -> Any:
    """Open a store and wait for one answer. TensorStore would go on trying for a long time."""
    import tensorstore

    store = tensorstore.KvStore.open(url).result()
    try:
        store.read(_GROUP_FILE).result(timeout=_PATIENCE)
    except TimeoutError:
        raise TimeoutError(
            f"sink: expected a store that answers; got no answer for {url} in {_PATIENCE} seconds"
        ) from None
    return store
