"""Joint distribution of all components: normality, distances from the centre, clusters."""

import math
import threading
from dataclasses import dataclass

import numpy as np
from jax.typing import ArrayLike
from scipy import stats

from ellipsoid.blocks import row_slices, subset
from ellipsoid.checks import check_matrix
from ellipsoid.diagnostics.rows import LEADING, PAIR_ROWS, TEST_ROWS, check_scale
from ellipsoid.halfwidth import core_or_median


@dataclass(frozen=True)
class MultivariateNormality:
    """Tests of multivariate normality on a subset of n rows and k components.

    Attributes
    ----------
    n, k : int
        Numbers of rows and components.
    skewness, skewness_p : float
        Mardia's (1970) skewness and its p-value. The skewness is the mean of ``g_ij^3`` over all pairs of
        rows, with g their inner product in whitened coordinates.
    kurtosis_ratio, kurtosis_p : float
        Ratio of Mardia's kurtosis to a Gaussian's, ``k (k + 2) (n - 1) / (n + 1)``, and its two-sided
        p-value. The kurtosis is the mean fourth power of the Mahalanobis distances.
    henze_zirkler, henze_zirkler_expected, henze_zirkler_p : float
        Statistic of Henze and Zirkler (1990) on the first `LEADING` columns, its mean under a Gaussian, and
        its p-value.
    """

    n: int
    k: int
    skewness: float
    skewness_p: float
    kurtosis_ratio: float
    kurtosis_p: float
    henze_zirkler: float
    henze_zirkler_expected: float
    henze_zirkler_p: float


def multivariate_normality(values: ArrayLike) -> MultivariateNormality:
    """Test whether rows come from one multivariate Gaussian, on `TEST_ROWS` of them.

    Parameters
    ----------
    values : array, shape (n, K)
        Rows, at least 8 and K + 2. The result does not depend on their mean or on a linear map of them.

    Returns
    -------
    MultivariateNormality

    Raises
    ------
    TypeError
        If `values` does not hold real numbers.
    ValueError
        If `values` is not a finite matrix, has too few rows, or has a singular covariance.
    """
    values = subset(check_matrix("values", values, least=8), TEST_ROWS).astype(np.float64)
    n, k = values.shape
    white = _whitened("values", values)
    squares = np.einsum("nk,nk->n", white, white)
    skewness = sum(_sum_of_cubes(white[rows] @ white.T) for rows in row_slices(n, 500)) / n**2
    kurtosis, of_gaussian = np.mean(squares**2), k * (k + 2)
    # Both null distributions with Mardia's (1974) corrections for few rows.
    variance = 8 * of_gaussian * (n - 3) * (n - k - 1) * (n - k + 1) / ((n + 1) ** 2 * (n + 3) * (n + 5))
    z = (kurtosis - of_gaussian * (n - 1) / (n + 1)) / math.sqrt(variance)
    correction = (k + 1) * (n + 1) * (n + 3) / (n * ((n + 1) * (k + 1) - 6))
    statistic, expected, p = _henze_zirkler(_whitened("values", values[:, :LEADING]))
    return MultivariateNormality(
        n=n,
        k=k,
        skewness=float(skewness),
        skewness_p=float(stats.chi2.sf(n * skewness / 6 * correction, k * (k + 1) * (k + 2) / 6)),
        kurtosis_ratio=float(kurtosis / (of_gaussian * (n - 1) / (n + 1))),
        kurtosis_p=float(2 * stats.norm.sf(abs(z))),
        henze_zirkler=statistic,
        henze_zirkler_expected=expected,
        henze_zirkler_p=p,
    )


def _sum_of_cubes(values: np.ndarray) -> float:
    # A power of 3 takes NumPy 20 times as long as two products.
    return float(np.sum(values * values * values))


def _whitened(name: str, values: np.ndarray) -> np.ndarray:
    n, k = values.shape
    unit = values.std(axis=0)
    centred = (values - values.mean(axis=0)) / np.where(unit > 0, unit, 1)
    variances, axes = np.linalg.eigh(centred.T @ centred / n)
    if n < k + 2 or variances[0] < 1e-10 * k:
        raise ValueError(
            f"{name}: expected at least {k + 2} rows with a covariance of rank {k}; got {n} rows, or a lower "
            "rank"
        )
    return centred @ (axes / np.sqrt(variances))


def _henze_zirkler(white: np.ndarray) -> tuple[float, float, float]:
    """Statistic, its mean under a Gaussian, and its p-value (lognormal with the same two moments)."""
    n, d = white.shape
    b = ((2 * d + 1) * n / 4) ** (2 / (d + 4)) / 2  # beta squared
    squares = np.einsum("nk,nk->n", white, white)
    between = 0.0
    for rows in row_slices(n, 500):
        apart = squares[rows, None] + squares[None, :] - 2 * white[rows] @ white.T
        between += np.exp(-b / 2 * np.maximum(apart, 0)).sum()
    single = np.exp(-b / (2 * (1 + b)) * squares).sum()
    statistic = between / n - 2 * (1 + b) ** (-d / 2) * single + n * (1 + 2 * b) ** (-d / 2)

    a, w = 1 + 2 * b, (1 + b) * (1 + 3 * b)
    mean = 1 - a ** (-d / 2) * (1 + d * b / a + d * (d + 2) * b**2 / (2 * a**2))
    variance = (
        2 * (1 + 4 * b) ** (-d / 2)
        + 2 * a**-d * (1 + 2 * d * b**2 / a**2 + 3 * d * (d + 2) * b**4 / (4 * a**4))
        - 4 * w ** (-d / 2) * (1 + 3 * d * b**2 / (2 * w) + d * (d + 2) * b**4 / (2 * w**2))
    )
    spread = math.log1p(variance / mean**2)
    p = stats.norm.sf((math.log(statistic) - math.log(mean) + spread / 2) / math.sqrt(spread))
    return float(statistic), float(mean), float(p)


@dataclass(frozen=True)
class Distances:
    """Distances of the rows from the centre in all K components, in units of `scale`.

    Attributes
    ----------
    squares : ndarray, shape (n,)
        Squared Mahalanobis distances. For a Gaussian they are chi-square with K degrees of freedom.
    spread : float
        Ratio of the range from the 10 % to the 90 % quantile of the squares to that of chi-square. It is 1
        for a Gaussian, larger for heavy tails or a mixture of wide and narrow parts, and smaller for a region
        that is filled evenly.
    far_share : float
        Share of rows beyond the distance that one in 1,000 Gaussian rows exceeds.
    core_share : float
        Share of the rows that belong to a Gaussian core. It is the share of rows in the ellipsoid of
        :func:`~ellipsoid.halfwidth.core` that holds 97.5 % of a Gaussian, divided by 97.5 %. It is NaN for
        fewer than 5 rows per component.
    core_squares : ndarray, shape (m,), or None
        Squared Mahalanobis distances of these rows from the centre of the core, by the covariance of the
        core.
    core_scale : ndarray, shape (K,), or None
        Standard deviation of the core along each component, in the units of the scores.
    """

    squares: np.ndarray
    spread: float
    far_share: float
    core_share: float
    core_squares: np.ndarray | None
    core_scale: np.ndarray | None


def distances(scores: ArrayLike, scale: ArrayLike) -> Distances:
    """Measure the distances of scores from zero.

    Parameters
    ----------
    scores : array, shape (n, K)
        Scores in latent units, at least 2 rows.
    scale : array, shape (K,)
        Unit of each component, above 0.

    Returns
    -------
    Distances

    Raises
    ------
    TypeError
        If `scores` does not hold real numbers.
    ValueError
        If `scores` is not a finite matrix of at least 2 rows, or `scale` is not K finite numbers above 0.
    """
    scores = check_matrix("scores", scores)
    k = scores.shape[1]
    scale = check_scale(scale, k)
    squares = np.concatenate(
        [
            np.square(scores[rows] / scale).sum(axis=1, dtype=np.float64)
            for rows in row_slices(len(scores), 4096)
        ]
    )
    low, high = np.quantile(squares, (0.1, 0.9))
    low_gaussian, high_gaussian = stats.chi2.ppf((0.1, 0.9), k)
    core_squares, core_scale = _core(subset(scores, PAIR_ROWS))
    return Distances(
        squares=squares,
        spread=float((high - low) / (high_gaussian - low_gaussian)),
        far_share=float(np.mean(squares > stats.chi2.isf(1e-3, k))),
        core_share=math.nan
        if core_squares is None
        else min(float(np.mean(core_squares <= stats.chi2.ppf(0.975, k))) / 0.975, 1.0),
        core_squares=core_squares,
        core_scale=core_scale,
    )


def _core(scores: np.ndarray) -> tuple[np.ndarray | None, np.ndarray | None]:
    n, k = scores.shape
    if n < 5 * k:
        return None, None
    mean, covariance, _ = core_or_median(scores)  # median and MAD where most rows are equal
    white = np.linalg.solve(np.linalg.cholesky(covariance), (scores - mean).T)
    return np.square(white).sum(axis=0), np.sqrt(covariance.diagonal())


@dataclass(frozen=True)
class Clusters:
    """Best split of the leading scores into two Gaussian parts.

    Attributes
    ----------
    n_components : int
        Number of leading components that were used.
    separation : float
        Distance between the parts in units of the root mean square of their standard deviations, along the
        line that separates them best (Ashman, Bird and Zepf, 1994). There are two modes from about 2, and a
        clear gap from about 3.
    smaller_share : float
        Weight of the smaller part.
    gain : float
        Gain of two parts over one in the log-likelihood per row, in nats, less the penalty of the Bayesian
        information criterion.
    """

    n_components: int
    separation: float
    smaller_share: float
    gain: float


# The limit holds for the whole process: concurrent callers would restore each other's limit.
_LIMITED_THREADS = threading.Lock()


def clusters(scores: ArrayLike) -> Clusters:
    """Fit one and two Gaussians to `TEST_ROWS` rows of the first `LEADING` columns, with scikit-learn.

    For n below 200 rows, the first n / 20 columns are used.

    Parameters
    ----------
    scores : array, shape (n, K)
        Scores, at least 8 rows.

    Returns
    -------
    Clusters

    Raises
    ------
    TypeError
        If `scores` does not hold real numbers.
    ValueError
        If `scores` is not a finite matrix of at least 8 rows, or a leading column is constant.
    """
    from sklearn.mixture import GaussianMixture
    from threadpoolctl import threadpool_limits

    rows = subset(check_matrix("scores", scores, least=8), TEST_ROWS).astype(np.float64)
    # With few rows, two covariances of more dimensions would fit noise.
    rows = rows[:, : max(1, min(LEADING, len(rows) // 20))]
    std = rows.std(axis=0)
    if not std.all():
        raise ValueError(f"scores: expected columns that vary; got a constant column {int(std.argmin())}")
    rows = rows / std
    options = {"reg_covar": 1e-4, "random_state": 0}
    # Several threads mostly wait for each other: 2,000 rows take 1.8 seconds of two busy cores, but 0.05 of
    # one. Ten iterations are usual, and 34 were the most seen.
    with _LIMITED_THREADS, threadpool_limits(1):
        one = GaussianMixture(1, init_params="random", **options).fit(rows)
        two = GaussianMixture(2, n_init=4, max_iter=1000, **options).fit(rows)
    weights, means, covariances = (
        np.asarray(values) for values in (two.weights_, two.means_, two.covariances_)
    )
    apart = means[1] - means[0]
    direction = np.linalg.solve(covariances.sum(axis=0), apart)
    variance = np.einsum("i,nij,j->n", direction, covariances, direction).mean()
    return Clusters(
        n_components=rows.shape[1],
        separation=float(abs(direction @ apart) / math.sqrt(max(variance, np.finfo(float).tiny))),
        smaller_share=float(weights.min()),
        gain=float((one.bic(rows) - two.bic(rows)) / (2 * len(rows))),
    )
