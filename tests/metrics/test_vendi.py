import numpy as np
import pytest
from brute_force import gaussian

from ellipsoid.metrics import vendi, vendi_score


def literal(rows):
    units = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    shares = np.linalg.eigvalsh(units @ units.T / len(rows))
    shares = shares[shares > 1e-14]
    return np.exp(-np.sum(shares * np.log(shares)))


@pytest.mark.parametrize("columns", [6, 300])
def test_vendi_score_is_that_of_the_kernel(columns, monkeypatch):
    monkeypatch.setattr(vendi, "BLOCK", 97)
    rows = gaussian(250, columns, shift=0.5)
    score = vendi_score(rows)
    assert score.value == pytest.approx(literal(rows), rel=1e-9)
    assert score.value != pytest.approx(literal(rows - rows.mean(axis=0)), rel=0.01)
    without = [literal(np.delete(rows, i, 0)) for i in range(0, 250, 10)]
    assert score.error == pytest.approx(np.sqrt(249 * np.var(without)), rel=0.6)


def test_the_error_is_the_spread_over_samples():
    scores = np.array([vendi_score(gaussian(400, 6, seed, shift=0.5)) for seed in range(100)])
    spread = np.std(scores[:, 0], ddof=1)
    assert abs(scores[:, 1].mean() / spread - 1) < 5 / np.sqrt(200)


def test_copies_count_once_and_right_angles_each():
    assert vendi_score(np.tile([[1e200, -2e200, 0]], (5, 1))).value == pytest.approx(1)
    assert vendi_score(np.repeat(np.eye(4), 3, axis=0)).value == pytest.approx(4)
    with pytest.raises(ValueError, match="rows: expected none of zeros; got 2"):
        vendi_score(np.eye(3)[[0, 1, 2, 0]] * [[1], [0], [1], [0]])
