"""The command ``report``."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from ellipsoid.cli.printing import say
from ellipsoid.runs import RunFolder, check_report_files


@dataclass(frozen=True)
class Report:
    """Measure, draw and judge the latents of a run: one page, report.html, with all figures."""

    folder: Annotated[Positional[Path], arg(name="run")]
    """A run folder, or one with latents.npy from any framework, and state.npz if that is fitted already."""
    images: str | None = None
    """Training images, as for train, to show reconstructions and nearest neighbours too."""
    seed: int = 0
    """Seed of everything that is drawn."""
    force: bool = False
    """Permission to replace a report.html or diagnostics.json that no report has written."""

    def run(self) -> None:
        """Write the report."""
        from ellipsoid.report import load_report_inputs, write_report

        check_report_files(self.folder, force=self.force)
        verdict = write_report(self.folder, load_report_inputs(self.folder, self.images), seed=self.seed)
        say(verdict.headline)
        for concern in verdict.concerns:
            say(concern.text)
        run = RunFolder(self.folder)
        say(f"wrote {run.report}, {run.diagnostics.name} and {run.figures.name}/")
