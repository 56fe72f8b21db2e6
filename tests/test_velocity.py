"""The network and the path along its field, compared with literal versions in float64 and with a solver."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import literal_push, literal_velocity, random_field
from scipy.integrate import solve_ivp

from ellipsoid.velocity import END, pull, push, untrained

K = 3
NO_LABEL = jnp.zeros(0)

pushed = jax.jit(push, static_argnames="n_steps")
pulled = jax.jit(pull, static_argnames="n_steps")


def points(n=256, k=K, *, seed=1, size=1.0):
    return (size * np.random.default_rng(seed).normal(size=(n, k))).astype(np.float32)


def solved(velocity, x0, start, end):
    """Follow the field from one angle to another, to ten digits."""

    def rates(angle, w):
        return literal_velocity(velocity, w.reshape(x0.shape), angle).ravel()

    solution = solve_ivp(rates, (start, end), x0.ravel().astype(float), method="DOP853", rtol=1e-8, atol=1e-8)
    return solution.y[:, -1].reshape(x0.shape)


def test_network():
    velocity = random_field(K, depth=2)._replace(condition=jnp.asarray(points(2, 64)))
    w, condition = points(20), np.float32([1, -1])
    for angle in (0, 0.4, END):
        found = velocity(w, velocity.embed(jnp.float32(angle), jnp.asarray(condition)))
        np.testing.assert_allclose(found, literal_velocity(velocity, w, angle, condition), rtol=0, atol=1e-5)
        other = literal_velocity(velocity, w, angle, -condition)
        assert np.abs(found - other).max() > 0.01


def test_an_untrained_field_moves_nothing():
    velocity, x0 = untrained(jax.random.key(0), K, 0, 32, 1), points()
    np.testing.assert_array_equal(pushed(velocity, NO_LABEL, x0, 8), x0)
    np.testing.assert_array_equal(pulled(velocity, NO_LABEL, x0, 8), x0)


def test_push_takes_steps_of_heun():
    velocity, x0 = random_field(K), points()
    found = pushed(velocity, NO_LABEL, x0, 8)
    np.testing.assert_allclose(found, literal_push(velocity, x0, 8), rtol=0, atol=1e-5)
    assert np.abs(found - literal_push(velocity, x0, 7)).max() > 1e-3


def test_steps_follow_the_field():
    velocity, x0 = random_field(K), points(32)
    exact, back = solved(velocity, x0, 0, END), solved(velocity, x0, END, 0)
    errors = [np.abs(literal_push(velocity, x0, n) - exact).max() for n in (32, 64)]
    assert errors[1] < 1e-2
    assert 3 < errors[0] / errors[1] < 5  # The error is of second order.
    # The other direction, or the opposite sign of the field, leads elsewhere.
    turned = literal_push(velocity._replace(last=-velocity.last), x0, 64)
    assert min(np.abs(wrong - exact).max() for wrong in (back, turned)) > 0.3


@pytest.mark.parametrize("size", [1.0, 2.0])
def test_the_way_back_ends_where_it_began(size):
    velocity = random_field(K, size=size)
    for x0 in (points(), points(size=8.0)):
        x1 = pushed(velocity, NO_LABEL, x0, 8)
        assert np.abs(x1 - x0).max() > 0.5
        apart = np.abs(pulled(velocity, NO_LABEL, x1, 8) - x0) / (1 + np.abs(x0))
        assert apart.max() < 1e-3
        # Backward steps of Heun's method do not invert the forward ones.
        turned = velocity._replace(last=-velocity.last)
        assert np.abs(literal_push(turned, x1, 8) - x0).max() > 0.01


def test_a_row_on_its_way_back_does_not_see_the_others():
    velocity, x1 = random_field(K, size=3.0), points()
    expected = np.asarray(pulled(velocity, NO_LABEL, x1, 8))
    others = x1.copy()
    others[1::2] = 100 * points(seed=2)[1::2]
    others[3], others[5], others[7] = np.nan, np.inf, 1e30
    found = np.asarray(pulled(velocity, NO_LABEL, others, 8))
    np.testing.assert_array_equal(found[::2], expected[::2])
    assert np.isnan(found[3]).all()
    assert not np.isfinite(found[5]).any()
    np.testing.assert_allclose(found[7], 1e30, rtol=1e-6)
