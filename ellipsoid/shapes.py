"""What drawing needs to know of a shape, be it one state or a mixture."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ellipsoid.mixture import Label, Mixture
from ellipsoid.state import PCAState

#: What the latents were found to look like.
Shape = PCAState | Mixture


def check_shape(shape: Any, label: Label | None = None) -> Shape:
    """Shape as draws need it: of the parts that have a label, without what no draw depends on.

    Raises
    ------
    TypeError
        If it is neither a state nor a mixture, or for a label of the wrong kind.
    ValueError
        For a label that the shape does not have.
    """
    if not isinstance(shape, PCAState | Mixture):
        raise TypeError(
            f"shape: expected a PCAState, as made by ellipsoid.fit(latents), or a Mixture; "
            f"got {type(shape).__name__}"
        )
    # No draw depends on the number of latents, which may be beyond the 32-bit integers that jit takes, nor on
    # the labels, each of which would be compiled anew.
    if isinstance(shape, PCAState):
        if label is not None:
            raise ValueError(
                f"label: expected None for one state, which has no labels; got {label!r}; "
                f"fit a mixture with ellipsoid.fit_by_label"
            )
        return dataclasses.replace(shape, n_samples=0)
    if label is not None:
        shape = shape.select(label)
    return dataclasses.replace(shape, shared=dataclasses.replace(shape.shared, n_samples=0), names=(), has=())


def semi_axes(shape: Shape, radius: float | jax.Array) -> jax.Array:
    """Semi-axes of the region in latent units, ``(K,)``, or ``(M, K)`` of a mixture."""
    # Without the barrier XLA merges the radius with other factors under a surrounding jit: other bits.
    return lax.optimization_barrier(jnp.asarray(shape.scale, np.float32) * jnp.float32(radius))


def axes_of_rows(semi_axes: jax.Array, part: jax.Array | None, shape: tuple[int, ...]) -> jax.Array:
    """Semi-axes of each row: those of its part, or one for all."""
    return jnp.broadcast_to(semi_axes, shape) if part is None else semi_axes[part]


def normalised(scores: jax.Array, semi_axes: jax.Array, part: jax.Array | None = None) -> jax.Array:
    """Scores divided by the semi-axes, float32."""
    return scores.astype(np.float32) / axes_of_rows(semi_axes, part, scores.shape)
