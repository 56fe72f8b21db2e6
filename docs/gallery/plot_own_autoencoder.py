"""
An autoencoder of your own
==========================

The encoder and the decoder may come from PyTorch, Keras, or any other framework. The
package sees only arrays: latents go in, and latents come out. This page runs without
PyTorch, so a network of scikit-learn stands in for it. The last section shows the
same steps for a PyTorch model.
"""

# %%
# Any encoder and any decoder
# ---------------------------
#
# A scikit-learn network is trained to reproduce handwritten digits through a layer of
# 16 units. Its first half is the encoder, and its second half is the decoder.

import warnings

import numpy as np
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPRegressor

import ellipsoid as el
from ellipsoid import figures

digits = load_digits()
pixels = digits.data / 16  # (1797, 64), each in [0, 1]

with warnings.catch_warnings(action="ignore", category=ConvergenceWarning):
    network = MLPRegressor(
        hidden_layer_sizes=(128, 16, 128),
        max_iter=60,
        learning_rate_init=3e-3,
        random_state=0,
    )
    network.fit(pixels, pixels)
weights = list(zip(network.coefs_, network.intercepts_, strict=True))


def relu(x):
    return np.maximum(x, 0)


def encoder(x):  # (n, 64) pixels to (n, 16) latents
    (w1, b1), (w2, b2), *_ = weights
    return relu(x @ w1 + b1) @ w2 + b2


def decoder(z):  # (n, 16) latents to (n, 64) pixels
    (w3, b3), (w4, b4) = weights[2:]
    return relu(relu(z) @ w3 + b3) @ w4 + b4


# %%
# Draws of a chosen digit
# -----------------------
#
# The latents of ten digits are ten groups, so a mixture with one part for each label
# describes them. The label then chooses the digit.

latents = encoder(pixels)
shape = el.fit_by_label(latents, digits.target)

rows = []
for digit in range(10):
    draws = el.sample(el.key(digit), shape, 10, label=digit, law="normal", level=1.645)
    rows.append(decoder(np.asarray(draws.latents)).clip(0, 1).reshape(-1, 8, 8))

figure = figures.strips(rows, [str(digit) for digit in range(10)])

# %%
# Many images into a file
# -----------------------
#
# ``el.generate`` takes the decoder as a function from latents (n, D) to images (n,
# height, width, channels). It draws, decodes and writes at the same time, and the
# same call goes on after an interruption.

import tempfile

out = f"{tempfile.mkdtemp()}/digits.npy"


def decode(z):
    return decoder(z).clip(0, 1).reshape(-1, 8, 8, 1)


el.generate(el.key(0), shape, 1000, out, decode=decode, progress=False)
np.load(out).shape

# %%
# The same with PyTorch
# ---------------------
#
# This block is not run here. Tensors go to JAX and come back by DLPack, which copies
# nothing. ``encoder`` and ``decoder`` are two ``torch.nn.Module`` objects.
#
# .. code-block:: python
#
#    import jax.numpy as jnp
#    import torch
#
#    with torch.inference_mode():
#        latents = encoder(images)  # (n, D) tensor
#        shape = el.fit(jnp.from_dlpack(latents))
#        draws = el.sample(el.key(0), shape, 64)
#        new_images = decoder(torch.from_dlpack(draws.latents))
#
#
#    @torch.inference_mode()
#    def decode(z):  # (n, D) NumPy array to (n, H, W, C) in [0, 1]
#        return decoder(torch.from_numpy(z)).movedim(1, -1)
#
#
#    el.generate(el.key(0), shape, 1000, "new_images.npy", decode=decode)
