"""Questions asked of a point: how far out it lies, whether it is inside, and how densely draws fall there."""

import math
from collections.abc import Callable, Iterator
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike

from ellipsoid.checks import check_choice, check_unmasked
from ellipsoid.draws import Draws, MixtureDraws
from ellipsoid.flow import Flow
from ellipsoid.laws import get_law
from ellipsoid.mixture import Mixture
from ellipsoid.regions import Region
from ellipsoid.sequence import is_traced
from ellipsoid.settings import DEFAULT_LEVEL, DrawSettings
from ellipsoid.shapes import Shape, check_shape, normalised, semi_axes
from ellipsoid.state import PCAState


def _check_last_axis(name: str, values: Any, size: int) -> jax.Array | np.ndarray:
    """Return values as float32 of that last axis; what is no JAX array becomes NumPy's."""
    values = check_unmasked(name, values)
    if is_traced(values):
        values = jnp.asarray(values, np.float32)
    elif not isinstance(values, jax.Array):
        values = np.asarray(values)
    if values.dtype != bool and not any(jnp.issubdtype(values.dtype, k) for k in (jnp.floating, jnp.integer)):
        raise TypeError(f"{name}: expected real numbers; got {values.dtype}")
    if values.ndim == 0 or values.shape[-1] != size:
        raise ValueError(f"{name}: expected a last axis of {size}; got shape {values.shape}")
    if values.dtype == np.float32:
        return values
    with np.errstate(all="ignore"):  # beyond float32 lies infinity
        return (np.asarray(values) if _is_on_host(values) else values).astype(np.float32)


# --- rows in blocks --------------------------------------------------------------------------------

# Sizes of the blocks that rows are taken in. A program is compiled for each of them, not for each number of
# rows; and the few rows of the smallest block cost little where one is asked for.
_BLOCK_ROWS = (4096, 1024, 256, 16)


def _is_on_host(array: Any) -> bool:
    """Whether NumPy can read an array where it lies."""
    if not isinstance(array, jax.Array):
        return True
    return not is_traced(array) and {device.platform for device in array.devices()} == {"cpu"}


def _blocks(n: int) -> Iterator[tuple[slice, int]]:
    """Rows of consecutive blocks, and the size that each is padded to; one empty block if there are none."""
    start = 0
    for size in _BLOCK_ROWS:
        # A rest of more than half a block is worth a whole one.
        while n - start > (size // 2 if size > _BLOCK_ROWS[-1] else 0):
            yield slice(start, min(start + size, n)), size
            start += size
    if n == 0:
        yield slice(0, 0), _BLOCK_ROWS[-1]


def _in_blocks(program: Callable[..., jax.Array], data: Any, *rows: jax.Array | np.ndarray) -> jax.Array:
    """Call ``program(data, *rows)`` block by block; all axes of `rows[0]` but the last one count rows.

    Traced rows, and those that lie on an accelerator or on several devices, are taken all at once.
    """
    if is_traced(data) or not all(map(_is_on_host, rows)) or any(map(_is_spread, rows)):
        return program(data, *rows)
    leading = rows[0].shape[:-1]
    n = math.prod(leading)
    arrays = [np.asarray(array).reshape(n, *array.shape[len(leading) :]) for array in rows]

    def padded(array, block, size):
        missing = size - (block.stop - block.start)
        return np.pad(array[block], [(0, missing)] + [(0, 0)] * (array.ndim - 1)) if missing else array[block]

    results = [program(data, *(padded(array, block, size) for array in arrays)) for block, size in _blocks(n)]
    result = np.concatenate([np.asarray(result) for result in results])[:n]
    # `jnp.asarray` would compile a copy for each shape.
    return jax.device_put(result.reshape((*leading, *result.shape[1:])))


def _is_spread(array: Any) -> bool:
    return isinstance(array, jax.Array) and len(array.devices()) > 1


def _gauge_of(region: Region, u: jax.Array, points: jax.Array) -> jax.Array:
    """Gauge of normalised coordinates: NaN where the points that they come of hold NaN, and there alone.

    Elsewhere it comes of infinite points, and of finite ones beyond float32: they are infinitely far out.
    """

    def mended():
        return jnp.where(jnp.isnan(gauges) & ~jnp.isnan(points).any(axis=-1), np.float32(np.inf), gauges)

    gauges = region.gauge(u)
    return lax.cond(jnp.isnan(gauges).any(), mended, lambda: gauges)


# --- gauge and contains ----------------------------------------------------------------------------


def gauge(
    shape: Shape,
    latents: ArrayLike,
    *,
    level: float | jax.Array = DEFAULT_LEVEL,
    fact: float | jax.Array = 1.0,
    region: str | Region = "pairwise",
) -> jax.Array:
    """Smallest factor by which the region must be scaled to contain each latent vector.

    That is the Minkowski functional of the region, which convex analysis calls its gauge: the norm whose unit
    ball is the region. It is 0 at the mean, 1 on the boundary, grows in proportion along each ray from the
    mean, and is the Mahalanobis distance over the radius where the region is the ellipsoid.

    Parameters
    ----------
    shape : PCAState, Mixture or Flow
        Shape whose region is meant.
    latents : (..., D) array
        Latents to judge.
    level, fact, region
        As for :func:`ellipsoid.sample`.

    Returns
    -------
    (...) array
        Gauge, float32, at most 1 inside; in a mixture that of the part whose region is nearest. A latent
        vector is judged by its K scores: what lies off the K principal axes is not seen. It is NaN of a
        vector that holds NaN, and infinite of one that holds infinity or leaves the range of float32.

    Raises
    ------
    TypeError
        If the shape is none, level or fact no number, the region neither a name nor a region object, or its
        mask not boolean.
    ValueError
        If the last axis of the latents does not have D entries or some are masked, or level or fact is not
        finite and above 0; for an unknown region, or a mask that is not (K, K) or not symmetric.
    RuntimeError
        In a process that was forked after JAX had been used.

    Examples
    --------
    >>> import ellipsoid as el
    >>> state = el.fit(np.random.default_rng(0).normal(size=(500, 8)))
    >>> el.gauge(state, state.mean).item()
    0.0
    >>> twice_as_far = state.reconstruct(np.diag(2 * 1.645 * state.scale))
    >>> el.gauge(state, twice_as_far).round(3).tolist()
    [2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0]
    """
    shape, latents, radius, region = _checked(shape, latents, level, fact, region)
    return _in_blocks(_gauge, (shape, radius, region), latents)


def _checked(
    shape: Any, latents: Any, level: Any, fact: Any, region: Any
) -> tuple[Shape, jax.Array | np.ndarray, float | jax.Array, Region]:
    """Shape, latents, radius and region."""
    shape, settings = check_shape(shape), DrawSettings(level=level, fact=fact, region=region)
    region = settings.region_of(shape.n_components)
    return shape, _check_last_axis("latents", latents, shape.n_features), settings.radius, region


def _gauges(shape, radius, region, latents):
    """Gauges by a state, ``(...)``, or by all parts of a mixture, ``(M, ...)``."""

    def gauge(state):
        return _gauge_of(region, normalised(state.project(latents), semi_axes(state, radius)), latents)

    return lax.map(gauge, shape.parts) if isinstance(shape, Mixture) else gauge(shape)


@jax.jit
def _gauge(data, latents):
    shape, radius, region = data
    gauges = _gauges(shape, radius, region, latents)
    return jnp.min(gauges, axis=0) if isinstance(shape, Mixture) else gauges


@jax.jit
def _contains(data, latents):
    shape, radius, region, limits = data
    gauges = _gauges(shape, radius, region, latents)
    if not isinstance(shape, Mixture):
        return gauges <= limits
    return jnp.any(gauges <= limits.reshape(-1, *[1] * (gauges.ndim - 1)), axis=0)


def contains(
    shape: Shape,
    latents: ArrayLike,
    *,
    level: float | jax.Array = DEFAULT_LEVEL,
    fact: float | jax.Array = 1.0,
    region: str | Region = "pairwise",
    tolerance: float | None = None,
) -> jax.Array:
    """Whether each latent vector lies inside the region, boundary included.

    Parameters
    ----------
    shape, latents, level, fact, region
        As for :func:`gauge`.
    tolerance : float, optional
        Excess that still counts as inside: a gauge up to ``1 + tolerance``. By default it is what scores
        lose on their way through float32 latents and back, about ``eps * max|z| / min(semi-axis)``.

    Returns
    -------
    (...) boolean array
        True inside and on the boundary; in a mixture of any part's region. False for NaN.

    Raises
    ------
    TypeError
        As for :func:`gauge`; also if the tolerance is no number.
    ValueError
        As for :func:`gauge`; also for a tolerance below 0 or NaN.
    RuntimeError
        In a process that was forked after JAX had been used.

    Examples
    --------
    >>> import ellipsoid as el
    >>> state = el.fit(np.random.default_rng(0).normal(size=(500, 8)))
    >>> el.contains(state, [state.mean, state.mean + 100]).tolist()
    [True, False]
    """
    if tolerance is not None and not tolerance >= 0:
        raise ValueError(f"tolerance: expected a number of at least 0; got {tolerance}")
    shape, latents, radius, region = _checked(shape, latents, level, fact, region)
    if tolerance is not None:
        tolerances = tolerance
    elif isinstance(shape, PCAState):
        tolerances = _round_trip_tolerance(shape, radius)
    elif isinstance(shape, Flow):
        # A thousandth of a standard deviation, and what the field makes of the rounding of latents.
        tolerances = 1e-3 / radius + 16 * _round_trip_tolerance(shape.base, radius)
    else:
        tolerances = jax.vmap(_round_trip_tolerance, (0, None))(shape.parts, radius)
    n_limits = shape.n_parts if isinstance(shape, Mixture) else ()
    limits = jnp.broadcast_to(jnp.asarray(1 + tolerances, np.float32), n_limits)
    return _in_blocks(_contains, (shape, radius, region, limits), latents)


def _round_trip_tolerance(state: PCAState, radius: float | jax.Array) -> jax.Array:
    axes = semi_axes(state, radius)
    # Rounding of each latent, and of the two matrix products, is bounded by a few units of the length
    # of the vector; a score feels it in full, and the narrowest component most.
    length = jnp.linalg.norm(state.mean) + jnp.linalg.norm(axes)
    return 4 * jnp.finfo(np.float32).eps * (1 + length / jnp.min(axes))


# --- density ---------------------------------------------------------------------------------------


def log_prob(
    shape: Shape,
    scores: ArrayLike | Draws | MixtureDraws | None = None,
    *,
    latents: ArrayLike | None = None,
    law: str,
    level: float | jax.Array = DEFAULT_LEVEL,
    fact: float | jax.Array = 1.0,
    region: str | Region = "pairwise",
    over: Literal["scores", "latents"] = "scores",
) -> jax.Array:
    """Log-density of the draws over the scores, or over the latents.

    Parameters
    ----------
    shape : PCAState, Mixture or Flow
        Shape that is drawn from. The density of a mixture is the weighted sum of those of all parts; the axes
        of a part are the shared ones, rotated, so a density over either is the same number.
    scores : Draws, MixtureDraws or (..., K) array, optional
        Points at which the density is asked for: draws from `shape`, or, for one state or a flow, scores
        in latent units. A mixture takes no bare scores: those of its draws lie on the axes of each row's own
        part, those of :meth:`ellipsoid.Mixture.project` on the shared axes, both have K columns, and nothing
        in the array tells which they are. Draws of some labels belong to ``mixture.select(label)``, also
        those of a flow.
    latents : (..., D) array, optional
        Points as latents, in place of `scores`. With K < D they are projected: what lies off the K principal
        axes is not seen, and the density stays one over K scores.
    law : {"uniform", "normal"}
        Distribution of the draws; the ones that have a closed form.
    level, fact, region
        As for :func:`ellipsoid.sample`.
    over : {"scores", "latents"}
        Coordinates in which densities are measured; the latents within the subspace of the K components. Only
        for a flow is this another number, since its scores are curved. It is exact, and slow: each row
        takes as long as K draws.

    Returns
    -------
    (...) array
        Natural logarithm, per latent unit to the power K; ``-inf`` outside the region, NaN of points that
        hold NaN. It is finite for all draws that are given as draws; latents on the boundary may be rounded
        to the outside.

    Raises
    ------
    TypeError
        If the shape is none, `scores` and `latents` are both given or both absent, a mixture is given scores
        or the draws of one state, one state is given the draws of a mixture, level or fact is no number, or
        traced where the law is normal, the region neither a name nor a region object, or its mask not
        boolean.
    ValueError
        For ``redraw`` and ``sequential``, which have no closed form, an unknown law, region or `over`, a
        region of a subset of the pairs, a level or fact that is not finite and above 0, points of another
        size or with masked values, and draws of another shape (under ``jax.jit`` those are not noticed).
    RuntimeError
        In a process that was forked after JAX had been used.

    Examples
    --------
    >>> import ellipsoid as el
    >>> state = el.fit(np.random.default_rng(0).normal(size=(500, 8)))
    >>> draws = el.sample(el.key(0), state, 3, law="uniform", level=2.0)
    >>> bool(np.isfinite(el.log_prob(state, draws, law="uniform", level=2.0)).all())
    True
    >>> el.log_prob(state, latents=state.mean + 100, law="uniform", level=2.0).item()
    -inf
    """
    shape = check_shape(shape)
    check_choice("over", over, ("scores", "latents"))
    density = _density(shape, DrawSettings(law, level, fact, region))
    if (scores is None) == (latents is None):
        given = "neither" if scores is None else "both"
        raise TypeError(f"scores: expected either scores or latents; got {given}")
    if latents is not None:
        latents = _check_last_axis("latents", latents, shape.n_features)
        if isinstance(shape, Flow) and over == "latents":
            scores = _in_blocks(_project, shape, latents)
        else:
            return _in_blocks(_log_prob_of_latents, (shape, density), latents)
    if isinstance(shape, Mixture):
        return _in_blocks(_log_prob_of_draws, (shape, density), *_scores_of_parts(shape, scores))
    scores = _scores_of_state(shape, scores)
    densities = _in_blocks(_log_prob_of_scores, density, scores)
    if isinstance(shape, PCAState) or over == "scores":
        return densities
    return densities - _in_blocks(_log_stretch, shape, scores)


class _Density(NamedTuple):
    """Density over the scores of a state, or of each part of a mixture.

    Attributes
    ----------
    axes : array, shape (K,) or (M, K)
        Semi-axes of the region.
    log_unit : array, shape () or (M,)
        Logarithm of the product of the semi-axes.
    constant, rate : float32
        Log-density over normalised coordinates, ``constant - rate * |u|^2``; data, as each level has its own.
    region : region object
        Region that the density is 0 outside of.
    """

    axes: jax.Array
    log_unit: jax.Array
    constant: np.float32
    rate: np.float32
    region: Region


def _density(shape: Shape, settings: DrawSettings) -> _Density:
    k = shape.n_components
    region, radius = settings.region_of(k), settings.radius
    log_density = get_law(settings.law, region).log_density
    if log_density is None:
        raise ValueError(
            f"law: expected uniform or normal, which have a closed-form density; got {settings.law!r}"
        )
    axes = semi_axes(shape, radius)
    return _Density(axes, jnp.sum(jnp.log(axes), axis=-1), *log_density(k, radius, region), region)


@jax.jit
def _log_prob_of_scores(density, scores, latents=None):
    # A barrier before and after, or XLA multiplies by reciprocals and rounds points on the boundary outwards.
    axes = lax.optimization_barrier(jnp.broadcast_to(density.axes, scores.shape))
    u = lax.optimization_barrier(normalised(scores, axes))
    gauges = _gauge_of(density.region, u, scores if latents is None else latents)
    inside = gauges <= 1
    # The density of a point outside is never used, nor its gradient: hence the second where.
    u = jnp.where(inside[..., None], u, 0)
    logs = density.constant - density.rate * jnp.sum(jnp.square(u), axis=-1) - density.log_unit
    return jnp.where(inside, logs, jnp.where(jnp.isnan(gauges), np.float32(np.nan), np.float32(-np.inf)))


@jax.jit
def _log_prob_of_latents(data, latents):
    shape, density = data
    if isinstance(shape, Mixture):
        return _weighted(shape, _log_prob_of_parts(shape, density, latents))
    return _log_prob_of_scores(density, shape.project(latents), latents)


@jax.jit
def _log_prob_of_draws(data, scores, part):
    mixture, density = data
    densities = _log_prob_of_parts(mixture, density, mixture.reconstruct(scores, part))
    # In its own part a draw is inside by its scores; by its latents, rounding might put it outside.
    own = density._replace(axes=density.axes[part], log_unit=density.log_unit[part])
    own = jnp.broadcast_to(_log_prob_of_scores(own, scores), densities.shape)
    numbers = lax.broadcasted_iota(np.int32, densities.shape, 0)
    is_own = numbers == jnp.broadcast_to(part, densities.shape)
    return _weighted(mixture, jnp.where(is_own, own, densities))


def _log_prob_of_parts(mixture: Mixture, density: _Density, latents: jax.Array) -> jax.Array:
    """Log-density of each part at latents, ``(M, ...)``."""

    def of_part(part):
        state, axes, log_unit = part
        own = density._replace(axes=axes, log_unit=log_unit)
        return _log_prob_of_scores(own, state.project(latents), latents)

    return lax.map(of_part, (mixture.parts, density.axes, density.log_unit))


def _weighted(mixture: Mixture, densities: jax.Array) -> jax.Array:
    """Log-density of a mixture, given those of its parts."""
    weights = mixture.weights.reshape(-1, *[1] * (densities.ndim - 1))
    return jax.nn.logsumexp(densities, axis=0, b=weights)


@jax.jit
def _project(shape, latents):
    return shape.project(latents)


@jax.jit
def _log_stretch(flow, scores):
    """Logarithm of the volume that a flow makes of a unit volume of scores, ``(...)``."""

    def of_row(y):
        return jnp.linalg.slogdet(jax.jacfwd(flow.bend)(y))[1]

    # One row at a time leaves the cores idle; a large block needs K times its memory.
    rows = lax.map(of_row, scores.reshape(-1, scores.shape[-1]), batch_size=_BLOCK_ROWS[-1])
    return rows.reshape(scores.shape[:-1])


def _scores_of_state(state: PCAState | Flow, scores: Any) -> jax.Array | np.ndarray:
    if isinstance(scores, MixtureDraws):
        raise TypeError(
            "scores: expected Draws or an array for one state; got MixtureDraws, whose scores are on the "
            "axes of parts; pass latents=draws.latents"
        )
    if not isinstance(scores, Draws):
        return _check_last_axis("scores", scores, state.n_components)
    points = _check_last_axis("scores", scores.scores, state.n_components)
    _check_origin(scores, state, points)
    return points


def _scores_of_parts(mixture: Mixture, draws: Any) -> tuple[jax.Array | np.ndarray, jax.Array]:
    if not isinstance(draws, MixtureDraws):
        raise TypeError(
            f"scores: expected MixtureDraws for a mixture; got {type(draws).__name__}, which does not say on "
            f"the axes of which part its scores are; pass the draws themselves, or latents=..., which for "
            f"scores on the shared axes are mixture.shared.reconstruct(scores)"
        )
    scores, part = _check_last_axis("scores", draws.scores, mixture.n_components), jnp.asarray(draws.part)
    _check_origin(draws, mixture, scores, part)
    return scores, part


@jax.jit
def _reconstruct(shape, scores, *part):
    return shape.reconstruct(scores, *part)


def _check_origin(draws: Draws | MixtureDraws, shape: Shape, *scores: jax.Array | np.ndarray) -> None:
    """Raise unless the scores of draws give their latents: scores of another shape are on other axes.

    Those of a mixture come with the part of each row.
    """
    if is_traced((draws, shape)):
        return
    latents = np.asarray(draws.latents, np.float32)
    expected = np.asarray(_in_blocks(_reconstruct, shape, *scores))
    rounding = float(jnp.finfo(draws.latents.dtype).eps) * np.abs(latents).max(axis=-1, initial=0)
    limit = 4 * rounding + 1e-3 * np.linalg.norm(np.asarray(scores[0]), axis=-1)
    if expected.shape != latents.shape or np.any(np.abs(expected - latents).max(axis=-1) > limit):
        raise ValueError(
            "scores: expected draws of this shape; got draws of another one (those of some labels belong to "
            "mixture.select(label)); pass latents=draws.latents to judge them by this shape"
        )
