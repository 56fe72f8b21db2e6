"""Fitting a PCA state to latents.

The covariance is summed and decomposed in float64, and rounded to the precision of the state at the end.
"""

import warnings
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike, DTypeLike

from ellipsoid.blocks import row_slices
from ellipsoid.checks import check_choice, check_count, check_positive, check_rows
from ellipsoid.halfwidth import HALF_WIDTHS, core, half_widths
from ellipsoid.moments import Moments
from ellipsoid.state import PCAState


def fit(
    latents: ArrayLike,
    n_components: int | float | None = None,
    half_width: str = "std",
    *,
    within: float | None = None,
    within_metric: Literal["mahalanobis", "component"] = "mahalanobis",
    max_rows: int | None = None,
    key: jax.Array | None = None,
) -> PCAState:
    """Learn the shape of latents: their mean, principal axes, and half width along each axis.

    Parameters
    ----------
    latents : array, shape (n, D)
        Latent vectors of any real type, NumPy or JAX, at least two. A JAX array stays on its device.
    n_components : int, float or None
        Number of components K; a number between 0 and 1 for the smallest K that explains more than this share
        of the variance, as in scikit-learn; or None for all components that have variance.
    half_width : {"std", "histogram", "histogram_raw", "quantile", "mad", "core"}
        Method that estimates `scale` from the scores; see :mod:`ellipsoid.halfwidth`. "core" also replaces
        the mean, the axes and the explained variance.
    within : float, optional
        Radius, in standard deviations of a first fit, inside which rows must lie to be used by a second fit.
    within_metric : {"mahalanobis", "component"}
        Distance that `within` bounds: the Mahalanobis distance of a row from the mean over its K scores
        (about sqrt(K) for a Gaussian), or each score by itself.
    max_rows : int, optional
        Size of a random subset to fit, drawn without replacement from the rows that `within` leaves.
    key : key, optional
        JAX random key of the subset; required with `max_rows`.

    Returns
    -------
    PCAState
        State in float32; in float64 if the latents are float64 and JAX has 64-bit types on.

    Raises
    ------
    TypeError
        If the latents do not hold real numbers, `n_components` is not an int, a float or None, `within` is
        not a number, or `max_rows` is not an integer.
    ValueError
        If the latents are not a finite matrix of at least two different rows, have masked values, or have
        variances beyond float32. If `n_components` is out of range or exceeds their rank. If `half_width` or
        `within_metric` is unknown. If `within` or `max_rows` is out of range or leaves fewer than two rows,
        or `max_rows` comes without `key`.

    Warns
    -----
    UserWarning
        If `n_components` is None and components without variance are dropped, or if `half_width` is "core"
        and the rows are too few for it.

    Examples
    --------
    >>> import numpy as np
    >>> from ellipsoid import fit, key
    >>> latents = np.random.default_rng(0).normal(size=(1000, 8)) * np.geomspace(8, 1, 8)
    >>> fit(latents, n_components=0.95, half_width="histogram").n_components
    5
    >>> fit(latents, within=3.0, within_metric="component", max_rows=500, key=key(0)).n_samples
    500
    """
    _check_n_components(n_components)
    check_choice("half_width", half_width, (*HALF_WIDTHS, "core"))
    check_choice("within_metric", within_metric, ("mahalanobis", "component"))
    if within is not None:
        check_positive("within", within)
    if max_rows is not None:
        check_count("max_rows", max_rows, 2)
    if max_rows is not None and key is None:
        raise ValueError(
            "key: expected a JAX random key, since max_rows draws a random subset; got None; "
            "pass ellipsoid.key(0), for example"
        )
    rows = check_rows("latents", latents)
    if len(rows) < 2:
        raise ValueError(f"latents: expected at least two rows; got shape {rows.shape}")
    dtype = _state_dtype(rows.dtype)
    moments = Moments.empty(rows.shape[1])

    if within is not None:
        first = _principal_axes(moments.update(rows), dtype).keep(n_components)
        rows = np.asarray(rows)[_lie_within(first.project(rows), first.variance, within, within_metric)]
    if key is not None and max_rows is not None and max_rows < len(rows):
        chosen = jax.random.choice(key, len(rows), (max_rows,), replace=False)
        rows = np.asarray(rows)[np.sort(np.asarray(chosen))]

    moments = moments.update(rows)
    if half_width == "core":
        moments = _core_moments(_principal_axes(moments, dtype), rows)
    axes = _principal_axes(moments, dtype).keep(n_components)
    if half_width in ("std", "core"):
        scale = np.sqrt(axes.variance)
    else:
        scale = half_widths(axes.project(rows), half_width)
    _warn_of_dropped(axes, n_components)
    return _to_state(axes, scale, len(rows), dtype)


def fit_moments(moments: Moments, n_components: int | float | None = None) -> PCAState:
    """Learn the shape of latents from their moments, streamed or merged.

    The `scale` is the standard deviation of each score. The other half widths need all rows; see :func:`fit`.

    Parameters
    ----------
    moments : Moments
        Moments of at least two rows.
    n_components : int, float or None
        Number of components; see :func:`fit`.

    Returns
    -------
    PCAState
        State in float32; in float64 if JAX has 64-bit types on.

    Raises
    ------
    TypeError
        If `n_components` is not an int, a float or None.
    ValueError
        If there are fewer than two different rows or variances beyond float32, or if `n_components` is out of
        range or exceeds their rank.

    Warns
    -----
    UserWarning
        If `n_components` is None and components without variance are dropped.

    Examples
    --------
    >>> import numpy as np
    >>> from ellipsoid import Moments, fit_moments
    >>> moments = Moments.empty(8)
    >>> for batch in np.split(np.random.default_rng(0).normal(size=(1000, 8)), 4):
    ...     moments = moments.update(batch)
    >>> fit_moments(moments, n_components=3).n_samples
    1000
    """
    _check_n_components(n_components)
    if moments.count < 2:
        raise ValueError(f"moments: expected at least two rows; got {moments.count}")
    dtype = _state_dtype(moments.scatter.dtype)
    axes = _principal_axes(moments, dtype).keep(n_components)
    _warn_of_dropped(axes, n_components)
    return _to_state(axes, np.sqrt(axes.variance), moments.count, dtype)


class _Axes(NamedTuple):
    """Principal axes, in float64.

    Attributes
    ----------
    mean : ndarray, shape (D,)
        Mean of the latents.
    components : ndarray, shape (K, D)
        Principal axes, by decreasing variance.
    variance : ndarray, shape (K,)
        Variance of each score.
    ratio : ndarray, shape (K,)
        Share of the total variance.
    """

    mean: np.ndarray
    components: np.ndarray
    variance: np.ndarray
    ratio: np.ndarray

    def keep(self, n_components: int | float | None) -> "_Axes":
        """Return the axes that :func:`fit` keeps for this `n_components`."""
        rank = len(self.variance)
        if n_components is None:
            k = rank
        elif n_components < 1:
            # The components explain more than this share, not exactly as much, as in scikit-learn.
            k = min(int(np.searchsorted(self.ratio.cumsum(), n_components, side="right")) + 1, rank)
        else:
            k = int(n_components)
        if k > rank:
            raise ValueError(f"n_components: expected at most {rank}, the rank of the latents; got {k}")
        return _Axes(self.mean, self.components[:k], self.variance[:k], self.ratio[:k])

    def project(self, rows: np.ndarray | jax.Array) -> np.ndarray:
        """Compute scores in float32, or in float64 if the rows are; both are centred in float64."""
        rows = np.asarray(rows)
        dtype = np.float64 if rows.dtype == np.float64 else np.float32
        components = self.components.T.astype(dtype)
        scores = np.empty((len(rows), components.shape[1]), dtype)
        for block in row_slices(len(rows), 4096):
            np.matmul((rows[block] - self.mean).astype(dtype), components, out=scores[block])
        return scores


def _check_n_components(n_components: Any) -> None:
    if n_components is None:
        return
    whole = isinstance(n_components, (int, np.integer)) and not isinstance(n_components, bool)
    if not whole and not isinstance(n_components, (float, np.floating)):
        raise TypeError(f"n_components: expected an int, a float or None; got {n_components!r}")
    if not (n_components >= 1 if whole else 0 < n_components < 1):
        raise ValueError(f"n_components: expected an int above 0, or a share in (0, 1); got {n_components!r}")


def _state_dtype(dtype: DTypeLike) -> np.dtype:
    return np.dtype(jax.dtypes.canonicalize_dtype(np.float64 if dtype == np.float64 else np.float32))


def _principal_axes(moments: Moments, dtype: np.dtype) -> _Axes:
    """Return all axes that have variance, by decreasing variance."""
    mean, covariance = moments.mean, moments.covariance
    variances, vectors = np.linalg.eigh(covariance)
    variances, components = np.maximum(variances[::-1], 0.0), vectors[:, ::-1].T
    # Rounding gives rows of low rank some variance on every axis: the decomposition adds up to D eps64 times
    # the largest variance, and the rows add, in each column, a standard deviation of 0.2 to 0.4 eps times its
    # magnitude. A component gets the share that its axis has of the columns.
    of_decomposition = len(mean) * np.finfo(np.float64).eps * variances[0]
    of_columns = (2 * np.finfo(dtype).eps) ** 2 * (mean**2 + covariance.diagonal())
    of_rounding = np.square(components) @ of_columns
    kept = variances > np.maximum(of_decomposition, of_rounding)
    rank = int(np.sum(kept))
    if rank == 0:
        raise ValueError("latents: expected rows that differ; got equal ones, up to rounding")
    total = variances.sum()
    variances, components = variances[kept], components[kept]
    largest = np.abs(components).argmax(axis=1)
    signs = np.sign(components[np.arange(rank), largest])
    return _Axes(mean, components * signs[:, None], variances, variances / total)


def _core_moments(axes: _Axes, rows: np.ndarray | jax.Array) -> Moments:
    mean, covariance = core(axes.project(rows))
    return Moments(
        len(rows),
        axes.mean + mean @ axes.components,
        axes.components.T @ covariance @ axes.components * (len(rows) - 1),
    )


def _lie_within(scores: np.ndarray, variance: np.ndarray, within: float, metric: str) -> np.ndarray:
    square = (scores / np.sqrt(variance).astype(scores.dtype)) ** 2
    square = square.sum(axis=1) if metric == "mahalanobis" else square.max(axis=1)
    inside = square <= within**2
    if np.sum(inside) < 2:
        raise ValueError(
            f"within: expected at least two rows within it; got {np.sum(inside)} of {len(inside)} within "
            f"{within} standard deviations by within_metric={metric!r}; the median row is at "
            f"{np.median(square) ** 0.5:.3g}"
        )
    return inside


def _warn_of_dropped(axes: _Axes, n_components: int | float | None) -> None:
    d, k = len(axes.mean), len(axes.variance)
    if n_components is None and k < d:
        message = f"{d - k} of {d} components have no variance and are dropped"
        warnings.warn(message, UserWarning, stacklevel=3)


def _to_state(axes: _Axes, scale: np.ndarray, n_samples: int, dtype: np.dtype) -> PCAState:
    largest = float(max(np.abs(axes.mean).max(), scale.max(), axes.variance.max()))
    if not largest <= float(np.finfo(np.float32).max):
        raise ValueError(
            "latents: expected values whose mean and variance float32 holds; got standard deviations up to "
            f"{float(scale.max()):.3g} about a mean up to {np.abs(axes.mean).max():.3g}; rescale them first"
        )
    values = (axes.mean, axes.components, scale, axes.variance, axes.ratio)
    mean, components, scales, variance, ratio = (jnp.asarray(value.astype(dtype)) for value in values)
    return PCAState(mean, components, scales, variance, ratio, n_samples)
