"""What the ellipses of all pairs hold when the latents are not rotated first."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ellipsoid.diagnostics.pairs import correlation


def original_frame_points(
    key: jax.Array, covariance: np.ndarray, level: float, n: int, *, sweeps: int = 200
) -> np.ndarray:
    """Points inside the ellipse of every pair of *original* dimensions, uniformly, by a random walk.

    The ellipse of a pair is that of its 2 x 2 part of the covariance. Walkers start at the centre and go
    along one dimension after another, each time to a uniformly chosen place of the chord inside all ellipses
    of that dimension (coordinate hit-and-run; Smith, 1984). The walk keeps the uniform distribution; `sweeps`
    rounds through all dimensions forget the start, unless two dimensions are nearly one: walks along the axes
    take 1,000 rounds where they are correlated by 0.999, and stay where they are where they are by 1.

    Parameters
    ----------
    key : key
        JAX random key.
    covariance : ndarray, shape (D, D)
    level : float
        Of the ellipses, in standard deviations.
    n : int
        Number of walkers, each giving one point.
    sweeps : int

    Returns
    -------
    ndarray, shape (n, D), float32
        In latent units about the centre; 0 in constant dimensions.
    """
    std = np.sqrt(covariance.diagonal())
    alive = std > 0
    r = correlation(covariance)[np.ix_(alive, alive)].astype(np.float32)
    walked = np.asarray(_walk(key, r, np.float32(level), n, sweeps))
    points = np.zeros((n, len(std)), np.float32)
    points[:, alive] = walked * std[alive]
    return points


def _walk(key, r, level, n, sweeps):
    d = len(r)
    r = jnp.where(jnp.eye(d, dtype=bool), 0, r)
    across = jnp.sqrt(jnp.maximum(1 - r * r, 0))

    def step(t, place):
        key, m = place
        # Ellipse of the pair (m, j): t_m = r t_j +- sqrt(1 - r^2) sqrt(level^2 - t_j^2). With itself, m makes
        # a bound of +-level, as r = 0 and its own place is taken for 0.
        others = jnp.where((jnp.arange(d) == m)[None, :], 0, t)
        middle = others * r[m][None, :]
        reach = jnp.sqrt(jnp.maximum(level * level - others * others, 0)) * across[m][None, :]
        low, high = jnp.max(middle - reach, axis=1), jnp.min(middle + reach, axis=1)
        chosen = low + jax.random.uniform(key, (n,)) * jnp.maximum(high - low, 0)
        return t.at[:, m].set(chosen), None

    def sweep(t, key):
        return lax.scan(step, t, (jax.random.split(key, d), jnp.arange(d)))[0], None

    start = jnp.zeros((n, d), jnp.float32)
    return lax.scan(sweep, start, jax.random.split(key, sweeps))[0]


_walk = jax.jit(_walk, static_argnums=(3, 4))
