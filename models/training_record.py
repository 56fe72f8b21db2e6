"""Record of a training under way in its run folder: configuration, history and checkpoints."""

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

# No room, too many bytes for this user, or for a file.
_FULL = [os.strerror(number) for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)]


class TrainingRecord:
    """Record of a training under way, in a run folder, which it holds until it is closed.

    Parameters
    ----------
    folder : RunFolder
    autoencoder : AutoencoderConfig
    training : TrainConfig
        The configurations are written to a new folder, and compared with those in an old one.
    resume : bool
        Whether the folder may hold anything.
    validation : {"split", "given"}
        Whether the images that judge the epochs are split off the training images, or others.
    data : dict, optional
        Further entries of the configuration: ``data`` and ``validation_data``, identities of the images that
        are compared with those of an old folder, and ``images``, where they come from.

    Raises
    ------
    FileExistsError
        If the folder holds anything and `resume` is off, or another process is at work in it.
    ValueError
        If it holds a run of other settings or other images, or one whose configuration is damaged. More
        epochs or steps than before are allowed.
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
        """Write the history, then begin to write the checkpoint that makes its last epoch count.

        Parameters
        ----------
        state : TrainState
            NumPy arrays that do not change any more.
        history : list of dict
            One record an epoch.

        Raises
        ------
        OSError
            If this or the checkpoint before can't be written.
        """
        with self._explained():
            self.folder.write_metrics(history)
            self._checkpoints.save(len(history), state, history[-1]["validation_loss"])

    def wait(self) -> None:
        """Wait until the last checkpoint is written.

        Raises
        ------
        OSError
            If it can't be written.
        """
        with self._explained():
            self._checkpoints.wait()

    def close(self) -> None:
        """Wait, end the threads that write, and let the folder go.

        Raises
        ------
        OSError
            If the last checkpoint can't be written.
        """
        with self._held, self._explained():
            self._checkpoints.close()

    def last_good(self) -> str:
        """Name the last complete checkpoint, if there is one, as the end of a message."""
        self._checkpoints.reload()
        epoch, path = self._checkpoints.newest, self.folder.checkpoints
        return "" if epoch is None else f"; the last good checkpoint, of epoch {epoch}, is in {path}"

    @contextmanager
    def _explained(self) -> Iterator[None]:
        # For a full disk Orbax raises ValueError, with all that it was doing before what has failed.
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
    """Join a description with the one in the folder; raises ``ValueError`` if it is of something else."""
    present = folder.read_config()
    if "imported" in present:
        raise ValueError(f"{folder.path} holds an imported autoencoder: choose another run folder")
    changed = [
        f"{part}.{name}"
        for part in ("autoencoder", "training")
        for name, value in description[part].items()
        if present[part].get(name) != value
    ]
    if _is_longer(description["training"], present["training"]):
        changed = [name for name in changed if name not in ("training.epochs", "training.steps")]
    # Runs of before this was recorded may be resumed with either.
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
    """Whether only the number of epochs, or of steps where these count, is higher than before."""
    steps, before = training["steps"], present.get("steps")
    if (steps is None) != (before is None):
        return False
    return training["epochs"] > present.get("epochs", training["epochs"]) if steps is None else steps > before
