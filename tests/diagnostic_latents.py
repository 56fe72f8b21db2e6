"""Latents of known shapes, always the same."""

import math

import numpy as np


def generator(seed=0):
    return np.random.default_rng(seed)


def gaussian(n, k, seed=0):
    return generator(seed).normal(size=(n, k)).astype(np.float32)


def latents_of(case, n, d):
    """Make latents of a known shape, with falling widths, turned by a random rotation."""
    random = generator()
    width = np.exp(-2 * np.arange(d) / d)
    rotation = np.linalg.qr(random.normal(size=(d, d)))[0]
    u = random.normal(size=(n, d))
    match case:
        case "two clusters":
            u[:, 0] = 0.3 * u[:, 0] + np.where(random.random(n) < 0.4, 1, -1)
        case "banana":
            u[:, 1] = 0.9 * (u[:, 0] ** 2 - 1) / math.sqrt(2) + 0.4 * u[:, 1]
        case "heavy tails":
            u /= np.sqrt(random.chisquare(5, size=(n, 1)) / 5)
        case "wide outskirts":
            u[: n // 10] *= 3
        case "box":
            u = random.uniform(-1, 1, size=(n, d))
        case "ball":
            u *= random.random((n, 1)) ** (1 / d) / np.linalg.norm(u, axis=1, keepdims=True)
        case "one odd component":
            u[:, -1] = 0.03 * u[:, -1] + np.where(random.random(n) < 0.5, 0.3, -0.3)
        case "skewed":
            u = random.gamma(2, size=(n, d))
    return ((u * width) @ rotation).astype(np.float32)
