"""Compare a training step of the autoencoder with the same network of stock Flax layers.

Both start from the same weights and run in turns. Prints milliseconds a step, the ratio, the seconds of the
first step (compilation), and the temporary memory of the compiled step.

    python benchmarks/autoencoder.py [--shape small] [--batch 128] [--repeats 8]
"""

import argparse
import os
import platform
import time

import flax
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from ellipsoid.models import Autoencoder, AutoencoderConfig

SHAPES = {"small": AutoencoderConfig(), "celeba": AutoencoderConfig.celeba()}


def with_stock_layers(autoencoder):
    """Make the same network, weights included, of `nnx.Conv` and `nnx.ConvTranspose`."""
    stock = nnx.clone(autoencoder)
    for half, layer_type in ((stock.encoder, nnx.Conv), (stock.decoder, nnx.ConvTranspose)):
        layers = []
        for layer in half.convolutions:
            *side, before, after = layer.kernel.shape
            layers.append(
                layer_type(before, after, tuple(side), strides=(2, 2), padding="SAME", rngs=nnx.Rngs(0))
            )
            nnx.update(layers[-1], nnx.state(layer))
        half.convolutions = nnx.List(layers)
    return stock


def training_step(autoencoder):
    """Give a compiled Adam step and its first state."""
    graph, weights = nnx.split(autoencoder)
    weights = jax.tree.map(jnp.copy, weights)
    optimizer = optax.adam(1e-3)

    def loss(weights, images):
        x = images.astype(jnp.float32) / 255
        return jnp.mean(jnp.square(nnx.merge(graph, weights)(x) - x))

    def step(state, images):
        weights, moments = state
        value, gradient = jax.value_and_grad(loss)(weights, images)
        updates, moments = optimizer.update(gradient, moments)
        return (optax.apply_updates(weights, updates), moments), value

    return jax.jit(step, donate_argnums=0), (weights, optimizer.init(weights))


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shape", choices=SHAPES, default="celeba")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=8)
    options = parser.parse_args()

    print(f"{platform.machine()}, {os.cpu_count()} cores, {jax.devices()[0].device_kind}")
    print(f"python {platform.python_version()}, jax {jax.__version__}, flax {flax.__version__}")
    config = SHAPES[options.shape]
    print(f"{config}, batch {options.batch}")
    images = np.random.default_rng(0).integers(0, 256, (options.batch, *config.image_shape), np.uint8)

    ours = Autoencoder(config, rngs=nnx.Rngs(0))
    contenders = {}
    for name, autoencoder in (("ellipsoid", ours), ("stock layers", with_stock_layers(ours))):
        step, state = training_step(autoencoder)
        started = time.perf_counter()
        compiled = step.lower(state, images).compile()
        compilation = time.perf_counter() - started
        analysis = compiled.memory_analysis()
        memory = analysis.temp_size_in_bytes / 1e6 if analysis else float("nan")
        contenders[name] = [compiled, state, [], [], compilation, memory]

    for _ in range(options.repeats + 1):
        for contender in contenders.values():
            compiled, state, losses, seconds, *_ = contender
            started = time.perf_counter()
            contender[1], value = compiled(state, images)
            jax.block_until_ready(contender[1])
            seconds.append(time.perf_counter() - started)
            losses.append(float(value))

    fast, stock = (np.array(contender[3][1:]) for contender in contenders.values())
    print(f"{'':14}  median ms  best ms  compile s  memory MB  last loss")
    for name, (_, _, losses, seconds, compilation, memory) in contenders.items():
        times = 1e3 * np.array(seconds[1:])
        figures = f"{np.median(times):9.0f}  {times.min():7.0f}  {compilation:9.1f}  {memory:9.0f}"
        print(f"{name:14}  {figures}  {losses[-1]:.6f}")
    print(
        f"ratio of medians {np.median(stock) / np.median(fast):.2f}, of best {stock.min() / fast.min():.2f}"
    )


if __name__ == "__main__":
    main()
