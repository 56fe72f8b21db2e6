"""Dependence against its definition, and bounds that independent columns keep."""

import math

import numpy as np
import pytest
from diagnostic_latents import gaussian, generator

from ellipsoid import diagnostics as dg


def test_distance_correlation_is_that_of_its_definition():
    n, values = 50, gaussian(50, 3).astype(np.float64)
    values[:, 1] = values[:, 0] ** 2 + 0.3 * values[:, 1]
    centred = []
    for column in values.T:
        a = np.abs(column[:, None] - column[None, :])
        a = (
            a
            - a.sum(axis=0)[None, :] / (n - 2)
            - a.sum(axis=1)[:, None] / (n - 2)
            + a.sum() / ((n - 1) * (n - 2))
        )
        centred.append(np.where(np.eye(n, dtype=bool), 0, a))
    products = np.array([[np.sum(a * b) for a in centred] for b in centred])
    expected = products / np.sqrt(np.outer(products.diagonal(), products.diagonal()))
    np.testing.assert_allclose(dg.distance_correlation(values), expected, atol=2e-5)


@pytest.mark.parametrize("r", [0.0, 0.6])
def test_distance_correlation_of_a_gaussian_pair(r):
    # Szekely, Rizzo and Bakirov (2007), theorem 7.
    exact = (r * math.asin(r) + math.sqrt(1 - r * r) - r * math.asin(r / 2) - math.sqrt(4 - r * r) + 1) / (
        1 + math.pi / 3 - math.sqrt(3)
    )
    estimates = []
    for seed in range(20):
        x, y = gaussian(1_000, 2, seed).T
        pair = np.stack([x, r * x + math.sqrt(1 - r * r) * y], axis=1)
        estimates.append(dg.distance_correlation(pair)[0, 1])
    assert abs(np.mean(estimates) - exact) < 5 * np.std(estimates) / math.sqrt(20)


def test_distance_correlation_in_blocks():
    values = gaussian(1_003, 4)
    whole = dg.distance_correlation(values)
    many = np.concatenate([values, gaussian(1_003, 60, 1)], axis=1)  # blocks of 261 rows
    np.testing.assert_allclose(dg.distance_correlation(many)[:4, :4], whole, atol=2e-5)


def test_dependence_bounds_hold_for_independent_columns():
    squares = distance = 0
    off = ~np.eye(20, dtype=bool)
    for seed in range(100):
        measured = dg.dependence(generator(seed).standard_t(3, size=(300, 20)))
        squares += np.abs(measured.squares[off]).max() > measured.squares_bound
        distance += measured.distance[off].max() > measured.distance_bound
    # 5 of 100 are allowed; the bound on distance correlations is a conservative one.
    assert squares <= 5 + 5 * math.sqrt(5)
    assert distance <= 5


def test_dependence_finds_a_curve_and_a_common_scale():
    values = gaussian(3_000, 4)
    values[:, 2] = (values[:, 0] ** 2 - 1) / math.sqrt(2) + 0.4 * values[:, 2]
    measured = dg.dependence(values)
    assert measured.distance[0, 2] > 3 * measured.distance_bound
    assert measured.distance[0, 1] < measured.distance_bound
    wide = gaussian(3_000, 4) * np.exp(0.3 * gaussian(3_000, 1, 1))
    assert dg.dependence(wide).squares[0, 1] > 2 * dg.dependence(wide).squares_bound
