"""Networks as features: their files, and when one is trained anew."""

import dataclasses
import json
import os
import pickle

import numpy as np
import pytest
from flax import nnx

from ellipsoid.models import FeatureNetworkConfig, NetworkFeatures, train_network
from ellipsoid.models.autoencoder import Encoder
from ellipsoid.models.features import network as module
from ellipsoid.models.features.learning import encoder_shape

SIZE = 24
SMALL = FeatureNetworkConfig(filters=(8, 16), n_features=32, steps=60, batch_size=64)


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (200, SIZE, SIZE, 3), np.uint8)


@pytest.fixture(scope="module")
def network():
    """A network that was never trained."""
    encoder = Encoder(encoder_shape(SMALL, SIZE, 3), rngs=nnx.Rngs(0))
    return NetworkFeatures(encoder, SMALL, (SIZE, SIZE, 3), 2, 0.75, "no images")


# --- when it is trained ----------------------------------------------------------------------------


def test_a_network_is_trained_once(images, network, tmp_path, monkeypatch):
    calls = []

    def learn(*_, **__):
        calls.append(1)
        return network.encoder, float(len(calls))

    monkeypatch.setattr(module, "learn", learn)

    def train(some, labels=None, config=SMALL):
        path = tmp_path / "network.npz"
        return train_network(some, labels, config, path=path, progress=False).accuracy

    labels = np.arange(100) % 2
    assert train(images[:100]) == train(images[:100]) == 1
    assert train(images[1:101]) == train(images[1:101]) == 2
    assert train(images[1:101], labels) == train(images[1:101], labels + 5) == 3
    assert train(images[1:101], 1 - labels) == 4
    assert train(images[1:101], 1 - labels, dataclasses.replace(SMALL, horizontal_flip=True)) == 5
    assert train(images[:100]) == 6


def test_more_images_than_max_images(images, network, monkeypatch):
    seen = []

    def learn(some, *_, **__):
        seen.append(some)
        return network.encoder, 0.0

    monkeypatch.setattr(module, "learn", learn)
    labels = np.arange(200)
    config = dataclasses.replace(SMALL, max_images=64)
    trained = train_network(images, labels, config, progress=False)
    (chosen,) = seen
    assert len(chosen) == len(np.unique(chosen.reshape(64, -1), axis=0)) == 64
    assert trained.n_labels == 64


def test_what_cannot_be_trained_on_is_refused(images):
    def train(some, labels=None, config=SMALL):
        return train_network(some, labels, config, progress=False)

    with pytest.raises(ValueError, match="images: expected at least 4 images; got 3"):
        train(images[:3])
    with pytest.raises(ValueError, match=r"images: expected square images; got shape \(9, 20, 24, 3\)"):
        train(images[:9, :20])
    with pytest.raises(
        ValueError, match=r"images: expected shape \(n, height, width, 1 or 3\); got \(9, .*2\)"
    ):
        train(images[:9, ..., :2])
    for labels in (np.zeros(4), np.zeros(5, int)):
        with pytest.raises(ValueError, match="labels: expected one integer for each of 4 images"):
            train(images[:4], labels)
    with pytest.raises(ValueError, match="labels: expected at least two different ones; got 1 alone"):
        train(images[:4], np.ones(4, int))
    with pytest.raises(ValueError, match="image_size: expected at least 32 pixels"):
        train(images[:4], config=FeatureNetworkConfig(filters=(8,) * 5))


# --- files -----------------------------------------------------------------------------------------


def test_a_saved_network_is_read_back(network, images, tmp_path):
    network.save(tmp_path / "network.npz")
    loaded = NetworkFeatures.load(tmp_path / "network.npz")
    np.testing.assert_array_equal(loaded(images[:10]), network(images[:10]))
    for name in ("config", "image_shape", "n_labels", "accuracy", "trained_on", "note"):
        assert getattr(loaded, name) == getattr(network, name)
    assert os.listdir(tmp_path) == ["network.npz"]


class Trap:
    sprung = False

    def __reduce__(self):
        return setattr, (Trap, "sprung", True)


def saved(network, tmp_path):
    network.save(tmp_path / "good.npz")
    with np.load(tmp_path / "good.npz") as archive:
        return dict(archive)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"description": None}, "description"),
        ({"description": json.dumps({"config": [1], "image_shape": 3})}, "expected what `save` writes"),
        ({"description": json.dumps({"config": {"filters": 3}, "image_shape": [3]})}, "filters|`save`"),
        ({"format": "other"}, "expected ellipsoid.NetworkFeatures 1; got other 1"),
        ({"to_latent.kernel": None}, "to_latent.kernel"),
        ({"to_latent.bias": np.zeros(3, np.float32)}, r"to_latent.bias: expected .* of shape \(32,\)"),
        ({"to_latent.bias": np.full(32, np.nan, np.float32)}, "to_latent.bias: expected finite"),
        ({"to_latent.bias": np.array([Trap()] * 32, object)}, "to_latent.bias|allow_pickle"),
    ],
)
def test_other_contents_are_refused(network, tmp_path, change, message):
    fields = saved(network, tmp_path) | change
    path = tmp_path / "bad.npz"
    np.savez(path, **{name: value for name, value in fields.items() if value is not None})
    with pytest.raises(ValueError, match=rf"^path: .*bad\.npz cannot be read .*: .*({message})"):
        NetworkFeatures.load(path)
    assert not Trap.sprung


def test_damaged_files_are_refused(network, tmp_path):
    path = tmp_path / "network.npz"
    network.save(path)
    content = path.read_bytes()
    for size in (0, 100, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:size])
        with pytest.raises(ValueError, match="cannot be read as a feature network"):
            NetworkFeatures.load(path)
    damaged = bytearray(content)
    damaged[len(content) // 2] ^= 0xFF
    path.write_bytes(damaged)
    with pytest.raises(ValueError, match="is damaged"):
        NetworkFeatures.load(path)
    path.write_bytes(pickle.dumps(Trap()))
    with pytest.raises(ValueError, match="cannot be read as a feature network"):
        NetworkFeatures.load(path)
    assert not Trap.sprung


def test_load_without_a_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="path: expected a saved feature network; got no file at"):
        NetworkFeatures.load(tmp_path / "absent.npz")
