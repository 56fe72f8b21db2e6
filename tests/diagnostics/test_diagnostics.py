"""Every diagnostic against a known truth, and against SciPy where it has the same quantity."""

import math
import warnings

import jax
import numpy as np
import pytest
from scipy import stats

import ellipsoid as el
from ellipsoid import diagnostics as dg
from ellipsoid.diagnostics import assess


def generator(seed=0):
    return np.random.default_rng(seed)


def gaussian(n, k, seed=0):
    return generator(seed).normal(size=(n, k)).astype(np.float32)


# --- components ------------------------------------------------------------------------------------


def test_marginals_are_those_of_scipy():
    values = np.stack([gaussian(900, 1)[:, 0] * 3 + 1, generator(1).exponential(size=900)], axis=1)
    found = dg.marginals(values)
    np.testing.assert_allclose(found.std, values.std(axis=0, ddof=1))
    np.testing.assert_allclose(found.skewness, stats.skew(values), rtol=1e-9)
    np.testing.assert_allclose(found.kurtosis, stats.kurtosis(values), rtol=1e-9)
    for column, distance, statistic in zip(values.T, found.distance, found.anderson_darling, strict=True):
        law = stats.norm(column.mean(), column.std(ddof=1))
        assert distance == pytest.approx(stats.kstest(column, law.cdf).statistic, rel=1e-9)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            assert statistic == pytest.approx(stats.anderson(column, "norm").statistic, rel=1e-6)


def test_anderson_darling_exceeds_its_critical_value_as_often_as_it_should():
    statistics = dg.marginals(gaussian(500, 2_000)).anderson_darling
    for critical, share in ((0.752, 0.05), (1.035, 0.01)):
        assert abs(np.mean(statistics > critical) - share) < 5 * math.sqrt(share * (1 - share) / 2_000)
    uniform = dg.marginals(generator().uniform(size=(500, 200))).anderson_darling
    assert np.mean(uniform > 0.752) > 0.95


def test_constant_columns_have_no_shape():
    found = dg.marginals(np.stack([gaussian(100, 1)[:, 0], np.full(100, 0.1, np.float32)], axis=1))
    assert found.std[1] == 0
    assert np.isnan([found.skewness[1], found.kurtosis[1], found.distance[1]]).all()
    assert np.isfinite(found.skewness[0])


def test_subset_is_random_and_always_the_same():
    rows = np.arange(10_000)
    chosen = dg.subset(rows, 1_000)
    np.testing.assert_array_equal(chosen, dg.subset(rows, 1_000))
    assert len(np.unique(chosen)) == 1_000
    assert abs(chosen.mean() - 5_000) < 5 * 10_000 / math.sqrt(12 * 1_000)
    assert dg.subset(rows, 20_000) is rows


# --- location --------------------------------------------------------------------------------------


def test_location():
    latents = gaussian(20_000, 4) * np.float32([4, 3, 2, 1]) + np.float32([0, 9, 0, 2])
    found = dg.location(el.fit(latents), latents)
    assert found.distance == pytest.approx(math.hypot(9, 2), abs=0.1)
    assert found.origin_distance == pytest.approx(math.hypot(9 / 3, 2), abs=0.1)
    np.testing.assert_allclose(found.offset, [0, 3, 0, 2], atol=0.1)
    np.testing.assert_allclose(found.shares, [0, 81 / 85, 0, 4 / 85], atol=0.01)
    exact = np.median(np.linalg.norm(gaussian(200_000, 4, 1) * [4, 3, 2, 1], axis=1))
    assert found.radius == pytest.approx(exact, rel=0.02)


# --- pairs -----------------------------------------------------------------------------------------


def covariance_of(std, r):
    return np.array([[std[0] ** 2, r * std[0] * std[1]], [r * std[0] * std[1], std[1] ** 2]])


@pytest.mark.parametrize("r", [-0.95, 0.0, 0.3, 0.99])
def test_both_constructions_give_the_ellipse(r):
    covariance = covariance_of((3.0, 0.5), r)
    by_axes = dg.ellipse_outline(covariance, 2.2)
    by_correlation = dg.ellipse_outline_by_correlation(covariance, 2.2)
    for outline in (by_axes, by_correlation):
        squares = np.einsum("ni,ij,nj->n", outline, np.linalg.inv(covariance), outline)
        np.testing.assert_allclose(np.sqrt(squares), 2.2, rtol=1e-9)
        # All around, and not a part of it.
        np.testing.assert_allclose(np.abs(outline).max(axis=0), 2.2 * np.array([3, 0.5]), rtol=1e-3)
    wrong = dg.ellipse_outline_by_correlation(covariance_of((3.0, 0.5), -r / 2 - 0.1), 2.2)
    squares = np.einsum("ni,ij,nj->n", wrong, np.linalg.inv(covariance), wrong)
    assert np.abs(np.sqrt(squares) - 2.2).max() > 0.05


def test_pair_angles():
    turn = np.radians(30)
    axes = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    covariance = axes.T @ np.diag([9.0, 1.0]) @ axes
    angles = dg.pair_angles(covariance)
    assert angles[0, 1] == pytest.approx(30)
    assert angles[1, 0] == pytest.approx(60)
    assert dg.pair_angles(np.diag([1.0, 9.0]))[0, 1] == 90


def test_strongest_pairs():
    matrix = np.array([[1, 0.1, -0.9], [0.1, 1, 0.5], [-0.9, 0.5, 1]])
    assert dg.strongest_pairs(matrix, 2) == [(0, 2), (1, 2)]


@pytest.mark.parametrize(("n", "k"), [(37, 2), (64, 16), (101, 19)])
def test_calibration_counts_what_a_loop_counts(n, k):
    values = gaussian(n, k)
    spread = generator(2).normal(size=(k, 2 * k))
    covariance = spread @ spread.T / k
    found = dg.calibration(values, covariance, levels=(0.7, 1.9))
    for i in range(k):
        for j in range(i + 1, k):
            inverse = np.linalg.inv(covariance[np.ix_((i, j), (i, j))])
            squares = np.einsum("ni,ij,nj->n", values[:, (i, j)], inverse, values[:, (i, j)])
            for level, observed in zip((0.7, 1.9), found.observed, strict=True):
                assert observed[i, j] == observed[j, i] == pytest.approx(np.mean(squares <= level**2))


def test_calibration_of_a_gaussian_and_of_others():
    k, identity = 20, np.eye(20)
    found = dg.calibration(gaussian(50_000, k), identity)
    assert found.n == dg.PAIR_ROWS
    np.testing.assert_allclose(found.expected, 1 - np.exp(-(found.levels**2) / 2))
    # The pairs share their components: the mean of all shares varies a little less than one share does.
    error = np.sqrt(found.expected * (1 - found.expected) / found.n)
    assert (np.abs(found.of_pairs.mean(axis=1) - found.expected) < 4 * error).all()
    assert (np.abs(found.of_pairs - found.expected[:, None]) < 5 * error[:, None]).all()
    assert found.share_within(0.02) == 1
    assert dg.calibration(gaussian(50_000, k) * 1.1, identity).share_within(0.02) == 0
    assert dg.calibration(gaussian(300, k), identity).share_within(0.02) > 0.9  # few rows are no misfit


def test_half_maximum_of_a_gaussian_is_an_ellipse():
    covariance = covariance_of((3.0, 1.0), 0.6)
    points = gaussian(100_000, 2) @ np.linalg.cholesky(covariance).T
    found = dg.half_maximum(points + np.array([5.0, -3.0]))
    direction = np.stack([np.cos(found.angles), np.sin(found.angles)], axis=1)
    squares = np.einsum("ni,ij,nj->n", direction, np.linalg.inv(covariance), direction)
    np.testing.assert_allclose(found.radii * np.sqrt(squares), math.sqrt(2 * math.log(2)), rtol=0.03)
    variances = np.linalg.eigvalsh(covariance)
    assert found.ratio == pytest.approx(math.sqrt(variances[0] / variances[1]), rel=0.02)
    assert found.ellipticity_error < 0.01


def test_half_maximum_tells_a_box_and_two_clusters_from_a_gaussian():
    noise = max(dg.half_maximum(gaussian(2_000, 2, seed)).ellipticity_error for seed in range(10))
    assert noise < 0.03
    apart = gaussian(2_000, 2)
    apart[:, 0] += np.where(generator(1).random(2_000) < 0.5, 2, -2)
    assert dg.half_maximum(apart).ellipticity_error > 2 * noise
    with pytest.raises(ValueError, match="do not all lie on one line"):
        dg.half_maximum(gaussian(100, 1)[:, (0, 0)])


# --- all components at once ------------------------------------------------------------------------


def test_multivariate_statistics_are_those_of_their_definitions():
    values = gaussian(60, 3).astype(np.float64) @ [[2, 1, 0], [0, 1, 0.5], [0, 0, 3]] + 7
    found = dg.multivariate_normality(values)
    n, d = values.shape
    centred = values - values.mean(axis=0)
    inverse = np.linalg.inv(np.cov(values.T, bias=True))
    b = (((2 * d + 1) * n / 4) ** (1 / (d + 4)) / math.sqrt(2)) ** 2
    skewness = kurtosis = between = single = 0.0
    for x in centred:
        kurtosis += (x @ inverse @ x) ** 2 / n
        single += math.exp(-b * (x @ inverse @ x) / (2 * (1 + b)))
        for y in centred:
            skewness += (x @ inverse @ y) ** 3 / n**2
            between += math.exp(-b / 2 * ((x - y) @ inverse @ (x - y)))
    expected = between / n - 2 * (1 + b) ** (-d / 2) * single + n * (1 + 2 * b) ** (-d / 2)
    assert found.skewness == pytest.approx(skewness)
    assert found.kurtosis_ratio == pytest.approx(kurtosis / (d * (d + 2) * (n - 1) / (n + 1)))
    assert found.henze_zirkler == pytest.approx(expected)


def test_multivariate_tests_reject_gaussians_as_often_as_they_should():
    count, n, k = 400, 150, 3
    found = [dg.multivariate_normality(gaussian(n, k, seed)) for seed in range(count)]
    statistic = np.array([one.henze_zirkler for one in found])
    assert abs(statistic.mean() - found[0].henze_zirkler_expected) < 5 * statistic.std() / math.sqrt(count)
    error = math.sqrt(0.05 * 0.95 / count)
    assert abs(np.mean([one.henze_zirkler_p < 0.05 for one in found]) - 0.05) < 5 * error
    # Mardia's are asymptotic, and reject a little less often from so few rows.
    for name in ("skewness_p", "kurtosis_p"):
        assert 0.01 < np.mean([getattr(one, name) < 0.05 for one in found]) < 0.05 + 5 * error
    scales = np.sqrt(generator().chisquare(5, size=(count, n, 1)) / 5)
    heavy = [dg.multivariate_normality(gaussian(n, k, seed) / scales[seed]) for seed in range(50)]
    for name in ("henze_zirkler_p", "kurtosis_p"):
        assert np.mean([getattr(one, name) < 0.05 for one in heavy]) > 0.8


def test_mardias_tests_hold_for_few_rows_of_many_components():
    found = [dg.multivariate_normality(gaussian(200, 32, seed)) for seed in range(100)]
    for name in ("skewness_p", "kurtosis_p"):
        p = np.array([getattr(one, name) for one in found])
        assert np.mean(p < 0.05) < 0.05 + 5 * math.sqrt(0.05 * 0.95 / 100)
        assert abs(np.mean(p < 0.5) - 0.5) < 0.25  # without Mardia's corrections 0.0 and 0.9


def test_multivariate_normality_needs_full_rank():
    with pytest.raises(ValueError, match="expected at least 11 rows, which span all 9 columns; got 10"):
        dg.multivariate_normality(gaussian(10, 9))
    for seed in range(20):
        mixed = gaussian(50, 4, seed) @ generator(seed).normal(size=(4, 5))
        with pytest.raises(ValueError, match="lower rank"):
            dg.multivariate_normality(mixed)


def test_distances_of_a_gaussian_and_its_core():
    k, n = 12, 20_000
    scale = np.linspace(3, 0.1, k).astype(np.float32)
    found = dg.distances(gaussian(n, k) * scale, scale)
    assert stats.kstest(found.squares, stats.chi2(k).cdf).pvalue > 0.001
    assert found.spread == pytest.approx(1, abs=0.03)
    assert abs(found.far_share - 0.001) < 5 * math.sqrt(0.001 / n)
    assert found.core_share > 0.99

    outskirts = gaussian(n, k)
    outskirts[: n // 10] *= 5
    assert dg.distances(outskirts, np.ones(k)).core_share == pytest.approx(0.9, abs=0.02)
    assert dg.distances(outskirts, np.ones(k)).far_share > 0.09
    assert math.isnan(dg.distances(gaussian(50, k), np.ones(k)).core_share)


# --- clusters and dependence -----------------------------------------------------------------------


def test_clusters():
    rows = gaussian(4_000, 5)
    rows[:1_000, 0] += 6
    found = dg.clusters(rows)
    assert found.separation == pytest.approx(6, abs=0.2)
    assert found.smaller_share == pytest.approx(0.25, abs=0.01)
    assert found.gain > 0.1
    assert dg.clusters(gaussian(4_000, 5)).gain < 0
    wide = gaussian(4_000, 5)
    wide[:1_000] *= 4
    assert dg.clusters(wide).separation < 1


def test_distance_correlation_is_that_of_its_definition():
    n, values = 50, gaussian(50, 3).astype(np.float64)
    values[:, 1] = values[:, 0] ** 2 + 0.3 * values[:, 1]
    centred = []
    for column in values.T:
        a = np.abs(column[:, None] - column[None, :])
        a = (
            a
            - a.sum(axis=0)[None, :] / (n - 2)
            - a.sum(axis=1)[:, None] / (n - 2)
            + a.sum() / ((n - 1) * (n - 2))
        )
        centred.append(np.where(np.eye(n, dtype=bool), 0, a))
    products = np.array([[np.sum(a * b) for a in centred] for b in centred])
    expected = products / np.sqrt(np.outer(products.diagonal(), products.diagonal()))
    np.testing.assert_allclose(dg.distance_correlation(values), expected, atol=2e-5)


@pytest.mark.parametrize("r", [0.0, 0.6])
def test_distance_correlation_of_a_gaussian_pair(r):
    # Szekely, Rizzo and Bakirov (2007), theorem 7.
    exact = (r * math.asin(r) + math.sqrt(1 - r * r) - r * math.asin(r / 2) - math.sqrt(4 - r * r) + 1) / (
        1 + math.pi / 3 - math.sqrt(3)
    )
    estimates = []
    for seed in range(20):
        x, y = gaussian(1_000, 2, seed).T
        pair = np.stack([x, r * x + math.sqrt(1 - r * r) * y], axis=1)
        estimates.append(dg.distance_correlation(pair)[0, 1])
    assert abs(np.mean(estimates) - exact) < 5 * np.std(estimates) / math.sqrt(20)


def test_distance_correlation_in_blocks():
    values = gaussian(1_003, 4)
    whole = dg.distance_correlation(values)
    many = np.concatenate([values, gaussian(1_003, 60, 1)], axis=1)  # blocks of 261 rows
    np.testing.assert_allclose(dg.distance_correlation(many)[:4, :4], whole, atol=2e-5)


def test_dependence_bounds_hold_for_independent_columns():
    squares = distance = 0
    off = ~np.eye(20, dtype=bool)
    for seed in range(100):
        found = dg.dependence(generator(seed).standard_t(3, size=(300, 20)))
        squares += np.abs(found.squares[off]).max() > found.squares_bound
        distance += found.distance[off].max() > found.distance_bound
    # 5 of 100 are allowed; the bound on distance correlations is a conservative one.
    assert squares <= 5 + 5 * math.sqrt(5)
    assert distance <= 5


def test_dependence_finds_a_curve_and_a_common_scale():
    values = gaussian(3_000, 4)
    values[:, 2] = (values[:, 0] ** 2 - 1) / math.sqrt(2) + 0.4 * values[:, 2]
    found = dg.dependence(values)
    assert found.distance[0, 2] > 3 * found.distance_bound
    assert found.distance[0, 1] < found.distance_bound
    wide = gaussian(3_000, 4) * np.exp(0.3 * gaussian(3_000, 1, 1))
    assert dg.dependence(wide).squares[0, 1] > 2 * dg.dependence(wide).squares_bound


# --- the original frame ----------------------------------------------------------------------------


def walk_reference(covariance, level, n):
    """Exact points by rejection from the box."""
    std = np.sqrt(covariance.diagonal())
    tried = generator(3).uniform(-level, level, size=(n, len(std))) * std
    inside = np.ones(n, bool)
    for i in range(len(std)):
        for j in range(i + 1, len(std)):
            inverse = np.linalg.inv(covariance[np.ix_((i, j), (i, j))])
            inside &= np.einsum("ni,ij,nj->n", tried[:, (i, j)], inverse, tried[:, (i, j)]) <= level**2
    return tried[inside]


def test_original_frame_walk_fills_the_region_evenly():
    covariance = np.array([[4.0, 1.5, 0.3], [1.5, 1.0, -0.2], [0.3, -0.2, 0.25]])
    exact = walk_reference(covariance, 1.7, 400_000)
    n = 20_000

    def worst_deviation(sweeps):
        points = dg.original_frame_points(jax.random.key(0), covariance, 1.7, n, sweeps=sweeps)
        z = []
        for i in range(3):
            for j in range(i, 3):
                a, b = points[:, i] * points[:, j], exact[:, i] * exact[:, j]
                z.append((a.mean() - b.mean()) / math.sqrt(a.var() / n + b.var() / len(b)))
        return np.abs(z).max(), points

    deviation, points = worst_deviation(40)
    assert deviation < 5
    assert worst_deviation(1)[0] > 10  # a walk that has not forgotten its start does not pass
    for i in range(3):
        for j in range(i + 1, 3):
            inverse = np.linalg.inv(covariance[np.ix_((i, j), (i, j))])
            squares = np.einsum("ni,ij,nj->n", points[:, (i, j)], inverse, points[:, (i, j)])
            assert squares.max() < 1.7**2 * (1 + 1e-4)


def test_original_frame_walk_leaves_constant_dimensions_alone():
    points = dg.original_frame_points(jax.random.key(0), np.diag([1.0, 0.0, 2.0]), 2.0, 50, sweeps=5)
    assert (points[:, 1] == 0).all()
    assert points[:, (0, 2)].std() > 0.3


# --- draws and images ------------------------------------------------------------------------------


def test_compare_finds_nothing_between_equals_and_the_difference_between_others():
    scale = np.array([2.0, 1.0, 0.5])
    data = gaussian(8_000, 3) * scale
    same = dg.compare(gaussian(8_000, 3, 1) * scale, data, scale)
    assert np.abs(same.std_ratio - 1).max() < 5 / math.sqrt(8_000)
    assert same.distance.max() < 2 / math.sqrt(4_000)
    assert np.abs(same.pair_difference).max() < 0.04
    other = dg.compare(gaussian(8_000, 3, 1) * scale * [0.5, 1, 1], data, scale)
    np.testing.assert_allclose(other.std_ratio, [0.5, 1, 1], rtol=0.04)
    expected = stats.ks_2samp(gaussian(8_000, 3, 1)[:, 0] * scale[0] * 0.5, data[:, 0]).statistic
    assert other.distance[0] == pytest.approx(expected)
    # Pairs (0, 1), (0, 2), (1, 2): narrow draws fill the ellipses of the first component more.
    assert (other.pair_difference[:2] > 0.1).all()
    assert abs(other.pair_difference[2]) < 0.04


def test_nearest_image():
    images = generator().integers(0, 256, size=(5_000, 6, 6, 3), dtype=np.uint8)
    queries = images[[4_999, 7, 2_500]].copy()
    queries[:, 0, 0, 0] ^= 8
    index, distance = dg.nearest(queries, images)
    np.testing.assert_array_equal(index, [[4_999], [7], [2_500]])
    np.testing.assert_allclose(distance, 8 / 255 / math.sqrt(108), rtol=1e-5)

    few = images[:300]
    apart = np.sqrt(np.mean((few[:, None] / 255 - few[None] / 255) ** 2, axis=(2, 3, 4)))
    index, distance = dg.nearest(few[:50], few[50:], 3)
    np.testing.assert_array_equal(index, apart[:50, 50:].argsort(axis=1)[:, :3])
    np.testing.assert_allclose(distance, np.sort(apart[:50, 50:], axis=1)[:, :3], rtol=1e-5)
    with pytest.raises(ValueError, match="count: expected 1 to 4"):
        dg.nearest(few, few[:4], 5)


# --- everything, and the verdict -------------------------------------------------------------------


def latents_of(case, n, d):
    """Latents of a known shape, with falling widths, turned by a random rotation."""
    random = generator()
    width = np.exp(-2 * np.arange(d) / d)
    rotation = np.linalg.qr(random.normal(size=(d, d)))[0]
    u = random.normal(size=(n, d))
    match case:
        case "two clusters":
            u[:, 0] = 0.3 * u[:, 0] + np.where(random.random(n) < 0.4, 1, -1)
        case "banana":
            u[:, 1] = 0.9 * (u[:, 0] ** 2 - 1) / math.sqrt(2) + 0.4 * u[:, 1]
        case "heavy tails":
            u /= np.sqrt(random.chisquare(5, size=(n, 1)) / 5)
        case "wide outskirts":
            u[: n // 10] *= 3
        case "box":
            u = random.uniform(-1, 1, size=(n, d))
        case "ball":
            u *= random.random((n, 1)) ** (1 / d) / np.linalg.norm(u, axis=1, keepdims=True)
        case "one odd component":
            u[:, -1] = 0.03 * u[:, -1] + np.where(random.random(n) < 0.5, 0.3, -0.3)
        case "skewed":
            u = random.gamma(2, size=(n, d))
    return ((u * width) @ rotation).astype(np.float32)


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        ("gaussian", set()),
        ("two clusters", {"clusters"}),
        ("banana", {"dependent"}),
        ("heavy tails", {"heavy_tails"}),
        ("wide outskirts", {"heavy_tails"}),
        ("box", {"flat"}),
        ("ball", {"flat"}),
        ("skewed", {"heavy_tails", "skewed"}),
        ("one odd component", {"component"}),
    ],
)
@pytest.mark.parametrize(("n", "d"), [(2_000, 16), (600, 32)])
def test_each_failure_of_an_assumption_raises_its_concern_and_no_other(case, expected, n, d):
    latents = latents_of(case, n, d)
    state = el.fit(latents)
    verdict = assess(state, dg.diagnose(state, latents))
    assert {concern.name for concern in verdict.concerns} == expected
    if case == "gaussian":
        assert verdict.headline.startswith("The latents are close to normal")
        assert verdict.law == "normal"
        assert verdict.level == pytest.approx(el.joint_level(0.9, d), rel=0.05)
    elif expected == {"flat"}:
        assert verdict.law == "uniform"
        assert 2.3 < verdict.level < math.sqrt(6)
    else:
        assert (verdict.law, verdict.level) == ("redraw", el.DEFAULT_LEVEL)


@pytest.mark.parametrize(("n", "d"), [(60, 2), (100, 10), (300, 2)])
def test_few_latents_of_a_gaussian_raise_no_concern(n, d):
    alarms = 0
    for seed in range(6):
        latents = gaussian(n, d, seed)
        state = el.fit(latents)
        alarms += bool(assess(state, dg.diagnose(state, latents)).concerns)
    assert alarms <= 1


def test_axes_that_are_not_those_of_the_latents_are_said_to_be_so():
    latents = latents_of("gaussian", 2_000, 4)
    turned = latents[:, ::-1] * np.float32([1, 1, 1, 4])
    state = el.fit(latents)
    concerns = {concern.name: concern.text for concern in assess(state, dg.diagnose(state, turned)).concerns}
    assert "fit it to them" in concerns["dependent"]


def test_few_images_and_bad_half_widths_are_concerns():
    few = gaussian(200, 32)
    state = el.fit(few)
    assert {concern.name for concern in assess(state, dg.diagnose(state, few)).concerns} == {"few_images"}
    # Components of widths 1 to 1/1000, read in intervals of one common width.
    narrow = gaussian(2_000, 16) * np.geomspace(1, 1e-3, 16).astype(np.float32)
    state = el.fit(narrow, half_width="histogram_raw")
    assert {concern.name for concern in assess(state, dg.diagnose(state, narrow)).concerns} == {"half_widths"}


def test_numbers_of_a_gaussian_state():
    latents = latents_of("gaussian", 6_000, 16)
    state = el.fit(latents)
    found = dg.diagnose(state, latents)
    summary = found.summary()
    assert (summary["n"], summary["n_features"], summary["n_components"]) == (6_000, 16, 16)
    assert summary["correlation"]["strongest_before"] > 0.2
    assert summary["correlation"]["strongest_after"] < 1e-5
    for share, level in found.levels_holding.items():
        exact = el.joint_level(share, 16)
        slope = (el.joint_coverage(exact + 0.01, 16) - el.joint_coverage(exact - 0.01, 16)) / 0.02
        assert abs(level - exact) < 5 * math.sqrt(share * (1 - share) / 6_000) / slope
    np.testing.assert_array_equal(found.gauges <= 3, el.contains(state, latents, level=3.0, tolerance=0))


def test_diagnose_works_with_fewer_components_than_dimensions_and_few_rows():
    latents = latents_of("gaussian", 40, 6)
    state = el.fit(latents, n_components=2)
    found = dg.diagnose(state, latents)
    assert found.scores.shape == (40, 2)
    assert found.original.mean.shape == (6,)
    text = assess(state, found)
    left_out = 1 - float(state.explained_variance_ratio.sum())
    assert any(
        "2 of 6 components hold" in sentence and f"leaves out the other {left_out:.1%}" in sentence
        for sentence in text.findings
    )
    wide = latents_of("gaussian", 10, 20)
    with pytest.warns(UserWarning, match="dropped"):
        state = el.fit(wide)
    assert dg.diagnose(state, wide).normality is None


def test_diagnose_refuses_what_it_cannot_measure():
    latents = gaussian(100, 4)
    state = el.fit(latents)
    with pytest.raises(
        TypeError, match=r"state: expected one PCAState; of a mixture pass mixture\.shared or"
    ):
        dg.diagnose(el.fit_mixture(latents, 2), latents)
    with pytest.raises(ValueError, match="latents: expected 4 columns"):
        dg.diagnose(state, latents[:, :3])
    with pytest.raises(ValueError, match="NaN"):
        dg.diagnose(state, np.full((10, 4), np.nan))
    with pytest.raises(ValueError, match="at least 8 rows"):
        dg.diagnose(state, latents[:5])
    with pytest.raises(ValueError, match="at least 2 components"):
        dg.diagnose(state.truncate(1), latents)
    with pytest.raises(ValueError, match="covariance: columns 0 and 1 lie on a line"):
        dg.calibration(latents, np.where(np.eye(4) > 0, 1.0, [[0, 1, 0, 0], [1, 0, 0, 0], [0] * 4, [0] * 4]))
    with pytest.raises(ValueError, match="covariance: expected shape"):
        dg.calibration(latents, np.eye(3))
    with pytest.raises(ValueError, match="at least 2 columns"):
        dg.calibration(latents[:, :1], np.eye(1))
