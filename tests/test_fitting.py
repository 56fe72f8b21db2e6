import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.decomposition import PCA

import ellipsoid as el
from ellipsoid.fitting import fit, fit_moments
from ellipsoid.moments import Moments
from ellipsoid.state import PCAState

D = 12


def make_latents(n=3000, mean=1.0, seed=0):
    """Make correlated Gaussian rows; standard deviations along the axes fall from 3 to 0.03."""
    rng = np.random.default_rng(seed)
    rotation = np.linalg.qr(rng.normal(size=(D, D)))[0]
    scores = rng.normal(size=(n, D)) * np.geomspace(3, 0.03, D)
    return scores @ rotation + mean * rng.normal(size=D)


LATENTS = make_latents()


def assert_agrees(state, pca, k=None):
    k = k or pca.n_components_
    assert state.n_components == k
    np.testing.assert_allclose(state.mean, pca.mean_, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(state.components, pca.components_[:k], atol=2e-6)
    np.testing.assert_allclose(state.explained_variance, pca.explained_variance_[:k], rtol=1e-5)
    np.testing.assert_allclose(state.explained_variance_ratio, pca.explained_variance_ratio_[:k], rtol=1e-5)
    np.testing.assert_allclose(state.scale, np.sqrt(pca.explained_variance_[:k]), rtol=1e-5)


def assert_close(a, b, rtol=1e-5):
    assert a.n_samples == b.n_samples
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(x, y, rtol=rtol, atol=1e-5)


@pytest.mark.parametrize("solver", ["covariance_eigh", "full"])
@pytest.mark.parametrize("n_components", [1, 5, D, 0.3, 0.95, 0.999999, None])
def test_agrees_with_scikit_learn(solver, n_components):
    pca = PCA(n_components, svd_solver=solver).fit(LATENTS)
    state = fit(LATENTS, n_components)
    assert_agrees(state, pca)
    assert state.n_samples == len(LATENTS)
    np.testing.assert_allclose(state.project(LATENTS), pca.transform(LATENTS), atol=1e-5)


def test_share_reached_exactly_is_not_yet_exceeded():
    # Four equal variances: one component explains exactly a quarter, and scikit-learn takes a second.
    latents = np.kron(np.eye(4), [[1.0], [-1.0]])
    assert fit(latents, 0.25).n_components == PCA(0.25, svd_solver="full").fit(latents).n_components_ == 2
    assert fit(latents, 0.2).n_components == 1


def test_components_are_orthonormal_and_signed():
    components = np.asarray(fit(LATENTS).components)
    np.testing.assert_allclose(components @ components.T, np.eye(D), atol=1e-6)
    assert (components[np.arange(D), np.abs(components).argmax(axis=1)] > 0).all()
    assert_close(fit(LATENTS[::-1]), fit(LATENTS))
    assert_close(
        fit(-LATENTS).truncate(3),
        PCAState(-fit(LATENTS).mean, *jax.tree.leaves(fit(LATENTS))[1:]).truncate(3),
    )


@pytest.mark.parametrize("n", [2, 5, D])
def test_fewer_rows_than_dimensions(n):
    rows = LATENTS[:n]
    with pytest.warns(UserWarning, match=f"{D - n + 1} of {D} components have no variance and are dropped"):
        state = fit(rows)
    assert_agrees(state, PCA(svd_solver="full").fit(rows), k=n - 1)
    np.testing.assert_allclose(state.reconstruct(state.project(rows)), rows, atol=1e-5)
    assert_close(fit(rows, n - 1), state)
    with pytest.raises(
        ValueError, match=f"n_components: expected at most {n - 1}, the rank of the latents; got {n}"
    ):
        fit(rows, n)


@pytest.mark.parametrize("mean", [0.0, 100.0])
@pytest.mark.parametrize(("rank", "d"), [(5, 16), pytest.param(60, 128, marks=pytest.mark.slow)])
def test_rounding_noise_is_not_variance(mean, rank, d):
    rng = np.random.default_rng(0)
    scores, axes = rng.normal(size=(2000, rank)), rng.normal(size=(rank, d))
    exact = scores @ axes + mean
    for latents in (
        exact,
        exact.astype(np.float32),
        scores.astype(np.float32) @ axes.astype(np.float32) + mean,
    ):
        with pytest.warns(UserWarning, match="are dropped"):
            assert fit(latents).n_components == rank
        assert fit(latents, 0.9999999).n_components <= rank
        with pytest.raises(ValueError, match=f"expected at most {rank}, the rank"):
            fit(latents, rank + 1)


def test_narrow_components_far_from_zero_are_variance():
    # Standard deviations spread over 1 : 1000, and a mean of a thousand times the widest.
    deviations = np.geomspace(1, 1e-3, 32)
    latents = np.random.default_rng(0).normal(size=(5000, 32)) * deviations + 1000
    state = fit(latents.astype(np.float32))
    np.testing.assert_allclose(state.scale, deviations, rtol=0.05)


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16, jnp.bfloat16, np.int32])
def test_any_real_type_gives_a_float32_state(dtype):
    rows = np.round(10 * LATENTS).astype(dtype)
    expected = fit(rows.astype(np.float64))
    for latents in (rows, jnp.asarray(rows), rows.astype(float).tolist()):
        state = fit(latents)
        assert {leaf.dtype for leaf in jax.tree.leaves(state)[:-1]} == {jnp.dtype("float32")}
        assert isinstance(state.n_samples, int)
        assert_close(state, expected)


def test_float64_state():
    with jax.enable_x64(True):
        state = fit(LATENTS)
        assert {leaf.dtype for leaf in jax.tree.leaves(state)[:-1]} == {jnp.dtype("float64")}
        assert fit(LATENTS.astype(np.float32)).mean.dtype == jnp.float32
        pca = PCA(svd_solver="full").fit(LATENTS)
        np.testing.assert_allclose(state.components, pca.components_, atol=1e-11)
        np.testing.assert_allclose(state.project(LATENTS), pca.transform(LATENTS), atol=1e-11)


def test_moments_give_the_same_state():
    moments = (
        Moments.empty(D).update(LATENTS[:1000]).merge(Moments.empty(D).update(jnp.asarray(LATENTS[1000:])))
    )
    for n_components in (None, 4, 0.9):
        assert_close(fit_moments(moments, n_components), fit(LATENTS, n_components))
    with pytest.raises(ValueError, match="moments: expected at least two rows; got 1"):
        fit_moments(Moments.empty(D).update(LATENTS[:1]))
    with pytest.warns(UserWarning, match="8 of 12 components"):
        fit_moments(Moments.empty(D).update(LATENTS[:5]))


@pytest.mark.parametrize("as_array", [np.asarray, jnp.asarray], ids=["numpy", "jax"])
@pytest.mark.parametrize("n_components", [None, 3])
def test_within(as_array, n_components):
    latents = make_latents().astype(np.float32)
    first = PCA(n_components, svd_solver="full").fit(latents)
    deviations = np.abs(first.transform(latents)) / np.sqrt(first.explained_variance_)
    masks = {
        "mahalanobis": np.sqrt((deviations**2).sum(axis=1)) <= 3,
        "component": deviations.max(axis=1) <= 3,
    }
    for metric, mask in masks.items():
        assert 50 < mask.sum() < len(latents) - 10
        state = fit(as_array(latents), n_components, within=3, within_metric=metric)
        assert_close(state, fit(latents[mask], n_components), rtol=1e-4)


def test_within_too_little():
    with pytest.raises(
        ValueError,
        match=r"within: expected at least .*; got 0 of 3000 within 0\.1 .* the median row is at 3\.\d",
    ):
        fit(LATENTS, within=0.1)


def test_max_rows_draws_without_replacement():
    # The sum of nine different powers of two among the first ten tells which one is missing.
    latents = 2.0 ** np.arange(10)[:, None]
    missing = set()
    for seed in range(8):
        state = fit(latents, max_rows=9, key=jax.random.key(seed))
        assert state.n_samples == 9
        missing.add(1023 - round(9 * float(state.mean[0])))
    assert missing < set(latents[:, 0])
    assert len(missing) > 1


def test_max_rows_follows_the_key_and_within():
    settings = {"within": 3.0, "within_metric": "component", "max_rows": 1000}
    a, b, other = (fit(LATENTS, **settings, key=jax.random.key(seed)) for seed in (0, 0, 1))
    assert_close(a, b, rtol=0)
    assert np.abs(a.mean - other.mean).max() > 1e-3
    assert a.n_samples == 1000
    inside = fit(LATENTS, within=3.0, within_metric="component")
    assert_close(fit(LATENTS, **settings | {"max_rows": 3000}, key=jax.random.key(0)), inside)


def test_core_replaces_mean_and_axes():
    rng = np.random.default_rng(3)
    clean = make_latents(20_000)
    # A tenth of the rows far off on one side, along a direction that is no principal axis.
    direction = 10 * rng.normal(size=D)
    latents = np.where(rng.random((len(clean), 1)) < 0.1, clean + direction, clean)
    expected, core, spoiled = fit(clean), fit(latents, half_width="core"), fit(latents)
    # Standard errors at n = 20,000: 0.5 % of each half width, 0.7 % of one in the mean.
    np.testing.assert_allclose(core.scale, expected.scale, rtol=0.03)
    np.testing.assert_allclose(core.explained_variance, core.scale**2, rtol=1e-5)
    shift = (core.mean - expected.mean) @ expected.components.T / expected.scale
    assert np.abs(shift).max() < 0.05
    np.testing.assert_allclose(jnp.abs(core.components @ expected.components.T), np.eye(D), atol=0.05)
    assert core.n_samples == len(latents)
    # The plain fit fails all of these.
    assert spoiled.scale[0] > 3 * expected.scale[0]
    assert np.abs((spoiled.mean - expected.mean) @ expected.components.T / expected.scale).max() > 1
    assert np.abs(spoiled.components[0] @ expected.components[0]) < 0.95


def test_scale_follows_the_half_width():
    clean = make_latents(20_000, mean=0.0)
    latents = np.concatenate([clean, 8 * clean[:2000]])
    scales = {name: fit(latents, 5, name).scale for name in ("std", "mad", "histogram", "core")}
    ratios = {name: np.asarray(scale / fit(clean, 5).scale) for name, scale in scales.items()}
    assert (ratios["std"] > 2).all()
    assert ((ratios["mad"] > 1.05) & (ratios["mad"] < 1.15)).all()
    np.testing.assert_allclose(ratios["histogram"], 1, atol=0.04)
    np.testing.assert_allclose(ratios["core"], 1, atol=0.04)


@pytest.mark.parametrize(
    ("latents", "settings", "error", "message"),
    [
        (np.zeros(3), {}, ValueError, r"latents: expected shape \(n, D\)"),
        (np.zeros((3, 0)), {}, ValueError, r"latents: expected shape \(n, D\)"),
        (LATENTS[:1], {}, ValueError, r"latents: expected at least two rows; got shape \(1, 12\)"),
        (LATENTS[:0], {}, ValueError, "latents: expected at least two rows"),
        (np.ones((9, 3)), {}, ValueError, "latents: expected rows that differ; got equal ones"),
        (
            np.where(LATENTS > 5, np.nan, LATENTS),
            {},
            ValueError,
            r"latents: .* NaN or infinity in \d+ of 3000 rows",
        ),
        (LATENTS.astype(str), {}, TypeError, "latents: expected real numbers"),
        (LATENTS, {"n_components": 0}, ValueError, "n_components: expected an int above 0"),
        (LATENTS, {"n_components": 1.0}, ValueError, "n_components: expected an int above 0"),
        (LATENTS, {"n_components": float("nan")}, ValueError, "n_components: expected an int above 0"),
        (LATENTS, {"n_components": True}, TypeError, "n_components: expected an int, a float or None"),
        (LATENTS, {"n_components": "mle"}, TypeError, "n_components: expected an int, a float or None"),
        (LATENTS, {"n_components": 13}, ValueError, "n_components: expected at most 12, the rank"),
        (
            LATENTS,
            {"half_width": "sdt"},
            ValueError,
            "half_width: expected one of std, histogram, .* got 'sdt'",
        ),
        (LATENTS, {"within": 0.0}, ValueError, "within: expected a finite number above 0; got 0.0"),
        (
            LATENTS,
            {"within_metric": "box"},
            ValueError,
            "within_metric: expected one of mahalanobis, component; got 'box'",
        ),
        (
            LATENTS,
            {"max_rows": 100},
            ValueError,
            "key: expected a JAX random key, since max_rows draws .*; got None",
        ),
        (LATENTS, {"max_rows": 1}, ValueError, "max_rows: expected at least 2; got 1"),
        (LATENTS, {"max_rows": 1e3}, TypeError, "max_rows: expected an integer; got float"),
    ],
)
def test_refuses(latents, settings, error, message):
    with pytest.raises(error, match=message):
        fit(latents, **settings)


@pytest.mark.parametrize("factor", [1e20, 1e30, 1e150])
def test_variances_beyond_float32_are_refused(factor):
    with pytest.raises(
        ValueError, match="latents: expected values whose mean and variance float32 holds; got"
    ):
        fit(factor * np.random.default_rng(0).normal(size=(30, 3)))


def test_a_level_beyond_float32_is_refused():
    state = fit(1e3 * np.random.default_rng(0).normal(size=(30, 3)))
    for level, message in (
        (1e39, r"level: expected fact \* level from 1.18e-38 to 3.4e\+38, .*; got 1e\+39"),
        (1e-50, r"level: expected fact \* level from .*; got 1e-50"),
        (1e38, r"level: expected semi-axes, .*; got infinity at fact \* level = 1e\+38"),
    ):
        with pytest.raises(ValueError, match=message):
            el.sample(el.key(0), state, 3, law="uniform", level=level)
        with pytest.raises(ValueError, match=message):
            el.log_prob(state, np.zeros(3), law="uniform", level=level)


@pytest.mark.parametrize("constant", [1e6, -1e8])
def test_a_constant_column_hides_no_others(constant):
    """Columns that are small beside it keep their components; its own, and exact copies, have none."""
    rng = np.random.default_rng(0)
    latents = (rng.normal(size=(400, 6)) * np.geomspace(1, 0.01, 6)).astype(np.float32)
    with_constant = np.concatenate([latents, np.full((400, 1), constant, np.float32), latents[:, :1]], axis=1)
    with pytest.warns(UserWarning, match="2 of 8 components have no variance and are dropped"):
        state = fit(with_constant)
    assert state.n_components == 6
    np.testing.assert_array_equal(state.components[:, 6], 0)
    expected = fit(latents * np.where(np.arange(6) == 0, np.sqrt(2), 1))
    np.testing.assert_allclose(state.scale, expected.scale, rtol=1e-3)


def test_a_column_that_varies_by_its_rounding_alone_has_no_component():
    rng = np.random.default_rng(0)
    latents = rng.normal(size=(400, 4)) * [1, 0.1, 0.01, 0.01]
    rounded = np.concatenate([latents, 1e6 + 0.01 * rng.normal(size=(400, 1))], axis=1).astype(np.float32)
    with pytest.warns(UserWarning, match="1 of 5 components"):
        assert fit(rounded).n_components == 4
