import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ellipsoid.pixels import ImageDecoder, as_uint8


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


# --- the contract of decoders ----------------------------------------------------------------------


def legal(n=64, size=8, channels=3):
    """Give images in [0, 1] in the form of a decoder, and latents for them."""
    pixels = np.random.default_rng(0).uniform(0, 1, (n, size, size, channels)).astype(np.float32)
    return np.zeros((n, 2)), pixels


def decoded(images, n=64, **options):
    return ImageDecoder(lambda z: images, **options)(np.zeros((n, 2)))


@pytest.mark.parametrize("convert", [np.asarray, jnp.asarray])
@pytest.mark.parametrize(
    ("low", "high"),
    [(0, 1), (0.49, 0.5), (0, 0.003), (-0.05, 1.05), (0.999, 1)],
)
def test_legal_images_keep_their_bits(low, high, convert):
    images = convert(low + (high - low) * legal()[1])
    np.testing.assert_array_equal(decoded(images), as_uint8(images))


def test_overshoot_is_clipped():
    images = legal()[1]
    images.reshape(-1)[::25] = 1.5  # 4 % of the pixels
    images.reshape(-1)[1::200] = -3
    np.testing.assert_array_equal(decoded(images), as_uint8(images))
    images.reshape(-1)[2::25] = -0.1
    with pytest.raises(
        ValueError, match=r"decode: expected floats in \[0, 1\]; got -3 to 1.5, [89]% of the p"
    ):
        decoded(images)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (lambda x: 2 * x - 1, r"got .* to 1, .*% of the pixels outside; they look like the output "
         r"of tanh: pass pixel_range=\(-1, 1\)"),
        (lambda x: 255 * x, r"got .* to 25., .*like levels from 0 to 255: pass pixel_range=\(0, 255\)"),
        (lambda x: 20 * x - 10, "they look like logits or standardised pixels: apply the sigmoid or undo"),
        (lambda x: np.where(x < 0.001, np.nan, x), r"in \[0, 1\]; got NaN or infinity in 0.00\d+ of the pix"),
        (lambda x: np.full_like(x, np.inf), "got NaN or infinity in 1 of the pixels"),
        (lambda x: x.transpose(0, 3, 1, 2), r"\(64, 3, 8, 8\), which looks like channels first: return"),
        (lambda x: x[..., 0], r"\(64, 8, 8\), which looks like grey images without an axis of channels"),
        (lambda x: x.reshape(64, -1), r"\(64, 192\), which looks like flattened images"),
        (lambda x: x[..., :2], r"expected images \(64, H, W, C\) for 64 latents, with 1, 3 or 4 channels"),
        (lambda x: x[1:], r"expected images \(64, H, W, C\) for 64 latents"),
        (lambda x: x[:, :0], "expected images"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("convert", [np.asarray, jnp.asarray])
def test_other_images_are_refused_with_what_they_look_like(images, message, convert):
    with pytest.raises(ValueError, match=message):
        decoded(convert(images(legal()[1])))


@pytest.mark.parametrize("dtype", [np.float64, np.float32, jnp.bfloat16])
@pytest.mark.parametrize(("black", "white"), [(-1, 1), (0, 255), (-3.5, 0.25)])
def test_a_range_that_is_said_is_kept(black, white, dtype):
    levels = np.arange(256).reshape(4, 8, 8, 1)
    images = (black + levels / 255 * (white - black)).astype(dtype)
    got = decoded(images, 4, pixel_range=(black, white))
    # bfloat16 has only 8 bits.
    assert np.abs(got.astype(int) - levels).max() <= (
        2 if dtype == jnp.bfloat16 and black else dtype == jnp.bfloat16
    )
    assert got.dtype == np.uint8


def test_a_wrong_range_that_is_said_is_told_too():
    images = legal()[1]
    with pytest.raises(ValueError, match=r"in \[-1, 1\]; got .* look like levels from 0 to 255"):
        decoded(255 * images, pixel_range=(-1, 1))
    for value, error in (((1, 0), ValueError), ((0, np.inf), ValueError), (3, TypeError), ("ab", TypeError)):
        with pytest.raises(error, match=r"^pixel_range: expected"):
            ImageDecoder(abs, pixel_range=value)
    with pytest.raises(TypeError, match=r"^decode: expected a function"):
        ImageDecoder(None)


def test_what_is_no_array_is_refused_in_words_of_this_package():
    class Tensor:
        def __array__(self, *_, **__):
            raise RuntimeError("Can't call numpy() on Tensor that requires grad.")

    with pytest.raises(TypeError, match=r"^decode: .*got Tensor \(Can't.*return images.detach\(\).cpu\(\)"):
        decoded(Tensor())


def test_only_the_first_batch_is_examined_and_the_images_are_a_copy():
    buffer = np.zeros((2, 4, 4, 1), np.uint8)
    seen = []

    def decode(z):
        seen.append(z.dtype)
        z += 1
        buffer[:] = len(seen)
        return buffer if len(seen) < 3 else np.full(buffer.shape, 9.0)

    decoder, latents = ImageDecoder(decode), np.zeros((2, 3))
    first, second, third = decoder(latents), decoder(latents), decoder(latents)
    assert [image.max() for image in (first, second, third)] == [1, 2, 255]
    assert set(seen) == {np.dtype(np.float32)}
    assert not latents.any()
