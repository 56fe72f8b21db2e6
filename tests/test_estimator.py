import inspect
import pickle
import re

import jax
import numpy as np
import pytest
from scipy.stats import multivariate_normal
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.utils import estimator_checks
from sklearn.utils.estimator_checks import check_estimator

import ellipsoid as el
from ellipsoid.estimator import EllipsoidSampler
from ellipsoid.velocity import untrained


def gaussian(n, d, rank=None, seed=0):
    """Make latents whose standard deviations are 3 to 0.3, then 0.03 beyond the rank; off the centre."""
    rng = np.random.default_rng(seed)
    rank = rank or d
    deviations = np.append(np.geomspace(3, 0.3, rank), np.full(d - rank, 0.03))
    return (rng.normal(size=(n, d)) * deviations) @ np.linalg.qr(rng.normal(size=(d, d)))[0] + 5


@pytest.fixture(scope="module")
def latents():
    return gaussian(400, 6)


@pytest.mark.parametrize(
    "estimator",
    [
        EllipsoidSampler(),
        EllipsoidSampler(n_components=0.9, half_width="quantile", law="normal", level=3, region="ellipsoid"),
        EllipsoidSampler(law="uniform"),
    ],
    ids=str,
)
@pytest.mark.slow
def test_scikit_learn_checks(estimator):
    check_estimator(estimator, on_skip=None)


@pytest.mark.parametrize(
    "check",
    [
        estimator_checks.check_parameters_default_constructible,
        estimator_checks.check_get_params_invariance,
        estimator_checks.check_set_params,
        estimator_checks.check_estimators_unfitted,
        estimator_checks.check_estimators_overwrite_params,
        estimator_checks.check_n_features_in_after_fitting,
        estimator_checks.check_estimators_nan_inf,
        estimator_checks.check_transformer_general,
        estimator_checks.check_transformer_preserve_dtypes,
        estimator_checks.check_fit2d_1sample,
    ],
)
def test_the_contract_of_scikit_learn(check):
    # The slow test runs all checks; these compile no draw.
    check("EllipsoidSampler", EllipsoidSampler(law="uniform"))


def test_parameters_default_as_those_of_the_functions():
    defaults = EllipsoidSampler().get_params()
    for function in (el.fit, el.sample):
        parameters = inspect.signature(function).parameters
        # The shape to draw from is no setting; here the word is for its kind.
        shared = defaults.keys() & parameters.keys() - {"shape"}
        assert {name: defaults[name] for name in shared} == {
            name: parameters[name].default for name in shared
        }


def test_it_fits_and_draws_as_the_functions_do(latents):
    sampler = EllipsoidSampler(4, "mad", "sequential", 2.0, 0.9, "pairwise").fit(latents)
    state = el.fit(latents, 4, "mad")
    jax.tree.map(np.testing.assert_array_equal, sampler.state_, state)
    for name in ("mean", "components", "explained_variance", "explained_variance_ratio", "n_components"):
        np.testing.assert_array_equal(getattr(sampler, f"{name}_"), getattr(state, name))
    draws = el.sample(el.key(7), state, 50, law="sequential", level=2.0, fact=0.9)
    sample = sampler.sample(50, random_state=7)
    np.testing.assert_array_equal(sample, draws.latents)
    np.testing.assert_array_equal(sample[:20], sampler.sample(20, random_state=7))
    sample += 1  # the caller's own memory
    assert sampler.sample().shape == (1, 6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_scores_and_back(latents, dtype):
    latents = latents.astype(dtype)
    sampler = EllipsoidSampler(4).fit(latents)
    scores = sampler.transform(latents)
    assert scores.dtype == sampler.inverse_transform(scores).dtype == dtype
    np.testing.assert_allclose(scores, sampler.state_.project(latents), atol=1e-5)
    np.testing.assert_allclose(
        sampler.inverse_transform(scores), sampler.state_.reconstruct(scores), atol=1e-5
    )
    full = EllipsoidSampler().fit(latents)
    np.testing.assert_allclose(full.inverse_transform(full.transform(latents)), latents, atol=1e-5)


def test_random_states(latents):
    sampler = EllipsoidSampler().fit(latents)

    def two_samples(random_state):
        return [sampler.sample(3, random_state) for _ in range(2)]

    first, second = two_samples(np.random.RandomState(1))
    assert not np.any(first == second)
    np.testing.assert_array_equal([first, second], two_samples(np.random.RandomState(1)))
    np.random.seed(1)  # noqa: NPY002 - None means this generator, all over scikit-learn
    np.testing.assert_array_equal([first, second], two_samples(None))
    np.testing.assert_array_equal(*two_samples(np.int64(5)))
    with pytest.raises(ValueError, match="'five' cannot be used to seed"):
        sampler.sample(3, "five")


@pytest.mark.parametrize("law", ["uniform", "normal"])
def test_log_density(latents, law):
    sampler = EllipsoidSampler(law=law, level=3.0).fit(latents)
    state, log_density = sampler.state_, sampler.score_samples(latents)
    inside = np.asarray(el.contains(state, latents, level=3.0, tolerance=0))
    assert 0.5 < inside.mean() < 1
    np.testing.assert_array_equal(np.isfinite(log_density), inside)
    if law == "uniform":
        expected = -el.PairwiseEllipses().log_volume(6) - np.log(3 * np.asarray(state.scale)).sum()
    else:
        density = multivariate_normal(np.mean(latents, axis=0), np.cov(latents.T))
        expected = density.logpdf(latents[inside]) - el.log_joint_coverage(3.0, 6)
    np.testing.assert_allclose(log_density[inside], expected, atol=1e-4)


@pytest.mark.slow
def test_a_flow_in_the_place_of_a_state(latents, monkeypatch):
    """The flow has a random field here; other tests show that a fit learns something."""

    def fit_flow(rows, n_components, **options):
        assert options == {"steps": 9}
        base, field = el.fit(rows, n_components), untrained(el.key(0), n_components, 0, 16, 1)
        field = field._replace(last=0.02 * jax.random.normal(el.key(1), field.last.shape))
        return el.Flow(base, field, base.scale, np.float32(0.9), np.zeros(0, np.float32), 16)

    monkeypatch.setattr("ellipsoid.estimator.fit_flow", fit_flow)
    options = {"law": "normal", "level": 4.0, "shape": "flow", "flow_options": {"steps": 9}}
    sampler = EllipsoidSampler(3, **options).fit(latents)
    flow = sampler.state_
    assert isinstance(flow, el.Flow)
    np.testing.assert_array_equal(sampler.components_, flow.base.components)
    drawn = sampler.sample(50, random_state=0)
    np.testing.assert_array_equal(drawn, el.sample(el.key(0), flow, 50, law="normal", level=4.0).latents)
    scores = sampler.transform(drawn)
    expected = el.sample(el.key(0), flow, 50, law="normal", level=4.0).scores
    np.testing.assert_allclose(scores, expected, atol=1e-3)
    np.testing.assert_allclose(sampler.inverse_transform(scores), drawn, atol=1e-3)
    assert sampler.transform(drawn.astype(np.float64)).dtype == np.float64
    settings = {"law": "normal", "level": 4.0}
    expected = el.log_prob(flow, latents=drawn, over="latents", **settings)
    np.testing.assert_allclose(sampler.score_samples(drawn), expected, atol=1e-3)


@pytest.mark.parametrize("law", ["redraw", "sequential"])
def test_laws_without_a_density_have_no_log_density(law):
    sampler = EllipsoidSampler(law=law)
    with pytest.raises(AttributeError, match="no attribute 'score_samples'") as error:
        sampler.score_samples  # noqa: B018
    assert str(error.value.__cause__) == f"law: expected uniform or normal, which have a density; got '{law}'"
    assert hasattr(sampler.set_params(law="normal"), "score_samples")


def test_score_in_closed_form():
    """One component, uniform in [-a, a], has E|x - X| = (x^2 + a^2) / 2a or |x|, and E|X - X'| = 2a / 3."""
    x = gaussian(500, 1)
    sampler = EllipsoidSampler(law="uniform").fit(x)
    a = 1.645 * float(sampler.state_.scale[0])

    def distance(y):
        return np.where(np.abs(y) < a, (y**2 + a**2) / (2 * a), np.abs(y))

    y = sampler.transform(x)
    draws = sampler.transform(sampler.sample(1024, random_state=0))
    influence = distance(draws)[:, 0] - np.abs(draws - y.T).mean(axis=1)  # of one draw on the score
    error = influence.std() / np.sqrt(len(draws))
    assert abs(sampler.score(x) - (a / 3 - distance(y).mean())) < 5 * error
    assert error < 0.01 * a


@pytest.mark.parametrize(
    ("law", "levels"),
    [
        pytest.param(
            "redraw", el.matched_level(4, law="redraw") * np.array([1, 0.75, 1.3]), marks=pytest.mark.slow
        ),
        ("uniform", el.matched_level(4, law="uniform") * np.array([1, 0.75, 1.3])),
        ("normal", [4.0, 2.0, 1.0]),
    ],
)
def test_grid_search_finds_the_level_and_the_rank(law, levels):
    settings = {"level": levels, "n_components": [2, 4]}
    search = GridSearchCV(EllipsoidSampler(law=law), settings, cv=3, error_score="raise")
    search.fit(gaussian(1500, 10, rank=4))
    assert search.best_params_ == {"level": levels[0], "n_components": 4}
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_a_fitted_sampler_can_be_copied(latents):
    sampler = EllipsoidSampler(law="uniform", region=el.Ellipsoid(), level=2.5).fit(latents)
    copy = pickle.loads(pickle.dumps(sampler))
    np.testing.assert_array_equal(copy.sample(9, random_state=0), sampler.sample(9, random_state=0))
    assert copy.score(latents) == sampler.score(latents)
    assert clone(sampler).get_params() == sampler.get_params()


def test_output_as_a_data_frame(latents):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(latents, columns=list("abcdef"))
    sampler = EllipsoidSampler(2).set_output(transform="pandas").fit(frame)
    assert list(sampler.feature_names_in_) == list("abcdef")
    scores = sampler.transform(frame)
    assert list(scores.columns) == ["ellipsoidsampler0", "ellipsoidsampler1"]
    np.testing.assert_array_equal(scores, clone(sampler).set_output(transform="default").fit_transform(frame))


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"law": "sobol"}, "law: expected one of redraw"),
        ({"law": "redraw", "region": "box"}, "law: expected one that the region 'box' has"),
        ({"region": "ball"}, "region: expected one of pairwise"),
        ({"region": el.PairwiseEllipses(np.ones((3, 3), bool))}, r"pairs: expected a mask of shape \(6, 6\)"),
        ({"level": -1.0}, "level: expected a finite number above 0"),
        ({"fact": np.nan}, "fact: expected a finite number above 0"),
        ({"half_width": "sdt"}, "half_width: expected one of std"),
        ({"n_components": 7}, "n_components: expected at most 6, the rank"),
        ({"shape": "ball"}, "shape: expected state or flow; got 'ball'"),
        ({"shape": "flow", "half_width": "mad"}, "half_width: expected std for a flow; got mad"),
        ({"flow_options": {"steps": 9}}, "flow_options: expected none for shape 'state'; got {'steps': 9}"),
    ],
)
def test_fit_refuses(latents, parameters, message):
    with pytest.raises(ValueError, match=message):
        EllipsoidSampler(**parameters).fit(latents)


def test_inverse_transform_refuses_scores_of_another_size(latents):
    with pytest.raises(ValueError, match=re.escape("X: expected scores (n, 2); got shape (400, 6)")):
        EllipsoidSampler(2).fit(latents).inverse_transform(latents)
