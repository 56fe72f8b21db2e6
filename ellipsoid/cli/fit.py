"""The command ``fit``."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tyro.conf import Positional

from ellipsoid.cli.printing import say
from ellipsoid.options import DEFAULT_STEPS, HalfWidth

if TYPE_CHECKING:
    import numpy as np

    from ellipsoid.runs import RunFolder
    from ellipsoid.settings import DrawSettings
    from ellipsoid.shapes import Shape


@dataclass(frozen=True)
class Fit:
    """Fit a shape to latents: one ellipsoid, a mixture of several, a flow, or the best of them."""

    latents: Positional[Path]
    """Latents (n, D) of any framework: a .npy, .npz, .csv or .parquet file, or a run folder. For a run whose
    training was stopped, the best checkpoint encodes the images first."""
    out: Path | None = None
    """File (.npz) for the fitted shape. It may be left out with --best and a run folder: the shapes are then
    kept in the run, and draws from the run use the best one."""
    n_components: int | float | None = None
    """Number of principal components, or a share of the variance below 1. By default all components that have
    variance."""
    half_width: HalfWidth = "std"
    """Estimator of each component's standard deviation. Mixtures and flows need std."""
    n_parts: tuple[int, ...] = ()
    """Number of ellipsoids in a mixture. Among several numbers, the one with the highest held-out likelihood
    is chosen. With labels, this is the number of ellipsoids for each label."""
    labels: Path | None = None
    """Labels of the latents, for a mixture with its own ellipsoids for each label: a .npy array of classes,
    or a .npz file with one boolean array for each attribute."""
    flow: bool = False
    """Fit of a flow: a neural network that learns curved coordinates in which the latents are Gaussian. It
    takes a minute or more. With labels, the flow learns to draw for each of them."""
    best: bool = False
    """Choice between one ellipsoid, mixtures and a flow by held-out latents."""
    steps: int = DEFAULT_STEPS
    """Maximum number of training steps of a flow."""
    width: int | None = None
    """Units in each layer of a flow's network. By default 192, or 256 for more than 128 components."""
    resume: Path | None = None
    """File for the unfinished training of a flow; OUT.training.npz by default. The same command continues
    from it."""
    seed: int = 0
    """Random seed of mixtures and flows."""
    by: tuple[str, ...] = ()
    """Attributes of a run's training images, such as Smiling Male. A mixture gets its own ellipsoids for each
    combination; a flow learns to draw for each. The word label stands for the classes of the images."""
    array: str | None = None
    """Name of the array in a .npz file that holds several, or of the column of lists in a .parquet file."""
    force: bool = False
    """Permission to replace a file that is not a fitted shape."""

    def run(self) -> None:
        """Fit and save."""
        self._check()
        if self.out is None:
            from ellipsoid.evaluation.runs import choose_run_shape

            run = self._complete()
            choice = choose_run_shape(run, flow_options={"steps": self.steps}, seed=self.seed)
            say(choice.reason, reason=choice.reason, draw=_as_facts(choice.settings), **_facts(choice.shape))
            written = [path for path in (run.mixture, run.flow, run.recommendation) if path.exists()]
            say(
                f"draws from this run now use it: ellipsoid generate {self.latents} --n 100 --out images",
                written=written,
            )
            return
        if self._is_run:
            latents = self._complete().read_latents()
        else:
            from ellipsoid.cli.arrays import read_array

            latents = read_array("latents", self.latents, self.array)
        shape = self._choose(latents) if self.best else self._fit(latents)
        shape.save(self.out)
        say(f"wrote {self.out}: {_described(shape)}", written=[self.out], **_facts(shape))

    def _fit(self, latents: "np.ndarray") -> "Shape":
        from ellipsoid.cli.arrays import read_arrays
        from ellipsoid.runs import RunFolder
        from ellipsoid.workflows import fit_latents

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
                f"interrupted; the training is kept in {training}, and the same command continues it"
            ) from None

    def _choose(self, latents: "np.ndarray") -> "Shape":
        from ellipsoid.evaluation.best import choose_shape
        from ellipsoid.random import key

        choice = choose_shape(
            latents,
            n_components=self.n_components,
            flow_options={"steps": self.steps},
            key=key(self.seed),
            progress=True,
        )
        draw = _as_facts(choice.settings)
        say(choice.reason, reason=choice.reason, draw=draw)
        say(f"draw with --law {draw['law']} --level {draw['level']:.4g}")
        return choice.shape

    @property
    def _is_run(self) -> bool:
        """Whether the latents are those of a run."""
        return self.latents.is_dir() and self.latents.suffix.lower() != ".parquet"

    def _complete(self) -> "RunFolder":
        """Run folder with latents in it."""
        from ellipsoid.runs import RunFolder
        from ellipsoid.workflows import complete_run

        run = RunFolder(self.latents)
        if run.config.exists() and not run.latents.exists():
            say(f"{run.path} has no latents: its best checkpoint encodes the training images")
            complete_run(run)
        return run

    def _check(self) -> None:
        """Refuse options that exclude each other, and to replace a file of another kind, before any work."""
        from ellipsoid.outputs import check_output

        if self.by and (self.labels is not None or not self._is_run):
            got = "--labels as well" if self.labels is not None else f"{self.latents}, not a run folder"
            raise ValueError(f"by: expected a run folder, and no --labels; got {got}")
        others = {
            "--flow": self.flow,
            "--n-parts": self.n_parts,
            "--labels": self.labels is not None,
            "--by": self.by,
            "--resume": self.resume is not None,
        }
        if self.best and any(others.values()):
            given = ", ".join(option for option, is_given in others.items() if is_given)
            raise ValueError(f"--best cannot be combined with {given}")
        if self.flow and self.n_parts:
            raise ValueError("--flow cannot be combined with --n-parts, which is for mixtures")
        if self.resume is not None and not self.flow:
            raise ValueError("--resume needs --flow")
        if self.width is not None and not self.flow:
            raise ValueError("--width needs --flow")
        if self.out is None:
            if self.best and self._is_run:
                return
            raise ValueError("--out: expected a file for the shape, as in --out shape.npz; got none")
        if self.out.suffix.lower() != ".npz":
            raise ValueError(f"out: expected a name that ends in .npz; got {self.out}")
        inputs = [self._latents_file, *([] if self.labels is None else [self.labels])]
        check_output("out", self.out, "a fitted shape", _load, inputs=inputs, force=self.force)

    @property
    def _latents_file(self) -> Path:
        from ellipsoid.runs import RunFolder

        return RunFolder(self.latents).latents if self._is_run else self.latents


def _load(path: Path) -> "Shape":
    from ellipsoid.shapes import load

    return load(path)


def _as_facts(settings: "DrawSettings") -> dict[str, Any]:
    return {**settings.options, "level": float(settings.level), "fact": float(settings.fact)}


def _facts(shape: "Shape") -> dict[str, Any]:
    """Give facts about a shape, for programs."""
    from ellipsoid.flow import Flow
    from ellipsoid.mixture import Mixture

    facts: dict[str, Any] = {"shape": type(shape).__name__, "components": shape.n_components}
    if isinstance(shape, Mixture):
        state, facts["parts"] = shape.shared, shape.n_parts
    elif isinstance(shape, Flow):
        state, facts["held_out_loss"] = shape.base, float(shape.loss)
    else:
        state = shape
    return facts | {"explained_variance": float(sum(state.explained_variance_ratio))}


def _described(shape: "Shape") -> str:
    """Describe a shape, for a person."""
    facts = _facts(shape)
    parts = f"mixture of {facts['parts']}, " if "parts" in facts else ""
    loss = ""
    if "held_out_loss" in facts:
        loss = f"; held-out loss {facts['held_out_loss']:.3f} times that of one ellipsoid"
    return f"{parts}{facts['components']} components, {facts['explained_variance']:.1%} of the variance{loss}"
