"""Rows dealt out to eight devices, in a process of its own: the number of devices is set at the start."""

import subprocess
import sys
import textwrap

import pytest

PREAMBLE = """
    import jax
    import numpy as np
    import pytest
    from jax.sharding import AxisType, NamedSharding, PartitionSpec as P

    jax.config.update("jax_num_cpu_devices", 8)
    import ellipsoid as el

    assert len(jax.devices()) == 8
    state = el.fit(np.random.default_rng(0).normal(size=(500, 20)) @ np.diag(np.geomspace(3, 0.1, 20)))
    rows = NamedSharding(jax.make_mesh((8,), ("rows",), axis_types=(AxisType.Auto,)), P("rows"))
"""


def run(script):
    """Run a script on eight devices, with warnings as errors."""
    command = [sys.executable, "-W", "error", "-c", textwrap.dedent(PREAMBLE) + textwrap.dedent(script)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("law", ["redraw", "sequential", "uniform", "normal"])
def test_same_bits_on_eight_devices(law):
    run(f"""
        n = 8 * 2500
        whole = el.sample(el.key(1), state, n, law={law!r})
        dealt = el.sample(el.key(1), state, n, law={law!r}, sharding=rows, verify=True)
        for one, other in zip(whole, dealt):
            assert other.sharding.is_equivalent_to(rows, other.ndim)
            assert np.array_equal(one, other)
    """)


def test_rows_by_their_number_on_eight_devices():
    run("""
        index = np.arange(8 * 300)[::-1] * 2**33
        for law in ("redraw", "sequential", "uniform", "normal"):
            whole = el.sample_at(el.key(1), state, index, law=law, dtype="bfloat16")
            dealt = el.sample_at(el.key(1), state, index, law=law, dtype="bfloat16", sharding=rows)
            assert all(np.array_equal(one, other) for one, other in zip(whole, dealt))
    """)


def test_meshes_of_any_kind():
    """Two axes for the rows, one of two axes (the other repeats), explicit axis types, a committed state."""
    run("""
        whole = el.sample(el.key(1), state, 800, law="uniform")
        for kind in (AxisType.Auto, AxisType.Explicit):
            mesh = jax.make_mesh((4, 2), ("a", "b"), axis_types=(kind, kind))
            for spec in (P(("a", "b")), P("a"), P("b", None)):
                sharding = NamedSharding(mesh, spec)
                there = jax.device_put(state, jax.devices()[3])
                dealt = el.sample(el.key(1), there, 800, law="uniform", sharding=sharding)
                assert dealt.scores.sharding.is_equivalent_to(sharding, 2)
                assert all(np.array_equal(one, other) for one, other in zip(whole, dealt))
    """)


def test_a_mixture_has_the_same_bits_on_eight_devices():
    run("""
        latents = np.random.default_rng(0).normal(size=(500, 20)) + 5 * np.eye(20)[np.arange(500) % 3]
        mixture = el.fit_by_label(latents, np.arange(500) % 3, 6)
        whole = el.sample(el.key(1), mixture, 8 * 900, law="uniform")
        dealt = el.sample(el.key(1), mixture, 8 * 900, law="uniform", sharding=rows, verify=True)
        for one, other in zip(whole, dealt):
            assert other.sharding.is_equivalent_to(rows, other.ndim)
            assert np.array_equal(one, other)
        assert set(np.asarray(whole.part)) == {0, 1, 2}
    """)


def test_refusals():
    run("""
        with pytest.raises(ValueError, match="n: expected a multiple of the 8 parts"):
            el.sample(el.key(1), state, 100, sharding=rows)
        for spec in (P(), P(None), P(None, "rows"), P(None, None)):
            with pytest.raises(ValueError, match="sharding: expected"):
                el.sample(el.key(1), state, 800, sharding=NamedSharding(rows.mesh, spec))
        with pytest.raises(TypeError, match="sharding: expected a jax.sharding.NamedSharding; got list"):
            el.sample(el.key(1), state, 800, sharding=jax.devices())
        with pytest.raises(ValueError, match="sharding: expected None under jit"):
            jax.jit(lambda key: el.sample(key, state, 800, sharding=rows))(el.key(1))
    """)
