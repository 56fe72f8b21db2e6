"""Nearest images against all distances."""

import math

import numpy as np
import pytest
from diagnostic_latents import generator

from ellipsoid import diagnostics as dg


def test_nearest_image():
    images = generator().integers(0, 256, size=(5_000, 6, 6, 3), dtype=np.uint8)
    queries = images[[4_999, 7, 2_500]].copy()
    queries[:, 0, 0, 0] ^= 8
    index, distance = dg.nearest(queries, images)
    np.testing.assert_array_equal(index, [[4_999], [7], [2_500]])
    np.testing.assert_allclose(distance, 8 / 255 / math.sqrt(108), rtol=1e-5)

    few = images[:300]
    apart = np.sqrt(np.mean((few[:, None] / 255 - few[None] / 255) ** 2, axis=(2, 3, 4)))
    index, distance = dg.nearest(few[:50], few[50:], 3)
    np.testing.assert_array_equal(index, apart[:50, 50:].argsort(axis=1)[:, :3])
    np.testing.assert_allclose(distance, np.sort(apart[:50, 50:], axis=1)[:, :3], rtol=1e-5)
    with pytest.raises(ValueError, match="count: expected 1 to 4"):
        dg.nearest(few, few[:4], 5)
