"""A test of whether generated images are copies of training images."""

import math
from dataclasses import dataclass, field

import numpy as np
from jax.typing import ArrayLike

from ellipsoid.checks import check_matrix
from ellipsoid.metrics.estimate import Estimate, estimate_share
from ellipsoid.metrics.near_pairs import Rows, nearest_rows
from ellipsoid.metrics.row_pairs import check_pair


@dataclass(frozen=True)
class CopyTest:
    """Comparison of generated images and unseen real ones by their nearness to training images.

    Ratios are distances to the nearest training row over those to the nearest unseen row.

    Attributes
    ----------
    share : Estimate
        Share of the generated rows whose ratio is below the threshold, with its binomial error for a fixed
        threshold.
    expected : float
        Mean of this share if generated rows are unseen ones too; a little less for few unseen rows.
    threshold : float
        Quantile of the ratios of unseen rows.
    p_value : float
        Probability of such a share or a larger one if generated rows are unseen ones too, with the
        threshold's uncertainty in it.
    generated_ratios, unseen_ratios : ndarray, shapes (m,) and (n,)
        Ratio of each row.
    generated_distances, unseen_distances : ndarray, shapes (m,) and (n,)
        Distance of each row to its nearest training row, in units of the features.
    nearest : ndarray, shape (m,)
        Index of the training row that is nearest to each generated one.
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
    """Training and unseen rows, compared with each other once, to find copies in any number of sets.

    Parameters
    ----------
    train : array, shape (t, D)
        Training rows.
    unseen : array, shape (n, D)
        Real rows that the model was not trained on: at least ``1 / quantile - 1`` and two. They must be
        independent: two pictures of one person, or a picture and its mirror image, are near to each other,
        and draws look like copies beside them. Neither array may be changed while the detector is in use.
    quantile : float
        Share of the unseen rows that count as near, in (0, 1).
    progress : bool
        Whether a bar is shown for each pass over the pairs.

    Raises
    ------
    TypeError
        If the rows do not hold real numbers.
    ValueError
        If the rows are not a finite matrix, are too few, or differ in their number of columns, unseen rows
        are nearly all equal to others, or `quantile` is not within (0, 1).

    Examples
    --------
    >>> import numpy as np
    >>> from ellipsoid.metrics import CopyDetector
    >>> train, unseen, generated = np.random.default_rng(0).normal(size=(3, 100, 8))
    >>> detector = CopyDetector(train, unseen)
    >>> detector.test(train[:40]).p_value < 1e-6
    True
    >>> detector.test(generated).p_value > 0.05
    True
    """

    def __init__(
        self, train: ArrayLike, unseen: ArrayLike, *, quantile: float = 0.05, progress: bool = False
    ) -> None:
        if not 0 < quantile < 1:
            raise ValueError(f"quantile: expected a share between 0 and 1; got {quantile}")
        self._train, self._unseen = check_pair("train", train, "unseen", unseen, least=1)
        n = len(self._unseen)
        self._rank = math.floor(round(quantile * (n + 1), 9))
        if self._rank == 0 or n < 2:
            least = max(math.ceil(round(1 / quantile - 1, 9)), 2)
            raise ValueError(f"unseen: expected at least {least} rows for this quantile; got {n}")
        self._train_rows, self._unseen_rows = Rows(self._train), Rows(self._unseen)
        _, self._distances = self._nearest_train(self._unseen, "nearest of unseen rows", progress)
        to_each_other = self._to_unseen(self._unseen, "unseen rows to each other", progress, same=True)
        self._ratios = _ratio(self._distances, to_each_other)
        self._threshold = np.partition(self._ratios, self._rank - 1)[self._rank - 1]
        if not np.isfinite(self._threshold):
            n_equal = int(np.sum(to_each_other == 0))
            raise ValueError(
                f"unseen: expected different rows; got {n_equal} of {n} that are equal to others"
            )

    def test(self, generated: ArrayLike, *, progress: bool = False) -> CopyTest:
        """Give the result of :func:`copy_test`, without computing the ratios of unseen rows again.

        Parameters
        ----------
        generated : array, shape (m, D)
            Rows to be tested, at least one.
        progress : bool
            Whether a bar is shown for each pass over the pairs.

        Returns
        -------
        CopyTest
            Share of copies, p-value, and each row's neighbour.

        Raises
        ------
        TypeError
            If the rows do not hold real numbers.
        ValueError
            If the rows are not a finite matrix, are none, or have another number of columns than the training
            rows.
        """
        rows = check_matrix("generated", generated, 1, n_columns=self._train.shape[1])
        nearest, distances = self._nearest_train(rows, "nearest of generated rows", progress)
        ratios = _ratio(distances, self._to_unseen(rows, "generated to unseen rows", progress))
        nearer = ratios < self._threshold
        m, n, count = len(rows), len(self._unseen), int(nearer.sum())
        return CopyTest(
            share=estimate_share(count, m),
            expected=self._rank / (n + 1),
            threshold=float(self._threshold),
            p_value=_precedence_p_value(count, m, self._rank, n),
            generated_ratios=ratios,
            unseen_ratios=self._ratios,
            generated_distances=distances,
            unseen_distances=self._distances,
            nearest=nearest,
        )

    def _nearest_train(self, rows: np.ndarray, label: str, progress: bool) -> tuple[np.ndarray, np.ndarray]:
        """Give the index of the nearest training row of each row, and the distance to it."""
        index, distance = nearest_rows(rows, self._train_rows, label=label, progress=progress)
        return index[:, 0], distance[:, 0]

    def _to_unseen(self, rows: np.ndarray, label: str, progress: bool, *, same: bool = False) -> np.ndarray:
        """Give the distance of each row to the nearest unseen row, or to the nearest other one."""
        _, distance = nearest_rows(rows, self._unseen_rows, same=same, label=label, progress=progress)
        return distance[:, 0]


def copy_test(
    generated: ArrayLike,
    train: ArrayLike,
    unseen: ArrayLike,
    *,
    quantile: float = 0.05,
    progress: bool = False,
) -> CopyTest:
    """Test whether generated images are copies of training images.

    A copy is near to a training image and not to unseen ones. So the ratio of a row's distances to the
    nearest of either counts. Either distance alone is also small near the centre, where smooth images lie
    that copy nothing. Platzer and Reutterer (2021) compare the two distances for tables. Unseen rows tell
    which ratios are usual: each is compared with the training rows and the other unseen rows.

    The threshold is the r-th smallest of their n ratios, with r the whole part of ``quantile (n + 1)``. If
    all m + n ratios follow one distribution, the number of generated rows before the r-th unseen one follows
    the negative hypergeometric distribution (the precedence test, Nelson, 1963), and its mean share is
    ``r / (n + 1)``. Generated rows just at the threshold are not counted. A generated row is compared with n
    unseen rows, and an unseen one with n - 1, which makes the test slightly conservative. The p-value treats
    the draws as independent. But draws that crowd in one place have the same neighbours: a distribution as
    narrow as a point is suspected without reason one time in ``1 / quantile``.

    Decoded images are smoother than photographs, and some features see little else. For decoded draws, give
    the reconstructions of the training images and of the unseen images.

    Parameters
    ----------
    generated : array, shape (m, D)
        Rows to be tested, at least one.
    train : array, shape (t, D)
        Training rows. :class:`CopyDetector` is faster for several generated sets.
    unseen : array, shape (n, D)
        Real rows that the model was not trained on, independent of each other: at least ``1 / quantile - 1``
        and two.
    quantile : float
        Share of the unseen rows that count as near, in (0, 1).
    progress : bool
        Whether a bar is shown for each pass over the pairs.

    Returns
    -------
    CopyTest
        Share of copies, p-value, and each row's neighbour.

    Raises
    ------
    TypeError
        If the rows do not hold real numbers.
    ValueError
        If the rows are not a finite matrix, are too few, or differ in their number of columns, unseen rows
        are nearly all equal to others, or `quantile` is not within (0, 1).

    Examples
    --------
    >>> import numpy as np
    >>> from ellipsoid.metrics import copy_test
    >>> train, unseen, generated = np.random.default_rng(0).normal(size=(3, 100, 8))
    >>> generated[:30] = train[:30]
    >>> result = copy_test(generated, train, unseen)
    >>> result.nearest[:3], result.p_value < 1e-3
    (array([0, 1, 2]), True)
    """
    detector = CopyDetector(train, unseen, quantile=quantile, progress=progress)
    return detector.test(generated, progress=progress)


def _ratio(distances: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Give the quotient of two distances; it is 1 for a copy of rows of both kinds."""
    return np.divide(distances, others, out=np.where(distances > 0, np.inf, 1.0), where=others > 0)


def _precedence_p_value(count: int, m: int, rank: int, n: int) -> float:
    """Give the chance that at least `count` of m generated rows precede the unseen one of this rank, of n."""
    from scipy import stats

    # At least `count` precede it if fewer than `rank` of the first count + rank - 1 rows are unseen.
    before = rank - 1
    return float(stats.hypergeom.cdf(before, m + n, n, count + before)) if count else 1.0
