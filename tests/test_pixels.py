import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ellipsoid.pixels import as_uint8


@pytest.mark.parametrize(
    ("dtype", "convert"),
    [
        (np.float64, np.asarray),
        *(
            (dtype, to)
            for dtype in (np.float32, np.float16, jnp.bfloat16)
            for to in (np.asarray, jnp.asarray)
        ),
    ],
)
def test_every_kind_of_pixel_is_rounded_alike(dtype, convert):
    pixels = np.array([-1e30, -0.1, 0, 0.25, 0.5, 1, 7, 1e30, np.inf, -np.inf, np.nan, 254.5 / 255])
    with np.errstate(over="ignore"):
        pixels = pixels.astype(dtype)
    images = as_uint8(convert(pixels.reshape(1, 3, 4, 1)))
    assert images.dtype == np.uint8
    assert isinstance(images, jax.Array if convert is jnp.asarray else np.ndarray)
    rounded = np.asarray(images).ravel()
    exact = np.round(np.nan_to_num(np.clip(np.asarray(pixels, np.float64), 0, 1)) * 255)
    # float32 holds 254.5 / 255 times 255 to within one unit in the last place of a half.
    np.testing.assert_array_equal(rounded[:-1], exact[:-1])
    assert rounded[-1] in (254, 255)


def test_bytes_stay_and_other_numbers_are_refused():
    images = np.zeros((1, 2, 2, 3), np.uint8)
    assert as_uint8(images) is images
    with pytest.raises(TypeError, match=r"uint8 images or floats in \[0, 1\]; got int32"):
        as_uint8(images.astype(np.int32))
