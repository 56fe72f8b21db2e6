"""Runs of imported autoencoders, from the command to its results."""

import json
import shutil

import numpy as np
import pytest
from onnx_models import SIZE, patterned_images, save_autoencoder

import ellipsoid as el
from ellipsoid.cli import main
from ellipsoid.evaluation.runs import EvaluateConfig, evaluate_run
from ellipsoid.models import AutoencoderConfig, TrainConfig, decode_latents, encode_images
from ellipsoid.models.training_record import TrainingRecord
from ellipsoid.report import load_report_inputs
from ellipsoid.runs import RunFolder, load_autoencoder, load_run, load_training_images
from ellipsoid.workflows import complete_run


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Images, and an autoencoder of them as ONNX files; to be read only."""
    folder = tmp_path_factory.mktemp("import")
    np.save(folder / "images.npy", patterned_images(120))
    np.save(folder / "unseen.npy", patterned_images(40, seed=1))
    save_autoencoder(folder, np.load(folder / "images.npy"), pixel_range=(-1, 1))
    return folder


def arguments(folder, out, **changes):
    options = {name: str(folder / f"{name}.onnx") for name in ("encoder", "decoder")}
    options |= {"images": str(folder / "images.npy"), "out": str(out)} | changes
    return ["import", *(word for name in options for word in (f"--{name}", options[name]))]


@pytest.fixture(scope="module")
def imported(folder, tmp_path_factory):
    """A run that the command has made; to be read only."""
    run = tmp_path_factory.mktemp("imported") / "run"
    assert main(arguments(folder, run)) == 0
    return run


def last_error(capsys):
    return capsys.readouterr().err.splitlines()[-1]


def test_a_run_holds_all_that_it_needs(folder, imported):
    assert {path.name for path in imported.iterdir()} == {
        "config.json",
        "encoder.onnx",
        "decoder.onnx",
        "latents.npy",
        "state.npz",
    }
    images = np.load(folder / "images.npy")
    run = load_run(imported)
    assert run.training is None
    latents = np.load(imported / "latents.npy")
    np.testing.assert_array_equal(latents, encode_images(run.autoencoder, images))
    assert np.abs(decode_latents(run.autoencoder, latents).astype(int) - images).max() <= 2
    np.testing.assert_array_equal(run.state.mean, el.fit(latents).mean)
    np.testing.assert_array_equal(load_training_images(imported).images, images)


def test_what_was_found_is_said(folder, tmp_path, capsys):
    assert main(arguments(folder, tmp_path / "run")) == 0
    said = capsys.readouterr().out
    assert "colour images of 8 x 8 pixels; encoder NCHW, [-1, 1]; decoder NCHW, [-1, 1]" in said
    assert "4 latents; root mean square error 0.00" in said


def test_draws_are_decoded(imported, tmp_path):
    out = tmp_path / "new.npy"
    options = ["--n", "20", "--law", "uniform", "--beside", "latents"]
    assert main(["generate", str(imported), "--out", str(out), *options]) == 0
    images, latents = np.load(out), np.load(tmp_path / "new.latents.npy")
    assert images.shape == (20, SIZE, SIZE, 3)
    np.testing.assert_array_equal(images, decode_latents(load_autoencoder(imported), latents))


def test_a_report_has_what_it_needs(folder, imported):
    inputs = load_report_inputs(imported, folder / "images.npy").examined()
    np.testing.assert_allclose(inputs.decode(inputs.encode(inputs.images)), inputs.images, atol=2)
    with pytest.raises(ValueError, match="images: expected the training images of the run; got other images"):
        load_report_inputs(imported, folder / "unseen.npy")


def test_an_import_that_was_interrupted_goes_on(imported, tmp_path):
    run = RunFolder(shutil.copytree(imported, tmp_path / "run"))
    expected = run.latents.read_bytes()
    run.remove_fitted()
    complete_run(run, progress=False)
    assert run.latents.read_bytes() == expected
    assert run.state.exists()


def test_unseen_images_must_be_given(imported):
    with pytest.raises(
        ValueError, match="against: expected unseen images; got none, and an imported autoencoder may"
    ):
        evaluate_run(imported, EvaluateConfig(quick=True, features="pixels"), progress=False)


@pytest.mark.slow
def test_it_is_evaluated_and_reported(folder, imported, tmp_path):
    run = shutil.copytree(imported, tmp_path / "run")
    against = ["--against", str(folder / "unseen.npy"), "--features", "pixels", "--quick"]
    assert main(["evaluate", str(run), *against]) == 0
    assert main(["report", str(run), "--images", str(folder / "images.npy")]) == 0
    page = (run / "report.html").read_text()
    for title in ("New images", "The autoencoder", "Nearest training images"):
        assert f"<h2>{title}</h2>" in page
    assert "recommended" in page


def test_latents_take_the_place_of_an_encoder(folder, imported, tmp_path, capsys):
    decoder, latents = str(folder / "decoder.onnx"), str(imported / "latents.npy")
    command = ["import", "--decoder", decoder, "--latents", latents, "--out", str(tmp_path / "run")]
    assert main(command) == 1
    assert last_error(capsys).startswith("ellipsoid: pixel_range: expected black and white of the decoder's")
    assert main([*command, "--pixel-range", "-1", "1"]) == 0
    run = RunFolder(tmp_path / "run")
    assert run.latents.read_bytes() == (imported / "latents.npy").read_bytes()
    inputs = load_report_inputs(run).examined()
    assert inputs.encode is None
    np.testing.assert_allclose(inputs.decode(inputs.latents), np.load(folder / "images.npy"), atol=2)


# --- functions ---------------------------------------------------------------------------------------

MODULE = """
import numpy as np

def encode(images):
    return images[:, :2, 0, :2].reshape(len(images), -1) / 255

def decode(latents):
    images = np.zeros((len(latents), 4, 4, 3))
    images[:, :2, 0, :2] = latents.reshape(-1, 2, 2)
    return images
"""


def test_functions_are_called_if_they_are_trusted(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own_autoencoder.py").write_text(MODULE)
    images = np.zeros((50, 4, 4, 3), np.uint8)
    images[:, :2, 0, :2] = np.random.default_rng(0).integers(0, 256, (50, 2, 2))
    np.save("images.npy", images)
    command = ["import", "--encoder", "own_autoencoder:encode", "--decoder", "own_autoencoder:decode"]
    assert main([*command, "--images", "images.npy", "--out", "run"]) == 0
    said = capsys.readouterr().out.splitlines()[-1]
    assert said.endswith(" only if ELLIPSOID_TRUSTED_MODULES=own_autoencoder is set")
    monkeypatch.delenv("ELLIPSOID_TRUSTED_MODULES", raising=False)
    assert main(["generate", "run", "--n", "5", "--law", "uniform", "--out", "new.npy"]) == 1
    assert last_error(capsys) == (
        "ellipsoid: encoder: expected permission to call own_autoencoder:encode, the encoder of this run; "
        "got none; if you trust that module, set ELLIPSOID_TRUSTED_MODULES=own_autoencoder"
    )
    monkeypatch.setenv("ELLIPSOID_TRUSTED_MODULES", "another,own_autoencoder")
    assert main(["generate", "run", "--n", "5", "--law", "uniform", "--out", "new.npy"]) == 0
    new = np.load("new.npy")
    assert new[:, 2:].max() == 0
    assert new[:, :2, 0, :2].max() > 0


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("absent_module:encode", "encoder: expected a module that Python finds"),
        ("json:absent", "encoder: expected a function; got json:absent, and json has none of this name"),
        ("json", "encoder: expected an ONNX file; got json, which is none"),
    ],
)
def test_functions_that_are_none(folder, tmp_path, capsys, name, message):
    assert main(arguments(folder, tmp_path / "run", encoder=name)) == 1
    assert message.replace("encoder", "--encoder", 1) in last_error(capsys)
    assert not (tmp_path / "run").exists()


# --- refusals ----------------------------------------------------------------------------------------


def test_nothing_is_replaced(folder, tmp_path, capsys):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "notes.txt").write_text("mine")
    assert main(arguments(folder, tmp_path / "run")) == 1
    assert "which is not empty and not a run" in last_error(capsys)
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["notes.txt"]


def test_a_wrong_range_leaves_nothing(folder, tmp_path, capsys):
    assert main([*arguments(folder, tmp_path / "run"), "--pixel-range", "0", "1"]) == 1
    assert last_error(capsys).startswith(
        "ellipsoid: --pixel-range: expected the one by which images come back"
    )
    assert not (tmp_path / "run").exists()


def test_an_encoder_or_latents(folder, tmp_path, capsys):
    decoder = ["import", "--decoder", str(folder / "decoder.onnx"), "--out", str(tmp_path / "run")]
    assert main(decoder) == 1
    assert "encoder: expected either an encoder or latents; got neither" in last_error(capsys)
    assert main([*decoder, "--encoder", str(folder / "encoder.onnx")]) == 1
    assert "images: expected the images that the autoencoder was trained on; got none" in last_error(capsys)


def test_damaged_runs(imported, tmp_path):
    run = RunFolder(shutil.copytree(imported, tmp_path / "run"))
    description = json.loads(run.config.read_text())
    for changes in ({"channels": "3"}, {"pixel_range": [1, 0]}, {"decoder": None}, {"encoder_layout": "CHW"}):
        run.write_config(description | {"imported": description["imported"] | changes})
        with pytest.raises(ValueError, match=r"expected|config"):
            load_run(run)
    run.write_config(description)
    run.decoder.write_bytes((imported / "encoder.onnx").read_bytes())
    with pytest.raises(ValueError, match="decoder: expected the model that was imported; got another one in"):
        load_run(run)
    with pytest.raises(ValueError, match="holds an imported autoencoder: choose another run folder"):
        TrainingRecord(run, AutoencoderConfig(), TrainConfig(), resume=True, validation="split")
