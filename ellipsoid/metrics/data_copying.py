"""A test of whether generated rows lie nearer to training rows than unseen ones do, cell by cell."""

from dataclasses import dataclass, field

import numpy as np
from jax.typing import ArrayLike

from ellipsoid.checks import check_count, check_matrix
from ellipsoid.metrics.estimate import Estimate
from ellipsoid.metrics.row_pairs import check_pair

# Number of generated and of unseen rows that a cell needs to count: the rank sum is nearly normal then.
_LEAST_IN_CELL = 20


@dataclass(frozen=True)
class DataCopyingTest:
    """Comparison of generated rows and unseen ones by their nearness to training rows.

    Attributes
    ----------
    score : Estimate
        Statistic C_T: the mean of the cells' z-scores, weighted by the cells' shares of the unseen rows. It
        is far below 0 for copies and far above 0 for rows that training rows are no guide to. The error is
        its standard deviation where generated and unseen rows have one distribution, and its mean is then 0.
    p_value : float
        Probability of such a score or a lower one if generated and unseen rows have one distribution within
        each cell.
    cell_scores : ndarray, shape (n_cells,)
        Each cell's z-score, NaN for a cell that does not count.
    cell_shares : ndarray, shape (n_cells,)
        Share of the unseen rows that each cell holds.
    """

    score: Estimate
    p_value: float
    cell_scores: np.ndarray = field(repr=False)
    cell_shares: np.ndarray = field(repr=False)


def data_copying_test(
    generated: ArrayLike, train: ArrayLike, unseen: ArrayLike, *, n_cells: int = 10
) -> DataCopyingTest:
    """Test for copies by three samples: the statistic C_T (Meehan, Chaudhuri and Dasgupta, 2020).

    The space is divided into cells, those of k-means on the training rows. Each cell compares the distances
    of generated rows to its nearest training row with those of unseen rows. The comparison is their rank sum
    (Mann and Whitney, 1947), as a z-score. The score is the mean over cells, weighted by their shares of the
    unseen rows.

    The test judges a whole set by a few cells: within a cell, draws that lie too far out cancel copies.
    :func:`copy_test` counts the copies, and compares each row with the unseen rows near it.

    Parameters
    ----------
    generated : array, shape (m, D)
        Rows to be tested.
    train : array, shape (t, D)
        Rows that the model was trained on: at least `n_cells`.
    unseen : array, shape (n, D)
        Real rows that the model was not trained on, independent of each other.
    n_cells : int
        Number of cells. Those with fewer than 20 generated or 20 unseen rows do not count.

    Returns
    -------
    DataCopyingTest
        Score, p-value, and each cell's score.

    Raises
    ------
    TypeError
        If the rows do not hold real numbers, or `n_cells` is no integer.
    ValueError
        If the rows are not a finite matrix, are too few, or differ in their number of columns, `n_cells` is
        below 1, or no cell counts.

    Examples
    --------
    >>> import numpy as np
    >>> from ellipsoid.metrics import data_copying_test
    >>> train, unseen, generated = np.random.default_rng(0).normal(size=(3, 500, 4))
    >>> data_copying_test(generated, train, unseen, n_cells=3).p_value > 0.05
    True
    >>> data_copying_test(train + 0.3 * generated, train, unseen, n_cells=3).p_value < 1e-6
    True
    """
    from scipy import stats
    from sklearn.cluster import KMeans
    from sklearn.metrics import pairwise_distances_argmin_min

    n_cells = check_count("n_cells", n_cells)
    generated, train = check_pair(
        "generated", generated, "train", train, least=_LEAST_IN_CELL, least_second=n_cells
    )
    unseen = check_matrix("unseen", unseen, _LEAST_IN_CELL, n_columns=train.shape[1])
    # k-means takes only rows of the type that it was fitted to.
    kind = np.result_type(generated, train, unseen, np.float32)
    generated, train, unseen = (rows.astype(kind, copy=False) for rows in (generated, train, unseen))
    cells = KMeans(n_cells, n_init=1, random_state=0).fit(train)  # pyright: ignore[reportArgumentType]

    def distances_in(rows, cell):
        return pairwise_distances_argmin_min(rows, train[cells.labels_ == cell])[1]

    of_generated, of_unseen = cells.predict(generated), cells.predict(unseen)
    shares = np.bincount(of_unseen, minlength=n_cells) / len(unseen)
    scores = np.full(n_cells, np.nan)
    for cell in range(n_cells):
        drawn, held_out = generated[of_generated == cell], unseen[of_unseen == cell]
        if min(len(drawn), len(held_out)) >= _LEAST_IN_CELL:
            scores[cell] = _rank_score(distances_in(drawn, cell), distances_in(held_out, cell))
    counts = np.isfinite(scores)
    if not counts.any():
        raise ValueError(
            f"n_cells: expected cells with at least {_LEAST_IN_CELL} generated and unseen rows; "
            f"none of {n_cells} has them"
        )
    weights = shares[counts] / shares[counts].sum()
    score = Estimate(float(weights @ scores[counts]), float(np.linalg.norm(weights)))
    return DataCopyingTest(score, float(stats.norm.cdf(score.value / score.error)), scores, shares)


def _rank_score(drawn: np.ndarray, held_out: np.ndarray) -> float:
    """Measure how much larger the first distances are than the others: their rank sum, as a z-score."""
    from scipy import stats

    m, n = len(drawn), len(held_out)
    ranks = stats.rankdata(np.concatenate([drawn, held_out]))
    larger = ranks[:m].sum() - m * (m + 1) / 2
    return float((larger - m * n / 2) / np.sqrt(m * n * (m + n + 1) / 12))
