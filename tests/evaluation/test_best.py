import numpy as np
import pytest

import ellipsoid as el
from ellipsoid.evaluation import Contender, choose_shape
from ellipsoid.evaluation.best import _simplest_of_the_best
from ellipsoid.metrics import Estimate
from ellipsoid.settings import DrawSettings


def contender(name, precision, recall, *, copies=False):
    nothing = Estimate(0.05, 0.01)
    figures = Estimate(precision, 0.02), Estimate(recall, 0.02)
    return Contender(name, None, DrawSettings(), *figures, nothing, copies)


def test_the_simplest_of_the_best_is_taken():
    poor, good, better = contender("a", 0.4, 0.5), contender("b", 0.8, 0.8), contender("c", 0.805, 0.8)
    assert _simplest_of_the_best([poor, good, better]) is good
    assert _simplest_of_the_best([poor, good, contender("c", 0.9, 0.8)]).name == "c"


def test_shapes_that_copy_are_left_out_unless_all_do():
    good, copying = contender("a", 0.6, 0.6), contender("b", 0.9, 0.9, copies=True)
    assert _simplest_of_the_best([good, copying]) is good
    assert _simplest_of_the_best([copying]) is copying
    assert str(copying) == "b (precision 0.90, recall 0.90, copies training latents)"


@pytest.fixture(scope="module")
def clusters():
    """Two groups of latents, and others of the same distribution."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(800, 2)).astype(np.float32)
    rows[:, 0] += 20 * rng.integers(2, size=800)
    return rows[:600], rows[600:]


@pytest.mark.slow
def test_groups_apart_are_not_drawn_as_one(clusters):
    rows, unseen = clusters
    options = {"steps": 50, "width": 16, "depth": 1, "n_steps": 8}
    choice = choose_shape(rows, unseen, n_parts=[2], flow_options=options)
    assert [c.name for c in choice.contenders] == ["one ellipsoid", "mixture of 2", "flow"]
    assert choice.best.name == "mixture of 2"
    assert choice.n_held_out == 200
    assert choice.contenders[0].precision.value < choice.best.precision.value - 0.1
    assert "one ellipsoid (precision" in choice.reason
    draws = el.sample(el.key(0), choice.shape, 500, **choice.settings.options)
    assert not np.mean(np.abs(np.asarray(draws.latents[:, 0]) - 10) < 5)


@pytest.mark.parametrize(
    ("holdout", "message"),
    [
        (1.0, "holdout: expected a share below 1"),
        (0.0, "holdout: expected a finite number above 0"),
        (0.01, r"latents: expected at least 2000 rows|latents: expected .*2000"),
        (np.zeros((30, 3)), "holdout"),
    ],
)
def test_what_can_not_judge_is_refused_before_anything_is_fitted(clusters, holdout, message, monkeypatch):
    monkeypatch.setattr("ellipsoid.evaluation.best.fit", None)
    with pytest.raises(ValueError, match=message):
        choose_shape(clusters[0], holdout)
