"""Share of generated images that are not noisy copies of training images."""

import numpy as np
from jax.typing import ArrayLike

from ellipsoid.metrics.estimate import Estimate, estimate_share
from ellipsoid.metrics.near_pairs import nearest_rows
from ellipsoid.metrics.row_pairs import check_pair


def authenticity(generated: ArrayLike, train: ArrayLike, *, progress: bool = False) -> Estimate:
    """Measure the share of generated rows that are not noisy copies of training rows (Alaa et al., 2022).

    A generated row counts if its distance to the nearest training row exceeds the distance from that row to
    the nearest other training row. The share needs no unseen rows, and therefore has no reference: 1,000
    honest draws from a normal distribution have 0.34 in one column, 0.50 in 5 and 0.82 in 64.
    :func:`copy_test` compares with unseen rows and returns a p-value.

    Parameters
    ----------
    generated : array, shape (m, D)
        Generated rows, at least one.
    train : array, shape (t, D)
        Training rows, at least two.
    progress : bool
        Whether to show a progress bar for each pass over the pairs.

    Returns
    -------
    Estimate
        Share with its binomial error.

    Raises
    ------
    TypeError
        If the rows do not hold real numbers.
    ValueError
        If the rows are not finite matrices, are too few, or differ in their number of columns.

    Examples
    --------
    >>> from ellipsoid.metrics import authenticity
    >>> authenticity([[0.1], [1.5], [8.0]], [[0.0], [1.0], [2.0]]).value
    0.3333333333333333
    """
    generated, train = check_pair("generated", generated, "train", train, least=1, least_second=2)
    index, distance = nearest_rows(generated, train, label="nearest of generated rows", progress=progress)
    _, between = nearest_rows(train, train, same=True, label="training rows to each other", progress=progress)
    return estimate_share(int(np.sum(distance[:, 0] > between[index[:, 0], 0])), len(generated))
