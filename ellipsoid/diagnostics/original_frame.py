"""Points inside the ellipses of all pairs of original latent dimensions, without a rotation."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ellipsoid.checks import check_count, check_positive
from ellipsoid.diagnostics.pairs import correlation


def original_frame_points(
    key: jax.Array, covariance: np.ndarray, level: float, n: int, *, sweeps: int = 200
) -> np.ndarray:
    """Draw points uniformly inside the ellipses of all pairs of *original* dimensions, by a random walk.

    The ellipse of a pair comes from its 2 x 2 block of the covariance. Walkers start at the centre and move
    along one dimension after another, each time to a uniform point of the chord inside all ellipses of that
    dimension (coordinate hit-and-run; Smith, 1984). The uniform distribution is stationary under this walk.
    After `sweeps` rounds through all dimensions the start is forgotten, unless two dimensions are nearly
    collinear: a correlation of 0.999 takes 1,000 rounds, and with a correlation of 1 the walkers do not move.

    Parameters
    ----------
    key : jax.Array
        Random key.
    covariance : ndarray, shape (D, D)
        Covariance of the latents.
    level : float
        Level of the ellipses, in standard deviations.
    n : int
        Number of walkers. Each gives one point.
    sweeps : int
        Number of rounds through all dimensions.

    Returns
    -------
    ndarray, shape (n, D), float32
        Points about the centre, in latent units; 0 in constant dimensions.

    Raises
    ------
    TypeError
        If `level` is not a number, or `n` or `sweeps` is not an integer.
    ValueError
        If `level` is not finite and above 0, `n` or `sweeps` is below 1, or `covariance` is not square.
    """
    level, n, sweeps = check_positive("level", level), check_count("n", n), check_count("sweeps", sweeps)
    if covariance.ndim != 2 or covariance.shape[0] != covariance.shape[1]:
        raise ValueError(f"covariance: expected shape (D, D); got {covariance.shape}")
    std = np.sqrt(covariance.diagonal())
    alive = std > 0
    r = correlation(covariance)[np.ix_(alive, alive)].astype(np.float32)
    walked = np.asarray(_walk(key, r, np.float32(level), n, sweeps))
    points = np.zeros((n, len(std)), np.float32)
    points[:, alive] = walked * std[alive]
    return points


def _walk(key: jax.Array, r: np.ndarray, level: np.float32, n: int, sweeps: int) -> jax.Array:
    d = len(r)
    along = jnp.where(jnp.eye(d, dtype=bool), 0, r)
    across = jnp.sqrt(jnp.maximum(1 - along * along, 0))

    def step(t, key_and_dimension):
        key, m = key_and_dimension
        # Ellipse of the pair (m, j): t_m = r t_j +- sqrt(1 - r^2) sqrt(level^2 - t_j^2). The pair (m, m)
        # gives the bound +-level, since its r and its own coordinate are set to 0.
        others = jnp.where((jnp.arange(d) == m)[None, :], 0, t)
        middle = others * along[m][None, :]
        reach = jnp.sqrt(jnp.maximum(level * level - others * others, 0)) * across[m][None, :]
        low, high = jnp.max(middle - reach, axis=1), jnp.min(middle + reach, axis=1)
        chosen = low + jax.random.uniform(key, (n,)) * jnp.maximum(high - low, 0)
        return t.at[:, m].set(chosen), None

    def sweep(t, key):
        return lax.scan(step, t, (jax.random.split(key, d), jnp.arange(d)))[0], None

    start = jnp.zeros((n, d), jnp.float32)
    return lax.scan(sweep, start, jax.random.split(key, sweeps))[0]


_walk = jax.jit(_walk, static_argnums=(3, 4))
