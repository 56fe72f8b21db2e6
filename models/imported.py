"""Autoencoders of other frameworks, as ONNX models or Python functions, with the interface of our own."""

import dataclasses
import hashlib
import importlib
import os
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from jax.typing import ArrayLike

from ellipsoid.checks import check_choice, check_count, check_images
from ellipsoid.models.onnx_network import OnnxNetwork, read_onnx
from ellipsoid.pixels import PIXEL_RANGE, ImageDecoder, as_uint8, check_pixel_range

Layout = Literal["NCHW", "NHWC"]
PixelRange = tuple[float, float]

#: Environment variable with the modules whose functions a run may call, separated by commas.
TRUSTED_MODULES = "ELLIPSOID_TRUSTED_MODULES"

_FUNCTION = re.compile(r"[^\W\d][\w.]*:[^\W\d][\w.]*")


@dataclass(frozen=True)
class ImportedConfig:
    """Shape of an imported autoencoder, and the form of its arrays.

    Attributes
    ----------
    image_size : int
        Height and width of the images in pixels.
    channels : {1, 3}
        Channels of the images.
    latent_dim : int
        Number of latent dimensions.
    pixel_range : tuple of two float
        Black and white of decoded float images.
    input_range : tuple of two float
        Black and white of the float images that an ONNX encoder takes.
    encoder_layout, decoder_layout : {"NCHW", "NHWC"}
        Order of height, width and channels in the images of ONNX models.
    encoder_output : str, optional
        Name of the ONNX encoder's output with the latents.
    """

    image_size: int
    channels: int
    latent_dim: int
    pixel_range: PixelRange = PIXEL_RANGE
    input_range: PixelRange = PIXEL_RANGE
    encoder_layout: Layout = "NHWC"
    decoder_layout: Layout = "NHWC"
    encoder_output: str | None = None

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of one image."""
        return (self.image_size, self.image_size, self.channels)

    @classmethod
    def from_json(cls, description: dict[str, Any]) -> Self:
        """Make the configuration from the result of `describe_imported`.

        Raises
        ------
        TypeError, ValueError
            If a name is unknown or a value is not allowed.
        """
        config = cls(
            **{name: description[name] for name in description if name not in ("encoder", "decoder")}
        )
        for name in ("image_size", "channels", "latent_dim"):
            check_count(name, getattr(config, name))
        for name in ("encoder_layout", "decoder_layout"):
            check_choice(name, getattr(config, name), ("NCHW", "NHWC"))
        ranges = (check_pixel_range(config.pixel_range), check_pixel_range(config.input_range))
        return dataclasses.replace(config, pixel_range=ranges[0], input_range=ranges[1])


# --- imported parts ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class PythonFunction:
    """Function of a user's module, named ``module:function``.

    Attributes
    ----------
    name : str
        Name of the function, ``module:function``.
    function : callable
        Function itself.
    """

    name: str
    function: Callable[[np.ndarray], ArrayLike]


Part = OnnxNetwork | PythonFunction


def open_part(source: str | os.PathLike[str], name: str) -> Part:
    """Open an encoder or a decoder.

    Parameters
    ----------
    source : path or str
        ONNX file, or the name of a Python function, ``module:function``. The current folder is searched for
        the module too.
    name : {"encoder", "decoder"}
        Name of the argument in messages.

    Raises
    ------
    FileNotFoundError
        If the file does not exist.
    ImportError
        If a package is missing, or the module can't be imported.
    ValueError
        If the file is not an ONNX model that can be run, or the module has no such function.
    """
    text = os.fspath(source)
    if not Path(text).exists() and _FUNCTION.fullmatch(text):
        return PythonFunction(text, _function(text, name))
    return OnnxNetwork(read_onnx(text, name), name)


def _function(text: str, name: str) -> Callable[[np.ndarray], ArrayLike]:
    module_name, _, path = text.partition(":")
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())  # last, so that no module of Python is replaced
    try:
        function: Any = importlib.import_module(module_name)
    except Exception as error:  # code in the module may raise anything
        raise ImportError(
            f"{name}: expected a module that Python finds, in the current folder or on PYTHONPATH; got "
            f"{module_name} ({error})"
        ) from error
    for attribute in path.split("."):
        function = getattr(function, attribute, None)
    if not callable(function):
        raise ValueError(f"{name}: expected a function; got {text}, and {module_name} has none of this name")
    return function  # pyright: ignore[reportReturnType]


# --- the autoencoder ---------------------------------------------------------------------------------


class ImportedAutoencoder:
    """Autoencoder of another framework; `encode_images` and `decode_latents` take it like our own.

    Parameters
    ----------
    config : ImportedConfig
        Shapes and ranges of its arrays.
    encoder : OnnxNetwork, PythonFunction or None
        Encoder; a function takes uint8 images ``(n, H, W, C)`` and returns latents ``(n, D)``.
    decoder : OnnxNetwork or PythonFunction
        Decoder; a function takes float32 latents ``(n, D)`` and returns images ``(n, H, W, C)``, uint8 or
        floats.
    """

    def __init__(self, config: ImportedConfig, encoder: Part | None, decoder: Part):
        self.config, self.encoder, self.decoder = config, encoder, decoder
        self._images = ImageDecoder(self._decoded, config.pixel_range, config.image_shape)

    def encode(self, images: ArrayLike) -> np.ndarray:
        """Encode images.

        Parameters
        ----------
        images : (n, height, width, channels) array
            Images as uint8, or as floats in [0, 1], which are rounded to the levels of uint8.

        Returns
        -------
        (n, latent_dim) float32 array
            Latents.

        Raises
        ------
        TypeError, ValueError
            If the images are invalid, there is no encoder, or its latents have another shape.
        """
        return self.batch_encoder()(np.asarray(as_uint8(images)))

    def decode(self, latents: ArrayLike) -> np.ndarray:
        """Decode latents.

        Parameters
        ----------
        latents : (n, latent_dim) array
            Latents to decode.

        Returns
        -------
        (n, height, width, channels) float32 array
            Images with pixels in [0, 1], each at one of 256 levels.

        Raises
        ------
        TypeError, ValueError
            If the latents have another shape, or the decoder returns invalid images.
        """
        latents = np.asarray(latents, np.float32)
        if latents.ndim != 2 or latents.shape[1] != self.config.latent_dim:
            raise ValueError(f"latents: expected shape (n, {self.config.latent_dim}); got {latents.shape}")
        return self._uint8(latents) / np.float32(255)

    def batch_encoder(self) -> Callable[[np.ndarray], np.ndarray]:
        """Return a function from uint8 images to float32 latents.

        Raises
        ------
        ValueError
            If there is no encoder.
        """
        if self.encoder is None:
            raise ValueError("encoder: expected an autoencoder with an encoder; got a decoder alone")
        return self.encoded

    def batch_decoder(self) -> Callable[[np.ndarray], np.ndarray]:
        """Return a function from latents to uint8 images."""
        return self._uint8

    @property
    def modules(self) -> tuple[str, ...]:
        """Names of the modules that define the functions."""
        functions = [part.name for part in (self.encoder, self.decoder) if isinstance(part, PythonFunction)]
        return tuple(dict.fromkeys(name.partition(":")[0] for name in functions))

    def decoded(self, latents: np.ndarray) -> np.ndarray:
        """Return images ``(n, H, W, C)`` from the decoder: uint8, or floats in its range.

        Raises
        ------
        TypeError, ValueError
            If they are not images of this shape.
        """
        return np.asarray(self._images.decoded(latents))

    @property
    def decoder_digest(self) -> str:
        """Return the SHA-256 of all that decoding depends on; for a function, of the file of its module."""
        total = hashlib.sha256(_content(self.decoder))
        total.update(repr((self.config.decoder_layout, self.config.pixel_range)).encode())
        return total.hexdigest()

    def encoded(self, images: np.ndarray) -> np.ndarray:
        """Encode uint8 images to float32 latents, of whatever size the encoder gives."""
        check_images("images", images, self.config.image_shape)
        if isinstance(self.encoder, OnnxNetwork):
            latents = self.encoder(self._input(images, self.encoder.dtype), self.config.encoder_output)
        else:
            assert self.encoder is not None
            latents = np.asarray(self.encoder.function(np.array(images)))
            if latents.ndim != 2 or len(latents) != len(images):
                raise ValueError(
                    f"encoder: expected latents ({len(images)}, D) for {len(images)} images; got shape "
                    f"{latents.shape}"
                )
        return latents.reshape(len(images), -1).astype(np.float32)

    def _uint8(self, latents: np.ndarray) -> np.ndarray:
        # The range is not checked again: real images were checked at import.
        return np.asarray(as_uint8(self.decoded(latents), self.config.pixel_range))

    def _input(self, images: np.ndarray, dtype: np.dtype) -> np.ndarray:
        if self.config.encoder_layout == "NCHW":
            images = images.transpose(0, 3, 1, 2)
        if dtype == np.uint8:
            return images
        black, white = map(np.float32, self.config.input_range)
        return images / np.float32(255) * (white - black) + black

    def _decoded(self, latents: np.ndarray) -> Any:
        if isinstance(self.decoder, PythonFunction):
            return self.decoder.function(latents)
        images = self.decoder(latents.reshape(len(latents), *self.decoder.dims))
        return images.transpose(0, 2, 3, 1) if self.config.decoder_layout == "NCHW" else images


def _content(part: Part) -> bytes:
    if isinstance(part, OnnxNetwork):
        return part.content
    module = sys.modules.get(part.name.partition(":")[0])
    file = getattr(module, "__file__", None)
    return part.name.encode() + (Path(file).read_bytes() if file else b"")


# --- in a run folder ---------------------------------------------------------------------------------


def describe_imported(autoencoder: ImportedAutoencoder) -> dict[str, Any]:
    """Describe an autoencoder for the configuration of a run: plain values, without the models."""
    parts = {"encoder": autoencoder.encoder, "decoder": autoencoder.decoder}
    return dataclasses.asdict(autoencoder.config) | {
        name: _described_part(part) for name, part in parts.items()
    }


def _described_part(part: Part | None) -> dict[str, str] | None:
    if part is None:
        return None
    if isinstance(part, PythonFunction):
        return {"function": part.name}
    return {"sha256": hashlib.sha256(part.content).hexdigest()}


def load_imported(
    description: dict[str, Any], encoder: str | os.PathLike[str], decoder: str | os.PathLike[str]
) -> ImportedAutoencoder:
    """Load an autoencoder from the description by `describe_imported`.

    Parameters
    ----------
    description : dict
        Result of `describe_imported`.
    encoder, decoder : path
        Files of the ONNX models; not used for functions.

    Returns
    -------
    ImportedAutoencoder
        Loaded autoencoder.

    Raises
    ------
    FileNotFoundError
        If a file is missing.
    ImportError
        If ONNX Runtime is not installed, or the module of a function can't be imported.
    PermissionError
        If ``ELLIPSOID_TRUSTED_MODULES`` does not name the module of a function: a run from someone else could
        call anything.
    TypeError, ValueError
        If the description is damaged, or a model is not the described one.
    """
    config, described = ImportedConfig.from_json(description), description["encoder"]
    return ImportedAutoencoder(
        config,
        None if described is None else _loaded_part(described, Path(encoder), "encoder"),
        _loaded_part(description["decoder"], Path(decoder), "decoder"),
    )


def _loaded_part(described: dict[str, str], path: Path, name: str) -> Part:
    if "function" in described:
        function = described["function"]
        module = function.partition(":")[0]
        if module not in os.environ.get(TRUSTED_MODULES, "").split(","):
            raise PermissionError(
                f"{name}: expected permission to call {function}, the {name} of this run; got none; if you "
                f"trust that module, set {TRUSTED_MODULES}={module}"
            )
        return open_part(function, name)
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != described["sha256"]:
        raise ValueError(f"{name}: expected the model that was imported; got another one in {path}")
    return OnnxNetwork(content, name)
