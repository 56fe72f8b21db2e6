import numpy as np
import pytest

import ellipsoid as el
from ellipsoid.diagnostics import correlation, diagnose, pair_table, tables


@pytest.mark.slow
def test_of_many_pairs_the_table_has_those_that_are_farthest_off(monkeypatch):
    """The distance is NaN where dependence was not measured: beyond the leading components."""
    latents = np.random.default_rng(0).normal(size=(200, 34)) ** np.where(np.arange(34) < 2, 3, 1)
    measured = diagnose(el.fit(latents), latents)
    every = pair_table(measured)
    assert len(every["first"]) == 34 * 33 // 2
    np.testing.assert_array_equal(np.isnan(every["distance"]), every["second"] > 32)
    i, j = every["first"] - 1, every["second"] - 1
    np.testing.assert_array_equal(every["correlation"], correlation(measured.covariance_after)[i, j])
    np.testing.assert_array_equal(every["inside_2"], measured.calibration.observed[3][i, j])
    monkeypatch.setattr(tables, "MOST_PAIRS", 10)
    few = pair_table(measured)
    np.testing.assert_array_equal(np.sort(few["error"]), np.sort(every["error"])[-10:])
    assert (np.diff(few["first"] * 100 + few["second"]) > 0).all()
