"""The order of the images in training, and batches that are read ahead of their use."""

import contextlib
import mmap
from collections.abc import Iterator

import numpy as np

from ellipsoid.blocks import map_ahead, row_slices

#: Size in bytes above which arrays are memory-mapped, if possible, and read by blocks. It is a constant and
#: ignores the free memory: the order, and so the trained weights, must not depend on the machine.
MAX_BYTES_IN_MEMORY = 2**30
# A window holds images of 256 blocks. Three windows are in memory at a time.
_BLOCK_BYTES = 2**18
_WINDOW_BYTES = 2**26


def batch_order(
    n: int, seed: int, epoch: int, *, block: int | None = None, window: int | None = None
) -> np.ndarray:
    """Return the order of the images in one epoch, a function of the arguments alone.

    Parameters
    ----------
    n : int
        Number of images.
    seed, epoch : int
        Numbers that determine the order; not negative.
    block, window : int, optional
        Numbers of images. Neighbouring images stay together in blocks of the first size, and the blocks are
        put in random order. The images are then shuffled within windows of the second size. By default every
        order of the images is equally likely.

    Returns
    -------
    (n,) int64 array
        Permutation of 0 to n - 1.
    """
    rng = np.random.default_rng((seed, 2, epoch))
    if block is None or window is None:
        return rng.permutation(n)
    starts = block * rng.permutation(-(-n // block))
    order = (starts[:, None] + np.arange(block)).ravel()
    order = order[order < n]  # the last block may be shorter
    for start in range(0, n, window):
        rng.shuffle(order[start : start + window])
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
    """Yield the batches of one epoch; a thread reads them ahead of their use.

    Every order of the images is equally likely, except for a memory map of more than 1 GiB. That is read in
    random order of its blocks of 256 KiB, and the images are shuffled within windows of 64 MiB. The disk is
    then read once, at its full rate, and 200 MB of memory suffice for any number of images.

    Parameters
    ----------
    images : (n, H, W, C) uint8 array
        Images in memory or memory-mapped.
    batch_size : int
        Number of images in a batch.
    seed, epoch : int
        Numbers that determine the order; not negative.
    rows : (m,) array of integers, optional
        Rows of the images to use; by default all. Batches equal those of ``images[rows]``, without the copy.
        Rows must increase if the images are read by blocks.
    n_batches : int, optional
        Number of batches after which to end.
    ahead : int
        Number of batches that are read ahead; for a large memory map a whole window is.

    Yields
    ------
    batch : (batch_size, H, W, C) uint8 array
        Batch of images; the last one of an epoch is filled with some of its own images.
    weight : (batch_size,) float32 array
        Weight of each image: 1, or 0 for the images that only fill the batch.
    """
    n = len(images) if rows is None else len(rows)
    block = window = None
    if isinstance(images, np.memmap) and images.nbytes > MAX_BYTES_IN_MEMORY:
        block = max(_BLOCK_BYTES // images[0].nbytes, 1)
        window = max(_WINDOW_BYTES // (batch_size * images[0].nbytes), 1) * batch_size
    order = batch_order(n, seed, epoch, block=block, window=window)
    if n_batches is not None:
        order = order[: n_batches * batch_size]
    if rows is not None:
        order = np.asarray(rows)[order]
    step = window or batch_size

    def read(start: int) -> np.ndarray:
        index = order[start : start + step]
        return images[index] if block is None else _read(images, index, block)

    for ready in map_ahead(read, range(0, len(order), step), ahead=1 if window else ahead):
        for batch_rows in row_slices(len(ready), batch_size):
            batch = ready[batch_rows]
            weight = (np.arange(batch_size) < len(batch)).astype(np.float32)
            yield np.resize(batch, (batch_size, *batch.shape[1:])) if weight[-1] == 0 else batch, weight


def _read(images: np.ndarray, rows: np.ndarray, near: int) -> np.ndarray:
    """Read ``images[rows]`` from a memory map, in spans that end where the next row is not `near`."""
    by_row = np.argsort(rows)
    runs = np.split(by_row, np.flatnonzero(np.diff(rows[by_row]) > near) + 1)
    spans = [slice(rows[run[0]], rows[run[-1]] + 1) for run in runs]
    # All spans are announced at once, so the disk reads them in parallel and nothing else. Without this, each
    # first touch of a page reads around it as far as the system reads ahead, up to megabytes. That was six
    # times the needed data, at a sixth of the rate.
    for span in spans:
        _announce(images[span])
    out = np.empty((len(rows), *images.shape[1:]), images.dtype)
    for run, span in zip(runs, spans, strict=True):
        out[run] = images[span][rows[run] - span.start]
    return out


def _announce(span: np.ndarray) -> None:
    """Announce to the operating system, if it can be told, that a span of a memory map will be read."""
    mapping = span
    while isinstance(mapping, np.ndarray):
        mapping = mapping.base
    if isinstance(mapping, mmap.mmap) and hasattr(mmap, "MADV_WILLNEED"):
        origin = np.frombuffer(mapping, np.uint8).ctypes.data
        low, high = (address - origin for address in np.lib.array_utils.byte_bounds(span))
        low -= low % mmap.PAGESIZE
        with contextlib.suppress(OSError):  # the system may refuse the advice
            mapping.madvise(mmap.MADV_WILLNEED, low, high - low)
