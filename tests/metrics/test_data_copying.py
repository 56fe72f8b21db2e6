import numpy as np
import pytest
from brute_force import gaussian, squares
from scipy import stats
from sklearn.cluster import KMeans

from ellipsoid.metrics import data_copying_test


def literal(generated, train, unseen, n_cells):
    cells = KMeans(n_cells, n_init=1, random_state=0).fit(train)
    total, weights = 0.0, 0.0
    for cell in range(n_cells):
        of_train = train[cells.labels_ == cell]
        drawn, held_out = (rows[cells.predict(rows) == cell] for rows in (generated, unseen))
        if min(len(drawn), len(held_out)) < 20:
            continue
        near, far = (squares(rows, of_train).min(axis=1) for rows in (drawn, held_out))
        larger = np.sum(near[:, None] > far) + np.sum(near[:, None] == far) / 2
        m, n = len(drawn), len(held_out)
        score = (larger - m * n / 2) / np.sqrt(m * n * (m + n + 1) / 12)
        total, weights = total + len(held_out) * score, weights + len(held_out)
    return total / weights


def test_score_is_what_the_definition_says():
    train, unseen = gaussian(300, 4), gaussian(200, 4, 1)
    generated = np.concatenate([gaussian(150, 4, 2), train[:30]])
    result = data_copying_test(generated, train, unseen, n_cells=4)
    assert result.score.value == pytest.approx(literal(generated, train, unseen, 4))
    assert result.score.value < data_copying_test(generated[:150], train, unseen, n_cells=4).score.value
    assert result.cell_shares.sum() == pytest.approx(1)
    rounded = data_copying_test(generated, train.astype(np.float32), unseen, n_cells=4)
    assert rounded.score.value == pytest.approx(result.score.value, abs=0.5)


def p_values(seeds, copies):
    for seed in seeds:
        train, unseen, generated = np.random.default_rng(seed).normal(size=(3, 240, 3))
        generated[:copies] = train[:copies] + 0.2 * generated[:copies]
        yield data_copying_test(generated, train, unseen, n_cells=3).p_value


@pytest.mark.slow
def test_p_values_of_honest_rows_are_uniform_and_those_of_copies_are_not():
    assert stats.kstest(list(p_values(range(30), 0)), "uniform").pvalue > 1e-3
    assert stats.kstest(list(p_values(range(30), 60)), "uniform").pvalue < 1e-6


def test_errors_name_the_argument():
    rows = gaussian(100, 2)
    with pytest.raises(ValueError, match="n_cells: expected cells with at least 20 generated and unseen"):
        data_copying_test(rows, rows, rows, n_cells=50)
    with pytest.raises(ValueError, match="unseen: expected at least 20 rows"):
        data_copying_test(rows, rows, rows[:5])
