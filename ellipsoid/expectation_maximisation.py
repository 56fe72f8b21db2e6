"""Expectation-maximisation of a mixture of Gaussians whose covariances lean on a common one.

Rows come in groups, one for each label or a single one, and each part serves the rows of one group. The
statistics of the rows are summed up in float32 on the device, a chunk at a time; parts are made of them in
float64 on the host. :mod:`ellipsoid.mixture_fitting` derives the covariance.
"""

import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ellipsoid.moments import Moments
from ellipsoid.progress import Advance

#: Highest number of steps.
MAX_STEPS = 100

# In the mean log-likelihood of a row, by which good and bad numbers of parts differ by a unit or more.
_TOLERANCE = 0.01
# In variances of rows about the centre of their part, component by component.
_FLOOR = 1e-6
# In variances of all latents, above what rounding to float32 adds: rows that are equal still make a part that
# has a shape.
_LEAST = 1e-12
_CHUNK_ROWS = 4096
# k-means gives the start only, for which so many rows do as well as all.
_START_ROWS = 20_000


class Parts(NamedTuple):
    """M parts in whitened scores, in float64.

    Attributes
    ----------
    counts : ndarray, shape (M,)
        Number of rows of each part.
    centres : ndarray, shape (M, K)
    covariances : ndarray, shape (M, K, K)
    groups : ndarray, shape (M,)
        Group of rows that each part serves.
    """

    counts: np.ndarray
    centres: np.ndarray
    covariances: np.ndarray
    groups: np.ndarray


def fit_parts(
    x: np.ndarray,
    group: np.ndarray,
    n_parts: list[int],
    deviations: np.ndarray,
    prior: float,
    rng: np.random.Generator,
    advance: Advance,
) -> Parts:
    """Fit parts to the rows of each group; all of them lean on one common covariance.

    Parameters
    ----------
    x : ndarray, shape (n, K), float32
        Whitened scores.
    group : ndarray, shape (n,), int32
        Group of each row.
    n_parts : list of int
        Number of parts for each group.
    deviations : ndarray, shape (K,)
        Standard deviations that the scores were divided by.
    prior : float
        Number of rows that the common covariance counts for in each part.
    rng : numpy.random.Generator
        Source of the start by k-means.
    advance : Advance
        Function that is told each step; `MAX_STEPS` in all.

    Returns
    -------
    Parts
        Parts that have rows; those that lost theirs are dropped.
    """
    # By distances between latents: whitened, the last components would count as much as the first.
    # Relative ones, of the same digits: in float32, squares of small latents are nothing.
    relative = np.ldexp(deviations, -np.frexp(deviations.max())[1])
    start = _start(x * relative, group, n_parts, rng)
    groups = np.repeat(np.arange(len(n_parts), dtype=np.int32), n_parts)
    first = [Moments.empty(x.shape[1]).update(x[start == m]) for m in range(len(groups))]
    counts, means, scatters = (
        np.stack([getattr(moments, name) for moments in first]) for name in ("count", "mean", "scatter")
    )
    parts = maximise(counts, means, scatters, groups, prior)
    # A group of one part has been fitted already, whatever the likelihood.
    n_steps = MAX_STEPS if max(n_parts) > 1 else 0
    if n_steps and len(n_parts) > 1:
        # Chunks of rows meet few groups then, and are held against their parts alone.
        order = np.argsort(group, kind="stable")
        x, group = x[order], group[order]
    before = -np.inf
    for step in range(n_steps):
        likelihood, *statistics = expect(x, group, parts)
        advance(1, f"{len(parts.counts)} parts, log-likelihood {likelihood:.2f}")
        if likelihood - before < _TOLERANCE:
            n_steps = step + 1
            break
        before = likelihood
        parts = maximise(*statistics, parts.groups, prior)
    advance(MAX_STEPS - n_steps)
    return parts


def _start(scores: np.ndarray, group: np.ndarray, n_parts: list[int], rng: np.random.Generator) -> np.ndarray:
    """Give each row a part at first, by k-means within its group."""
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    first_part = np.concatenate([[0], np.cumsum(n_parts)])
    start = first_part[group]
    for g, count in enumerate(n_parts):
        if count > 1:
            members = np.flatnonzero(group == g)
            some = rng.choice(members, min(_START_ROWS, len(members)), replace=False)
            seed = int(rng.integers(2**31))
            means = KMeans(count, n_init=1, random_state=seed)  # pyright: ignore[reportArgumentType]
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)  # equal rows: some parts will be empty
                means.fit(scores[some])
            start[members] += means.predict(scores[members])
    return start


def maximise(
    counts: np.ndarray, means: np.ndarray, scatters: np.ndarray, groups: np.ndarray, prior: float
) -> Parts:
    """Parts that fit their rows best, given the number, mean and scatter of the rows of each.

    Parameters
    ----------
    counts : ndarray, shape (M,)
        Number of rows of each part; parts of less than half a row are dropped.
    means : ndarray, shape (M, K)
        Mean of the rows of each part.
    scatters : ndarray, shape (M, K, K)
        Scatter of the rows of each part about their mean.
    groups : ndarray, shape (M,)
        Group that each part serves.
    prior : float
        Number of rows that the common covariance counts for in each part.
    """
    common = scatters.sum(axis=0) / counts.sum()
    # Where each part has a row or two, the common covariance needs a prior itself: K rows of one without
    # correlations. A round one would be far too wide along what tells distant parts from each other, since
    # that makes nearly all of the variance there.
    k, n = len(common), counts.sum()
    alone = np.diag(np.diagonal(common))
    common = (n * common + k * alone) / (n + k)
    kept = counts >= 0.5
    counts, means, scatters, groups = (field[kept] for field in (counts, means, scatters, groups))
    covariances = (scatters + prior * common) / (counts + prior)[:, None, None]
    covariances += _FLOOR * alone + _LEAST * np.eye(k)
    return Parts(counts.astype(np.float64), means, covariances, groups)


def expect(
    x: np.ndarray, group: np.ndarray, parts: Parts
) -> tuple[float, np.ndarray, np.ndarray, np.ndarray]:
    """Mean log-likelihood of a row, and number, mean and scatter of the rows of each part.

    Parameters
    ----------
    x : ndarray, shape (n, K), float32
        Whitened scores.
    group : ndarray, shape (n,), int32
        Group of each row.
    parts : Parts
        The parts; a row counts for each part of its group by the probability that it is its own.
    """
    roots = np.linalg.cholesky(parts.covariances)
    whiteners = np.linalg.inv(roots).astype(np.float32)
    log_determinants = np.log(np.diagonal(roots, axis1=1, axis2=2)).sum(axis=1)
    log_weights = np.log(parts.counts / parts.counts.sum()) - log_determinants
    n_chunks = -(-len(x) // _CHUNK_ROWS)
    size = -(-len(x) // n_chunks)
    padding = n_chunks * size - len(x)
    rows = np.pad(x, ((0, padding), (0, 0))).reshape(n_chunks, size, -1)
    # A row of padding has a group of no part.
    row_groups = np.pad(group, (0, padding), constant_values=-1).reshape(n_chunks, size)
    likelihood, counts, sums, scatters = (
        np.array(total, np.float64)
        for total in _totals(
            rows,
            row_groups,
            log_weights.astype(np.float32),
            parts.centres.astype(np.float32),
            whiteners,
            parts.groups,
        )
    )
    shifts = sums / np.maximum(counts, 1e-30)[:, None]
    scatters -= counts[:, None, None] * shifts[:, :, None] * shifts[:, None, :]
    likelihood = likelihood / len(x) - x.shape[1] / 2 * np.log(2 * np.pi)
    return float(likelihood), counts, parts.centres.astype(np.float32) + shifts, scatters


@jax.jit
def _totals(rows, row_groups, log_weights, centres, whiteners, groups):
    """Sum up the log-likelihood, and for each part the number and the two first moments about its centre.

    Rows come in chunks ``(C, n, K)``.
    """

    def add(totals, chunk):
        x, row_group = chunk

        serves = groups[:, None] == row_group[None]
        serves_any = jnp.any(serves, axis=1)

        def square(part):
            centre, whitener, serves_any = part

            def squares():
                return jnp.sum(jnp.square(_product(x - centre[None], whitener.T)), axis=1)

            return _if(serves_any, squares)

        log_shares = log_weights[:, None] - lax.map(square, (centres, whiteners, serves_any)) / 2
        log_shares = jnp.where(serves, log_shares, -jnp.inf)
        is_row = row_group >= 0  # not padding
        log_row = jnp.where(is_row, jax.nn.logsumexp(log_shares, axis=0), 0)
        shares = jnp.exp(log_shares - log_row[None])

        def moments(part):
            centre, share, serves_any = part

            def sums():
                apart = x - centre[None]
                weighted = apart * share[:, None]
                return jnp.sum(share), jnp.sum(weighted, axis=0), _product(weighted.T, apart)

            return _if(serves_any, sums)

        of_chunk = jnp.sum(log_row), *lax.map(moments, (centres, shares, serves_any))
        return jax.tree.map(jnp.add, totals, of_chunk), None

    n_parts, k = centres.shape
    zeros = (jnp.float32(0), jnp.zeros(n_parts), jnp.zeros((n_parts, k)), jnp.zeros((n_parts, k, k)))
    return lax.scan(add, zeros, (rows, row_groups))[0]


def _if(condition: jax.Array, function: Callable[[], Any]) -> Any:
    """Call a function, or give zeros of the shape of its result."""
    return lax.cond(condition, function, lambda: jax.tree.map(jnp.zeros_like, jax.eval_shape(function)))


def _product(a: jax.Array, b: jax.Array) -> jax.Array:
    return jnp.matmul(a, b, precision=lax.Precision.HIGHEST)
