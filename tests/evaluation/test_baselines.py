"""Every baseline against the moments that it has in closed form."""

import numpy as np
import pytest
from scipy import stats

import ellipsoid as el
from ellipsoid.evaluation import baselines

N = 40_000


@pytest.fixture(scope="module")
def latents():
    rng = np.random.default_rng(0)
    return (rng.normal(size=(500, 4)) @ rng.normal(size=(4, 4)) + [10, 0, -3, 1]).astype(np.float32)


ALL = {
    "box": baselines.box,
    "independent": baselines.independent,
    "gaussian": baselines.gaussian,
    "tempered": lambda latents: baselines.gaussian(latents, 0.7),
    "mixture": lambda latents: baselines.gaussian_mixture(latents, 2),
    "kernel": baselines.kernel_density,
    "reconstructions": baselines.reconstructions,
    "interpolations": baselines.interpolations,
}


def assert_moments(drawn, mean, covariance):
    """Hold both against those of a sample of equal size, all within five standard errors."""
    assert drawn.dtype == np.float32
    drawn = drawn.astype(np.float64)
    centred = drawn - mean
    products = centred[:, :, None] * centred[:, None, :]
    for found, expected in ((drawn, mean), (products, covariance)):
        error = found.std(axis=0, ddof=1) / np.sqrt(len(found))
        assert (np.abs(found.mean(axis=0) - expected) < 5 * error).all()


def test_box(latents):
    low, high = latents.min(axis=0), latents.max(axis=0)
    drawn = baselines.box(latents)(el.key(0), N)
    assert ((drawn >= low) & (drawn <= high)).all()
    assert_moments(drawn, (low + high) / 2, np.diag((high - low) ** 2 / 12))


def test_independent(latents):
    drawn = baselines.independent(latents)(el.key(0), N)
    assert_moments(drawn, latents.mean(axis=0), np.diag(latents.var(axis=0, ddof=1)))
    assert stats.kstest(stats.zscore(drawn[:, 1]), "norm").pvalue > 1e-3


@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_gaussian(latents, temperature):
    drawn = baselines.gaussian(latents, temperature)(el.key(0), N)
    mean, covariance = latents.mean(axis=0), np.cov(latents.T)
    assert_moments(drawn, mean, temperature**2 * covariance)
    scores = np.linalg.solve(np.linalg.cholesky(covariance), (drawn - mean).T) / temperature
    assert stats.kstest(np.sum(scores**2, axis=0), stats.chi2(4).cdf).pvalue > 1e-3
    with pytest.raises(AssertionError):
        assert_moments(drawn, mean, 1.05 * temperature**2 * covariance)


def test_gaussian_mixture_of_two_far_parts():
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(2, 3, 3))
    left, right = (rng.normal(size=(n, 3)) @ a for n, a in zip((300, 100), mixing, strict=True))
    left[:, 0] -= 50
    right[:, 0] += 50
    drawn = baselines.gaussian_mixture(np.concatenate([left, right]), 2)(el.key(0), N)
    is_left = drawn[:, 0] < 0
    assert abs(is_left.mean() - 0.75) < 5 * np.sqrt(0.75 * 0.25 / N)
    for part, rows in ((drawn[is_left], left), (drawn[~is_left], right)):
        assert_moments(part, rows.mean(axis=0), np.cov(rows.T, bias=True))
    # Any of the first rows may be of either part.
    assert 0.5 < is_left[:1000].mean() < 0.9


@pytest.mark.parametrize("bandwidth", [None, 0.3])
def test_kernel_density_is_that_of_scipy(latents, bandwidth):
    drawn = baselines.kernel_density(latents, bandwidth)(el.key(0), N)
    kernel = stats.gaussian_kde(latents.T, bw_method=bandwidth).covariance
    assert_moments(drawn, latents.mean(axis=0), np.cov(latents.T, bias=True) + kernel)
    with pytest.raises(AssertionError):
        assert_moments(drawn, latents.mean(axis=0), np.cov(latents.T, bias=True))
    near = baselines.kernel_density(latents, 1e-6)(el.key(0), 50)
    assert np.abs(near[:, None] - latents).max(axis=2).min(axis=1).max() < 1e-3


def test_reconstructions_are_latents_and_none_comes_twice_before_all_have_come(latents):
    drawn = baselines.reconstructions(latents)(el.key(0), 1200)
    rows = [np.flatnonzero((latents == z).all(axis=1)).item() for z in drawn]
    assert sorted(rows[:500]) == sorted(rows[500:1000]) == list(range(500))
    assert rows[:500] != list(range(500))
    assert len(set(rows[1000:])) == 200


def test_interpolations(latents):
    # With t uniform, (1 - t)^2 + t^2 is 2/3 on average and 2 t (1 - t) is 1/3; two distinct rows of n have
    # the correlation -1 / (n - 1).
    drawn = baselines.interpolations(latents)(el.key(0), N)
    share = 2 / 3 - 1 / 3 / (len(latents) - 1)
    assert_moments(drawn, latents.mean(axis=0), share * np.cov(latents.T, bias=True))
    ends = np.array([[1.0, 10.0], [3.0, 20.0]])
    drawn = baselines.interpolations(ends)(el.key(0), 5000)
    np.testing.assert_allclose((drawn[:, 1] - 10) / 10, (drawn[:, 0] - 1) / 2, atol=1e-6)
    assert stats.kstest((drawn[:, 0] - 1) / 2, "uniform").pvalue > 1e-3


@pytest.mark.parametrize("baseline", [baselines.gaussian, baselines.kernel_density])
def test_a_singular_covariance_is_kept(baseline):
    latents = np.random.default_rng(0).normal(size=(6, 10))
    latents[:, 3] = 7
    drawn = baseline(latents)(el.key(0), 1000)
    assert np.abs(drawn[:, 3] - 7).max() < 1e-5
    variances = np.linalg.svd(np.cov(drawn.T, ddof=1), compute_uv=False)
    assert (variances > 1e-9 * variances[0]).sum() == 5


@pytest.mark.parametrize("name", ALL)
def test_draws_depend_on_the_key_alone(name, latents):
    draw, again = ALL[name](latents), ALL[name](latents)
    drawn = draw(el.key(1), 7)
    assert (drawn.shape, drawn.dtype) == ((7, 4), np.float32)
    np.testing.assert_array_equal(again(el.key(1), 7), drawn)
    assert (draw(el.key(2), 7) != drawn).any(axis=1).all()


@pytest.mark.parametrize("name", ALL)
def test_bad_latents_and_numbers_are_refused(name, latents):
    with pytest.raises(ValueError, match="latents: expected at least 2 rows"):
        ALL[name](latents[:1])
    with pytest.raises(ValueError, match="latents: expected finite values"):
        ALL[name](np.where(latents > latents.min(), latents, np.nan))
    draw = ALL[name](latents)
    with pytest.raises(ValueError, match="n: expected at least 1; got 0"):
        draw(el.key(0), 0)
    with pytest.raises(TypeError, match="key: expected a typed JAX key"):
        draw(0, 10)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda z: baselines.gaussian(z, 0), "temperature: expected a finite number above 0; got 0"),
        (lambda z: baselines.gaussian(z, np.nan), "temperature: expected a finite number above 0; got nan"),
        (lambda z: baselines.kernel_density(z, -1), "bandwidth: expected a finite number above 0; got -1"),
        (
            lambda z: baselines.gaussian_mixture(z, 0),
            "n_parts: expected 1 to 500, the number of rows; got 0",
        ),
        (lambda z: baselines.gaussian_mixture(z, 501), "n_parts: expected 1 to 500"),
        (lambda z: baselines.gaussian_mixture(z, 50, max_rows=40), "n_parts: expected 1 to 40"),
        (lambda z: baselines.gaussian_mixture(z, 1, max_rows=1), "max_rows: expected at least 2; got 1"),
    ],
)
def test_errors_name_the_argument(make, message, latents):
    with pytest.raises(ValueError, match=message):
        make(latents)
