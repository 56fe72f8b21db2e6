"""Ellipses of pairs, and draws beside data, against known truths."""

import math

import numpy as np
import pytest
from diagnostic_latents import gaussian, generator
from scipy import stats

from ellipsoid import diagnostics as dg


def covariance_of(std, r):
    return np.array([[std[0] ** 2, r * std[0] * std[1]], [r * std[0] * std[1], std[1] ** 2]])


@pytest.mark.parametrize("r", [-0.95, 0.0, 0.3, 0.99])
def test_both_constructions_give_the_ellipse(r):
    covariance = covariance_of((3.0, 0.5), r)
    by_axes = dg.ellipse_outline(covariance, 2.2)
    by_correlation = dg.ellipse_outline_by_correlation(covariance, 2.2)
    for outline in (by_axes, by_correlation):
        squares = np.einsum("ni,ij,nj->n", outline, np.linalg.inv(covariance), outline)
        np.testing.assert_allclose(np.sqrt(squares), 2.2, rtol=1e-9)
        # All around, and not a part of it.
        np.testing.assert_allclose(np.abs(outline).max(axis=0), 2.2 * np.array([3, 0.5]), rtol=1e-3)
    wrong = dg.ellipse_outline_by_correlation(covariance_of((3.0, 0.5), -r / 2 - 0.1), 2.2)
    squares = np.einsum("ni,ij,nj->n", wrong, np.linalg.inv(covariance), wrong)
    assert np.abs(np.sqrt(squares) - 2.2).max() > 0.05


def test_pair_angles():
    turn = np.radians(30)
    axes = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    covariance = axes.T @ np.diag([9.0, 1.0]) @ axes
    angles = dg.pair_angles(covariance)
    assert angles[0, 1] == pytest.approx(30)
    assert angles[1, 0] == pytest.approx(60)
    assert dg.pair_angles(np.diag([1.0, 9.0]))[0, 1] == 90


def test_strongest_pairs():
    matrix = np.array([[1, 0.1, -0.9], [0.1, 1, 0.5], [-0.9, 0.5, 1]])
    assert dg.strongest_pairs(matrix, 2) == [(0, 2), (1, 2)]


@pytest.mark.parametrize(("n", "k"), [(37, 2), (64, 16), (101, 19)])
def test_calibration_counts_what_a_loop_counts(n, k):
    values = gaussian(n, k)
    spread = generator(2).normal(size=(k, 2 * k))
    covariance = spread @ spread.T / k
    measured = dg.calibration(values, covariance, levels=(0.7, 1.9))
    for i in range(k):
        for j in range(i + 1, k):
            inverse = np.linalg.inv(covariance[np.ix_((i, j), (i, j))])
            squares = np.einsum("ni,ij,nj->n", values[:, (i, j)], inverse, values[:, (i, j)])
            for level, observed in zip((0.7, 1.9), measured.observed, strict=True):
                assert observed[i, j] == observed[j, i] == pytest.approx(np.mean(squares <= level**2))


def test_calibration_of_a_gaussian_and_of_others():
    k, identity = 20, np.eye(20)
    measured = dg.calibration(gaussian(50_000, k), identity)
    assert measured.n == dg.PAIR_ROWS
    np.testing.assert_allclose(measured.expected, 1 - np.exp(-(measured.levels**2) / 2))
    # The pairs share components, so the mean of all shares varies a little less than one share.
    error = np.sqrt(measured.expected * (1 - measured.expected) / measured.n)
    assert (np.abs(measured.of_pairs.mean(axis=1) - measured.expected) < 4 * error).all()
    assert (np.abs(measured.of_pairs - measured.expected[:, None]) < 5 * error[:, None]).all()
    assert measured.share_within(0.02) == 1
    assert dg.calibration(gaussian(50_000, k) * 1.1, identity).share_within(0.02) == 0
    assert dg.calibration(gaussian(300, k), identity).share_within(0.02) > 0.9  # few rows are no misfit


def test_half_maximum_of_a_gaussian_is_an_ellipse():
    covariance = covariance_of((3.0, 1.0), 0.6)
    points = gaussian(100_000, 2) @ np.linalg.cholesky(covariance).T
    measured = dg.half_maximum(points + np.array([5.0, -3.0]))
    direction = np.stack([np.cos(measured.angles), np.sin(measured.angles)], axis=1)
    squares = np.einsum("ni,ij,nj->n", direction, np.linalg.inv(covariance), direction)
    np.testing.assert_allclose(measured.radii * np.sqrt(squares), math.sqrt(2 * math.log(2)), rtol=0.03)
    variances = np.linalg.eigvalsh(covariance)
    assert measured.ratio == pytest.approx(math.sqrt(variances[0] / variances[1]), rel=0.02)
    assert measured.ellipticity_error < 0.01


def test_half_maximum_tells_a_box_and_two_clusters_from_a_gaussian():
    noise = max(dg.half_maximum(gaussian(2_000, 2, seed)).ellipticity_error for seed in range(10))
    assert noise < 0.03
    apart = gaussian(2_000, 2)
    apart[:, 0] += np.where(generator(1).random(2_000) < 0.5, 2, -2)
    assert dg.half_maximum(apart).ellipticity_error > 2 * noise
    with pytest.raises(
        ValueError, match="points: expected points that fill the plane; got points that all lie on one line"
    ):
        dg.half_maximum(gaussian(100, 1)[:, (0, 0)])


def test_compare_finds_nothing_between_equals_and_the_difference_between_others():
    scale = np.array([2.0, 1.0, 0.5])
    data = gaussian(8_000, 3) * scale
    same = dg.compare(gaussian(8_000, 3, 1) * scale, data, scale)
    assert np.abs(same.std_ratio - 1).max() < 5 / math.sqrt(8_000)
    assert same.distance.max() < 2 / math.sqrt(4_000)
    assert np.abs(same.pair_difference).max() < 0.04
    other = dg.compare(gaussian(8_000, 3, 1) * scale * [0.5, 1, 1], data, scale)
    np.testing.assert_allclose(other.std_ratio, [0.5, 1, 1], rtol=0.04)
    expected = stats.ks_2samp(gaussian(8_000, 3, 1)[:, 0] * scale[0] * 0.5, data[:, 0]).statistic
    assert other.distance[0] == pytest.approx(expected)
    # Pairs (0, 1), (0, 2), (1, 2): narrow draws fill the ellipses of the first component more.
    assert (other.pair_difference[:2] > 0.1).all()
    assert abs(other.pair_difference[2]) < 0.04
