"""Data, and neighbours by brute force in float64.

Sets of more than one block have sizes that leave the same remainder, and tests share them: programs are
compiled for each shape of a block.
"""

import numpy as np


def gaussian(n, d, seed=0, scale=1.0, shift=0.0):
    return np.random.default_rng(seed).normal(size=(n, d)) * scale + shift


def squares(a, b):
    """Give all squared distances by differences, one column after another."""
    return sum((a[:, None, i] - b[None, :, i]) ** 2 for i in range(a.shape[1]))


def balls(rows, k):
    """Give squared distances to the k-th nearest other row: the nearest of all is the row itself."""
    return np.sort(squares(rows, rows), axis=1)[:, k]
