"""The chunks of a large batch, written one after the other while the next ones are drawn.

The calling thread draws and decodes, which keeps the device supplied with work. The threads of the sink copy
finished chunks to the host and write them. At most one chunk more than there are threads is in work, so
memory does not depend on n. A chunk is recorded after its data is on disk.
"""

import errno
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

from ellipsoid.blocks import map_ahead
from ellipsoid.generation.destination import Destination
from ellipsoid.generation.manifest import (
    ChunkRecord,
    Recorder,
    Records,
    differences,
    dump,
    load,
    merge_records,
)
from ellipsoid.generation.rows import Rows, RowSource
from ellipsoid.generation.sinks.base import Columns, WritePlan
from ellipsoid.generation.verify import forget_damaged
from ellipsoid.progress import progress_bar


class Share(NamedTuple):
    """Chunks that one of several processes writes.

    Attributes
    ----------
    process : int
        Number of the process, from 0.
    processes : int
        Number of processes.
    """

    process: int
    processes: int

    @property
    def name(self) -> str:
        """Name of the records of the process."""
        return str(self.process)

    def chunks(self, plan: WritePlan) -> range:
        """Return the numbers of the chunks of this process."""
        return range(self.process, plan.n_chunks, self.processes)


@contextmanager
def share_taken(destination: Destination, source: RowSource, share: Share) -> Iterator[None]:
    """Hold the share of one process, from before its first row to after its last.

    Raises
    ------
    FileExistsError
        If a living process holds it, or something else has the name of the unfinished result.
    ValueError
        If another process has begun with other settings.
    OSError
        If the disk has too little space.
    """
    sink, plan = destination.sink, destination.plan
    destination.tidy()
    done = merge_records(destination.processes.values())
    mine = share.chunks(plan)
    if sum(index in mine for index in done) < len(mine):
        sink.check_space(source.first, plan.n - sum(record.rows for record in done.values()))
    claim = load(sink.claim(dump(destination.configuration, {})), f"{sink.name}, claim")
    if other := differences(claim.configuration, destination.configuration):
        raise destination.mismatch(other)
    with sink.hold(share.name):
        yield


def write_missing_chunks(
    destination: Destination, source: RowSource, share: Share, *, verify: bool, progress: bool
) -> Records:
    """Write the chunks of one process that have no record, and those that prove damaged.

    Returns
    -------
    dict of int to ChunkRecord
        Records of this process, from this run and earlier ones.

    Raises
    ------
    OSError
        If the disk is full.
    ValueError
        If damaged chunks would be drawn again by other versions of packages.
    KeyboardInterrupt
        If the user interrupts; the current chunks are written first.
    Exception
        If the source or the sink raises another error; a note says how many rows are kept.
    """
    sink, plan = destination.sink, destination.plan
    mine = share.chunks(plan)
    if verify and destination.processes:
        done = forget_damaged(destination, mine, progress=progress)
    else:
        done = merge_records(destination.processes.values())
    before = destination.processes.get(share.name)
    own = {} if before is None else before.records.copy()
    # A list would be too long: there may be billions of chunks.
    n_missing = len(mine) - sum(index in mine for index in done)
    if n_missing:
        if destination.outdated:
            raise destination.mismatch(destination.outdated)
        sink.create()
        recorder = Recorder(sink, share.name, destination.configuration, own)
        with _saying_what_is_kept(destination, recorder):
            missing = (index for index in mine if index not in done)
            n_rows = plan.n_rows(mine) - sum(done[index].rows for index in done if index in mine)
            _write_chunks(destination, source, missing, n_rows, recorder, progress=progress)
    return own


def _write_chunks(
    destination: Destination,
    source: RowSource,
    chunks: Iterable[int],
    n_rows: int,
    recorder: Recorder,
    *,
    progress: bool,
) -> None:
    sink, plan = destination.sink, destination.plan

    def write(chunk: tuple[int, Callable[[], Rows]]) -> ChunkRecord:
        index, wait = chunk
        start, stop = plan.rows(index)
        rows = wait()
        _check_columns(plan, rows.columns, start, stop)
        checksum = sink.write(start, rows.columns)
        record = ChunkRecord(stop - start, checksum.n_bytes, checksum.crc32, rows.judged, rows.outside)
        recorder.add(index, record)
        return record

    n_bytes = 0
    computed = ((index, source.compute(*plan.rows(index))) for index in chunks)
    # On exit for any reason, the threads finish their chunks, which are then recorded.
    written = map_ahead(write, computed, ahead=sink.workers, workers=sink.workers, finish=True)
    with (
        recorder,
        progress_bar(Path(sink.name).name, n_rows, enabled=progress) as advance,
        closing(written),
    ):
        for record in written:
            n_bytes += record.n_bytes
            advance(record.rows, f"{n_bytes / 1e6:,.0f} MB")
            recorder.update()


def _check_columns(plan: WritePlan, columns: Columns, start: int, stop: int) -> None:
    for name, column in plan.columns.items():
        rows = columns[name]
        if rows.shape != (stop - start, *column.shape) or rows.dtype != column.dtype:
            raise RuntimeError(
                f"{name}: expected {column.dtype} rows of shape {column.shape}, like the first ones; "
                f"got {rows.dtype} {rows.shape} for rows {start} to {stop}"
            )


@contextmanager
def _saying_what_is_kept(destination: Destination, recorder: Recorder) -> Iterator[None]:
    """Add the number of rows that are kept to an interruption, a full disk, or any other error."""

    def kept() -> str:
        location = destination.sink.location()
        if location is None:
            return "no rows are kept"
        rows = sum(record.rows for record in recorder.saved.values())
        return f"{rows:,} of {destination.plan.n:,} rows are kept in {location}; the same call goes on there"

    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"interrupted: {kept()}") from None
    except Exception as error:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise OSError(error.errno, f"{error.strerror}: make room; {kept()}") from error
        error.add_note(kept())
        raise
