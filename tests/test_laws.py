"""The laws that are exact and in closed form, uniform and normal, against rejection and quadrature."""

import functools
import math

import jax
import numpy as np
import pytest
from helpers import draw, same_law
from scipy import integrate, special, stats

import ellipsoid as el
from ellipsoid import laws
from ellipsoid.integrals import log_chi_cdf, normal_pieces, uniform_pieces
from ellipsoid.random import philox_words
from ellipsoid.regions import as_region

N = 100_000
RADIUS = 1.645
EXACT = [(law, region) for law in ("uniform", "normal") for region in ("pairwise", "ellipsoid", "box")]
EDGE = math.sqrt(0.5)


def inside(u, region):
    squares = np.sort(np.square(u), axis=1)
    if region == "ellipsoid":
        return np.sum(squares, axis=1) <= 1
    return (np.sum(squares[:, -2:], axis=1) if region == "pairwise" else squares[:, -1]) <= 1


@functools.cache
def by_rejection(law, region, k, n=N):
    """Draw by trial and error: proposals come from the cube or the Gaussian, and stay if they are inside."""
    rng = np.random.default_rng(k)
    kept, count = [], 0
    while count < n:
        size = (500_000, k)
        u = rng.uniform(-1, 1, size) if law == "uniform" else rng.normal(scale=1 / RADIUS, size=size)
        kept.append(u[inside(u, region)].astype(np.float32))
        count += len(kept[-1])
    return np.concatenate(kept)[:n]


# --- against rejection -----------------------------------------------------------------------------


@pytest.mark.parametrize("k", [8, *(pytest.param(k, marks=pytest.mark.slow) for k in (2, 3, 5))])
@pytest.mark.parametrize(("law", "region"), EXACT)
def test_law_is_that_of_rejection(law, region, k):
    drawn = draw(law, k, N, region=region, radius=RADIUS)
    assert same_law(drawn, by_rejection(law, region, k)) > 1e-3


def cube_only(k, rng):
    return rng.uniform(-EDGE, EDGE, (N, k))


def spikes_as_often_as_not(k, rng):
    u = by_rejection("uniform", "pairwise", k)
    outside = np.max(np.abs(u), axis=1) > EDGE
    half = min(outside.sum(), (~outside).sum())
    return np.concatenate([u[outside][:half], u[~outside][:half]])


def spike_angle_uniform(k, rng):
    u = by_rejection("uniform", "pairwise", k).copy()
    spikes = np.flatnonzero(np.max(np.abs(u), axis=1) > EDGE)
    angle = rng.uniform(np.pi / 4, np.pi / 2, len(spikes))
    index = rng.integers(k, size=len(spikes))
    u[spikes] = np.cos(angle)[:, None] * rng.uniform(-1, 1, (len(spikes), k))
    u[spikes, index] = np.sin(angle) * rng.choice([-1, 1], len(spikes))
    return u


def normal_clipped_to_the_boundary(k, rng):
    u = rng.normal(scale=1 / RADIUS, size=(N, k))
    gauge = np.sqrt(np.sum(np.sort(np.square(u), axis=1)[:, -2:], axis=1))
    return u / np.maximum(gauge, 1)[:, None]


def normal_with_uniform_fills(k, rng):
    u = by_rejection("normal", "pairwise", k)
    largest = np.abs(u) == np.max(np.abs(u), axis=1, keepdims=True)
    bound = np.minimum(np.sqrt(1 - np.square(np.max(np.abs(u), axis=1, keepdims=True))), EDGE)
    return np.where(largest, u, bound * rng.uniform(-1, 1, u.shape))


@pytest.mark.parametrize("k", [3, 8])
@pytest.mark.parametrize(
    ("wrong", "law"),
    [
        (cube_only, "uniform"),
        (spikes_as_often_as_not, "uniform"),
        (spike_angle_uniform, "uniform"),
        (normal_clipped_to_the_boundary, "normal"),
        (normal_with_uniform_fills, "normal"),
    ],
)
def test_wrong_laws_on_the_pairwise_region_are_seen(wrong, law, k):
    drawn = wrong(k, np.random.default_rng(5)).astype(np.float32)
    assert same_law(drawn, by_rejection(law, "pairwise", k)) < 1e-6


@pytest.mark.parametrize(("law", "region"), EXACT)
def test_a_radius_off_by_two_percent_is_seen(law, region):
    drawn = draw(law, 3, N, region=region, radius=RADIUS, seed=3) * np.float32(0.98)
    assert same_law(drawn, by_rejection(law, region, 3)) < 1e-6


# --- many components -------------------------------------------------------------------------------


def spike_cdf(law, k, radius):
    """Give the exact distribution function of the largest |u| of a spike, by quadrature over its angle."""

    def log_density(delta):
        narrow, wide = np.cos(delta) - np.sin(delta), np.cos(delta) + np.sin(delta)
        if law == "uniform":
            return k * np.log(narrow)
        others = (k - 1) * np.log1p(-special.erfc(narrow * radius / 2))
        return np.log(narrow) - np.square(wide * radius / 2) + others

    delta = np.linspace(0, 0.785, 20_001)
    felt = delta[log_density(delta) > np.max(log_density(delta)) - 50]
    delta = np.linspace(0, felt[-1] + delta[1], 100_001)
    values = log_density(delta)
    mass = integrate.cumulative_simpson(np.exp(values - np.max(values)), x=delta, initial=0)
    return lambda largest: np.interp(largest, np.sin(np.pi / 4 + delta), mass / mass[-1])


draw_pieces = jax.jit(jax.vmap(laws._draw_piece, in_axes=(None, 0, None, None)), static_argnums=2)


def drawn_spikes(law, k, radius, n=2 * N):
    """Give components and values of the spikes among `n` rows."""
    region = as_region("pairwise")
    tables = laws.get_law(law, region).prepare(k, radius, region)
    pieces = tables if law == "uniform" else tables[0]
    rows = np.arange(n, dtype=np.uint32), np.zeros(n, np.uint32)
    _, index, spike = draw_pieces(philox_words(el.key(k)), rows, k, pieces)
    in_spike = np.asarray(index) < k
    return np.asarray(index)[in_spike], np.asarray(spike)[in_spike]


@pytest.mark.parametrize("k", [256, 1000, 4096])
@pytest.mark.parametrize(("law", "radius"), [("uniform", 1.0), ("normal", 1.645), ("normal", 4.0)])
def test_spikes_of_many_components(law, k, radius):
    index, spike = drawn_spikes(law, k, radius)
    cdf = spike_cdf(law, k, radius)
    assert stats.kstest(np.abs(spike), cdf).pvalue > 1e-4
    assert stats.chisquare(np.bincount(index, minlength=k)).pvalue > 1e-4
    assert stats.binomtest(int(np.sum(spike > 0)), len(spike)).pvalue > 1e-4

    pieces = uniform_pieces(k) if law == "uniform" else normal_pieces(k, radius)
    assert stats.binomtest(len(spike), 2 * N, pieces.spike_share).pvalue > 1e-4


@pytest.mark.parametrize("k", [256, 1000, 4096])
def test_wrong_spikes_of_many_components_are_seen(k):
    rng = np.random.default_rng(k)
    cdf = spike_cdf("uniform", k, 1.0)
    uniform_angle = np.sin(rng.uniform(np.pi / 4, np.pi / 2, N))
    assert stats.kstest(uniform_angle, cdf).pvalue < 1e-6
    # A table at equal steps of the probability, straight in between: its last step holds the whole tail.
    delta = np.linspace(0, min(60 / k, np.pi / 4), 200_001)
    quantiles = np.interp(np.linspace(0, 1, 65), cdf(np.sin(np.pi / 4 + delta)), delta)
    few_nodes = np.sin(np.pi / 4 + np.interp(rng.random(N), np.linspace(0, 1, 65), quantiles))
    assert stats.kstest(few_nodes, cdf).pvalue < 1e-6
    assert stats.kstest(np.abs(drawn_spikes("normal", k, 4.0)[1]), cdf).pvalue < 1e-6


@pytest.mark.slow
@pytest.mark.parametrize(("law", "radius"), [("uniform", 1.0), ("normal", 0.5), ("normal", 4.0)])
def test_ordinary_components_of_many(law, radius):
    """In the cube all components are independent, and follow one known law."""
    laws_of_one = {
        "uniform": stats.uniform(-EDGE, 2 * EDGE),
        "normal": stats.truncnorm(-4 * EDGE, 4 * EDGE, scale=1 / 4),
        "nearly uniform": stats.truncnorm(-EDGE / 2, EDGE / 2, scale=2),
    }
    expected = {1.0: "uniform", 4.0: "normal", 0.5: "nearly uniform"}[radius]
    u = draw(law, 256, 4096, radius=radius, seed=4)
    cube = u[np.max(np.abs(u), axis=1) <= EDGE].ravel()
    assert len(cube) > 200_000
    for name, one in laws_of_one.items():
        pvalue = stats.kstest(cube, one.cdf).pvalue
        assert pvalue > 1e-3 if name == expected else pvalue < 1e-6


def length_pvalue(length, law, k, radius):
    def cdf(length):
        if law == "uniform":
            return length**k
        return np.exp(log_chi_cdf(np.maximum(length, 1e-30) * radius, k) - log_chi_cdf(radius, k))

    return stats.kstest(np.asarray(length, np.float64), cdf).pvalue


@pytest.mark.parametrize(
    ("law", "k", "radius"),
    [("uniform", k, 1.0) for k in (1, 4096)]
    + [("normal", k, radius) for k in (1, 256) for radius in (0.5, 2.35, 16.0)]
    + [
        pytest.param(*case, marks=pytest.mark.slow)
        for case in [("uniform", 2, 1.0), ("uniform", 256, 1.0)]
        + [("normal", 2, radius) for radius in (0.5, 2.35, 16.0)]
        + [("normal", 4096, radius) for radius in (2.35, 64.0, 100.0)]
    ],
)
def test_lengths_in_the_ellipsoid(law, k, radius):
    n = 4096 if k == 4096 else 20_000
    length = np.linalg.norm(draw(law, k, n, radius=radius, region="ellipsoid").astype(np.float64), axis=1)
    assert length_pvalue(length, law, k, radius) > 1e-4
    assert length_pvalue(length * 0.95, law, k, radius) < 1e-6


# --- what holds for every law ----------------------------------------------------------------------

ALL = [*EXACT, ("redraw", "pairwise"), ("sequential", "pairwise")]


def symmetry_pvalue(u):
    """Give the smallest corrected p-value of four tests that signs and order of components don't matter."""
    n, k = u.shape
    largest = np.argmax(np.abs(u), axis=1)
    positive = np.sum(u > 0, axis=0)
    pair = np.sum(u[:, 0] * u[:, 1] > 0)
    halves = stats.ks_2samp(np.abs(u[: n // 2, 0]), np.abs(u[n // 2 :, -1]), method="asymp")
    pvalues = [
        stats.chisquare(np.bincount(largest, minlength=k)).pvalue,
        stats.chi2.sf(np.sum(np.square(2 * positive - n)) / n, k),
        stats.binomtest(int(pair), n).pvalue,
        halves.pvalue,
    ]
    return 4 * min(pvalues)


@pytest.mark.parametrize("k", [8, pytest.param(3, marks=pytest.mark.slow)])
@pytest.mark.parametrize(("law", "region"), ALL)
def test_signs_and_order_do_not_matter(law, region, k):
    assert symmetry_pvalue(draw(law, k, 50_000, region=region, seed=6)) > 1e-3


def test_broken_symmetries_are_seen():
    u = draw("uniform", 3, 50_000, seed=6)
    ordered = np.take_along_axis(u, np.argsort(np.abs(u[:, :2]), axis=1), axis=1)
    for wrong in (
        np.abs(u),
        u + np.float32(0.02),
        np.concatenate([ordered, u[:, 2:]], axis=1),
        u * np.sign(u[:, 1:2]),
        np.concatenate([u[:, :1] * np.float32(0.95), u[:, 1:]], axis=1),
    ):
        assert symmetry_pvalue(wrong) < 1e-3


@pytest.mark.parametrize("k", [1, 64, *(pytest.param(k, marks=pytest.mark.slow) for k in (2, 256, 4096))])
@pytest.mark.parametrize(("law", "region"), ALL)
def test_draws_of_every_size_are_finite_and_inside(law, region, k):
    n = 64 if k <= 256 else 8
    for radius in (0.01, 2.35, 100.0) if law == "normal" else (1.0,):
        u = draw(law, k, n, region=region, radius=radius, seed=8)
        assert u.shape == (n, k)
        assert u.dtype == np.float32
        assert np.all(np.isfinite(u))
        assert np.max(as_region(region).gauge(u)) <= 1 + 1e-6
        assert np.max(np.abs(u)) > 0.005
        assert len(np.unique(u)) > 0.99 * u.size


@pytest.mark.parametrize("law", ["uniform", "normal", "redraw", "sequential"])
def test_one_component_in_a_pairwise_region_is_an_interval(law):
    u = draw(law, 1, 50_000, radius=2.0)[:, 0]
    cdf = stats.truncnorm(-2, 2, scale=0.5).cdf if law == "normal" else stats.uniform(-1, 2).cdf
    assert stats.kstest(u, cdf).pvalue > 1e-3


# --- refusals --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("law", "region", "message"),
    [
        ("sobol", "pairwise", "law: expected one of redraw, sequential, uniform, normal; got 'sobol'"),
        (
            "redraw",
            "box",
            "law: expected one that the region 'box' has, uniform, normal; got 'redraw'",
        ),
        (
            "sequential",
            "ellipsoid",
            "law: expected one that the region 'ellipsoid' has, .*; got 'sequential'",
        ),
    ],
)
def test_unknown_laws_are_refused(law, region, message):
    with pytest.raises(ValueError, match=message):
        laws.get_law(law, as_region(region))


@pytest.mark.parametrize("law", ["uniform", "normal"])
def test_closed_laws_need_all_pairs(law):
    with pytest.raises(
        ValueError, match=f"law: expected redraw or sequential on a subset of the pairs; got '{law}'"
    ):
        laws.get_law(law, el.PairwiseEllipses(np.ones((3, 3), bool)))
