r"""Volumes, Gaussian masses and tables of the regions, for levels and exact draws.

All of this runs on the host in float64, and in logarithms: at K = 4,096 the volumes and masses exceed the
range of any float.

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
import scipy
from numpy.typing import ArrayLike

#: Smallest probability that a uniform number of 32 bits resolves, as an exponent: -log(2^-33). The table of a
#: spike's angle ends there.
MAX_EXPONENT = 33 * math.log(2)
#: Largest absolute logit of a rank in the table of lengths.
MAX_LOGIT = 23.0
_SPIKE_NODES = 513
_RADIUS_NODES = 2049


class SpikePieces(NamedTuple):
    """Split of one distribution into cube and spikes, and its angles within a spike.

    Attributes
    ----------
    log_total : float
        Logarithm of the volume (uniform) or of the Gaussian mass (normal) of both pieces.
    spike_share : float
        Share of the spikes in that total.
    angles : (513,) float32 array
        Angle ``delta`` of the spike, times K, at equal steps of ``e = -log(1 - v)`` up to
        :data:`MAX_EXPONENT`; ``v`` is the probability of a smaller angle. The factor K and the exponential
        coordinate make the table nearly a straight line: 513 nodes err by less than 2e-6 in distribution at
        K >= 256; 4,097 nodes of the plain angle err by 0.05 at K = 4,096.
    """

    log_total: float
    spike_share: float
    angles: np.ndarray


# Negligible terms may underflow here, and log(0) is minus infinity on purpose, whatever errors the caller has
# asked NumPy to raise.
_quietly = np.errstate(all="ignore")


@_quietly
def _integrate_spike(log_density, rate):
    """Return the log integral of ``exp(log_density(delta))`` over [0, pi/4], and its inverse survival table.

    ``rate`` is the decay rate of the density at zero; cells grow geometrically from 1/rate.
    """
    nodes, weights = np.polynomial.legendre.leggauss(8)
    stretch = math.log1p(rate)
    edges = np.linspace(0, 1, 4097)

    def delta(x):
        return math.pi / 4 * np.expm1(stretch * x) / math.expm1(stretch)

    x = edges[:-1, None] + (nodes + 1) / 2 * np.diff(edges)[:, None]
    jacobian = math.pi / 4 * stretch * np.exp(stretch * x) / math.expm1(stretch)
    values = log_density(delta(x)) + np.log(jacobian * weights / 2 * np.diff(edges)[:, None])
    peak = values.max()
    cells = np.exp(values - peak).sum(axis=1)
    survival = np.append(np.cumsum(cells[::-1])[::-1], 0.0)
    exponents = -np.log(survival / survival[0])
    finite = np.isfinite(exponents)
    table = np.interp(np.linspace(0, MAX_EXPONENT, _SPIKE_NODES), exponents[finite], delta(edges)[finite])
    return peak + math.log(survival[0]), table


@_quietly
def log_erf(x: ArrayLike) -> np.ndarray:
    """Return log erf, accurate at both ends: ``K * log(erf(x))`` would lose ``K * eps`` near 1."""
    x = np.asarray(x, np.float64)
    return np.where(
        x > 0.5,
        np.log1p(-scipy.special.erfc(np.maximum(x, 0.5))),
        np.log(scipy.special.erf(np.minimum(x, 0.5))),
    )


@_quietly
def _shares(log_cube, log_spikes, table, k):
    log_total = float(np.logaddexp(log_cube, log_spikes))
    return SpikePieces(log_total, math.exp(log_spikes - log_total), (k * table).astype(np.float32))


@functools.lru_cache(maxsize=64)
def uniform_pieces(k: int) -> SpikePieces:
    """Split the volume of the pairwise region in ``k`` normalised dimensions."""
    log_ratio, table = _integrate_spike(lambda d: k * np.log(np.cos(d) - np.sin(d)), rate=k)
    log_cube = k / 2 * math.log(2)
    return _shares(log_cube, log_cube + math.log(k) + log_ratio, table, k)


@functools.lru_cache(maxsize=1024)
def normal_pieces(k: int, radius: float) -> SpikePieces:
    """Split the Gaussian mass of the pairwise region of ``radius`` standard deviations."""

    def log_density(d):
        sine = (np.cos(d) + np.sin(d)) / math.sqrt(2)
        cosine = (np.cos(d) - np.sin(d)) / math.sqrt(2)
        log_peak = math.log(2 * radius / math.sqrt(2 * math.pi)) - (radius * sine) ** 2 / 2
        return log_peak + np.log(cosine) + (k - 1) * log_erf(radius * cosine / math.sqrt(2))

    log_integral, table = _integrate_spike(log_density, rate=k + radius**2)
    return _shares(k * float(log_erf(radius / 2)), math.log(k) + log_integral, table, k)


@_quietly
def uniform_second_moment(k: int) -> float:
    """Return the mean of ``u_i^2`` under the uniform distribution on the pairwise region."""
    pieces = uniform_pieces(k)
    nodes, weights = np.polynomial.legendre.leggauss(200)
    stretch = math.log1p(k)
    x = (nodes + 1) / 2
    delta = math.pi / 4 * np.expm1(stretch * x) / math.expm1(stretch)
    cosine, sine = np.cos(delta + math.pi / 4), np.sin(delta + math.pi / 4)
    weights = weights * np.exp(k * np.log(np.cos(delta) - np.sin(delta)) + stretch * x)
    spike = np.average((sine**2 + (k - 1) * cosine**2 / 3) / k, weights=weights)
    return (1 - pieces.spike_share) / 6 + pieces.spike_share * spike


def pairwise_log_volume(k: int) -> float:
    """Return the log volume of the pairwise region in ``k`` normalised dimensions."""
    return uniform_pieces(k).log_total


@_quietly
def log_chi_cdf(radius: ArrayLike, k: int) -> np.ndarray:
    """Return the log probability that a standard normal ``k``-vector is shorter than ``radius``."""
    a, x = k / 2, np.square(np.asarray(radius, np.float64)) / 2
    # Below the mode, the power series keeps full precision even if the probability underflows (it is 5e-161
    # at K = 256, radius 2.35; at K = 4,096 it is below float64).
    small = np.minimum(x, a)
    term, series = np.ones_like(small), np.ones_like(small)
    n = 0
    while np.any(term > 1e-17 * series):
        n += 1
        term = term * small / (a + n)
        series = series + term
    by_series = a * np.log(small) - small - scipy.special.gammaln(a + 1) + np.log(series)
    return np.where(x < a, by_series, np.log(scipy.special.gammainc(a, x)))


@functools.lru_cache(maxsize=1024)
@_quietly
def normal_radii(k: int, radius: float) -> np.ndarray:
    """Return log lengths of a normal vector kept within ``radius``, at equal steps of the logit of the rank.

    The logit resolves both tails. One table therefore serves a radius far inside the typical shell, where
    the length is ``radius * v**(1/k)``, and a radius far outside it, where the cut has no effect.
    """
    log_mass = float(log_chi_cdf(radius, k))
    # The leading term of the distribution function bounds it from above, so the grid starts low enough.
    lowest = (-MAX_LOGIT + log_mass + math.lgamma(k / 2 + 1) + k / 2 * math.log(2)) / k
    highest = min(math.log(radius), math.log(2 * scipy.special.gammainccinv(k / 2, 1e-12)) / 2)
    lengths = np.linspace(min(lowest, highest - 1e-3), highest, 16_385)
    log_rank = np.minimum(log_chi_cdf(np.exp(lengths), k) - log_mass, 0)
    logits = log_rank - np.log(-np.expm1(log_rank))
    finite = np.isfinite(logits)
    table = np.interp(np.linspace(-MAX_LOGIT, MAX_LOGIT, _RADIUS_NODES), logits[finite], lengths[finite])
    return table.astype(np.float32)
