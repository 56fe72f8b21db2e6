"""Checks of arguments: each returns the checked value, or raises an error that names the argument."""

import math
import operator
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    # JAX itself is imported where it is used: counts of a command line are checked without it.
    import jax
    from jax.typing import ArrayLike


def check_integer(name: str, value: Any) -> int:
    """Return `value` as an ``int``.

    Raises
    ------
    TypeError
        If `value` is not an integer; a ``bool`` is not one.
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
        If `value` is not an integer.
    ValueError
        If `value` is below `least`.
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
        If `value` is not a number.
    ValueError
        If `value` is not finite, or not above 0.
    """
    if isinstance(value, bool) or not _is_number(value):
        raise TypeError(f"{name}: expected a number; got {type(value).__name__}")
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"{name}: expected a finite number above 0; got {value}")
    return float(value)


def _is_number(value: Any) -> bool:
    if isinstance(value, int | float):
        return True
    import jax

    return isinstance(value, np.number | np.ndarray | jax.Array) and not np.ndim(value)


def check_rows(name: str, value: "ArrayLike") -> "np.ndarray | jax.Array":
    """Return `value` as a finite real matrix: a JAX array stays on its device, others become NumPy arrays.

    Raises
    ------
    TypeError
        If `value` does not hold real numbers.
    ValueError
        If `value` is not a matrix with at least one column, holds NaN or infinity, or has masked values.
    """
    import jax
    import jax.numpy as jnp

    value = check_unmasked(name, value)
    rows = value if isinstance(value, jax.Array) else np.asarray(value)
    if not (jnp.issubdtype(rows.dtype, jnp.floating) or jnp.issubdtype(rows.dtype, jnp.integer)):
        raise TypeError(f"{name}: expected real numbers; got {rows.dtype}")
    if rows.ndim != 2 or rows.shape[1] == 0:
        raise ValueError(f"{name}: expected shape (n, D), one latent vector per row; got {rows.shape}")
    xp = jnp if isinstance(rows, jax.Array) else np
    n_bad = int((~xp.isfinite(rows).all(axis=1)).sum())
    if n_bad:
        raise ValueError(
            f"{name}: expected finite values; got NaN or infinity in {n_bad} of {len(rows)} rows"
        )
    return rows


def check_matrix(
    name: str, value: "ArrayLike", least: int = 2, *, n_columns: int | None = None
) -> np.ndarray:
    """Return `value` as a finite float32 or float64 NumPy matrix of at least `least` rows.

    Raises
    ------
    TypeError
        If `value` does not hold real numbers.
    ValueError
        If `value` is not a finite matrix, has fewer than `least` rows, does not have `n_columns` columns, or
        has masked values.
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
        Name of the argument in messages.
    images : object
        Value to check.
    shape : tuple of three int, optional
        Height, width and channels that every image must have.
    channels : tuple of int, optional
        Allowed numbers of channels; by default any.
    least : int
        Smallest number of images.

    Raises
    ------
    TypeError
        If `images` is not a uint8 NumPy array.
    ValueError
        If `images` has another shape, fewer than `least` images, or masked values.
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
    """Return `value` if it is one of `choices`.

    Raises
    ------
    ValueError
        If `value` is not one of them.
    """
    choices = tuple(choices)
    if value not in choices:
        raise ValueError(f"{name}: expected one of {', '.join(choices)}; got {value!r}")
    return value


def check_number(name: str, value: Any, least: float, below: float = math.inf) -> float:
    """Return `value` as a ``float`` that is at least `least` and below `below`.

    Raises
    ------
    TypeError
        If `value` is not a number.
    ValueError
        If `value` lies outside these limits.
    """
    if not _is_number(value):
        raise TypeError(f"{name}: expected a number; got {type(value).__name__}")
    if not least <= value < below:
        limits = f"finite number of at least {least:g}"
        if below < math.inf:
            limits = f"number from {least:g} to below {below:g}"
        raise ValueError(f"{name}: expected a {limits}; got {value}")
    return float(value)


def check_unmasked(name: str, value: Any) -> Any:
    """Return `value` without a mask if no value is masked; values that are not masked arrays pass unchanged.

    NumPy's conversions silently drop a mask and expose the values under it.

    Raises
    ------
    ValueError
        If some values are masked, in the array or in one of a sequence of arrays.
    """
    arrays = value if isinstance(value, list | tuple) else [value]
    n_masked = sum(int(np.ma.count_masked(array)) for array in arrays if isinstance(array, np.ma.MaskedArray))
    if n_masked:
        raise ValueError(
            f"{name}: expected no masked values; got {n_masked}; fill them with .filled() or drop their rows"
        )
    return np.asarray(value) if isinstance(value, np.ma.MaskedArray) else value
