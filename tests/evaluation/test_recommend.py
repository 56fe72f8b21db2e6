"""Which candidate is recommended for which goal, and that a recommendation survives on disk."""

import inspect
import json

import jax
import numpy as np
import pytest
from evaluation_toys import made_up_evaluation, made_up_result

import ellipsoid as el
from ellipsoid.advice import GOALS, MeasuredLatents, advise
from ellipsoid.archive import digest
from ellipsoid.diagnostics import assess, diagnose
from ellipsoid.evaluation import (
    GAUSSIAN,
    RECONSTRUCTIONS,
    TRAINING_IMAGES,
    load_recommendation,
    save_recommendations,
)
from ellipsoid.evaluation.recommend import choose_result
from ellipsoid.settings import DrawSettings
from ellipsoid.workflows import how_to_draw, write_latents


@pytest.fixture(scope="module")
def state(toy):
    return toy.state


@pytest.fixture(scope="module")
def of_gaussian():
    """State and diagnostics of Gaussian latents, as many as the tests of diagnostics have."""
    latents = np.random.default_rng(0).normal(size=(100, 10))
    state = el.fit(latents)
    return state, diagnose(state, latents)


def result(state, level, precision, recall, *, ours=True, **numbers):
    state = state if ours else None
    return made_up_result(f"at {level}", precision, recall, state=state, level=level, **numbers)


def made_up(state, results, floor=None):
    return made_up_evaluation(digest(state), results, floor)


def curve(state, **numbers):
    """Make results from faithful to diverse; the best of all is not ours."""
    shares = [(0.99, 0.05), (0.9, 0.4), (0.7, 0.7), (0.4, 0.85), (0.1, 0.9)]
    ours = [result(state, level, *share, **numbers) for level, share in enumerate(shares, start=1)]
    return [*ours, result(state, 9, 1.0, 1.0, ours=False)]


# --- from an evaluation ----------------------------------------------------------------------------


@pytest.mark.parametrize(("goal", "level"), [("fidelity", 2), ("balanced", 3), ("diversity", 4)])
def test_each_goal_has_its_place_on_the_curve(state, goal, level):
    recommended = el.recommend(state, made_up(state, curve(state)), goal)
    assert recommended.settings == DrawSettings("normal", level)
    assert (recommended.law, recommended.level, recommended.fact) == ("normal", level, 1.0)
    assert (recommended.region, recommended.n_components) == ("pairwise", 5)
    assert recommended.goal == goal
    assert recommended.state is state
    assert recommended.options == {"law": "normal", "level": level, "fact": 1.0, "region": "pairwise"}
    el.sample(el.key(0), recommended.state, 2, **recommended.options)


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
    chosen, equal, ours = choose_result(noisy)
    assert (chosen, equal, ours) == (noisy[1], noisy[:2], noisy)


def test_where_nothing_is_near_the_real_images_the_frechet_distance_decides(state):
    """The F-score is zero with any weight, and its error does not tell zeros apart."""
    none = [result(state, level, 0, 0, frechet=f, error=0.003) for level, f in ((1, 5.0), (2, 1.0), (3, 3.0))]
    for goal in GOALS:
        assert el.recommend(state, made_up(state, none), goal).level == 2
    without_recall = [result(state, 1, 0.9, 0, error=0.01), result(state, 2, 0.2, 0.1, error=0.01)]
    assert el.recommend(state, made_up(state, without_recall), "fidelity").level == 2


def test_what_copies_is_left_out(state):
    copying = result(state, 1, 0.9, 0.9, copies_p_value=1e-4)
    honest = result(state, 2, 0.6, 0.6, copies_p_value=0.4)
    assert el.recommend(state, made_up(state, [copying, honest])).level == 2
    assert el.recommend(state, made_up(state, [copying])).level == 1


def test_the_reason_says_what_was_measured_and_compared(state):
    evaluation = made_up(state, curve(state))
    gaussian = made_up_result(GAUSSIAN, 0.47, 0.74, spread=1.0)
    narrow = made_up_result(GAUSSIAN, 0.9, 0.1, spread=0.7)
    reason = el.recommend(state, made_up(state, [*evaluation.results, narrow, gaussian])).reason
    for words in (
        "The best of 5 candidates is at 3, with precision 0.70 ± 0.00 and recall 0.70",
        "It has the largest F-score; recall counts as much as precision.",
        "500 unseen",
        "pixels",
        "a full Gaussian has precision 0.47",
    ):
        assert words in reason
    assert "0.90" not in reason
    assert "Gaussian" not in el.recommend(state, evaluation).reason
    close = [result(state, 1, 0.7, 0.7, frechet=2.0, error=0.1), result(state, 2, 0.69, 0.7, error=0.1)]
    assert (
        "2 candidates have the largest F-score up to its error"
        in el.recommend(state, made_up(state, close)).reason
    )


def test_the_reason_names_what_limits_all_ways_to_draw(state):
    """The reason names the images or the decoder, never both: unlike images say nothing of the decoder."""
    none = [result(state, level, 0.3, 0, frechet=level) for level in (1, 2, 3)]
    good, poor = ((0.9, 0.8), (0.4, 0.0))

    def reason(reconstructed, images):
        reconstructions = made_up_result(RECONSTRUCTIONS, *reconstructed)
        floor = made_up_result(TRAINING_IMAGES, *images)
        return el.recommend(state, made_up(state, [*none, reconstructions], floor)).reason

    merit = "No candidate has an F-score above 0, and this one has the smallest Fréchet distance;"
    assert reason(poor, good).startswith(
        "The decoder is the limit: reconstructed training images themselves have only precision 0.40 ± 0.00 "
        "and recall 0.00 ± 0.00. No way to draw can improve on that;"
    )
    assert reason(poor[::-1], good).startswith("The decoder is the limit")  # its images are like none
    assert reason(poor, poor).startswith("The images are the limit: training images themselves have")
    assert reason((0.9, 0.021), good).startswith("The best of 3 candidates is at 1, with precision 0.30")
    assert all(merit in reason(*both) for both in ((poor, good), (poor, poor), (good, good)))


def test_a_recommendation_is_shown_on_one_screen(state):
    lines = repr(el.recommend(state, made_up(state, curve(state)))).splitlines()
    assert lines[0] == (
        "Recommendation for balanced: law normal, level 3, fact 1, region pairwise, 5 components"
    )
    assert lines[1].startswith(
        "  The best of 5 candidates is at 3, with precision 0.70 ± 0.00 and recall 0.70 "
    )
    assert len(lines) < 6
    assert max(map(len, lines)) <= 100


# --- from the general advice -----------------------------------------------------------------------


def test_without_an_evaluation_the_advice_is_that_of_everybody(state):
    assert el.recommend(state).goal == "balanced"
    for goal in GOALS:
        recommended, advice = el.recommend(state, goal=goal), advise(5, goal)
        assert (recommended.settings, recommended.reason) == (advice.settings, advice.reason)
        assert "nothing was measured" in recommended.reason
    # The recommendation is the default.
    parameters = inspect.signature(el.sample).parameters
    options = el.recommend(state).options
    assert options == {name: parameters[name].default for name in options}


def test_with_diagnostics_the_recommendation_is_the_verdict(of_gaussian):
    state, diagnostics = of_gaussian
    verdict, recommended = assess(state, diagnostics), el.recommend(state, diagnostics=diagnostics)
    assert (recommended.law, recommended.level) == (verdict.law, verdict.level)
    assert recommended.reason == verdict.reason
    assert recommended.law == "normal"
    levels = diagnostics.levels_holding
    measured = MeasuredLatents(frozenset(), level_of_90=levels[0.9], level_of_99=levels[0.99])
    for goal in GOALS:
        recommended = el.recommend(state, goal=goal, diagnostics=diagnostics)
        assert recommended.settings == advise(10, goal, measured=measured).settings
    # The measurement by images decides.
    evaluation = made_up(state, curve(state))
    assert el.recommend(state, evaluation, diagnostics=diagnostics).level == 3


def test_diagnostics_of_something_else_are_refused(toy, mixtures, of_gaussian):
    _, diagnostics = of_gaussian
    message = r"diagnostics: expected diagnostics of this state \({}\); got those of a state of 10 components"
    with pytest.raises(ValueError, match=message.format("5 components")):
        el.recommend(toy.state, diagnostics=diagnostics)
    with pytest.raises(ValueError, match=message.format("a mixture")):
        el.recommend(mixtures[0].recipe.state(), diagnostics=diagnostics)


def test_what_cannot_be_recommended(state):
    with pytest.raises(ValueError, match="goal: expected one of fidelity, balanced, diversity; got 'best'"):
        el.recommend(state, goal="best")
    with pytest.raises(
        ValueError, match="evaluation: expected an evaluation of this state; got one of another"
    ):
        el.recommend(state.truncate(3), made_up(state, curve(state)))
    with pytest.raises(ValueError, match="evaluation: expected at least one candidate"):
        el.recommend(state, made_up(state, [result(state, 1, 1.0, 1.0, ours=False)]))


# --- in a run folder -------------------------------------------------------------------------------


@pytest.fixture
def run(state, tmp_path):
    """A run whose recommendation for diversity has fewer components."""
    state.save(tmp_path / "state.npz")
    few = state.truncate(3)
    evaluation = made_up(state, [result(state, 2, 0.9, 0.6), result(few, 3, 0.3, 0.9)])
    recommended = [el.recommend(state, evaluation, goal) for goal in GOALS]
    written = save_recommendations(tmp_path, state, recommended)
    assert {path.name for path in written} == {"recommendation.json", "recommended-diversity.npz"}
    return tmp_path, recommended


def test_recommendations_come_back(run):
    folder, recommended = run
    for expected in recommended:
        loaded = load_recommendation(folder, expected.goal)
        assert loaded.options == expected.options
        assert loaded.reason == expected.reason
        assert loaded.n_components == loaded.state.n_components == expected.n_components
        np.testing.assert_array_equal(loaded.state.components, expected.state.components)
    assert load_recommendation(folder / "nowhere") is None


def test_a_mixture_that_is_recommended_comes_back(toy, mixtures, tmp_path):
    mixture = mixtures[0].recipe.state()
    toy.state.save(tmp_path / "state.npz")
    recommended = el.recommend(toy.state, made_up(toy.state, [result(mixture, 2, 0.9, 0.6)]))
    save_recommendations(tmp_path, toy.state, [recommended])
    loaded = load_recommendation(tmp_path)
    assert loaded is not None
    assert isinstance(loaded.state, el.Mixture)
    assert repr(loaded).splitlines()[0].endswith(f"5 components of a mixture of {mixture.n_parts}")
    for one, other in zip(jax.tree.leaves(loaded.state), jax.tree.leaves(mixture), strict=True):
        np.testing.assert_array_equal(one, other)
    assert loaded.options == recommended.options
    by_advice = el.recommend(mixture, goal="balanced")
    assert by_advice.state is mixture
    assert by_advice.level == el.DEFAULT_LEVEL


@pytest.mark.slow
def test_a_flow_that_is_recommended_is_drawn_from(toy, make_flows, flow_folder, tmp_path):
    flow = make_flows(flow_folder)[0].recipe.state()
    toy.state.save(tmp_path / "state.npz")
    recommended = el.recommend(toy.state, made_up(toy.state, [result(flow, 4, 0.9, 0.9)]))
    save_recommendations(tmp_path, toy.state, [recommended])
    drawing = how_to_draw(tmp_path)
    assert drawing.shape == flow
    assert drawing.options == recommended.options
    drawn = el.sample(el.key(0), flow, 3, **drawing.options).latents
    write_latents(drawing, 3, tmp_path / "z.npy")
    np.testing.assert_array_equal(np.load(tmp_path / "z.npy"), drawn)


def test_states_that_are_recommended_no_more_are_removed(run, state):
    folder, recommended = run
    save_recommendations(folder, state, recommended[:2])
    assert not (folder / "recommended-diversity.npz").exists()
    message = r"goal: expected one of those recommended in .*, fidelity, balanced; got 'diversity'"
    with pytest.raises(ValueError, match=message):
        load_recommendation(folder, "diversity")


def test_an_unknown_goal_is_refused_whatever_lies_in_the_folder(run, tmp_path):
    for folder in (run[0], tmp_path / "empty"):
        with pytest.raises(ValueError, match="goal: expected one of fidelity, balanced, diversity; got 'b"):
            load_recommendation(folder, "best")


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
        ("n_components", 4),
        ("state", "../other/state.npz"),
        ("state", "recommended-fidelity.npz"),
    ],
)
def test_damaged_recommendations_are_refused(run, name, value):
    folder, _ = run
    content = json.loads((folder / "recommendation.json").read_text())
    content["goals"]["diversity"][name] = value
    (folder / "recommendation.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match="not a recommendation"):
        load_recommendation(folder, "diversity")


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        '{"format": "other"}',
        '{"format": "ellipsoid.recommendation"}',
        '{"format": "ellipsoid.recommendation", "format_version": 1, "goals": 3}',
        '{"format": "ellipsoid.recommendation", "format_version": 1, "goals": {"balanced": 3}}',
    ],
)
def test_other_files_are_refused(run, content):
    folder, _ = run
    (folder / "recommendation.json").write_text(content)
    with pytest.raises(ValueError, match="not a recommendation"):
        load_recommendation(folder)
