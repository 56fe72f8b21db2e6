"""The destination of a large batch, and its status: one of five, by what lies there."""

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
    """Status of a destination."""

    #: Nothing is there.
    NEW = "new"
    #: Some chunks of the same settings lie in ``NAME.partial``.
    UNFINISHED = "unfinished"
    #: All chunks are written, but a run was stopped while it gave the result its name.
    WRITTEN = "written"
    #: The result of the same settings is complete.
    COMPLETE = "complete"
    #: Something else has the name, or a result, complete or not, of other settings.
    FOREIGN = "foreign"


@dataclass(frozen=True)
class Destination:
    """Sink, with the rows to write and the rows that it has.

    Attributes
    ----------
    sink : Sink
        Sink, opened with the plan.
    plan : WritePlan
        Rows to write.
    configuration : dict
        Everything that fixes the bytes, by name.
    status : Status
        Status of the destination.
    processes : dict of str to Manifest
        Records of an unfinished run, by the number of the process.
    complete : Manifest or None
        Manifest of a complete result.
    differences : list of str
        Settings in which the existing rows differ from the requested ones.
    outdated : list of str
        Versions of packages that made the existing rows, where they differ from the installed ones. They
        matter only if chunks are still to be drawn.
    is_untidy : bool
        Whether a run was stopped after its result was complete, but before the rest was removed.
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
        """Return the error that says why nothing can be written there."""
        name = self.sink.name
        # A complete result of any settings is just in the way, unless it should be the requested one.
        if self.differences and (verify or self.is_untidy or self.complete is None):
            return self.mismatch(self.differences)
        if verify and not self.processes:
            return FileExistsError(
                f"sink: expected a result with a manifest to verify; got {name}, which has none; choose "
                f"another name"
            )
        return FileExistsError(
            f"sink: expected a new name; got {name}, which exists; choose another name, or remove it first"
        )

    def mismatch(self, differences: list[str]) -> ValueError:
        """Return the error that says in which settings the existing rows differ."""
        return ValueError(
            f"sink: {self.sink.location()} was made with other settings ({'; '.join(differences)}); "
            f"pass those, choose another name, or remove it"
        )

    def tidy(self) -> None:
        """Remove the rest of a run that was stopped after its result was complete."""
        if self.is_untidy:
            self.sink.tidy()

    def publish(self, records: Records) -> None:
        """Give the result its name if these and the stored records make it complete.

        Raises
        ------
        RuntimeError
            If the records have the wrong number of rows, or come from other settings.
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
                f"{self.sink.name}: expected chunks of {self.plan.n:,} rows in the manifest; got another sum"
            )
        self.sink.publish(manifest.dump(self.configuration, records))


def look(sink: Sink, source: RowSource, chunk: int | None, decoder_digest: str | None) -> Destination:
    """Inspect a destination without changing it.

    Parameters
    ----------
    sink : Sink
        Destination of the rows.
    source : RowSource
        Rows to write.
    chunk : int or None
        Number of rows that are written and recorded at a time; None continues with that of an earlier run.
    decoder_digest : str or None
        Text that identifies the decoder.

    Raises
    ------
    ValueError
        If a manifest is damaged, the sink cannot hold the rows, or the source refuses an argument.
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
        status, differences = Status.FOREIGN, []  # another thing has the name
    elif differences or (outdated and not is_drawn):
        status, differences = Status.FOREIGN, differences or outdated
    elif processes or (claims and not exists):
        status = Status.WRITTEN if exists else Status.UNFINISHED
    else:
        status = Status.COMPLETE if exists else Status.NEW
    complete = complete if exists else None  # a manifest without its rows is not a result
    if outdated and not differences:
        configuration = configurations[0]
    return Destination(
        sink, plan, configuration, status, processes, complete, differences, outdated, is_untidy
    )


def _first_differences(
    begun: list[dict[str, Any]], asked: dict[str, Any], *, without: tuple[str, ...] = ()
) -> list[str]:
    """Name the differences of the first configuration that is not the requested one."""
    asked = {name: value for name, value in asked.items() if name not in without}
    for configuration in begun:
        kept = {name: value for name, value in configuration.items() if name not in without}
        if differences := manifest.differences(kept, asked):
            return differences
    return []


def _versions() -> dict[str, str]:
    return {"ellipsoid": __version__, "jax": jax.__version__, "platform": jax.default_backend()}
