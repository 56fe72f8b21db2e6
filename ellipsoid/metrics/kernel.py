"""Kernel distance (maximum mean discrepancy) between two sets of features."""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from ellipsoid.checks import check_count
from ellipsoid.metrics.estimate import Estimate
from ellipsoid.metrics.row_pairs import (
    block_pairs,
    check_pair,
    count_rows,
    device_blocks,
    products,
    unit_of,
)


def kernel_distance(x: ArrayLike, y: ArrayLike, *, degree: int = 3, progress: bool = False) -> Estimate:
    """Squared maximum mean discrepancy by the kernel ``(x y / D + 1)^degree``: the "KID" of any features.

    This is the unbiased estimate over all pairs (Gretton et al., 2012; Bińkowski et al., 2018), not the mean
    over random subsets: it may be negative where both distributions are equal.

    Parameters
    ----------
    x : array, shape (m, D)
        At least three rows.
    y : array, shape (n, D)
        At least three rows. The kernel is not free of units: scale the features of both sets to about 1.
    degree : int
        Degree of the kernel, at least 1.
    progress : bool
        Whether a bar is shown for each pass over the pairs.

    Returns
    -------
    Estimate
        The error is that of the jackknife over the rows of both sets. Where the two distributions are equal
        the distance is quadratic in the rows, and the error is too large, by a factor of up to the root of
        two.

    Raises
    ------
    TypeError
        If the rows do not hold real numbers, or `degree` is no integer.
    ValueError
        If the rows are not a finite matrix, are fewer than three, or differ in their number of columns, or
        `degree` is less than 1.

    Examples
    --------
    The distance of degree 1 compares the means alone, ``|mean_x - mean_y|^2 / D`` on average:

    >>> import numpy as np
    >>> from ellipsoid.metrics import kernel_distance
    >>> x, y = np.random.default_rng(0).normal(size=(2, 500, 2)) + [[[0, 0]], [[1, 1]]]
    >>> print(kernel_distance(x, y, degree=1))
    1.083 ± 0.093
    """
    x, y = check_pair("x", x, "y", y, least=3)
    degree = check_count("degree", degree)
    x_blocks, y_blocks, unit = device_blocks(x), device_blocks(y), unit_of(x, y)
    within_x = _sums_within(x_blocks, degree, unit, "kernel of x", progress)
    within_y = _sums_within(y_blocks, degree, unit, "kernel of y", progress)
    across_x, across_y = _sums_across(x_blocks, y_blocks, degree, unit, "kernel of x and y", progress)

    def discrepancy(total_x, total_y, total_across, m, n):
        return total_x / (m * (m - 1)) + total_y / (n * (n - 1)) - 2 * total_across / (m * n)

    m, n = len(x), len(y)
    total_x, total_y, total_across = within_x.sum(), within_y.sum(), across_x.sum()
    value = discrepancy(total_x, total_y, total_across, m, n)
    without_x = discrepancy(total_x - 2 * within_x, total_y, total_across - across_x, m - 1, n)
    without_y = discrepancy(total_x, total_y - 2 * within_y, total_across - across_y, m, n - 1)
    variance = (m - 1) * np.var(without_x) + (n - 1) * np.var(without_y)
    return Estimate(float(value), float(np.sqrt(variance)))


def _sums_within(
    blocks: Sequence[jax.Array], degree: int, unit: float, label: str, progress: bool
) -> np.ndarray:
    """Sum of the kernel of each row with all other rows."""
    sums = np.zeros(count_rows(blocks))
    with jax.enable_x64(True):
        for rows_a, a, rows_b, b in block_pairs(blocks, blocks, label, progress):
            of_a, of_b = _block_sums(a, b, unit, degree, a is b)
            sums[rows_a] += of_a
            if a is not b:
                sums[rows_b] += of_b
    return sums


def _sums_across(
    x_blocks: Sequence[jax.Array],
    y_blocks: Sequence[jax.Array],
    degree: int,
    unit: float,
    label: str,
    progress: bool,
) -> tuple[np.ndarray, np.ndarray]:
    """Sum of the kernel of each row of the one set with all rows of the other."""
    of_x, of_y = np.zeros(count_rows(x_blocks)), np.zeros(count_rows(y_blocks))
    with jax.enable_x64(True):
        for rows_x, x, rows_y, y in block_pairs(x_blocks, y_blocks, label, progress):
            of_a, of_b = _block_sums(x, y, unit, degree, False)
            of_x[rows_x] += of_a
            of_y[rows_y] += of_b
    return of_x, of_y


@functools.partial(jax.jit, static_argnums=(3, 4))
def _block_sums(
    a: jax.Array, b: jax.Array, unit: float, degree: int, same: bool
) -> tuple[jax.Array, jax.Array]:
    # The distance of two good sets is some 1e-5 of the kernel: sums in float32 would not resolve it.
    float32_products = products(*((rows.astype(jnp.float64) / unit).astype(jnp.float32) for rows in (a, b)))
    kernel = (unit**2 * float32_products.astype(jnp.float64) / a.shape[1] + 1) ** degree
    if same:
        kernel = jnp.where(jnp.eye(len(a), dtype=bool), 0, kernel)
    return jnp.sum(kernel, axis=1), jnp.sum(kernel, axis=0)
