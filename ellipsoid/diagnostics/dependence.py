"""Dependence between components that linear correlation does not detect."""

import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike
from scipy import stats

from ellipsoid.blocks import subset
from ellipsoid.checks import check_matrix
from ellipsoid.diagnostics.pairs import correlation
from ellipsoid.diagnostics.rows import TEST_ROWS
from ellipsoid.moments import Moments


@dataclass(frozen=True)
class Dependence:
    """Dependence between pairs of columns that are not linearly correlated.

    Attributes
    ----------
    squares : ndarray, shape (C, C)
        Rank correlation (Spearman's) of the squared columns. No single row has much influence on it.
    squares_bound : float
        Bound on the magnitude: independent columns stay below it in all pairs with 95 % probability.
    distance : ndarray, shape (C, C)
        Distance correlation (Szekely, Rizzo and Bakirov, 2007), bias-corrected (Szekely and Rizzo, 2013): the
        root of its positive part. It is zero for independent columns, and about ``0.9 |r|`` for a Gaussian
        pair.
    distance_bound : float
        Bound that independent columns stay below in all pairs with 95 % probability.
    """

    squares: np.ndarray
    squares_bound: float
    distance: np.ndarray
    distance_bound: float


def dependence(values: ArrayLike) -> Dependence:
    """Measure the dependence of all pairs of columns.

    Correlations of squares use all rows; distance correlations use `TEST_ROWS` of them. The bounds are
    corrected for the number of pairs (Bonferroni) and hold for columns of any distribution. For correlations
    the bound is a normal quantile. For the distance correlation R of n rows it follows from
    ``n R^2 + 1 ~ chi-square with 1 degree of freedom`` (Shen, Panda and Vogelstein, 2022).

    Parameters
    ----------
    values : array, shape (n, C)
        Uncorrelated columns, at least 2, in at least 8 rows.

    Returns
    -------
    Dependence

    Raises
    ------
    TypeError
        If `values` does not hold real numbers.
    ValueError
        If `values` is not a finite matrix of at least 8 rows and 2 columns, or a column is constant.
    """
    values = check_matrix("values", values, least=8)
    n, c = values.shape
    if c < 2:
        raise ValueError(f"values: expected at least 2 columns; got shape {values.shape}")
    centred = values - values.mean(axis=0, dtype=np.float64)
    ranks = np.argsort(np.argsort(np.abs(centred), axis=0), axis=0)
    squares = correlation(Moments.empty(c).update(ranks).covariance)
    std = centred.std(axis=0)
    if not std.all():
        raise ValueError(f"values: expected columns that vary; got a constant column {int(std.argmin())}")
    rows = subset(centred / std, TEST_ROWS).astype(np.float32)
    share_of_pair = 0.05 / (c * (c - 1) / 2)
    return Dependence(
        squares=squares,
        squares_bound=float(stats.norm.isf(share_of_pair / 2) / math.sqrt(n - 1)),
        distance=np.sqrt(np.maximum(distance_correlation(rows), 0)),
        distance_bound=math.sqrt(max(stats.chi2.isf(share_of_pair, 1) - 1, 0) / len(rows)),
    )


def distance_correlation(values: ArrayLike) -> np.ndarray:
    """Bias-corrected squared distance correlation of all pairs of columns.

    The centred distances ``|x_i - x_j|`` of each column form one long vector. The products of these vectors
    give all pairs; they are summed over blocks of rows, in O(n^2 C^2) time and O(n C) memory.

    Parameters
    ----------
    values : array, shape (n, C)
        Columns, in at least 4 rows.

    Returns
    -------
    ndarray, shape (C, C)
        Squared distance correlations, 1 on the diagonal. For independent columns they are zero on average,
        and sometimes negative.

    Raises
    ------
    TypeError
        If `values` does not hold real numbers.
    ValueError
        If `values` is not a finite matrix of at least 4 rows.
    """
    values = check_matrix("values", values, least=4).astype(np.float32)
    n, c = values.shape
    size = max(1, min(n, 2**24 // (n * c)))
    # The order and the running sums of a column give the sums of |x_i - x_j| over j, in float64.
    order = np.argsort(values, axis=0)
    ordered = np.take_along_axis(values.astype(np.float64), order, axis=0)
    running, rank = np.cumsum(ordered, axis=0), np.arange(1, n + 1)[:, None]
    sums = np.empty((n, c))
    np.put_along_axis(sums, order, (2 * rank - n) * ordered + running[-1] - 2 * running, axis=0)
    padded = np.zeros((-(-n // size) * size, c), np.float32)
    padded[:n] = values
    products = np.asarray(_centred_products(padded, sums.astype(np.float32), n, size), np.float64)
    norm = np.sqrt(products.diagonal())
    return products / np.maximum(np.outer(norm, norm), np.finfo(float).tiny)


def _centred_products(values, sums, n, size):
    """Sum the products of the U-centred distances of two columns over i and j, for all pairs of columns."""
    row_means, grand_mean = sums / (n - 2), sums.sum(axis=0) / ((n - 1) * (n - 2))
    padded_means = jnp.pad(row_means, ((0, len(values) - n), (0, 0)))

    def product(total, start):
        block = lax.dynamic_slice_in_dim(values, start, size)
        mean = lax.dynamic_slice_in_dim(padded_means, start, size)
        index = start + jnp.arange(size)
        keep = (index[:, None] != jnp.arange(n)[None, :]) & (index < n)[:, None]
        centred = jnp.abs(block[:, None, :] - values[None, :n, :])
        centred = centred - mean[:, None, :] - row_means[None, :, :]
        centred = centred + jnp.broadcast_to(grand_mean, centred.shape)
        flat = jnp.where(keep[..., None], centred, 0).reshape(size * n, -1)
        return total + jnp.matmul(flat.T, flat, precision=lax.Precision.HIGHEST), None

    c = values.shape[1]
    return lax.scan(product, jnp.zeros((c, c)), jnp.arange(0, len(values), size))[0]


_centred_products = jax.jit(_centred_products, static_argnums=(2, 3))
