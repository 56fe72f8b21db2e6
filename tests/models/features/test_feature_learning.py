"""The training of a feature network, and its judgement of images."""

import dataclasses
import functools
import types

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import pytest
from flax import nnx

import ellipsoid as el
from ellipsoid import metrics
from ellipsoid.models import FeatureNetworkConfig, procedural_faces, train_network
from ellipsoid.models.features import learning, pixel_features

SIZE = 24
SMALL = FeatureNetworkConfig(filters=(8, 16), n_features=32, steps=60, batch_size=64)
PLAIN = dataclasses.replace(SMALL, filters=(16,))


@pytest.fixture(scope="module")
def faces():
    return procedural_faces(2000, SIZE, key=el.key(0)).images


def plainly_distorted(key, pixels, config):
    """Make views that compile quickly: noisy and a little moved."""
    noise, moves = jr.split(key)
    moves = jr.randint(moves, (len(pixels), 2), -2, 3)
    moved = jax.vmap(lambda image, move: jnp.roll(image, (move[0], move[1]), (0, 1)))(pixels, moves)
    return moved + 0.1 * jr.normal(noise, pixels.shape)


@pytest.fixture
def plain_views(monkeypatch):
    monkeypatch.setattr(learning, "distorted", plainly_distorted)


@pytest.fixture(scope="module")
def plain(faces):
    """A network that learned from plain views; it shares neither settings nor a program with others."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(learning, "distorted", plainly_distorted)
        return train_network(faces[:1000], config=PLAIN, progress=False)


@pytest.fixture(scope="module")
def contrastive(faces):
    return train_network(faces[:1000], config=SMALL, progress=False)


@pytest.fixture(scope="module")
def trained(request):
    """The network of that name."""
    return request.getfixturevalue(request.param)


BOTH = pytest.mark.parametrize(
    "trained", ["plain", pytest.param("contrastive", marks=pytest.mark.slow)], indirect=True
)


# --- learning --------------------------------------------------------------------------------------


@BOTH
@pytest.mark.slow
def test_network_features_are_centred_and_scaled(faces, trained):
    seen = trained(faces[:1000]).astype(np.float64)
    assert np.abs(seen.mean(axis=0)).max() < 0.2  # 50 of the images were kept back
    assert np.mean(seen**2) == pytest.approx(1, rel=0.05)
    correlations = np.corrcoef(seen.T)[:5, :5]
    np.testing.assert_allclose(correlations, np.eye(5), atol=0.1)


@pytest.mark.slow
def test_contrastive_loss_is_nt_xent(monkeypatch):
    """The loss equals the sum as Chen et al. (2020) write it, one pair after another."""

    def noisy(key, pixels, config):
        return pixels + 0.2 * jr.normal(key, pixels.shape)

    monkeypatch.setattr(learning, "distorted", noisy)  # quickly compiled
    config = FeatureNetworkConfig(filters=(4,), n_features=8, temperature=0.5)
    learner = learning._Learner(learning.encoder_shape(config, 8, 3), 6, rngs=nnx.Rngs(1))
    graph, weights = nnx.split(learner)
    images, key = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 3), np.uint8), jr.key(4)
    views = jnp.concatenate([noisy(view, images / np.float32(255), config) for view in jr.split(key)])
    z = np.asarray(jax.jit(lambda weights, views: nnx.merge(graph, weights)(views))(weights, views), float)

    def similarity(i, j):
        return z[i] @ z[j] / np.linalg.norm(z[i]) / np.linalg.norm(z[j]) / 0.5

    losses = []
    for i in range(10):
        others = sum(np.exp(similarity(i, k)) for k in range(10) if k != i)
        losses.append(-np.log(np.exp(similarity(i, (i + 5) % 10)) / others))

    classified = jax.jit(functools.partial(learning._classified, graph, config))
    logits, targets = classified(weights, key, images, None)
    cross_entropies = optax.softmax_cross_entropy_with_integer_labels(logits, targets)
    np.testing.assert_allclose(cross_entropies, losses, rtol=1e-4)


STILL = FeatureNetworkConfig(crop=1.0, color_jitter=0.0, noise=0.0, erase=0.0)
N_VIEWS, VIEW_SIZE = 400, 32


@functools.partial(jax.jit, static_argnames="horizontal_flip")
def _views(key, pixels, settings, horizontal_flip):
    # The whole is compiled, with numbers as data: parts take several times as long, once for each number too.
    return learning.distorted(key, pixels, types.SimpleNamespace(horizontal_flip=horizontal_flip, **settings))


def views(pixels, **changes):
    """Make views `(N_VIEWS, VIEW_SIZE, VIEW_SIZE, 1)` with the distortions of the changes alone."""
    changed = dataclasses.asdict(dataclasses.replace(STILL, **changes))
    settings = {name: changed[name] for name in ("crop", "color_jitter", "noise", "erase")}
    return np.asarray(_views(jr.key(1), pixels, settings, changed["horizontal_flip"]))


@pytest.mark.slow
def test_views_without_distortion_are_the_images():
    pixels = np.random.default_rng(0).random((N_VIEWS, VIEW_SIZE, VIEW_SIZE, 1), np.float32)
    np.testing.assert_allclose(views(pixels), pixels, atol=1e-6)


@pytest.mark.slow
def test_views_are_distorted_as_the_settings_say():
    ramp = (np.arange(VIEW_SIZE, dtype=np.float32) + 0.5)[None, None, :, None] / VIEW_SIZE
    ramp = np.broadcast_to(ramp, (N_VIEWS, VIEW_SIZE, VIEW_SIZE, 1))
    width = np.ptp(views(ramp, crop=0.5)[:, 16, 1:-1, 0], axis=1) / (29 / 32)
    assert 0.49 < width.min() < 0.53 < 0.95 < width.max() < 1.01
    mirrored = views(ramp, horizontal_flip=True)[:, 0, 0, 0] > 0.5
    assert abs(mirrored.mean() - 0.5) < 5 * 0.5 / 20
    erased = np.mean(views(ramp, erase=0.5)[..., 0] != ramp[..., 0], axis=(1, 2))
    assert 0.15 < erased.max() <= 0.29  # a rectangle, at most 0.5 wide and high, some of it outside
    noise = np.std(views(ramp, noise=0.2) - ramp, axis=(1, 2, 3))
    assert noise.min() < 0.01 < 0.19 < noise.max() < 0.22
    mean = views(ramp, color_jitter=0.4).mean(axis=(1, 2, 3)) - 0.5
    assert -0.2 <= mean.min() < -0.19 < 0.19 < mean.max() <= 0.2


@pytest.mark.slow
def test_training_has_the_same_bits_again(faces, plain, plain_views):
    again = train_network(faces[:1000], config=PLAIN, progress=False)
    np.testing.assert_array_equal(again(faces[:10]), plain(faces[:10]))
    assert again.accuracy == plain.accuracy


@BOTH
@pytest.mark.slow
def test_views_are_found_among_those_of_other_images(faces, trained):
    # Of 50 images kept back, in two views each: 1 of 99 by chance.
    assert trained.accuracy > 0.08
    shape = learning.encoder_shape(trained.config, SIZE, 3)
    learner = learning._Learner(shape, trained.config.n_features, rngs=nnx.Rngs(0))
    graph, untrained = nnx.split(learner)
    # The program was compiled when the network was trained, with the views of its training.
    assert trained.accuracy > learning._accuracy(
        graph, trained.config, untrained, jr.key(0), faces[:50], None
    )


@pytest.mark.slow
def test_classifier_tells_labels_it_was_taught(faces, plain_views):
    rng = np.random.default_rng(0)
    labels = rng.choice([3, 7], len(faces))
    images = np.where((labels == 7)[:, None, None, None], faces[:, ::-1], faces)
    config = dataclasses.replace(PLAIN, steps=50)
    network = train_network(images, labels, config, progress=False)
    assert network.n_labels == 2
    assert network.accuracy > 0.8
    assert "2 labels" in network.note
    shuffled = train_network(images, rng.permutation(labels), config, progress=False)
    assert shuffled.accuracy < 0.75  # of 100 images: five standard errors above chance


@pytest.mark.parametrize(
    "change",
    [
        {"steps": 0},
        {"batch_size": 1},
        {"n_features": 2.5},
        {"learning_rate": 0.0},
        {"temperature": np.nan},
        {"noise": -0.1},
        {"erase": 1.0},
        {"crop": 0.0},
        {"validation_fraction": 1.0},
    ],
)
def test_settings_are_checked(change):
    (name,) = change
    with pytest.raises((ValueError, TypeError), match=f"^{name}: expected"):
        FeatureNetworkConfig(**change)


# --- judging ---------------------------------------------------------------------------------------


def blurred(images, strength):
    """Average each pixel with its neighbours, `strength` times."""
    out = images.astype(np.float32)
    for _ in range(strength):
        for axis in (1, 2):
            out = (np.roll(out, 1, axis) + 2 * out + np.roll(out, -1, axis)) / 4
    return np.round(out).astype(np.uint8)


def noisy(images, strength):
    noise = np.random.default_rng(1).normal(0, strength, images.shape)
    return np.clip(images + noise, 0, 255).astype(np.uint8)


def swapped(images, strength):
    """Exchange `strength` pairs of blocks of 8 pixels."""
    rng, out = np.random.default_rng(2), images.copy()
    for image in out:
        blocks = rng.permutation(9)
        for a, b in blocks[: 2 * strength].reshape(-1, 2):
            i, j = (
                (slice(8 * (c // 3), 8 * (c // 3) + 8), slice(8 * (c % 3), 8 * (c % 3) + 8)) for c in (a, b)
            )
            image[i], image[j] = image[j].copy(), image[i].copy()
    return out


@pytest.fixture(scope="module")
def pixels(faces):
    return pixel_features(faces[:1000], 32)


def judged(space, faces, damage, strengths):
    """Give Fréchet distances and precisions of unseen images, as they are and damaged."""
    real, unseen = space(faces[:1000]), faces[1000:]
    judged_features = [space(unseen), *(space(damage(unseen, strength)) for strength in strengths)]
    return (
        [metrics.frechet_distance(real, some).value for some in judged_features],
        [metrics.precision_recall(real, some).precision.value for some in judged_features],
    )


@pytest.mark.parametrize(
    ("name", "damage", "strengths"),
    [
        pytest.param("contrastive", blurred, (3, 6, 9), marks=pytest.mark.slow),
        pytest.param("contrastive", noisy, (15, 35, 80), marks=pytest.mark.slow),
        pytest.param("contrastive", swapped, (1, 2, 4), marks=pytest.mark.slow),
        pytest.param("plain", blurred, (3, 6, 9), marks=pytest.mark.slow),
        pytest.param("plain", noisy, (15, 35, 80), marks=pytest.mark.slow),
        pytest.param("plain", swapped, (1, 2, 4), marks=pytest.mark.slow),
        pytest.param("pixels", swapped, (1, 2, 4), marks=pytest.mark.slow),
    ],
)
def test_more_damage_is_judged_worse(name, damage, strengths, request, faces):
    distances, precisions = judged(request.getfixturevalue(name), faces, damage, strengths)
    assert distances == sorted(distances)
    assert precisions == sorted(precisions, reverse=True)
    assert distances[-1] > 10 * distances[0]
    assert precisions[-1] < precisions[0] / 2


@pytest.mark.slow
def test_pixels_do_not_see_the_noise_that_a_network_sees(pixels, contrastive, faces):
    spaces = {"pixels": pixels, "network": contrastive}
    precision = {name: judged(space, faces, noisy, (35,))[1] for name, space in spaces.items()}
    assert precision["pixels"][1] > precision["pixels"][0] - 0.05
    assert precision["network"][1] < precision["network"][0] / 4


@pytest.mark.parametrize(
    "name", ["pixels", *(pytest.param(name, marks=pytest.mark.slow) for name in ("plain", "contrastive"))]
)
def test_copies_of_a_few_images_cost_coverage(name, request, faces):
    space = request.getfixturevalue(name)
    # Recall is left out: with half as many places, the balls of the generated images are wider.
    real, unseen = space(faces[:1000]), space(faces[1000:])
    few = np.concatenate([unseen[:500], unseen[np.arange(500) % 10]])
    of_all, of_few = (
        metrics.density_coverage(real, judged_features).coverage for judged_features in (unseen, few)
    )
    assert of_few.value < of_all.value - 3 * (of_all.error + of_few.error)
