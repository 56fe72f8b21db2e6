import dataclasses
import functools
import os
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import ellipsoid as el
from ellipsoid import metrics
from ellipsoid.models import (
    Autoencoder,
    AutoencoderConfig,
    FeatureNetworkConfig,
    feature_network,
    features,
    procedural_faces,
)

SIZE = 24
SMALL = FeatureNetworkConfig(filters=(8, 16), n_features=32, steps=60, batch_size=64)
HARDLY = dataclasses.replace(SMALL, steps=2)


@pytest.fixture(scope="module")
def faces():
    return procedural_faces(2000, SIZE, key=el.key(0)).images


@pytest.fixture(scope="module")
def contrastive(faces):
    return features.train_network(faces[:1000], config=SMALL, progress=False)


@pytest.fixture(scope="module")
def autoencoder():
    config = AutoencoderConfig(image_size=SIZE, filters=(8, 16), latent_dim=8)
    return Autoencoder(config, rngs=nnx.Rngs(0))


@pytest.fixture(scope="module")
def spaces(faces, contrastive, autoencoder):
    return {
        "pixels": features.pixels(faces[:1000], 32),
        "latents": features.latents(autoencoder),
        "network": contrastive,
    }


NAMES = ("pixels", "latents", "network")

# Compiled whole: piece by piece takes several times as long.
distorted = jax.jit(feature_network.distorted, static_argnums=2)


# --- what the features are -------------------------------------------------------------------------


def test_pixels_are_the_leading_scores_of_the_images(faces):
    space = features.pixels(faces[:500], n_components=10)
    rows = faces.reshape(len(faces), -1) / 255.0
    centred = rows - rows[:500].mean(axis=0)
    _, singular, axes = np.linalg.svd(centred[:500], full_matrices=False)
    scores = centred @ axes[:10].T
    found = space(faces)
    signs = np.sign(np.sum(found * scores, axis=0))
    np.testing.assert_allclose(found * signs, scores, atol=2e-3 * scores.std())
    np.testing.assert_allclose(found[:500].var(axis=0), singular[:10] ** 2 / 500, rtol=1e-3)


def test_pixels_of_few_images_have_fewer_axes(faces):
    assert features.pixels(faces[:5])(faces[:7]).shape == (7, 5)


def test_latents_are_those_of_the_encoder(faces, autoencoder):
    expected = autoencoder.encode(faces[:300] / np.float32(255))
    np.testing.assert_allclose(features.latents(autoencoder)(faces[:300]), expected, rtol=1e-4, atol=1e-5)


def test_network_features_are_those_of_the_encoder_centred_and_scaled(faces, contrastive):
    expected = contrastive.encoder(jnp.asarray(faces[:300] / np.float32(255)))
    np.testing.assert_allclose(contrastive(faces[:300]), expected, rtol=1e-3, atol=1e-4)
    seen = contrastive(faces[:1000]).astype(np.float64)
    assert np.abs(seen.mean(axis=0)).max() < 0.2  # 50 of the images were kept back
    assert np.mean(seen**2) == pytest.approx(1, rel=0.05)
    correlations = np.corrcoef(seen.T)[:5, :5]
    np.testing.assert_allclose(correlations, np.eye(5), atol=0.1)


@pytest.mark.parametrize("name", NAMES)
def test_features_of_an_image_depend_on_it_alone(name, spaces, faces):
    space = spaces[name]
    all_at_once = space(faces[:300])
    assert all_at_once.dtype == np.float32
    # In the same place beside other images: the same bits. Elsewhere: up to rounding.
    np.testing.assert_array_equal(space(faces[:3]), all_at_once[:3])
    np.testing.assert_allclose(space(faces[299:300])[0], all_at_once[299], rtol=1e-4, atol=1e-4)


# --- learning --------------------------------------------------------------------------------------


def test_contrastive_loss_is_nt_xent(faces):
    """Against the sum as Chen et al. (2020) write it, one pair after another."""
    config = dataclasses.replace(SMALL, temperature=0.5)
    shape = feature_network.encoder_shape(config, SIZE, 3)
    learner = feature_network._Learner(shape, 6, rngs=nnx.Rngs(1))
    images, key = faces[:5], jax.random.key(4)
    pixels = jnp.asarray(images / np.float32(255))
    views = [np.asarray(learner(distorted(k, pixels, config))) for k in jax.random.split(key)]
    z = np.concatenate(views).astype(np.float64)

    def similarity(i, j):
        return z[i] @ z[j] / np.linalg.norm(z[i]) / np.linalg.norm(z[j]) / 0.5

    losses = []
    for i in range(10):
        others = sum(np.exp(similarity(i, k)) for k in range(10) if k != i)
        losses.append(-np.log(np.exp(similarity(i, (i + 5) % 10)) / others))

    graph, weights = nnx.split(learner)
    classified = jax.jit(functools.partial(feature_network._classified, graph, config))
    logits, targets = classified(weights, key, images, None)
    found = optax.softmax_cross_entropy_with_integer_labels(logits, targets)
    np.testing.assert_allclose(found, losses, rtol=1e-4)


def test_views_without_distortion_are_the_images(faces):
    config = dataclasses.replace(SMALL, crop=1.0, color_jitter=0.0, noise=0.0, erase=0.0)
    pixels = jnp.asarray(faces[:4] / np.float32(255))
    views = distorted(jax.random.key(0), pixels, config)
    np.testing.assert_allclose(views, pixels, atol=1e-6)


def test_views_are_distorted_as_the_settings_say():
    still = FeatureNetworkConfig(crop=1.0, color_jitter=0.0, noise=0.0, erase=0.0)
    ramp = jnp.broadcast_to((jnp.arange(32) + 0.5)[None, None, :, None] / 32, (400, 32, 32, 1))

    def views(**changes):
        config = dataclasses.replace(still, **changes)
        return np.asarray(distorted(jax.random.key(1), ramp, config))

    width = np.ptp(views(crop=0.5)[:, 16, 1:-1, 0], axis=1) / (29 / 32)
    assert 0.49 < width.min() < 0.53 < 0.95 < width.max() < 1.01
    mirrored = views(horizontal_flip=True)[:, 0, 0, 0] > 0.5
    assert abs(mirrored.mean() - 0.5) < 5 * 0.5 / 20
    erased = np.mean(views(erase=0.5)[..., 0] != np.asarray(ramp[..., 0]), axis=(1, 2))
    assert 0.15 < erased.max() <= 0.29  # a rectangle, at most 0.5 wide and high, some of it outside
    noise = np.std(views(noise=0.2) - ramp, axis=(1, 2, 3))
    assert noise.min() < 0.01 < 0.19 < noise.max() < 0.22
    mean = views(color_jitter=0.4).mean(axis=(1, 2, 3)) - 0.5
    assert -0.2 <= mean.min() < -0.19 < 0.19 < mean.max() <= 0.2


@pytest.fixture(scope="module")
def hardly_trained(faces):
    return features.train_network(faces[:1000], config=HARDLY, progress=False)


def test_training_has_the_same_bits_again(faces, hardly_trained):
    again = features.train_network(faces[:1000], config=HARDLY, progress=False)
    np.testing.assert_array_equal(again(faces[:10]), hardly_trained(faces[:10]))
    assert again.accuracy == hardly_trained.accuracy


def test_views_are_found_among_those_of_other_images(contrastive, hardly_trained):
    # Of 50 images kept back, in two views each: 1 of 99 by chance.
    assert contrastive.accuracy > 0.08
    assert contrastive.accuracy > hardly_trained.accuracy


def test_classifier_tells_labels_it_was_taught(faces):
    rng = np.random.default_rng(0)
    labels = rng.choice([3, 7], len(faces))
    images = np.where((labels == 7)[:, None, None, None], faces[:, ::-1], faces)
    config = dataclasses.replace(SMALL, steps=50)
    network = features.train_network(images, labels, config, progress=False)
    assert network.n_labels == 2
    assert network.accuracy > 0.8
    assert "2 labels" in network.note
    shuffled = features.train_network(images, rng.permutation(labels), config, progress=False)
    assert shuffled.accuracy < 0.75  # of 100 images: five standard errors above chance


def test_more_images_than_max_images(faces, contrastive, monkeypatch):
    seen = []

    def learn(images, *_, **__):
        seen.append(images)
        return contrastive.encoder, 0.0

    monkeypatch.setattr(features, "learn", learn)
    labels = np.arange(200)
    config = dataclasses.replace(SMALL, max_images=64)
    network = features.train_network(faces[:200], labels, config, progress=False)
    (images,) = seen
    assert len(images) == len(np.unique(images.reshape(64, -1), axis=0)) == 64
    assert network.n_labels == 64


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


def judged(space, faces, damage, strengths):
    """Fréchet distances and precisions of unseen images, as they are and damaged."""
    real, unseen = space(faces[:1000]), faces[1000:]
    found = [space(unseen), *(space(damage(unseen, strength)) for strength in strengths)]
    return (
        [metrics.frechet_distance(real, some).value for some in found],
        [metrics.precision_recall(real, some).precision.value for some in found],
    )


@pytest.mark.parametrize(
    ("name", "damage", "strengths"),
    [
        ("network", blurred, (3, 6, 9)),
        ("network", noisy, (15, 35, 80)),
        ("network", swapped, (1, 2, 4)),
        ("pixels", swapped, (1, 2, 4)),
    ],
)
def test_more_damage_is_judged_worse(name, damage, strengths, spaces, faces):
    distances, precisions = judged(spaces[name], faces, damage, strengths)
    assert distances == sorted(distances)
    assert precisions == sorted(precisions, reverse=True)
    assert distances[-1] > 10 * distances[0]
    assert precisions[-1] < precisions[0] / 2


def test_pixels_do_not_see_the_noise_that_a_network_sees(spaces, faces):
    precision = {name: judged(spaces[name], faces, noisy, (35,))[1] for name in ("pixels", "network")}
    assert precision["pixels"][1] > precision["pixels"][0] - 0.05
    assert precision["network"][1] < precision["network"][0] / 4


@pytest.mark.parametrize("name", ["pixels", "network"])
def test_copies_of_a_few_images_cost_coverage(name, spaces, faces):
    # Not recall: with half as many places, the balls of the generated images are wider.
    real, unseen = spaces[name](faces[:1000]), spaces[name](faces[1000:])
    few = np.concatenate([unseen[:500], unseen[np.arange(500) % 10]])
    of_all, of_few = (metrics.density_coverage(real, found).coverage for found in (unseen, few))
    assert of_few.value < of_all.value - 3 * (of_all.error + of_few.error)


# --- files -----------------------------------------------------------------------------------------


def test_a_saved_network_is_read_back(contrastive, faces, tmp_path):
    contrastive.save(tmp_path / "network.npz")
    loaded = features.NetworkFeatures.load(tmp_path / "network.npz")
    np.testing.assert_array_equal(loaded(faces[:10]), contrastive(faces[:10]))
    for name in ("config", "image_shape", "n_labels", "accuracy", "trained_on", "note"):
        assert getattr(loaded, name) == getattr(contrastive, name)
    assert os.listdir(tmp_path) == ["network.npz"]


def test_a_network_is_trained_once(faces, contrastive, tmp_path, monkeypatch):
    calls = []

    def learn(*_, **__):
        calls.append(1)
        return contrastive.encoder, float(len(calls))

    monkeypatch.setattr(features, "learn", learn)

    def train(images, labels=None, config=SMALL):
        path = tmp_path / "network.npz"
        return features.train_network(images, labels, config, path=path, progress=False).accuracy

    labels = np.arange(100) % 2
    assert train(faces[:100]) == train(faces[:100]) == 1
    assert train(faces[1:101]) == train(faces[1:101]) == 2
    assert train(faces[1:101], labels) == train(faces[1:101], labels + 5) == 3
    assert train(faces[1:101], 1 - labels) == 4
    assert train(faces[1:101], 1 - labels, dataclasses.replace(SMALL, horizontal_flip=True)) == 5
    assert train(faces[:100]) == 6


class Trap:
    sprung = False

    def __reduce__(self):
        return setattr, (Trap, "sprung", True)


def saved(contrastive, tmp_path):
    contrastive.save(tmp_path / "good.npz")
    with np.load(tmp_path / "good.npz") as archive:
        return dict(archive)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"description": None}, "description"),
        ({"format": "other"}, "expected ellipsoid.NetworkFeatures 1; got other 1"),
        ({"to_latent.kernel": None}, "to_latent.kernel"),
        ({"to_latent.bias": np.zeros(3, np.float32)}, r"to_latent.bias: expected .* of shape \(32,\)"),
        ({"to_latent.bias": np.full(32, np.nan, np.float32)}, "to_latent.bias: expected finite"),
        ({"to_latent.bias": np.array([Trap()] * 32, object)}, "to_latent.bias|allow_pickle"),
    ],
)
def test_other_contents_are_refused(contrastive, tmp_path, change, message):
    fields = saved(contrastive, tmp_path) | change
    path = tmp_path / "bad.npz"
    np.savez(path, **{name: value for name, value in fields.items() if value is not None})
    with pytest.raises(ValueError, match=rf"^path: .*bad\.npz cannot be read .*: .*({message})"):
        features.NetworkFeatures.load(path)
    assert not Trap.sprung


def test_damaged_files_are_refused(contrastive, tmp_path):
    path = tmp_path / "network.npz"
    contrastive.save(path)
    content = path.read_bytes()
    for size in (0, 100, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:size])
        with pytest.raises(ValueError, match="cannot be read as a feature network"):
            features.NetworkFeatures.load(path)
    damaged = bytearray(content)
    damaged[len(content) // 2] ^= 0xFF
    path.write_bytes(damaged)
    with pytest.raises(ValueError, match="is damaged"):
        features.NetworkFeatures.load(path)
    path.write_bytes(pickle.dumps(Trap()))
    with pytest.raises(ValueError, match="cannot be read as a feature network"):
        features.NetworkFeatures.load(path)
    assert not Trap.sprung


def test_load_without_a_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="path: expected a saved feature network; got no file at"):
        features.NetworkFeatures.load(tmp_path / "absent.npz")


# --- by name, and what is refused ------------------------------------------------------------------


def test_feature_space_by_name(faces, autoencoder, contrastive, tmp_path):
    contrastive.save(tmp_path / "network.npz")
    made = {
        "pixels": {"images": faces[:100]},
        "latents": {"autoencoder": autoencoder},
        "network": {"path": tmp_path / "network.npz"},
    }
    for name, arguments in made.items():
        space = features.feature_space(name, **arguments)
        assert space.name == name
        assert not space.comparable
        assert "FID" in space.note
        with pytest.raises(dataclasses.FrozenInstanceError):
            space.name = "other"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "vgg"}, "name: expected one of pixels, latents, network, inception; got 'vgg'"),
        ({"name": "pixels"}, "images: the pixels features are made from training images"),
        ({"name": "network"}, "images: the network features are made from training images"),
        ({"name": "latents"}, "autoencoder: "),
        (
            {"name": "inception"},
            "weights: expected the file of Inception's weights; pass its path, or download",
        ),
    ],
)
def test_what_a_space_is_made_from_is_missing(arguments, message):
    with pytest.raises(ValueError, match=message):
        features.feature_space(**arguments)


@pytest.mark.parametrize("name", NAMES)
def test_other_images_are_refused(name, spaces, faces):
    with pytest.raises(TypeError, match="images: expected a numpy array of uint8"):
        spaces[name](faces[:2] / 255)
    with pytest.raises(ValueError, match=r"images: expected shape \(n, 24, 24, 3\)"):
        spaces[name](faces[:2, :20])


def test_what_cannot_be_trained_on_is_refused(faces):
    def train(images, labels=None, config=SMALL):
        return features.train_network(images, labels, config, progress=False)

    for images in (faces[:3], faces[:9, :20]):
        with pytest.raises(ValueError, match="images: expected at least four square ones"):
            train(images)
    for labels in (np.zeros(4), np.zeros(5, int)):
        with pytest.raises(ValueError, match="labels: expected one integer for each of 4 images"):
            train(faces[:4], labels)
    with pytest.raises(ValueError, match="labels: expected at least two different ones; all are 1"):
        train(faces[:4], np.ones(4, int))
    with pytest.raises(ValueError, match="image_size: expected at least 32 pixels"):
        train(faces[:4], config=FeatureNetworkConfig(filters=(8,) * 5))


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
    with pytest.raises(ValueError, match=f"^{name}: expected"):
        FeatureNetworkConfig(**change)
