import jax.numpy as jnp
import numpy as np
import pytest
from brute_force import gaussian, squares

from ellipsoid.metrics import near_pairs, row_pairs
from ellipsoid.metrics.near_pairs import PairBlock, Rows, nearest_rows, pair_blocks


def by_brute_force(queries, references, k, *, same=False):
    """Give indices and squared distances of the k nearest, the lower index first among equals."""
    apart = squares(queries, references)
    if same:
        np.fill_diagonal(apart, np.inf)
    index = np.argsort(apart, axis=1, kind="stable")[:, :k]
    return index, np.take_along_axis(apart, index, axis=1)


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
    # Few values, including both ends, and repeated rows: many distances are equal.
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
    centred = rows - rows.mean(axis=0, dtype=np.float64)
    lengths = np.sum(centred**2, axis=1)
    assert np.abs(2 * lengths - 2 * np.diagonal(centred @ centred.T)).max() > 0


def test_memory_mapped_rows_are_read_once_and_a_block_at_a_time(monkeypatch):
    monkeypatch.setattr(row_pairs, "BLOCK", 97)

    reads, read_again = [], []

    class Recorded(np.ndarray):
        def __getitem__(self, rows):
            if isinstance(rows, slice):
                reads.append((rows.start, rows.stop))
            elif isinstance(rows, np.ndarray):
                read_again.extend(rows)
            return np.asarray(super().__getitem__(rows))

    images = np.random.default_rng(0).integers(0, 256, (199, 25, 20, 3), dtype=np.uint8)
    index, _ = nearest_rows(images[:97][::-1], images.view(Recorded), 2)
    np.testing.assert_array_equal(index[:, 0], np.arange(97)[::-1])
    assert reads == [(0, 80), (80, 160), (160, 199)]
    assert len(read_again) < 97 * 3  # only the nearest, to settle how far they are


@pytest.mark.parametrize("scale", [1.0, 1e-3, 1e4])
def test_squares_in_float32_are_off_by_no_more_than_their_bound(scale):
    """The bound holds for rows of any lengths; in these columns the errors come near to a tenth of it."""
    rows = gaussian(80, 3, scale=np.logspace(0, np.log10(scale), 3))
    (block,) = pair_blocks(Rows(rows), Rows(rows).beside(rows[:50])[1], "", False)
    pairs = block.near(np.full(80, np.inf), None)
    assert len(pairs.a) == 80 * 50
    off = np.abs(pairs.squares - squares(rows, rows[:50])[pairs.a, pairs.b])
    assert (off <= pairs.errors).all()
    assert (off > pairs.errors / 50).any()


@pytest.mark.slow
def test_accelerators_select_the_same_pairs(monkeypatch):
    """JAX selects the pairs by the same lines as NumPy does."""
    queries, references = gaussian(60, 30), gaussian(150, 30, 1)
    expected = nearest_rows(queries, references, 3)
    squares_of = PairBlock._selected_from.fget
    monkeypatch.setattr(
        PairBlock, "_selected_from", property(lambda block: (jnp, jnp.asarray(squares_of(block)[1])))
    )
    for found, known in zip(nearest_rows(queries, references, 3), expected, strict=True):
        np.testing.assert_array_equal(found, known)


@pytest.mark.parametrize("few", [near_pairs._FEW, 0])
def test_equal_rows_are_all_in_doubt(monkeypatch, few):
    """Equal rows are settled by differences or by one product; the rows of lower numbers come first."""
    monkeypatch.setattr(row_pairs, "BLOCK", 97)
    monkeypatch.setattr(near_pairs, "_FEW", few)
    rows = np.repeat(np.arange(4.0), 50)[:199, None] * np.ones(30)
    index, distance = nearest_rows(rows, rows, 3, same=True)
    assert (distance == 0).all()
    np.testing.assert_array_equal(index, by_brute_force(rows, rows, 3, same=True)[0])
