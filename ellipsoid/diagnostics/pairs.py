"""Pairs of components: correlations, ellipses, and the share of rows inside each ellipse."""

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike
from scipy.ndimage import map_coordinates

from ellipsoid.blocks import n_cores, subset
from ellipsoid.checks import check_matrix
from ellipsoid.diagnostics.rows import PAIR_ROWS, check_scale
from ellipsoid.levels import pair_coverage

#: Levels at which the ellipses of all pairs are compared with the data, in standard deviations.
LEVELS = (0.5, 1.0, 1.5, 2.0, 2.5, 3.0)


def correlation(covariance: np.ndarray) -> np.ndarray:
    """Compute the correlation matrix of a covariance (D, D); zero where a dimension is constant."""
    std = np.sqrt(covariance.diagonal())
    inverse = np.divide(1.0, std, out=np.zeros_like(std), where=std > 0)
    return covariance * inverse[:, None] * inverse[None, :]


def pair_angles(covariance: np.ndarray) -> np.ndarray:
    """Compute the angle between axis i and the major axis of the ellipse of each pair (i, j), in degrees.

    The angles lie between -90 and 90; at 0 and at 90 the ellipse lies along the axes. The covariance matrix
    and the result have shape (D, D).
    """
    variance = covariance.diagonal()
    return np.degrees(np.arctan2(2 * covariance, variance[:, None] - variance[None, :])) / 2


def strongest_pairs(matrix: np.ndarray, count: int) -> list[tuple[int, int]]:
    """List the pairs i < j of largest magnitude in a symmetric matrix (K, K), largest first."""
    i, j = np.triu_indices(len(matrix), 1)
    order = np.argsort(-np.abs(matrix[i, j]), kind="stable")[:count]
    return [(int(i[index]), int(j[index])) for index in order]


def ellipse_outline(covariance: np.ndarray, level: float, n: int = 181) -> np.ndarray:
    """Compute points (n, 2) of the confidence ellipse of a 2 x 2 covariance, centred on zero."""
    variances, axes = np.linalg.eigh(covariance)
    turn = np.linspace(0, 2 * np.pi, n)
    circle = np.stack([np.cos(turn), np.sin(turn)], axis=1)
    return level * (circle * np.sqrt(np.maximum(variances, 0))) @ axes.T


def ellipse_outline_by_correlation(covariance: np.ndarray, level: float, n: int = 181) -> np.ndarray:
    """Compute the same ellipse from the standard deviations and the correlation r alone.

    In units of the standard deviations, the ellipse lies at 45 degrees with semi-axes
    ``level * sqrt(1 +- r)``.
    """
    std = np.sqrt(covariance.diagonal())
    r = covariance[0, 1] / (std[0] * std[1])
    turn = np.linspace(0, 2 * np.pi, n)
    along, across = math.sqrt((1 + r) / 2) * np.cos(turn), math.sqrt((1 - r) / 2) * np.sin(turn)
    return level * std * np.stack([along - across, along + across], axis=1)


@dataclass(frozen=True)
class Calibration:
    """Shares of rows inside the confidence ellipses of all pairs, compared with a Gaussian's.

    Attributes
    ----------
    levels : ndarray, shape (m,)
        Levels of the ellipses, in standard deviations.
    expected : ndarray, shape (m,)
        Shares of a Gaussian, ``1 - exp(-level^2 / 2)``.
    observed : ndarray, shape (m, K, K), float32
        Shares of the rows for each pair. They are symmetric, and the diagonal has no meaning.
    n : int
        Number of rows that were used.
    """

    levels: np.ndarray
    expected: np.ndarray
    observed: np.ndarray
    n: int

    @property
    def of_pairs(self) -> np.ndarray:
        """Observed shares of the pairs i < j, shape (m, K (K - 1) / 2)."""
        return self.observed[:, *np.triu_indices(self.observed.shape[1], 1)]

    @property
    def errors(self) -> np.ndarray:
        """Largest difference between observed and expected share over the levels, shape (K, K)."""
        errors = np.abs(self.observed - self.expected[:, None, None]).max(axis=0)
        return np.where(np.eye(len(errors), dtype=bool), 0, errors)

    def share_within(self, tolerance: float) -> float:
        """Share of pairs whose observed shares lie within `tolerance` of the expected ones, at all levels.

        Two standard errors of a share are added to the tolerance, so that few rows do not look like misfit.
        """
        error = 2 * np.sqrt(self.expected * (1 - self.expected) / self.n)
        close = np.abs(self.of_pairs - self.expected[:, None]) <= tolerance + error[:, None]
        return float(close.all(axis=0).mean())


def calibration(values: ArrayLike, covariance: np.ndarray, levels: Sequence[float] = LEVELS) -> Calibration:
    """Count the rows inside the confidence ellipse of every pair of columns.

    Parameters
    ----------
    values : array, shape (n, K)
        Values with mean zero, at least 2 columns. `PAIR_ROWS` of the rows are used.
    covariance : ndarray, shape (K, K)
        Covariance whose 2 x 2 blocks define the ellipses: ``diag(scale**2)`` for the method's ellipses along
        the principal axes. All variances are positive, and no correlation is 1 or -1.
    levels : sequence of m floats
        Levels of the ellipses, in standard deviations.

    Returns
    -------
    Calibration

    Raises
    ------
    TypeError
        If `values` does not hold real numbers.
    ValueError
        If `values` is not a finite matrix of at least 2 rows and columns, or `covariance` is not as
        described.
    """
    values = subset(check_matrix("values", values), PAIR_ROWS)
    k = values.shape[1]
    if k < 2:
        raise ValueError(f"values: expected at least 2 columns; got shape {values.shape}")
    if covariance.shape != (k, k) or not (covariance.diagonal() > 0).all():
        raise ValueError(
            f"covariance: expected shape ({k}, {k}) with positive variances; got {covariance.shape}"
        )
    r = correlation(covariance)
    np.fill_diagonal(r, 0)
    if np.abs(r).max() > 1 - 1e-6:
        i, j = strongest_pairs(r, 1)[0]
        raise ValueError(
            f"covariance: expected correlations between -1 and 1; got collinear columns {i} and {j}: leave "
            "one out"
        )
    u = (values / np.sqrt(covariance.diagonal())).astype(np.float32)
    padded = np.full((-(-len(u) // _ROWS) * _ROWS, -(-k // _COLUMNS) * _COLUMNS), np.inf, np.float32)
    padded[: len(u), :k] = u
    wide = np.zeros((padded.shape[1],) * 2, np.float32)
    wide[:k, :k] = r
    count = partial(_count_inside, jnp.asarray(padded), jnp.asarray(wide), tuple(map(float, levels)))
    # XLA runs a loop of such small steps on one core; threads run several loops at once.
    with ThreadPoolExecutor(n_cores()) as pool:
        counts = pool.map(lambda start: np.asarray(count(start)), range(0, len(wide), _COLUMNS))
        observed = np.concatenate(list(counts), axis=1)[:, :k, :k].astype(np.float32) / len(u)
    expected = np.array([pair_coverage(level) for level in levels])
    return Calibration(np.array(levels, np.float64), expected, observed, len(u))


# With 16 columns against all others, the counters stay in the cache; one pass over them counts 16 rows. A
# single reduction over (rows, K, K) takes six times as long.
_COLUMNS = 16
_ROWS = 16


@partial(jax.jit, static_argnums=2)
def _count_inside(u, r, levels, start):
    """Count rows of `u` inside the ellipses of the 16 columns from `start` with all: (levels, 16, K)."""
    k = u.shape[1]
    mine = lax.dynamic_slice_in_dim(u, start, _COLUMNS, axis=1)
    r = lax.dynamic_slice_in_dim(r, start, _COLUMNS, axis=0)
    inverse = 1 / (1 - r * r)
    twice = 2 * r * inverse

    def count(counts, rows):
        for a, b in zip(*rows, strict=True):
            a, b = jnp.broadcast_to(a[:, None], r.shape), jnp.broadcast_to(b[None, :], r.shape)
            # This is the squared Mahalanobis distance in the plane. In padded rows it is NaN: never inside.
            square = inverse * (a * a + b * b) - twice * (a * b)
            counts = tuple(
                total + (square <= level * level) for total, level in zip(counts, levels, strict=True)
            )
        return counts, None

    rows = mine.reshape(-1, _ROWS, _COLUMNS), u.reshape(-1, _ROWS, k)
    nothing = tuple(jnp.zeros((_COLUMNS, k), jnp.int32) for _ in levels)
    return jnp.stack(lax.scan(count, nothing, rows)[0])


@dataclass(frozen=True)
class HalfMaximum:
    """Contour of points in a plane at half of the density in their middle, in the units of the points.

    Attributes
    ----------
    angles, radii : ndarrays, shape (72,)
        Contour in polar coordinates about the median of the points, with angles in radians.
    ratio : float
        Ratio of the minor to the major axis of the best-fitting ellipse.
    ellipticity_error : float
        Root mean square of the relative deviation of the contour's radius from the ellipse's. It is 0 for an
        exact ellipse; Gaussian samples have 0.02 to 0.03 with 600 points, and below 0.01 with 20,000.
    """

    angles: np.ndarray
    radii: np.ndarray
    ratio: float
    ellipticity_error: float


def half_maximum(points: ArrayLike) -> HalfMaximum:
    """Measure the contour at half maximum of points in a plane.

    The density is a histogram in standardised coordinates, smoothed with a Gaussian kernel of 0.6 standard
    deviations. The contour's radius is corrected for this smoothing (exactly for a Gaussian). The ellipse is
    the least-squares fit of ``1 / radius^2 = a + b cos(2 angle) + c sin(2 angle)``.

    Parameters
    ----------
    points : array, shape (n, 2)
        Points, at least 8 and not all on one line.

    Returns
    -------
    HalfMaximum

    Raises
    ------
    TypeError
        If `points` does not hold real numbers.
    ValueError
        If `points` is not a finite matrix of at least 8 rows and 2 columns, or all points lie on one line.
    """
    points = check_matrix("points", points, least=8, n_columns=2).astype(np.float64)
    kernel, step, reach = 0.6, 0.1, 5.0
    # The centre is the median, since noise decides where the density is largest.
    centred = points - np.median(points, axis=0)
    variances, axes = np.linalg.eigh(np.cov(centred.T))
    if not variances[0] > 1e-12 * variances[1]:
        raise ValueError("points: expected points that fill the plane; got points that all lie on one line")
    unit = np.sqrt(variances)
    edges = np.arange(-reach, reach + step / 2, step)
    counts, _, _ = np.histogram2d(*(centred @ axes / unit).T, bins=(edges, edges))
    middle = (edges[1:] + edges[:-1]) / 2
    smooth = np.exp(-0.5 * ((middle[:, None] - middle[None, :]) / kernel) ** 2)
    density = smooth @ counts @ smooth

    turn = np.arange(72) * (2 * np.pi / 72)
    radius = np.arange(0, reach - step, step / 4)
    white = np.stack([np.cos(turn), np.sin(turn)], axis=1)
    cells = (white.T[:, :, None] * radius - middle[0]) / step
    profile = map_coordinates(density, cells, order=1)
    profile = profile / profile[:, :1]
    beyond = profile < 0.5
    last = np.where(beyond.any(axis=1), beyond.argmax(axis=1), len(radius) - 1)
    here, before = (profile[np.arange(72), index] for index in (last, last - 1))
    half = radius[last] - (0.5 - here) / np.maximum(before - here, 1e-12) * (step / 4)
    # A Gaussian has variance 1 in these coordinates, and 1 + kernel^2 + step^2 / 12 after smoothing.
    half = half / math.sqrt(1 + kernel**2 + step**2 / 12)
    outline = (white * half[:, None] * unit) @ axes.T
    angles, radii = np.arctan2(outline[:, 1], outline[:, 0]), np.hypot(*outline.T)
    design = np.stack([np.ones(72), np.cos(2 * angles), np.sin(2 * angles)], axis=1)
    # The weights make errors of the radius count alike in all directions.
    a, b, c = np.linalg.lstsq(design * radii[:, None] ** 2, np.ones(72), rcond=None)[0]
    fitted = 1 / np.sqrt(np.maximum(design @ (a, b, c), 1e-12))
    swing = math.hypot(b, c)
    return HalfMaximum(
        angles=angles,
        radii=radii,
        ratio=math.sqrt(max(a - swing, 0.0) / (a + swing)),
        ellipticity_error=float(np.sqrt(np.mean((radii / fitted - 1) ** 2))),
    )


@dataclass(frozen=True)
class Comparison:
    """Comparison of draws with the data that their state was fitted to.

    Attributes
    ----------
    std_ratio : ndarray, shape (K,)
        Ratio of the standard deviation of the draws' scores to that of the data.
    distance : ndarray, shape (K,)
        Two-sample Kolmogorov-Smirnov statistic of each component: the largest difference between the
        cumulative distributions of draws and data.
    pair_difference : ndarray, shape (K (K - 1) / 2,)
        Share of draws minus share of data in the ellipse of each pair i < j, at the level of `LEVELS` where
        the two differ most.
    """

    std_ratio: np.ndarray
    distance: np.ndarray
    pair_difference: np.ndarray


def compare(drawn: ArrayLike, scores: ArrayLike, scale: ArrayLike) -> Comparison:
    """Compare the scores of draws with those of the data.

    Parameters
    ----------
    drawn : array, shape (m, K)
        Scores of draws, at least 8 rows.
    scores : array, shape (n, K)
        Scores of the data, at least 8 rows.
    scale : array, shape (K,)
        Half-widths of the ellipses of all pairs at level 1.

    Returns
    -------
    Comparison

    Raises
    ------
    TypeError
        If `drawn` or `scores` does not hold real numbers.
    ValueError
        If `drawn` or `scores` is not a finite matrix of at least 8 rows and 2 columns, if they have different
        numbers of columns, or if `scale` is not K finite numbers above 0.

    Examples
    --------
    >>> import numpy as np
    >>> scores = np.random.default_rng(0).normal(size=(1000, 2))
    >>> compared = compare(scores / 2, scores, scale=[1, 1])
    >>> compared.std_ratio
    array([0.5, 0.5])
    """
    drawn, scores = (
        subset(check_matrix(name, values, least=8), PAIR_ROWS)
        for name, values in (("drawn", drawn), ("scores", scores))
    )
    if drawn.shape[1] != scores.shape[1]:
        raise ValueError(
            f"drawn: expected {scores.shape[1]} columns, like the scores; got shape {drawn.shape}"
        )
    scale = check_scale(scale, scores.shape[1])
    covariance = np.diag(np.square(scale.astype(np.float64)))
    apart = calibration(drawn, covariance).of_pairs - calibration(scores, covariance).of_pairs
    most = np.abs(apart).argmax(axis=0)
    return Comparison(
        std_ratio=drawn.std(axis=0, dtype=np.float64) / scores.std(axis=0, dtype=np.float64),
        distance=np.array(
            [_kolmogorov_smirnov(a, b) for a, b in zip(np.sort(drawn.T), np.sort(scores.T), strict=True)]
        ),
        pair_difference=np.take_along_axis(apart, most[None, :], axis=0)[0],
    )


def _kolmogorov_smirnov(a: np.ndarray, b: np.ndarray) -> float:
    values = np.concatenate([a, b])
    shares = [np.searchsorted(ordered, values, side="right") / len(ordered) for ordered in (a, b)]
    return float(np.abs(shares[0] - shares[1]).max())
