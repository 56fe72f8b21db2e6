"""What a large batch is made of and how far it is: a JSON file that lets a run go on where it was cut.

A manifest has the configuration that fixes every byte, and one record for each finished chunk. Each
process of a run keeps a part of its own, written after the data it speaks of is on disk; the parts
together tell what is left to do. When nothing is left they are merged into the manifest of the result.
"""

import json
import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple, Self

from ellipsoid.generation.sinks import Sink

FORMAT = "ellipsoid.generation"
FORMAT_VERSION = 1

# A part is written at most this often (seconds), and so seldom that composing it takes less than 1 % of
# the time: with 10^5 chunks it has several megabytes.
_INTERVAL = 1.0
_INTERVAL_PER_COST = 100


class Record(NamedTuple):
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


Records = dict[int, Record]


def dump(configuration: Mapping[str, Any], records: Records) -> bytes:
    """Compose a manifest."""
    content = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "configuration": configuration,
        "rows": sum(record.rows for record in records.values()),
        "bytes": sum(record.n_bytes for record in records.values()),
        "judged": sum(record.judged for record in records.values()),
        "outside": sum(record.outside for record in records.values()),
        "chunk_fields": Record._fields,
        "chunks": dict(sorted(records.items())),
    }
    return json.dumps(content).encode()


def load(content: bytes, where: str) -> tuple[dict[str, Any], Records]:
    """Read what :func:`dump` composed: the configuration and the records; `where` is for messages.

    Raises
    ------
    ValueError
        If it is something else, damaged, or of another format version.
    """
    try:
        manifest = json.loads(content)
        if manifest["format"] != FORMAT or manifest["format_version"] != FORMAT_VERSION:
            raise ValueError(f"format {manifest['format']} {manifest['format_version']}")
        records = {int(index): Record(*fields) for index, fields in manifest["chunks"].items()}
        return manifest["configuration"], records
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(
            f"{where}: expected a manifest of format {FORMAT} {FORMAT_VERSION}; got {error!r}"
        ) from None


def differences(begun: Mapping[str, Any], asked: Mapping[str, Any]) -> list[str]:
    """Name what two configurations differ in, as ``level: 1.5, not 2.0``."""
    return [
        f"{name}: {json.dumps(begun.get(name))}, not {json.dumps(asked.get(name))}"
        for name in sorted({*begun, *asked})
        if begun.get(name) != asked.get(name)
    ]


class Recorder:
    """Keeps the records of one process, and saves them as its part of the manifest beside the work.

    A context, in which :meth:`add` may be called from any thread; at its end all records are saved.

    Parameters
    ----------
    sink : Sink
    process_id : int
    configuration : dict
    records : dict
        Of the chunks that this process has finished before; new ones are added to it.

    Attributes
    ----------
    saved : dict
        The records that are on disk.
    """

    def __init__(self, sink: Sink, process_id: int, configuration: Mapping[str, Any], records: Records):
        self.saved = records.copy()
        self._sink = sink
        self._name = str(process_id)
        self._configuration = configuration
        self._records = records
        self._thread = ThreadPoolExecutor(1, "manifest")
        self._saving: Future[None] | None = None
        self._due = 0.0

    def add(self, index: int, record: Record) -> None:
        """Add the record of a chunk that was written."""
        self._records[index] = record

    def update(self) -> None:
        """Start to save the records if the last time is long enough ago."""
        if time.monotonic() >= self._due and (self._saving is None or self._saving.done()):
            self._finish_saving()
            self._saving = self._thread.submit(self._save)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_) -> None:
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
        self._sink.record(self._name, content)
        self.saved = records
        self._due = time.monotonic() + max(_INTERVAL, _INTERVAL_PER_COST * cost)
