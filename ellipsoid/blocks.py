"""Rows in blocks: batches of one size, work ahead of its use, random subsets, and the number of cores."""

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np

from ellipsoid.forks import check_process
from ellipsoid.progress import progress_bar

T = TypeVar("T")
R = TypeVar("R")


def n_cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def row_slices(n: int, size: int) -> Iterator[slice]:
    """Yield the rows of consecutive blocks; the last one may be shorter."""
    for start in range(0, n, size):
        yield slice(start, min(start + size, n))


def padded_batches(
    rows: np.ndarray, size: int, label: str = "", *, unit: str = "rows", progress: bool = False
) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield consecutive batches of exactly `size` rows, and the slice of rows that each holds.

    The last batch repeats its last row to be full. A function compiled for one shape is then compiled once
    for any number of rows, and rounds every row in the same way.
    """
    check_process()
    with progress_bar(label, len(rows), enabled=progress, unit=unit) as advance:
        for block in row_slices(len(rows), size):
            batch, count = rows[block], block.stop - block.start
            if count < size:
                batch = np.concatenate([batch, np.repeat(batch[-1:], size - count, axis=0)])
            yield block, batch
            advance(count)


def map_batches(function: Callable[[np.ndarray], Any], rows: np.ndarray, size: int) -> list[Any]:
    """Return the results of a function for batches of exactly `size` rows; the last result has extra rows."""
    return [function(batch) for _, batch in padded_batches(rows, size)]


def map_ahead(
    function: Callable[[T], R], items: Iterable[T], *, ahead: int, workers: int = 1, finish: bool = False
) -> Generator[R, None, None]:
    """Yield ``function(item)`` in the order of the items; threads compute the results ahead of their use.

    Parameters
    ----------
    function : callable
        Function of one item; called in one of the threads.
    items : iterable
        Items, taken one at a time by the caller's thread.
    ahead : int
        Number of results that are computed, or in work, while an earlier one is used.
    workers : int
        Number of threads.
    finish : bool
        Whether every item that was taken is computed even if the loop ends early; otherwise only the items
        in work are.
    """
    ready = deque()
    pool = ThreadPoolExecutor(workers, "ahead")
    try:
        for item in items:
            ready.append(pool.submit(function, item))
            if len(ready) > ahead:
                yield ready.popleft().result()
        while ready:
            yield ready.popleft().result()
    finally:
        # The loop around this may end early; work that has begun is always waited for.
        pool.shutdown(cancel_futures=not finish)


def subset(values: np.ndarray, size: int) -> np.ndarray:
    """Return a random subset of `size` rows, the same each time, or all rows if there are fewer."""
    if len(values) <= size:
        return values
    return values[np.sort(np.random.default_rng(0).choice(len(values), size, replace=False))]


def map_rows(
    function: Callable[[np.ndarray], Any], rows: np.ndarray, size: int, out: np.ndarray
) -> np.ndarray:
    """Fill `out` with the results of a function for batches of exactly `size` rows.

    Parameters
    ----------
    function : callable
        Function that maps ``size`` rows to as many rows of `out`.
    rows : (n, ...) array
        Rows to map; they may be memory-mapped.
    size : int
        Number of rows in a batch; the last batch repeats its last row.
    out : (n, ...) array
        Array to fill; it is returned too.
    """
    for block, batch in padded_batches(rows, size):
        out[block] = np.asarray(function(batch))[: block.stop - block.start]
    return out


def full_batches(rows: np.ndarray, size: int) -> np.ndarray:
    """Return rows as batches ``(n // size, size, ...)``, without the last ones that fill no batch."""
    count = len(rows) // size
    return rows[: count * size].reshape(count, size, *rows.shape[1:])
