"""The command ``directions``."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from ellipsoid.cli.arrays import read_arrays
from ellipsoid.cli.printing import print_table, say
from ellipsoid.run_directions import learn_run_directions
from ellipsoid.runs import RunFolder


@dataclass(frozen=True)
class Directions:
    """Learn along which directions of a run's latents its attributes change, and how clearly."""

    folder: Annotated[Positional[Path], arg(name="run")]
    """A run folder, or one with latents.npy from any framework."""
    labels: Path | None = None
    """Labels of the latents, row for row: a .npy array of labels, or a .npz file of attributes, one array of
    booleans each. By default what is known of the run's images: attributes, folders or labels."""
    orthogonal: tuple[str, ...] = ()
    """Attributes that a move along any other direction must not change."""

    def run(self) -> None:
        """Learn, save and print."""
        labels = None if self.labels is None else read_arrays("labels", self.labels)
        learned = learn_run_directions(self.folder, labels, orthogonal=self.orthogonal)
        rows = [
            (
                one.name,
                f"{one.group_size[1] / one.group_size.sum():.1%}",
                f"{one.auc:.3f} ± {one.auc_error:.3f}",
                f"{one.group_mean[0]:+.2f}",
                f"{one.group_mean[1]:+.2f}",
            )
            for one in learned.values()
        ]
        print_table(rows, ("attribute", "share", "AUC", "mean without", "mean with"))
        say(
            f"wrote {RunFolder(self.folder).directions}: {len(learned)} directions; "
            f"`ellipsoid report {self.folder}` shows them"
        )
