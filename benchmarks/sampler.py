"""Sampling rates of every law against bare random numbers and against plain NumPy.

All contenders of a table run interleaved in one process, and each hands out a new array; the tables give
medians as ratios, since absolute times on a shared machine mean little.

    python benchmarks/sampler.py [--components 256] [--rows 200000] [--repeats 7]
    python benchmarks/sampler.py mixture [--components 120] [--rows 131072]
    python benchmarks/sampler.py scaling|memory|first
"""

import argparse
import platform
import subprocess
import sys
import time
from collections import deque

import jax
import jax.numpy as jnp
import numpy as np
import peers

import ellipsoid as el
from ellipsoid.random import CounterStream, philox_words, row_words, uniform_signed
from ellipsoid.regions import pairs_gauge
from ellipsoid.sequence import RowSequence, block_rows
from ellipsoid.settings import DrawSettings

LEVEL = el.DEFAULT_LEVEL


def make_state(k, d=None):
    """Make a state of `k` components in `d` dimensions (`k` by default) with a spread of scales."""
    rng, d = np.random.default_rng(0), d or k
    components = np.linalg.qr(rng.normal(size=(d, d)))[0][:k]
    scale = np.geomspace(2, 0.02, k)
    fields = (rng.normal(size=d), components, scale, scale**2, scale**2 / np.sum(scale**2))
    return el.PCAState(*(jnp.asarray(field, jnp.float32) for field in fields), n_samples=1000)


def make_mixture(m, k, d):
    """Make a mixture of `m` parts, each with own weight, centre, axes and scales."""
    rng, shared = np.random.default_rng(m), make_state(k, d)
    rotations = np.linalg.qr(rng.normal(size=(m, k, k)))[0]
    scale = rng.uniform(0.02, 2, (m, k))
    fields = (rng.normal(size=(m, d)), rotations @ shared.components, scale, scale**2, scale**2)
    parts = (jnp.asarray(field, jnp.float32) for field in fields)
    weights = jnp.asarray(rng.dirichlet(np.full(m, 5.0)), jnp.float32)
    return el.Mixture(weights, el.PCAState(*parts, n_samples=jnp.full(m, 1000)), shared)


def median_times(contenders, repeats):
    """Give the seconds of each contender, the median of interleaved runs after one warm-up each."""
    times = {name: [] for name in contenders}
    for run in contenders.values():
        jax.block_until_ready(run())
    for _ in range(repeats):
        for name, run in contenders.items():
            start = time.perf_counter()
            jax.block_until_ready(run())
            times[name].append(time.perf_counter() - start)
    return {name: float(np.median(values)) for name, values in times.items()}


def heading(text):
    """Print a heading with the versions."""
    versions = f"jax {jax.__version__}, numpy {np.__version__}, Python {platform.python_version()}"
    print(f"\n{text}; {versions}, {jax.devices()[0].platform}, {platform.machine()}", flush=True)


def bare_fill(k):
    """Compile a fill of rows of `k` numbers, as the laws make it."""
    words = philox_words(el.key(0))

    def fill_row(words, row):
        return uniform_signed(row_words(words, row, CounterStream.FILL, k))

    fill = jax.jit(lambda words, rows: jax.vmap(lambda row: fill_row(words, row))(rows))
    return lambda rows: fill(words, rows)


def first_rows(n):
    """Give row numbers from 0 on, as pairs of words."""
    return np.arange(n, dtype=np.uint32), np.zeros(n, np.uint32)


def score_program(law, state):
    """Give the program that `sample` draws a block of scores with."""
    sequence = RowSequence.of(el.key(0), state, DrawSettings(law, LEVEL))
    return lambda rows, into=None: sequence.draw_scores(rows, None, into)


def scores_alone(state, n, law):
    """Compile one program that hands out scores; what else `sample` makes is left out by the compiler."""
    return jax.jit(lambda key: el.sample(key, state, n, law=law).scores)


def library_peers(state, n):
    """Return other libraries' samplers of a Gaussian in the latent space, where they are installed."""
    samplers = {}
    mean = np.asarray(state.mean, np.float64)
    root = np.asarray(state.components, np.float64).T * np.asarray(state.scale, np.float64)
    covariance = root @ root.T
    from sklearn.mixture import GaussianMixture

    mixture = GaussianMixture(1)
    mixture.weights_, mixture.means_, mixture.covariances_ = np.ones(1), mean[None], covariance[None]
    samplers["scikit-learn GaussianMixture.sample"] = lambda: mixture.sample(n)[0]
    try:
        import torch  # pyright: ignore[reportMissingImports]
    except ImportError:
        print("(PyTorch is not installed: left out)")
    else:
        torch.manual_seed(0)
        normal = torch.distributions.MultivariateNormal(
            torch.tensor(mean, dtype=torch.float32), torch.tensor(covariance, dtype=torch.float32)
        )
        samplers["PyTorch MultivariateNormal.sample"] = lambda: normal.sample((n,)).numpy()
    return samplers


def compare(k, n, repeats):
    """Compare closed-form laws and their parts with fills, NumPy and other libraries."""
    heading(f"K = {k} components in {k} dimensions, n = {n:,}")
    state, key, rng = make_state(k), el.key(0), np.random.default_rng(0)
    default_key = jax.random.key(0)
    fill = jax.jit(lambda key: jax.random.uniform(key, (n, k)))
    bell = jax.jit(lambda key: jax.random.normal(key, (n, k)))
    product = jax.jit(state.reconstruct)
    scores = jnp.asarray(rng.random((n, k), np.float32))
    contenders = {
        "fill: jax.random.uniform, our key": lambda: fill(key),
        "fill: jax.random.uniform, default key": lambda: fill(default_key),
        "fill: NumPy PCG64 random": lambda: rng.random((n, k), np.float32),
        "fill: jax.random.normal, our key": lambda: bell(key),
        "fill: jax.random.normal, default key": lambda: bell(default_key),
        "fill: NumPy PCG64 standard_normal": lambda: rng.standard_normal((n, k), np.float32),
        "product with the principal axes": lambda: product(scores),
        "uniform in batched NumPy, scores": lambda: peers.uniform(rng, n, k),
        "normal in batched NumPy, scores": lambda: peers.normal(rng, n, k, LEVEL),
    }
    for law in ("uniform", "normal"):
        alone = scores_alone(state, n, law)
        contenders[f"{law}, scores alone"] = lambda alone=alone: alone(key)
        contenders[f"{law}, sample: latents, scores, gauge"] = lambda law=law: el.sample(
            key, state, n, law=law
        )
    contenders |= library_peers(state, n)
    times = median_times(contenders, repeats)

    names = list(contenders)
    base, shown = names[0], (names[0], names[1], names[2], names[5])
    print(f"{'vectors/s, and in fills':52}{'ours':>8}{'default':>9}{'PCG64':>9}{'PCG64 normal':>14}")
    for name, seconds in times.items():
        ratios = "".join(f"{times[other] / seconds:{9 if i < 3 else 14}.2f}" for i, other in enumerate(shown))
        print(f"{name:40}{n / seconds:12,.0f}{ratios[1:]}")
    bound = times[base] + times["product with the principal axes"]
    for law in ("uniform", "normal"):
        share = bound / times[f"{law}, sample: latents, scores, gauge"]
        print(f"{law}: sample reaches {share:.2f} of the bound 1 / (1 / fill + 1 / product)")


def scikit_learn_mixture(mixture):
    """Return scikit-learn's mixture with the same weights, centres and covariances."""
    from sklearn.mixture import GaussianMixture

    parts = mixture.parts
    roots = np.asarray(parts.components, np.float64) * np.asarray(parts.scale, np.float64)[:, :, None]
    peer = GaussianMixture(mixture.n_parts, random_state=0)
    weights = np.asarray(mixture.weights, np.float64)
    peer.weights_, peer.means_ = weights / weights.sum(), np.asarray(parts.mean, np.float64)
    # Scikit-learn's default addition to the diagonal: without it, the decomposition of one part does not
    # converge.
    peer.covariances_ = roots.mT @ roots + 1e-6 * np.eye(mixture.n_features)
    return peer


def compare_mixtures(k, n, repeats):
    """Compare mixtures with one state and with scikit-learn's, at a level that cuts off next to nothing."""
    d, key, level = 256, el.key(0), 4.0
    heading(f"mixtures, K = {k} components in {d} dimensions, n = {n:,}, level {level:g}")
    state, mixtures = make_state(k, d), {m: make_mixture(m, k, d) for m in (10, 50)}
    contenders = {}
    for law in ("uniform", "normal"):
        contenders[f"{law}: one state"] = lambda law=law: el.sample(key, state, n, law=law, level=level)
        for m, mixture in mixtures.items():
            contenders[f"{law}: {m} parts"] = lambda law=law, mixture=mixture: el.sample(
                key, mixture, n, law=law, level=level
            )
    for m, mixture in mixtures.items():
        peer = scikit_learn_mixture(mixture)
        contenders[f"scikit-learn: {m} parts"] = lambda peer=peer: peer.sample(n)[0]
    times = median_times(contenders, repeats)
    for name, seconds in times.items():
        law, parts = name.split(": ")
        if law == "scikit-learn":
            ratio = f"`normal` is {seconds / times[f'normal: {parts}']:.1f} times as fast"
        else:
            ratio = f"{times[f'{law}: one state'] / seconds:.2f} of one state"
        print(f"{name:28}{n / seconds:12,.0f} vectors/s, {ratio}")


def compare_blocks(k, repeats):
    """Compare the parts of one block, in memory that is used again, without the copy into the result."""
    state, rng = make_state(k), np.random.default_rng(0)
    region, size = el.PairwiseEllipses(), block_rows(k, "uniform", "cpu")
    heading(f"one block of {size:,} rows, K = {k}")
    rows = first_rows(size)
    memory = np.empty((size, k), np.float32)
    scores, spare = jnp.ones((size, k)), {}

    fill, product = bare_fill(k), jax.jit(state.reconstruct)
    default_fill = jax.jit(lambda key: jax.random.uniform(key, (size, k)))
    gauge, default_key = jax.jit(region.gauge), jax.random.key(0)
    sequences = {
        law: RowSequence.of(el.key(0), state, DrawSettings(law, LEVEL)) for law in ("uniform", "normal")
    }

    def draw(law, complete):
        memory = spare.setdefault((law, complete), deque([(None, None)] * 2))
        into_scores, into_latents = memory.popleft()
        scores = sequences[law].draw_scores(rows, None, into_scores)
        if not complete:
            memory.append((scores, None))
            return scores
        latents, gauge = sequences[law].complete(scores, None, into_latents)
        memory.append((scores, latents))
        return latents, gauge

    contenders = {
        "fill: ours": lambda: fill(rows),
        "fill: jax.random.uniform, default key": lambda: default_fill(default_key),
        "fill: NumPy PCG64 random": lambda: rng.random(out=memory, dtype=np.float32),
        "fill: NumPy PCG64 standard_normal": lambda: rng.standard_normal(out=memory, dtype=np.float32),
        "product with the principal axes": lambda: product(scores),
        "gauge": lambda: gauge(scores),
        "uniform, scores": lambda: draw("uniform", False),
        "uniform, all": lambda: draw("uniform", True),
        "normal, scores": lambda: draw("normal", False),
        "normal, all": lambda: draw("normal", True),
    }

    def several(run):
        return lambda: [run() for _ in range(8)][-1]

    times = median_times({name: several(run) for name, run in contenders.items()}, 3 * repeats)
    shown = list(times)[:4]
    print(f"{'vectors/s, and in fills':52}{'ours':>8}{'default':>9}{'PCG64':>9}{'PCG64 normal':>14}")
    bound = times["fill: ours"] + times["product with the principal axes"]
    for name, seconds in times.items():
        ratios = "".join(f"{times[other] / seconds:{9 if i < 3 else 14}.2f}" for i, other in enumerate(shown))
        share = f"{bound / seconds:8.2f} of the bound" if name.endswith("all") else ""
        print(f"{name:40}{8 * size / seconds:12,.0f}{ratios[1:]}{share}")


def compare_procedures(k, n, repeats):
    """Compare redraw and sequential with loops and batches."""
    heading(f"the source's procedures, K = {k}, n = {n:,}")
    state, key, rng = make_state(k), el.key(0), np.random.default_rng(0)
    few, some = max(2, 300_000 // k**2), max(256, n // 16)
    contenders = {
        "redraw: loop over lists": (few, lambda: peers.redraw_loop(few, k)),
        "redraw: loop, numbers made at once": (few, lambda: peers.redraw_tuned_loop(rng, few, k)),
        "redraw: batched NumPy, rounds over all pairs": (some, lambda: peers.redraw_rounds(rng, some, k)),
        "redraw: batched NumPy, events": (some, lambda: peers.redraw_events(rng, some, k)),
        "redraw: sample": (n, lambda: el.sample(key, state, n, law="redraw")),
        "sequential: batched NumPy": (some, lambda: peers.sequential(rng, some, k)),
        "sequential: sample": (n, lambda: el.sample(key, state, n, law="sequential")),
    }
    times = median_times({name: run for name, (_, run) in contenders.items()}, repeats)
    rates = {name: count / times[name] for name, (count, _) in contenders.items()}
    for name, rate in rates.items():
        ours = rates[f"{name.split(':')[0]}: sample"]
        print(f"{name:48}{rate:12,.0f} vectors/s, ours is {ours / rate:9,.1f} times as fast")


def compare_gauge(k, repeats):
    """Compare the O(K) gauge with the masked K x K form, with equal answers."""
    u = jnp.asarray(np.random.default_rng(0).uniform(-0.8, 0.8, (2048, k)), jnp.float32)
    fast, full = jax.jit(el.PairwiseEllipses().gauge), jax.jit(lambda u: jax.lax.map(pairs_gauge, u))
    assert jnp.array_equal(fast(u), full(u))
    times = median_times({"fast": lambda: fast(u), "full": lambda: full(u)}, repeats)
    ratio = times["full"] / times["fast"]
    print(f"gauge in O(K), K = {k}: {ratio:,.0f} times as fast as all pairs, equal bits")


def sixteen_blocks(law, k):
    """Make a contender: scores of 16 blocks, in memory that is used again."""
    draw, rows = score_program(law, make_state(k)), first_rows(block_rows(k, law, "cpu"))
    spare: deque = deque([None, None])

    def run():
        for _ in range(16):
            spare.append(draw(rows, spare.popleft()))
        return spare[-1]

    return run


def scaling(repeats):
    """Time per component of the closed-form laws against K."""
    heading("nanoseconds per component, scores of 16 blocks")
    sizes = (64, 128, 256, 512, 1024, 2048, 4096)
    runs = {(law, k): sixteen_blocks(law, k) for law in ("uniform", "normal") for k in sizes}
    times = median_times(runs, repeats)
    for law in ("uniform", "normal"):
        each = [times[law, k] / (16 * block_rows(k, law, "cpu") * k) * 1e9 for k in sizes]
        print(f"{law:10}" + "".join(f"  K = {k}: {value:.2f}" for k, value in zip(sizes, each, strict=True)))
        print(f"{'':10}largest over smallest: {max(each) / min(each):.2f}")


MEMORY = """
import resource, sys
sys.path.insert(0, {folder!r})
import numpy as np, ellipsoid as el
from sampler import make_state
state, n = make_state(256), int(sys.argv[1])
for start in range(0, n, 65_536):
    index = np.arange(start, min(start + 65_536, n), dtype=np.uint64)
    el.sample_at(el.key(0), state, index, law="uniform").latents.block_until_ready()
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""

FIRST = """
import sys, time
sys.path.insert(0, {folder!r})
import ellipsoid as el
from sampler import make_state
state = make_state(256)
state.scale.block_until_ready()
for _ in range(2):
    start = time.perf_counter()
    el.sample(el.key(0), state, 16, law=sys.argv[1]).latents.block_until_ready()
    print(f"{{time.perf_counter() - start:.3f}}")
"""


def in_new_process(script, argument):
    """Give the words that a script prints."""
    script = script.format(folder=__file__.rsplit("/", 1)[0])
    command = [sys.executable, "-c", script, str(argument)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()


def memory():
    """Measure the peak memory of a process that draws n vectors in chunks."""
    heading("peak memory, K = 256, law uniform, chunks of 65,536 rows")
    for n in (65_536, 10**6, 10**7):
        print(f"n = {n:12,}: {in_new_process(MEMORY, n)[0]} MB")


def first():
    """Time the first call (tracing and compiling) and the second call in a new process."""
    heading("16 vectors of 256 components in a new process, first and second call")
    for law in ("uniform", "normal", "sequential", "redraw"):
        print(f"{law:12}" + " s, ".join(in_new_process(FIRST, law)) + " s")


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Sampling rates against peers, as ratios in one run.")
    parser.add_argument(
        "what", nargs="?", choices=("rates", "mixture", "scaling", "memory", "first"), default="rates"
    )
    parser.add_argument("--components", type=int, nargs="+", help="256, or 120 of mixtures")
    parser.add_argument("--rows", type=int, nargs="+", help="20,000 and 200,000, or 131,072 of mixtures")
    parser.add_argument("--repeats", type=int, default=7)
    arguments = parser.parse_args()
    if arguments.what == "scaling":
        scaling(arguments.repeats)
    elif arguments.what == "memory":
        memory()
    elif arguments.what == "first":
        first()
    elif arguments.what == "mixture":
        for k in arguments.components or [120]:
            for n in arguments.rows or [131_072]:
                compare_mixtures(k, n, arguments.repeats)
    else:
        for k in arguments.components or [256]:
            for n in arguments.rows or [20_000, 200_000]:
                compare(k, n, arguments.repeats)
            compare_blocks(k, arguments.repeats)
            compare_procedures(k, 2**24 // k, arguments.repeats)
            compare_gauge(k, arguments.repeats)


if __name__ == "__main__":
    main()
