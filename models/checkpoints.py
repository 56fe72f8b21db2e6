"""Checkpoints of a training run, written by Orbax in the background."""

import contextlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax


class Checkpoints:
    """The newest checkpoint of a training run, and the one with the lowest validation loss.

    Checkpoints are written in the background. They are named by the number of their epoch once they are
    complete.

    Parameters
    ----------
    path : path
        Folder of the checkpoints.
    create : bool
        Whether to make the folder, and to remove the files of killed writers from it.

    Raises
    ------
    OSError
        If the folder can't be made or read.
    ValueError
        If the loss recorded with a checkpoint is damaged.
    """

    def __init__(self, path: Path, *, create: bool):
        import orbax.checkpoint as ocp
        from orbax.checkpoint.checkpoint_managers import AnyPreservationPolicy, BestN, LatestN

        def loss(metrics):
            return metrics["validation_loss"]

        # A checkpoint without metrics was half removed when the process was killed.
        best = BestN(get_metric_fn=loss, reverse=True, n=1, keep_checkpoints_without_metrics=False)
        options = ocp.CheckpointManagerOptions(
            best_fn=loss,
            best_mode="min",
            preservation_policy=AnyPreservationPolicy([LatestN(1), best]),
            create=create,
            cleanup_tmp_directories=create,
        )
        self._path = path.absolute()
        try:
            self._manager = ocp.CheckpointManager(self._path, options=options)
        except ValueError as error:
            damaged = [folder for folder in sorted(self._path.iterdir()) if not _has_loss(folder)]
            if not damaged:
                raise
            raise self._damaged(int(damaged[0].name), error) from error

    @property
    def newest(self) -> int | None:
        """Epoch of the newest checkpoint; None if there is none."""
        return self._manager.latest_step()

    @property
    def best(self) -> int | None:
        """Epoch of the checkpoint with the lowest validation loss; None if there is none."""
        return self._manager.best_step()

    def reload(self) -> None:
        """Look again for checkpoints."""
        self._manager.reload()

    def restore(self, epoch: int, like: Any) -> Any:
        """Read a checkpoint as a tree with the structure, shapes and dtypes of `like`.

        Raises
        ------
        ValueError
            If it is damaged or has another structure; the message names another checkpoint if there is one.
        """
        import orbax.checkpoint as ocp

        named = _named(like)
        abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, named)
        arguments = ocp.args.StandardRestore(abstract)  # pyright: ignore[reportCallIssue]
        try:
            with _silenced_event_loops():
                leaves = self._manager.restore(epoch, args=arguments)
            # Leaves are found by name, since dictionaries come back sorted.
            return jax.tree.unflatten(jax.tree.structure(like), [leaves[name] for name in named])
        except Exception as error:  # Orbax and TensorStore raise a dozen kinds, bare Exception among them
            raise self._damaged(epoch, error) from error

    def _damaged(self, epoch: int, error: Exception) -> ValueError:
        """Return an error of one line that says what is wrong with a checkpoint, and what to do."""
        others = [int(path.name) for path in self._path.iterdir() if path.name.isdecimal()]
        others = sorted(other for other in others if other != epoch and _has_loss(self._path / str(other)))
        remedy = "train again in another folder"
        if others:
            remedy = f"remove that folder to continue from the checkpoint of epoch {others[-1]}"
        reason = " ".join(str(error).split())[:120]
        return ValueError(
            f"{self._path / str(epoch)}: expected a checkpoint of this configuration; got a damaged one, or "
            f"one of another configuration ({type(error).__name__}: {reason}); {remedy}"
        )

    def save(self, epoch: int, tree: Any, validation_loss: float) -> None:
        """Begin to write a checkpoint of NumPy arrays, which must no longer change.

        Raises
        ------
        OSError, ValueError, RuntimeError
            If this checkpoint or the one before can't be written.
        """
        import orbax.checkpoint as ocp

        arguments = ocp.args.StandardSave(_named(tree))  # pyright: ignore[reportCallIssue]
        self._manager.save(epoch, args=arguments, metrics={"validation_loss": validation_loss})

    def wait(self) -> None:
        """Wait until the last checkpoint is written; see `save` for errors."""
        self._manager.wait_until_finished()

    def close(self) -> None:
        """Wait, and end the writing threads; see `save` for errors."""
        self._manager.close()


def _named(tree: Any) -> dict[str, Any]:
    """Return the leaves of a tree by their path, the form in which they are stored."""
    paths, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in paths}


def _has_loss(checkpoint: Path) -> bool:
    """Whether a folder is a checkpoint with a readable loss, or not a checkpoint at all."""
    record = checkpoint / "metrics" / "metrics"
    if not checkpoint.name.isdecimal() or not record.exists():
        return True
    try:
        return "validation_loss" in json.loads(record.read_bytes())
    except ValueError:
        return False


@contextlib.contextmanager
def _silenced_event_loops() -> Iterator[None]:
    """Silence threads that still read after a failed read.

    TensorStore's threads report to the event loop that Orbax has closed, and each prints a traceback, even
    some time after the failure. The hook, which passes everything else on, therefore stays after a failure.
    """
    before = sys.unraisablehook

    def hook(unraisable: Any) -> None:
        if str(unraisable.exc_value) != "Event loop is closed":
            before(unraisable)

    sys.unraisablehook = hook
    yield
    sys.unraisablehook = before
