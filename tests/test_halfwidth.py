import warnings

import numpy as np
import pytest
from scipy.special import ndtri

from ellipsoid import halfwidth
from ellipsoid.halfwidth import HALF_WIDTHS, core, half_widths

N, K = 100_000, 256
DEVIATIONS = np.geomspace(1, 1e-3, K)
SCALES = ["std", "histogram", "quantile", "mad"]


@pytest.fixture(scope="module")
def clean():
    scores = np.random.default_rng(0).standard_normal(size=(N, K), dtype=np.float32)
    scores *= DEVIATIONS.astype(np.float32)
    return scores


@pytest.fixture(scope="module")
def contaminated(clean):
    """A tenth of the rows eight standard deviations off in every component, half of them on either side."""
    scores = clean.copy()
    sides = np.random.default_rng(1).choice([-1.0, 1.0], size=(N // 10, 1))
    scores[::10] = 8 * DEVIATIONS * sides
    return scores


# The core of 256 components takes a hundred times the products of one of 32.
every_component = pytest.mark.parametrize("every", [8, pytest.param(1, marks=pytest.mark.slow)])


def errors(widths):
    """Give the relative errors of the half widths of all components, or of every n-th of them."""
    return np.abs(widths / DEVIATIONS[:: K // len(widths)] - 1)


@pytest.mark.parametrize("method", SCALES)
def test_every_one_of_256_components_is_resolved(clean, method):
    widths = half_widths(clean, method)
    assert widths.shape == (K,)
    assert errors(widths).max() < 0.02


@every_component
def test_the_core_of_a_gaussian_is_the_gaussian(clean, every):
    mean, covariance = core(clean[:, ::every])
    widths, deviations = np.sqrt(np.diag(covariance)), DEVIATIONS[::every]
    assert errors(widths).max() < 0.02
    assert np.abs(mean / deviations).max() < 5 / np.sqrt(N)
    correlation = covariance / np.outer(widths, widths)
    assert np.abs(correlation - np.eye(K // every)).max() < 6 / np.sqrt(N)


def test_fixed_intervals_for_all_do_not_resolve_the_narrow_ones(clean):
    widths = half_widths(clean, "histogram_raw")
    assert errors(widths)[0] < 0.1
    assert widths[-1] / DEVIATIONS[-1] == pytest.approx(40, rel=0.2)
    assert np.mean(errors(widths) > 0.5) > 0.3
    # The narrow components span one interval, or two.
    assert len(np.unique(widths[DEVIATIONS < 0.01])) <= 2


def test_outliers(contaminated):
    contaminated = contaminated[:, ::4]
    histogram = half_widths(contaminated, "histogram")
    assert errors(histogram).max() < 0.03
    bias = ndtri(0.5 + 0.25 / 0.9) / ndtri(0.75)
    for method in ("quantile", "mad"):
        widths = half_widths(contaminated, method)
        assert errors(widths).max() < 0.15
        # The bias that the docstring states, 1.134; the mean of 64 has a standard error of 0.0005.
        assert np.mean(widths / DEVIATIONS[::4]) == pytest.approx(bias, abs=0.002)
    assert errors(half_widths(contaminated, "std")).min() > 1


@every_component
def test_outliers_are_outside_the_core(contaminated, every):
    _, covariance = core(contaminated[:, ::every])
    assert errors(np.sqrt(np.diag(covariance))).max() < 0.03


def test_stated_bias_of_outliers_on_one_side():
    scores = np.append(ndtri((np.arange(90_000) + 0.5) / 90_000), np.full(10_000, 1e3))[:, None]
    assert half_widths(scores, "quantile")[0] == pytest.approx(1.154, abs=0.0006)
    assert half_widths(scores, "mad")[0] == pytest.approx(1.145, abs=0.0006)
    assert half_widths(scores, "histogram")[0] == pytest.approx(1, abs=0.001)


@pytest.mark.parametrize("method", HALF_WIDTHS)
def test_units_and_origin_do_not_matter(method):
    scores = np.random.default_rng(0).normal(size=(2000, 3))
    widths = half_widths(scores, method)
    np.testing.assert_allclose(half_widths(1e-6 * scores, method), 1e-6 * widths, rtol=1e-9)
    np.testing.assert_allclose(half_widths(-scores + 5, method), widths, rtol=0.03)
    np.testing.assert_allclose(half_widths(scores[:, ::-1], method), widths[::-1], rtol=1e-9)


@pytest.mark.parametrize("k", [1, 2, 20])
def test_core_undoes_the_cut(k, monkeypatch):
    n = 100_000
    scores = np.random.default_rng(k).normal(size=(n, k))

    def size(covariance):
        return np.linalg.slogdet(covariance)[1] / (2 * k)  # log of the geometric mean of the half widths

    # Standard error 1 / sqrt(2 n k); the estimate from a cut sample has at most twice that.
    bound = 5 * 2 / np.sqrt(2 * n * k)
    assert abs(size(core(scores)[1])) < bound
    monkeypatch.setattr("scipy.special.gammainc", lambda a, x: 1.0)
    assert size(core(scores)[1]) < -2 * bound


@pytest.mark.parametrize("k", [2, 50])
def test_core_ignores_one_sided_outskirts(k):
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(20_000, k))
    tail = rng.random(20_000) < 0.15
    scores[tail] += (4 + rng.exponential(4, size=tail.sum()))[:, None] * np.ones(k)
    mean, covariance = core(scores)
    np.testing.assert_allclose(np.sqrt(np.diag(covariance)), 1, atol=0.05)
    np.testing.assert_allclose(mean, 0, atol=0.07)
    assert half_widths(scores, "std").min() > 2


def test_core_does_not_shrink_where_distances_spread():
    # The sizes of the rows vary by 30 %: at K = 100 far more of them lie beyond any chi-square radius than
    # in a Gaussian, and a core that is cut there at every step dwindles to the smallest rows.
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(10_000, 100)) * np.exp(0.3 * rng.normal(size=(10_000, 1)))
    _, covariance = core(scores)
    np.testing.assert_allclose(np.sqrt(np.diag(covariance)), 0.91, atol=0.06)


@pytest.mark.parametrize("n", [*range(2, 12), 19, 20, 50])
@pytest.mark.parametrize("method", HALF_WIDTHS)
def test_few_rows(n, method):
    scores = np.random.default_rng(n).normal(size=(n, 300))
    widths = half_widths(scores, method)
    assert np.isfinite(widths).all()
    assert (widths > 0).all()
    if n >= 20 and method != "histogram_raw":
        assert ((widths > 0.1) & (widths < 2.5)).all()
        assert np.median(widths) == pytest.approx(1, abs=0.12)


def test_core_of_few_rows_falls_back():
    scores = np.random.default_rng(0).normal(size=(49, 10))
    with pytest.warns(UserWarning, match="core: 49 rows are too few, or too much alike, .* 10 components"):
        mean, covariance = core(scores)
    np.testing.assert_allclose(mean, np.median(scores, axis=0))
    np.testing.assert_allclose(covariance, np.diag(half_widths(scores, "mad") ** 2))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        core(np.random.default_rng(0).normal(size=(50, 10)))


@pytest.mark.parametrize(
    "scores",
    [
        np.array([[0.0], [0.0], [0.0], [0.0], [1.0]]),
        np.repeat([0.0, 1.0, 1e6], [90, 5, 5])[:, None],
        np.repeat([0.0, 1.0], [50, 50])[:, None],
        np.repeat([-1.0, 0.0, 1.0], [1, 998, 1])[:, None],
        np.random.default_rng(0).integers(0, 2, size=(1000, 1)) * 1e-30,
        np.append(np.zeros(510), np.random.default_rng(0).uniform(-1e3, 1e3, 490))[:, None],
        np.random.default_rng(0).standard_cauchy((5000, 1)),
        np.random.default_rng(0).pareto(0.3, (5000, 1)),
    ],
    ids=["tie", "mostly one value", "two values", "spike", "tiny", "spike on a plain", "cauchy", "pareto"],
)
def test_odd_shapes_have_a_positive_width(scores):
    for method in HALF_WIDTHS:
        widths = half_widths(scores, method)
        assert np.isfinite(widths).all()
        assert (widths > 0).all()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mean, covariance = core(scores)
    assert np.isfinite(mean).all()
    assert covariance[0, 0] > 0


def test_histogram_reads_the_half_maximum():
    # Away from a Gaussian, taking out the kernel's variance is no longer exact, but the half maximum of this
    # narrow peak on broad shoulders is still what is read, not its standard deviation.
    grid = np.linspace(-6, 6, 200_001)
    density = 0.7 * np.exp(-0.5 * grid**2) + 0.3 / 3 * np.exp(-0.5 * (grid / 3) ** 2)
    exact = grid[density > density.max() / 2].max() / halfwidth.HALF_MAXIMUM
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(N, 1)) * np.where(rng.random((N, 1)) < 0.7, 1, 3)
    assert half_widths(scores, "histogram")[0] == pytest.approx(exact, rel=0.08)
    assert half_widths(scores, "std")[0] > 1.6 * exact
