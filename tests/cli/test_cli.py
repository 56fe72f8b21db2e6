import os
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import ellipsoid as el
from ellipsoid.cli import main
from ellipsoid.generation.sinks import NpySink
from ellipsoid.models import ImageSet, procedural_faces
from ellipsoid.runs import load_run

SMALL = ["--image-size", "16", "--filters", "8", "16", "--latent-dim", "8"]
SMALL += ["--steps", "12", "--batch-size", "32"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run folder, trained from a folder of images by the command itself."""
    path = tmp_path_factory.mktemp("cli")
    (path / "images").mkdir()
    for i, image in enumerate(procedural_faces(100, 16, key=el.key(0)).images):
        Image.fromarray(image).save(path / "images" / f"{i:03d}.png")
    assert main(["train", str(path / "images"), "--out", str(path / "run"), *SMALL]) == 0
    return path


def error_of(capsys, *arguments):
    """Standard error of a command that must fail, in one line and without a traceback."""
    capsys.readouterr()
    assert main([str(argument) for argument in arguments]) == 1
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("ellipsoid: ")
    return error


def test_train_leaves_a_whole_run(folder):
    run = folder / "run"
    latents = np.load(run / "latents.npy")
    assert latents.shape == (100, 8)
    state = el.PCAState.load(run / "state.npz")
    np.testing.assert_allclose(state.mean, latents.mean(axis=0), rtol=1e-5, atol=1e-5)
    assert {"config.json", "checkpoints", "metrics.jsonl"} <= {path.name for path in run.iterdir()}


def test_faces_are_mirrored_unless_told_otherwise(folder, tmp_path, monkeypatch):
    def mirror(images, *options):
        out = tmp_path / f"run{len(list(tmp_path.iterdir()))}"
        command = ["train", str(images), "--out", str(out), *SMALL, "--steps", "1", *options]
        assert main(command) == 0
        return load_run(out).training.horizontal_flip

    assert mirror(folder / "images") is False

    faces = procedural_faces(40, 16, key=el.key(0))
    with_attributes = ImageSet(faces.images, attributes=faces.attributes)
    monkeypatch.setattr("ellipsoid.models.images.load_image_set", lambda *_, **__: with_attributes)
    assert mirror("faces") is True
    assert mirror("faces", "--horizontal-flip", "False") is False
    monkeypatch.setattr("ellipsoid.models.images.load_image_set", lambda *_, **__: ImageSet(faces.images))
    assert mirror("lfw") is True


def test_fit_a_mixture(folder, capsys):
    run, out = str(folder / "run"), folder / "mixture.npz"
    assert main(["fit", run, "--out", str(out), "--n-components", "4", "--n-parts", "1", "3"]) == 0
    assert "parts, 4 components" in capsys.readouterr().out
    assert el.Mixture.load(out).names == ()

    labels = np.arange(100) % 3
    np.save(folder / "labels.npy", labels)
    np.savez(folder / "attributes.npz", first=labels == 0, odd=labels == 1)
    for name, parts in (("labels.npy", 3), ("attributes.npz", 3)):
        assert main(["fit", run, "--out", str(out), "--labels", str(folder / name)]) == 0
        assert el.Mixture.load(out).n_parts == parts
    assert el.Mixture.load(out).names == ("first", "odd")
    several = ["--labels", str(folder / "labels.npy"), "--n-parts", "2"]
    assert main(["fit", run, "--out", str(out), *several]) == 0
    assert el.Mixture.load(out).n_parts == 6

    command = ["fit", run, "--out", str(out), "--n-parts", "2"]
    assert "expected std for a mixture" in error_of(capsys, *command, "--half-width", "core")
    assert "expected one number for all labels" in error_of(capsys, *command, "3", *several[:2])


def test_draw_from_a_mixture(folder, tmp_path, capsys):
    rng, mixture = np.random.default_rng(0), tmp_path / "mixture.npz"
    attributes = {"Smiling": rng.random(100) < 0.5, "Male": rng.random(100) < 0.5}
    el.fit_by_label(np.load(folder / "run" / "latents.npy"), attributes, 4).save(mixture)

    uniform = ("--law", "uniform")  # compiles in a third of the time, for each number of parts anew

    def drawn(*options, name="z"):
        out = tmp_path / f"{name}{len(list(tmp_path.iterdir()))}.npy"
        assert main(["sample", str(mixture), "--n", "20", "--out", str(out), *uniform, *options]) == 0
        return np.load(out)

    def expected(label):
        return el.sample(el.key(0), el.Mixture.load(mixture), 20, law="uniform", label=label).latents

    np.testing.assert_array_equal(drawn(), expected(None))
    np.testing.assert_array_equal(drawn("--label", "Smiling", "Male"), expected(["Smiling", "Male"]))
    wanted = {"Smiling": True, "Male": False}
    np.testing.assert_array_equal(drawn("--label", "Smiling=true", "Male=False"), expected(wanted))
    np.testing.assert_array_equal(drawn("--label", "Smiling", "Male=false"), expected(wanted))

    pictures = ["generate", str(folder / "run"), "--n", "3", "--out", str(tmp_path / "pictures.npy")]
    options = ["--state", str(mixture), *uniform, "--label", "Male", "--beside", "part"]
    assert main([*pictures, *options]) == 0
    assert np.load(tmp_path / "pictures.npy").shape == (3, 16, 16, 3)
    assert np.load(tmp_path / "pictures.part.npy").shape == (3,)

    sample = ["sample", str(mixture), "--n", "2", "--out", str(tmp_path / "x.npy")]
    assert "; got 'Bald'" in error_of(capsys, *sample, "--label", "Bald")
    assert "expected Male=true or Male=false; got Male=1" in error_of(capsys, *sample, "--label", "Male=1")


def test_fit_sample_and_generate(folder, capsys):
    assert main(["fit", str(folder / "run"), "--out", str(folder / "s.npz"), "--n-components", "3"]) == 0
    state = el.PCAState.load(folder / "s.npz")
    assert state.n_components == 3
    assert "3 components" in capsys.readouterr().out

    z = folder / "z.npy"
    arguments = ["--n", "100", "--law", "uniform", "--level", "2", "--fact", "0.5", "--seed", "7"]
    assert main(["sample", str(folder / "s.npz"), "--out", str(z), *arguments]) == 0
    expected = el.sample(el.key(7), state, 100, law="uniform", level=2.0, fact=0.5).latents
    np.testing.assert_array_equal(np.load(z), expected)

    assert main(["generate", str(folder / "run"), "--n", "5", "--out", str(folder / "pictures")]) == 0
    assert len(list((folder / "pictures").glob("*.png"))) == 5
    assert main(["generate", str(folder / "run"), "--n", "5", "--out", str(folder / "pictures.npy")]) == 0
    pictures = np.load(folder / "pictures.npy")
    assert pictures.shape == (5, 16, 16, 3)
    np.testing.assert_array_equal(np.asarray(Image.open(folder / "pictures" / "000004.png")), pictures[4])


def test_a_key_press_stops_and_the_same_command_goes_on(folder, monkeypatch, capsys):
    out = folder / "stopped.npy"
    write, starts = NpySink.write, []

    def interrupted(self, start, columns):
        starts.append(start)
        if len(starts) == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return write(self, start, columns)

    monkeypatch.setattr(NpySink, "write", interrupted)
    command = ["sample", str(folder / "run"), "--n", "20000", "--out", str(out), "--chunk", "100"]
    command += ["--law", "uniform", "--dtype", "float16", "--beside", "gauge"]
    assert main(command) == 130
    error = capsys.readouterr().err
    assert "of 20,000 rows are kept in" in error
    assert "the same call goes on there" in error
    assert not out.exists()
    before = len(starts)
    assert 2 <= before < 200
    assert main(command) == 0
    assert sorted(starts) == list(range(0, 20_000, 100))
    output = capsys.readouterr().out
    assert f"wrote {out}: 20,000 latents" in output
    assert "of the latents outside of the region" in output
    assert main([*command, "--verify"]) == 0
    assert len(np.load(folder / "stopped.gauge.npy")) == 20_000


def test_processes_share_a_command(folder, capsys):
    out = folder / "shared"
    command = ["generate", str(folder / "run"), "--n", "40", "--out", str(out), "--chunk", "10"]
    assert main([*command, "--processes", "2", "--process-id", "1"]) == 0
    assert "this process's share" in capsys.readouterr().out
    assert not out.exists()
    assert main([*command, "--processes", "2", "--process-id", "0"]) == 0
    assert f"wrote {out}: 40 images" in capsys.readouterr().out
    assert len(list(out.glob("*.png"))) == 40


def test_another_decoder_does_not_go_on(folder, tmp_path, capsys):
    command = ["generate", folder / "run", "--n", 40, "--out", tmp_path / "x.npy", "--chunk", 10]
    assert main([*map(str, command), "--processes", "2", "--process-id", "1"]) == 0
    other = tmp_path / "other"
    shutil.copytree(folder / "run", other)
    images = folder / "images"
    assert main(["train", str(images), "--out", str(tmp_path / "run"), *SMALL, "--seed", "5"]) == 0
    shutil.rmtree(other / "checkpoints")
    shutil.copytree(tmp_path / "run" / "checkpoints", other / "checkpoints")
    command[1] = other
    assert "decoder_digest" in error_of(capsys, *command)


def test_fit_takes_a_share_of_the_variance_and_a_half_width(folder):
    out = folder / "share.npz"
    arguments = ["--n-components", "0.9", "--half-width", "mad"]
    assert main(["fit", str(folder / "run" / "latents.npy"), "--out", str(out), *arguments]) == 0
    expected = el.fit(np.load(folder / "run" / "latents.npy"), 0.9, "mad")
    np.testing.assert_array_equal(el.PCAState.load(out).scale, expected.scale)


def test_errors_are_one_line_that_says_what_to_do(folder, tmp_path, capsys):
    run = folder / "run"
    (tmp_path / "empty").mkdir()
    (tmp_path / "one").mkdir()
    Image.new("RGB", (16, 16)).save(tmp_path / "one" / "x.png")
    (tmp_path / "bad.npz").write_bytes(b"no state")
    np.save(tmp_path / "nan.npy", np.full((10, 3), np.nan))
    np.save(tmp_path / "z.npy", np.random.default_rng(0).normal(size=(10, 3)))

    def train(images, *options, out=tmp_path / "new"):
        return error_of(capsys, "train", images, "--out", out, *SMALL, *options)

    assert "no images" in train(tmp_path / "empty")
    assert "at least 2 images" in train(tmp_path / "one")
    assert "no such file" in train(tmp_path / "nowhere")
    assert "image_size" in train(folder / "images", "--image-size", 3)
    assert "not empty" in train(folder / "images", out=run)
    bad = tmp_path / "bad.npz"
    assert "bad.npz" in error_of(capsys, "sample", bad, "--n", 5, "--out", tmp_path / "x.npy")
    assert "NaN" in error_of(capsys, "fit", tmp_path / "nan.npy", "--out", tmp_path / "s.npz")
    assert "n_components" in error_of(
        capsys, "fit", tmp_path / "z.npy", "--out", tmp_path / "s.npz", "--n-components", 4
    )
    assert "no such file" in error_of(capsys, "fit", tmp_path / "no.npy", "--out", tmp_path / "s.npz")
    assert "exists" in error_of(capsys, "sample", run, "--n", 5, "--out", tmp_path / "z.npy")
    assert "not a run folder" in error_of(
        capsys, "generate", tmp_path / "empty", "--n", 5, "--out", tmp_path / "x"
    )
    assert "no state.npz" in error_of(
        capsys, "sample", tmp_path / "empty", "--n", 5, "--out", tmp_path / "x.npy"
    )
    assert "latents.npy" in error_of(capsys, "report", tmp_path / "empty")
    assert not (tmp_path / "new").exists()


def test_an_unknown_law_is_refused_with_the_choices(folder, capsys):
    with pytest.raises(SystemExit):
        main(["sample", str(folder / "run"), "--n", "5", "--out", "x.npy", "--law", "foo"])
    assert "redraw" in capsys.readouterr().err


def test_help_names_every_command():
    result = subprocess.run(
        [sys.executable, "-m", "ellipsoid.cli", "--help"], capture_output=True, text=True, check=True
    )
    for command in ("demo", "train", "fit", "sample", "generate", "report", "evaluate"):
        assert command in result.stdout
