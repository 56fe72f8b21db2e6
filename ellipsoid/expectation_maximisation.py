"""Expectation-maximisation of a mixture of Gaussians whose covariances are shrunk towards a common one.

Rows come in groups: one for each label, or a single one. Each part belongs to one group and sees only its
rows. Sums over rows run in float32 on the device, chunk by chunk; parts are computed from the sums in float64
on the host. :mod:`ellipsoid.mixture_fitting` derives the covariance.
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

# In units of the mean log-likelihood per row; good and bad numbers of parts differ by 1 or more.
_TOLERANCE = 0.01
# In units of the variance of rows about the centre of their part, for each component.
_FLOOR = 1e-6
# In units of the variance of all latents, and above float32 rounding, so that equal rows still give a part
# with a shape.
_LEAST = 1e-12
_CHUNK_ROWS = 4096
# k-means only gives the start, for which this many rows do as well as all.
_START_ROWS = 20_000


class Parts(NamedTuple):
    """M parts in whitened scores, in float64.

    Attributes
    ----------
    counts : ndarray, shape (M,)
        Number of rows of each part.
    centres : ndarray, shape (M, K)
        Means of the parts.
    covariances : ndarray, shape (M, K, K)
        Covariances of the parts.
    groups : ndarray, shape (M,)
        Group that each part belongs to.
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
    """Fit parts to the rows of each group, and shrink their covariances towards a common one.

    Parameters
    ----------
    x : ndarray, shape (n, K), float32
        Whitened scores.
    group : ndarray, shape (n,), int32
        Group of each row.
    n_parts : list of int
        Number of parts for each group.
    deviations : ndarray, shape (K,)
        Standard deviations by which the scores were divided.
    prior : float
        Weight of the common covariance in each part, as a number of rows.
    rng : numpy.random.Generator
        Random generator of the start by k-means.
    advance : Advance
        Function called after each step, at most `MAX_STEPS` times.

    Returns
    -------
    Parts
        Parts that have rows; empty ones are dropped.
    """
    # k-means uses distances between latents: between whitened scores, the last components would count as much
    # as the first. Scaling by a power of two keeps the digits; float32 squares of small latents would vanish.
    relative = np.ldexp(deviations, -np.frexp(deviations.max())[1])
    start = _start(x * relative, group, n_parts, rng)
    groups = np.repeat(np.arange(len(n_parts), dtype=np.int32), n_parts)
    first = [Moments.empty(x.shape[1]).update(x[start == m]) for m in range(len(groups))]
    counts, means, scatters = (
        np.stack([getattr(moments, name) for moments in first]) for name in ("count", "mean", "scatter")
    )
    parts = maximise(counts, means, scatters, groups, prior)
    # Groups of one part are fitted by now, whatever the likelihood.
    n_steps = MAX_STEPS if max(n_parts) > 1 else 0
    if n_steps and len(n_parts) > 1:
        # A chunk of sorted rows meets few groups, and is compared with the parts of these only.
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
    """Assign each row to a first part, by k-means within its group."""
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
    """Return the parts that fit best, given the number, mean and scatter of the rows of each part.

    Parameters
    ----------
    counts : ndarray, shape (M,)
        Number of rows of each part; parts with less than half a row are dropped.
    means : ndarray, shape (M, K)
        Mean of the rows of each part.
    scatters : ndarray, shape (M, K, K)
        Scatter of the rows of each part about their mean.
    groups : ndarray, shape (M,)
        Group that each part belongs to.
    prior : float
        Weight of the common covariance in each part, as a number of rows.
    """
    common = scatters.sum(axis=0) / counts.sum()
    # If each part has only a row or two, the common covariance needs a prior itself: K rows of a diagonal
    # one. A spherical one would be far too wide along the axes that separate distant parts, since these hold
    # nearly all of the variance.
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
    """Return the mean log-likelihood of a row, and the number, mean and scatter of the rows of each part.

    Parameters
    ----------
    x : ndarray, shape (n, K), float32
        Whitened scores.
    group : ndarray, shape (n,), int32
        Group of each row.
    parts : Parts
        Current parts. A row counts for each part of its group by its posterior probability.
    """
    roots = np.linalg.cholesky(parts.covariances)
    whiteners = np.linalg.inv(roots).astype(np.float32)
    log_determinants = np.log(np.diagonal(roots, axis1=1, axis2=2)).sum(axis=1)
    log_weights = np.log(parts.counts / parts.counts.sum()) - log_determinants
    n_chunks = -(-len(x) // _CHUNK_ROWS)
    size = -(-len(x) // n_chunks)
    padding = n_chunks * size - len(x)
    rows = np.pad(x, ((0, padding), (0, 0))).reshape(n_chunks, size, -1)
    # Rows of padding have a group without parts.
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
    """Sum the log-likelihood, and for each part the number of rows and two moments about its centre.

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
    """Call a function if the condition holds; otherwise return zeros of the shape of its result."""
    return lax.cond(condition, function, lambda: jax.tree.map(jnp.zeros_like, jax.eval_shape(function)))


def _product(a: jax.Array, b: jax.Array) -> jax.Array:
    return jnp.matmul(a, b, precision=lax.Precision.HIGHEST)
