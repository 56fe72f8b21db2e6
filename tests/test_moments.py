import os
import subprocess
import sys
import tracemalloc

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ellipsoid import moments as moments_module
from ellipsoid.moments import Moments


def far_rows(n=20_000, d=6):
    """Make correlated rows whose mean is a thousand standard deviations away from zero."""
    rng = np.random.default_rng(0)
    return rng.normal(size=(n, d)) @ rng.normal(size=(d, d)) + 1e3 * rng.normal(size=d)


def exact_scatter(rows):
    """Sum in two passes in extended precision."""
    centred = rows.astype(np.longdouble)
    centred -= centred.mean(axis=0)
    return centred.T @ centred


def relative_error(a, b):
    return float(np.max(np.abs(a - b)) / np.max(np.abs(b)))


def test_nothing_is_lost_to_a_far_mean():
    rows = far_rows()
    exact = exact_scatter(rows)
    result = Moments.empty(6).update(rows)
    assert result.count == len(rows)
    assert result.mean.dtype == result.scatter.dtype == np.float64
    assert relative_error(result.mean, rows.astype(np.longdouble).mean(axis=0)) < 1e-14
    assert relative_error(result.scatter, exact) < 1e-13
    np.testing.assert_allclose(result.covariance, np.cov(rows.T), rtol=1e-10)
    # The one-pass form exceeds the bound.
    mean = rows.mean(axis=0)
    assert relative_error(rows.T @ rows - len(rows) * np.outer(mean, mean), exact) > 1e-11


@pytest.mark.parametrize("as_array", [np.asarray, jnp.asarray], ids=["numpy", "jax"])
def test_streamed_merged_and_at_once_agree(as_array):
    rows = far_rows(18_001).astype(np.float32)
    batches = [as_array(batch) for batch in np.split(rows, [1, 1, 6001, 6001, 12_001])]
    streamed = Moments.empty(6)
    for batch in batches:
        streamed = streamed.update(batch)
    parts = [Moments.empty(6).update(batch) for batch in batches]
    merged = parts[4].merge(parts[0]).merge(parts[1].merge(parts[5])).merge(parts[3].merge(parts[2]))
    at_once = Moments.empty(6).update(as_array(rows))
    exact = exact_scatter(rows)
    for result in (streamed, merged, at_once):
        assert result.count == len(rows)
        assert relative_error(result.mean, rows.astype(np.float64).mean(axis=0)) < 1e-12
        assert relative_error(result.scatter, exact) < 1e-12


def test_empty_is_neutral():
    empty, one = Moments.empty(3), Moments.empty(3).update(np.ones((1, 3)))
    for result in (empty.merge(one), one.merge(empty), one.update(np.zeros((0, 3)))):
        assert result.count == 1
        np.testing.assert_array_equal(result.mean, np.ones(3))
        np.testing.assert_array_equal(result.scatter, np.zeros((3, 3)))
    assert empty.merge(empty).count == 0


@pytest.mark.parametrize("dtype", [np.float16, jnp.bfloat16, np.float32, np.int8, np.uint16])
def test_every_real_type_is_summed_up_in_float64(dtype):
    rows = np.random.default_rng(0).integers(0, 100, size=(500, 3)).astype(dtype)
    for batch in (rows, jnp.asarray(rows)):
        result = Moments.empty(3).update(batch)
        assert relative_error(result.scatter, exact_scatter(rows.astype(np.float64))) < 1e-14
    assert jnp.zeros(()).dtype == jnp.float32  # 64-bit types stay off outside


def test_is_a_pytree():
    rows = far_rows(10)
    result = Moments.empty(6).update(rows)
    doubled = jax.tree.map(lambda leaf: 2 * leaf, result)
    np.testing.assert_array_equal(doubled.scatter, 2 * result.scatter)
    assert doubled.count == 20


def test_repr():
    empty = Moments.empty(3)
    assert repr(empty) == "Moments: 0 rows of 3 features"
    rows = np.array([[0.0, 2.0, 4.0], [2.0, 6.0, 4.0]])
    assert repr(empty.update(rows[:1])) == "Moments: 1 rows of 3 features\n  mean: 0 to 4 (0, 2, 4)"
    assert repr(empty.update(rows)) == (
        "Moments: 2 rows of 3 features\n  mean: 1 to 4 (1, 4, 4)\n"
        "  standard deviation: 0 to 2.83 (1.41, 2.83, 0)"
    )
    shapes = jax.eval_shape(lambda moments: moments, empty)
    assert repr(shapes) == "Moments(count=int32[], mean=float32[3], scatter=float32[3,3])"


def test_large_numpy_rows_are_not_copied_whole():
    rows = np.random.default_rng(0).normal(size=(200_000, 16)).astype(np.float32)
    tracemalloc.start()
    Moments.empty(16).update(rows)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < rows.nbytes / 2


def test_one_compilation_for_batches_of_one_shape():
    before = moments_module._device_mean_and_scatter._cache_size()
    total = Moments.empty(5)
    for seed in range(3):
        total = total.update(jax.random.normal(jax.random.key(seed), (17, 5)))
    assert moments_module._device_mean_and_scatter._cache_size() == before + 1


@pytest.mark.parametrize(
    ("batch", "error", "message"),
    [
        (np.zeros((2, 4)), ValueError, r"batch: expected 3 columns; got shape \(2, 4\)"),
        (np.zeros(3), ValueError, r"batch: expected shape \(n, D\).*; got \(3,\)"),
        (np.zeros((2, 3), complex), TypeError, "batch: expected real numbers; got complex128"),
        (np.zeros((2, 3), bool), TypeError, "batch: expected real numbers; got bool"),
        ([["a", "b", "c"]], TypeError, "batch: expected real numbers; got <U1"),
        (
            np.array([[0, 0, 0], [0, np.nan, 0], [np.inf, 0, 0]]),
            ValueError,
            "expected finite values; got NaN or infinity in 2 of 3 rows",
        ),
        (jnp.array([[0, 0, 0], [0, 0, jnp.nan]]), ValueError, "NaN or infinity in 1 of 2 rows"),
    ],
)
def test_update_refuses(batch, error, message):
    with pytest.raises(error, match=message):
        Moments.empty(3).update(batch)


def test_other_errors():
    with pytest.raises(ValueError, match="other: expected 3 dimensions; got 4"):
        Moments.empty(3).merge(Moments.empty(4))
    with pytest.raises(ValueError, match="n_features: expected at least 1; got 0"):
        Moments.empty(0)
    with pytest.raises(TypeError, match="n_features: expected an integer; got float"):
        Moments.empty(2.0)
    with pytest.raises(ValueError, match="count: expected at least two rows; got 1"):
        _ = Moments.empty(3).update(np.ones((1, 3))).covariance


SHARDED = """
import jax, numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from ellipsoid.fitting import fit
from ellipsoid.moments import Moments, _device_mean_and_scatter

rng = np.random.default_rng(0)
rows = (rng.normal(size=(8000, 6)) @ rng.normal(size=(6, 6)) + 1e3).astype(np.float32)
expected = Moments.empty(6).update(rows)
settings = dict(half_width="histogram", within=3.0, max_rows=5000, key=jax.random.key(0))
expected_state = fit(rows, **settings)
for axis_type in (AxisType.Explicit, AxisType.Auto):
    mesh = jax.make_mesh((8,), ("rows",), axis_types=(axis_type,))
    sharded = jax.device_put(rows, NamedSharding(mesh, PartitionSpec("rows")))
    assert len(sharded.sharding.device_set) == 8

    result = Moments.empty(6).update(sharded)
    np.testing.assert_allclose(result.mean, expected.mean, rtol=1e-12)
    np.testing.assert_allclose(result.scatter, expected.scatter, rtol=1e-10)
    with jax.enable_x64(True):
        program = _device_mean_and_scatter.lower(sharded).compile().as_text()
    assert "all-reduce" in program and "all-gather" not in program

    for a, b in zip(jax.tree.leaves(fit(sharded, **settings)), jax.tree.leaves(expected_state)):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    scores = expected_state.project(sharded)
    assert len(scores.sharding.device_set) == 8
    np.testing.assert_allclose(scores, expected_state.project(rows), atol=1e-4)
"""


@pytest.mark.slow
def test_sharded_rows_are_summed_up_by_their_devices():
    flags = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8"
    environment = os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    subprocess.run([sys.executable, "-c", SHARDED], env=environment, check=True, timeout=120)
