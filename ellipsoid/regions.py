r"""Regions that contain the draws, in normalised coordinates ``u = scores / semi_axes``.

A region is convex and symmetric about zero. It is therefore the unit ball of a norm, its *gauge* (Minkowski
functional): the smallest factor by which the region must be scaled to contain a point. A point is inside if
its gauge is at most 1.

The region of the method is the intersection of the pairwise ellipses, :math:`u_i^2 + u_j^2 \le 1`
for all :math:`i < j`. Only the two largest squares matter. With :math:`s_1 \ge s_2` the two largest of
:math:`u^2`, the gauge is :math:`\sqrt{s_1 + s_2}`: an O(K) test of all K(K-1)/2 pairs. The region consists of
two disjoint pieces:

- the *cube*, :math:`\max|u| \le 1/\sqrt 2`, where every pair condition holds by itself, and
- the *spikes*, where exactly one coordinate :math:`m` has :math:`|u_m| = \sin t > 1/\sqrt 2`,
  :math:`t \in (\pi/4, \pi/2]`, and all others lie within :math:`\pm\cos t`.

These pieces are complete, since two coordinates cannot both exceed :math:`1/\sqrt 2`. The volume is
:math:`2^{K/2} + K 2^K \int_{\pi/4}^{\pi/2} \cos^K t\,dt` (K = 2: the unit circle, 2 + (pi - 2)).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.core import Tracer
from jax.typing import ArrayLike

from ellipsoid.integrals import pairwise_log_volume

PAIRWISE, ELLIPSOID, BOX = "pairwise", "ellipsoid", "box"


@jax.custom_jvp
def _root(x):
    """Square root with derivative 0 at 0 instead of infinity: a gauge has its minimum there."""
    return jnp.sqrt(x)


@_root.defjvp
def _root_jvp(primals, tangents):
    (x,), (dx,) = primals, tangents
    is_positive = x > 0
    # Without this inner `where`, an infinite derivative times 0 would be NaN.
    rate = jnp.where(is_positive, 0.5 / jnp.sqrt(jnp.where(is_positive, x, 1)), 0)
    return _root(x), dx * rate


def pairs_gauge(u: ArrayLike, pairs: jax.Array | np.ndarray | None = None) -> jax.Array:
    """Gauge by the full masked K x K form, which checks every pair.

    Parameters
    ----------
    u : (..., K) array
        Normalised coordinates.
    pairs : (K, K) boolean array, optional
        Pairs that count; the mask must be symmetric, and its diagonal is ignored. By default all count.

    Returns
    -------
    (...) array
        Gauge ``max(max_i |u_i|, max_{i<j} sqrt(u_i^2 + u_j^2))`` over the pairs that count.
    """
    u = jnp.asarray(u)
    k = u.shape[-1]
    counts = ~np.eye(k, dtype=bool) if pairs is None else pairs & ~np.eye(k, dtype=bool)
    squares = jnp.broadcast_to(jnp.square(u)[..., :, None], (*u.shape, k))
    sums = squares + jnp.where(jnp.broadcast_to(counts, squares.shape), jnp.swapaxes(squares, -1, -2), 0)
    return _root(jnp.max(sums, axis=(-2, -1)))


# On a CPU, a reduction along the minor axis takes one number at a time; over groups of 16 it takes 16.
_LANES = 16


def reduce_in_lanes(
    operands: Sequence[jax.Array], initial: Sequence[np.generic], merge: Callable[..., tuple[jax.Array, ...]]
) -> tuple[jax.Array, ...]:
    """Reduce the last axis of several arrays at once, as ``lax.reduce``; `initial` must be neutral."""
    axis = operands[0].ndim - 1

    def in_lanes(x, neutral):
        x = jnp.pad(x, [(0, 0)] * axis + [(0, -x.shape[-1] % _LANES)], constant_values=neutral)
        return x.reshape(*x.shape[:-1], x.shape[-1] // _LANES, _LANES)

    lanes = lax.reduce(tuple(map(in_lanes, operands, initial)), initial, merge, (axis,))
    return lax.reduce(lanes, initial, merge, (axis,))


@jax.custom_jvp
def _two_largest(x):
    """Return the two largest of non-negative ``(..., K)`` numbers in one pass (the second of one is 0)."""

    def merge(a, b):
        return jnp.maximum(a[0], b[0]), jnp.maximum(jnp.minimum(a[0], b[0]), jnp.maximum(a[1], b[1]))

    zero = x.dtype.type(0)
    return tuple(reduce_in_lanes((x, jnp.zeros_like(x)), (zero, zero), merge))


@_two_largest.defjvp
def _two_largest_jvp(primals, tangents):
    (x,), (dx,) = primals, tangents
    index = lax.top_k(jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, 1)]), 2)[1]
    rates = jnp.take_along_axis(jnp.pad(dx, [(0, 0)] * (x.ndim - 1) + [(0, 1)]), index, axis=-1)
    return _two_largest(x), (rates[..., 0], rates[..., 1])


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class PairwiseEllipses:
    """All points that lie inside the ellipse of every pair of components.

    Attributes
    ----------
    pairs : (K, K) boolean array, optional
        Pairs that count; the mask must be symmetric, and its diagonal is ignored. By default all count. A
        component without a pair is bounded by ``|u| <= 1``.
    """

    pairs: jax.Array | np.ndarray | None = None
    name = PAIRWISE

    def gauge(self, u: ArrayLike) -> jax.Array:
        """Gauge of ``(..., K)`` normalised coordinates, ``(...)``."""
        if self.pairs is not None:
            return pairs_gauge(u, self.pairs)
        largest, second = _two_largest(jnp.square(u))
        return _root(largest + second)

    def log_volume(self, k: int) -> float:
        """Logarithm of the volume in `k` normalised dimensions.

        Raises
        ------
        ValueError
            If the region has a mask: a subset of the pairs has no closed-form volume.
        """
        if self.pairs is not None:
            raise ValueError("pairs: expected all pairs; got a mask, which has no closed-form volume")
        return pairwise_log_volume(k)

    def check(self, k: int) -> None:
        """Check that the region fits `k` components.

        Raises
        ------
        TypeError
            If the mask does not hold booleans.
        ValueError
            If the mask does not have shape ``(k, k)``, or is not symmetric.
        """
        if self.pairs is None or isinstance(self.pairs, Tracer):
            return
        pairs = np.asarray(self.pairs)
        if pairs.dtype != bool:
            raise TypeError(f"pairs: expected a boolean mask; got dtype {pairs.dtype}")
        if pairs.shape != (k, k):
            raise ValueError(f"pairs: expected a mask of shape ({k}, {k}); got {pairs.shape}")
        if not np.array_equal(pairs, pairs.T):
            raise ValueError("pairs: expected a symmetric mask; got an asymmetric one; use pairs | pairs.T")


_Class = TypeVar("_Class", bound=type)


def _without_leaves(cls: _Class) -> _Class:
    """Register a class without fields as a pytree that differs from those of other such classes.

    JAX treats dataclasses without fields as equal, and would reuse the program of one region for another.
    """
    jax.tree_util.register_pytree_node(cls, lambda region: ((), cls.name), lambda name, leaves: cls())
    return cls


@_without_leaves
@dataclass(frozen=True)
class Ellipsoid:
    """All points within one Mahalanobis radius: the ``K``-dimensional confidence ellipsoid."""

    name = ELLIPSOID

    def gauge(self, u: ArrayLike) -> jax.Array:
        """Gauge of ``(..., K)`` normalised coordinates, ``(...)``: the Euclidean norm."""
        return _root(jnp.sum(jnp.square(u), axis=-1))

    def log_volume(self, k: int) -> float:
        """Logarithm of the volume in `k` normalised dimensions."""
        return k / 2 * math.log(math.pi) - math.lgamma(k / 2 + 1)

    def check(self, k: int) -> None:
        """Check nothing, since the region fits any number of components."""


@_without_leaves
@dataclass(frozen=True)
class Box:
    """All points with every component within its own bound, independently of the others."""

    name = BOX

    def gauge(self, u: ArrayLike) -> jax.Array:
        """Gauge of ``(..., K)`` normalised coordinates, ``(...)``: the largest absolute value."""
        return jnp.max(jnp.abs(u), axis=-1)

    def log_volume(self, k: int) -> float:
        """Logarithm of the volume in `k` normalised dimensions."""
        return k * math.log(2)

    def check(self, k: int) -> None:
        """Check nothing, since the region fits any number of components."""


Region = PairwiseEllipses | Ellipsoid | Box

_BY_NAME = {PAIRWISE: PairwiseEllipses(), ELLIPSOID: Ellipsoid(), BOX: Box()}


def as_region(region: str | Region) -> Region:
    """Return the region object of a name, or the object itself.

    Raises
    ------
    ValueError
        If the name is unknown.
    TypeError
        If `region` is neither a name nor a region object.
    """
    if isinstance(region, PairwiseEllipses | Ellipsoid | Box):
        return region
    if isinstance(region, str):
        if region in _BY_NAME:
            return _BY_NAME[region]
        raise ValueError(f"region: expected one of {', '.join(_BY_NAME)}; got {region!r}")
    raise TypeError(f"region: expected a name or a region object; got {type(region).__name__}")
