"""The random walk against points by rejection."""

import math

import jax
import numpy as np
from diagnostic_latents import generator

from ellipsoid import diagnostics as dg


def walk_reference(covariance, level, n):
    """Draw exact points by rejection from the box."""
    std = np.sqrt(covariance.diagonal())
    tried = generator(3).uniform(-level, level, size=(n, len(std))) * std
    inside = np.ones(n, bool)
    for i in range(len(std)):
        for j in range(i + 1, len(std)):
            inverse = np.linalg.inv(covariance[np.ix_((i, j), (i, j))])
            inside &= np.einsum("ni,ij,nj->n", tried[:, (i, j)], inverse, tried[:, (i, j)]) <= level**2
    return tried[inside]


def test_original_frame_walk_fills_the_region_evenly():
    covariance = np.array([[4.0, 1.5, 0.3], [1.5, 1.0, -0.2], [0.3, -0.2, 0.25]])
    exact = walk_reference(covariance, 1.7, 400_000)
    n = 20_000

    def worst_deviation(sweeps):
        points = dg.original_frame_points(jax.random.key(0), covariance, 1.7, n, sweeps=sweeps)
        z = []
        for i in range(3):
            for j in range(i, 3):
                a, b = points[:, i] * points[:, j], exact[:, i] * exact[:, j]
                z.append((a.mean() - b.mean()) / math.sqrt(a.var() / n + b.var() / len(b)))
        return np.abs(z).max(), points

    deviation, points = worst_deviation(40)
    assert deviation < 5
    assert worst_deviation(1)[0] > 10  # a walk that has not forgotten its start does not pass
    for i in range(3):
        for j in range(i + 1, 3):
            inverse = np.linalg.inv(covariance[np.ix_((i, j), (i, j))])
            squares = np.einsum("ni,ij,nj->n", points[:, (i, j)], inverse, points[:, (i, j)])
            assert squares.max() < 1.7**2 * (1 + 1e-4)


def test_original_frame_walk_leaves_constant_dimensions_alone():
    points = dg.original_frame_points(jax.random.key(0), np.diag([1.0, 0.0, 2.0]), 2.0, 50, sweeps=5)
    assert (points[:, 1] == 0).all()
    assert points[:, (0, 2)].std() > 0.3
