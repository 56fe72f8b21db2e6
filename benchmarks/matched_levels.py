"""Simulate the level at which `redraw` and `sequential` draws have the variance of the data.

Prints the table that ``ellipsoid.levels`` holds: ``level = 1 / sqrt(E[u^2])`` with its standard error; and
the limits for infinitely many components.

    python benchmarks/matched_levels.py [--numbers 30000000]
"""

import argparse

import jax
import numpy as np
from scipy import integrate

import ellipsoid as el
from ellipsoid.laws import get_law
from ellipsoid.random import philox_words
from ellipsoid.regions import PairwiseEllipses
from ellipsoid.sequence import block_rows

COMPONENTS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 50, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 2048, 4096)


def simulate(law, k, numbers):
    """Give the level and its standard error from about `numbers` random components."""
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


def sequential_limit():
    """Solve for the level of `sequential` with infinitely many components.

    Nearly all components come after the last record: they are uniform within the bound ``sqrt(1 - m^2)``, m
    being the last record, the first above the edge of the cube. From a record x below the edge the next one
    is uniform in ``[x, sqrt(1 - x^2)]``. With f(x) the mean squared bound from there on, and g its integral
    from x to the edge, ``(sqrt(1 - x^2) - x) f = g + (what lies beyond the edge)`` and ``f = -g'``.
    """
    edge = np.sqrt(0.5)

    def beyond(bound):
        return (bound - bound**3 / 3) - (edge - edge**3 / 3)

    def slope(x, g):
        bound = np.sqrt(1 - x * x)
        return -(g + beyond(bound)) / (bound - x)

    end = edge - 1e-9  # where f is 1 / 2
    g = integrate.solve_ivp(slope, [end, 0], [0.5e-9], rtol=1e-12, atol=1e-16, method="DOP853").y[0, -1]
    return (3 / (g + beyond(1.0))) ** 0.5


def redraw_limit(cells=4000, step=0.01, until=1e6):
    """Solve for the level of `redraw` with infinitely many components.

    Their density of ``|u| = sin(angle)`` follows a kinetic equation: each ordered pair in conflict is equally
    likely to be next, the first of it stays, and the second becomes uniform within the bound that the first
    sets. In equal cells of the angle, cell i conflicts with those beyond its mirror image, and with half of
    that. The time steps grow with time, and the decay within each is exact.
    """
    edges = np.sin(np.linspace(0, np.pi / 2, cells + 1))
    bounds = np.cos((np.arange(cells) + 0.5) * np.pi / 2 / cells)
    widths, squares = np.diff(edges), np.diff(edges**3) / 3 / np.diff(edges)
    share = widths.copy()

    def rates(share):
        loss = np.cumsum(share[::-1]) - share[::-1] / 2 + 1e-300  # never quite zero
        redrawn = share * loss / bounds
        gain = widths * (np.cumsum(redrawn)[::-1] - redrawn[::-1] / 2)
        return loss, gain * (share @ loss) / gain.sum()

    def advance(share, loss, gain, seconds):
        share = share * np.exp(-loss * seconds) - gain * np.expm1(-loss * seconds) / loss
        return share / share.sum()

    time = 1e-3
    while time < until:
        loss, gain = rates(share)
        later = rates(advance(share, loss, gain, step * time))
        share = advance(share, (loss + later[0]) / 2, (gain + later[1]) / 2, step * time)
        time *= 1 + step
    return (share @ squares) ** -0.5


def main():
    """Simulate and print."""
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
    print(f"limits: redraw {redraw_limit():.4f}, sequential {sequential_limit():.4f}")


if __name__ == "__main__":
    main()
