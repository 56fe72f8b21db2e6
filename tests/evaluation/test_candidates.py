"""Which candidates there are, and that their draws are as wide as they say."""

import math

import numpy as np
import pytest
from helpers import draw

import ellipsoid as el
from ellipsoid import Draws
from ellipsoid.archive import digest
from ellipsoid.evaluation.candidates import (
    FAMILIES,
    GAUSSIAN,
    RECONSTRUCTIONS,
    Candidate,
    Family,
    baseline_candidates,
    candidates_of_flow,
    candidates_of_mixture,
    default_candidates,
    fewer_components,
    flow_candidates,
    level_of_spread,
    mixture_candidates,
    region_candidate,
    spreads_of,
)

# --- spread ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_draws_have_the_spread_that_a_level_is_for(family):
    # The programs of the two procedures take the longest to compile: that of 8 components is used elsewhere.
    k, n = (8, 10_240) if family.law in ("redraw", "sequential") else (20, 4_096)
    for spread in (0.5, 0.9):
        level = level_of_spread(spread, k, family.law, family.region)
        drawn = level * draw(family.law, k, n, radius=level, region=family.region, seed=1)
        measured = float(np.sqrt(np.mean(np.square(drawn, dtype=np.float64))))
        # The level of the pairwise normal law is that of a cube of the same variance.
        allowed = 0.03 if family.name == "normal" else 0.005
        assert abs(measured / spread - 1) < allowed + 4 / math.sqrt(2 * n * k)


def test_candidates_draw_from_their_state_at_the_level_of_their_spread(toy, monkeypatch):
    candidate = region_candidate(FAMILIES["normal"], toy.state, 0.7)
    level = level_of_spread(0.7, 5, "normal", "pairwise")
    expected = el.sample(el.key(1), toy.state, 50, law="normal", level=level).latents
    np.testing.assert_array_equal(candidate.draw(el.key(1), 50), expected)

    calls = []

    def draw_rows(sequence, n):
        calls.append((sequence.law, sequence.region.name, sequence.radius, n))
        return Draws(np.zeros((n, 5)), None, None)

    monkeypatch.setattr("ellipsoid.evaluation.candidates.draw_rows", draw_rows)
    for family in FAMILIES.values():
        region_candidate(family, toy.state, 0.7).draw(el.key(1), 50)
        level = level_of_spread(0.7, 5, family.law, family.region)
        assert calls.pop() == (family.law, family.region, level, 50)


def test_candidates_that_collapse_are_drawn_without_a_warning(toy):
    candidate = region_candidate(FAMILIES["uniform, ellipsoid"], toy.state, 0.4)
    with pytest.warns(UserWarning, match="collapse towards the mean"):
        expected = el.sample(el.key(1), toy.state, 50, **candidate.recipe.settings.options).latents
    np.testing.assert_array_equal(candidate.draw(el.key(1), 50), expected)  # a warning would be an error


def test_a_level_without_the_regions_own_scale_has_another_spread():
    box = level_of_spread(0.7, 20, "normal", "box")
    assert np.std(box * draw("normal", 20, 4_096, radius=box, seed=1)) < 0.6


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((0.0, 10, "uniform", "pairwise"), ValueError, "spread: expected a finite number above 0; got 0.0"),
        ((1.0, 10, "normal", "pairwise"), ValueError, "spread: expected a number below 1 .*; got 1.0"),
        ((math.nan, 10, "normal", "pairwise"), ValueError, "spread: expected a finite number"),
        (("wide", 10, "normal", "pairwise"), TypeError, "spread: expected a number; got str"),
        ((0.5, 10, "laplace", "pairwise"), ValueError, "law: expected one of .*; got 'laplace'"),
        (
            (0.5, 10, "redraw", "box"),
            ValueError,
            "law: expected one that the region 'box' has, uniform, normal; got 'redraw'",
        ),
        ((0.5, 10, "normal", "ball"), ValueError, "region: expected"),
        ((0.5, 0, "normal", "ellipsoid"), ValueError, "k: expected"),
        ((0.5, 0, "redraw", "pairwise"), ValueError, "k: expected"),
    ],
)
def test_a_spread_that_no_level_has_is_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        level_of_spread(*arguments)


# --- families --------------------------------------------------------------------------------------


def test_families_say_what_they_are(toy):
    """Figures and recommendations use the fields; the names are for readers, and for files on disk."""
    for name, family in FAMILIES.items():
        assert (family.name, family.kind) == (name, "region")
        assert name == (family.law if family.region == "pairwise" else f"{family.law}, {family.region}")
    assert {(family.law, family.region) for family in FAMILIES.values()} == {
        ("redraw", "pairwise"),
        ("sequential", "pairwise"),
        *((law, region) for law in ("uniform", "normal") for region in ("pairwise", "ellipsoid", "box")),
    }
    mixture = candidates_of_mixture(toy.latents, 3, 4)[0].family
    assert mixture == Family("mixture of 3, K 4", "mixture", "normal", "pairwise", 4, 3)
    kinds = {c.family.name: c.family.kind for c in baseline_candidates(toy.latents, ())}
    assert set(kinds.values()) == {"baseline"}
    assert {"Gaussian mixture of 10", "Gaussian mixture of 50", GAUSSIAN.name} < set(kinds)
    assert Candidate(Family("mine"), lambda key, n: np.zeros((n, 2))).family.kind == "other"


def test_what_names_results_on_disk_is_what_it_was(toy):
    """Every letter counts: these texts find the results of earlier evaluations."""
    region = region_candidate(FAMILIES["redraw"], toy.state, 0.7)
    level = 0.7 * el.matched_level(5, "redraw")
    assert region.cache_key == f"redraw, spread 0.7\nredraw {level!r} pairwise {digest(toy.state)}"
    (*_, mixture) = candidates_of_mixture(toy.latents, 50, 4)
    level = level_of_spread(0.99, 4, "normal", "pairwise")
    assert mixture.cache_key == f"mixture of 50, K 4, spread 0.99\n20000 {level!r}"
    named = {candidate.name: candidate.cache_key for candidate in baseline_candidates(toy.latents, (0.55,))}
    assert list(named.values()) == [
        "Gaussian, spread 0.55\ngaussian {'temperature': 0.55}",
        "Gaussian, spread 1\ngaussian {'temperature': 1.0}",
        "box\nbox {}",
        "independent normals\nindependent {}",
        "kernel density\nkernel_density {}",
        "interpolations\ninterpolations {}",
        "training reconstructions\nreconstructions {}",
        "Gaussian mixture of 10\ngaussian_mixture {'n_parts': 10, 'max_rows': 20000}",
        "Gaussian mixture of 50\ngaussian_mixture {'n_parts': 50, 'max_rows': 20000}",
    ]


# --- which there are -------------------------------------------------------------------------------


def test_all_laws_regions_and_baselines_are_compared_by_default(toy):
    candidates = default_candidates(toy.latents, toy.state)
    mixtures = [c for c in candidates if c.family.kind == "mixture"]
    drawn = {
        (c.recipe.settings.law, c.recipe.settings.region)
        for c in candidates
        if c.recipe and c not in mixtures
    }
    assert drawn == {(family.law, family.region) for family in FAMILIES.values()}
    assert len(candidates) == len({c.name for c in candidates}) == 8 * 6 + len(mixtures) + 6 + 7
    assert {c.n_features for c in candidates} == {5}
    quick = default_candidates(toy.latents, toy.state, quick=True)
    assert {c.name for c in quick} < {c.name for c in candidates}
    assert [c.spread for c in quick if c.family == GAUSSIAN] == [0.55, 0.7, 0.85, 1.0]
    # They come in the order in which they are measured: our candidates, then those of others.
    assert [c.name for c in quick[:5]] == [
        *(f"redraw, spread {spread:g}" for spread in (0.55, 0.7, 0.85, 1.0)),
        "uniform, spread 0.55",
    ]
    assert quick[-1].family == RECONSTRUCTIONS


@pytest.mark.slow
def test_mixtures_are_fitted_once_and_drawn_from(toy, mixtures):
    assert [c.spread for c in mixtures] == list(spreads_of("normal"))  # 10 parts; 600 latents
    first, second = mixtures[0].recipe, mixtures[1].recipe
    assert first.state() is second.state()
    assert isinstance(first.state(), el.Mixture)
    assert first.state().n_components == first.n_components
    drawn = el.sample(el.key(1), first.state(), 50, law="normal", level=first.settings.level).latents
    np.testing.assert_array_equal(mixtures[0].draw(el.key(1), 50), drawn)
    assert not mixture_candidates(toy.latents[:249], toy.state)  # 25 rows a part at least


@pytest.mark.slow
def test_a_flow_is_drawn_from_in_its_coordinates(toy, make_flows, flow_folder):
    flows = make_flows(flow_folder)
    assert list(dict.fromkeys(c.family for c in flows)) == [
        Family(name, "flow", law, "pairwise", 5)
        for name, law in (("flow", "normal"), ("flow, uniform", "uniform"), ("flow, redraw", "redraw"))
    ]
    for candidate in flows:
        settings = candidate.recipe.settings
        assert settings.level == level_of_spread(candidate.spread, 5, settings.law, "pairwise")
    flow = flows[0].recipe.state()
    assert all(candidate.recipe.state() is flow for candidate in flows)
    assert isinstance(flow, el.Flow)
    drawn = el.sample(el.key(1), flow, 50, law="normal", level=flows[3].recipe.settings.level).latents
    np.testing.assert_array_equal(flows[3].draw(el.key(1), 50), drawn)
    assert len({candidate.cache_key for candidate in flows}) == 18


@pytest.mark.slow
def test_a_flow_is_fitted_once_and_found_again(toy, make_flows, flow_folder, monkeypatch, tmp_path):
    (path,) = (file for file in flow_folder.iterdir() if ".training" not in file.name)
    asked = []

    def fit_flow(latents, k, **options):
        asked.append(options)
        return flow

    flow = make_flows(flow_folder)[0].recipe.state()
    monkeypatch.setattr("ellipsoid.evaluation.candidates.fit_flow", fit_flow)
    assert make_flows(flow_folder)[0].recipe.state() == flow
    assert asked == []
    # Other options, other latents and a damaged file start afresh.
    candidates_of_flow(toy.latents, 5, flow_folder.parent / "others")[0].recipe.state()
    candidates_of_flow(toy.latents[1:], 5, flow_folder.parent / "others")[0].recipe.state()
    (tmp_path / path.name).write_bytes(path.read_bytes()[:1000])
    make_flows(tmp_path)[0].recipe.state()
    assert len(asked) == 3
    assert asked[2]["resume"] == (tmp_path / path.name).with_suffix(".training.npz")
    assert el.load(tmp_path / path.name) == flow


@pytest.mark.slow
def test_a_shape_of_the_same_latents_is_not_fitted_again(toy, make_flows, flow_folder):
    flow, mixture = make_flows(flow_folder)[0].recipe.state(), el.fit_mixture(toy.latents, 3)

    def drawn_from(latents, *shapes):
        candidates = default_candidates(latents, toy.state, shapes=shapes)
        return {c.family.n_parts: c for c in candidates if c.family.kind in ("mixture", "flow")}

    known = drawn_from(toy.latents, toy.state, mixture, flow)
    assert known[3].recipe.state() is mixture
    assert known[None].recipe.state() is flow
    assert known[10].cache_key == drawn_from(toy.latents)[10].cache_key
    assert (
        known[3].cache_key
        != drawn_from(toy.latents, el.fit_mixture(toy.latents, 3, key=el.key(1)))[3].cache_key
    )
    # Other latents, other components, and parts that stand for labels.
    assert {3, None}.isdisjoint(drawn_from(toy.latents[1:], mixture, flow))
    labelled = el.fit_by_label(toy.latents, np.arange(len(toy.latents)) % 3)
    assert {3, None}.isdisjoint(drawn_from(toy.latents, el.fit_mixture(toy.latents, 3, 4), labelled))


def test_few_latents_have_no_flow_by_default(toy):
    rows = np.resize(toy.latents, (1_000, 5))
    flows = [c for c in default_candidates(rows, toy.state) if c.family.kind == "flow"]
    assert {(c.recipe.settings.law, c.n_features) for c in flows} == {
        ("normal", 5),
        ("uniform", 5),
        ("redraw", 5),
    }
    assert not flow_candidates(rows[1:], toy.state)


def test_fewer_components_are_those_that_there_are(make_state):
    state = make_state(60)
    candidates = fewer_components(state, FAMILIES["uniform"])
    share = np.cumsum(np.asarray(state.explained_variance_ratio))
    k = int(np.argmax(share >= 0.95 * share[-1])) + 1
    assert {c.family for c in candidates} == {
        Family(f"uniform, {count} components", "truncated", "uniform", "pairwise", count) for count in (50, k)
    }
    assert {c.recipe.n_components for c in candidates if c.recipe} == {50, k}
    assert [c.spread for c in candidates] == [*spreads_of("uniform")] * 2


def test_a_family_without_a_region_has_no_level(toy):
    message = "family: expected one with a law and a region; got 'Gaussian'"
    with pytest.raises(ValueError, match=message):
        region_candidate(GAUSSIAN, toy.state, 0.5)
    with pytest.raises(ValueError, match=message):
        fewer_components(toy.state, GAUSSIAN)
