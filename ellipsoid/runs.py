"""The folder of a run: configuration, metrics, checkpoints, and the latents and state fitted to them."""

import dataclasses
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import jax
import numpy as np

from ellipsoid.files import published, replace_file
from ellipsoid.fitting import Moments, fit_moments
from ellipsoid.state import PCAState

if TYPE_CHECKING:
    from ellipsoid.models.autoencoder import Autoencoder, AutoencoderConfig
    from ellipsoid.models.steps import TrainConfig, TrainState

_FORMAT = "ellipsoid.run"
_VERSION = 2
# Options that had other names when the first runs were written.
_FORMER_NAMES = {"mirror": "horizontal_flip", "shift": "max_shift"}
_FITTED = ("latents.npy", "latents_test.npy", "state.npz")
# Latents are summed up so many at a time, as `fit` does it: the state has the same bits.
_ROWS = 4096


def check_run_folder(folder: str | os.PathLike[str], resume: bool = False) -> None:
    """Raise ``FileExistsError`` if a run can't be made in this folder, before any work is done for it."""
    folder = Path(folder)
    if folder.is_file():
        raise FileExistsError(f"{folder}: a file of this name exists; choose another run folder")
    if not resume and folder.exists() and any(folder.iterdir()):
        raise FileExistsError(
            f"{folder} is not empty: choose another run folder, remove it, or resume the training in it"
        )


def read_metrics(folder: str | os.PathLike[str]) -> list[dict[str, float]]:
    """Read the history of a run from its ``metrics.jsonl``, one record an epoch."""
    path = Path(folder) / "metrics.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


class RunFolder:
    """Configuration, metrics and checkpoints of a training under way.

    Checkpoints are written in the background and take their names when they are complete. The newest one is
    kept, and the one of the lowest validation loss.

    Parameters
    ----------
    folder : path
    autoencoder, training
        The configurations: written to a new folder, compared with those in an old one.
    resume : bool
        Whether the folder may hold anything.
    validation : {"split", "given"}
        Whether the images that judge the epochs are split off the training images, or others.

    Raises
    ------
    FileExistsError
        If the folder holds anything and `resume` is off.
    ValueError
        If it holds a run of other settings.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        autoencoder: "AutoencoderConfig",
        training: "TrainConfig",
        resume: bool,
        validation: Literal["split", "given"],
    ):
        self.folder = Path(folder).absolute()
        check_run_folder(self.folder, resume)
        description = {
            "format": _FORMAT,
            "version": _VERSION,
            "autoencoder": autoencoder.to_json(),
            "training": dataclasses.asdict(training),
            "validation": validation,
        }
        if (self.folder / "config.json").exists():
            present = _read_config(self.folder)
            changed = [
                f"{part}.{name}"
                for part in ("autoencoder", "training")
                for name, value in description[part].items()
                if present[part].get(name) != value
            ]
            # Runs of before this was recorded may be resumed with either.
            if present.get("validation", validation) != validation:
                changed.append("validation")
            if changed:
                raise ValueError(
                    f"{self.folder} was made with other settings ({', '.join(changed)}); "
                    "resume with the same ones"
                )
            description = present | description
        _write_config(self.folder, description)
        self._manager = _manager(self.folder, create=True)

    def restore(self, like: "TrainState") -> tuple["TrainState", Any, list[dict[str, float]]] | None:
        """Give the newest state, the best weights and the history up to there; None without a checkpoint."""
        newest = self._manager.latest_step()
        if newest is None:
            return None
        history = read_metrics(self.folder)[:newest]
        self._write_metrics(history)
        best = _restore(self._manager, self._manager.best_step(), like).model_weights
        return _restore(self._manager, newest, like), best, history

    def save(self, state: "TrainState", history: list[dict[str, float]]) -> None:
        """Write the metrics, then begin to write the checkpoint that makes the epoch count.

        Parameters
        ----------
        state : TrainState
            Of NumPy arrays that do not change any more.
        history : list of dict

        Raises
        ------
        OSError
            If this or the checkpoint before can't be written.
        """
        import orbax.checkpoint as ocp

        with self._explained():
            self._write_metrics(history)
            self._manager.save(
                len(history),
                args=ocp.args.StandardSave(_named(state)),  # pyright: ignore[reportCallIssue]
                metrics={"validation_loss": history[-1]["validation_loss"]},
            )

    def wait(self) -> None:
        """Wait until the last checkpoint is written; raises ``OSError`` if it can't be."""
        with self._explained():
            self._manager.wait_until_finished()

    def close(self) -> None:
        """Wait, and end the threads that write."""
        with self._explained():
            self._manager.close()

    def remove_fitted(self) -> None:
        """Remove latents and state: of weights that training is about to change."""
        for name in _FITTED:
            (self.folder / name).unlink(missing_ok=True)

    def kept(self) -> str:
        """Name the last complete checkpoint, if there is one, as the end of a message."""
        self._manager.reload()
        epoch = self._manager.latest_step()
        place = self.folder / "checkpoints"
        return "" if epoch is None else f"; the last good checkpoint, of epoch {epoch}, is in {place}"

    def _write_metrics(self, history):
        content = "".join(json.dumps(record) + "\n" for record in history)
        replace_file(self.folder / "metrics.jsonl", content.encode())

    @contextmanager
    def _explained(self) -> Iterator[None]:
        # For a full disk Orbax raises ValueError, with all that it was doing before what has failed.
        try:
            yield
        except (OSError, ValueError, RuntimeError) as error:
            reason = str(error).rpartition(": ")[2].partition(" [")[0]
            raise OSError(
                f"{self.folder}: can't write a checkpoint ({reason}){self.kept()}; make room and resume"
            ) from error


def record_images(folder: str | os.PathLike[str], source: str, **options: Any) -> None:
    """Note in a run's ``config.json`` which images it was trained on.

    Parameters
    ----------
    folder : path
    source : str
        A path, which is made absolute, or a name that is none.
    **options
        What else :func:`ellipsoid.models.load_images` needs to read the same images; paths or plain values.
    """
    folder = Path(folder)
    options = {
        name: str(value.absolute()) if isinstance(value, Path) else value for name, value in options.items()
    }
    source = str(Path(source).absolute()) if Path(source).exists() else source
    description = _read_config(folder) | {"images": {"source": source, **options}}
    _write_config(folder, description)


def recorded_images(folder: str | os.PathLike[str]) -> dict[str, Any] | None:
    """Source and options of the images that a run was trained on; None if it does not say.

    Raises
    ------
    FileNotFoundError, ValueError
        As :func:`load_run`.
    """
    return _read_config(Path(folder)).get("images")


def _write_config(folder: Path, description: dict[str, Any]) -> None:
    replace_file(folder / "config.json", json.dumps(description, indent=2).encode() + b"\n")


def _manager(folder: Path, create: bool) -> Any:
    import orbax.checkpoint as ocp
    from orbax.checkpoint.checkpoint_managers import AnyPreservationPolicy, BestN, LatestN

    def loss(metrics):
        return metrics["validation_loss"]

    # Without metrics: half removed when the process was killed.
    best = BestN(get_metric_fn=loss, reverse=True, n=1, keep_checkpoints_without_metrics=False)
    options = ocp.CheckpointManagerOptions(
        best_fn=loss,
        best_mode="min",
        preservation_policy=AnyPreservationPolicy([LatestN(1), best]),
        create=create,
        cleanup_tmp_directories=create,
    )
    return ocp.CheckpointManager(folder / "checkpoints", options=options)


def _named(tree: Any) -> dict[str, Any]:
    """Leaves of a tree by the path to them, the form in which they are stored."""
    paths, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in paths}


def _restore(manager: Any, epoch: int, like: Any) -> Any:
    import orbax.checkpoint as ocp

    named = _named(like)
    abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, named)
    leaves = manager.restore(epoch, args=ocp.args.StandardRestore(abstract))  # pyright: ignore[reportCallIssue]
    # By name: dictionaries come back sorted.
    return jax.tree.unflatten(jax.tree.structure(like), [leaves[name] for name in named])


def _read_config(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    if not path.exists():
        raise FileNotFoundError(f"{folder}: not a run folder (no config.json), as made by `ellipsoid train`")
    try:
        description = json.loads(path.read_text())
        if description["format"] != _FORMAT or description["version"] != _VERSION:
            raise ValueError(f"format {description['format']} {description['version']}")
        training = description["training"]
        description["training"] = {_FORMER_NAMES.get(name, name): training[name] for name in training}
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: not the configuration of a run ({error})") from None
    return description


@dataclass(frozen=True)
class Run:
    """What a run folder holds."""

    autoencoder: "Autoencoder"
    """With the weights of the checkpoint; its shape is `autoencoder.config`."""
    training: "TrainConfig"
    """How it was trained."""
    epoch: int
    """Of the checkpoint, from 1."""
    optimizer_state: Any
    """Optax state after that epoch."""
    state: PCAState | None
    """Fitted to the latents of the training images; None before that."""
    metrics: list[dict[str, float]]
    """One record an epoch, as from `train`."""
    validation: Literal["split", "given"]
    """Whether the images that judged the epochs were split off the training images, or others."""


def load_run(folder: str | os.PathLike[str], checkpoint: Literal["best", "newest"] = "best") -> Run:
    """Load a run.

    Parameters
    ----------
    folder : path
        As made by `train`.
    checkpoint : {"best", "newest"}
        The one of the lowest validation loss, to which latents and state belong; or that of the last epoch.

    Returns
    -------
    Run

    Raises
    ------
    FileNotFoundError
        If the folder is no run folder or has no checkpoint yet.
    ValueError
        If its configuration is damaged.
    """
    from flax import nnx

    from ellipsoid.models.autoencoder import Autoencoder, AutoencoderConfig
    from ellipsoid.models.steps import TrainConfig, TrainState

    if checkpoint not in ("best", "newest"):
        raise ValueError(f"checkpoint: expected best or newest; got {checkpoint!r}")
    folder = Path(folder).absolute()
    description = _read_config(folder)
    autoencoder = Autoencoder(AutoencoderConfig.from_json(description["autoencoder"]), rngs=nnx.Rngs(0))
    try:
        training = TrainConfig(**description["training"])
    except TypeError as error:
        raise ValueError(f"training configuration: {error}") from None
    like = TrainState.new(training, nnx.state(autoencoder))
    manager = _manager(folder, create=False)
    try:
        epoch = manager.best_step() if checkpoint == "best" else manager.latest_step()
        if epoch is None:
            raise FileNotFoundError(f"{folder}: no checkpoint yet; train with `ellipsoid train --resume`")
        restored = _restore(manager, epoch, like)
    finally:
        manager.close()
    nnx.update(autoencoder, restored.model_weights)
    state = PCAState.load(folder / "state.npz") if (folder / "state.npz").exists() else None
    return Run(
        autoencoder,
        training,
        epoch,
        restored.optimizer,
        state,
        read_metrics(folder),
        description.get("validation", "split"),
    )


def load_autoencoder(folder: str | os.PathLike[str]) -> "Autoencoder":
    """Load the autoencoder of a run, with the weights of the lowest validation loss; as `load_run`."""
    return load_run(folder).autoencoder


def fit_run(
    autoencoder: "Autoencoder",
    images: np.ndarray,
    out: str | os.PathLike[str],
    *,
    test: np.ndarray | None = None,
    progress: bool = True,
) -> tuple[np.ndarray, PCAState]:
    """Encode the images of a run and fit a PCA state to them.

    Parameters
    ----------
    autoencoder : Autoencoder
        As `train` leaves it or `load_autoencoder` gives it.
    images : (n, H, W, C) uint8 array
        May be memory-mapped, as the latents are that are given back: neither need to fit into memory.
    out : path
        Run folder; ``latents.npy`` and ``state.npz`` in it are replaced.
    test : (m, H, W, C) uint8 array, optional
        Images that were not trained on; their latents go to ``latents_test.npy``.
    progress : bool
        Show a progress bar.

    Returns
    -------
    latents : (n, D) float32 array
        Memory-mapped.
    state : PCAState
    """
    out = Path(out)
    _write_latents(autoencoder, images, out / "latents.npy", progress)
    if test is not None:
        _write_latents(autoencoder, test, out / "latents_test.npy", progress)
    latents = np.load(out / "latents.npy", mmap_mode="r")
    moments = Moments.empty(latents.shape[1])
    for start in range(0, len(latents), _ROWS):
        moments = moments.update(latents[start : start + _ROWS])
    state = fit_moments(moments)
    state.save(out / "state.npz")
    return latents, state


def _write_latents(autoencoder, images, path, progress):
    from ellipsoid.models.autoencoder import encoded_batches

    header = {
        "descr": np.lib.format.dtype_to_descr(np.dtype(np.float32)),
        "fortran_order": False,
        "shape": (len(images), autoencoder.config.latent_dim),
    }
    # Not through a memory map: on a full disk a write to one kills the process.
    with published(path) as temporary, open(temporary, "xb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for _, latents in encoded_batches(autoencoder, images, progress=progress):
            file.write(latents.data)
