import dataclasses
import json

import numpy as np
import pytest

import ellipsoid as el
from ellipsoid.archive import digest
from ellipsoid.evaluation.candidates import Recipe
from ellipsoid.evaluation.evaluate import Evaluation, Measurements, Result
from ellipsoid.evaluation.recommend import FILE, GOALS, load_recommendation, save_recommendations
from ellipsoid.metrics import Estimate


@pytest.fixture(scope="module")
def state():
    return el.fit(np.random.default_rng(0).normal(size=(300, 12)))


def result(state, level, precision, recall, *, frechet=1.0, error=0.0, ours=True):
    shares = [Estimate(value, error) for value in (precision, recall, 1.0, 1.0)]
    scores = Measurements(
        *shares, frechet=Estimate(frechet, 0.1), kernel=Estimate(0, 1), wasserstein=Estimate(0, 1)
    )
    recipe = Recipe(lambda: state, "uniform", level, "pairwise", state.n_components) if ours else None
    return Result(f"at {level}", "made up", level, recipe, scores, np.zeros((1, 2, 2, 1), np.uint8))


def made_up(state, results):
    return Evaluation(tuple(results), None, 500, 500, digest(state), "pixels", "", False)


def curve(state, **options):
    """From faithful to diverse; the best of all is not ours."""
    shares = [(0.99, 0.05), (0.9, 0.4), (0.7, 0.7), (0.4, 0.85), (0.1, 0.9)]
    ours = [result(state, level, *share, **options) for level, share in enumerate(shares, start=1)]
    return [*ours, result(state, 9, 1.0, 1.0, ours=False)]


@pytest.mark.parametrize(("goal", "level"), [("fidelity", 2), ("balanced", 3), ("diversity", 4)])
def test_each_goal_has_its_place_on_the_curve(state, goal, level):
    found = el.recommend(state, made_up(state, curve(state)), goal)
    assert found.level == level
    assert found.goal == goal
    assert found.state is state
    assert found.options == {"law": "uniform", "level": level, "fact": 1.0, "region": "pairwise"}
    el.sample(el.key(0), found.state, 2, **found.options)


def test_precision_and_recall_are_not_taken_for_each_other(state):
    turned = [
        result(state, level, *share)
        for level, share in enumerate([(0.05, 0.99), (0.4, 0.9), (0.7, 0.7), (0.85, 0.4)], start=1)
    ]
    assert el.recommend(state, made_up(state, turned), "fidelity").level == 4
    assert el.recommend(state, made_up(state, turned), "diversity").level == 2


def test_what_the_noise_does_not_tell_apart_goes_by_the_frechet_distance(state):
    close = [(1, 0.70, 0.70, 5.0), (2, 0.69, 0.69, 1.0), (3, 0.60, 0.60, 0.1)]
    noisy = [result(state, level, p, r, frechet=f, error=0.02) for level, p, r, f in close]
    exact = [result(state, level, p, r, frechet=f, error=0.001) for level, p, r, f in close]
    assert el.recommend(state, made_up(state, noisy)).level == 2
    assert el.recommend(state, made_up(state, exact)).level == 1


def test_what_copies_is_left_out(state):
    copying = result(state, 1, 0.9, 0.9)
    copying = dataclasses.replace(copying, scores=dataclasses.replace(copying.scores, copies_p_value=1e-4))
    honest = result(state, 2, 0.6, 0.6)
    honest = dataclasses.replace(honest, scores=dataclasses.replace(honest.scores, copies_p_value=0.4))
    assert el.recommend(state, made_up(state, [copying, honest])).level == 2
    assert el.recommend(state, made_up(state, [copying])).level == 1


def test_the_reason_says_what_was_measured_and_compared(state):
    evaluation = made_up(state, curve(state))
    gaussian = result(state, 1, 0.47, 0.74, ours=False)
    gaussian = Result("Gaussian, spread 1", *list(vars(gaussian).values())[1:])
    with_gaussian = made_up(state, [*evaluation.results, gaussian])
    reason = el.recommend(state, with_gaussian).reason
    for words in (
        "at 3: precision 0.70 ± 0.00, recall 0.70",
        "500 unseen",
        "pixels",
        "a full Gaussian precision 0.47",
    ):
        assert words in reason
    assert "Gaussian" not in el.recommend(state, evaluation).reason


def test_without_an_evaluation_the_levels_come_from_theory(state):
    matched = el.matched_level(12, "redraw")
    found = {goal: el.recommend(state, goal=goal) for goal in GOALS}
    assert [found[goal].level for goal in GOALS] == [el.DEFAULT_LEVEL, matched, pytest.approx(1.2 * matched)]
    assert {recommendation.law for recommendation in found.values()} == {"redraw"}
    assert all("nothing was measured" in recommendation.reason for recommendation in found.values())
    assert el.recommend(state).goal == "balanced"


def test_what_cannot_be_recommended(state):
    with pytest.raises(ValueError, match="goal: expected one of fidelity, balanced, diversity; got 'best'"):
        el.recommend(state, goal="best")
    with pytest.raises(ValueError, match="evaluation: expected one of this state; got one of another"):
        el.recommend(state.truncate(5), made_up(state, curve(state)))
    with pytest.raises(ValueError, match="evaluation: expected one or more settings"):
        el.recommend(state, made_up(state, [result(state, 1, 1.0, 1.0, ours=False)]))


# --- in a run folder -------------------------------------------------------------------------------


@pytest.fixture
def run(state, tmp_path):
    """A run whose recommendation for diversity has fewer components."""
    state.save(tmp_path / "state.npz")
    few = state.truncate(5)
    evaluation = made_up(state, [result(state, 2, 0.9, 0.6), result(few, 3, 0.3, 0.9)])
    recommended = [el.recommend(state, evaluation, goal) for goal in GOALS]
    written = save_recommendations(tmp_path, state, recommended)
    assert {path.name for path in written} == {FILE, "recommended-diversity.npz"}
    return tmp_path, recommended


def test_recommendations_come_back(run):
    folder, recommended = run
    for expected in recommended:
        found = load_recommendation(folder, expected.goal)
        assert found.options == expected.options
        assert found.reason == expected.reason
        assert found.n_components == found.state.n_components == expected.n_components
        np.testing.assert_array_equal(found.state.components, expected.state.components)
    assert load_recommendation(folder / "nowhere") is None


def test_a_mixture_that_is_recommended_comes_back(state, tmp_path):
    mixture = el.fit_mixture(np.random.default_rng(1).normal(size=(300, 12)), 2, 6)
    state.save(tmp_path / "state.npz")
    recommended = el.recommend(state, made_up(state, [result(mixture, 2, 0.9, 0.6)]))
    save_recommendations(tmp_path, state, [recommended])
    found = load_recommendation(tmp_path)
    assert found is not None
    assert isinstance(found.state, el.Mixture)
    draws, expected = (el.sample(el.key(0), x, 5, **found.options) for x in (found.state, mixture))
    np.testing.assert_array_equal(draws.latents, expected.latents)
    by_theory = el.recommend(mixture, goal="fidelity")
    assert by_theory.state is mixture
    assert by_theory.level == el.DEFAULT_LEVEL


def test_states_that_are_recommended_no_more_are_removed(run, state):
    folder, recommended = run
    save_recommendations(folder, state, recommended[:2])
    assert not (folder / "recommended-diversity.npz").exists()
    with pytest.raises(ValueError, match="not a recommendation"):
        load_recommendation(folder, "diversity")


@pytest.mark.parametrize("name", ["state.npz", "recommended-diversity.npz"])
def test_another_state_is_not_drawn_from(run, state, name):
    folder, _ = run
    state.truncate(4).save(folder / name)
    with pytest.raises(ValueError, match=f"{name} is not the one that was evaluated; evaluate the run again"):
        load_recommendation(folder, "diversity")
    (folder / name).unlink()
    with pytest.raises(ValueError, match=f"{name} is not the one"):
        load_recommendation(folder, "diversity")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("law", "foo"),
        ("law", None),
        ("region", "ball"),
        ("level", -1),
        ("level", "nan"),
        ("fact", 0),
        ("n_components", 6),
        ("state", "../other/state.npz"),
        ("state", "recommended-fidelity.npz"),
    ],
)
def test_damaged_recommendations_are_refused(run, name, value):
    folder, _ = run
    content = json.loads((folder / FILE).read_text())
    content["goals"]["diversity"][name] = value
    (folder / FILE).write_text(json.dumps(content))
    with pytest.raises(ValueError, match="not a recommendation"):
        load_recommendation(folder, "diversity")


@pytest.mark.parametrize(
    "content", ["", "[]", '{"format": "other"}', '{"format": "ellipsoid.recommendation"}']
)
def test_other_files_are_refused(run, content):
    folder, _ = run
    (folder / FILE).write_text(content)
    with pytest.raises(ValueError, match="not a recommendation"):
        load_recommendation(folder)
