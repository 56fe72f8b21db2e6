"""Moves in latent space: edits along a direction, kept inside the region, and paths between two points."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike

from ellipsoid.blocks import padded_batches
from ellipsoid.checks import check_choice, check_count, check_unmasked
from ellipsoid.density import gauge
from ellipsoid.directions import Direction, as_vectors
from ellipsoid.mixture import Mixture
from ellipsoid.regions import Region
from ellipsoid.settings import DEFAULT_LEVEL, DrawSettings
from ellipsoid.shapes import Shape, check_shape, normalised, semi_axes
from ellipsoid.state import PCAState

# The boundary is searched for among this many points of a segment, then between two of them, and so on. The
# last step is below the precision of float32.
_N_POINTS, _N_ROUNDS = 16, 6
# Segments that are searched together, few or many; memory holds 17 times as many points. The choice depends
# on the number of all rows, so a row keeps its bits whichever other rows leave the region.
_FEW, _MANY = 16, 256


class Edited(NamedTuple):
    """Latents after a move, and how far inside the region they lie.

    Attributes
    ----------
    latents : (..., D) array
        Latents, float32.
    gauge : (...) array
        Gauge of each latent vector; see :func:`ellipsoid.gauge`.
    kept : (...) array
        Share of the way that was kept: 1 if nothing was pulled back. It is a share of the step, or, for a row
        that was pulled towards the centre, of its distance from the centre.
    """

    latents: np.ndarray
    gauge: np.ndarray
    kept: np.ndarray


class Interpolation(NamedTuple):
    """Latents on a path between two points, and how far inside the region they lie.

    Attributes
    ----------
    latents : (n, ..., D) array
        Latents, float32, from the first point to the second.
    gauge : (n, ...) array
        Gauge of each point; see :func:`ellipsoid.gauge`. It exceeds 1 between the parts of a mixture.
    """

    latents: np.ndarray
    gauge: np.ndarray


def edit(
    shape: Shape,
    z: ArrayLike,
    direction: Direction | ArrayLike,
    amount: ArrayLike,
    keep_inside: bool = True,
    *,
    towards: str = "start",
    level: float | jax.Array = DEFAULT_LEVEL,
    fact: float | jax.Array = 1.0,
    region: str | Region = "pairwise",
) -> Edited:
    """Move latents along a direction, and keep them inside the region.

    A row that leaves the region is pulled back until its gauge is 1. Pulled back to the start, it loses much
    of the step if there are many components, since draws lie near the boundary. Pulled towards the centre of
    the shape, it keeps most of the step and moves a little nearer to the average in everything else. Draws of
    64 components kept 0.49 of a step of 1.5 standard deviations in the first way, and 0.90 in the second.

    A row that starts outside, like most encoded images at the default level, may be inside nowhere on its
    way. It is pulled towards the centre only if it moved outwards, and only until it is no further out than
    at its start.

    Parameters
    ----------
    shape : PCAState, Mixture or Flow
        Shape that defines the region.
    z : (..., D) array
        Latents to move.
    direction : Direction or (D,) array
        Direction, or the step that `amount` multiplies, such as ``state.scale[0] * state.components[0]``.
    amount : number or (...) array
        Number of steps, or one for each row. A step of a `Direction` is one standard deviation of the latents
        along it.
    keep_inside : bool
        Whether rows that leave the region are pulled back.
    towards : {"start", "centre"}
        Point to which rows are pulled back: their own start, or the centre of the shape. For a mixture, the
        centre is that of the part whose region is nearest.
    level, fact, region
        Settings of the region; see :func:`ellipsoid.sample`.

    Returns
    -------
    Edited
        Latents, their gauges, and the shares of the way that were kept.

    Raises
    ------
    TypeError
        If `shape` is not a shape, or another argument has the wrong type.
    ValueError
        If the latents or the direction do not have D entries, or hold masked values, NaN or infinity, if
        there is not one amount for each row, the result exceeds float32, or `region` or `towards` is unknown.

    Examples
    --------
    >>> import ellipsoid as el
    >>> state = el.fit(np.random.default_rng(0).normal(size=(500, 8)))
    >>> first = np.asarray(state.scale[0] * state.components[0])
    >>> moved = edit(state, state.mean, first, 3.0, level=2.0)
    >>> moved.gauge.round(3).item(), (3 * moved.kept).round(3).item()
    (1.0, 2.0)
    """
    shape, settings = check_shape(shape), DrawSettings(level=level, fact=fact, region=region)
    settings.region_of(shape.n_components)
    check_choice("towards", towards, ("start", "centre"))
    start = _finite("z", as_vectors("z", z, shape.n_features))
    vector = direction.vector if isinstance(direction, Direction) else direction
    vector = _finite("direction", as_vectors("direction", vector, shape.n_features))
    if vector.ndim != 1:
        raise ValueError(f"direction: expected shape ({shape.n_features},); got {vector.shape}")
    with np.errstate(over="ignore"):  # the check below finds it
        end = _finite("amount", start + _amounts(amount, start.shape[:-1])[..., None] * vector)
    batch, rows = end.shape[:-1], end.reshape(-1, end.shape[-1])
    starts, kept = start.reshape(rows.shape), np.ones(len(rows), np.float32)
    if keep_inside:
        data = shape, np.float32(settings.radius), settings.region_of(shape.n_components), towards == "start"
        size = _FEW if len(rows) <= _FEW else _MANY
        for block, numbers in padded_batches(np.arange(len(rows)), size):
            pulled, shares = map(np.asarray, _pulled_back(data, starts[numbers], rows[numbers]))
            count = block.stop - block.start
            rows[block], kept[block] = pulled[:count], shares[:count]
    gauges = np.asarray(gauge(shape, rows, level=level, fact=fact, region=region))
    return Edited(rows.reshape(end.shape), gauges.reshape(batch), kept.reshape(batch))


def interpolate(
    shape: Shape,
    z0: ArrayLike,
    z1: ArrayLike,
    n: int,
    *,
    level: float | jax.Array = DEFAULT_LEVEL,
    fact: float | jax.Array = 1.0,
    region: str | Region = "pairwise",
) -> Interpolation:
    """Find a path of latents from one point to another.

    For a state or a mixture, the path is straight in latents. Between two points of one region it stays
    inside, since the region is convex. For a flow, whose coordinates are curved, it is a great circle in
    these; see :func:`great_circle`.

    Parameters
    ----------
    shape : PCAState, Mixture or Flow
        Shape that defines the region.
    z0, z1 : (..., D) array
        Ends of the path.
    n : int
        Number of points, ends included.
    level, fact, region
        Settings of the region; see :func:`ellipsoid.sample`.

    Returns
    -------
    Interpolation
        Evenly spaced latents ``(n, ..., D)``, and their gauges.

    Raises
    ------
    TypeError
        If `shape` is not a shape, or another argument has the wrong type.
    ValueError
        If an end does not have D entries, or holds masked values, NaN or infinity, if the ends do not
        broadcast, there are fewer than two points, or the region is unknown.

    Examples
    --------
    >>> import ellipsoid as el
    >>> state = el.fit(np.random.default_rng(0).normal(size=(500, 8)))
    >>> first, last = el.sample(el.key(0), state, 2, level=2.0).latents
    >>> path = interpolate(state, first, last, 5, level=2.0)
    >>> path.latents.shape, bool((path.gauge < 1.001).all())
    ((5, 8), True)
    """
    shape, n = check_shape(shape), check_count("n", n, 2)
    ends = [_finite(name, as_vectors(name, z, shape.n_features)) for name, z in (("z0", z0), ("z1", z1))]
    try:
        start, end = np.broadcast_arrays(*ends)
    except ValueError:
        raise ValueError(
            f"z1: expected a shape that broadcasts with that of z0, {ends[0].shape}; got {ends[1].shape}"
        ) from None
    latents = _straight(start, end, n)
    if not isinstance(shape, PCAState | Mixture):
        first, last = (np.asarray(shape.project(z)) for z in (start, end))
        scale = np.asarray(shape.scale)
        scores = scale * great_circle(first / scale, last / scale, n)
        # The component off the K principal axes is interpolated along a straight line.
        reached = [np.asarray(shape.reconstruct(y)) for y in (first, last)]
        latents += np.asarray(shape.reconstruct(scores)) - _straight(reached[0], reached[1], n)
    return Interpolation(latents, np.asarray(gauge(shape, latents, level=level, fact=fact, region=region)))


def great_circle(start: ArrayLike, end: ArrayLike, n: int) -> np.ndarray:
    """Find points from one vector to another at evenly spaced angles and evenly spaced radii.

    In many dimensions, a straight line between two Gaussian vectors passes far nearer to the centre than any
    Gaussian vector lies. This path does not.

    Parameters
    ----------
    start, end : (..., K) array
        Ends of the path.
    n : int
        Number of points, ends included.

    Returns
    -------
    (n, ..., K) array
        Points, float32. The path is straight between opposite vectors, and to or from 0.
    """
    start, end = np.asarray(start, np.float64), np.asarray(end, np.float64)
    radii = [np.linalg.norm(y, axis=-1, keepdims=True) for y in (start, end)]
    units = [
        np.divide(y, r, out=np.zeros_like(y), where=r > 0) for y, r in zip((start, end), radii, strict=True)
    ]
    angle = 2 * np.arctan2(
        *(np.linalg.norm(units[1] + s * units[0], axis=-1, keepdims=True) for s in (-1, 1))
    )
    t = np.linspace(0, 1, n).reshape(n, *[1] * start.ndim)
    sine = np.sin(angle)
    curved = (sine > 1e-6) & (radii[0] > 0) & (radii[1] > 0)
    safe = np.where(curved, sine, 1)
    on_circle = (np.sin((1 - t) * angle) * units[0] + np.sin(t * angle) * units[1]) / safe
    radius = (1 - t) * radii[0] + t * radii[1]
    return np.where(curved, radius * on_circle, (1 - t) * start + t * end).astype(np.float32)


def _straight(start: np.ndarray, end: np.ndarray, n: int) -> np.ndarray:
    t = np.linspace(0, 1, n, dtype=np.float32).reshape(n, *[1] * start.ndim)
    return (1 - t) * start + t * end


def _finite(name: str, values: np.ndarray) -> np.ndarray:
    if not np.isfinite(values).all():
        raise ValueError(f"{name}: expected finite numbers in the range of float32; got NaN or infinity")
    return values


def _amounts(amount: Any, batch: tuple[int, ...]) -> np.ndarray:
    amounts = np.asarray(check_unmasked("amount", amount))
    if amounts.dtype.kind not in "fiu":
        raise TypeError(f"amount: expected numbers; got {amounts.dtype}")
    if amounts.shape not in ((), batch):
        raise ValueError(f"amount: expected one number or an array of shape {batch}; got {amounts.shape}")
    return np.broadcast_to(_finite("amount", amounts.astype(np.float32)), batch)


@jax.jit
def _pulled_back(data, start, end):
    """Return rows ``(n, D)`` pulled back as far as needed, and the share of the way that each row keeps.

    If the way leaves a region of several parts more than once, the result is the last exit that the search
    points have found.
    """
    shape, radius, region, back_to_start = data

    def gauge_of(latents):
        return gauge(shape, latents, level=radius, region=region)

    at_start, at_end = gauge_of(jnp.stack([start, end]))
    limit = jnp.maximum(at_start, 1)
    left = at_end > limit
    # A program of another shape may round differently; this margin keeps inner points inside.
    limit = limit * np.float32(1 - 16 * np.finfo(np.float32).eps)

    def pull(_):
        # A row that starts outside goes towards the centre: half of such rows could not go anywhere else.
        to_start = (at_start <= 1) & back_to_start
        centre = _centres(shape, end, radius, region).astype(np.float32)
        target = jnp.where(to_start[:, None], start, centre)
        steps = np.linspace(0, 1, _N_POINTS + 1, dtype=np.float32)[1:]

        def look(_, low_and_width):
            low, width = low_and_width
            shares = low[None] + width * steps[:, None]
            is_inside = gauge_of(_between(target, end, shares)) <= limit[None]
            # This is the number of the last point inside, or 0 for the point where the round began.
            last = jnp.max(jnp.where(is_inside, jnp.arange(1, _N_POINTS + 1)[:, None], 0), axis=0)
            return low + width * last.astype(np.float32) / _N_POINTS, width / _N_POINTS

        low, _ = lax.fori_loop(0, _N_ROUNDS, look, (jnp.zeros_like(limit), np.float32(1)))
        return _between(target, end, low[None])[0], low

    pulled, shares = lax.cond(jnp.any(left), pull, lambda _: (end, jnp.zeros_like(limit)), None)
    return jnp.where(left[:, None], pulled, end), jnp.where(left, shares, 1)


def _between(target: jax.Array, end: jax.Array, shares: jax.Array) -> jax.Array:
    """Return points ``(m, n, D)`` at shares ``(m, n)`` of the way from `target` to `end`."""
    return target[None] + shares[..., None] * (end - target)[None]


def _centres(shape: Shape, latents: jax.Array, radius: jax.Array, region: Region) -> jax.Array:
    """Return the centre of the shape for each of ``(n, D)`` latents, plus their component off the axes."""
    if isinstance(shape, Mixture):
        centre = shape.parts.mean[_nearest_part(shape, latents, radius, region)]
        off_centre = shape.project(latents) - shape.project(centre)
        return latents - jnp.matmul(off_centre, shape.shared.components, precision=lax.Precision.HIGHEST)
    scores = shape.project(latents)
    return latents - shape.reconstruct(scores) + shape.reconstruct(jnp.zeros_like(scores))


def _nearest_part(mixture: Mixture, latents: jax.Array, radius: jax.Array, region: Region) -> jax.Array:
    """Return the part whose region is nearest to each latent vector, ``(n,)``."""

    def of_part(part):
        return region.gauge(normalised(part.project(latents), semi_axes(part, radius)))

    return jnp.argmin(lax.map(of_part, mixture.parts), axis=0)
