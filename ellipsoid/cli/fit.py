"""The command ``fit``."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tyro.conf import Positional

from ellipsoid.cli.arrays import read_array, read_arrays
from ellipsoid.cli.printing import say
from ellipsoid.evaluation.best import choose_shape
from ellipsoid.evaluation.runs import choose_run_shape
from ellipsoid.flow import Flow
from ellipsoid.flow_fitting import DEFAULT_STEPS
from ellipsoid.mixture import Mixture
from ellipsoid.outputs import check_output
from ellipsoid.random import key
from ellipsoid.runs import RunFolder
from ellipsoid.shapes import Shape, load
from ellipsoid.workflows import HalfWidth, complete_run, fit_latents


@dataclass(frozen=True)
class Fit:
    """Fit a shape to latents: one ellipsoid, a mixture of several, a flow, or the best of them."""

    latents: Positional[Path]
    """Latents, (n, D), from any framework: a .npy, .npz, .csv or .parquet file; or a run folder. After a
    training that was stopped, the best checkpoint encodes the images first."""
    out: Path | None = None
    """File for the shape, a .npz file. With --best and a run folder it may be left out: the run keeps the
    shapes, and is drawn from as they say."""
    n_components: int | float | None = None
    """A number of components, or a share of the variance below 1; all that have variance by default."""
    half_width: HalfWidth = "std"
    """Method by which each component's standard deviation is read off the data. Mixtures and flows know std
    only."""
    n_parts: tuple[int, ...] = ()
    """Number of parts of a mixture; of several numbers, the one under which rows held out are likeliest.
    With labels, the number of parts for each label."""
    labels: Path | None = None
    """Labels, to fit a mixture with parts for each of them: a .npy array of labels, or a .npz file of
    attributes, one array of booleans each."""
    flow: bool = False
    """A flow: the same method in curved coordinates, learned from the latents in a minute or more. Labels are
    learned with it."""
    best: bool = False
    """Fit one ellipsoid, mixtures and a flow, and keep the one that held-out latents speak for."""
    steps: int = DEFAULT_STEPS
    """Largest number of steps of a flow's training."""
    width: int | None = None
    """Number of units in a layer of a flow's network; by default 192, or 384 for more than 128 components."""
    resume: Path | None = None
    """File that the training of a flow is kept in until it is finished; OUT.training.npz by default. The same
    command goes on from it."""
    seed: int = 0
    """Random seed of mixtures and flows."""
    by: tuple[str, ...] = ()
    """Attributes of a run's training images, as Smiling Male, to fit a mixture with parts for each
    combination, or a flow that knows them; or the word label, for parts for each of their classes."""
    array: str | None = None
    """Name of the array in a .npz file of several, or of the column of lists in a .parquet file."""
    force: bool = False
    """Permission to replace a file that is no shape."""

    def run(self) -> None:
        """Fit and save."""
        self._check()
        if self.out is None:
            choice = choose_run_shape(self._complete(), flow_options={"steps": self.steps}, seed=self.seed)
            say(choice.reason)
            say(f"the run draws from it now: ellipsoid generate {self.latents} --n 100 --out images")
            return
        if self._run is None:
            latents = read_array("latents", self.latents, self.array)
        else:
            latents = self._complete().read_latents()
        shape = self._choose(latents) if self.best else self._fit(latents)
        shape.save(self.out)
        say(f"wrote {self.out}: {_described(shape)}")

    def _fit(self, latents: np.ndarray) -> Shape:
        labels = None if self.labels is None else read_arrays("labels", self.labels)
        if self.by:
            labels = RunFolder(self.latents).read_labels(self.by)
        assert self.out is not None  # it was checked
        training = (self.resume or self.out.with_suffix(".training.npz")) if self.flow else None
        try:
            return fit_latents(
                latents,
                self.n_components,
                self.half_width,
                n_parts=self.n_parts,
                labels=labels,
                flow=self.flow,
                steps=self.steps,
                width=self.width,
                resume=training,
                seed=self.seed,
            )
        except KeyboardInterrupt:
            if training is None or not training.exists():
                raise
            raise KeyboardInterrupt(
                f"interrupted; the training is kept in {training}, the same command goes on from there"
            ) from None

    def _choose(self, latents: np.ndarray) -> Shape:
        choice = choose_shape(
            latents,
            n_components=self.n_components,
            flow_options={"steps": self.steps},
            key=key(self.seed),
            progress=True,
        )
        say(choice.reason)
        settings = choice.settings
        say(f"draw with --law {settings.law} --level {float(settings.level):.4g}")
        return choice.shape

    @property
    def _run(self) -> RunFolder | None:
        """Run folder that the latents come from."""
        is_folder = self.latents.is_dir() and self.latents.suffix.lower() != ".parquet"
        return RunFolder(self.latents) if is_folder else None

    def _complete(self) -> RunFolder:
        """Run folder with latents in it."""
        run = RunFolder(self.latents)
        if run.config.exists() and not run.latents.exists():
            say(f"{run.path} has no latents: encoding its images with the best checkpoint")
            complete_run(run)
        return run

    def _check(self) -> None:
        """Refuse what does not go together, and to replace what is not ours, before anything is read."""
        if self.by and (self.labels is not None or self._run is None):
            got = "both" if self.labels is not None else f"{self.latents}, which is no run folder"
            raise ValueError(f"by: expected attributes of a run, without a file of labels; got {got}")
        others = (self.flow, self.n_parts, self.labels is not None, self.by, self.resume is not None)
        if self.best and any(others):
            raise ValueError("best: expected no --flow, --n-parts, --labels, --by or --resume beside it")
        if self.flow and self.n_parts:
            raise ValueError("flow: expected no --n-parts beside it, which are of a mixture")
        if self.resume is not None and not self.flow:
            raise ValueError("resume: expected --flow beside it")
        if self.width is not None and not self.flow:
            raise ValueError("width: expected --flow beside it")
        if self.out is None:
            if self.best and self._run is not None:
                return
            raise ValueError("out: expected a file for the shape; got none: --out shape.npz")
        if self.out.suffix.lower() != ".npz":
            raise ValueError(f"out: expected a name that ends in .npz; got {self.out}")
        latents = self.latents if self._run is None else self._run.latents
        inputs = [latents, *([] if self.labels is None else [self.labels])]
        check_output("out", self.out, "a shape", load, inputs=inputs, force=self.force)


def _described(shape: Shape) -> str:
    """Words about a shape."""
    before = after = ""
    if isinstance(shape, Mixture):
        state, before = shape.shared, f"{shape.n_parts} parts, "
    elif isinstance(shape, Flow):
        state, after = shape.base, f"; held-out loss {float(shape.loss):.3f} of that of one ellipsoid"
    else:
        state = shape
    share = float(np.sum(state.explained_variance_ratio))
    return f"{before}{shape.n_components} components, {share:.1%} of the variance{after}"
