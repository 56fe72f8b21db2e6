"""A destination of a large batch is looked at once, and given one of five names for what lies there."""

from dataclasses import dataclass
from enum import Enum
from typing import Any

import jax

from ellipsoid.generation import manifest
from ellipsoid.generation.manifest import Manifest, Records
from ellipsoid.generation.rows import RowSource
from ellipsoid.generation.sinks.base import Sink, WritePlan


class Status(Enum):
    """State of a destination."""

    #: Nothing.
    NEW = "new"
    #: Chunks of the same settings, in ``NAME.partial``.
    UNFINISHED = "unfinished"
    #: All chunks; a run was cut while it gave the result its name.
    WRITTEN = "written"
    #: The result, of the same settings.
    COMPLETE = "complete"
    #: Something else has the name, or a result, complete or not, of other settings.
    FOREIGN = "foreign"


@dataclass(frozen=True)
class Destination:
    """A sink, the rows that it is to get, and those that it has.

    Attributes
    ----------
    sink : Sink
        Sink that was opened with the plan.
    plan : WritePlan
        Rows that are to be written.
    configuration : dict
        Everything that fixes the bytes, by name.
    status : Status
        State of the destination.
    processes : dict of str to Manifest
        Records of an unfinished run, by number of process.
    complete : Manifest or None
        Manifest of a result that is there and complete.
    differences : list of str
        Settings in which what lies there differs from what is asked for.
    is_untidy : bool
        Whether a run was cut when its result was complete, but not all else was removed.
    """

    sink: Sink
    plan: WritePlan
    configuration: dict[str, Any]
    status: Status
    processes: dict[str, Manifest]
    complete: Manifest | None
    differences: list[str]
    is_untidy: bool

    def refusal(self, *, verify: bool) -> Exception:
        """Error that says why nothing can be written there."""
        name, location = self.sink.name, self.sink.location()
        # A complete result of any settings just has the name, unless it is expected to be what is asked for.
        if self.differences and (verify or self.is_untidy or self.complete is None):
            return ValueError(
                f"sink: {location} was made with other settings ({'; '.join(self.differences)}); "
                f"give those, choose another name, or remove it"
            )
        if verify and not self.processes:
            return FileExistsError(f"{name} exists and has no manifest to verify it by: choose another name")
        return FileExistsError(f"{name} exists: choose another name, or remove it first")

    def tidy(self) -> None:
        """Remove what a run left that was cut when its result was complete."""
        if self.is_untidy:
            self.sink.tidy()

    def publish(self, records: Records) -> None:
        """Give the result its name if these records, and those that are stored, are all.

        Raises
        ------
        RuntimeError
            If they have not the right number of rows.
        FileNotFoundError
            If rows were removed before the result was complete.
        """
        records = records | manifest.merge_records(manifest.load_processes(self.sink).values())
        if len(records) < self.plan.n_chunks:
            return
        if sum(record.rows for record in records.values()) != self.plan.n:
            raise RuntimeError(
                f"{self.sink.name}: the chunks of the manifest do not add up to {self.plan.n:,} rows"
            )
        self.sink.publish(manifest.dump(self.configuration, records))


def look(sink: Sink, source: RowSource, chunk: int | None, decoder_digest: str | None) -> Destination:
    """Look at a destination, and change nothing there.

    Parameters
    ----------
    sink : Sink
        Destination of the rows.
    source : RowSource
        Rows that are to be written.
    chunk : int or None
        Rows that are written and recorded at a time; None goes on with what a run has begun.
    decoder_digest : str or None
        Anything that tells the decoder from others.

    Raises
    ------
    ValueError
        If a manifest is damaged, or the sink cannot hold the rows; and for what the source refuses.
    ImportError
        If the sink needs a package that is missing.
    """
    is_untidy = sink.is_untidy()
    processes = {} if is_untidy else manifest.load_processes(sink)
    content = None if processes else sink.published()
    complete = None if content is None else manifest.load(content, sink.name)
    begun = [*processes.values()] if complete is None else [complete]

    known = begun[0].configuration["chunk"] if begun and chunk is None else chunk
    plan = WritePlan(source.n, source.default_chunk() if known is None else known, source.columns)
    sink.open(plan)
    configuration = {
        "n": plan.n,
        "chunk": plan.chunk,
        "format": sink.format,
        **source.configuration(),
        "decoder_digest": decoder_digest,
        "made_by": _versions(),
    }
    all_differences = (manifest.differences(other.configuration, configuration) for other in begun)
    differences = next(filter(None, all_differences), [])

    exists = sink.exists()
    n_recorded = len(manifest.merge_records(processes.values()))
    if exists and (n_recorded < plan.n_chunks if processes else complete is None):
        status, differences = Status.FOREIGN, []  # what has the name is not what was begun
    elif differences:
        status = Status.FOREIGN
    elif processes:
        status = Status.WRITTEN if exists else Status.UNFINISHED
    else:
        status = Status.COMPLETE if exists else Status.NEW
    complete = complete if exists else None  # a manifest alone is no result
    return Destination(sink, plan, configuration, status, processes, complete, differences, is_untidy)


def _versions() -> dict[str, str]:
    from ellipsoid.version import __version__

    return {"ellipsoid": __version__, "jax": jax.__version__, "platform": jax.default_backend()}
