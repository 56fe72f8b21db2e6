import numpy as np

from ellipsoid.metrics import row_pairs
from ellipsoid.metrics.row_pairs import block_pairs, device_blocks


def test_every_pair_of_rows_is_given_once(monkeypatch):
    monkeypatch.setattr(row_pairs, "BLOCK", 8)
    a, b = (device_blocks(rows) for rows in (np.arange(21.0)[:, None], np.arange(17.0)[:, None]))
    seen = np.zeros((21, 17), int)
    for rows_a, block_a, rows_b, block_b in block_pairs(a, b, "", False):
        np.testing.assert_array_equal(block_a[:, 0], np.arange(21)[rows_a])
        np.testing.assert_array_equal(block_b[:, 0], np.arange(17)[rows_b])
        seen[rows_a, rows_b] += 1
    assert (seen == 1).all()
    of_one_set = np.zeros((21, 21), int)
    for rows_a, _, rows_b, _ in block_pairs(a, a, "", False):
        of_one_set[rows_a, rows_b] += 1
    assert (np.maximum(of_one_set, of_one_set.T) == 1).all()
    assert of_one_set.sum() < 21**2  # both orders of two different blocks are one pair
