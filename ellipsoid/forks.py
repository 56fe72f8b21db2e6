"""Detection of processes forked after JAX was used, in which JAX would wait for threads that are gone."""

import os
import sys

_is_stuck = False


def _look() -> None:
    """Note in a new process whether JAX was in use in its parent."""
    global _is_stuck
    # This calls no function of JAX: threads that are gone may hold its locks.
    bridge = sys.modules.get("jax._src.xla_bridge")
    _is_stuck = _is_stuck or bool(getattr(bridge, "_backends", None))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_look)


def check_process() -> None:
    """Check that JAX can compute in this process.

    Raises
    ------
    RuntimeError
        If the process was forked from one that had used JAX.
    """
    if _is_stuck:
        raise RuntimeError(
            "expected a process in which JAX can compute; got one that was forked after JAX had been used, "
            "which would wait for ever; start processes by multiprocessing.get_context('spawn')"
        )
