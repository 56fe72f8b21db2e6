import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ellipsoid as el
from ellipsoid.regions import as_region, pairs_gauge

REGIONS = ("pairwise", "ellipsoid", "box")
gauge_of = jax.jit(lambda region, u: region.gauge(u))
pairs_gauge_of = jax.jit(pairs_gauge)
BELOW, ABOVE = np.nextafter(np.float32(1), np.float32(0)), np.nextafter(np.float32(1), np.float32(2))

# Points on the boundary whose squares and sums are exact in binary.
ON_BOUNDARY = {
    "pairwise": [[1, 0, 0], [0, -1, 0], [0.6, 0.1, -0.8]],
    "ellipsoid": [[1, 0, 0], [0, 0, -1], [0.5, -0.5, math.sqrt(0.5)]],
    "box": [[1, 0, 0], [-1, 1, 1], [0.2, -1, 0.9]],
}


def random_points(k, n=500, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, (n, k)).astype(np.float32)


def literal_pairs_gauge(u, pairs=None):
    """Look at one pair after the other, in float64."""
    u = np.asarray(u, np.float64)
    k = u.shape[-1]
    gauge = np.max(np.abs(u), axis=-1)
    for i in range(k):
        for j in range(i):
            if pairs is None or pairs[i, j]:
                gauge = np.maximum(gauge, np.hypot(u[..., i], u[..., j]))
    return gauge


def random_mask(k, seed=0):
    upper = np.triu(np.random.default_rng(seed).random((k, k)) < 0.4)
    return upper | upper.T


# --- gauge -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", REGIONS)
def test_inside_on_and_outside_the_boundary(name):
    points = np.array(ON_BOUNDARY[name], np.float32)
    inside, on, outside = gauge_of(
        as_region(name), np.stack([points * np.float32(0.999), points, points * np.float32(1.001)])
    )
    assert np.all(inside < 1)
    np.testing.assert_allclose(on, 1, atol=2e-7)
    assert np.all(outside > 1)


@pytest.mark.parametrize("name", REGIONS)
def test_boundary_float32_on_an_axis_is_exact(name):
    on, inside, outside = gauge_of(as_region(name), np.diag(np.array([1, BELOW, ABOVE], np.float32)))
    assert on == 1
    assert inside < 1
    assert outside > 1


@pytest.mark.parametrize("name", REGIONS)
@pytest.mark.parametrize("k", [1, 2, 7])
def test_gauge_is_a_norm(name, k):
    a, b = random_points(k, seed=1), random_points(k, seed=2)
    gauges = np.asarray(gauge_of(as_region(name), np.stack([a, b, 3 * a, -a, a + b, 0 * a])))
    assert gauges.shape == (6, 500)
    of_a, of_b, of_3a, of_minus_a, of_sum, of_zero = gauges
    np.testing.assert_allclose(of_3a, 3 * of_a, rtol=1e-6)
    np.testing.assert_array_equal(of_minus_a, of_a)
    assert np.all(of_sum <= of_a + of_b + 1e-6)
    assert np.all(of_zero == 0)


@pytest.mark.parametrize("k", [1, 2, 3, 9])
def test_fast_gauge_equals_the_pair_forms(k):
    u = random_points(k)
    fast = np.asarray(gauge_of(el.PairwiseEllipses(), u))
    np.testing.assert_array_equal(fast, pairs_gauge_of(u))
    np.testing.assert_allclose(fast, literal_pairs_gauge(u), rtol=2e-7)


@pytest.mark.parametrize(
    ("point", "expected"),
    [
        ([0.0], 0),
        ([-0.5], 0.5),
        ([0, 0, 0], 0),
        ([0, -0.0, 0.25], 0.25),
        ([0.5, -0.5, 0], math.sqrt(0.5)),
        ([0.5, 0.5, 0.5, -0.5], math.sqrt(0.5)),
        ([0.75, 0.25, 0.25], math.sqrt(0.625)),
        ([0.25, 0.75, -0.75, 0.5], math.sqrt(1.125)),
    ],
)
def test_fast_gauge_with_ties_and_zeros(point, expected):
    point = np.array(point, np.float32)
    assert gauge_of(el.PairwiseEllipses(), point) == np.float32(expected)
    assert pairs_gauge_of(point) == np.float32(expected)


@pytest.mark.parametrize("k", [2, 3, 9])
def test_masked_gauge_looks_at_the_masked_pairs_alone(k):
    u, mask = random_points(k), random_mask(k)
    full, fast, box = np.ones((k, k), bool), gauge_of(el.PairwiseEllipses(), u), gauge_of(el.Box(), u)

    def masked(pairs):
        return gauge_of(el.PairwiseEllipses(pairs), u)

    np.testing.assert_allclose(masked(mask), literal_pairs_gauge(u, mask), rtol=2e-7)
    np.testing.assert_array_equal(masked(full), fast)
    np.testing.assert_array_equal(masked(~full), box)
    np.testing.assert_array_equal(masked(np.eye(k, dtype=bool)), box)


@pytest.mark.parametrize("k", [1, 2, 16, 40])
def test_gradient_of_the_gauge_lies_in_the_two_largest(k):
    u = np.random.default_rng(k).normal(size=(20, k)).astype(np.float32)
    gauge, gradient = jax.jit(jax.vmap(jax.value_and_grad(el.PairwiseEllipses().gauge)))(u)
    largest = np.abs(u) >= np.sort(np.abs(u), axis=1)[:, -min(2, k)][:, None]
    np.testing.assert_allclose(gradient, np.where(largest, u, 0) / np.asarray(gauge)[:, None], atol=1e-6)


def test_regions_are_distinct_pytrees():
    """Otherwise a program that was compiled for one could be taken for another."""
    structures = [jax.tree.structure(region()) for region in (el.PairwiseEllipses, el.Ellipsoid, el.Box)]
    assert all(a != b for i, a in enumerate(structures) for b in structures[:i])
    assert jax.tree.map(lambda leaf: leaf, (el.Ellipsoid(), el.Box())) == (el.Ellipsoid(), el.Box())


def test_regions_pass_through_jit_as_arguments():
    u, mask = random_points(9), random_mask(9)
    for region in (el.PairwiseEllipses(), el.PairwiseEllipses(jnp.asarray(mask)), el.Ellipsoid(), el.Box()):
        np.testing.assert_allclose(gauge_of(region, u), region.gauge(u), rtol=2e-7)


# --- volume ----------------------------------------------------------------------------------------


@functools.cache
def hits(name, k, n=400_000):
    """Give the share of points of the cube [-1, 1]^K that lie inside a region."""
    u = np.random.default_rng(k).uniform(-1, 1, (n, k)).astype(np.float32)
    return np.mean(np.asarray(gauge_of(as_region(name), u)) <= 1)


def volume_z(name, log_volume, k, n=400_000):
    """Give the standard errors between a volume and its estimate by rejection."""
    share = math.exp(log_volume - k * math.log(2))
    return abs(hits(name, k, n) - share) / math.sqrt(share * (1 - share) / n)


@pytest.mark.parametrize("k", [2, 3, 4, 5, 6])
@pytest.mark.parametrize("name", ["pairwise", "ellipsoid"])
def test_volume_matches_rejection(name, k):
    log_volume = as_region(name).log_volume(k)
    assert volume_z(name, log_volume, k) < 4
    cube_alone = k / 2 * math.log(2)
    assert volume_z(name, cube_alone, k) > 10
    assert volume_z(name, log_volume + 0.02, k) > 4


def test_volumes_in_closed_form():
    for region in (el.PairwiseEllipses(), el.Ellipsoid(), el.Box()):
        assert region.log_volume(1) == pytest.approx(math.log(2), abs=1e-12)
    assert el.PairwiseEllipses().log_volume(2) == pytest.approx(math.log(math.pi), abs=1e-12)
    # Three cylinders at right angles: the tricylinder (Steinmetz solid), 8 (2 - sqrt 2).
    assert el.PairwiseEllipses().log_volume(3) == pytest.approx(math.log(8 * (2 - math.sqrt(2))), abs=1e-12)
    assert el.Ellipsoid().log_volume(3) == pytest.approx(math.log(4 / 3 * math.pi), abs=1e-12)
    assert el.Box().log_volume(5) == pytest.approx(math.log(32), abs=1e-12)


@pytest.mark.parametrize("name", REGIONS)
def test_volume_is_finite_in_4096_dimensions(name):
    assert math.isfinite(as_region(name).log_volume(4096))


def test_each_piece_holds_about_half_of_the_volume_in_high_dimensions():
    cube = 4096 / 2 * math.log(2)
    assert math.exp(cube - el.PairwiseEllipses().log_volume(4096)) == pytest.approx(0.5, abs=1e-3)


# --- refusals --------------------------------------------------------------------------------------


def test_as_region_keeps_objects_and_knows_names():
    region = el.PairwiseEllipses(random_mask(3))
    assert as_region(region) is region
    assert [as_region(name).name for name in REGIONS] == list(REGIONS)


def test_unknown_regions_are_refused():
    with pytest.raises(ValueError, match="region: expected one of pairwise, ellipsoid, box; got 'ball'"):
        as_region("ball")
    with pytest.raises(TypeError, match="region: expected a name or a region object; got int"):
        as_region(3)


@pytest.mark.parametrize(
    ("pairs", "error", "message"),
    [
        (np.ones((3, 3)), TypeError, "pairs: expected a boolean mask; got dtype float64"),
        (np.ones((3, 2), bool), ValueError, r"pairs: expected a mask of shape \(3, 3\); got \(3, 2\)"),
        (np.triu(np.ones((3, 3), bool)), ValueError, r"pairs: expected a symmetric mask"),
    ],
)
def test_wrong_masks_are_refused(pairs, error, message):
    with pytest.raises(error, match=message):
        el.PairwiseEllipses(pairs).check(3)


def test_a_mask_has_no_closed_volume():
    with pytest.raises(ValueError, match="pairs: expected all pairs; got a mask, which has no closed-form"):
        el.PairwiseEllipses(random_mask(3)).log_volume(3)
