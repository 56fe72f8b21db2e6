"""Baselines: other ways to make latents for the same decoder, for comparison.

Each function takes the training latents and returns ``draw(key, n)``, which makes n latents of shape (n, D),
float32, in latent units. The same key and n give the same latents. Two of the functions do not model the
latents, but mark the ends of the scale. No draw can be expected to decode better than the training latents of
:func:`reconstructions`. The points of :func:`interpolations` are new, yet never far from the data.

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

#: Function that makes n latents, shape (n, D) float32, from a typed JAX key and n.
Draw = Callable[[jax.Array, int], np.ndarray]


def box(latents: ArrayLike) -> Draw:
    """Draw uniformly between the smallest and the largest value of each latent dimension.

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
    """Draw each latent dimension from a normal distribution of its own mean and standard deviation.

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
    """Draw from the multivariate normal distribution of the latents, with a temperature.

    It has the mean of the latents, and `temperature` squared times their covariance.

    Parameters
    ----------
    latents : array, shape (n, D)
        Training latents, at least two rows. The covariance may be singular.
    temperature : float
        Factor on all standard deviations, as in Glow (Kingma and Dhariwal, 2018).

    Raises
    ------
    TypeError, ValueError
        If the latents are not finite real numbers, if there are fewer than two rows, or if the temperature is
        not above 0.
    """
    rows = check_matrix("latents", latents)
    mean, factor = _mean_and_factor(rows)
    factor *= check_positive("temperature", temperature)
    return _draws(lambda rng, n: mean + rng.standard_normal((n, len(mean))) @ factor)


def gaussian_mixture(latents: ArrayLike, n_parts: int, seed: int = 0, max_rows: int | None = None) -> Draw:
    """Draw from a mixture of full-covariance Gaussians, fitted by scikit-learn's ``GaussianMixture``.

    Parameters
    ----------
    latents : array, shape (n, D)
        At least two rows, in latent units.
    n_parts : int
        Number of parts, from 1 to n.
    seed : int
        Random seed of the initial clusters.
    max_rows : int, optional
        Number of rows in a random subset for the fit; all by default. A fit of 50 parts to 60,000 x 64 took
        more than ten minutes.

    Raises
    ------
    TypeError, ValueError
        If the latents are not finite real numbers, if there are fewer than two rows or fewer rows than parts,
        if `n_parts` is below 1, or if `max_rows` is below 2.

    Warns
    -----
    sklearn.exceptions.ConvergenceWarning
        If the fit has not converged after 100 steps.
    """
    from sklearn.mixture import GaussianMixture
    from threadpoolctl import threadpool_limits

    rows = check_matrix("latents", latents)
    if max_rows is not None:
        rows = subset(rows, check_count("max_rows", max_rows, 2))
    n_parts = check_integer("n_parts", n_parts)
    if not 1 <= n_parts <= len(rows):
        raise ValueError(f"n_parts: expected 1 to {len(rows)}, the number of rows; got {n_parts}")
    # Its matrix products are small: a second thread made the fit slower, and took twice the processor time.
    with threadpool_limits(1):
        mixture = GaussianMixture(n_parts, random_state=seed).fit(rows.astype(np.float64))
    weights, means = np.asarray(mixture.weights_), np.asarray(mixture.means_)
    factors = np.linalg.cholesky(np.asarray(mixture.covariances_))

    # Its own `sample` would return one part after another.
    def draw(rng: np.random.Generator, n: int) -> np.ndarray:
        parts = rng.choice(n_parts, n, p=weights)
        noise = rng.standard_normal((n, rows.shape[1]))
        drawn = means[parts]
        for part, factor in enumerate(factors):
            drawn[parts == part] += noise[parts == part] @ factor.T
        return drawn

    return _draws(draw)


def kernel_density(latents: ArrayLike, bandwidth: float | None = None) -> Draw:
    """Draw from a kernel density estimate: training latents with normal noise.

    The covariance of the noise is `bandwidth` squared times that of the latents, so the kernel is an
    isotropic Gaussian in whitened coordinates. The draws have ``1 + bandwidth^2`` times the covariance of
    the latents.

    Parameters
    ----------
    latents : array, shape (n, D)
        Training latents, at least two rows. The covariance may be singular.
    bandwidth : float, optional
        Ratio of the standard deviation of the noise to that of the latents. The default is Scott's rule,
        ``n^(-1 / (D + 4))`` (Scott, 1992), which is made for few dimensions: for 50,000 latents of 256
        dimensions it is 0.96, and the draws have almost twice the variance of the data.

    Raises
    ------
    TypeError, ValueError
        If the latents are not finite real numbers, if there are fewer than two rows, or if the bandwidth is
        not above 0.
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
    """Return training latents in random order. All of them come once before any comes again.

    They decode to reconstructions of training images.

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
    """Draw points on the lines between two random training latents, ``(1 - t) a + t b``.

    They are uniform along each line, with t in [0, 1), like the interpolations that Berthelot et al. (2018)
    judge. Midpoints are the farthest from the data, and ends are reconstructions.

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
    """Compute the mean, and a square root F of the covariance ``F.T @ F``, which may be singular."""
    moments = Moments.empty(rows.shape[1]).update(rows)
    variances, axes = np.linalg.eigh(moments.covariance)
    return moments.mean, np.sqrt(np.maximum(variances, 0))[:, None] * axes.T
