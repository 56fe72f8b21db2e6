"""Training: one loop that reads top to bottom.

What is compiled is in `steps`, what is written in `training_record`.
"""

import math
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from ellipsoid.models.autoencoder import Autoencoder
from ellipsoid.models.batches import epoch_batches
from ellipsoid.models.steps import Steps, TrainConfig, TrainState
from ellipsoid.models.training_record import TrainingRecord
from ellipsoid.progress import progress_bar
from ellipsoid.runs import RunFolder


class TrainingDiverged(RuntimeError):
    """The loss became infinite or NaN."""


def train(
    autoencoder: Autoencoder,
    images: np.ndarray,
    config: TrainConfig | None = None,
    *,
    out: str | os.PathLike[str] | None = None,
    validation: np.ndarray | None = None,
    resume: bool = False,
    progress: bool = True,
) -> list[dict[str, float]]:
    """Train an autoencoder in place, on all local devices.

    Batches are random permutations of the images, one for each epoch, that depend on the seed and the
    epoch alone, and so does all that is random in a step: a resumed run ends with the same weights, bit for
    bit on the same machine. A batch is shared between the largest number of devices that divides it; on
    another number of devices the same numbers come out, up to rounding.

    Ctrl-C ends the training after the epoch under way, with its checkpoint; a second one ends it at once.

    Parameters
    ----------
    autoencoder : Autoencoder
        Its weights are replaced by those after the epoch with the lowest validation loss, also when the
        training is interrupted.
    images : (n, H, W, C) uint8 array
        In memory or memory-mapped; converted to floats on the device.
    config : TrainConfig, optional
    out : path, optional
        Run folder: ``config.json``, ``metrics.jsonl`` with one line an epoch, and ``checkpoints/`` with
        the state after the last epoch and after the best one. Nothing is written when absent.
    validation : (m, H, W, C) uint8 array, optional
        Images to judge the epochs by; split off from `images` when absent.
    resume : bool
        Go on from the newest checkpoint in `out`, if there is one.
    progress : bool
        Show a progress bar with the loss, images per second and the time left.

    Returns
    -------
    list of dict
        For each epoch: epoch, step, train_loss and validation_loss (mean squared error of pixels in
        [0, 1]), images_per_second and seconds.

    Raises
    ------
    ValueError
        For settings or images that can't be trained with, or a run folder of other settings.
    FileExistsError
        If `out` holds anything and `resume` is off.
    OSError
        If a checkpoint can't be written; the one before is kept.
    TrainingDiverged
        If the loss is no longer finite.
    KeyboardInterrupt
        After Ctrl-C, unless the training is complete.
    """
    config = config or TrainConfig()
    config.check()
    _check(autoencoder, images, validation)
    kind = "split" if validation is None else "given"
    if validation is None:
        validation = images
        rows, validation_rows = split(len(images), config)
    else:
        rows, validation_rows = np.arange(len(images)), np.arange(len(validation))
    n_steps = config.steps or config.epochs * -(-len(rows) // config.batch_size)

    graph, weights = nnx.split(autoencoder)
    steps = Steps(graph, config, n_steps)
    state, best = TrainState.new(config, weights), None
    history: list[dict[str, float]] = []
    run = None
    if out is not None:
        folder = RunFolder(Path(out).absolute())
        run = TrainingRecord(folder, autoencoder.config, config, resume=resume, validation=kind)
        if restored := run.restore(state):
            state, best, history = restored
    step = int(history[-1]["step"]) if history else 0
    if run is not None and step < n_steps:
        run.folder.remove_fitted()

    state = steps.place(state)
    try:
        with (
            progress_bar("train", n_steps * config.batch_size, enabled=progress, unit="images") as advance,
            _interruptible() as interrupted,
        ):
            advance(step * config.batch_size)
            while step < n_steps:
                epoch, started, losses = len(history), time.monotonic(), []
                batches = epoch_batches(
                    images, config.batch_size, config.seed, epoch, rows=rows, n_batches=n_steps - step
                )
                for batch, weight in batches:
                    state, loss = steps.step(state, step, batch, weight)
                    losses.append(loss)
                    step += 1
                    # One step late: reading this step's loss would make the device wait for the host.
                    late = float(losses[max(len(losses) - 2, 0)])
                    if not math.isfinite(late):
                        raise _diverged(step - 1, run)
                    stopping = ", stops after this epoch" if interrupted.is_set() else ""
                    advance(config.batch_size, f"loss {late:.5f}{stopping}")
                train_loss = float(np.mean(jax.device_get(losses)))  # waits for the last step
                seconds = time.monotonic() - started
                validation_loss = _mean_loss(
                    steps, state.model_weights, validation, validation_rows, config.batch_size
                )
                record = {
                    "epoch": epoch + 1,
                    "step": step,
                    "train_loss": train_loss,
                    "validation_loss": validation_loss,
                    "images_per_second": len(losses) * config.batch_size / seconds,
                    "seconds": seconds,
                }
                # The losses of an epoch are those before its last step; the validation is the one after it.
                if not math.isfinite(train_loss + validation_loss):
                    raise _diverged(step, run)
                history.append(record)
                # Copied, since the next step writes into its memory.
                saved = jax.tree.map(np.array, state)
                if validation_loss == min(past["validation_loss"] for past in history):
                    best = saved.model_weights
                if run is not None:
                    run.save(saved, history)
                if interrupted.is_set() and step < n_steps:
                    onward = "; resuming goes on from there" if run is not None else ""
                    raise KeyboardInterrupt(f"stopped after epoch {epoch + 1}{onward}")
    finally:
        if best is not None:
            nnx.update(autoencoder, jax.tree.map(jnp.asarray, best))
        if run is not None:
            run.close()
    return history


def _check(autoencoder, images, validation):
    side, channels = autoencoder.config.image_size, autoencoder.config.channels
    for name, array in (("images", images), ("validation", validation)):
        if array is not None and (array.dtype != np.uint8 or array.shape[1:] != (side, side, channels)):
            raise ValueError(
                f"{name}: expected uint8 of shape (n, {side}, {side}, {channels}); "
                f"got {array.dtype} of shape {array.shape}"
            )
    if len(images) < 2:
        raise ValueError(f"images: training needs at least two; got {len(images)}")


def split(n: int, config: TrainConfig) -> tuple[np.ndarray, np.ndarray]:
    """Rows of `n` images to train on, and those to judge the epochs by, both in increasing order."""
    order = np.random.default_rng((config.seed, 1)).permutation(n)
    count = min(max(round(config.validation_fraction * n), 1), n - 1)
    return np.sort(order[count:]), np.sort(order[:count])


def _mean_loss(steps, weights, images, rows, batch_size):
    losses, counts = [], []
    for start in range(0, len(rows), batch_size):
        index = rows[start : start + batch_size]
        weight = (np.arange(batch_size) < len(index)).astype(np.float32)
        losses.append(steps.loss(weights, images[np.resize(index, batch_size)], weight))
        counts.append(len(index))
    return float(np.average(jax.device_get(losses), weights=counts))


def _diverged(step, run):
    kept = ""
    if run is not None:
        run.wait()
        kept = run.last_good()
    return TrainingDiverged(
        f"the loss is not finite at step {step}{kept}; try a lower learning_rate, or clip_norm=1"
    )


@contextmanager
def _interruptible() -> Iterator[threading.Event]:
    """Turn the first Ctrl-C into an event; the second one raises ``KeyboardInterrupt``, as ever."""
    event = threading.Event()
    # Python runs handlers in the main thread only; one that somebody else has set stays.
    ours = (
        threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    )

    def first(*_):
        event.set()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    if ours:
        signal.signal(signal.SIGINT, first)
    try:
        yield event
    finally:
        if ours:
            signal.signal(signal.SIGINT, signal.default_int_handler)
