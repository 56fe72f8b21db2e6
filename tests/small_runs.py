"""Trainings of a second, on images of noise."""

import jax
import numpy as np
from flax import nnx

from ellipsoid.models import Autoencoder, AutoencoderConfig, TrainConfig

CONFIG = AutoencoderConfig(image_size=8, filters=(4,), latent_dim=4)
TRAINING = TrainConfig(epochs=4, batch_size=64)


def noise(n):
    return np.random.default_rng(0).integers(0, 256, (n, *CONFIG.image_shape), np.uint8)


def new(seed=0):
    return Autoencoder(CONFIG, rngs=nnx.Rngs(seed))


def same(a, b):
    leaves = (jax.tree.leaves(nnx.state(autoencoder)) for autoencoder in (a, b))
    return all(np.array_equal(x, y) for x, y in zip(*leaves, strict=True))
