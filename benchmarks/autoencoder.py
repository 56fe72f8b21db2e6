"""Compare the autoencoder with stock Flax layers, the same network in PyTorch, and matrix products.

All start from the same weights and run in turns. For each size of images and batches, the script prints the
median milliseconds of a training step (Adam), of encoding and of decoding, and the speed of ours over each
peer. It times the same multiply-adds as plain matrix products of XLA, and gives the share of their speed that
our step reaches. It prints the seconds until the first step is done, and the temporary memory of the compiled
step. Last, it compares the seconds of an epoch of `train` with those of its steps alone.

    python benchmarks/autoencoder.py [--sizes 32 64 96 128] [--batches 32 128] [--seconds 30]

PyTorch is left out where it is not installed.
"""

import argparse
import gc
import os
import platform
import statistics
import tempfile
import time
from typing import Any

import flax
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from ellipsoid.models import Autoencoder, AutoencoderConfig, TrainConfig, train
from ellipsoid.models.steps import Steps, TrainState

try:
    import autoencoder_torch
except ImportError:
    autoencoder_torch = None

LEARNING_RATE = 1e-3


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


class Compiled:
    """A network in Flax: one training step, encoding, decoding."""

    def __init__(self, autoencoder, images):
        graph, weights = nnx.split(autoencoder)
        optimizer = optax.adam(LEARNING_RATE)

        def loss(weights, images):
            x = images.astype(jnp.float32) / 255
            return jnp.mean(jnp.square(nnx.merge(graph, weights)(x) - x))

        def step(state, images):
            weights, moments = state
            value, gradient = jax.value_and_grad(loss)(weights, images)
            updates, moments = optimizer.update(gradient, moments)
            return (optax.apply_updates(weights, updates), moments), value

        self._images = jnp.asarray(images)
        self._pixels = self._images.astype(jnp.float32) / 255
        weights = jax.tree.map(jnp.copy, weights)
        self._weights = jax.tree.map(jnp.copy, weights)  # those of the step are given away
        self._state = weights, optimizer.init(weights)
        started = time.perf_counter()
        self._step = jax.jit(step, donate_argnums=0).lower(self._state, self._images).compile()
        self.losses = []
        self.step()
        self.first_step = time.perf_counter() - started
        analysis = self._step.memory_analysis()
        self.memory = analysis.temp_size_in_bytes / 1e6 if analysis else float("nan")
        self._encode = jax.jit(lambda weights, x: nnx.merge(graph, weights).encode(x))
        self._decode = jax.jit(lambda weights, z: nnx.merge(graph, weights).decode(z))
        self._latents = self._encode(self._weights, self._pixels)

    def step(self):
        """Take a step."""
        self._state, loss = self._step(self._state, self._images)
        self.losses.append(float(loss))
        jax.block_until_ready(self._state)

    def encode(self):
        """Encode the images."""
        self._encode(self._weights, self._pixels).block_until_ready()

    def decode(self):
        """Decode their latents."""
        self._decode(self._weights, self._latents).block_until_ready()


class Products:
    """The multiply-adds of one training step as plain matrix products: forward, and for both derivatives."""

    def __init__(self, config, batch):
        sizes, widths = config.layer_sizes, (config.channels, *config.filters)
        shapes = []  # sizes of forward products: rows, length of the sum, columns
        for size, before, after in zip(sizes[1:], widths, widths[1:], strict=False):
            shapes += [(batch * size**2, config.kernel_size**2 * before, after)]  # strided
            shapes += [(batch * size**2, after, config.kernel_size**2 * before)]  # transposed
        features = sizes[-1] ** 2 * widths[-1]
        shapes += [(batch, features, config.latent_dim), (batch, config.latent_dim, features)]
        _, *others = shapes  # the images need no derivative
        shapes += [(m, n, k) for m, k, n in others] + [(k, m, n) for m, k, n in shapes]
        self.multiply_adds = sum(m * k * n for m, k, n in shapes)
        self._operands = [(jnp.ones((m, k)), jnp.ones((k, n))) for m, k, n in shapes]
        self._products = jax.jit(lambda operands: [a @ b for a, b in operands])
        self.step()

    def step(self):
        """Form all products."""
        jax.block_until_ready(self._products(self._operands))


def in_turns(actions, seconds):
    """Give the median milliseconds of each action; all run in turns for so long, at least three times."""
    times = {name: [] for name in actions}
    started = time.perf_counter()
    for action in actions.values():
        action()
    while len(next(iter(times.values()))) < 3 or time.perf_counter() - started < seconds:
        for name, action in actions.items():
            before = time.perf_counter()
            action()
            times[name].append(1e3 * (time.perf_counter() - before))
    return {name: statistics.median(values) for name, values in times.items()}


def compare(size, batch, seconds, peers):
    """Print the figures of one size of images and batches."""
    config = AutoencoderConfig(size, filters=(32, 64, 128, 256), latent_dim=256)
    images = np.random.default_rng(0).integers(0, 256, (batch, *config.image_shape), np.uint8)
    ours = Autoencoder(config, rngs=nnx.Rngs(0))
    networks: dict[str, Any] = {"ellipsoid": Compiled(ours, images)}
    if "flax" in peers:
        networks["stock Flax"] = Compiled(with_stock_layers(ours), images)
    if "torch" in peers and autoencoder_torch is not None:
        networks["PyTorch"] = autoencoder_torch.Network(ours, images, LEARNING_RATE)
    products = Products(config, batch)
    steps = {name: network.step for name, network in networks.items()} | {"products": products.step}
    times = {"step": in_turns(steps, seconds)}
    for part in ("encode", "decode"):
        times[part] = in_turns({name: getattr(net, part) for name, net in networks.items()}, seconds / 5)

    bound = times["step"].pop("products")
    print(
        f"{size} px, batch {batch}: products {bound:.1f} ms, "
        f"{products.multiply_adds / bound / 1e6:.0f} billion multiply-adds/s; "
        f"share {bound / times['step']['ellipsoid']:.2f}"
    )
    for name, network in networks.items():
        cells = [
            f"{part} {of[name]:8.1f} ms ({of[name] / of['ellipsoid']:5.2f})" for part, of in times.items()
        ]
        print(
            f"  {name:10}  {'  '.join(cells)}  first step {network.first_step:.1f} s  "
            f"memory {network.memory:.0f} MB  loss {network.losses[0]:.6f}, {network.losses[3]:.6f}",
            flush=True,
        )


def loop(size, batch, n_steps=40, rounds=3):
    """Print how much longer an epoch takes than its steps alone."""
    config = AutoencoderConfig(size, filters=(32, 64, 128, 256), latent_dim=256)
    images = np.random.default_rng(0).integers(0, 256, (n_steps * batch, *config.image_shape), np.uint8)
    settings = TrainConfig(steps=n_steps, batch_size=batch)
    ours = Autoencoder(config, rngs=nnx.Rngs(0))
    graph, weights = nnx.split(ours)
    steps = Steps(graph, settings, n_steps)
    state = steps.place(TrainState.new(settings, weights))
    weight = np.ones(batch, np.float32)
    epochs, alone, whole = [], [], []
    for count in range(rounds + 1):
        started = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            (record,) = train(ours, images, settings, out=folder, validation=images[:batch], progress=False)
        middle = time.perf_counter()
        for number in range(n_steps):
            state, _ = steps.step(state, number, images[:batch], weight)
        jax.block_until_ready(state)
        if count:  # the first round compiles
            epochs.append(record["seconds"])
            whole.append(middle - started)
            alone.append(time.perf_counter() - middle)
    ratio = statistics.median(a / b for a, b in zip(epochs, alone, strict=True))
    more = statistics.median(a - b for a, b in zip(whole, epochs, strict=True))
    print(f"loop, {size} px, batch {batch}: {n_steps} steps {statistics.median(alone):.2f} s, as an epoch "
          f"{ratio:.3f} times as long; validation, checkpoint and set-up {more:.2f} s")  # fmt: skip


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=[32, 64, 96, 128])
    parser.add_argument("--batches", type=int, nargs="+", default=[32, 128])
    parser.add_argument("--seconds", type=float, default=30, help="for the training steps of one size")
    parser.add_argument("--peers", choices=["flax", "torch"], nargs="*", default=["flax", "torch"])
    options = parser.parse_args()
    version = autoencoder_torch.VERSION if autoencoder_torch else "(not installed)"
    print(f"{platform.machine()}, {os.cpu_count()} cores, {jax.devices()[0].device_kind}; "
          f"python {platform.python_version()}, jax {jax.__version__}, flax {flax.__version__}, "
          f"PyTorch {version}")  # fmt: skip
    print("in brackets: times as long as ours")
    for size in options.sizes:
        for batch in options.batches:
            compare(size, batch, options.seconds, options.peers)
            gc.collect()
    loop(options.sizes[0], options.batches[-1])


if __name__ == "__main__":
    main()
