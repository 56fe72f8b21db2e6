"""Maximum mean discrepancy of any kernel: its unbiased estimate over all pairs of rows, and its jackknife."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from ellipsoid.metrics.estimate import Estimate
from ellipsoid.metrics.row_pairs import block_pairs, count_rows

#: Sums of the kernel over the pairs of two blocks, for each row of the first and of the second. The last
#: argument says that both hold the same rows, where no row is paired with itself.
BlockSums = Callable[[jax.Array, jax.Array, bool], tuple[jax.Array, jax.Array]]


def discrepancy(
    x: Sequence[jax.Array],
    y: Sequence[jax.Array],
    block_sums: BlockSums,
    progress: bool,
    centre: np.ndarray | None = None,
) -> Estimate:
    """Estimate the squared maximum mean discrepancy, without bias (Gretton et al., 2012, equation 3).

    Parameters
    ----------
    x, y : sequence of arrays
        At least three rows each, in blocks on the device.
    block_sums : callable
        Sums of the kernel over the pairs of two blocks.
    progress : bool
        Whether a bar is shown for each pass over the pairs.
    centre : ndarray, shape (D,), optional
        If given, blocks come in float64, less the centre.

    Returns
    -------
    Estimate
        The error is that of the jackknife over the rows of both sets.
    """
    within_x = _sums_within(x, block_sums, "kernel of x", progress, centre)
    within_y = _sums_within(y, block_sums, "kernel of y", progress, centre)
    across_x, across_y = _sums_across(x, y, block_sums, "kernel of x and y", progress, centre)

    def from_totals(total_x, total_y, total_across, m, n):
        return total_x / (m * (m - 1)) + total_y / (n * (n - 1)) - 2 * total_across / (m * n)

    m, n = len(within_x), len(within_y)
    total_x, total_y, total_across = within_x.sum(), within_y.sum(), across_x.sum()
    value = from_totals(total_x, total_y, total_across, m, n)
    without_x = from_totals(total_x - 2 * within_x, total_y, total_across - across_x, m - 1, n)
    without_y = from_totals(total_x, total_y - 2 * within_y, total_across - across_y, m, n - 1)
    variance = (m - 1) * np.var(without_x) + (n - 1) * np.var(without_y)
    return Estimate(float(value), float(np.sqrt(variance)))


def row_sums(kernel: jax.Array, same: bool) -> tuple[jax.Array, jax.Array]:
    """Sum the kernel of two blocks for each row of both; of the same rows, none is paired with itself."""
    if same:
        kernel = jnp.where(jnp.eye(len(kernel), dtype=bool), 0, kernel)
    return jnp.sum(kernel, axis=1), jnp.sum(kernel, axis=0)


def _sums_within(
    blocks: Sequence[jax.Array],
    block_sums: BlockSums,
    label: str,
    progress: bool,
    centre: np.ndarray | None,
) -> np.ndarray:
    """Sum the kernel of each row with all other rows."""
    sums = np.zeros(count_rows(blocks))
    with jax.enable_x64(True):
        for rows_a, a, rows_b, b in block_pairs(blocks, blocks, label, progress, centre):
            of_a, of_b = block_sums(a, b, a is b)
            sums[rows_a] += of_a
            if a is not b:
                sums[rows_b] += of_b
    return sums


def _sums_across(
    x_blocks: Sequence[jax.Array],
    y_blocks: Sequence[jax.Array],
    block_sums: BlockSums,
    label: str,
    progress: bool,
    centre: np.ndarray | None,
) -> tuple[np.ndarray, np.ndarray]:
    """Sum the kernel of each row of the one set with all rows of the other."""
    of_x, of_y = np.zeros(count_rows(x_blocks)), np.zeros(count_rows(y_blocks))
    with jax.enable_x64(True):
        for rows_x, x, rows_y, y in block_pairs(x_blocks, y_blocks, label, progress, centre):
            of_a, of_b = block_sums(x, y, False)
            of_x[rows_x] += of_a
            of_y[rows_y] += of_b
    return of_x, of_y
