"""Moves in latent space: the pull-back against the exact boundary, and paths between points."""

import math

import numpy as np
import pytest

import ellipsoid as el
from ellipsoid.editing import great_circle

K, D, LEVEL = 5, 7, 2.0
RNG = np.random.default_rng(0)
STATE = el.fit(RNG.normal(size=(2000, D)) * np.geomspace(3, 0.5, D), n_components=K)
MIXTURE = el.fit_mixture(
    np.concatenate([RNG.normal(size=(500, 4)), RNG.normal(size=(500, 4)) + 12 * np.eye(4)[0]]), 2
)


def latents_of(u):
    """Give latents at normalised coordinates."""
    return np.asarray(STATE.reconstruct(u * LEVEL * np.asarray(STATE.scale)))


def exact_share(region, u, v):
    """Give the largest t in [0, 1] with ``u + t v`` inside, for u inside, by the roots of each condition."""
    if region == "box":
        limits = [(np.sign(b) - a) / b for a, b in zip(u, v, strict=True)]
    else:
        groups = [range(K)] if region == "ellipsoid" else [(i, j) for i in range(K) for j in range(i)]
        limits = []
        for group in map(list, groups):
            a, b, c = v[group] @ v[group], u[group] @ v[group], u[group] @ u[group] - 1
            limits.append((-b + math.sqrt(b * b - a * c)) / a)
    return min(1.0, *limits)


@pytest.mark.parametrize("region", ["pairwise", "ellipsoid", "box"])
def test_rows_that_leave_stop_at_the_boundary(region):
    rng = np.random.default_rng(1)
    u = np.asarray(el.sample(el.key(1), STATE, 50, law="uniform", region=region, level=LEVEL).scores)
    u = 0.9 * u / LEVEL / np.asarray(STATE.scale)
    v = rng.normal(size=K)
    z, step = latents_of(u), latents_of(v) - latents_of(np.zeros(K))
    amount = rng.uniform(-2, 2, size=50)
    edited = el.edit(STATE, z, step, amount, level=LEVEL, region=region)
    exact = np.array([exact_share(region, row, a * v) for row, a in zip(u, amount, strict=True)])
    assert 10 < np.sum(exact < 1) < 45
    np.testing.assert_allclose(edited.kept, exact, atol=2e-5)
    np.testing.assert_allclose(edited.latents, z + (amount * exact)[:, None] * step, atol=2e-4)
    assert edited.gauge.max() <= 1
    assert el.contains(STATE, edited.latents, level=LEVEL, region=region, tolerance=0.0).all()
    np.testing.assert_allclose(edited.gauge[exact < 1], 1, atol=1e-5)


def test_a_share_that_is_too_large_is_noticed():
    """A step whose length alone is cut, as when the amount is clipped, leaves the region or stops early."""
    z, step = latents_of(0.9 * np.eye(K)[0]), latents_of(np.ones(K)) - latents_of(np.zeros(K))
    edited = el.edit(STATE, z, step, 1.0, level=LEVEL)
    assert abs(edited.kept - 1 / math.sqrt(K)) > 1e-2
    assert abs(edited.kept - exact_share("pairwise", 0.9 * np.eye(K)[0], np.ones(K))) < 1e-5


def test_what_stays_inside_moves_as_asked():
    direction = el.direction(RNG.normal(size=(400, D)), np.arange(400) % 2 == 0)
    z = latents_of(np.full((3, 4, K), 0.1))
    edited = el.edit(STATE, z, direction, 0.2, level=LEVEL)
    np.testing.assert_array_equal(edited.latents, z + np.float32(0.2) * direction.vector)
    assert edited.gauge.shape == edited.kept.shape == (3, 4)
    assert (edited.kept == 1).all()
    still = el.edit(STATE, z, direction, 0.0)
    np.testing.assert_array_equal(still.latents, z)
    free = el.edit(STATE, z, direction, 99.0, False, level=LEVEL)
    np.testing.assert_array_equal(free.latents, z + np.float32(99) * direction.vector)
    np.testing.assert_array_equal(free.gauge, el.gauge(STATE, free.latents, level=LEVEL))
    # The pull to the centre leaves the part off the K components as it is.
    off = np.linalg.svd(np.asarray(STATE.components))[2][-1]
    pulled = el.edit(STATE, z[0, 0] + 3 * off, STATE.components[0], 99.0, towards="centre", level=LEVEL)
    np.testing.assert_allclose((pulled.latents - np.asarray(STATE.mean)) @ off, 3, atol=1e-4)


def test_rows_outside_go_no_further_out():
    u = np.zeros((3, K))
    u[0, 0], u[1, 0], u[2, 0] = 3, 3, -3
    step = latents_of(np.eye(K)[0]) - latents_of(np.zeros(K))
    aside = latents_of(np.eye(K)[1]) - latents_of(np.zeros(K))
    edited = el.edit(STATE, latents_of(u), step, [1.0, -2.5, -1.0], level=LEVEL)
    # The rows stay out, come in, and stay out on the other side.
    np.testing.assert_allclose(edited.gauge, [3, 0.5, 3], atol=1e-4)
    np.testing.assert_allclose(edited.kept, [0.75, 1, 0.75], atol=1e-5)
    # A step aside leads outwards from its beginning on, so nothing would be left of it along the segment.
    edited = el.edit(STATE, latents_of(u[0]), aside, 1.0, level=LEVEL)
    share = 3 / math.sqrt(10)
    np.testing.assert_allclose(edited.gauge, 3, atol=1e-4)
    np.testing.assert_allclose(edited.kept, share, atol=1e-5)
    np.testing.assert_allclose(edited.latents, latents_of(share * np.array([3, 1, 0, 0, 0])), atol=1e-4)


@pytest.mark.slow
def test_pulled_to_the_centre_rows_keep_more_of_the_step():
    draws = el.sample(el.key(3), STATE, 200, level=LEVEL)
    step = np.asarray(STATE.scale[1] * STATE.components[1])
    start, centre = (
        el.edit(STATE, draws.latents, step, 1.5, level=LEVEL, towards=towards)
        for towards in ("start", "centre")
    )
    moved = [(one.latents - np.asarray(draws.latents)) @ step / (step @ step) for one in (start, centre)]
    assert moved[1].mean() > moved[0].mean() + 0.05
    assert centre.gauge.max() <= 1 + 1e-6


@pytest.mark.slow
def test_parts_of_a_mixture():
    first, second = (np.asarray(MIXTURE.part(i).mean) for i in range(2))
    across = second - first
    # A step into another part ends inside; one between the two is pulled back to where one of them ends.
    edited = el.edit(MIXTURE, np.stack([first, first]), across, [1.0, 0.5], level=LEVEL)
    np.testing.assert_allclose(edited.latents[0], second, atol=1e-4)
    assert edited.kept[0] == 1
    np.testing.assert_allclose(edited.gauge[1], 1, atol=1e-4)
    assert 0 < edited.kept[1] < 1
    # A step beyond both is pulled to the centre of the nearest.
    far = el.edit(MIXTURE, second, across, 1.0, towards="centre", level=LEVEL)
    np.testing.assert_allclose(far.gauge, 1, atol=1e-4)
    assert np.linalg.norm(far.latents - second) < np.linalg.norm(far.latents - first)
    path = el.interpolate(MIXTURE, first, second, 9, level=LEVEL)
    assert path.gauge[4] > 1 > path.gauge[0]


# --- paths --------------------------------------------------------------------------------------------


def test_a_straight_path_stays_inside():
    z0, z1 = np.asarray(el.sample(el.key(4), STATE, 40, law="uniform", level=LEVEL).latents).reshape(2, 20, D)
    path = el.interpolate(STATE, z0, z1, 5, level=LEVEL)
    assert path.latents.shape == (5, 20, D)
    np.testing.assert_allclose(path.latents, z0 + np.linspace(0, 1, 5)[:, None, None] * (z1 - z0), atol=1e-5)
    assert path.gauge.max() < 1 + 1e-5
    np.testing.assert_array_equal(path.latents[[0, -1]], [z0, z1])
    assert el.interpolate(STATE, z0[0], z1, 2).latents.shape == (2, 20, D)


def test_a_great_circle_keeps_radius_and_speed():
    a, b = np.random.default_rng(7).normal(size=(2, 6, 30))
    path = great_circle(a, 2 * b, 9)
    radius = np.linalg.norm(path, axis=-1)
    ends = np.linalg.norm(a, axis=-1), np.linalg.norm(2 * b, axis=-1)
    np.testing.assert_allclose(radius, np.linspace(*ends, 9), rtol=1e-5)
    unit = path / radius[..., None]
    steps = np.arccos(np.sum(unit[1:] * unit[:-1], axis=-1).clip(-1, 1))
    np.testing.assert_allclose(steps, np.broadcast_to(steps[0], steps.shape), rtol=1e-3)
    np.testing.assert_allclose(path[[0, -1]], [a, 2 * b], atol=1e-5)
    # A straight line comes far nearer to the centre.
    assert np.all(
        np.linalg.norm((a + b) / 2, axis=-1) < 0.9 * np.linalg.norm(great_circle(a, b, 3)[1], axis=-1)
    )


def test_a_great_circle_is_straight_where_there_is_none():
    a = np.array([1.0, 0, 0])
    for end in (-a, 3 * a, 0 * a, a):
        np.testing.assert_allclose(great_circle(a, end, 3), np.linspace(a, end, 3), atol=1e-6)


# --- bad input ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "message", "changed"),
    [
        (TypeError, "shape: expected a PCAState", {"shape": 3}),
        (ValueError, "z: expected a last axis of 7; got shape \\(2, 5\\)", {"z": np.zeros((2, K))}),
        (ValueError, "z: expected finite numbers", {"z": np.full((2, D), np.nan)}),
        (ValueError, "z: expected no masked values", {"z": np.ma.masked_array(np.zeros((2, D)), True)}),
        (TypeError, "z: expected real numbers; got bool", {"z": np.zeros((2, D), bool)}),
        (ValueError, "direction: expected shape \\(7,\\)", {"direction": np.zeros((2, D))}),
        (ValueError, "direction: expected a last axis of 7", {"direction": np.zeros(K)}),
        (ValueError, "amount: expected one number or an array of shape \\(2,\\)", {"amount": [1, 2, 3]}),
        (TypeError, "amount: expected numbers", {"amount": "1"}),
        (ValueError, "amount: expected finite numbers", {"amount": np.inf}),
        (ValueError, "amount: expected finite numbers", {"amount": 3e38, "direction": np.full(D, 9)}),
        (ValueError, "towards: expected one of start, centre; got 'mean'", {"towards": "mean"}),
        (ValueError, "region: expected one of", {"region": "ball"}),
        (ValueError, "level: expected a finite number above 0", {"level": 0}),
    ],
)
def test_bad_edits_are_named(error, message, changed):
    given = {"shape": STATE, "z": np.zeros((2, D)), "direction": np.ones(D), "amount": 1.0} | changed
    with pytest.raises(error, match=message):
        el.edit(**given)


def test_bad_paths_are_named():
    z = np.zeros((2, D))
    for error, message, ends, n in (
        (ValueError, "n: expected at least 2; got 1", (z, z), 1),
        (TypeError, "n: expected an integer", (z, z), 2.5),
        (ValueError, "z1: expected a shape that broadcasts with that of z0", (z, z[[0, 0, 0]]), 3),
        (ValueError, "z0: expected finite numbers", (np.full_like(z, np.inf), z), 3),
    ):
        with pytest.raises(error, match=message):
            el.interpolate(STATE, *ends, n)
