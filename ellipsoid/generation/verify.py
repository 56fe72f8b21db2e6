"""Reading back what was written, and comparing it with its checksums."""

from ellipsoid.blocks import map_ahead
from ellipsoid.generation.destination import Destination
from ellipsoid.generation.manifest import Records
from ellipsoid.progress import progress_bar


def confirm(destination: Destination, *, verify: bool, progress: bool) -> None:
    """Accept a complete result of the same settings, if there is a reason to ask for it again.

    The reason is that all of it is to be compared, or that something was left to remove.

    Raises
    ------
    FileExistsError
        If there is none.
    RuntimeError
        If the result is damaged.
    """
    if not (verify or destination.is_untidy):
        raise destination.refusal(verify=verify)
    destination.tidy()
    if not verify:
        return
    assert destination.complete is not None
    plan, records = destination.plan, destination.complete.records
    damaged = damaged_chunks(destination, records, progress=progress)
    if damaged or len(records) < plan.n_chunks:
        first, _ = plan.rows(min(damaged, default=len(records)))
        raise RuntimeError(
            f"{destination.sink.name} is damaged: {len(damaged)} of {plan.n_chunks} chunks, of "
            f"{plan.chunk:,} rows each, do not have their checksum, from row {first:,} on; remove it and "
            f"generate it again"
        )


def damaged_chunks(destination: Destination, records: Records, *, progress: bool) -> list[int]:
    """Chunks that, read back, do not have the size and checksum of their record."""
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
