import math

import numpy as np
import pytest
from brute_force import gaussian
from scipy import linalg

import ellipsoid as el
from ellipsoid.metrics import frechet_distance


def test_frechet_distance_in_closed_form():
    # Along common axes: |difference of the means|^2 + sum of (difference of the standard deviations)^2.
    rng = np.random.default_rng(0)
    axes = np.linalg.qr(rng.normal(size=(7, 7)))[0]
    sa, sb = rng.uniform(0.1, 3, 7), rng.uniform(0.1, 3, 7)
    sa[0] = sb[1] = sa[2] = sb[2] = 0.0  # singular, in one of them and in both
    mean_a, mean_b = rng.normal(size=(2, 7)) + 100
    a = el.Moments(500, mean_a, (axes * sa**2) @ axes.T * 499)
    b = el.Moments(300, mean_b, (axes * sb**2) @ axes.T * 299)
    exact = np.sum((mean_a - mean_b) ** 2) + np.sum((sa - sb) ** 2)
    assert frechet_distance(a, b).value == pytest.approx(exact, rel=1e-12)
    assert frechet_distance(a, a).value == pytest.approx(0, abs=1e-12)


def test_frechet_distance_is_that_of_the_matrix_root():
    x, y = gaussian(400, 6) @ gaussian(6, 6, 1), gaussian(300, 6, 2) @ gaussian(6, 6, 3) + 0.5
    a, b = np.cov(x.T), np.cov(y.T)
    exact = np.sum((x.mean(0) - y.mean(0)) ** 2) + np.trace(a + b - 2 * linalg.sqrtm(a @ b).real)
    distance = frechet_distance(x, y)
    assert distance.value == pytest.approx(exact, rel=1e-9)
    streamed = el.Moments.empty(6).update(x[:150]).update(x[150:])
    np.testing.assert_allclose(frechet_distance(streamed, y), distance)
    np.testing.assert_allclose(frechet_distance(y, x), distance)


def test_frechet_distance_with_fewer_rows_than_columns():
    x, y = gaussian(20, 60), gaussian(30, 60, 1)
    # The nuclear norm of the product of the centred rows is the trace of the root.
    u, v = ((z - z.mean(0)) / math.sqrt(len(z) - 1) for z in (x, y))
    exact = np.sum((x.mean(0) - y.mean(0)) ** 2) + np.sum(u**2) + np.sum(v**2)
    exact -= 2 * np.linalg.svd(u @ v.T, compute_uv=False).sum()
    assert frechet_distance(x, y).value == pytest.approx(exact, rel=1e-9)


@pytest.mark.parametrize(
    ("b", "message"),
    [
        (el.Moments.empty(2), r"b: expected moments of at least 2 rows; got 0"),
        (gaussian(1, 2), r"b: expected at least 2 rows; got shape \(1, 2\)"),
        (gaussian(20, 1), r"b: expected 2 columns, like a; got 1"),
    ],
)
def test_errors_name_the_argument(b, message):
    with pytest.raises(ValueError, match=message):
        frechet_distance(gaussian(20, 2), b)
