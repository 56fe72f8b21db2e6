"""Neighbour metrics of n rows of D features against NumPy and scikit-learn, and the peak memory of them.

python benchmarks/metrics.py [--rows 10000] [--columns 256] [--repeats 3]
python benchmarks/metrics.py --stripe --rows 50000 --columns 2048

The same precision and recall (k = 3) three times: by `ellipsoid.metrics`, by NumPy in float32 with the whole
matrices of distances, and by scikit-learn's exact neighbours. Ratios are medians over interleaved runs.

With `--stripe`: peak memory of `RealManifold(real).compare(generated)` with all rows present, where each pass
over the pairs of blocks ends after its first stripe (one block against all), and the time that it would take.
"""

import argparse
import itertools
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

import jax
import numpy as np
import sklearn
from sklearn.metrics import pairwise_distances_chunked
from sklearn.neighbors import NearestNeighbors

import ellipsoid as el
from ellipsoid import diagnostics, metrics
from ellipsoid.metrics import manifold, row_pairs

K = 3


def features(rows: int, columns: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((rows, columns), np.float32)


def numpy_squares(a, b):
    return (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1) - 2 * a @ b.T


def by_numpy(real, generated):
    of_real, of_generated = (np.partition(numpy_squares(x, x), K, axis=1)[:, K] for x in (real, generated))
    apart = numpy_squares(real, generated)
    precision = (apart <= of_real[:, None]).any(axis=0).mean()
    return precision, (apart <= of_generated).any(axis=1).mean()


def by_sklearn(real, generated):
    of_real, of_generated = (
        NearestNeighbors(n_neighbors=K, algorithm="brute").fit(x).kneighbors()[0][:, -1]
        for x in (real, generated)
    )
    in_real, in_generated = [], []
    for part in pairwise_distances_chunked(generated, real):
        in_real.append((part <= of_real).any(axis=1))
    for part in pairwise_distances_chunked(real, generated):
        in_generated.append((part <= of_generated).any(axis=1))
    return np.concatenate(in_real).mean(), np.concatenate(in_generated).mean()


def by_ellipsoid(real, generated):
    return tuple(metric.value for metric in metrics.precision_recall(real, generated, k=K))


def seconds(function, *args):
    start = time.perf_counter()
    result = function(*args)
    return time.perf_counter() - start, result


def largest() -> float:
    """Largest resident set of this process so far, in MiB (Linux)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


def peak_memory(which: str, rows: int, columns: int) -> float:
    """Growth of the resident set of a process of its own, in MiB, from before the call to its peak."""
    command = [sys.executable, "-P", __file__, "--peak-of", which]
    command += ["--rows", str(rows), "--columns", str(columns)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ).stdout)


def forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def stripe(rows: int, columns: int) -> None:
    all_pairs, passes = manifold.block_pairs, []

    def first_stripe(a, b, label, *args):
        start = time.perf_counter()
        yield from itertools.islice(all_pairs(a, b, label, *args), len(b))
        n_pairs = len(b) * (len(b) + 1) // 2 if a is b else len(a) * len(b)
        passes.append((label, (time.perf_counter() - start) / len(b), n_pairs))

    def compare(real, generated):
        metrics.RealManifold(real).compare(generated)

    manifold.block_pairs = first_stripe
    real, generated = (features(rows, columns, seed) for seed in (0, 1))
    some = 2 * row_pairs.BLOCK + rows % row_pairs.BLOCK
    compare(real[:some], generated[:some])  # compiles
    passes.clear()
    forget_peak()
    before = largest()
    compare(real, generated)
    print(
        f"{rows:,} against {rows:,} rows of {columns}: {before:,.0f} MiB before, {largest():,.0f} at the peak"
    )
    for label, seconds_a_pair, n_pairs in passes:
        print(
            f"{label:28} {seconds_a_pair:6.3f} s a pair of blocks, "
            f"{2 * columns * row_pairs.BLOCK**2 / seconds_a_pair / 1e9:6.1f} GFLOP/s; "
            f"{n_pairs} pairs: {n_pairs * seconds_a_pair / 60:5.1f} min"
        )


CONTENDERS = {"ellipsoid": by_ellipsoid, "NumPy float32": by_numpy, "scikit-learn": by_sklearn}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--columns", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--stripe", action="store_true")
    parser.add_argument("--peak-of", choices=CONTENDERS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.stripe:
        stripe(args.rows, args.columns)
        return
    real, generated = (features(args.rows, args.columns, seed) for seed in (0, 1))
    if args.peak_of:
        CONTENDERS[args.peak_of](real[:100], generated[:100])  # imports and threads are not counted
        forget_peak()  # which else includes the parent's
        before = largest()
        CONTENDERS[args.peak_of](real, generated)
        print(largest() - before)
        return

    print(f"Python {platform.python_version()}, jax {jax.__version__}, numpy {np.__version__}", end=", ")
    print(f"scikit-learn {sklearn.__version__}, {os.cpu_count()} cores, {jax.devices()[0].device_kind}")
    print(f"precision and recall, {args.rows:,} against {args.rows:,} rows of {args.columns}\n")
    times = {name: [] for name in CONTENDERS}
    answers = {name: function(real, generated) for name, function in CONTENDERS.items()}
    for _ in range(args.repeats):
        for name, function in CONTENDERS.items():
            times[name].append(seconds(function, real, generated)[0])
    for name, taken in times.items():
        ratio = median(ours / theirs for ours, theirs in zip(taken, times["ellipsoid"], strict=True))
        peak = peak_memory(name, args.rows, args.columns)
        print(
            f"{name:14} {median(taken):7.2f} s  {ratio:5.2f} times ours  {peak:7.0f} MiB  "
            f"precision {answers[name][0]:.4f}, recall {answers[name][1]:.4f}"
        )

    print("\nthe others, once after a warm-up:")
    real_manifold = metrics.RealManifold(real)
    for name, function in {
        "density, coverage": metrics.density_coverage,
        "RealManifold": lambda x, y: metrics.RealManifold(x),
        "RealManifold.compare": lambda x, y: real_manifold.compare(y),
        "kernel distance": metrics.kernel_distance,
        "Fréchet distance": metrics.frechet_distance,
        "sliced Wasserstein": lambda x, y: metrics.sliced_wasserstein(x, y, el.key(0)),
        "copy test": lambda x, y: metrics.copy_test(y, x, x),
    }.items():
        function(real, generated)
        print(f"{name:20} {seconds(function, real, generated)[0]:7.2f} s")

    images = np.random.default_rng(0).integers(0, 256, (12_256, 40, 40, 3), dtype=np.uint8)
    queries, references = images[:256], images[256:]
    diagnostics.nearest(queries, references, 2)
    taken = seconds(diagnostics.nearest, queries, references, 2)[0]
    print(f"{'nearest images':20} {taken:7.2f} s, two for each of 256 among 12,000 of 40 x 40 x 3")


if __name__ == "__main__":
    main()
