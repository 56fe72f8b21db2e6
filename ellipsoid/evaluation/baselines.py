"""Baselines that draws inside an ellipse are compared with: other ways to make latents for the same decoder.

Each function takes the training latents and gives ``draw(key, n)``, which makes n latents, shape (n, D)
float32, in latent units. The same key and n give the same latents. :func:`reconstructions` and
:func:`interpolations` are no models of the latents but the two ends of the scale: nothing that is drawn can
be expected to decode better than the training latents themselves, and a point between two of them is new,
yet never far from the data.

Examples
--------
>>> import ellipsoid as el
>>> import numpy as np
>>> from ellipsoid.evaluation import baselines
>>> latents = np.random.default_rng(0).normal(size=(100, 3))
>>> draw = baselines.gaussian(latents, temperature=0.7)
>>> draw(el.key(0), 5).shape
(5, 3)
"""

from collections.abc import Callable

import jax
import numpy as np
from jax.typing import ArrayLike

from ellipsoid.blocks import subset
from ellipsoid.checks import check_count, check_integer, check_matrix, check_positive
from ellipsoid.moments import Moments
from ellipsoid.random import philox_words

#: Function of a typed JAX key and n that makes n latents, shape (n, D) float32.
Draw = Callable[[jax.Array, int], np.ndarray]


def box(latents: ArrayLike) -> Draw:
    """Uniform between the least and the largest value of each latent dimension.

    Parameters
    ----------
    latents : array, shape (n, D)
        At least two rows, in latent units.

    Raises
    ------
    TypeError, ValueError
        If the rows are not finite real numbers, or fewer than two.
    """
    rows = check_matrix("latents", latents)
    low, high = rows.min(axis=0), rows.max(axis=0)
    return _draws(lambda rng, n: rng.uniform(low, high, (n, rows.shape[1])))


def independent(latents: ArrayLike) -> Draw:
    """Independent normal distributions, with the mean and the standard deviation of each latent dimension.

    Parameters
    ----------
    latents : array, shape (n, D)
        At least two rows, in latent units.

    Raises
    ------
    TypeError, ValueError
        If the rows are not finite real numbers, or fewer than two.
    """
    rows = check_matrix("latents", latents)
    mean, deviation = rows.mean(axis=0, dtype=np.float64), rows.std(axis=0, dtype=np.float64, ddof=1)
    return _draws(lambda rng, n: rng.normal(mean, deviation, (n, rows.shape[1])))


def gaussian(latents: ArrayLike, temperature: float = 1.0) -> Draw:
    """Multivariate normal, with the mean and `temperature` squared times the covariance of the latents.

    Parameters
    ----------
    latents : array, shape (n, D)
        At least two rows. The covariance may be singular.
    temperature : float
        Factor on all standard deviations, as in Glow (Kingma and Dhariwal, 2018).

    Raises
    ------
    TypeError, ValueError
        If the rows are not finite real numbers, or fewer than two, or the temperature is not positive.
    """
    rows = check_matrix("latents", latents)
    mean, factor = _mean_and_factor(rows)
    factor *= check_positive("temperature", temperature)
    return _draws(lambda rng, n: mean + rng.standard_normal((n, len(mean))) @ factor)


def gaussian_mixture(latents: ArrayLike, n_parts: int, seed: int = 0, max_rows: int | None = None) -> Draw:
    """Mixture of normal distributions with full covariances, as ``GaussianMixture`` of scikit-learn fits it.

    Parameters
    ----------
    latents : array, shape (n, D)
        At least two rows, in latent units.
    n_parts : int
        Number of parts, from 1 to n.
    seed : int
        Seed of the clusters that the fit starts from.
    max_rows : int, optional
        Number of rows in the random subset that is fitted to. 60,000 x 64 took more than ten minutes for 50
        parts.

    Raises
    ------
    TypeError, ValueError
        If the rows are not finite real numbers, or fewer than two, or than parts; or `n_parts` is below 1, or
        `max_rows` below 2.

    Warns
    -----
    sklearn.exceptions.ConvergenceWarning
        If the fit is still improving after 100 steps.
    """
    from sklearn.mixture import GaussianMixture

    rows = check_matrix("latents", latents)
    if max_rows is not None:
        rows = subset(rows, check_count("max_rows", max_rows, 2))
    n_parts = check_integer("n_parts", n_parts)
    if not 1 <= n_parts <= len(rows):
        raise ValueError(f"n_parts: expected 1 to {len(rows)}, the number of rows; got {n_parts}")
    mixture = GaussianMixture(n_parts, random_state=seed).fit(rows.astype(np.float64))
    weights, means = np.asarray(mixture.weights_), np.asarray(mixture.means_)
    factors = np.linalg.cholesky(np.asarray(mixture.covariances_))

    # Not by its own `sample`, which hands out one part after another.
    def draw(rng: np.random.Generator, n: int) -> np.ndarray:
        parts = rng.choice(n_parts, n, p=weights)
        noise = rng.standard_normal((n, rows.shape[1]))
        drawn = means[parts]
        for part, factor in enumerate(factors):
            drawn[parts == part] += noise[parts == part] @ factor.T
        return drawn

    return _draws(draw)


def kernel_density(latents: ArrayLike, bandwidth: float | None = None) -> Draw:
    """Training latents with normal noise, whose covariance is `bandwidth` squared times that of the latents.

    That is a Gaussian kernel density estimate in whitened coordinates. Its draws have the covariance of the
    latents, times ``1 + bandwidth^2``.

    Parameters
    ----------
    latents : array, shape (n, D)
        At least two rows. The covariance may be singular.
    bandwidth : float, optional
        Standard deviation of the noise over that of the latents. The default is Scott's rule,
        ``n^(-1 / (D + 4))`` (Scott, 1992). It is made for few dimensions: for 50,000 latents of 256 it is
        0.96, and the draws vary almost twice as much as the data.

    Raises
    ------
    TypeError, ValueError
        If the rows are not finite real numbers, or fewer than two, or the bandwidth is not positive.
    """
    rows = check_matrix("latents", latents)
    n_latents, n_dimensions = rows.shape
    scott = n_latents ** (-1 / (n_dimensions + 4))
    factor = _mean_and_factor(rows)[1]
    factor *= scott if bandwidth is None else check_positive("bandwidth", bandwidth)
    return _draws(
        lambda rng, n: rows[rng.integers(n_latents, size=n)] + rng.standard_normal((n, n_dimensions)) @ factor
    )


def reconstructions(latents: ArrayLike) -> Draw:
    """Training latents in random order; all of them before any comes again.

    Decoded, they are reconstructions of training images.

    Parameters
    ----------
    latents : array, shape (n, D)
        At least two rows, in latent units.

    Raises
    ------
    TypeError, ValueError
        If the rows are not finite real numbers, or fewer than two.
    """
    rows = check_matrix("latents", latents)

    def draw(rng: np.random.Generator, n: int) -> np.ndarray:
        rounds = [rng.permutation(len(rows)) for _ in range(-(-n // len(rows)))]
        return rows[np.concatenate(rounds)[:n]]

    return _draws(draw)


def interpolations(latents: ArrayLike) -> Draw:
    """Points on the lines between two random training latents, ``(1 - t) a + t b``.

    Uniform along each line, t in [0, 1), as Berthelot et al. (2018) judge interpolations: a midpoint is the
    farthest from all data, ends are reconstructions.

    Parameters
    ----------
    latents : array, shape (n, D)
        At least two rows, in latent units.

    Raises
    ------
    TypeError, ValueError
        If the rows are not finite real numbers, or fewer than two.
    """
    rows = check_matrix("latents", latents)

    def draw(rng: np.random.Generator, n: int) -> np.ndarray:
        first = rng.integers(len(rows), size=n)
        second = (first + rng.integers(1, len(rows), size=n)) % len(rows)
        t = rng.random((n, 1))
        return (1 - t) * rows[first] + t * rows[second]

    return _draws(draw)


def _draws(draw: Callable[[np.random.Generator, int], np.ndarray]) -> Draw:
    def by_key(key: jax.Array, n: int) -> np.ndarray:
        n = check_count("n", n)
        return draw(np.random.default_rng(np.asarray(philox_words(key))), n).astype(np.float32)

    return by_key


def _mean_and_factor(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Give the mean, and a square root F of the covariance, ``F.T @ F``, which may be singular."""
    moments = Moments.empty(rows.shape[1]).update(rows)
    variances, axes = np.linalg.eigh(moments.covariance)
    return moments.mean, np.sqrt(np.maximum(variances, 0))[:, None] * axes.T
