"""Nearest training images, to see whether generated ones are copies."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ellipsoid.progress import progress_bar


def nearest(queries: np.ndarray, references: np.ndarray, *, skip_self: bool = False, progress: bool = False):
    """Nearest reference image of each query image.

    Parameters
    ----------
    queries : (m, H, W, C) uint8 array
    references : (n, H, W, C) uint8 array
        May be memory-mapped; read once, in blocks.
    skip_self : bool
        Leave out references at distance 0, such as the query itself.
    progress : bool
        Show a progress bar.

    Returns
    -------
    index : ndarray, shape (m,)
    distance : ndarray, shape (m,)
        Root mean square difference of the pixels, from 0 to 1.
    """
    flat = jnp.asarray(queries.reshape(len(queries), -1), jnp.float32) / 255
    index, square = np.zeros(len(queries), np.int64), np.full(len(queries), np.inf, np.float32)
    with progress_bar("nearest", len(references), enabled=progress, unit="images") as advance:
        for start in range(0, len(references), 2048):
            block = np.asarray(references[start : start + 2048])
            place, found = _nearest(flat, block.reshape(len(block), -1), skip_self)
            closer = np.asarray(found) < square
            index = np.where(closer, start + np.asarray(place), index)
            square = np.where(closer, np.asarray(found), square)
            advance(len(block))
    # Once more without the cancellation of |a|^2 + |b|^2 - 2 a b.
    apart = (queries.astype(np.float32) - references[np.sort(index)][np.argsort(np.argsort(index))]) / 255
    return index, np.sqrt(np.mean(np.square(apart), axis=tuple(range(1, apart.ndim))))


def _nearest(queries, block, skip_self):
    block = block.astype(jnp.float32) / 255
    squares = (
        jnp.sum(queries**2, axis=1)[:, None]
        + jnp.sum(block**2, axis=1)[None, :]
        - 2 * jnp.matmul(queries, block.T, precision=lax.Precision.HIGHEST)
    )
    if skip_self:
        # Half a grey level in every pixel is far above rounding and far below any other image.
        squares = jnp.where(squares < queries.shape[1] * (0.5 / 255) ** 2, jnp.inf, squares)
    return jnp.argmin(squares, axis=1), jnp.min(squares, axis=1)


_nearest = jax.jit(_nearest, static_argnums=2)
