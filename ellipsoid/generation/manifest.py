"""JSON files that record the settings and the finished chunks of a large batch, so that a run can continue.

A manifest has the configuration that fixes every byte, and one record for each finished chunk. Each process
of a run keeps its own records, and writes them after their data is on disk. All records together tell which
chunks are missing. When none is missing, they are merged into the manifest of the result.
"""

import json
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple, Self

from ellipsoid.generation.sinks.base import Sink

FORMAT = "ellipsoid.generation"
FORMAT_VERSION = 1

# Records are saved at most this often (seconds), and so rarely that composing them takes less than 1 % of the
# time: 10^5 chunks have several megabytes of records.
_INTERVAL = 1.0
_INTERVAL_PER_COST = 100


class ChunkRecord(NamedTuple):
    """One finished chunk.

    Attributes
    ----------
    rows, n_bytes : int
        Size of the chunk.
    crc32 : int
        Checksum of its bytes.
    judged, outside : int
        Number of rows of a 16-bit type whose written values were judged, and how many of these rounding has
        put outside the region.
    """

    rows: int
    n_bytes: int
    crc32: int
    judged: int
    outside: int


#: Records of chunks, by the number of the chunk.
Records = dict[int, ChunkRecord]


class Manifest(NamedTuple):
    """Settings of a result, or of the share of one process, and its finished chunks.

    Attributes
    ----------
    configuration : dict
        Everything that fixes the bytes, by name.
    records : dict of int to ChunkRecord
        Finished chunks, by number.
    """

    configuration: dict[str, Any]
    records: Records


def dump(configuration: Mapping[str, Any], records: Records) -> bytes:
    """Encode a manifest."""
    content = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "configuration": configuration,
        **_totals(records),
        "chunk_fields": ChunkRecord._fields,
        "chunks": dict(sorted(records.items())),
    }
    return json.dumps(content).encode()


def _totals(records: Records) -> dict[str, int]:
    return {
        "rows": sum(record.rows for record in records.values()),
        "bytes": sum(record.n_bytes for record in records.values()),
        "judged": sum(record.judged for record in records.values()),
        "outside": sum(record.outside for record in records.values()),
    }


def load(content: bytes, where: str) -> Manifest:
    """Decode a manifest from :func:`dump`; `where` names it in messages.

    Raises
    ------
    ValueError
        If the content has another format or version, or is damaged, which includes wrong totals.
    """
    try:
        manifest = json.loads(content)
        if manifest["format"] != FORMAT or manifest["format_version"] != FORMAT_VERSION:
            raise ValueError(f"format {manifest['format']} {manifest['format_version']}")
        configuration = dict(manifest["configuration"])
        records = {int(index): ChunkRecord(*fields) for index, fields in manifest["chunks"].items()}
        stored = {name: manifest[name] for name in _totals({})}
        if stored != _totals(records):
            raise ValueError(f"totals {stored} for chunks with {_totals(records)}")
        return Manifest(configuration, records)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ValueError(
            f"{where}: expected a manifest of format {FORMAT} {FORMAT_VERSION}; got {error!r}"
        ) from None


def load_processes(sink: Sink) -> dict[str, Manifest]:
    """Read the records of an unfinished run, by the number of the process.

    Raises
    ------
    ValueError
        If a record is damaged, or has another format version.
    """
    return {
        process: load(content, f"{sink.name}, records of process {process}")
        for process, content in sink.records().items()
    }


def merge_records(manifests: Iterable[Manifest]) -> Records:
    """Merge the records of all processes."""
    return {index: record for manifest in manifests for index, record in manifest.records.items()}


def differences(begun: Mapping[str, Any], asked: Mapping[str, Any]) -> list[str]:
    """Name the differences of two configurations, like ``level: 1.5, not 2.0``."""
    return [
        f"{name}: {json.dumps(begun.get(name))}, not {json.dumps(asked.get(name))}"
        for name in sorted({*begun, *asked})
        if begun.get(name) != asked.get(name)
    ]


class Recorder:
    """Keeper of the records of one process, which saves them beside the work.

    It is a context manager: any thread may call :meth:`add` in the context, at whose end all records are
    saved.

    Parameters
    ----------
    sink : Sink
        Sink that stores the records.
    process : str
        Number of the process.
    configuration : dict
        Everything that fixes the bytes, by name.
    records : dict of int to ChunkRecord
        Chunks that this process has finished before; new ones are added.

    Attributes
    ----------
    saved : dict of int to ChunkRecord
        Records that are on disk.
    """

    def __init__(self, sink: Sink, process: str, configuration: Mapping[str, Any], records: Records) -> None:
        self.saved = records.copy()
        self._sink = sink
        self._process = process
        self._configuration = configuration
        self._records = records
        self._thread = ThreadPoolExecutor(1, "manifest")
        self._saving: Future[None] | None = None
        self._due = 0.0

    def add(self, index: int, record: ChunkRecord) -> None:
        """Add the record of a written chunk."""
        self._records[index] = record

    def update(self) -> None:
        """Start to save the records if the last time was long enough ago."""
        if time.monotonic() >= self._due and (self._saving is None or self._saving.done()):
            self._finish_saving()
            self._saving = self._thread.submit(self._save)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._finish_saving()
        finally:
            # Without new records nothing is written, since the result may be published by now.
            if len(self._records) > len(self.saved):
                self._save()
            self._thread.shutdown()

    def _finish_saving(self) -> None:
        saving, self._saving = self._saving, None
        if saving is not None:
            saving.result()

    def _save(self) -> None:
        records = self._records.copy()
        started = time.monotonic()
        content = dump(self._configuration, records)
        cost = time.monotonic() - started
        self._sink.flush()
        self._sink.record(self._process, content)
        self.saved = records
        self._due = time.monotonic() + max(_INTERVAL, _INTERVAL_PER_COST * cost)
