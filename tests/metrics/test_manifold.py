"""Precision, recall, density and coverage against brute force in float64, and errors against spreads."""

import functools
import math

import numpy as np
import pytest
from brute_force import balls, gaussian, squares

import ellipsoid as el
from ellipsoid.metrics import (
    RealManifold,
    copy_test,
    density_coverage,
    frechet_distance,
    kernel_distance,
    manifold,
    precision_recall,
    row_pairs,
    sliced_wasserstein,
)
from ellipsoid.metrics.near_pairs import Rows

# Two sets that several tests share: of 97 rows a block, both leave a block of 12.
REAL, GENERATED = gaussian(400, 64), gaussian(303, 64, 1, 0.96, 0.05)


@pytest.mark.parametrize("shift", [0.0, 100.0])
@pytest.mark.usefixtures("block")
def test_neighbours_are_those_of_float64(shift):
    real, generated = ((rows + shift).astype(np.float32) for rows in (REAL, GENERATED))
    wide = (real.astype(np.float64), generated.astype(np.float64))
    apart = squares(*wide)
    in_real = apart <= balls(wide[0], 3)[:, None]
    in_generated = apart <= balls(wide[1], 3)[None, :]
    found = precision_recall(real, generated)
    assert found.precision.value == in_real.any(axis=0).mean()
    assert found.recall.value == in_generated.any(axis=1).mean()
    assert 0.3 < found.recall.value < found.precision.value < 0.95
    found = density_coverage(real, generated, k=3)
    assert found.density.value == pytest.approx(in_real.sum() / (3 * 303), rel=1e-12)
    assert found.coverage.value == in_real.any(axis=1).mean()


@pytest.mark.parametrize("unit", [2.0**-100, 2.0**-67, 2.0**66, 2.0**120])
def test_units_do_not_matter(unit):
    """The metrics are right in units where squares in float32 underflow or overflow."""
    plain, scaled = ((REAL.astype(np.float32) * f, GENERATED.astype(np.float32) * f) for f in (1.0, unit))
    assert precision_recall(*scaled) == precision_recall(*plain)
    assert density_coverage(*scaled) == density_coverage(*plain)
    tests = [copy_test(generated, real[:300], real[300:]) for real, generated in (plain, scaled)]
    np.testing.assert_array_equal(*(test.generated_ratios for test in tests))
    wasserstein = functools.partial(sliced_wasserstein, key=el.key(0))
    for distance, power in ((wasserstein, 1), (frechet_distance, 2)):
        found, expected = distance(*scaled), distance(*plain)
        np.testing.assert_allclose(found, np.array(expected) * unit**power, rtol=1e-12)


def test_uncentred_float32_would_miss_neighbours_that_are_found():
    real = (REAL + 100).astype(np.float32)
    lengths = np.sum(real**2, axis=1)
    careless = lengths[:, None] + lengths[None, :] - 2 * real @ real.T
    careless = np.sort(careless, axis=1)[:, 3]
    exact = balls(real.astype(np.float64), 3)
    found = manifold._ball_squares(Rows(real), [3], "", False)
    np.testing.assert_allclose(found[:, 0], exact, rtol=1e-12)
    assert np.abs(careless / exact - 1).max() > 1e-3


def test_nothing_depends_on_the_blocks(monkeypatch):
    def figures():
        return precision_recall(REAL, GENERATED) + density_coverage(REAL, GENERATED, k=3)

    whole = figures()
    monkeypatch.setattr(row_pairs, "BLOCK", 97)
    np.testing.assert_allclose(figures(), whole)


@pytest.mark.usefixtures("block")
def test_a_real_manifold_gives_what_the_functions_give():
    real = REAL.copy()
    sets = [GENERATED, gaussian(303, 64, 2, 0.9)]
    real_manifold = RealManifold(real, k_manifold=3, k_density=3)
    expected = [precision_recall(real, x) + density_coverage(real, x, k=3) for x in sets]
    real += 1  # the given array is no longer needed
    assert [real_manifold.compare(x) for x in sets] == expected


def test_defaults_are_three_and_five_neighbours():
    by_function = precision_recall(REAL, GENERATED, k=3) + density_coverage(REAL, GENERATED, k=5)
    assert RealManifold(REAL).compare(GENERATED) == by_function
    assert precision_recall(REAL, GENERATED) + density_coverage(REAL, GENERATED) == by_function
    assert RealManifold(REAL, k_manifold=5, k_density=3).compare(GENERATED) == (
        precision_recall(REAL, GENERATED, k=5) + density_coverage(REAL, GENERATED, k=3)
    )


def test_progress_is_shown_on_request(capfd, monkeypatch):
    monkeypatch.setattr(row_pairs, "BLOCK", 97)
    monkeypatch.setenv("COLUMNS", "120")
    real, generated = REAL[:291], GENERATED[:194]
    RealManifold(real, k_density=3).compare(generated)
    assert capfd.readouterr() == ("", "")
    RealManifold(real, k_density=3, progress=True).compare(generated, progress=True)
    shown = capfd.readouterr().err
    # Three blocks are six pairs with each other, two are three; six join them.
    for label, pairs in {"of real rows": "6/6", "of generated rows": "3/3", "real against": "6/6"}.items():
        assert any(label in line and pairs in line for line in shown.splitlines()), shown


def test_known_answers():
    # A line of real points one apart. Its balls of k = 1 have the radius 1, closed.
    real = np.arange(10.0)[:, None]
    inside, on_boundary, outside = 4.5, 10.0, 10.01
    generated = np.array([[inside], [on_boundary], [outside], [1000.0]])
    found = density_coverage(real, generated, k=1)
    assert found.density.value == (2 + 1) / 4
    assert found.coverage.value == 3 / 10
    assert precision_recall(real, generated, k=1).precision.value == 2 / 4
    # The ball of 1000 reaches to 10.01, those of 10 and 10.01 only to each other, that of 4.5 to 10.
    assert precision_recall(real, generated, k=1).recall.value == 10 / 10
    apart = precision_recall(real, real + 100, k=1)
    assert apart.precision.value == apart.recall.value == 0
    assert 0 < apart.precision.error < 0.1
    same = precision_recall(real, real, k=1)
    assert same.precision.value == same.recall.value == 1


@pytest.mark.usefixtures("block")
def test_duplicates_are_neighbours():
    # Every row four times: three others at distance 0, so that the balls of k = 3 are points.
    real = np.repeat(gaussian(100, 64), 4, axis=0)
    generated = np.concatenate([real[:151], real[:152] + 0.01])
    found = RealManifold(real, k_manifold=3, k_density=3).compare(generated)
    assert found.precision.value == 151 / 303
    assert found.coverage.value == 152 / 400
    # With three of each, the balls reach other rows.
    real = np.repeat(gaussian(134, 64), 3, axis=0)[:400]
    assert precision_recall(real, real[:303] + 0.01).precision.value == 1


def test_generated_rows_far_beyond_the_real_ones_are_outside():
    far = np.concatenate([REAL[:10], 1e30 * GENERATED[:90]]).astype(np.float32)
    found = RealManifold(REAL.astype(np.float32)).compare(far)
    assert found.precision.value == 0.1
    assert found.coverage.value == density_coverage(REAL.astype(np.float32), far).coverage.value


def test_density_and_coverage_of_one_distribution():
    k, n, repeats = 5, 120, 60
    found = np.array(
        [
            [metric.value for metric in density_coverage(gaussian(n, 3, i), gaussian(n, 3, 900 + i), k=k)]
            for i in range(repeats)
        ]
    )
    expected = 1 - math.prod((n - i) / (2 * n - i) for i in range(1, k + 1))
    error = found.std(axis=0, ddof=1) / math.sqrt(repeats)
    assert (np.abs(found.mean(axis=0) - [1, expected]) < 5 * error).all()
    narrow = np.array(
        [density_coverage(gaussian(n, 3, i), gaussian(n, 3, 900 + i, 0.8), k=k)[0].value for i in range(10)]
    )
    assert narrow.mean() - 1 > 5 * error[0]


# --- the errors ------------------------------------------------------------------------------------


def all_metrics(seed, scale, shift):
    x, y = gaussian(300, 5, seed), gaussian(200, 5, 10_000 + seed, scale, shift)
    return [frechet_distance(x, y), kernel_distance(x, y), *RealManifold(x).compare(y)]


def test_errors_are_the_spread_over_repeated_draws():
    # The spread of 100 draws is itself known to 7 %; errors of the first order err by some 15 % more.
    found = np.array([all_metrics(seed, 1.3, 0.3) for seed in range(100)])
    ratio = np.sqrt(np.mean(found[:, :, 1] ** 2, axis=0)) / found[:, :, 0].std(axis=0, ddof=1)
    assert ((ratio > 0.75) & (ratio < 1.35)).all(), ratio
    # Binomial errors alone, with the other set fixed, see half of the spread of coverage.
    share = found[:, -1, 0]
    binomial = np.sqrt(np.mean(share * (1 - share)) / 300)
    assert binomial / share.std(ddof=1) < 0.75
    # So 95 % of the intervals of two errors hold the mean: five standard errors of that share are 11 %.
    within = np.abs(found[:, :, 0] - found[:, :, 0].mean(axis=0)) < 2 * found[:, :, 1]
    assert (within.mean(axis=0) > 0.84).all(), within.mean(axis=0)


# --- arguments -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: precision_recall(x[:3], x), r"real: expected at least 4 rows; got shape \(3, 2\)"),
        (lambda x: precision_recall(x, x[:3]), r"generated: expected at least 4 rows"),
        (lambda x: density_coverage(x[:5], x), r"real: expected at least 6 rows"),
        (lambda x: density_coverage(x, x[:1]), r"generated: expected at least 2 rows"),
        (lambda x: precision_recall(x, x[:, :1]), r"generated: expected 2 columns; got shape \(20, 1\)"),
        (lambda x: precision_recall(x, x, k=0), r"k: expected at least 1; got 0"),
        (lambda x: RealManifold(x[:5]), r"real: expected at least 6 rows"),
        (lambda x: RealManifold(x, k_density=0), r"k_density: expected at least 1; got 0"),
        (lambda x: RealManifold(x).compare(x[:3]), r"generated: expected at least 4 rows"),
        (lambda x: RealManifold(x).compare(x[:, :1]), r"generated: expected 2 columns; got shape"),
    ],
)
def test_errors_name_the_argument(call, message):
    with pytest.raises(ValueError, match=message):
        call(gaussian(20, 2))
