"""Sampling rates of every law against bare random numbers and against what a user would write.

All contenders run interleaved in one process; the table gives medians as ratios, since absolute times
on a shared machine mean little.

    python benchmarks/sampler.py [--components 256] [--rows 65536] [--repeats 5]
"""

import argparse
import platform
import time

import jax
import jax.numpy as jnp
import numpy as np

import ellipsoid as el
from ellipsoid.random import key_words, row_words, signed_unit
from ellipsoid.regions import pairs_gauge
from ellipsoid.sampling import block_rows


def make_state(k):
    """Make a state of `k` components in `k` dimensions with a spread of scales."""
    rng = np.random.default_rng(0)
    components = np.linalg.qr(rng.normal(size=(k, k)))[0]
    scale = np.geomspace(2, 0.02, k)
    fields = (rng.normal(size=k), components, scale, scale**2, scale**2 / np.sum(scale**2))
    return el.PCAState(*(jnp.asarray(field, jnp.float32) for field in fields), n_samples=1000)


def literal_loop(rng, k, rows):
    """Follow the source's procedure to the letter: a vector at a time, all pairs in random order."""
    out = np.empty((rows, k))
    first, second = np.triu_indices(k, 1)
    for row in range(rows):
        u = rng.uniform(-1, 1, k).tolist()
        order = rng.permutation(first.size)
        turn = rng.random(first.size) < 0.5
        pairs = zip(first[order].tolist(), second[order].tolist(), turn.tolist(), strict=True)
        for i, j, swap in pairs:
            if swap:
                i, j = j, i
            if u[i] * u[i] + u[j] * u[j] > 1:
                u[j] = rng.uniform(-1, 1) * (1 - u[i] * u[i]) ** 0.5
        out[row] = u
    return out


def median_times(contenders, repeats):
    """Seconds of each contender, the median of interleaved runs after one warm-up each."""
    times = {name: [] for name in contenders}
    for run in contenders.values():
        jax.block_until_ready(run())
    for _ in range(repeats):
        for name, run in contenders.items():
            start = time.perf_counter()
            jax.block_until_ready(run())
            times[name].append(time.perf_counter() - start)
    return {name: float(np.median(values)) for name, values in times.items()}


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Sampling rates against peers, as ratios in one run.")
    parser.add_argument("--components", type=int, default=256)
    parser.add_argument("--rows", type=int, default=65_536)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    k, n = arguments.components, arguments.rows
    state, key, rng = make_state(k), el.key(0), np.random.default_rng(0)
    words, size = key_words(key), block_rows(k)

    @jax.jit
    def fill_block(low):
        return jax.vmap(lambda row: signed_unit(row_words(words, (row, jnp.uint32(0)), 4, k)))(low)

    def fill():
        return [fill_block(np.arange(start, start + size, dtype=np.uint32)) for start in range(0, n, size)]

    threefry = jax.jit(lambda key: jax.random.uniform(key, (n, k)))
    buffer = np.empty((n, k), np.float32)
    draws = el.sample(key, state, n, law="uniform")
    fast = jax.jit(lambda u: el.PairwiseEllipses().gauge(u))
    masked = jax.jit(lambda u: jax.lax.map(pairs_gauge, u))
    u = draws.scores[:2048]
    contenders = {
        "fill: our Philox, one number a component": fill,
        "fill: jax.random.uniform, default key": lambda: threefry(jax.random.key(0)),
        "fill: NumPy PCG64 random, float32": lambda: rng.random(out=buffer, dtype=np.float32),
        "fill: NumPy PCG64 standard_normal, float32": lambda: rng.standard_normal(
            out=buffer, dtype=np.float32
        ),
        "sample, law uniform (scores, gauge, latents)": lambda: el.sample(key, state, n, law="uniform"),
        "sample, law normal": lambda: el.sample(key, state, n, law="normal"),
        "sample, law sequential": lambda: el.sample(key, state, n, law="sequential"),
        "sample, law redraw": lambda: el.sample(key, state, n, law="redraw"),
    }
    rates = {name: n / t for name, t in median_times(contenders, arguments.repeats).items()}
    literal_rows = max(2, 200_000 // (k * (k - 1) // 2))
    literal = {"literal loop of the source, Python": lambda: literal_loop(rng, k, literal_rows)}
    rates |= {name: literal_rows / t for name, t in median_times(literal, arguments.repeats).items()}
    gauges = median_times(
        {"gauge, O(K)": lambda: fast(u), "gauge, all pairs": lambda: masked(u)}, arguments.repeats
    )

    print(
        f"jax {jax.__version__}, numpy {np.__version__}, Python {platform.python_version()}, "
        f"{jax.devices()[0].platform}, {platform.machine()}; K = {k}, n = {n}"
    )
    base = rates["fill: our Philox, one number a component"]
    loop = rates["literal loop of the source, Python"]
    print(f"{'':48}{'vectors/s':>12}{'of fill':>9}{'x loop':>10}")
    for name, rate in rates.items():
        print(f"{name:48}{rate:12,.0f}{rate / base:9.3f}{rate / loop:10,.0f}")
    print(
        f"gauge in O(K): {gauges['gauge, all pairs'] / gauges['gauge, O(K)']:,.0f} times as fast as all pairs"
    )


if __name__ == "__main__":
    main()
