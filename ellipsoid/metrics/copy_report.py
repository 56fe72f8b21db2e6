"""A report whether a generator hands out its training rows: the test for copies, and the worst pairs."""

from dataclasses import dataclass, field

import numpy as np
from jax.typing import ArrayLike

from ellipsoid.checks import check_count, check_matrix, check_number
from ellipsoid.metrics.copies import CopyTest, copy_test
from ellipsoid.metrics.row_pairs import check_pair


@dataclass(frozen=True)
class CopyReport:
    """Result of :func:`copy_report`.

    Attributes
    ----------
    test : CopyTest
        Share of rows nearer to training rows than chance, its p-value, and the neighbour of each row.
    significance : float
        Largest p-value at which the rows are said to be copied.
    pairs : ndarray, shape (n, 2)
        Indices of a generated row and of the training row that is nearest to it: the pairs of the smallest
        ratios, smallest first.
    n_identical, n_unseen_identical : int
        Generated rows that are equal to a training row, and unseen rows that are.
    """

    test: CopyTest
    significance: float
    pairs: np.ndarray = field(repr=False)
    n_identical: int
    n_unseen_identical: int

    @property
    def is_copying(self) -> bool:
        """Whether so many rows near to training rows are less likely than `significance`, by chance."""
        return self.test.p_value < self.significance

    @property
    def verdict(self) -> str:
        """Two sentences that say whether training rows are copied, and how many are equal to one."""
        test, n = self.test, len(self.test.generated_ratios)
        share = f"{test.share.value:.1%} ± {test.share.error:.1%} of the {n:,} generated rows"
        chance = f"{test.expected:.1%} would be by chance (p = {test.p_value:.2g})"
        equal = (
            f"{self.n_identical:,} generated and {self.n_unseen_identical:,} unseen rows are equal to one."
        )
        if self.is_copying:
            return f"Training rows are copied: {share} lie close to one; {chance}. {equal}"
        return f"No copying is seen: {share} lie close to a training row; {chance}. {equal}"


def copy_report(
    generated: ArrayLike,
    train: ArrayLike,
    unseen: ArrayLike,
    *,
    standardise: bool = False,
    quantile: float = 0.05,
    significance: float = 0.01,
    n_pairs: int = 20,
    progress: bool = False,
) -> CopyReport:
    """Say whether generated rows are copies of training rows, and show those that are most like it.

    The rows are features of images, latents, or a table of numbers. The test is :func:`copy_test`.

    Parameters
    ----------
    generated : array, shape (m, D)
        Rows to be tested, at least one.
    train : array, shape (t, D)
        Rows that the generator was trained on; two at least if the columns are standardised.
    unseen : array, shape (n, D)
        Rows of the same source that it was not trained on, independent of each other: at least
        ``1 / quantile - 1`` and two.
    standardise : bool
        Whether each column is divided by its standard deviation over the training rows. Columns in different
        units, as in a table, can be compared in no other way. Columns that are constant there stay as they
        are.
    quantile : float
        Share of the unseen rows that count as near, in (0, 1). A smaller one sees fewer copies better.
    significance : float
        Largest p-value at which the rows are said to be copied, in [0, 1): the chance that honest rows are
        suspected.
    n_pairs : int
        Number of pairs to show.
    progress : bool
        Whether a bar is shown for each pass over the pairs.

    Returns
    -------
    CopyReport

    Raises
    ------
    TypeError
        If the rows do not hold real numbers.
    ValueError
        If the rows are not a finite matrix, are too few, or differ in their number of columns, unseen rows
        are nearly all equal to others, or an option is out of its range.

    Examples
    --------
    >>> import numpy as np
    >>> from ellipsoid.metrics import copy_report
    >>> train, unseen, generated = np.random.default_rng(0).normal(size=(3, 100, 8))
    >>> generated[5:45] = train[:40]
    >>> report = copy_report(generated, train, unseen, n_pairs=2)
    >>> report.is_copying, report.pairs.tolist(), report.n_identical
    (True, [[5, 0], [6, 1]], 40)
    """
    significance = check_number("significance", significance, 0, below=1)
    n_pairs = check_count("n_pairs", n_pairs)
    train, unseen = check_pair(
        "train", train, "unseen", unseen, least=2 if standardise else 1, least_second=1
    )
    generated = check_matrix("generated", generated, 1, n_columns=train.shape[1])
    if standardise:
        # A deviation of equal numbers would be that of their rounding.
        deviations = np.where(np.ptp(train, axis=0) > 0, train.std(axis=0, dtype=np.float64), 1)
        generated, train, unseen = (rows / deviations for rows in (generated, train, unseen))
    test = copy_test(generated, train, unseen, quantile=quantile, progress=progress)
    # Of equal ratios, which are those of identical rows, the first.
    worst = np.lexsort((test.generated_distances, test.generated_ratios))[:n_pairs]
    return CopyReport(
        test=test,
        significance=significance,
        pairs=np.stack([worst, test.nearest[worst]], axis=1),
        n_identical=int(np.sum(test.generated_distances == 0)),
        n_unseen_identical=int(np.sum(test.unseen_distances == 0)),
    )
