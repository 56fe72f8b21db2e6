"""Demonstration of the whole method on embedded data: drawn faces -> autoencoder -> latents -> new faces.

One run folder holds all results: the trained autoencoder, the latents, the shapes, the pictures and a report
on one page.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from flax import nnx

import ellipsoid as el
from ellipsoid.evaluation.runs import choose_run_shape
from ellipsoid.models.autoencoder import Autoencoder, AutoencoderConfig, decode_latents, encode_images
from ellipsoid.models.faces import procedural_faces
from ellipsoid.models.steps import TrainConfig
from ellipsoid.models.training import train
from ellipsoid.progress import progress_bar
from ellipsoid.report import ReportInputs, write_report
from ellipsoid.run_directions import learn_run_directions
from ellipsoid.runs import DRAWN_FACES, RunFolder, check_run_folder, drawn_faces, fit_run, record_images
from ellipsoid.state import PCAState

# Number of draws for the measurement of the speed.
_N_DRAWS = 10_000


@dataclass(frozen=True)
class DemoConfig:
    """Settings of the demonstration.

    Attributes
    ----------
    n_images, n_test : int
        Numbers of drawn faces for training, and of unseen faces for the test of reconstructions.
    autoencoder : AutoencoderConfig
        Settings of the autoencoder.
    training : TrainConfig
        Settings of its training.
    seed : int
        Random seed of all steps.
    flow_options : mapping of str to value
        Arguments of :func:`ellipsoid.fit_flow`.
    """

    n_images: int
    n_test: int
    autoencoder: AutoencoderConfig
    training: TrainConfig
    seed: int = 0
    flow_options: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def small(cls, seed: int = 0) -> "DemoConfig":
        """Return the default settings: 40 x 40 pixels and 64 latents, a few minutes on two cores."""
        return cls(
            n_images=12_000,
            n_test=1_000,
            autoencoder=AutoencoderConfig(image_size=40, filters=(16, 32, 64, 128), latent_dim=64),
            # For 192,000 images in all, 6,000 batches of 32 reach half of the error of 1,500 batches of 128.
            training=TrainConfig(steps=6_000, batch_size=32, learning_rate=3e-3, seed=seed),
            seed=seed,
        )

    @classmethod
    def full(cls, seed: int = 0) -> "DemoConfig":
        """Return the settings of the source method: 64 x 64 pixels, 4 + 4 layers, 256 latents."""
        return cls(
            n_images=30_000,
            n_test=1_000,
            autoencoder=AutoencoderConfig.celeba(),
            training=TrainConfig(epochs=20, seed=seed),
            seed=seed,
        )


def run_demo(out: Path, config: DemoConfig, *, progress: bool = True) -> dict[str, str]:
    """Run the demonstration, with all results in the folder `out`.

    Parameters
    ----------
    out : Path
        Run folder. It does not exist yet, or is empty.
    config : DemoConfig
        Settings of the demonstration.
    progress : bool
        Whether to show progress bars.

    Returns
    -------
    dict
        Measurements by label, ready to print.

    Raises
    ------
    FileExistsError
        If `out` is not empty.
    OSError
        If a file cannot be written.
    KeyboardInterrupt
        When interrupted. The current epoch is recorded first.
    """
    check_run_folder(out)
    started = time.monotonic()
    _, test_key, draw_key = jr.split(el.key(config.seed), 3)
    size = config.autoencoder.image_size
    with progress_bar("faces", config.n_images + config.n_test, enabled=progress, unit="images") as advance:
        images = drawn_faces(config.n_images, size, config.seed)
        advance(config.n_images)
        test_images = procedural_faces(config.n_test, size, key=test_key).images
        advance(config.n_test)

    autoencoder = Autoencoder(config.autoencoder, rngs=nnx.Rngs(config.seed))
    history = train(autoencoder, images, config.training, out=out, progress=progress)
    latents, state = fit_run(autoencoder, images, out, test=test_images, progress=progress)
    record_images(out, DRAWN_FACES, n=config.n_images, n_test=config.n_test, seed=config.seed)

    choice = choose_run_shape(out, flow_options=config.flow_options, seed=config.seed, progress=progress)

    error, mean_error = _test_error(autoencoder, images, test_images)
    rate, share_inside = _draw(state, draw_key)
    n_pairs = state.n_components * (state.n_components - 1) // 2
    summary = {
        "images": f"{config.n_images:,} drawn faces, {size} x {size} pixels",
        "latent dimensions": f"{state.n_features}, {state.n_components} of them with variance",
        "test error": f"{error:.5f} mean squared, {error / mean_error:.1%} of the error of the mean image",
        "latents drawn": f"{rate:,.0f} vectors/s by the law redraw, including the first compilation",
        "inside": f"{share_inside:.0%} of the draws lie inside the ellipses of all {n_pairs:,} pairs",
        "drawn from": f"{choice.best}, chosen by {choice.n_held_out:,} unseen faces",
        "time": f"{(time.monotonic() - started) / 60:.1f} minutes before this report",
    }
    inputs = ReportInputs(
        state,
        latents,
        decode=lambda z: decode_latents(autoencoder, np.asarray(z)),
        encode=lambda x: encode_images(autoencoder, x),
        images=images,
        test_images=test_images,
        history=history,
        run=out,
        shapes=RunFolder(out).read_shapes(),
        test_latents=RunFolder(out).read_test_latents(),
        directions=learn_run_directions(out),
    )
    write_report(out, inputs, summary=list(summary.items()), seed=config.seed, progress=progress)
    return summary


def _test_error(autoencoder: Autoencoder, images: np.ndarray, unseen: np.ndarray) -> tuple[float, float]:
    """Mean squared errors of reconstructions and of the mean image on unseen images, pixels in [0, 1]."""
    reconstructed = decode_latents(autoencoder, encode_images(autoencoder, unseen))
    pixels, mean = unseen / np.float32(255), images.mean(axis=0, dtype=np.float64) / 255
    error = np.mean(np.square(pixels - reconstructed / np.float32(255)), dtype=np.float64)
    return float(error), float(np.mean(np.square(pixels - mean)))


def _draw(state: PCAState, key: jax.Array) -> tuple[float, float]:
    """Draws per second, with the first compilation, and the share of draws inside the region."""
    started = time.monotonic()
    draws = el.sample(key, state, _N_DRAWS)
    draws.latents.block_until_ready()
    rate = _N_DRAWS / (time.monotonic() - started)
    return rate, float(jnp.mean(draws.gauge <= 1))
