"""Stride-2 convolution and transposed convolution, in the form that is fast on the present backend.

Both work on images `(n, height, width, channels)` with kernels `(kernel_height, kernel_width, in, out)`, and
pad like `padding="SAME"` in Flax and Keras. They take the parameters of the stock layers `flax.nnx.Conv` and
`flax.nnx.ConvTranspose` with `strides=(2, 2)`, and give the same result.

With `low` zeros of padding in front, the convolution along one axis is

    y[i] = sum_t x[2 i + t - low] kernel[t]

and the transposed convolution is its adjoint: `x` and `y` change places and the kernel is flipped. Each is
therefore the derivative of the other with respect to its images, and three forms serve both layers on a CPU:

- the *patch form* of the convolution: all patches side by side in one matrix, then one matrix product;
- the *phase form* of the transposed one: even and odd output pixels see different taps of the kernel, and
  each of the 2 x 2 phases is an ordinary convolution of the small images with its own taps, so no product
  with an inserted zero is ever formed;
- the derivative with respect to the kernel: the transposed patch matrix times the other images.

XLA's own derivatives of these operations are slow on a CPU: a training step with the stock layers takes
several times as long (`benchmarks/autoencoder.py`). Other platforms use the native operations.
"""

import math
from functools import partial

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array, lax

# He et al. 2015: variance 2 / fan-in.
he_normal = jax.nn.initializers.he_normal()
# A pixel of the transposed convolution sees a quarter of the taps: variance 2 / (fan-in / 4). Compared with
# the initial values of the stock layers, this lowered the error after 700 steps by 15 to 25 % at 32 pixels.
_he_normal_transposed = jax.nn.initializers.variance_scaling(8.0, "fan_in", "truncated_normal")

_LAYOUT = ("NHWC", "HWIO", "NHWC")


class StridedConvolution(nnx.Module):
    """Layer `strided_convolution` with a bias, and with the parameters of `flax.nnx.Conv`.

    Parameters
    ----------
    in_features, out_features : int
        Numbers of channels before and after.
    kernel_size : int
        Height and width of the kernel, at least 2.
    rngs : nnx.Rngs
        Random generator of the initial kernel, He et al. (2015); the bias starts at zero.
    """

    def __init__(self, in_features: int, out_features: int, kernel_size: int, *, rngs: nnx.Rngs):
        shape = (kernel_size, kernel_size, in_features, out_features)
        self.kernel = nnx.Param(_drawn(he_normal, shape, rngs))
        self.bias = nnx.Param(jnp.zeros(out_features, jnp.float32))

    def __call__(self, images: Array) -> Array:
        """Map `(n, height, width, in)` to `(n, ceil(height / 2), ceil(width / 2), out)`."""
        return strided_convolution(images, self.kernel[...]) + self.bias[None, None, None]


class TransposedConvolution(nnx.Module):
    """Layer `transposed_convolution` with a bias, and with the parameters of `flax.nnx.ConvTranspose`.

    Parameters
    ----------
    in_features, out_features : int
        Numbers of channels before and after.
    kernel_size : int
        Height and width of the kernel, at least 2.
    rngs : nnx.Rngs
        Random generator of the initial kernel, He et al. (2015); the bias starts at zero.
    """

    def __init__(self, in_features: int, out_features: int, kernel_size: int, *, rngs: nnx.Rngs):
        shape = (kernel_size, kernel_size, in_features, out_features)
        self.kernel = nnx.Param(_drawn(_he_normal_transposed, shape, rngs))
        self.bias = nnx.Param(jnp.zeros(out_features, jnp.float32))

    def __call__(self, images: Array) -> Array:
        """Map `(n, height, width, in)` to `(n, 2 * height, 2 * width, out)`."""
        return transposed_convolution(images, self.kernel[...]) + self.bias[None, None, None]


def _drawn(initializer, shape, rngs):
    # A matrix takes the same numbers, and an autoencoder is made in 0.6 of the time (benchmarks/results.md).
    matrix = initializer(rngs.params(), (math.prod(shape[:-1]), shape[-1]), jnp.float32)
    return matrix.reshape(shape)


def strided_convolution(images: Array, kernel: Array) -> Array:
    """Convolve with stride 2 and SAME padding.

    Derivatives are available in reverse mode only (`jax.grad`, `jax.vjp`, `jax.jacrev`).

    Parameters
    ----------
    images : (n, height, width, in_channels) array
        Images to convolve.
    kernel : (kernel_height, kernel_width, in_channels, out_channels) array
        Kernel with both sides at least 2.

    Returns
    -------
    (n, ceil(height / 2), ceil(width / 2), out_channels) array
        Result of `flax.nnx.Conv(..., strides=(2, 2), padding="SAME")` without its bias.

    Raises
    ------
    ValueError
        If the shapes do not match, or a side of the kernel is below 2.
    """
    _check(images, kernel)
    return _convolution(images, kernel)


def transposed_convolution(images: Array, kernel: Array) -> Array:
    """Apply the transposed convolution with stride 2 and SAME padding, which doubles each side of the images.

    Derivatives are available in reverse mode only (`jax.grad`, `jax.vjp`, `jax.jacrev`).

    Parameters
    ----------
    images : (n, height, width, in_channels) array
        Images to enlarge.
    kernel : (kernel_height, kernel_width, in_channels, out_channels) array
        Kernel with both sides at least 2.

    Returns
    -------
    (n, 2 * height, 2 * width, out_channels) array
        Result of `flax.nnx.ConvTranspose(..., strides=(2, 2), padding="SAME")` without its bias.

    Raises
    ------
    ValueError
        If the shapes do not match, or a side of the kernel is below 2.
    """
    _check(images, kernel)
    return _transposed_convolution(images, kernel)


def _check(images: Array, kernel: Array) -> None:
    if images.ndim != 4:
        raise ValueError(f"images: expected shape (n, height, width, channels); got {images.shape}")
    if kernel.ndim != 4 or min(kernel.shape[:2]) < 2 or kernel.shape[2] != images.shape[3]:
        raise ValueError(
            f"kernel: expected shape (height, width, {images.shape[3]}, out), height and width at least 2, "
            f"for images of {images.shape[3]} channels; got {kernel.shape}"
        )


@jax.custom_vjp
def _convolution(images: Array, kernel: Array) -> Array:
    return _native_convolution(images, kernel)


def _convolution_forward(images: Array, kernel: Array) -> tuple[Array, tuple[Array, Array]]:
    # Alone, the native operation is faster, even on a CPU: it encodes in 0.6 to 0.85 of the time. But the
    # derivative with respect to the kernel needs the patches, and XLA makes them once for both.
    out = lax.platform_dependent(images, kernel, cpu=_patch_form, default=_native_convolution)
    return out, (images, kernel)


def _convolution_backward(saved: tuple[Array, Array], cotangent: Array) -> tuple[Array, Array]:
    images, kernel = saved

    def fast(images: Array, kernel: Array, cotangent: Array) -> tuple[Array, Array]:
        height, width = images.shape[1:3]
        return (
            _phase_form(cotangent, _flipped(kernel), (height, width)),
            _kernel_derivative(images, cotangent, kernel),
        )

    native = partial(_native_backward, _native_convolution)
    return lax.platform_dependent(images, kernel, cotangent, cpu=fast, default=native)


_convolution.defvjp(_convolution_forward, _convolution_backward)


@jax.custom_vjp
def _transposed_convolution(images: Array, kernel: Array) -> Array:
    def fast(images: Array, kernel: Array) -> Array:
        height, width = images.shape[1:3]
        return _phase_form(images, kernel, (2 * height, 2 * width))

    return lax.platform_dependent(images, kernel, cpu=fast, default=_native_transposed_convolution)


def _transposed_forward(images: Array, kernel: Array) -> tuple[Array, tuple[Array, Array]]:
    return _transposed_convolution(images, kernel), (images, kernel)


def _transposed_backward(saved: tuple[Array, Array], cotangent: Array) -> tuple[Array, Array]:
    images, kernel = saved

    def fast(images: Array, kernel: Array, cotangent: Array) -> tuple[Array, Array]:
        adjoint = _flipped(kernel)
        return _patch_form(cotangent, adjoint), _flipped(_kernel_derivative(cotangent, images, adjoint))

    native = partial(_native_backward, _native_transposed_convolution)
    return lax.platform_dependent(images, kernel, cotangent, cpu=fast, default=native)


_transposed_convolution.defvjp(_transposed_forward, _transposed_backward)


def _native_convolution(images: Array, kernel: Array) -> Array:
    return lax.conv_general_dilated(images, kernel, (2, 2), "SAME", dimension_numbers=_LAYOUT)


def _native_transposed_convolution(images: Array, kernel: Array) -> Array:
    return lax.conv_transpose(images, kernel, (2, 2), "SAME", dimension_numbers=_LAYOUT)


def _native_backward(function, images: Array, kernel: Array, cotangent: Array) -> tuple[Array, Array]:
    _, backward = jax.vjp(function, images, kernel)
    return backward(cotangent)


def _flipped(kernel: Array) -> Array:
    """Return the kernel of the adjoint: turned by 180 degrees, with input and output channels exchanged."""
    return kernel[::-1, ::-1].swapaxes(2, 3)


def _low_padding(size: int, kernel_size: int) -> int:
    """Count the zeros that SAME padding at stride 2 puts in front of an axis."""
    out = -(-size // 2)
    return max(2 * (out - 1) + kernel_size - size, 0) // 2


def _patches(images: Array, kernel_height: int, kernel_width: int) -> Array:
    """Return the patches of the strided convolution: `(n, out_height, out_width, taps * channels)`."""
    _, height, width, _ = images.shape
    out_height, out_width = -(-height // 2), -(-width // 2)
    low_height, low_width = _low_padding(height, kernel_height), _low_padding(width, kernel_width)
    high_height = max(2 * (out_height - 1) + kernel_height - height - low_height, 0)
    high_width = max(2 * (out_width - 1) + kernel_width - width - low_width, 0)
    # The barrier keeps XLA from computing the previous layer (bias, activation) again for each tap: a step at
    # 32 pixels took 55 instead of 75 ms of CPU time.
    padded = jnp.pad(
        lax.optimization_barrier(images), ((0, 0), (low_height, high_height), (low_width, high_width), (0, 0))
    )
    return jnp.concatenate(
        [
            padded[:, row : row + 2 * out_height - 1 : 2, column : column + 2 * out_width - 1 : 2]
            for row in range(kernel_height)
            for column in range(kernel_width)
        ],
        axis=3,
    )


def _patch_form(images: Array, kernel: Array) -> Array:
    """Compute the strided convolution as one matrix product."""
    patches = _patches(images, *kernel.shape[:2])
    # These are matrices, since XLA's CPU backend first makes transposed copies of operands with four axes.
    out = patches.reshape(-1, patches.shape[3]) @ kernel.reshape(-1, kernel.shape[3])
    return out.reshape(*patches.shape[:3], kernel.shape[3])


def _kernel_derivative(images: Array, cotangent: Array, kernel: Array) -> Array:
    """Compute the cotangent of the kernel of a strided convolution from that of its result."""
    patches = _patches(images, *kernel.shape[:2])
    product = patches.reshape(-1, patches.shape[3]).T @ cotangent.reshape(-1, cotangent.shape[3])
    return product.reshape(kernel.shape)


def _phase_form(images: Array, kernel: Array, size: tuple[int, int]) -> Array:
    """Compute the transposed convolution to images of the given size, as one small convolution per phase.

    Along one axis, with a kernel of `side` taps, output pixel `2 p + phase` is

        sum_t images[p + (phase + low + 1 - side + t) / 2] kernel[t]

    over every second tap, those with an even bracket.
    """

    def phase_taps(phase: int, size: int, small: int, side: int) -> tuple[slice, tuple[int, int]]:
        """Return the taps of a phase, and the padding that turns `small` pixels into ceil(size / 2)."""
        offset = phase + _low_padding(size, side) + 1 - side
        first = offset % 2
        taps = len(range(first, side, 2))
        low = -(offset + first) // 2
        return slice(first, None, 2), (low, -(-size // 2) - small + taps - 1 - low)

    phases = []
    for row in (0, 1):
        rows, row_padding = phase_taps(row, size[0], images.shape[1], kernel.shape[0])
        for column in (0, 1):
            columns, column_padding = phase_taps(column, size[1], images.shape[2], kernel.shape[1])
            phases.append(
                lax.conv_general_dilated(
                    images,
                    kernel[rows, columns],
                    (1, 1),
                    (row_padding, column_padding),
                    dimension_numbers=_LAYOUT,
                )
            )
    n, height, width, channels = phases[0].shape
    interleaved = jnp.stack(phases).reshape(2, 2, n, height, width, channels).transpose(2, 3, 0, 4, 1, 5)
    return interleaved.reshape(n, 2 * height, 2 * width, channels)[:, : size[0], : size[1]]
