import math

import jax
import numpy as np
import pytest
from brute_force import gaussian
from scipy import stats

import ellipsoid as el
from ellipsoid.metrics import sliced_wasserstein


@pytest.mark.parametrize(("m", "n"), [(300, 300), (250, 101), (1, 7)])
@pytest.mark.usefixtures("block")
def test_sliced_wasserstein_in_one_dimension(m, n):
    x, y = gaussian(m, 1, shift=100), np.round(gaussian(n, 1, 1, 3, 100), 1)  # rounded: with ties
    exact = stats.wasserstein_distance(x[:, 0], y[:, 0])
    distance = sliced_wasserstein(x, y, el.key(0), n_projections=4)
    assert distance.value == pytest.approx(exact, rel=1e-5)
    assert distance.error == pytest.approx(0, abs=1e-6)


def test_sliced_wasserstein_of_a_shift():
    # Every projection of a set against itself, moved by v, is |v cos|: 2 |v| / pi on average in the plane.
    x = gaussian(500, 2)
    distance = sliced_wasserstein(x, x + np.array([3.0, 4.0]), el.key(1), n_projections=400)
    assert abs(distance.value - 10 / math.pi) < 5 * distance.error
    assert distance.error == pytest.approx(5 * math.sqrt(1 / 2 - 4 / math.pi**2) / math.sqrt(400), rel=0.1)


def test_errors_name_the_argument():
    x = gaussian(5, 2)
    with pytest.raises(ValueError, match="n_projections: expected at least 2; got 1"):
        sliced_wasserstein(x, x, el.key(0), n_projections=1)
    with pytest.raises(ValueError, match=r"y: expected 2 columns; got shape \(5, 1\)"):
        sliced_wasserstein(x, x[:, :1], el.key(0))
    with pytest.raises(TypeError, match="key: expected a typed JAX key"):
        sliced_wasserstein(x, x, 0)


def test_directions_are_the_same_with_64_bit_types():
    x, y = gaussian(200, 3), gaussian(200, 3, 1)
    distance = sliced_wasserstein(x, y, el.key(0))
    with jax.enable_x64(True):
        in_64_bits = sliced_wasserstein(x, y, el.key(0))
    assert in_64_bits.value == pytest.approx(distance.value, rel=1e-6)
    assert in_64_bits.error == pytest.approx(distance.error, rel=1e-6)
