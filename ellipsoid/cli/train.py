"""The command ``train``."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from ellipsoid.cli.printing import say
from ellipsoid.models.configs import AutoencoderConfig, TrainConfig


@dataclass(frozen=True)
class Train:
    """Train an autoencoder on images, and fit a PCA state to its latents.

    Ctrl-C stops the training after the current epoch. The same command with --resume continues it, and
    `ellipsoid fit RUN` makes the stopped run usable.
    """

    images: Positional[str]
    """Training images: a folder or .zip file of images, CelebA as it is downloaded, a .npy or .npz array, an
    embedded set (faces, digits), or a set that scikit-learn downloads (olivetti, lfw)."""
    out: Path
    """Run folder that is made: configuration, checkpoints, metrics, latents.npy and state.npz."""
    split: Literal["all", "train", "valid", "test"] = "all"
    """Part of CelebA to train on."""
    cache: Path | None = None
    """File (.npy) for the decoded images. They are decoded once, and may be larger than memory."""
    resume: bool = False
    """Continuation of the training in the run folder, from its newest checkpoint. A larger --epochs or
    --steps prolongs the training; the learning rate then follows the longer schedule."""
    autoencoder: Annotated[AutoencoderConfig, arg(name="")] = field(default_factory=AutoencoderConfig)
    training: Annotated[TrainConfig, arg(name="")] = field(default_factory=TrainConfig)

    def run(self) -> None:
        """Train, encode, fit."""
        import jax
        import numpy as np

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
            advice = f"`ellipsoid fit {self.out} --out {self.out / 'state.npz'}` makes the run usable"
            raise KeyboardInterrupt(f"{error}; {advice}") from None
        device, history = jax.local_devices()[0].device_kind, run.read_metrics()
        best = min(history, key=lambda record: record["validation_loss"])
        n_images = len(np.load(run.latents, mmap_mode="r"))
        say(
            f"trained on {n_images:,} images up to epoch {len(history)} (device: {device})",
            images=n_images,
            device=device,
        )
        say(
            f"best epoch: {best['epoch']}, with a mean squared error of {best['validation_loss']:.5f} on the "
            "images that were kept back (pixels in [0, 1])",
            epochs=len(history),
            best_epoch=best,
        )
        parts = [run.checkpoints, run.metrics, run.latents, run.state]
        names = ", ".join(path.name for path in parts)
        say(f"wrote {self.out}: {names}", written=parts)
        say(f"next: ellipsoid generate {self.out} --n 100 --out images")
