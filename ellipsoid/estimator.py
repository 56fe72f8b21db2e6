"""The shape of latents and the draws from it as one scikit-learn estimator.

This is a module of its own, as scikit-learn takes longer to import than the rest: ``from ellipsoid.estimator
import EllipsoidSampler``.
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

# In 64 Gaussian dimensions, where 0.8 times the best level costs 0.08, the score of so many draws has a
# standard deviation of 0.003 over keys.
_SCORE_DRAWS = 1024


def _law_has_a_density(estimator: "EllipsoidSampler") -> bool:
    if get_law(estimator.law, as_region(estimator.region)).log_density is None:
        raise AttributeError(f"law: {estimator.law!r} has no closed-form density; uniform and normal have")
    return True


class EllipsoidSampler(ClassNamePrefixFeaturesOutMixin, TransformerMixin, DensityMixin, BaseEstimator):
    """Learn the shape of latents, and draw new ones inside of it.

    This is :func:`ellipsoid.fit` and :func:`ellipsoid.sample` with the interface of scikit-learn, for
    pipelines and grid searches. It transforms as a PCA does: latents to scores, and back. With
    ``shape="flow"`` these are the curved coordinates of :func:`ellipsoid.fit_flow`.

    Parameters
    ----------
    n_components : int, float or None
        Number of components K; a share of the variance in (0, 1); or None, for all that have variance.
    half_width : {"std", "histogram", "histogram_raw", "quantile", "mad", "core"}
        Method by which the scale of each component is read off the data, as for :func:`ellipsoid.fit`.
    law : {"redraw", "sequential", "uniform", "normal"}
        Distribution of the draws inside the region.
    level : float
        Half-width of every ellipse in standard deviations.
    fact : float
        Factor on `level`; only their product counts.
    region : {"pairwise", "ellipsoid", "box"} or region object
        Region that draws must stay in, as for :func:`ellipsoid.sample`.
    shape : {"state", "flow"}
        Shape that is fitted: one ellipsoid, or a flow.
    flow_options : dict, optional
        Arguments of :func:`ellipsoid.fit_flow`: ``{"steps": 1000}``, say. Only a flow has them.

    Attributes
    ----------
    state_ : PCAState or Flow
        Shape that was fitted; all functions of :mod:`ellipsoid` take it.
    mean_ : array, shape (D,)
        Centre of the latents.
    components_ : array, shape (K, D)
        Principal axes, by decreasing variance.
    explained_variance_, explained_variance_ratio_ : array, shape (K,)
        Variance of each score in squared latent units, and its share of the total.
    n_components_, n_features_in_ : int
        Numbers of components K and of latent dimensions D.
    feature_names_in_ : array of str, shape (D,)
        Names of the columns, if `X` has them.

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
            Latents, at least two.
        y : object
            Argument that scikit-learn passes on; it is not used.

        Raises
        ------
        TypeError, ValueError
            For latents or parameters that :func:`ellipsoid.fit`, :func:`ellipsoid.fit_flow` or
            :func:`ellipsoid.sample` refuses.

        Warns
        -----
        UserWarning
            If `n_components` is None and components without variance are dropped.
        """
        get_law(self.law, as_region(self.region))
        latents = self._check_latents(X, ensure_min_samples=2)
        state = self._fitted(latents)
        axes = state.base if isinstance(state, Flow) else state
        # Settings that don't fit are refused now, not when they are first used.
        DrawSettings(self.law, **self._region_settings()).check(state.n_components)
        self.state_ = state
        self.mean_ = np.asarray(axes.mean)
        self.components_ = np.asarray(axes.components)
        self.explained_variance_ = np.asarray(axes.explained_variance)
        self.explained_variance_ratio_ = np.asarray(axes.explained_variance_ratio)
        self.n_components_ = state.n_components
        return self

    def transform(self, X: ArrayLike) -> np.ndarray:
        """Scores of latents, ``(X - mean_) @ components_.T``, in the precision of `X`.

        Those of a flow are :meth:`ellipsoid.Flow.project`, in float32 at most.

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
            If `X` is no finite matrix of D columns.
        """
        check_is_fitted(self)
        latents = self._check_latents(X, reset=False)
        if isinstance(self.state_, Flow):
            return np.asarray(self.state_.project(latents), latents.dtype)
        return (latents - self.mean_) @ self.components_.T

    def inverse_transform(self, X: ArrayLike) -> np.ndarray:
        """Latents of scores, ``mean_ + X @ components_``, in the precision of `X`.

        Those of a flow are :meth:`ellipsoid.Flow.reconstruct`, in float32 at most.

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
            If `X` is no finite matrix of K columns.
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

        Only the latents are returned, as by :meth:`sklearn.neighbors.KernelDensity.sample`: there are no
        labels to go with them.

        Parameters
        ----------
        n_samples : int
            Number of latents n.
        random_state : int, RandomState or None
            Seed of :func:`ellipsoid.key`: an int gives the same latents every time, fewer of them are the
            first of more. A RandomState goes on from call to call; None is that of NumPy itself, as
            everywhere in scikit-learn.

        Returns
        -------
        array, shape (n, D)
            Latents in the units of those that were fitted, float32.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        TypeError, ValueError
            If `n_samples` is no integer above 0, or `random_state` is none of these.
        """
        check_is_fitted(self)
        draws = sample(_as_key(random_state), self.state_, n_samples, law=self.law, **self._region_settings())
        return np.array(draws.latents)  # a copy, as JAX's own memory is read-only

    @available_if(_law_has_a_density)
    def score_samples(self, X: ArrayLike) -> np.ndarray:
        """Log-density of the draws at latents, within the subspace of the K components.

        It is known for the laws `uniform` and `normal`. The other laws have no density in closed form; an
        estimator with one of them lacks this method. That of a flow is slow: each row takes as long as K
        draws.

        Parameters
        ----------
        X : array, shape (n, D)
            Latents.

        Returns
        -------
        array, shape (n,)
            Natural logarithm, per latent unit to the power K: numbers of different K can't be compared.
            ``-inf`` outside of the region.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ValueError
            If `X` is no finite matrix of D columns.
        """
        scores, settings = self.transform(X), self._region_settings()
        return np.array(log_prob(self.state_, scores, law=self.law, **settings, over="latents"))

    def score(self, X: ArrayLike, y: object = None) -> float:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Judge how well the draws match latents, by the negative energy score: the higher, the better.

        That is half the mean distance between draws, minus the mean distance of the latents to draws. Its
        expectation is highest where both have the same distribution (Gneiting and Raftery, 2007), whatever
        the law, level, region and number of components, so a grid search may compare them all. (The mean
        log-density would be ``-inf`` as soon as one of the latents lies outside of the region.) The best
        level is about :func:`ellipsoid.matched_level`; that a smaller one gives more typical images is
        nothing that latents can tell.

        Parameters
        ----------
        X : array, shape (n, D)
            Latents, best those that were not fitted.
        y : object
            Argument that scikit-learn passes on; it is not used.

        Returns
        -------
        float
            Negative energy score in latent units, from 1,024 draws, always of the same key.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ValueError
            If `X` is no finite matrix of D columns.
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
            raise ValueError(f"flow_options: expected none for one state; got {self.flow_options!r}")
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
