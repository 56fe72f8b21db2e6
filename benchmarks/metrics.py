"""Neighbour metrics of n rows of D features against NumPy, scikit-learn and prdc, and their peak memory.

python benchmarks/metrics.py [--rows 10000] [--columns 256] [--repeats 3]
python benchmarks/metrics.py --large --rows 50000 --columns 2048

All compute the same precision and recall (k = 3): `ellipsoid.metrics`, NumPy in float32 with the whole
matrices of distances, scikit-learn's exact neighbours, and prdc, if it is installed. Ratios are medians over
interleaved runs. The first run of ours, which compiles, is shown as well. Seconds of CPU stand beside the
time, since other work on the machine changes them less.

With `--large`, the script prints time and peak memory of `RealManifold(real).compare(generated)`, and the
rate of its products beside that of NumPy's product of one block.
"""

import argparse
import contextlib
import importlib.util
import os
import platform
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import sklearn
from sklearn.metrics import pairwise_distances_chunked
from sklearn.neighbors import NearestNeighbors

import ellipsoid as el
from ellipsoid import diagnostics, metrics

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


def by_prdc(real, generated):
    prdc = importlib.import_module("prdc")
    with contextlib.redirect_stdout(None):
        figures = prdc.compute_prdc(real, generated, K)
    return figures["precision"], figures["recall"]


def seconds(function, *args):
    """Give the seconds, and the seconds of CPU, that a call takes."""
    start, cpu_start = time.perf_counter(), time.process_time()
    function(*args)
    return time.perf_counter() - start, time.process_time() - cpu_start


def largest() -> float:
    """Give the largest resident set of this process so far, in MiB (Linux)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


def peak_memory(which: str, rows: int, columns: int) -> float:
    """Give the growth of the resident set of a separate process, in MiB, from before the call to its peak."""
    command = [sys.executable, "-P", __file__, "--peak-of", which]
    command += ["--rows", str(rows), "--columns", str(columns)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ).stdout)


def forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def large(rows: int, columns: int) -> None:
    real, generated = (features(rows, columns, seed) for seed in (0, 1))
    a, b, of_products = real[:2048], generated[:2048], []

    def measure_products() -> None:
        taken = [seconds(np.matmul, a, b.T) for _ in range(5)]
        of_products.append(2 * columns * len(a) ** 2 / np.median(taken, axis=0) / 1e9)

    measure_products()
    forget_peak()
    before = largest()
    taken = np.array(seconds(lambda: metrics.RealManifold(real).compare(generated)))
    peak = largest()
    measure_products()
    # The pairs are half of those of each set with itself, and those of both.
    ours = 2 * columns * 2 * rows**2 / taken / 1e9
    print(f"{rows:,} against {rows:,} rows of {columns}: {taken[0]:.1f} s, {taken[1]:.1f} s of CPU")
    print(f"memory: {before:,.0f} MiB before, which holds both sets, {peak:,.0f} at the peak")
    for name, rate in {"ours": ours, "NumPy's product": np.mean(of_products, axis=0)}.items():
        print(f"{name:16} {rate[0]:5.0f} GFLOP a second, {rate[1]:5.0f} a second of CPU")


CONTENDERS = {"ellipsoid": by_ellipsoid, "NumPy float32": by_numpy, "scikit-learn": by_sklearn}
if importlib.util.find_spec("prdc"):
    CONTENDERS["prdc"] = by_prdc


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--columns", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--large", action="store_true")
    parser.add_argument("--peak-of", choices=CONTENDERS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.large:
        large(args.rows, args.columns)
        return
    real, generated = (features(args.rows, args.columns, seed) for seed in (0, 1))
    if args.peak_of:
        CONTENDERS[args.peak_of](real[:100], generated[:100])  # imports and threads are not counted
        forget_peak()  # it would otherwise include the parent's peak
        before = largest()
        CONTENDERS[args.peak_of](real, generated)
        print(largest() - before)
        return

    print(f"Python {platform.python_version()}, jax {jax.__version__}, numpy {np.__version__}", end=", ")
    print(f"scikit-learn {sklearn.__version__}, {os.cpu_count()} cores, {jax.devices()[0].device_kind}")
    print(f"precision and recall, {args.rows:,} against {args.rows:,} rows of {args.columns}\n")
    first = seconds(by_ellipsoid, real, generated)
    answers = {name: function(real, generated) for name, function in CONTENDERS.items()}
    times = {name: [] for name in CONTENDERS}
    for _ in range(args.repeats):
        for name, function in CONTENDERS.items():
            times[name].append(seconds(function, real, generated))
    print(f"ours, compilation included: {first[0]:.2f} s, {first[1]:.2f} s of CPU")
    for name, taken in times.items():
        ratio, cpu_ratio = np.median(np.divide(taken, times["ellipsoid"]), axis=0)
        wall, cpu = np.median(taken, axis=0)
        peak = peak_memory(name, args.rows, args.columns)
        print(
            f"{name:14} {wall:7.2f} s  {ratio:5.2f} times ours  {cpu:7.2f} s of CPU  {cpu_ratio:5.2f} times  "
            f"{peak:7.0f} MiB  precision {answers[name][0]:.4f}, recall {answers[name][1]:.4f}"
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
