"""How good generated images are: distances between two sets of features, fidelity, diversity and copying.

All functions take features, one row an image: pixels after PCA, latents, the activations of a network.
Figures of different features, or of different numbers of rows, cannot be compared; published "FID" and "KID"
are those of one Inception network and of 50,000 rows.

Every pair of rows is looked at, none is left to approximate neighbours or random features, `BLOCK` by `BLOCK`
of them: 50,000 rows against 50,000 need little more memory than a copy of both.

Squared distances are ``|a|^2 + |b|^2 - 2 a b`` in float64, of features that were centred. In float32 the last
digits of these sums would decide whether a row is within the radius of its copies, and with a tolerance that
settles this, one row in 4,000 (256 columns) would be taken for a neighbour that is none.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike
from scipy import stats

from ellipsoid.checks import check_integer, check_matrix
from ellipsoid.moments import Moments
from ellipsoid.progress import progress_bar
from ellipsoid.random import philox_words

#: Rows on each side of a block of pairs: 32 MiB in float64.
BLOCK = 2048

# Of |a|^2 + |b|^2. Two equal rows of 2,048 columns are found up to 1e-15 apart, and a radius is as uncertain.
_ROUNDING = 1e-13


class Estimate(NamedTuple):
    """A figure and its standard error."""

    value: float
    error: float

    def __str__(self) -> str:
        return f"{self.value:.4g} ± {self.error:.2g}"


# --- distances between two laws --------------------------------------------------------------------


def frechet_distance(a: Moments | ArrayLike, b: Moments | ArrayLike) -> Estimate:
    """Squared Fréchet distance between the Gaussians of two sets of features: the "FID" of any features.

    ``|mean_a - mean_b|^2 + tr(A + B - 2 (A^1/2 B A^1/2)^1/2)`` of the means and the covariances A and B
    (Dowson and Landau, 1982; Heusel et al., 2017). The trace of the root is the sum of the singular values of
    ``A^1/2 B^1/2``. That needs neither an inverse nor the root of a product that is not symmetric:
    covariances may be singular.

    Parameters
    ----------
    a, b : Moments, or array of shape (n, D)
        At least two rows each. `Moments` are streamed, so features need not fit into memory.

    Returns
    -------
    Estimate
        In squared units of the features. The error is that of the first order in both sets (delta method) for
        Gaussian features; where the two laws are equal it is too large. It does not hold the bias, which is
        upward and of the order ``D^2 / n``: compare sets of equal size only.

    Raises
    ------
    TypeError, ValueError
        If the rows are not finite real numbers, fewer than two, or differ in their number of columns.
    """
    a, b = _as_moments("a", a), _as_moments("b", b)
    if a.n_features != b.n_features:
        raise ValueError(f"b: expected {a.n_features} columns, as a; got {b.n_features}")
    apart = a.mean - b.mean
    (squares_a, axes_a), (squares_b, axes_b) = _spectrum(a), _spectrum(b)
    roots = np.sqrt(squares_a)[:, None] * (axes_a.T @ axes_b) * np.sqrt(squares_b)
    left, overlap, right = np.linalg.svd(roots)
    value = apart @ apart + squares_a.sum() + squares_b.sum() - 2 * overlap.sum()

    # The derivative by A is I - T, T = A^-1/2 S A^-1/2, S = (A^1/2 B A^1/2)^1/2, and T A T = B. So the
    # variance, 2 tr ((I - T) A)^2 = 2 (tr A^2 - 2 tr S A + tr A B) over n - 1, needs no inverse.
    variance = 0.0
    for moments, squares, axes, vectors in ((a, squares_a, axes_a, left), (b, squares_b, axes_b, right.T)):
        slope = squares @ squares - 2 * squares @ (vectors**2 @ overlap) + overlap @ overlap
        of_mean = 4 * squares @ (axes.T @ apart) ** 2 / moments.count
        variance += of_mean + 2 * max(slope, 0.0) / (moments.count - 1)
    return Estimate(max(float(value), 0.0), float(np.sqrt(variance)))


def kernel_distance(x: ArrayLike, y: ArrayLike, *, degree: int = 3, progress: bool = False) -> Estimate:
    """Squared maximum mean discrepancy by the kernel ``(x y / D + 1)^degree``: the "KID" of any features.

    The unbiased estimate over all pairs (Gretton et al., 2012; Bińkowski et al., 2018), not the mean over
    random subsets: it may be negative where both laws are equal.

    Parameters
    ----------
    x : array, shape (m, D)
    y : array, shape (n, D)
        At least three rows each. The kernel is not free of units: scale the features to about 1.
    degree : int
        At least 1.
    progress : bool
        Show a bar for each pass over the pairs.

    Returns
    -------
    Estimate
        The error is that of the jackknife over the rows of both sets. Where the two laws are equal the
        distance is quadratic in the rows, and the error is too large, by a factor of up to the root of two.

    Raises
    ------
    TypeError, ValueError
        If the rows are not finite real numbers, fewer than three, or differ in their number of columns, or
        `degree` is less than 1.
    """
    x, y = _as_pair("x", x, "y", y, least=3)
    degree = _as_count("degree", degree)
    x_blocks, y_blocks = _blocks(x), _blocks(y)
    within_x = _kernel_sums_within(x_blocks, degree, "kernel of x", progress)
    within_y = _kernel_sums_within(y_blocks, degree, "kernel of y", progress)
    across_x, across_y = _kernel_sums_across(x_blocks, y_blocks, degree, "kernel of x and y", progress)

    def discrepancy(total_x, total_y, total_across, m, n):
        return total_x / (m * (m - 1)) + total_y / (n * (n - 1)) - 2 * total_across / (m * n)

    m, n = len(x), len(y)
    total_x, total_y, total_across = within_x.sum(), within_y.sum(), across_x.sum()
    value = discrepancy(total_x, total_y, total_across, m, n)
    without_x = discrepancy(total_x - 2 * within_x, total_y, total_across - across_x, m - 1, n)
    without_y = discrepancy(total_x, total_y - 2 * within_y, total_across - across_y, m, n - 1)
    variance = (m - 1) * np.var(without_x) + (n - 1) * np.var(without_y)
    return Estimate(float(value), float(np.sqrt(variance)))


def sliced_wasserstein(x: ArrayLike, y: ArrayLike, key: jax.Array, *, n_projections: int = 256) -> Estimate:
    """Mean Wasserstein distance (of order 1) between the projections on random directions.

    On each line the distance is exact, also for unequal numbers of rows: the integral of the difference of
    the two quantile functions (Bonneel et al., 2015).

    Parameters
    ----------
    x : array, shape (m, D)
    y : array, shape (n, D)
    key : jax.Array
        Typed key of the directions, as made by :func:`ellipsoid.key`. The same key for all that is compared.
    n_projections : int
        At least two. Projections take ``4 (m + n) n_projections`` bytes.

    Returns
    -------
    Estimate
        In units of the features. The error is that over the directions, the rows taken as they are: finite
        samples bias the distance upward, of the order ``1 / sqrt(n)``.

    Raises
    ------
    TypeError, ValueError
        If the rows are not finite real numbers or differ in their number of columns, or there are fewer than
        two projections.
    """
    x, y = _as_pair("x", x, "y", y, least=1)
    n_projections = _as_count("n_projections", n_projections, least=2)
    philox_words(key)  # refuses what is no key
    directions = jax.random.normal(key, (n_projections, x.shape[1]))
    directions /= jnp.linalg.norm(directions, axis=1, keepdims=True)
    centre = _centre(x)
    with jax.enable_x64(True):
        x_sorted, y_sorted = (
            # A thirtieth of the time that XLA takes to sort on a CPU.
            np.sort(np.concatenate([_project(directions, block, centre) for block in _blocks(rows)], axis=1))
            for rows in (x, y)
        )
    m, n = len(x), len(y)
    # Both quantile functions are constant between these probabilities, in units of 1 / (m n).
    steps = np.union1d(np.arange(1, m + 1) * n, np.arange(1, n + 1) * m)
    widths = np.diff(steps, prepend=0) / (m * n)
    of_x, of_y = (steps - 1) // n, (steps - 1) // m
    found = np.array([widths @ np.abs(a[of_x] - b[of_y]) for a, b in zip(x_sorted, y_sorted, strict=True)])
    return Estimate(float(found.mean()), float(found.std(ddof=1) / np.sqrt(n_projections)))


# --- fidelity and diversity ------------------------------------------------------------------------


class PrecisionRecall(NamedTuple):
    """Share of the generated images among the real ones, and of the real ones among the generated."""

    precision: Estimate
    recall: Estimate


class DensityCoverage(NamedTuple):
    """How densely the neighbourhoods of real images are filled, and what share of them is not empty."""

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
    generated : array, shape (n, D)
        More than k rows each. Both figures depend on m and n: compare at equal numbers.
    k : int
    progress : bool
        Show a bar for each pass over the pairs.

    Returns
    -------
    PrecisionRecall
        The errors are those of both sets: binomial for the rows that are counted, and beside it the pairs of
        them that a single ball holds, the same one, which come and go together with its centre. For shares of
        0 and 1 the binomial error is that of one more success and one more failure.

    Raises
    ------
    TypeError, ValueError
        If the rows are not finite real numbers, not more than k, or differ in their number of columns.
    """
    k = _as_count("k", k)
    real, generated = _as_pair("real", real, "generated", generated, least=k + 1)
    centre, real_blocks, generated_blocks = _centre(real), _blocks(real), _blocks(generated)
    real_balls = _ball_squares(real_blocks, centre, [k], "neighbours of real rows", progress)
    generated_balls = _ball_squares(generated_blocks, centre, [k], "neighbours of generated rows", progress)
    held = _held(real_blocks, generated_blocks, centre, real_balls, generated_balls, progress)
    return _precision_recall(*held)


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
        Coverage grows with n / m. Of two samples of one law with n = m, density has the mean 1 and coverage
        ``1 - (m - 1) ... (m - k) / ((2m - 1) ... (2m - k))``, about ``1 - 2^-k``.
    k : int
    progress : bool
        Show a bar for each pass over the pairs.

    Returns
    -------
    DensityCoverage
        Density may exceed 1. The errors are those of both sets: of density from the variances of both of its
        sums, over balls and over points, of coverage as in :func:`precision_recall`.

    Raises
    ------
    TypeError, ValueError
        If the rows are not finite real numbers, or differ in their number of columns, or not more than k
        rows are real, or fewer than two generated.
    """
    k = _as_count("k", k)
    real, generated = _as_pair("real", real, "generated", generated, least=k + 1, least_second=2)
    centre, real_blocks, generated_blocks = _centre(real), _blocks(real), _blocks(generated)
    real_balls = _ball_squares(real_blocks, centre, [k], "neighbours of real rows", progress)
    no_balls = np.empty((len(generated), 0))
    (held,) = _held(real_blocks, generated_blocks, centre, real_balls, no_balls, progress)
    return _density_coverage(held, k)


class PRDC(NamedTuple):
    """PRDC (precision, density) and diversity (recall, coverage) of generated images."""

    precision: Estimate
    recall: Estimate
    density: Estimate
    coverage: Estimate


class RealManifold:
    """Real rows whose neighbourhoods are found once, to compare any number of generated sets with.

    Parameters
    ----------
    real : array, shape (m, D)
        More rows than the larger k. They are copied.
    k_manifold : int
        Neighbours of :func:`precision_recall`.
    k_density : int
        Neighbours of :func:`density_coverage`.
    progress : bool
        Show a bar.

    Raises
    ------
    TypeError, ValueError
        If the rows are not finite real numbers, or too few.
    """

    def __init__(
        self, real: ArrayLike, *, k_manifold: int = 3, k_density: int = 5, progress: bool = False
    ) -> None:
        self._k_manifold = _as_count("k_manifold", k_manifold)
        self._k_density = _as_count("k_density", k_density)
        counts = [self._k_manifold, self._k_density]
        rows = check_matrix("real", real, max(counts) + 1)
        self._centre, self._blocks = _centre(rows), _blocks(rows)
        self._balls = _ball_squares(self._blocks, self._centre, counts, "neighbours of real rows", progress)

    def compare(self, generated: ArrayLike, *, progress: bool = False) -> PRDC:
        """Give what :func:`precision_recall` and :func:`density_coverage` do, in half of their time.

        Parameters
        ----------
        generated : array, shape (n, D)
            More than `k_manifold` rows.
        progress : bool
            Show a bar for each pass over the pairs.

        Raises
        ------
        TypeError, ValueError
            If the rows are not finite real numbers, too few, or have another number of columns than the real.
        """
        rows = _as_matching("generated", generated, self._k_manifold + 1, "real", len(self._centre))
        blocks = _blocks(rows)
        balls = _ball_squares(
            blocks, self._centre, [self._k_manifold], "neighbours of generated rows", progress
        )
        in_real, in_dense, in_generated = _held(
            self._blocks, blocks, self._centre, self._balls, balls, progress
        )
        return PRDC(*_precision_recall(in_real, in_generated), *_density_coverage(in_dense, self._k_density))


# --- copies ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class CopyTest:
    """Whether generated images lie nearer to training images than unseen real ones do.

    Ratios are distances to the nearest training row over those to the nearest unseen row.

    Attributes
    ----------
    share : Estimate
        Share of the generated rows whose ratio is below the threshold, with its binomial error, the threshold
        taken as it is.
    expected : float
        The mean of this share if generated rows are unseen ones too; a little less for few unseen rows.
    threshold : float
        The ratio that so many of the unseen rows do not exceed.
    p_value : float
        Probability of such a share or a larger one if generated rows are unseen ones too, with the
        threshold's uncertainty in it.
    generated_ratios, unseen_ratios : ndarray, shapes (m,) and (n,)
    generated_distances, unseen_distances : ndarray, shapes (m,) and (n,)
        Distance of each row to its nearest training row, in units of the features.
    nearest : ndarray, shape (m,)
        Which training row is nearest to each generated one.
    """

    share: Estimate
    expected: float
    threshold: float
    p_value: float
    generated_ratios: np.ndarray = field(repr=False)
    unseen_ratios: np.ndarray = field(repr=False)
    generated_distances: np.ndarray = field(repr=False)
    unseen_distances: np.ndarray = field(repr=False)
    nearest: np.ndarray = field(repr=False)


class CopyDetector:
    """Training rows, and unseen ones that tell what is usual, to look for copies in any number of sets.

    Parameters
    ----------
    train : array, shape (t, D)
    unseen : array, shape (n, D)
        Real rows that the model was not trained on: at least ``1 / quantile - 1`` and two. Independent ones:
        two pictures of one person, or a picture and its mirror image, are near to each other, and draws look
        like copies beside them. Neither array may be changed while this is in use.
    quantile : float
        Share of the unseen rows that count as near, in (0, 1).
    progress : bool
        Show a bar for each pass over the pairs.

    Raises
    ------
    TypeError, ValueError
        If the rows are not finite real numbers, too few, or differ in their number of columns, unseen rows
        are nearly all equal to others, or `quantile` is not within (0, 1).
    """

    def __init__(
        self, train: ArrayLike, unseen: ArrayLike, *, quantile: float = 0.05, progress: bool = False
    ) -> None:
        if not 0 < quantile < 1:
            raise ValueError(f"quantile: expected a share between 0 and 1; got {quantile}")
        self._train, self._unseen = _as_pair("train", train, "unseen", unseen, least=1)
        n = len(self._unseen)
        self._rank = math.floor(round(quantile * (n + 1), 9))
        if self._rank == 0 or n < 2:
            least = max(math.ceil(round(1 / quantile - 1, 9)), 2)
            raise ValueError(f"unseen: expected at least {least} rows for this quantile; got {n}")
        self._train_blocks, self._unseen_blocks = _blocks(self._train), _blocks(self._unseen)
        _, self._distances = _nearest(
            self._unseen, self._train, self._train_blocks, "nearest of unseen rows", progress
        )
        _, to_each_other = _nearest(
            self._unseen, self._unseen, self._unseen_blocks, "unseen rows to each other", progress, same=True
        )
        self._ratios = _ratio(self._distances, to_each_other)
        self._threshold = np.partition(self._ratios, self._rank - 1)[self._rank - 1]
        if not np.isfinite(self._threshold):
            equal = int(np.sum(to_each_other == 0))
            raise ValueError(f"unseen: expected different rows; got {equal} of {n} that are equal to others")

    def test(self, generated: ArrayLike, *, progress: bool = False) -> CopyTest:
        """Give what :func:`copy_test` does, without finding again what is usual for unseen rows.

        Parameters
        ----------
        generated : array, shape (m, D)
        progress : bool
            Show a bar for each pass over the pairs.

        Raises
        ------
        TypeError, ValueError
            If the rows are not finite real numbers, or have another number of columns.
        """
        rows = _as_matching("generated", generated, 1, "train", self._train.shape[1])
        nearest, distances = _nearest(
            rows, self._train, self._train_blocks, "nearest of generated rows", progress
        )
        _, to_unseen = _nearest(rows, self._unseen, self._unseen_blocks, "generated to unseen rows", progress)
        ratios = _ratio(distances, to_unseen)
        nearer = ratios < self._threshold
        m, n, count = len(rows), len(self._unseen), int(nearer.sum())
        # So many come before the r-th unseen one if fewer than r of the first count + r - 1 are unseen.
        before = self._rank - 1
        p_value = stats.hypergeom.cdf(before, m + n, n, count + before) if count else 1.0
        return CopyTest(
            share=_share(nearer),
            expected=self._rank / (n + 1),
            threshold=float(self._threshold),
            p_value=float(p_value),
            generated_ratios=ratios,
            unseen_ratios=self._ratios,
            generated_distances=distances,
            unseen_distances=self._distances,
            nearest=nearest,
        )


def copy_test(
    generated: ArrayLike,
    train: ArrayLike,
    unseen: ArrayLike,
    *,
    quantile: float = 0.05,
    progress: bool = False,
) -> CopyTest:
    """Test whether generated images are copies of training images.

    A copy is near to a training image and not to unseen ones, so what counts is the ratio of a row's
    distances to the nearest of either: both distances alone are small for all that is near the centre, where
    the smooth images lie, and no copy of any. Platzer and Reutterer (2021) compare the two for tables. Unseen
    rows, each held against the training rows and the other unseen ones, tell which ratios are usual.

    The threshold is the r-th smallest of their n ratios, with r the whole part of ``quantile (n + 1)``. If
    all m + n ratios follow one law, the number of generated rows before the r-th unseen one follows the
    negative hypergeometric law (the precedence test, Nelson, 1963), and its mean share is ``r / (n + 1)``.
    Generated rows just at the threshold are not counted. That a generated row is held against n unseen rows,
    an unseen one against n - 1, makes the test a little shy. Draws that crowd in one place have the same
    neighbours, and the p-value takes them for independent: of a law narrow as a point one in ``1 / quantile``
    is suspected without reason.

    Decoded images are smoother than photographs. Where unseen images are to be compared with what a decoder
    makes, give their reconstructions.

    Parameters
    ----------
    generated : array, shape (m, D)
    train, unseen, quantile, progress
        As for :class:`CopyDetector`, which is faster for several sets.

    Raises
    ------
    TypeError, ValueError
        As :class:`CopyDetector` and its `test`.
    """
    return CopyDetector(train, unseen, quantile=quantile, progress=progress).test(
        generated, progress=progress
    )


def _ratio(distances: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Quotient of two distances; of a copy of a row of both kinds 1."""
    return np.divide(distances, others, out=np.where(distances > 0, np.inf, 1.0), where=others > 0)


# --- arguments -------------------------------------------------------------------------------------


def _as_count(name: str, value: int, least: int = 1) -> int:
    count = check_integer(name, value)
    if count < least:
        raise ValueError(f"{name}: expected at least {least}; got {count}")
    return count


def _as_matching(name: str, value: ArrayLike, least: int, other: str, columns: int) -> np.ndarray:
    rows = check_matrix(name, value, least)
    if rows.shape[1] != columns:
        raise ValueError(f"{name}: expected {columns} columns, as {other}; got shape {rows.shape}")
    return rows


def _as_pair(
    first: str, x: ArrayLike, second: str, y: ArrayLike, least: int, least_second: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    x = check_matrix(first, x, least)
    return x, _as_matching(second, y, least_second or least, first, x.shape[1])


def _as_moments(name: str, value: Moments | ArrayLike) -> Moments:
    if not isinstance(value, Moments):
        rows = check_matrix(name, value)
        value = Moments.empty(rows.shape[1]).update(rows)
    if value.count < 2:
        raise ValueError(f"{name}: expected moments of at least 2 rows; got {value.count}")
    return value


def _spectrum(moments: Moments) -> tuple[np.ndarray, np.ndarray]:
    variances, axes = np.linalg.eigh(moments.covariance)
    # What rounding leaves of a variance of 0 would count by its root: 1e-8, not 1e-16.
    rounding = len(variances) * np.finfo(np.float64).eps * variances[-1]
    return np.where(variances > rounding, variances, 0.0), axes


# --- blocks of pairs -------------------------------------------------------------------------------


def _centre(rows: np.ndarray) -> np.ndarray:
    return rows.mean(axis=0, dtype=np.float64)


def _blocks(rows: np.ndarray) -> list[jax.Array]:
    """Copy the rows to the device, as they are: centred, in float64, they would take twice the memory."""
    with jax.enable_x64(True):
        return [jnp.array(rows[start : start + BLOCK]) for start in range(0, len(rows), BLOCK)]


def _n_rows(blocks: list[jax.Array]) -> int:
    return sum(map(len, blocks))


def _pairs(
    a: list[jax.Array],
    b: list[jax.Array],
    label: str,
    progress: bool,
    centre: np.ndarray | None = None,
) -> Iterator[tuple[slice, jax.Array, slice, jax.Array]]:
    """Give each pair of blocks and which rows they are; of one set with itself each once.

    With a centre, the blocks are in float64, less the centre.
    """

    def prepared(block):
        return block if centre is None else _centred(block, centre)

    first = [i if a is b else 0 for i in range(len(a))]
    total = sum(len(b) - start for start in first)
    with progress_bar(label, total, enabled=progress, unit="blocks") as advance:
        for i, start in enumerate(first):
            rows, block = _rows(i, a[i]), prepared(a[i])
            for j in range(start, len(b)):
                yield rows, block, _rows(j, b[j]), prepared(b[j])
                advance(1)


def _rows(number: int, block: jax.Array) -> slice:
    return slice(number * BLOCK, number * BLOCK + len(block))


def _products(a, b):
    return jnp.matmul(a, b.T, precision=lax.Precision.HIGHEST)


@jax.jit
def _centred(rows, centre):
    return rows.astype(jnp.float64) - centre[None, :]


def _squares(a, b):
    """Squared distances, (m, n), and the sums of squared lengths, to which their error is proportional."""
    lengths = jnp.sum(a**2, axis=1)[:, None] + jnp.sum(b**2, axis=1)[None, :]
    return lengths - 2 * _products(a, b), lengths


@jax.jit
def _project(directions, rows, centre):
    return _products(directions, _centred(rows, centre).astype(jnp.float32))


def _closest(queries, references, same):
    squares = _squares(queries, references)[0]
    if same:
        squares = _without_diagonal(squares)
    return jnp.argmin(squares, axis=1), jnp.min(squares, axis=1)


_closest = jax.jit(_closest, static_argnums=2)


def _nearest(queries, references, blocks, label, progress, *, same=False):
    """Nearest reference of each query: its row, and the distance, 0 for a copy.

    Where both are the `same` rows, the nearest other one.
    """
    centre = _centre(references)
    nearest, smallest = np.zeros(len(queries), np.int64), np.full(len(queries), np.inf)
    with jax.enable_x64(True):
        for rows, query, others, block in _pairs(_blocks(queries), blocks, label, progress, centre):
            place, squares = map(np.asarray, _closest(query, block, same and rows == others))
            nearest[rows] = np.where(squares < smallest[rows], others.start + place, nearest[rows])
            smallest[rows] = np.minimum(squares, smallest[rows])
    # Once more by differences: of |a|^2 + |b|^2 - 2 a b, the root of what rounding leaves would stay.
    distances = np.empty(len(queries))
    for start in range(0, len(queries), BLOCK):
        part = slice(start, start + BLOCK)
        apart = queries[part].astype(np.float64) - references[nearest[part]]
        distances[part] = np.linalg.norm(apart, axis=1)
    return nearest, distances


def _without_diagonal(squares):
    """No row is its own neighbour."""
    return jnp.where(jnp.eye(len(squares), dtype=bool), jnp.inf, squares)


def _smallest(a, b, k, same):
    """Give the k smallest squared distances of each row of a, and of each row of b if b is another block."""
    squares = _squares(a, b)[0]
    if same:
        squares = _without_diagonal(squares)

    def of_rows(squares):
        # Found in float32, for which alone XLA has a fast way on a CPU.
        place = lax.top_k(-squares.astype(jnp.float32), min(k, squares.shape[1]))[1]
        return jnp.take_along_axis(squares, place, axis=1)

    return (of_rows(squares),) if same else (of_rows(squares), of_rows(squares.T))


_smallest = jax.jit(_smallest, static_argnums=(2, 3))


def _ball_squares(
    blocks: list[jax.Array], centre: np.ndarray, counts: Sequence[int], label: str, progress: bool
) -> np.ndarray:
    """Squared distance of each row to its k-th nearest other row, a column for each k in `counts`."""
    k = max(counts)
    found = np.full((_n_rows(blocks), k), np.inf)
    with jax.enable_x64(True):
        for rows, a, others, b in _pairs(blocks, blocks, label, progress, centre):
            for part, squares in zip((rows, others), _smallest(a, b, k, rows == others), strict=False):
                both = np.concatenate([found[part], squares], axis=1)
                found[part] = np.partition(both, k - 1, axis=1)[:, :k]
    return np.sort(found, axis=1)[:, np.array(counts) - 1]


def _kernel_sums(a, b, degree, same):
    # The distance of two good sets is some 1e-5 of the kernel: sums in float32 would not resolve it.
    products = _products(a.astype(jnp.float32), b.astype(jnp.float32))
    kernel = (products.astype(jnp.float64) / a.shape[1] + 1) ** degree
    if same:
        kernel = jnp.where(jnp.eye(len(a), dtype=bool), 0, kernel)
    return jnp.sum(kernel, axis=1), jnp.sum(kernel, axis=0)


_kernel_sums = jax.jit(_kernel_sums, static_argnums=(2, 3))


def _kernel_sums_within(blocks: list[jax.Array], degree: int, label: str, progress: bool) -> np.ndarray:
    """Sum of the kernel of each row with all other rows."""
    sums = np.zeros(_n_rows(blocks))
    with jax.enable_x64(True):
        for rows, a, others, b in _pairs(blocks, blocks, label, progress):
            of_a, of_b = _kernel_sums(a, b, degree, a is b)
            sums[rows] += of_a
            if a is not b:
                sums[others] += of_b
    return sums


def _kernel_sums_across(x_blocks, y_blocks, degree, label, progress) -> tuple[np.ndarray, np.ndarray]:
    """Sum of the kernel of each row of the one set with all rows of the other."""
    of_x, of_y = np.zeros(_n_rows(x_blocks)), np.zeros(_n_rows(y_blocks))
    with jax.enable_x64(True):
        for rows, a, others, b in _pairs(x_blocks, y_blocks, label, progress):
            of_a, of_b = _kernel_sums(a, b, degree, False)
            of_x[rows] += of_a
            of_y[others] += of_b
    return of_x, of_y


@jax.jit
def _inside(real, generated, real_balls, generated_balls):
    """For each kind of ball, and each row, with how many rows it joins it, and the sum of their places."""
    squares, lengths = _squares(real, generated)
    m, n = squares.shape

    def ones_and_places(n):
        return jnp.stack([jnp.ones(n, jnp.float32), jnp.arange(n, dtype=jnp.float32)])

    def joined(balls):
        inside = (squares <= balls + _ROUNDING * lengths).astype(jnp.float32)
        # Products take a third of the time of sums over both axes, and are exact: all below 2^24.
        return _products(ones_and_places(n), inside), _products(ones_and_places(m), inside.T)

    kinds = [*real_balls.T[:, :, None], *generated_balls.T[:, None, :]]
    of_real, of_generated = zip(*map(joined, kinds), strict=True)
    return jnp.stack(of_real), jnp.stack(of_generated)


class _Held(NamedTuple):
    """Pairs of real and generated rows that balls of one kind, around the ones or the others, hold.

    For each row, (2, m) and (2, n): the number of its partners, and the sum of their row numbers.
    """

    of_real: np.ndarray
    of_generated: np.ndarray


def _held(
    real: list[jax.Array],
    generated: list[jax.Array],
    centre: np.ndarray,
    real_balls: np.ndarray,
    generated_balls: np.ndarray,
    progress: bool,
) -> list[_Held]:
    """Look at all pairs once, for every kind of ball: each is a column of squared radii."""
    n_kinds = real_balls.shape[1] + generated_balls.shape[1]
    of_real, of_generated = (
        np.zeros((n_kinds, 2, len(balls)), np.int64) for balls in (real_balls, generated_balls)
    )
    label = "real against generated rows"
    with jax.enable_x64(True):
        for rows, a, others, b in _pairs(real, generated, label, progress, centre):
            found = _inside(a, b, real_balls[rows], generated_balls[others])
            of_a, of_b = (np.asarray(sums).astype(np.int64) for sums in found)
            of_a[:, 1] += others.start * of_a[:, 0]
            of_b[:, 1] += rows.start * of_b[:, 0]
            of_real[:, :, rows] += of_a
            of_generated[:, :, others] += of_b
    return [_Held(*held) for held in zip(of_real, of_generated, strict=True)]


def _precision_recall(in_real: _Held, in_generated: _Held) -> PrecisionRecall:
    by_real, real_rows = in_real.of_generated
    by_generated, generated_rows = in_generated.of_real
    return PrecisionRecall(
        precision=_share(by_real, real_rows, len(by_generated)),
        recall=_share(by_generated, generated_rows, len(by_real)),
    )


def _density_coverage(in_real: _Held, k: int) -> DensityCoverage:
    by_point, _ = in_real.of_generated
    by_ball, points = in_real.of_real
    m, n = len(by_ball), len(by_point)
    variance = np.var(by_point, ddof=1) / n + np.var(by_ball, ddof=1) * m / n**2
    density = Estimate(float(by_point.mean()) / k, math.sqrt(variance) / k)
    return DensityCoverage(density, _share(by_ball, points, n))


def _share(count: np.ndarray, others: np.ndarray | None = None, n_others: int = 1) -> Estimate:
    """Share of rows that others hold, by how many do and by the sum of their row numbers: of one, its own."""
    n, held = len(count), int(np.count_nonzero(count))
    inner = (held + 1) / (n + 2) if held in (0, n) else held / n
    variance = inner * (1 - inner) / n
    if others is not None:
        # What the share loses with each of the others, squared and summed. Squares without their diagonal,
        # `lost (lost - 1)`: the noise of the rows themselves is in the binomial term already.
        lost = np.bincount(others[count == 1])
        together = lost @ (lost - 1) - lost.sum() * (lost.sum() - 1) / n_others
        variance += max(together, 0.0) / n**2
    return Estimate(held / n, math.sqrt(variance))
