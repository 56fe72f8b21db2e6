"""One source of advice: its answer for every goal, and that no other part of the package differs."""

import pytest

import ellipsoid as el
from ellipsoid.advice import GOALS, MeasuredLatents, advise
from ellipsoid.settings import DrawSettings


def measured(*concerns):
    return MeasuredLatents(frozenset(concerns), level_of_90=4.2, level_of_99=5.1)


def test_without_measurements_the_default_is_balanced_and_the_goals_lie_around_it():
    advice = {goal: advise(50, goal) for goal in GOALS}
    assert advice["balanced"].settings == DrawSettings() == advise(50).settings
    levels = [advice[goal].settings.level for goal in GOALS]
    assert levels == [pytest.approx(2.35 * 0.6), el.DEFAULT_LEVEL, el.matched_level(50, "redraw")]
    assert pytest.approx(2.35 * 0.7) == el.DEFAULT_LEVEL
    assert {advice[goal].settings.law for goal in GOALS} == {"redraw"}
    assert all("nothing was measured" in advice[goal].reason for goal in GOALS)


@pytest.mark.parametrize("k", [1, 2, 5, 50, 256, 4096])
def test_levels_rise_from_fidelity_to_diversity_for_any_number_of_components(k):
    levels = [advise(k, goal).settings.level for goal in GOALS]
    assert levels == sorted(set(levels))


def test_gaussian_latents_are_drawn_by_the_normal_distribution_as_wide_as_they_are():
    balanced, diverse = (advise(50, goal, measured=measured()) for goal in ("balanced", "diversity"))
    assert balanced.settings == DrawSettings("normal", 4.2)
    assert "4.20 leaves out their outermost tenth" in balanced.reason
    assert "redraw at the default level of 1.645" in balanced.reason
    assert diverse.settings == DrawSettings("normal", 5.1)
    assert "5.10 leaves out their outermost hundredth" in diverse.reason


@pytest.mark.parametrize("goal", ["balanced", "diversity"])
def test_flat_latents_are_drawn_uniformly_with_their_variance(goal):
    advice = advise(50, goal, measured=measured("flat"))
    assert advice.settings == DrawSettings("uniform", el.matched_level(50, "uniform"))
    assert "Uniform draws at level 2.45 have their variance" in advice.reason


@pytest.mark.parametrize("concerns", [("clusters",), ("flat", "few_images"), ("heavy_tails", "skewed")])
def test_latents_that_are_not_gaussian_keep_the_default(concerns):
    advice = advise(50, measured=measured(*concerns))
    assert advice.settings == DrawSettings()
    assert advice.reason == (
        "The latents are not Gaussian, so draw well inside the region: keep the default level of 1.645."
    )
    diverse = advise(50, "diversity", measured=measured(*concerns))
    assert diverse.settings == DrawSettings("redraw", el.matched_level(50, "redraw"))


@pytest.mark.parametrize("concern", ["few_images", "half_widths"])
def test_latents_that_were_read_badly_are_not_called_something_else(concern):
    advice = advise(50, measured=measured(concern))
    assert advice.settings == DrawSettings()
    assert advice.reason.startswith("The shape of the latents is not known well")


@pytest.mark.parametrize("concerns", [(), ("flat",), ("dependent",)])
def test_fidelity_stays_near_the_average_whatever_the_latents_are_like(concerns):
    advice = advise(50, "fidelity", measured=measured(*concerns))
    assert advice.settings == advise(50, "fidelity").settings


def test_what_cannot_be_advised():
    with pytest.raises(ValueError, match="goal: expected one of fidelity, balanced, diversity; got 'best'"):
        advise(50, "best")
    for goal in GOALS:
        with pytest.raises(ValueError, match="n_components: expected at least 1; got 0"):
            advise(0, goal)
        with pytest.raises(TypeError, match="n_components: expected an integer"):
            advise(2.5, goal)
