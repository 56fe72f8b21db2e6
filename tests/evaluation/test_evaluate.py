"""Measurements of candidates, none of which is made twice."""

import dataclasses
import importlib
import threading
from functools import partial

import numpy as np
import pytest
from evaluation_toys import N_REAL, D, made_up_result

import ellipsoid as el
from ellipsoid.evaluation import (
    FAMILIES,
    GAUSSIAN,
    RECONSTRUCTIONS,
    Candidate,
    Family,
    Recipe,
    baseline_candidates,
    baselines,
    limit,
)
from ellipsoid.evaluation.candidates import candidates_of_mixture, region_candidate, spreads_of
from ellipsoid.evaluation.evaluate import best_family, coarse_spreads, promising_families
from ellipsoid.settings import DrawSettings


def measurements_of(evaluation):
    return {result.name: result.measurements for result in evaluation.results}


# --- what is measured ------------------------------------------------------------------------------


def test_candidates_come_out_in_their_order(evaluation):
    measured = measurements_of(evaluation)
    good, bad = measured[RECONSTRUCTIONS.name], measured["box"]
    for name in ("precision", "density", "coverage"):
        assert getattr(good, name).value > getattr(bad, name).value + 4 * getattr(bad, name).error
    for name in ("frechet", "kernel", "wasserstein"):
        assert getattr(good, name).value < getattr(bad, name).value
    narrow, wide = measured["normal, spread 0.4"], measured["normal, spread 0.95"]
    assert narrow.precision.value > wide.precision.value
    assert narrow.recall.value < wide.recall.value
    assert evaluation.floor.measurements.f_score() > measured["box"].f_score()
    assert (evaluation.n, evaluation.n_real) == (N_REAL, N_REAL)


def test_copies_are_noticed_and_draws_are_none(toy, evaluation):
    measured = measurements_of(evaluation)
    # Rounded to 8 bits, training latents decode to their images.
    assert measured[RECONSTRUCTIONS.name].copies.value == 1
    assert measured[RECONSTRUCTIONS.name].copies_p_value < 1e-12
    assert measured["normal, spread 0.95"].copies_p_value > 1e-3
    alone = toy.evaluate([toy.counted()[0]], real_latents=None).results[0].measurements
    assert alone.copies is alone.copies_p_value is None


def bright(toy):
    """Make a decoder whose images lie apart from all real ones."""
    return lambda z: (toy.decode(z) // 4 + 192).astype(np.uint8)


def test_copies_are_told_by_a_decoder_that_loses_much(toy):
    """Reconstructions of training images lie near each other, and not near the images."""
    copies = [c for c in baseline_candidates(toy.latents, (), slow=False) if c.name == RECONSTRUCTIONS.name]
    draws = region_candidate(FAMILIES["normal"], toy.state, 0.95)
    known, new = toy.evaluate([*copies, draws], decode=bright(toy), train_images=None).results
    assert known.measurements.copies.value == 1
    assert new.measurements.copies_p_value > 1e-3


def test_the_loss_by_the_decoder_does_not_count_against_reconstructions(toy):
    draws = region_candidate(FAMILIES["normal"], toy.state, 0.95)
    against_images = toy.evaluate([draws], decode=bright(toy))
    assert against_images.results[0].measurements.precision.value == 0
    assert "reference 'reconstructions' tells" in limit(against_images)
    against_both = toy.evaluate([draws], decode=bright(toy), reference="reconstructions")
    assert against_both.floor is against_both.reconstructions is limit(against_both) is None
    assert "against reconstructions of 150 unseen ones" in repr(against_both)
    # A decoder without a loss gives nearly the same; this one also rounds to 64 levels.
    measured, lossless = (e.results[0].measurements for e in (against_both, toy.evaluate([draws])))
    for name in ("precision", "recall", "coverage"):
        value, error = getattr(lossless, name)
        assert getattr(measured, name).value == pytest.approx(value, abs=2 * error)


def test_reconstructions_need_latents(toy):
    candidate, calls = toy.counted()
    with pytest.raises(ValueError, match="real_latents: expected latents of the real images"):
        toy.evaluate([candidate], reference="reconstructions", real_latents=None)
    with pytest.raises(ValueError, match="reference: expected images or reconstructions; got 'latents'"):
        toy.evaluate([candidate], reference="latents")
    assert calls == []


def test_a_space_of_its_own_name(toy):
    class Inception:
        name, note, comparable = "inception", "2,048 columns.", True

        def __call__(self, images):
            return 100 * toy.features(images)

    candidate = toy.counted()[0]
    named = toy.evaluate([candidate], features=Inception())
    assert (named.features, named.comparable) == ("inception", True)
    plain = toy.evaluate([candidate])
    assert not plain.comparable
    assert "cannot be compared" in plain.note
    # Only Inception's features are taken as they are for the kernel, which has a scale.
    assert named.results[0].measurements.kernel.value > 100 * plain.results[0].measurements.kernel.value


def test_floats_are_rounded(toy):
    candidate = toy.counted()[0]
    floats = toy.evaluate([candidate], decode=lambda z: toy.decode(z) / np.float32(255))
    assert floats.results[0].measurements == toy.evaluate([candidate]).results[0].measurements


def test_another_range_is_said_or_refused_before_anything_is_drawn(toy):
    candidate, calls = toy.counted()

    def tanh(z):
        assert z.dtype == np.float32
        return toy.decode(z) / np.float32(127.5) - 1

    with pytest.raises(ValueError, match=r"output of tanh: pass pixel_range=\(-1, 1\)"):
        toy.evaluate([candidate], decode=tanh, latents=toy.latents.astype(np.float64))
    with pytest.raises(
        ValueError, match=r"expected images \(16, 6, 6, 1\), as the real ones; got .* channels first"
    ):
        toy.evaluate([candidate], decode=lambda z: toy.decode(z).transpose(0, 3, 1, 2))
    assert calls == []
    images = toy.evaluate([candidate], decode=tanh, pixel_range=(-1, 1)).results[0].examples
    np.testing.assert_array_equal(images, toy.evaluate([candidate]).results[0].examples)


def test_slow_fits_are_made_once_in_a_thread_of_their_own(toy, monkeypatch):
    threads = []

    def fit(latents, **options):
        threads.append(threading.current_thread().name)
        return baselines.reconstructions(latents)

    monkeypatch.setattr(baselines, "gaussian_mixture", fit)
    slow = [c for c in baseline_candidates(toy.latents, ()) if c.family.n_parts]
    first = dataclasses.replace(toy.counted()[0], draw=lambda key, n: (slow[0].prepare(), toy.latents[:n])[1])
    results = toy.evaluate([first, *slow]).results
    assert threads == 2 * ["prepare candidates"]
    assert len({result.measurements for result in results}) == 2


# --- which candidates are measured -----------------------------------------------------------------


def test_the_best_family_is_the_single_region_with_the_largest_f_score():
    ours = [
        made_up_result("redraw", 0.9, 0.3, spread=0.4),
        made_up_result("redraw", 0.5, 0.5, spread=0.7),
        made_up_result("uniform", 0.6, 0.6, spread=0.4),
        made_up_result("normal, box", 0.6, 0.6, spread=0.4),
    ]
    others = [made_up_result(GAUSSIAN, 0.9, 0.9, spread=1.0), made_up_result("mixture of 10, K 5", 1.0, 1.0)]
    assert best_family([*ours, *others]) == FAMILIES["uniform"]
    # If nothing is near the real images, the first is as good as any.
    assert best_family([made_up_result(name, 0, 0, spread=0.4) for name in FAMILIES]) == FAMILIES["redraw"]
    with pytest.raises(
        ValueError, match="results: expected at least one result of a single region; got none"
    ):
        best_family(others)


@pytest.mark.parametrize(("size", "quick"), [("full", False), ("quick", True)])
def test_a_full_evaluation_looks_at_the_best_family_again(toy, monkeypatch, tmp_path, size, quick):
    """Stand-ins take the place of the default candidates, which other tests check."""
    asked = []

    def cheap(family, spread):
        # All of the same shape, so that the first is the best.
        return Candidate(family, baseline.draw, spread, n_features=D)

    def defaults(latents, state, *, quick, folder, shapes):
        assert folder == tmp_path / "cache"
        assert not shapes
        asked.append(("default", quick))
        return [cheap(FAMILIES[name], 0.7) for name in ("normal", "redraw")]

    def fewer(state, family):
        asked.append(("fewer", family.name))
        return [cheap(Family(f"{family.name}, 4 components", "truncated"), spread) for spread in (0.4, 0.7)]

    (baseline,) = [c for c in baseline_candidates(toy.latents, ()) if c.name == "box"]
    # The module is patched, since the package holds the function of the same name.
    module = importlib.import_module("ellipsoid.evaluation.evaluate")
    monkeypatch.setattr(module, "default_candidates", defaults)
    monkeypatch.setattr(module, "fewer_components", fewer)
    evaluation = toy.evaluate(size, train_images=None, out=tmp_path)
    names = [result.name for result in evaluation.results]
    assert names[:2] == ["normal, spread 0.7", "redraw, spread 0.7"]
    assert asked[0] == ("default", quick)
    if quick:
        assert (len(names), len(asked)) == (2, 1)
    else:
        assert names[2:] == ["normal, 4 components, spread 0.4", "normal, 4 components, spread 0.7"]
        assert asked[-1] == ("fewer", "normal")


def test_curves_are_measured_at_every_second_spread_first(toy):
    (candidate, _) = toy.counted()
    spreads = (0.4, 0.55, 0.7, 0.85, 1.0, 1.2)

    def coarse(family, spreads):
        curve = [dataclasses.replace(candidate, family=family, spread=spread) for spread in spreads]
        return [candidate.spread for candidate in coarse_spreads(curve)]

    assert coarse(FAMILIES["redraw"], spreads) == [0.55, 0.85, 1.2]
    assert coarse(GAUSSIAN, spreads) == [0.55, 0.85, 1.0, 1.2]  # the one that others are compared with
    assert coarse(FAMILIES["redraw"], spreads[:4]) == [*spreads[:4]]
    assert coarse(RECONSTRUCTIONS, [None]) == [None]


def test_families_that_may_be_recommended_are_promising(toy):
    """The third family is best in fidelity alone, the fourth scores too little, and the fifth is not ours."""
    scores = {"a": (0.8, 0.8), "b": (0.8, 0.77), "c": (0.95, 0.3), "d": (0.6, 0.6)}
    results = [
        made_up_result(name, *shares, error=0.02, state=toy.state, spread=0.7)
        for name, shares in scores.items()
    ]
    results.append(made_up_result("e", 0.99, 0.99))
    assert {family.name for family in promising_families(results)} == {"a", "b", "c"}


def test_a_full_evaluation_measures_all_spreads_of_promising_families_alone(toy, monkeypatch):
    """Spreads are added for the first family, which draws like the latents, and not for the second."""

    def shifted(key, n, shift):
        return np.asarray(el.sample(key, toy.state, n, law="normal", level=3.0).latents) + shift

    def curve(name, shift):
        recipe = Recipe(lambda: toy.state, DrawSettings("normal", 3.0), D)
        return [
            Candidate(FAMILIES[name], partial(shifted, shift=shift), spread, recipe=recipe, n_features=D)
            for spread in (0.4, 0.5, 0.6, 0.7, 0.8)
        ]

    candidates = curve("redraw", 0) + curve("normal", 8)
    module = importlib.import_module("ellipsoid.evaluation.evaluate")
    monkeypatch.setattr(module, "default_candidates", lambda *_, **__: candidates)
    monkeypatch.setattr(module, "fewer_components", lambda *_: [])
    results = toy.evaluate("full", train_images=None).results
    assert [result.spread for result in results] == [0.4, 0.5, 0.6, 0.7, 0.8, 0.5, 0.7]
    assert [result.family.name for result in results] == 5 * ["redraw"] + 2 * ["normal"]


def test_all_families_have_as_many_candidates():
    """The progress bar counts the best family's candidates with fewer components before it is known."""
    assert {len(spreads_of(family.law)) for family in FAMILIES.values()} == {6}


# --- on disk ---------------------------------------------------------------------------------------


def test_an_interrupted_evaluation_goes_on_and_measures_nothing_twice(toy, tmp_path):
    counters = [toy.counted(f"candidate {i}") for i in range(4)]
    candidates = [candidate for candidate, _ in counters]

    def interrupt(key, n):
        raise KeyboardInterrupt

    stopped = [*candidates[:2], dataclasses.replace(candidates[2], draw=interrupt), candidates[3]]
    with pytest.raises(KeyboardInterrupt, match="the measurements are kept in"):
        toy.evaluate(stopped, out=tmp_path)
    first = toy.evaluate(candidates, out=tmp_path)
    before = toy.n_decoded
    again = toy.evaluate(candidates, out=tmp_path)
    assert [calls for _, calls in counters] == [[N_REAL]] * 4
    assert toy.n_decoded - before < N_REAL  # a few, to tell the decoder from others
    afresh = toy.evaluate(candidates)
    for one, two, three in zip(first.results, again.results, afresh.results, strict=True):
        assert one.measurements == two.measurements == three.measurements
        np.testing.assert_array_equal(one.examples, two.examples)
    assert first.floor.measurements == again.floor.measurements == afresh.floor.measurements


class DrawnAnewError(Exception):
    """Raised where a candidate is drawn from that was measured before."""


def must_not_be_drawn(candidate):
    def draw(key, n):
        raise DrawnAnewError

    return dataclasses.replace(candidate, draw=draw)


@pytest.fixture(scope="module")
def measured(toy, tmp_path_factory):
    """One candidate, and the folder that keeps its measurements."""
    candidate, folder = region_candidate(FAMILIES["normal"], toy.state, 0.7), tmp_path_factory.mktemp("out")
    toy.evaluate([candidate], out=folder)
    assert toy.evaluate([must_not_be_drawn(candidate)], out=folder).results[0].name == candidate.name
    return candidate, folder


@pytest.mark.parametrize(
    "change",
    [
        "state",
        "latents",
        "decode",
        "real_images",
        "real_latents",
        "features",
        "train_images",
        "n",
        "key",
        "fingerprint",
        "version",
        "scikit-learn",
    ],
)
def test_what_has_changed_is_measured_again(toy, measured, monkeypatch, change):
    candidate, folder = measured
    changes = {
        "latents": lambda: toy.latents + np.float32(1e-6) * toy.latents,
        "decode": lambda: lambda z: 255 - toy.decode(z),
        "real_images": lambda: toy.real_images[::-1].copy(),
        "real_latents": lambda: toy.real_latents[::-1].copy(),
        "features": lambda: lambda images: 2 * toy.features(images),
        "train_images": lambda: toy.train_images[1:],
        "n": lambda: N_REAL - 1,
        "key": lambda: el.key(1),
    }
    changes = {change: changes[change]()} if change in changes else {}
    if change == "state":
        candidate = region_candidate(FAMILIES["normal"], toy.state.truncate(4), 0.7)
    elif change == "fingerprint":
        candidate = dataclasses.replace(candidate, fingerprint="another")
    elif change == "version":
        monkeypatch.setattr("ellipsoid.evaluation.results.__version__", "another")
    elif change == "scikit-learn":
        monkeypatch.setattr("ellipsoid.evaluation.results.version", lambda package: f"another {package}")
    with pytest.raises(DrawnAnewError):
        toy.evaluate([must_not_be_drawn(candidate)], out=folder, **changes)


def test_candidates_that_say_nothing_are_not_kept(toy, tmp_path):
    candidate, calls = toy.counted(fingerprint="")
    for _ in range(2):
        toy.evaluate([candidate], out=tmp_path, train_images=None)
    assert calls == [N_REAL] * 2
    assert not (tmp_path / "cache").exists()
    (box,) = [c for c in baseline_candidates(toy.latents, (), slow=False) if c.name == "box"]
    toy.evaluate([box], out=tmp_path, train_images=None)
    assert len(list((tmp_path / "cache").glob("*.json"))) == 1


# --- what cannot be evaluated ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"latents": np.zeros((100, 4), np.float32)}, ValueError, "latents: expected 5 columns"),
        ({"real_images": np.zeros((20, 6, 6, 1))}, TypeError, "real_images: expected .* uint8 images"),
        ({"real_images": [1, 2]}, TypeError, "real_images: expected .* uint8 images"),
        ({"real_images": np.zeros((20, 36), np.uint8)}, ValueError, "real_images: expected shape"),
        ({"real_images": np.zeros((18, 6, 6, 1), np.uint8)}, ValueError, "real_images: expected at least 19"),
        (
            {"train_images": np.zeros((200, 8, 8, 1), np.uint8)},
            ValueError,
            r"train_images: expected shape \(n, 6, 6, 1\)",
        ),
        (
            {"train_images": np.zeros((20, 6, 6, 1), np.uint8)},
            ValueError,
            "train_images: expected at least",
        ),
        ({"real_latents": np.zeros((20, 5), np.float32)}, ValueError, "real_latents: expected 150 rows"),
        ({"real_latents": np.zeros((150, 4), np.float32)}, ValueError, "real_latents: expected 5 columns"),
        ({"n": 18}, ValueError, "n: expected at least 19"),
        ({"n": 7.5}, TypeError, "n: expected"),
        ({"key": 0}, TypeError, "key: expected"),
        ({"candidates": "fast"}, ValueError, "candidates: expected full, quick or a sequence"),
        ({"candidates": []}, ValueError, "candidates: expected candidates of different names; got none"),
        ({"candidates": [1]}, TypeError, "candidates: expected Candidates, each with a Family; got 1"),
        ({"decode": lambda z: np.zeros((len(z), 3, 3, 1), np.uint8)}, ValueError, "decode: expected images"),
        (
            {"decode": lambda z: np.zeros((len(z), 6, 6, 1), int)},
            TypeError,
            "decode: expected uint8",
        ),
        ({"features": lambda x: np.full((len(x), 3), np.nan)}, ValueError, "features: .*NaN"),
        ({"features": lambda x: np.zeros((30, 3))}, ValueError, "features: expected a row for each"),
    ],
)
def test_bad_input_is_refused_before_anything_is_drawn(toy, changes, error, message):
    candidate, calls = toy.counted(n_features=None)
    with pytest.raises(error, match=message):
        toy.evaluate(**{"candidates": [candidate]} | changes)
    assert not calls


def test_candidates_of_one_name_are_refused(toy):
    candidate, calls = toy.counted()
    with pytest.raises(ValueError, match="candidates: expected candidates of different names; got counted"):
        toy.evaluate([candidate, candidate])
    other = dataclasses.replace(candidate, family=Family("counted", "baseline"), spread=0.7)
    with pytest.raises(ValueError, match="candidates: expected families of different names; got counted, c"):
        toy.evaluate([candidate, other])
    assert not calls


@pytest.mark.parametrize(
    ("shape", "got"),
    [
        (lambda n: (n - 1, D), r"\(1, 5\)"),
        (lambda n: (n, D - 1), r"\(2, 4\)"),
        (lambda n: (1000, D), r"\(1000, 5\)"),
        (lambda n: (n * D,), r"\(10,\)"),
    ],
)
def test_latents_of_another_shape_are_refused_before_anything_is_measured(toy, shape, got):
    first, calls = toy.counted()
    wrong = Candidate(Family("wrong"), lambda key, n: np.zeros(shape(n)))
    message = rf"candidates: expected latents of shape \(2, 5\) for 2 rows of 'wrong'; got shape {got}"
    with pytest.raises(ValueError, match=message):
        toy.evaluate([first, wrong])
    assert not calls


@pytest.mark.parametrize(
    "make",
    [
        lambda latents: region_candidate(FAMILIES["uniform"], el.fit(latents), 0.7),
        lambda latents: candidates_of_mixture(latents, 10, 4)[0],
        lambda latents: baseline_candidates(latents, ())[-1],
    ],
)
def test_latents_of_another_size_are_refused_before_anything_is_fitted(toy, make):
    """Region, mixture and baseline know their numbers of columns; fitting a mixture would take long."""
    first, calls = toy.counted()
    wrong = make(np.hstack([toy.latents, toy.latents[::-1]]))
    with pytest.raises(ValueError, match=rf"candidates: .* of '{wrong.name}'; got shape \(2, 10\)"):
        toy.evaluate([first, must_not_be_drawn(wrong)])
    assert not calls


def test_a_candidate_is_probed_unless_its_shape_is_known_or_was_measured(toy, tmp_path):
    known, calls_of_known = toy.counted("known")
    unknown, calls_of_unknown = toy.counted("unknown", n_features=None)
    for _ in range(2):
        toy.evaluate([known, unknown], out=tmp_path, train_images=None)
    assert calls_of_known == [N_REAL]
    assert calls_of_unknown == [2, N_REAL]


def test_latents_whose_shape_changes_with_their_number_are_refused_at_their_turn(toy):
    late = Candidate(Family("late"), lambda key, n: np.zeros((min(n, 100), D)))
    message = r"candidates: expected latents of shape \(150, 5\) of 'late'; got shape \(100, 5\)"
    with pytest.raises(ValueError, match=message):
        toy.evaluate([late])
