"""The resize that published figures are made with: Pillow's bicubic one, with antialiasing."""

import numpy as np
from numpy.typing import DTypeLike
from PIL import Image


def resized(images: np.ndarray, side: int, dtype: DTypeLike = np.uint8) -> np.ndarray:
    """Resize images to squares in colour; each channel by itself, which grey ones repeat.

    Parameters
    ----------
    images : (n, height, width, 1 or 3) uint8 array
    side : int
        Height and width of the result. Images that are not square are squeezed.
    dtype : {uint8, float32}
        Type of the levels. With uint8, the result of each of the two passes is rounded. With float32 nothing
        is rounded, as in clean-fid (Parmar et al., 2022).

    Returns
    -------
    (n, side, side, 3) array
        Levels from 0 to 255 of this type; a read-only view for grey images.
    """
    out = np.empty((len(images), side, side, images.shape[3]), dtype)
    for image, result in zip(images, out, strict=True):
        for channel in range(images.shape[3]):
            levels = Image.fromarray(image[..., channel].astype(dtype))
            result[..., channel] = levels.resize((side, side), Image.Resampling.BICUBIC)
    return np.broadcast_to(out.clip(0, 255, out=out), (*out.shape[:3], 3))


def centred_squares(images: np.ndarray) -> np.ndarray:
    """Crop the largest centred square of each image `(n, height, width, channels)`."""
    height, width = images.shape[1:3]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return images[:, top : top + side, left : left + side]
