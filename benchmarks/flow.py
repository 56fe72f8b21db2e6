"""The cost of a flow and its quality: ratios side by side in one run.

    python benchmarks/flow.py rates [--components 64 256]      # drawing and judging against decoding images
    python benchmarks/flow.py fit [--components 64 256]        # time of a step and memory, by rows and K
    python benchmarks/flow.py images DATA --out FOLDER         # decoded draws, beside those of others
    python benchmarks/flow.py scale                            # as many latents as CelebA has
    python benchmarks/flow.py steps LATENTS.npy                # quality by the steps along the field
    python benchmarks/flow.py peers [LATENTS.npy]              # against the flows of flowjax, if installed

The network is of the default size. Rates are of a random network whose last layer is not zero. A draw costs
the same whatever was learned; the way back takes more iterations where the field is steeper. The images have
64 x 64 pixels in colour, and are decoded from 256 latents by an untrained network of the usual layers. All
contenders are timed in turn, and the table gives medians. With --quick all sizes are small, and the figures
mean little.
"""

import argparse
import dataclasses
import functools
import itertools
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from sampler import make_state

import ellipsoid as el
from ellipsoid.blocks import n_cores
from ellipsoid.flow_fitting import DEFAULT_STEPS


def make_flow(k):
    """Make a flow of `k` components with a random field of the default size."""
    latents = np.random.default_rng(0).normal(size=(2 * k, k))
    velocity = el.fit_flow(latents, steps=1, n_steps=1).velocity
    last = 0.5 * jr.normal(jr.key(1), velocity.last.shape) / np.sqrt(velocity.last.shape[0])
    state = make_state(k)
    return el.Flow(state, velocity._replace(last=last), state.scale, jnp.float32(1), jnp.zeros(0))


def medians(contenders, repeats):
    """Give the median seconds of each contender, in turn, after one untimed round."""
    seconds = {name: [] for name in contenders}
    for repeat in range(repeats + 1):
        for name, run in contenders.items():
            started = time.perf_counter()
            jax.block_until_ready(run())
            if repeat:
                seconds[name].append(time.perf_counter() - started)
    return {name: float(np.median(values)) for name, values in seconds.items()}


# --- rates -----------------------------------------------------------------------------------------


def rates(options):
    """Print rows a second of drawing and judging beside images decoded a second."""
    from flax import nnx

    from ellipsoid.models import Autoencoder, AutoencoderConfig
    from ellipsoid.models.autoencoder import decode_latents

    autoencoder = Autoencoder(AutoencoderConfig.celeba(), rngs=nnx.Rngs(0))
    latents = np.asarray(jr.normal(jr.key(0), (options.rows, 256)))
    contenders: dict[str, Callable[[], Any]] = {"decode images": lambda: decode_latents(autoencoder, latents)}
    for k in options.components:
        random = make_flow(k)
        for n_steps in options.n_steps:
            flow = dataclasses.replace(random, n_steps=n_steps)
            draw = functools.partial(el.sample, el.key(0), flow, options.rows, law="uniform", level=2.45)
            z = draw().latents
            contenders[f"draw K={k}, {n_steps} steps"] = draw
            contenders[f"gauge K={k}, {n_steps} steps"] = functools.partial(el.gauge, flow, z)
        contenders[f"draw K={k}, one ellipsoid"] = functools.partial(
            el.sample, el.key(0), make_state(k), options.rows, law="uniform", level=2.45
        )
    seconds = medians(contenders, options.repeats)
    decoding = seconds["decode images"]
    print(f"{'':28}{'rows/s':>12}{'time / decoding':>18}")
    for name, taken in seconds.items():
        print(f"{name:28}{options.rows / taken:12,.0f}{taken / decoding:18.3f}", flush=True)


# --- fit -------------------------------------------------------------------------------------------


def fit(options):
    """Print the time of a step and the peak of memory for several numbers of rows and components."""
    print(f"{'K':>5}{'rows':>10}{'width':>7}{'ms a step':>12}{'rows/s':>10}{'peak memory':>14}")
    for k in options.components:
        for n in options.sizes:
            command = [sys.executable, __file__, "once", "--components", str(k), "--sizes", str(n)]
            command += ["--fit-steps", str(options.fit_steps)]
            print(
                subprocess.run(command, check=True, capture_output=True, text=True).stdout, end="", flush=True
            )


def once(options):
    """Fit in a separate process, whose memory nothing else has used."""
    (k,), (n,) = options.components, options.sizes
    rng = np.random.default_rng(0)
    latents = np.tanh(rng.standard_normal((n, k), np.float32)) + np.sign(
        rng.standard_normal((n, 1), np.float32)
    )
    # Two fits that differ by their steps alone, each a second time, with nothing left to compile.
    seconds, flow = {}, None
    for count in (1, 2):
        for _ in range(2):
            started = time.perf_counter()
            flow = el.fit_flow(latents, k, steps=count * options.fit_steps, n_steps=8)
            seconds[count] = time.perf_counter() - started
    assert flow is not None
    step = (seconds[2] - seconds[1]) / options.fit_steps
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"{k:5}{n:10,}{flow.velocity.hidden.shape[1]:7}{1000 * step:12.1f}{512 / step:10,.0f}{peak:11.2f} GiB"
    )


# --- quality ---------------------------------------------------------------------------------------


def energy_score(draws, latents):
    """Measure how far draws are from latents, less half of how far apart they are; less is better."""
    from scipy.spatial.distance import cdist, pdist

    return cdist(latents, draws).mean() - pdist(draws).mean() / 2


def split(path, k, n):
    """Give latents to train on and to test with; without a path, they have a made shape."""
    if path is None:
        rng = np.random.default_rng(0)
        z = rng.normal(size=(n, k)) @ (rng.normal(size=(k, k)) / np.sqrt(k))
        z = (z + 0.5 * np.tanh(3 * z) + 2 * np.sign(rng.normal(size=(n, 1)))).astype(np.float32)
    else:
        z = np.load(path)[:n].astype(np.float32)
    order = np.random.default_rng(1).permutation(len(z))
    return z[order[len(z) // 6 :]], z[order[: len(z) // 6]]


def latents_of_a_deep_network(n, k, seed=0):
    """Make latents ``(n, k)`` by a random network from normal vectors and one of thirty classes."""
    rng = np.random.default_rng(seed)
    widths = (64, 256, 256, 256, k)
    layers = [rng.standard_normal(shape) / np.sqrt(shape[0]) for shape in itertools.pairwise(widths)]
    classes = 1.5 * rng.standard_normal((30, widths[0]))
    z = rng.standard_normal((n, widths[0])) + classes[rng.integers(30, size=n)]
    for layer in layers[:-1]:
        z = np.tanh(1.5 * z @ layer)
    # The leading axes have most of the variance, as those of images do.
    z = z @ layers[-1] * np.arange(1, k + 1) ** -0.5
    return (z + 0.02 * rng.standard_normal(z.shape)).astype(np.float32)


def scale(options):
    """Print what a flow costs and is worth with as many latents as CelebA has training images."""
    n, k = options.n_latents, options.components[-1]
    z = latents_of_a_deep_network(n + 2000, k)
    train, held = z[:n], z[n:]
    detector = el.metrics.CopyDetector(train, held)

    def line(label, shape, seconds):
        if shape is None:
            draws = train[np.random.default_rng(1).permutation(n)[: len(held)]]
        else:
            draws = np.asarray(el.sample(el.key(1), shape, len(held), law="normal", level=6.0).latents)
        near = el.metrics.precision_recall(held, draws)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        score, copies = energy_score(draws, held), detector.test(draws).share.value
        near = f"{near.precision.value:11.3f}{near.recall.value:8.3f}"
        print(f"{label:36}{seconds:10.0f}{peak:10.2f}{score:12.4f}{near}{copies:8.1%}", flush=True)

    def timed(fit_shape):
        started = time.process_time()
        shape = fit_shape()
        return shape, time.process_time() - started

    print(f"{n:,} latents x {k}; {len(held):,} held out, and as many draws; memory is the peak until then\n")
    print(f"{'':36}{'CPU s':>10}{'GiB':>10}{'energy':>12}{'precision':>11}{'recall':>8}{'copies':>8}")
    line("training latents", None, 0)
    line("one ellipsoid", *timed(lambda: el.fit(train)))
    flow, seconds = timed(lambda: el.fit_flow(train, steps=options.fit_steps))
    line(f"flow, {options.fit_steps:,} steps", flow, seconds)
    print(
        f"    {1000 * seconds / options.fit_steps:.0f} ms of processor a step, held-out loss {flow.loss:.3f}"
    )
    for m in (200, 1000):
        line(
            f"mixture of {m}, fitted to 20,000", *timed(lambda m=m: el.fit_mixture(train, m, max_rows=20_000))
        )


def steps(options):
    """Print what fewer steps along the field lose."""
    train, test = split(options.latents, options.components[0], options.n_latents)
    started = time.perf_counter()
    flow = el.fit_flow(train, steps=options.fit_steps)
    took = time.perf_counter() - started
    print(f"{flow!r}\n  fitted in {took:.0f} s: {options.fit_steps} steps\n")
    settings = {"law": "normal", "level": 6.0}
    plain = np.asarray(el.sample(el.key(1), el.fit(train), len(test), **settings).latents)
    print(f"{'steps':>16}{'energy score':>14}{'apart':>9}{'returned':>11}{'rows/s':>10}")
    print(f"{'one ellipsoid':>16}{energy_score(plain, test):14.4f}")
    finest = None
    for n_steps in (64, 48, 32, 24, 16, 12, 8, 6, 4):
        one = dataclasses.replace(flow, n_steps=n_steps)
        el.sample(el.key(1), one, 300, **settings)
        started = time.perf_counter()
        draws = jax.block_until_ready(el.sample(el.key(1), one, len(test), **settings))
        rate = len(test) / (time.perf_counter() - started)
        z = np.asarray(draws.latents)
        finest = z if finest is None else finest
        apart = np.sqrt(np.mean(np.square(z - finest)) / np.mean(np.var(finest, axis=0)))
        returned = np.abs((jax.jit(one.project)(z[:256]) - draws.scores[:256]) / flow.scale).max()
        score = energy_score(z, test)
        print(f"{n_steps:16}{score:14.4f}{apart:9.4f}{returned:11.1e}{rate:10,.0f}", flush=True)


# --- images ----------------------------------------------------------------------------------------

# Numbers of parts of the mixtures that are compared with a flow.
MIXTURES = {"demo": (50, 200), "portraits": (200,), "fashion": (200, 500)}
LAWS = {
    "normal": {"law": "normal", "level": 6.0},
    "normal at 2.9": {"law": "normal", "level": 2.9},
    "uniform, matched": {"law": "uniform"},
    "redraw at 2.35": {"law": "redraw", "level": 2.35},
}


class Run(NamedTuple):
    """Latents of a run and of images that it has not seen, a decoder, and features to judge by."""

    latents: np.ndarray
    unseen_latents: np.ndarray
    unseen: np.ndarray
    decode: Callable[[np.ndarray], np.ndarray]
    spaces: dict[str, Callable[[np.ndarray], np.ndarray]]


def load_run(name, options):
    """Run of `quality.py`, or of the demonstration; trained if it is not there."""
    import quality

    from ellipsoid.models import procedural_faces
    from ellipsoid.models.autoencoder import decode_latents, encode_images
    from ellipsoid.models.features import feature_space
    from ellipsoid.runs import RunFolder

    out = options.out / name
    known, unseen = quality.load_images(Path(options.latents or "."), name)
    autoencoder = quality.trained(name, known, unseen, out)
    flipped = name in quality.CONFIGS and bool(quality.CONFIGS[name][1].horizontal_flip)
    if name == "demo":  # more of them cost nothing
        unseen = procedural_faces(quality.MOST_IMAGES, known.shape[1], key=el.key(77)).images
    elif len(unseen) > quality.MOST_IMAGES:
        chosen = np.random.default_rng(0).permutation(len(unseen))[: quality.MOST_IMAGES]
        unseen = unseen[np.sort(chosen)]
    spaces = {
        space: feature_space(space, images=known, path=out / "features.npz", horizontal_flip=flipped)
        for space in options.features
    }
    latents = np.load(RunFolder(out).latents)
    if flipped:
        mirrored = known[:, :, ::-1]
        latents = np.concatenate([latents, encode_images(autoencoder, mirrored, progress=False)])
    return Run(
        latents,
        encode_images(autoencoder, unseen, progress=False),
        unseen,
        lambda z: decode_latents(autoencoder, z, progress=False),
        spaces,
    )


def images(options):
    """Print how good the decoded draws of flows are, over keys of fits and of draws, beside other shapes."""
    for name in options.only:
        judge_run(name, options)


def judge_run(name, options):
    """Judge the shapes of one run."""
    run = load_run(name, options)
    latents, n = run.latents, len(run.unseen)
    judges = {space: ImageJudge.of(run, features) for space, features in run.spaces.items()}
    tables = {space: [] for space in judges}

    def judge(label, draws):
        """Judge sets of draws, a list for each fit."""
        decoded = [[run.decode(z) for z in sets] for sets in draws]
        for space, one in judges.items():
            figures = np.array([[one.figures(x) for x in sets] for sets in decoded])
            tables[space].append(line_of(label, figures))
            print(f"{space:8} {tables[space][-1]}", flush=True)

    rng = np.random.default_rng(0)
    sets = [latents[rng.permutation(len(latents))[:n]] for _ in range(options.draw_keys)]
    judge("reconstructions of training images", [sets])
    shapes: dict[str, Callable[[Any], Any]] = {"full Gaussian": lambda key: el.fit(latents)}
    for m in MIXTURES[name] if options.mixtures is None else options.mixtures:
        fit_shape = functools.partial(el.fit_mixture, latents, m, max_rows=20_000)
        shapes[f"mixture of {m}"] = lambda key, fit_shape=fit_shape: fit_shape(key=key)
    shapes["flow"] = lambda key: el.fit_flow(latents, key=key, steps=options.fit_steps)
    for label, fit_shape in shapes.items():
        fits = 1 if label == "full Gaussian" else options.fit_keys
        started = time.process_time()
        fitted = [fit_shape(el.key(100 + i)) for i in range(fits)]
        print(f"{label}: {(time.process_time() - started) / fits:.0f} processor seconds a fit", flush=True)
        for law in options.laws if label == "flow" else ["normal"]:
            settings = LAWS[law]
            if settings["law"] == "uniform":
                settings = {**settings, "level": el.matched_level(fitted[0].n_components, "uniform")}
            draws = [
                [
                    np.asarray(el.sample(el.key(i), shape, n, **settings).latents)
                    for i in range(options.draw_keys)
                ]
                for shape in fitted
            ]
            judge(f"{label}, {law}", draws)
    for space, lines in tables.items():
        print(f"\n**{name}**, {len(latents):,} latents x {latents.shape[1]}, {n} draws\n")
        print(f"| {space} | precision | recall | coverage | Fréchet | copies |")
        print("|---|---:|---:|---:|---:|---:|")
        print("\n".join(lines), "\n", flush=True)


class ImageJudge(NamedTuple):
    """Unseen images and a detector of copies, in one space of features."""

    features: Callable[[np.ndarray], np.ndarray]
    unseen: np.ndarray
    detector: Any

    @classmethod
    def of(cls, run, features):
        """Make the judge of a run."""
        known, unseen = (features(run.decode(z)) for z in (run.latents, run.unseen_latents))
        detector = el.metrics.CopyDetector(known, unseen)
        return cls(features, np.asarray(features(run.unseen)), detector)

    def figures(self, decoded):
        """Give precision, recall, coverage, Fréchet distance and share of copies."""
        drawn = np.asarray(self.features(decoded))
        near = el.metrics.precision_recall(self.unseen, drawn)
        coverage = el.metrics.density_coverage(self.unseen, drawn).coverage
        far = el.metrics.frechet_distance(self.unseen, drawn)
        copies = self.detector.test(drawn).share
        return [one.value for one in (near.precision, near.recall, coverage, far, copies)]


def line_of(label, figures):
    """Make a table's row: means of figures ``(fits, draws, 5)``, with errors by the keys of both."""
    n_fits, n_draws = figures.shape[:2]
    mean = figures.mean(axis=(0, 1))
    # Draws of one fit have that fit in common: several fits show both errors at once.
    sets = figures.mean(axis=1) if n_fits > 1 else figures[0]
    count = n_fits if n_fits > 1 else n_draws
    error = sets.std(axis=0, ddof=1) / np.sqrt(count) if count > 1 else np.zeros(5)
    cells = [f"{m:.3f} ± {e:.3f}" for m, e in zip(mean[:3], error[:3], strict=True)]
    cells += [f"{mean[3]:.2f} ± {error[3]:.2f}", f"{100 * mean[4]:.1f} ± {100 * error[4]:.1f} %"]
    return f"| {label} | " + " | ".join(cells) + " |"


# --- other flows -----------------------------------------------------------------------------------


def peers(options):
    """Print rates and held-out log-density of our flow and flowjax's, after the same time of training."""
    if find_spec("flowjax") is None:
        print("flowjax is not installed: nothing to compare with")
        return
    import equinox as eqx  # pyright: ignore[reportMissingImports]
    import optax
    from flowjax.distributions import Normal  # pyright: ignore[reportMissingImports]
    from flowjax.flows import (  # pyright: ignore[reportMissingImports]
        coupling_flow,
        masked_autoregressive_flow,
    )

    train, test = split(options.latents, options.components[0], options.n_latents)
    k = train.shape[1]
    rows = min(options.rows, 2048)
    started = time.perf_counter()
    flow = el.fit_flow(train, steps=options.fit_steps, n_steps=16)
    budget = time.perf_counter() - started
    n_weights = sum(leaf.size for leaf in jax.tree.leaves(flow.velocity))
    state = el.fit(train)
    deviations = np.sqrt(np.asarray(state.explained_variance))

    def whitened(z):
        return jnp.asarray(state.project(z) / deviations, jnp.float32)

    def log_density(z):
        """Give the log-density over whitened latents, which all contenders get."""
        logs = el.log_prob(flow, latents=z, law="normal", level=8.0, over="latents")
        return float(jnp.mean(logs)) + float(np.sum(np.log(deviations)))

    def draw():
        return el.sample(el.key(1), flow, rows, law="normal", level=8.0).latents

    judged, x_test, x = test[: options.judged], whitened(test[: options.judged]), whitened(train)
    x_held, x_train = x[: len(x) // 20], x[len(x) // 20 :]
    plain = float(jnp.mean(jax.scipy.stats.norm.logpdf(x_test).sum(axis=-1)))
    one = np.asarray(el.sample(el.key(1), state, rows, law="normal", level=8.0).latents)
    table: dict[str, tuple[int, float, float, Callable[[], Any] | None, float]] = {
        "one Gaussian": (0, 0.0, plain, None, energy_score(one, test))
    }
    z = np.asarray(draw())
    table["ellipsoid's flow"] = (n_weights, budget, log_density(judged), draw, energy_score(z, test))

    @eqx.filter_jit
    def log_densities(model, x):
        return model.log_prob(x)

    @eqx.filter_jit
    def train_steps(model, moments, key):
        def one(carry, key):
            weights, moments = carry
            batch = x_train[jr.randint(key, (512,), 0, len(x_train))]
            gradient = jax.grad(lambda w: -jnp.mean(eqx.combine(w, static).log_prob(batch)))(weights)
            update, moments = optimizer.update(gradient, moments, weights)
            return (optax.apply_updates(weights, update), moments), None

        weights, static = eqx.partition(model, eqx.is_inexact_array)
        (weights, moments), _ = jax.lax.scan(one, (weights, moments), jr.split(key, 50))
        return eqx.combine(weights, static), moments

    for name, make in (("coupling", coupling_flow), ("masked autoregressive", masked_autoregressive_flow)):

        def of_width(width, make=make):
            return make(jr.key(0), base_dist=Normal(jnp.zeros(k)), nn_width=width, nn_depth=2, flow_layers=8)

        def count(model):
            leaves = [leaf for leaf in jax.tree.leaves(model) if hasattr(leaf, "dtype")]
            return sum(leaf.size for leaf in leaves if jnp.issubdtype(leaf.dtype, jnp.inexact))

        width = min(
            range(16, 513, 16),
            key=lambda width: abs(count(eqx.filter_eval_shape(of_width, width)) - n_weights),
        )
        model = of_width(width)
        optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(1e-3))
        moments = optimizer.init(eqx.filter(model, eqx.is_inexact_array))
        train_steps(model, moments, jr.key(0))  # compiles, outside of the time
        started, chunk = time.perf_counter(), 0
        held, best = -np.inf, model
        while time.perf_counter() - started < budget:
            model, moments = train_steps(model, moments, jr.fold_in(jr.key(2), chunk))
            chunk += 1
            density = float(jnp.mean(log_densities(model, x_held)))
            if density > held:
                held, best = density, model
        drawn = eqx.filter_jit(lambda key, best=best: best.sample(key, (rows,)))
        spent = time.perf_counter() - started
        z = np.asarray(state.reconstruct(np.asarray(drawn(jr.key(1))) * deviations))
        density = float(jnp.mean(log_densities(best, x_test)))
        score = energy_score(z, test) if np.isfinite(z).all() else np.nan
        table[f"{name}, {50 * chunk} steps"] = (
            count(model),
            spent,
            density,
            functools.partial(drawn, jr.key(1)),
            score,
        )
    seconds = medians({name: row[3] for name, row in table.items() if row[3]}, options.repeats)
    print(f"\n{'':34}{'weights':>10}{'fit s':>8}{'log-density':>13}{'energy':>9}{'draws/s':>10}")
    for name, (size, fit_seconds, density, _, score) in table.items():
        rate = f"{rows / seconds[name]:10,.0f}" if name in seconds else ""
        print(f"{name:34}{size:10,}{fit_seconds:8.0f}{density:13.2f}{score:9.4f}{rate}")


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("rates", "fit", "images", "scale", "steps", "peers", "once"))
    parser.add_argument("latents", nargs="?", default=None)
    parser.add_argument("--out", type=Path, default=None)
    parser.add_argument("--only", nargs="+", choices=tuple(MIXTURES), default=list(MIXTURES))
    parser.add_argument("--mixtures", type=int, nargs="*", default=None)
    parser.add_argument("--laws", nargs="+", choices=tuple(LAWS), default=list(LAWS))
    parser.add_argument("--features", nargs="+", default=["network", "pixels"])
    parser.add_argument("--fit-keys", type=int, default=3)
    parser.add_argument("--draw-keys", type=int, default=5)
    parser.add_argument("--components", type=int, nargs="+", default=[64, 256])
    parser.add_argument("--rows", type=int, default=2048)
    parser.add_argument("--n-steps", type=int, nargs="+", default=[16])
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000, 400_000])
    parser.add_argument("--fit-steps", type=int, default=None)
    parser.add_argument("--n-latents", type=int, default=None)
    parser.add_argument("--judged", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    if options.quick:
        options.rows, options.repeats, options.sizes, options.n_latents = 512, 1, [2000, 20_000], 3000
        options.judged = 20
    if options.n_latents is None:
        options.n_latents = 162_770 if options.what == "scale" else 12_000
    if options.fit_steps is None:
        few = 200 if options.what in ("fit", "once") or options.quick else 2000
        options.fit_steps = DEFAULT_STEPS if options.what == "images" and not options.quick else few
    if options.what != "once":
        print(
            f"jax {jax.__version__}, numpy {np.__version__}, Python {platform.python_version()}, "
            f"{jax.devices()[0].device_kind}, {platform.machine()}, {n_cores()} cores\n"
        )
    {
        "rates": rates,
        "fit": fit,
        "images": images,
        "scale": scale,
        "steps": steps,
        "peers": peers,
        "once": once,
    }[options.what](options)


if __name__ == "__main__":
    main()
