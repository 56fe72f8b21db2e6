"""The vision transformer that DINOv2 and CLIP are: patches, a class token, and blocks of attention.

An image is cut into square patches, each of which a matrix maps to one token (Dosovitskiy et al., 2021). A
class token is put before them, and a vector for its position is added to each token. Each block adds to the
tokens what they gather from each other (attention), and then what two matrices make of each of them. Both
start from normed tokens. The features are the class token after the last block.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

#: Columns of each head of attention, in all published sizes.
HEAD = 64


def class_token(
    network: dict[str, Any], pixels: Array, activation: Callable[[Array], Array], epsilon: float
) -> Array:
    """Give the features of images.

    Parameters
    ----------
    network : dict
        Float32 arrays: ``patches`` `(patch, patch, 3, width)`, ``class`` `(1, 1, width)`, ``positions``
        `(1, tokens, width)`, ``blocks`` and ``after``, and optionally ``patches_bias``, ``before`` and
        ``projection`` `(width, columns)`. The norms ``before`` and ``after`` are pairs of factors and
        summands, and the layers within blocks pairs of a matrix and a bias. Vectors have two axes of length 1
        in front; all arrays of the blocks have one more, for the number of the block.
    pixels : (n, side, side, 3) array
        Normed pixels; the side is a multiple of the patch's.
    activation : callable
        Function between the two matrices of a block.
    epsilon : float
        Number that is added to the variances of the norms.

    Returns
    -------
    (n, width) array, or (n, columns) array with a projection
    """

    def normed(x: Array, norm: tuple[Array, Array]) -> Array:
        x = x - x.mean(axis=-1, keepdims=True)
        return x * lax.rsqrt((x**2).mean(axis=-1, keepdims=True) + epsilon) * norm[0] + norm[1]

    def block(x: Array, weights: dict[str, Any]) -> tuple[Array, None]:
        y = normed(x, weights["norm1"])
        y = _attention(*(_mapped(y, weights[name]) for name in ("query", "key", "value")))
        x = x + _mapped(y, weights["out"]) * weights.get("scale1", 1)
        y = _mapped(activation(_mapped(normed(x, weights["norm2"]), weights["widen"])), weights["narrow"])
        return x + y * weights.get("scale2", 1), None

    # Elsewhere than on a CPU, products of float32 are by default rounded to far fewer digits.
    with jax.default_matmul_precision("highest"):
        x = _tokens(pixels, network["patches"]) + network.get("patches_bias", 0)
        x = jnp.concatenate([jnp.broadcast_to(network["class"], (len(x), 1, x.shape[2])), x], axis=1)
        x = x + network["positions"]
        if "before" in network:
            x = normed(x, network["before"])
        # One block is compiled, whatever their number.
        x, _ = lax.scan(block, x, network["blocks"])
        x = normed(x[:, :1], network["after"])
        return (x @ network["projection"] if "projection" in network else x)[:, 0]


def _mapped(x: Array, layer: tuple[Array, Array]) -> Array:
    matrix, bias = layer
    return x @ matrix + bias


def _attention(*columns: Array) -> Array:
    """Give each token the mean of all values, weighted by how its query fits their keys, head by head.

    Parameters
    ----------
    *columns : (n, tokens, width) arrays
        Queries, keys and values.
    """
    n, tokens, width = columns[0].shape

    def head(query: Array, key: Array, value: Array) -> Array:
        return jax.nn.softmax(query @ key.T / HEAD**0.5, axis=-1) @ value

    heads = [x.reshape(n, tokens, -1, HEAD).swapaxes(1, 2).reshape(-1, tokens, HEAD) for x in columns]
    # On a CPU, the weights of one head stay in the cache: jax.nn.dot_product_attention takes four times as
    # long for 577 tokens.
    x = lax.platform_dependent(
        *heads, cpu=lambda *heads: lax.map(lambda at_once: head(*at_once), heads), default=jax.vmap(head)
    )
    return x.reshape(n, -1, tokens, HEAD).swapaxes(1, 2).reshape(n, tokens, width)


def _tokens(pixels: Array, kernel: Array) -> Array:
    """Map each patch to a token `(n, patches, width)`: a convolution whose steps are its own size."""
    patch, width = kernel.shape[0], kernel.shape[3]
    n, side = pixels.shape[0], pixels.shape[1] // patch
    x = pixels.reshape(n, side, patch, side, patch, 3).transpose(0, 1, 3, 2, 4, 5)
    return x.reshape(n, side * side, -1) @ kernel.reshape(-1, width)


def resampled(positions: np.ndarray, side: int, offset: float) -> np.ndarray:
    """Interpolate vectors of positions on a square grid for another number of patches.

    The interpolation is PyTorch's bicubic one, without antialiasing: cubic convolution (Keys, 1981) with a
    slope of -0.75, which repeats the outermost vectors beyond the border.

    Parameters
    ----------
    positions : (grid, grid, width) array
    side : int
        Number of patches along a side.
    offset : float
        Part of a patch that is added to the side when the scale is computed.

    Returns
    -------
    (side, side, width) array
    """
    grid = len(positions)
    centres = (np.arange(side) + 0.5) * grid / (side + offset) - 0.5
    first = np.floor(centres).astype(int)
    matrix = np.zeros((side, grid))
    for step in range(-1, 3):
        weights = _keys(np.abs(centres - (first + step)))
        np.add.at(matrix, (np.arange(side), np.clip(first + step, 0, grid - 1)), weights)
    return np.einsum("ia,jb,abw->ijw", matrix, matrix, positions, optimize=True)


def _keys(x: np.ndarray, slope: float = -0.75) -> np.ndarray:
    near = ((slope + 2) * x - (slope + 3)) * x**2 + 1
    far = slope * (((x - 5) * x + 8) * x - 4)
    return np.where(x <= 1, near, far)
