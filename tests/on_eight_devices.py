"""Rows split over eight devices: the checks that test_sharding.py runs in a separate process.

The number of devices is set at the start of a process. Its checks share what it compiles; it prints the name
of each check and what went wrong.

    python on_eight_devices.py LAW [LAW ...]

The checks of every law take the laws that are named. The others take the law uniform, and run with it.
"""

import dataclasses
import json
import sys
import traceback
import warnings

import jax
import numpy as np
import pytest
from helpers import random_field
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import ellipsoid as el

N = 8 * 2500


class Devices:
    """State and mixture that most checks draw from, and a sharding of the rows over eight devices."""

    def __init__(self, laws):
        self.laws = laws
        rng = np.random.default_rng(0)
        self.state = el.fit(rng.normal(size=(500, 20)) @ np.diag(np.geomspace(3, 0.1, 20)))
        latents = rng.normal(size=(500, 20)) + 5 * np.eye(20)[np.arange(500) % 3]
        self.mixture = el.fit_by_label(latents, np.arange(500) % 3, 6)
        mesh = jax.make_mesh((8,), ("rows",), axis_types=(AxisType.Auto,))
        self.rows = NamedSharding(mesh, P("rows"))


def assert_same_rows(whole, dealt, sharding):
    for one, other in zip(whole, dealt, strict=True):
        assert other.sharding.is_equivalent_to(sharding, other.ndim)
        assert np.array_equal(one, other)


def check_same_bits(devices):
    for law in devices.laws:
        whole = el.sample(el.key(1), devices.state, N, law=law)
        dealt = el.sample(el.key(1), devices.state, N, law=law, sharding=devices.rows, verify=True)
        assert_same_rows(whole, dealt, devices.rows)


def check_rows_by_their_number(devices):
    index = np.arange(N)[::-1] * 2**33
    for law, dtype in [(law, "float32") for law in devices.laws] + [("uniform", "bfloat16")]:
        whole = el.sample_at(el.key(1), devices.state, index, law=law, dtype=dtype)
        dealt = el.sample_at(el.key(1), devices.state, index, law=law, dtype=dtype, sharding=devices.rows)
        assert_same_rows(whole, dealt, devices.rows)


def check_meshes_of_any_kind(devices):
    """Check two axes for rows, one of two axes (the other repeats), explicit axis types, committed state."""
    whole = el.sample(el.key(1), devices.state, 800, law="uniform")
    for kind in (AxisType.Auto, AxisType.Explicit):
        mesh = jax.make_mesh((4, 2), ("a", "b"), axis_types=(kind, kind))
        for spec in (P(("a", "b")), P("a"), P("b", None)):
            sharding = NamedSharding(mesh, spec)
            there = jax.device_put(devices.state, jax.devices()[3])
            dealt = el.sample(el.key(1), there, 800, law="uniform", sharding=sharding)
            assert_same_rows(whole, dealt, sharding)


def check_a_mixture(devices):
    whole = el.sample(el.key(1), devices.mixture, 8 * 900, law="uniform")
    dealt = el.sample(el.key(1), devices.mixture, 8 * 900, law="uniform", sharding=devices.rows, verify=True)
    assert_same_rows(whole, dealt, devices.rows)
    assert set(np.asarray(whole.part)) == {0, 1, 2}


def check_a_flow(devices):
    scale = devices.state.scale
    flow = el.Flow(devices.state, random_field(20), scale, jax.numpy.float32(1), scale[:0], n_steps=4)
    for n in (8, 8 * 300):
        whole = el.sample(el.key(1), flow, n, law="uniform")
        dealt = el.sample(el.key(1), flow, n, law="uniform", sharding=devices.rows, verify=True)
        assert_same_rows(whole, dealt, devices.rows)
    assert abs(whole.latents - devices.state.reconstruct(whole.scores)).max() > 0.1


def check_latents_that_overflow(devices):
    state = dataclasses.replace(devices.state, mean=devices.state.mean.at[5].add(70_000))
    with pytest.raises(ValueError, match=r"got float16, .* and a latent of (69|70)\d\d\d.* in column 5"):
        el.sample(el.key(1), state, N, law="uniform", dtype="float16", sharding=devices.rows)


def check_refusals(devices):
    state, rows = devices.state, devices.rows
    with pytest.raises(ValueError, match="n: expected a multiple of the 8 shards"):
        el.sample(el.key(1), state, 100, sharding=rows)
    for spec in (P(), P(None), P(None, "rows"), P(None, None)):
        with pytest.raises(ValueError, match="sharding: expected"):
            el.sample(el.key(1), state, 800, sharding=NamedSharding(rows.mesh, spec))
    with pytest.raises(TypeError, match=r"sharding: expected a jax.sharding.NamedSharding; got list"):
        el.sample(el.key(1), state, 800, sharding=jax.devices())
    with pytest.raises(ValueError, match="sharding: expected None under jit"):
        jax.jit(lambda key: el.sample(key, state, 800, sharding=rows))(el.key(1))


CHECKS = {
    name.removeprefix("check_"): check for name, check in globals().items() if name.startswith("check_")
}
CHECKS_OF_EVERY_LAW = ("same_bits", "rows_by_their_number")


def main():
    jax.config.update("jax_num_cpu_devices", 8)
    warnings.simplefilter("error")
    assert len(jax.devices()) == 8
    devices = Devices(sys.argv[1:])
    for name in CHECKS if "uniform" in devices.laws else CHECKS_OF_EVERY_LAW:
        try:
            CHECKS[name](devices)
        except BaseException:
            print(json.dumps([name, traceback.format_exc()]), flush=True)
        else:
            print(json.dumps([name, ""]), flush=True)


if __name__ == "__main__":
    main()
