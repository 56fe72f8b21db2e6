import json
import sys
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest
from flax import nnx

import ellipsoid as el
from ellipsoid.models import (
    Autoencoder,
    AutoencoderConfig,
    TrainConfig,
    TrainingDiverged,
    encode_images,
    procedural_faces,
    train,
    training,
)
from ellipsoid.models.steps import Steps
from ellipsoid.runs import load_autoencoder, load_run, read_metrics

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
from autoencoder import with_stock_layers

CONFIG = AutoencoderConfig(image_size=16, filters=(8, 16), latent_dim=8)
TRAINING = TrainConfig(epochs=4, batch_size=64, seed=3)


@pytest.fixture(scope="module")
def images():
    return procedural_faces(300, 16, key=el.key(0)).images


# Tests that need another compiled step use this smaller autoencoder.
TINY = AutoencoderConfig(image_size=8, filters=(4,), latent_dim=4)


def new(seed=0, config=CONFIG):
    return Autoencoder(config, rngs=nnx.Rngs(seed))


def weights(autoencoder):
    return [np.asarray(leaf) for leaf in jax.tree.leaves(nnx.state(autoencoder))]


def same(a, b):
    return all(np.array_equal(x, y) for x, y in zip(weights(a), weights(b), strict=True))


@pytest.fixture(scope="module")
def small_images(images):
    return images[:, ::2, ::2]


@pytest.fixture(scope="module")
def trained(images, tmp_path_factory):
    out = tmp_path_factory.mktemp("trained") / "run"
    autoencoder = new()
    return autoencoder, train(autoencoder, images, TRAINING, out=out, progress=False), out


def test_the_loss_falls_and_is_what_it_says(trained, images):
    _, history, _ = trained
    losses = [record["train_loss"] for record in history]
    assert losses == sorted(losses, reverse=True)
    validation, other = images[:50], new()
    history = train(other, images, TRAINING, validation=validation, progress=False)
    x = validation / np.float32(255)
    reconstructed = jax.jit(lambda x: other(x))(x)
    lowest = min(record["validation_loss"] for record in history)
    assert lowest == pytest.approx(np.mean(np.square(reconstructed - x)), rel=1e-5)


@pytest.mark.slow
def test_stock_layers_train_to_the_same_losses(images):
    """Fifty steps from the same weights, with all random parts, give the same losses."""
    settings = TrainConfig(steps=50, batch_size=64, horizontal_flip=True)
    ours = new()
    stock = with_stock_layers(ours)
    assert isinstance(stock.encoder.convolutions[0], nnx.Conv)
    histories = [train(network, images, settings, progress=False) for network in (ours, stock)]
    for name in ("train_loss", "validation_loss"):
        one, other = ([record[name] for record in history] for history in histories)
        assert one[-1] < 0.8 * one[0]
        np.testing.assert_allclose(one, other, rtol=1e-5)


@pytest.mark.slow
def test_it_beats_the_mean_image_on_unseen_faces(images):
    autoencoder, unseen = new(), procedural_faces(200, 16, key=el.key(1)).images / np.float32(255)
    train(autoencoder, images, TrainConfig(steps=300, batch_size=32, learning_rate=1e-2), progress=False)
    error = np.mean(np.square(np.asarray(autoencoder(unseen)) - unseen))
    assert error < 0.5 * np.mean(np.square(unseen - images.mean(axis=0) / 255))


def test_a_run_is_reproducible_and_its_seed_matters(trained, images):
    again, other = new(), new()
    train(again, images, TRAINING, progress=False)
    assert same(again, trained[0])
    train(other, images, replace(TRAINING, seed=4), progress=False)
    assert not same(other, trained[0])


def test_the_run_folder_holds_config_metrics_and_weights(trained, images):
    autoencoder, history, out = trained
    assert read_metrics(out) == history
    assert [record["epoch"] for record in history] == [1, 2, 3, 4]
    assert history[-1]["step"] == 4 * 5  # 285 of 300 images in batches of 64
    config = json.loads((out / "config.json").read_text())
    assert AutoencoderConfig.from_json(config["autoencoder"]) == CONFIG
    loaded = load_autoencoder(out)
    assert same(loaded, autoencoder)
    np.testing.assert_array_equal(encode_images(loaded, images), encode_images(autoencoder, images))


def test_a_number_of_steps_overrides_the_epochs(images, monkeypatch):
    monkeypatch.setattr(Steps, "step", lambda _, state, *__: (state, np.float32(0.1)))
    monkeypatch.setattr(training, "_mean_loss", lambda *_: 0.1)
    history = train(new(), images, TrainConfig(steps=7, batch_size=64), progress=False)
    assert [record["step"] for record in history] == [5, 7]


def test_a_run_folder_that_exists_is_refused(trained, images):
    with pytest.raises(FileExistsError, match=r"not empty: choose another.*resume"):
        train(new(), images, TRAINING, out=trained[2], progress=False)


def test_resuming_with_other_settings_is_refused(trained, images):
    other = TrainConfig(epochs=4, batch_size=64, seed=5)
    with pytest.raises(ValueError, match=r"other settings \(training.seed\)"):
        train(new(), images, other, out=trained[2], resume=True, progress=False)
    with pytest.raises(ValueError, match=r"other settings \(validation\)"):
        train(new(), images, TRAINING, out=trained[2], validation=images[:9], resume=True, progress=False)


def test_a_run_says_where_its_validation_images_come_from(images, tmp_path):
    train(new(), images, TRAINING, out=tmp_path, validation=images[:9], progress=False)
    assert load_run(tmp_path).validation == "given"
    # Runs that do not say so had split them off.
    config = json.loads((tmp_path / "config.json").read_text())
    del config["validation"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert load_run(tmp_path).validation == "split"


def test_a_finished_run_resumes_to_itself(trained, images):
    again = new(seed=7)
    assert train(again, images, TRAINING, out=trained[2], resume=True, progress=False) == trained[1]
    assert same(again, trained[0])


@pytest.mark.slow
def test_divergence_stops_with_advice(small_images, tmp_path):
    settings, out = TrainConfig(epochs=3, learning_rate=1e30), tmp_path / "run"
    with pytest.raises(TrainingDiverged, match=r"not finite at step \d+; try a lower learning_rate, or clip"):
        train(new(config=TINY), small_images, settings, out=out, progress=False)


def test_divergence_names_the_last_good_checkpoint(images, tmp_path, monkeypatch):
    losses = iter([0.1, 0.1, np.nan])
    monkeypatch.setattr(training, "_mean_loss", lambda *_: next(losses))
    out = tmp_path / "run"
    with pytest.raises(TrainingDiverged, match=r"step 15; the last good checkpoint, of epoch 2, is in .*run"):
        train(new(), images, TRAINING, out=out, progress=False)
    assert len(read_metrics(out)) == 2
    assert all(np.isfinite(leaf).all() for leaf in weights(load_autoencoder(out)))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": 0}, "epochs"),
        ({"steps": 0}, "steps"),
        ({"batch_size": 0}, "batch_size"),
        ({"learning_rate": float("nan")}, "learning_rate"),
        ({"warmup": 1.0}, "warmup"),
        ({"validation_fraction": -0.1}, "validation_fraction"),
        ({"seed": -1}, "seed"),
    ],
)
def test_bad_settings(images, settings, message):
    with pytest.raises(ValueError, match=message):
        train(new(), images, TrainConfig(**settings), progress=False)


def test_bad_images(images):
    with pytest.raises(TypeError, match="images: expected a NumPy array of uint8 images; got float64"):
        train(new(), images / 255, progress=False)
    for bad in ({"images": images[:, :8]}, {"images": images, "validation": images[:, :8]}):
        with pytest.raises(ValueError, match=rf"{list(bad)[-1]}: expected shape \(n, 16, 16, 3\)"):
            train(new(), **bad, progress=False)
    with pytest.raises(ValueError, match="images: expected at least 2 images; got 1"):
        train(new(), images[:1], progress=False)
    with pytest.raises(ValueError, match="validation: expected at least 1 images; got 0"):
        train(new(), images, validation=images[:0], progress=False)
