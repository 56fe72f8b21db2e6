"""Fidelity and diversity by nearest neighbours: precision, recall, density and coverage."""

import functools
import math
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike

from ellipsoid.checks import check_count, check_matrix
from ellipsoid.metrics.estimate import Estimate, estimate_share
from ellipsoid.metrics.row_pairs import (
    block_pairs,
    check_pair,
    count_rows,
    device_blocks,
    mean_row,
    products,
    squares,
    without_diagonal,
)

# Relative to |a|^2 + |b|^2. Two equal rows of 2,048 columns come out up to 1e-15 apart, and a radius is as
# uncertain.
_ROUNDING = 1e-13


class PrecisionRecall(NamedTuple):
    """Fidelity and diversity by the overlap of two manifolds.

    Attributes
    ----------
    precision : Estimate
        Share of the generated images among the real ones.
    recall : Estimate
        Share of the real images among the generated ones.
    """

    precision: Estimate
    recall: Estimate


class DensityCoverage(NamedTuple):
    """Fidelity and diversity by the neighbourhoods of real images.

    Attributes
    ----------
    density : Estimate
        How densely the neighbourhoods are filled: 1 for generated images that are distributed as the real.
    coverage : Estimate
        Share of the neighbourhoods that are not empty.
    """

    density: Estimate
    coverage: Estimate


class PRDC(NamedTuple):
    """Fidelity (precision, density) and diversity (recall, coverage) of generated images.

    Attributes
    ----------
    precision, recall : Estimate
        The figures of :class:`PrecisionRecall`.
    density, coverage : Estimate
        The figures of :class:`DensityCoverage`.
    """

    precision: Estimate
    recall: Estimate
    density: Estimate
    coverage: Estimate


def precision_recall(
    real: ArrayLike, generated: ArrayLike, *, k: int = 3, progress: bool = False
) -> PrecisionRecall:
    """Improved precision and recall (Kynkäänniemi et al., 2019).

    The manifold of a set is the union of the balls around its rows, each as wide as the distance to the k-th
    nearest other row. Precision is the share of the generated rows in the manifold of the real ones, recall
    the share of the real rows in the manifold of the generated ones.

    Balls are closed: points on the boundary, up to rounding, are inside. A row that occurs
    more than k times has a ball of radius 0, which holds its copies.

    Parameters
    ----------
    real : array, shape (m, D)
        More than k rows.
    generated : array, shape (n, D)
        More than k rows. Both figures depend on m and n: compare at equal numbers.
    k : int
        Rank of the neighbour that a ball reaches, at least 1.
    progress : bool
        Whether a bar is shown for each pass over the pairs.

    Returns
    -------
    PrecisionRecall
        The errors are those of both sets: binomial for the rows that are counted, and beside it the pairs of
        them that a single ball holds, the same one, which come and go together with its centre. For shares of
        0 and 1 the binomial error is that of one more success and one more failure.

    Raises
    ------
    TypeError
        If the rows do not hold real numbers, or `k` is no integer.
    ValueError
        If the rows are not a finite matrix, are not more than `k`, or differ in their number of columns, or
        `k` is less than 1.

    Examples
    --------
    Real points lie on a line, one apart. Two of four generated points are within 1 of them:

    >>> import numpy as np
    >>> from ellipsoid.metrics import precision_recall
    >>> real = np.arange(10.0)[:, None]
    >>> generated = np.array([[4.5], [10.0], [10.01], [1000.0]])
    >>> print(precision_recall(real, generated, k=1).precision)
    0.5 ± 0.25
    """
    k = check_count("k", k)
    real, generated = check_pair("real", real, "generated", generated, least=k + 1)
    centre, real_blocks, generated_blocks = mean_row(real), device_blocks(real), device_blocks(generated)
    real_balls = _ball_squares(real_blocks, centre, [k], "neighbours of real rows", progress)
    generated_balls = _ball_squares(generated_blocks, centre, [k], "neighbours of generated rows", progress)
    in_real, in_generated = _pairs_in_balls(
        real_blocks, generated_blocks, centre, real_balls, generated_balls, progress
    )
    return _precision_recall(in_real, in_generated)


def density_coverage(
    real: ArrayLike, generated: ArrayLike, *, k: int = 5, progress: bool = False
) -> DensityCoverage:
    """Density and coverage (Naeem et al., 2020).

    Each real row has a ball as wide as the distance to its k-th nearest other real row. Density is the mean
    number of balls that hold a generated row, over k; coverage is the share of the balls that hold at least
    one generated row. Outliers among the real rows, whose balls are wide, weigh less than in
    :func:`precision_recall`.

    Parameters
    ----------
    real : array, shape (m, D)
        More than k rows.
    generated : array, shape (n, D)
        At least two rows. Coverage grows with n / m. For two samples of one distribution with n = m, density
        has the mean 1 and coverage ``1 - (m - 1) ... (m - k) / ((2m - 1) ... (2m - k))``, about ``1 - 2^-k``.
    k : int
        Rank of the neighbour that a ball reaches, at least 1.
    progress : bool
        Whether a bar is shown for each pass over the pairs.

    Returns
    -------
    DensityCoverage
        Density may exceed 1. The errors are those of both sets: that of density from the variances of both of
        its sums, over balls and over points, that of coverage as in :func:`precision_recall`.

    Raises
    ------
    TypeError
        If the rows do not hold real numbers, or `k` is no integer.
    ValueError
        If the rows are not a finite matrix or differ in their number of columns, not more than `k` rows are
        real or fewer than two generated, or `k` is less than 1.

    Examples
    --------
    Real points lie on a line, one apart. The first generated point is in two of their balls, the second in
    one:

    >>> import numpy as np
    >>> from ellipsoid.metrics import density_coverage
    >>> real = np.arange(10.0)[:, None]
    >>> density, coverage = density_coverage(real, [[4.5], [10.0], [10.01], [1000.0]], k=1)
    >>> density.value, coverage.value
    (0.75, 0.3)
    """
    k = check_count("k", k)
    real, generated = check_pair("real", real, "generated", generated, least=k + 1, least_second=2)
    centre, real_blocks, generated_blocks = mean_row(real), device_blocks(real), device_blocks(generated)
    real_balls = _ball_squares(real_blocks, centre, [k], "neighbours of real rows", progress)
    no_balls = np.empty((len(generated), 0))
    (in_real,) = _pairs_in_balls(real_blocks, generated_blocks, centre, real_balls, no_balls, progress)
    return _density_coverage(in_real, k)


class RealManifold:
    """Real rows whose neighbourhoods are computed once, to compare any number of generated sets with.

    Parameters
    ----------
    real : array, shape (m, D)
        More rows than the larger k. They are copied.
    k_manifold : int
        Neighbours of :func:`precision_recall`.
    k_density : int
        Neighbours of :func:`density_coverage`.
    progress : bool
        Whether a bar is shown.

    Raises
    ------
    TypeError
        If the rows do not hold real numbers, or a k is no integer.
    ValueError
        If the rows are not a finite matrix, or too few, or a k is less than 1.

    Examples
    --------
    >>> import numpy as np
    >>> from ellipsoid.metrics import RealManifold
    >>> real = np.arange(10.0)[:, None]
    >>> manifold = RealManifold(real, k_manifold=1, k_density=1)
    >>> manifold.compare([[4.5], [10.0], [10.01], [1000.0]]).coverage.value
    0.3
    >>> manifold.compare(real).recall.value
    1.0
    """

    def __init__(
        self, real: ArrayLike, *, k_manifold: int = 3, k_density: int = 5, progress: bool = False
    ) -> None:
        self._k_manifold = check_count("k_manifold", k_manifold)
        self._k_density = check_count("k_density", k_density)
        counts = [self._k_manifold, self._k_density]
        rows = check_matrix("real", real, max(counts) + 1)
        self._centre, self._blocks = mean_row(rows), device_blocks(rows)
        self._balls = _ball_squares(self._blocks, self._centre, counts, "neighbours of real rows", progress)

    def compare(self, generated: ArrayLike, *, progress: bool = False) -> PRDC:
        """Give the figures of :func:`precision_recall` and :func:`density_coverage`, in half of their time.

        Parameters
        ----------
        generated : array, shape (n, D)
            More than `k_manifold` rows.
        progress : bool
            Whether a bar is shown for each pass over the pairs.

        Returns
        -------
        PRDC
            The same numbers as those of the two functions.

        Raises
        ------
        TypeError
            If the rows do not hold real numbers.
        ValueError
            If the rows are not a finite matrix, are too few, or have another number of columns than the real.
        """
        rows = check_matrix("generated", generated, self._k_manifold + 1, n_columns=len(self._centre))
        blocks = device_blocks(rows)
        balls = _ball_squares(
            blocks, self._centre, [self._k_manifold], "neighbours of generated rows", progress
        )
        in_real, in_dense, in_generated = _pairs_in_balls(
            self._blocks, blocks, self._centre, self._balls, balls, progress
        )
        return PRDC(*_precision_recall(in_real, in_generated), *_density_coverage(in_dense, self._k_density))


# --- balls, and the pairs of rows in them ----------------------------------------------------------


def _ball_squares(
    blocks: Sequence[jax.Array], centre: np.ndarray, counts: Sequence[int], label: str, progress: bool
) -> np.ndarray:
    """Squared distance of each row to its k-th nearest other row, a column for each k in `counts`."""
    k = max(counts)
    smallest = np.full((count_rows(blocks), k), np.inf)
    with jax.enable_x64(True):
        for rows_a, a, rows_b, b in block_pairs(blocks, blocks, label, progress, centre):
            of_block = _smallest_squares(a, b, k, rows_a == rows_b)
            for rows, new in zip((rows_a, rows_b), of_block, strict=False):
                both = np.concatenate([smallest[rows], new], axis=1)
                smallest[rows] = np.partition(both, k - 1, axis=1)[:, :k]
    return np.sort(smallest, axis=1)[:, np.array(counts) - 1]


@functools.partial(jax.jit, static_argnums=(2, 3))
def _smallest_squares(a: jax.Array, b: jax.Array, k: int, same: bool) -> tuple[jax.Array, ...]:
    """Give the k smallest squared distances of each row of a, and of each row of b if b is another block."""
    of_pairs, lengths = squares(a, b)
    # Over a power of two, which changes no digits: float32 holds neither 1e-40 nor 1e40.
    exponent = jnp.frexp(jnp.max(lengths))[1]
    if same:
        of_pairs = without_diagonal(of_pairs)

    def of_rows(of_pairs):
        # Chosen in float32, for which alone XLA has a fast way on a CPU.
        small = jnp.ldexp(of_pairs, -exponent).astype(jnp.float32)
        index = lax.top_k(-small, min(k, of_pairs.shape[1]))[1]
        return jnp.take_along_axis(of_pairs, index, axis=1)

    return (of_rows(of_pairs),) if same else (of_rows(of_pairs), of_rows(of_pairs.T))


class _PairsInBalls(NamedTuple):
    """Pairs of a real and a generated row that balls of one kind, around the ones or the others, hold.

    Attributes
    ----------
    of_real, of_generated : ndarray, shapes (2, m) and (2, n)
        For each row, the number of its partners, and the sum of their row numbers.
    """

    of_real: np.ndarray
    of_generated: np.ndarray


def _pairs_in_balls(
    real: Sequence[jax.Array],
    generated: Sequence[jax.Array],
    centre: np.ndarray,
    real_balls: np.ndarray,
    generated_balls: np.ndarray,
    progress: bool,
) -> list[_PairsInBalls]:
    """Look at all pairs once, for every kind of ball: each is a column of squared radii."""
    n_kinds = real_balls.shape[1] + generated_balls.shape[1]
    of_real, of_generated = (
        np.zeros((n_kinds, 2, len(balls)), np.int64) for balls in (real_balls, generated_balls)
    )
    label = "real against generated rows"
    with jax.enable_x64(True):
        for rows, a, others, b in block_pairs(real, generated, label, progress, centre):
            sums = _partners_in_block(a, b, real_balls[rows], generated_balls[others])
            of_a, of_b = (np.asarray(of_rows).astype(np.int64) for of_rows in sums)
            of_a[:, 1] += others.start * of_a[:, 0]
            of_b[:, 1] += rows.start * of_b[:, 0]
            of_real[:, :, rows] += of_a
            of_generated[:, :, others] += of_b
    return [_PairsInBalls(*of_kind) for of_kind in zip(of_real, of_generated, strict=True)]


@jax.jit
def _partners_in_block(
    real: jax.Array, generated: jax.Array, real_balls: jax.Array, generated_balls: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """For each kind of ball, and each row, how many partners it has, and the sum of their row numbers."""
    of_pairs, lengths = squares(real, generated)
    m, n = of_pairs.shape

    def ones_and_numbers(n):
        return jnp.stack([jnp.ones(n, jnp.float32), jnp.arange(n, dtype=jnp.float32)])

    def partners(balls):
        inside = (of_pairs <= balls + _ROUNDING * lengths).astype(jnp.float32)
        # Products take a third of the time of sums over both axes, and are exact: all below 2^24.
        return products(ones_and_numbers(n), inside), products(ones_and_numbers(m), inside.T)

    kinds = [*real_balls.T[:, :, None], *generated_balls.T[:, None, :]]
    of_real, of_generated = zip(*map(partners, kinds), strict=True)
    return jnp.stack(of_real), jnp.stack(of_generated)


# --- figures of these pairs ------------------------------------------------------------------------


def _precision_recall(in_real: _PairsInBalls, in_generated: _PairsInBalls) -> PrecisionRecall:
    n_of_generated, real_rows = in_real.of_generated
    n_of_real, generated_rows = in_generated.of_real
    return PrecisionRecall(
        precision=_share_with_partners(n_of_generated, real_rows, len(n_of_real)),
        recall=_share_with_partners(n_of_real, generated_rows, len(n_of_generated)),
    )


def _density_coverage(in_real: _PairsInBalls, k: int) -> DensityCoverage:
    by_point, _ = in_real.of_generated
    by_ball, points = in_real.of_real
    m, n = len(by_ball), len(by_point)
    variance = np.var(by_point, ddof=1) / n + np.var(by_ball, ddof=1) * m / n**2
    density = Estimate(float(by_point.mean()) / k, math.sqrt(variance) / k)
    return DensityCoverage(density, _share_with_partners(by_ball, points, n))


def _share_with_partners(n_partners: np.ndarray, partners: np.ndarray, n_others: int) -> Estimate:
    """Share of rows that have a partner, by how many they have and the sum of these partners' row numbers.

    The sum for a row with one partner is the number of that partner.
    """
    n = len(n_partners)
    # The number of rows that the share loses with each of the others, squared and summed. Squares without
    # their diagonal, `lost (lost - 1)`: the noise of the rows themselves is in the binomial term already.
    lost = np.bincount(partners[n_partners == 1])
    together = lost @ (lost - 1) - lost.sum() * (lost.sum() - 1) / n_others
    return estimate_share(int(np.count_nonzero(n_partners)), n, max(together, 0.0) / n**2)
