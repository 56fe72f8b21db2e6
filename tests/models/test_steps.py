"""The effect of each setting on a step, and steps on several devices."""

import os
import subprocess
import sys
import textwrap

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from flax import nnx

import ellipsoid as el
from ellipsoid.models import Autoencoder, AutoencoderConfig, TrainConfig, encode_images
from ellipsoid.models.autoencoder import as_floats
from ellipsoid.models.steps import Steps, TrainState, _augmented

CONFIG = AutoencoderConfig(image_size=8, filters=(4,), latent_dim=4)
IMAGES = np.random.default_rng(0).integers(0, 256, (32, *CONFIG.image_shape), np.uint8)
WEIGHT = np.ones(32, np.float32)
RATE = 0.03


def new():
    return Autoencoder(CONFIG, rngs=nnx.Rngs(0))


def run(n_steps, **settings):
    """Give the states after each step, on the host, and the losses."""
    config = TrainConfig(batch_size=32, **settings)
    graph, weights = nnx.split(new())
    steps = Steps(graph, config, 100)
    state, states, losses = steps.place(TrainState.new(config, weights)), [], []
    for number in range(n_steps):
        state, loss = steps.step(state, number, IMAGES, WEIGHT)
        states.append(jax.tree.map(np.array, state))
        losses.append(float(loss))
    return states, losses, steps


def leaves(tree):
    return jax.tree.leaves(tree)


def global_norm(tree):
    return np.sqrt(sum(np.sum(np.square(leaf)) for leaf in leaves(tree)))


@pytest.fixture(scope="module")
def plain():
    return run(20, learning_rate=RATE)


def test_images_are_mirrored_half_of_the_time():
    images = np.random.default_rng(1).integers(0, 256, (1000, 8, 8, 3), np.uint8)
    augmented = np.asarray(_augmented(el.key(0), images, TrainConfig(horizontal_flip=True)))
    same = (augmented == images).all(axis=(1, 2, 3))
    mirrored = (augmented == images[:, :, ::-1]).all(axis=(1, 2, 3))
    assert (same ^ mirrored).all()
    assert abs(mirrored.mean() - 0.5) < 5 * np.sqrt(0.25 / 1000)
    again = np.asarray(_augmented(el.key(1), images, TrainConfig(horizontal_flip=True)))
    assert abs((again == augmented).all(axis=(1, 2, 3)).mean() - 0.5) < 5 * np.sqrt(0.25 / 1000)
    assert (np.asarray(_augmented(el.key(0), images, TrainConfig())) == images).all()


def test_images_are_moved_in_all_directions():
    images = np.random.default_rng(1).integers(0, 256, (300, 8, 8, 3), np.uint8)
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)), "edge")
    augmented = np.asarray(_augmented(el.key(0), images, TrainConfig(max_shift=1)))
    positions = [
        [(row, column) for row in range(3) for column in range(3)
         if (moved == image[row : row + 8, column : column + 8]).all()]
        for moved, image in zip(augmented, padded, strict=True)
    ]  # fmt: skip
    assert all(len(position) == 1 for position in positions)
    assert len({position[0] for position in positions}) == 9


@pytest.mark.slow
def test_what_is_random_depends_on_seed_and_step_alone_and_noise_reaches_the_decoder(plain):
    settings = {"horizontal_flip": True, "max_shift": 2, "latent_noise": 0.3, "learning_rate": 1e-30}
    _, losses, steps = run(3, **settings)
    assert len(set(losses)) == 3  # the weights stand still, the numbers do not
    weights = nnx.state(new())
    state = steps.place(TrainState.new(TrainConfig(), weights))
    assert float(steps.step(state, 2, IMAGES, WEIGHT)[1]) == losses[2]
    assert run(1, seed=1, **settings)[1] != losses[:1]

    augment_key, noise_key = jr.split(jr.fold_in(el.key(0), 0))
    pixels = as_floats(_augmented(augment_key, IMAGES, TrainConfig(**settings)))
    noise = 0.3 * jr.normal(noise_key, (32, 4))
    autoencoder = new()
    noisy = jax.jit(lambda pixels: autoencoder.decode(autoencoder.encode(pixels) + noise))(pixels)
    assert losses[0] == pytest.approx(float(jnp.mean(jnp.square(noisy - pixels))), rel=1e-5)
    # Validation uses neither.
    assert losses[0] != pytest.approx(plain[1][0], rel=1e-3)
    assert float(steps.loss(weights, IMAGES, WEIGHT)) == pytest.approx(plain[1][0], rel=1e-5)


def moment(states):
    """Give the first moment of Adam after one step: a tenth of the gradient, if it was not clipped."""
    return states[0].optimizer[1][0].mu


def test_the_settings_reach_the_optimiser(plain):
    """A step uses clipping and decay; `test_optimizer.py` tests the two themselves."""
    states, _, _ = run(1, learning_rate=RATE, clip_norm=1e-3, weight_decay=0.5)
    assert 10 * global_norm(moment(plain[0])) > 0.01
    assert 10 * global_norm(moment(states)) == pytest.approx(1e-3, rel=1e-4)
    rate = RATE / 5  # of the first of five warm-up steps
    for decayed, tenth, start in zip(
        *map(leaves, (states[0].weights, moment(states), nnx.state(new()))), strict=True
    ):
        start, gradient = np.asarray(start), 10 * np.asarray(tenth)
        expected = start - rate * gradient / (np.abs(gradient) + 1e-8)  # Adam's first step
        expected -= rate * 0.5 * start if start.ndim > 1 else 0
        np.testing.assert_allclose(decayed, expected, rtol=0, atol=3e-7)


@pytest.mark.slow
def test_the_average_follows_the_weights(plain):
    states, _, _ = run(20, learning_rate=RATE, ema_decay=0.5)
    expected = leaves(nnx.state(new()))
    for number, (state, whole) in enumerate(zip(states, plain[0], strict=True)):
        decay = min(0.5, (1 + number) / (10 + number))
        current = leaves(state.weights)
        assert all(map(np.array_equal, current, leaves(whole.weights)))
        expected = [decay * a + (1 - decay) * w for a, w in zip(expected, current, strict=True)]
        for one, other in zip(leaves(state.model_weights), expected, strict=True):
            np.testing.assert_allclose(one, other, rtol=0, atol=1e-6)
    assert not np.array_equal(leaves(states[-1].model_weights)[0], leaves(states[-1].weights)[0])


def test_an_l2_penalty_shrinks_the_latents(plain):
    def size(states):
        autoencoder = new()
        nnx.update(autoencoder, states[-1].weights)
        return np.mean(np.square(encode_images(autoencoder, IMAGES)))

    free, errors, _ = plain
    small, penalised, _ = run(20, learning_rate=RATE, latent_l2=1.0)
    assert penalised[0] == pytest.approx(errors[0], rel=1e-6)  # the reported loss is the error alone
    assert size(small) < 0.5 * size(free)


@pytest.mark.slow
def test_bfloat16_layers_keep_float32_weights_and_loss(plain):
    states, losses, steps = run(20, learning_rate=RATE, precision="bfloat16")
    assert {leaf.dtype for leaf in leaves(states[-1])} == {np.dtype(np.float32), np.dtype(np.int32)}
    assert steps.loss(states[-1].weights, IMAGES, WEIGHT).dtype == np.float32
    assert losses != plain[1]
    np.testing.assert_allclose(losses, plain[1], rtol=0.02)
    text = steps._step.lower(
        steps.place(states[-1]), steps._key, np.uint32(0), IMAGES, WEIGHT
    ).as_text()  # fmt: skip
    products = [
        line for line in text.splitlines() if "stablehlo.dot_general" in line or "convolution(" in line
    ]
    assert products
    assert all("bf16" in line for line in products)


def test_another_seed_or_number_of_epochs_compiles_nothing(plain):
    _, _, steps = run(1, learning_rate=RATE, seed=5, epochs=99, validation_fraction=0.3)
    assert steps._step is plain[2]._step
    assert steps._step._cache_size() == 1


def test_images_of_weight_zero_do_not_count(plain):
    half = np.repeat([1, 0], 16).astype(np.float32)
    _, _, steps = plain
    weights = nnx.state(new())
    other = np.concatenate([IMAGES[:16], 255 - IMAGES[16:]])
    assert steps.loss(weights, IMAGES, half) == steps.loss(weights, other, half)
    assert steps.loss(weights, IMAGES, WEIGHT) != steps.loss(weights, other, WEIGHT)


@pytest.mark.slow
def test_several_devices_give_the_same_losses():
    """Three of four devices share batches of nine; the last batch of an epoch is not full."""
    script = """
        import jax
        import numpy as np

        jax.config.update("jax_num_cpu_devices", 4)
        from flax import nnx
        from ellipsoid.models import Autoencoder, AutoencoderConfig, TrainConfig, train
        from ellipsoid.models.steps import Steps

        config = AutoencoderConfig(image_size=8, filters=(4,), latent_dim=4)
        images = np.random.default_rng(0).integers(0, 256, (50, 8, 8, 3), np.uint8)
        devices = jax.local_devices()
        assert len(devices) == 4
        used = []
        step = Steps.step

        def watched(self, state, *arguments):
            assert all(leaf.is_fully_replicated for leaf in jax.tree.leaves(state))
            used.append(len(jax.tree.leaves(state)[0].sharding.device_set))
            return step(self, state, *arguments)

        Steps.step = watched
        settings = TrainConfig(epochs=3, batch_size=9, horizontal_flip=True, latent_noise=0.1, ema_decay=0.9)
        histories = []
        for present in (devices, devices[:1]):
            jax.local_devices = lambda: present
            autoencoder = Autoencoder(config, rngs=nnx.Rngs(0))
            histories.append(train(autoencoder, images, settings, progress=False))
        assert set(used) == {3, 1}
        for name in ("train_loss", "validation_loss"):
            one, other = ([record[name] for record in history] for history in histories)
            np.testing.assert_allclose(one, other, rtol=1e-5)
    """
    # Programs that are optimised less split the work in the same way, and compile faster.
    environment = os.environ | {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
    command = [sys.executable, "-W", "error", "-c", textwrap.dedent(script)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=240, env=environment)
    assert result.returncode == 0, result.stderr
