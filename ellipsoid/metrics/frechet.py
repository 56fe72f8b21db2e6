"""Fréchet distance between the Gaussians of two sets of features."""

import numpy as np
from jax.typing import ArrayLike

from ellipsoid.checks import check_matrix
from ellipsoid.metrics.estimate import Estimate
from ellipsoid.moments import Moments


def frechet_distance(a: Moments | ArrayLike, b: Moments | ArrayLike) -> Estimate:
    """Compute the squared Fréchet distance between the Gaussians of two sets of features.

    For Inception features this is the "FID". It is ``|mean_a - mean_b|^2 + tr(A + B - 2 (A^1/2 B
    A^1/2)^1/2)`` for the means and the covariances A and B (Dowson and Landau, 1982; Heusel et al., 2017).
    The trace of the root is the sum of the singular values of ``A^1/2 B^1/2``. The computation needs
    neither an inverse nor the root of an asymmetric product, so covariances may be singular.

    Parameters
    ----------
    a, b : Moments, or array of shape (n, D)
        Features of each set, or their moments, from at least two rows. `Moments` are streamed, so features
        need not fit into memory.

    Returns
    -------
    Estimate
        Distance in squared units of the features. The error is the first-order one of both sets (delta
        method) for Gaussian features; for two equal distributions it is too large. It does not include the
        upward bias of order ``D^2 / n``, so only sets of equal size can be compared.

    Raises
    ------
    TypeError
        If the rows do not hold real numbers.
    ValueError
        If the rows are not finite matrices of at least two rows, or differ in their number of columns.

    Examples
    --------
    The distance between a set and its copy, moved by 3 along one axis, is 9:

    >>> import numpy as np
    >>> rows = np.random.default_rng(0).normal(size=(100, 2))
    >>> round(frechet_distance(rows, rows + [3, 0]).value, 6)
    9.0
    """
    a, b = _check_moments("a", a), _check_moments("b", b)
    if a.n_features != b.n_features:
        raise ValueError(f"b: expected {a.n_features} columns, like a; got {b.n_features}")
    apart = a.mean - b.mean
    (variances_a, axes_a), (variances_b, axes_b) = _spectrum(a), _spectrum(b)
    roots = np.sqrt(variances_a)[:, None] * (axes_a.T @ axes_b) * np.sqrt(variances_b)
    left, overlap, right = np.linalg.svd(roots)
    value = apart @ apart + variances_a.sum() + variances_b.sum() - 2 * overlap.sum()

    # The derivative by A is I - T, with T = A^-1/2 S A^-1/2, S = (A^1/2 B A^1/2)^1/2 and T A T = B. The
    # variance 2 tr ((I - T) A)^2 / (n - 1) = 2 (tr A^2 - 2 tr S A + tr A B) / (n - 1) needs no inverse.
    error_squared = 0.0
    for moments, variances, axes, vectors in (
        (a, variances_a, axes_a, left),
        (b, variances_b, axes_b, right.T),
    ):
        slope = variances @ variances - 2 * variances @ (vectors**2 @ overlap) + overlap @ overlap
        of_mean = 4 * variances @ (axes.T @ apart) ** 2 / moments.count
        error_squared += of_mean + 2 * max(slope, 0.0) / (moments.count - 1)
    return Estimate(max(float(value), 0.0), float(np.sqrt(error_squared)))


def _check_moments(name: str, value: Moments | ArrayLike) -> Moments:
    if not isinstance(value, Moments):
        rows = check_matrix(name, value)
        value = Moments.empty(rows.shape[1]).update(rows)
    if value.count < 2:
        raise ValueError(f"{name}: expected moments of at least 2 rows; got {value.count}")
    return value


def _spectrum(moments: Moments) -> tuple[np.ndarray, np.ndarray]:
    """Compute the variances along the principal axes, and these axes as columns."""
    variances, axes = np.linalg.eigh(moments.covariance)
    # The square root turns a rounding error of 1e-16 into 1e-8.
    rounding = len(variances) * np.finfo(np.float64).eps * variances[-1]
    return np.where(variances > rounding, variances, 0.0), axes
