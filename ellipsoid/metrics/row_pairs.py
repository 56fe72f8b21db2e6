"""All pairs of rows of two sets, block by block: the engine under the metrics.

Squared distances are ``|a|^2 + |b|^2 - 2 a b``. Only :func:`squares` makes them, in one of two ways:

- Features are taken in float64, less a common centre. In float32 the last digits of these sums would decide
  whether a row is within the radius of its copies, and with a tolerance that settles this, one row in 4,000
  (256 columns) would be taken for a neighbour that is none.
- The squares of uint8 pixels are integers, and exact.
"""

import functools
import math
from collections.abc import Iterator, Sequence
from typing import Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike

from ellipsoid.blocks import row_slices
from ellipsoid.checks import check_matrix
from ellipsoid.forks import check_process
from ellipsoid.progress import progress_bar

#: Rows on each side of a block of pairs: 32 MiB in float64.
BLOCK = 2048

# Products of this many centred pixels, each at most 2^14, have sums of at most 2^24: exact in float32.
_EXACT_COLUMNS = 1024
_MIDDLE_PIXEL = 128


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
        return [_device_block(rows[block]) for block in row_slices(len(rows), BLOCK)]


class Blocks(Protocol):
    """Rows in blocks of `BLOCK`, the last one shorter: a list of arrays, or :class:`LazyBlocks`."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> jax.Array: ...


class LazyBlocks:
    """Blocks that are copied to the device each time they are asked for, and not kept there.

    They are for rows that memory need not hold all at once, such as those of a memory-mapped file.
    """

    def __init__(self, rows: np.ndarray) -> None:
        self._rows = rows
        self._slices = list(row_slices(len(rows), BLOCK))

    def __len__(self) -> int:
        return len(self._slices)

    def __getitem__(self, index: int, /) -> jax.Array:
        return _device_block(self._rows[self._slices[index]])


def _device_block(rows: np.ndarray) -> jax.Array:
    check_process()
    return jnp.array(rows.reshape(len(rows), -1))


def count_rows(blocks: Sequence[jax.Array]) -> int:
    """Rows in all blocks."""
    return sum(map(len, blocks))


def mean_row(rows: np.ndarray) -> np.ndarray:
    """Mean of the rows in float64, ``(D,)``: a centre that keeps lengths, and their rounding, small."""
    return rows.mean(axis=0, dtype=np.float64)


def block_pairs(
    a: Blocks,
    b: Blocks,
    label: str,
    progress: bool,
    centre: np.ndarray | None = None,
) -> Iterator[tuple[slice, jax.Array, slice, jax.Array]]:
    """Give each pair of blocks, and which rows each holds; of one set with itself, each pair once.

    Parameters
    ----------
    a, b : Blocks
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
        Float rows less a common centre, or uint8 rows as they are.

    Returns
    -------
    squares : array, shape (m, n)
        Squares of uint8 rows are exact, in float64. The error of others is proportional to the lengths.
    lengths : array, shape (m, n)
        For each pair ``|a|^2 + |b|^2``, from the centre.
    """
    if a.dtype == jnp.uint8:
        length_a, length_b = (
            jnp.sum(_centred_pixels(rows) ** 2, axis=1, dtype=jnp.float64) for rows in (a, b)
        )
        inner = _products_of_pixels(a, b)
    else:
        length_a, length_b, inner = jnp.sum(a**2, axis=1), jnp.sum(b**2, axis=1), products(a, b)
    lengths = length_a[:, None] + length_b[None, :]
    return lengths - 2 * inner, lengths


def without_diagonal(squares: jax.Array) -> jax.Array:
    """Squares of a set with itself, in which no row is its own neighbour."""
    return jnp.where(jnp.eye(len(squares), dtype=bool), jnp.inf, squares)


def _centred_pixels(rows: jax.Array) -> jax.Array:
    return rows.astype(jnp.float32) - _MIDDLE_PIXEL


def _products_of_pixels(a: jax.Array, b: jax.Array) -> jax.Array:
    """Inner products of centred pixels: exact, at the speed of float32."""
    n_steps = -(-a.shape[1] // _EXACT_COLUMNS)
    width = min(_EXACT_COLUMNS, a.shape[1])
    missing = n_steps * width - a.shape[1]
    a, b = (jnp.pad(rows, ((0, 0), (0, missing)), constant_values=_MIDDLE_PIXEL) for rows in (a, b))

    def add_columns(step, total):
        columns = (lax.dynamic_slice_in_dim(rows, step * width, width, axis=1) for rows in (a, b))
        return total + products(*map(_centred_pixels, columns))

    return lax.fori_loop(0, n_steps, add_columns, jnp.zeros((len(a), len(b)), jnp.float64))


# --- nearest rows ----------------------------------------------------------------------------------


def nearest_rows(
    queries: np.ndarray,
    references: np.ndarray,
    k: int = 1,
    *,
    blocks: Blocks | None = None,
    same: bool = False,
    label: str = "",
    progress: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Find the k nearest references of each query; of equally near ones, those of lower index.

    Parameters
    ----------
    queries : ndarray, shape (m, D)
        Float or uint8 rows.
    references : ndarray, shape (n, D)
        Rows of the same kind. If both are uint8, the references are read once, in blocks, and may be
        memory-mapped, and rows may have several axes, as images do.
    k : int
        Number of references, at most n.
    blocks : Blocks, optional
        The references on the device, from :func:`device_blocks`, for use with several sets of queries.
    same : bool
        Whether both are the same rows, of which none is its own neighbour; k is then less than n.
    label : str
        Text of the bar.
    progress : bool
        Whether a bar is shown.

    Returns
    -------
    index : ndarray, shape (m, k)
        The references, nearest first.
    distance : ndarray, shape (m, k)
        Euclidean distances in float64, 0 for a copy.
    """
    pixels = references.dtype == np.uint8
    centre = None if pixels else mean_row(references)
    blocks = LazyBlocks(references) if blocks is None else blocks
    index, square = np.zeros((len(queries), k), np.int64), np.full((len(queries), k), np.inf)
    with jax.enable_x64(True):
        pairs = block_pairs(blocks, device_blocks(queries), label, progress, centre)
        for rows, block, query_rows, query in pairs:
            new_index, new_square = _nearest_in_block(
                query, block, min(k, len(block)), same and rows == query_rows
            )
            both_indices = np.concatenate([index[query_rows], rows.start + new_index], axis=1)
            both_squares = np.concatenate([square[query_rows], new_square], axis=1)
            both = _nearest_first(both_indices, both_squares)
            index[query_rows], square[query_rows] = (of_both[:, :k] for of_both in both)
    if pixels:
        return index, np.sqrt(square)
    return _by_differences(queries, references, index)


def _nearest_in_block(
    queries: jax.Array, references: jax.Array, k: int, same: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Index in the block, and squared distance, of the k nearest references, nearest first."""
    if k == 1:
        index, square = map(np.asarray, _closest(queries, references, same))
        return index[:, None], square[:, None]
    # XLA has a fast way for float32 alone: in float64 its top_k takes longer than the squares, on a CPU.
    square = np.asarray(_squares_of_others(queries, references, same))
    kth = np.partition(square, k - 1, axis=1)[:, k - 1 : k]
    nearer, equal = square < kth, square == kth
    n_wanted = k - np.count_nonzero(nearer, axis=1, keepdims=True)
    chosen = nearer | (equal & (np.cumsum(equal, axis=1) <= n_wanted))
    index = np.nonzero(chosen)[1].reshape(len(square), k)
    return _nearest_first(index, np.take_along_axis(square, index, axis=1))


def _nearest_first(index: np.ndarray, apart: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sort the neighbours of each query by how far apart they are, then by index."""
    order = np.lexsort((index, apart))
    return np.take_along_axis(index, order, axis=1), np.take_along_axis(apart, order, axis=1)


def _by_differences(
    queries: np.ndarray, references: np.ndarray, index: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Distances of neighbours once more: of |a|^2 + |b|^2 - 2 a b, the root of the rounding would stay."""
    distance = np.empty(index.shape)
    for rows in row_slices(len(queries), BLOCK):
        wide = queries[rows].astype(np.float64)
        for rank in range(index.shape[1]):
            distance[rows, rank] = np.linalg.norm(wide - references[index[rows, rank]], axis=1)
    return _nearest_first(index, distance)


@functools.partial(jax.jit, static_argnums=2)
def _squares_of_others(queries: jax.Array, references: jax.Array, same: bool) -> jax.Array:
    all_squares = squares(queries, references)[0]
    return without_diagonal(all_squares) if same else all_squares


@functools.partial(jax.jit, static_argnums=2)
def _closest(queries: jax.Array, references: jax.Array, same: bool) -> tuple[jax.Array, jax.Array]:
    of_others = _squares_of_others(queries, references, same)
    return jnp.argmin(of_others, axis=1), jnp.min(of_others, axis=1)
