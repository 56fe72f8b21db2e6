import jax
import numpy as np
import pytest
from brute_force import gaussian, squares

from ellipsoid.metrics import row_pairs
from ellipsoid.metrics.row_pairs import block_pairs, device_blocks, nearest_rows


def by_brute_force(queries, references, k, *, same=False):
    """Indices and squared distances of the k nearest, the lower index first among equals."""
    apart = squares(queries, references)
    if same:
        np.fill_diagonal(apart, np.inf)
    index = np.argsort(apart, axis=1, kind="stable")[:, :k]
    return index, np.take_along_axis(apart, index, axis=1)


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


@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.usefixtures("block")
def test_nearest_rows_are_those_of_brute_force(k):
    queries, references = gaussian(97, 30, 2, shift=100), gaussian(199, 30, 1, shift=100)
    for found, exact in (
        (nearest_rows(queries, references, k), by_brute_force(queries, references, k)),
        (
            nearest_rows(references, references, k, same=True),
            by_brute_force(references, references, k, same=True),
        ),
    ):
        np.testing.assert_array_equal(found[0], exact[0])
        np.testing.assert_allclose(found[1], np.sqrt(exact[1]), rtol=1e-13)


@pytest.mark.parametrize("k", [1, 2, 150])
@pytest.mark.usefixtures("block")
def test_nearest_pixels_are_exact_and_the_first_of_equals(k):
    # More than 1,024 columns are taken in steps. Few values, at both ends, and repeated rows: many are equal.
    rng = np.random.default_rng(0)
    references = rng.choice(np.array([0, 1, 254, 255], np.uint8), size=(199, 1_500))
    references[100:150] = references[:50]
    queries = np.concatenate([references[40:60], 255 - references[:77]])
    index, distance = nearest_rows(queries, references, k)
    exact_index, exact_squares = by_brute_force(queries.astype(np.int64), references.astype(np.int64), k)
    np.testing.assert_array_equal(index, exact_index)
    np.testing.assert_array_equal(distance, np.sqrt(exact_squares))
    # Sums of squares in float32 would not tell all of these distances apart.
    assert k == 1 or (np.float32(exact_squares) != exact_squares).any()
    assert (distance[:20, 0] == 0).all()


def test_pixels_at_their_ends_do_not_overflow_the_exact_products():
    black, white = np.zeros((2, 5_000), np.uint8), np.full((2, 5_000), 255, np.uint8)
    white[1, 0] = 254
    index, distance = nearest_rows(black, white)
    np.testing.assert_array_equal(index[:, 0], [1, 1])
    np.testing.assert_array_equal(distance[:, 0], np.sqrt([4_999 * 255**2 + 254**2] * 2))
    assert nearest_rows(white, black)[0].sum() == 0


def test_copies_are_found_by_differences():
    rows = gaussian(199, 30, shift=1e4).astype(np.float32)
    index, distance = nearest_rows(rows, rows)
    np.testing.assert_array_equal(index[:, 0], np.arange(199))
    assert (distance == 0).all()
    # Squares by products alone would not give 0.
    with jax.enable_x64(True):
        blocks = row_pairs.centre_rows(device_blocks(rows)[0], row_pairs.mean_row(rows))
        assert np.abs(np.diagonal(row_pairs.squares(blocks, blocks)[0])).max() > 0


def test_memory_mapped_rows_are_read_once_and_a_block_at_a_time(monkeypatch):
    monkeypatch.setattr(row_pairs, "BLOCK", 97)

    reads = []

    class Recorded(np.ndarray):
        def __getitem__(self, rows):
            reads.append((rows.start, rows.stop))
            return np.asarray(super().__getitem__(rows))

    images = np.random.default_rng(0).integers(0, 256, (199, 25, 20, 3), dtype=np.uint8)
    index, _ = nearest_rows(images[:97][::-1], images.view(Recorded), 2)
    np.testing.assert_array_equal(index[:, 0], np.arange(97)[::-1])
    assert reads == [(0, 97), (97, 194), (194, 199)]
