r"""Fitting a mixture of PCA states: by expectation-maximisation, or with parts for each label.

In the scores of one PCA of all latents, divided by their standard deviations, part m has a weight, a centre
and a covariance. With few rows a part would take the directions of its own rows for the whole space. So its
covariance leans on the one that all parts have in common,

.. math::
    \Sigma_m = \frac{S_m + \nu \Sigma}{n_m + \nu}, \qquad \Sigma = \frac1n \sum_m S_m,

with its rows' scatter :math:`S_m` about its centre, as if :math:`\nu` more rows of the common covariance had
been seen: the maximum a posteriori under an inverse Wishart prior (Fraley and Raftery, 2007). A part of
a thousand rows is its own; a part of one row has the shape of the others.

What makes the latents likely is not what makes good images: rows of 256 components that no part has seen are
far likelier with :math:`\nu = K`, while images come out better with :math:`\nu = 1`, where a part of thirty
rows draws next to nothing but what lies between them (``benchmarks/quality.py``).
"""

import warnings
from collections.abc import Hashable, Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike

from ellipsoid.checks import check_rows
from ellipsoid.fitting import fit
from ellipsoid.mixture import Mixture
from ellipsoid.moments import Moments
from ellipsoid.progress import progress_bar
from ellipsoid.random import key as make_key
from ellipsoid.random import philox_words
from ellipsoid.state import PCAState

#: Numbers of parts to choose from where none is said.
N_PARTS = (1, 2, 5, 10, 20, 50)
#: More labels, or combinations of attributes, are taken for a mistake.
MAX_GROUPS = 1024

_MAX_STEPS = 100
# Of the mean log-likelihood of a row, by which good and bad numbers of parts differ by a unit or more.
_TOLERANCE = 0.01
_HELD_OUT = 0.1
# Of the variance of all latents: rows that are equal still make a part that has a shape.
_FLOOR = 1e-6
_CHUNK = 4096
# k-means gives the start only, for which so many rows do as well as all.
_START_ROWS = 20_000


def fit_mixture(
    latents: ArrayLike,
    n_parts: int | Sequence[int] | None = None,
    n_components: int | float | None = None,
    *,
    prior_rows: float = 1.0,
    max_rows: int | None = None,
    key: jax.Array | None = None,
    progress: bool = False,
) -> Mixture:
    """Learn the shape of latents that one ellipsoid does not describe, as a mixture of several.

    All parts lie in the subspace of the first K principal components of all latents. Each has its own
    weight, and in that subspace its own centre, axes and scale, found by expectation-maximisation from a
    start by k-means.

    Parameters
    ----------
    latents : array, shape (n, D)
    n_parts : int, sequence of int, or None
        The number of parts M; or several to choose from, by the likelihood of a tenth of the rows, held
        out; or None, for a choice from `N_PARTS`. For the best images take more than the likelihood asks
        for, down to fifty rows a part; with thirty, draws begin to be copies. Parts that lose their rows on
        the way are dropped.
    n_components : int, float or None
        As for :func:`ellipsoid.fit`. Fewer than all cost diversity.
    prior_rows : float
        How many rows the covariance that all parts have in common counts for in each. K is best for the
        likelihood of latents, 1 for images.
    max_rows : int, optional
        Find the parts in a random subset of so many rows.
    key : key, optional
        JAX random key of the start, of the rows held out and of the subset; ``ellipsoid.key(0)`` when absent.
    progress : bool
        Show a progress bar.

    Returns
    -------
    Mixture
        Parts by decreasing weight, without labels.

    Raises
    ------
    TypeError
        If the latents do not hold real numbers, or another argument is of the wrong kind.
    ValueError
        If the latents are not a finite matrix of at least two different rows, or fewer rows than parts, or
        another argument is out of range.

    Examples
    --------
    >>> mixture = fit_mixture(latents, 50)
    >>> draws = ellipsoid.sample(ellipsoid.key(0), mixture, 1000, law="normal", level=4.0)
    """
    candidates = _as_candidates(n_parts)
    if max_rows is not None and _as_count("max_rows", max_rows) < 2:
        raise ValueError(f"max_rows: expected at least 2; got {max_rows}")
    rng = _as_generator(key)
    shared, prior = _fit_shared(latents, n_components, prior_rows)
    rows = check_rows("latents", latents)
    if max_rows is not None and max_rows < len(rows):
        rows = rows[np.sort(rng.choice(len(rows), max_rows, replace=False))]
    if n_parts is None:
        # A tenth is held out, and a part of less than ten rows says nothing.
        candidates = [m for m in candidates if 10 * m <= len(rows)] or [1]
    if max(candidates) > len(rows):
        raise ValueError(f"n_parts: expected at most {len(rows)}, the number of rows; got {max(candidates)}")
    whitened, deviations = _whiten(shared, rows)
    n_steps = _MAX_STEPS * (1 + len(candidates) if len(candidates) > 1 else 1)
    with progress_bar("fit mixture", n_steps, enabled=progress, unit="steps") as advance:
        best = candidates[0]
        if len(candidates) > 1:
            best = _best(candidates, whitened, deviations, prior, rng, advance)
        group = np.zeros(len(rows), np.int32)
        parts = _fit_parts(whitened, group, [best], deviations, prior, rng, advance)
    return _as_mixture(shared, parts, (), [()])


def fit_by_label(
    latents: ArrayLike,
    labels: ArrayLike | Sequence[Hashable] | Mapping[str, ArrayLike],
    n_components: int | float | None = None,
    *,
    n_parts: int = 1,
    prior_rows: float | None = None,
    key: jax.Array | None = None,
    progress: bool = False,
) -> Mixture:
    """Learn the shape of the latents of each label, to draw those of the labels one wants.

    Parameters
    ----------
    latents : array, shape (n, D)
    labels : array or sequence of n labels, or mapping of names to n booleans
        One label a row, of any kind; it is selected by its text. Or attributes, of which a row may have any
        number: each combination that occurs is a label of its own then.
    n_components, key, progress
        As for :func:`fit_mixture`.
    prior_rows : float, optional
        As for :func:`fit_mixture`, but K by default: a label with few rows leans on the shape of the others.
    n_parts : int
        Number of parts for each label; no more than it has rows.

    Returns
    -------
    Mixture
        Parts by decreasing weight: labels are as frequent as among the latents.

    Raises
    ------
    TypeError, ValueError
        As :func:`fit_mixture`; also if there is not one label a row, attributes are not booleans, or there
        are more than `MAX_GROUPS` labels or combinations.

    Examples
    --------
    >>> mixture = fit_by_label(latents, {"Smiling": smiling, "Male": male})
    >>> draws = ellipsoid.sample(ellipsoid.key(0), mixture, 100, label={"Smiling": True, "Male": False})
    """
    n_parts = _as_count("n_parts", n_parts)
    rng = _as_generator(key)
    rows = check_rows("latents", latents)
    names, has, group = _as_groups(labels, len(rows))
    shared, prior = _fit_shared(latents, n_components, prior_rows)
    counts = [min(n_parts, int(size)) for size in np.bincount(group)]
    with progress_bar("fit mixture", _MAX_STEPS, enabled=progress, unit="steps") as advance:
        whitened, deviations = _whiten(shared, rows)
        parts = _fit_parts(whitened, group, counts, deviations, prior, rng, advance)
    return _as_mixture(shared, parts, names, has)


# --- what was asked for ------------------------------------------------------------------------------


def _as_count(name, value):
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise TypeError(f"{name}: expected an int; got {value!r}")
    if value < 1:
        raise ValueError(f"{name}: expected at least 1; got {value}")
    return int(value)


def _as_candidates(n_parts):
    if n_parts is None:
        return list(N_PARTS)
    if isinstance(n_parts, int | np.integer):
        return [_as_count("n_parts", n_parts)]
    if not isinstance(n_parts, Sequence | np.ndarray) or isinstance(n_parts, str) or not len(n_parts):
        raise TypeError(f"n_parts: expected an int, several, or None; got {n_parts!r}")
    return [_as_count("n_parts", m) for m in n_parts]


def _as_generator(key):
    return np.random.default_rng(np.asarray(philox_words(make_key(0) if key is None else key)))


def _as_groups(labels, n):
    """Names of labels, which of them each group of rows has, and the group of each row."""
    if isinstance(labels, Mapping):
        names = tuple(labels)
        if not names or not all(isinstance(name, str) for name in names):
            raise TypeError(f"labels: expected attributes by name; got {list(labels)!r}")
        columns = [np.asarray(labels[name]) for name in names]
        for name, column in zip(names, columns, strict=True):
            if column.shape != (n,):
                raise ValueError(f"labels: expected {n} booleans for {name!r}; got shape {column.shape}")
            if column.dtype != bool:
                raise TypeError(f"labels: expected booleans for {name!r}; got {column.dtype}")
        has, group = np.unique(np.stack(columns, axis=1), axis=0, return_inverse=True)
    else:
        values = np.asarray(labels)
        if values.shape != (n,):
            raise ValueError(f"labels: expected one for each of {n} latents; got shape {values.shape}")
        if values.dtype.kind == "f" and np.isnan(values).any():
            raise ValueError("labels: expected one for each of the latents; some are NaN")
        if values.dtype.kind == "S":
            values = np.char.decode(values)
        if values.dtype == object:
            values = np.array([str(value) for value in values])
        if values.dtype.kind == "f" and (values == np.rint(values)).all():
            values = values.astype(np.int64)
        unique, group = np.unique(values, return_inverse=True)
        names = tuple(str(value) for value in unique)
        has = np.eye(min(len(names), MAX_GROUPS + 1), dtype=bool)
    if len(has) > MAX_GROUPS:
        raise ValueError(
            f"labels: expected at most {MAX_GROUPS} labels or combinations of attributes; got {len(has)} or "
            "more: give fewer attributes"
        )
    return names, has.tolist(), group.astype(np.int32)


def _fit_shared(latents, n_components, prior_rows):
    shared = fit(latents, n_components)
    prior = shared.n_components if prior_rows is None else prior_rows
    if isinstance(prior, bool) or not isinstance(prior, int | float | np.number):
        raise TypeError(f"prior_rows: expected a number; got {prior!r}")
    if not 0 < prior < np.inf:
        raise ValueError(f"prior_rows: expected a finite number above 0; got {prior}")
    return shared, float(prior)


def _whiten(shared: PCAState, rows) -> tuple[np.ndarray, np.ndarray]:
    """Scores of unit variance, ``(n, K)`` float32, and the standard deviations that they were divided by."""
    whitened = np.empty((len(rows), shared.n_components), np.float32)
    deviations = np.sqrt(np.asarray(shared.explained_variance))
    for start in range(0, len(rows), _CHUNK):
        chunk = slice(start, start + _CHUNK)
        whitened[chunk] = np.asarray(shared.project(rows[chunk])) / deviations
    return whitened, deviations


# --- expectation and maximisation --------------------------------------------------------------------


class _Parts(NamedTuple):
    """M parts in whitened scores, in float64.

    Number of rows (M,), centres (M, K), covariances (M, K, K), and the group of rows that each serves (M,).
    """

    counts: np.ndarray
    centres: np.ndarray
    covariances: np.ndarray
    groups: np.ndarray


def _best(candidates, x, deviations, prior, rng, advance):
    """Find the number of parts under which rows that were not fitted are likeliest."""
    order = rng.permutation(len(x))
    n_held = max(1, round(_HELD_OUT * len(x)))
    held, rest = x[order[:n_held]], x[order[n_held:]]
    group, held_group = (np.zeros(len(rows), np.int32) for rows in (rest, held))

    def likelihood(n_parts):
        parts = _fit_parts(rest, group, [min(n_parts, len(rest))], deviations, prior, rng, advance)
        return _expect(held, held_group, parts)[0]

    return candidates[int(np.argmax([likelihood(m) for m in candidates]))]


def _fit_parts(x, group, n_parts, deviations, prior, rng, advance) -> _Parts:
    """Fit `n_parts[g]` parts to the rows of each group g; all of them lean on one common covariance."""
    # By distances between latents: whitened, the last components would count as much as the first.
    start = _start(x * deviations, group, n_parts, rng)
    groups = np.repeat(np.arange(len(n_parts), dtype=np.int32), n_parts)
    first = [Moments.empty(x.shape[1]).update(x[start == m]) for m in range(len(groups))]
    counts, means, scatters = (
        np.stack([getattr(moments, name) for moments in first]) for name in ("count", "mean", "scatter")
    )
    parts = _maximise(counts, means, scatters, groups, prior)
    # A group of one part has been fitted already, whatever the likelihood.
    n_steps = _MAX_STEPS if max(n_parts) > 1 else 0
    if n_steps and len(n_parts) > 1:
        # Chunks of rows meet few groups then, and are held against their parts alone.
        order = np.argsort(group, kind="stable")
        x, group = x[order], group[order]
    before = -np.inf
    for step in range(n_steps):
        likelihood, *statistics = _expect(x, group, parts)
        advance(1, f"{len(parts.counts)} parts, log-likelihood {likelihood:.2f}")
        if likelihood - before < _TOLERANCE:
            n_steps = step + 1
            break
        before = likelihood
        parts = _maximise(*statistics, parts.groups, prior)
    advance(_MAX_STEPS - n_steps)
    return parts


def _start(scores, group, n_parts, rng):
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


def _maximise(counts, means, scatters, groups, prior) -> _Parts:
    """Fit each part to its rows, given by their number, mean and scatter; parts without any are dropped."""
    common = scatters.sum(axis=0) / counts.sum()
    # Where each part has a row or two, the common covariance needs a prior itself: K rows of a round one.
    k, n = len(common), counts.sum()
    common = (n * common + np.trace(common) * np.eye(k)) / (n + k)
    kept = counts >= 0.5
    counts, means, scatters, groups = (part[kept] for part in (counts, means, scatters, groups))
    covariances = (scatters + prior * common) / (counts + prior)[:, None, None] + _FLOOR * np.eye(k)
    return _Parts(counts.astype(np.float64), means, covariances, groups)


def _expect(x, group, parts: _Parts):
    """Mean log-likelihood of a row, and number, mean and scatter of the rows of each part."""
    roots = np.linalg.cholesky(parts.covariances)
    whiteners = np.linalg.inv(roots).astype(np.float32)
    log_determinants = np.log(np.diagonal(roots, axis1=1, axis2=2)).sum(axis=1)
    log_weights = np.log(parts.counts / parts.counts.sum()) - log_determinants
    n_chunks = -(-len(x) // _CHUNK)
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

    Rows come in chunks ``(C, n, K)``, and count for each part of their group by the probability that they are
    its own.
    """

    def add(totals, chunk):
        x, row_group = chunk

        of_group = groups[:, None] == row_group[None]
        met = jnp.any(of_group, axis=1)

        def square(part):
            centre, whitener, met = part

            def squares():
                return jnp.sum(jnp.square(_product(x - centre[None], whitener.T)), axis=1)

            return _if(met, squares)

        log_shares = log_weights[:, None] - lax.map(square, (centres, whiteners, met)) / 2
        log_shares = jnp.where(of_group, log_shares, -jnp.inf)
        of_parts = row_group >= 0
        log_row = jnp.where(of_parts, jax.nn.logsumexp(log_shares, axis=0), 0)
        shares = jnp.exp(log_shares - log_row[None])

        def moments(part):
            centre, share, met = part

            def sums():
                apart = x - centre[None]
                weighted = apart * share[:, None]
                return jnp.sum(share), jnp.sum(weighted, axis=0), _product(weighted.T, apart)

            return _if(met, sums)

        found = jnp.sum(log_row), *lax.map(moments, (centres, shares, met))
        return jax.tree.map(jnp.add, totals, found), None

    n_parts, k = centres.shape
    zeros = (jnp.float32(0), jnp.zeros(n_parts), jnp.zeros((n_parts, k)), jnp.zeros((n_parts, k, k)))
    return lax.scan(add, zeros, (rows, row_groups))[0]


def _if(condition, function):
    """Call a function, or give zeros of the shape of its result."""
    return lax.cond(condition, function, lambda: jax.tree.map(jnp.zeros_like, jax.eval_shape(function)))


def _product(a, b):
    return jnp.matmul(a, b, precision=lax.Precision.HIGHEST)


def _as_mixture(shared, parts: _Parts, names, has) -> Mixture:
    order = np.argsort(-parts.counts, kind="stable")
    counts, centres, covariances, groups = (field[order] for field in parts)
    mean, components, variance, ratio = (
        np.asarray(field, np.float64)
        for field in (
            shared.mean,
            shared.components,
            shared.explained_variance,
            shared.explained_variance_ratio,
        )
    )
    deviations = np.sqrt(variance)
    variances, axes = np.linalg.eigh(covariances * deviations[:, None] * deviations)
    variances = np.maximum(variances[:, ::-1], np.finfo(np.float32).tiny)
    axes = np.swapaxes(axes[:, :, ::-1], 1, 2) @ components
    largest = np.take_along_axis(axes, np.abs(axes).argmax(axis=2)[:, :, None], axis=2)
    # What lies outside of the subspace is the same for all parts.
    outside = variance.sum() / ratio.sum() - variance.sum()
    ratios = variances / (variances.sum(axis=1, keepdims=True) + outside)
    dtype = shared.mean.dtype
    fields = (
        mean + (centres * deviations) @ components,
        axes * np.sign(largest),
        np.sqrt(variances),
        variances,
        ratios,
    )
    return Mixture(
        jnp.asarray(counts / counts.sum(), dtype),
        PCAState(
            *(jnp.asarray(field, dtype) for field in fields),
            n_samples=jnp.asarray(np.maximum(np.rint(counts), 1).astype(np.int32)),
        ),
        shared,
        names,
        tuple(tuple(has[g]) for g in groups),
    )
