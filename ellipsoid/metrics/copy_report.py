"""Report on copies of training rows by a generator: the test for copies, and the nearest pairs."""

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
        Share of rows that lie close to training rows, its p-value, and the nearest training row of each row.
    significance : float
        Upper limit of the p-value for the verdict of copying.
    pairs : ndarray, shape (n, 2)
        Indices of generated rows and their nearest training rows, for the smallest ratios, smallest first.
    n_identical, n_unseen_identical : int
        Numbers of generated and of unseen rows that are equal to a training row.
    """

    test: CopyTest
    significance: float
    pairs: np.ndarray = field(repr=False)
    n_identical: int
    n_unseen_identical: int

    @property
    def is_copying(self) -> bool:
        """Whether the p-value lies below `significance`."""
        return self.test.p_value < self.significance

    @property
    def verdict(self) -> str:
        """Verdict in two sentences: whether training rows are copied, and how many rows equal one."""
        test, n = self.test, len(self.test.generated_ratios)
        share = f"{test.share.value:.1%} ± {test.share.error:.1%} of the {n:,} generated rows"
        chance = f"by chance it would be {test.expected:.1%} (p = {test.p_value:.2g})"
        equal = (
            f"{self.n_identical:,} generated and {self.n_unseen_identical:,} unseen rows equal a training "
            "row."
        )
        if self.is_copying:
            return f"Training rows are copied: {share} lie close to a training row; {chance}. {equal}"
        return f"No copying was found: {share} lie close to a training row; {chance}. {equal}"


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
    """Test whether generated rows are copies of training rows, and find the most suspicious pairs.

    The rows are features of images, latents, or a table of numbers. The test is :func:`copy_test`.

    Parameters
    ----------
    generated : array, shape (m, D)
        Generated rows, at least one.
    train : array, shape (t, D)
        Training rows of the generator. Standardisation needs at least two.
    unseen : array, shape (n, D)
        Independent rows of the same source that the generator was not trained on: at least
        ``1 / quantile - 1`` and at least two.
    standardise : bool
        Whether to divide each column by its standard deviation over the training rows. Columns in different
        units, such as those of a table, need it. Columns that are constant in training stay unchanged.
    quantile : float
        Share of the unseen rows that count as close, in (0, 1). A smaller share detects fewer copies better.
    significance : float
        Upper limit of the p-value for the verdict of copying, in [0, 1): the probability of this verdict for
        honest rows.
    n_pairs : int
        Number of pairs to list.
    progress : bool
        Whether to show a progress bar for each pass over the pairs.

    Returns
    -------
    CopyReport

    Raises
    ------
    TypeError
        If the rows do not hold real numbers.
    ValueError
        If the rows are not finite matrices, are too few, or differ in their number of columns, if nearly all
        unseen rows equal other rows, or if an option is out of its range.

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
        # The computed deviation of equal numbers would be their rounding error.
        deviations = np.where(np.ptp(train, axis=0) > 0, train.std(axis=0, dtype=np.float64), 1)
        generated, train, unseen = (rows / deviations for rows in (generated, train, unseen))
    test = copy_test(generated, train, unseen, quantile=quantile, progress=progress)
    # Among equal ratios, such as those of identical rows, the first rows come first.
    worst = np.lexsort((test.generated_distances, test.generated_ratios))[:n_pairs]
    return CopyReport(
        test=test,
        significance=significance,
        pairs=np.stack([worst, test.nearest[worst]], axis=1),
        n_identical=int(np.sum(test.generated_distances == 0)),
        n_unseen_identical=int(np.sum(test.unseen_distances == 0)),
    )
