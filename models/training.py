"""Training, as one loop that reads from top to bottom.

Compiled code is in `steps`, and files are written by `training_record`.
"""

import math
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from ellipsoid.blocks import padded_batches
from ellipsoid.checks import check_images
from ellipsoid.models.autoencoder import Autoencoder
from ellipsoid.models.batches import epoch_batches
from ellipsoid.models.steps import Steps, TrainConfig, TrainState
from ellipsoid.models.training_record import TrainingRecord
from ellipsoid.progress import progress_bar
from ellipsoid.runs import RunFolder, image_identity


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
    source: dict[str, Any] | None = None,
    progress: bool = True,
) -> list[dict[str, float]]:
    """Train an autoencoder in place, on all local devices.

    Batches are random permutations of the images, one for each epoch. Like everything random in a step, they
    depend on the seed and the epoch alone. A resumed run therefore ends with the same weights, bit for bit on
    the same machine. A batch is shared by the largest number of devices that divides it; another number of
    devices gives the same numbers, up to rounding.

    Ctrl-C ends the training after the current epoch, with its checkpoint; a second Ctrl-C ends it at once.

    Parameters
    ----------
    autoencoder : Autoencoder
        Autoencoder to train. Its weights become those after the epoch with the lowest validation loss, also
        if the training is interrupted.
    images : (n, H, W, C) uint8 array
        Training images in memory or memory-mapped; they become floats on the device.
    config : TrainConfig, optional
        Settings of the training.
    out : path, optional
        Run folder for ``config.json``, ``metrics.jsonl`` with one line per epoch, and ``checkpoints/`` with
        the state after the last epoch and after the best one. By default nothing is written.
    validation : (m, H, W, C) uint8 array, optional
        Images that judge the epochs; by default they are split off from `images`.
    resume : bool
        Whether to continue from the newest checkpoint in `out`, if there is one. The number of epochs or
        steps may be raised; the learning rate then follows the longer schedule from the same step on.
    source : dict, optional
        Origin of the images, from :func:`ellipsoid.runs.described_images`, to be recorded in `out`.
    progress : bool
        Whether to show a progress bar with the loss, images per second and the time left.

    Returns
    -------
    list of dict
        One record per epoch: epoch, step, train_loss and validation_loss (mean squared error of pixels in
        [0, 1]), images_per_second and seconds.

    Raises
    ------
    TypeError
        If `images` is not a uint8 NumPy array, or a setting has the wrong type.
    ValueError
        If the images do not have the autoencoder's shape or are fewer than two, a setting is out of range, or
        the run folder has other settings or images, a damaged checkpoint, or a name from which checkpoints
        can't be read back.
    FileExistsError
        If `out` is a file, is not empty while `resume` is off, or another process trains or fits in it.
    OSError
        If a checkpoint can't be written; the one before is kept.
    TrainingDiverged
        If the loss is not finite.
    KeyboardInterrupt
        If the user presses Ctrl-C, unless the training is complete.

    Examples
    --------
    >>> import numpy as np
    >>> from flax import nnx
    >>> from ellipsoid.models import Autoencoder, AutoencoderConfig, TrainConfig, train
    >>> images = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 3), np.uint8)
    >>> config = AutoencoderConfig(image_size=8, filters=(4,), latent_dim=2)
    >>> autoencoder = Autoencoder(config, rngs=nnx.Rngs(0))
    >>> history = train(autoencoder, images, TrainConfig(epochs=2, batch_size=32), progress=False)
    >>> [record["step"] for record in history]
    [2, 4]
    """
    config = config or TrainConfig()
    config.check()
    rows, judged = _divided(images, validation, autoencoder.config.image_shape, config)
    kind = "split" if validation is None else "given"
    n_steps = config.steps or config.epochs * -(-len(rows) // config.batch_size)

    graph, weights = nnx.split(autoencoder)
    steps = Steps(graph, config, n_steps)
    state, best = TrainState.new(config, weights), None
    history: list[dict[str, float]] = []
    run = None
    if out is not None:
        folder = RunFolder(Path(out).absolute())
        data = {"data": image_identity(images)}
        if validation is not None:
            data["validation_data"] = image_identity(validation)
        if source is not None:
            data["images"] = source
        run = TrainingRecord(folder, autoencoder.config, config, resume=resume, validation=kind, data=data)
    try:
        if run is not None and (restored := run.restore(state)):
            state, best, history = restored
        step = int(history[-1]["step"]) if history else 0
        if run is not None and step < n_steps:
            run.folder.remove_fitted()
        state = steps.place(state)
        with _interruptible() as interrupted, _shown(n_steps, step, config, interrupted, progress) as show:
            while step < n_steps:
                epoch, started = len(history), time.monotonic()
                batches = epoch_batches(
                    images, config.batch_size, config.seed, epoch, rows=rows, n_batches=n_steps - step
                )
                state, losses = _epoch(steps, state, step, batches, run, show)
                seconds, step = time.monotonic() - started, step + len(losses)
                record = {
                    "epoch": epoch + 1,
                    "step": step,
                    "train_loss": float(np.mean(losses)),
                    "validation_loss": _mean_loss(steps, state.model_weights, judged, config.batch_size),
                    "images_per_second": len(losses) * config.batch_size / seconds,
                    "seconds": seconds,
                }
                # The losses of an epoch precede its last step; the validation follows it.
                _check_finite(record["train_loss"] + record["validation_loss"], step, run)
                history.append(record)
                # The weights are copied, since the next step writes into their memory.
                saved = jax.tree.map(np.array, state)
                if record["validation_loss"] == min(past["validation_loss"] for past in history):
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


def _divided(
    images: np.ndarray, validation: np.ndarray | None, shape: tuple[int, int, int], config: TrainConfig
) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """Return the training rows of the images, and the images that judge the epochs, with their rows."""
    check_images("images", images, shape, least=2)
    if validation is None:
        rows, validation_rows = split(len(images), config)
        return rows, (images, validation_rows)
    check_images("validation", validation, shape, least=1)
    return np.arange(len(images)), (validation, np.arange(len(validation)))


@contextmanager
def _shown(
    n_steps: int, done: int, config: TrainConfig, interrupted: threading.Event, progress: bool
) -> Iterator[Callable[[float], None]]:
    """Show the finished steps, counted in images, and the loss that is passed after each."""
    total = n_steps * config.batch_size
    with progress_bar("train", total, enabled=progress, unit="images") as advance:
        advance(done * config.batch_size)

        def show(loss):
            stopping = ", stops after this epoch" if interrupted.is_set() else ""
            advance(config.batch_size, f"loss {loss:.5f}{stopping}")

        yield show


def _epoch(
    steps: Steps,
    state: TrainState,
    first: int,
    batches: Iterable[tuple[np.ndarray, np.ndarray]],
    run: TrainingRecord | None,
    show: Callable[[float], None],
) -> tuple[TrainState, list[np.ndarray]]:
    """Take the steps of one epoch, from number `first` on; return the new state and the losses."""
    losses = []
    for number, (batch, weight) in enumerate(batches, first):
        state, loss = steps.step(state, number, batch, weight)
        losses.append(loss)
        # The loss is shown one step late: reading this step's loss would make the device wait for the host.
        late = float(losses[max(len(losses) - 2, 0)])
        _check_finite(late, number, run)
        show(late)
    return state, jax.device_get(losses)  # this waits for the last step


def _mean_loss(
    steps: Steps, weights: nnx.State, judged: tuple[np.ndarray, np.ndarray], batch_size: int
) -> float:
    """Return the mean squared error of the images that judge the epochs, given with their rows."""
    (images, rows), losses, counts = judged, [], []
    for block, index in padded_batches(rows, batch_size):
        counts.append(block.stop - block.start)
        weight = (np.arange(batch_size) < counts[-1]).astype(np.float32)
        losses.append(steps.loss(weights, images[index], weight))
    return float(np.average(jax.device_get(losses), weights=counts))


def _check_finite(loss: float, step: int, run: TrainingRecord | None) -> None:
    """Raise ``TrainingDiverged``, with advice, unless the loss is finite."""
    if math.isfinite(loss):
        return
    kept = ""
    if run is not None:
        run.wait()
        kept = run.last_good()
    raise TrainingDiverged(
        f"the loss is not finite at step {step}{kept}; try a lower learning_rate, or clip_norm=1"
    )


def split(n: int, config: TrainConfig) -> tuple[np.ndarray, np.ndarray]:
    """Split `n` rows into training rows and rows that judge the epochs, both in increasing order.

    Both have at least one row, so `n` must be 2 or more.
    """
    order = np.random.default_rng((config.seed, 1)).permutation(n)
    count = min(max(round(config.validation_fraction * n), 1), n - 1)
    return np.sort(order[count:]), np.sort(order[:count])


@contextmanager
def _interruptible() -> Iterator[threading.Event]:
    """Turn the first Ctrl-C into an event; a second one raises ``KeyboardInterrupt`` as usual."""
    event = threading.Event()
    # Python runs handlers only in the main thread. A handler that someone else has set stays.
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
