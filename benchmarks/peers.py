"""Code that a user would write without this package: each law in NumPy, as a loop and in batches."""

import itertools
import math
import random

import numpy as np

from ellipsoid.integrals import MAX_EXPONENT, normal_pieces, uniform_pieces

_CHUNK = 2048  # rows that stay in the cache


def _in_chunks(draw):
    """Fill an ``(n, k)`` float32 array chunk by chunk."""

    def run(rng, n, k, *settings):
        out = np.empty((n, k), np.float32)
        for start in range(0, n, _CHUNK):
            rows = out[start : start + _CHUNK]
            rows[:] = draw(rng, len(rows), k, *settings)
        return out

    return run


def _signed(rng, *shape):
    return 2 * rng.random(shape, dtype=np.float32) - 1


def redraw_loop(n, k):
    """Follow the source's procedure to the letter: a vector at a time, all pairs in random order."""
    out = []
    pairs = list(itertools.combinations(range(k), 2))
    for _ in range(n):
        u = [random.uniform(-1, 1) for _ in range(k)]
        random.shuffle(pairs)
        for i, j in pairs:
            if random.random() < 0.5:
                i, j = j, i
            if u[i] ** 2 + u[j] ** 2 > 1:
                u[j] = random.uniform(-1, 1) * math.sqrt(1 - u[i] ** 2)
        out.append(u)
    return np.array(out, np.float32)


def redraw_tuned_loop(rng, n, k):
    """Run the same loop with all random numbers of a vector made at once, its fastest form in Python."""
    out = np.empty((n, k), np.float32)
    first, second = np.triu_indices(k, 1)
    for row in range(n):
        u = rng.uniform(-1, 1, k).tolist()
        order = rng.permutation(first.size)
        turn = rng.random(first.size) < 0.5
        pairs = zip(first[order].tolist(), second[order].tolist(), turn.tolist(), strict=True)
        for i, j, swap in pairs:
            if swap:
                i, j = j, i
            if u[i] * u[i] + u[j] * u[j] > 1:
                u[j] = rng.uniform(-1, 1) * (1 - u[i] * u[i]) ** 0.5
        out[row] = u
    return out


@_in_chunks
def redraw_rounds(rng, n, k):
    """Visit all pairs in rounds of disjoint ones, each row with its components relabelled at random.

    Not quite the law of the loop: pairs of one round are visited at once.
    """
    order = rng.permuted(np.broadcast_to(np.arange(k, dtype=np.int32), (n, k)), axis=1)
    u = np.ascontiguousarray(_signed(rng, n, k).T)
    ring = np.arange(k)
    for _ in range(k - 1):
        left, right = ring[: k // 2], ring[: k // 2 - 1 : -1]
        swap = rng.random(k // 2) < 0.5
        keep, redraw = np.where(swap, right, left), np.where(swap, left, right)
        u_keep = u[keep]
        pair, row = np.nonzero(np.square(u_keep) + np.square(u[redraw]) > 1)
        u[redraw[pair], row] = _signed(rng, len(row)) * np.sqrt(1 - np.square(u_keep[pair, row]))
        ring[1:] = np.roll(ring[1:], 1)
    return np.take_along_axis(u.T, order, axis=1)


@_in_chunks
def redraw_events(rng, n, k):
    """Pick one of the pairs in conflict, redraw, and so on, for all rows at once: exact, by rejection."""
    u = _signed(rng, n, k)
    rows = np.arange(n)
    while True:
        # Go on with the rows that still have a conflict, their large components before those that
        # conflict with the largest.
        squares = np.square(u[rows])
        going = np.partition(squares, -2, axis=1)[:, -2:].sum(axis=1) > 1
        rows, squares = rows[going], squares[going]
        if not len(rows):
            return u
        large = squares > 0.5
        active = large | (squares > 1 - squares.max(axis=1, keepdims=True))
        order = np.argsort(~large * 2 + ~active, axis=1, kind="stable").astype(np.int16)
        n_large, n_active = large.sum(axis=1), active.sum(axis=1)
        index = np.arange(len(rows))
        for _ in range(128):
            first = (rng.random(len(rows), np.float32) * n_large).astype(np.int32)
            second = (rng.random(len(rows), np.float32) * (n_active - 1)).astype(np.int32)
            second += second >= first
            i, j = order[index, first], order[index, second]
            u_i, u_j = u[rows, i], u[rows, j]
            coin = rng.random(len(rows), np.float32) < 0.5
            # A pair of two large ones can be picked in two ways: the first stays.
            hit = np.flatnonzero((u_i * u_i + u_j * u_j > 1) & (coin | (second >= n_large)))
            keep_first = coin[hit] | (second[hit] < n_large[hit])
            kept = np.where(keep_first, u_i[hit], u_j[hit])
            target = np.where(keep_first, j[hit], i[hit])
            u[rows[hit], target] = _signed(rng, len(hit)) * np.sqrt(1 - kept * kept)


@_in_chunks
def sequential(rng, n, k):
    """Find the few components that exceed all earlier ones, and bound those after each."""
    fills, times = _signed(rng, n, k), rng.random((n, k), dtype=np.float32)
    u, largest, rows = fills.copy(), np.zeros(n, np.float32), np.arange(n)
    while len(rows):
        squares = np.square(u[rows])
        arrivals = np.where(squares > largest[rows, None], times[rows], 2)
        record = arrivals.argmin(axis=1)
        index = np.arange(len(rows))
        arrival, square = arrivals[index, record], squares[index, record]
        going = arrival < 2
        rows, arrival, square = rows[going], arrival[going], square[going]
        largest[rows] = square
        later = times[rows] > arrival[:, None]
        u[rows] = np.where(later, fills[rows] * np.sqrt(1 - square)[:, None], u[rows])
    return u


def _pieces(rng, n, k, pieces):
    """Choose cube or spike for each row: bound of the others, rows and components of spikes, their values."""
    spikes = np.flatnonzero(rng.random(n) < pieces.spike_share)
    steps = np.linspace(0, MAX_EXPONENT, len(pieces.angles))
    angle = np.pi / 4 + np.interp(rng.standard_exponential(len(spikes)), steps, pieces.angles) / k
    bound = np.full((n, 1), np.sqrt(0.5), np.float32)
    bound[spikes, 0] = np.cos(angle)
    sign = np.where(rng.random(len(spikes)) < 0.5, -1, 1)
    return bound, (spikes, rng.integers(k, size=len(spikes))), sign * np.sin(angle)


@_in_chunks
def uniform(rng, n, k):
    """Choose cube or spike by volume, fill the rest."""
    bound, spikes, value = _pieces(rng, n, k, uniform_pieces(k))
    u = _signed(rng, n, k)
    u *= bound
    u[spikes] = value
    return u


@_in_chunks
def normal(rng, n, k, radius):
    """Choose cube or spike by mass, fill the rest with normal numbers, drawn again until they fit."""
    bound, spikes, value = _pieces(rng, n, k, normal_pieces(k, radius))
    limit = bound * np.float32(radius)
    x = rng.standard_normal((n, k), dtype=np.float32)
    rows, columns = np.nonzero(np.abs(x) > limit)
    while len(rows):
        again = rng.standard_normal(len(rows), dtype=np.float32)
        x[rows, columns] = again
        out = np.abs(again) > limit[rows, 0]
        rows, columns = rows[out], columns[out]
    x /= np.float32(radius)
    x[spikes] = value
    return x
