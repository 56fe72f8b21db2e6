import dataclasses
import math
import re
import warnings

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import ellipsoid as el
from ellipsoid import laws, sequence

LAWS = ("redraw", "sequential", "uniform", "normal")
SETTINGS = [(law, "pairwise") for law in LAWS] + [
    (law, region) for law in ("uniform", "normal") for region in ("ellipsoid", "box")
]
# Every kind of program: a procedure, tables of one kind and of the other, none.
FEW_SETTINGS = [("redraw", "pairwise"), ("normal", "pairwise"), ("normal", "ellipsoid"), ("uniform", "box")]


@pytest.fixture(scope="module")
def state(make_state):
    return make_state(6, 9)


def assert_same_bits(a, b):
    for x, y in zip(a, b, strict=True):
        assert x.dtype == y.dtype
        np.testing.assert_array_equal(np.asarray(x), np.asarray(y))


def normalised(draws, state, radius):
    return np.asarray(draws.scores, np.float64) / (radius * np.asarray(state.scale, np.float64))


def full_pairs_gauge(u):
    """Compute the gauge by all pairs in the precision of `u`, one distance of two components at a time."""
    squares = np.ascontiguousarray(np.square(u).T)
    largest = np.max(squares, axis=0) if len(squares) == 1 else np.zeros(squares.shape[1], u.dtype)
    for distance in range(1, len(squares)):
        largest = np.maximum(largest, np.max(squares[distance:] + squares[:-distance], axis=0))
    return np.sqrt(largest)


def region_gauge(u, region):
    if region == "pairwise":
        return full_pairs_gauge(u)
    return np.linalg.norm(u, axis=1) if region == "ellipsoid" else np.max(np.abs(u), axis=1)


# --- the draws handed out --------------------------------------------------------------------------


@pytest.mark.parametrize(("law", "region"), SETTINGS)
def test_draws_are_consistent_and_inside(state, law, region):
    draws = el.sample(el.key(1), state, 5000, law=law, region=region, level=2.35, fact=0.7)
    assert [part.shape for part in draws] == [(5000, 9), (5000, 6), (5000,)]
    assert all(part.dtype == np.float32 for part in draws)
    exact = region_gauge(normalised(draws, state, 2.35 * 0.7), region)
    assert exact.max() <= 1
    assert draws.gauge.max() <= 1
    np.testing.assert_allclose(draws.gauge, exact, rtol=1e-6)
    mean, components = (np.asarray(part, np.float64) for part in (state.mean, state.components))
    np.testing.assert_allclose(draws.latents, mean + np.asarray(draws.scores) @ components, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("n_keys", [1, pytest.param(5, marks=pytest.mark.slow)])
@pytest.mark.parametrize("law", ["uniform", pytest.param("normal", marks=pytest.mark.slow)])
def test_half_a_million_vectors_of_256_components_lie_inside(make_state, law, n_keys):
    state = make_state(256)
    for key in jr.split(el.key(2), 5)[:n_keys]:
        squares = np.square(normalised(el.sample(key, state, 100_000, law=law), state, 1.645))
        squares.partition(254, axis=1)
        # The pair of the two largest squares has the largest sum.
        assert 0.999 < np.sqrt(np.max(squares[:, 254] + squares[:, 255])) <= 1 - 2e-7


@pytest.mark.slow
@pytest.mark.parametrize(
    ("law", "n"), [("redraw", 10_000), pytest.param("sequential", 20_000, marks=pytest.mark.slow)]
)
def test_procedures_of_256_components_lie_inside(make_state, law, n):
    state = make_state(256)
    draws = el.sample(el.key(3), state, n, law=law)
    assert 0.99 < full_pairs_gauge(normalised(draws, state, 1.645)).max() <= 1


@pytest.mark.parametrize("law", ["redraw", "sequential"])
def test_a_mask_binds_its_pairs_alone(state, law):
    pairs = np.zeros((6, 6), bool)
    pairs[0, 1] = pairs[1, 0] = pairs[2, 5] = pairs[5, 2] = True
    draws = el.sample(el.key(4), state, 5000, law=law, region=el.PairwiseEllipses(pairs), verify=True)
    u = normalised(draws, state, 1.645)
    assert max(np.hypot(u[:, 0], u[:, 1]).max(), np.hypot(u[:, 2], u[:, 5]).max()) <= 1
    assert np.hypot(u[:, 0], u[:, 2]).max() > 1.2
    assert np.abs(u).max() <= 1


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("law", ["uniform", pytest.param("redraw", marks=pytest.mark.slow)])
def test_16_bit_scores_are_rounded_inward(state, law, dtype):
    draws = el.sample(el.key(5), state, 20_000, law=law, dtype=dtype)
    full = el.sample(el.key(5), state, 20_000, law=law)
    assert draws.latents.dtype == draws.scores.dtype == dtype
    assert draws.gauge.dtype == np.float32
    assert full_pairs_gauge(normalised(draws, state, 1.645)).max() <= 1
    scores, expected = np.asarray(draws.scores, np.float32), np.asarray(full.scores)
    epsilon = float(jnp.finfo(dtype).eps)
    assert np.all(np.abs(scores) <= np.abs(expected))
    assert np.all(np.abs(expected) - np.abs(scores) <= epsilon * np.abs(expected) + 1e-7)
    # Rounded to nearest, as by a plain conversion, a good share would lie outside.
    nearest = full._replace(scores=jnp.asarray(full.scores).astype(dtype))
    if law == "uniform":
        assert full_pairs_gauge(normalised(nearest, state, 1.645)).max() > 1


def large_state(make_state, scale, *, first_axis, mean=0.0):
    """Make a state of one large component, with a mean in column 7 alone."""
    state = make_state(6, 9, scale=1.0)
    return dataclasses.replace(
        state,
        mean=jnp.zeros(9).at[7].set(mean),
        components=state.components.at[0].set(first_axis),
        scale=state.scale.at[0].set(scale),
    )


def test_16_bit_latents_are_finite_near_the_largest_number(make_state):
    settings = {"law": "uniform", "level": 2.0, "dtype": "float16"}
    along_column_7 = large_state(make_state, 32_000.0, first_axis=np.eye(9, dtype=np.float32)[7])
    draws = el.sample(el.key(6), along_column_7, 5000, **settings)
    assert 55_000 < np.abs(np.asarray(draws.latents, np.float32)).max() < 65_504
    across = large_state(make_state, 60_000.0, first_axis=np.full(9, 1 / 3, np.float32))
    draws = el.sample(el.key(6), across, 5000, **settings)
    assert np.all(np.isfinite(np.asarray(draws.latents)))
    # Scores beyond the largest number are rounded inward to it.
    assert np.abs(np.asarray(draws.scores, np.float32)).max() == 65_504


def test_16_bit_latents_that_overflow_are_refused(make_state):
    settings = {"law": "uniform", "level": 2.0, "dtype": "float16"}
    shifted = large_state(make_state, 16_000.0, first_axis=np.eye(9, dtype=np.float32)[7], mean=50_000.0)
    message = (
        r"dtype: expected a type that holds all latents \(float32 or bfloat16\), or smaller latents; "
        r"got float16, whose largest number is 65504, and a latent of ([\d.]+) in column 7"
    )
    for call in (
        lambda: el.sample(el.key(6), shifted, 5000, **settings),
        lambda: el.sample_at(el.key(6), shifted, np.arange(5000), **settings),
    ):
        with pytest.raises(ValueError, match=message) as error:
            call()
        assert 65_504 < float(re.search(message, str(error.value)).group(1)) < 83_000
    for dtype in ("float32", "bfloat16"):
        assert np.all(np.isfinite(el.sample(el.key(6), shifted, 5000, **settings | {"dtype": dtype}).latents))
    # Nothing can be raised under jit.
    traced = jax.jit(lambda state: el.sample(el.key(6), state, 5000, **settings))(shifted)
    assert not np.all(np.isfinite(np.asarray(traced.latents)))


@pytest.mark.slow
def test_latents_of_a_mixture_that_overflow_are_refused(make_state):
    states = [make_state(6, 9, seed=seed) for seed in range(2)]
    parts = jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)
    parts = dataclasses.replace(parts, mean=parts.mean.at[1, 4].set(-65_600.0))
    mixture = el.Mixture(jnp.array([0.5, 0.5]), parts, states[0])
    with pytest.raises(
        ValueError, match=r"largest number is 65504, and a latent of -65[56]\d\d.* in column 4"
    ):
        el.sample(el.key(0), mixture, 100, law="uniform", dtype="float16")


# --- how they look ---------------------------------------------------------------------------------


def test_draws_are_shown_on_one_screen(state, make_state):
    draws = el.sample(el.key(1), state, 5000, law="uniform")
    assert re.fullmatch(
        r"Draws\(\n    latents=float32\[5000, 9\],\n    scores=float32\[5000, 6\],\n"
        r"    gauge=float32\[5000\] from 0\.\d+ to 0?1?\.?\d*,\n\)",
        repr(draws),
    )
    mixture = el.MixtureDraws(*draws, np.array([2, 0], np.int32))
    assert "part=int32[2] from 0 to 2" in repr(mixture)


def test_draws_of_anything_are_shown(state):
    shown = []
    jax.jit(lambda draws: shown.append(repr(draws)))(el.sample(el.key(1), state, 10, law="uniform"))
    assert shown == [
        "Draws(\n    latents=float32[10, 9],\n    scores=float32[10, 6],\n    gauge=float32[10],\n)"
    ]
    assert repr(el.Draws(None, 3, np.empty(0))) == (
        "Draws(\n    latents=None,\n    scores=3,\n    gauge=float64[0],\n)"
    )


# --- rows of one infinite sequence -----------------------------------------------------------------


@pytest.mark.parametrize(("law", "region"), SETTINGS)
def test_rows_are_addressed_bit_for_bit(state, law, region):
    key, n = el.key(7), sequence.block_rows(6, law, "cpu") + 100
    settings = {"law": law, "region": region, "level": 2.0}
    draws = el.sample(key, state, n, **settings)
    assert_same_bits(draws, el.sample_at(key, state, np.arange(n), **settings))
    assert_same_bits([part[:10] for part in draws], el.sample(key, state, 10, **settings))
    order, repeated = np.random.default_rng(0).permutation(n), np.array([5, 5, n - 1])
    assert_same_bits([part[order] for part in draws], el.sample_at(key, state, order, **settings))
    assert_same_bits([part[repeated] for part in draws], el.sample_at(key, state, repeated, **settings))


def test_rows_differ_and_do_not_repeat(state):
    big = [2**32, 2**32 + 1, 2**33, 2**63, 2**64 - 1]
    index = np.array([0, 1, 2, *big], np.uint64)
    scores = np.asarray(el.sample_at(el.key(7), state, index, law="uniform").scores)
    assert len(np.unique(scores)) == scores.size
    other_key = np.asarray(el.sample_at(el.key(8), state, index, law="uniform").scores)
    assert not np.any(scores == other_key)
    alone = el.sample_at(el.key(7), state, np.array([2**33], np.uint64), law="uniform")
    np.testing.assert_array_equal(alone.scores[0], scores[5])


def test_rows_of_redraw_beyond_32_bits(state):
    index = np.array([3, 2**32 + 3, 3], np.uint64)
    scores = np.asarray(el.sample_at(el.key(7), state, index).scores)
    np.testing.assert_array_equal(scores[0], scores[2])
    assert not np.any(scores[0] == scores[1])


@pytest.mark.parametrize(
    ("law", "region"),
    [
        pytest.param(*setting, marks=() if setting in FEW_SETTINGS else pytest.mark.slow)
        for setting in SETTINGS
    ],
)
def test_sample_under_jit(state, law, region):
    """Under jit scores keep their bits; latents, and scores on an ellipsoid (a norm), agree to rounding."""
    n = sequence.block_rows(6, law, "cpu") + 10
    eager = el.sample(el.key(9), state, n, law=law, region=region, level=2.0)
    traced = jax.jit(lambda key, state: el.sample(key, state, n, law=law, region=region, level=2.0))(
        el.key(9), state
    )
    rtol = 1e-6 if region == "ellipsoid" else 0
    np.testing.assert_allclose(traced.scores, eager.scores, rtol=rtol)
    np.testing.assert_allclose(traced.latents, eager.latents, atol=2e-6)
    np.testing.assert_allclose(traced.gauge, eager.gauge, rtol=1e-6)


def test_index_and_level_can_be_traced(state):
    index = np.arange(5)
    draw = jax.jit(lambda index, level: el.sample_at(el.key(9), state, index, law="uniform", level=level))
    eager = el.sample_at(el.key(9), state, index, law="uniform", level=2.0)
    np.testing.assert_allclose(draw(jnp.asarray(index), 2.0).scores, eager.scores, rtol=1e-6)


def test_sample_of_a_stack_of_states(make_state):
    states = [make_state(6, 9, seed=seed) for seed in range(2)]
    stacked = jax.tree.map(lambda *parts: jnp.stack(parts), *states)
    keys = jr.split(el.key(10), 2)
    drawn = jax.jit(jax.vmap(lambda key, state: el.sample(key, state, 4, law="uniform")))(keys, stacked)
    for i, draws in enumerate(
        el.sample(key, state, 4, law="uniform") for key, state in zip(keys, states, strict=True)
    ):
        np.testing.assert_allclose(drawn.latents[i], draws.latents, atol=2e-6)


@pytest.mark.parametrize("impl", ["threefry2x32", "rbg"])
def test_every_kind_of_typed_key_is_accepted(state, impl):
    draws = el.sample(jr.key(0, impl=impl), state, 10, law="uniform")
    assert not np.any(draws.scores == el.sample(jr.key(1, impl=impl), state, 10, law="uniform").scores)


def test_one_compilation_serves_all_numbers_of_one_shape(make_state):
    def compilations():
        return sequence._draw_scores._cache_size()

    state = make_state(6, 9)
    for law in LAWS:
        el.sample(el.key(0), state, 10, law=law)
        before = compilations()
        el.sample(el.key(1), state, 700, law=law)
        el.sample(el.key(0), state, 10, law=law, level=2.5, fact=0.9)
        el.sample(el.key(0), make_state(6, 9, seed=5, offset=3.0), 10, law=law)
        el.sample_at(el.key(0), state, np.array([2**40, 3]), law=law)
        assert compilations() == before
    el.sample(el.key(0), make_state(11, 13), 10, law="uniform")
    assert compilations() == before + 1


@pytest.mark.parametrize("law", ["uniform", "normal"])
def test_fifty_levels_and_a_new_n_compile_nothing(state, law):
    """The count holds all programs that XLA compiles, of the draw and of its preparation."""
    compiled = []

    def count(event, seconds, **_):
        if event == "/jax/core/compile/backend_compile_duration":
            compiled.append(seconds)

    el.sample(el.key(0), state, 10, law=law, level=2.5)
    jax.monitoring.register_event_duration_secs_listener(count)
    try:
        for level in np.linspace(1.0, 3.0, 50):
            el.sample(el.key(0), state, 10, law=law, level=level)
        el.sample(el.key(0), state, 11, law=law)
        el.sample(el.key(0), state, 40_000, law=law)
        assert not compiled
        el.sample(
            el.key(0), dataclasses.replace(state, scale=state.scale[None, 0] * np.ones(6, np.float32)), 10
        )
        jax.jit(lambda x: x + 1)(np.float32(3))
        assert compiled
    finally:
        jax.monitoring.unregister_event_duration_listener(count)


# --- verify ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("law", "region"), SETTINGS)
def test_verify_passes_what_is_inside(state, law, region):
    draws = el.sample(el.key(11), state, 300, law=law, region=region, level=2.0, verify=True)
    assert_same_bits(draws, el.sample(el.key(11), state, 300, law=law, region=region, level=2.0))


@pytest.mark.parametrize("k", [1, 2])
def test_verify_with_one_and_two_components(make_state, k):
    el.sample(el.key(11), make_state(k, 3), 300, law="uniform", verify=True)


def test_verify_catches_a_law_that_leaves_the_region(make_state, monkeypatch):
    broken = laws.LAWS["uniform", "box"]._replace(prepare=laws.LAWS["uniform", "pairwise"].prepare)
    monkeypatch.setitem(laws.LAWS, ("uniform", "pairwise"), broken)
    # This number of components is used nowhere else, so no program is compiled already.
    state = make_state(17)
    with pytest.raises(RuntimeError, match="verify: expected gauges of at most 1; got a draw with 1"):
        el.sample(el.key(0), state, 300, law="uniform", verify=True)


def test_verify_is_refused_under_jit(state):
    with pytest.raises(ValueError, match="verify: expected False"):
        jax.jit(lambda key: el.sample(key, state, 3, verify=True))(el.key(0))


# --- gauge and contains ----------------------------------------------------------------------------


@pytest.mark.parametrize("region", ["pairwise", "ellipsoid", "box"])
def test_gauge_and_contains_of_latents(state, region):
    points = np.zeros((3, 6), np.float32)
    points[:, 2] = np.float32([0.9, 1.0, 1.1]) * np.float32(2.0) * np.asarray(state.scale)[2]
    latents = state.reconstruct(points)
    np.testing.assert_allclose(el.gauge(state, latents, level=2.0, region=region), [0.9, 1.0, 1.1], rtol=1e-5)
    np.testing.assert_array_equal(el.contains(state, latents, level=2.0, region=region), [True, True, False])
    np.testing.assert_allclose(
        el.gauge(state, latents, level=1.0, fact=2.0, region=region), [0.9, 1.0, 1.1], rtol=1e-5
    )
    assert el.contains(state, latents[2], level=2.0, region=region, tolerance=0.2)
    assert el.gauge(state, latents.reshape(3, 1, 9), region=region).shape == (3, 1)


@pytest.mark.parametrize("offset", [0.0, 1e3])
@pytest.mark.parametrize("smallest", [1.0, 1e-2, 1e-4])
def test_the_default_tolerance_accepts_all_draws(make_state, offset, smallest):
    state = make_state(32, 64, scale=np.geomspace(1.0, smallest, 32), offset=offset)
    draws = el.sample(el.key(12), state, 20_000, law="uniform", level=2.0)
    assert np.all(el.contains(state, draws.latents, level=2.0))
    # The error of a latent of length |mean| in units of the narrowest semi-axis, and no more than 100 of it.
    lost = np.finfo(np.float32).eps * (1 + np.linalg.norm(state.mean)) / (2 * smallest)
    scaled = state.reconstruct(draws.scores / draws.gauge[:, None] * np.float32(1 + 1e-5 + 100 * lost))
    assert not np.any(el.contains(state, scaled, level=2.0))


def test_contains_refuses_a_negative_tolerance(state):
    with pytest.raises(ValueError, match="tolerance: expected a number of at least 0; got -1"):
        el.contains(state, np.zeros(9), tolerance=-1)
    with pytest.raises(ValueError, match="tolerance: expected a number of at least 0; got nan"):
        el.contains(state, np.zeros(9), tolerance=math.nan)


# --- refusals --------------------------------------------------------------------------------------

BAD_SETTINGS = [
    ({"law": "sobol"}, ValueError, "law: expected one of redraw, sequential, uniform, normal; got 'sobol'"),
    ({"law": "redraw", "region": "box"}, ValueError, "law: expected one that the region 'box' has"),
    ({"region": "ball"}, ValueError, "region: expected one of pairwise, ellipsoid, box; got 'ball'"),
    ({"region": 3}, TypeError, "region: expected a name or a region object; got int"),
    (
        {"region": el.PairwiseEllipses(np.ones((2, 2), bool))},
        ValueError,
        r"pairs: expected a mask of shape \(6, 6\)",
    ),
    (
        {"law": "uniform", "region": el.PairwiseEllipses(np.ones((6, 6), bool))},
        ValueError,
        "law: expected redraw or sequential on a subset of the pairs; got 'uniform'",
    ),
    *(
        ({name: value}, ValueError, f"{name}: expected a finite number above 0; got {value}")
        for name in ("level", "fact")
        for value in (0, -1.0, math.nan, math.inf)
    ),
    ({"level": "2"}, TypeError, "level: expected a number; got str"),
    ({"fact": np.ones(2)}, TypeError, "fact: expected a number; got ndarray"),
]


@pytest.mark.parametrize(("settings", "error", "message"), BAD_SETTINGS)
def test_sample_refuses_wrong_settings(state, settings, error, message):
    with pytest.raises(error, match=message):
        el.sample(el.key(0), state, 3, **settings)
    with pytest.raises(error, match=message):
        el.sample_at(el.key(0), state, [3], **settings)


@pytest.mark.parametrize("dtype", ["float64", "int32", "half", "sobol"])
def test_sample_refuses_other_types(state, dtype):
    if dtype == "half":
        assert el.sample(el.key(0), state, 3, dtype=dtype).scores.dtype == np.float16
    else:
        with pytest.raises(
            ValueError, match=f"dtype: expected one of float32, float16, bfloat16; got '?{dtype}"
        ):
            el.sample(el.key(0), state, 3, dtype=dtype)


@pytest.mark.parametrize(
    ("n", "error", "message"),
    [
        (0, ValueError, "n: expected at least 1; got 0"),
        (-5, ValueError, "n: expected at least 1; got -5"),
        (2.0, TypeError, "n: expected an integer; got float"),
    ],
)
def test_sample_refuses_a_wrong_count(state, n, error, message):
    with pytest.raises(error, match=message):
        el.sample(el.key(0), state, n)


@pytest.mark.parametrize(
    ("index", "message"),
    [
        ([], "index: expected a one-dimensional, non-empty array of integers"),
        (3, "index: expected a one-dimensional, non-empty array of integers"),
        ([[1]], "index: expected a one-dimensional, non-empty array of integers"),
        ([1.0], "index: expected a one-dimensional, non-empty array of integers"),
        ([0, -1], "index: expected row numbers of at least 0; got -1"),
    ],
)
def test_sample_at_refuses_a_wrong_index(state, index, message):
    with pytest.raises(ValueError, match=message):
        el.sample_at(el.key(0), state, index)


@pytest.mark.parametrize("key", [0, jnp.zeros(2, jnp.uint32)])
def test_seeds_and_raw_keys_are_refused(state, key):
    with pytest.raises(TypeError, match="key: expected a typed JAX key"):
        el.sample(key, state, 3)


def test_a_wrong_shape_is_refused_everywhere():
    for call in (
        lambda: el.sample(el.key(0), np.zeros((3, 3)), 3),
        lambda: el.sample_at(el.key(0), np.zeros((3, 3)), [3]),
        lambda: el.gauge(np.zeros((3, 3)), np.zeros(3)),
        lambda: el.contains(np.zeros((3, 3)), np.zeros(3)),
        lambda: el.log_prob(np.zeros((3, 3)), np.zeros(3), law="uniform"),
    ):
        with pytest.raises(TypeError, match=r"shape: expected a PCAState, such as .*; got ndarray"):
            call()


@pytest.mark.parametrize("function", [el.gauge, el.contains])
def test_gauge_and_contains_refuse_wrong_arguments(state, function):
    with pytest.raises(ValueError, match=r"latents: expected a last axis of 9; got shape \(2, 6\)"):
        function(state, np.zeros((2, 6)))
    with pytest.raises(ValueError, match=r"latents: expected a last axis of 9; got shape \(\)"):
        function(state, 0.0)
    with pytest.raises(ValueError, match="level: expected a finite number above 0; got 0"):
        function(state, np.zeros(9), level=0)
    with pytest.raises(ValueError, match="region: expected one of"):
        function(state, np.zeros(9), region="ball")


def test_an_ellipsoid_that_collapses_to_the_mean_warns(state):
    for law in ("uniform", "normal"):
        with pytest.warns(
            UserWarning, match="level: all draws .* at 1.4 standard deviations collapse"
        ) as record:
            el.sample(el.key(0), state, 3, law=law, level=1.4, region="ellipsoid")
        assert record[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        el.sample(el.key(0), state, 3, law="uniform", level=1.42, region="ellipsoid")
        el.sample(el.key(0), state, 3, law="uniform", level=0.5)


@pytest.mark.parametrize(
    "law",
    ["sequential", "uniform", *(pytest.param(law, marks=pytest.mark.slow) for law in ("redraw", "normal"))],
)
def test_64_bit_types_change_no_bit_and_counts_may_be_large(make_state, law):
    state = make_state(6, 9)
    expected = el.sample(el.key(0), state, 100, law=law)
    with jax.enable_x64(True):
        draws = el.sample(el.key(0), dataclasses.replace(state, n_samples=10**11), 100, law=law)
    for part, other in zip(draws, expected, strict=True):
        assert part.dtype == np.float32
        np.testing.assert_array_equal(part, other)
