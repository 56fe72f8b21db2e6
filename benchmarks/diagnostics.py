"""Time the diagnostics of latents, as many and as wide as in the original work, and compare two with NumPy.

The script prints the seconds of all measurements together on n x k latents, compilation included, and of each
once it is compiled. Then it compares calibration and distance correlation with the loops over pairs that
define them, and prints the largest difference of the results.

    python benchmarks/diagnostics.py [--n 170000] [--k 256]
"""

import argparse
import os
import platform
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
import scipy

import ellipsoid as el
from ellipsoid import diagnostics as dg


def latents_of(n: int, k: int) -> np.ndarray:
    random = np.random.default_rng(0)
    rotation = np.linalg.qr(random.normal(size=(k, k)))[0].astype(np.float32)
    width = np.exp(-3 * np.arange(k) / k).astype(np.float32)
    return (random.standard_normal((n, k), np.float32) * width) @ rotation


def timed(function: Callable[..., Any], *arguments: Any) -> tuple[float, Any]:
    start = time.perf_counter()
    result = function(*arguments)
    return time.perf_counter() - start, result


def in_turns(*functions: Callable[[], Any], repeats: int = 4) -> list[tuple[float, Any]]:
    """Give the least seconds and the result of each, without the first call."""
    runs = [[timed(function) for function in functions] for _ in range(repeats)][1:]
    return [min(of_one, key=lambda run: run[0]) for of_one in zip(*runs, strict=True)]


def loop_over_pairs(u: np.ndarray, levels: Sequence[float]) -> np.ndarray:
    """Give the shares of rows inside the unit circle of each pair, scaled by each level."""
    k = u.shape[1]
    squares = np.square(u).T.copy()
    observed = np.zeros((len(levels), k, k), np.float32)
    for i in range(k):
        for j in range(i + 1, k):
            distance = squares[i] + squares[j]
            for m, level in enumerate(levels):
                observed[m, i, j] = np.count_nonzero(distance <= level * level) / len(u)
    return observed


def distance_correlation_of_pair(x: np.ndarray, y: np.ndarray) -> float:
    n = len(x)
    centred = []
    for values in (x, y):
        apart = np.abs(values[:, None] - values[None, :])
        rows = apart.sum(axis=0) / (n - 2)
        a = apart - rows[None, :] - rows[:, None] + apart.sum() / ((n - 1) * (n - 2))
        np.fill_diagonal(a, 0)
        centred.append(a)
    a, b = centred
    return np.sum(a * b) / np.sqrt(np.sum(a * a) * np.sum(b * b))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--n", type=int, default=170_000)
    parser.add_argument("--k", type=int, default=256)
    options = parser.parse_args()
    print(
        f"{platform.machine()}, {os.cpu_count()} cores; Python {platform.python_version()}, jax "
        f"{jax.__version__}, numpy {np.__version__}, scipy {scipy.__version__}"
    )
    latents = latents_of(options.n, options.k)
    seconds, state = timed(el.fit, latents)
    print(f"fit of {options.n:,} x {options.k}: {seconds:.1f} s")
    seconds, measured = timed(dg.diagnose, state, latents)
    print(f"diagnose, first call, compilation included: {seconds:.1f} s")
    scores, scale = measured.scores, np.asarray(state.scale)
    for name, function, arguments in (
        ("marginals", dg.marginals, (scores,)),
        ("location", dg.location, (state, latents)),
        ("calibration", dg.calibration, (scores, np.diag(scale**2))),
        ("multivariate normality", dg.multivariate_normality, (scores,)),
        ("distances", dg.distances, (scores, scale)),
        ("clusters", dg.clusters, (scores,)),
        ("dependence", dg.dependence, (scores[:, :32],)),
    ):
        print(f"  {name:24s} {timed(function, *arguments)[0]:5.1f} s")

    u = dg.subset(scores / scale, dg.PAIR_ROWS)
    (fast, measured), (slow, expected) = in_turns(
        lambda: dg.calibration(u, np.eye(options.k)), lambda: loop_over_pairs(u, dg.LEVELS)
    )
    upper = np.triu_indices(options.k, 1)
    rows = np.abs(measured.of_pairs - expected[:, *upper]).max() * len(u)  # on the boundary, by rounding
    print(
        f"calibration: {slow / fast:.1f} times as fast as a NumPy loop over {len(upper[0]):,} pairs, "
        f"to {rows:.0f} of {len(u):,} rows"
    )

    v = u[:1_500, :16].copy()
    pairs = list(zip(*np.triu_indices(16, 1), strict=True))
    (fast, measured), (slow, expected) = in_turns(
        lambda: dg.distance_correlation(v),
        lambda: np.array([distance_correlation_of_pair(v[:, i], v[:, j]) for i, j in pairs]),
    )
    error = np.abs(measured[np.triu_indices(16, 1)] - expected).max()
    print(
        f"distance correlation: {slow / fast:.0f} times as fast as {len(pairs)} pairs in turn, to {error:.0e}"
    )


if __name__ == "__main__":
    main()
