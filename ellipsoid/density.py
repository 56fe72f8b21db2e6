"""Questions about a point: its gauge, whether the region contains it, and the density of the draws there."""

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
    """Return `values` as float32 with a last axis of `size`, as NumPy arrays unless they are JAX arrays."""
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
    with np.errstate(all="ignore"):  # numbers beyond float32 become infinite
        return (np.asarray(values) if _is_on_host(values) else values).astype(np.float32)


# --- rows in blocks --------------------------------------------------------------------------------

# Sizes of the blocks of rows. A program is compiled once for each size, not for each number of rows, and the
# smallest block costs little if only one row is asked for.
_BLOCK_ROWS = (4096, 1024, 256, 16)


def _is_on_host(array: Any) -> bool:
    """Whether NumPy can read an array where it lies."""
    if not isinstance(array, jax.Array):
        return True
    return not is_traced(array) and {device.platform for device in array.devices()} == {"cpu"}


def _blocks(n: int) -> Iterator[tuple[slice, int]]:
    """Yield the rows and the padded size of each block; without rows, yield one empty block."""
    start = 0
    for size in _BLOCK_ROWS:
        # A rest of more than half a block is padded to a whole one.
        while n - start > (size // 2 if size > _BLOCK_ROWS[-1] else 0):
            yield slice(start, min(start + size, n)), size
            start += size
    if n == 0:
        yield slice(0, 0), _BLOCK_ROWS[-1]


def _in_blocks(program: Callable[..., jax.Array], data: Any, *rows: jax.Array | np.ndarray) -> jax.Array:
    """Call ``program(data, *rows)`` block by block; all axes of `rows[0]` but the last count rows.

    Traced rows, and rows on an accelerator or on several devices, are taken all at once.
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
    """Return gauges of normalised coordinates `u`: NaN exactly where `points` hold NaN.

    Infinite points and finite ones beyond float32 can also give NaN in `region.gauge`; theirs is infinite.
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

    In convex analysis this is the gauge, or Minkowski functional, of the region: the norm whose unit ball is
    the region. It is 0 at the mean and 1 on the boundary, and grows in proportion along each ray from the
    mean. For the ellipsoid it is the Mahalanobis distance divided by the radius.

    Parameters
    ----------
    shape : PCAState, Mixture or Flow
        Shape that defines the region.
    latents : (..., D) array
        Latents to judge.
    level, fact, region
        Settings of the region; see :func:`ellipsoid.sample`.

    Returns
    -------
    (...) array
        Gauge, float32, at most 1 inside; for a mixture, the smallest over all parts. Only the K scores of a
        latent vector count, not its distance from the K principal axes. The gauge is NaN for a vector that
        holds NaN, and infinite for one that holds infinity or exceeds float32.

    Raises
    ------
    TypeError
        If `shape` is not a shape, `level` or `fact` is not a number, `region` is neither a name nor a region
        object, or its mask is not boolean.
    ValueError
        If the last axis of `latents` does not have D entries, some latents are masked, `level` or `fact` is
        not finite and above 0, the region is unknown, or its mask is not (K, K) and symmetric.
    RuntimeError
        If the process was forked after JAX had been used.

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
    """Return the checked shape, latents, radius and region."""
    shape, settings = check_shape(shape), DrawSettings(level=level, fact=fact, region=region)
    region = settings.region_of(shape.n_components)
    return shape, _check_last_axis("latents", latents, shape.n_features), settings.radius, region


def _gauges(shape, radius, region, latents):
    """Return gauges by a state, ``(...)``, or by all parts of a mixture, ``(M, ...)``."""

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
        Shape, points and settings of the region; see :func:`gauge`.
    tolerance : float, optional
        Excess of the gauge that still counts as inside. The default covers the rounding of scores to float32
        latents and back, about ``eps * max|z| / min(semi-axis)``.

    Returns
    -------
    (...) boolean array
        True inside and on the boundary; for a mixture, inside the region of any part. False for NaN.

    Raises
    ------
    TypeError
        If :func:`gauge` would raise it, or if `tolerance` is not a number.
    ValueError
        If :func:`gauge` would raise it, or if `tolerance` is NaN or below 0.
    RuntimeError
        If the process was forked after JAX had been used.

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
        # A thousandth of a standard deviation, and the rounding of the latents as the field magnifies it.
        tolerances = 1e-3 / radius + 16 * _round_trip_tolerance(shape.base, radius)
    else:
        tolerances = jax.vmap(_round_trip_tolerance, (0, None))(shape.parts, radius)
    n_limits = shape.n_parts if isinstance(shape, Mixture) else ()
    limits = jnp.broadcast_to(jnp.asarray(1 + tolerances, np.float32), n_limits)
    return _in_blocks(_contains, (shape, radius, region, limits), latents)


def _round_trip_tolerance(state: PCAState, radius: float | jax.Array) -> jax.Array:
    axes = semi_axes(state, radius)
    # The rounding of each latent, and of the two matrix products, is bounded by a few ulps of the length of
    # the vector. A score feels it in full, and the narrowest component most.
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
        Shape that is drawn from. The density of a mixture is the weighted sum over its parts. The axes of a
        part are the shared axes, rotated, so its density over either is the same.
    scores : Draws, MixtureDraws or (..., K) array, optional
        Points at which to compute the density: draws from `shape`, or scores in latent units for one state
        or a flow. A mixture takes no bare scores, because an array does not say whether they lie on the axes
        of each row's own part, like those of its draws, or on the shared axes, like those of
        :meth:`ellipsoid.Mixture.project`. Draws of selected labels belong to ``mixture.select(label)``, or to
        the same selection of a flow.
    latents : (..., D) array, optional
        Points as latents, in place of `scores`. With K < D they are projected: their distance from the K
        principal axes does not count, and the density stays one over K scores.
    law : {"uniform", "normal"}
        Distribution of the draws; only these two have a closed-form density.
    level, fact, region
        Settings of the draws; see :func:`ellipsoid.sample`.
    over : {"scores", "latents"}
        Coordinates of the density; "latents" measures it within the subspace of the K components. The two
        differ for a flow alone, whose scores are curved. Its density over latents is exact and slow: each row
        takes as long as K draws.

    Returns
    -------
    (...) array
        Natural logarithm of the density per latent unit to the power K; ``-inf`` outside the region, NaN for
        points that hold NaN. It is finite for all draws that are passed as draws. Latents on the boundary may
        be rounded to the outside.

    Raises
    ------
    TypeError
        If `shape` is not a shape, or `scores` and `latents` are both given or both absent. If a mixture gets
        scores or the draws of one state, or one state gets the draws of a mixture. If `level` or `fact` is
        not a number, or is traced where the law is normal. If `region` is neither a name nor a region object,
        or its mask is not boolean.
    ValueError
        If `law` is ``redraw`` or ``sequential``, which have no closed form. If `law`, `region` or `over` is
        unknown, or the region has a subset of the pairs. If `level` or `fact` is not finite and above 0. If
        points have another size or masked values. If the draws come from another shape; under ``jax.jit``
        this is not noticed.
    RuntimeError
        If the process was forked after JAX had been used.

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
        Log-density over normalised coordinates, ``constant - rate * |u|^2``; data, because they depend on
        the level.
    region : region object
        Region outside which the density is 0.
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
    # Without the barriers XLA multiplies by reciprocals and rounds points on the boundary outwards.
    axes = lax.optimization_barrier(jnp.broadcast_to(density.axes, scores.shape))
    u = lax.optimization_barrier(normalised(scores, axes))
    gauges = _gauge_of(density.region, u, scores if latents is None else latents)
    inside = gauges <= 1
    # Neither the density of a point outside nor its gradient is ever used: hence the second where.
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
    # In its own part a draw counts as inside by its scores: rounded latents might lie outside.
    own = density._replace(axes=density.axes[part], log_unit=density.log_unit[part])
    own = jnp.broadcast_to(_log_prob_of_scores(own, scores), densities.shape)
    numbers = lax.broadcasted_iota(np.int32, densities.shape, 0)
    is_own = numbers == jnp.broadcast_to(part, densities.shape)
    return _weighted(mixture, jnp.where(is_own, own, densities))


def _log_prob_of_parts(mixture: Mixture, density: _Density, latents: jax.Array) -> jax.Array:
    """Return the log-density of each part at latents, ``(M, ...)``."""

    def of_part(part):
        state, axes, log_unit = part
        own = density._replace(axes=axes, log_unit=log_unit)
        return _log_prob_of_scores(own, state.project(latents), latents)

    return lax.map(of_part, (mixture.parts, density.axes, density.log_unit))


def _weighted(mixture: Mixture, densities: jax.Array) -> jax.Array:
    """Return the log-density of a mixture from those of its parts."""
    weights = mixture.weights.reshape(-1, *[1] * (densities.ndim - 1))
    return jax.nn.logsumexp(densities, axis=0, b=weights)


@jax.jit
def _project(shape, latents):
    return shape.project(latents)


@jax.jit
def _log_stretch(flow, scores):
    """Return the logarithm of the factor by which a flow stretches volume at scores, ``(...)``."""

    def of_row(y):
        return jnp.linalg.slogdet(jax.jacfwd(flow.bend)(y))[1]

    # Single rows leave the cores idle; a large block needs K times its memory.
    rows = lax.map(of_row, scores.reshape(-1, scores.shape[-1]), batch_size=_BLOCK_ROWS[-1])
    return rows.reshape(scores.shape[:-1])


def _scores_of_state(state: PCAState | Flow, scores: Any) -> jax.Array | np.ndarray:
    if isinstance(scores, MixtureDraws):
        raise TypeError(
            "scores: expected Draws or an array for one state; got MixtureDraws, whose scores lie on the "
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
            f"the axes of which part its scores lie; pass the draws themselves, or latents=... (for scores "
            f"on the shared axes, mixture.shared.reconstruct(scores))"
        )
    scores, part = _check_last_axis("scores", draws.scores, mixture.n_components), jnp.asarray(draws.part)
    _check_origin(draws, mixture, scores, part)
    return scores, part


@jax.jit
def _reconstruct(shape, scores, *part):
    return shape.reconstruct(scores, *part)


def _check_origin(draws: Draws | MixtureDraws, shape: Shape, *scores: jax.Array | np.ndarray) -> None:
    """Raise unless the scores of the draws reconstruct their latents; scores of another shape do not.

    Draws of a mixture are checked with the part of each row.
    """
    if is_traced((draws, shape)):
        return
    latents = np.asarray(draws.latents, np.float32)
    expected = np.asarray(_in_blocks(_reconstruct, shape, *scores))
    rounding = float(jnp.finfo(draws.latents.dtype).eps) * np.abs(latents).max(axis=-1, initial=0)
    limit = 4 * rounding + 1e-3 * np.linalg.norm(np.asarray(scores[0]), axis=-1)
    if expected.shape != latents.shape or np.any(np.abs(expected - latents).max(axis=-1) > limit):
        raise ValueError(
            "scores: expected draws of this shape; got draws of another one (draws of selected labels belong "
            "to mixture.select(label)); pass latents=draws.latents to judge them by this shape"
        )
