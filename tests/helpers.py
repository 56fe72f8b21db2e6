"""Draws in normalised coordinates, the statistics by which laws are compared, flows, and a decoder."""

import functools

import jax
import numpy as np
from scipy import stats

import ellipsoid as el
from ellipsoid.laws import get_law
from ellipsoid.random import philox_words
from ellipsoid.regions import as_region
from ellipsoid.velocity import Velocity, untrained


@functools.partial(jax.jit, static_argnames=("k", "law"))
def _draw(words, rows, tables, region, *, k, law):
    return get_law(law, region).draw(words, rows, k, tables)


def draw(law, k, n, *, radius=1.645, region="pairwise", seed=0):
    """Draw the first `n` normalised vectors of a law, ``(n, k)``."""
    region = as_region(region)
    tables = get_law(law, region).prepare(k, radius, region)
    words, blocks = philox_words(el.key(seed)), []
    # A block fits into the cache, and is compiled once for all n.
    size = 1024 if k <= 1024 else 64
    for start in range(0, n, size):
        low = np.arange(start, start + size, dtype=np.uint32)
        blocks.append(np.asarray(_draw(words, (low, np.zeros_like(low)), tables, region, k=k, law=law)))
    return np.concatenate(blocks)[:n]


def same_law(a, b):
    """Give the smallest of four p-values that two samples ``(n, k)`` are of one law, times four (Bonferroni).

    The tests are two-sample Kolmogorov-Smirnov of the largest |u|, of the root mean square and of one
    coordinate, and the binomial z of the share of vectors outside of the cube. With 10^5 vectors on each
    side, a threshold of 1e-3 on the result sees a KS distance of 0.01.
    """

    def features(u):
        u = np.asarray(u, np.float64)
        return np.max(np.abs(u), axis=1), np.sqrt(np.mean(np.square(u), axis=1)), u[:, 0]

    pvalues = [
        stats.ks_2samp(x, y, method="asymp").pvalue for x, y in zip(features(a), features(b), strict=True)
    ]
    outside = [np.max(np.abs(u), axis=1) > np.sqrt(0.5) for u in (a, b)]
    share = np.mean(np.concatenate(outside))
    variance = share * (1 - share) * (1 / len(a) + 1 / len(b))
    if variance > 0:
        z = (outside[0].mean() - outside[1].mean()) / np.sqrt(variance)
        pvalues.append(2 * stats.norm.sf(abs(z)))
    return 4 * min(pvalues)


# --- flows -----------------------------------------------------------------------------------------

#: Settings of all flows of the fast tests, which share their programs in this way.
SMALL_FLOW = {"steps": 300, "width": 32, "depth": 1, "n_steps": 8}

_AXES = 2 * np.linalg.qr(np.random.default_rng(5).normal(size=(4, 3)))[0].T
#: Means of the two clusters, in latents.
CENTRES = {"low": 3 - _AXES[0], "high": 3 + _AXES[0]}


def two_clusters(n, seed=0):
    """Make latents ``(n, 4)`` of rank 3 in two clusters, and the label of each."""
    rng = np.random.default_rng(seed)
    labels = np.array(list(CENTRES))[rng.integers(2, size=n)]
    within = rng.normal(size=(n, 3)) * [0.35, 1, 1] @ _AXES
    return np.array([CENTRES[label] for label in labels]) + within, labels


def random_field(k, *, width=32, depth=1, size=1.0, seed=0):
    """Make an untrained network with a random last layer, so that its velocities are of about that size."""
    keys = jax.random.split(jax.random.key(seed))
    velocity = untrained(keys[0], k, 0, width, depth)
    return velocity._replace(last=size / np.sqrt(width) * jax.random.normal(keys[1], (width, k)))


def literal_velocity(velocity, w, angle, condition=()):
    """Give the velocity at points ``(n, k)``, in float64 and as the network's description says it."""
    entry, waves, by_label, hidden, shift, output, last = Velocity(*(np.asarray(x, float) for x in velocity))

    def silu(x):
        return x / (1 + np.exp(-x))

    def normed(x):
        return x / np.sqrt(np.mean(x * x, axis=1, keepdims=True) + 0.1)

    phases = angle * np.arange(16)
    embedding = silu(np.concatenate([np.cos(phases), np.sin(phases)]) @ waves + condition @ by_label)
    h = w @ entry
    for block in range(len(hidden)):
        h = h + silu(normed(h) @ hidden[block] + embedding @ shift[block]) @ output[block]
    return normed(h) @ last


def literal_push(velocity, x0, n_steps, condition=()):
    """Carry points ``(n, k)`` forwards by Heun's method, in float64."""
    w, h = np.asarray(x0, float), np.pi / 2 / n_steps
    for step in range(n_steps):
        first = literal_velocity(velocity, w, step * h, condition)
        w = w + h / 2 * (first + literal_velocity(velocity, w + h * first, (step + 1) * h, condition))
    return w


def energy_score(draws, latents):
    """Give the distance of draws from each latent, less half of that among draws, ``(n,)``: small is good."""
    from scipy.spatial.distance import cdist, pdist

    return cdist(latents, draws).mean(axis=1) - pdist(draws).mean() / 2


# --- images ----------------------------------------------------------------------------------------


def decode(z):
    """Make images of 4 x 4 pixels, with values a little beyond [0, 1]."""
    pixels = (z[:, :3] / 6 + np.float32(0.5)).clip(-0.04, 1.04)
    return np.repeat(pixels, 16, axis=1).reshape(-1, 3, 4, 4).transpose(0, 2, 3, 1)
