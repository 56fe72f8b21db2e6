"""Rates of the laws on an accelerator: shares of its copy bandwidth and of its bare random numbers.

Runs on whatever device JAX finds, so it can be tried on a CPU; the figures mean something on a GPU or TPU.

    python benchmarks/gpu.py [--components 256] [--log-numbers 28] [--repeats 10]
"""

import argparse

import jax
import jax.numpy as jnp
import numpy as np
from sampler import bare_fill, first_rows, heading, make_state, median_times, score_program

import ellipsoid as el


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Laws against bandwidth and random numbers of the device.")
    parser.add_argument("--components", type=int, default=256)
    parser.add_argument("--log-numbers", type=int, default=28, help="of random numbers in one program")
    parser.add_argument("--repeats", type=int, default=10)
    arguments = parser.parse_args()
    k, n = arguments.components, 2**arguments.log_numbers // arguments.components
    device = jax.devices()[0]
    heading(f"{device.device_kind}, K = {k}, n = {n:,}")

    state, key = make_state(k), el.key(0)
    rows, array, fill = jax.device_put(first_rows(n)), jnp.ones((n, k)), bare_fill(k)
    copy, product = jax.jit(lambda x: x + 1), jax.jit(state.reconstruct)
    gauge = jax.jit(el.PairwiseEllipses().gauge)

    def stock(kind):
        uniform, key = jax.jit(lambda key: jax.random.uniform(key, (n, k))), jax.random.key(0, impl=kind)
        return lambda: uniform(key)

    def scores(law):
        draw = score_program(law, state)
        return lambda: draw(rows)

    contenders = {
        "copy (reads and writes n K numbers)": lambda: copy(array),
        "product with the principal axes": lambda: product(array),
        "gauge": lambda: gauge(array),
        "fill: ours, by rows": lambda: fill(rows),
        "fill: jax.random.uniform, threefry2x32": stock("threefry2x32"),
        "fill: jax.random.uniform, rbg": stock("rbg"),
    }
    for law in ("uniform", "normal", "sequential", "redraw"):
        contenders[f"{law}, scores in one program"] = scores(law)
        contenders[f"{law}, sample"] = lambda law=law: el.sample(key, state, n, law=law)
    times = median_times(contenders, arguments.repeats)

    numbers, bare = n * k, times["fill: ours, by rows"]
    print(f"copy bandwidth {8 * numbers / times['copy (reads and writes n K numbers)'] / 1e9:,.0f} GB/s")
    print(f"{'':44}{'vectors/s':>14}{'numbers/s':>12}{'of fill':>9}{'GB/s written':>14}")
    for name, seconds in times.items():
        print(
            f"{name:44}{n / seconds:14,.0f}{numbers / seconds:12.3g}{bare / seconds:9.2f}"
            f"{4 * numbers / seconds / 1e9:14.1f}"
        )
    bound = bare + times["product with the principal axes"]
    for law in ("uniform", "normal"):
        print(f"{law}: sample reaches {bound / times[f'{law}, sample']:.2f} of 1 / (1 / fill + 1 / product)")
    empty = jax.jit(lambda x: x)
    launch = median_times({"launch": lambda: empty(np.float32(0))}, 100)["launch"]
    print(f"one launch from Python: {launch * 1e6:.0f} microseconds")


if __name__ == "__main__":
    main()
