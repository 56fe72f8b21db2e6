"""The command ``fit``."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tyro.conf import Positional

from ellipsoid.cli.arrays import read_array, read_arrays
from ellipsoid.cli.printing import say
from ellipsoid.mixture import Mixture
from ellipsoid.outputs import check_output
from ellipsoid.runs import RunFolder
from ellipsoid.shapes import load
from ellipsoid.workflows import HalfWidth, complete_run, fit_latents


@dataclass(frozen=True)
class Fit:
    """Fit a PCA state to latents, or a mixture of several."""

    latents: Positional[Path]
    """Latents, (n, D), from any framework: a .npy, .npz, .csv or .parquet file; or a run folder. After a
    training that was stopped, the best checkpoint encodes the images first."""
    out: Path
    """File for the state or mixture, a .npz file."""
    n_components: int | float | None = None
    """A number of components, or a share of the variance below 1; all that have variance by default."""
    half_width: HalfWidth = "std"
    """Method by which each component's standard deviation is read off the data. A mixture knows std only."""
    n_parts: tuple[int, ...] = ()
    """Number of parts of a mixture; of several numbers, the one under which rows held out are likeliest.
    With labels, the number of parts for each label."""
    labels: Path | None = None
    """Labels, to fit a mixture with parts for each of them: a .npy array of labels, or a .npz file of
    attributes, one array of booleans each."""
    by: tuple[str, ...] = ()
    """Attributes of a run's training images, as Smiling Male, to fit a mixture with parts for each
    combination; or the word label, for parts for each of their classes."""
    array: str | None = None
    """Name of the array in a .npz file of several, or of the column of lists in a .parquet file."""
    force: bool = False
    """Permission to replace a file that is no state or mixture."""

    def run(self) -> None:
        """Fit and save."""
        self._check_out()
        if self.latents.is_dir() and self.latents.suffix.lower() != ".parquet":
            run = RunFolder(self.latents)
            if run.config.exists() and not run.latents.exists():
                say(f"{run.path} has no latents: encoding its images with the best checkpoint")
                complete_run(run)
            latents, labels = run.read_latents(), run.read_labels(self.by) if self.by else None
        else:
            labels = None
            latents = read_array("latents", self.latents, self.array)
        shape = fit_latents(
            latents,
            self.n_components,
            self.half_width,
            n_parts=self.n_parts,
            labels=labels if self.labels is None else read_arrays("labels", self.labels),
        )
        shape.save(self.out)
        is_mixture = isinstance(shape, Mixture)
        ratio = shape.shared.explained_variance_ratio if is_mixture else shape.explained_variance_ratio
        parts = f"{shape.n_parts} parts, " if is_mixture else ""
        share = float(np.sum(ratio))
        say(f"wrote {self.out}: {parts}{shape.n_components} components, {share:.1%} of the variance")

    def _check_out(self) -> None:
        """Refuse to replace what is not ours, before anything is read."""
        if self.by and (self.labels is not None or not self.latents.is_dir()):
            got = "both" if self.labels is not None else f"{self.latents}, which is no run folder"
            raise ValueError(f"by: expected attributes of a run, without a file of labels; got {got}")
        if self.out.suffix.lower() != ".npz":
            raise ValueError(f"out: expected a name that ends in .npz; got {self.out}")
        latents = RunFolder(self.latents).latents if self.latents.is_dir() else self.latents
        inputs = [latents, *([] if self.labels is None else [self.labels])]
        check_output("out", self.out, "a state or mixture", load, inputs=inputs, force=self.force)
