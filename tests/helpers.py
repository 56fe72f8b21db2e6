"""Draws in normalised coordinates, the statistics by which laws are compared, and a decoder."""

import functools

import jax
import numpy as np
from scipy import stats

import ellipsoid as el
from ellipsoid.laws import get_law
from ellipsoid.random import philox_words
from ellipsoid.regions import as_region


@functools.partial(jax.jit, static_argnames=("k", "law"))
def _draw(words, rows, tables, region, *, k, law):
    return get_law(law, region).draw(words, rows, k, tables)


def draw(law, k, n, *, radius=1.645, region="pairwise", seed=0):
    """First `n` normalised vectors of a law, ``(n, k)``."""
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
    """Smallest of four p-values that two samples ``(n, k)`` are of one law, times four (Bonferroni).

    Two-sample Kolmogorov-Smirnov of the largest |u|, of the root mean square and of one coordinate,
    and the binomial z of the share of vectors outside of the cube. With 10^5 vectors on each side, a
    threshold of 1e-3 on the result sees a KS distance of 0.01.
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


# --- images ----------------------------------------------------------------------------------------


def decode(z):
    """Images of 4 x 4 pixels, with values a little beyond [0, 1]."""
    pixels = (z[:, :3] / 6 + np.float32(0.5)).clip(-0.04, 1.04)
    return np.repeat(pixels, 16, axis=1).reshape(-1, 3, 4, 4).transpose(0, 2, 3, 1)
