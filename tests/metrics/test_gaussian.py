import math

import numpy as np
import pytest
from brute_force import gaussian, squares

from ellipsoid.metrics import gaussian_mmd


def mmd(x, y, bandwidth, *, biased=False):
    m, n = len(x), len(y)
    kxx, kyy, kxy = (np.exp(-squares(a, b) / (2 * bandwidth**2)) for a, b in ((x, x), (y, y), (x, y)))
    if biased:
        return kxx.mean() + kyy.mean() - 2 * kxy.mean()
    within = (kxx.sum() - np.trace(kxx)) / (m * (m - 1)) + (kyy.sum() - np.trace(kyy)) / (n * (n - 1))
    return within - 2 * kxy.mean()


@pytest.mark.usefixtures("block")
def test_gaussian_mmd_and_its_jackknife_are_those_of_loops():
    x, y = gaussian(194, 5, shift=100), gaussian(110, 5, 1, 1.2, 100.3)
    distance = gaussian_mmd(x, y, bandwidth=2)
    assert distance.value == pytest.approx(mmd(x, y, 2), rel=1e-9)
    assert distance.value != pytest.approx(mmd(x, y, 2, biased=True), rel=0.1)
    without_x = [mmd(np.delete(x, i, 0), y, 2) for i in range(0, len(x), 9)]
    without_y = [mmd(x, np.delete(y, i, 0), 2) for i in range(0, len(y), 5)]
    variance = (len(x) - 1) * np.var(without_x) + (len(y) - 1) * np.var(without_y)
    assert distance.error == pytest.approx(math.sqrt(variance), rel=0.5)


@pytest.mark.slow
def test_gaussian_mmd_of_normal_distributions_is_the_closed_form():
    d, wide, apart, bandwidth = 3, 1.5, 0.4, 2.0

    def kernel(variance, shift):
        """Give the mean of the kernel between two normal distributions of this sum of variances."""
        both = bandwidth**2 + variance
        return (bandwidth**2 / both) ** (d / 2) * math.exp(-d * shift**2 / (2 * both))

    exact = kernel(2, 0) + kernel(2 * wide**2, 0) - 2 * kernel(1 + wide**2, apart)
    distance = gaussian_mmd(gaussian(2000, d), gaussian(1500, d, 1, wide, apart), bandwidth=bandwidth)
    assert abs(distance.value - exact) < 4 * distance.error < exact


def test_a_wide_kernel_keeps_its_digits():
    x, y = gaussian(194, 5), gaussian(110, 5, 1, 1.2, 0.3)
    means = np.square(x.mean(axis=0) - y.mean(axis=0)).sum()
    unbiased = means - np.var(x, axis=0, ddof=1).sum() / 194 - np.var(y, axis=0, ddof=1).sum() / 110
    assert gaussian_mmd(x, y, bandwidth=1e6).value == pytest.approx(unbiased / 1e12, rel=1e-6)


def test_errors_name_the_argument():
    rows = gaussian(20, 2)
    with pytest.raises(ValueError, match="bandwidth: expected a finite number above 0; got 0"):
        gaussian_mmd(rows, rows, bandwidth=0)
    with pytest.raises(ValueError, match="y: expected at least 3 rows"):
        gaussian_mmd(rows, rows[:2], bandwidth=1)
