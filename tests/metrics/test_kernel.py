import math

import numpy as np
import pytest
from brute_force import gaussian

from ellipsoid.metrics import kernel_distance


def mmd(x, y, degree, *, biased=False):
    m, n, d = len(x), len(y), x.shape[1]
    kxx, kyy, kxy = (((a @ b.T) / d + 1) ** degree for a, b in ((x, x), (y, y), (x, y)))
    if biased:
        return kxx.mean() + kyy.mean() - 2 * kxy.mean()
    within = (kxx.sum() - np.trace(kxx)) / (m * (m - 1)) + (kyy.sum() - np.trace(kyy)) / (n * (n - 1))
    return within - 2 * kxy.mean()


@pytest.mark.parametrize("degree", [1, 3])
@pytest.mark.usefixtures("block")
def test_kernel_distance_and_its_jackknife_are_those_of_loops(degree):
    x, y = gaussian(194, 5), gaussian(110, 5, 1, 1.2, 0.3)
    distance = kernel_distance(x, y, degree=degree)
    assert distance.value == pytest.approx(mmd(x, y, degree), rel=1e-5)
    without_x = [mmd(np.delete(x, i, 0), y, degree) for i in range(len(x))]
    without_y = [mmd(x, np.delete(y, i, 0), degree) for i in range(len(y))]
    variance = (len(x) - 1) * np.var(without_x) + (len(y) - 1) * np.var(without_y)
    assert distance.error == pytest.approx(math.sqrt(variance), rel=1e-4)


@pytest.mark.parametrize("unit", [1e-30, 1e25])
def test_large_and_small_features_have_the_kernel_of_float64(unit):
    x, y = unit * gaussian(50, 5), unit * gaussian(60, 5, 1, 1.2, 0.3)
    assert kernel_distance(x, y).value == pytest.approx(mmd(x, y, 3), rel=1e-5, abs=1e-12)


@pytest.fixture(scope="module")
def equal_sets():
    """150 times two samples of one distribution."""
    return [(gaussian(100, 4, seed), gaussian(80, 4, 5000 + seed)) for seed in range(150)]


@pytest.fixture(scope="module")
def distances(equal_sets):
    return np.array([kernel_distance(x, y) for x, y in equal_sets])


def test_kernel_distance_has_no_bias_where_the_biased_one_has(equal_sets, distances):
    values = distances[:, 0]
    error = np.std(values, ddof=1) / math.sqrt(len(values))
    assert abs(np.mean(values)) < 5 * error
    biased = [mmd(x, y, 3, biased=True) for x, y in equal_sets]
    assert abs(np.mean(biased)) > 5 * error


def test_jackknife_is_no_smaller_than_the_spread_where_distributions_are_equal(distances):
    ratio = math.sqrt(np.mean(distances[:, 1] ** 2)) / distances[:, 0].std(ddof=1)
    assert 1.0 < ratio < 1.8


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: kernel_distance(x[:2], x), r"x: expected at least 3 rows; got shape \(2, 2\)"),
        (lambda x: kernel_distance(x, x, degree=0), r"degree: expected at least 1; got 0"),
        (lambda x: kernel_distance(x, np.where(x > 0, np.nan, x)), r"y: expected finite values"),
        (lambda x: kernel_distance(x, x[:, :1]), r"y: expected 2 columns; got shape \(20, 1\)"),
    ],
)
def test_errors_name_the_argument(call, message):
    with pytest.raises(ValueError, match=message):
        call(gaussian(20, 2))
