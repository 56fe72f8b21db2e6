"""Reading back written rows, and comparing them with their checksums."""

from collections.abc import Iterable

from ellipsoid.blocks import map_ahead
from ellipsoid.generation.destination import Destination
from ellipsoid.generation.manifest import Records, dump, merge_records
from ellipsoid.generation.sinks.base import IMAGES
from ellipsoid.progress import progress_bar


def confirm(destination: Destination, *, verify: bool, progress: bool) -> None:
    """Accept a complete result of the same settings, and compare all of it if `verify` is set.

    Raises
    ------
    FileExistsError
        If nothing shows that the same decoder made its images.
    RuntimeError
        If the result is damaged.
    """
    configuration = destination.configuration
    has_unknown_decoder = IMAGES in configuration["columns"] and configuration["decoder_digest"] is None
    if has_unknown_decoder and not (verify or destination.is_untidy):
        raise FileExistsError(
            f"sink: expected a new name; got {destination.sink.name}, which exists, and without a "
            f"decoder_digest nothing shows that this decoder made it; choose another name, or remove it first"
        )
    destination.tidy()
    if not verify:
        return
    assert destination.complete is not None
    name, plan, records = destination.sink.name, destination.plan, destination.complete.records
    if files := destination.sink.damaged_files():
        raise RuntimeError(
            f"{name} is damaged: {', '.join(files)} has changed since it was written; remove the result and "
            f"generate it again"
        )
    damaged = damaged_chunks(destination, records, progress=progress)
    if damaged or len(records) < plan.n_chunks:
        first, _ = plan.rows(min(damaged, default=len(records)))
        raise RuntimeError(
            f"{name} is damaged: {len(damaged)} of {plan.n_chunks} chunks, of {plan.chunk:,} rows each, "
            f"differ from their checksums, from row {first:,} on; remove it and generate it again"
        )
    if sum(record.rows for record in records.values()) != plan.n:
        raise RuntimeError(f"{name} is damaged: the chunks of its manifest do not add up to {plan.n:,} rows")


def forget_damaged(destination: Destination, chunks: Iterable[int], *, progress: bool) -> Records:
    """Drop the damaged ones of some chunks from the records, and save these before anything is written.

    If the run is then stopped before it rewrites the damaged chunks, they still count as missing.

    Returns
    -------
    dict of int to ChunkRecord
        Remaining records of all processes.

    Raises
    ------
    OSError
        If the records cannot be saved.
    """
    recorded = merge_records(destination.processes.values())
    if destination.sink.damaged_files():
        destination.sink.create()
    mine = {index: recorded[index] for index in chunks if index in recorded}
    damaged = set(damaged_chunks(destination, mine, progress=progress))
    for process, stored in destination.processes.items():
        # An earlier process, among another number of processes, may have recorded the same chunk.
        if damaged & stored.records.keys():
            for index in damaged:
                stored.records.pop(index, None)
            destination.sink.record(process, dump(stored.configuration, stored.records))
    return merge_records(destination.processes.values())


def damaged_chunks(destination: Destination, records: Records, *, progress: bool) -> list[int]:
    """Return the chunks whose stored size or checksum differs from their record."""
    sink, plan = destination.sink, destination.plan

    def is_whole(index: int) -> bool:
        stored = sink.read(*plan.rows(index))
        return (stored.n_bytes, stored.crc32) == (records[index].n_bytes, records[index].crc32)

    damaged = []
    with progress_bar("verify", len(records), enabled=progress, unit="chunks") as advance:
        answers = map_ahead(is_whole, records, ahead=2 * sink.workers, workers=sink.workers)
        for index, whole in zip(records, answers, strict=True):
            advance(1)
            if not whole:
                damaged.append(index)
    return damaged
