"""Properties that all feature spaces share, and the spaces that are not trained."""

import dataclasses

import jax
import numpy as np
import pytest
from flax import nnx

from ellipsoid.models import Autoencoder, AutoencoderConfig, FeatureNetworkConfig, NetworkFeatures
from ellipsoid.models.autoencoder import Encoder
from ellipsoid.models.features import feature_space, latent_features, pixel_features
from ellipsoid.models.features.learning import encoder_shape

SIZE = 24
NAMES = ("pixels", "latents", "network")


@pytest.fixture(scope="module")
def images():
    """Mixtures of twenty patterns, some stronger than others, so that the leading axes stand out."""
    rng = np.random.default_rng(0)
    mixed = rng.normal(size=(600, 20)) * np.geomspace(30, 1, 20) @ rng.normal(size=(20, SIZE * SIZE * 3))
    return np.clip(128 + mixed, 0, 255).astype(np.uint8).reshape(600, SIZE, SIZE, 3)


@pytest.fixture(scope="module")
def autoencoder():
    config = AutoencoderConfig(image_size=SIZE, filters=(4,), latent_dim=8)
    return Autoencoder(config, rngs=nnx.Rngs(0))


@pytest.fixture(scope="module")
def network():
    config = FeatureNetworkConfig(filters=(4,), n_features=6)
    encoder = Encoder(encoder_shape(config, SIZE, 3), rngs=nnx.Rngs(0))
    return NetworkFeatures(encoder, config, (SIZE, SIZE, 3), None, 0.5, "no images")


@pytest.fixture(scope="module")
def spaces(images, network, autoencoder):
    return {
        "pixels": pixel_features(images[:300], 32),
        "latents": latent_features(autoencoder),
        "network": network,
    }


def test_pixels_are_the_leading_scores_of_the_images(images):
    space = pixel_features(images[:500], n_components=10)
    rows = images.reshape(len(images), -1) / 255.0
    centred = rows - rows[:500].mean(axis=0)
    _, singular, axes = np.linalg.svd(centred[:500], full_matrices=False)
    scores = centred @ axes[:10].T
    seen = space(images)
    signs = np.sign(np.sum(seen * scores, axis=0))
    np.testing.assert_allclose(seen * signs, scores, atol=2e-3 * scores.std())
    np.testing.assert_allclose(seen[:500].var(axis=0), singular[:10] ** 2 / 500, rtol=1e-3)


def test_pixels_of_few_images_have_fewer_axes(images):
    assert pixel_features(images[:5])(images[:7]).shape == (7, 5)


@pytest.mark.parametrize("name", ["latents", "network"])
def test_features_are_those_of_the_encoder(name, spaces, images, autoencoder, network):
    encoder = {"latents": autoencoder.encoder, "network": network.encoder}[name]
    expected = jax.jit(lambda pixels: encoder(pixels))(images[:300] / np.float32(255))
    np.testing.assert_allclose(spaces[name](images[:300]), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_features_of_an_image_depend_on_it_alone(name, spaces, images):
    space = spaces[name]
    all_at_once = space(images[:300])
    assert all_at_once.dtype == np.float32
    # In the same place beside other images, features have the same bits; elsewhere, they agree up to
    # rounding.
    np.testing.assert_array_equal(space(images[:3]), all_at_once[:3])
    np.testing.assert_allclose(space(images[299:300])[0], all_at_once[299], rtol=1e-4, atol=1e-4)
    assert space(images[:0]).shape == (0, all_at_once.shape[1])


def test_feature_space_by_name(images, autoencoder, network, tmp_path):
    network.save(tmp_path / "network.npz")
    made = {
        "pixels": {"images": images[:100]},
        "latents": {"autoencoder": autoencoder},
        "network": {"path": tmp_path / "network.npz"},
    }
    for name, arguments in made.items():
        space = feature_space(name, **arguments)
        assert space.name == name
        assert not space.comparable
        assert "FID" in space.note
        with pytest.raises(dataclasses.FrozenInstanceError):
            space.name = "other"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"name": "vgg"},
            "name: expected one of pixels, latents, network, efficientnet, faces, inception, dinov2, clip; "
            "got 'vgg'",
        ),
        ({"name": "pixels"}, "images: expected what the pixels features are made from; got None"),
        ({"name": "network"}, "images: expected what the network features are made from; got None"),
        ({"name": "latents"}, "autoencoder: expected what the latents features are made from; got None"),
        (
            {"name": "inception"},
            "weights: expected the file of Inception's weights; pass its path, or download",
        ),
    ],
)
def test_what_a_space_is_made_from_is_missing(arguments, message):
    with pytest.raises(ValueError, match=message):
        feature_space(**arguments)


@pytest.mark.parametrize("name", NAMES)
def test_other_images_are_refused(name, spaces, images):
    with pytest.raises(TypeError, match="images: expected a NumPy array of uint8 images; got float64"):
        spaces[name](images[:2] / 255)
    with pytest.raises(ValueError, match=r"images: expected shape \(n, 24, 24, 3\)"):
        spaces[name](images[:2, :20])
