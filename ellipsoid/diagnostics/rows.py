"""Checked rows of latents or scores, and fixed random subsets of them."""

from collections.abc import Iterator

import numpy as np
from jax.typing import ArrayLike

from ellipsoid.moments import as_rows
from ellipsoid.state import PCAState

#: Rows that tests of normality look at, and measures that take all pairs of rows.
TEST_ROWS = 5_000
#: Rows that the ellipses of all pairs are held against: a share has a standard error below 0.36 %.
PAIR_ROWS = 20_000
#: Difference between observed and expected share, up to which the ellipse of a pair is calibrated.
TOLERANCE = 0.02
#: Leading components that are searched for clusters and tested by Henze and Zirkler's statistic: in many
#: more dimensions 5,000 points are all equally far from each other, and neither can see anything.
LEADING = 10


def subset(values: np.ndarray, size: int) -> np.ndarray:
    """Give a random subset of so many rows, the same each time; all of them if there are fewer."""
    if len(values) <= size:
        return values
    return values[np.sort(np.random.default_rng(0).choice(len(values), size, replace=False))]


def as_matrix(name: str, values: ArrayLike, least: int = 2) -> np.ndarray:
    """Check that `values` is a finite real matrix of so many rows, and give it as floats."""
    rows = np.asarray(as_rows(name, values))
    if len(rows) < least:
        raise ValueError(f"{name}: expected at least {least} rows; got shape {rows.shape}")
    return rows if rows.dtype in (np.float32, np.float64) else rows.astype(np.float32)


def as_latents(state: PCAState, latents: ArrayLike, name: str = "latents") -> np.ndarray:
    """Check that latents have the columns that the state was fitted to, and at least 8 rows."""
    if not isinstance(state, PCAState):
        raise TypeError("state: expected one PCAState; of a mixture pass mixture.shared or mixture.part(i)")
    rows = as_matrix(name, latents, least=8)
    if rows.shape[1] != state.n_features:
        raise ValueError(f"{name}: expected {state.n_features} columns, as the state; got {rows.shape}")
    return rows


def blocks(rows: np.ndarray, size: int = 500) -> Iterator[np.ndarray]:
    """Give so many rows at a time."""
    return (rows[start : start + size] for start in range(0, len(rows), size))
