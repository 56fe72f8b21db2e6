"""Toys for the tests of the room: a decoder that anybody can follow, and its inverse."""

import numpy as np

HOSTILE = "<img src=x onerror=alert(1)>"


def decode(latents):
    """Make images of 2 x 2 pixels whose colours are the 12 latents."""
    return (1 + np.tanh(latents)).reshape(-1, 2, 2, 3) / 2


def encode(images):
    return np.arctanh(np.clip(images.reshape(len(images), 12) / 127.5 - 1, -0.99, 0.99))
