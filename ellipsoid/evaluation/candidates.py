"""Ways to draw latents that are held against each other: the laws and regions of this package, and others.

All that can be turned wider or narrower is turned by one dial, the *spread*: the standard deviation of the
draws over that of the latents, in a mixture within each part. A law at the share 0.7 of its matched level
has the spread 0.7, as has a Gaussian whose standard deviations are multiplied by a temperature of 0.7; so
curves of different laws can be compared point by point.
"""

import functools
import math
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax.typing import ArrayLike
from scipy import optimize

from ellipsoid.archive import digest
from ellipsoid.evaluation import baselines
from ellipsoid.integrals import log_chi_cdf
from ellipsoid.levels import matched_level
from ellipsoid.mixture_fitting import fit_mixture
from ellipsoid.sampling import sample
from ellipsoid.state import PCAState

#: Every law with the regions that it has, by the name of its curve.
FAMILIES = {
    "redraw": ("redraw", "pairwise"),
    "sequential": ("sequential", "pairwise"),
    "uniform": ("uniform", "pairwise"),
    "normal": ("normal", "pairwise"),
    "uniform, ellipsoid": ("uniform", "ellipsoid"),
    "normal, ellipsoid": ("normal", "ellipsoid"),
    "uniform, box": ("uniform", "box"),
    "normal, box": ("normal", "box"),
}
#: The curve of the Gaussian with the latents' mean and covariance; at the spread 1 it is that Gaussian.
GAUSSIAN = "Gaussian"
RECONSTRUCTIONS = "training reconstructions"
TRAINING_IMAGES = "training images"

SPREADS = (0.4, 0.55, 0.7, 0.85, 1.0, 1.2)
# The law normal has the spread of the data in the limit only.
_NORMAL_SPREADS = (0.4, 0.55, 0.7, 0.85, 0.95, 0.99)
_QUICK_FAMILIES = ("redraw", "uniform", "normal")
_QUICK = slice(1, 5)  # of the spreads
_COMPONENT_COUNTS = (50, 120)
_COMPONENT_VARIANCE = 0.95
_MIXTURE_PARTS = (10, 50, 100, 200, 500)
# A little beyond where draws begin to be copies, which is then seen.
_ROWS_OF_A_PART = 25
#: Rows in which mixtures are found, ours and those of scikit-learn: all of very many would take hours.
MIXTURE_ROWS = 20_000


@dataclass(frozen=True)
class Recipe:
    """What :func:`ellipsoid.sample` needs to make a setting's draws.

    Attributes
    ----------
    state : callable
        Gives the state, or what else `sample` takes in its place; called when it is needed.
    law, level, region
        As for `sample`, at ``fact = 1``.
    n_components : int
    """

    state: Callable[[], Any]
    law: str
    level: float
    region: str
    n_components: int

    def draw(self, key: jax.Array, n: int) -> np.ndarray:
        """Latents of the first n rows, (n, D)."""
        with warnings.catch_warnings():
            # Of draws that collapse towards the mean: how bad that is, is what is to be measured.
            warnings.filterwarnings("ignore", message="level: ")
            draws = sample(key, self.state(), n, law=self.law, level=self.level, region=self.region)
        return np.asarray(draws.latents)


@dataclass(frozen=True)
class Candidate:
    """A way to draw latents.

    Attributes
    ----------
    family : str
        The curve that it lies on, or its own name if it is a single point.
    draw : callable
        ``draw(key, n)`` gives n latents, (n, D).
    spread : float, optional
        Where on the curve: standard deviation of the draws over that of the latents.
    fingerprint : str
        Tells these draws from others of the same family and spread: the digest of a state, say. The latents
        that are evaluated need not be named. What is measured of a setting that says nothing is not kept.
    recipe : Recipe, optional
        For draws of this package: how to make them. Only settings with one can be recommended.
    """

    family: str
    draw: Callable[[jax.Array, int], ArrayLike]
    spread: float | None = None
    fingerprint: str = ""
    recipe: Recipe | None = None

    @property
    def name(self) -> str:
        """Unique among settings that are compared."""
        return self.family if self.spread is None else f"{self.family}, spread {self.spread:g}"


def region_setting(family: str, state: PCAState, law: str, region: str, spread: float) -> Candidate:
    """Give the setting of a state at the level at which its draws have this spread."""
    level = level_of_spread(spread, state.n_components, law, region)
    recipe = Recipe(lambda: state, law, level, region, state.n_components)
    return Candidate(family, recipe.draw, spread, f"{law} {level!r} {region} {digest(state)}", recipe)


def level_of_spread(spread: float, k: int, law: str, region: str) -> float:
    """Level at which the draws of a law in `k` components have this spread.

    Exact, but for ``normal`` in the pairwise region of few components: there it is that of a cube of the same
    variance under the law ``uniform``, which is exact for many components and for a small spread.

    Raises
    ------
    ValueError
        If the spread is not above 0, or for ``normal`` not below 1.
    """
    if not spread > 0 or (law == "normal" and spread >= 1):
        raise ValueError(f"spread: expected a number above 0, for the law normal below 1 too; got {spread}")
    if law != "normal":
        return spread * matched_level(k, law, region)
    if region == "ellipsoid":
        widest, unit = math.sqrt(k) + 40, 1.0
    else:
        widest, unit = 40.0, matched_level(k, "uniform", region) / math.sqrt(3)

    def excess(level: float) -> float:
        """Variance of a Gaussian component that is cut off at a level, less the one looked for."""
        if region == "ellipsoid":  # as in `halfwidth`
            return math.exp(float(log_chi_cdf(level, k + 2) - log_chi_cdf(level, k))) - spread**2
        density = math.sqrt(2 / math.pi) * math.exp(-(level**2) / 2)
        return 1 - level * density / math.erf(level / math.sqrt(2)) - spread**2

    return unit * float(optimize.brentq(excess, 1e-3, widest))  # pyright: ignore[reportArgumentType]


def default_settings(latents: np.ndarray, state: PCAState, quick: bool = False) -> list[Candidate]:
    """Everything that is compared by default: all laws and regions, and what others do.

    Parameters
    ----------
    latents : array, shape (n, D)
    state : PCAState
    quick : bool
        Three laws, four spreads, and the baselines that are fitted in no time.
    """
    part = _QUICK if quick else slice(None)
    families = _QUICK_FAMILIES if quick else FAMILIES
    regions = [
        region_setting(family, state, law, region, spread)
        for family in families
        for law, region in [FAMILIES[family]]
        for spread in spreads_of(law)[part]
    ]
    mixtures = [] if quick else mixture_settings(latents, state)
    return regions + mixtures + baseline_settings(latents, SPREADS[part], slow=not quick)


def spreads_of(law: str) -> tuple[float, ...]:
    """Spreads at which a law is judged."""
    return _NORMAL_SPREADS if law == "normal" else SPREADS


def fewer_components(state: PCAState, family: str) -> list[Candidate]:
    """Give the settings of a family with its leading components: 50, 120, and 95 % of the variance."""
    law, region = FAMILIES[family]
    counts = {*_COMPONENT_COUNTS, _components_of(state, _COMPONENT_VARIANCE)}
    counts = sorted(count for count in counts if count < state.n_components)
    return [
        region_setting(f"{family}, {k} components", state.truncate(k), law, region, spread)
        for k in counts
        for spread in spreads_of(law)
    ]


def mixture_settings(latents: np.ndarray, state: PCAState) -> list[Candidate]:
    """Mixtures of 10, 50, 100, 200 and 500 parts, of 25 latents each at least, in all components.

    Each is fitted, to 20,000 latents at most, when it is first drawn from; by the law ``normal``, which keeps
    the shape of its parts.
    """
    return [
        setting
        for n_parts in _MIXTURE_PARTS
        if _ROWS_OF_A_PART * n_parts <= len(latents)
        for setting in mixture_family(latents, n_parts, state.n_components)
    ]


def mixture_family(latents: np.ndarray, n_parts: int, k: int) -> list[Candidate]:
    """Give the settings of one mixture, over the spread within its parts."""

    @functools.cache
    def mixture():
        return fit_mixture(latents, n_parts, k, max_rows=MIXTURE_ROWS)

    family = f"mixture of {n_parts}, K {k}"
    found = []
    for spread in spreads_of("normal"):
        recipe = Recipe(mixture, "normal", level_of_spread(spread, k, "normal", "pairwise"), "pairwise", k)
        found.append(Candidate(family, recipe.draw, spread, f"{MIXTURE_ROWS} {recipe.level!r}", recipe))
    return found


def _components_of(state: PCAState, share: float) -> int:
    """Give the number of components that hold a share of the variance."""
    total = np.cumsum(np.asarray(state.explained_variance_ratio, np.float64))
    return int(np.searchsorted(total, share * total[-1])) + 1


def baseline_settings(latents: np.ndarray, spreads: Iterable[float], slow: bool = True) -> list[Candidate]:
    """Other ways to draw latents, and the two ends of the scale: fitted when they are drawn from.

    Parameters
    ----------
    latents : array, shape (n, D)
    spreads : numbers
        Temperatures of the Gaussian; 1 is always among them.
    slow : bool
        With scikit-learn's mixtures too: 5,652 latents of 256 dimensions take minutes.
    """

    def baseline(family, fit, spread=None, **options):
        fitted = functools.cache(lambda: fit(latents, **options))
        return Candidate(
            family, lambda key, n: fitted()(key, n), spread, fingerprint=f"{fit.__name__} {options}"
        )

    found = [
        baseline(GAUSSIAN, baselines.gaussian, spread, temperature=spread)
        for spread in sorted({*spreads, 1.0})
    ]
    found += [
        baseline("box", baselines.box),
        baseline("independent normals", baselines.independent),
        baseline("kernel density", baselines.kernel_density),
        baseline("interpolations", baselines.interpolations),
        baseline(RECONSTRUCTIONS, baselines.reconstructions),
    ]
    if slow:
        found += [
            baseline(f"Gaussian mixture of {n}", baselines.gaussian_mixture, n_parts=n, max_rows=MIXTURE_ROWS)
            for n in (10, 50)
        ]
    return found
