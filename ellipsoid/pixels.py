"""Pixels as decoders give them, turned into the uint8 images that are stored and judged."""

import functools
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def as_uint8(images: Any) -> np.ndarray | jax.Array:
    """Images of a decoder as uint8: floats in [0, 1] are rounded and clipped, uint8 stays.

    A JAX array is rounded where it lies; anything else becomes a NumPy array.

    Raises
    ------
    TypeError
        If they are neither uint8 nor floats.
    """
    on_device = isinstance(images, jax.Array)
    images = images if on_device else np.asarray(images)
    if images.dtype == np.uint8:
        return images
    if not jnp.issubdtype(images.dtype, jnp.floating):
        raise TypeError(f"decode: expected uint8 images or floats in [0, 1]; got {images.dtype}")
    return _round_on_device(images) if on_device else _round(images, np)


def _round(images: Any, numpy: ModuleType) -> Any:
    # 16 bits do not hold 255 steps; and fmax takes NaN, which has no integer, to 0.
    numbers = images.astype(numpy.promote_types(images.dtype, numpy.float32))
    return numpy.round(numpy.fmin(numpy.fmax(numbers, 0), 1) * 255).astype(numpy.uint8)


_round_on_device = jax.jit(functools.partial(_round, numpy=jnp))
