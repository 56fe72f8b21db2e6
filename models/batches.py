"""The order in which training sees its images, and batches that are ready before they are asked for."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np

# A memory map of more bytes than these is read by blocks. A constant, not a look at the free memory: the
# order, and with it the trained weights, must not depend on the machine.
_LARGE = 2**30
# Long enough to be read at the disk's full rate, so few that a window has images of 256 places.
_BLOCK_BYTES = 2**20
_WINDOW_BLOCKS = 256


def batch_order(n: int, seed: int, epoch: int, *, block: int | None = None) -> np.ndarray:
    """Order of the images in one epoch, a function of the arguments alone.

    Parameters
    ----------
    n : int
        Number of images.
    seed, epoch : int
        Not negative.
    block : int, optional
        Images that lie together and are read together. The blocks are put in random order, and the images
        are then shuffled within windows of 256 blocks: at any time only one window, and the batches that
        are ready, need to be in memory, and each part of the disk is read once. By default every order of
        the images is equally likely.

    Returns
    -------
    (n,) int64 array
        A permutation of 0 to n - 1.
    """
    rng = np.random.default_rng((seed, 2, epoch))
    if block is None:
        return rng.permutation(n)
    starts = block * rng.permutation(-(-n // block))
    order = (starts[:, None] + np.arange(block)).ravel()
    order = order[order < n]  # the last block may be shorter
    for start in range(0, n, _WINDOW_BLOCKS * block):
        rng.shuffle(order[start : start + _WINDOW_BLOCKS * block])
    return order


def epoch_batches(
    images: np.ndarray,
    batch_size: int,
    seed: int,
    epoch: int,
    *,
    rows: np.ndarray | None = None,
    n_batches: int | None = None,
    ahead: int = 2,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the batches of one epoch, gathered by a thread while those before them are used.

    The order is that of :func:`batch_order`: by blocks for a memory map of more than 1 GiB, otherwise any.
    A memory map of either size is read as it is, never as a whole.

    Parameters
    ----------
    images : (n, H, W, C) uint8 array
        In memory or memory-mapped.
    batch_size : int
    seed, epoch : int
        Of the order; not negative.
    rows : (m,) array of integers, optional
        The images to use, all by default: the same batches as of ``images[rows]``, without the copy.
        In increasing order, where they are to be read by blocks.
    n_batches : int, optional
        End after so many.
    ahead : int
        Batches that are made ready before they are asked for.

    Yields
    ------
    batch : (batch_size, H, W, C) uint8 array
        The last one of an epoch is filled up with some of its own images.
    weight : (batch_size,) float32 array
        One, and zero for the images that only fill up.
    """
    n = len(images) if rows is None else len(rows)
    block = None
    if isinstance(images, np.memmap) and images.nbytes > _LARGE:
        block = max(_BLOCK_BYTES // images[0].nbytes, 1)
    order = batch_order(n, seed, epoch, block=block)
    if rows is not None:
        order = np.asarray(rows)[order]

    def gather(start: int) -> tuple[np.ndarray, np.ndarray]:
        index = order[start : start + batch_size]
        weight = (np.arange(batch_size) < len(index)).astype(np.float32)
        return images[np.resize(index, batch_size)], weight

    ready = deque()
    pool = ThreadPoolExecutor(1, "batches")
    try:
        for start in range(0, n, batch_size)[:n_batches]:
            ready.append(pool.submit(gather, start))
            if len(ready) > ahead:
                yield ready.popleft().result()
        while ready:
            yield ready.popleft().result()
    finally:
        # Also when the loop around it ends early: at most one batch is waited for.
        pool.shutdown(cancel_futures=True)
