"""A destination of a large batch is looked at once, and given one of five names for what lies there."""

from dataclasses import dataclass
from enum import Enum
from typing import Any

import jax

from ellipsoid.generation import manifest
from ellipsoid.generation.manifest import Manifest, Records
from ellipsoid.generation.rows import RowSource
from ellipsoid.generation.sinks.base import Sink, WritePlan
from ellipsoid.version import __version__


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
    outdated : list of str
        Versions that made what lies there, where they are not those of today. They matter only for chunks
        that are still to be drawn.
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
    outdated: list[str]
    is_untidy: bool

    def refusal(self, *, verify: bool) -> Exception:
        """Error that says why nothing can be written there."""
        name = self.sink.name
        # A complete result of any settings just has the name, unless it is expected to be what is asked for.
        if self.differences and (verify or self.is_untidy or self.complete is None):
            return self.mismatch(self.differences)
        if verify and not self.processes:
            return FileExistsError(f"{name} exists and has no manifest to verify it by: choose another name")
        return FileExistsError(f"{name} exists: choose another name, or remove it first")

    def mismatch(self, differences: list[str]) -> ValueError:
        """Error that says in which settings what lies there differs."""
        return ValueError(
            f"sink: {self.sink.location()} was made with other settings ({'; '.join(differences)}); "
            f"give those, choose another name, or remove it"
        )

    def tidy(self) -> None:
        """Remove what a run left that was cut when its result was complete."""
        if self.is_untidy:
            self.sink.tidy()

    def publish(self, records: Records) -> None:
        """Give the result its name if these records, and those that are stored, are all.

        Raises
        ------
        RuntimeError
            If they have not the right number of rows, or were drawn with other settings.
        FileNotFoundError
            If rows were removed before the result was complete.
        """
        processes = manifest.load_processes(self.sink)
        for process, stored in processes.items():
            if differences := manifest.differences(stored.configuration, self.configuration):
                raise RuntimeError(
                    f"{self.sink.name}: process {process} has drawn rows with other settings "
                    f"({'; '.join(differences)}); remove {self.sink.location()} and generate it again"
                )
        records = records | manifest.merge_records(processes.values())
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
    claim = None if is_untidy else sink.claimed()
    claims = [] if claim is None else [manifest.load(claim, f"{sink.name}, claim")]
    begun = [*processes.values(), *claims] if complete is None else [complete]

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
    configurations = [other.configuration for other in begun]
    differences = _first_differences(configurations, configuration, without=("made_by",))
    outdated = _first_differences(configurations, configuration)

    exists = sink.exists()
    n_recorded = len(manifest.merge_records(processes.values()))
    is_drawn = n_recorded == plan.n_chunks if processes else exists and complete is not None
    if exists and not is_drawn:
        status, differences = Status.FOREIGN, []  # what has the name is not what was begun
    elif differences or (outdated and not is_drawn):
        status, differences = Status.FOREIGN, differences or outdated
    elif processes or (claims and not exists):
        status = Status.WRITTEN if exists else Status.UNFINISHED
    else:
        status = Status.COMPLETE if exists else Status.NEW
    complete = complete if exists else None  # a manifest alone is no result
    if outdated and not differences:
        configuration = configurations[0]
    return Destination(
        sink, plan, configuration, status, processes, complete, differences, outdated, is_untidy
    )


def _first_differences(
    begun: list[dict[str, Any]], asked: dict[str, Any], *, without: tuple[str, ...] = ()
) -> list[str]:
    """Name what the first configuration that is not what is asked for differs in."""
    asked = {name: value for name, value in asked.items() if name not in without}
    for configuration in begun:
        kept = {name: value for name, value in configuration.items() if name not in without}
        if differences := manifest.differences(kept, asked):
            return differences
    return []


def _versions() -> dict[str, str]:
    return {"ellipsoid": __version__, "jax": jax.__version__, "platform": jax.default_backend()}
