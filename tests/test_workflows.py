"""Whole jobs: training a run, fitting shapes, settling how to draw, and drawing into files."""

import dataclasses
import json

import numpy as np
import pytest
from flax import nnx

import ellipsoid as el
from ellipsoid import workflows
from ellipsoid.advice import MeasuredLatents, advise
from ellipsoid.archive import digest
from ellipsoid.evaluation.recommend import save_recommendations
from ellipsoid.models import Autoencoder, AutoencoderConfig, ImageSet, TrainConfig, procedural_faces
from ellipsoid.runs import RunFolder, load_autoencoder, load_run, recorded_images
from ellipsoid.settings import DrawSettings
from ellipsoid.workflows import (
    Drawing,
    complete_run,
    fit_latents,
    how_to_draw,
    train_run,
    write_images,
    write_latents,
)


@pytest.fixture(scope="module")
def latents():
    rng = np.random.default_rng(0)
    return rng.normal(size=(300, 6)) @ rng.normal(size=(6, 6))


@pytest.fixture(scope="module")
def state(latents):
    return el.fit(latents)


# --- training ----------------------------------------------------------------------------------------


def test_faces_are_mirrored_unless_told_otherwise(tmp_path, monkeypatch):
    class Reached(Exception):
        pass

    def train(autoencoder, images, config, **_):
        raise Reached(config.horizontal_flip)

    def flips(image_set, name="images", **options):
        monkeypatch.setattr("ellipsoid.models.images.load_image_set", lambda *_, **__: image_set)
        shape = AutoencoderConfig(image_size=16, filters=(4,), latent_dim=2)
        with pytest.raises(Reached) as reached:
            train_run(name, tmp_path / "run", shape, TrainConfig(**options))
        return reached.value.args[0]

    monkeypatch.setattr("ellipsoid.models.training.train", train)
    faces = procedural_faces(4, 16, key=el.key(0))
    plain, with_attributes = ImageSet(faces.images), ImageSet(faces.images, attributes=faces.attributes)
    assert flips(plain) is False
    assert flips(plain, horizontal_flip=True) is True
    assert flips(with_attributes) is True
    assert flips(with_attributes, horizontal_flip=False) is False
    assert flips(plain, "lfw") is True


def test_a_complete_run_is_gone_on_with_without_training(run_copy, monkeypatch):
    """The settings come from the run; latents and state are made anew."""
    run, trained = RunFolder(run_copy), load_run(run_copy)
    before, source = run.read_latents(), recorded_images(run)
    monkeypatch.setattr("ellipsoid.models.steps.Steps.step", lambda *_: pytest.fail("trained"))
    shape = trained.autoencoder.config
    found = train_run(source["source"], run, shape, trained.training, resume=True, progress=False)
    assert found.path == run.path
    np.testing.assert_array_equal(run.read_latents(), before)
    assert recorded_images(run) == source
    with pytest.raises(FileExistsError, match="is not empty"):
        train_run(source["source"], run, shape, trained.training)


def test_a_run_to_resume_must_be_there(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"out: expected an existing run folder to resume; got .*new"):
        train_run("faces", tmp_path / "new", resume=True)
    assert not (tmp_path / "new").exists()


def test_settings_are_checked_before_images_are_read(tmp_path):
    for options in ({"epochs": 0}, {"learning_rate": float("nan")}):
        with pytest.raises(ValueError, match=rf"{next(iter(options))}: expected"):
            train_run("nowhere", tmp_path / "new", training=TrainConfig(**options))
    assert not (tmp_path / "new").exists()


def test_a_stopped_run_is_completed(run_copy):
    """The completed run has the files that training itself would have left."""
    run = RunFolder(run_copy)
    latents, state = run.read_latents(), load_run(run).state
    run.remove_fitted()
    with pytest.raises(FileNotFoundError, match=r"no state\.npz: `ellipsoid fit .*` makes one"):
        how_to_draw(run)
    complete_run(run, progress=False)
    np.testing.assert_array_equal(run.read_latents(), latents)
    np.testing.assert_array_equal(load_run(run).state.scale, state.scale)

    description = run.read_config()
    others = description | {"data": description["data"] | {"digest": "another"}}
    run.write_config(others)
    with pytest.raises(ValueError, match=r"images: expected the images that .* was trained with"):
        complete_run(run, progress=False)
    del description["images"]
    run.write_config(description)
    with pytest.raises(FileNotFoundError, match="expected a run that records where its images are"):
        complete_run(run, progress=False)


# --- fitting -----------------------------------------------------------------------------------------


def test_one_state_unless_there_are_parts_or_labels(latents):
    fitted, expected = fit_latents(latents, 0.9, "mad"), el.fit(latents, 0.9, "mad")
    assert isinstance(fitted, el.PCAState)
    np.testing.assert_array_equal(fitted.scale, expected.scale)
    mixture = fit_latents(latents, 4, n_parts=(2,), progress=False)
    assert isinstance(mixture, el.Mixture)
    assert (mixture.n_parts, mixture.n_components) == (2, 4)


def test_labels_and_numbers_of_parts_are_handed_on(latents, monkeypatch):
    calls = []
    for name in ("fit_mixture", "fit_by_label"):
        monkeypatch.setattr(workflows, name, lambda *given, **options: calls.append((given[1:], options)))
    monkeypatch.setattr(workflows, "fit_flow", lambda *given, **options: calls.append((given[1:], options)))
    monkeypatch.setattr(workflows, "key", lambda seed: seed)
    labels = np.arange(300) % 3
    fit_latents(latents, n_parts=[1, 3])
    fit_latents(latents, 5, labels=labels, progress=False)
    fit_latents(latents, labels=labels, n_parts=(2,))
    fit_latents(latents, 5, labels=labels, flow=True, steps=7, seed=1)
    assert calls == [
        (((1, 3), None), {"key": 0, "progress": True}),
        ((labels, 5), {"n_parts": 1, "key": 0, "progress": False}),
        ((labels, None), {"n_parts": 2, "key": 0, "progress": True}),
        ((5,), {"labels": labels, "steps": 7, "width": None, "resume": None, "key": 1, "progress": True}),
    ]


def test_what_does_not_go_with_a_mixture(latents):
    with pytest.raises(ValueError, match="half_width: expected std for a mixture; got core"):
        fit_latents(latents, half_width="core", n_parts=(2,))
    with pytest.raises(ValueError, match=r"n_parts: expected no number of parts for a flow; got \(2,\)"):
        fit_latents(latents, n_parts=(2,), flow=True)
    with pytest.raises(ValueError, match=r"n_parts: expected one number with labels; got \(2, 3\)"):
        fit_latents(latents, n_parts=(2, 3), labels=np.arange(300) % 3)


# --- how to draw -------------------------------------------------------------------------------------


def test_who_says_how_to_draw_gets_the_defaults_for_the_rest(state, tmp_path):
    state.save(tmp_path / "state.npz")
    for source in (tmp_path, tmp_path / "state.npz"):
        for chosen in ({"law": "uniform"}, {"level": 2.0}, {"fact": 0.5}, {"region": "box", "law": "normal"}):
            drawing = how_to_draw(source, **chosen)
            assert (drawing.options, drawing.recommendation) == (chosen, None)
            np.testing.assert_array_equal(drawing.shape.mean, state.mean)
    with pytest.raises(ValueError, match="goal: cannot be combined with law, level; got fidelity"):
        how_to_draw(tmp_path, "fidelity", law="uniform", level=2.0)
    with pytest.raises(ValueError, match="goal: expected one of fidelity, balanced, diversity; got 'best'"):
        how_to_draw(tmp_path, "best")


@pytest.mark.parametrize("goal", [None, "fidelity", "balanced", "diversity"])
def test_without_an_evaluation_theory_advises(state, tmp_path, goal):
    """The advice is that of `el.recommend`; the goal is balanced by default."""
    state.save(tmp_path / "state.npz")
    drawing = how_to_draw(tmp_path / "state.npz", goal)
    expected = el.recommend(state, goal=goal or "balanced")
    assert drawing.options == expected.options
    assert drawing.recommendation.reason == expected.reason
    np.testing.assert_array_equal(drawing.shape.components, state.components)


def test_an_evaluated_run_is_drawn_from_as_recommended(state, latents, tmp_path):
    state.save(tmp_path / "state.npz")
    other = el.fit(latents, 3)
    settings = DrawSettings("uniform", 2.0)
    chosen = dataclasses.replace(el.recommend(state), settings=settings, reason="Measured.")
    fewer = dataclasses.replace(chosen, goal="diversity", state=other)
    save_recommendations(tmp_path, state, [chosen, fewer])
    assert how_to_draw(tmp_path).options == chosen.options
    assert how_to_draw(tmp_path, "diversity").shape.n_components == 3
    assert how_to_draw(tmp_path, law="normal").recommendation is None
    # The state alone does not belong to the run.
    assert how_to_draw(tmp_path / "state.npz").options == el.recommend(state).options


def test_a_mixture_can_be_drawn_from(latents, tmp_path):
    fit_latents(latents, 4, n_parts=(2,), progress=False).save(tmp_path / "mixture.npz")
    assert how_to_draw(tmp_path / "mixture.npz").shape.n_parts == 2


def test_a_folder_without_a_state(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"state: expected a fitted shape .*, with no state\.npz"):
        how_to_draw(tmp_path)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        how_to_draw(tmp_path / "nowhere.npz")


# --- drawing -----------------------------------------------------------------------------------------


def test_latents_are_those_of_the_sequence(state, tmp_path):
    drawing = Drawing(state, {"law": "uniform", "level": 2.0})
    written = write_latents(drawing, 50, tmp_path / "z.npy", seed=7, progress=False)
    assert (written.location, written.is_complete) == (tmp_path / "z.npy", True)
    assert written.n_bytes == 50 * 6 * 4
    assert (written.n_judged, written.n_outside) == (0, 0)
    expected = el.sample(el.key(7), state, 50, law="uniform", level=2.0).latents
    np.testing.assert_array_equal(np.load(tmp_path / "z.npy"), expected)


def test_a_share_is_not_the_whole(state, tmp_path):
    drawing = Drawing(state, {"law": "uniform"})
    options = {"chunk": 10, "processes": 2, "dtype": "float16", "progress": False}
    one = write_latents(drawing, 40, tmp_path / "z.npy", process_id=1, **options)
    assert not one.is_complete
    assert not (tmp_path / "z.npy").exists()
    whole = write_latents(drawing, 40, tmp_path / "z.npy", process_id=0, **options)
    assert whole.is_complete
    assert whole.n_judged == 40
    assert 0 <= whole.n_outside <= 40


@pytest.mark.slow
def test_images_are_decoded_latents_of_the_same_decoder(trained_run, tmp_path):
    autoencoder = load_autoencoder(trained_run)
    drawing, options = how_to_draw(trained_run, law="uniform"), {"chunk": 10, "progress": False}
    written = write_images(autoencoder, drawing, 12, tmp_path / "x.npy", beside=["latents"], **options)
    assert written.is_complete
    decoded = np.asarray(autoencoder.decode(np.load(tmp_path / "x.latents.npy"))) * 255
    np.testing.assert_allclose(np.load(tmp_path / "x.npy"), decoded, atol=0.51)

    write_images(autoencoder, drawing, 12, tmp_path / "y.npy", processes=2, process_id=1, **options)
    other = Autoencoder(autoencoder.config, rngs=nnx.Rngs(5))
    with pytest.raises(ValueError, match="decoder_digest"):
        write_images(other, drawing, 12, tmp_path / "y.npy", **options)


def test_a_run_is_drawn_from_as_its_report_advises(state, latents, tmp_path):
    state.save(tmp_path / "state.npz")
    numbers = {"state_digest": digest(state), "concerns": [], "levels_holding": {"0.9": 4.25, "0.99": 5.5}}
    (tmp_path / "diagnostics.json").write_text(json.dumps(numbers))
    advice = advise(state.n_components, measured=MeasuredLatents(frozenset(), 4.25, 5.5))
    drawing = how_to_draw(tmp_path)
    assert drawing.options == advice.settings.options
    assert (drawing.options["law"], drawing.recommendation.reason) == ("normal", advice.reason)
    assert how_to_draw(tmp_path, "diversity").options["level"] == 5.5
    # Results for another state are ignored, and damaged ones are named.
    el.fit(latents[: len(latents) // 2]).save(tmp_path / "state.npz")
    assert how_to_draw(tmp_path).options == el.recommend(state).options
    (tmp_path / "diagnostics.json").write_text("[]")
    with pytest.raises(ValueError, match=r"diagnostics\.json: expected the numbers of a report"):
        how_to_draw(tmp_path)
