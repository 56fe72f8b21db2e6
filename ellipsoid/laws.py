r"""Laws: distributions of draws inside a region, in normalised coordinates.

Every law draws ``u``, a ``(k,)`` float32 vector of gauge at most 1 (up to rounding), from
``(philox_words, row, k, tables)``. ``row`` holds the two halves of the row number. :attr:`Law.prepare` makes
``tables`` on the host from K, the radius and the region. ``jax.vmap`` makes batches, except for the two
procedures, whose loops run over a batch until its last vector is done.

On the pairwise region:

``redraw``, ``sequential``
    The procedure of the source method, and a simpler one; see :mod:`ellipsoid.procedures`.
``uniform``
    The uniform distribution over the region. Cube or spike is chosen by volume, then the coordinate of the
    spike and its angle :math:`t` (with density proportional to :math:`\cos^K t`); the rest is uniform. The
    draw is exact, takes O(K) and rejects nothing.
``normal``
    The Gaussian :math:`N(0, \mathrm{diag}\, s^2)` truncated to the region. The draw follows the same steps
    with Gaussian masses and the inverse of erf. It is exact, takes O(K) and rejects nothing.

``uniform`` and ``normal`` exist on the ellipsoid and the box as well.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.core import Tracer
from jax.scipy.special import erf, erfinv

from ellipsoid.integrals import (
    MAX_EXPONENT,
    MAX_LOGIT,
    SpikePieces,
    normal_pieces,
    normal_radii,
    uniform_pieces,
)
from ellipsoid.levels import log_joint_coverage
from ellipsoid.procedures import draw_redraw, draw_sequential, each_row
from ellipsoid.random import CounterStream, random_below, row_block, row_words, uniform01, uniform_signed
from ellipsoid.regions import BOX, ELLIPSOID, PAIRWISE, Region

_SQRT_2 = np.float32(np.sqrt(2))
# erfinv(1) is infinite; the largest float32 below 1 gives a finite number, 5.4 standard deviations out.
_BELOW_ONE = np.float32(1 - 2**-24)


class Law(NamedTuple):
    """Distribution on a region.

    Attributes
    ----------
    prepare : callable ``(k, radius, region) -> tables``
        Function that makes the arrays of `draw`, on the host.
    draw : callable ``(philox_words, rows, k, tables) -> (n, k) float32``
        Function that draws a batch of rows; `rows` is a pair of ``(n,)`` uint32 arrays.
    log_density : callable ``(k, radius, region) -> (constant, rate)``, optional
        Function that makes two float32 numbers on the host: inside, the log-density over normalised
        coordinates is ``constant - rate * |u|^2``. None if there is no closed form.
    """

    prepare: Callable[[int, float | jax.Array, Region], Any]
    draw: Callable[..., jax.Array]
    log_density: Callable[[int, float | jax.Array, Region], tuple[np.float32, np.float32]] | None


def _interpolate(table, position):
    """Interpolate in a table of equal steps; `position` is in steps and clamped to the table."""
    last = table.shape[0] - 1
    position = jnp.clip(position, 0, np.float32(last))  # an infinite position becomes the last
    index = jnp.minimum(position.astype(np.int32), last - 1)
    low, high = table[index], table[index + 1]
    return low + (high - low) * (position - index.astype(np.float32))


def _batched(draw_one):
    return functools.partial(each_row, draw_one)


def _concrete(radius: Any) -> float:
    if isinstance(radius, Tracer):
        raise TypeError(
            "level: expected a concrete level and fact for the law 'normal', which makes tables on the host; "
            "got a traced one"
        )
    return radius


def _standard_normal(words):
    return _SQRT_2 * erfinv(jnp.clip(uniform_signed(words), -_BELOW_ONE, _BELOW_ONE))


# --- pairwise: cube and spikes ---------------------------------------------------------------------


def _share_and_angles(pieces: SpikePieces):
    return np.float32(pieces.spike_share), pieces.angles


def _prepare_uniform_pairwise(k, radius, region):
    return _share_and_angles(uniform_pieces(k))


def _prepare_normal_pairwise(k, radius, region):
    radius = _concrete(radius)
    return _share_and_angles(normal_pieces(k, radius)), np.float32(radius)


def _draw_piece(philox_words, row, k, pieces):
    """Draw cube or spike: the bound of the other components, and the index and value of the spike.

    In the cube the index is K, which matches no component.
    """
    spike_share, angles = pieces
    choice, which, angle, sign = row_block(philox_words, row, CounterStream.PIECE, np.uint32(0))
    in_spike = uniform01(choice) <= spike_share
    step = np.float32((angles.shape[0] - 1) / MAX_EXPONENT)
    delta = _interpolate(angles, -jnp.log(uniform01(angle)) * step) / np.float32(k)
    # sin and cos of pi/4 + delta are computed from those of delta, which can be as small as 1/K.
    sine, cosine = (jnp.cos(delta) + jnp.sin(delta)) / _SQRT_2, (jnp.cos(delta) - jnp.sin(delta)) / _SQRT_2
    bound = jnp.where(in_spike, jnp.maximum(cosine, 0), 1 / _SQRT_2)
    index = jnp.where(in_spike, random_below(which, np.uint32(k)), np.uint32(k))
    return bound, index, jnp.where(sign >> 31 == 1, -sine, sine)


def _fill(philox_words, row, k):
    return row_words(philox_words, row, CounterStream.FILL, k)


def _with_spike(ordinary, index, spike):
    return jnp.where(lax.iota(np.uint32, ordinary.shape[0]) == index, spike, ordinary)


def _draw_uniform_pairwise(philox_words, row, k, pieces):
    bound, index, spike = _draw_piece(philox_words, row, k, pieces)
    return _with_spike(bound * uniform_signed(_fill(philox_words, row, k)), index, spike)


def _bounded_normal(words, bound, radius):
    """Draw standard normal numbers truncated to ``+-bound * radius``, divided by the radius."""
    mass = erf(bound * radius / _SQRT_2)
    rank = jnp.clip(uniform_signed(words) * mass, -_BELOW_ONE, _BELOW_ONE)
    # The inverse may exceed the bound by its own rounding.
    return jnp.clip(_SQRT_2 * erfinv(rank) / radius, -bound, bound)


def _draw_normal_pairwise(philox_words, row, k, tables):
    pieces, radius = tables
    bound, index, spike = _draw_piece(philox_words, row, k, pieces)
    return _with_spike(_bounded_normal(_fill(philox_words, row, k), bound, radius), index, spike)


# --- ellipsoid and box -----------------------------------------------------------------------------


def _normal_lengths(k, radius, region):
    radius = _concrete(radius)
    return normal_radii(k, radius), np.float32(radius)


def _normal_radius(k, radius, region):
    return np.float32(_concrete(radius))


def _direction(philox_words, row, k):
    normal = _standard_normal(_fill(philox_words, row, k))
    return normal / jnp.linalg.norm(normal)


def _draw_uniform_ellipsoid(philox_words, row, k, _):
    rank = uniform01(row_block(philox_words, row, CounterStream.PIECE, np.uint32(0))[0])
    return _direction(philox_words, row, k) * jnp.exp(jnp.log(rank) / np.float32(k))


def _draw_normal_ellipsoid(philox_words, row, k, tables):
    log_lengths, radius = tables
    rank = uniform01(row_block(philox_words, row, CounterStream.PIECE, np.uint32(0))[0])
    logit = jnp.log(rank) - jnp.log1p(-rank)
    step = np.float32((log_lengths.shape[0] - 1) / (2 * MAX_LOGIT))
    length = jnp.exp(_interpolate(log_lengths, (logit + np.float32(MAX_LOGIT)) * step))
    return _direction(philox_words, row, k) * jnp.minimum(length / radius, 1)


def _draw_uniform_box(philox_words, row, k, _):
    return uniform_signed(_fill(philox_words, row, k))


def _draw_normal_box(philox_words, row, k, radius):
    return _bounded_normal(_fill(philox_words, row, k), np.float32(1), radius)


# --- densities -------------------------------------------------------------------------------------


def _log_density_uniform(k, radius, region):
    return np.float32(-region.log_volume(k)), np.float32(0)


def _log_density_normal(k, radius, region):
    radius = _concrete(radius)
    # In normalised coordinates the Gaussian has the standard deviation 1 / radius.
    constant = k * np.log(radius / np.sqrt(2 * np.pi)) - log_joint_coverage(radius, k, region)
    return np.float32(constant), np.float32(radius**2 / 2)


def _pairs(k, radius, region):
    return region.pairs


def _nothing(k, radius, region):
    return None


LAWS: dict[tuple[str, str], Law] = {
    ("redraw", PAIRWISE): Law(_pairs, draw_redraw, None),
    ("sequential", PAIRWISE): Law(_pairs, draw_sequential, None),
    ("uniform", PAIRWISE): Law(
        _prepare_uniform_pairwise, _batched(_draw_uniform_pairwise), _log_density_uniform
    ),
    ("normal", PAIRWISE): Law(_prepare_normal_pairwise, _batched(_draw_normal_pairwise), _log_density_normal),
    ("uniform", ELLIPSOID): Law(_nothing, _batched(_draw_uniform_ellipsoid), _log_density_uniform),
    ("normal", ELLIPSOID): Law(_normal_lengths, _batched(_draw_normal_ellipsoid), _log_density_normal),
    ("uniform", BOX): Law(_nothing, _batched(_draw_uniform_box), _log_density_uniform),
    ("normal", BOX): Law(_normal_radius, _batched(_draw_normal_box), _log_density_normal),
}

NAMES = tuple(dict.fromkeys(name for name, _ in LAWS))


def get_law(name: str, region: Region) -> Law:
    """Return the law of a name on a region.

    Raises
    ------
    ValueError
        If the name is unknown, the region does not have this law, or the law is "uniform" or "normal" and
        the region has a subset of the pairs.
    """
    if name not in NAMES:
        raise ValueError(f"law: expected one of {', '.join(NAMES)}; got {name!r}")
    law = LAWS.get((name, region.name))
    if law is None:
        available = ", ".join(law for law, region_name in LAWS if region_name == region.name)
        raise ValueError(f"law: expected one that the region {region.name!r} has, {available}; got {name!r}")
    if getattr(region, "pairs", None) is not None and law.log_density is not None:
        raise ValueError(f"law: expected redraw or sequential on a subset of the pairs; got {name!r}")
    return law
