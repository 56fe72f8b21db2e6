import dataclasses
import json
import shutil

import numpy as np
import pytest
from PIL import Image

import ellipsoid as el
from ellipsoid.cli import _as_classes, main
from ellipsoid.diagnostics import diagnose
from ellipsoid.evaluation.recommend import GOALS, load_recommendation
from ellipsoid.models import procedural_faces
from ellipsoid.models.autoencoder import encode_images
from ellipsoid.models.training import split
from ellipsoid.report import load_report_inputs
from ellipsoid.report.chapters.evaluation import evaluation
from ellipsoid.report.study import make_study
from ellipsoid.runs import load_run, record_images, recorded_images

SHAPE = ["--image-size", "16", "--filters", "8", "16", "--latent-dim", "8"]
TRAINING = [
    "--steps",
    "60",
    "--batch-size",
    "64",
    "--validation-fraction",
    "0.2",
    "--horizontal-flip",
    "True",
]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run that knows its images, evaluated against those that it kept back."""
    folder = tmp_path_factory.mktemp("evaluate")
    np.savez(folder / "images.npz", images=procedural_faces(250, 16, key=el.key(0)).images)
    images = str(folder / "images.npz")
    assert main(["train", images, "--out", str(folder / "run"), *SHAPE, *TRAINING]) == 0
    assert main(["evaluate", str(folder / "run"), "--quick", "--features", "pixels"]) == 0
    return folder / "run"


def test_everything_lands_in_the_run(run):
    names = {path.name for path in (run / "evaluation").iterdir()}
    assert {
        "table.md",
        "table.csv",
        "evaluation.json",
        "fidelity_diversity.png",
        "equal_precision.png",
    } <= names
    content = json.loads((run / "evaluation" / "evaluation.json").read_text())
    # A fifth of 250 images was kept back, and no reconstruction is one of them.
    assert content["n"] == content["n_real"] == 50
    assert content["features"] == "pixels"
    found = {row["setting"]: row for row in content["results"]}
    assert found["training images"]["copies"] == 1
    assert (run / "recommendation.json").is_file()


def test_mirrored_images_count_if_they_were_trained_on(run, tmp_path, monkeypatch):
    seen = {}

    def judged(latents, state, decode, real_images, features, **others):
        seen.update(others, latents=latents, real_images=real_images)
        raise KeyboardInterrupt

    monkeypatch.setattr("ellipsoid.evaluation.evaluate.evaluate", judged)
    assert main(["evaluate", str(run), "--quick", "--features", "pixels"]) == 130
    images, autoencoder = np.load(run.parent / "images.npz")["images"], load_run(run).autoencoder
    rows, kept_back = split(len(images), load_run(run).training)
    expected = np.concatenate([images[rows], images[rows][:, :, ::-1]])
    np.testing.assert_array_equal(seen["train_images"], expected)
    np.testing.assert_allclose(seen["latents"], encode_images(autoencoder, expected), atol=1e-5)
    np.testing.assert_array_equal(seen["real_images"], images[kept_back])


def test_what_is_recommended_was_fitted_without_the_images_kept_back(run):
    images, autoencoder = np.load(run.parent / "images.npz")["images"], load_run(run).autoencoder
    known = images[split(len(images), load_run(run).training)[0]]
    latents = encode_images(autoencoder, np.concatenate([known, known[:, :, ::-1]]))
    expected, found = el.fit(latents), load_recommendation(run, "balanced")
    np.testing.assert_allclose(found.state.mean, expected.mean, atol=1e-5)
    assert found.state.n_samples == 400
    assert el.load(run / "state.npz").n_samples == 250


def test_the_table_the_recommendation_and_the_files_are_said(run, capsys):
    capsys.readouterr()
    assert main(["evaluate", str(run), "--quick", "--features", "pixels"]) == 0
    said = capsys.readouterr().out
    for words in ("uniform", "training reconstructions", "±", "fidelity: ", "diversity: ", "table.md"):
        assert words in said
    assert "published FID" in " ".join(said.split())


def test_generate_and_sample_draw_as_recommended_and_say_so(run, tmp_path, capsys):
    capsys.readouterr()
    for goal, arguments in (("balanced", []), ("fidelity", ["--goal", "fidelity"])):
        out = str(tmp_path / f"{goal}.npy")
        assert main(["sample", str(run), "--n", "20", "--out", out, *arguments]) == 0
        expected = load_recommendation(run, goal)
        said = capsys.readouterr().out
        assert f"drawing for {goal}: law {expected.law}, level {expected.level:.4g}" in said
        assert expected.reason in said
        draws = el.sample(el.key(0), expected.state, 20, **expected.options)
        np.testing.assert_array_equal(np.load(out), draws.latents)
    assert main(["generate", str(run), "--n", "3", "--out", str(tmp_path / "images")]) == 0
    assert "drawing for balanced" in capsys.readouterr().out


def test_a_report_shows_what_was_found(run, tmp_path):
    inputs = load_report_inputs(run)
    measured = diagnose(inputs.state, inputs.latents, progress=False)

    def section(folder):
        of_run = dataclasses.replace(inputs, run=folder)
        return evaluation(make_study(of_run, measured, tmp_path / "figures", key=el.key(0)))

    shown = section(run)
    for goal in GOALS:
        assert load_recommendation(run, goal).reason in shown.text
    names = ["recommended", "fidelity_diversity", "equal_precision"]
    assert [path.stem for path, _ in shown.pictures] == names
    assert all(path.is_file() for path, _ in shown.pictures)

    other = tmp_path / "other"
    shutil.copytree(run, other)
    el.fit(inputs.latents[:100]).save(other / "state.npz")
    assert "state.npz is not the one that was evaluated" in section(other).text
    assert not section(other).pictures
    (other / "recommendation.json").unlink()
    assert section(other) is None


def test_who_says_how_to_draw_gets_the_defaults_for_the_rest(run, tmp_path, capsys):
    capsys.readouterr()
    state = el.PCAState.load(run / "state.npz")
    for name, arguments, options in (
        ("law", ["--law", "uniform"], {"law": "uniform"}),
        ("level", ["--level", "2"], {"level": 2.0}),
        ("fact", ["--fact", "0.5"], {"fact": 0.5}),
        ("region", ["--region", "box", "--law", "normal"], {"region": "box", "law": "normal"}),
    ):
        out = str(tmp_path / f"{name}.npy")
        assert main(["sample", str(run), "--n", "20", "--out", out, *arguments]) == 0
        np.testing.assert_array_equal(np.load(out), el.sample(el.key(0), state, 20, **options).latents)
    assert "drawing for" not in capsys.readouterr().out


def test_a_state_that_nobody_has_evaluated(run, tmp_path, capsys):
    state = el.PCAState.load(run / "state.npz")
    for name, arguments, options in (
        ("default", [], {}),
        ("goal", ["--goal", "balanced"], {"level": el.matched_level(8, "redraw")}),
    ):
        out = str(tmp_path / f"{name}.npy")
        capsys.readouterr()
        assert main(["sample", str(run / "state.npz"), "--n", "20", "--out", out, *arguments]) == 0
        assert ("nothing was measured" in capsys.readouterr().out) == (name == "goal")
        np.testing.assert_array_equal(np.load(out), el.sample(el.key(0), state, 20, **options).latents)


def test_unseen_images_may_be_given(run, tmp_path, capsys):
    """All training images are then compared with, of which there are fewer, and there is a floor."""
    other = tmp_path / "run"
    shutil.copytree(run, other, ignore=shutil.ignore_patterns("evaluation", "recommendation.json"))
    np.save(tmp_path / "test.npy", procedural_faces(300, 16, key=el.key(1)).images)
    command = ["evaluate", str(other), "--against", str(tmp_path / "test.npy"), "--n", "280"]
    assert main([*command, "--quick", "--features", "latents"]) == 0
    content = json.loads((other / "evaluation" / "evaluation.json").read_text())
    assert (content["n_real"], content["features"]) == (250, "latents")
    assert "training images" in {row["setting"] for row in content["results"]}


def test_celeba_is_judged_by_its_test_part(run, tmp_path):
    other = tmp_path / "run"
    shutil.copytree(run, other, ignore=shutil.ignore_patterns("evaluation", "recommendation.json"))
    images = procedural_faces(250, 16, key=el.key(0)).images
    unseen = procedural_faces(45, 16, key=el.key(1)).images
    celeba = tmp_path / "celeba"
    (celeba / "img_align_celeba").mkdir(parents=True)
    for i, image in enumerate([*images, *unseen]):
        Image.fromarray(image).save(celeba / "img_align_celeba" / f"{i:06d}.png")
    parts = "".join(f"{i:06d}.jpg {0 if i < 250 else 1 if i < 275 else 2}\n" for i in range(295))
    (celeba / "list_eval_partition.txt").write_text(parts)
    record_images(other, "nowhere", split="train", cache=None)  # moved since
    command = ["evaluate", str(other), "--images", str(celeba), "--against", str(celeba)]
    for arguments, n_real in (([], 20), (["--against-split", "valid", "--n", "22"], 22)):
        assert main([*command, "--quick", "--features", "pixels", *arguments]) == 0
        content = json.loads((other / "evaluation" / "evaluation.json").read_text())
        assert content["n_real"] == n_real


def test_a_run_says_what_it_was_trained_on(run, tmp_path):
    source = recorded_images(run)
    assert source == {"source": str(run.parent / "images.npz"), "split": "all", "cache": None}


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


def test_errors_are_one_line(run, tmp_path, capsys):
    def error_of(*arguments):
        capsys.readouterr()
        assert main(["evaluate", *map(str, arguments)]) == 1
        return capsys.readouterr().err.strip().splitlines()[-1]

    silent = tmp_path / "silent"
    shutil.copytree(run, silent)
    config = json.loads((run / "config.json").read_text())
    del config["images"]
    (silent / "config.json").write_text(json.dumps(config))
    assert "images: expected the 250 training images" in error_of(silent, "--features", "pixels")
    np.save(tmp_path / "few.npy", procedural_faces(250, 16, key=el.key(0)).images[:100])
    for features in ("network", "pixels"):
        said = error_of(silent, "--against", tmp_path / "few.npy", "--features", features)
        assert f"images: the {features} features are made from training images; pass them" in said
    odd = tmp_path / "odd"
    shutil.copytree(run, odd)
    config = json.loads((run / "config.json").read_text())
    for change, message in (
        ({"validation": "given"}, "kept none back"),
        (
            {"training": config["training"] | {"validation_fraction": 0.02}},
            "kept back only 5, and 19 are needed",
        ),
    ):
        (odd / "config.json").write_text(json.dumps(config | change))
        said = error_of(odd, "--features", "pixels")
        assert "against: expected unseen images" in said
        assert message in said
    assert "n: expected at least 19 images; got 18" in error_of(run, "--n", "18")
    assert "got 100" in error_of(run, "--images", tmp_path / "few.npy")
    np.save(tmp_path / "others.npy", procedural_faces(250, 16, key=el.key(5)).images)
    assert "expected the training images of the run" in error_of(run, "--images", tmp_path / "others.npy")
    assert "no such file" in error_of(run, "--against", tmp_path / "nowhere")
    assert "not a run folder" in error_of(tmp_path, "--quick")
    assert "weights: expected the file of Inception's weights" in error_of(run, "--features", "inception")
    weights = tmp_path / "weights.pth"
    weights.write_bytes(b"none")
    said = error_of(run, "--features", "inception", "--weights", weights)
    assert "torch-fidelity" in said or str(weights) in said
    capsys.readouterr()
    command = ["sample", str(run), "--n", "5", "--out", "x.npy", "--goal", "fidelity", "--level", "2"]
    assert main(command) == 1
    assert "goal: expected none beside level" in capsys.readouterr().err
