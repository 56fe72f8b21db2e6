"""The velocity field of a flow: a residual network, and the path along it in both directions.

A flow carries a standard normal ``x0`` to whitened latents ``x1`` along a quarter of a circle,
``w(angle) = cos(angle) x0 + sin(angle) x1``, from angle 0 to pi/2. All ``w`` on it have the same covariance.
Where the latents are Gaussian, the velocity ``dw/dangle = E[cos(angle) x1 - sin(angle) x0 | w]`` is zero
everywhere. So a network whose last layer is zero is the identity, and the network learns only departures from
a Gaussian. For correlated pairs the arc is narrower, component by component (:mod:`ellipsoid.flow_fitting`);
the angle that the network sees still runs to pi/2.

With ``t = sin / (sin + cos)`` this is flow matching on straight lines ``x_t = (1 - t) x0 + t x1``, seen from
``x_t`` divided by its standard deviation (Lipman et al., "Flow matching for generative modeling", 2023).
"""

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

#: Angle at which the latents lie; the standard normal lies at 0.
END = math.pi / 2

# Number of waves of the angle that the network sees, the first of them constant, and the size of their
# embedding.
_N_WAVES = 32
_EMBEDDING = 64
# Number added to the mean square of a row before its root divides the row. It keeps the field continuous near
# a row of zeros, which is common with few components: a jump could not be inverted.
_FLOOR = np.float32(0.1)
# Largest error at which a step back counts as solved; rounding leaves less.
_ARRIVED = 1e-6
# Shares of the residual that a step back moves by, and iterations of each. Where a step expands by a factor,
# only shares below 2 over that factor converge; between far clusters the factor reaches tens.
_MOVES = (1.0, 0.4, 0.1, 0.03)
_ITERATIONS = 30


class Velocity(NamedTuple):
    """Weights of a residual network of L blocks of W units: the velocity of K coordinates at an angle.

    A block adds ``silu(norm(h) @ hidden + embedding @ shift) @ output`` to its input ``h``. There is no bias:
    the constant among the waves of the angle does its work.

    Attributes
    ----------
    entry : (K, W) array
        First layer.
    angle : (F, E) array
        Layer that makes an embedding of waves of the angle.
    condition : (C, E) array
        Contribution of a label to the embedding.
    hidden, output : (L, W, W) array
        Both layers of each block.
    shift : (L, E, W) array
        Contribution of the embedding inside each block.
    last : (W, K) array
        Last layer, all zero before training.
    """

    entry: jax.Array
    angle: jax.Array
    condition: jax.Array
    hidden: jax.Array
    shift: jax.Array
    output: jax.Array
    last: jax.Array

    def __call__(self, w: jax.Array, embedding: jax.Array) -> jax.Array:
        """Give the velocity at points ``(..., K)``, by the embedding of their angle and condition."""
        h = _product(w, self.entry)
        for hidden, shift, output in zip(self.hidden, self.shift, self.output, strict=True):
            inner = _product(_normed(h), hidden)
            inner += jnp.broadcast_to(_product(embedding, shift), inner.shape)
            h += _product(jax.nn.silu(inner), output)
        return _product(_normed(h), self.last)

    def embed(self, angle: jax.Array, condition: jax.Array) -> jax.Array:
        """Give the embedding ``(..., E)`` of angles ``(...)`` and conditions ``(..., C)``."""
        phases = jnp.multiply.outer(angle, jnp.arange(_N_WAVES // 2, dtype=np.float32))
        waves = jnp.concatenate([jnp.cos(phases), jnp.sin(phases)], axis=-1)
        inner = _product(waves, self.angle)
        if condition.shape[-1]:
            inner += jnp.broadcast_to(_product(condition, self.condition), inner.shape)
        return jax.nn.silu(inner)


def shapes_of_weights(k: int, n_conditions: int, width: int, depth: int) -> dict[str, tuple[int, ...]]:
    """Give the shapes of all weights of a network, by the names of `Velocity`."""
    return dict(
        entry=(k, width),
        angle=(_N_WAVES, _EMBEDDING),
        condition=(n_conditions, _EMBEDDING),
        hidden=(depth, width, width),
        shift=(depth, _EMBEDDING, width),
        output=(depth, width, width),
        last=(width, k),
    )


@functools.partial(jax.jit, static_argnums=(1, 2, 3, 4))
def untrained(key: jax.Array, k: int, n_conditions: int, width: int, depth: int) -> Velocity:
    """Make a random network whose last layer is zero: its velocity is zero everywhere."""
    shapes = shapes_of_weights(k, n_conditions, width, depth)
    keys = jax.random.split(key, len(shapes))
    kernels = (
        jax.random.normal(key, shape, np.float32) / math.sqrt(max(shape[-2], 1))
        for key, shape in zip(keys, shapes.values(), strict=True)
    )
    velocity = Velocity(*kernels)
    # Blocks add up, so each of many gets smaller weights.
    return velocity._replace(output=velocity.output / math.sqrt(depth), last=jnp.zeros_like(velocity.last))


def _product(a: jax.Array, b: jax.Array) -> jax.Array:
    # The way back retraces the way forward only as far as products are exact.
    return jnp.matmul(a, b, precision=lax.Precision.HIGHEST)


def _normed(h: jax.Array) -> jax.Array:
    return h * lax.rsqrt(jnp.mean(jnp.square(h), axis=-1, keepdims=True) + _FLOOR)


# --- along the field -------------------------------------------------------------------------------


def _angles(n_steps: int) -> np.ndarray:
    return np.linspace(0, END, n_steps + 1, dtype=np.float32)


@functools.partial(jax.jit, static_argnames="n_steps")
def push(velocity: Velocity, condition: jax.Array, x0: jax.Array, n_steps: int) -> jax.Array:
    """Carry points of the standard normal to whitened latents, by Heun's method in equal steps.

    Parameters
    ----------
    velocity : Velocity
    condition : (C,) array
    x0 : (..., K) array
    n_steps : int

    Returns
    -------
    (..., K) array
    """
    embeddings = velocity.embed(jnp.asarray(_angles(n_steps)), condition)
    h = np.float32(END / n_steps)
    return lax.scan(
        lambda w, ends: (w + _increment(velocity, w, ends, h), None), x0, (embeddings[:-1], embeddings[1:])
    )[0]


@functools.partial(jax.jit, static_argnames="n_steps")
def pull(velocity: Velocity, condition: jax.Array, x1: jax.Array, n_steps: int) -> jax.Array:
    """Carry whitened latents back: the inverse of `push` up to rounding.

    Each step solves ``w + increment(w) = target`` for `w` by fixed-point iteration. Each row iterates until
    it converges, so no row depends on its neighbours.
    """
    embeddings = velocity.embed(jnp.asarray(_angles(n_steps)), condition)
    h = np.float32(END / n_steps)

    def back(target, ends):
        def go_on(state):
            _, moving, i = state
            return jnp.any(moving) & (i < len(_MOVES) * _ITERATIONS)

        def iterate(state):
            w, moving, i = state
            residual = target - _increment(velocity, w, ends, h) - w
            moving &= jnp.max(jnp.abs(residual) / (1 + jnp.abs(w)), axis=-1) > _ARRIVED
            # Full moves may have diverged, so the shorter ones start afresh.
            share = jnp.asarray(_MOVES, np.float32)[i // _ITERATIONS]
            w = jnp.where(i == _ITERATIONS, start, w + share * residual)
            return jnp.where(moving[..., None], w, state[0]), moving, i + 1

        # The same step from the other end has an error of third order in its length.
        start = target - _increment(velocity, target, ends[::-1], h)
        moving = jnp.ones(target.shape[:-1], bool)
        return lax.while_loop(go_on, iterate, (start, moving, 0))[0], None

    return lax.scan(back, x1, (embeddings[:-1], embeddings[1:]), reverse=True)[0]


def _increment(
    velocity: Velocity, w: jax.Array, ends: tuple[jax.Array, jax.Array], h: np.float32
) -> jax.Array:
    first = velocity(w, ends[0])
    second = velocity(w + h * first, ends[1])
    return h * 0.5 * (first + second)
