"""The command ``train``."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from ellipsoid.cli.printing import say
from ellipsoid.models.autoencoder import AutoencoderConfig
from ellipsoid.models.steps import TrainConfig


@dataclass(frozen=True)
class Train:
    """Train an autoencoder on images, and fit a PCA state to its latents.

    Ctrl-C ends the training after the epoch under way; the same command with --resume goes on there, and
    `ellipsoid fit RUN` makes a run to draw from of what there is.
    """

    images: Positional[str]
    """A folder or a .zip of images, CelebA as it is downloaded, a .npy or .npz array, an embedded set (faces,
    digits), or a set that scikit-learn downloads (olivetti, lfw)."""
    out: Path
    """Run folder: configuration, checkpoints, metrics, latents.npy and state.npz."""
    split: Literal["all", "train", "valid", "test"] = "all"
    """Part of CelebA."""
    cache: Path | None = None
    """A .npy file to keep decoded images in: they are decoded once, and may be larger than memory."""
    resume: bool = False
    """Continuation of the training in the run folder, from its newest checkpoint. More --epochs or --steps
    train longer: from there on the learning rate is that of the longer schedule at the same step."""
    autoencoder: Annotated[AutoencoderConfig, arg(name="")] = field(default_factory=AutoencoderConfig)
    training: Annotated[TrainConfig, arg(name="")] = field(default_factory=TrainConfig)

    def run(self) -> None:
        """Train, encode, fit."""
        from ellipsoid.workflows import train_run

        try:
            run = train_run(
                self.images,
                self.out,
                self.autoencoder,
                self.training,
                split=self.split,
                cache=self.cache,
                resume=self.resume,
            )
        except KeyboardInterrupt as error:
            if not str(error).startswith("stopped after"):
                raise
            advice = f"`ellipsoid fit {self.out} --out {self.out / 'state.npz'}` makes it a run to draw from"
            raise KeyboardInterrupt(f"{error}; {advice}") from None
        parts = (run.checkpoints, run.metrics, run.latents, run.state)
        say(f"wrote {self.out}: {', '.join(path.name for path in parts)}")
