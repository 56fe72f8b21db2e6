"""The shape of latents, and draws from it, as one scikit-learn estimator.

Import it by ``from ellipsoid.estimator import EllipsoidSampler``. It is not loaded by ``import ellipsoid``,
since scikit-learn takes longer to import than the rest.
"""

from collections.abc import Mapping
from numbers import Integral
from typing import Any, Self

import jax
import numpy as np
from numpy.typing import ArrayLike
from scipy.spatial.distance import pdist
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, DensityMixin, TransformerMixin
from sklearn.metrics import pairwise_distances_chunked
from sklearn.utils import Tags
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_array, check_is_fitted, check_random_state, validate_data

from ellipsoid.checks import check_unmasked
from ellipsoid.density import log_prob
from ellipsoid.fitting import fit
from ellipsoid.flow import Flow
from ellipsoid.flow_fitting import fit_flow
from ellipsoid.laws import get_law
from ellipsoid.random import key
from ellipsoid.regions import Region, as_region
from ellipsoid.sampling import sample
from ellipsoid.settings import DEFAULT_LEVEL, DrawSettings
from ellipsoid.state import PCAState

_DTYPES = (np.float64, np.float32)

# In 64 Gaussian dimensions the score of this many draws has a standard deviation of 0.003 over keys; a level
# of 0.8 times the best one costs 0.08.
_SCORE_DRAWS = 1024


def _law_has_a_density(estimator: "EllipsoidSampler") -> bool:
    if get_law(estimator.law, as_region(estimator.region)).log_density is None:
        raise AttributeError(f"law: expected uniform or normal, which have a density; got {estimator.law!r}")
    return True


class EllipsoidSampler(ClassNamePrefixFeaturesOutMixin, TransformerMixin, DensityMixin, BaseEstimator):
    """Learn the shape of latents, and draw new ones inside it.

    This is :func:`ellipsoid.fit` and :func:`ellipsoid.sample` with the interface of scikit-learn, for
    pipelines and grid searches. It transforms latents to scores and back, like a PCA. With ``shape="flow"``
    scores are the curved coordinates of :func:`ellipsoid.fit_flow`.

    Parameters
    ----------
    n_components : int, float or None
        Number of components K; a share of the variance in (0, 1); or None for all that have variance.
    half_width : {"std", "histogram", "histogram_raw", "quantile", "mad", "core"}
        Method that estimates the scale of each component; see :func:`ellipsoid.fit`.
    law : {"redraw", "sequential", "uniform", "normal"}
        Distribution of the draws inside the region.
    level : float
        Half-width of every ellipse in standard deviations.
    fact : float
        Factor on `level`; only their product counts.
    region : {"pairwise", "ellipsoid", "box"} or region object
        Region that contains the draws; see :func:`ellipsoid.sample`.
    shape : {"state", "flow"}
        Shape to fit: one ellipsoid, or a flow.
    flow_options : dict, optional
        Arguments of :func:`ellipsoid.fit_flow`, such as ``{"steps": 1000}``; for a flow only.

    Attributes
    ----------
    state_ : PCAState or Flow
        Fitted shape; all functions of :mod:`ellipsoid` take it.
    mean_ : array, shape (D,)
        Centre of the latents.
    components_ : array, shape (K, D)
        Principal axes, by decreasing variance.
    explained_variance_, explained_variance_ratio_ : array, shape (K,)
        Variance of each score in squared latent units, and its share of the total.
    n_components_, n_features_in_ : int
        Numbers of components K and of latent dimensions D.
    feature_names_in_ : array of str, shape (D,)
        Names of the columns; only if `X` has them.

    Examples
    --------
    >>> import numpy as np
    >>> from ellipsoid.estimator import EllipsoidSampler
    >>> latents = np.random.default_rng(0).normal(size=(1000, 8))
    >>> sampler = EllipsoidSampler(n_components=5, law="uniform", level=2.45).fit(latents)
    >>> sampler.sample(100, random_state=0).shape
    (100, 8)
    """

    def __init__(
        self,
        n_components: int | float | None = None,
        half_width: str = "std",
        law: str = "redraw",
        level: float = DEFAULT_LEVEL,
        fact: float = 1.0,
        region: str | Region = "pairwise",
        shape: str = "state",
        flow_options: Mapping[str, Any] | None = None,
    ) -> None:
        self.n_components = n_components
        self.half_width = half_width
        self.law = law
        self.level = level
        self.fact = fact
        self.region = region
        self.shape = shape
        self.flow_options = flow_options

    def fit(self, X: ArrayLike, y: object = None) -> Self:
        """Learn mean, principal axes and scales.

        Parameters
        ----------
        X : array, shape (n, D)
            Latents; at least two rows.
        y : object
            Ignored; it is part of the interface of scikit-learn.

        Raises
        ------
        TypeError, ValueError
            If :func:`ellipsoid.fit`, :func:`ellipsoid.fit_flow` or :func:`ellipsoid.sample` refuses the
            latents or a parameter.

        Warns
        -----
        UserWarning
            If `n_components` is None and components without variance are dropped.
        """
        get_law(self.law, as_region(self.region))
        latents = self._check_latents(X, ensure_min_samples=2)
        state = self._fitted(latents)
        axes = state.base if isinstance(state, Flow) else state
        # Wrong settings are refused now, not when they are first used.
        DrawSettings(self.law, **self._region_settings()).check(state.n_components)
        self.state_ = state
        self.mean_ = np.asarray(axes.mean)
        self.components_ = np.asarray(axes.components)
        self.explained_variance_ = np.asarray(axes.explained_variance)
        self.explained_variance_ratio_ = np.asarray(axes.explained_variance_ratio)
        self.n_components_ = state.n_components
        return self

    def transform(self, X: ArrayLike) -> np.ndarray:
        """Compute the scores of latents, ``(X - mean_) @ components_.T``, in the precision of `X`.

        For a flow they are :meth:`ellipsoid.Flow.project`, in float32 at most.

        Parameters
        ----------
        X : array, shape (n, D)
            Latents.

        Returns
        -------
        array, shape (n, K)
            Scores in latent units.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ValueError
            If `X` is not a finite matrix of D columns.
        """
        check_is_fitted(self)
        latents = self._check_latents(X, reset=False)
        if isinstance(self.state_, Flow):
            return np.asarray(self.state_.project(latents), latents.dtype)
        return (latents - self.mean_) @ self.components_.T

    def inverse_transform(self, X: ArrayLike) -> np.ndarray:
        """Compute the latents of scores, ``mean_ + X @ components_``, in the precision of `X`.

        For a flow they are :meth:`ellipsoid.Flow.reconstruct`, in float32 at most.

        Parameters
        ----------
        X : array, shape (n, K)
            Scores in latent units.

        Returns
        -------
        array, shape (n, D)
            Latents.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ValueError
            If `X` is not a finite matrix of K columns.
        """
        check_is_fitted(self)
        scores: np.ndarray = check_array(X, input_name="X")
        if scores.shape[1] != self.n_components_:
            raise ValueError(f"X: expected scores (n, {self.n_components_}); got shape {scores.shape}")
        if isinstance(self.state_, Flow):
            dtype = scores.dtype if scores.dtype in _DTYPES else np.float64
            return np.asarray(self.state_.reconstruct(scores), dtype)
        return scores @ self.components_ + self.mean_

    def sample(
        self, n_samples: int = 1, random_state: int | np.random.RandomState | None = None
    ) -> np.ndarray:
        """Draw latents.

        Only latents are returned, as in :meth:`sklearn.neighbors.KernelDensity.sample`: there are no labels.

        Parameters
        ----------
        n_samples : int
            Number of latents n.
        random_state : int, RandomState or None
            Seed of :func:`ellipsoid.key`. An int gives the same latents every time, and fewer latents are the
            first of more. A RandomState continues from call to call. None means NumPy's global RandomState,
            as everywhere in scikit-learn.

        Returns
        -------
        array, shape (n, D)
            Latents in the units of the fitted ones, float32.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        TypeError, ValueError
            If `n_samples` is not an integer above 0, or `random_state` has another type.
        """
        check_is_fitted(self)
        draws = sample(_as_key(random_state), self.state_, n_samples, law=self.law, **self._region_settings())
        return np.array(draws.latents)  # a copy, since JAX's own memory is read-only

    @available_if(_law_has_a_density)
    def score_samples(self, X: ArrayLike) -> np.ndarray:
        """Log-density of the draws at latents, within the subspace of the K components.

        Only estimators with `law` "uniform" or "normal" have this method; the other laws have no density in
        closed form. The density of a flow is slow: each row takes as long as K draws.

        Parameters
        ----------
        X : array, shape (n, D)
            Latents.

        Returns
        -------
        array, shape (n,)
            Natural logarithm of the density per latent unit to the power K; ``-inf`` outside the region.
            Values of different K cannot be compared.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ValueError
            If `X` is not a finite matrix of D columns.
        """
        scores, settings = self.transform(X), self._region_settings()
        return np.array(log_prob(self.state_, scores, law=self.law, **settings, over="latents"))

    def score(self, X: ArrayLike, y: object = None) -> float:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Judge how well the draws match latents by the negative energy score; higher is better.

        The score is half the mean distance between draws, minus the mean distance from the latents to the
        draws. Its expectation is highest if both have the same distribution (Gneiting and Raftery, 2007).
        A grid search may therefore compare all laws, levels, regions and numbers of components by it. (The
        mean log-density would be ``-inf`` as soon as one latent vector lies outside the region.) The best
        level is about :func:`ellipsoid.matched_level`. Latents cannot tell that a smaller level gives more
        typical images.

        Parameters
        ----------
        X : array, shape (n, D)
            Latents, preferably ones that were not used to fit.
        y : object
            Ignored; it is part of the interface of scikit-learn.

        Returns
        -------
        float
            Negative energy score in latent units, from 1,024 draws with a fixed key.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ValueError
            If `X` is not a finite matrix of D columns.
        """
        check_is_fitted(self)
        latents = self._check_latents(X, reset=False)
        draws = self.sample(_SCORE_DRAWS, random_state=0)
        blocks = pairwise_distances_chunked(
            latents, draws, reduce_func=lambda block, start: block.mean(axis=1)
        )
        return float(pdist(draws).mean() / 2 - np.concatenate(list(blocks)).mean())

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    @property
    def _n_features_out(self) -> int:
        return self.n_components_

    def _fitted(self, latents: np.ndarray) -> PCAState | Flow:
        if self.shape not in ("state", "flow"):
            raise ValueError(f"shape: expected state or flow; got {self.shape!r}")
        if self.shape == "flow":
            if self.half_width != "std":
                raise ValueError(f"half_width: expected std for a flow; got {self.half_width}")
            return fit_flow(latents, self.n_components, **(self.flow_options or {}))
        if self.flow_options:
            raise ValueError(f"flow_options: expected none for shape 'state'; got {self.flow_options!r}")
        return fit(latents, self.n_components, self.half_width)  # pyright: ignore[reportArgumentType]

    def _check_latents(self, X: Any, **options: Any) -> np.ndarray:
        latents: Any = validate_data(self, check_unmasked("X", X), dtype=_DTYPES, **options)
        return latents

    def _region_settings(self) -> dict[str, Any]:
        return {"level": self.level, "fact": self.fact, "region": self.region}


def _as_key(random_state: int | np.random.RandomState | None) -> jax.Array:
    if isinstance(random_state, Integral):
        return key(int(random_state))
    return key(int(check_random_state(random_state).randint(2**64, dtype=np.uint64)))
