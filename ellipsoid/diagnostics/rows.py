"""Numbers of rows and components that the measurements use, and the check of their units."""

import numpy as np
from jax.typing import ArrayLike

#: Number of rows for tests of normality, and for measurements over all pairs of rows.
TEST_ROWS = 5_000
#: Number of rows that the ellipses of all pairs are compared with: a share has a standard error below 0.36 %.
PAIR_ROWS = 20_000
#: Largest difference between observed and expected share at which the ellipse of a pair is calibrated.
TOLERANCE = 0.02
#: Number of leading components for the search for clusters and the test of Henze and Zirkler. In many more
#: dimensions 5,000 points all lie equally far from each other, and both methods lose their power.
LEADING = 10


def check_scale(scale: ArrayLike, k: int) -> np.ndarray:
    """Return `scale` as an array of K finite numbers above 0.

    Raises
    ------
    ValueError
        If `scale` has another shape or other values.
    """
    array = np.asarray(scale)
    if array.shape != (k,) or not (np.isfinite(array) & (array > 0)).all():
        raise ValueError(
            f"scale: expected {k} finite numbers above 0; got {np.array2string(array, threshold=8)}"
        )
    return array
