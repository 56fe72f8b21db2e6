"""Checkpoints, interruptions, kills and full disks."""

import dataclasses
import json
import os
import random
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
from small_runs import CONFIG, TRAINING, new, noise, same

from ellipsoid.models import TrainConfig, train, training
from ellipsoid.models.steps import Steps
from ellipsoid.models.training_record import TrainingRecord
from ellipsoid.runs import RunFolder, fit_run, load_autoencoder, load_run, read_metrics


@pytest.fixture(scope="module")
def images():
    return noise(300)


def saved_epochs(out):
    return sorted(int(path.name) for path in RunFolder(out).checkpoints.iterdir())


def losses(monkeypatch, *values):
    """Let the epochs have these validation losses."""
    left = iter(values)
    monkeypatch.setattr(training, "_mean_loss", lambda *_: next(left))


def at_step(monkeypatch, number, act):
    """Call `act` before one step of the training."""
    step = Steps.step

    def acting(self, state, count, images, weight):
        if count == number:
            act()
        return step(self, state, count, images, weight)

    monkeypatch.setattr(Steps, "step", acting)


def interrupt():
    os.kill(os.getpid(), signal.SIGINT)


# --- newest and best ---------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_newest_and_the_best_checkpoint_are_kept(images, tmp_path, monkeypatch):
    losses(monkeypatch, 0.3, 0.1, 0.2, 0.4)
    autoencoder = new()
    train(autoencoder, images, TRAINING, out=tmp_path / "run", progress=False)
    assert saved_epochs(tmp_path / "run") == [2, 4]
    best, newest = load_run(tmp_path / "run"), load_run(tmp_path / "run", "newest")
    assert (best.epoch, newest.epoch) == (2, 4)
    assert same(best.autoencoder, autoencoder)
    assert not same(newest.autoencoder, autoencoder)


@pytest.mark.slow
def test_the_best_epoch_survives_a_resume(images, tmp_path, monkeypatch):
    losses(monkeypatch, 0.1, 0.3, 0.2, 0.4)
    at_step(monkeypatch, 12, interrupt)
    first, second = new(), new(seed=9)
    with pytest.raises(KeyboardInterrupt):
        train(first, images, TRAINING, out=tmp_path / "run", progress=False)
    assert saved_epochs(tmp_path / "run") == [1, 3]
    (tmp_path / "run" / "checkpoints" / "2" / "default").mkdir(parents=True)  # as a kill may leave it
    train(second, images, TRAINING, out=tmp_path / "run", resume=True, progress=False)
    assert saved_epochs(tmp_path / "run") == [1, 4]
    assert same(first, second)
    assert same(load_autoencoder(tmp_path / "run"), second)


# --- interruptions -----------------------------------------------------------------------------------


def test_a_key_press_ends_the_epoch_and_resuming_goes_on(images, tmp_path, monkeypatch):
    whole, resumed = new(), new(seed=9)
    train(whole, images, TRAINING, progress=False)
    at_step(monkeypatch, 6, interrupt)
    with pytest.raises(KeyboardInterrupt, match="stopped after epoch 2; resuming goes on from there"):
        train(new(), images, TRAINING, out=tmp_path / "run", progress=False)
    assert [record["step"] for record in read_metrics(tmp_path / "run")] == [5, 10]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    history = train(resumed, images, TRAINING, out=tmp_path / "run", resume=True, progress=False)
    assert [record["step"] for record in history] == [5, 10, 15, 20]
    assert same(resumed, whole)


def test_a_second_key_press_stops_at_once(images, tmp_path, monkeypatch):
    steps = []

    def twice():
        steps.append("reached")
        interrupt()
        interrupt()

    at_step(monkeypatch, 6, twice)
    at_step(monkeypatch, 7, lambda: steps.append("passed"))
    with pytest.raises(KeyboardInterrupt):
        train(new(), images, TRAINING, out=tmp_path / "run", progress=False)
    assert steps == ["reached"]
    assert saved_epochs(tmp_path / "run") == [1]


def test_a_key_press_in_the_last_epoch_changes_nothing(images, monkeypatch):
    at_step(monkeypatch, 18, interrupt)
    assert len(train(new(), images, TRAINING, progress=False)) == 4


@pytest.mark.slow
def test_latents_of_earlier_weights_do_not_stay(images, tmp_path, monkeypatch):
    out = tmp_path / "run"
    at_step(monkeypatch, 6, interrupt)
    with pytest.raises(KeyboardInterrupt):
        train(new(), images, TRAINING, out=out, progress=False)
    fit_run(load_autoencoder(out), images, out, progress=False)
    assert load_run(out).state is not None
    autoencoder = new()
    train(autoencoder, images, TRAINING, out=out, resume=True, progress=False)
    assert load_run(out).state is None
    assert not (out / "latents.npy").exists()
    fit_run(autoencoder, images, out, progress=False)
    train(autoencoder, images, TRAINING, out=out, resume=True, progress=False)
    assert load_run(out).state is not None  # a complete run is left as it is


# --- longer trainings and other images --------------------------------------------------------------


@pytest.fixture
def quick(monkeypatch):
    """Let steps change nothing."""
    monkeypatch.setattr(Steps, "step", lambda _, state, *__: (state, np.float32(0.1)))
    monkeypatch.setattr(training, "_mean_loss", lambda *_: 0.1)


@pytest.mark.parametrize("kind", ["epochs", "steps"])
def test_a_training_can_be_made_longer(images, tmp_path, quick, monkeypatch, kind):
    lengths, init = [], Steps.__init__

    def noted(self, graph, config, n_steps):
        lengths.append(n_steps)
        init(self, graph, config, n_steps)

    monkeypatch.setattr(Steps, "__init__", noted)
    short, long = ({"epochs": 1}, {"epochs": 3}) if kind == "epochs" else ({"steps": 5}, {"steps": 15})
    first = train(new(), images, TrainConfig(batch_size=64, **short), out=tmp_path, progress=False)
    config = TrainConfig(batch_size=64, **long)
    history = train(new(), images, config, out=tmp_path, resume=True, progress=False)
    assert [record["step"] for record in history] == [5, 10, 15]
    assert history[:1] == first
    assert lengths == [5, 15]  # the schedule is the one of the longer training
    assert load_run(tmp_path, "newest").training == config
    with pytest.raises(ValueError, match=rf"other settings \(training.{kind}\)"):
        train(new(), images, TrainConfig(batch_size=64, **short), out=tmp_path, resume=True, progress=False)


@pytest.mark.parametrize("epochs", [1, 2])
def test_other_images_are_refused(images, tmp_path, quick, epochs):
    """They are refused in a finished run, and in an unfinished one."""
    source = {"source": "here", "split": "train"}
    settings = TrainConfig(epochs=1, batch_size=64)
    train(new(), images, settings, out=tmp_path, source=source, progress=False)
    run = RunFolder(tmp_path)
    fit_run(new(), images, run, progress=False)
    assert run.read_config()["images"] == source
    assert run.read_config()["data"]["count"] == 300

    def files():
        return {path.name: path.read_bytes() for path in run.path.iterdir() if path.is_file()}

    def resumed(given, **options):
        settings = TrainConfig(epochs=epochs, batch_size=64)
        train(new(), given, settings, out=run, resume=True, progress=False, **options)

    before = files()
    with pytest.raises(
        ValueError, match=r"images: expected the images .*, 300 of shape .8, 8, 3.; got as many other"
    ):
        resumed(255 - images)
    with pytest.raises(ValueError, match=r"got 299 of shape"):
        resumed(images[:-1])
    assert files() == before
    # A run that was made before this was recorded may be resumed.
    description = run.read_config()
    del description["data"], description["images"]
    run.write_config(description)
    resumed(images)
    assert run.read_config()["data"]["count"] == 300


def test_images_to_judge_by_are_compared_too(images, tmp_path, quick):
    settings = TrainConfig(epochs=1, batch_size=64)
    options = {"out": tmp_path, "progress": False}
    train(new(), images, settings, validation=images[:9], **options)
    train(new(), images, settings, validation=images[:9], resume=True, **options)
    with pytest.raises(ValueError, match=r"validation: expected the images .*, 9 of shape.*; got 8 of shape"):
        train(new(), images, settings, validation=images[:8], resume=True, **options)


# --- damaged checkpoints -----------------------------------------------------------------------------


def test_a_damaged_checkpoint_is_told_from_a_good_one(images, tmp_path, quick, monkeypatch, capfd):
    losses(monkeypatch, 0.1, 0.3, 0.2)
    settings = TrainConfig(epochs=2, batch_size=64)
    train(new(), images, settings, out=tmp_path, progress=False)
    newest = RunFolder(tmp_path).checkpoints / "2"
    for path in newest.glob("default/**/d/*"):
        path.write_bytes(b"damaged")
    remedy = r"checkpoints/2: expected a checkpoint .*; remove that folder to continue .* of epoch 1$"
    with pytest.raises(ValueError, match=remedy):
        load_run(tmp_path, "newest")
    with pytest.raises(ValueError, match=remedy):
        train(new(), images, settings, out=tmp_path, resume=True, progress=False)
    time.sleep(0.1)  # for the threads that read on
    assert "Traceback" not in capfd.readouterr().err
    assert load_run(tmp_path).epoch == 1
    shutil.rmtree(newest)
    assert len(train(new(), images, settings, out=tmp_path, resume=True, progress=False)) == 2

    (RunFolder(tmp_path).checkpoints / "1" / "metrics" / "metrics").write_bytes(b"damaged")
    with pytest.raises(ValueError, match=r"checkpoints/1: expected .*JSONDecodeError.*of epoch 2$"):
        load_run(tmp_path)


def test_a_checkpoint_of_another_configuration(images, tmp_path, quick):
    train(new(), images, TrainConfig(epochs=1, batch_size=64), out=tmp_path, progress=False)
    run = RunFolder(tmp_path)
    description = run.read_config()
    description["autoencoder"]["latent_dim"] += 1
    run.write_config(description)
    with pytest.raises(ValueError, match=r"or one of another .*; train again in another folder$"):
        load_run(tmp_path)


# --- kills -------------------------------------------------------------------------------------------

# Everything random that a step can have, and a state that is not only weights.
EVERYTHING = {"batch_size": 64, "ema_decay": 0.9, "horizontal_flip": True, "latent_noise": 0.1}


class Killed(BaseException):
    """The end of a process, without any warning to it."""


def kill():
    raise Killed


@pytest.mark.slow
def test_a_run_that_is_cut_in_the_middle_of_epochs_ends_with_the_same_weights(images, tmp_path, monkeypatch):
    settings = TrainConfig(epochs=6, **EVERYTHING)
    whole, out = new(), tmp_path / "run"
    train(whole, images, settings, progress=False)
    # Kills come in the first epoch, the third and the fourth; from then on everything must come from the
    # checkpoint.
    for step, seed in ((3, 0), (11, 0), (16, 9)):
        with monkeypatch.context() as patch:
            at_step(patch, step, kill)
            with pytest.raises(Killed):
                train(new(seed), images, settings, out=out, resume=True, progress=False)
        assert len(read_metrics(out)) == step // 5
        # The process was about to record these, and had begun to write.
        with RunFolder(out).metrics.open("a") as file:
            file.write(json.dumps({"epoch": step // 5 + 1}) + "\n")
        (out / "checkpoints" / f"{step // 5 + 1}.orbax-checkpoint-tmp" / "default").mkdir(parents=True)
    resumed = new(seed=8)
    history = train(resumed, images, settings, out=out, resume=True, progress=False)
    assert [record["epoch"] for record in history] == list(range(1, 7))
    assert read_metrics(out) == history
    assert same(resumed, whole)
    assert same(load_autoencoder(out), whole)


_SCRIPT = """
import sys
import numpy as np
from flax import nnx
from ellipsoid.models import Autoencoder, AutoencoderConfig, TrainConfig, train
autoencoder = AutoencoderConfig(image_size=8, filters=(4,), latent_dim=4)
images, out, settings = np.load(sys.argv[1]), sys.argv[2], TrainConfig(**eval(sys.argv[3]))
train(Autoencoder(autoencoder, rngs=nnx.Rngs(0)), images, settings, out=out, resume=True, progress=False)
"""


@pytest.mark.slow
def test_a_run_that_is_killed_again_and_again_ends_with_the_same_weights(images, tmp_path):
    settings = {"epochs": 30, **EVERYTHING}
    whole, out = new(), tmp_path / "run"
    train(whole, images, TrainConfig(**settings), progress=False)
    np.save(tmp_path / "images.npy", images)
    command = [sys.executable, "-c", _SCRIPT, str(tmp_path / "images.npy"), str(out), repr(settings)]
    # Most of the test would be compilation.
    cache = {"JAX_COMPILATION_CACHE_DIR": str(tmp_path), "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    moments = random.Random(0)
    for least in (1, 8, 16):
        with subprocess.Popen(command, env=os.environ | cache) as process:
            deadline = time.monotonic() + 120
            while len(read_metrics(out)) < least and process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.005)
            time.sleep(moments.uniform(0, 0.05))
            process.send_signal(signal.SIGKILL)
        assert least <= len(read_metrics(out)) < 30

    resumed = new(seed=9)  # everything must come from the checkpoint
    history = train(resumed, images, TrainConfig(**settings), out=out, resume=True, progress=False)
    assert [record["epoch"] for record in history] == list(range(1, 31))
    assert same(resumed, whole)
    assert same(load_autoencoder(out), whole)


# --- two at once -------------------------------------------------------------------------------------


def test_two_trainings_do_not_share_a_folder(images, tmp_path, quick, monkeypatch):
    """A second training or encoding is refused while one runs, with the reason."""
    out = tmp_path / "run"
    refusal = f"out: {out} is already being written by process {os.getpid()} on {socket.gethostname()}"
    RunFolder(out).path.mkdir()
    RunFolder(out).holder.write_text('{"pid": 1, "host": "elsewhere", "start": null}')  # it has no lock

    def others():
        for resume in (False, True):
            with pytest.raises(FileExistsError, match=refusal):
                train(new(), images, TRAINING, out=out, resume=resume, progress=False)
        with pytest.raises(FileExistsError, match=refusal):
            fit_run(new(), images, out, progress=False)

    at_step(monkeypatch, 6, others)
    assert len(train(new(), images, TRAINING, out=out, progress=False)) == 4
    assert not RunFolder(out).holder.exists()


def test_a_folder_is_let_go_whatever_fails(images, tmp_path, quick):
    out = tmp_path / "run"
    train(new(), images, TrainConfig(epochs=1, batch_size=64), out=out, progress=False)
    with pytest.raises(ValueError, match="other settings"):
        train(new(), images, TrainConfig(epochs=1, batch_size=32), out=out, resume=True, progress=False)
    shutil.rmtree(RunFolder(out).checkpoints / "1" / "default")
    with pytest.raises(ValueError, match="expected a checkpoint"):
        train(new(), images, TRAINING, out=out, resume=True, progress=False)
    assert not RunFolder(out).holder.exists()


# --- disks -------------------------------------------------------------------------------------------


# Threads of Orbax that are still writing fail too.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_full_disk_keeps_the_last_good_checkpoint(images, tmp_path, monkeypatch):
    save = TrainingRecord.save
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    def filling_up(self, state, history):
        if len(history) == 3:
            self.wait()
            resource.setrlimit(resource.RLIMIT_FSIZE, (2000, limits[1]))
        save(self, state, history)

    monkeypatch.setattr(TrainingRecord, "save", filling_up)
    autoencoder, out = new(), tmp_path / "run"
    try:
        with pytest.raises(
            OSError,
            match=r"can't write a checkpoint \(.*File too large.*epoch 2, is in .*make room and resume",
        ):
            train(autoencoder, images, TRAINING, out=out, progress=False)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert load_run(out, "newest").epoch == 2
    monkeypatch.undo()
    assert len(train(autoencoder, images, TRAINING, out=out, resume=True, progress=False)) == 4
    assert saved_epochs(out)[-1] == 4  # and nothing is left of the broken one


def test_a_folder_that_can_not_be_made_is_refused_before_training(images, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    at_step(monkeypatch, 0, lambda: pytest.fail("trained"))
    with pytest.raises(OSError, match="file"):
        train(new(), images, TRAINING, out=tmp_path / "file" / "run", progress=False)
    with pytest.raises(FileExistsError, match="a file; choose another name"):
        train(new(), images, TRAINING, out=tmp_path / "file", progress=False)


# --- other settings ----------------------------------------------------------------------------------


def test_every_setting_that_differs_is_named(images, tmp_path):
    def record(**changes):
        options = {"resume": True, "validation": "split"} | changes
        training = options.pop("training", TRAINING)
        return TrainingRecord(RunFolder(tmp_path), CONFIG, training, **options)

    record().close()
    # A run of an earlier version lacks a newer option, and resumes without it.
    present = RunFolder(tmp_path).read_config()
    del present["training"]["perceptual"]
    RunFolder(tmp_path).write_config(present)
    with pytest.raises(ValueError, match=r"other settings \(training.perceptual\)"):
        record(training=dataclasses.replace(TRAINING, perceptual=0.05))
    record().close()
    before = RunFolder(tmp_path).config.read_bytes()
    with pytest.raises(ValueError, match=r"other settings \(training.epochs, training.max_shift\)"):
        record(training=TrainConfig(epochs=3, batch_size=64, max_shift=1))
    with pytest.raises(ValueError, match=r"other settings \(training.steps\).*only more epochs or steps"):
        record(training=TrainConfig(epochs=4, steps=50, batch_size=64))
    with pytest.raises(ValueError, match=r"other settings \(validation\)"):
        record(validation="given")
    with pytest.raises(FileExistsError, match="is not empty"):
        record(resume=False)
    assert RunFolder(tmp_path).config.read_bytes() == before
