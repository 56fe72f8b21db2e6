"""Fidelity and diversity by nearest neighbours: precision, recall, density and coverage."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jax.typing import ArrayLike

from ellipsoid.checks import check_count, check_matrix
from ellipsoid.metrics.estimate import Estimate, estimate_share
from ellipsoid.metrics.near_pairs import Rows, nearest, pair_blocks
from ellipsoid.metrics.row_pairs import check_pair

# This tolerance is relative to |a|^2 + |b|^2: rows at equal distances stay in their balls after rounding.
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
        Density of the neighbourhoods: 1 for generated images that are distributed as the real.
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
    """Measure improved precision and recall (Kynkäänniemi et al., 2019).

    The manifold of a set is the union of the balls around its rows, each as wide as the distance to the k-th
    nearest other row. Precision is the share of the generated rows in the manifold of the real ones. Recall
    is the share of the real rows in the manifold of the generated ones.

    Balls are closed: points on the boundary, up to rounding, are inside. A row that occurs more than k times
    has a ball of radius 0, which holds its copies.

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
        The errors cover both sets. One term is binomial, for the rows that are counted. The other is for
        pairs of rows that lie in the same single ball: they come and go together with its centre. For shares
        of 0 and 1, the binomial error is that of one more success and one more failure.

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
    real_rows, generated_rows = Rows(real).beside(generated)
    real_balls = _ball_squares(real_rows, [k], "neighbours of real rows", progress)
    generated_balls = _ball_squares(generated_rows, [k], "neighbours of generated rows", progress)
    in_real, in_generated = _pairs_in_balls(real_rows, generated_rows, real_balls, generated_balls, progress)
    return _precision_recall(in_real, in_generated)


def density_coverage(
    real: ArrayLike, generated: ArrayLike, *, k: int = 5, progress: bool = False
) -> DensityCoverage:
    """Measure density and coverage (Naeem et al., 2020).

    Each real row has a ball as wide as the distance to its k-th nearest other real row. Density is the mean
    number of balls that hold a generated row, over k. Coverage is the share of the balls that hold at least
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
        Density may exceed 1. The errors cover both sets. The error of density comes from the variances of
        both of its sums, over balls and over points; the error of coverage is as in :func:`precision_recall`.

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
    real_rows, generated_rows = Rows(real).beside(generated)
    real_balls = _ball_squares(real_rows, [k], "neighbours of real rows", progress)
    no_balls = np.empty((len(generated), 0))
    (in_real,) = _pairs_in_balls(real_rows, generated_rows, real_balls, no_balls, progress)
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
        self._rows = Rows(rows.copy())
        self._balls = _ball_squares(self._rows, counts, "neighbours of real rows", progress)

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
        n_columns = self._rows.n_columns
        checked = check_matrix("generated", generated, self._k_manifold + 1, n_columns=n_columns)
        real, rows = self._rows.beside(checked)
        balls = _ball_squares(rows, [self._k_manifold], "neighbours of generated rows", progress)
        in_real, in_dense, in_generated = _pairs_in_balls(real, rows, self._balls, balls, progress)
        return PRDC(*_precision_recall(in_real, in_generated), *_density_coverage(in_dense, self._k_density))


# --- balls, and the pairs of rows in them ----------------------------------------------------------


def _ball_squares(rows: Rows, counts: Sequence[int], label: str, progress: bool) -> np.ndarray:
    """Give each row's squared distance to its k-th nearest other row, a column for each k in `counts`."""
    _, squares = nearest(rows, rows, max(counts), same=True, label=label, progress=progress)
    return squares[:, np.array(counts) - 1]


class _PairsInBalls(NamedTuple):
    """Pairs of a real and a generated row in balls of one kind, around real rows or around generated ones.

    Attributes
    ----------
    of_real, of_generated : ndarray, shapes (2, m) and (2, n)
        For each row, the number of its partners, and the sum of their row numbers.
    """

    of_real: np.ndarray
    of_generated: np.ndarray


def _pairs_in_balls(
    real: Rows,
    generated: Rows,
    real_balls: np.ndarray,
    generated_balls: np.ndarray,
    progress: bool,
) -> list[_PairsInBalls]:
    """Look at all pairs once, for every kind of ball: each kind is a column of squared radii."""
    n_kinds = real_balls.shape[1] + generated_balls.shape[1]
    of_real, of_generated = (
        np.zeros((n_kinds, 2, len(balls)), np.int64) for balls in (real_balls, generated_balls)
    )
    for block in pair_blocks(real, generated, "real against generated rows", progress):
        rows_a, rows_b, lengths_a, lengths_b = block.rows_a, block.rows_b, block.lengths_a, block.lengths_b
        pairs = block.near(
            _farthest(real_balls[rows_a], lengths_a + lengths_b.max()),
            _farthest(generated_balls[rows_b], lengths_b + lengths_a.max()),
        )
        i, j = pairs.a - rows_a.start, pairs.b - rows_b.start
        radii = np.concatenate([real_balls.T[:, pairs.a], generated_balls.T[:, pairs.b]])
        radii += _ROUNDING * (lengths_a[i] + lengths_b[j])
        squares, doubtful = pairs.squares, np.any(np.abs(pairs.squares - radii) <= pairs.errors, axis=0)
        squares[doubtful] = block.settled(pairs.where(doubtful)).squares
        for kind, inside in enumerate(squares <= radii):
            for sums, rows, numbers, partners in (
                (of_real, rows_a, i, pairs.b),
                (of_generated, rows_b, j, pairs.a),
            ):
                n = rows.stop - rows.start
                sums[kind, 0, rows] += np.bincount(numbers[inside], minlength=n)
                of_rows = np.bincount(numbers[inside], partners[inside], minlength=n)
                sums[kind, 1, rows] += of_rows.astype(np.int64)
    return [_PairsInBalls(*of_kind) for of_kind in zip(of_real, of_generated, strict=True)]


def _farthest(balls: np.ndarray, lengths: np.ndarray) -> np.ndarray | None:
    """Give the largest squared radius of each row, up to rounding; None if there are no balls."""
    return balls.max(axis=1) + _ROUNDING * lengths if balls.shape[1] else None


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
    """Give the share of rows that have a partner, from the counts and sums of row numbers of their partners.

    The sum for a row with one partner is the number of that partner.
    """
    n = len(n_partners)
    # The share loses this many rows with each other row; the squares are summed. They lack their diagonal,
    # `lost (lost - 1)`: the noise of the rows themselves is in the binomial term already.
    lost = np.bincount(partners[n_partners == 1])
    together = lost @ (lost - 1) - lost.sum() * (lost.sum() - 1) / n_others
    return estimate_share(int(np.count_nonzero(n_partners)), n, max(together, 0.0) / n**2)
