"""Confidence levels and the Gaussian mass that they cover.

Levels are in standard deviations: at level ``L`` the ellipse of a pair of components has the semi-axes
``L s_i`` and ``L s_j``. Every function here runs on the host in float64, with the integrals of
:mod:`ellipsoid.integrals`.
"""

import math

import numpy as np
import scipy

from ellipsoid.checks import check_count, check_positive
from ellipsoid.integrals import log_chi_cdf, log_erf, normal_pieces, uniform_second_moment
from ellipsoid.regions import BOX, ELLIPSOID, PAIRWISE, Region, as_region


def _probability(p: float) -> float:
    p = float(p)
    if not 0 < p < 1:
        raise ValueError(f"p: expected a probability strictly between 0 and 1; got {p}")
    return p


def _region_name(region: str | Region) -> str:
    region = as_region(region)
    if getattr(region, "pairs", None) is not None:
        raise ValueError("region: expected all pairs; got a subset of them, which has no closed form")
    return region.name


def pair_coverage(level: float) -> float:
    """Share of a Gaussian inside the confidence ellipse of one pair, ``1 - exp(-level^2 / 2)``.

    Parameters
    ----------
    level : float
        Level in standard deviations.

    Returns
    -------
    float
        Probability in (0, 1]; it is rounded to 1 above level 8.6.

    Raises
    ------
    TypeError
        If the level is not a number.
    ValueError
        If the level is not finite and above 0.

    Examples
    --------
    >>> round(pair_coverage(1.645), 3)
    0.742
    """
    level = check_positive("level", level)
    return -math.expm1(-level * level / 2)  # `level ** 2` would raise an error where it overflows


def pair_level(p: float) -> float:
    """Level at which the ellipse of one pair holds the share `p`: ``sqrt(-2 log(1 - p))``.

    Parameters
    ----------
    p : float
        Probability, strictly between 0 and 1.

    Returns
    -------
    float
        Level in standard deviations; the inverse of :func:`pair_coverage`.

    Raises
    ------
    ValueError
        If `p` is not strictly between 0 and 1.

    Examples
    --------
    >>> round(pair_level(0.95), 3)
    2.448
    """
    return math.sqrt(-2 * math.log1p(-_probability(p)))


def log_joint_coverage(level: float, k: int, region: str | Region = "pairwise") -> float:
    """Natural logarithm of :func:`joint_coverage`, which can underflow.

    Parameters
    ----------
    level, k, region
        Arguments of :func:`joint_coverage`.

    Returns
    -------
    float
        Logarithm of the share; finite up to K = 4,096 and beyond.

    Raises
    ------
    TypeError, ValueError
        If :func:`joint_coverage` would raise it.

    Examples
    --------
    >>> round(log_joint_coverage(2.35, 256, "ellipsoid") / math.log(10), 1)
    -160.3
    """
    level, k, name = check_positive("level", level), check_count("k", k), _region_name(region)
    level = min(level, 100 + 100 * math.sqrt(k))  # such a level holds all of the mass
    if name == PAIRWISE:
        return normal_pieces(k, level).log_total
    if name == ELLIPSOID:
        return float(log_chi_cdf(level, k))
    return k * float(log_erf(level / math.sqrt(2)))


def joint_coverage(level: float, k: int, region: str | Region = "pairwise") -> float:
    """Share of a `k`-dimensional Gaussian that lies inside a region at a level (for ``fact = 1``).

    For the pairwise region, this is the probability that all K(K-1)/2 pair conditions hold at once. It is far
    below the share of one pair, which is 94 % at level 2.35.

    Parameters
    ----------
    level : float
        Level in standard deviations.
    k : int
        Number of components.
    region : {"pairwise", "ellipsoid", "box"} or a region object
        Region with all pairs; a subset of the pairs has no closed form.

    Returns
    -------
    float
        Share, with a relative quadrature error of about 1e-12; 0.0 if it underflows.

    Raises
    ------
    TypeError
        If `level` is not a number, `k` is not an integer, or `region` is neither a name nor a region object.
    ValueError
        If `level` is not finite and above 0, `k` is below 1, or the region is unknown or has a subset of the
        pairs.

    Examples
    --------
    >>> round(joint_coverage(2.35, 2), 4) == round(pair_coverage(2.35), 4) == 0.9368
    True
    >>> round(joint_coverage(4.0, 256), 4)
    0.4335
    """
    return math.exp(min(log_joint_coverage(level, k, region), 0.0))


def joint_level(p: float, k: int, region: str | Region = "pairwise") -> float:
    """Level at which a region holds the share `p` of a `k`-dimensional Gaussian (``fact = 1``).

    Parameters
    ----------
    p : float
        Probability, strictly between 0 and 1.
    k, region
        Number of components, and the region; see :func:`joint_coverage`.

    Returns
    -------
    float
        Level in standard deviations; the inverse of :func:`joint_coverage`, accurate to about 1e-9.

    Raises
    ------
    TypeError
        If `k` is not an integer, or `region` is neither a name nor a region object.
    ValueError
        If `p` is not strictly between 0 and 1, `k` is below 1, or the region is unknown or has a subset of
        the pairs.

    Examples
    --------
    >>> round(joint_level(0.5, 256), 3)
    4.066
    """
    target, k = math.log(_probability(p)), check_count("k", k)

    def excess(log_level):
        return log_joint_coverage(math.exp(log_level), k, region) - target

    low = high = 0.5 * math.log(k)
    while excess(low) > 0:
        low -= 1
    while excess(high) < 0:
        high += 1
    return math.exp(float(scipy.optimize.brentq(excess, low, high, xtol=1e-11)))  # pyright: ignore[reportArgumentType]


# sqrt(1 / E[u^2]) for the distributions without a closed form, simulated by benchmarks/matched_levels.py.
# Standard errors are 0.0003 to 0.001 (redraw) and up to 0.005 at the largest K (sequential).
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

# Limits of these values for many components, from the equations that benchmarks/matched_levels.py solves. The
# distance to the limit falls as 1 / K: 0.0059, 0.0031 and 0.0018 at K = 1,024, 2,048 and 4,096 (redraw).
_LIMITING_LEVELS = {"redraw": 2.9434, "sequential": 2.8720}


def matched_level(k: int, law: str = "redraw", region: str | Region = "pairwise") -> float:
    """Level at which draws have the variance of the data, ``level^2 E[u^2] = 1`` (for ``fact = 1``).

    It is exact for ``uniform``: 2.0000, 2.4460, 2.4493 at K = 2, 50, 256 on the pairwise region (sqrt 6 in
    the limit), ``sqrt(K + 2)`` on the ellipsoid, ``sqrt 3`` on the box. For ``redraw`` and ``sequential`` it
    is interpolated in a simulated table up to K = 4,096. Beyond that, its distance to the limit, 2.9434 or
    2.8720, is extrapolated as ``1 / K``; that distance is below 0.002.

    Parameters
    ----------
    k : int
        Number of components.
    law : {"redraw", "sequential", "uniform"}
        Distribution of the draws.
    region : {"pairwise", "ellipsoid", "box"} or a region object
        Region with all pairs.

    Returns
    -------
    float
        Level in standard deviations.

    Raises
    ------
    TypeError
        If `k` is not an integer, or `region` is neither a name nor a region object.
    ValueError
        If `k` is below 1, `law` is "normal", which reaches the data's variance at no finite level, `law` or
        `region` is unknown, the region has a subset of the pairs, or it does not have this law.

    Examples
    --------
    >>> round(matched_level(256, "uniform"), 4)
    2.4493
    >>> round(matched_level(256), 2)
    2.92
    """
    k, name = check_count("k", k), _region_name(region)
    if law == "normal":
        raise ValueError(
            "law: expected one of redraw, sequential, uniform; got 'normal', whose draws have less variance "
            "than the data at any level"
        )
    if law == "uniform":
        if name == ELLIPSOID:
            return math.sqrt(k + 2)
        return math.sqrt(3) if name == BOX else 1 / math.sqrt(uniform_second_moment(k))
    if law not in _SIMULATED_LEVELS:
        raise ValueError(f"law: expected one of redraw, sequential, uniform; got {law!r}")
    if name != PAIRWISE:
        raise ValueError(f"law: expected uniform for the region {name!r}; got {law!r}")
    table, limit = _SIMULATED_LEVELS[law], _LIMITING_LEVELS[law]
    largest = max(table)
    if k > largest:
        return limit - (limit - table[largest]) * largest / k
    return float(np.interp(math.log(k), np.log(list(table)), list(table.values())))
