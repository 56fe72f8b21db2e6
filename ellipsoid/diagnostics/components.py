"""Distributions of single components, and the position of the centre of the latents."""

import math
from dataclasses import dataclass

import numpy as np
from jax.typing import ArrayLike
from scipy import special

from ellipsoid.blocks import row_slices, subset
from ellipsoid.checks import check_matrix
from ellipsoid.diagnostics.rows import TEST_ROWS
from ellipsoid.state import PCAState, check_latents


@dataclass(frozen=True)
class Marginals:
    """Statistics of each column of an array. For a constant column, all but mean and std are NaN.

    Attributes
    ----------
    mean, std : ndarray, shape (D,)
        Mean and standard deviation (divisor n - 1), in the units of the values.
    skewness : ndarray, shape (D,)
        Skewness, 0 for a Gaussian.
    kurtosis : ndarray, shape (D,)
        Excess kurtosis, 0 for a Gaussian, -1.2 for a uniform distribution.
    distance : ndarray, shape (D,)
        Kolmogorov distance, from 0 to 1: the largest difference between the cumulative distributions of the
        data and of the Gaussian with the same mean and standard deviation (Lilliefors, 1967).
    anderson_darling : ndarray, shape (D,)
        Statistic of Anderson and Darling (1952) with estimated mean and variance, on `TEST_ROWS` rows. A
        Gaussian exceeds 0.752 in 5 % of samples, and 1.035 in 1 % (Stephens, 1986).
    """

    mean: np.ndarray
    std: np.ndarray
    skewness: np.ndarray
    kurtosis: np.ndarray
    distance: np.ndarray
    anderson_darling: np.ndarray


def marginals(values: ArrayLike) -> Marginals:
    """Measure the distribution of each column.

    Parameters
    ----------
    values : array, shape (n, D)
        Latents or scores, at least 8 rows.

    Returns
    -------
    Marginals

    Raises
    ------
    TypeError
        If `values` does not hold real numbers.
    ValueError
        If `values` is not a finite matrix of at least 8 rows.
    """
    values = check_matrix("values", values, least=8)
    # A few columns at a time, so that the float64 copies stay small.
    blocks = [_marginals(values[:, columns]) for columns in row_slices(values.shape[1], 16)]
    return Marginals(*(np.concatenate(statistic) for statistic in zip(*blocks, strict=True)))


def _marginals(values: np.ndarray) -> tuple[np.ndarray, ...]:
    n = len(values)
    ordered, mean, std = _standardised(values)
    with np.errstate(invalid="ignore"):
        squares = ordered * ordered * (n / (n - 1))  # in units of the variance with divisor n
        skewness = (squares * ordered).mean(axis=1) * math.sqrt(n / (n - 1))
        kurtosis = (squares * squares).mean(axis=1) - 3
        below = special.ndtr(ordered)
        share = np.arange(n + 1) / n
        distance = np.maximum((share[1:] - below).max(axis=1), (below - share[:-1]).max(axis=1))

        tested, _, _ = _standardised(subset(values, TEST_ROWS))
        odd = 2 * np.arange(1, tested.shape[1] + 1) - 1
        logs = special.log_ndtr(tested) + special.log_ndtr(-tested[:, ::-1])
        anderson_darling = -tested.shape[1] - (odd * logs).mean(axis=1)
    return mean, std, skewness, kurtosis, distance, anderson_darling


def _standardised(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sorted columns in standard deviations from their mean, (D, n); the means, and the deviations."""
    columns = np.sort(np.ascontiguousarray(values.T), axis=1).astype(np.float64)
    mean, std = columns.mean(axis=1), columns.std(axis=1, ddof=1)
    # The computed deviation of a constant column is its rounding error.
    std = np.where(columns[:, 0] == columns[:, -1], 0.0, std)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (columns - mean[:, None]) / std[:, None], mean, std


@dataclass(frozen=True)
class Location:
    """Position of the latents' centre, seen from the origin.

    Attributes
    ----------
    distance : float
        Distance of the centre from the origin, in latent units.
    radius : float
        Median distance of the latents from their centre, in latent units.
    origin_distance : float
        Mahalanobis distance of the origin from the centre, over the K components, in standard deviations.
        Latents lie at about sqrt(K).
    offset : ndarray, shape (D,)
        Mean of each latent dimension, in its own standard deviations; 0 for a constant dimension.
    shares : ndarray, shape (D,)
        Share of each latent dimension in the squared distance of the centre from the origin.
    """

    distance: float
    radius: float
    origin_distance: float
    offset: np.ndarray
    shares: np.ndarray


def location(state: PCAState, latents: ArrayLike) -> Location:
    """Measure how far the latents lie from the origin, and which dimensions carry this offset.

    Parameters
    ----------
    state : PCAState
        State of the latents.
    latents : array, shape (n, D)
        Latents, at least 8 rows.

    Returns
    -------
    Location

    Raises
    ------
    TypeError
        If `state` is not a PCAState, or `latents` does not hold real numbers.
    ValueError
        If `latents` is not a finite matrix of at least 8 rows with the columns of the state.
    """
    latents = check_latents(state, latents)
    mean, std = latents.mean(axis=0, dtype=np.float64), latents.std(axis=0, ddof=1, dtype=np.float64)
    distance = float(np.linalg.norm(mean))
    origin = np.asarray(state.project(np.zeros(state.n_features)) / state.scale, np.float64)
    return Location(
        distance=distance,
        radius=float(np.median(np.linalg.norm(latents - mean.astype(latents.dtype), axis=1))),
        origin_distance=float(np.linalg.norm(origin)),
        offset=np.divide(mean, std, out=np.zeros_like(mean), where=std > 0),
        shares=mean**2 / max(distance**2, np.finfo(float).tiny),
    )
