"""Processes that were forked after JAX was used: it waits for ever there, for threads that are gone."""

import os
import sys

_is_stuck = False


def _look() -> None:
    """Note in a new process whether JAX was at work in the one that it was forked from."""
    global _is_stuck
    # Not by a function: the locks of threads that are gone may be held.
    bridge = sys.modules.get("jax._src.xla_bridge")
    _is_stuck = _is_stuck or bool(getattr(bridge, "_backends", None))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_look)


def check_process() -> None:
    """Check that JAX can compute in this process.

    Raises
    ------
    RuntimeError
        If it was forked from one that has used JAX.
    """
    if _is_stuck:
        raise RuntimeError(
            "expected a process in which JAX can compute; got one that was forked after JAX had been used "
            "and would wait for ever: start processes by multiprocessing.get_context('spawn')"
        )
