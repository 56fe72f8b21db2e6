"""One step of training and one of validation, compiled for all devices of this process.

The batch is split over a mesh, and every device holds the weights; XLA adds up the gradients. Random numbers
are a function of the seed and the step. So a training that resumes from a checkpoint draws the same numbers
as one that was never stopped.
"""

from dataclasses import replace
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
from flax import nnx
from jax import Array, lax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from ellipsoid.models.autoencoder import as_floats
from ellipsoid.models.configs import TrainConfig as TrainConfig
from ellipsoid.models.features.efficientnet import efficientnet_features
from ellipsoid.models.perceptual import perceptual_errors
from ellipsoid.optimizer import make_optimizer
from ellipsoid.random import key


class TrainState(NamedTuple):
    """The pytree that a step changes, and the content of a checkpoint.

    Attributes
    ----------
    weights : nnx.State
    optimizer : optax.OptState
    ema : nnx.State or None
        Running mean of the weights; None without `ema_decay`.
    """

    weights: Any
    optimizer: Any
    ema: Any

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
        Structure of the autoencoder.
    config : TrainConfig
    n_steps : int
        Length of the learning rate's schedule.
    """

    def __init__(self, graph: nnx.GraphDef, config: TrainConfig, n_steps: int):
        devices = np.array(jax.local_devices())
        # Every device gets the same number of images, so the number of devices divides the batch.
        count = max(d for d in range(1, len(devices) + 1) if config.batch_size % d == 0)
        mesh = Mesh(devices[:count], ("images",), axis_types=(AxisType.Auto,))
        self._everywhere = NamedSharding(mesh, PartitionSpec())
        self._dealt_out = NamedSharding(mesh, PartitionSpec("images"))
        self._key = self.place(key(config.seed))
        # The network is an argument of the step: as constants, 13 MB of weights would be compiled into it.
        self._judge = self.place(efficientnet_features().network) if config.perceptual else None
        # Settings that the compiled functions do not depend on are left out: another seed compiles nothing
        # anew.
        settings = replace(config, epochs=1, steps=None, batch_size=1, validation_fraction=0.0, seed=0)
        self._step, self._loss = _compiled(graph, settings, n_steps, self._everywhere)

    def place(self, tree: Any) -> Any:
        """Put a tree on every device."""
        return jax.device_put(tree, self._everywhere)

    def step(
        self, state: TrainState, number: int, images: np.ndarray, weight: np.ndarray
    ) -> tuple[TrainState, Array]:
        """Take one step.

        Parameters
        ----------
        state : TrainState
            State on every device; its memory is reused.
        number : int
            Number of the step, from 0.
        images : (batch_size, H, W, C) uint8 array
        weight : (batch_size,) float32 array
            Weight of each image in the mean.

        Returns
        -------
        state : TrainState
            State after the step, in the memory of the given one.
        loss : float32 array
            The mean squared error before the step, without waiting for it.
        """
        images, weight = jax.device_put((images, weight), self._dealt_out)
        return self._step(state, self._key, np.uint32(number), images, weight, self._judge)

    def loss(self, weights: Any, images: np.ndarray, weight: np.ndarray) -> Array:
        """Give the mean squared error of uint8 images that count by `weight`, without waiting for it."""
        images, weight = jax.device_put((images, weight), self._dealt_out)
        return self._loss(weights, images, weight)


@lru_cache(maxsize=8)
def _compiled(graph, config, n_steps, everywhere):
    """Compile the step and the validation loss of a training."""
    # The graph is bound here, since a static argument would be hashed in 0.1 ms a call.
    optimizer = _optimizer(config, n_steps)

    def step(state, key, number, images, weight, judge: Any = None):
        augment_key, noise_key = jr.split(jr.fold_in(key, number))
        pixels = as_floats(_augmented(augment_key, images, config))

        def objective(weights):
            decoded, latents = _reconstructed(graph, config, weights, pixels, noise_key)
            error = _mean(_squared_errors(decoded, pixels), weight)
            loss = error + config.latent_l2 * _mean(jnp.mean(jnp.square(latents), axis=1), weight)
            if config.perceptual:
                loss += config.perceptual * _mean(perceptual_errors(judge, decoded, pixels), weight)
            return loss, error

        gradient, error = jax.grad(objective, has_aux=True)(state.weights)
        updates, optimizer_state = optimizer.update(gradient, state.optimizer, state.weights)
        weights = optax.apply_updates(state.weights, updates)
        ema = state.ema
        if config.ema_decay is not None:
            count = number.astype(jnp.float32)
            # The decay is smaller at first, since the average would otherwise be mostly the initial weights.
            decay = jnp.minimum(config.ema_decay, (1 + count) / (10 + count))
            ema = optax.incremental_update(weights, ema, 1 - decay)
        return lax.with_sharding_constraint(TrainState(weights, optimizer_state, ema), everywhere), error

    def validation_loss(weights, images, weight):
        pixels = as_floats(images)
        decoded, _ = _reconstructed(graph, config, weights, pixels)
        return _mean(_squared_errors(decoded, pixels), weight)

    return jax.jit(step, donate_argnums=0), jax.jit(validation_loss)


def _optimizer(config, n_steps):
    return make_optimizer(
        config.learning_rate,
        n_steps,
        warmup=config.warmup,
        weight_decay=config.weight_decay,
        clip_norm=config.clip_norm,
    )


def _augmented(key, images, config):
    """Flip and move uint8 images at random, as the settings say."""
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


def _reconstructed(graph, config, weights, pixels, noise_key=None):
    """Give the reconstructions of the images, and their latents."""
    precision = config.precision or ("float32" if jax.default_backend() == "cpu" else "bfloat16")
    autoencoder = nnx.merge(graph, jax.tree.map(lambda leaf: leaf.astype(precision), weights))
    latents = autoencoder.encoder(pixels.astype(precision)).astype(jnp.float32)
    decoded = latents
    if noise_key is not None and config.latent_noise:
        decoded += config.latent_noise * jr.normal(noise_key, latents.shape)
    return autoencoder.decoder(decoded.astype(precision)), latents


def _squared_errors(images, others):
    return jnp.mean(jnp.square(images - others), axis=(1, 2, 3))


def _mean(values, weight):
    """Average by weight: the last batch of an epoch is padded with images of weight zero."""
    return jnp.sum(values * weight) / jnp.sum(weight)
