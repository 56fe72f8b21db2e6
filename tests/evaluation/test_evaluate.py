import csv
import dataclasses
import json
import math

import numpy as np
import pytest

import ellipsoid as el
from ellipsoid.archive import digest
from ellipsoid.evaluation.candidates import (
    FAMILIES,
    RECONSTRUCTIONS,
    Candidate,
    baseline_settings,
    default_settings,
    fewer_components,
    level_of_spread,
    mixture_settings,
    region_setting,
    spreads_of,
)
from ellipsoid.evaluation.evaluate import Measurements, _best, evaluate, table_of, write_evaluation
from ellipsoid.metrics import Estimate

N_TRAIN, N_REAL, D = 600, 150, 5


class Toy:
    """Latents of five dimensions, a smooth map from them to images of 6 x 6 pixels, and features of these."""

    def __init__(self):
        rng = np.random.default_rng(0)
        z = (rng.normal(size=(N_TRAIN + N_REAL, D)) @ rng.normal(size=(D, D)) + 2).astype(np.float32)
        self.map = rng.normal(size=(D, 36)).astype(np.float32)
        self.n_decoded = 0
        images = self.decode(z)
        self.latents, self.real_latents = z[:N_TRAIN], z[N_TRAIN:]
        self.train_images, self.real_images = images[:N_TRAIN], images[N_TRAIN:]
        self.state = el.fit(self.latents)

    def decode(self, z):
        self.n_decoded += len(z)
        return np.rint(255 / (1 + np.exp(-0.3 * (z - 2) @ self.map))).astype(np.uint8).reshape(-1, 6, 6, 1)

    @staticmethod
    def features(images):
        return images.reshape(len(images), -1)[:, ::3] / np.float32(255)

    def evaluate(self, settings, **changes):
        arguments = {
            "latents": self.latents,
            "state": self.state,
            "decode": self.decode,
            "real_images": self.real_images,
            "features": self.features,
            "key": el.key(0),
            "train_images": self.train_images,
            "real_latents": self.real_latents,
            "progress": False,
        }
        return evaluate(**arguments | changes, settings=settings)


@pytest.fixture(scope="module")
def toy():
    return Toy()


@pytest.fixture(scope="module")
def evaluation(toy):
    return toy.evaluate("quick")


def scores_of(evaluation):
    return {result.name: result.scores for result in evaluation.results}


def counted(toy, name="counted"):
    """A setting that counts how often it was drawn from."""
    calls = []

    def draw(key, n):
        calls.append(n)
        return el.sample(key, toy.state, n, law="normal", level=3.0).latents

    return Candidate(name, draw, fingerprint="normal 3"), calls


# --- settings --------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
def test_draws_have_the_spread_that_a_setting_says(make_state, family):
    law, region = FAMILIES[family]
    k, n = 20, 4_000
    state = make_state(k)
    for spread in (0.5, 0.9):
        setting = region_setting(family, state, law, region, spread)
        scores = np.asarray(state.project(setting.draw(el.key(1), n)))
        found = float(np.sqrt(np.mean(np.square(scores / np.asarray(state.scale)))))
        # The level of the pairwise normal law is that of a cube of the same variance.
        allowed = 0.03 if family == "normal" else 0.005
        assert abs(found / spread - 1) < allowed + 4 / math.sqrt(2 * n * k)


def test_a_level_without_the_regions_own_scale_has_another_spread(make_state):
    state = make_state(20)
    box = level_of_spread(0.7, 20, "normal", "box")
    draws = el.sample(el.key(1), state, 4_000, law="normal", level=box).scores
    assert np.std(np.asarray(draws) / np.asarray(state.scale)) < 0.6


@pytest.mark.parametrize(("spread", "law"), [(0.0, "uniform"), (1.0, "normal"), (float("nan"), "normal")])
def test_a_spread_that_no_level_has_is_refused(spread, law):
    with pytest.raises(ValueError, match="spread: expected"):
        level_of_spread(spread, 10, law, "pairwise")


def test_all_laws_regions_and_baselines_are_compared_by_default(toy):
    settings = default_settings(toy.latents, toy.state)
    mixtures = [s for s in settings if s.family.startswith("mixture of")]
    found = {(s.recipe.law, s.recipe.region) for s in settings if s.recipe and s not in mixtures}
    assert found == set(FAMILIES.values())
    assert len(settings) == len({setting.name for setting in settings}) == 8 * 6 + len(mixtures) + 6 + 7
    quick = default_settings(toy.latents, toy.state, quick=True)
    assert {setting.name for setting in quick} < {setting.name for setting in settings}
    assert [s.spread for s in quick if s.family == "Gaussian"] == [0.55, 0.7, 0.85, 1.0]


def test_mixtures_are_fitted_once_and_drawn_from(toy):
    settings = mixture_settings(toy.latents, toy.state)
    assert [setting.spread for setting in settings] == list(spreads_of("normal"))  # 10 parts; 600 latents
    first, second = settings[0].recipe, settings[1].recipe
    assert first.state() is second.state()
    assert isinstance(first.state(), el.Mixture)
    assert first.state().n_components == first.n_components
    drawn = el.sample(el.key(1), first.state(), 50, law="normal", level=first.level).latents
    np.testing.assert_array_equal(settings[0].draw(el.key(1), 50), drawn)
    assert not mixture_settings(toy.latents[:249], toy.state)  # 25 rows a part at least


def test_fewer_components_are_those_that_there_are(make_state):
    state = make_state(60)
    families = {setting.family for setting in fewer_components(state, "uniform")}
    share = np.cumsum(state.explained_variance_ratio)
    k = int(np.argmax(share >= 0.95 * share[-1])) + 1
    assert families == {"uniform, 50 components", f"uniform, {k} components"}
    assert {s.recipe.n_components for s in fewer_components(state, "uniform") if s.recipe} == {50, k}


# --- what is measured ------------------------------------------------------------------------------


def test_settings_come_out_in_their_order(evaluation):
    scores = scores_of(evaluation)
    good, bad = scores[RECONSTRUCTIONS], scores["box"]
    for name in ("precision", "density", "coverage"):
        assert getattr(good, name).value > getattr(bad, name).value + 4 * getattr(bad, name).error
    for name in ("frechet", "kernel", "wasserstein"):
        assert getattr(good, name).value < getattr(bad, name).value
    narrow, wide = scores["uniform, spread 0.55"], scores["uniform, spread 1"]
    assert narrow.precision.value > wide.precision.value
    assert narrow.recall.value < wide.recall.value
    assert evaluation.floor.scores.f_score() > scores["box"].f_score()
    assert (evaluation.n, evaluation.n_real) == (N_REAL, N_REAL)


def test_copies_are_found_and_draws_are_none(toy, evaluation):
    scores = scores_of(evaluation)
    # Rounded to 8 bits, training latents decode to their images.
    assert scores[RECONSTRUCTIONS].copies.value == 1
    assert scores[RECONSTRUCTIONS].copies_p_value < 1e-12
    assert scores["normal, spread 0.95"].copies_p_value > 1e-3
    alone = toy.evaluate([counted(toy)[0]], real_latents=None).results[0].scores
    assert alone.copies is alone.copies_p_value is None


def test_f_score():
    scores = Measurements(Estimate(0.8, 0.02), Estimate(0.4, 0.03), *[Estimate(0, 0)] * 5)
    assert scores.f_score().value == pytest.approx(2 * 0.8 * 0.4 / 1.2)
    assert scores.f_score(0.25).value == pytest.approx(1 / (1 / 17 * 1 / 0.4 + 16 / 17 * 1 / 0.8))
    rng = np.random.default_rng(0)
    p, r = rng.normal(0.8, 0.02, 100_000), rng.normal(0.4, 0.03, 100_000)
    expected = np.std(17 * p * r / (16 * p + r))
    assert scores.f_score(4).error == pytest.approx(expected, rel=0.02)
    assert Measurements(Estimate(0, 0.01), Estimate(0, 0.01), *[Estimate(0, 0)] * 5).f_score().value == 0


def test_a_space_of_its_own_name(toy):
    class Inception:
        name, note, comparable = "inception", "2,048 columns.", True

        def __call__(self, images):
            return 100 * toy.features(images)

    setting = counted(toy)[0]
    named = toy.evaluate([setting], features=Inception())
    assert (named.features, named.comparable) == ("inception", True)
    plain = toy.evaluate([setting])
    assert not plain.comparable
    assert "cannot be held against" in plain.note
    # Only Inception's features are taken as they are for the kernel, which has a scale.
    assert named.results[0].scores.kernel.value > 100 * plain.results[0].scores.kernel.value


def test_floats_are_rounded(toy):
    setting = counted(toy)[0]
    floats = toy.evaluate([setting], decode=lambda z: toy.decode(z) / np.float32(255))
    assert floats.results[0].scores == toy.evaluate([setting]).results[0].scores


# --- on disk ---------------------------------------------------------------------------------------


def test_an_interrupted_evaluation_goes_on_and_computes_nothing_twice(toy, tmp_path):
    counters = [counted(toy, f"setting {i}") for i in range(4)]
    settings = [setting for setting, _ in counters]

    def interrupt(key, n):
        raise KeyboardInterrupt

    stopped = [*settings[:2], dataclasses.replace(settings[2], draw=interrupt), settings[3]]
    with pytest.raises(KeyboardInterrupt, match="what was measured is kept in"):
        toy.evaluate(stopped, out=tmp_path)
    first = toy.evaluate(settings, out=tmp_path)
    before = toy.n_decoded
    again = toy.evaluate(settings, out=tmp_path)
    assert [len(calls) for _, calls in counters] == [1, 1, 1, 1]
    assert toy.n_decoded - before < N_REAL  # a few, to tell the decoder from others
    afresh = toy.evaluate(settings)
    for one, two, three in zip(first.results, again.results, afresh.results, strict=True):
        assert one.scores == two.scores == three.scores
        np.testing.assert_array_equal(one.examples, two.examples)
    assert first.floor.scores == again.floor.scores == afresh.floor.scores


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
def test_what_has_changed_is_computed_again(toy, tmp_path, monkeypatch, change):
    setting, calls = counted(toy)
    setting = region_setting("uniform", toy.state, "uniform", "pairwise", 0.7)

    def follow(setting):
        def draw(key, n):
            calls.append(n)
            return setting.draw(key, n)

        return dataclasses.replace(setting, draw=draw)

    toy.evaluate([follow(setting)], out=tmp_path)
    toy.evaluate([follow(setting)], out=tmp_path)
    assert len(calls) == 1
    other = {
        "latents": toy.latents + np.float32(1e-6) * toy.latents,
        "decode": lambda z: 255 - toy.decode(z),
        "real_images": toy.real_images[::-1].copy(),
        "real_latents": toy.real_latents[::-1].copy(),
        "features": lambda images: 2 * toy.features(images),
        "train_images": toy.train_images[1:],
        "n": N_REAL - 1,
        "key": el.key(1),
    }
    if change == "state":
        setting = region_setting("uniform", toy.state.truncate(4), "uniform", "pairwise", 0.7)
    elif change == "fingerprint":
        setting = dataclasses.replace(setting, fingerprint="another")
    elif change == "version":
        monkeypatch.setattr("ellipsoid.evaluation.evaluate.__version__", "another")
    elif change == "scikit-learn":
        monkeypatch.setattr("ellipsoid.evaluation.evaluate.version", lambda package: f"another {package}")
    changes = {change: other[change]} if change in other else {}
    toy.evaluate([follow(setting)], out=tmp_path, **changes)
    assert len(calls) == 2


def test_settings_that_say_nothing_are_not_kept(toy, tmp_path):
    setting, calls = counted(toy)
    for _ in range(2):
        toy.evaluate([dataclasses.replace(setting, fingerprint="")], out=tmp_path, train_images=None)
    assert len(calls) == 2
    assert not (tmp_path / "cache").exists()
    (box,) = [s for s in baseline_settings(toy.latents, (), slow=False) if s.family == "box"]
    toy.evaluate([box], out=tmp_path, train_images=None)
    assert len(list((tmp_path / "cache").glob("*.json"))) == 1


def test_damaged_results_are_computed_again(toy, tmp_path):
    setting, calls = counted(toy)
    good = toy.evaluate([setting], out=tmp_path, train_images=None)
    (record,), (examples,) = (tmp_path / "cache").glob("*.json"), (tmp_path / "cache").glob("*.npy")
    for path, content in (
        (record, b"{"),
        (record, b"[]"),
        (record, record.read_bytes().replace(b'"recall"', b'"recoil"')),
        (examples, b""),
        (examples, examples.read_bytes()[:-1]),
    ):
        path.write_bytes(content)
        again = toy.evaluate([setting], out=tmp_path, train_images=None)
        assert again.results[0].scores == good.results[0].scores
    assert len(calls) == 6


def test_tables_and_figures(toy, evaluation, tmp_path):
    written = write_evaluation(evaluation, tmp_path)
    assert {path.name for path in written} == {path.name for path in tmp_path.iterdir()}
    assert {"table.md", "table.csv", "evaluation.json", "fidelity_diversity.svg", "equal_precision.png"} <= {
        path.name for path in written
    }
    with open(tmp_path / "table.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    content = json.loads((tmp_path / "evaluation.json").read_text())
    assert len(rows) == len(content["results"]) == len(evaluation.results) + 1
    for row, numbers, result in zip(rows, content["results"], evaluation.results, strict=False):
        assert row["setting"] == numbers["setting"] == result.name
        assert float(row["recall"]) == numbers["recall"] == result.scores.recall.value
        assert float(row["frechet_error"]) == numbers["frechet_error"] == result.scores.frechet.error
    table = (tmp_path / "table.md").read_text()
    assert len(table.splitlines()) == len(rows) + 4
    assert evaluation.note in table
    assert "±" in table
    assert content["note"] == evaluation.note
    assert content["state_digest"] == digest(toy.state)
    for line, result in zip(table_of(evaluation), evaluation.results, strict=False):
        assert line["setting"] == result.name
        assert line["recall"].startswith(f"{result.scores.recall.value:.3f} ± ")
        assert (line["level"] == "") == (result.recipe is None)


def test_any_settings_can_be_written(toy, tmp_path):
    """One baseline, without training images: no curves, no floor, none of ours."""
    settings = [s for s in baseline_settings(toy.latents, (), slow=False) if s.family == "box"]
    evaluation = toy.evaluate(settings, train_images=None, real_latents=None)
    assert evaluation.floor is None
    assert write_evaluation(evaluation, tmp_path)


def test_curves_of_lesser_regions_alone_are_drawn(toy, tmp_path):
    families = ("uniform, box", "normal, ellipsoid")
    settings = [
        region_setting(family, toy.state, *FAMILIES[family], spread)
        for family in families
        for spread in (0.5, 0.9)
    ]
    evaluation = toy.evaluate(settings, train_images=None, real_latents=None)
    assert {tmp_path / "fidelity_diversity.svg", tmp_path / "regions.svg"} <= set(
        write_evaluation(evaluation, tmp_path)
    )
    drawn = (tmp_path / "fidelity_diversity.svg").read_text()
    assert all(family in drawn for family in families)


def test_the_gaussian_is_drawn_however_many_curves_are_better(evaluation):
    gaussian = [result for result in evaluation.results if result.name == "box"]
    better = [result for result in evaluation.results if result.family == "uniform"]
    assert better[0].scores.f_score() > gaussian[0].scores.f_score()
    families = {f"curve {i}": better for i in range(9)} | {"Gaussian": gaussian}
    assert list(_best(families)) == [*(f"curve {i}" for i in range(7)), "Gaussian"]


# --- what cannot be evaluated ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"latents": np.zeros((100, 4), np.float32)}, ValueError, "latents: expected 5 columns"),
        ({"real_images": np.zeros((20, 6, 6, 1))}, TypeError, "real_images: expected uint8 images"),
        ({"real_images": [1, 2]}, TypeError, "real_images: expected uint8 images"),
        ({"real_images": np.zeros((18, 6, 6, 1), np.uint8)}, ValueError, "real_images: expected at least 19"),
        ({"train_images": np.zeros((200, 8, 8, 1), np.uint8)}, ValueError, "train_images: expected images"),
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
        ({"settings": "fast"}, ValueError, "settings: expected full, quick or a sequence"),
        ({"settings": []}, ValueError, "settings: expected one or more of different names; got none"),
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
    setting, calls = counted(toy)
    with pytest.raises(error, match=message):
        toy.evaluate(**{"settings": [setting]} | changes)
    assert not calls


def test_settings_of_one_name_are_refused(toy):
    setting, calls = counted(toy)
    with pytest.raises(ValueError, match="settings: expected one or more of different names; got counted"):
        toy.evaluate([setting, setting])
    with pytest.raises(ValueError, match=r"settings: expected latents \(150, 5\) of 'short'"):
        toy.evaluate([Candidate("short", lambda key, n: np.zeros((n - 1, D)))])
    assert not calls
