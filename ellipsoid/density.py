"""Questions asked of a point: how far out it lies, whether it is inside, and how densely draws fall there."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike

from ellipsoid.checks import check_unmasked
from ellipsoid.draws import Draws, MixtureDraws
from ellipsoid.laws import get_law
from ellipsoid.mixture import Mixture
from ellipsoid.regions import Region
from ellipsoid.sequence import is_traced
from ellipsoid.settings import DEFAULT_LEVEL, DrawSettings
from ellipsoid.shapes import Shape, check_shape, normalised, semi_axes
from ellipsoid.state import PCAState


def _check_last_axis(name: str, values: Any, size: int) -> jax.Array:
    values = jnp.asarray(check_unmasked(name, values), np.float32)
    if values.ndim == 0 or values.shape[-1] != size:
        raise ValueError(f"{name}: expected a last axis of {size}; got shape {values.shape}")
    return values


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
    shape : PCAState or Mixture
        Shape whose region is meant.
    latents : (..., D) array
        Latents to judge.
    level, fact, region
        As for :func:`ellipsoid.sample`.

    Returns
    -------
    (...) array
        Gauge, float32, at most 1 inside; in a mixture that of the part whose region is nearest. A latent
        vector is judged by its K scores: what lies off the K principal axes is not seen.

    Raises
    ------
    TypeError
        If the shape is none, level or fact no number, the region neither a name nor a region object, or its
        mask not boolean.
    ValueError
        If the last axis of the latents does not have D entries or some are masked, or level or fact is not
        finite and above 0; for an unknown region, or a mask that is not (K, K) or not symmetric.

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
    shape, _, gauges = _judge(shape, latents, DrawSettings(level=level, fact=fact, region=region))
    return gauges if isinstance(shape, PCAState) else jnp.min(gauges, axis=0)


def _judge(
    shape: Any, latents: ArrayLike, settings: DrawSettings
) -> tuple[Shape, float | jax.Array, jax.Array]:
    """Shape and radius, checked, and the gauges by them: of all parts, ``(M, ...)``, in a mixture."""
    shape = check_shape(shape)
    region = settings.region_of(shape.n_components)
    latents = _check_last_axis("latents", latents, shape.n_features)
    radius = settings.radius
    return shape, radius, _gauges(shape, latents, radius, region)


@jax.jit
def _gauges(shape, latents, radius, region):
    def gauge(state):
        return region.gauge(normalised(state.project(latents), semi_axes(state, radius)))

    return lax.map(gauge, shape.parts) if isinstance(shape, Mixture) else gauge(shape)


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
        True inside and on the boundary; in a mixture of any part's region.

    Raises
    ------
    TypeError
        As for :func:`gauge`; also if the tolerance is no number.
    ValueError
        As for :func:`gauge`; also for a tolerance below 0 or NaN.

    Examples
    --------
    >>> import ellipsoid as el
    >>> state = el.fit(np.random.default_rng(0).normal(size=(500, 8)))
    >>> el.contains(state, [state.mean, state.mean + 100]).tolist()
    [True, False]
    """
    if tolerance is not None and not tolerance >= 0:
        raise ValueError(f"tolerance: expected a number of at least 0; got {tolerance}")
    shape, radius, gauges = _judge(shape, latents, DrawSettings(level=level, fact=fact, region=region))
    if isinstance(shape, PCAState):
        return gauges <= 1 + (_round_trip_tolerance(shape, radius) if tolerance is None else tolerance)
    if tolerance is None:
        tolerances = jax.vmap(_round_trip_tolerance, (0, None))(shape.parts, radius)
    else:
        tolerances = tolerance
    limits = jnp.broadcast_to(jnp.asarray(1 + tolerances), shape.n_parts)
    return jnp.any(gauges <= limits.reshape(-1, *[1] * (gauges.ndim - 1)), axis=0)


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
) -> jax.Array:
    """Log-density of the draws over the scores.

    Parameters
    ----------
    shape : PCAState or Mixture
        Shape that is drawn from. The density of a mixture is the weighted sum of those of all parts; the axes
        of a part are the shared ones, rotated, so a density over either is the same number.
    scores : Draws, MixtureDraws or (..., K) array, optional
        Points at which the density is asked for: draws from `shape`, or, for one state, scores in latent
        units. A mixture takes no bare scores: those of its draws lie on the axes of each row's own part,
        those of :meth:`ellipsoid.Mixture.project` on the shared axes, both have K columns, and nothing in the
        array tells which they are. Draws of some labels belong to ``mixture.select(label)``.
    latents : (..., D) array, optional
        Points as latents, in place of `scores`. With K < D they are projected: what lies off the K principal
        axes is not seen, and the density stays one over K scores.
    law : {"uniform", "normal"}
        Distribution of the draws; the ones that have a closed form.
    level, fact, region
        As for :func:`ellipsoid.sample`.

    Returns
    -------
    (...) array
        Natural logarithm, per latent unit to the power K; ``-inf`` outside the region. It is finite for all
        draws that are given as draws; latents on the boundary may be rounded to the outside.

    Raises
    ------
    TypeError
        If the shape is none, `scores` and `latents` are both given or both absent, a mixture is given scores
        or the draws of one state, one state is given the draws of a mixture, level or fact is no number, or
        traced where the law is normal, the region neither a name nor a region object, or its mask not
        boolean.
    ValueError
        For ``redraw`` and ``sequential``, which have no closed form, an unknown law or region, a region of a
        subset of the pairs, a level or fact that is not finite and above 0, points of another size or with
        masked values, and draws of another shape (under ``jax.jit`` those are not noticed).

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
    settings = DrawSettings(law, level, fact, region)
    density = _density(settings, shape.n_components)
    if (scores is None) == (latents is None):
        given = "neither" if scores is None else "both"
        raise TypeError(f"scores: expected either scores or latents; got {given}")
    if latents is not None:
        latents = _check_last_axis("latents", latents, shape.n_features)
    if isinstance(shape, PCAState):
        points = _scores_of_state(shape, scores) if latents is None else shape.project(latents)
        return density(points, semi_axes(shape, settings.radius))
    if latents is not None:
        densities = _densities_of_parts(shape, latents, density, settings.radius)
    else:
        points, part = _scores_of_parts(shape, scores)
        latents = shape.reconstruct(points, part)
        densities = _densities_of_parts(shape, latents, density, settings.radius)
        # In its own part a draw is inside by its scores; by its latents, rounding might put it outside.
        own = density(points, semi_axes(shape, settings.radius)[part])
        numbers = lax.broadcasted_iota(np.int32, densities.shape, 0)
        is_own = numbers == jnp.broadcast_to(part, densities.shape)
        densities = jnp.where(is_own, jnp.broadcast_to(own, densities.shape), densities)
    weights = shape.weights.reshape(-1, *[1] * (densities.ndim - 1))
    return jax.nn.logsumexp(densities, axis=0, b=weights)


_Density = Callable[[jax.Array, jax.Array], jax.Array]


def _densities_of_parts(
    mixture: Mixture, latents: jax.Array, density: _Density, radius: float | jax.Array
) -> jax.Array:
    """Log-density of each part at latents, ``(M, ...)``."""
    return lax.map(lambda state: density(state.project(latents), semi_axes(state, radius)), mixture.parts)


def _density(settings: DrawSettings, k: int) -> _Density:
    """Log-density of `k` scores, given the semi-axes of their region."""
    region, radius = settings.region_of(k), settings.radius
    log_density = get_law(settings.law, region).log_density
    if log_density is None:
        raise ValueError(
            f"law: expected uniform or normal, which have a closed-form density; got {settings.law!r}"
        )

    def density(scores, axes):
        u = normalised(scores, axes)
        inside = region.gauge(u) <= 1
        # The density of a point outside is never used, nor its gradient: hence the second where.
        u = jnp.where(inside[..., None], u, 0)
        return jnp.where(inside, log_density(u, radius, region) - jnp.sum(jnp.log(axes), axis=-1), -jnp.inf)

    return density


def _scores_of_state(state: PCAState, scores: Any) -> jax.Array:
    if isinstance(scores, MixtureDraws):
        raise TypeError(
            "scores: expected Draws or an array for one state; got MixtureDraws, whose scores are on the "
            "axes of parts; pass latents=draws.latents"
        )
    if not isinstance(scores, Draws):
        return _check_last_axis("scores", scores, state.n_components)
    points = _check_last_axis("scores", scores.scores, state.n_components)
    _check_origin(scores, points, state, state.reconstruct)
    return points


def _scores_of_parts(mixture: Mixture, draws: Any) -> tuple[jax.Array, jax.Array]:
    if not isinstance(draws, MixtureDraws):
        raise TypeError(
            f"scores: expected MixtureDraws for a mixture; got {type(draws).__name__}, which does not say on "
            f"the axes of which part its scores are; pass the draws themselves, or latents=..., which for "
            f"scores on the shared axes are mixture.shared.reconstruct(scores)"
        )
    scores, part = _check_last_axis("scores", draws.scores, mixture.n_components), jnp.asarray(draws.part)
    _check_origin(draws, scores, mixture, lambda scores: mixture.reconstruct(scores, part))
    return scores, part


def _check_origin(
    draws: Draws | MixtureDraws,
    scores: jax.Array,
    shape: Shape,
    reconstruct: Callable[[jax.Array], jax.Array],
) -> None:
    """Raise unless the scores of draws give their latents: scores of another shape are on other axes."""
    if is_traced((draws, shape)):
        return
    latents = np.asarray(draws.latents, np.float32)
    expected = np.asarray(reconstruct(scores))
    rounding = float(jnp.finfo(draws.latents.dtype).eps) * np.abs(latents).max(axis=-1, initial=0)
    limit = 4 * rounding + 1e-3 * np.linalg.norm(scores, axis=-1)
    if expected.shape != latents.shape or np.any(np.abs(expected - latents).max(axis=-1) > limit):
        raise ValueError(
            "scores: expected draws of this shape; got draws of another one (those of some labels belong to "
            "mixture.select(label)); pass latents=draws.latents to judge them by this shape"
        )
