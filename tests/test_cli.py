import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import ellipsoid as el
from ellipsoid.cli import main

SMALL = ["--image-size", "16", "--filters", "8", "16", "--latent-dim", "8"]
SMALL += ["--steps", "12", "--batch-size", "32"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run folder, trained from a folder of images by the command itself."""
    from ellipsoid.models import procedural_faces

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
    assert "at least two" in train(tmp_path / "one")
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
    assert "report" in error_of(capsys, "report", tmp_path / "empty")
    assert not (tmp_path / "new").exists()


def test_an_unknown_law_is_refused_with_the_choices(folder, capsys):
    with pytest.raises(SystemExit):
        main(["sample", str(folder / "run"), "--n", "5", "--out", "x.npy", "--law", "foo"])
    assert "redraw" in capsys.readouterr().err


def test_help_names_every_command():
    result = subprocess.run(
        [sys.executable, "-m", "ellipsoid.cli", "--help"], capture_output=True, text=True, check=True
    )
    for command in ("demo", "train", "fit", "sample", "generate", "report"):
        assert command in result.stdout
