"""Realism score of each generated image, by the neighbourhoods of real images."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from ellipsoid.checks import check_count
from ellipsoid.metrics.near_pairs import nearest_rows
from ellipsoid.metrics.row_pairs import block_pairs, check_pair, device_blocks, mean_row, squares


def realism(generated: ArrayLike, real: ArrayLike, *, k: int = 3, progress: bool = False) -> np.ndarray:
    """Compute the realism score of each generated row: its depth in a neighbourhood of real rows.

    The score of a row g is ``max_j r_j / |g - x_j|`` over real rows x_j, where r_j is the distance from x_j
    to its k-th nearest other real row (Kynkäänniemi et al., 2019). It is above 1 inside a neighbourhood.
    Neighbourhoods with more than the median radius are left out, since those of outliers contain almost
    everything.

    Parameters
    ----------
    generated : array, shape (m, D)
        Generated rows, at least one.
    real : array, shape (n, D)
        Real rows, more than k.
    k : int
        Rank of the neighbour that sets the radius.
    progress : bool
        Whether to show a progress bar for each pass over the pairs.

    Returns
    -------
    array, shape (m,)
        Scores of at least 0. A row that equals a real one has a score above 10,000.

    Raises
    ------
    TypeError
        If the rows do not hold real numbers, or `k` is not an integer.
    ValueError
        If the rows are not finite matrices, are too few, or differ in their number of columns, or `k` is
        below 1.

    Examples
    --------
    >>> from ellipsoid.metrics import realism
    >>> realism([[0.5], [4.0]], [[0.0], [1.0], [2.0]], k=1)
    array([2. , 0.5])
    """
    k = check_count("k", k)
    generated, real = check_pair("generated", generated, "real", real, least=1, least_second=k + 1)
    _, distance = nearest_rows(real, real, k, same=True, label="neighbours of real rows", progress=progress)
    radii = distance[:, -1]
    kept = radii <= np.median(radii)
    real, radii = real[kept], radii[kept]
    largest = np.zeros(len(generated))
    with jax.enable_x64(True):
        pairs = block_pairs(
            device_blocks(real), device_blocks(generated), "realism", progress, mean_row(real)
        )
        for rows, block, generated_rows, queries in pairs:
            of_block = np.asarray(_largest_ratio(queries, block, radii[rows]))
            largest[generated_rows] = np.maximum(largest[generated_rows], of_block)
    return np.sqrt(largest)


@jax.jit
def _largest_ratio(queries: jax.Array, references: jax.Array, radii: jax.Array) -> jax.Array:
    apart, lengths = squares(queries, references)
    # For equal rows, the square is a rounding error, which may be negative.
    apart = jnp.maximum(apart, jnp.maximum(1e-15 * lengths, jnp.finfo(apart.dtype).tiny))
    return jnp.max(radii[None, :] ** 2 / apart, axis=1)
