import os
import signal
import subprocess
import sys
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

import ellipsoid as el
from ellipsoid.cli import main
from ellipsoid.cli.counts import as_count
from ellipsoid.cli.draw_options import as_label
from ellipsoid.cli.parsing import parsed
from ellipsoid.generation.sinks import NpySink
from ellipsoid.models import ImageSet
from ellipsoid.runs import RunFolder, load_run

SMALL = ["--image-size", "16", "--filters", "4", "8", "--latent-dim", "8", "--steps", "1"]


@pytest.fixture
def folder(trained_run):
    """Folder of the trained run and its images, to be read only."""
    return trained_run.parent


def error_of(capsys, *arguments):
    """Give the standard error of a command that must fail, in one line and without a traceback."""
    capsys.readouterr()
    assert main([str(argument) for argument in arguments]) == 1
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("ellipsoid: ")
    return error


# --- train -------------------------------------------------------------------------------------------


def test_train_leaves_a_whole_run(trained_run):
    latents = np.load(trained_run / "latents.npy")
    assert latents.shape == (250, 8)
    state = el.PCAState.load(trained_run / "state.npz")
    np.testing.assert_allclose(state.mean, latents.mean(axis=0), rtol=1e-5, atol=1e-5)
    assert {"config.json", "checkpoints", "metrics.jsonl"} <= {path.name for path in trained_run.iterdir()}


def test_options_of_train_are_fields_of_the_configurations(trained_run):
    run = load_run(trained_run)
    config, training = run.autoencoder.config, run.training
    assert (config.image_size, config.filters, config.latent_dim) == (16, (4, 8), 8)
    assert (training.steps, training.batch_size, training.validation_fraction) == (24, 64, 0.2)
    assert training.horizontal_flip is True


def test_train_says_what_it_wrote_and_resumes(folder, run_copy, capsys):
    """A complete run is left as it is, except for latents and state."""
    command = ["train", str(folder / "images"), "--out", str(run_copy), *SMALL[:-2], "--resume"]
    command += ["--steps", "24", "--batch-size", "64", "--validation-fraction", "0.2"]
    assert main([*command, "--horizontal-flip", "True"]) == 0
    said = capsys.readouterr().out
    assert f"wrote {run_copy}: checkpoints, metrics.jsonl, latents.npy, state.npz\n" in said
    assert "best epoch: " in said
    assert said.endswith(f"next: ellipsoid generate {run_copy} --n 100 --out images\n")
    assert "other settings (training.seed)" in error_of(
        capsys, *command, "--horizontal-flip", "True", "--seed", "3"
    )


@pytest.mark.slow
def test_a_training_that_was_stopped_is_no_dead_end(folder, run_copy, tmp_path, monkeypatch, capsys):
    command = ["train", str(folder / "images"), "--out", str(run_copy), *SMALL[:-2], "--resume"]
    stop = "stopped after epoch 2; resuming goes on from there"

    def stopped(*_, **__):
        raise KeyboardInterrupt(stop)

    monkeypatch.setattr("ellipsoid.workflows.train_run", stopped)
    assert main(command) == 130
    advice = f"`ellipsoid fit {run_copy} --out {run_copy / 'state.npz'}` makes the run usable"
    assert capsys.readouterr().err == f"ellipsoid: {stop}; {advice}\n"

    (run_copy / "latents.npy").unlink()
    (run_copy / "state.npz").unlink()
    assert main(["fit", str(run_copy), "--out", str(run_copy / "state.npz")]) == 0
    assert "has no latents: its best checkpoint encodes the training images" in capsys.readouterr().out
    sample = ["sample", str(run_copy), "--n", "1e1", "--out", str(tmp_path / "z.npy"), "--law", "uniform"]
    assert main(sample) == 0
    assert len(np.load(tmp_path / "z.npy")) == 10


# --- fit ---------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_fit_a_mixture(folder, tmp_path, capsys):
    run, out = str(folder / "run"), tmp_path / "mixture.npz"
    command = ["fit", run, "--out", str(out), "--n-components", "4"]
    assert main([*command, "--n-parts", "1", "3"]) == 0
    assert ", 4 components" in capsys.readouterr().out
    assert el.Mixture.load(out).names == ()

    labels = np.arange(250) % 3
    np.save(tmp_path / "labels.npy", labels)
    np.savez(tmp_path / "attributes.npz", first=labels == 0, odd=labels == 1)
    for name, names in (("labels.npy", ("0", "1", "2")), ("attributes.npz", ("first", "odd"))):
        assert main([*command, "--labels", str(tmp_path / name)]) == 0
        mixture = el.Mixture.load(out)
        assert (mixture.n_parts, mixture.names) == (3, names)
    several = ["--n-parts", "2", "3", "--labels", str(tmp_path / "labels.npy")]
    assert "expected one number with labels" in error_of(capsys, *command, *several)


def test_a_flow_that_is_stopped_says_how_to_go_on(tmp_path, monkeypatch, capsys):
    out, training = tmp_path / "flow.npz", tmp_path / "flow.training.npz"
    np.save(tmp_path / "z.npy", np.random.default_rng(0).normal(size=(30, 3)))
    asked = []

    def stopped(latents, n_components, **options):
        asked.append((options["steps"], options["width"], options["resume"]))
        training.touch()
        raise KeyboardInterrupt

    monkeypatch.setattr("ellipsoid.workflows.fit_flow", stopped)
    fit = ["fit", str(tmp_path / "z.npy"), "--out", str(out)]
    assert main([*fit, "--flow", "--steps", "9", "--width", "8"]) == 130
    assert asked == [(9, 8, training)]
    said = f"interrupted; the training is kept in {training}, and the same command continues it"
    assert capsys.readouterr().err == f"ellipsoid: {said}\n"
    assert "--width needs --flow" in error_of(capsys, *fit, "--width", "8")


def test_fit_takes_a_share_of_the_variance_and_a_half_width(folder, tmp_path, capsys):
    out, latents = tmp_path / "share.npz", folder / "run" / "latents.npy"
    arguments = ["--n-components", "0.9", "--half-width", "mad"]
    assert main(["fit", str(latents), "--out", str(out), *arguments]) == 0
    expected = el.fit(np.load(latents), 0.9, "mad")
    np.testing.assert_array_equal(el.PCAState.load(out).scale, expected.scale)
    share = float(np.sum(expected.explained_variance_ratio))
    said = capsys.readouterr().out
    assert said == f"wrote {out}: {expected.n_components} components, {share:.1%} of the variance\n"


def test_fit_replaces_nothing_but_a_shape(folder, tmp_path, capsys):
    latents = tmp_path / "z.npy"
    np.save(latents, np.random.default_rng(0).normal(size=(10, 3)))
    labels, before = tmp_path / "labels.npz", latents.read_bytes()
    np.savez(labels, first=np.arange(10) < 5)
    assert "expected a name that ends in .npz" in error_of(capsys, "fit", latents, "--out", latents)
    for options in ([], ["--force"]):
        command = ["fit", latents, "--labels", labels, "--out", labels, *options]
        assert "expected a file other than the inputs" in error_of(capsys, *command)
        (tmp_path / "folder.npz").mkdir(exist_ok=True)
        command = ["fit", latents, "--out", tmp_path / "folder.npz", *options]
        assert "folder.npz, a folder" in error_of(capsys, *command)
    assert np.load(labels).files == ["first"]
    assert latents.read_bytes() == before
    fit = ["fit", str(latents), "--out", str(labels)]
    assert "expected a new file or a fitted shape" in error_of(capsys, *fit)
    for options in (["--force"], []):  # the second one replaces a state
        assert main([*fit, *options]) == 0
        assert el.PCAState.load(labels).n_components == 3


# --- sample and generate -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "label"),
    [
        ((), None),
        (("Smiling", "Male"), ("Smiling", "Male")),
        (("Smiling=true", "Male=False"), {"Smiling": True, "Male": False}),
        (("Smiling", "Male=false"), {"Smiling": True, "Male": False}),
        (("a=b=true",), {"a=b": True}),
    ],
)
def test_labels_on_the_command_line(words, label):
    assert as_label(words) == label


@pytest.mark.slow
def test_draw_from_a_mixture(folder, tmp_path, capsys):
    rng, mixture = np.random.default_rng(0), tmp_path / "mixture.npz"
    attributes = {"Smiling": rng.random(250) < 0.5, "Male": rng.random(250) < 0.5}
    el.fit_by_label(np.load(folder / "run" / "latents.npy"), attributes, 4).save(mixture)

    # This law compiles in a third of the time, anew for each number of parts.
    options = ["--law", "uniform", "--label", "Smiling", "Male=False"]
    out = tmp_path / "z.npy"
    assert main(["sample", str(mixture), "--n", "3", "--out", str(out), *options]) == 0
    wanted = {"Smiling": True, "Male": False}
    expected = el.sample(el.key(0), el.Mixture.load(mixture), 3, law="uniform", label=wanted).latents
    np.testing.assert_array_equal(np.load(out), expected)

    pictures = ["generate", str(folder / "run"), "--n", "3", "--out", str(tmp_path / "pictures.npy")]
    assert main([*pictures, "--state", str(mixture), *options, "--beside", "part"]) == 0
    assert np.load(tmp_path / "pictures.npy").shape == (3, 16, 16, 3)
    assert np.load(tmp_path / "pictures.part.npy").shape == (3,)

    sample = ["sample", str(mixture), "--n", "2", "--out", str(tmp_path / "x.npy")]
    assert "; got 'Bald'" in error_of(capsys, *sample, "--label", "Bald")
    assert "expected Male=true or Male=false; got Male=1" in error_of(capsys, *sample, "--label", "Male=1")


def test_fit_sample_and_generate(folder, tmp_path, capsys):
    shape, z = tmp_path / "s.npz", tmp_path / "z.npy"
    assert main(["fit", str(folder / "run"), "--out", str(shape), "--n-components", "3"]) == 0
    state = el.PCAState.load(shape)
    assert state.n_components == 3
    assert "3 components" in capsys.readouterr().out

    arguments = ["--n", "100", "--law", "uniform", "--level", "2", "--fact", "0.5", "--seed", "7"]
    assert main(["sample", str(shape), "--out", str(z), *arguments]) == 0
    expected = el.sample(el.key(7), state, 100, law="uniform", level=2.0, fact=0.5).latents
    np.testing.assert_array_equal(np.load(z), expected)
    assert capsys.readouterr().out == f"wrote {z}: 100 latents, 0.0 MB\n"

    generate = ["generate", str(folder / "run"), "--n", "5", "--out"]
    assert main([*generate, str(tmp_path / "pictures")]) == 0
    assert len(list((tmp_path / "pictures").glob("*.png"))) == 5
    assert main([*generate, str(tmp_path / "pictures.npy")]) == 0
    pictures = np.load(tmp_path / "pictures.npy")
    assert pictures.shape == (5, 16, 16, 3)
    picture = np.asarray(Image.open(tmp_path / "pictures" / "000004.png"))
    np.testing.assert_array_equal(picture, pictures[4])


def test_a_key_press_stops_and_the_same_command_goes_on(folder, tmp_path, monkeypatch, capsys):
    out = tmp_path / "stopped.npy"
    write, starts = NpySink.write, []

    def interrupted(self, start, columns):
        starts.append(start)
        if len(starts) == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return write(self, start, columns)

    monkeypatch.setattr(NpySink, "write", interrupted)
    command = ["sample", str(folder / "run"), "--n", "10000", "--out", str(out), "--chunk", "100"]
    command += ["--law", "uniform", "--dtype", "float16", "--beside", "gauge"]
    assert main(command) == 130
    error = capsys.readouterr().err
    assert "of 10,000 rows are kept in" in error
    assert "; the same command " in error
    assert not out.exists()
    before = len(starts)
    assert 2 <= before < 100
    assert main(command) == 0
    assert sorted(starts) == list(range(0, 10_000, 100))
    output = capsys.readouterr().out
    assert f"wrote {out}: 10,000 latents" in output
    assert "of the latents out of the region" in output
    assert main([*command, "--verify"]) == 0
    assert len(np.load(tmp_path / "stopped.gauge.npy")) == 10_000


def test_processes_share_a_command(folder, tmp_path, capsys):
    out = tmp_path / "shared"
    command = ["generate", str(folder / "run"), "--n", "40", "--out", str(out), "--chunk", "10"]
    assert main([*command, "--processes", "2", "--process-id", "1"]) == 0
    assert "this process's share" in capsys.readouterr().out
    assert not out.exists()
    assert main([*command, "--processes", "2", "--process-id", "0"]) == 0
    assert f"wrote {out}: 40 images" in capsys.readouterr().out
    assert len(list(out.glob("*.png"))) == 40


@pytest.mark.parametrize("command", ["sample", "generate"])
def test_processes_find_each_other_before_anything_else(tmp_path, monkeypatch, capsys, command):
    """JAX cannot be told of other processes once it has computed anything."""
    reached = []
    monkeypatch.setattr("jax.distributed.initialize", lambda: reached.append(capsys.readouterr().out))
    error_of(capsys, command, tmp_path / "none", "--n", 5, "--out", tmp_path / "x.npy", "--distributed")
    assert reached == [""]


def test_a_run_is_fitted_by_the_attributes_and_classes_that_it_keeps(tmp_path, capsys):
    rng, run = np.random.default_rng(0), RunFolder(tmp_path)
    np.save(run.latents, rng.normal(size=(90, 3)))
    smiling, male = rng.random((2, 90)) < 0.5
    out = str(tmp_path / "mixture.npz")
    message = error_of(capsys, "fit", run.path, "--by", "Male", "--out", out)
    assert "--by: expected a run whose images have labels" in message
    images = np.zeros((90, 2, 2, 1), np.uint8)
    attributes = {"Smiling": smiling, "Male": male}
    run.write_labels(ImageSet(images, np.arange(90) % 3 - 1, ("cat", "dog"), attributes))
    assert main(["fit", str(tmp_path), "--by", "Smiling", "Male", "--out", out]) == 0
    assert el.load(out).names == ("Smiling", "Male")
    assert el.load(out).n_parts == 4
    assert main(["fit", str(tmp_path), "--by", "label", "--out", out]) == 0
    assert el.load(out).names == ("cat", "dog", "none")
    message = error_of(capsys, "fit", run.path, "--by", "Young", "--out", out)
    assert "--by: expected names among label, Smiling, Male; got Young" in message
    both = ["--by", "Male", "--labels", "x.npy"]
    assert "got --labels as well" in error_of(capsys, "fit", run.path, *both, "--out", out)
    run.labels.write_bytes(b"damaged")
    assert "not the labels of a run" in error_of(capsys, "fit", run.path, "--by", "Male", "--out", out)


# --- report ------------------------------------------------------------------------------------------


def test_report_of_a_file_of_latents(tmp_path, monkeypatch, capsys):
    """The report lies beside the file; the state is fitted, or given."""
    reports = []

    def write_report(run, inputs, *, seed):
        reports.append((run.path, inputs, seed))
        return SimpleNamespace(headline="Good.", concerns=())

    monkeypatch.setattr("ellipsoid.report.write_report", write_report)
    latents = np.random.default_rng(0).normal(size=(30, 3)).astype(np.float32)
    source, state = tmp_path / "z.npy", tmp_path / "state.npz"
    np.save(source, latents)
    el.fit(latents, 2).save(state)
    assert main(["report", str(source), "--seed", "3"]) == 0
    assert f"wrote {tmp_path / 'z-report' / 'report.html'}" in capsys.readouterr().out
    assert main(["report", str(source), "--state", str(state), "--out", str(tmp_path / "page")]) == 0
    (first, fitted, seed), (second, given, _) = reports
    assert (first.name, second.name, seed) == ("z-report", "page", 3)
    assert (fitted.state.n_components, given.state.n_components) == (3, 2)
    np.testing.assert_array_equal(given.latents, latents)

    el.fit_mixture(latents, 1).save(tmp_path / "mixture.npz")
    mixture = ["--state", tmp_path / "mixture.npz"]
    assert "--state: expected the state of one ellipsoid" in error_of(capsys, "report", source, *mixture)
    assert "--images needs a run folder" in error_of(capsys, "report", source, "--images", "faces")
    assert "does not exist" in error_of(capsys, "report", source, "--out", tmp_path / "no" / "page")
    np.save(tmp_path / "line.npy", latents[:, :1] * np.ones(4, np.float32))
    with warnings.catch_warnings(action="always"):
        assert main(["report", str(tmp_path / "line.npy")]) == 1
    warning, collapsed = capsys.readouterr().err.splitlines()
    assert "ellipsoid: warning: " in warning
    assert "3 of 4 components have no variance" in warning
    assert "run: expected latents with variance in at least 2 directions; got" in collapsed
    assert "with 1 of 4" in collapsed
    (tmp_path / "z-report").mkdir()
    (tmp_path / "z-report" / "report.html").write_text("mine")
    assert "expected a new file or a page of a report" in error_of(capsys, "report", source)
    assert len(reports) == 2


# --- errors and help ---------------------------------------------------------------------------------


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
    assert "--image-size: " in train(folder / "images", "--image-size", 3)
    assert "not empty" in train(folder / "images", out=run)
    bad = tmp_path / "bad.npz"
    assert "bad.npz" in error_of(capsys, "sample", bad, "--n", 5, "--out", tmp_path / "x.npy")
    assert "NaN" in error_of(capsys, "fit", tmp_path / "nan.npy", "--out", tmp_path / "s.npz")
    assert "--n-components: " in error_of(
        capsys, "fit", tmp_path / "z.npy", "--out", tmp_path / "s.npz", "--n-components", 4
    )
    assert "expected std for a mixture; got core" in error_of(
        capsys, "fit", tmp_path / "z.npy", "--out", "s.npz", "--n-parts", 2, "--half-width", "core"
    )
    assert "no such file" in error_of(capsys, "fit", tmp_path / "no.npy", "--out", tmp_path / "s.npz")
    assert "latents.npy" in error_of(capsys, "fit", tmp_path / "empty", "--out", tmp_path / "s.npz")
    assert "exists" in error_of(capsys, "sample", run, "--n", 5, "--out", tmp_path / "z.npy")
    assert "with no config.json" in error_of(
        capsys, "generate", tmp_path / "empty", "--n", 5, "--out", tmp_path / "x"
    )
    assert "no state.npz" in error_of(
        capsys, "sample", tmp_path / "empty", "--n", 5, "--out", tmp_path / "x.npy"
    )
    assert "--goal: cannot be combined with --level; got fidelity" in error_of(
        capsys, "sample", run, "--n", 5, "--out", "x.npy", "--goal", "fidelity", "--level", 2
    )
    assert "latents.npy" in error_of(capsys, "report", tmp_path / "empty")
    assert not (tmp_path / "new").exists()


def test_an_unknown_law_is_refused_with_the_choices(folder, capsys):
    with pytest.raises(SystemExit):
        main(["sample", str(folder / "run"), "--n", "5", "--out", "x.npy", "--law", "foo"])
    assert "redraw" in capsys.readouterr().err


@pytest.mark.parametrize(("word", "count"), [("7", 7), ("1e6", 10**6), ("1_000", 1000), ("2.5e3", 2500)])
def test_counts_as_people_write_them(word, count):
    assert as_count(word) == count
    assert parsed(["sample", "s.npz", "--n", word, "--out", "z.npy", "--chunk", word]).command.n == count


@pytest.mark.parametrize("word", ["2.5", "many", "nan", "1e300", ""])
def test_what_is_no_count(word, capsys):
    with pytest.raises(ValueError, match=r"integer|float"):
        as_count(word)
    with pytest.raises(SystemExit):
        main(["sample", "s.npz", "--n", word, "--out", "z.npy"])
    assert "--n" in capsys.readouterr().err


def test_version_and_the_short_help(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"ellipsoid {el.__version__}\n"
    assert main(["--help"]) == main(["-h"]) == 0
    assert "143 by SIGTERM" in capsys.readouterr().out
    assert main([]) == 2
    assert capsys.readouterr().err.startswith("usage: ellipsoid ")


@pytest.mark.slow
def test_two_processes_of_a_cluster_share_the_rows(tmp_path):
    """The processes start as Slurm starts them, with the coordinator on this machine."""
    state = el.fit(np.random.default_rng(0).normal(size=(50, 4)))
    state.save(tmp_path / "state.npz")
    out = tmp_path / "z.npy"
    command = [sys.executable, "-m", "ellipsoid", "sample", str(tmp_path / "state.npz"), "--out", str(out)]
    command += ["--n", "200", "--chunk", "50", "--law", "uniform", "--distributed"]
    cluster = {"SLURM_JOB_ID": str(os.getpid()), "SLURM_STEP_NODELIST": "localhost", "SLURM_NTASKS": "2"}
    processes = [
        subprocess.Popen(
            command,
            env=os.environ | cluster | {"SLURM_PROCID": index, "SLURM_LOCALID": "0"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for index in "01"
    ]
    outputs = [process.communicate(timeout=300) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    assert sum(f"wrote {out}: 200 latents" in said for said, _ in outputs) >= 1
    expected = el.sample(el.key(0), state, 200, law="uniform").latents
    np.testing.assert_array_equal(np.load(out), expected)
