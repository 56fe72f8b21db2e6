"""Record of a training run in progress, in its run folder: configuration, history and checkpoints."""

import dataclasses
import errno
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Literal

from ellipsoid.models.autoencoder import AutoencoderConfig
from ellipsoid.models.checkpoints import Checkpoints
from ellipsoid.models.steps import TrainConfig, TrainState
from ellipsoid.runs import RunFolder, check_image_identity, held_run_folder

# Errors for a full disk, an exceeded quota, or a file that is too large.
_FULL = [os.strerror(number) for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)]


class TrainingRecord:
    """Record of a training run in progress, in a run folder that it holds until it is closed.

    Parameters
    ----------
    folder : RunFolder
        Run folder.
    autoencoder : AutoencoderConfig
        Configuration of the autoencoder.
    training : TrainConfig
        Configuration of the training. A new folder stores both; an old one must hold the same.
    resume : bool
        Whether the folder may hold a run.
    validation : {"split", "given"}
        Whether the images that judge the epochs are split off from the training images, or given.
    data : dict, optional
        Further entries of the configuration: ``data`` and ``validation_data``, identities of the images,
        which an old folder must share, and ``images``, their origin.

    Raises
    ------
    FileExistsError
        If the folder is not empty and `resume` is off, or another process is at work in it.
    ValueError
        If it holds a run of other settings or other images, or a damaged configuration. More epochs or steps
        than before are allowed.
    OSError
        If the folder can't be written to.
    """

    def __init__(
        self,
        folder: RunFolder,
        autoencoder: AutoencoderConfig,
        training: TrainConfig,
        *,
        resume: bool,
        validation: Literal["split", "given"],
        data: dict[str, Any] | None = None,
    ):
        self.folder = folder
        description = {
            "autoencoder": autoencoder.to_json(),
            "training": dataclasses.asdict(training),
            "validation": validation,
            **(data or {}),
        }
        with ExitStack() as stack:
            stack.enter_context(held_run_folder(folder, resume))
            if folder.config.exists():
                description = _merged(folder, description)
            folder.write_config(description)
            self._checkpoints = Checkpoints(folder.checkpoints, create=True)
            self._held = stack.pop_all()

    def restore(self, like: TrainState) -> tuple[TrainState, Any, list[dict[str, float]]] | None:
        """Read the newest state, the best weights and the history up to there; None without a checkpoint."""
        newest, best = self._checkpoints.newest, self._checkpoints.best
        if newest is None or best is None:
            return None
        history = self.folder.read_metrics()[:newest]
        self.folder.write_metrics(history)
        best_weights = self._checkpoints.restore(best, like).model_weights
        return self._checkpoints.restore(newest, like), best_weights, history

    def save(self, state: TrainState, history: list[dict[str, float]]) -> None:
        """Write the history, then begin to write the checkpoint that completes its last epoch.

        Parameters
        ----------
        state : TrainState
            State as NumPy arrays that no longer change.
        history : list of dict
            Record of each epoch.

        Raises
        ------
        OSError
            If this checkpoint or the one before can't be written.
        """
        with self._explained():
            self.folder.write_metrics(history)
            self._checkpoints.save(len(history), state, history[-1]["validation_loss"])

    def wait(self) -> None:
        """Wait until the last checkpoint is written.

        Raises
        ------
        OSError
            If the checkpoint can't be written.
        """
        with self._explained():
            self._checkpoints.wait()

    def close(self) -> None:
        """Wait, end the writing threads, and release the folder.

        Raises
        ------
        OSError
            If the last checkpoint can't be written.
        """
        with self._held, self._explained():
            self._checkpoints.close()

    def last_good(self) -> str:
        """Name the last complete checkpoint, if there is one, for the end of a message."""
        self._checkpoints.reload()
        epoch, path = self._checkpoints.newest, self.folder.checkpoints
        return "" if epoch is None else f"; the last good checkpoint, of epoch {epoch}, is in {path}"

    @contextmanager
    def _explained(self) -> Iterator[None]:
        # For a full disk Orbax raises ValueError; its text lists everything before the actual failure.
        try:
            yield
        except (OSError, ValueError, RuntimeError) as error:
            reason = str(error).rpartition(": ")[2].partition(" [")[0]
            remedy = "make room" if any(text in str(error) for text in _FULL) else "mend that"
            raise OSError(
                f"{self.folder.path}: can't write a checkpoint ({reason}){self.last_good()}; "
                f"{remedy} and resume"
            ) from error


def _merged(folder: RunFolder, description: dict[str, Any]) -> dict[str, Any]:
    """Merge a description with the one in the folder; raise ``ValueError`` if they do not agree."""
    present = folder.read_config()
    if "imported" in present:
        raise ValueError(f"{folder.path} holds an imported autoencoder: choose another run folder")
    # A run of an earlier version lacks the options that are newer, and was trained without them.
    defaults = {"autoencoder": {}, "training": dataclasses.asdict(TrainConfig())}
    changed = [
        f"{part}.{name}"
        for part, of_part in defaults.items()
        for name, value in description[part].items()
        if (of_part | present[part]).get(name) != value
    ]
    if _is_longer(description["training"], present["training"]):
        changed = [name for name in changed if name not in ("training.epochs", "training.steps")]
    # Runs of earlier versions did not record this, and may be resumed with either.
    if present.get("validation", description["validation"]) != description["validation"]:
        changed.append("validation")
    if changed:
        raise ValueError(
            f"{folder.path} was made with other settings ({', '.join(changed)}); resume with the same ones; "
            "only more epochs or steps are possible"
        )
    if "data" in description:
        check_image_identity(folder, description["data"])
    if "validation_data" in description:
        check_image_identity(folder, description["validation_data"], "validation")
    return present | description


def _is_longer(training: dict[str, Any], present: dict[str, Any]) -> bool:
    """Whether nothing has changed but a higher number of epochs, or of steps where these count."""
    steps, before = training["steps"], present.get("steps")
    if (steps is None) != (before is None):
        return False
    return training["epochs"] > present.get("epochs", training["epochs"]) if steps is None else steps > before
