"""Fréchet distance of infinitely many rows, extrapolated from finitely many."""

import numpy as np
from jax.typing import ArrayLike

from ellipsoid.metrics.estimate import Estimate
from ellipsoid.metrics.frechet import frechet_distance
from ellipsoid.metrics.row_pairs import check_pair
from ellipsoid.moments import Moments


def extrapolated_frechet_distance(a: ArrayLike, b: ArrayLike) -> Estimate:
    """Extrapolate the squared Fréchet distance of two sets of features to infinitely many rows of both.

    The bias of :func:`frechet_distance` is nearly proportional to one over the number of rows. So a line
    through the distances at several numbers of rows, extended to infinity, removes most of it. Chong and
    Forsyth (2020) draw new subsets of generated rows for each point of the line. Here both sets are halved at
    random, and the line goes through two points: the distance of the whole sets, and the mean distance of the
    two halves. The result is twice the first, less the second. To first order, the noise of the halves is
    that of the whole, and is not enlarged.

    Parameters
    ----------
    a : array, shape (m, D)
        At least four rows. With fewer than 2 D rows, a part of the bias remains.
    b : array, shape (n, D)
        At least four rows. The numbers of rows need not be equal.

    Returns
    -------
    Estimate
        In squared units of the features; it may be negative where both distributions are equal. The error is
        that of :func:`frechet_distance`.

    Raises
    ------
    TypeError
        If rows do not hold real numbers.
    ValueError
        If rows are not a finite matrix or fewer than four, or both sets differ in their number of columns.

    Examples
    --------
    Two samples of one distribution are at a distance of 0:

    >>> import numpy as np
    >>> from ellipsoid.metrics import extrapolated_frechet_distance, frechet_distance
    >>> a, b = np.random.default_rng(0).normal(size=(2, 1000, 50))
    >>> print(frechet_distance(a, b))
    1.376 ± 0.078
    >>> print(extrapolated_frechet_distance(a, b))
    -0.0177 ± 0.078
    """
    a, b = check_pair("a", a, "b", b, least=4)
    first_a, second_a = _moments_of_halves(a)
    first_b, second_b = _moments_of_halves(b)
    whole = frechet_distance(first_a.merge(second_a), first_b.merge(second_b))
    of_halves = frechet_distance(first_a, first_b).value + frechet_distance(second_a, second_b).value
    return Estimate(2 * whole.value - of_halves / 2, whole.error)


def _moments_of_halves(rows: np.ndarray) -> list[Moments]:
    first = np.zeros(len(rows), bool)
    first[np.random.default_rng(0).permutation(len(rows))[: len(rows) // 2]] = True
    return [Moments.empty(rows.shape[1]).update(rows[half]) for half in (first, ~first)]
