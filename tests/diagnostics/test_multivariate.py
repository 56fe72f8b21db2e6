"""All components at once, against the definitions of the statistics and known truths."""

import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from diagnostic_latents import gaussian, generator
from scipy import stats
from threadpoolctl import threadpool_info

from ellipsoid import diagnostics as dg


def test_multivariate_statistics_are_those_of_their_definitions():
    values = gaussian(60, 3).astype(np.float64) @ [[2, 1, 0], [0, 1, 0.5], [0, 0, 3]] + 7
    measured = dg.multivariate_normality(values)
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
    assert measured.skewness == pytest.approx(skewness)
    assert measured.kurtosis_ratio == pytest.approx(kurtosis / (d * (d + 2) * (n - 1) / (n + 1)))
    assert measured.henze_zirkler == pytest.approx(expected)


def test_multivariate_tests_reject_gaussians_as_often_as_they_should():
    count, n, k = 400, 150, 3
    measured = [dg.multivariate_normality(gaussian(n, k, seed)) for seed in range(count)]
    statistic = np.array([one.henze_zirkler for one in measured])
    assert abs(statistic.mean() - measured[0].henze_zirkler_expected) < 5 * statistic.std() / math.sqrt(count)
    error = math.sqrt(0.05 * 0.95 / count)
    assert abs(np.mean([one.henze_zirkler_p < 0.05 for one in measured]) - 0.05) < 5 * error
    # Mardia's tests are asymptotic, and reject a little less often with so few rows.
    for name in ("skewness_p", "kurtosis_p"):
        assert 0.01 < np.mean([getattr(one, name) < 0.05 for one in measured]) < 0.05 + 5 * error
    scales = np.sqrt(generator().chisquare(5, size=(count, n, 1)) / 5)
    heavy = [dg.multivariate_normality(gaussian(n, k, seed) / scales[seed]) for seed in range(50)]
    for name in ("henze_zirkler_p", "kurtosis_p"):
        assert np.mean([getattr(one, name) < 0.05 for one in heavy]) > 0.8


def test_mardias_tests_hold_for_few_rows_of_many_components():
    measured = [dg.multivariate_normality(gaussian(200, 32, seed)) for seed in range(100)]
    for name in ("skewness_p", "kurtosis_p"):
        p = np.array([getattr(one, name) for one in measured])
        assert np.mean(p < 0.05) < 0.05 + 5 * math.sqrt(0.05 * 0.95 / 100)
        assert abs(np.mean(p < 0.5) - 0.5) < 0.25  # without Mardia's corrections 0.0 and 0.9


def test_multivariate_normality_needs_full_rank():
    with pytest.raises(ValueError, match="at least 11 rows with a covariance of rank 9; got 10 rows"):
        dg.multivariate_normality(gaussian(10, 9))
    for seed in range(20):
        mixed = gaussian(50, 4, seed) @ generator(seed).normal(size=(4, 5))
        with pytest.raises(ValueError, match="lower rank"):
            dg.multivariate_normality(mixed)


def test_distances_of_a_gaussian_and_its_core():
    k, n = 12, 20_000
    scale = np.linspace(3, 0.1, k).astype(np.float32)
    measured = dg.distances(gaussian(n, k) * scale, scale)
    assert stats.kstest(measured.squares, stats.chi2(k).cdf).pvalue > 0.001
    assert measured.spread == pytest.approx(1, abs=0.03)
    assert abs(measured.far_share - 0.001) < 5 * math.sqrt(0.001 / n)
    assert measured.core_share > 0.99

    outskirts = gaussian(n, k)
    outskirts[: n // 10] *= 5
    assert dg.distances(outskirts, np.ones(k)).core_share == pytest.approx(0.9, abs=0.02)
    assert dg.distances(outskirts, np.ones(k)).far_share > 0.09
    assert math.isnan(dg.distances(gaussian(50, k), np.ones(k)).core_share)


def test_rows_that_are_alike_have_a_core_without_a_warning():
    """The core has no covariance then, and the median and MAD replace it; warnings are errors here."""
    rows = gaussian(200, 3)
    rows[:150] = rows[0]
    measured = dg.distances(rows, np.ones(3))
    assert np.isfinite(measured.core_scale).all()
    assert measured.core_share < 1


def test_clusters_of_several_threads_leave_the_number_of_threads_alone():
    rows = gaussian(300, 3)
    dg.clusters(rows)  # loads scikit-learn
    before = [pool["num_threads"] for pool in threadpool_info()]
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(dg.clusters, [rows] * 8))
    assert len(set(results)) == 1
    assert [pool["num_threads"] for pool in threadpool_info()] == before


def test_clusters():
    rows = gaussian(4_000, 5)
    rows[:1_000, 0] += 6
    measured = dg.clusters(rows)
    assert measured.separation == pytest.approx(6, abs=0.2)
    assert measured.smaller_share == pytest.approx(0.25, abs=0.01)
    assert measured.gain > 0.1
    assert dg.clusters(gaussian(4_000, 5)).gain < 0
    wide = gaussian(4_000, 5)
    wide[:1_000] *= 4
    assert dg.clusters(wide).separation < 1
