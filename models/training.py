"""Training: one loop that reads top to bottom, and checkpoints to go on from."""

import dataclasses
import functools
import json
import math
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from ellipsoid.files import published, replace_file
from ellipsoid.fitting import fit
from ellipsoid.models.autoencoder import Autoencoder, AutoencoderConfig, as_floats, encode_images
from ellipsoid.progress import progress_bar
from ellipsoid.state import PCAState

_FORMAT = "ellipsoid.run"
_VERSION = 1


class TrainingDiverged(RuntimeError):
    """The loss became infinite or NaN."""


@dataclass(frozen=True)
class TrainConfig:
    """How to train: Adam with a linear warm-up and a cosine decay to zero, mean squared error."""

    epochs: int = 30
    """Passes over the training images."""
    steps: int | None = None
    """Number of batches instead of a number of epochs."""
    batch_size: int = 128
    """Images in a step."""
    learning_rate: float = 3e-3
    """At its highest, after the warm-up."""
    warmup: float = 0.05
    """Share of the steps in which the learning rate rises."""
    validation_fraction: float = 0.05
    """Share of the images that is kept back to judge the epochs by."""
    seed: int = 0
    """Of the initial weights, the split and the order of the images."""

    def check(self) -> None:
        """Raise ``ValueError`` for settings that can't be trained with."""
        for name in ("epochs", "batch_size", *(("steps",) if self.steps is not None else ())):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f"{name}: expected an integer of at least 1, got {value!r}")
        if not (math.isfinite(self.learning_rate) and self.learning_rate > 0):
            raise ValueError(f"learning_rate: expected a finite number above 0, got {self.learning_rate}")
        for name in ("warmup", "validation_fraction"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name}: expected a share from 0 to below 1, got {getattr(self, name)}")
        if not isinstance(self.seed, int) or self.seed < 0:
            raise ValueError(f"seed: expected an integer of at least 0, got {self.seed!r}")


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
    """Train an autoencoder in place.

    Batches are random permutations of the images, one for each epoch, that depend on the seed and the
    epoch alone: a resumed run sees the same batches and ends with the same weights, bit for bit on the
    same machine.

    Parameters
    ----------
    autoencoder : Autoencoder
        Its weights are replaced by the trained ones, also when the training is interrupted.
    images : (n, H, W, C) uint8 array
        In host memory; converted to floats on the device.
    config : TrainConfig, optional
    out : path, optional
        Run folder: ``config.json``, ``metrics.jsonl`` with one line an epoch, and ``checkpoints/`` with
        the state after each of the last two epochs. Nothing is written when absent.
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
    TrainingDiverged
        If the loss is no longer finite.
    """
    config = config or TrainConfig()
    config.check()
    images, validation = _checked_images(autoencoder, images, validation, config)
    per_epoch = -(-len(images) // config.batch_size)
    n_steps = config.steps or config.epochs * per_epoch
    optimizer = _optimizer(config, n_steps)

    graph, weights = nnx.split(autoencoder)
    # The step gives its arguments' memory back to JAX, and these weights belong to the caller.
    weights = jax.tree.map(jnp.copy, weights)
    optimizer_state = optimizer.init(weights)
    history: list[dict[str, float]] = []
    run = _Run.open(out, autoencoder.config, config, resume) if out is not None else None
    if run is not None and (restored := run.restore((weights, optimizer_state))):
        (weights, optimizer_state), history = restored
    step = int(history[-1]["step"]) if history else 0

    train_step = functools.partial(_train_step, graph, optimizer)
    try:
        with progress_bar("train", n_steps * config.batch_size, enabled=progress, unit="images") as advance:
            advance(step * config.batch_size)
            while step < n_steps:
                epoch, started, losses = len(history), time.monotonic(), []
                for batch, weight in _batches(images, config, epoch, n_steps - step):
                    weights, optimizer_state, loss = train_step(weights, optimizer_state, batch, weight)
                    losses.append(loss)
                    step += 1
                    # One step late: reading this step's loss would make the device wait for the host.
                    late = float(losses[max(len(losses) - 2, 0)])
                    if not math.isfinite(late):
                        raise _diverged(step - 1, run)
                    advance(config.batch_size, f"loss {late:.5f}")
                seconds = time.monotonic() - started
                record = {
                    "epoch": epoch + 1,
                    "step": step,
                    "train_loss": float(np.mean([float(loss) for loss in losses])),
                    "validation_loss": _mean_loss(graph, weights, validation, config.batch_size),
                    "images_per_second": len(losses) * config.batch_size / seconds,
                    "seconds": seconds,
                }
                # The losses of an epoch are those before its last step; the validation is the one after it.
                if not math.isfinite(record["train_loss"] + record["validation_loss"]):
                    raise _diverged(step, run)
                history.append(record)
                if run is not None:
                    run.save((weights, optimizer_state), history)
    finally:
        nnx.update(autoencoder, weights)
        if run is not None:
            run.close()
    return history


def _checked_images(autoencoder, images, validation, config):
    side, channels = autoencoder.config.image_size, autoencoder.config.channels
    for name, array in (("images", images), ("validation", validation)):
        if array is not None and (array.dtype != np.uint8 or array.shape[1:] != (side, side, channels)):
            raise ValueError(
                f"{name}: expected uint8 of shape (n, {side}, {side}, {channels}), "
                f"got {array.dtype} of shape {array.shape}"
            )
    if len(images) < 2:
        raise ValueError(f"images: training needs at least two, got {len(images)}")
    if validation is None:
        order = np.random.default_rng((config.seed, 1)).permutation(len(images))
        count = min(max(round(config.validation_fraction * len(images)), 1), len(images) - 1)
        validation, images = images[np.sort(order[:count])], images[np.sort(order[count:])]
    return images, validation


def _optimizer(config, n_steps):
    warmup = round(config.warmup * n_steps)
    schedule = optax.schedules.warmup_cosine_decay_schedule(
        init_value=config.learning_rate / max(warmup, 1),
        peak_value=config.learning_rate,
        warmup_steps=warmup,
        decay_steps=max(n_steps, warmup + 1),
    )
    return optax.adam(schedule)


def _batches(images, config, epoch, n_left) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Batches of one epoch with the weight of each image; the last one is filled up at weight zero."""
    order = np.random.default_rng((config.seed, 2, epoch)).permutation(len(images))
    size = config.batch_size
    for start in range(0, min(len(order), n_left * size), size):
        index = order[start : start + size]
        weight = np.zeros(size, np.float32)
        weight[: len(index)] = 1
        yield images[np.resize(index, size)], weight


def _loss(graph, weights, images, weight):
    x = as_floats(images)
    errors = jnp.mean(jnp.square(nnx.merge(graph, weights)(x) - x), axis=(1, 2, 3))
    return jnp.sum(errors * weight) / jnp.sum(weight)


@functools.partial(jax.jit, static_argnums=(0, 1), donate_argnums=(2, 3))
def _train_step(graph, optimizer, weights, optimizer_state, images, weight):
    loss, gradient = jax.value_and_grad(lambda weights: _loss(graph, weights, images, weight))(weights)
    updates, optimizer_state = optimizer.update(gradient, optimizer_state, weights)
    return optax.apply_updates(weights, updates), optimizer_state, loss


_evaluate = jax.jit(_loss, static_argnums=0)


def _mean_loss(graph, weights, images, batch_size):
    losses, counts = [], []
    for start in range(0, len(images), batch_size):
        batch = images[start : start + batch_size]
        weight = np.zeros(batch_size, np.float32)
        weight[: len(batch)] = 1
        losses.append(_evaluate(graph, weights, np.resize(batch, (batch_size, *batch.shape[1:])), weight))
        counts.append(len(batch))
    return float(np.average(np.array(losses), weights=counts))


def _diverged(step, run):
    kept = ""
    if run is not None and (epoch := run.manager.latest_step()) is not None:
        kept = f"; the last good checkpoint, of epoch {epoch}, is in {run.checkpoints}"
    return TrainingDiverged(f"the loss is not finite at step {step}{kept}; try a lower learning_rate")


# --- the run folder --------------------------------------------------------------------------------


def check_run_folder(folder: str | os.PathLike[str], resume: bool = False) -> None:
    """Raise ``FileExistsError`` if a run can't be made in this folder, before any work is done for it."""
    folder = Path(folder)
    if folder.is_file():
        raise FileExistsError(f"{folder}: a file of this name exists; choose another run folder")
    if not resume and folder.exists() and any(folder.iterdir()):
        raise FileExistsError(
            f"{folder} is not empty: choose another run folder, remove it, or resume the training in it"
        )


def _named(tree) -> dict[str, Any]:
    """Leaves of a tree by the path to them, the form in which they are stored."""
    paths, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in paths}


@dataclass
class _Run:
    """Files of one training run."""

    folder: Path
    manager: Any

    @property
    def checkpoints(self) -> Path:
        return self.folder / "checkpoints"

    @classmethod
    def open(cls, folder, autoencoder_config, train_config, resume) -> "_Run":
        folder = Path(folder).absolute()
        check_run_folder(folder, resume)
        description = {
            "format": _FORMAT,
            "version": _VERSION,
            "autoencoder": autoencoder_config.to_json(),
            "training": dataclasses.asdict(train_config),
        }
        path = folder / "config.json"
        if path.exists():
            present = _read_config(folder)
            changed = [
                f"{part}.{name}"
                for part in ("autoencoder", "training")
                for name, value in description[part].items()
                if present[part].get(name) != value
            ]
            if changed:
                raise ValueError(
                    f"{folder} was made with other settings ({', '.join(changed)}); resume with the same ones"
                )
        else:
            replace_file(path, json.dumps(description, indent=2).encode() + b"\n")
        return cls(folder, _manager(folder))

    @property
    def metrics(self) -> Path:
        return self.folder / "metrics.jsonl"

    def restore(self, like):
        """Newest checkpoint and the history up to it, or None."""
        epoch = self.manager.latest_step()
        if epoch is None:
            return None
        leaves = _restore(self.manager, epoch, _named(like))
        history = read_metrics(self.folder)[:epoch]
        self._write_metrics(history)
        return jax.tree.unflatten(jax.tree.structure(like), leaves.values()), history

    def save(self, tree, history):
        """Write the metrics, then the checkpoint that makes the epoch count."""
        import orbax.checkpoint as ocp

        self._write_metrics(history)
        self.manager.save(len(history), args=ocp.args.StandardSave(_named(tree)))  # pyright: ignore[reportCallIssue]
        self.manager.wait_until_finished()

    def _write_metrics(self, history):
        replace_file(self.metrics, "".join(json.dumps(record) + "\n" for record in history).encode())

    def close(self):
        self.manager.close()


def _manager(folder):
    import orbax.checkpoint as ocp

    options = ocp.CheckpointManagerOptions(max_to_keep=2)
    return ocp.CheckpointManager(folder / "checkpoints", options=options)


def _restore(manager, epoch, like):
    import orbax.checkpoint as ocp

    abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, like)
    return manager.restore(epoch, args=ocp.args.StandardRestore(abstract))  # pyright: ignore[reportCallIssue]


def _read_config(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    if not path.exists():
        raise FileNotFoundError(f"{folder}: not a run folder (no config.json), as made by `ellipsoid train`")
    try:
        description = json.loads(path.read_text())
        if description["format"] != _FORMAT or description["version"] != _VERSION:
            raise ValueError(f"format {description['format']} {description['version']}")
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: not the configuration of a run ({error})") from None
    return description


def read_metrics(folder: str | os.PathLike[str]) -> list[dict[str, float]]:
    """Read the history of a run from its ``metrics.jsonl``, one record an epoch."""
    path = Path(folder) / "metrics.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def fit_run(
    autoencoder: Autoencoder, images: np.ndarray, out: str | os.PathLike[str], *, progress: bool = True
) -> tuple[np.ndarray, PCAState]:
    """Encode the images of a run and fit a PCA state to them.

    Parameters
    ----------
    autoencoder : Autoencoder
    images : (n, H, W, C) uint8 array
    out : path
        Run folder; ``latents.npy`` and ``state.npz`` in it are replaced.
    progress : bool
        Show a progress bar.

    Returns
    -------
    latents : (n, D) float32 array
    state : PCAState
    """
    latents = encode_images(autoencoder, images, progress=progress)
    with published(Path(out) / "latents.npy") as temporary, open(temporary, "xb") as file:
        np.save(file, latents)
    state = fit(latents)
    state.save(Path(out) / "state.npz")
    return latents, state


def load_autoencoder(folder: str | os.PathLike[str]) -> Autoencoder:
    """Load the newest checkpoint of a run.

    Raises
    ------
    FileNotFoundError
        If the folder is no run folder or has no checkpoint yet.
    ValueError
        If its configuration is damaged.
    """
    folder = Path(folder).absolute()
    description = _read_config(folder)
    config = AutoencoderConfig.from_json(description["autoencoder"])
    autoencoder = Autoencoder(config, rngs=nnx.Rngs(0))
    manager = _manager(folder)
    try:
        epoch = manager.latest_step()
        if epoch is None:
            raise FileNotFoundError(f"{folder}: no checkpoint yet; train with `ellipsoid train --resume`")
        weights = nnx.state(autoencoder)
        training = TrainConfig(**description["training"])
        tree = (weights, _optimizer(training, 1).init(weights))
        leaves = _restore(manager, epoch, _named(tree))
        nnx.update(autoencoder, jax.tree.unflatten(jax.tree.structure(tree), leaves.values())[0])
    finally:
        manager.close()
    return autoencoder
