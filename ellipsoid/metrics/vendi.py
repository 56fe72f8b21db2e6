"""The effective number of different images in a set."""

import math

import numpy as np
from jax.typing import ArrayLike

from ellipsoid.blocks import row_slices
from ellipsoid.checks import check_matrix
from ellipsoid.metrics.estimate import Estimate
from ellipsoid.metrics.row_pairs import BLOCK


def vendi_score(rows: ArrayLike) -> Estimate:
    """Measure the Vendi score of a set: how many wholly different rows would be as diverse.

    The score is ``exp(-sum_k l_k log l_k)``, the exponential of the entropy of the eigenvalues l of
    ``K / n``, with K the cosines of all pairs of rows (Friedman and Dieng, 2023). It is 1 for copies of one
    row and n for rows at right angles. Its eigenvalues are also those of ``X^T X / n``, with X the rows
    divided by their lengths, and the smaller of the two matrices is taken.

    Features that have a common part, such as those after a ReLU, are all similar, and have a small score. The
    score knows nothing about real images: compare it with the score of as many real rows.

    Parameters
    ----------
    rows : array, shape (n, D)
        At least two rows, none of them 0.

    Returns
    -------
    Estimate
        Score, from 1 to the smaller of n and D. The error is that of the infinitesimal jackknife over the
        rows. It does not include the downward bias: the score grows with n, fast while n is below a few D.

    Raises
    ------
    TypeError
        If `rows` do not hold real numbers.
    ValueError
        If `rows` are not a finite matrix, are fewer than two, or some are 0.

    Examples
    --------
    Three directions, of which one is taken by two rows, are as diverse as 2.83 equally frequent ones:

    >>> from ellipsoid.metrics import vendi_score
    >>> vendi_score([[1.0, 0, 0], [5, 0, 0], [0, 1, 0], [0, 0, 1]]).value
    2.82842712474619
    """
    rows = check_matrix("rows", rows, 2)
    n, d = rows.shape
    n_zero = n - np.count_nonzero(np.any(rows, axis=1))
    if n_zero:
        raise ValueError(f"rows: expected none of zeros; got {n_zero}")
    if n <= d:
        units = _units(rows)
        shares, vectors = np.linalg.eigh(units @ units.T / n)
        logs = _logs(shares)
        surprises = -np.square(vectors) @ (n * shares * logs)
    else:
        second_moments = np.zeros((d, d))
        for block in row_slices(n, BLOCK):
            units = _units(rows[block])
            second_moments += units.T @ units / n
        shares, axes = np.linalg.eigh(second_moments)
        logs = _logs(shares)
        surprises = np.concatenate(
            [-np.square(_units(rows[block]) @ axes) @ logs for block in row_slices(n, BLOCK)]
        )
    score = math.exp(-shares @ logs)
    # The derivative of the entropy by the weight of a row x is its surprise, -x^T log(X^T X / n) x, less the
    # entropy, which is the mean surprise.
    return Estimate(score, score * float(np.std(surprises, ddof=1)) / math.sqrt(n))


def _units(rows: np.ndarray) -> np.ndarray:
    """Give the rows in float64, divided by their lengths."""
    wide = rows.astype(np.float64)
    wide /= np.abs(wide).max(axis=1, keepdims=True)  # so that no square overflows
    return wide / np.linalg.norm(wide, axis=1, keepdims=True)


def _logs(shares: np.ndarray) -> np.ndarray:
    return np.log(np.maximum(shares, np.finfo(np.float64).tiny))
