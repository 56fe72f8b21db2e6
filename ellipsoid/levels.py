r"""Confidence levels and what they cover; the integrals that exact draws rest on.

All of this runs on the host in float64, and in logarithms: at K = 4,096 the volumes and masses
leave the range of any float. Levels are in standard deviations: at level :math:`L` the ellipse of a
pair of components has the semi-axes :math:`L s_i, L s_j`.

With :math:`\theta = \pi/4 + \delta` the angle of a spike (:mod:`ellipsoid.regions`), the integrals
over the spikes are, relative to the cube for the uniform law and absolute for the normal one,

.. math::
    R_K = K \int_0^{\pi/4} (\cos\delta - \sin\delta)^K \, d\delta, \qquad
    S_K(r) = K \int_{\pi/4}^{\pi/2} 2 r \cos\theta \, \varphi(r \sin\theta) \,
             \operatorname{erf}(r \cos\theta / \sqrt 2)^{K-1} \, d\theta,

and the cube holds a Gaussian share of :math:`\operatorname{erf}(r/2)^K`.
"""

import functools
import math
from typing import NamedTuple

import numpy as np
from scipy import optimize, special

#: Smallest probability that a uniform number made from 32 bits resolves, as an exponent: -log(2^-33).
MAX_EXPONENT = 33 * math.log(2)
_SPIKE_NODES = 513
_RADIUS_NODES = 2049
MAX_LOGIT = 23.0


class SpikePieces(NamedTuple):
    """How one law splits over cube and spikes, and where in a spike it lies.

    ``log_total`` is the logarithm of the volume (uniform) or mass (normal) of both pieces,
    ``spike_share`` the spikes' part of it, and ``angles`` holds the spike's ``delta``, times K, at
    equal steps of ``e = -log(1 - v)``, ``v`` being the probability of a smaller angle. The scaling
    by K and the exponential coordinate make the table nearly a straight line: 513 nodes err by less
    than 2e-6 in distribution at K >= 256, where 4,097 nodes of the plain angle err by 0.05 at 4,096.
    """

    log_total: float
    spike_share: float
    angles: np.ndarray


def _integrate_spike(log_density, rate):
    """Log integral of ``exp(log_density(delta))`` over [0, pi/4], and its inverse survival table.

    ``rate`` says how fast the density falls off at zero; the cells grow geometrically from 1/rate.
    """
    nodes, weights = np.polynomial.legendre.leggauss(8)
    stretch = math.log1p(rate)
    edges = np.linspace(0, 1, 4097)

    def delta(x):
        return math.pi / 4 * np.expm1(stretch * x) / math.expm1(stretch)

    x = edges[:-1, None] + (nodes + 1) / 2 * np.diff(edges)[:, None]
    jacobian = math.pi / 4 * stretch * np.exp(stretch * x) / math.expm1(stretch)
    with np.errstate(divide="ignore"):
        values = log_density(delta(x)) + np.log(jacobian * weights / 2 * np.diff(edges)[:, None])
    peak = values.max()
    cells = np.exp(values - peak).sum(axis=1)
    survival = np.append(np.cumsum(cells[::-1])[::-1], 0.0)
    with np.errstate(divide="ignore"):
        exponents = -np.log(survival / survival[0])
    finite = np.isfinite(exponents)
    table = np.interp(np.linspace(0, MAX_EXPONENT, _SPIKE_NODES), exponents[finite], delta(edges)[finite])
    return peak + math.log(survival[0]), table


def _log_erf(x):
    """Log of erf, accurate at both ends: ``K * log(erf(x))`` would lose ``K * eps`` near 1."""
    x = np.asarray(x, np.float64)
    return np.where(
        x > 0.5, np.log1p(-special.erfc(np.maximum(x, 0.5))), np.log(special.erf(np.minimum(x, 0.5)))
    )


def _shares(log_cube, log_spikes, table, k):
    log_total = float(np.logaddexp(log_cube, log_spikes))
    return SpikePieces(log_total, math.exp(log_spikes - log_total), (k * table).astype(np.float32))


@functools.lru_cache(maxsize=64)
def uniform_pieces(k: int) -> SpikePieces:
    """Split of the volume of the pairwise region in ``k`` normalised dimensions."""
    log_ratio, table = _integrate_spike(lambda d: k * np.log(np.cos(d) - np.sin(d)), rate=k)
    log_cube = k / 2 * math.log(2)
    return _shares(log_cube, log_cube + math.log(k) + log_ratio, table, k)


@functools.lru_cache(maxsize=1024)
def normal_pieces(k: int, radius: float) -> SpikePieces:
    """Split of the Gaussian mass of the pairwise region of ``radius`` standard deviations."""

    def log_density(d):
        sine = (np.cos(d) + np.sin(d)) / math.sqrt(2)
        cosine = (np.cos(d) - np.sin(d)) / math.sqrt(2)
        log_peak = math.log(2 * radius / math.sqrt(2 * math.pi)) - (radius * sine) ** 2 / 2
        return log_peak + np.log(cosine) + (k - 1) * _log_erf(radius * cosine / math.sqrt(2))

    log_integral, table = _integrate_spike(log_density, rate=k + radius**2)
    return _shares(k * float(_log_erf(radius / 2)), math.log(k) + log_integral, table, k)


def pairwise_log_volume(k: int) -> float:
    """Log volume of the pairwise region in ``k`` normalised dimensions."""
    return uniform_pieces(k).log_total


def log_chi_cdf(radius, k: int):
    """Log probability that a ``k``-dimensional standard normal vector is shorter than ``radius``."""
    a, x = k / 2, np.square(np.asarray(radius, np.float64)) / 2
    # Below the mode the power series keeps full precision where the probability underflows
    # (5e-161 at K = 256, radius 2.35; K = 4,096 is beyond float64).
    small = np.minimum(x, a)
    term, series = np.ones_like(small), np.ones_like(small)
    n = 0
    while np.any(term > 1e-17 * series):
        n += 1
        term = term * small / (a + n)
        series = series + term
    with np.errstate(divide="ignore"):
        by_series = a * np.log(small) - small - special.gammaln(a + 1) + np.log(series)
        return np.where(x < a, by_series, np.log(special.gammainc(a, x)))


@functools.lru_cache(maxsize=1024)
def normal_radii(k: int, radius: float) -> np.ndarray:
    """Log length of a normal vector kept within ``radius``, at equal steps of the logit of its rank.

    The logit resolves both tails, so one table serves a radius far inside the typical shell, where
    the length is ``radius * v**(1/k)``, and one far outside it, where the cut is not felt.
    """
    log_mass = float(log_chi_cdf(radius, k))
    # Leading term of the distribution function, an upper bound of it: a safe lower end of the grid.
    lowest = (-MAX_LOGIT + log_mass + math.lgamma(k / 2 + 1) + k / 2 * math.log(2)) / k
    highest = min(math.log(radius), math.log(2 * special.gammainccinv(k / 2, 1e-12)) / 2)
    lengths = np.linspace(min(lowest, highest - 1e-3), highest, 16_385)
    log_rank = np.minimum(log_chi_cdf(np.exp(lengths), k) - log_mass, 0)
    with np.errstate(divide="ignore"):
        logits = log_rank - np.log(-np.expm1(log_rank))
    finite = np.isfinite(logits)
    table = np.interp(np.linspace(-MAX_LOGIT, MAX_LOGIT, _RADIUS_NODES), logits[finite], lengths[finite])
    return table.astype(np.float32)


# --- public functions ------------------------------------------------------------------------------


def _positive(name, value):
    value = float(value)
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"{name}: expected a finite number above 0; got {value}")
    return value


def _probability(p):
    p = float(p)
    if not 0 < p < 1:
        raise ValueError(f"p: expected a probability strictly between 0 and 1; got {p}")
    return p


def _dimension(k):
    if isinstance(k, bool) or not isinstance(k, int | np.integer) or k < 1:
        raise ValueError(f"k: expected a number of components of at least 1; got {k!r}")
    return int(k)


def _region_name(region):
    from ellipsoid.regions import as_region  # regions take their volumes from here

    region = as_region(region)
    if getattr(region, "pairs", None) is not None:
        raise ValueError("region: a subset of the pairs has no closed form; give all pairs")
    return region.name


def pair_coverage(level):
    """Share of a Gaussian inside the confidence ellipse of one pair, ``1 - exp(-level^2 / 2)``.

    Parameters
    ----------
    level : float
        In standard deviations.

    Raises
    ------
    ValueError
        If the level is not finite and positive.
    """
    return -math.expm1(-(_positive("level", level) ** 2) / 2)


def pair_level(p):
    """Level at which the ellipse of one pair holds the share ``p``: ``sqrt(-2 log(1 - p))``.

    Raises
    ------
    ValueError
        If ``p`` is not strictly between 0 and 1.
    """
    return math.sqrt(-2 * math.log1p(-_probability(p)))


def log_joint_coverage(level, k, region="pairwise"):
    """Natural logarithm of :func:`joint_coverage`, which may underflow."""
    level, k, name = _positive("level", level), _dimension(k), _region_name(region)
    if name == "pairwise":
        return normal_pieces(k, level).log_total
    if name == "ellipsoid":
        return float(log_chi_cdf(level, k))
    return k * float(_log_erf(level / math.sqrt(2)))


def joint_coverage(level, k, region="pairwise"):
    """Share of a ``k``-dimensional Gaussian that lies inside a region at a level (for ``fact = 1``).

    For the pairwise region this is the probability that all K(K-1)/2 pair conditions hold at once,
    far less than what one pair covers: at level 2.35 and K = 256 one pair holds 94 %.

    Parameters
    ----------
    level : float
        In standard deviations.
    k : int
        Number of components.
    region : {"pairwise", "ellipsoid", "box"} or a region object

    Returns
    -------
    float
        Exact to quadrature error (about 1e-12 relative); 0.0 where it underflows.

    Raises
    ------
    ValueError
        For a level that is not positive, a wrong ``k`` or an unknown region.
    """
    return math.exp(min(log_joint_coverage(level, k, region), 0.0))


def joint_level(p, k, region="pairwise"):
    """Level at which a region holds the share ``p`` of a ``k``-dimensional Gaussian (``fact = 1``).

    The inverse of :func:`joint_coverage`, to about 1e-9.

    Raises
    ------
    ValueError
        If ``p`` is not strictly between 0 and 1, for a wrong ``k`` or an unknown region.
    """
    target, k = math.log(_probability(p)), _dimension(k)

    def excess(log_level):
        return log_joint_coverage(math.exp(log_level), k, region) - target

    low = high = 0.5 * math.log(k)
    while excess(low) > 0:
        low -= 1
    while excess(high) < 0:
        high += 1
    return math.exp(float(optimize.brentq(excess, low, high, xtol=1e-11)))  # pyright: ignore[reportArgumentType]


# sqrt(1 / E[u^2]) of laws without a closed form, simulated by benchmarks/matched_levels.py; standard
# errors 0.0003 to 0.001 (redraw) and up to 0.005 at the largest K (sequential). Beyond K = 4,096 the
# last value serves.
_SIMULATED_LEVELS: dict[str, dict[int, float]] = {
    "redraw": {
        1: 1.7320,
        2: 1.8974,
        3: 2.0359,
        4: 2.1500,
        6: 2.3193,
        8: 2.4340,
        12: 2.5752,
        16: 2.6562,
        24: 2.7453,
        32: 2.7909,
        50: 2.8442,
        64: 2.8634,
        96: 2.8901,
        128: 2.9031,
        192: 2.9150,
        256: 2.9216,
        384: 2.9274,
        512: 2.9313,
        768: 2.9368,
        1024: 2.9375,
        2048: 2.9403,
        4096: 2.9416,
    },
    "sequential": {
        1: 1.7320,
        2: 1.8973,
        3: 2.0211,
        4: 2.1172,
        6: 2.2562,
        8: 2.3511,
        12: 2.4733,
        16: 2.5492,
        24: 2.6379,
        32: 2.6879,
        50: 2.7473,
        64: 2.7722,
        96: 2.8025,
        128: 2.8188,
        192: 2.8366,
        256: 2.8448,
        384: 2.8538,
        512: 2.8577,
        768: 2.8625,
        1024: 2.8654,
        2048: 2.8695,
        4096: 2.8704,
    },
}


def _uniform_pairwise_second_moment(k):
    """Mean of ``u_i^2`` under the uniform law on the pairwise region."""
    pieces = uniform_pieces(k)
    nodes, weights = np.polynomial.legendre.leggauss(200)
    stretch = math.log1p(k)
    x = (nodes + 1) / 2
    delta = math.pi / 4 * np.expm1(stretch * x) / math.expm1(stretch)
    cosine, sine = np.cos(delta + math.pi / 4), np.sin(delta + math.pi / 4)
    weights = weights * np.exp(k * np.log(np.cos(delta) - np.sin(delta)) + stretch * x)
    spike = np.average((sine**2 + (k - 1) * cosine**2 / 3) / k, weights=weights)
    return (1 - pieces.spike_share) / 6 + pieces.spike_share * spike


def matched_level(k, law="redraw", region="pairwise"):
    """Level at which draws have the variance of the data, ``level^2 E[u^2] = 1`` (for ``fact = 1``).

    Exact for the uniform law: 2.0000, 2.4460, 2.4493 at K = 2, 50, 256 on the pairwise region
    (sqrt 6 in the limit), ``sqrt(K + 2)`` on the ellipsoid, ``sqrt 3`` on the box. For ``redraw`` and
    ``sequential`` interpolated in a simulated table.

    Parameters
    ----------
    k : int
        Number of components.
    law : {"redraw", "sequential", "uniform"}
    region : {"pairwise", "ellipsoid", "box"} or a region object

    Raises
    ------
    ValueError
        For ``normal``, which reaches the data's variance at no finite level, for an unknown law or
        region, and for a law that the region doesn't have.
    """
    k, name = _dimension(k), _region_name(region)
    if law == "normal":
        raise ValueError("law: a normal law cut off at any level has less variance than the data: no match")
    if law == "uniform":
        if name == "ellipsoid":
            return math.sqrt(k + 2)
        return math.sqrt(3) if name == "box" else 1 / math.sqrt(_uniform_pairwise_second_moment(k))
    if law not in _SIMULATED_LEVELS:
        raise ValueError(f"law: expected one of redraw, sequential, uniform; got {law!r}")
    if name != "pairwise":
        raise ValueError(f"law: {law!r} is defined on the pairwise region only; got region {name!r}")
    table = _SIMULATED_LEVELS[law]
    return float(np.interp(math.log(k), np.log(list(table)), list(table.values())))
