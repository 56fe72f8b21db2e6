"""The common view of states, mixtures and flows that drawing needs, and the loading of any of them."""

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

#: Any description of a set of latents from which draws can be made.
Shape = PCAState | Mixture | Flow

# Classes by the name of their saved format.
_BY_FORMAT: dict[str, type[Shape]] = {
    state.FORMAT.name: PCAState,
    mixture.FORMAT.name: Mixture,
    flow.FORMAT.name: Flow,
}


def load(path: str | os.PathLike[str]) -> Shape:
    """Read a shape of any kind from a file. Pickled data is never loaded.

    Raises
    ------
    FileNotFoundError
        If the file does not exist.
    ValueError
        If the file is damaged, holds no shape, or has another format version.

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
    """Return a shape as draws need it: only the parts with a label, and only the data that draws depend on.

    Raises
    ------
    TypeError
        If `shape` is not a shape, or `label` has the wrong type.
    ValueError
        If the shape does not have the label.
    RuntimeError
        If the process was forked after JAX had been used.
    """
    check_process()
    if not isinstance(shape, Shape):
        raise TypeError(
            "shape: expected a PCAState, such as ellipsoid.fit(latents), a Mixture or a Flow; "
            f"got {type(shape).__name__}"
        )
    # Draws depend neither on the number of latents, which may exceed the 32-bit integers that jit takes, nor
    # on the labels, each of which would compile a new program.
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
    """Compute the semi-axes of the region in latent units, ``(K,)``, or ``(M, K)`` for a mixture.

    Raises
    ------
    ValueError
        If they exceed the range of float32; traced ones are not checked.
    """
    # Without the barrier, XLA under a surrounding jit merges the radius with other factors and changes bits.
    axes = lax.optimization_barrier(jnp.asarray(shape.scale, np.float32) * jnp.float32(radius))
    if not isinstance(axes, Tracer) and not np.isfinite(np.asarray(axes)).all():
        raise ValueError(
            f"level: expected semi-axes, fact * level * scale, in the range of float32; got infinity at "
            f"fact * level = {float(radius):g}"
        )
    return axes


def axes_of_rows(semi_axes: jax.Array, part: jax.Array | None, shape: tuple[int, ...]) -> jax.Array:
    """Return the semi-axes of each row: those of its part, or one set for all."""
    return jnp.broadcast_to(semi_axes, shape) if part is None else semi_axes[part]


def normalised(scores: jax.Array, semi_axes: jax.Array, part: jax.Array | None = None) -> jax.Array:
    """Divide scores by the semi-axes, in float32."""
    return scores.astype(np.float32) / axes_of_rows(semi_axes, part, scores.shape)
