"""How unlike images look to a network that was trained on photographs: a loss beside the squared error.

The mean of a blurred set has a low squared error, and so a decoder that is unsure of an edge blurs it. The
early layers of a network that tells objects apart respond to edges and texture, wherever they are sharp.
"""

from typing import Any

import jax.numpy as jnp
from jax import Array, lax

from ellipsoid.models.features.efficientnet import EfficientNetFeatures

# At 1/2, 1/4, 1/8 and 1/16 of the sides. The last one, at 1/32, has no more than 4 pixels of a small image.
_DEPTHS = 4


def perceptual_errors(network: dict[str, Any], images: Array, others: Array) -> Array:
    """Squared difference of what EfficientNet-Lite0 sees in images and in others, at four depths.

    At each pixel of a depth, the channels are divided by their Euclidean norm, so that all depths weigh alike
    (Zhang et al., 2018). Squared differences are summed over channels, and averaged over pixels and depths.
    The images keep their size, which costs least.

    Parameters
    ----------
    network : dict
        Layers of the network, as :class:`~ellipsoid.models.features.EfficientNetFeatures` holds them.
    images, others : (n, height, width, 1 or 3) array
        Pixels in [0, 1].

    Returns
    -------
    (n,) array
        Error of each pair, from 0 to 4.
    """
    see = EfficientNetFeatures(network).stages
    pairs = list(zip(see(images), see(others), strict=True))[:_DEPTHS]
    return sum((_error(*pair) for pair in pairs), jnp.zeros(len(images))) / _DEPTHS


def _error(a: Array, b: Array) -> Array:
    apart = jnp.square(_normalised(a) - _normalised(b))
    return jnp.mean(jnp.sum(apart, axis=3), axis=(1, 2))


def _normalised(features: Array) -> Array:
    # The small number keeps the gradient finite where all channels are zero.
    return features * lax.rsqrt(jnp.sum(jnp.square(features), axis=3, keepdims=True) + 1e-6)
