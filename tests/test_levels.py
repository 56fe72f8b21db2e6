import itertools
import math
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers import draw
from scipy import integrate, special, stats

import ellipsoid as el
from ellipsoid import integrals
from ellipsoid.integrals import normal_pieces

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
import matched_levels

LEVELS = (1.645, 2.35, 4.0, 6.0)


def log_erf(x):
    with np.errstate(divide="ignore"):
        return np.log1p(-special.erfc(x)) if x > 0.5 else float(np.log(special.erf(x)))


def pairwise_pieces_by_quadrature(level, k):
    """Integrate the log masses of the cube and of the spikes, over t = sin(theta), by adaptive quadrature."""

    def log_density(t):
        gaussian = math.log(2 * level / math.sqrt(2 * math.pi)) - (level * t) ** 2 / 2
        return gaussian + (k - 1) * log_erf(level * math.sqrt(max(1 - t * t, 0) / 2))

    edge = math.sqrt(0.5)
    peak = max(log_density(t) for t in np.linspace(edge, 1, 5001)[:-1])
    edges = np.append(edge, edge + (1 - edge) * np.geomspace(1e-7, 1, 60))
    integral = sum(
        integrate.quad(lambda t: math.exp(log_density(t) - peak), a, b, epsabs=0, epsrel=1e-11)[0]
        for a, b in itertools.pairwise(edges)
        if log_density((a + b) / 2) > peak - 200
    )
    return k * log_erf(level / 2), math.log(k) + peak + math.log(integral)


def coverage_z(coverage, level, k, n=400_000):
    """Compare a coverage with the share of Gaussian draws that meet all conditions, in standard errors."""
    u = np.random.default_rng(k).normal(size=(n, k)) / level
    largest = np.partition(np.abs(u), k - 2, axis=-1)[:, -2:]
    share = np.mean(np.sum(np.square(largest), axis=-1) <= 1)
    return abs(share - coverage) / math.sqrt(coverage * (1 - coverage) / n)


# --- coverage --------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", [1e-6, 0.5, 1.645, 2.35, 6.0])
def test_pair_coverage_is_the_chi_square_of_two(level):
    assert el.pair_coverage(level) == pytest.approx(stats.chi2.cdf(level**2, 2), rel=1e-12)


@pytest.mark.parametrize("p", [1e-12, 0.1, 0.5, 0.95, 1 - 1e-12])
def test_pair_level_inverts_pair_coverage(p):
    assert el.pair_level(p) == pytest.approx(math.sqrt(stats.chi2.isf(1 - p, 2)), rel=1e-4)
    assert el.pair_coverage(el.pair_level(p)) == pytest.approx(p, rel=1e-12)


@pytest.mark.parametrize("k", [1, 2, 5, 50, 256, 1000, 4096])
@pytest.mark.parametrize("level", LEVELS)
def test_pairwise_coverage_matches_quadrature(level, k):
    cube, spikes = pairwise_pieces_by_quadrature(level, k)
    expected = np.logaddexp(cube, spikes)
    assert el.log_joint_coverage(level, k) == pytest.approx(expected, rel=1e-10, abs=1e-10)
    assert el.joint_coverage(level, k) == pytest.approx(math.exp(min(expected, 0)), rel=1e-7)
    assert normal_pieces(k, level).spike_share == pytest.approx(math.exp(spikes - expected), rel=1e-8)


@pytest.mark.parametrize(
    ("level", "k"), [(1.645, 3), (2.35, 10), (4.0, 256), pytest.param(4.0, 50, marks=pytest.mark.slow)]
)
def test_pairwise_coverage_matches_gaussians(level, k):
    n = 400_000 if k <= 50 else 20_000
    assert coverage_z(el.joint_coverage(level, k), level, k, n) < 4
    cube_alone = special.erf(level / 2) ** k
    assert coverage_z(cube_alone, level, k, n) > 4
    assert coverage_z(el.joint_coverage(level, k, "box"), level, k, n) > 4


def test_coverage_of_one_and_two_components_in_closed_form():
    for region in ("pairwise", "ellipsoid", "box"):
        assert el.joint_coverage(1.5, 1, region) == pytest.approx(special.erf(1.5 / math.sqrt(2)), rel=1e-12)
    for region in ("pairwise", "ellipsoid"):
        assert el.joint_coverage(1.5, 2, region) == pytest.approx(el.pair_coverage(1.5), rel=1e-12)


@pytest.mark.parametrize("k", [1, 2, 5, 50, 256])
@pytest.mark.parametrize("level", [0.3, *LEVELS, 16.0, 40.0])
def test_ellipsoid_coverage_is_the_chi_square(level, k):
    expected = stats.chi2.cdf(level**2, k)
    if expected > 0:
        assert el.joint_coverage(level, k, "ellipsoid") == pytest.approx(expected, rel=1e-9)
    assert el.joint_coverage(level, k, "box") == pytest.approx(
        special.erf(level / math.sqrt(2)) ** k, rel=1e-9
    )


def test_coverage_in_logarithms_where_it_is_tiny():
    assert el.log_joint_coverage(2.35, 256, "ellipsoid") / math.log(10) == pytest.approx(-160.3, abs=0.05)
    # Beyond float64: the first terms of the series of the incomplete gamma function.
    a, x = 2048, 2.35**2 / 2
    leading = a * math.log(x) - x - math.lgamma(a + 1) + math.log1p(x / (a + 1) + x**2 / ((a + 1) * (a + 2)))
    assert el.log_joint_coverage(2.35, 4096, "ellipsoid") == pytest.approx(leading, abs=1e-6)
    assert el.joint_coverage(2.35, 4096, "ellipsoid") == 0
    assert math.isfinite(el.log_joint_coverage(0.01, 4096, "box"))
    assert math.isfinite(el.log_joint_coverage(0.01, 4096))


@pytest.mark.parametrize("region", ["pairwise", "ellipsoid", "box"])
@pytest.mark.parametrize("k", [1, 2, 50, 256, 4096])
def test_coverage_grows_with_the_level(region, k):
    logs = [el.log_joint_coverage(level, k, region) for level in np.geomspace(0.05, 100, 30)]
    assert np.all(np.diff(logs) >= -1e-9)
    assert logs[-1] == pytest.approx(0, abs=1e-9)
    assert 0 <= el.joint_coverage(100, k, region) <= 1


@pytest.mark.parametrize("region", ["pairwise", "ellipsoid", "box"])
@pytest.mark.parametrize("k", [1, 2, 50, 4096])
@pytest.mark.parametrize("p", [1e-6, 0.5, 0.999])
def test_joint_level_inverts_joint_coverage(p, k, region):
    assert el.joint_coverage(el.joint_level(p, k, region), k, region) == pytest.approx(p, rel=1e-6)


# --- matched level ---------------------------------------------------------------------------------


def standard_errors_from_simulation(level, law, k, n):
    """Give the distance between a level and that of `n` fresh draws, in standard errors of these."""
    squares = np.mean(np.square(draw(law, k, n, seed=77), dtype=np.float64), axis=1)
    # The stored levels are given to three digits behind the point.
    error = np.std(squares) / math.sqrt(n) + 2 * 5e-4 / level**3
    return abs(np.mean(squares) - level**-2) / error


@pytest.mark.parametrize(("k", "expected"), [(2, 2.0000), (50, 2.4460), (256, 2.4493), (4096, 2.4495)])
def test_matched_level_of_the_uniform_law(k, expected):
    assert el.matched_level(k, "uniform") == pytest.approx(expected, abs=5e-5)
    assert el.matched_level(k, "uniform", "ellipsoid") == pytest.approx(math.sqrt(k + 2), rel=1e-12)
    assert el.matched_level(k, "uniform", "box") == pytest.approx(math.sqrt(3), rel=1e-12)


@pytest.mark.parametrize("k", [2, 50])
def test_matched_level_of_the_uniform_law_against_draws(k):
    assert standard_errors_from_simulation(el.matched_level(k, "uniform"), "uniform", k, 20_000) < 4


@pytest.mark.parametrize(("k", "redraw", "sequential"), [(50, 2.84, 2.75), (256, 2.92, 2.84)])
def test_matched_levels_of_the_procedures(k, redraw, sequential):
    assert el.matched_level(k) == el.matched_level(k, "redraw") == pytest.approx(redraw, abs=0.01)
    assert el.matched_level(k, "sequential") == pytest.approx(sequential, abs=0.01)


@pytest.mark.slow
@pytest.mark.parametrize("law", ["redraw", "sequential"])
@pytest.mark.parametrize("k", [13, *(pytest.param(k, marks=pytest.mark.slow) for k in (1, 2, 6, 100))])
def test_matched_levels_of_the_procedures_against_draws(law, k):
    n = 20_000 if k < 50 else 4_000
    assert standard_errors_from_simulation(el.matched_level(k, law), law, k, n) < 4
    assert standard_errors_from_simulation(1.02 * el.matched_level(k, law), law, k, n) > 4


def level_of_records(n=4_000_000):
    """Simulate the level of `sequential` for infinitely many components, and its standard error.

    Nearly all components come after the last record, so the bound that this one sets is all that counts.
    Each record lies uniformly between the one before and the bound that this one sets, and the first above
    the edge of the cube is the last.
    """
    rng, largest, going = np.random.default_rng(0), np.zeros(n), np.arange(n)
    while len(going):
        record = largest[going]
        record = record + (np.sqrt(1 - record**2) - record) * rng.random(len(going))
        largest[going] = record
        going = going[record < math.sqrt(0.5)]
    moments = (1 - largest**2) / 3
    level = np.mean(moments) ** -0.5
    return level, np.std(moments) / math.sqrt(n) * level**3 / 2


def test_matched_levels_beyond_the_table_tend_to_their_limits():
    limits = {
        "redraw": matched_levels.redraw_limit(cells=1000),
        "sequential": matched_levels.sequential_limit(),
    }
    for law, limit in limits.items():
        levels = [el.matched_level(k, law) for k in (4096, 4097, 5000, 10_000, 10**6, 10**12)]
        assert np.all(np.diff(levels) > 0)
        assert levels[1] == pytest.approx(levels[0], abs=1e-5)
        # Half the distance to the limit at twice the components, as in the table.
        assert levels[-1] - el.matched_level(8192, law) == pytest.approx(
            (levels[-1] - levels[0]) / 2, rel=1e-6
        )
        assert levels[-1] == pytest.approx(limit, abs=1e-4)
    assert el.matched_level(10**12, "uniform") == pytest.approx(math.sqrt(6), rel=1e-9)


def test_the_limit_of_sequential_is_that_of_its_records():
    level, error = level_of_records()
    assert abs(el.matched_level(10**12, "sequential") - level) < 4 * error
    # The last entry of the table, in place of the limit, is noticeably too low.
    assert abs(el.matched_level(4096, "sequential") - level) > 4 * error


# --- refusals --------------------------------------------------------------------------------------


def test_the_normal_law_has_no_matched_level():
    with pytest.raises(ValueError, match=r"law: expected one of .*; got 'normal', whose draws have less"):
        el.matched_level(5, "normal")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((5, "sobol"), "law: expected one of redraw, sequential, uniform; got 'sobol'"),
        ((5, "redraw", "box"), "law: expected uniform for the region 'box'; got 'redraw'"),
        ((5, "uniform", "ball"), "region: expected one of pairwise, ellipsoid, box; got 'ball'"),
        ((0, "uniform"), "k: expected at least 1; got 0"),
    ],
)
def test_matched_level_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        el.matched_level(*arguments)


@pytest.mark.parametrize("k", [2.0, "2", None])
def test_counts_of_components_must_be_integers(k):
    for function in (
        el.matched_level,
        lambda k: el.joint_coverage(2.0, k),
        lambda k: el.log_joint_coverage(2.0, k),
        lambda k: el.joint_level(0.5, k),
    ):
        with pytest.raises(TypeError, match=f"k: expected an integer; got {type(k).__name__}"):
            function(k)


@pytest.mark.parametrize("level", [0, -1, math.nan, math.inf])
def test_levels_must_be_finite_and_positive(level):
    for function in (
        el.pair_coverage,
        lambda x: el.joint_coverage(x, 3),
        lambda x: el.log_joint_coverage(x, 3),
    ):
        with pytest.raises(ValueError, match="level: expected a finite number above 0; got"):
            function(level)


@pytest.mark.parametrize("p", [0, 1, -0.1, math.nan])
def test_probabilities_must_lie_strictly_between_0_and_1(p):
    for function in (el.pair_level, lambda x: el.joint_level(x, 3)):
        with pytest.raises(ValueError, match="p: expected a probability strictly between 0 and 1; got"):
            function(p)


def test_a_subset_of_the_pairs_has_no_joint_coverage():
    region = el.PairwiseEllipses(np.ones((3, 3), bool))
    with pytest.raises(ValueError, match="region: expected all pairs; got a subset of them"):
        el.joint_coverage(2.0, 3, region)


@pytest.mark.parametrize("region", ["pairwise", "ellipsoid", "box"])
def test_whatever_numpy_is_asked_to_raise(region):
    def values():
        levels = (1e-6, 0.5, 2.35, 50.0, 1e4, 1e200)
        coverage = [el.log_joint_coverage(level, k, region) for level in levels for k in (1, 3, 257)]
        laws = ("uniform", "redraw") if region == "pairwise" else ("uniform",)
        matched = [el.matched_level(k, law, region) for law in laws for k in (1, 257, 9000)]
        return [*coverage, *matched, el.joint_level(0.5, 33, region), el.pair_coverage(1e200)]

    expected = values()
    for cached in (integrals.normal_pieces, integrals.uniform_pieces, integrals.normal_radii):
        cached.cache_clear()
    with np.errstate(all="raise"):
        assert values() == expected
        integrals.normal_radii(7, 2.0)
        integrals.normal_radii(257, 300.0)
