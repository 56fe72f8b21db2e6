"""Conversion of a decoder's images into the uint8 images that are stored.

Images are ``(n, H, W, C)``: uint8, or floats with known black and white, 0 and 1 by default. Floats slightly
beyond are clipped, since a decoder without a final sigmoid overshoots. Images of another range would silently
be clipped beyond recognition. The first batch is therefore checked, and refused with a guess at its range.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

#: Default black and white of a decoder that returns floats.
PIXEL_RANGE = (0.0, 1.0)
#: Share of pixels that may exceed black and white by more than the overshoot.
MAX_SHARE_BEYOND = 0.05
#: Overshoot that is always clipped without an error, as a share of the range.
OVERSHOOT = 0.05
#: Allowed numbers of channels: grey, colour, and colour with opacity.
CHANNELS = (1, 3, 4)


@dataclass(eq=False)
class ImageDecoder:
    """Decoder that returns uint8 images: its first batch is checked, and all batches are converted alike.

    Attributes
    ----------
    decode : callable
        Function from latents (n, D) to images (n, H, W, C): uint8, or floats in `pixel_range`. Its argument
        is a new float32 array, which it may overwrite.
    pixel_range : tuple of two float
        Black and white of float images.
    shape : tuple of three int, optional
        Height, width and channels that images must have; by default any height and width, and 1, 3 or 4
        channels.

    Examples
    --------
    >>> import numpy as np
    >>> decoder = ImageDecoder(lambda z: np.tanh(z).reshape(-1, 2, 2, 1), pixel_range=(-1, 1))
    >>> decoder(np.array([[-9.0, 0, 0, 9]])).ravel()
    array([  0, 128, 128, 255], dtype=uint8)
    """

    decode: Callable[[np.ndarray], ArrayLike]
    pixel_range: tuple[float, float] = PIXEL_RANGE
    shape: tuple[int, ...] | None = None
    _is_examined: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        if not callable(self.decode):
            raise TypeError(
                f"decode: expected a function from latents to images; got {type(self.decode).__name__}"
            )
        self.pixel_range = check_pixel_range(self.pixel_range)

    def __call__(self, latents: np.ndarray) -> np.ndarray | jax.Array:
        """Decode latents to uint8 images; a JAX array stays on its device.

        Parameters
        ----------
        latents : array, shape (n, D)
            Latents to decode.

        Returns
        -------
        (n, H, W, C) uint8 array
            Images.

        Raises
        ------
        TypeError
            If the images are neither uint8 nor floats, or not an array.
        ValueError
            If the images have another shape, or the images of the first call have another range.
        """
        images = self.decoded(latents)
        if not self._is_examined:
            check_range(images, self.pixel_range)
            self._is_examined = True
        converted = as_uint8(images, self.pixel_range)
        # This is a copy too: a decoder may use the same memory for its next images.
        return np.array(converted) if converted is images and isinstance(images, np.ndarray) else converted

    def decoded(self, latents: np.ndarray) -> np.ndarray | jax.Array:
        """Decode latents and check the layout of the images only.

        Raises
        ------
        TypeError
            If the images are not an array.
        ValueError
            If the images have another shape.
        """
        # The decoder gets a copy that it may overwrite; PyTorch warns of arrays that it may not.
        images = _as_array(self.decode(np.array(latents, np.float32)))
        self._check_layout(images, len(latents))
        return images

    def _check_layout(self, images: np.ndarray | jax.Array, n: int) -> None:
        got = tuple(images.shape)
        if self.shape is not None:
            expected = f"({', '.join(map(str, (n, *self.shape)))}), as the real ones"
            fits = got == (n, *self.shape)
        else:
            expected = f"({n}, H, W, C) for {n} latents, with 1, 3 or 4 channels"
            fits = len(got) == 4 and got[0] == n and got[3] in CHANNELS and 0 not in got
        if not fits:
            raise ValueError(f"decode: expected images {expected}; got shape {got}{_layout_advice(got)}")


def check_pixel_range(pixel_range: Any) -> tuple[float, float]:
    """Return black and white as two floats.

    Raises
    ------
    TypeError
        If `pixel_range` is not two numbers.
    ValueError
        If the numbers are not finite, or white is not above black.
    """
    try:
        black, white = (float(value) for value in pixel_range)
    except (TypeError, ValueError):
        raise TypeError(
            f"pixel_range: expected two numbers, black and white, such as (-1, 1); got {pixel_range!r}"
        ) from None
    if not (np.isfinite([black, white]).all() and black < white):
        raise ValueError(f"pixel_range: expected finite numbers, with white above black; got {pixel_range!r}")
    return black, white


def check_range(images: np.ndarray | jax.Array, pixel_range: tuple[float, float] = PIXEL_RANGE) -> None:
    """Refuse float images that cannot be in this range: not finite, or with many pixels far beyond it.

    Images in a narrow part of the range are valid, like a dark photograph.

    Raises
    ------
    ValueError
        If a pixel is not finite, or more than 5 % of the pixels exceed the range by more than 5 % of it.
    """
    if not jnp.issubdtype(images.dtype, jnp.floating):
        return
    numbers = np.asarray(images, np.promote_types(images.dtype, np.float32))
    black, white = pixel_range
    range_name = f"[{black:g}, {white:g}]"
    bad = 1 - np.mean(np.isfinite(numbers))
    if bad > 0:
        raise ValueError(
            f"decode: expected floats in {range_name}; got NaN or infinity in {bad:.2g} of the pixels"
        )
    slack = OVERSHOOT * (white - black)
    beyond = np.mean((numbers < black - slack) | (numbers > white + slack))
    if beyond > MAX_SHARE_BEYOND:
        low, high = float(numbers.min()), float(numbers.max())
        raise ValueError(
            f"decode: expected floats in {range_name}; got {low:.4g} to {high:.4g}, {beyond:.0%} of the "
            f"pixels outside; {_range_advice(low, high, pixel_range)}"
        )


def _range_advice(low: float, high: float, pixel_range: tuple[float, float]) -> str:
    """Name the range that such numbers probably have, and how to pass it."""
    for black, white, least_high, looks_like in (
        (0, 1, 0, "floats in [0, 1]"),
        (-1, 1, -1, "the output of tanh"),
        (0, 255, 25, "levels from 0 to 255"),  # the smallest may be any level
    ):
        slack = OVERSHOOT * (white - black)
        fits = black - slack <= low and least_high <= high <= white + slack
        if fits and (black, white) != pixel_range:
            return f"they look like {looks_like}: pass pixel_range=({black}, {white})"
    return "they look like logits or standardised pixels: apply the sigmoid or undo the scaling inside decode"


def _layout_advice(shape: tuple[int, ...]) -> str:
    if len(shape) == 4 and shape[1] in CHANNELS and shape[3] not in CHANNELS:
        return ", which looks like channels first: return images.transpose(0, 2, 3, 1), or permute in PyTorch"
    if len(shape) == 3:
        return ", which looks like grey images without an axis of channels: return images[..., None]"
    if len(shape) == 2:
        return ", which looks like flattened images: return images.reshape(-1, H, W, C)"
    return ""


def _as_array(images: Any) -> np.ndarray | jax.Array:
    if isinstance(images, np.ndarray | jax.Array):
        return images
    try:
        array = np.asarray(images)
    except Exception as error:  # each framework raises its own errors for its tensors
        raise TypeError(
            f"decode: expected an array that NumPy can read; got {type(images).__name__} ({error}); for a "
            "PyTorch tensor, return images.detach().cpu().float().numpy()"
        ) from error
    return array


def as_uint8(images: Any, pixel_range: tuple[float, float] = PIXEL_RANGE) -> np.ndarray | jax.Array:
    """Convert a decoder's images to uint8: floats are rounded and clipped, uint8 images stay.

    A JAX array stays on its device; others become NumPy arrays.

    Parameters
    ----------
    images : array
        Images of a decoder.
    pixel_range : tuple of two float
        Black and white of float images.

    Raises
    ------
    TypeError
        If the images are neither uint8 nor floats.
    """
    on_device = isinstance(images, jax.Array)
    images = images if on_device else np.asarray(images)
    if images.dtype == np.uint8:
        return images
    black, white = pixel_range
    if not jnp.issubdtype(images.dtype, jnp.floating):
        raise TypeError(
            f"decode: expected uint8 images or floats in [{black:g}, {white:g}]; got {images.dtype}"
        )
    if (black, white) != PIXEL_RANGE:
        images = images.astype(np.promote_types(images.dtype, np.float32))
        images = (images - black) / (white - black)
    return _round_on_device(images) if on_device else _round(images, np)


def _round(images: Any, numpy: ModuleType) -> Any:
    # 16-bit floats do not hold 255 steps. NaN has no integer, and fmax turns it into 0.
    numbers = images.astype(numpy.promote_types(images.dtype, numpy.float32))
    return numpy.round(numpy.fmin(numpy.fmax(numbers, 0), 1) * 255).astype(numpy.uint8)


_round_on_device = jax.jit(functools.partial(_round, numpy=jnp))
