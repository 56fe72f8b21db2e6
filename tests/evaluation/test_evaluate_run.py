"""The images that a run is evaluated with, and the use of the result."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

import ellipsoid as el
from ellipsoid.evaluation.runs import EvaluateConfig, _as_classes, evaluate_run
from ellipsoid.models import procedural_faces
from ellipsoid.models.autoencoder import decode_latents, encode_images
from ellipsoid.models.training import split
from ellipsoid.runs import RunFolder, load_autoencoder, load_run, record_images

IMAGES = procedural_faces(250, 16, key=el.key(0)).images
OTHERS = procedural_faces(30, 16, key=el.key(1)).images
PIXELS = EvaluateConfig(features="pixels", quick=True)


@pytest.fixture
def judged(monkeypatch):
    """Ask for what `evaluate` is called with, without calling it."""

    class Reached(Exception):
        pass

    def arguments(run, config):
        seen = {}

        def evaluate(latents, state, decode, real_images, features, **others):
            seen.update(
                others,
                latents=latents,
                state=state,
                decode=decode,
                real_images=real_images,
                features=features,
            )
            raise Reached

        monkeypatch.setattr("ellipsoid.evaluation.runs.evaluate", evaluate)
        with pytest.raises(Reached):
            evaluate_run(run, config, progress=False)
        return seen

    return arguments


# --- images ------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_mirrored_images_count_if_they_were_trained_on(trained_run, judged):
    seen = judged(trained_run, PIXELS)
    autoencoder = load_autoencoder(trained_run)
    rows, kept_back = split(250, load_run(trained_run).training)
    expected = np.concatenate([IMAGES[rows], IMAGES[rows][:, :, ::-1]])
    np.testing.assert_array_equal(seen["train_images"], expected)
    np.testing.assert_allclose(seen["latents"], encode_images(autoencoder, expected), atol=1e-5)
    np.testing.assert_array_equal(seen["real_images"], IMAGES[kept_back])
    np.testing.assert_array_equal(seen["real_latents"], encode_images(autoencoder, IMAGES[kept_back]))
    latents = seen["latents"][:5]
    np.testing.assert_array_equal(seen["decode"](latents), decode_latents(autoencoder, latents))


@pytest.mark.slow
def test_what_is_judged_was_fitted_without_the_images_kept_back(trained_run, judged):
    seen = judged(trained_run, PIXELS)
    known = IMAGES[split(250, load_run(trained_run).training)[0]]
    latents = encode_images(load_autoencoder(trained_run), np.concatenate([known, known[:, :, ::-1]]))
    np.testing.assert_allclose(seen["state"].mean, el.fit(latents).mean, atol=1e-5)
    assert seen["state"].n_samples == 400
    assert load_run(trained_run).state.n_samples == 250


@pytest.mark.slow
def test_images_are_not_mirrored_unless_training_has_done_it(run_copy, judged):
    run = RunFolder(run_copy)
    config = run.read_config()
    run.write_config(config | {"training": config["training"] | {"horizontal_flip": False}})
    seen = judged(run, PIXELS)
    assert len(seen["latents"]) == len(seen["train_images"]) == 200


@pytest.mark.slow
def test_nor_where_there_are_many(trained_run, judged, monkeypatch):
    monkeypatch.setattr("ellipsoid.evaluation.runs.MIXTURE_ROWS", 200)
    assert len(judged(trained_run, PIXELS)["latents"]) == 200


@pytest.mark.slow
def test_unseen_images_may_be_given(trained_run, tmp_path, judged):
    """Unseen images are the real ones, all training images are used, and the run's own state is judged."""
    unseen = procedural_faces(300, 16, key=el.key(1)).images
    np.save(tmp_path / "test.npy", unseen)
    config = EvaluateConfig(against=str(tmp_path / "test.npy"), n=280, features="latents", quick=True)
    seen = judged(trained_run, config)
    # No more than there are training images.
    assert len(seen["real_images"]) == 250
    assert len(np.unique(seen["real_images"], axis=0)) == 250
    assert {image.tobytes() for image in seen["real_images"]} <= {image.tobytes() for image in unseen}
    np.testing.assert_array_equal(seen["train_images"][:250], IMAGES)
    assert seen["features"].name == "latents"
    assert seen["state"].n_samples == 250
    assert len(judged(trained_run, replace(config, n=20))["real_images"]) == 20


@pytest.mark.slow
def test_celeba_is_judged_by_its_test_part(run_copy, tmp_path, judged):
    unseen = procedural_faces(45, 16, key=el.key(1)).images
    celeba = tmp_path / "celeba"
    (celeba / "img_align_celeba").mkdir(parents=True)
    for i, image in enumerate([*IMAGES, *unseen]):
        Image.fromarray(image).save(celeba / "img_align_celeba" / f"{i:06d}.png")
    parts = "".join(f"{i:06d}.jpg {0 if i < 250 else 1 if i < 275 else 2}\n" for i in range(295))
    (celeba / "list_eval_partition.txt").write_text(parts)
    record_images(run_copy, "nowhere", split="train", cache=None)  # moved since
    config = replace(PIXELS, images=str(celeba), against=str(celeba))
    seen = judged(run_copy, config)
    np.testing.assert_array_equal(seen["real_images"], unseen[25:])
    np.testing.assert_array_equal(seen["train_images"][:250], IMAGES)
    seen = judged(run_copy, replace(config, against_split="valid", n=22))
    assert len(seen["real_images"]) == 22
    assert {image.tobytes() for image in seen["real_images"]} <= {image.tobytes() for image in unseen[:25]}


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (["b", "a", "b"], [1, 0, 1]),
        ([2.5, 2.5, -1.0], [1, 1, 0]),
        ([[1, 0], [0, 1], [1, 0]], [1, 0, 1]),
        (["a", "a", "a"], None),
        (None, None),
    ],
)
def test_labels_of_any_type_are_classes(labels, classes):
    found = _as_classes(None if labels is None else np.array(labels))
    assert (None if found is None else found.tolist()) == classes


def test_the_network_is_trained_on_images_and_labels_that_are_known(run_copy, tmp_path, judged, monkeypatch):
    asked = {}
    monkeypatch.setattr(
        "ellipsoid.models.features.feature_space", lambda name, **options: asked.update(options, name=name)
    )
    np.savez(tmp_path / "images.npz", images=IMAGES, labels=np.arange(250) % 4)
    record_images(run_copy, str(tmp_path / "images.npz"))
    judged(run_copy, replace(PIXELS, features="network", weights=tmp_path / "w", download=True))
    rows, _ = split(250, load_run(run_copy).training)
    np.testing.assert_array_equal(asked.pop("images"), IMAGES[rows])
    np.testing.assert_array_equal(asked.pop("labels"), rows % 4)
    assert asked.pop("autoencoder").config == load_autoencoder(run_copy).config
    assert asked == {
        "name": "network",
        "path": RunFolder(run_copy).feature_network,
        "horizontal_flip": True,
        "weights": tmp_path / "w",
        "download": True,
        "progress": False,
    }


# --- what can't be evaluated -------------------------------------------------------------------------


def changed(run_copy, **changes):
    run = RunFolder(run_copy)
    run.write_config(run.read_config() | changes)
    return run


def test_training_images_must_be_known_and_those_of_the_run(run_copy, tmp_path):
    np.save(tmp_path / "few.npy", IMAGES[:100])
    with pytest.raises(ValueError, match=r"images: expected the 250 training images.*got 100"):
        evaluate_run(run_copy, replace(PIXELS, images=str(tmp_path / "few.npy")))
    np.save(tmp_path / "others.npy", procedural_faces(250, 16, key=el.key(5)).images)
    with pytest.raises(ValueError, match="expected the training images of the run"):
        evaluate_run(run_copy, replace(PIXELS, images=str(tmp_path / "others.npy")))
    run = changed(run_copy, images=None)
    with pytest.raises(ValueError, match=r"images: expected the 250 training .*does not say which they are"):
        evaluate_run(run, PIXELS)
    for features in ("network", "pixels"):
        with pytest.raises(ValueError, match=f"images: .*{features} features"):
            evaluate_run(run, replace(PIXELS, features=features, against=str(tmp_path / "few.npy")))


def test_enough_images_must_have_been_kept_back(run_copy):
    training = RunFolder(run_copy).read_config()["training"]
    run = changed(run_copy, training=training | {"validation_fraction": 0.02})
    expected = (
        "against: expected unseen images; got none, and training kept back only 5 of the 19 that are needed"
    )
    with pytest.raises(ValueError, match=expected):
        evaluate_run(run, PIXELS)
    run = changed(run_copy, validation="given")
    with pytest.raises(ValueError, match=r"against: expected unseen images; got none, .* kept none back"):
        evaluate_run(run, PIXELS)


def test_a_demonstration_is_judged_by_unseen_faces_and_in_its_own_state(run_copy, judged, monkeypatch):
    monkeypatch.setattr(
        "ellipsoid.runs.drawn_faces", lambda n, size, seed, *, unseen=False: OTHERS if unseen else IMAGES
    )
    run = changed(run_copy, images={"source": "demo", "n": 250, "n_test": 30, "seed": 0})
    seen = judged(run, PIXELS)
    np.testing.assert_array_equal(seen["real_images"], OTHERS)
    assert seen["state"] == load_run(run).state


def test_the_network_of_a_perceptual_loss_is_no_judge(run_copy):
    training = RunFolder(run_copy).read_config()["training"]
    run = changed(run_copy, training=training | {"perceptual": 0.05})
    with pytest.raises(ValueError, match=r"features: .* did not use; got efficientnet, .*perceptual 0\.05"):
        evaluate_run(run, replace(PIXELS, features="efficientnet"))


def test_reconstructions_need_an_encoder(run_copy, judged, monkeypatch):
    config = replace(PIXELS, reference="reconstructions")
    assert judged(run_copy, config)["reference"] == "reconstructions"
    run = load_run(run_copy)
    decoder = SimpleNamespace(encoder=None, config=run.autoencoder.config)
    monkeypatch.setattr("ellipsoid.evaluation.runs.load_run", lambda path: replace(run, autoencoder=decoder))
    with pytest.raises(ValueError, match=r"reference: expected images; got reconstructions, .* no encoder"):
        evaluate_run(run_copy, config)


def test_other_things_that_are_missing(run_copy, tmp_path):
    with pytest.raises(ValueError, match="n: expected at least 19; got 18"):
        evaluate_run(run_copy, replace(PIXELS, n=18))
    with pytest.raises(FileNotFoundError, match="no such file"):
        evaluate_run(run_copy, replace(PIXELS, against=str(tmp_path / "nowhere")))
    with pytest.raises(FileNotFoundError, match=r"with no config\.json"):
        evaluate_run(tmp_path, PIXELS)
    inception = replace(PIXELS, features="inception")
    with pytest.raises(ValueError, match="weights: expected the file of Inception's weights"):
        evaluate_run(run_copy, inception)
    (tmp_path / "weights.pth").write_bytes(b"none")
    with pytest.raises((ValueError, ImportError), match=r"weights\.pth|torch-fidelity"):
        evaluate_run(run_copy, replace(inception, weights=tmp_path / "weights.pth"))
    run = RunFolder(run_copy)
    run.state.unlink()
    with pytest.raises(
        FileNotFoundError, match=r"run: expected .* with no state\.npz: fit one with `ellipsoid fit "
    ):
        evaluate_run(run, PIXELS)
