"""Pairs of rows that are near each other: exact answers at the speed of products in float32.

Squared distances of all pairs are products ``[-2a, 1, |a|^2] [b, |b|^2, 1]`` in float32, of rows less a
common centre. Their error is at most ``2 g (|a|^2 + |b|^2)`` with ``g = n u / (1 - n u)``, ``u = 2^-24`` and
``n = D + 8``. The reason is that a sum of D + 2 products, in any order, errs by
``(D + 2) u / (1 - (D + 2) u)`` times the sum of their sizes (Higham, 2002, section 3.1). These sizes add up
to ``2 |a| |b| + |a|^2 + |b|^2`` at most. The rounding of the factors counts as fewer than six more products.
Numbers below ``2^-126``, which float32 may take for 0, have a separate bound.

So nearly all pairs are known to be near or far. Pairs in doubt, and all pairs that are returned, are settled
in float64 by the differences of their rows. Copies are then at distance 0, and among equally near rows the
first one comes first.

On a CPU, NumPy selects the pairs while the next products are made. On an accelerator, the same lines select
them on the device.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ellipsoid.blocks import row_slices
from ellipsoid.forks import check_process
from ellipsoid.metrics import row_pairs
from ellipsoid.metrics.row_pairs import mean_row, products, unit_of
from ellipsoid.progress import progress_bar

_MIDDLE_PIXEL = 128.0
# Count of differences that are taken at once, so that they fit into a cache.
_CHUNK = 2**17
# Share of a block's pairs beyond which one product in float64 is quicker than differences.
_MANY = 1 / 32
# Count of differences that take a negligible time.
_FEW = 2**20
# Smallest size of a block.
_LEAST_ROWS = 64
# Number of groups of a block's columns whose minima tell, nearly, how far the nearest rows are.
_GROUPS = 64
# Factor in length, over the rows that set the unit, up to which float32 squares do not overflow.
_HEADROOM = 2.0**30


class _Prepared(NamedTuple):
    """Rows of one block.

    Attributes
    ----------
    factors : array, shape (size, D + 2)
        Rows less the centre, over the unit, then their squared lengths and ones. They are float32, padded
        with zeros.
    lengths : ndarray, shape (rows,)
        Squared lengths, from the centre, in the unit of the rows.
    """

    factors: jax.Array
    lengths: np.ndarray


class Rows:
    """Rows that are prepared for products with themselves or others.

    Parameters
    ----------
    values : ndarray, shape (n, ...)
        Float or uint8 rows. Only uint8 rows may have several axes, as images do. They must not be changed
        while in use.
    centre : ndarray of shape (D,) or float, optional
        Point near the middle of the rows, which keeps lengths, and their rounding, small. The default is the
        mean of float rows, and 128 for pixels.
    unit : float, optional
        Power of two that divides the rows in float32.

    Attributes
    ----------
    values, centre, unit
        The parameters.
    """

    def __init__(
        self, values: np.ndarray, centre: np.ndarray | float | None = None, unit: float | None = None
    ) -> None:
        check_process()
        pixels = values.dtype == np.uint8
        self.values = values
        self.centre = (_MIDDLE_PIXEL if pixels else mean_row(values)) if centre is None else centre
        # A row less the centre has up to twice the largest value.
        self.unit = (256.0 if pixels else 2 * unit_of(values)) if unit is None else unit
        self._size = _block_size(len(values))
        self._slices = list(row_slices(len(values), self._size))
        # Pixels take four times the memory in float32, and may be memory-mapped.
        self._blocks = None if pixels else [self._prepare(rows) for rows in self._slices]

    def __len__(self) -> int:
        return len(self.values)

    @property
    def n_columns(self) -> int:
        """Numbers in a row."""
        return math.prod(self.values.shape[1:])

    @property
    def slices(self) -> list[slice]:
        """Rows of each block."""
        return self._slices

    def block(self, number: int) -> _Prepared:
        """Give the rows of a block; pixels are read anew each time."""
        return self._prepare(self._slices[number]) if self._blocks is None else self._blocks[number]

    def _prepare(self, rows: slice) -> _Prepared:
        centred = self.centred(rows)
        lengths = np.einsum("ij,ij->i", centred, centred)
        factors = np.zeros((self._size, centred.shape[1] + 2), np.float32)
        factors[: len(centred), :-2] = np.multiply(centred, 1 / self.unit, out=centred)
        factors[: len(centred), -2] = lengths / self.unit**2
        factors[:, -1] = 1
        return _Prepared(jnp.asarray(factors), lengths)

    def centred(self, rows: slice) -> np.ndarray:
        """Give the rows in float64, less the centre, ``(rows, D)``."""
        return _wide(self.values[rows]) - self.centre

    def beside(self, others: np.ndarray) -> "tuple[Rows, Rows]":
        """Give these rows and others, prepared with one centre and one unit.

        Parameters
        ----------
        others : ndarray, shape (m, ...)
            Rows of the same kind.
        """
        these = self
        if others.dtype != np.uint8 and unit_of(others) > _HEADROOM * self.unit:
            these = Rows(self.values, self.centre, unit_of(others))
        return these, Rows(others, these.centre, these.unit)


def _block_size(n: int) -> int:
    """Choose the rows in a block: small sets share their programs, and large ones are padded by little."""
    if n <= row_pairs.BLOCK:
        return min(max(2 ** (n - 1).bit_length(), _LEAST_ROWS), row_pairs.BLOCK)
    size = math.ceil(n / math.ceil(n / row_pairs.BLOCK))
    return min(-(-size // 16) * 16, row_pairs.BLOCK)


def _wide(values: np.ndarray) -> np.ndarray:
    return values.reshape(len(values), -1).astype(np.float64)


def squares_by_differences(a: Rows, i: np.ndarray, b: Rows, j: np.ndarray) -> np.ndarray:
    """Give the squared distances of some pairs of rows, in float64.

    Parameters
    ----------
    a, b : Rows
    i, j : ndarray, shape (n,)
        Numbers of the rows of each pair.

    Returns
    -------
    ndarray, shape (n,)
        Exact for uint8 rows, and 0 for copies.
    """
    squares = np.empty(len(i))
    for pairs in row_slices(len(i), max(1, _CHUNK // a.n_columns)):
        apart = _wide(a.values[i[pairs]])
        apart -= b.values[j[pairs]].reshape(apart.shape)
        squares[pairs] = np.einsum("ij,ij->i", apart, apart)
    return squares


# --- blocks of pairs -------------------------------------------------------------------------------


class Pairs(NamedTuple):
    """Pairs of rows.

    Attributes
    ----------
    a, b : ndarray, shape (n,)
        Numbers of the rows in their sets.
    squares : ndarray, shape (n,)
        Squared distances.
    errors : ndarray, shape (n,)
        Bounds of the errors of these squares.
    """

    a: np.ndarray
    b: np.ndarray
    squares: np.ndarray
    errors: np.ndarray

    def swapped(self) -> "Pairs":
        """Give the same pairs, the other row first."""
        return Pairs(self.b, self.a, self.squares, self.errors)

    def where(self, chosen: np.ndarray) -> "Pairs":
        """Give some of these pairs."""
        return Pairs(*(values[chosen] for values in self))


@dataclass(frozen=True, eq=False)
class PairBlock:
    """All pairs of a block of rows and another.

    Attributes
    ----------
    a, b : Rows
        Sets of the rows.
    rows_a, rows_b : slice
        Rows of each block in its set.
    lengths_a, lengths_b : ndarray, shapes (m,) and (n,)
        Squared lengths of the rows, from the centre.
    same : bool
        Whether both are the same rows, where no row is its own neighbour.
    """

    a: Rows
    b: Rows
    rows_a: slice
    rows_b: slice
    lengths_a: np.ndarray
    lengths_b: np.ndarray
    same: bool
    _squares: jax.Array

    @property
    def _selected_from(self) -> tuple[ModuleType, np.ndarray | jax.Array]:
        """Squares over the squared unit, in float32, and the module that selects from them there."""
        m, n = len(self.lengths_a), len(self.lengths_b)
        if all(device.platform == "cpu" for device in self._squares.devices()):
            return np, np.asarray(self._squares)[:m, :n]
        return jnp, self._squares[:m, :n]

    def _errors(self, lengths: np.ndarray) -> np.ndarray:
        """Bound the contributions of rows of these squared lengths to the errors of squared distances."""
        n_terms = self.a.n_columns + 8
        relative = n_terms * 2.0**-24 / (1 - n_terms * 2.0**-24)
        return 2 * relative * lengths + n_terms * 2.0**-120 * self.a.unit**2

    def reach(self, k: int, axis: int) -> np.ndarray:
        """Bound from above the squared distance to the k-th nearest row of the other block.

        Parameters
        ----------
        k : int
            Rank of the neighbour.
        axis : {0, 1}
            1 for each row of a, 0 for each row of b.

        Returns
        -------
        ndarray, shape (m,) or (n,)
            Infinite where there are not as many rows.
        """
        xp, squares = self._selected_from
        k += self.same  # a row itself is among the nearest
        n_others = squares.shape[axis]
        lengths, others = (self.lengths_b, self.lengths_a)[:: 1 if axis == 0 else -1]
        if k > n_others:
            return np.full(len(lengths), np.inf)
        if k <= _GROUPS // 2 < n_others // 4:
            # At least so many different rows are as near as the k-th smallest minimum of groups.
            size = n_others // _GROUPS
            if axis == 1:
                squares = squares[:, : size * _GROUPS].reshape(-1, size, _GROUPS).min(axis=1)
            else:
                squares = squares[: size * _GROUPS].reshape(size, _GROUPS, -1).min(axis=0)
        kth = np.asarray(xp.partition(squares, k - 1, axis=axis).take(k - 1, axis=axis), np.float64)
        return kth * self.a.unit**2 + self._errors(lengths) + self._errors(others).max()

    def near(self, reach_a: np.ndarray | None, reach_b: np.ndarray | None) -> Pairs:
        """Give the pairs that may be as near as one of their rows reaches, and some a little farther.

        Parameters
        ----------
        reach_a, reach_b : ndarray, shapes (m,) and (n,), optional
            Squared distances. Rows of a set without them reach nowhere.
        """
        xp, squares = self._selected_from
        errors_a, errors_b = self._errors(self.lengths_a), self._errors(self.lengths_b)
        near = xp.zeros((1, 1), bool)
        if reach_a is not None:
            near = near | (squares <= self._limits(reach_a, errors_a, errors_b)[:, None])
        if reach_b is not None:
            near = near | (squares <= self._limits(reach_b, errors_b, errors_a)[None, :])
        # This takes a third of the time of `nonzero`.
        i, j = np.divmod(np.asarray(xp.flatnonzero(near)), squares.shape[1])
        values = np.asarray(squares[i, j], np.float64) * self.a.unit**2
        pairs = Pairs(self.rows_a.start + i, self.rows_b.start + j, values, errors_a[i] + errors_b[j])
        return pairs.where(i != j) if self.same else pairs

    def _limits(self, reach: np.ndarray, errors: np.ndarray, others: np.ndarray) -> np.ndarray:
        limits = (reach + errors + others.max()) / self.a.unit**2
        with np.errstate(over="ignore"):
            return np.nextafter(limits.astype(np.float32), np.float32(np.inf))

    def settled(self, pairs: Pairs) -> Pairs:
        """Give pairs with their squares in float64, which are taken as exact.

        Squares of many pairs come from products: their errors are the rounding of the lengths.
        """
        if not self._is_many(pairs):
            squares = squares_by_differences(self.a, pairs.a, self.b, pairs.b)
        else:
            inner = self.a.centred(self.rows_a) @ self.b.centred(self.rows_b).T
            i, j = pairs.a - self.rows_a.start, pairs.b - self.rows_b.start
            squares = np.maximum(self.lengths_a[i] + self.lengths_b[j] - 2 * inner[i, j], 0)
        return Pairs(pairs.a, pairs.b, squares, np.zeros(len(squares)))

    def _is_many(self, pairs: Pairs) -> bool:
        n, n_all = len(pairs.a), len(self.lengths_a) * len(self.lengths_b)
        return n > _MANY * n_all and n * self.a.n_columns > _FEW


def pair_blocks(a: Rows, b: Rows, label: str, progress: bool) -> Iterator[PairBlock]:
    """Give all pairs of rows block by block, while the next products are made.

    Each pair of one set with itself is given once.

    Parameters
    ----------
    a, b : Rows
        Rows with one centre and one unit. The outer loop is over `a`, each block of which is taken once.
    label : str
        Text of the bar.
    progress : bool
        Whether a bar is shown.
    """
    first = [i if a is b else 0 for i in range(len(a.slices))]
    total = sum(len(b.slices) - start for start in first)

    def under_way() -> Iterator[PairBlock]:
        for i, start in enumerate(first):
            block_a = a.block(i)
            left = _left(block_a.factors)
            for j in range(start, len(b.slices)):
                same = a is b and i == j
                block_b = block_a if same else b.block(j)
                squares = _squares(left, block_b.factors)
                yield PairBlock(
                    a, b, a.slices[i], b.slices[j], block_a.lengths, block_b.lengths, same, squares
                )

    with progress_bar(label, total, enabled=progress, unit="blocks") as advance:
        blocks = under_way()
        now = next(blocks, None)
        while now is not None:
            following = next(blocks, None)
            yield now
            advance(1)
            now = following


@jax.jit
def _left(factors: jax.Array) -> jax.Array:
    """Turn factors ``[b, |b|^2, 1]`` into ``[-2b, 1, |b|^2]``."""
    return jnp.concatenate([-2 * factors[:, :-2], factors[:, -1:], factors[:, -2:-1]], axis=1)


_squares = jax.jit(products)


# --- nearest rows ----------------------------------------------------------------------------------


def nearest_rows(
    queries: np.ndarray,
    references: np.ndarray | Rows,
    k: int = 1,
    *,
    same: bool = False,
    label: str = "",
    progress: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Find the k nearest references of each query; of equally near ones, those of lower index.

    Parameters
    ----------
    queries : ndarray, shape (m, D)
        Float or uint8 rows.
    references : ndarray of shape (n, D), or Rows
        Rows of the same kind. Prepared ones serve several sets of queries. If both are uint8, the references
        are read block by block and may be memory-mapped, and rows may have several axes, as images do.
    k : int
        Number of references, at most n.
    same : bool
        Whether both are the same rows, where no row is its own neighbour; k is then less than n.
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
    if not isinstance(references, Rows):
        references = Rows(references)
    if same:
        prepared = references
    else:
        references, prepared = references.beside(queries)
    index, square = nearest(prepared, references, k, same=same, label=label, progress=progress)
    return index, np.sqrt(square)


def nearest(
    queries: Rows, references: Rows, k: int, *, same: bool, label: str, progress: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Find neighbours as :func:`nearest_rows` does, of prepared rows, with squared distances.

    If both are the same rows, where no row is its own neighbour, each pair is looked at once.
    """
    found = _Nearest(queries, references, k)
    if same:
        for block in pair_blocks(references, references, label, progress):
            found.look(block, 1)
            pairs = block.near(found.reach[block.rows_a], None)
            if not block.same:
                found.look(block, 0)
                pairs = block.near(found.reach[block.rows_a], found.reach[block.rows_b])
                found.add(block, pairs.swapped())
            found.add(block, pairs)
    else:
        # The references, which may be read from a disk, are the outer loop.
        for block in pair_blocks(references, queries, label, progress):
            found.look(block, 0)
            found.add(block, block.near(None, found.reach[block.rows_b]).swapped())
    return found.result()


class _Nearest:
    """Candidates for the k nearest references of each query.

    Attributes
    ----------
    reach : ndarray, shape (m,)
        Bound from above of each query's squared distance to its k-th nearest reference.
    """

    def __init__(self, queries: Rows, references: Rows, k: int) -> None:
        self.reach = np.full(len(queries), np.inf)
        self._queries, self._references, self._k = queries, references, k
        self._pairs, self._count = [], 0
        self._most = max(8 * k * len(queries), 2**16)

    def look(self, block: PairBlock, axis: int) -> None:
        """Find how far queries reach that have not been looked at before."""
        rows = block.rows_a if axis == 1 else block.rows_b
        if np.isinf(self.reach[rows]).any():
            self.reach[rows] = np.minimum(self.reach[rows], block.reach(self._k, axis))

    def add(self, block: PairBlock, pairs: Pairs) -> None:
        """Take pairs of a query and a reference of one block that may be among the nearest."""
        pairs = pairs.where(pairs.squares - pairs.errors <= self.reach[pairs.a])
        self._pairs.append(pairs)
        self._count += len(pairs.a)
        if self._count > self._most:
            self._reduce()

    def _reduce(self) -> Pairs:
        """Leave out references that are farther than k others of the query."""
        a, b, squares, errors = map(np.concatenate, zip(*self._pairs, strict=True))
        order = np.lexsort((b, squares + errors, a))
        pairs = Pairs(a, b, squares, errors).where(order)
        counts = np.bincount(pairs.a, minlength=len(self.reach))
        rank = np.arange(len(order)) - (np.cumsum(counts) - counts)[pairs.a]
        kth = pairs.where(rank == self._k - 1)
        self.reach[kth.a] = np.minimum(self.reach[kth.a], kth.squares + kth.errors)
        # Exact squares that are equal are sorted by their numbers.
        kept = (pairs.squares - pairs.errors <= self.reach[pairs.a]) & ((pairs.errors > 0) | (rank < self._k))
        pairs = pairs.where(kept)
        self._pairs, self._count = [pairs], len(pairs.a)
        return pairs

    def result(self) -> tuple[np.ndarray, np.ndarray]:
        """Give the numbers and squared distances of the nearest references, shapes (m, k)."""
        pairs = self._reduce()
        squares = squares_by_differences(self._queries, pairs.a, self._references, pairs.b)
        self._pairs = [Pairs(pairs.a, pairs.b, squares, np.zeros(len(squares)))]
        pairs = self._reduce()
        shape = (len(self.reach), self._k)
        return pairs.b.reshape(shape), pairs.squares.reshape(shape)
