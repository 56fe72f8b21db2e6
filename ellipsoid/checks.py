"""Checks of arguments: each returns the value it has checked, or raises with the name of the argument."""

import math
import operator
from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike


def check_integer(name: str, value: Any) -> int:
    """Return `value` as an ``int``.

    Raises
    ------
    TypeError
        If it is no integer; a ``bool`` is none.
    """
    try:
        if isinstance(value, bool):
            raise TypeError
        return operator.index(value)
    except TypeError:
        raise TypeError(f"{name}: expected an integer; got {type(value).__name__}") from None


def check_count(name: str, value: Any, least: int = 1) -> int:
    """Return `value` as an ``int`` of at least `least`.

    Raises
    ------
    TypeError
        If it is no integer.
    ValueError
        If it is too small.
    """
    count = check_integer(name, value)
    if count < least:
        raise ValueError(f"{name}: expected at least {least}; got {count}")
    return count


def check_positive(name: str, value: Any) -> float:
    """Return `value` as a finite ``float`` above 0.

    Raises
    ------
    TypeError
        If it is no number.
    ValueError
        If it is not finite, or not above 0.
    """
    number = isinstance(value, int | float | np.number | np.ndarray | jax.Array) and not np.ndim(value)
    if isinstance(value, bool) or not number:
        raise TypeError(f"{name}: expected a number; got {type(value).__name__}")
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"{name}: expected a finite number above 0; got {value}")
    return float(value)


def check_rows(name: str, value: ArrayLike) -> np.ndarray | jax.Array:
    """Return `value` as a finite real matrix; a JAX array stays where it is, anything else becomes NumPy's.

    Raises
    ------
    TypeError
        If it does not hold real numbers.
    ValueError
        If it is not a matrix with one or more columns, holds NaN or infinity, or masks some values.
    """
    value = check_unmasked(name, value)
    rows = value if isinstance(value, jax.Array) else np.asarray(value)
    if not (jnp.issubdtype(rows.dtype, jnp.floating) or jnp.issubdtype(rows.dtype, jnp.integer)):
        raise TypeError(f"{name}: expected real numbers; got {rows.dtype}")
    if rows.ndim != 2 or rows.shape[1] == 0:
        raise ValueError(f"{name}: expected shape (n, D), one latent vector a row; got {rows.shape}")
    xp = jnp if isinstance(rows, jax.Array) else np
    n_bad = int((~xp.isfinite(rows).all(axis=1)).sum())
    if n_bad:
        raise ValueError(
            f"{name}: expected finite values; got NaN or infinity in {n_bad} of {len(rows)} rows"
        )
    return rows


def check_matrix(name: str, value: ArrayLike, least: int = 2, *, n_columns: int | None = None) -> np.ndarray:
    """Return `value` as a finite float32 or float64 NumPy matrix of at least `least` rows.

    Raises
    ------
    TypeError
        If it does not hold real numbers.
    ValueError
        If it is no finite matrix, has too few rows, not `n_columns` columns, or masks some values.
    """
    rows = np.asarray(check_rows(name, value))
    if len(rows) < least:
        raise ValueError(f"{name}: expected at least {least} rows; got shape {rows.shape}")
    if n_columns is not None and rows.shape[1] != n_columns:
        raise ValueError(f"{name}: expected {n_columns} columns; got shape {rows.shape}")
    return rows if rows.dtype in (np.float32, np.float64) else rows.astype(np.float32)


def check_images(
    name: str,
    images: Any,
    shape: tuple[int, ...] | None = None,
    *,
    channels: tuple[int, ...] | None = None,
    least: int = 0,
) -> np.ndarray:
    """Return `images` if they are a uint8 NumPy array of shape ``(n, height, width, channels)``.

    Parameters
    ----------
    name : str
        Name of the argument, for messages.
    images : object
        The value to check.
    shape : tuple of three int, optional
        Height, width and channels that every image must have.
    channels : tuple of int, optional
        Numbers of channels that are allowed; any when absent.
    least : int
        Smallest number of images.

    Raises
    ------
    TypeError
        If they are no uint8 NumPy array.
    ValueError
        If they have another shape, are too few, or mask some values.
    """
    images = check_unmasked(name, images)
    if not isinstance(images, np.ndarray) or images.dtype != np.uint8:
        got = images.dtype if isinstance(images, np.ndarray) else type(images).__name__
        raise TypeError(f"{name}: expected a NumPy array of uint8 images; got {got}")
    allowed = "channels" if channels is None else " or ".join(map(str, channels))
    expected = f"height, width, {allowed}" if shape is None else ", ".join(map(str, shape))
    fits = images.ndim == 4 and shape in (None, images.shape[1:])
    if not fits or (channels is not None and images.shape[3] not in channels):
        raise ValueError(f"{name}: expected shape (n, {expected}); got {images.shape}")
    if len(images) < least:
        raise ValueError(f"{name}: expected at least {least} images; got {len(images)}")
    return images


def check_choice(name: str, value: Any, choices: Iterable[str]) -> str:
    """Return `value` if it is one of the choices.

    Raises
    ------
    ValueError
        If it is not.
    """
    choices = tuple(choices)
    if value not in choices:
        raise ValueError(f"{name}: expected one of {', '.join(choices)}; got {value!r}")
    return value


def check_number(name: str, value: Any, least: float, below: float = math.inf) -> float:
    """Return `value` as a ``float`` from `least` to below `below`.

    Raises
    ------
    TypeError
        If it is no number.
    ValueError
        If it lies elsewhere.
    """
    if not isinstance(value, int | float | np.number | np.ndarray | jax.Array) or np.ndim(value):
        raise TypeError(f"{name}: expected a number; got {type(value).__name__}")
    if not least <= value < below:
        limits = f"finite number of at least {least:g}"
        if below < math.inf:
            limits = f"number from {least:g} to below {below:g}"
        raise ValueError(f"{name}: expected a {limits}; got {value}")
    return float(value)


def check_unmasked(name: str, value: Any) -> Any:
    """Return `value` without a mask, if it masks nothing; what is no masked array is returned as it is.

    NumPy's conversions drop a mask without a word, and bring to light what it hides.

    Raises
    ------
    ValueError
        If some values are masked, in the array or in one of a sequence of arrays.
    """
    arrays = value if isinstance(value, list | tuple) else [value]
    n_masked = sum(int(np.ma.count_masked(array)) for array in arrays if isinstance(array, np.ma.MaskedArray))
    if n_masked:
        raise ValueError(
            f"{name}: expected no masked values; got {n_masked} of them; use .filled() or drop rows"
        )
    return np.asarray(value) if isinstance(value, np.ma.MaskedArray) else value
