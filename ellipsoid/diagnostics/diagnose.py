"""All measurements of one set of latents."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from jax.typing import ArrayLike

from ellipsoid.density import gauge
from ellipsoid.diagnostics.components import Location, Marginals, location, marginals
from ellipsoid.diagnostics.dependence import Dependence, dependence
from ellipsoid.diagnostics.multivariate import (
    Clusters,
    Distances,
    MultivariateNormality,
    clusters,
    distances,
    multivariate_normality,
)
from ellipsoid.diagnostics.pairs import Calibration, calibration, correlation
from ellipsoid.diagnostics.rows import TOLERANCE
from ellipsoid.levels import joint_level
from ellipsoid.moments import Moments
from ellipsoid.progress import progress_bar
from ellipsoid.state import PCAState, check_latents

#: Shares of the latents for which levels are measured.
SHARES = (0.5, 0.9, 0.99)
#: Number of leading components whose pairs are searched for dependence.
DEPENDENCE_COMPONENTS = 32


@dataclass(frozen=True)
class Diagnostics:
    """Measurements by :func:`diagnose` of latents (n, D) and their state of K components.

    Attributes
    ----------
    n, n_features, n_components : int
        Number of latents, D and K.
    scores : ndarray, shape (n, K)
        Scores of the latents.
    original, principal : Marginals
        Statistics of each latent dimension, and of each component of the scores.
    scale_ratio : ndarray, shape (K,)
        Ratio of each component's half-width to the standard deviation of its scores.
    location : Location
        Position of the latents' centre.
    covariance_before, covariance_after : ndarrays, shape (D, D) and (K, K)
        Covariances of the latents, and of their scores.
    calibration : Calibration
        Calibration of the ellipses of all pairs of principal components.
    normality : MultivariateNormality or None
        Tests of all components together; None if the covariance of the scores is singular.
    distances : Distances
        Distances of the scores from zero, in half-widths.
    gauges : ndarray, shape (n,)
        Smallest level at which each row lies inside the ellipses of all pairs.
    levels_holding, gaussian_levels : dict
        Levels at which the ellipses of all pairs hold the shares `SHARES` of the rows, and of a Gaussian.
    clusters : Clusters
        Best split of the leading scores.
    dependence : Dependence
        Dependence of the first `DEPENDENCE_COMPONENTS` scores.
    """

    n: int
    n_features: int
    n_components: int
    scores: np.ndarray
    original: Marginals
    principal: Marginals
    scale_ratio: np.ndarray
    location: Location
    covariance_before: np.ndarray
    covariance_after: np.ndarray
    calibration: Calibration
    normality: MultivariateNormality | None
    distances: Distances
    gauges: np.ndarray
    levels_holding: dict[float, float]
    gaussian_levels: dict[float, float]
    clusters: Clusters
    dependence: Dependence

    def summary(self) -> dict[str, Any]:
        """Summarise the measurements in a few numbers, ready for JSON."""
        principal, pairs = self.principal, self.calibration
        return {
            "n": self.n,
            "n_features": self.n_features,
            "n_components": self.n_components,
            "components": {
                "largest_distance_before": float(np.nanmax(self.original.distance)),
                "median_abs_skewness": float(np.median(np.abs(principal.skewness))),
                "median_kurtosis": float(np.median(principal.kurtosis)),
                "median_distance": float(np.median(principal.distance)),
                "largest_distance": float(principal.distance.max()),
                "median_anderson_darling": float(np.median(principal.anderson_darling)),
                "scale_over_std": [float(self.scale_ratio.min()), float(self.scale_ratio.max())],
            },
            "location": {
                "distance": self.location.distance,
                "radius": self.location.radius,
                "origin_distance": self.location.origin_distance,
            },
            "correlation": {
                "strongest_before": float(_off_diagonal(correlation(self.covariance_before)).max()),
                "strongest_after": float(_off_diagonal(correlation(self.covariance_after)).max()),
            },
            "calibration": {
                "levels": pairs.levels.tolist(),
                "expected": pairs.expected.tolist(),
                "median": np.median(pairs.of_pairs, axis=1).tolist(),
                "pairs_calibrated": pairs.share_within(TOLERANCE),
                "worst_error": float(pairs.errors.max()),
            },
            "normality": None if self.normality is None else vars(self.normality),
            "distances": {
                "spread": self.distances.spread,
                "far_share": self.distances.far_share,
                "core_share": None if math.isnan(self.distances.core_share) else self.distances.core_share,
            },
            "levels_holding": {f"{share:g}": level for share, level in self.levels_holding.items()},
            "gaussian_levels": {f"{share:g}": level for share, level in self.gaussian_levels.items()},
            "clusters": vars(self.clusters),
            "dependence": {
                "strongest_squares": float(_off_diagonal(self.dependence.squares).max()),
                "squares_bound": self.dependence.squares_bound,
                "strongest_distance": float(_off_diagonal(self.dependence.distance).max()),
                "distance_bound": self.dependence.distance_bound,
            },
        }


def diagnose(state: PCAState, latents: ArrayLike, *, progress: bool = False) -> Diagnostics:
    """Measure every claim that the method makes about latents.

    Parameters
    ----------
    state : PCAState
        State of at least 2 components, fitted to these latents or to others.
    latents : array, shape (n, D)
        Latents, at least 8 rows.
    progress : bool
        Whether to show a progress bar.

    Returns
    -------
    Diagnostics

    Raises
    ------
    TypeError
        If `state` is not a PCAState, or `latents` does not hold real numbers.
    ValueError
        If `latents` is not a finite matrix of at least 8 rows with the columns of the state, if a leading
        component of the scores is constant, or if the state has only one component.

    Examples
    --------
    >>> import numpy as np
    >>> import ellipsoid as el
    >>> from ellipsoid import diagnostics
    >>> latents = np.random.default_rng(0).normal(size=(400, 3)) @ [[3, 1, 0], [0, 1, 0], [0, 0, 2]]
    >>> state = el.fit(latents)
    >>> measured = diagnostics.diagnose(state, latents)
    >>> measured.scores.shape
    (400, 3)
    >>> verdict = diagnostics.assess(state, measured)
    >>> verdict.law, verdict.concerns
    ('normal', ())
    """
    latents = check_latents(state, latents)
    if state.n_components < 2:
        raise ValueError("state: expected at least 2 components; got 1")
    n, k = len(latents), state.n_components
    scale = np.asarray(state.scale, np.float64)
    with progress_bar("diagnose", 9, enabled=progress, unit="steps") as advance:

        def measured(function: Callable, *arguments: Any) -> Any:
            result = function(*arguments)
            advance(1, function.__name__.strip("_").replace("_", " "))
            return result

        scores = np.asarray(state.project(latents))
        principal = measured(marginals, scores)
        gauges = np.asarray(gauge(state, latents, level=1.0))
        return Diagnostics(
            n=n,
            n_features=state.n_features,
            n_components=k,
            scores=scores,
            original=measured(marginals, latents),
            principal=principal,
            scale_ratio=scale / principal.std,
            location=measured(location, state, latents),
            covariance_before=measured(_covariance, latents),
            covariance_after=_covariance(scores),
            calibration=measured(calibration, scores, np.diag(scale**2)),
            normality=measured(_normality, scores),
            distances=measured(distances, scores, scale),
            gauges=gauges,
            levels_holding={share: float(np.quantile(gauges, share)) for share in SHARES},
            gaussian_levels={share: joint_level(share, k) for share in SHARES},
            clusters=measured(clusters, scores),
            dependence=measured(dependence, scores[:, :DEPENDENCE_COMPONENTS]),
        )


def _normality(scores: np.ndarray) -> MultivariateNormality | None:
    try:
        return multivariate_normality(scores)
    except ValueError:  # singular: the state was fitted to other latents, or there are few rows
        return None


def _covariance(values: np.ndarray) -> np.ndarray:
    return Moments.empty(values.shape[1]).update(values).covariance


def _off_diagonal(matrix: np.ndarray) -> np.ndarray:
    return np.abs(matrix[np.triu_indices(len(matrix), 1)])
