"""The run folder: its paths, what it records, and what it gives back."""

import json
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest
from flax import nnx
from small_runs import CONFIG, new, noise, same

import ellipsoid as el
from ellipsoid.models import AutoencoderConfig, TrainConfig, encode_images, procedural_faces, train
from ellipsoid.models.training_record import TrainingRecord
from ellipsoid.runs import (
    DRAWN_FACES,
    RunFolder,
    check_report_files,
    check_run_folder,
    check_training_images,
    drawn_faces,
    fit_run,
    load_autoencoder,
    load_run,
    load_training_images,
    read_metrics,
    record_images,
    recorded_images,
)

FORMER_CONFIG = Path(__file__).parent / "data" / "former_config.json"


@pytest.fixture(scope="module")
def images():
    return noise(300)


# --- paths -------------------------------------------------------------------------------------------


def test_names_in_a_run_folder_stay_what_they_are():
    """Folders of earlier versions must still be readable."""
    run = RunFolder("run")
    assert {name: path.relative_to("run").as_posix() for name, path in vars(run).items()} == {
        "path": ".",
        "config": "config.json",
        "holder": "holder.json",
        "metrics": "metrics.jsonl",
        "checkpoints": "checkpoints",
        "encoder": "encoder.onnx",
        "decoder": "decoder.onnx",
        "latents": "latents.npy",
        "test_latents": "latents_test.npy",
        "labels": "labels.npz",
        "state": "state.npz",
        "mixture": "mixture.npz",
        "flow": "flow.npz",
        "directions": "directions.npz",
        "evaluation": "evaluation",
        "feature_network": "evaluation/network.npz",
        "recommendation": "recommendation.json",
        "report": "report.html",
        "diagnostics": "diagnostics.json",
        "component_table": "diagnostics-components.csv",
        "pair_table": "diagnostics-pairs.csv",
        "figures": "figures",
    }
    assert run.recommended_state("fidelity") == Path("run/recommended-fidelity.npz")
    assert run.evaluation_figure("regions") == Path("run/evaluation/regions.png")


def test_a_run_folder_is_a_path(tmp_path):
    run = RunFolder(RunFolder(tmp_path))
    assert Path(run) == run.path == tmp_path
    assert repr(run) == f"RunFolder({str(tmp_path)!r})"


def test_folders_that_a_run_can_be_made_in(tmp_path):
    check_run_folder(tmp_path)
    check_run_folder(tmp_path, resume=True)
    check_run_folder(tmp_path / "new")
    (tmp_path / ".config.json.0a1b2c3d.tmp").touch()
    RunFolder(tmp_path).holder.touch()  # of a process that was killed
    check_run_folder(tmp_path)
    (tmp_path / "file").touch()
    for resume in (False, True):  # latents.npy of somebody else would be removed
        with pytest.raises(FileExistsError, match="which is not empty and not a run"):
            check_run_folder(tmp_path, resume)
    RunFolder(tmp_path).config.touch()
    check_run_folder(tmp_path, resume=True)
    with pytest.raises(FileExistsError, match="is not empty: choose another"):
        check_run_folder(tmp_path)
    with pytest.raises(FileExistsError, match=r"got .*file, a file; choose another name"):
        check_run_folder(tmp_path / "file", resume=True)
    with pytest.raises(FileExistsError, match=r"expected a run folder; got .*, and .*file is a file"):
        check_run_folder(tmp_path / "file" / "run")


@pytest.mark.parametrize("name", ["a[b]", "a[b", "a\\b", "a*b", "a?b", "gs:", "a\udcff", "/s3/run"])
def test_names_that_lead_orbax_astray_are_refused(tmp_path, name):
    """A run in a folder with the first of these names trained, but its checkpoints could not be read."""
    for folder in (tmp_path / name, tmp_path / name / "run"):
        with pytest.raises(ValueError, match=r"out: expected a run folder whose checkpoints can be read"):
            check_run_folder(folder)
    for harmless in ("a]b", "ä {b} #1 %20", "s3", "a:b", "two\nlines", "a'b"):
        check_run_folder(tmp_path / harmless / "run", resume=True)


def test_a_folder_that_can_not_be_written_in(tmp_path, monkeypatch):
    monkeypatch.setattr("os.access", lambda *_: False)
    with pytest.raises(PermissionError, match="is read-only"):
        check_run_folder(tmp_path / "run")


def test_a_report_replaces_only_a_report(tmp_path):
    run = RunFolder(tmp_path)
    check_report_files(run)
    for path in (run.report, run.diagnostics):
        path.write_text('["mine"]')
        with pytest.raises(FileExistsError, match=rf"run: expected a new file or .*; got .*{path.name}"):
            check_report_files(run)
        check_report_files(run, force=True)
        path.unlink()
    run.report.write_text('<svg class="mark" viewBox="0 0 72 40">')
    run.diagnostics.write_text('{"concerns": [], "law": "redraw", "level": 2}')
    check_report_files(run)


# --- configuration and history -----------------------------------------------------------------------


def test_configuration_and_history_come_back(tmp_path):
    run = RunFolder(tmp_path)
    assert run.read_metrics() == read_metrics(tmp_path) == []
    history = [{"epoch": 1, "validation_loss": 0.1}, {"epoch": 2, "validation_loss": 1 / 3}]
    run.write_metrics(history)
    assert run.read_metrics() == read_metrics(tmp_path) == history
    description = {"autoencoder": CONFIG.to_json(), "training": {"epochs": 3}, "validation": "split"}
    run.write_config(description)
    assert run.read_config() == {"format": "ellipsoid.run", "version": 2} | description


def test_former_names_of_options_are_translated(run_copy):
    """Earlier versions had other names for two options."""
    former = json.loads(FORMER_CONFIG.read_text())
    assert {"mirror", "shift"} <= set(former["training"])
    run = RunFolder(run_copy)
    shutil.copyfile(FORMER_CONFIG, run.config)
    training = TrainConfig(epochs=1, horizontal_flip=True, max_shift=1)
    loaded = load_run(run)
    assert loaded.training == training
    assert loaded.autoencoder.config == AutoencoderConfig(image_size=16, filters=(4, 8), latent_dim=8)
    assert recorded_images(run) == {"source": "faces", "split": "all", "cache": None}
    # Such a run may be resumed, and then has today's names.
    shape = loaded.autoencoder.config
    TrainingRecord(run, shape, training, resume=True, validation="split").close()
    written = json.loads(run.config.read_text())
    assert written["training"]["horizontal_flip"] is True
    assert written["training"]["max_shift"] == 1
    assert not {"mirror", "shift"} & set(written["training"])
    assert written["images"] == former["images"]


@pytest.mark.parametrize("change", [{"channels": 10**9}, {"latent_dim": 10**12}, {"filters": [4, 10**7]}])
def test_a_configuration_can_not_ask_for_much_memory(run_copy, change):
    run = RunFolder(run_copy)
    description = json.loads(run.config.read_text())
    description["autoencoder"] |= change
    run.config.write_text(json.dumps(description))
    with pytest.raises(
        ValueError,
        match=rf"{run.config}: expected the network of the checkpoints, which have [\d,]+ bytes; got",
    ):
        load_run(run)


# --- images ------------------------------------------------------------------------------------------


def test_a_run_says_what_it_was_trained_on(trained_run):
    source = str(trained_run.parent / "images")
    assert recorded_images(trained_run) == {"source": source, "split": "all", "cache": None}
    found = load_training_images(trained_run)
    np.testing.assert_array_equal(found.images, procedural_faces(250, 16, key=el.key(0)).images)


def test_what_is_recorded_can_be_read_from_another_folder(run_copy, monkeypatch):
    monkeypatch.chdir(run_copy.parent)
    Path("images.npz").touch()
    record_images("run", "images.npz", split="train", cache=Path("cache.npy"), n=7)
    here = run_copy.parent
    assert recorded_images(run_copy) == {
        "source": str(here / "images.npz"),
        "split": "train",
        "cache": str(here / "cache.npy"),
        "n": 7,
    }
    record_images("run", "olivetti")
    assert recorded_images(run_copy) == {"source": "olivetti"}


def test_images_may_have_moved_and_may_be_unknown(run_copy):
    moved = run_copy.parent / "moved.npy"
    np.save(moved, procedural_faces(250, 16, key=el.key(0)).images)
    record_images(run_copy, "nowhere", split="all", cache=None)
    np.testing.assert_array_equal(load_training_images(run_copy, str(moved)).images, np.load(moved))
    with pytest.raises(FileNotFoundError, match="nowhere"):
        load_training_images(run_copy)
    config = RunFolder(run_copy).read_config()
    del config["images"]
    RunFolder(run_copy).write_config(config)
    assert recorded_images(run_copy) is None
    assert load_training_images(run_copy) is None


def test_faces_of_a_demonstration_are_drawn_again(run_copy):
    record_images(run_copy, DRAWN_FACES, n=40, seed=3)
    expected = procedural_faces(40, 16, key=jax.random.split(el.key(3), 3)[0]).images
    np.testing.assert_array_equal(load_training_images(run_copy).images, expected)
    np.testing.assert_array_equal(drawn_faces(40, 16, 3), expected)


def test_other_images_than_those_of_the_run_are_refused(trained_run):
    latents, autoencoder = RunFolder(trained_run).read_latents(), load_autoencoder(trained_run)
    images = procedural_faces(250, 16, key=el.key(0)).images
    check_training_images(images, autoencoder, latents)
    check_training_images(images[::-1][:50], autoencoder, latents)  # any of them, in any order
    others = np.concatenate([images[:30], procedural_faces(5, 16, key=el.key(5)).images])
    with pytest.raises(ValueError, match=r"images: expected the training images .*: 2 of the first 32"):
        check_training_images(others, autoencoder, latents)


# --- what comes back ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def fitted(images, tmp_path_factory):
    """A run with an average of the weights, and latents."""
    out, autoencoder = tmp_path_factory.mktemp("runs") / "run", new()
    settings = TrainConfig(epochs=3, batch_size=64, ema_decay=0.9, weight_decay=0.01)
    history = train(autoencoder, images, settings, out=out, progress=False)
    return (
        out,
        autoencoder,
        settings,
        history,
        fit_run(autoencoder, images, out, test=images[:70], progress=False),
    )


def test_one_call_gives_everything_back(images, fitted):
    out, autoencoder, settings, history, (latents, state) = fitted
    run = load_run(out)
    assert same(run.autoencoder, autoencoder)
    assert run.autoencoder.config == CONFIG
    assert (run.training, run.metrics, run.epoch) == (settings, history, 3)
    adam = run.optimizer_state[1][0]
    assert adam.count == 15
    assert jax.tree.structure(adam.mu) == jax.tree.structure(nnx.state(autoencoder))
    for name in ("mean", "components", "scale"):
        np.testing.assert_array_equal(getattr(run.state, name), getattr(state, name))
    np.testing.assert_array_equal(np.load(out / "latents.npy"), encode_images(run.autoencoder, images))
    np.testing.assert_array_equal(np.load(out / "latents_test.npy"), latents[:70])


def test_the_streamed_state_has_the_bits_of_fit(tmp_path):
    """The rows are more than are summed at a time."""
    images = noise(5000)
    latents, streamed = fit_run(new(), images, tmp_path, progress=False)
    assert isinstance(latents, np.memmap)
    whole = el.fit(np.asarray(latents))
    for one, other in zip(jax.tree.leaves(streamed), jax.tree.leaves(whole), strict=True):
        np.testing.assert_array_equal(one, other)


def test_latents_that_are_not_there_or_damaged(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"run: expected a run folder, or a folder with latents\.npy"):
        RunFolder(tmp_path).read_latents()
    RunFolder(tmp_path).latents.write_bytes(b"damaged")
    with pytest.raises(ValueError, match=r"latents\.npy: not a readable \.npy array"):
        RunFolder(tmp_path).read_latents()


def test_folders_that_are_no_runs(fitted, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"with no config\.json"):
        load_run(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ValueError, match="not the configuration of a run"):
        load_run(tmp_path)
    (tmp_path / "config.json").write_bytes((fitted[0] / "config.json").read_bytes())
    with pytest.raises(FileNotFoundError, match="expected a run with a checkpoint; got"):
        load_run(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]
    description = json.loads((fitted[0] / "config.json").read_text())
    description["training"]["speed"] = 3
    (tmp_path / "config.json").write_text(json.dumps(description))
    with pytest.raises(ValueError, match=r"training configuration: .*speed"):
        load_run(tmp_path)
    del description["autoencoder"]
    (tmp_path / "config.json").write_text(json.dumps(description))
    with pytest.raises(ValueError, match=r"not the configuration of a run .'autoencoder'"):
        load_run(tmp_path)
    with pytest.raises(ValueError, match="checkpoint: expected best or newest; got 'last'"):
        load_run(fitted[0], "last")


def test_a_run_before_its_latents(run_copy):
    run = RunFolder(run_copy)
    assert load_run(run).state is not None
    run.remove_fitted()
    assert not run.latents.exists()
    assert load_run(run).state is None
