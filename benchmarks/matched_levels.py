"""Simulate the level at which `redraw` and `sequential` draws have the variance of the data.

Prints the table that ``ellipsoid.levels`` holds: ``level = 1 / sqrt(E[u^2])`` with its standard error.

    python benchmarks/matched_levels.py [--numbers 30000000]
"""

import argparse

import jax
import numpy as np

import ellipsoid as el
from ellipsoid.laws import get_law
from ellipsoid.random import philox_words
from ellipsoid.regions import PairwiseEllipses
from ellipsoid.sampling import block_rows

COMPONENTS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 50, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 2048, 4096)


def simulate(law, k, numbers):
    """Level and its standard error from about `numbers` random components."""
    region, words = PairwiseEllipses(), philox_words(el.key(20_231))
    draw = jax.jit(get_law(law, region).draw, static_argnums=2)
    size = block_rows(k, law, "cpu")
    means = []
    for start in range(0, max(numbers // k, 8 * size), size):
        rows = np.arange(start, start + size, dtype=np.uint32)
        u = np.asarray(draw(words, (rows, np.zeros_like(rows)), k, None), np.float64)
        means.append(np.square(u).mean(axis=1))
    means = np.concatenate(means)
    moment, error = means.mean(), means.std() / np.sqrt(means.size)
    return moment**-0.5, 0.5 * error * moment**-1.5


def main():
    parser = argparse.ArgumentParser(description="Simulate the matched levels of redraw and sequential.")
    parser.add_argument("--numbers", type=int, default=30_000_000, help="random components per table entry")
    parser.add_argument("--components", type=int, nargs="*", default=COMPONENTS)
    parser.add_argument("--laws", nargs="*", default=("redraw", "sequential"))
    arguments = parser.parse_args()
    for law in arguments.laws:
        print(f"{law}:", flush=True)
        for k in arguments.components:
            level, error = simulate(law, k, arguments.numbers)
            print(f"    {k}: {level:.4f},  # +- {error:.4f}", flush=True)


if __name__ == "__main__":
    main()
