"""Clipping, decay and schedule: the effect of each on a few weights."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ellipsoid.optimizer import make_optimizer

WEIGHTS = {"kernel": jnp.full((2, 3), 2.0), "bias": jnp.full(3, 2.0)}
GRADIENT = {"kernel": jnp.ones((2, 3)), "bias": jnp.full(3, -1.0)}


def first_step(n_steps=100, **settings):
    """Give the weights and state after one step at a rate of 0.1."""
    optimizer = make_optimizer(0.1, n_steps, **settings)
    updates, state = optimizer.update(GRADIENT, optimizer.init(WEIGHTS), WEIGHTS)
    return optax.apply_updates(WEIGHTS, updates), state


@pytest.mark.slow
def test_a_long_gradient_is_clipped_and_a_short_one_is_not():
    def norm(state):  # the first moment of Adam after one step is a tenth of the gradient
        return 10 * float(optax.tree.norm(state[1][0].mu))

    whole = norm(first_step()[1])
    assert whole == pytest.approx(3.0, rel=1e-6)
    assert norm(first_step(clip_norm=1e-3)[1]) == pytest.approx(1e-3, rel=1e-5)
    assert norm(first_step(clip_norm=1e3)[1]) == pytest.approx(whole, rel=1e-6)


@pytest.mark.slow
def test_weight_decay_shrinks_kernels_alone():
    plain, decayed = first_step()[0], first_step(weight_decay=0.5)[0]
    rate = 0.1 / 5  # of the first of five warm-up steps
    np.testing.assert_allclose(decayed["kernel"], plain["kernel"] - rate * 0.5 * 2.0, rtol=1e-6)
    np.testing.assert_array_equal(decayed["bias"], plain["bias"])


@pytest.mark.parametrize(("n_steps", "warmup", "n_warmup"), [(100, 0.05, 5), (4, 0.5, 2), (1, 0.05, 0)])
def test_the_rate_rises_and_falls_to_zero(n_steps, warmup, n_warmup):
    """With gradients of one sign Adam's steps are as long as the rate."""
    optimizer = make_optimizer(0.1, n_steps, warmup=warmup)
    weights, state, rates = jnp.zeros(1), optimizer.init(jnp.zeros(1)), []
    for _ in range(n_steps):
        updates, state = optimizer.update(jnp.ones(1), state, weights)
        rates.append(-float(updates[0]))
    assert rates[0] == pytest.approx(0.1 / max(n_warmup, 1), rel=1e-4)
    assert np.argmax(rates) == n_warmup
    assert max(rates) == pytest.approx(0.1, rel=1e-4)
    assert rates[n_warmup:] == sorted(rates[n_warmup:], reverse=True)
    assert rates[-1] < 0.1 * 2.5 / (n_steps - n_warmup) or n_steps - n_warmup < 3
