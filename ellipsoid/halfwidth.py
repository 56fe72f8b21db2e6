"""Half widths: the Gaussian-equivalent standard deviation of each score, read off the data.

A Gaussian falls to half of its maximum at sqrt(2 ln 2) = 1.1774 standard deviations, and has its quartiles,
and the median of its absolute deviations, at 0.6745. Each method measures one such width and divides by its
number. They agree on Gaussian scores and differ on others: outliers pull `std` by their distance,
`quantile` and `mad` by their share, `histogram` and `core` hardly at all.

Each method takes scores, an array (n, K) of at least two rows, and returns K widths in their units.
"""

import math
import warnings
from collections.abc import Callable

import numpy as np
import scipy

from ellipsoid.blocks import row_slices
from ellipsoid.checks import check_choice
from ellipsoid.moments import Moments

#: Where a standard Gaussian has half of its maximum.
HALF_MAXIMUM = math.sqrt(2 * math.log(2))
#: Where a standard Gaussian has its upper quartile, ``ndtri(3/4)``.
QUARTILE = 0.6744897501960817


def std(scores: np.ndarray) -> np.ndarray:
    """Measure the standard deviation, with divisor n - 1."""
    return scores.std(axis=0, ddof=1, dtype=np.float64)


def quantile(scores: np.ndarray) -> np.ndarray:
    """Measure half the distance between the quartiles, over 0.6745.

    A share e of far outliers, as many on either side, raises it by the factor
    ``ndtri(1/2 + 1/(4 (1 - e))) / ndtri(3/4)``: 1.134 for 10 %, or 1.154 if all lie on one side.
    """
    low, high = _quantiles(_ordered(scores), 0.25, 0.75)
    return (high - low) / (2 * QUARTILE)


def mad(scores: np.ndarray) -> np.ndarray:
    """Measure the median absolute deviation from the median, over 0.6745.

    A share e of far outliers, as many on either side, raises it by the factor
    ``ndtri(1/2 + 1/(4 (1 - e))) / ndtri(3/4)``: 1.134 for 10 %, or 1.145 if all lie on one side.
    """
    (median,) = _quantiles(_ordered(scores), 0.5)
    (deviation,) = _quantiles(_ordered(np.abs(scores - median)), 0.5)
    return deviation / QUARTILE


def histogram(scores: np.ndarray) -> np.ndarray:
    """Measure the half width at half maximum of a smoothed histogram, over 1.1774.

    The sampling intervals are chosen for each component, a twentieth of its standard deviation wide (as the
    quartiles give it, so that outliers do not matter), and narrow components are resolved as well as wide
    ones. The counts are smoothed with a Gaussian kernel of 0.6 standard deviations; the variances of the
    kernel and of the interval, its width squared over 12, are taken out of the result.

    The standard error is 0.4 % for n = 100,000 Gaussian scores, and falls as 1 / sqrt(n); the worst of 256
    components is off by 1 to 1.6 %, where counts that are not smoothed give 3 to 7 %, be the intervals narrow
    or wide. Fewer than 20 scores have no histogram to speak of, and `std` is returned.
    """
    if len(scores) < 20:
        return std(scores)
    step, reach, kernel = 0.05, 6.0, 0.6
    ordered = _ordered(scores)
    low, median, high = _quantiles(ordered, 0.25, 0.5, 0.75)
    unit = (high - low) / (2 * QUARTILE)
    unit = np.where(unit > 0, unit, std(scores))

    n_steps = round(2 * reach / step)
    edges = step * (np.arange(n_steps + 1) - n_steps / 2)
    below = [np.searchsorted(c, m + u * edges) for c, m, u in zip(ordered, median, unit, strict=True)]
    counts = np.diff(np.stack(below), axis=1)
    lags = step * (np.arange(n_steps)[:, None] - np.arange(n_steps)[None, :])
    density = counts @ np.exp(-0.5 * (lags / kernel) ** 2)

    peak = density.argmax(axis=1)
    n_right = _steps_to_half(density, peak)
    n_left = _steps_to_half(density[:, ::-1], n_steps - 1 - peak)
    half_width = step * (n_left + n_right) / 2
    variance = (half_width / HALF_MAXIMUM) ** 2 - kernel**2 - step**2 / 12
    resolved = variance > step**2
    return unit * np.sqrt(np.where(resolved, variance, 0.0))


def histogram_raw(scores: np.ndarray) -> np.ndarray:
    """Measure the half width at half maximum in whole intervals, the same for all components, over 1.1774.

    The reading of the source method, kept for comparison. The 100 intervals span the range of all scores
    together. A component much narrower than the widest falls into one or two of them, and its half width
    comes out as theirs: with standard deviations spread over 1 : 1000, the narrowest is overestimated about
    forty times. Use `histogram`.
    """
    n_steps = 100
    edges = np.linspace(scores.min(), scores.max(), n_steps + 1)
    counts = np.stack([np.histogram(column, edges)[0] for column in scores.T])
    high = counts >= counts.max(axis=1, keepdims=True) / 2
    n_high = n_steps - high[:, ::-1].argmax(axis=1) - high.argmax(axis=1)
    return n_high * (edges[1] - edges[0]) / 2 / HALF_MAXIMUM


HALF_WIDTHS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "std": std,
    "histogram": histogram,
    "histogram_raw": histogram_raw,
    "quantile": quantile,
    "mad": mad,
}
"""From scores (n, K) to half widths (K,), by name. `core` is apart, as it changes the axes too."""


def half_widths(scores: np.ndarray, method: str) -> np.ndarray:
    """Gaussian-equivalent standard deviation of each score, positive wherever there is variance.

    Where most rows share one value, or there are few rows, a width may be zero, or below what its method
    resolves. The standard deviation then takes its place.

    Parameters
    ----------
    scores : ndarray, shape (n, K)
        At least two rows.
    method : str
        Name of the method, one of `HALF_WIDTHS`.

    Returns
    -------
    ndarray, shape (K,)
        Half widths in the units of the scores.

    Raises
    ------
    ValueError
        If `method` is unknown.
    """
    widths = HALF_WIDTHS[check_choice("method", method, HALF_WIDTHS)](scores)
    return np.where(widths > 0, widths, std(scores))


def core(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance of the core of the scores, as if its outskirts were not there.

    Keep the rows within a Mahalanobis radius d of the centre, take their mean and covariance, undo the cut,
    and repeat with these until the core stays as it is. Cutting a K-dimensional Gaussian at d shrinks its
    covariance by P(chi2_{K+2} <= d^2) / P(chi2_K <= d^2) (Croux and Haesbroeck, 1999); dividing by this
    undoes the cut.

    d is where a Gaussian has 97.5 % of its rows, or where three quarters of the rows are, if that is
    farther: the distances of latents can spread wider than those of a Gaussian, and the core would shrink
    at every step without this bound. The first core is the three quarters of the rows nearest to the
    median, in units of `mad`, so that up to a quarter of outliers are left out, even where they hide
    themselves by stretching the covariance of all rows.

    Parameters
    ----------
    scores : ndarray, shape (n, K)
        Scores of at least two rows on uncorrelated axes, each with some variance.

    Returns
    -------
    mean : ndarray, shape (K,)
        Mean of the core.
    covariance : ndarray, shape (K, K)
        Covariance of the core, with the cut undone.

    Warns
    -----
    UserWarning
        If there are fewer than 5 K rows, or most rows are alike in some direction: the median and a diagonal
        covariance of the squared `mad` are then returned.
    """
    mean, covariance, resolved = core_or_median(scores)
    if not resolved:
        n, k = scores.shape
        warnings.warn(
            f"core: {n} rows are too few, or too much alike, for a covariance of {k} components; "
            "the median and mad are used instead",
            UserWarning,
            stacklevel=2,
        )
    return mean, covariance


def core_or_median(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray, bool]:
    """Mean and covariance as :func:`core` gives them, and whether they are the core's, without a warning."""
    (centre,) = _quantiles(_ordered(scores), 0.5)
    unit = half_widths(scores, "mad")
    try:
        mean, covariance = _core(((scores - centre) / unit).astype(scores.dtype))
        resolved = True
    except np.linalg.LinAlgError:
        mean, covariance, resolved = np.zeros(len(unit)), np.eye(len(unit)), False
    return centre + mean * unit, covariance * unit[:, None] * unit[None, :], resolved


def _core(u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance of the core of `u`, whose medians are 0 and mads are 1."""
    n, k = u.shape
    if n < 5 * k:  # distances measured by a covariance of so few rows say little about them
        raise np.linalg.LinAlgError
    n_least = math.ceil(0.75 * n)
    square_limit = 2 * scipy.special.gammaincinv(k / 2, 0.975)
    square_median = 2 * scipy.special.gammaincinv(k / 2, 0.5)

    square = np.einsum("nk,nk->n", u, u)
    kept = square <= np.partition(square, n_least - 1)[n_least - 1]
    mean, covariance, square = _measure(u, kept)
    # These rough distances tell which rows are outliers, not how much the cut has taken: the median does.
    inflation = np.median(square) / square_median
    covariance *= inflation
    square /= inflation
    for _ in range(50):
        square_cut = max(square_limit, np.partition(square, n_least - 1)[n_least - 1])
        previous, kept = kept, square <= square_cut
        if np.sum(kept != previous) <= 1e-4 * n:  # too few to matter beside the standard error
            break
        within, spread = (scipy.special.gammainc(a, square_cut / 2) for a in (k / 2, k / 2 + 1))
        shrinkage = spread / within
        mean, covariance, square = _measure(u, kept, shrinkage)
    return mean, covariance


def _measure(
    u: np.ndarray, kept: np.ndarray, shrinkage: float = 1.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean and covariance of the rows that are kept, and the squared distances of all rows by these."""
    moments = Moments.empty(u.shape[1]).update(u[kept])
    mean, covariance = moments.mean, moments.covariance / shrinkage
    variances, axes = np.linalg.eigh(covariance)
    if variances[0] < 1e-10:  # mad is 1: these rows are alike in some direction
        raise np.linalg.LinAlgError
    whitener = (axes / np.sqrt(variances)).astype(u.dtype)
    square = np.empty(len(u))
    for rows in row_slices(len(u), 4096):
        white = (u[rows] - mean.astype(u.dtype)) @ whitener
        square[rows] = np.einsum("nk,nk->n", white, white)
    return mean, covariance, square


def _ordered(scores: np.ndarray) -> np.ndarray:
    """Scores of each component in ascending order, shape (K, n)."""
    columns = np.array(scores.T, order="C")
    columns.sort(axis=1)  # 170,000 x 256: 0.3 s, where np.quantile takes 2.7 s
    return columns


def _quantiles(ordered: np.ndarray, *shares: float) -> list[np.ndarray]:
    """Linearly interpolated, as np.quantile does."""
    positions = [share * (ordered.shape[1] - 1) for share in shares]
    return [ordered[:, math.floor(p)] * (1 - p % 1) + ordered[:, math.ceil(p)] * (p % 1) for p in positions]


def _steps_to_half(density: np.ndarray, peak: np.ndarray) -> np.ndarray:
    """Interpolated number of intervals from the peak, going right, to where the density falls to half."""
    rows, n_steps = np.arange(len(density)), density.shape[1]
    half = density[rows, peak] / 2
    beyond = (np.arange(n_steps)[None, :] > peak[:, None]) & (density < half[:, None])
    right = np.where(beyond.any(axis=1), beyond.argmax(axis=1), n_steps - 1)
    inner, outer = density[rows, right - 1], density[rows, right]
    return right - (half - outer) / (inner - outer) - peak
