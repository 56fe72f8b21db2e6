r"""Fitting a mixture of PCA states: by expectation-maximisation, or with parts for each label.

One PCA of all latents gives scores, which are divided by their standard deviations. In these, part m has a
weight, a centre and a covariance. With few rows, a part would take the directions of its own rows for the
whole space. So its covariance is shrunk towards the one that all parts share,

.. math::
    \Sigma_m = \frac{S_m + \nu \Sigma}{n_m + \nu}, \qquad \Sigma = \frac1n \sum_m S_m,

with the scatter :math:`S_m` of its rows about its centre, as if :math:`\nu` more rows of the common
covariance had been seen. This is the maximum a posteriori under an inverse Wishart prior (Fraley and Raftery,
2007). A part of a thousand rows keeps its own shape; a part of one row has the shape of the others.

The best likelihood and the best images need different priors. Unseen rows of 256 components are far likelier
with :math:`\nu = K`. Images come out better with :math:`\nu = 1`, where a part of thirty rows draws little
but points between them (``benchmarks/quality.py``).
"""

from collections.abc import Hashable, Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from ellipsoid.blocks import row_slices
from ellipsoid.checks import check_count, check_positive, check_rows
from ellipsoid.expectation_maximisation import MAX_STEPS, Parts, expect, fit_parts
from ellipsoid.fitting import fit
from ellipsoid.labels import as_attributes, as_labels
from ellipsoid.mixture import Mixture
from ellipsoid.progress import Advance, progress_bar
from ellipsoid.random import key as make_key
from ellipsoid.random import philox_words
from ellipsoid.state import PCAState

#: Numbers of parts that :func:`fit_mixture` chooses from by default.
N_PARTS = (1, 2, 5, 10, 20, 50)
#: Highest number of labels, or of combinations of attributes: more are taken for a mistake.
MAX_GROUPS = 1024

# Share of the rows whose likelihood chooses the number of parts.
_HELD_OUT = 0.1


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
        Latent vectors of any real type, at least two.
    n_parts : int, sequence of int, or None
        Number of parts M; or several to choose from; or None, for a choice from `N_PARTS`. The likelihood of
        a tenth of the rows, held out, decides. The best images need more parts than the likelihood asks for,
        down to fifty rows a part; with thirty, draws begin to be copies. Parts that lose their rows in the
        fit are dropped.
    n_components : int, float or None
        Number of components, as for :func:`ellipsoid.fit`. Fewer than all cost diversity.
    prior_rows : float
        Number of rows that the common covariance counts for in each part. K is best for the likelihood of
        latents, 1 for images.
    max_rows : int, optional
        Size of a random subset of the rows that the parts are fitted to.
    key : key, optional
        JAX random key of the start by k-means, of the rows held out and of the subset. None stands for
        ``ellipsoid.key(0)``: without a key, the same latents and settings give the same mixture every time.
    progress : bool
        Whether to show a progress bar.

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

    Warns
    -----
    UserWarning
        If `n_components` is None and components without variance are dropped.

    Examples
    --------
    >>> import numpy as np
    >>> from ellipsoid import fit_mixture, key, sample
    >>> rng = np.random.default_rng(0)
    >>> latents = rng.normal(size=(600, 4)) + 8 * rng.integers(2, size=(600, 1))
    >>> mixture = fit_mixture(latents, 2, key=key(0))
    >>> sample(key(1), mixture, 1000, law="normal", level=4.0).latents.shape
    (1000, 4)
    """
    candidates = _as_candidates(n_parts)
    if max_rows is not None:
        check_count("max_rows", max_rows, 2)
    rng = as_generator(key)
    shared, prior = _fit_shared(latents, n_components, prior_rows)
    rows = check_rows("latents", latents)
    if max_rows is not None and max_rows < len(rows):
        rows = rows[np.sort(rng.choice(len(rows), max_rows, replace=False))]
    if n_parts is None:
        # A tenth is held out, and a part of fewer than ten rows says nothing.
        candidates = [m for m in candidates if 10 * m <= len(rows)] or [1]
    if max(candidates) > len(rows):
        raise ValueError(f"n_parts: expected at most {len(rows)}, the number of rows; got {max(candidates)}")
    whitened, deviations = _whiten(shared, rows)
    n_steps = MAX_STEPS * (1 + len(candidates) if len(candidates) > 1 else 1)
    with progress_bar("fit mixture", n_steps, enabled=progress, unit="steps") as advance:
        best = candidates[0]
        if len(candidates) > 1:
            best = _best(candidates, whitened, deviations, prior, rng, advance)
        group = np.zeros(len(rows), np.int32)
        parts = fit_parts(whitened, group, [best], deviations, prior, rng, advance)
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
    """Learn the shape of the latents of each label, to draw those of chosen labels.

    Parameters
    ----------
    latents : array, shape (n, D)
        Latent vectors of any real type, at least two.
    labels : array or sequence of n labels, or mapping of names to n booleans
        Label of each row, of any kind; it is selected by its text. The number -1 is a label like any other:
        leave such rows out where it stands for none. Or attributes, of which a row may have any number: each
        combination that occurs is then a separate label.
    n_components : int, float or None
        Number of components, as for :func:`ellipsoid.fit`.
    n_parts : int
        Number of parts for each label; no more than it has rows.
    prior_rows : float, optional
        Number of rows that the common covariance counts for in each part, K by default. A label with few rows
        is shrunk towards the shape of the others.
    key : key, optional
        JAX random key of the start by k-means; None stands for ``ellipsoid.key(0)``, as for
        :func:`fit_mixture`. With one part for each label nothing is random.
    progress : bool
        Whether to show a progress bar.

    Returns
    -------
    Mixture
        Parts by decreasing weight: labels are as frequent as among the latents.

    Raises
    ------
    TypeError
        If the latents do not hold real numbers, attributes are not booleans by name, or another argument is
        of the wrong kind.
    ValueError
        If the latents are not a finite matrix of at least two different rows; if there is not one label for
        each of them, some labels are missing (None, NaN, NA or NaT), masked or infinite, or there are more
        than `MAX_GROUPS` labels or combinations; or if another argument is out of range.

    Warns
    -----
    UserWarning
        If `n_components` is None and components without variance are dropped.

    Examples
    --------
    >>> import numpy as np
    >>> from ellipsoid import fit_by_label, key, sample
    >>> rng = np.random.default_rng(0)
    >>> smiling, male = rng.random((2, 600)) < 0.5
    >>> latents = rng.normal(size=(600, 4)) + 8 * np.stack([smiling, male, smiling, male], axis=1)
    >>> mixture = fit_by_label(latents, {"Smiling": smiling, "Male": male})
    >>> wanted = {"Smiling": True, "Male": False}
    >>> sample(key(0), mixture, 100, label=wanted).latents.shape
    (100, 4)
    """
    n_parts = check_count("n_parts", n_parts)
    rng = as_generator(key)
    rows = check_rows("latents", latents)
    names, has, group = _as_groups(labels, len(rows))
    shared, prior = _fit_shared(latents, n_components, prior_rows)
    counts = [min(n_parts, int(size)) for size in np.bincount(group)]
    with progress_bar("fit mixture", MAX_STEPS, enabled=progress, unit="steps") as advance:
        whitened, deviations = _whiten(shared, rows)
        parts = fit_parts(whitened, group, counts, deviations, prior, rng, advance)
    return _as_mixture(shared, parts, names, has)


# --- arguments ---------------------------------------------------------------------------------------


def _as_candidates(n_parts: int | Sequence[int] | None) -> list[int]:
    if n_parts is None:
        return list(N_PARTS)
    if isinstance(n_parts, int | np.integer):
        return [check_count("n_parts", n_parts)]
    if not isinstance(n_parts, Sequence | np.ndarray) or isinstance(n_parts, str) or not len(n_parts):
        raise TypeError(f"n_parts: expected an int, several, or None; got {n_parts!r}")
    return [check_count("n_parts", m) for m in n_parts]


def as_generator(key: jax.Array | None) -> np.random.Generator:
    """Make a random generator from a key, or from ``ellipsoid.key(0)``."""
    return np.random.default_rng(np.asarray(philox_words(make_key(0) if key is None else key)))


def _as_groups(
    labels: ArrayLike | Sequence[Hashable] | Mapping[str, ArrayLike], n: int
) -> tuple[tuple[str, ...], list[list[bool]], np.ndarray]:
    """Give the names of labels, which of them each group of rows has, and the group of each row."""
    if isinstance(labels, Mapping):
        columns = as_attributes(labels, n)
        names = tuple(columns)
        has, group = np.unique(np.stack(list(columns.values()), axis=1), axis=0, return_inverse=True)
    else:
        unique, group = np.unique(as_labels(labels, n), return_inverse=True)
        names = tuple(str(value) for value in unique)
        has = np.eye(min(len(names), MAX_GROUPS + 1), dtype=bool)
    if len(has) > MAX_GROUPS:
        raise ValueError(
            f"labels: expected at most {MAX_GROUPS} labels or combinations of attributes; got {len(has)} or "
            "more: give fewer attributes"
        )
    return names, has.tolist(), group.astype(np.int32)


def as_conditions(
    labels: ArrayLike | Sequence[Hashable] | Mapping[str, ArrayLike] | None, n: int
) -> tuple[tuple[str, ...], np.ndarray, bool]:
    """Give the names of labels, labels of each row ``(n, L)`` int8, and whether each row has just one.

    A label that a row has is 1, and another one is 0; an attribute is 1 or -1.

    Raises
    ------
    TypeError, ValueError
        As for :func:`fit_by_label`.
    """
    if labels is None:
        return (), np.zeros((n, 0), np.int8), True
    if isinstance(labels, Mapping):
        columns = as_attributes(labels, n)
        return (
            tuple(columns),
            np.stack([np.where(c, 1, -1).astype(np.int8) for c in columns.values()], 1),
            False,
        )
    names, has, group = _as_groups(labels, n)
    return names, np.array(has, np.int8)[group], True


def _fit_shared(
    latents: ArrayLike, n_components: int | float | None, prior_rows: float | None
) -> tuple[PCAState, float]:
    """Fit the state of all latents, and count the rows that the common covariance stands for in each part."""
    if prior_rows is not None:
        check_positive("prior_rows", prior_rows)
    shared = fit(latents, n_components)
    return shared, float(shared.n_components if prior_rows is None else prior_rows)


def _whiten(shared: PCAState, rows: np.ndarray | jax.Array) -> tuple[np.ndarray, np.ndarray]:
    """Give scores of unit variance, ``(n, K)`` float32, and the standard deviations that divided them."""
    whitened = np.empty((len(rows), shared.n_components), np.float32)
    deviations = np.asarray(shared.scale)  # variances of small latents underflow in float32
    for chunk in row_slices(len(rows), 4096):
        whitened[chunk] = np.asarray(shared.project(rows[chunk])) / deviations
    return whitened, deviations


def _best(
    candidates: list[int],
    x: np.ndarray,
    deviations: np.ndarray,
    prior: float,
    rng: np.random.Generator,
    advance: Advance,
) -> int:
    """Find the number of parts under which rows that were not fitted are likeliest."""
    order = rng.permutation(len(x))
    n_held = max(1, round(_HELD_OUT * len(x)))
    held, rest = x[order[:n_held]], x[order[n_held:]]
    group, held_group = (np.zeros(len(rows), np.int32) for rows in (rest, held))

    def likelihood(n_parts):
        parts = fit_parts(rest, group, [min(n_parts, len(rest))], deviations, prior, rng, advance)
        return expect(held, held_group, parts)[0]

    return candidates[int(np.argmax([likelihood(m) for m in candidates]))]


def _as_mixture(
    shared: PCAState, parts: Parts, names: tuple[str, ...], has: Sequence[Sequence[bool]]
) -> Mixture:
    """Make a mixture of parts in whitened scores, by decreasing weight; ``has[g]`` labels group g."""
    order = np.argsort(-parts.counts, kind="stable")
    counts, centres, covariances, groups = (field[order] for field in parts)
    mean, components, deviations, ratio = (
        np.asarray(field, np.float64)
        for field in (shared.mean, shared.components, shared.scale, shared.explained_variance_ratio)
    )
    variance = deviations**2
    variances, axes = np.linalg.eigh(covariances * deviations[:, None] * deviations)
    variances = np.maximum(variances[:, ::-1], np.finfo(np.float32).tiny ** 2)
    axes = np.swapaxes(axes[:, :, ::-1], 1, 2) @ components
    largest = np.take_along_axis(axes, np.abs(axes).argmax(axis=2)[:, :, None], axis=2)
    # The variance outside the subspace is the same for all parts.
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
