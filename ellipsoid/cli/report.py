"""The command ``report``."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, arg

from ellipsoid.cli.arrays import read_array
from ellipsoid.cli.printing import say
from ellipsoid.fitting import fit
from ellipsoid.outputs import check_folder
from ellipsoid.runs import RunFolder, check_report_files
from ellipsoid.shapes import load
from ellipsoid.state import PCAState

if TYPE_CHECKING:
    from ellipsoid.report import ReportInputs


@dataclass(frozen=True)
class Report:
    """Measure, draw and judge the latents of a run: one page, report.html, with all figures."""

    source: Annotated[Positional[Path], arg(name="run")]
    """A run folder, or one with latents.npy from any framework, and state.npz if that is fitted already; or a
    file of latents, as for fit."""
    out: Path | None = None
    """Folder for the page, the numbers and the figures: the run folder itself by default. For a file such as
    z.npy it is z-report."""
    state: Path | None = None
    """State (.npz) whose claims are tested instead of the run's own, or of one fitted to all latents."""
    array: str | None = None
    """Name of the array in a .npz file of several."""
    images: str | None = None
    """Training images, as for train, to show reconstructions and nearest neighbours of. By default those that
    the run says it was trained on."""
    seed: int = 0
    """Seed of everything that is drawn."""
    force: bool = False
    """Permission to replace a page, numbers or tables of these names that no report has written."""

    def run(self) -> None:
        """Write the report."""
        from ellipsoid.report import write_report

        is_file = self.source.is_file()
        own = self.source.with_name(f"{self.source.stem}-report") if is_file else self.source
        run = RunFolder(own if self.out is None else self.out)
        if run.path.exists():
            check_report_files(run, force=self.force)
        elif run.path != self.source:
            check_folder("out", run.path)
        inputs = self._inputs(is_file, None if self.state is None else _read_state(self.state))
        if inputs.state.n_components < 2:
            raise ValueError(
                f"run: expected latents with variance in at least 2 directions; got {self.source}, with "
                f"{inputs.state.n_components} of {inputs.state.n_features}: the encoder has collapsed"
            )
        verdict = write_report(run, inputs, seed=self.seed)
        say(verdict.headline)
        for concern in verdict.concerns:
            say(concern.text)
        tables = (run.diagnostics.name, run.component_table.name, run.pair_table.name)
        say(f"wrote {run.report}, {', '.join(tables)} and {run.figures.name}/")

    def _inputs(self, is_file: bool, state: PCAState | None) -> "ReportInputs":
        """Read what the report is about."""
        from ellipsoid.report import ReportInputs, load_report_inputs

        if not is_file:
            inputs = load_report_inputs(self.source, self.images)
            # An evaluation of the run says nothing about another state.
            return inputs if state is None else replace(inputs, state=state, run=None)
        if self.images is not None:
            raise ValueError(f"images: expected a run folder to go with them; got {self.source}")
        latents = read_array("run", self.source, self.array)
        return ReportInputs(fit(latents) if state is None else state, latents)


def _read_state(path: Path) -> PCAState:
    state = load(path)
    if not isinstance(state, PCAState):
        raise ValueError(
            "state: expected a state, since the report tests what one state claims; got "
            f"{path}, a {type(state).__name__.lower()}"
        )
    return state
