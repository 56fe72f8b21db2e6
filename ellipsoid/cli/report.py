"""The command ``report``."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, arg

from ellipsoid.cli.printing import say

if TYPE_CHECKING:
    from ellipsoid.report import ReportInputs
    from ellipsoid.state import PCAState


@dataclass(frozen=True)
class Report:
    """Test a run's latents for the assumptions of the method: one page with figures and a verdict."""

    source: Annotated[Positional[Path], arg(name="run")]
    """Run folder, any folder with a file latents.npy, or a file of latents (.npy, .npz, .csv, .parquet). The
    report tests the state.npz in the folder; without one, a state is fitted."""
    out: Path | None = None
    """Folder for the page, the numbers and the figures. By default the run folder itself; for a file such as
    z.npy it is z-report."""
    state: Path | None = None
    """Fitted state (.npz) to test instead of the run's own."""
    array: str | None = None
    """Name of the array in a .npz file that holds several."""
    images: str | None = None
    """Training images, for reconstructions and nearest neighbours: any source that `ellipsoid train` takes.
    By default the images that the run records."""
    seed: int = 0
    """Random seed of the draws in the report."""
    force: bool = False
    """Permission to replace a page, numbers or tables that no report has written."""

    def run(self) -> None:
        """Write the report."""
        from ellipsoid.outputs import check_folder
        from ellipsoid.report import write_report
        from ellipsoid.runs import RunFolder, check_report_files

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
        concerns = [concern.text for concern in verdict.concerns]
        say(verdict.headline, verdict=verdict.headline, concerns=concerns)
        for concern in concerns:
            say(concern)
        written = [run.report, run.diagnostics, run.component_table, run.pair_table, run.figures]
        names = ", ".join(path.name for path in written[1:-1])
        say(f"wrote {run.report}, {names} and {run.figures.name}/", written=written)

    def _inputs(self, is_file: bool, state: "PCAState | None") -> "ReportInputs":
        """Read what the report is about."""
        from ellipsoid.cli.arrays import read_array
        from ellipsoid.fitting import fit
        from ellipsoid.report import ReportInputs, load_report_inputs

        if not is_file:
            inputs = load_report_inputs(self.source, self.images)
            # An evaluation of the run says nothing about another state.
            return inputs if state is None else replace(inputs, state=state, run=None)
        if self.images is not None:
            raise ValueError(f"--images needs a run folder; got {self.source}, a file of latents")
        latents = read_array("run", self.source, self.array)
        return ReportInputs(fit(latents) if state is None else state, latents)


def _read_state(path: Path) -> "PCAState":
    from ellipsoid.shapes import load
    from ellipsoid.state import PCAState

    state = load(path)
    if not isinstance(state, PCAState):
        raise ValueError(
            "state: expected the state of one ellipsoid, since the report tests its assumptions; got "
            f"{path}, a {type(state).__name__.lower()}"
        )
    return state
