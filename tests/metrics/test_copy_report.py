import numpy as np
import pytest
from brute_force import gaussian
from scipy import stats

from ellipsoid.metrics import copy_report, copy_test

# All tests share their shapes: 60 generated rows, 50 for training, 39 unseen ones, of 3 columns.


def rows(seed=0):
    return gaussian(60, 3, seed), gaussian(50, 3, seed + 1000), gaussian(39, 3, seed + 2000)


def test_copies_are_found_and_shown():
    generated, train, unseen = rows()
    generated[10:40] = train[5:35] + 1e-4
    generated[50] = train[0]
    report = copy_report(generated, train, unseen, n_pairs=31)
    assert report.is_copying
    assert report.verdict.startswith("Training rows are copied: ")
    assert (report.n_identical, report.n_unseen_identical) == (1, 0)
    np.testing.assert_array_equal(report.pairs[0], [50, 0])
    assert {tuple(pair) for pair in report.pairs[1:].tolist()} == {(10 + i, 5 + i) for i in range(30)}
    ratios = report.test.generated_ratios[report.pairs[:, 0]]
    assert (np.diff(ratios) >= 0).all()
    assert copy_report(generated, train, unseen, n_pairs=100).pairs.shape == (60, 2)


def test_significance_is_the_chance_that_honest_rows_are_suspected():
    """The precedence test has few levels: the exact chance of the largest p-value below 0.2 is known."""

    def suspected(make, repeats=120):
        return np.array([copy_report(*make(seed), significance=0.2).is_copying for seed in range(repeats)])

    # With this many generated rows before the second of 39 unseen ones, the p-value is below 0.2.
    tails = stats.nhypergeom(99, 60, 2).sf(np.arange(-1, 60))
    chance = tails[tails < 0.2].max()
    found = suspected(rows)
    error = np.sqrt(chance * (1 - chance) / len(found))
    assert found.mean() < chance + 4 * error
    assert found.mean() > 0

    # A model that was trained on the unseen rows, with both sets exchanged, is suspected more often.
    def confused(seed):
        generated, train, unseen = rows(seed)
        generated[:20] = unseen[:20]
        return generated, unseen, train

    assert suspected(confused, 20).mean() > chance + 4 * np.sqrt(chance / 20)


def test_columns_of_any_unit_count_alike():
    generated, train, unseen = rows()
    generated[:30] = train[:30]
    generated[:, 0], train[:, 0], unseen[:, 0] = rows(7)[0][:, 0], rows(7)[1][:, 0], rows(7)[2][:, 0]
    units = np.array([1e6, 1.0, 1e-3], np.float64)
    plain = copy_report(generated, train, unseen, standardise=True)
    scaled = copy_report(generated * units, train * units, unseen * units, standardise=True)
    np.testing.assert_allclose(scaled.test.generated_ratios, plain.test.generated_ratios, rtol=1e-5)
    np.testing.assert_array_equal(scaled.pairs, plain.pairs)
    # Without standardising, the first column alone decides.
    alone = copy_report(generated * units, train * units, unseen * units)
    assert np.abs(alone.test.generated_ratios - plain.test.generated_ratios).max() > 0.1
    # A column that is constant in training stays as it is.
    train[:, 2] = unseen[:, 2] = np.float32(0.1)
    assert np.isfinite(copy_report(generated, train, unseen, standardise=True).test.generated_distances).all()


def test_errors_name_the_argument():
    generated, train, unseen = rows()
    with pytest.raises(ValueError, match="significance: expected a number from 0 to below 1; got 1"):
        copy_report(generated, train, unseen, significance=1)
    with pytest.raises(ValueError, match="n_pairs: expected at least 1; got 0"):
        copy_report(generated, train, unseen, n_pairs=0)
    with pytest.raises(ValueError, match="generated: expected 3 columns; got shape"):
        copy_report(generated[:, :2], train, unseen)
    assert copy_report(generated, train, unseen).test.p_value == copy_test(generated, train, unseen).p_value
