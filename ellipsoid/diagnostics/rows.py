"""How many rows and components the measures look at, and the check of their units."""

import numpy as np
from jax.typing import ArrayLike

#: Rows that tests of normality look at, and measures that take all pairs of rows.
TEST_ROWS = 5_000
#: Rows that the ellipses of all pairs are held against: a share has a standard error below 0.36 %.
PAIR_ROWS = 20_000
#: Difference between observed and expected share, up to which the ellipse of a pair is calibrated.
TOLERANCE = 0.02
#: Leading components that are searched for clusters and tested by Henze and Zirkler's statistic: in many
#: more dimensions 5,000 points are all equally far from each other, and neither can see anything.
LEADING = 10


def check_scale(scale: ArrayLike, k: int) -> np.ndarray:
    """Return `scale` as an array of K finite numbers above 0.

    Raises
    ------
    ValueError
        If it is none.
    """
    array = np.asarray(scale)
    if array.shape != (k,) or not (np.isfinite(array) & (array > 0)).all():
        raise ValueError(
            f"scale: expected {k} finite numbers above 0; got {np.array2string(array, threshold=8)}"
        )
    return array
