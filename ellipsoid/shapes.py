"""Shapes, be it a state, a mixture or a flow: what drawing needs to know of them, and loading any of them."""

import dataclasses
import os
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.core import Tracer

from ellipsoid import flow, mixture, state
from ellipsoid.archive import format_name
from ellipsoid.flow import Flow
from ellipsoid.forks import check_process
from ellipsoid.labels import Label
from ellipsoid.mixture import Mixture
from ellipsoid.state import PCAState

#: Any description of a set of latents that draws can be made from.
Shape = PCAState | Mixture | Flow

# By the name of the format in which they are saved.
_BY_FORMAT: dict[str, type[Shape]] = {
    state.FORMAT.name: PCAState,
    mixture.FORMAT.name: Mixture,
    flow.FORMAT.name: Flow,
}


def load(path: str | os.PathLike[str]) -> Shape:
    """Read the shape that a file holds, of whatever kind. Nothing is ever unpickled.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is damaged, holds no shape, or is of another format version.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from ellipsoid import fit_mixture, load
    >>> mixture = fit_mixture(np.random.default_rng(0).normal(size=(100, 4)), 1)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     mixture.save(f"{folder}/mixture.npz")
    ...     load(f"{folder}/mixture.npz") == mixture
    True
    """
    name = format_name(path, "shape")
    if name not in _BY_FORMAT:
        raise ValueError(
            f"path: {path} cannot be read as a shape: expected one of {', '.join(_BY_FORMAT)}; got {name}"
        )
    return _BY_FORMAT[name].load(path)


def check_shape(shape: Any, label: Label | None = None) -> Shape:
    """Shape as draws need it: of the parts that have a label, without what no draw depends on.

    Raises
    ------
    TypeError
        If it is no shape, or for a label of the wrong kind.
    ValueError
        For a label that the shape does not have.
    RuntimeError
        In a process that was forked after JAX had been used.
    """
    check_process()
    if not isinstance(shape, Shape):
        raise TypeError(
            "shape: expected a PCAState, as made by ellipsoid.fit(latents), a Mixture or a Flow; "
            f"got {type(shape).__name__}"
        )
    # No draw depends on the number of latents, which may be beyond the 32-bit integers that jit takes, nor on
    # the labels, each of which would be compiled anew.
    if isinstance(shape, PCAState):
        if label is not None:
            raise ValueError(
                f"label: expected None for one state, which has no labels; got {label!r}; "
                f"fit a mixture with ellipsoid.fit_by_label, or a flow with labels"
            )
        return dataclasses.replace(shape, n_samples=0)
    if label is not None:
        shape = shape.select(label)
    if isinstance(shape, Flow):
        return dataclasses.replace(shape, base=dataclasses.replace(shape.base, n_samples=0), names=())
    return dataclasses.replace(shape, shared=dataclasses.replace(shape.shared, n_samples=0), names=(), has=())


def semi_axes(shape: Shape, radius: float | jax.Array) -> jax.Array:
    """Semi-axes of the region in latent units, ``(K,)``, or ``(M, K)`` of a mixture.

    Raises
    ------
    ValueError
        If they leave the range of float32; where they are traced, that is not noticed.
    """
    # Without the barrier XLA merges the radius with other factors under a surrounding jit: other bits.
    axes = lax.optimization_barrier(jnp.asarray(shape.scale, np.float32) * jnp.float32(radius))
    if not isinstance(axes, Tracer) and not np.isfinite(np.asarray(axes)).all():
        raise ValueError(
            f"level: expected semi-axes, fact * level * scale, that float32 holds; got infinity at "
            f"fact * level = {float(radius):g}"
        )
    return axes


def axes_of_rows(semi_axes: jax.Array, part: jax.Array | None, shape: tuple[int, ...]) -> jax.Array:
    """Semi-axes of each row: those of its part, or one for all."""
    return jnp.broadcast_to(semi_axes, shape) if part is None else semi_axes[part]


def normalised(scores: jax.Array, semi_axes: jax.Array, part: jax.Array | None = None) -> jax.Array:
    """Scores divided by the semi-axes, float32."""
    return scores.astype(np.float32) / axes_of_rows(semi_axes, part, scores.shape)
