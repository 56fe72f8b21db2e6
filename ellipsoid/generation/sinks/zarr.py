"""Zarr 3 groups of arrays, written through TensorStore: on a file system or in an object store.

A chunk of rows is one shard of each array, so no two writers ever share one. Needs tensorstore:
``pip install "ellipsoid[zarr]"``.
"""

import errno
import functools
import json
import os
from collections.abc import Callable
from typing import Any

import numpy as np

from ellipsoid.files import replace_file
from ellipsoid.generation.sinks import (
    Column,
    Columns,
    LocalSink,
    Plan,
    Sink,
    Tally,
    part_key,
    part_name,
    raw,
    require,
)

_GROUP = json.dumps({"zarr_format": 3, "node_type": "group", "attributes": {}}).encode()
_MANIFEST = "manifest.json"
_READ_BYTES = 2**20


class _Arrays:
    """The arrays of a group; `store` says where TensorStore finds each."""

    def __init__(self, plan: Plan, store: Callable[[str], Any]):
        import tensorstore

        self._arrays = {}
        for name, column in plan.columns.items():
            spec = {"driver": "zarr3", "kvstore": store(name), "metadata": _metadata(plan, column)}
            # Safe for several processes at once: one makes it, the others open it.
            self._arrays[name] = tensorstore.open(spec, open=True, create=True).result()

    def write(self, start: int, columns: Columns) -> Tally:
        tally = Tally()
        for name, array in self._arrays.items():
            rows = columns[name]
            array[start : start + len(rows)].write(rows, can_reference_source_data_indefinitely=True).result()
            tally.add(raw(rows))
        return tally

    def read(self, start: int, stop: int) -> Tally:
        tally = Tally()
        for array in self._arrays.values():
            try:
                tally.add(raw(array[start:stop].read().result()))
            except ValueError:  # a damaged shard, which does not count
                continue
        return tally


def _metadata(plan: Plan, column: Column) -> dict[str, Any]:
    # What a reader fetches at least is a part of a shard: the most rows that divide it and are a megabyte.
    sizes = (size for size in range(plan.chunk, 0, -1) if plan.chunk % size == 0)
    part = next((size for size in sizes if size * column.n_bytes <= _READ_BYTES), 1)
    to_bytes = [{"name": "bytes", "configuration": {"endian": "little"}}]
    # Images compress; the digits of latents are random.
    compressed = [{"name": "zstd", "configuration": {"level": 1}}] if column.dtype == np.uint8 else []
    sharding = {
        "chunk_shape": [part, *column.shape],
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
    """A Zarr 3 group on a file system, with one array for each column."""

    format = "zarr"
    workers = 4  # each waits for the disk after its shard

    def open(self, plan):
        """Learn what will be written."""
        require("tensorstore", "zarr")
        self.plan = plan

    @functools.cached_property
    def _group(self):
        place = self._place.absolute()
        return _Arrays(self.plan, lambda name: {"driver": "file", "path": f"{place}/{name}/"})

    def create(self):
        """Make the group and its arrays."""
        self._data.mkdir(parents=True, exist_ok=True)
        # Made outside of what will be the result: a temporary file that a kill leaves is no part of it then.
        own = self._work / f"zarr.json.{os.getpid()}"
        replace_file(own, _GROUP)
        own.replace(self._data / "zarr.json")
        _ = self._group
        self._reserve_space()

    def write(self, start, columns):
        """Write rows from number `start` on; they are on disk on return."""
        try:
            return self._group.write(start, columns)
        except ValueError as error:  # TensorStore's errors have no number
            if str(error).startswith("RESOURCE_EXHAUSTED"):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from error
            raise

    def read(self, start, stop):
        """Size and checksum of rows, unpacked; what is damaged does not count."""
        return self._group.read(start, stop)

    def flush(self):
        """Nothing is left to wait for."""

    def _row_bytes(self, first):
        return sum(column.n_bytes for column in self.plan.columns.values())


class RemoteZarrSink(Sink):
    """A Zarr 3 group in a store that TensorStore opens by a URL: ``gs://bucket/x.zarr``, ``s3://bucket/x.zarr``.

    Object stores have no rename: the arrays have their names from the beginning, and the result is complete
    when it has a ``manifest.json``. Tested with ``file://`` alone.

    Parameters
    ----------
    url : str
    """

    format = "zarr"
    workers = 4

    def __init__(self, url: str):
        require("tensorstore", "zarr")
        self.name = url
        self._url = url.rstrip("/") + "/"

    @functools.cached_property
    def _files(self):
        import tensorstore

        return tensorstore.KvStore.open(self._url).result()

    @functools.cached_property
    def _group(self):
        return _Arrays(self.plan, lambda name: f"{self._url}{name}/")

    def open(self, plan):
        """Learn what will be written."""
        self.plan = plan

    def create(self):
        """Make the group and its arrays."""
        self._files.write("zarr.json", _GROUP).result()
        _ = self._group

    def write(self, start, columns):
        """Write rows from number `start` on; they are stored on return."""
        return self._group.write(start, columns)

    def read(self, start, stop):
        """Size and checksum of rows, unpacked; what is damaged does not count."""
        return self._group.read(start, stop)

    def exists(self):
        """Whether the result is complete."""
        return self.published() is not None

    def _part_keys(self):
        import tensorstore

        # Not all keys: every shard has one.
        names = tensorstore.KvStore.KeyRange("part-", "part.")
        return sorted(key.decode() for key in self._files.list(names).result())

    def parts(self):
        """Manifest parts in the store."""
        contents = {part_name(key): self._files.read(key).result().value for key in self._part_keys()}
        return {name: content for name, content in contents.items() if content}

    def record(self, name, content):
        """Replace one manifest part."""
        self._files.write(part_key(name), content).result()

    def publish(self, manifest):
        """Write the manifest, by which the result is complete."""
        self._files.write(_MANIFEST, manifest).result()
        self.tidy()

    def tidy(self):
        """Remove the manifest parts; say if there were any."""
        keys = self._part_keys()
        for key in keys:
            self._files.write(key, None).result()
        return bool(keys)

    def published(self):
        """Manifest of the complete result."""
        return self._files.read(_MANIFEST).result().value or None

    def location(self):
        """Where the rows are."""
        return self.name
