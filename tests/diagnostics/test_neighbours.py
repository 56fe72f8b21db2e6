import math

import numpy as np
import pytest

from ellipsoid import diagnostics as dg


def test_nearest_image():
    images = np.random.default_rng(0).integers(0, 256, size=(5_000, 6, 6, 3), dtype=np.uint8)
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


def test_references_may_be_memory_mapped(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, size=(250, 6, 6, 3), dtype=np.uint8)
    np.save(tmp_path / "images.npy", images)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    for found, expected in zip(
        dg.nearest(images[:50], mapped, 3), dg.nearest(images[:50], images, 3), strict=True
    ):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("queries", "count", "error", "message"),
    [
        (np.zeros((2, 6, 6, 3), np.uint8), 5, ValueError, r"count: expected 1 to 4.*; got 5"),
        (np.zeros((2, 6, 6, 3), np.uint8), 0, ValueError, r"count: expected at least 1; got 0"),
        (np.zeros((2, 6, 6, 3), np.uint8), 1.0, TypeError, r"count: expected an integer; got float"),
        (np.zeros((2, 6, 5, 3), np.uint8), 1, ValueError, r"queries: expected shape .*6, 6, 3.*; got"),
        (
            np.zeros((2, 6, 6, 3)),
            1,
            TypeError,
            r"queries: expected a NumPy array of uint8 images; got float64",
        ),
    ],
)
def test_errors_name_the_argument(queries, count, error, message):
    with pytest.raises(error, match=message):
        dg.nearest(queries, np.zeros((4, 6, 6, 3), np.uint8), count)
