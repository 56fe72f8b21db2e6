import numpy as np
import pytest
from brute_force import gaussian

from ellipsoid.metrics import extrapolated_frechet_distance, frechet_distance


def test_extrapolation_takes_the_bias_away():
    exact = 20 * (0.1**2 + 0.1**2)
    pairs = [(gaussian(300, 20, seed), gaussian(260, 20, 500 + seed, 1.1, 0.1)) for seed in range(40)]
    values = np.array([extrapolated_frechet_distance(x, y) for x, y in pairs])
    spread = values[:, 0].std(ddof=1)
    error = spread / np.sqrt(len(pairs))
    assert abs(values[:, 0].mean() - exact) < 4 * error
    biased = np.mean([frechet_distance(x, y).value for x, y in pairs])
    assert abs(biased - exact) > 10 * error
    # The delta method's error is too large near equal distributions.
    assert 0.8 < np.sqrt(np.mean(values[:, 1] ** 2)) / spread < 2


def test_errors_name_the_argument():
    with pytest.raises(ValueError, match="b: expected at least 4 rows"):
        extrapolated_frechet_distance(gaussian(9, 2), gaussian(3, 2))
