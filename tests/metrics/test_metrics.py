"""Every metric against brute force in float64, a closed form, or its own spread over repeated draws."""

import math

import numpy as np
import pytest
from scipy import linalg, stats

import ellipsoid as el
from ellipsoid.metrics import (
    CopyDetector,
    RealManifold,
    copy_test,
    density_coverage,
    frechet_distance,
    kernel_distance,
    precision_recall,
    sliced_wasserstein,
)
from ellipsoid.metrics import measure as metrics


def gaussian(n, d, seed=0, scale=1.0, shift=0.0):
    return np.random.default_rng(seed).normal(size=(n, d)) * scale + shift


@pytest.fixture(params=[2048, 97], ids=["one block", "blocks that do not divide"])
def block(request, monkeypatch):
    monkeypatch.setattr(metrics, "BLOCK", request.param)


def squares(a, b):
    """All squared distances by differences, one column after another."""
    return sum((a[:, None, i] - b[None, :, i]) ** 2 for i in range(a.shape[1]))


def balls(rows, k):
    """Squared distances to the k-th nearest other row: the first of all sorted is the row itself."""
    return np.sort(squares(rows, rows), axis=1)[:, k]


# --- Fréchet distance ------------------------------------------------------------------------------


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
    found = frechet_distance(x, y)
    assert found.value == pytest.approx(exact, rel=1e-9)
    streamed = el.Moments.empty(6).update(x[:150]).update(x[150:])
    np.testing.assert_allclose(frechet_distance(streamed, y), found)
    np.testing.assert_allclose(frechet_distance(y, x), found)


def test_frechet_distance_with_fewer_rows_than_columns():
    x, y = gaussian(20, 60), gaussian(30, 60, 1)
    # The nuclear norm of the product of the centred rows is the trace of the root.
    u, v = ((z - z.mean(0)) / math.sqrt(len(z) - 1) for z in (x, y))
    exact = np.sum((x.mean(0) - y.mean(0)) ** 2) + np.sum(u**2) + np.sum(v**2)
    exact -= 2 * np.linalg.svd(u @ v.T, compute_uv=False).sum()
    assert frechet_distance(x, y).value == pytest.approx(exact, rel=1e-9)


# --- kernel distance -------------------------------------------------------------------------------


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
    x, y = gaussian(260, 5), gaussian(110, 5, 1, 1.2, 0.3)
    found = kernel_distance(x, y, degree=degree)
    assert found.value == pytest.approx(mmd(x, y, degree), rel=1e-5)
    without_x = [mmd(np.delete(x, i, 0), y, degree) for i in range(len(x))]
    without_y = [mmd(x, np.delete(y, i, 0), degree) for i in range(len(y))]
    variance = (len(x) - 1) * np.var(without_x) + (len(y) - 1) * np.var(without_y)
    assert found.error == pytest.approx(math.sqrt(variance), rel=1e-4)


def test_kernel_distance_has_no_bias_where_the_biased_one_has():
    found, biased = [], []
    for seed in range(150):
        x, y = gaussian(60, 4, seed), gaussian(40, 4, 1000 + seed)
        found.append(kernel_distance(x, y).value)
        biased.append(mmd(x, y, 3, biased=True))
    error = np.std(found, ddof=1) / math.sqrt(len(found))
    assert abs(np.mean(found)) < 5 * error
    assert abs(np.mean(biased)) > 5 * error


# --- sliced Wasserstein ----------------------------------------------------------------------------


@pytest.mark.parametrize(("m", "n"), [(300, 300), (250, 101), (1, 7)])
@pytest.mark.usefixtures("block")
def test_sliced_wasserstein_in_one_dimension(m, n):
    x, y = gaussian(m, 1, shift=100), np.round(gaussian(n, 1, 1, 3, 100), 1)  # rounded: with ties
    exact = stats.wasserstein_distance(x[:, 0], y[:, 0])
    found = sliced_wasserstein(x, y, el.key(0), n_projections=4)
    assert found.value == pytest.approx(exact, rel=1e-5)
    assert found.error == pytest.approx(0, abs=1e-6)


def test_sliced_wasserstein_of_a_shift():
    # Every projection of a set against itself, moved by v, is |v cos|: 2 |v| / pi on average in the plane.
    x = gaussian(500, 2)
    found = sliced_wasserstein(x, x + np.array([3.0, 4.0]), el.key(1), n_projections=400)
    assert abs(found.value - 10 / math.pi) < 5 * found.error
    assert found.error == pytest.approx(5 * math.sqrt(1 / 2 - 4 / math.pi**2) / math.sqrt(400), rel=0.1)


# --- precision, recall, density, coverage ----------------------------------------------------------


@pytest.mark.parametrize("shift", [0.0, 100.0])
@pytest.mark.usefixtures("block")
def test_neighbours_are_those_of_float64(shift):
    real = gaussian(400, 16, shift=shift).astype(np.float32)
    generated = gaussian(310, 16, 1, 0.9, shift + 0.05).astype(np.float32)
    wide = (real.astype(np.float64), generated.astype(np.float64))
    apart = squares(*wide)
    in_real = apart <= balls(wide[0], 3)[:, None]
    in_generated = apart <= balls(wide[1], 3)[None, :]
    found = precision_recall(real, generated)
    assert found.precision.value == in_real.any(axis=0).mean()
    assert found.recall.value == in_generated.any(axis=1).mean()
    assert 0.3 < found.recall.value < found.precision.value < 0.95
    in_real = apart <= balls(wide[0], 5)[:, None]
    found = density_coverage(real, generated)
    assert found.density.value == pytest.approx(in_real.sum() / (5 * 310), rel=1e-12)
    assert found.coverage.value == in_real.any(axis=1).mean()


def test_uncentred_float32_would_miss_neighbours_that_are_found():
    real = gaussian(400, 16, shift=100).astype(np.float32)
    lengths = np.sum(real**2, axis=1)
    careless = lengths[:, None] + lengths[None, :] - 2 * real @ real.T
    careless = np.sort(careless, axis=1)[:, 3]
    exact = balls(real.astype(np.float64), 3)
    found = metrics._ball_squares(metrics._blocks(real), metrics._centre(real), [3], "", False)
    np.testing.assert_allclose(found[:, 0], exact, rtol=1e-12)
    assert np.abs(careless / exact - 1).max() > 1e-3


def test_nothing_depends_on_the_blocks(monkeypatch):
    real, generated = gaussian(300, 5), gaussian(200, 5, 1, 1.2)
    whole = precision_recall(real, generated) + density_coverage(real, generated)
    monkeypatch.setattr(metrics, "BLOCK", 128)
    np.testing.assert_allclose(precision_recall(real, generated) + density_coverage(real, generated), whole)


def test_a_reference_gives_what_the_functions_give(monkeypatch):
    monkeypatch.setattr(metrics, "BLOCK", 90)
    real = gaussian(180, 5)
    sets = [gaussian(90, 5, 1, 1.2), gaussian(90, 5, 2, 0.8)]
    expected = [precision_recall(real, x, k=6) + density_coverage(real, x, k=4) for x in sets]
    by_default = precision_recall(real, sets[0]) + density_coverage(real, sets[0])
    assert RealManifold(real).compare(sets[0]) == by_default
    reference = RealManifold(real, k_manifold=6, k_density=4)
    real += 1  # what was given is no longer needed
    assert [reference.compare(x) for x in sets] == expected


def test_progress_is_shown_on_request(capfd, monkeypatch):
    monkeypatch.setattr(metrics, "BLOCK", 8)
    x, y = gaussian(24, 2), gaussian(16, 2, 1)
    RealManifold(x).compare(y)
    assert capfd.readouterr() == ("", "")
    RealManifold(x, progress=True).compare(y, progress=True)
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
    apart = precision_recall(real, real + 100)
    assert apart.precision.value == apart.recall.value == 0
    assert 0 < apart.precision.error < 0.1
    same = precision_recall(real, real)
    assert same.precision.value == same.recall.value == 1


@pytest.mark.usefixtures("block")
def test_duplicates_are_neighbours():
    # Every row four times: three others at distance 0, so that the balls of k = 3 are points.
    real = np.repeat(gaussian(60, 300), 4, axis=0)
    found = precision_recall(real, np.concatenate([real[:10], real[:10] + 0.01]), k=3)
    assert found.precision.value == 0.5
    assert density_coverage(real, real[:20], k=3).coverage.value == 20 / 240
    assert precision_recall(real, real[:10] + 0.01, k=4).precision.value == 1


def test_density_and_coverage_of_one_law():
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
    return [frechet_distance(x, y), kernel_distance(x, y), *precision_recall(x, y), *density_coverage(x, y)]


def test_errors_are_the_spread_over_repeated_draws():
    # The spread of 100 draws is itself known to 7 %; errors of the first order err by some 15 % more.
    found = np.array([all_metrics(seed, 1.3, 0.3) for seed in range(100)])
    ratio = np.sqrt(np.mean(found[:, :, 1] ** 2, axis=0)) / found[:, :, 0].std(axis=0, ddof=1)
    assert ((ratio > 0.75) & (ratio < 1.35)).all(), ratio
    # Binomial errors alone, with the other set as it is, see half of the spread of coverage.
    share = found[:, -1, 0]
    binomial = np.sqrt(np.mean(share * (1 - share)) / 300)
    assert binomial / share.std(ddof=1) < 0.75
    # So 95 % of the intervals of two errors hold the mean: five standard errors of that share are 11 %.
    within = np.abs(found[:, :, 0] - found[:, :, 0].mean(axis=0)) < 2 * found[:, :, 1]
    assert (within.mean(axis=0) > 0.84).all(), within.mean(axis=0)


def test_jackknife_is_no_smaller_than_the_spread_where_laws_are_equal():
    found = np.array(
        [kernel_distance(gaussian(100, 4, seed), gaussian(80, 4, 5000 + seed)) for seed in range(150)]
    )
    ratio = math.sqrt(np.mean(found[:, 1] ** 2)) / found[:, 0].std(ddof=1)
    assert 1.0 < ratio < 1.8


# --- copies ----------------------------------------------------------------------------------------


@pytest.mark.usefixtures("block")
def test_copies_are_found_and_their_distance_is_zero():
    train, unseen = gaussian(500, 30, shift=100), gaussian(199, 30, 1, shift=100)
    generated = gaussian(150, 30, 2, shift=100)
    generated[10:30] = train[400:420]
    found = copy_test(generated.astype(np.float32), train.astype(np.float32), unseen.astype(np.float32))
    assert (found.generated_distances[10:30] == 0).all()
    assert (found.generated_ratios[10:30] == 0).all()
    np.testing.assert_array_equal(found.nearest[10:30], np.arange(400, 420))
    exact = np.sqrt(squares(unseen, train).min(axis=1))
    np.testing.assert_allclose(found.unseen_distances, exact, rtol=1e-4)
    ratios = exact / np.sqrt(balls(unseen, 1))
    np.testing.assert_allclose(found.unseen_ratios, ratios, rtol=1e-4)
    np.testing.assert_array_equal(found.nearest, squares(generated, train).argmin(axis=1))
    to_either = [np.sqrt(squares(generated, rows).min(axis=1)) for rows in (train, unseen)]
    np.testing.assert_allclose(found.generated_ratios, to_either[0] / to_either[1], atol=1e-4)
    assert found.threshold == pytest.approx(np.sort(ratios)[9], rel=1e-4)
    assert found.expected == 10 / 200
    assert found.share.value >= 20 / 150
    assert found.p_value < 1e-3
    assert copy_test(unseen + 50, train, unseen).p_value > 0.05
    assert copy_test(train, train, unseen).share.value == 1
    assert copy_test(unseen, train, unseen).share.value == 0


def test_what_is_both_a_training_row_and_an_unseen_one_is_no_copy():
    train, unseen = gaussian(100, 5), gaussian(60, 5, 1)
    unseen[:2] = train[0]  # whose nearest other unseen row is as near
    found = copy_test(np.concatenate([train[:1], unseen[2:3], train[1:2]]), train, unseen)
    np.testing.assert_array_equal(found.generated_ratios, [1, np.inf, 0])
    np.testing.assert_array_equal(found.unseen_ratios[:2], [1, 1])


def by_distance_alone(generated, train, unseen):
    """Share of rows nearer to a training row than all but a twentieth of the unseen rows are."""
    near, usual = (np.sqrt(squares(rows, train).min(axis=1)) for rows in (generated, unseen))
    return np.mean(near < np.sort(usual)[math.floor(0.05 * (len(unseen) + 1)) - 1])


def test_what_lies_near_the_centre_is_no_copy():
    train, unseen = gaussian(1000, 20), gaussian(399, 20, 1)
    central = gaussian(300, 20, 2, scale=0.3)
    assert by_distance_alone(central, train, unseen) > 0.5
    assert copy_test(central, train, unseen).p_value > 0.05
    # Half way from the centre to training rows: as near to it, and copies.
    shrunk = train[:300] / 2
    assert copy_test(shrunk, train, unseen).share.value > 0.5


def test_copy_test_keeps_its_level():
    repeats = 300
    found = [
        copy_test(
            gaussian(60, 3, seed), gaussian(50, 3, seed + 1000), gaussian(39, 3, seed + 2000), quantile=0.1
        )
        for seed in range(repeats)
    ]
    # As if the threshold of 39 unseen rows were that of their law.
    careless = [stats.binom.sf(round(test.share.value * 60) - 1, 60, test.expected) for test in found]
    allowed = 0.05 + 5 * math.sqrt(0.05 * 0.95 / repeats)
    assert np.mean([test.p_value <= 0.05 for test in found]) < allowed < np.mean(np.array(careless) <= 0.05)


def test_copy_test_p_value_by_simulation():
    found = copy_test(gaussian(6, 3), gaussian(9, 3, 1), gaussian(7, 3, 2), quantile=0.25)
    rng = np.random.default_rng(0)
    orders = rng.permuted(np.tile(np.arange(13) < 6, (20_000, 1)), axis=1)
    before = np.array([np.flatnonzero(~order)[1] - 1 for order in orders])  # r = 2
    share = np.mean(before >= round(6 * found.share.value))
    assert 0 < share < 1
    assert abs(found.p_value - share) < 5 * math.sqrt(share * (1 - share) / len(orders))
    assert found.threshold == np.sort(found.unseen_ratios)[1]
    assert found.share.value == np.mean(found.generated_ratios < found.threshold)


# --- arguments -------------------------------------------------------------------------------------


def test_metrics_read_well():
    assert str(metrics.Estimate(0.41234, 0.00512)) == "0.4123 ± 0.0051"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: precision_recall(x[:3], x), r"real: expected at least 4 rows"),
        (lambda x: precision_recall(x, x[:3]), r"generated: expected at least 4 rows"),
        (lambda x: density_coverage(x[:5], x), r"real: expected at least 6 rows"),
        (lambda x: density_coverage(x, x[:1]), r"generated: expected at least 2 rows"),
        (lambda x: precision_recall(x, x[:, :1]), r"generated: expected 2 columns, as real"),
        (lambda x: precision_recall(x, x, k=0), r"k: expected at least 1; got 0"),
        (lambda x: RealManifold(x[:5]), r"real: expected at least 6 rows"),
        (lambda x: RealManifold(x, k_density=0), r"k_density: expected at least 1; got 0"),
        (lambda x: RealManifold(x).compare(x[:3]), r"generated: expected at least 4 rows"),
        (lambda x: RealManifold(x).compare(x[:, :1]), r"generated: expected 2 columns, as real"),
        (lambda x: frechet_distance(x, el.Moments.empty(2)), r"b: expected moments of at least 2 rows"),
        (lambda x: frechet_distance(x, x[:, :1]), r"b: expected 2 columns, as a; got 1"),
        (lambda x: kernel_distance(x[:2], x), r"x: expected at least 3 rows"),
        (lambda x: kernel_distance(x, x, degree=0), r"degree: expected at least 1"),
        (lambda x: kernel_distance(x, np.where(x > 0, np.nan, x)), r"y: expected finite values"),
        (
            lambda x: sliced_wasserstein(x, x, el.key(0), n_projections=1),
            r"n_projections: expected at least 2",
        ),
        (lambda x: copy_test(x, x, x[:8]), r"unseen: expected at least 19 rows"),
        (lambda x: copy_test(x, x, x[:1], quantile=0.9), r"unseen: expected at least 2 rows"),
        (lambda x: copy_test(x, x, x[:2], quantile=0.3), r"unseen: expected at least 3 rows"),
        (lambda x: copy_test(x, x - 9, np.tile(x, (2, 1))), r"unseen: expected different rows; got 40 of 40"),
        (lambda x: CopyDetector(x, x[:19]).test(x[:, :1]), r"generated: expected 2 columns, as train"),
        (lambda x: copy_test(x, x, x, quantile=1), r"quantile: expected a share between 0 and 1; got 1"),
    ],
)
def test_errors_name_the_argument(call, message):
    with pytest.raises(ValueError, match=message):
        call(gaussian(20, 2))


def test_a_seed_is_no_key():
    with pytest.raises(TypeError, match="key: expected a typed JAX key"):
        sliced_wasserstein(gaussian(5, 2), gaussian(5, 2), 0)
