"""Nearest training images, to see whether generated ones are copies."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax


def nearest(
    queries: np.ndarray,
    references: np.ndarray,
    count: int = 1,
) -> tuple[np.ndarray, np.ndarray]:
    """Find the nearest reference images of each query image.

    Parameters
    ----------
    queries : (m, H, W, C) uint8 array
    references : (n, H, W, C) uint8 array
        May be memory-mapped; read once, in blocks.
    count : int
        How many, nearest first.

    Returns
    -------
    index : ndarray, shape (m, count)
    distance : ndarray, shape (m, count)
        Root mean square difference of the pixels, from 0 to 1.

    Raises
    ------
    ValueError
        If the images differ in shape, or `count` is not between 1 and n.
    """
    if queries.shape[1:] != references.shape[1:]:
        raise ValueError(f"queries: expected images of shape {references.shape[1:]}; got {queries.shape[1:]}")
    if not 1 <= count <= len(references):
        raise ValueError(f"count: expected 1 to {len(references)}, the number of references; got {count}")
    flat = jnp.asarray(queries.reshape(len(queries), -1), jnp.float32) / 255
    index, square = np.zeros((len(queries), 0), np.int64), np.zeros((len(queries), 0), np.float32)
    for start in range(0, len(references), _BLOCK):
        block = np.asarray(references[start : start + _BLOCK])
        place, found = _nearest(flat, block.reshape(len(block), -1), min(count, len(block)))
        index = np.concatenate([index, start + np.asarray(place)], axis=1)
        square = np.concatenate([square, np.asarray(found)], axis=1)
        best = np.argsort(square, axis=1, kind="stable")[:, :count]
        index = np.take_along_axis(index, best, axis=1)
        square = np.take_along_axis(square, best, axis=1)
    # Once more without the cancellation of |a|^2 + |b|^2 - 2 a b.
    apart = (queries[:, None].astype(np.float32) - references[index]) / 255
    return index, np.sqrt(np.mean(np.square(apart), axis=tuple(range(2, apart.ndim))))


_BLOCK = 2048


def _nearest(queries, block, count):
    block = block.astype(jnp.float32) / 255
    squares = (
        jnp.sum(queries**2, axis=1)[:, None]
        + jnp.sum(block**2, axis=1)[None, :]
        - 2 * jnp.matmul(queries, block.T, precision=lax.Precision.HIGHEST)
    )
    negative, place = lax.top_k(-squares, count)
    return place, -negative


_nearest = jax.jit(_nearest, static_argnums=2)
