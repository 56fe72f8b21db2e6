"""The few of many components, images or pairs that a figure has room for."""

from collections.abc import Sequence

import numpy as np


def evenly_spaced(size: int, count: int) -> list[int]:
    """First and last of `size` indices, and evenly spaced ones between them: `count` at most."""
    return sorted(set(np.linspace(0, size - 1, min(count, size)).round().astype(int).tolist()))


def distinct_pairs(pairs: Sequence[tuple[int, int]], count: int) -> list[tuple[int, int]]:
    """Up to `count` different pairs of different, non-negative indices, in the order given."""
    return [(i, j) for i, j in dict.fromkeys(pairs) if i != j and min(i, j) >= 0][:count]
