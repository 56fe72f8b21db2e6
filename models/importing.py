"""Detection of the layouts, sizes and pixel ranges of an autoencoder from another framework.

The arrays of an ONNX model show its layout and sizes. The pixel range is found by encoding and decoding real
images, which a wrong black and white does not reconstruct.
"""

import dataclasses
import itertools
import math
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ellipsoid.checks import check_images, check_matrix
from ellipsoid.models.imported import (
    ImportedAutoencoder,
    ImportedConfig,
    Layout,
    Part,
    PixelRange,
)
from ellipsoid.models.onnx_network import OnnxNetwork, read_onnx
from ellipsoid.pixels import PIXEL_RANGE, check_pixel_range, check_range

#: Usual black and white of trained networks.
RANGES: tuple[PixelRange, ...] = ((0.0, 1.0), (-1.0, 1.0), (0.0, 255.0))

# Numbers of channels that the images of a run may have.
_CHANNELS = (1, 3)
# Number of images from which the pixel range is found.
_N_COMPARED = 32
# Factor by which a second error must exceed the lowest one to be clearly worse.
_CLEARLY = 1.25
# Errors below half a level of uint8 count as equal.
_LEAST_ERROR = 0.5 / 255


def load_onnx(
    encoder: str | os.PathLike[str] | None,
    decoder: str | os.PathLike[str],
    images: np.ndarray | None = None,
    *,
    latents: np.ndarray | None = None,
    pixel_range: PixelRange | None = None,
    input_range: PixelRange | None = None,
) -> ImportedAutoencoder:
    """Load an autoencoder of any framework from ONNX files, to run on the CPU.

    Layout (NCHW or NHWC) and sizes are read from the files. Real images show the pixel range, and which of
    several encoder outputs holds the latents: the choices that reconstruct them best.

    Parameters
    ----------
    encoder : path or None
        ONNX file from images to latents. It may have a fixed batch size, 16-bit numbers, and weights in files
        beside it.
    decoder : path
        ONNX file from latents to images, its first output.
    images : (n, H, W, C) uint8 array, optional
        Real images, at least two; required with an encoder.
    latents : (n, D) array, optional
        Real latents, at least two, for a decoder without an encoder.
    pixel_range : tuple of two float, optional
        Black and white of float images, such as (-1, 1), for the decoder, and for the encoder too unless
        `input_range` is given. By default it is chosen from (0, 1), (-1, 1) and (0, 255).
    input_range : tuple of two float, optional
        Black and white of the encoder's float images.

    Returns
    -------
    ImportedAutoencoder
        Loaded autoencoder.

    Raises
    ------
    FileNotFoundError
        If a file does not exist.
    ImportError
        If ``onnx`` or ``onnxruntime`` is not installed; both are in ``ellipsoid[onnx]``.
    TypeError
        If `images` is not a uint8 array, or a range is not two numbers.
    ValueError
        If a file is not a runnable ONNX model of one array, the models are not an encoder and a decoder of
        such images, the range is missing and cannot be found, a given range is wrong, or a model draws random
        numbers.
    """
    parts = [
        None if path is None else OnnxNetwork(read_onnx(path, name), name)
        for path, name in ((encoder, "encoder"), (decoder, "decoder"))
    ]
    assert parts[1] is not None
    return find_autoencoder(
        parts[0], parts[1], images, latents, pixel_range=pixel_range, input_range=input_range
    ).autoencoder


@dataclass(frozen=True)
class Found:
    """Imported autoencoder, and the quality of its reconstructions.

    Attributes
    ----------
    autoencoder : ImportedAutoencoder
        Autoencoder with the detected layouts and ranges.
    error : float, optional
        Root mean square error of the reconstructions, for pixels in [0, 1].
    mean_error : float, optional
        Root mean square error of the mean image in place of each reconstruction.
    """

    autoencoder: ImportedAutoencoder
    error: float | None = None
    mean_error: float | None = None

    @property
    def text(self) -> str:
        """Detected layouts, sizes and ranges, in one line."""
        autoencoder, config = self.autoencoder, self.autoencoder.config
        colour = "grey" if config.channels == 1 else "colour"
        found = [f"{colour} images of {config.image_size} x {config.image_size} pixels"]
        encoder, decoder = autoencoder.encoder, autoencoder.decoder
        if isinstance(encoder, OnnxNetwork):
            pixels = "uint8" if encoder.dtype == np.uint8 else _interval(config.input_range)
            found.append(f"encoder {config.encoder_layout}, {pixels}")
        if isinstance(decoder, OnnxNetwork):
            pixels = "uint8" if decoder.gives_uint8 else _interval(config.pixel_range)
            found.append(f"decoder {config.decoder_layout}, {pixels}")
        taken = f"{config.latent_dim} latents"
        if isinstance(encoder, OnnxNetwork) and len(encoder.outputs) > 1:
            outputs = ", ".join(encoder.outputs)
            taken += f", the output {config.encoder_output} of {outputs}"
        found.append(taken)
        if self.error is not None:
            found.append(f"root mean square error {self.error:.3g}, of the mean image {self.mean_error:.3g}")
        return "; ".join(found)


def find_autoencoder(
    encoder: Part | None,
    decoder: Part,
    images: np.ndarray | None = None,
    latents: np.ndarray | None = None,
    *,
    pixel_range: PixelRange | None = None,
    input_range: PixelRange | None = None,
) -> Found:
    """Find the layouts, sizes and pixel ranges of an autoencoder, and check them on real images.

    Parameters
    ----------
    encoder : OnnxNetwork, PythonFunction or None
        Encoder, if there is one.
    decoder : OnnxNetwork or PythonFunction
        Decoder.
    images : (n, H, W, C) uint8 array, optional
        Real images; required with an encoder. Up to 32 of them, evenly spaced, are encoded and decoded.
    latents : (n, D) array, optional
        Real latents, for a decoder without an encoder.
    pixel_range : tuple of two float, optional
        Black and white of decoded floats. By default it is the one of [0, 1], [-1, 1] and [0, 255] with the
        lowest reconstruction error, if that is clearly the lowest.
    input_range : tuple of two float, optional
        Black and white of the encoder's float images; by default `pixel_range`.

    Returns
    -------
    Found
        Autoencoder and its errors.

    Raises
    ------
    TypeError
        If `images` is not a uint8 array, or a range is not two numbers.
    ValueError
        If encoder, decoder, images and latents do not fit each other. If a range is needed and cannot be
        found, or another one than the given one reconstructs images clearly better, or none reconstructs them
        better than their mean. If the same rows give other results the second time.
    """
    pixel_range = None if pixel_range is None else check_pixel_range(pixel_range)
    input_range = pixel_range if input_range is None else check_pixel_range(input_range)
    if encoder is None:
        return Found(_decoder_alone(decoder, latents, pixel_range))
    images = check_images("images", images, least=2)
    sample = images[np.unique(np.linspace(0, len(images) - 1, _N_COMPARED).astype(int))]
    errors = _errors(encoder, decoder, sample, pixel_range, input_range)
    mean_error = _root_mean_square(sample / 255 - np.mean(sample / 255, axis=0))
    config = _chosen(errors, mean_error, pixel_range, input_range)
    autoencoder = ImportedAutoencoder(config, encoder, decoder)
    _check_repeatable("encoder", autoencoder.batch_encoder(), sample)
    _check_repeatable("decoder", autoencoder.batch_decoder(), autoencoder.batch_encoder()(sample))
    return Found(autoencoder, errors[config], mean_error)


# --- sizes and layouts -------------------------------------------------------------------------------


def known_image_shape(encoder: Part | None, decoder: Part) -> tuple[int, int] | None:
    """Read the size and the channels of the images from ONNX models; return None for two functions.

    Raises
    ------
    ValueError
        If the images are not square with 1 or 3 channels, or the decoder leaves the number of latents open.
    """
    if isinstance(decoder, OnnxNetwork):
        return _image_shape("decoder", _decoded_dims(decoder))
    if isinstance(encoder, OnnxNetwork) and None not in encoder.dims:
        return _image_shape("encoder", encoder.dims)
    return None


def _image_shape(name: str, dims: tuple[int | None, ...]) -> tuple[int, int]:
    arranged = [dims[-1:] + dims[:-1], dims] if len(dims) == 3 else []
    shapes = {
        (height, channels)
        for channels, height, width in arranged
        if height and height == width and channels in _CHANNELS
    }
    if len(shapes) != 1:
        raise ValueError(
            f"{name}: expected square images, (n, C, H, W) or (n, H, W, C), of 1 or 3 channels; got images "
            f"of shape {_written(dims)}"
        )
    return shapes.pop()


def _decoded_dims(decoder: OnnxNetwork) -> tuple[int, ...]:
    return decoder(np.zeros((1, _latent_dim(decoder))).reshape(1, *decoder.dims)).shape[1:]


def _latent_dim(decoder: OnnxNetwork) -> int:
    sizes = [size for size in decoder.dims if size is not None]
    if len(sizes) < len(decoder.dims):
        raise ValueError(
            f"decoder: expected an input with a fixed number of latents; got shape {_written(decoder.dims)}"
        )
    return math.prod(sizes)


def _layout(name: str, dims: tuple[int | None, ...], shape: tuple[int, ...], default: Layout) -> Layout:
    """Find the layout in which images of a shape have these sizes; return the default if both layouts fit."""
    height, width, channels = shape
    arranged: dict[Layout, tuple[int, ...]] = {
        "NCHW": (channels, height, width),
        "NHWC": (height, width, channels),
    }
    fitting: list[Layout] = [
        layout
        for layout, sizes in arranged.items()
        if len(dims) == 3 and all(a in (None, b) for a, b in zip(dims, sizes, strict=True))
    ]
    if not fitting:
        raise ValueError(
            f"{name}: expected images of {height} x {width} pixels and {channels} channels; got a model for "
            f"images of shape {_written(dims)}"
        )
    return fitting[0] if len(fitting) == 1 else default


def _written(dims: tuple[int | None, ...]) -> str:
    return f"({', '.join(['n', *('?' if size is None else str(size) for size in dims)])})"


# --- ways to use an autoencoder ----------------------------------------------------------------------


def _decoder_alone(
    decoder: Part, latents: np.ndarray | None, pixel_range: PixelRange | None
) -> ImportedAutoencoder:
    if latents is None:
        raise ValueError("encoder: expected an encoder, or latents of real images instead; got neither")
    sample = check_matrix("latents", latents)[:_N_COMPARED].astype(np.float32)
    if isinstance(decoder, OnnxNetwork):
        size, channels = _image_shape("decoder", _decoded_dims(decoder))
        shape = (size, size, channels)
    else:
        shape = np.shape(decoder.function(np.array(sample)))[1:]
    config = _described(None, decoder, shape, sample.shape[1])
    images = ImportedAutoencoder(config, None, decoder).decoded(sample)
    if pixel_range is None and images.dtype != np.uint8:
        raise ValueError(
            "pixel_range: expected black and white of the decoder's images, which can be found only with an "
            f"encoder and real images; got none, and images from {images.min():.4g} to {images.max():.4g}"
        )
    config = dataclasses.replace(config, pixel_range=pixel_range or PIXEL_RANGE)
    check_range(images, config.pixel_range)
    autoencoder = ImportedAutoencoder(config, None, decoder)
    _check_repeatable("decoder", autoencoder.batch_decoder(), sample)
    return autoencoder


def _described(
    encoder: Part | None, decoder: Part, shape: tuple[int, ...], latent_dim: int | None = None
) -> ImportedConfig:
    """Describe layouts and sizes; the number of latents is the decoder's, or else the encoder's."""
    if len(shape) != 3 or shape[0] != shape[1] or shape[2] not in _CHANNELS:
        raise ValueError(f"images: expected square images of 1 or 3 channels; got images of shape {shape}")
    encoder_layout: Layout = "NHWC"
    decoder_layout: Layout = "NHWC"
    if isinstance(decoder, OnnxNetwork):
        decoder_layout = _layout("decoder", _decoded_dims(decoder), shape, decoder_layout)
        given, latent_dim = latent_dim, _latent_dim(decoder)
        if given not in (None, latent_dim):
            raise ValueError(f"latents: expected the decoder's {latent_dim} columns; got {given}")
    if isinstance(encoder, OnnxNetwork):
        encoder_layout = _layout("encoder", encoder.dims, shape, decoder_layout)
    config = ImportedConfig(
        shape[0],
        shape[2],
        latent_dim or 1,
        encoder_layout=encoder_layout,
        decoder_layout=decoder_layout,
    )
    if latent_dim is None:
        assert encoder is not None  # without an encoder, latents are given
        black = ImportedAutoencoder(config, encoder, decoder).encoded(np.zeros((1, *shape), np.uint8))
        config = dataclasses.replace(config, latent_dim=black.shape[1])
    return config


def _errors(
    encoder: Part,
    decoder: Part,
    sample: np.ndarray,
    pixel_range: PixelRange | None,
    input_range: PixelRange | None,
) -> dict[ImportedConfig, float]:
    """Compute the reconstruction errors of some images for each way to use an autoencoder."""
    config = _described(encoder, decoder, sample.shape[1:])
    # A uint8 array needs no range.
    outputs, input_ranges = (None,), (input_range or PIXEL_RANGE,)
    if isinstance(encoder, OnnxNetwork):
        outputs = _fitting_outputs(encoder, decoder, config)
        if encoder.dtype != np.uint8:
            input_ranges = (*input_ranges, *RANGES)
    errors: dict[ImportedConfig, float] = {}
    for output, black_and_white in itertools.product(outputs, dict.fromkeys(input_ranges)):
        one = dataclasses.replace(config, encoder_output=output, input_range=black_and_white)
        autoencoder = ImportedAutoencoder(one, encoder, decoder)
        with np.errstate(over="ignore", invalid="ignore"):  # a wrong range may exceed 16 bits
            images = autoencoder.decoded(autoencoder.encoded(sample))
        is_float = images.dtype != np.uint8
        pixel_ranges = (pixel_range or PIXEL_RANGE, *(RANGES if is_float else ()))
        for black, white in dict.fromkeys(pixel_ranges):
            pixels = (images.astype(np.float64) - black) / (white - black) if is_float else images / 255
            error = _root_mean_square(np.clip(pixels, 0, 1) - sample / 255)
            errors[dataclasses.replace(one, pixel_range=(black, white))] = error
    return errors


def _fitting_outputs(encoder: OnnxNetwork, decoder: Part, config: ImportedConfig) -> tuple[str, ...]:
    """Find the outputs of an encoder that have as many numbers as there are latents."""
    black = np.zeros((1, *config.image_shape), np.uint8)
    sizes = {}
    for output in encoder.outputs:
        one = dataclasses.replace(config, encoder_output=output)
        sizes[output] = ImportedAutoencoder(one, encoder, decoder).encoded(black).shape[1]
    fitting = tuple(output for output in sizes if sizes[output] == config.latent_dim)
    if not fitting:
        got = ", ".join(f"{output} with {size}" for output, size in sizes.items())
        raise ValueError(
            f"encoder: expected an output with the decoder's {config.latent_dim} latents; got {got}"
        )
    return fitting


def _chosen(
    errors: dict[ImportedConfig, float],
    mean_error: float,
    pixel_range: PixelRange | None,
    input_range: PixelRange | None,
) -> ImportedConfig:
    """Choose the given ranges, or those that are clearly the right ones."""
    # Each pair of ranges keeps the one of several outputs that reconstructs images best.
    best: dict[tuple[PixelRange, PixelRange], ImportedConfig] = {}
    for config in sorted(errors, key=errors.__getitem__):
        best.setdefault((config.input_range, config.pixel_range), config)
    first = next(iter(best.values()))
    if errors[first] >= mean_error:
        raise ValueError(
            f"pixel_range: expected reconstructions with an error below {mean_error:.3g}, that of the mean "
            f"image; got {_ways(best.values(), errors)}; check that encoder, decoder and images belong "
            "together, and scale standardised pixels inside the models"
        )
    given = [
        config
        for config in best.values()
        if pixel_range in (None, config.pixel_range) and input_range in (None, config.input_range)
    ]
    chosen, *others = given
    if errors[chosen] > _CLEARLY * max(errors[first], _LEAST_ERROR):
        raise ValueError(
            f"pixel_range: expected the one by which images come back best, {_ways([first], errors)}; got "
            f"{_ways([chosen], errors)}"
        )
    if others and errors[others[0]] <= _CLEARLY * max(errors[chosen], _LEAST_ERROR):
        raise ValueError(
            "pixel_range: expected black and white, such as -1 1, since several fit the images equally well, "
            f"{_ways([chosen, others[0]], errors)}; got none"
        )
    return chosen


def _ways(configs: Iterable[ImportedConfig], errors: dict[ImportedConfig, float]) -> str:
    ways = []
    for config in configs:
        way = f"{errors[config]:.3g} by {_interval(config.pixel_range)}"
        if config.input_range != config.pixel_range:
            way += f" from an input of {_interval(config.input_range)}"
        ways.append(way)
    return ", ".join(ways)


def _interval(pixel_range: PixelRange) -> str:
    return f"[{pixel_range[0]:g}, {pixel_range[1]:g}]"


def _root_mean_square(differences: np.ndarray) -> float:
    error = float(np.sqrt(np.mean(np.square(differences))))
    return error if math.isfinite(error) else math.inf


def _check_repeatable(name: str, function: Callable[[np.ndarray], Any], rows: np.ndarray) -> None:
    """Refuse a model that draws random numbers."""
    first, second = (np.asarray(function(rows), np.float64) for _ in range(2))
    if np.sqrt(np.mean(np.square(first - second))) > 1e-3 * np.std(first):
        raise ValueError(
            f"{name}: expected the same results for the same rows; got others the second time; export it for "
            "inference, without dropout, and with the mean of the latents instead of a draw"
        )
