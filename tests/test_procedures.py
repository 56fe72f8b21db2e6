"""The original procedures, redraw and sequential, against literal loops over all pairs."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import draw, same_law
from scipy import stats

import ellipsoid as el
from ellipsoid import procedures

N = 100_000
CHUNK = 4_000


def in_chunks(loop):
    """Run a loop over rows on pieces that fit into the cache."""

    @functools.cache
    def run(k, mask=None, n=N, **options):
        rng = np.random.default_rng(k)
        pairs = PAIRS[mask](k) if mask else np.ones((k, k), bool)
        chunks = [loop(rng, k, CHUNK, pairs, **options) for _ in range(n // CHUNK)]
        return np.concatenate(chunks).astype(np.float32)

    return run


@in_chunks
def literal_redraw(rng, k, n, pairs, *, narrowed=True, one_order=False):
    """Visit all pairs of each row, in a random order and orientation, and redraw where needed.

    The loop is wrong on purpose with ``narrowed=False``, which redraws in [-1, 1] (once), and with
    ``one_order=True``, which visits the pairs in one order for all rows.
    """
    u = rng.uniform(-1, 1, (n, k))
    first, second = np.nonzero(np.triu(pairs, 1))
    order = np.broadcast_to(np.arange(len(first), dtype=np.int16), (n, len(first)))
    if not one_order:
        order = rng.permuted(order, axis=1)
    rows = np.arange(n)
    for visit in np.ascontiguousarray(order.T):
        swap = rng.random(n) < 0.5
        i = np.where(swap, second[visit], first[visit])
        j = np.where(swap, first[visit], second[visit])
        u_i, u_j = u[rows, i], u[rows, j]
        bound = np.sqrt(1 - np.square(u_i)) if narrowed else 1.0
        redrawn = bound * rng.uniform(-1, 1, n)
        u[rows, j] = np.where(np.square(u_i) + np.square(u_j) > 1, redrawn, u_j)
    return u


@in_chunks
def literal_sequential(rng, k, n, pairs, *, in_index_order=False):
    """Place components in a random order, each uniform within the narrowest bound set by earlier ones."""
    u = np.zeros((n, k))
    order = np.broadcast_to(np.arange(k), (n, k))
    if not in_index_order:
        order = rng.permuted(order, axis=1)
    rows = np.arange(n)
    for index in order.T:
        # Components that are not placed yet are zero, and bound nothing.
        squares = np.where(pairs[index], np.square(u), 0)
        u[rows, index] = np.sqrt(1 - np.max(squares, axis=1)) * rng.uniform(-1, 1, n)
    return u


def chain(k):
    """Pair each component with its neighbours."""
    return np.abs(np.subtract.outer(np.arange(k), np.arange(k))) == 1


def star(k):
    """Pair the first component with all others."""
    pairs = np.zeros((k, k), bool)
    pairs[0, 1:] = pairs[1:, 0] = True
    return pairs


PAIRS = {"chain": chain, "star": star, "all": lambda k: np.ones((k, k), bool)}


@functools.cache
def drawn(law, k, mask=None, seed=0):
    return draw(law, k, N, region=el.PairwiseEllipses(PAIRS[mask](k)) if mask else "pairwise", seed=seed)


@pytest.mark.parametrize("k", [8, *(pytest.param(k, marks=pytest.mark.slow) for k in (2, 6, 20, 50))])
def test_redraw_is_the_literal_loop(k):
    assert same_law(drawn("redraw", k), literal_redraw(k)) > 1e-3


@pytest.mark.parametrize("mask", PAIRS)
def test_redraw_on_a_subset_is_the_literal_loop(mask):
    assert same_law(drawn("redraw", 8, mask), literal_redraw(8, mask)) > 1e-3


def assert_all_pairs_hold(u):
    assert np.sum(np.sort(np.square(u, dtype=np.float64), axis=1)[:, -2:], axis=1).max() <= 1 + 1e-6


def test_redraw_on_a_mask_of_all_pairs_ends_for_every_row():
    """Counts of conflicts that are wrong by one rounding somewhere would never come down to zero."""
    assert_all_pairs_hold(drawn("redraw", 8, "all"))


@pytest.mark.slow
def test_redraw_on_a_mask_of_all_pairs_of_many_ends_for_every_row():
    u = draw("redraw", 64, 8192, region=el.PairwiseEllipses(np.ones((64, 64), bool)))
    assert_all_pairs_hold(u)
    assert same_law(u, draw("redraw", 64, 8192, seed=1)) > 1e-3


@pytest.mark.parametrize("k", [2, 8, *(pytest.param(k, marks=pytest.mark.slow) for k in (6, 20))])
def test_sequential_is_the_literal_loop(k):
    assert same_law(drawn("sequential", k), literal_sequential(k)) > 1e-3


@pytest.mark.parametrize("mask", PAIRS)
def test_sequential_on_a_subset_is_the_literal_loop(mask):
    assert same_law(drawn("sequential", 8, mask), literal_sequential(8, mask)) > 1e-3


def test_wrong_procedures_are_seen():
    redraw, sequential = drawn("redraw", 8), drawn("sequential", 8)
    assert same_law(redraw, literal_redraw(8, narrowed=False)) < 1e-6
    assert same_law(redraw, literal_redraw(8, one_order=True)) < 1e-6
    assert same_law(redraw, literal_redraw(8, "chain")) < 1e-6
    assert same_law(redraw, sequential) < 1e-6
    assert same_law(redraw, draw("uniform", 8, N)) < 1e-6
    assert same_law(sequential, literal_sequential(8, in_index_order=True)) < 1e-6
    assert same_law(drawn("sequential", 8, "star"), literal_sequential(8)) < 1e-6


def arrival_times(k, n):
    """Give the arrival times of `n` rows, ``(n, k)``."""
    words = el.random.philox_words(el.key(0))
    rows = np.arange(n, dtype=np.uint32), np.zeros(n, np.uint32)
    return np.asarray(jax.jit(jax.vmap(lambda row: procedures._arrival_times(words, row, k)))(rows))


def test_components_arrive_in_uniformly_random_order():
    order = np.argsort(arrival_times(3, 60_000), axis=1) @ [9, 3, 1]
    assert stats.chisquare(np.unique(order, return_counts=True)[1]).pvalue > 1e-4
    assert len(np.unique(order)) == 6


def test_no_two_components_arrive_together(monkeypatch):
    assert np.all(np.diff(np.sort(arrival_times(4096, 100), axis=1), axis=1) > 0)
    # If random bits tie, either component comes first with the same chance.
    monkeypatch.setattr(
        procedures, "row_words", lambda words, row, stream, count: jnp.zeros(count, np.uint32)
    )
    times = arrival_times(6, 10_000)
    for i in range(6):
        for j in range(i):
            first = np.mean(times[:, i] < times[:, j])
            assert abs(first - 0.5) < 5 * 0.5 / np.sqrt(len(times))


@pytest.mark.slow
def test_some_sequential_draws_collapse_and_no_redraw_does():
    """At K = 256 about 7 % of the sequential draws have an rms below 0.2, and none of the redrawn ones."""
    n = 4096
    rms = {law: np.sqrt(np.mean(np.square(draw(law, 256, n)), axis=1)) for law in ("sequential", "redraw")}
    share = np.mean(rms["sequential"] < 0.2)
    assert abs(share - 0.07) < 0.005 + 5 * np.sqrt(0.07 * 0.93 / n)
    assert rms["redraw"].min() > 0.2
