"""Procedural faces: drawn portraits in which every feature follows one normally distributed factor.

A face is a function of a vector of correlated standard normal factors (`FACTOR_NAMES`, `FACTOR_CORRELATION`).
The images therefore form a smooth manifold with known coordinates.
"""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from ellipsoid.blocks import map_ahead, n_cores, row_slices
from ellipsoid.checks import check_count
from ellipsoid.models.face_factors import FACTOR_CORRELATION as FACTOR_CORRELATION
from ellipsoid.models.face_factors import FACTOR_NAMES as FACTOR_NAMES
from ellipsoid.models.face_factors import FACTOR_ROOT, attributes_of
from ellipsoid.models.portrait import Portrait


def draw_face(factors: Array, size: int) -> Array:
    """Draw one face; this is a pure JAX function, so `jax.vmap` draws many.

    Parameters
    ----------
    factors : Array
        Value for each of `FACTOR_NAMES`, in standard deviations, shape (n_factors,).
    size : int
        Height and width in pixels.

    Returns
    -------
    Array
        Image with values in [0, 1], shape (size, size, 3), float32.

    Raises
    ------
    ValueError
        If `factors` does not have the shape (n_factors,).
    """
    if np.shape(factors) != (len(FACTOR_NAMES),):
        raise ValueError(f"factors: expected shape ({len(FACTOR_NAMES)},), one face; got {np.shape(factors)}")
    return jnp.moveaxis(Portrait(factors, size).painted(), 0, -1)


@dataclass(frozen=True)
class ProceduralFaces:
    """Drawn faces, and their factors.

    Attributes
    ----------
    images : np.ndarray
        sRGB images, shape (n, size, size, 3), uint8.
    factors : np.ndarray
        Standard normal factors with correlation `FACTOR_CORRELATION`, in the order of `FACTOR_NAMES`,
        shape (n, n_factors), float32.
    attributes : dict of str to np.ndarray
        Visible attributes of each face, shape (n,), bool.
    """

    images: np.ndarray
    factors: np.ndarray
    attributes: dict[str, np.ndarray]


def _factors(key: Array, start: ArrayLike, block: int) -> Array:
    """Return the factors (block, n_factors) of the faces from row `start` on."""
    rows = start + jnp.arange(block, dtype=jnp.uint32)
    normals = jax.vmap(lambda row: jr.normal(jr.fold_in(key, row), (len(FACTOR_NAMES),), jnp.float32))(rows)
    return jnp.matmul(normals, FACTOR_ROOT.T, precision=jax.lax.Precision.HIGHEST)


_factors_alone = jax.jit(_factors, static_argnames="block")


@partial(jax.jit, static_argnames=("block", "size"))
def _draw_block(key: Array, start: ArrayLike, block: int, size: int) -> tuple[Array, Array]:
    """Return the factors (block, n_factors) and uint8 planes (block, 3, size, size) from row `start` on."""
    factors = _factors(key, start, block)
    planes = jax.vmap(lambda one: Portrait(one, size).painted())(factors)
    return factors, (255 * planes + 0.5).astype(jnp.uint8)


def procedural_faces(n: int, size: int = 64, *, key: Array) -> ProceduralFaces:
    """Draw colourful portraits from correlated, normally distributed factors.

    Face i depends on the key and i alone, not on n. Its factors do not depend on the size, up to rounding.

    Parameters
    ----------
    n : int
        Number of faces, at least 1.
    size : int, default 64
        Height and width in pixels, at least 16.
    key : Array
        Typed JAX key, such as ``jax.random.key(0)``.

    Returns
    -------
    ProceduralFaces
        Images (n, size, size, 3) as uint8, factors (n, n_factors), and attributes.

    Raises
    ------
    TypeError
        If n or size is not an integer, or the key is not a single typed JAX key.
    ValueError
        If n or size is too small.

    Examples
    --------
    >>> import jax
    >>> faces = procedural_faces(3, size=16, key=jax.random.key(0))
    >>> faces.images.shape, faces.factors.shape
    ((3, 16, 16, 3), (3, 28))
    """
    n, size = check_count("n", n), check_count("size", size, least=16)
    key = _own_key(key)

    # Blocks this small stay in the second-level cache: in blocks of 16, faces of 64 pixels take 2/3 of the
    # time that they take in blocks of 64.
    block = max(1, 2**16 // size**2)
    images = np.empty((n, size, size, 3), np.uint8)
    factors = np.empty((n, len(FACTOR_NAMES)), np.float32)

    def draw(rows: slice) -> None:
        values, planes = map(np.asarray, _draw_block(key, np.uint32(rows.start), block, size))
        factors[rows] = values[: n - rows.start]
        images[rows] = np.moveaxis(planes[: n - rows.start], 1, -1)

    # XLA runs elementwise code on one core, so threads draw the blocks.
    for _ in map_ahead(draw, row_slices(n, block), ahead=2 * n_cores(), workers=n_cores()):
        pass
    return ProceduralFaces(images, factors, attributes_of(factors))


def face_attributes(n: int, *, key: Array) -> dict[str, np.ndarray]:
    """Return the attributes of the faces that :func:`procedural_faces` draws, without drawing them.

    Parameters
    ----------
    n : int
        Number of faces, at least 1.
    key : Array
        Typed JAX key of the faces.

    Returns
    -------
    dict of str to np.ndarray
        Visible attributes of each face, shape (n,), bool.

    Raises
    ------
    TypeError
        If n is not an integer, or the key is not a single typed JAX key.
    ValueError
        If n is too small.

    Examples
    --------
    >>> import jax
    >>> key = jax.random.key(0)
    >>> faces = procedural_faces(3, size=16, key=key)
    >>> bool((face_attributes(3, key=key)["beard"] == faces.attributes["beard"]).all())
    True
    """
    n, key, block = check_count("n", n), _own_key(key), 4096
    blocks = [np.asarray(_factors_alone(key, np.uint32(rows.start), block)) for rows in row_slices(n, block)]
    return attributes_of(np.concatenate(blocks)[:n])


def _own_key(key: Array) -> Array:
    if not (isinstance(key, Array) and jnp.issubdtype(key.dtype, jax.dtypes.prng_key) and key.shape == ()):
        kind = f"{key.dtype} of shape {key.shape}" if isinstance(key, Array) else repr(key)
        raise TypeError(f"key: expected one typed JAX key, such as jax.random.key(0); got {kind}")
    # Any key becomes a threefry key: numbers of the rbg kind depend on the batch in which they are drawn.
    return jr.wrap_key_data(jr.bits(key, (2,), jnp.uint32), impl="threefry2x32")
