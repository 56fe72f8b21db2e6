"""The command ``directions``."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from ellipsoid.cli.printing import print_table, say


@dataclass(frozen=True)
class Directions:
    """Learn the directions in latent space along which attributes change, and how clearly."""

    folder: Annotated[Positional[Path], arg(name="run")]
    """Run folder, or any folder with a file latents.npy."""
    labels: Path | None = None
    """Labels of the latents, row by row: a .npy array of classes, or a .npz file with one boolean array for
    each attribute. By default the attributes, class folders or labels of the run's images."""
    orthogonal: tuple[str, ...] = ()
    """Attributes that moves along all other directions leave unchanged."""

    def run(self) -> None:
        """Learn, save and print."""
        from ellipsoid.cli.arrays import read_arrays
        from ellipsoid.run_directions import learn_run_directions
        from ellipsoid.runs import RunFolder

        labels = None if self.labels is None else read_arrays("labels", self.labels)
        learned = learn_run_directions(self.folder, labels, orthogonal=self.orthogonal)
        rows, facts = [], []
        for one in learned.values():
            share = one.group_size[1] / one.group_size.sum()
            rows.append(
                (
                    one.name,
                    f"{share:.1%}",
                    f"{one.auc:.3f} ± {one.auc_error:.3f}",
                    f"{one.group_mean[0]:+.2f}",
                    f"{one.group_mean[1]:+.2f}",
                )
            )
            facts.append(
                {
                    "name": one.name,
                    "share": share,
                    "auc": one.auc,
                    "auc_error": one.auc_error,
                    "mean_without": one.group_mean[0],
                    "mean_with": one.group_mean[1],
                }
            )
        print_table(rows, ("attribute", "share", "AUC", "mean without", "mean with"), directions=facts)
        path = RunFolder(self.folder).directions
        say(
            f"wrote {path}: {len(learned)} directions; `ellipsoid report {self.folder}` shows them",
            written=[path],
        )
