"""Each component by itself, against SciPy; and where the centre lies."""

import math
import warnings

import numpy as np
import pytest
from diagnostic_latents import gaussian, generator
from scipy import stats

import ellipsoid as el
from ellipsoid import diagnostics as dg


def test_marginals_are_those_of_scipy():
    values = np.stack([gaussian(900, 1)[:, 0] * 3 + 1, generator(1).exponential(size=900)], axis=1)
    measured = dg.marginals(values)
    np.testing.assert_allclose(measured.std, values.std(axis=0, ddof=1))
    np.testing.assert_allclose(measured.skewness, stats.skew(values), rtol=1e-9)
    np.testing.assert_allclose(measured.kurtosis, stats.kurtosis(values), rtol=1e-9)
    for column, distance, statistic in zip(
        values.T, measured.distance, measured.anderson_darling, strict=True
    ):
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
    measured = dg.marginals(np.stack([gaussian(100, 1)[:, 0], np.full(100, 0.1, np.float32)], axis=1))
    assert measured.std[1] == 0
    assert np.isnan([measured.skewness[1], measured.kurtosis[1], measured.distance[1]]).all()
    assert np.isfinite(measured.skewness[0])


def test_subset_is_random_and_always_the_same():
    rows = np.arange(10_000)
    chosen = dg.subset(rows, 1_000)
    np.testing.assert_array_equal(chosen, dg.subset(rows, 1_000))
    assert len(np.unique(chosen)) == 1_000
    assert abs(chosen.mean() - 5_000) < 5 * 10_000 / math.sqrt(12 * 1_000)
    assert dg.subset(rows, 20_000) is rows


def test_location():
    latents = gaussian(20_000, 4) * np.float32([4, 3, 2, 1]) + np.float32([0, 9, 0, 2])
    measured = dg.location(el.fit(latents), latents)
    assert measured.distance == pytest.approx(math.hypot(9, 2), abs=0.1)
    assert measured.origin_distance == pytest.approx(math.hypot(9 / 3, 2), abs=0.1)
    np.testing.assert_allclose(measured.offset, [0, 3, 0, 2], atol=0.1)
    np.testing.assert_allclose(measured.shares, [0, 81 / 85, 0, 4 / 85], atol=0.01)
    exact = np.median(np.linalg.norm(gaussian(200_000, 4, 1) * [4, 3, 2, 1], axis=1))
    assert measured.radius == pytest.approx(exact, rel=0.02)
