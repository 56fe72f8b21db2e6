"""All pairs of rows of two sets, block by block, for metrics that are sums over all of them.

Which pairs are near is found by :mod:`ellipsoid.metrics.near_pairs`.
"""

import math
from collections.abc import Iterator, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike

from ellipsoid.blocks import row_slices
from ellipsoid.checks import check_matrix
from ellipsoid.forks import check_process
from ellipsoid.progress import progress_bar

#: Rows on each side of a block of pairs, at most: 8 MiB in float64.
BLOCK = 1024


def check_pair(
    first: str, x: ArrayLike, second: str, y: ArrayLike, least: int, least_second: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return two finite real matrices of equally many columns.

    Parameters
    ----------
    first, second : str
        Names of the arguments, for messages.
    x, y : array
        The values to check.
    least, least_second : int
        Smallest number of rows of each; the second is the first unless given.

    Raises
    ------
    TypeError
        If one of them does not hold real numbers.
    ValueError
        If one is no finite matrix or has too few rows, or they differ in their number of columns.
    RuntimeError
        In a process that was forked after JAX had been used.
    """
    check_process()
    x = check_matrix(first, x, least)
    least_second = least if least_second is None else least_second
    return x, check_matrix(second, y, least_second, n_columns=x.shape[1])


# --- rows in blocks --------------------------------------------------------------------------------


def unit_of(*sets: np.ndarray) -> float:
    """Power of two that no value exceeds: over it, float32 holds values of any unit, to the same bits."""
    largest = max(abs(float(bound)) for rows in sets for bound in (rows.min(), rows.max()))
    return math.ldexp(1.0, math.frexp(largest)[1]) if largest else 1.0


def device_blocks(rows: np.ndarray) -> list[jax.Array]:
    """Copy the rows to the device, as they are: centred, in float64, they would take twice the memory."""
    with jax.enable_x64(True):
        return [jnp.array(rows[block]) for block in row_slices(len(rows), BLOCK)]


def count_rows(blocks: Sequence[jax.Array]) -> int:
    """Rows in all blocks."""
    return sum(map(len, blocks))


def mean_row(rows: np.ndarray) -> np.ndarray:
    """Mean of the rows in float64, ``(D,)``: a centre that keeps lengths, and their rounding, small."""
    return rows.mean(axis=0, dtype=np.float64)


def block_pairs(
    a: Sequence[jax.Array],
    b: Sequence[jax.Array],
    label: str,
    progress: bool,
    centre: np.ndarray | None = None,
) -> Iterator[tuple[slice, jax.Array, slice, jax.Array]]:
    """Give each pair of blocks, and which rows each holds; of one set with itself, each pair once.

    Parameters
    ----------
    a, b : sequence of arrays
        Rows of two sets, ``(rows, D)`` in each block. The outer loop is over `a`, each block of which is
        taken once.
    label : str
        Text of the bar.
    progress : bool
        Whether a bar is shown.
    centre : ndarray, shape (D,), optional
        If given, blocks come in float64, less the centre.

    Yields
    ------
    rows_a, block_a, rows_b, block_b
        For each of both blocks a slice of its set, and the rows there.
    """

    def prepared(block):
        return block if centre is None else centre_rows(block, centre)

    first = [i if a is b else 0 for i in range(len(a))]
    total = sum(len(b) - start for start in first)
    with progress_bar(label, total, enabled=progress, unit="blocks") as advance:
        for i, start in enumerate(first):
            block_a = prepared(a[i])
            for j in range(start, len(b)):
                block_b = block_a if a is b and i == j else prepared(b[j])
                yield _rows_of(i, block_a), block_a, _rows_of(j, block_b), block_b
                advance(1)


def _rows_of(number: int, block: jax.Array) -> slice:
    return slice(number * BLOCK, number * BLOCK + len(block))


# --- pairs of rows ---------------------------------------------------------------------------------


@jax.jit
def centre_rows(rows: jax.Array, centre: jax.Array | np.ndarray) -> jax.Array:
    """Rows in float64, less the centre."""
    return rows.astype(jnp.float64) - centre[None, :]


def products(a: jax.Array, b: jax.Array) -> jax.Array:
    """Inner products of all pairs of rows, ``(m, n)``, in the precision of the rows."""
    return jnp.matmul(a, b.T, precision=lax.Precision.HIGHEST)


def squares(a: jax.Array, b: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Squared distances of all pairs of rows, and the sums of their squared lengths.

    Parameters
    ----------
    a, b : array, shapes (m, D) and (n, D)
        Rows less a common centre.

    Returns
    -------
    squares : array, shape (m, n)
        Their error is proportional to the lengths.
    lengths : array, shape (m, n)
        For each pair ``|a|^2 + |b|^2``, from the centre.
    """
    lengths = jnp.sum(a**2, axis=1)[:, None] + jnp.sum(b**2, axis=1)[None, :]
    return lengths - 2 * products(a, b), lengths
