import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from ellipsoid.models import Autoencoder, AutoencoderConfig, decode_function, decode_latents, encode_images
from ellipsoid.models import autoencoder as module

CONFIG = AutoencoderConfig(image_size=12, filters=(4, 8), latent_dim=5)


@pytest.fixture(scope="module")
def autoencoder():
    return Autoencoder(CONFIG, rngs=nnx.Rngs(0))


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (40, *CONFIG.image_shape), np.uint8)


@pytest.fixture(scope="module")
def latents():
    return np.random.default_rng(1).normal(size=(40, CONFIG.latent_dim)).astype(np.float32)


# 28 -> 14 -> 7 -> 4 and 13 -> 7 -> 4 -> 2: the decoder has to hit odd sizes on its way back.
@pytest.mark.parametrize(
    "image_size",
    [9, 16, *(pytest.param(n, marks=pytest.mark.slow) for n in (8, 13, 10, 11, 12, 14, 15, 17, 18, 28))],
)
@pytest.mark.parametrize("kernel_size", [3, 4, *(pytest.param(k, marks=pytest.mark.slow) for k in (2, 5))])
def test_any_size_comes_back(image_size, kernel_size):
    config = AutoencoderConfig(
        image_size, channels=1, filters=(2, 3, 4), latent_dim=6, kernel_size=kernel_size
    )
    shape = (2, image_size, image_size, 1)

    def there_and_back(images, autoencoder=None):
        autoencoder = autoencoder or Autoencoder(config, rngs=nnx.Rngs(0))
        latents = autoencoder.encode(images)
        return latents, autoencoder.decode(100 * latents)

    latents, decoded = jax.eval_shape(there_and_back, jax.ShapeDtypeStruct(shape, np.float32))
    assert latents.shape == (2, 6)
    assert decoded.shape == shape
    if (image_size, kernel_size) in ((13, 3), (28, 4)):
        pixels = np.random.default_rng(0).random(shape, np.float32)
        autoencoder = Autoencoder(config, rngs=nnx.Rngs(0))
        _, decoded = jax.jit(lambda pixels: there_and_back(pixels, autoencoder))(pixels)
        assert decoded.shape == shape
        assert decoded.min() >= 0
        assert decoded.max() <= 1


def test_celeba_is_four_and_four_layers():
    config = AutoencoderConfig.celeba()
    shapes = nnx.eval_shape(lambda: Autoencoder(config, rngs=nnx.Rngs(0)))
    widths = (3, 32, 64, 128, 256)
    assert config.image_shape == (64, 64, 3)
    assert [layer.kernel.shape[2:] for layer in shapes.encoder.convolutions] == [
        (3, 32), (32, 64), (64, 128), (128, 256)
    ]  # fmt: skip
    assert [layer.kernel.shape[3] for layer in shapes.decoder.convolutions] == list(widths[3::-1])
    assert shapes.encoder.to_latent.kernel.shape == (4 * 4 * 256, 256)
    assert shapes.decoder.from_latent.kernel.shape == (256, 4 * 4 * 256)


@pytest.mark.slow
def test_the_activation_and_the_norm_matter(images):
    x = images[:2] / np.float32(255)
    settings = [{"activation": name} for name in ("relu", "leaky_relu", "elu", "gelu", "silu")]
    outputs = []
    for setting in (*settings, {"norm": "group"}):
        network = Autoencoder(AutoencoderConfig(12, 3, (4,), 5, **setting), rngs=nnx.Rngs(0))
        outputs.append(np.asarray(jax.jit(lambda x, network=network: network(x))(x)))
    assert np.isfinite(outputs).all()
    assert len({output.tobytes() for output in outputs}) == 6


def test_latents_do_not_depend_on_the_batch(autoencoder, images):
    expected = np.asarray(jax.jit(lambda x: autoencoder.encode(x))(images / np.float32(255)))
    for batch_size in (16, 64):
        latents = encode_images(autoencoder, images, batch_size=batch_size)
        assert latents.dtype == np.float32
        np.testing.assert_allclose(latents, expected, rtol=1e-4, atol=1e-5)
    # Within one batch size a row keeps its bits, wherever it stands in the batch.
    np.testing.assert_array_equal(
        encode_images(autoencoder, images[5:], batch_size=16),
        encode_images(autoencoder, images, batch_size=16)[5:],
    )
    assert encode_images(autoencoder, images[:0]).shape == (0, 5)


def test_pixels_are_rounded_and_never_wrap(autoencoder, latents):
    decode = jax.jit(lambda z: autoencoder.decode(z))
    expected = np.round(np.asarray(decode(latents), np.float64) * 255)
    decoded = decode_latents(autoencoder, latents, batch_size=16)
    assert decoded.dtype == np.uint8
    # A value at .5 may be rounded either way; none may be further off.
    assert np.max(np.abs(decoded.astype(int) - expected)) <= 1
    assert np.mean(decoded != expected) < 0.001
    extreme = decode_latents(autoencoder, 1e6 * latents)
    bright = np.asarray(decode(1e6 * latents)) > 0.999
    assert bright.any()
    assert (extreme[bright] == 255).all()


def test_another_number_of_rows_compiles_nothing(autoencoder, images, latents):
    encode_images(autoencoder, images, batch_size=8)
    decode_latents(autoencoder, latents, batch_size=8)
    before = module._encode_uint8._cache_size(), module._decode_uint8._cache_size()
    for n in (1, 7, 8, 9, 40):
        encode_images(autoencoder, images[:n], batch_size=8)
        decode_latents(autoencoder, latents[:n], batch_size=8)
    encode_images(Autoencoder(CONFIG, rngs=nnx.Rngs(1)), images, batch_size=8)
    assert (module._encode_uint8._cache_size(), module._decode_uint8._cache_size()) == before


def test_the_decode_function_is_pure(latents):
    autoencoder = Autoencoder(CONFIG, rngs=nnx.Rngs(0))
    decode = decode_function(autoencoder)
    expected = np.asarray(jax.jit(lambda z: autoencoder.decode(z))(latents))
    nnx.update(autoencoder, jax.tree.map(jnp.zeros_like, nnx.state(autoencoder)))
    np.testing.assert_allclose(decode(latents), expected, atol=1e-6)
    # The weights are an argument like any array, and no constants of the program.
    through = jax.jit(lambda decode, z: decode(z))
    np.testing.assert_allclose(through(decode, latents), expected, atol=1e-6)
    through(decode_function(autoencoder), latents)
    assert through._cache_size() == 1


def test_config_survives_json():
    config = AutoencoderConfig(image_size=28, channels=1, filters=(8, 16), kernel_size=4, norm="group")
    assert AutoencoderConfig.from_json(json.loads(json.dumps(config.to_json()))) == config
    with pytest.raises(ValueError, match=r"autoencoder configuration: .*colour"):
        AutoencoderConfig.from_json({"colour": 3})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"image_size": 15}, "image_size: expected at least 16 pixels for 4 layers .* got 15; use larger"),
        ({"image_size": 0}, "image_size: .*at least 1; got 0"),
        ({"image_size": 32.0}, "image_size: expected an integer; got float"),
        ({"channels": 0}, "channels"),
        ({"latent_dim": True}, "latent_dim"),
        ({"kernel_size": 1}, "kernel_size: .*at least 2; got 1"),
        ({"filters": ()}, r"filters: expected a tuple .* got \(\)"),
        ({"filters": (8, -1)}, "filters: .*got -1"),
        ({"filters": 8}, "filters: expected a tuple .* got 8"),
        ({"activation": "rleu"}, "activation: expected one of .*relu.* got 'rleu'"),
        ({"norm": None}, "norm: expected one of .*none.* got None"),
    ],
)
def test_bad_settings_are_refused_in_one_line(settings, message):
    with pytest.raises((ValueError, TypeError), match=message) as error:
        AutoencoderConfig(**settings)
    assert "\n" not in str(error.value)


def test_bad_input_is_refused(autoencoder, images, latents):
    with pytest.raises(TypeError, match="images: expected a NumPy array of uint8 images; got float"):
        encode_images(autoencoder, images / 255)
    with pytest.raises(ValueError, match=r"images: expected shape \(n, 12, 12, 3\).* got \(40, 6, 12, 3\)"):
        encode_images(autoencoder, images[:, ::2])
    with pytest.raises(ValueError, match=r"images: expected shape \(n, 12, 12, 3\); got \(12, 12, 3\)"):
        autoencoder.encode(images[0] / np.float32(255))
    for decode in (autoencoder.decode, lambda z: decode_latents(autoencoder, z)):
        with pytest.raises(ValueError, match=r"latents: expected shape \(n, 5\); got \(40, 4\)"):
            decode(latents[:, :4])
    with pytest.raises(ValueError, match=r"latents: expected finite numbers; .* rows 0:40"):
        decode_latents(autoencoder, np.where(latents > 1, np.nan, latents))
    with pytest.raises(ValueError, match="batch_size: expected at least 1; got 0"):
        encode_images(autoencoder, images, batch_size=0)
    with pytest.raises(ValueError, match="batch_size: expected at least 1; got 0"):
        decode_latents(autoencoder, latents, batch_size=0)
