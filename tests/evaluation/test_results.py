"""Measurements, and where they are kept."""

import numpy as np
import pytest
from evaluation_toys import made_up_evaluation, made_up_result, measurements

from ellipsoid.evaluation import TRAINING_IMAGES
from ellipsoid.evaluation.results import Measurements, ResultCache
from ellipsoid.metrics import Estimate


def test_f_score():
    numbers = Measurements(Estimate(0.8, 0.02), Estimate(0.4, 0.03), *[Estimate(0, 0)] * 5)
    assert numbers.f_score().value == pytest.approx(2 * 0.8 * 0.4 / 1.2)
    assert numbers.f_score(0.25).value == pytest.approx(1 / (1 / 17 * 1 / 0.4 + 16 / 17 * 1 / 0.8))
    rng = np.random.default_rng(0)
    p, r = rng.normal(0.8, 0.02, 100_000), rng.normal(0.4, 0.03, 100_000)
    expected = np.std(17 * p * r / (16 * p + r))
    assert numbers.f_score(4).error == pytest.approx(expected, rel=0.02)


def test_the_f_score_of_nothing_is_zero_and_as_uncertain_as_what_it_is_made_of():
    assert measurements(0, 0, error=0.01).f_score() == Estimate(0, pytest.approx(0.01 * 2**0.5))
    assert measurements(0.9, 0, error=0.01).f_score() == Estimate(0, pytest.approx(0.02))


@pytest.mark.parametrize(("p_value", "is_copying"), [(None, False), (0.02, False), (0.005, True)])
def test_copies_are_those_that_are_rarer_than_one_in_a_hundred(p_value, is_copying):
    assert measurements(0.5, 0.5, copies_p_value=p_value).is_copying == is_copying


def test_an_evaluation_is_shown_on_one_screen():
    results = [made_up_result("uniform", 0.5, p, spread=p) for p in (0.4, 0.7, 0.55)]
    floor = made_up_result(TRAINING_IMAGES, 0.95, 0.96)
    shown = repr(made_up_evaluation("digest", results, floor))
    assert shown.splitlines() == [
        "Evaluation of 3 candidates in the features 'pixels'",
        "  images: 500 generated for each candidate, against 500 unseen ones",
        "  best: uniform, spread 0.7, F-score 0.5833 ± 0, precision 0.5 ± 0, recall 0.7 ± 0",
        "  floor: training images, F-score 0.955 ± 0, precision 0.95 ± 0, recall 0.96 ± 0",
    ]
    assert "floor" not in repr(made_up_evaluation("digest", results))
    assert repr(made_up_evaluation("digest", [])).startswith("Evaluation of 0 candidates")


# --- on disk ---------------------------------------------------------------------------------------

EXAMPLES = np.arange(12, dtype=np.uint8).reshape(1, 2, 2, 3)


class Measure:
    """Measurements that count how often they were made."""

    def __init__(self):
        self.count = 0

    def __call__(self):
        self.count += 1
        return measurements(0.5, 0.25, copies_p_value=0.125), EXAMPLES


def test_what_is_kept_is_read(tmp_path):
    measure, inputs = Measure(), [np.arange(3)]
    first = ResultCache(tmp_path, inputs).get("uniform\nlevel 3", measure)
    numbers, examples = ResultCache(tmp_path, inputs).get("uniform\nlevel 3", measure)
    assert measure.count == 1
    assert numbers == first[0]
    np.testing.assert_array_equal(examples, EXAMPLES)
    assert ResultCache(tmp_path, inputs).read("uniform\nlevel 2") is None


def test_names_and_content_of_files_are_what_they_were(tmp_path, monkeypatch):
    """So results of earlier versions are found, under their version numbers."""
    monkeypatch.setattr("ellipsoid.evaluation.results.__version__", "0.1.0")
    monkeypatch.setattr("ellipsoid.evaluation.results.version", lambda package: f"1 of {package}")
    ResultCache(tmp_path, [np.arange(3, dtype=np.int32)]).get("uniform\nlevel 3", Measure())
    assert {path.name for path in tmp_path.iterdir()} == {
        "9d2c854224c622842a49d9660b923338.json",
        "9d2c854224c622842a49d9660b923338.npy",
    }
    record = (tmp_path / "9d2c854224c622842a49d9660b923338.json").read_text()
    for words in ('"format": "ellipsoid.evaluation"', '"format_version": 2', '"what": "uniform\\nlevel 3"'):
        assert words in record
    assert '"scores": {\n  "precision": {\n   "value": 0.5,\n   "error": 0.0\n  }' in record
    assert '"copies_p_value": 0.125' in record


@pytest.mark.parametrize("change", ["key", "inputs", "version", "scikit-learn"])
def test_what_has_changed_is_not_read(tmp_path, monkeypatch, change):
    key, inputs, measure = "uniform", [np.arange(3)], Measure()
    ResultCache(tmp_path, inputs).get(key, measure)
    if change == "key":
        key = "normal"
    elif change == "inputs":
        inputs = [np.arange(3) + 1]
    elif change == "version":
        monkeypatch.setattr("ellipsoid.evaluation.results.__version__", "another")
    else:
        monkeypatch.setattr("ellipsoid.evaluation.results.version", lambda package: f"another {package}")
    ResultCache(tmp_path, inputs).get(key, measure)
    assert measure.count == 2


@pytest.mark.parametrize(("folder", "key"), [(True, None), (False, "uniform")])
def test_without_a_folder_or_a_key_nothing_is_kept(tmp_path, folder, key):
    measure = Measure()
    cache = ResultCache(tmp_path if folder else None, [np.arange(3)])
    for _ in range(2):
        cache.get(key, measure)
    assert measure.count == 2
    assert cache.read(key) is None
    assert not list(tmp_path.iterdir())


def test_damaged_results_are_measured_again(tmp_path):
    measure, cache = Measure(), ResultCache(tmp_path, [np.arange(3)])
    cache.get("uniform", measure)
    (record,), (examples,) = tmp_path.glob("*.json"), tmp_path.glob("*.npy")
    damaged = (
        (record, b"{"),
        (record, b"[]"),
        (record, record.read_bytes().replace(b'"recall"', b'"recoil"')),
        (examples, b""),
        (examples, examples.read_bytes()[:-1]),
    )
    for path, content in damaged:
        path.write_bytes(content)
        assert cache.read("uniform") is None
        numbers, _ = cache.get("uniform", measure)
        assert numbers == measurements(0.5, 0.25, copies_p_value=0.125)
    assert measure.count == 1 + len(damaged)
