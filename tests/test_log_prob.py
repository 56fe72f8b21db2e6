import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import ellipsoid as el
from ellipsoid.regions import as_region

gauge_of = jax.jit(lambda region, u: region.gauge(u))
EXACT = [(law, region) for law in ("uniform", "normal") for region in ("pairwise", "ellipsoid", "box")]
LEVEL = 1.8


@functools.cache
def _compiled(law, region, level):
    return jax.jit(lambda state, scores: el.log_prob(state, scores, law=law, level=level, region=region))


def log_prob(state, scores, *, law, region, level=LEVEL):
    """Give the log-density of scores, compiled once for each shape."""
    return _compiled(law, region, level)(state, jnp.asarray(scores, jnp.float32))


def rays(k, n):
    """Give directions in 2 or 3 dimensions, ``(m, k)``, and weights that add up to the sphere's area."""
    angle = (np.arange(n) + 0.5) * 2 * np.pi / n
    if k == 2:
        return np.stack([np.cos(angle), np.sin(angle)], axis=1), np.full(n, 2 * np.pi / n)
    height, weights = np.polynomial.legendre.leggauss(n)
    height, angle = np.repeat(height, n), np.tile(angle, n)
    across = np.sqrt(1 - height**2)
    directions = np.stack([across * np.cos(angle), across * np.sin(angle), height], axis=1)
    return directions, np.repeat(weights, n) * 2 * np.pi / n


def mass(density, region, k):
    """Integrate a density over normalised coordinates, along rays from the centre to the boundary."""
    directions, weights = rays(k, 2000 if k == 2 else 200)
    nodes, node_weights = np.polynomial.legendre.leggauss(12)
    reach = 1 / np.asarray(gauge_of(as_region(region), directions.astype(np.float32)), np.float64)
    length = (nodes + 1) / 2 * reach[:, None]
    values = density((length[..., None] * directions[:, None]).astype(np.float32))
    radial = np.sum(values * length ** (k - 1) * node_weights, axis=1) * reach / 2
    return np.sum(radial * weights)


@pytest.mark.parametrize("k", [3, pytest.param(2, marks=pytest.mark.slow)])
@pytest.mark.parametrize(("law", "region"), EXACT)
def test_density_integrates_to_one(make_state, law, region, k):
    state = make_state(k, k + 2)
    semi_axes = LEVEL * np.asarray(state.scale)

    def density(u, level=LEVEL):
        logs = log_prob(state, u * semi_axes, law=law, level=level, region=region)
        return np.exp(np.asarray(logs, np.float64)) * np.prod(semi_axes)

    assert mass(density, region, k) == pytest.approx(1, abs=3e-4)
    # At another level, all scores lie inside, but do not exhaust the region.
    assert mass(lambda u: density(u, level=1.02 * LEVEL), region, k) < 0.99


def frequency_pvalue(log_prob, scores, bounds, cells=8, nodes=40):
    """Test the counts of two-dimensional scores in a grid of cells against a density, by chi-square."""
    edges = [np.linspace(-bound, bound, cells * nodes + 1) for bound in bounds]
    middles = np.stack(np.meshgrid(*((edge[1:] + edge[:-1]) / 2 for edge in edges), indexing="ij"), axis=-1)
    area = np.prod([edge[1] - edge[0] for edge in edges])
    probability = np.exp(np.asarray(log_prob(middles.astype(np.float32)), np.float64)) * area
    probability = probability.reshape(cells, nodes, cells, nodes).sum(axis=(1, 3)).ravel()
    counts = np.histogram2d(*scores.T, bins=[edge[::nodes] for edge in edges])[0].ravel()
    used = probability > 1e-4
    assert counts[~used].sum() < 1e-3 * len(scores)
    expected = probability[used] / probability[used].sum() * counts[used].sum()
    return stats.chisquare(counts[used], expected).pvalue


@pytest.mark.parametrize(("law", "region"), EXACT)
def test_density_matches_the_frequencies_of_draws(make_state, law, region):
    state = make_state(2, 3)
    settings = {"level": LEVEL, "region": region}
    scores = np.asarray(el.sample(el.key(3), state, 40_000, law=law, **settings).scores, np.float64)
    bounds = LEVEL * np.asarray(state.scale, np.float64)

    def pvalue(law):
        return frequency_pvalue(lambda y: log_prob(state, y, law=law, **settings), scores, bounds)

    assert pvalue(law) > 1e-3
    assert pvalue("normal" if law == "uniform" else "uniform") < 1e-6


@pytest.mark.parametrize("k", [1, 2, 256, 4096])
@pytest.mark.parametrize(("law", "region"), EXACT)
def test_density_in_closed_form(make_state, law, region, k):
    """The density is right between the centre and a point inside, and at the centre by volume or coverage."""
    scale = np.geomspace(2.0, 0.5, k)
    state = el.PCAState(
        *(jnp.asarray(x, jnp.float32) for x in (np.zeros(k), np.eye(k), scale, scale**2, scale)), 9
    )
    scores = np.zeros((2, k), np.float32)
    scores[1, k // 2] = 0.9 * scale[k // 2]
    centre, point = np.asarray(log_prob(state, scores, law=law, region=region), np.float64)
    if law == "uniform":
        expected = -as_region(region).log_volume(k) - np.sum(np.log(LEVEL * scale))
        assert point == centre
    else:
        expected = (
            -k / 2 * math.log(2 * math.pi) - np.sum(np.log(scale)) - el.log_joint_coverage(LEVEL, k, region)
        )
        assert point - centre == pytest.approx(-(0.9**2) / 2, abs=1e-6 * max(1, abs(centre)))
    assert centre == pytest.approx(expected, rel=1e-5, abs=1e-4)


@pytest.mark.parametrize(("law", "region"), EXACT)
def test_density_inside_on_and_outside_the_boundary(make_state, law, region):
    state = make_state(3, 4)
    scores = np.zeros((3, 3), np.float32)
    scores[:, 1] = np.float32([0.999, 1.0, 1.001]) * (np.float32(2) * np.asarray(state.scale)[1])
    logs = np.asarray(log_prob(state, scores.reshape(3, 1, 3), law=law, level=2.0, region=region))
    assert logs.shape == (3, 1)
    assert np.all(np.isfinite(logs[:2]))
    assert logs[2] == -np.inf


@pytest.mark.parametrize(("law", "region"), EXACT)
def test_gradients_are_finite_everywhere(make_state, law, region):
    state = make_state(3, 4)

    def total(scores, scale):
        moved = el.PCAState(state.mean, state.components, scale, *jax.tree.leaves(state)[3:])
        logs = el.log_prob(moved, scores, law=law, level=2.0, region=region)
        return jnp.sum(jnp.where(jnp.isfinite(logs), logs, 0))

    scores = jnp.asarray([[0, 0, 0], [0.3, 0.3, 0.3], [0.1, -0.2, 0.3], [9, 9, 9]], jnp.float32)
    by_scores, by_scale = jax.jit(jax.grad(total, argnums=(0, 1)))(scores, state.scale)
    assert np.all(np.isfinite(by_scores))
    assert np.all(np.isfinite(by_scale))
    expected = -scores / jnp.square(state.scale)[None] if law == "normal" else jnp.zeros((4, 3))
    np.testing.assert_allclose(by_scores, expected.at[3].set(0), atol=1e-6)
    np.testing.assert_array_less(by_scale, 0)


@pytest.mark.parametrize("law", ["redraw", "sequential"])
def test_the_procedures_have_no_density(make_state, law):
    with pytest.raises(ValueError, match=f"law: expected uniform or normal, which .*; got '{law}'"):
        el.log_prob(make_state(3), np.zeros(3), law=law)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        (
            {"law": "sobol"},
            ValueError,
            "law: expected one of redraw, sequential, uniform, normal; got 'sobol'",
        ),
        ({"region": "ball"}, ValueError, "region: expected one of pairwise, ellipsoid, box; got 'ball'"),
        ({"level": -1}, ValueError, "level: expected a finite number above 0; got -1"),
        ({"fact": math.nan}, ValueError, "fact: expected a finite number above 0; got nan"),
        (
            {"region": el.PairwiseEllipses(np.ones((3, 3), bool))},
            ValueError,
            "law: expected redraw or sequential on a subset of the pairs; got 'uniform'",
        ),
        ({"scores": np.zeros((3, 2))}, ValueError, r"scores: expected a last axis of 3; got shape \(3, 2\)"),
    ],
)
def test_log_prob_refuses(make_state, settings, error, message):
    with pytest.raises(error, match=message):
        el.log_prob(make_state(3), **{"scores": np.zeros(3), "law": "uniform", **settings})


# --- forms of the points ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def mixture():
    """Three parts, with labels, far from the origin, in a subspace of 3 of 5 dimensions."""
    rng = np.random.default_rng(0)
    group = np.arange(300) % 3
    scores = rng.normal(size=(300, 3)) * [3, 2, 1] + 4 * np.eye(3)[group]
    latents = scores @ np.linalg.qr(rng.normal(size=(5, 5)))[0][:3] + 500
    return el.fit_by_label(latents, np.array(["cat", "dog", "hen"])[group], 3)


def literal_mixture_density(mixture, latents, **settings):
    """Sum the weighted densities of all parts at latents, part by part."""
    parts = [mixture.part(m) for m in range(mixture.n_parts)]
    densities = [np.exp(el.log_prob(part, part.project(latents), **settings)) for part in parts]
    return np.asarray(mixture.weights) @ densities


def test_the_law_must_be_said(make_state):
    with pytest.raises(TypeError, match="law"):
        el.log_prob(make_state(3), np.zeros(3))


@pytest.mark.parametrize("law", ["uniform", "normal"])
def test_draws_scores_and_latents_of_one_state(make_state, law):
    state = make_state(3, 4)
    draws = el.sample(el.key(0), state, 40, law=law, level=2.0)
    expected = el.log_prob(state, draws.scores, law=law, level=2.0)
    np.testing.assert_array_equal(el.log_prob(state, draws, law=law, level=2.0), expected)
    # The part off the subspace is not seen.
    off = np.linalg.svd(np.asarray(state.components))[2][-1]
    latents = draws.latents + 7 * jnp.broadcast_to(off, draws.latents.shape)
    np.testing.assert_allclose(el.log_prob(state, latents=latents, law=law, level=2.0), expected, rtol=1e-4)
    half = el.sample(el.key(0), state, 40, law=law, level=2.0, dtype="bfloat16")
    assert np.all(np.isfinite(el.log_prob(state, half, law=law, level=2.0)))


@pytest.mark.slow
@pytest.mark.parametrize("law", ["uniform", pytest.param("normal", marks=pytest.mark.slow)])
def test_draws_and_latents_of_a_mixture(mixture, law):
    settings = {"law": law, "level": 2.0}
    draws = el.sample(el.key(0), mixture, 400, **settings)
    logs = np.asarray(el.log_prob(mixture, draws, **settings))
    assert np.all(np.isfinite(logs))
    density = literal_mixture_density(mixture, draws.latents, **settings)
    by_latents = el.log_prob(mixture, latents=draws.latents, **settings)
    np.testing.assert_allclose(np.exp(by_latents), density, rtol=1e-4)
    # A latent near a boundary may be rounded across it.
    assert np.mean(np.isclose(np.exp(logs), density, rtol=1e-4)) > 0.98
    # On the wrong axes the same numbers would give another density without an error.
    wrong = literal_mixture_density(mixture, mixture.shared.reconstruct(draws.scores), **settings)
    assert np.mean(np.isclose(np.exp(logs), wrong, rtol=1e-2)) < 0.5
    under_jit = jax.jit(lambda mixture, draws: el.log_prob(mixture, draws, **settings))(mixture, draws)
    np.testing.assert_allclose(under_jit, logs, rtol=1e-4)


@pytest.mark.slow
def test_draws_of_a_mixture_on_the_boundary_are_inside(mixture):
    """Float32 latents near 500 lose 1e-2 of a gauge at this level; scores of the own part do not."""
    draws = el.sample(el.key(0), mixture, 400, law="uniform", level=0.005)
    assert np.all(np.isfinite(el.log_prob(mixture, draws, law="uniform", level=0.005)))
    assert not np.all(np.isfinite(el.log_prob(mixture, latents=draws.latents, law="uniform", level=0.005)))


@pytest.mark.slow
def test_a_mixture_refuses_scores_that_may_be_on_other_axes(mixture):
    draws = el.sample(el.key(0), mixture, 9, law="uniform")
    with pytest.raises(
        TypeError, match=r"scores: expected MixtureDraws for a mixture; got ArrayImpl, which .*"
    ):
        el.log_prob(mixture, draws.scores, law="uniform")
    with pytest.raises(TypeError, match="scores: expected MixtureDraws for a mixture; got Draws"):
        el.log_prob(mixture, el.sample(el.key(0), mixture.part(0), 9, law="uniform"), law="uniform")
    with pytest.raises(TypeError, match=r"scores: expected Draws or an array .*; got MixtureDraws"):
        el.log_prob(mixture.part(0), draws, law="uniform")


@pytest.mark.slow
def test_draws_of_another_shape_are_refused(mixture):
    message = "scores: expected draws of this shape; got draws of another one"
    for shape, other in (
        (mixture, mixture.select(["hen", "dog"])),
        (mixture.part(0), mixture.part(1)),
    ):
        draws = el.sample(el.key(0), other, 9, law="uniform")
        with pytest.raises(ValueError, match=message):
            el.log_prob(shape, draws, law="uniform")
    labelled = el.sample(el.key(0), mixture, 9, law="uniform", label=["hen", "dog"])
    with pytest.raises(ValueError, match=message):
        el.log_prob(mixture, labelled, law="uniform")
    assert el.log_prob(mixture.select(["hen", "dog"]), labelled, law="uniform").shape == (9,)
    assert el.log_prob(mixture, latents=labelled.latents, law="uniform").shape == (9,)


def test_scores_or_latents_but_not_both(mixture):
    for arguments, given in ((({}), "neither"), ({"scores": np.zeros(3), "latents": np.zeros(5)}, "both")):
        with pytest.raises(TypeError, match=f"scores: expected either scores or latents; got {given}"):
            el.log_prob(mixture.part(0), law="uniform", **arguments)
    with pytest.raises(ValueError, match=r"latents: expected a last axis of 5; got shape \(3,\)"):
        el.log_prob(mixture, latents=np.zeros(3), law="uniform")


def test_the_normal_law_needs_a_concrete_level(make_state):
    state = make_state(3, 4)
    with pytest.raises(TypeError, match="level: expected a concrete level and fact"):
        jax.jit(lambda level: el.log_prob(state, np.zeros(3), law="normal", level=level))(2.0)
    logs = jax.jit(lambda level: el.log_prob(state, np.zeros(3), law="uniform", level=level))(2.0)
    assert logs == pytest.approx(float(el.log_prob(state, np.zeros(3), law="uniform", level=2.0)), rel=1e-6)


# --- not finite, none at all, and many sizes ---------------------------------------------------------


POINTS = np.float32([[0, 0, 0], [np.inf, 0, 0], [np.inf, -np.inf, 0], [0, np.nan, 0], [np.inf, np.nan, 0]])


@pytest.mark.parametrize(("region", "traced"), [("pairwise", False), ("ellipsoid", True), ("box", True)])
def test_nan_stays_nan_and_infinity_is_outside(make_state, mixture, region, traced):
    as_it_is = jax.jit if traced else lambda function: function
    state = make_state(3)
    latents = np.concatenate([np.broadcast_to(mixture.part(0).mean, (5, 5))[:, :2], POINTS], axis=1)
    latents[:, 2:] += np.asarray(mixture.part(0).mean)[2:]
    for shape, points in ((state, POINTS + np.asarray(state.mean)), (mixture, latents)):
        gauges = as_it_is(lambda z, shape=shape: el.gauge(shape, z, region=region))(points)
        assert gauges[0] < 1e-3
        np.testing.assert_array_equal(gauges[1:], [np.inf, np.inf, np.nan, np.nan])
        inside = as_it_is(lambda z, shape=shape: el.contains(shape, z, region=region))(points)
        np.testing.assert_array_equal(inside, [True, False, False, False, False])
        logs = as_it_is(lambda z, shape=shape: el.log_prob(shape, latents=z, law="normal", region=region))(
            points
        )
        assert np.isfinite(logs[0])
        np.testing.assert_array_equal(logs[1:], [-np.inf, -np.inf, np.nan, np.nan])
    logs = as_it_is(lambda y: el.log_prob(state, y, law="uniform", region=region))(POINTS)
    np.testing.assert_array_equal(logs[1:], [-np.inf, -np.inf, np.nan, np.nan])


def test_latents_beyond_float32_are_outside(make_state):
    state = make_state(3)
    for latents in (np.full(3, 1e300), np.float32([3e38, -3e38, 3e38])):
        assert el.gauge(state, latents) == np.inf
        assert not el.contains(state, latents)


@pytest.mark.parametrize("region", ["pairwise", "ellipsoid", "box"])
def test_the_gradient_of_the_gauge_is_finite_at_the_mean(make_state, region):
    state = make_state(3)

    def total(z, state):
        return jnp.sum(el.gauge(state, z, region=region))

    points = jnp.stack([state.mean, state.mean + 1])
    by_latents, by_state = jax.jit(jax.grad(total, argnums=(0, 1), allow_int=True))(points, state)
    assert np.all(np.isfinite(by_latents))
    if region != "box":  # whose gauge has a corner there, with several slopes
        np.testing.assert_array_equal(by_latents[0], 0)
    assert np.any(by_latents[1] != 0)
    assert all(np.all(np.isfinite(x)) for x in jax.tree.leaves(by_state) if x.dtype == np.float32)
    # Along the ray through the mean the gauge grows in proportion: the Euler identity.
    at_point = float(jnp.vdot(by_latents[1], points[1] - state.mean))
    assert at_point == pytest.approx(float(el.gauge(state, points[1], region=region)), rel=1e-5)


@pytest.mark.parametrize("leading", [(0,), (4, 0, 2)])
def test_no_points_give_nothing(make_state, mixture, leading):
    state = make_state(3, 5)
    for shape in (state, mixture):
        for traced in (False, True):
            functions = (
                lambda z, shape=shape: el.gauge(shape, z),
                lambda z, shape=shape: el.contains(shape, z),
                lambda z, shape=shape: el.log_prob(shape, latents=z, law="uniform"),
            )
            for function, dtype in zip(functions, (np.float32, bool, np.float32), strict=True):
                result = (jax.jit(function) if traced else function)(np.zeros((*leading, 5)))
                assert (result.shape, result.dtype) == (leading, dtype)
    assert el.log_prob(state, np.zeros((*leading, 3)), law="normal").shape == leading


def test_blocks_change_nothing(make_state):
    """Rows of several blocks have the same densities as single rows, in any arrangement."""
    state = make_state(3, 5)
    latents = np.random.default_rng(0).normal(size=(2 * 4096 + 600, 5)).astype(np.float32)
    some = [0, 1, 4095, 4096, 8191, 8192, 8703, 8704, 8791]
    for function in (
        lambda z: el.gauge(state, z),
        lambda z: el.log_prob(state, latents=z, law="normal"),
    ):
        of_all = np.asarray(function(latents))
        assert of_all.shape == latents.shape[:1]
        np.testing.assert_allclose(of_all[some], [function(latents[i]) for i in some], rtol=1e-6)
        folded = function(latents.reshape(8, -1, 5))
        np.testing.assert_array_equal(np.ravel(folded), of_all)
    np.testing.assert_array_equal(
        el.contains(state, latents, tolerance=0), np.asarray(el.gauge(state, latents)) <= 1
    )


@pytest.mark.slow
def test_levels_and_numbers_of_rows_are_data(make_state, mixture):
    """Programs are compiled for a few sizes of blocks, for any number of rows and any level."""
    state = make_state(3, 5)
    points = np.random.default_rng(0).normal(size=(300, 5)).astype(np.float32)

    def ask(n, level):
        for shape in (state, mixture):
            el.gauge(shape, points[:n], level=level)
            el.contains(shape, points[:n], level=level)
            for law in ("uniform", "normal"):
                el.log_prob(shape, latents=points[:n], law=law, level=level)
        el.log_prob(state, points[:n, :3], law="normal", level=level)

    def ask_of_draws(n, level):
        for shape in (state, mixture):
            draws = el.sample(el.key(0), shape, n, law="uniform", level=level)
            el.log_prob(shape, draws, law="normal", level=level)

    programs = []
    jax.monitoring.register_event_duration_secs_listener(
        lambda event, duration, **_: programs.append(event) if "jaxpr_to_mlir" in event else None
    )
    for n in (300, 1):
        ask(n, 1.0)
        ask_of_draws(n, 1.0)
    jax.jit(lambda x: x + 1)(0)
    before = len(programs)
    assert before > 0  # they are counted
    for i in range(50):
        ask(1 + 6 * i, 0.5 + i / 20)
    for i in range(8):
        ask_of_draws(1 + 40 * i, 0.5 + i / 20)
    assert len(programs) == before
