"""One step of training and one of validation, compiled for all devices of this process.

The batch is dealt out over a mesh, the weights lie on every device; XLA adds up the gradients. Random numbers
are a function of the seed and the step, so a training that goes on from a checkpoint draws what it would have
drawn.
"""

import math
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
from flax import nnx
from jax import Array, lax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from ellipsoid.models.autoencoder import as_floats
from ellipsoid.optimizer import make_optimizer
from ellipsoid.random import key

Precision = Literal["float32", "bfloat16"]


@dataclass(frozen=True)
class TrainConfig:
    """How to train: Adam with a linear warm-up and a cosine decay to zero, mean squared error.

    What is off by default, the source of the method did not use.
    """

    epochs: int = 30
    """Passes over the training images."""
    steps: int | None = None
    """Number of batches instead of a number of epochs."""
    batch_size: int = 128
    """Images in a step, over all devices."""
    learning_rate: float = 3e-3
    """At its highest, after the warm-up."""
    warmup: float = 0.05
    """Share of the steps in which the learning rate rises."""
    clip_norm: float | None = None
    """Scale gradients down to this norm where they are longer."""
    weight_decay: float = 0.0
    """Pulls kernels, not biases, towards zero: by this times the learning rate in a step (AdamW)."""
    ema_decay: float | None = None
    """Validate, keep and load a running mean of the weights, which keeps this share, such as 0.999, of itself
    in a step (less in the first ones); the weights of the last step when absent."""
    latent_noise: float = 0.0
    """Standard deviation of Gaussian noise that is added to the latents before they are decoded."""
    latent_l2: float = 0.0
    """Weight of the latents' mean square in what is minimised (Ghosh et al. 2020)."""
    horizontal_flip: bool | None = None
    """Flip each image left to right with probability one half. Off by default; on the command line on for
    CelebA and the other sets of faces that it knows."""
    max_shift: int = 0
    """Largest random shift of an image, in pixels in each direction; its border is repeated."""
    precision: Precision | None = None
    """Of the layers; weights and loss are float32. By default bfloat16 on GPU and TPU, float32 on CPU."""
    validation_fraction: float = 0.05
    """Share of the images that is kept back to judge the epochs by."""
    seed: int = 0
    """Of the initial weights, the split, the order of the images and all that is random in a step."""

    def check(self) -> None:
        """Raise ``ValueError`` for settings that can't be trained with."""
        least = {"epochs": 1, "batch_size": 1, "max_shift": 0, "seed": 0} | (
            {} if self.steps is None else {"steps": 1}
        )
        for name, lowest in least.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < lowest:
                raise ValueError(f"{name}: expected an integer of at least {lowest}; got {value!r}")
        for name in ("learning_rate", "clip_norm"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value > 0):
                raise ValueError(f"{name}: expected a finite number above 0; got {value}")
        for name in ("weight_decay", "latent_noise", "latent_l2"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f"{name}: expected a finite number of at least 0; got {value}")
        for name in ("warmup", "validation_fraction", "ema_decay"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < 1:
                raise ValueError(f"{name}: expected a share from 0 to below 1; got {value}")
        if self.precision not in (None, "float32", "bfloat16"):
            raise ValueError(f"precision: expected float32, bfloat16 or None; got {self.precision!r}")


class TrainState(NamedTuple):
    """What a step changes: a pytree, and the content of a checkpoint."""

    weights: Any
    optimizer: Any
    ema: Any
    """Running mean of the weights, or None."""

    @classmethod
    def new(cls, config: TrainConfig, weights: Any) -> "TrainState":
        """Make the state before the first step; it shares no memory with `weights`, which steps give away."""
        weights = jax.tree.map(jnp.copy, weights)
        ema = None if config.ema_decay is None else jax.tree.map(jnp.copy, weights)
        return cls(weights, _optimizer(config, 1).init(weights), ema)

    @property
    def model_weights(self) -> Any:
        """The weights to validate and to decode with."""
        return self.weights if self.ema is None else self.ema


class Steps:
    """The compiled functions of one training.

    Parameters
    ----------
    graph : nnx.GraphDef
        Of the autoencoder.
    config : TrainConfig
    n_steps : int
        Length of the learning rate's schedule.
    """

    def __init__(self, graph: Any, config: TrainConfig, n_steps: int):
        devices = np.array(jax.local_devices())
        # Every device gets as many images: the largest number of devices that divides the batch.
        count = max(d for d in range(1, len(devices) + 1) if config.batch_size % d == 0)
        mesh = Mesh(devices[:count], ("images",), axis_types=(AxisType.Auto,))
        self._everywhere = NamedSharding(mesh, PartitionSpec())
        self._dealt_out = NamedSharding(mesh, PartitionSpec("images"))
        self._key = self.place(key(config.seed))
        self._step, self._loss = _compiled(graph, config, n_steps, self._everywhere)

    def place(self, tree: Any) -> Any:
        """Put a tree on every device."""
        return jax.device_put(tree, self._everywhere)

    def step(self, state: TrainState, number: int, images: np.ndarray, weight: np.ndarray):
        """Take step `number`, from 0, on uint8 images that count by `weight`.

        Returns
        -------
        state : TrainState
            In the memory of the one given.
        loss : float32 array
            The mean squared error before the step; not waited for.
        """
        images, weight = jax.device_put((images, weight), self._dealt_out)
        return self._step(state, self._key, np.uint32(number), images, weight)

    def loss(self, weights: Any, images: np.ndarray, weight: np.ndarray) -> Array:
        """Mean squared error of uint8 images that count by `weight`; not waited for."""
        images, weight = jax.device_put((images, weight), self._dealt_out)
        return self._loss(weights, images, weight)


@lru_cache(maxsize=8)
def _compiled(graph, config, n_steps, everywhere):
    # Bound here, not as static arguments: hashing the graph takes 0.1 ms a call.
    step = jax.jit(partial(_step, graph, config, n_steps, everywhere), donate_argnums=0)
    return step, jax.jit(partial(_validation_loss, graph, config))


def _step(graph, config, n_steps, everywhere, state, key, number, images, weight):
    augment_key, noise_key = jr.split(jr.fold_in(key, number))
    pixels = as_floats(_augmented(augment_key, images, config))

    def objective(weights):
        error, latents = _error(graph, config, weights, pixels, weight, noise_key)
        # The last batch of an epoch is filled up with images of weight zero.
        size = jnp.sum(jnp.mean(jnp.square(latents), axis=1) * weight) / jnp.sum(weight)
        return error + config.latent_l2 * size, error

    gradient, error = jax.grad(objective, has_aux=True)(state.weights)
    updates, optimizer = _optimizer(config, n_steps).update(gradient, state.optimizer, state.weights)
    weights = optax.apply_updates(state.weights, updates)
    ema = state.ema
    if config.ema_decay is not None:
        count = number.astype(jnp.float32)
        # A mean of the first steps would otherwise be one of the initial weights above all.
        decay = jnp.minimum(config.ema_decay, (1 + count) / (10 + count))
        ema = optax.incremental_update(weights, ema, 1 - decay)
    return lax.with_sharding_constraint(TrainState(weights, optimizer, ema), everywhere), error


def _validation_loss(graph, config, weights, images, weight):
    return _error(graph, config, weights, as_floats(images), weight)[0]


def _optimizer(config, n_steps):
    return make_optimizer(
        config.learning_rate,
        n_steps,
        warmup=config.warmup,
        weight_decay=config.weight_decay,
        clip_norm=config.clip_norm,
    )


def _augmented(key, images, config):
    """Mirror and move uint8 images at random, as the settings say."""
    flip_key, shift_key = jr.split(key)
    if config.horizontal_flip:
        flipped = jr.bernoulli(flip_key, shape=(len(images),))
        images = jnp.where(flipped[:, None, None, None], images[:, :, ::-1], images)
    if config.max_shift:
        reach = config.max_shift
        starts = jr.randint(shift_key, (len(images), 2), 0, 2 * reach + 1)
        padded = jnp.pad(images, ((0, 0), (reach, reach), (reach, reach), (0, 0)), mode="edge")
        cut = partial(lax.dynamic_slice, slice_sizes=images.shape[1:])
        images = jax.vmap(lambda image, start: cut(image, (start[0], start[1], 0)))(padded, starts)
    return images


def _error(graph, config, weights, pixels, weight, noise_key=None):
    """Weighted mean squared error of the reconstructions, and the latents."""
    precision = config.precision or ("float32" if jax.default_backend() == "cpu" else "bfloat16")
    autoencoder = nnx.merge(graph, jax.tree.map(lambda leaf: leaf.astype(precision), weights))
    latents = autoencoder.encoder(pixels.astype(precision)).astype(jnp.float32)
    decoded = latents
    if noise_key is not None and config.latent_noise:
        decoded += config.latent_noise * jr.normal(noise_key, latents.shape)
    errors = jnp.mean(jnp.square(autoencoder.decoder(decoded.astype(precision)) - pixels), axis=(1, 2, 3))
    return jnp.sum(errors * weight) / jnp.sum(weight), latents
