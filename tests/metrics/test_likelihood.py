import numpy as np
import pytest
from brute_force import gaussian, squares
from scipy.optimize import minimize
from scipy.special import logsumexp

from ellipsoid.metrics import feature_likelihood_divergence, likelihood


def log_likelihoods(rows, centres, log_variances):
    """Give the log-likelihood of each row under Gaussians on the centres, and a last one around 0."""
    d = rows.shape[1]
    weights = np.full(len(centres), -np.log(len(centres)))
    if len(log_variances) > len(centres):
        centres, weights = np.concatenate([centres, np.zeros((1, d))]), np.append(weights, 0)
    densities = -squares(rows, centres) / (2 * np.exp(log_variances)) - d / 2 * log_variances
    return logsumexp(weights + densities, axis=1) - d / 2 * np.log(2 * np.pi)


@pytest.mark.slow
def test_an_optimiser_finds_no_better_variances_nearby(monkeypatch):
    monkeypatch.setattr(likelihood, "_PAIRS", 500)
    monkeypatch.setattr(likelihood, "_GAIN", 1e-9)
    monkeypatch.setattr(likelihood, "_MOST_PASSES", 1000)
    train, centres = gaussian(60, 3), gaussian(12, 3, 1)
    train -= train.mean(axis=0)

    def moved_by(variances):
        start = np.log(np.append(variances, train.var()))
        best = minimize(lambda logs: -log_likelihoods(train, centres, logs).mean(), start)
        return np.abs(best.x - start)[:-1].max()

    assert moved_by(likelihood._fit_variances(centres, train, 500 // 12, "", False)) < 0.02
    assert moved_by(squares(centres, train).min(axis=1) / 3) > 1  # where the fit starts


def test_divergence_is_what_the_definition_says():
    train, unseen, generated = gaussian(81, 3), gaussian(50, 3, 1), gaussian(60, 3, 2, 1.2)
    mean, deviation = unseen.mean(axis=0), unseen.std(axis=0)
    shuffled = train[np.random.default_rng(0).permutation(81)]
    scaled, held_out, drawn = ((rows - mean) / deviation for rows in (shuffled, unseen, generated[:40]))
    fits = [
        log_likelihoods(held_out, c, np.log(likelihood._fit_variances(c, rows, 50, "", False)))
        for c, rows in ((scaled[:40], scaled[40:]), (drawn, scaled))
    ]
    divergence = feature_likelihood_divergence(generated, train, unseen)
    assert divergence.value == pytest.approx(100 / 3 * np.mean(fits[0] - fits[1]))


@pytest.mark.slow
def test_divergence_is_0_for_honest_rows_and_more_for_poor_few_and_copied_ones():
    def divergences(change):
        for seed in range(20):
            train, unseen, honest = np.random.default_rng(seed).normal(size=(3, 300, 8))
            yield feature_likelihood_divergence(change(honest, train), train, unseen)

    honest = np.array(list(divergences(lambda rows, train: rows)))
    spread = honest[:, 0].std(ddof=1)
    assert abs(honest[:, 0].mean()) < 1
    assert 0.7 < honest[:, 1].mean() / spread < 2
    for change in (
        lambda rows, train: 1.3 * rows,
        lambda rows, train: np.where(rows[:, :1] > 0, rows, rows * [-1, 1, 1, 1, 1, 1, 1, 1]),
        lambda rows, train: train + 0.05 * rows,
    ):
        assert np.mean([each.value for each in divergences(change)]) > honest[:, 0].mean() + 3


def test_errors_name_the_argument():
    rows = gaussian(20, 2)
    with pytest.raises(ValueError, match="unseen: expected columns that vary; got 1 that do not"):
        feature_likelihood_divergence(rows, rows, rows * [1, 0])
    with pytest.raises(ValueError, match="train: expected at least 4 rows"):
        feature_likelihood_divergence(rows, rows[:3], rows)
