import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import lax

from ellipsoid.models.convolution import (
    StridedConvolution,
    TransposedConvolution,
    strided_convolution,
    transposed_convolution,
)

LAYOUT = ("NHWC", "HWIO", "NHWC")
STOCK = {StridedConvolution: nnx.Conv, TransposedConvolution: nnx.ConvTranspose}
SIZES = [(8, 7), (2, 3)]  # even and odd, and smaller than the kernel


def value_and_derivatives(layer, images):
    """Give the outputs for each size, and derivatives of a nonlinear function of them all."""
    graph, parameters = nnx.split(layer)

    def total(parameters, images):
        outputs = [nnx.merge(graph, parameters)(x) for x in images]
        return sum(jnp.sum(jnp.sin(y)) for y in outputs), outputs

    return jax.tree.leaves(jax.jit(jax.grad(total, argnums=(0, 1), has_aux=True))(parameters, images))


# Each side of a kernel is handled by itself: the second pair stands for 5 x 5 and 4 x 4.
@pytest.mark.parametrize("kernel_sides", [(5, 4), pytest.param((3, 3), marks=pytest.mark.slow)])
@pytest.mark.parametrize("layer_type", STOCK)
def test_equals_the_stock_layer(layer_type, kernel_sides):
    stock = STOCK[layer_type](3, 4, kernel_sides, strides=(2, 2), padding="SAME", rngs=nnx.Rngs(3))
    layer = layer_type(3, 4, kernel_sides[0], rngs=nnx.Rngs(0))
    stock.bias[...] = jnp.arange(4.0)
    if kernel_sides[0] == kernel_sides[1]:
        assert jax.tree.map(jnp.shape, nnx.state(layer)) == jax.tree.map(jnp.shape, nnx.state(stock))
    layer.kernel, layer.bias = nnx.Param(stock.kernel[...]), nnx.Param(stock.bias[...])

    rng = np.random.default_rng(1)
    images = [jnp.asarray(rng.normal(size=(2, *size, 3)), jnp.float32) for size in SIZES]
    ours, theirs = value_and_derivatives(layer, images), value_and_derivatives(stock, images)
    for a, b in zip(ours, theirs, strict=True):
        # Sums of some 100 terms in another order differ by a few units in the last place of the largest.
        np.testing.assert_allclose(a, b, rtol=0, atol=2e-6 * np.max(np.abs(b)))


@pytest.mark.parametrize("layer_type", STOCK)
def test_initial_kernels_are_those_of_the_whole_shape(layer_type):
    layer, gain = layer_type(3, 4, 5, rngs=nnx.Rngs(2)), {StridedConvolution: 2.0, TransposedConvolution: 8.0}
    draw = jax.nn.initializers.variance_scaling(gain[layer_type], "fan_in", "truncated_normal")
    np.testing.assert_array_equal(layer.kernel[...], draw(nnx.Rngs(2).params(), (5, 5, 3, 4)))


def native_convolution(images, kernel):
    return lax.conv_general_dilated(images, kernel, (2, 2), "SAME", dimension_numbers=LAYOUT)


def native_transposed_convolution(images, kernel):
    return lax.conv_transpose(images, kernel, (2, 2), "SAME", dimension_numbers=LAYOUT)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("function", "native"),
    [
        (strided_convolution, native_convolution),
        (transposed_convolution, native_transposed_convolution),
    ],
)
def test_second_derivatives(function, native):
    rng = np.random.default_rng(2)
    images = jnp.asarray(rng.normal(size=(2, 5, 6, 2)), jnp.float32)
    kernel = jnp.asarray(rng.normal(size=(3, 4, 2, 3)), jnp.float32)

    def steepness(function):
        slope = jax.grad(lambda x, k: jnp.sum(jnp.sin(function(x, k))), argnums=(0, 1))
        return jax.jit(jax.grad(lambda k: sum(jnp.sum(s**2) for s in slope(images, k))))(kernel)

    expected = steepness(native)
    np.testing.assert_allclose(steepness(function), expected, rtol=0, atol=1e-5 * np.max(np.abs(expected)))


@pytest.mark.parametrize("function", [strided_convolution, transposed_convolution])
def test_the_form_is_chosen_by_platform(function):
    """A CPU gets no stride or inserted zeros, forwards or backwards; a GPU gets the native operations."""

    def lowered(platform):
        derivatives = jax.jit(jax.grad(lambda x, k: jnp.sum(function(x, k) ** 2), argnums=(0, 1)))
        traced = derivatives.trace(jnp.ones((1, 8, 8, 2)), jnp.ones((3, 3, 2, 2)))
        return traced.lower(lowering_platforms=(platform,)).as_text()

    strided = ("stride = [2, 2]", "lhs_dilate = [2, 2]", "rhs_dilate = [2, 2]")
    assert not any(word in lowered("cpu") for word in strided)
    assert any(word in lowered("cuda") for word in strided)


@pytest.mark.parametrize("function", [strided_convolution, transposed_convolution])
@pytest.mark.parametrize(
    ("images_shape", "kernel_shape", "message"),
    [
        ((8, 8, 3), (3, 3, 3, 4), r"images: expected shape .* got \(8, 8, 3\)"),
        ((2, 8, 8, 3), (3, 3, 4), "kernel: expected shape"),
        ((2, 8, 8, 3), (3, 3, 2, 4), r"\(height, width, 3, out\).*got \(3, 3, 2, 4\)"),
        ((2, 8, 8, 3), (1, 3, 3, 4), "at least 2"),
    ],
)
def test_bad_shapes_are_refused(function, images_shape, kernel_shape, message):
    with pytest.raises(ValueError, match=message):
        function(jnp.ones(images_shape), jnp.ones(kernel_shape))
