import jax
import numpy as np
import pytest
from scipy import stats
from sklearn.mixture import GaussianMixture

import ellipsoid as el
from ellipsoid.mixture_fitting import MAX_GROUPS

D = 6


def three_parts(n, seed=0):
    """Make latents of three far parts of different shape; give them, the part of each, and the laws."""
    rng = np.random.default_rng(seed)
    part = rng.choice(3, n, p=[0.5, 0.3, 0.2])
    centres = 6 * np.eye(3, D)
    roots = rng.normal(size=(3, D, D)) / 2
    z = centres[part] + np.einsum("nk,ndk->nd", rng.normal(size=(n, D)), roots[part])
    return z, part, centres, roots @ roots.transpose(0, 2, 1)


def covariance(state):
    axes = np.asarray(state.components, np.float64)
    return axes.T @ (np.asarray(state.explained_variance, np.float64)[:, None] * axes)


def log_likelihood(mixture, z):
    """Give the log-likelihood of each row under the Gaussians of the parts."""
    densities = [
        weight * stats.multivariate_normal.pdf(z, mixture.part(m).mean, covariance(mixture.part(m)))
        for m, weight in enumerate(np.asarray(mixture.weights, np.float64))
    ]
    return np.log(np.sum(densities, axis=0))


@pytest.fixture(scope="module")
def fitted():
    z, part, centres, covariances = three_parts(6000)
    return z, part, centres, covariances, el.fit_mixture(z, 3, prior_rows=1)


def test_finds_the_parts(fitted):
    z, part, centres, covariances, mixture = fitted
    share = np.bincount(part) / len(z)
    np.testing.assert_allclose(mixture.weights, share, atol=0.003)  # sorted by weight, as the parts are
    np.testing.assert_array_equal(np.abs(mixture.parts.n_samples - share * len(z)) < 20, True)
    for m in range(3):
        state, n = mixture.part(m), np.sum(part == m)
        error = np.sqrt(np.diag(covariances[m]) / n)
        assert (np.abs(state.mean - centres[m]) < 4.5 * error).all()
        # A covariance has the standard error sqrt((c_ii c_jj + c_ij^2) / n).
        c = covariances[m]
        assert (
            np.abs(covariance(state) - c) < 4.5 * np.sqrt((np.outer(np.diag(c), np.diag(c)) + c**2) / n)
        ).all()
        np.testing.assert_allclose(state.scale**2, state.explained_variance, rtol=1e-6)
        np.testing.assert_allclose(state.components @ state.components.T, np.eye(D), atol=1e-6)
        assert (np.diff(state.scale) <= 0).all()
        assert float(np.sum(state.explained_variance_ratio)) == pytest.approx(1, abs=1e-5)


def test_as_likely_as_what_scikit_learn_finds(fitted):
    z, mixture = fitted[0], fitted[-1]
    other = GaussianMixture(3, n_init=3, random_state=0).fit(z)
    assert log_likelihood(mixture, z).mean() == pytest.approx(other.score(z), abs=0.02)
    assert log_likelihood(el.fit_mixture(z, 2), z).mean() < other.score(z) - 0.1


def test_one_part_is_fit_with_its_prior():
    z = np.random.default_rng(1).normal(size=(200, D)) @ np.diag(np.geomspace(5, 1, D)) + 3
    mixture, state = el.fit_mixture(z, 1, 4, prior_rows=10), el.fit(z, 4)
    # Whitened scores have the scatter of n - 1 rows: both priors are round, and so is their sum.
    n, k = 200, 4
    common = ((n - 1) / n * n + k * (n - 1) / n) / (n + k)
    variance = np.asarray(state.explained_variance) * ((n - 1) + 10 * common) / (n + 10)
    np.testing.assert_allclose(mixture.part(0).mean, state.mean, rtol=0, atol=1e-5)
    np.testing.assert_allclose(mixture.part(0).explained_variance, variance, rtol=1e-5)
    np.testing.assert_allclose(np.abs(mixture.part(0).components @ state.components.T), np.eye(k), atol=1e-4)
    outside = np.asarray(state.explained_variance_ratio).sum()
    assert float(np.sum(mixture.part(0).explained_variance_ratio)) == pytest.approx(outside, abs=0.01)
    assert mixture.n_parts == 1
    assert mixture.n_components == 4
    assert mixture.n_features == D


@pytest.mark.slow
def test_number_of_parts_by_held_out_likelihood():
    z = three_parts(1500)[0]
    assert el.fit_mixture(z, (1, 3, 12)).n_parts == 3
    assert el.fit_mixture(np.random.default_rng(0).normal(size=(1500, D)), (1, 3, 12)).n_parts == 1


@pytest.mark.parametrize("unit", [2.0**-96, 2.0**-63, 2.0**50])
def test_the_unit_of_latents_does_not_matter(unit):
    """The fit is right where squares in float32 underflow to zero, or keep few digits."""
    z = three_parts(300)[0].astype(np.float32)
    for fit in (lambda z: el.fit_mixture(z, 3), lambda z: el.fit_by_label(z, np.arange(300) % 2)):
        plain, scaled = fit(z), fit(z * np.float32(unit))
        np.testing.assert_allclose(scaled.weights, plain.weights, rtol=1e-4)
        np.testing.assert_allclose(scaled.scale / np.float32(unit), plain.scale, rtol=1e-4)


@pytest.mark.slow
def test_prior_helps_where_rows_are_few():
    rng = np.random.default_rng(4)
    roots = rng.normal(size=(20, 20))
    centres = rng.normal(size=(5, 20)) * 12
    z, unseen = (centres[np.arange(n) % 5] + rng.normal(size=(n, 20)) @ roots for n in (150, 2000))
    held = {
        prior: log_likelihood(el.fit_mixture(z, 5, prior_rows=prior), unseen).mean()
        for prior in (0.1, 20, 1e6)
    }
    best = np.mean(
        [stats.multivariate_normal.logpdf(unseen[m::5], centres[m], roots.T @ roots).mean() for m in range(5)]
    ) - np.log(5)
    # There are 30 rows a part in 20 dimensions, and all parts do have one shape, as the prior takes them to.
    assert held[0.1] < held[20] - 5
    assert max(held.values()) < best


def test_the_key_decides(fitted):
    z = fitted[0][:2400]
    a, b, c = (el.fit_mixture(z, 4, max_rows=1200, key=el.key(seed)) for seed in (0, 0, 1))
    assert a == b
    assert a == el.fit_mixture(z, 4, max_rows=1200)  # without a key, as documented
    assert not np.array_equal(a.weights, c.weights)
    assert int(np.sum(a.parts.n_samples)) == pytest.approx(1200, abs=2)
    assert a.shared.n_samples == 2400


def test_in_64_bits(fitted):
    z, in_32_bits = fitted[0], fitted[-1]
    with jax.enable_x64(True):
        mixture = el.fit_mixture(z, 3)
    assert mixture.weights.dtype == np.float64
    np.testing.assert_allclose(mixture.weights, in_32_bits.weights, rtol=1e-4)


def test_equal_rows_leave_fewer_parts():
    z = np.repeat(np.random.default_rng(0).normal(size=(3, D)), 50, axis=0)
    mixture = el.fit_mixture(z, 5, 2)
    assert mixture.n_parts == 3
    np.testing.assert_allclose(mixture.weights, 1 / 3, atol=1e-6)
    assert np.isfinite(np.asarray(mixture.scale)).all()
    assert (np.asarray(mixture.scale) > 0).all()


# --- by label ----------------------------------------------------------------------------------------


def test_parts_of_labels():
    z, part, _, _ = three_parts(900, seed=2)
    mixture = el.fit_by_label(z, part, 4, prior_rows=1e-6)
    assert mixture.names == ("0", "1", "2")
    for name in range(3):
        rows, state = z[part == name], mixture.select(name).part(0)
        assert int(state.n_samples) == len(rows)
        # In the subspace that all share the mean of a part is that of its rows, and so is the variance.
        y = np.asarray(mixture.project(rows))
        np.testing.assert_allclose(mixture.project(state.mean), y.mean(axis=0), atol=1e-4)
        np.testing.assert_allclose(state.explained_variance.sum(), y.var(axis=0).sum(), rtol=1e-4)
        assert float(mixture.weights[mixture.has.index(tuple(np.arange(3) == name))]) == pytest.approx(
            len(rows) / 900
        )


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (np.array(["dress", "bag"] * 50), ("bag", "dress")),
        (np.array([b"dress", b"bag"] * 50), ("bag", "dress")),
        (np.array([1.0, 0.0] * 50), ("0", "1")),
        (np.array([True, False] * 50), ("False", "True")),
        (np.array(["1", 2] * 50, object), ("1", "2")),
    ],
)
def test_labels_of_any_kind(labels, names):
    mixture = el.fit_by_label(np.random.default_rng(0).normal(size=(100, 3)), labels)
    assert mixture.names == names
    assert all(mixture.select(name).n_parts == 1 for name in names)


def test_parts_of_attributes():
    rng = np.random.default_rng(3)
    smiling, male = rng.random(600) < 0.5, rng.random(600) < 0.3
    bald = male & (rng.random(600) < 0.2)
    z = rng.normal(size=(600, D)) + np.stack([4 * smiling, 4 * male, 4 * bald, *np.zeros((3, 600))], axis=1)
    mixture = el.fit_by_label(z, {"Smiling": smiling, "Male": male, "Bald": bald})
    assert mixture.n_parts == 6  # no woman is bald
    chosen = mixture.select({"Smiling": True, "Male": False})
    rows = z[smiling & ~male]
    draws = el.sample(el.key(0), mixture, 4000, law="normal", level=4, label={"Smiling": True, "Male": False})
    # The error is that of both means, where the draws' is the smaller; the cut and the prior matter less.
    assert (np.abs(np.mean(draws.latents, axis=0) - rows.mean(axis=0)) < 4.5 / np.sqrt(len(rows))).all()
    assert chosen.n_parts == 1
    assert mixture.select("Bald").n_parts == 2
    with pytest.raises(ValueError, match="label: expected a combination that at least one part has"):
        mixture.select({"Male": False, "Bald": True})


def test_a_label_of_one_row_has_the_shape_of_the_others():
    rng = np.random.default_rng(6)
    z = np.concatenate([rng.normal(size=(500, D)) * np.geomspace(4, 1, D), 30 * np.ones((1, D))])
    mixture = el.fit_by_label(z, [0] * 500 + [1])
    alone, others = mixture.select(1), mixture.select(0)
    np.testing.assert_allclose(alone.part(0).mean, z[-1], rtol=1e-4)
    np.testing.assert_allclose(alone.scale, others.scale, rtol=0.1)
    assert int(alone.part(0).n_samples) == 1


def test_several_parts_for_a_label():
    z, part, centres, _ = three_parts(1200, seed=4)
    labels = np.where(part == 2, "c", "ab")
    mixture = el.fit_by_label(z, labels, n_parts=2)
    assert mixture == el.fit_by_label(z, labels, n_parts=2, key=el.key(0))  # without a key, as documented
    two = mixture.select("ab")
    assert two.n_parts == 2
    means = np.asarray(two.parts.mean)
    assert max(np.linalg.norm(means - centre, axis=1).min() for centre in centres[:2]) < 0.3
    np.testing.assert_allclose(
        two.weights, np.sort(np.bincount(part[part < 2]) / (part < 2).sum())[::-1], atol=0.02
    )
    assert el.fit_by_label(z[:5], list("abcde"), 2, n_parts=3).n_parts == 5  # no more than there are rows


@pytest.mark.slow
def test_chunks_that_do_not_meet_a_label_change_nothing(monkeypatch):
    z, part, _, _ = three_parts(700, seed=4)
    whole = el.fit_by_label(z, part, n_parts=2)
    monkeypatch.setattr("ellipsoid.expectation_maximisation._CHUNK_ROWS", 64)
    in_chunks = el.fit_by_label(z, part, n_parts=2)
    assert in_chunks.names == whole.names
    assert in_chunks.has == whole.has
    np.testing.assert_allclose(in_chunks.weights, whole.weights, rtol=1e-3)
    np.testing.assert_allclose(in_chunks.parts.mean, whole.parts.mean, atol=1e-2)
    np.testing.assert_allclose(in_chunks.scale, whole.scale, rtol=1e-2)


# --- refusals ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"n_parts": 0}, ValueError, "n_parts: expected at least 1; got 0"),
        ({"n_parts": 2.0}, TypeError, "n_parts: expected an int, several, or None; got 2.0"),
        ({"n_parts": True}, TypeError, "n_parts: expected an integer; got bool"),
        ({"n_parts": []}, TypeError, "n_parts: expected an int, several, or None"),
        ({"n_parts": 31}, ValueError, "n_parts: expected at most 30, the number of rows; got 31"),
        ({"n_parts": 2, "prior_rows": 0}, ValueError, "prior_rows: expected a finite number above 0; got 0"),
        ({"n_parts": 2, "prior_rows": "1"}, TypeError, "prior_rows: expected a number; got str"),
        ({"n_parts": 2, "max_rows": 1}, ValueError, "max_rows: expected at least 2; got 1"),
        ({"n_parts": 2, "max_rows": 9.0}, TypeError, "max_rows: expected an integer; got float"),
        ({"n_parts": 2, "key": 0}, TypeError, "key: expected a typed JAX key"),
        ({"n_parts": 2, "n_components": 9}, ValueError, "n_components: expected at most 6"),
    ],
)
def test_fit_mixture_refuses(options, error, message):
    with pytest.raises(error, match=message):
        el.fit_mixture(np.random.default_rng(0).normal(size=(30, D)), **options)


@pytest.mark.parametrize(
    ("labels", "error", "message"),
    [
        (np.zeros(29), ValueError, r"labels: expected one for each of 30 latents; got shape \(29,\)"),
        (np.full(30, np.nan), ValueError, "labels: .*; got missing ones .* in 30 of 30 rows, .* row 0"),
        (np.where(np.arange(30) % 9 == 4, np.inf, 1), ValueError, "labels: .*infinity in 3 of 30 .* row 4"),
        (np.where(np.arange(30) == 4, -np.inf, 1), ValueError, "labels: .*infinity in 1 of 30 .* row 4"),
        ({"a": np.zeros(30)}, TypeError, "labels: expected booleans for 'a'; got float64"),
        ({"a": np.zeros(29, bool)}, ValueError, r"labels: expected 30 booleans for 'a'; got shape \(29,\)"),
        ({}, TypeError, "labels: expected attributes by name"),
    ],
)
def test_fit_by_label_refuses(labels, error, message):
    with pytest.raises(error, match=message):
        el.fit_by_label(np.random.default_rng(0).normal(size=(30, D)), labels)


class NotAvailable:
    """Missing value as pandas has it: comparing it gives no answer."""

    def __ne__(self, other):
        return self

    def __bool__(self):
        raise TypeError("boolean value of NA is ambiguous")

    __hash__ = object.__hash__


TEXT = ["cat", "dog"] * 15


@pytest.mark.parametrize(
    "labels",
    [
        [*TEXT[:-2], None, float("nan")],
        tuple([*TEXT[:-2], None, np.float32("nan")]),
        np.array([*TEXT[:-2], NotAvailable(), None], object),
        [*range(28), np.nan, None],
        np.array([*range(28), "NaT", "NaT"], "datetime64[D]"),
        np.array([*range(28), "NaT", "NaT"], "timedelta64[s]"),
        np.array([*TEXT[:-2], np.datetime64("NaT"), np.timedelta64("NaT")], object),
        np.array([*range(28), np.nan, np.nan], np.complex64),
    ],
)
def test_missing_labels_are_no_class_of_their_own(labels):
    message = r"labels: .* got missing ones .* in 2 of 30 rows, first in row 28; leave these rows out"
    with pytest.raises(ValueError, match=message):
        el.fit_by_label(np.random.default_rng(0).normal(size=(30, D)), labels)


def test_numbers_beyond_64_bits_stay_apart():
    labels = np.repeat([1e20, 2e20, 3], 10)
    mixture = el.fit_by_label(np.random.default_rng(0).normal(size=(30, D)), labels)
    assert mixture.names == ("3", "100000000000000000000", "200000000000000000000")
    for label in (1e20, 2e20, 3):
        assert mixture.select(label).n_parts == 1


def test_whole_numbers_among_fractions_are_selected_by_number():
    labels = np.repeat([1.0, 2.5, 1e20], 10)
    mixture = el.fit_by_label(np.random.default_rng(0).normal(size=(30, D)), labels)
    for label in (1.0, 2.5, 1e20, "1.0"):
        assert mixture.select(label).n_parts == 1


@pytest.mark.parametrize("label", [np.float32(np.inf), float("inf"), -np.float64(np.inf), np.float16(np.nan)])
def test_a_label_that_is_not_finite_is_unknown(label):
    mixture = el.fit_by_label(np.random.default_rng(0).normal(size=(30, D)), np.repeat([0, 1, 2], 10))
    with pytest.raises(ValueError, match=r"label: expected one of 0, 1, 2; got '(-?inf|nan)'"):
        mixture.select(label)


def test_too_many_labels():
    n = MAX_GROUPS + 10
    with pytest.raises(ValueError, match="labels: expected at most 1024 labels or combinations"):
        el.fit_by_label(np.random.default_rng(0).normal(size=(n, 2)), np.arange(n))
