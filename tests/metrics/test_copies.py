import math
import subprocess
import sys

import numpy as np
import pytest
from brute_force import balls, gaussian, squares
from scipy import stats

from ellipsoid.metrics import CopyDetector, copy_test


@pytest.mark.usefixtures("block")
def test_copies_are_found_and_their_distance_is_zero():
    train, unseen = gaussian(490, 30, shift=100), gaussian(199, 30, 1, shift=100)
    generated = gaussian(199, 30, 2, shift=100)
    generated[10:30] = train[400:420]
    test = copy_test(generated.astype(np.float32), train.astype(np.float32), unseen.astype(np.float32))
    assert (test.generated_distances[10:30] == 0).all()
    assert (test.generated_ratios[10:30] == 0).all()
    np.testing.assert_array_equal(test.nearest[10:30], np.arange(400, 420))
    exact = np.sqrt(squares(unseen, train).min(axis=1))
    np.testing.assert_allclose(test.unseen_distances, exact, rtol=1e-4)
    ratios = exact / np.sqrt(balls(unseen, 1))
    np.testing.assert_allclose(test.unseen_ratios, ratios, rtol=1e-4)
    np.testing.assert_array_equal(test.nearest, squares(generated, train).argmin(axis=1))
    to_either = [np.sqrt(squares(generated, rows).min(axis=1)) for rows in (train, unseen)]
    np.testing.assert_allclose(test.generated_ratios, to_either[0] / to_either[1], atol=1e-4)
    assert test.threshold == pytest.approx(np.sort(ratios)[9], rel=1e-4)
    assert test.expected == 10 / 200
    assert test.share.value >= 20 / 199
    assert test.p_value < 1e-3
    detector = CopyDetector(train, unseen)
    assert detector.test(unseen + 50).p_value > 0.05
    assert detector.test(train[:199]).share.value == 1
    assert detector.test(train[-199:]).share.value == 1
    assert detector.test(unseen).share.value == 0


# The next tests share their shapes: 60 generated rows, 50 for training, 39 unseen ones.


def test_a_row_that_is_both_a_training_row_and_an_unseen_one_is_no_copy():
    train, unseen = gaussian(50, 3), gaussian(39, 3, 1)
    unseen[:2] = train[0]  # whose nearest other unseen row is as near
    generated = np.concatenate([train[:1], unseen[2:3], train[1:2], gaussian(57, 3, 2)])
    test = copy_test(generated, train, unseen)
    np.testing.assert_array_equal(test.generated_ratios[:3], [1, np.inf, 0])
    np.testing.assert_array_equal(test.unseen_ratios[:2], [1, 1])


def test_copy_test_keeps_its_level():
    repeats = 300
    tests = [
        copy_test(
            gaussian(60, 3, seed), gaussian(50, 3, seed + 1000), gaussian(39, 3, seed + 2000), quantile=0.1
        )
        for seed in range(repeats)
    ]
    # These p-values take the threshold of 39 unseen rows as the true quantile.
    careless = [stats.binom.sf(round(test.share.value * 60) - 1, 60, test.expected) for test in tests]
    allowed = 0.05 + 5 * math.sqrt(0.05 * 0.95 / repeats)
    assert np.mean([test.p_value <= 0.05 for test in tests]) < allowed < np.mean(np.array(careless) <= 0.05)


def test_copy_test_p_value_by_simulation():
    test = copy_test(gaussian(60, 3), gaussian(50, 3, 1), gaussian(39, 3, 2), quantile=0.1)
    rng = np.random.default_rng(0)
    orders = rng.permuted(np.tile(np.arange(99) < 60, (20_000, 1)), axis=1)
    before = np.array([np.flatnonzero(~order)[3] - 3 for order in orders])  # r = 4
    share = np.mean(before >= round(60 * test.share.value))
    assert 0 < share < 1
    assert abs(test.p_value - share) < 5 * math.sqrt(share * (1 - share) / len(orders))
    assert test.threshold == np.sort(test.unseen_ratios)[3]
    assert test.share.value == np.mean(test.generated_ratios < test.threshold)


def by_distance_alone(generated, train, unseen):
    """Give the share of rows nearer to a training row than all but a twentieth of the unseen rows."""
    near, usual = (np.sqrt(squares(rows, train).min(axis=1)) for rows in (generated, unseen))
    return np.mean(near < np.sort(usual)[math.floor(0.05 * (len(unseen) + 1)) - 1])


def test_rows_near_the_centre_are_no_copies():
    train, unseen = gaussian(490, 30), gaussian(199, 30, 1)
    detector, central = CopyDetector(train, unseen), gaussian(199, 30, 2, scale=0.3)
    assert by_distance_alone(central, train, unseen) > 0.5
    assert detector.test(central).p_value > 0.05
    # Rows half way from the centre to training rows are as near to it, and copies.
    assert detector.test(train[:199] / 2).share.value > 0.5


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: copy_test(x, x, x[:8]), r"unseen: expected at least 19 rows for this quantile; got 8"),
        (lambda x: copy_test(x, x, x[:1], quantile=0.9), r"unseen: expected at least 2 rows"),
        (lambda x: copy_test(x, x, x[:2], quantile=0.3), r"unseen: expected at least 3 rows"),
        (lambda x: copy_test(x, x - 9, np.tile(x, (2, 1))), r"unseen: expected different rows; got 40 of 40"),
        (lambda x: CopyDetector(x, x[:, :1]), r"unseen: expected 2 columns; got shape \(20, 1\)"),
        (
            lambda x: CopyDetector(x, x).test(x[:, :1]),
            r"generated: expected 2 columns; got shape \(20, 1\)",
        ),
        (lambda x: copy_test(x, x, x, quantile=1), r"quantile: expected a share between 0 and 1; got 1"),
    ],
)
def test_errors_name_the_argument(call, message):
    with pytest.raises(ValueError, match=message):
        call(gaussian(20, 2))


def test_metrics_load_without_scipy_stats():
    """SciPy's stats take longer to load than the rest, and only the test for copies needs them."""
    code = "import ellipsoid.metrics, sys; sys.exit('scipy.stats' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
