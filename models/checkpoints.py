"""Checkpoints of a training, written by Orbax in the background."""

from pathlib import Path
from typing import Any

import jax


class Checkpoints:
    """The newest checkpoint of a training, and the one of the lowest validation loss.

    Checkpoints are written in the background and take their names, the numbers of their epochs, when they are
    complete.

    Parameters
    ----------
    path : path
        Folder of the checkpoints.
    create : bool
        Whether to make the folder, and to remove what writers that were killed have left in it.
    """

    def __init__(self, path: Path, *, create: bool):
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
        self._manager = ocp.CheckpointManager(path.absolute(), options=options)

    @property
    def newest(self) -> int | None:
        """Epoch of the newest checkpoint; None if there is none."""
        return self._manager.latest_step()

    @property
    def best(self) -> int | None:
        """Epoch of the checkpoint of the lowest validation loss; None if there is none."""
        return self._manager.best_step()

    def reload(self) -> None:
        """Look again which checkpoints there are."""
        self._manager.reload()

    def restore(self, epoch: int, like: Any) -> Any:
        """Read a checkpoint: a tree of the structure, shapes and dtypes of `like`."""
        import orbax.checkpoint as ocp

        named = _named(like)
        abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, named)
        arguments = ocp.args.StandardRestore(abstract)  # pyright: ignore[reportCallIssue]
        leaves = self._manager.restore(epoch, args=arguments)
        # By name: dictionaries come back sorted.
        return jax.tree.unflatten(jax.tree.structure(like), [leaves[name] for name in named])

    def save(self, epoch: int, tree: Any, validation_loss: float) -> None:
        """Begin to write a checkpoint of NumPy arrays, which must not change any more.

        Raises
        ------
        OSError, ValueError, RuntimeError
            If this or the checkpoint before can't be written.
        """
        import orbax.checkpoint as ocp

        arguments = ocp.args.StandardSave(_named(tree))  # pyright: ignore[reportCallIssue]
        self._manager.save(epoch, args=arguments, metrics={"validation_loss": validation_loss})

    def wait(self) -> None:
        """Wait until the last checkpoint is written; raises as `save` if it can't be."""
        self._manager.wait_until_finished()

    def close(self) -> None:
        """Wait, and end the threads that write; raises as `save`."""
        self._manager.close()


def _named(tree: Any) -> dict[str, Any]:
    """Leaves of a tree by the path to them, the form in which they are stored."""
    paths, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in paths}
