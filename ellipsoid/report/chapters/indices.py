"""Selection of the components, images or pairs that a figure has room for."""

from collections.abc import Sequence

import numpy as np


def evenly_spaced(size: int, count: int) -> list[int]:
    """Select at most `count` evenly spaced ones of `size` indices, with the first and the last."""
    return sorted(set(np.linspace(0, size - 1, min(count, size)).round().astype(int).tolist()))


def distinct_pairs(pairs: Sequence[tuple[int, int]], count: int) -> list[tuple[int, int]]:
    """Select up to `count` distinct pairs of two different, non-negative indices, in the order given."""
    return [(i, j) for i, j in dict.fromkeys(pairs) if i != j and min(i, j) >= 0][:count]
