"""A JSON file tells what a large batch is made of and how far it is, so that a run goes on where it was cut.

A manifest has the configuration that fixes every byte, and one record for each finished chunk. Each
process of a run keeps records of its own, written after the data they speak of is on disk; all together
they tell what is left to do. When nothing is left they are merged into the manifest of the result.
"""

import json
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple, Self

from ellipsoid.generation.sinks.base import Sink

FORMAT = "ellipsoid.generation"
FORMAT_VERSION = 1

# Records are saved at most this often (seconds), and so seldom that composing them takes less than 1 % of
# the time: with 10^5 chunks they have several megabytes.
_INTERVAL = 1.0
_INTERVAL_PER_COST = 100


class ChunkRecord(NamedTuple):
    """One finished chunk.

    Attributes
    ----------
    rows, n_bytes : int
        How much was written.
    crc32 : int
        Checksum of those bytes.
    judged, outside : int
        Rows of a 16-bit type that were looked at as they are written, and those of them that rounding has put
        outside of the region.
    """

    rows: int
    n_bytes: int
    crc32: int
    judged: int
    outside: int


#: Records of chunks, by the number of the chunk.
Records = dict[int, ChunkRecord]


class Manifest(NamedTuple):
    """Settings that made a result, or the share of one process, and its finished chunks.

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
    """Compose a manifest."""
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
    """Read what :func:`dump` composed; `where` is for messages.

    Raises
    ------
    ValueError
        If it is something else, of another format version, or damaged: also if its totals are not those of
        its chunks.
    """
    try:
        manifest = json.loads(content)
        if manifest["format"] != FORMAT or manifest["format_version"] != FORMAT_VERSION:
            raise ValueError(f"format {manifest['format']} {manifest['format_version']}")
        configuration = dict(manifest["configuration"])
        records = {int(index): ChunkRecord(*fields) for index, fields in manifest["chunks"].items()}
        stored = {name: manifest[name] for name in _totals({})}
        if stored != _totals(records):
            raise ValueError(f"totals {stored} of chunks that have {_totals(records)}")
        return Manifest(configuration, records)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ValueError(
            f"{where}: expected a manifest of format {FORMAT} {FORMAT_VERSION}; got {error!r}"
        ) from None


def load_processes(sink: Sink) -> dict[str, Manifest]:
    """Read the records of an unfinished run, by number of process.

    Raises
    ------
    ValueError
        If one is damaged, or of another format version.
    """
    return {
        process: load(content, f"{sink.name}, records of process {process}")
        for process, content in sink.records().items()
    }


def merge_records(manifests: Iterable[Manifest]) -> Records:
    """Put the records of all processes together."""
    return {index: record for manifest in manifests for index, record in manifest.records.items()}


def differences(begun: Mapping[str, Any], asked: Mapping[str, Any]) -> list[str]:
    """Name what two configurations differ in, as ``level: 1.5, not 2.0``."""
    return [
        f"{name}: {json.dumps(begun.get(name))}, not {json.dumps(asked.get(name))}"
        for name in sorted({*begun, *asked})
        if begun.get(name) != asked.get(name)
    ]


class Recorder:
    """Keeps the records of one process, and saves them beside the work.

    A context, in which :meth:`add` may be called from any thread; at its end all records are saved.

    Parameters
    ----------
    sink : Sink
        Sink that stores the records.
    process : str
        Number of the process.
    configuration : dict
        Everything that fixes the bytes, by name.
    records : dict of int to ChunkRecord
        Chunks that this process has finished before; new ones are added to it.

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
        """Add the record of a chunk that was written."""
        self._records[index] = record

    def update(self) -> None:
        """Start to save the records if the last time is long enough ago."""
        if time.monotonic() >= self._due and (self._saving is None or self._saving.done()):
            self._finish_saving()
            self._saving = self._thread.submit(self._save)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._finish_saving()
        finally:
            # Nothing to add means nothing to write: the result may be published by now.
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
