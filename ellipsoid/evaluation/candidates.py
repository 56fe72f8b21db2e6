"""Candidates of an evaluation: the laws and regions of this package, and other ways to draw latents.

One dial makes all candidates wider or narrower, where they can be: the *spread*. It is the ratio of the
standard deviation of the draws to that of the latents; in a mixture within each part, and in a flow along its
coordinates. Draws at 0.7 times their matched level have the spread 0.7, like a Gaussian with the temperature
0.7. Curves of different distributions can therefore be compared point by point.
"""

import functools
import hashlib
import math
import os
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np
from jax.typing import ArrayLike
from scipy import optimize

from ellipsoid.archive import digest
from ellipsoid.checks import check_count, check_positive
from ellipsoid.evaluation import baselines
from ellipsoid.fitting import fit
from ellipsoid.flow import Flow
from ellipsoid.flow_fitting import DEFAULT_STEPS, fit_flow
from ellipsoid.integrals import log_chi_cdf
from ellipsoid.levels import matched_level
from ellipsoid.mixture import Mixture
from ellipsoid.mixture_fitting import fit_mixture
from ellipsoid.sampling import draw_rows
from ellipsoid.sequence import RowSequence
from ellipsoid.settings import DrawSettings
from ellipsoid.shapes import Shape, check_shape
from ellipsoid.state import PCAState
from ellipsoid.version import __version__

SPREADS = (0.4, 0.55, 0.7, 0.85, 1.0, 1.2)
# Draws by the law normal reach the spread of the data only in the limit.
_NORMAL_SPREADS = (0.4, 0.55, 0.7, 0.85, 0.95, 0.99)
_QUICK_FAMILIES = ("redraw", "uniform", "normal")
_QUICK = slice(1, 5)  # of the spreads
_COMPONENT_COUNTS = (50, 120)
_COMPONENT_VARIANCE = 0.95
_MIXTURE_PARTS = (10, 50, 100, 200, 500)
# Draws begin to be copies near this number, and the evaluation shows it.
_ROWS_OF_A_PART = 25
# Smallest number of latents for a flow by default.
_ROWS_OF_A_FLOW = 1_000
_FLOW_LAWS = ("normal", "uniform", "redraw")
#: Largest number of rows for fits of mixtures, including those of scikit-learn. More rows could take hours.
MIXTURE_ROWS = 20_000


# The quadrature takes as long as everything else, and many candidates need the same one.
_matched_level = functools.cache(matched_level)


@dataclass(frozen=True)
class Family:
    """Candidates that differ only in their spread: one curve, or a single point.

    Attributes
    ----------
    name : str
        Name in figures and tables. It identifies results on disk, so names of families do not change.
    kind : {"region", "truncated", "mixture", "flow", "baseline", "floor", "other"}
        Kind of candidates, in this order: a region in all components, a region in fewer components, a
        mixture, a flow, a baseline of this package, real images, or a way to draw of your own.
    law, region : str, optional
        Settings of :func:`ellipsoid.sample`, for regions, mixtures and flows.
    n_components : int, optional
        Number of components, if it is not that of the evaluated state.
    n_parts : int, optional
        Number of parts of a mixture.
    """

    name: str
    kind: Literal["region", "truncated", "mixture", "flow", "baseline", "floor", "other"] = "other"
    law: str | None = None
    region: str | None = None
    n_components: int | None = None
    n_parts: int | None = None


#: Families of all laws with their regions, by name.
FAMILIES = {
    family.name: family
    for family in (
        Family("redraw", "region", "redraw", "pairwise"),
        Family("sequential", "region", "sequential", "pairwise"),
        Family("uniform", "region", "uniform", "pairwise"),
        Family("normal", "region", "normal", "pairwise"),
        Family("uniform, ellipsoid", "region", "uniform", "ellipsoid"),
        Family("normal, ellipsoid", "region", "normal", "ellipsoid"),
        Family("uniform, box", "region", "uniform", "box"),
        Family("normal, box", "region", "normal", "box"),
    )
}
#: Gaussian with the mean of the latents, and at the spread 1 with their covariance.
GAUSSIAN = Family("Gaussian", "baseline")
RECONSTRUCTIONS = Family("training reconstructions", "baseline")
TRAINING_IMAGES = Family("training images", "floor")


@dataclass(frozen=True)
class Recipe:
    """Arguments of :func:`ellipsoid.sample` that make a candidate's draws.

    Attributes
    ----------
    state : callable
        Function that returns the shape. It is called when the shape is needed.
    settings : DrawSettings
        Law, level, fact and region of the draws.
    n_components : int
        Number of components of the shape.
    """

    state: Callable[[], Shape]
    settings: DrawSettings
    n_components: int

    def draw(self, key: jax.Array, n: int) -> np.ndarray:
        """Draw the latents of the first `n` rows, shape (n, D).

        Raises
        ------
        TypeError, ValueError
            Under the conditions of :func:`ellipsoid.sample`.
        """
        # `sample` would warn of draws that collapse towards the mean. Here the effect is measured.
        shape = check_shape(self.state())
        draws = draw_rows(RowSequence.of(key, shape, self.settings, "float32"), check_count("n", n))
        return np.asarray(draws.latents)


@dataclass(frozen=True)
class Candidate:
    """A way to draw latents.

    Attributes
    ----------
    family : Family
        Family of the candidate. A family of your own needs only a name.
    draw : callable
        Function that returns n latents, shape (n, D), for a key and n.
    spread : float, optional
        Ratio of the standard deviation of the draws to that of the latents.
    fingerprint : str
        Text that distinguishes these draws from others of the same family and spread, such as the digest of a
        state. It need not identify the evaluated latents. Results of your own candidates are cached only if a
        fingerprint identifies them.
    recipe : Recipe, optional
        Arguments of :func:`ellipsoid.sample` for these draws. Only candidates with a recipe can be
        recommended.
    n_features : int, optional
        Number of columns of the latents, if it is known without drawing. Otherwise :func:`evaluate` first
        draws a few rows to check their shape.
    prepare : callable, optional
        Function that does what takes long before the first draw, without JAX and on one core. It is called in
        a thread of its own while other candidates are measured.
    """

    family: Family
    draw: Callable[[jax.Array, int], ArrayLike]
    spread: float | None = None
    fingerprint: str = ""
    recipe: Recipe | None = None
    n_features: int | None = None
    prepare: Callable[[], object] | None = None

    @property
    def name(self) -> str:
        """Name that is unique among candidates that are compared."""
        return candidate_name(self.family, self.spread)

    @property
    def cache_key(self) -> str | None:
        """Text that identifies cached measurements; None if they are not cached."""
        return f"{self.name}\n{self.fingerprint}" if self.fingerprint else None


def candidate_name(family: Family, spread: float | None) -> str:
    """Name the candidate of a family at a spread."""
    return family.name if spread is None else f"{family.name}, spread {spread:g}"


def level_of_spread(spread: float, k: int, law: str, region: str) -> float:
    """Compute the level at which the draws of a law in `k` components have this spread.

    The level is exact except for ``normal`` in the pairwise region of few components. There it is the level
    of a cube in which ``uniform`` has the same variance, which is exact for many components and for a small
    spread.

    Parameters
    ----------
    spread : float
        Ratio of the standard deviation of the draws to that of the latents.
    k : int
        Number of components.
    law : {"redraw", "sequential", "uniform", "normal"}
        Distribution of the draws.
    region : {"pairwise", "ellipsoid", "box"}
        Region of the draws.

    Returns
    -------
    float
        Level in standard deviations, for ``fact = 1``.

    Raises
    ------
    TypeError
        If `spread` is not a number.
    ValueError
        If `spread` is not finite and above 0, or not below 1 for ``normal``, if `law` or `region` is
        unknown or they do not exist together, or if `k` is below 1.

    Examples
    --------
    >>> round(level_of_spread(1.0, 50, "uniform", "pairwise"), 4)
    2.446
    >>> round(level_of_spread(0.7, 50, "normal", "box"), 4)
    1.3808
    """
    spread = check_positive("spread", spread)
    if law == "normal" and spread >= 1:
        raise ValueError(f"spread: expected a number below 1 for the law normal; got {spread}")
    DrawSettings(law, region=region).check(k)
    if law != "normal":
        return spread * _matched_level(k, law, region)
    # This call also checks k.
    unit = _matched_level(k, "uniform", region) / math.sqrt(3)
    widest = 40.0
    if region == "ellipsoid":
        widest, unit = math.sqrt(k) + 40, 1.0

    def excess(level: float) -> float:
        """Variance of a Gaussian component that is cut off at a level, minus the required variance."""
        if region == "ellipsoid":  # as in `halfwidth`
            return math.exp(float(log_chi_cdf(level, k + 2) - log_chi_cdf(level, k))) - spread**2
        density = math.sqrt(2 / math.pi) * math.exp(-(level**2) / 2)
        return 1 - level * density / math.erf(level / math.sqrt(2)) - spread**2

    return unit * float(optimize.brentq(excess, 1e-3, widest))  # pyright: ignore[reportArgumentType]


def spreads_of(law: str) -> tuple[float, ...]:
    """List the spreads at which a law is measured."""
    return _NORMAL_SPREADS if law == "normal" else SPREADS


# --- candidates of this package --------------------------------------------------------------------


def default_candidates(
    latents: np.ndarray,
    state: PCAState,
    *,
    quick: bool = False,
    folder: str | os.PathLike[str] | None = None,
    shapes: Iterable[Shape] = (),
) -> list[Candidate]:
    """All that is compared by default: every law and region, mixtures, a flow, and what others do.

    Parameters
    ----------
    latents : array, shape (n, D)
        Latents that the state was fitted to.
    state : PCAState
    quick : bool
        Whether three laws, four spreads and the baselines that are fitted in no time are enough.
    folder : path, optional
        Folder in which a flow is kept once it is fitted.
    shapes : iterable of PCAState, Mixture or Flow
        Shapes that have been fitted before. A mixture or a flow of the same latents in all components of the
        state is drawn from as it is, and none like it is fitted.

    Returns
    -------
    list of Candidate
        Ways to draw, in the order in which they are measured. Mixtures, the flow and baselines are not fitted
        yet.
    """
    chosen = _QUICK if quick else slice(None)
    families = [FAMILIES[name] for name in _QUICK_FAMILIES] if quick else FAMILIES.values()
    regions = [
        region_candidate(family, state, spread)
        for family in families
        for spread in spreads_of(str(family.law))[chosen]
    ]
    known = [] if quick else [shape for shape in shapes if _is_of(shape, latents, state.n_components)]
    mixtures = [] if quick else mixture_candidates(latents, state, known)
    flows = [] if quick else flow_candidates(latents, state, folder, known)
    return regions + mixtures + flows + baseline_candidates(latents, SPREADS[chosen], slow=not quick)


def region_candidate(family: Family, state: PCAState, spread: float) -> Candidate:
    """Make the candidate of one region, at the level at which its draws have this spread.

    Parameters
    ----------
    family : Family
        Family with a law and a region.
    state : PCAState
        State of the region.
    spread : float
        Ratio of the standard deviation of the draws to that of the latents.

    Returns
    -------
    Candidate

    Raises
    ------
    TypeError, ValueError
        Under the conditions of :func:`level_of_spread`, or if the family has no law and region.
    """
    if family.law is None or family.region is None:
        raise ValueError(f"family: expected one with a law and a region; got {family.name!r}")
    law, region = family.law, family.region
    level = level_of_spread(spread, state.n_components, law, region)
    recipe = Recipe(lambda: state, DrawSettings(law, level, region=region), state.n_components)
    fingerprint = f"{law} {level!r} {region} {digest(state)}"
    return Candidate(family, recipe.draw, spread, fingerprint, recipe, state.n_features)


def fewer_components(state: PCAState, family: Family) -> list[Candidate]:
    """Make the candidates of a family in fewer components: 50, 120, and those of 95 % of the variance.

    Parameters
    ----------
    state : PCAState
        State in all components.
    family : Family
        Family of a single region.

    Returns
    -------
    list of Candidate
        Candidates for each of these numbers of components that is below that of the state.

    Raises
    ------
    ValueError
        If the family has no law and region.
    """
    if family.law is None or family.region is None:
        raise ValueError(f"family: expected one with a law and a region; got {family.name!r}")
    counts = {*_COMPONENT_COUNTS, _components_of(state, _COMPONENT_VARIANCE)}
    counts = sorted(count for count in counts if count < state.n_components)
    candidates = []
    for k in counts:
        truncated = Family(f"{family.name}, {k} components", "truncated", family.law, family.region, k)
        fewer = state.truncate(k)
        candidates += [region_candidate(truncated, fewer, spread) for spread in spreads_of(family.law)]
    return candidates


def _components_of(state: PCAState, share: float) -> int:
    """Count the components that hold a share of the variance."""
    total = np.cumsum(np.asarray(state.explained_variance_ratio, np.float64))
    return int(np.searchsorted(total, share * total[-1])) + 1


def _is_of(shape: Shape, latents: np.ndarray, k: int) -> bool:
    """Whether a mixture without labels, or a flow, was fitted to these latents in `k` components."""
    if isinstance(shape, Flow):
        base = shape.base
    elif isinstance(shape, Mixture) and not shape.names:
        base = shape.shared
    else:
        return False
    # The PCA of the latents tells them from all others, bit by bit.
    return (base.n_components, base.n_features) == (k, latents.shape[1]) and base == fit(latents, k)


def mixture_candidates(latents: np.ndarray, state: PCAState, known: Iterable[Shape] = ()) -> list[Candidate]:
    """Give the candidates of mixtures of 10, 50, 100, 200 and 500 parts, in all components.

    Each part has 25 latents at least. A mixture is fitted, to 20,000 latents at most, when it is first drawn
    from; its draws are ``normal``, which keeps the shape of its parts.

    Parameters
    ----------
    latents : array, shape (n, D)
    state : PCAState
        State whose number of components the mixtures have.
    known : iterable of PCAState, Mixture or Flow
        Shapes of these latents. The mixtures among them are candidates, instead of others of as many parts.

    Returns
    -------
    list of Candidate
    """
    mixtures: dict[int, Mixture | None] = {
        n_parts: None for n_parts in _MIXTURE_PARTS if _ROWS_OF_A_PART * n_parts <= len(latents)
    }
    mixtures |= {shape.n_parts: shape for shape in known if isinstance(shape, Mixture)}
    return [
        candidate
        for n_parts, mixture in sorted(mixtures.items())
        for candidate in candidates_of_mixture(latents, n_parts, state.n_components, mixture)
    ]


def candidates_of_mixture(
    latents: np.ndarray, n_parts: int, k: int, known: Mixture | None = None
) -> list[Candidate]:
    """Give the candidates of one mixture, over the spread within its parts.

    Parameters
    ----------
    latents : array, shape (n, D)
        Latents that the mixture is fitted to when it is first drawn from.
    n_parts, k : int
        Numbers of parts and of components.
    known : Mixture, optional
        Mixture of these numbers, if there is one: none is fitted then.

    Returns
    -------
    list of Candidate

    Raises
    ------
    ValueError
        If there is less than one component.
    """

    @functools.cache
    def mixture():
        return fit_mixture(latents, n_parts, k, max_rows=MIXTURE_ROWS) if known is None else known

    family = Family(f"mixture of {n_parts}, K {k}", "mixture", "normal", "pairwise", k, n_parts)
    candidates = []
    for spread in spreads_of("normal"):
        level = level_of_spread(spread, k, "normal", "pairwise")
        recipe = Recipe(mixture, DrawSettings("normal", level), k)
        fingerprint = f"{MIXTURE_ROWS} {level!r}" if known is None else f"{level!r} {digest(known)}"
        candidates.append(Candidate(family, recipe.draw, spread, fingerprint, recipe, latents.shape[1]))
    return candidates


def flow_candidates(
    latents: np.ndarray,
    state: PCAState,
    folder: str | os.PathLike[str] | None = None,
    known: Iterable[Shape] = (),
) -> list[Candidate]:
    """Give the candidates of a flow in all components, if it is known or there are at least 1,000 latents.

    Parameters
    ----------
    latents : array, shape (n, D)
    state : PCAState
        State whose number of components the flow has.
    folder : path, optional
        Folder as for :func:`candidates_of_flow`.
    known : iterable of PCAState, Mixture or Flow
        Shapes of these latents. A flow among them is the candidate.

    Returns
    -------
    list of Candidate
    """
    flow = next((shape for shape in known if isinstance(shape, Flow)), None)
    if flow is None and len(latents) < _ROWS_OF_A_FLOW:
        return []
    return candidates_of_flow(latents, state.n_components, folder, flow)


def candidates_of_flow(
    latents: np.ndarray,
    k: int,
    folder: str | os.PathLike[str] | None = None,
    known: Flow | None = None,
    **options: Any,
) -> list[Candidate]:
    """Give the candidates of one flow: three laws in its coordinates, over the spread along these.

    Parameters
    ----------
    latents : array, shape (n, D)
        Latents that the flow is fitted to when it is first drawn from.
    k : int
        Number of components.
    folder : path, optional
        Folder in which the flow is kept once it is fitted, and its training when that is interrupted. Equal
        latents and options find it there again.
    known : Flow, optional
        Flow of these latents, if there is one: none is fitted then.
    **options
        Settings of :func:`ellipsoid.fit_flow`: ``steps``, ``width``, ``depth`` and ``n_steps``.

    Returns
    -------
    list of Candidate

    Raises
    ------
    ValueError
        If there is less than one component.
    """
    options = {"steps": DEFAULT_STEPS, **options}
    what = f"K {k} {options}" if known is None else digest(known)

    @functools.cache
    def flow():
        if known is not None:
            return known
        return _kept_flow(latents, k, None if folder is None else Path(folder), options)

    candidates = []
    for law in _FLOW_LAWS:
        family = Family("flow" if law == "normal" else f"flow, {law}", "flow", law, "pairwise", k)
        for spread in spreads_of(law):
            level = level_of_spread(spread, k, law, "pairwise")
            recipe = Recipe(flow, DrawSettings(law, level), k)
            fingerprint = f"{level!r} {what}"
            candidates.append(Candidate(family, recipe.draw, spread, fingerprint, recipe, latents.shape[1]))
    return candidates


def _kept_flow(latents: np.ndarray, k: int, folder: Path | None, options: dict[str, Any]) -> Flow:
    """Flow that lies in the folder, or else one that is fitted and laid there."""
    if folder is None:
        return fit_flow(latents, k, **options)
    identity = f"{__version__} {k} {options} {digest(latents)}"
    path = folder / f"flow-{hashlib.sha256(identity.encode()).hexdigest()[:32]}.npz"
    try:
        return Flow.load(path)
    except (FileNotFoundError, ValueError):
        folder.mkdir(parents=True, exist_ok=True)
        flow = fit_flow(latents, k, resume=path.with_suffix(".training.npz"), **options)
        flow.save(path)
        return flow


# --- baselines ----------------------------------------------------------------------------------------


def baseline_candidates(
    latents: np.ndarray, spreads: Iterable[float], *, slow: bool = True
) -> list[Candidate]:
    """Make the candidates of other ways to draw latents. They are fitted when they are first drawn from.

    Parameters
    ----------
    latents : array, shape (n, D)
        Training latents, for the fit of the baselines.
    spreads : iterable of float
        Temperatures of the Gaussian. The temperature 1 is always added.
    slow : bool
        Whether to include scikit-learn's mixtures. They take minutes for 5,652 latents of 256 dimensions.

    Returns
    -------
    list of Candidate
    """

    def baseline(family: Family | str, fit: Callable, spread: float | None = None, **options: Any):
        if isinstance(family, str):
            family = Family(family, "baseline")
        cached, lock = functools.cache(lambda: fit(latents, **options)), threading.Lock()

        def fitted() -> baselines.Draw:
            with lock:  # two threads would both fit
                return cached()

        # It identifies results on disk, so names of baselines and of their arguments do not change.
        fingerprint = f"{fit.__name__} {options}"
        prepare = fitted if fit is baselines.gaussian_mixture else None
        return Candidate(
            family,
            lambda key, n: fitted()(key, n),
            spread,
            fingerprint,
            n_features=latents.shape[1],
            prepare=prepare,
        )

    candidates = [
        baseline(GAUSSIAN, baselines.gaussian, spread, temperature=spread)
        for spread in sorted({*spreads, 1.0})
    ]
    candidates += [
        baseline("box", baselines.box),
        baseline("independent normals", baselines.independent),
        baseline("kernel density", baselines.kernel_density),
        baseline("interpolations", baselines.interpolations),
        baseline(RECONSTRUCTIONS, baselines.reconstructions),
    ]
    if slow:
        for n_parts in (10, 50):
            family = Family(f"Gaussian mixture of {n_parts}", "baseline", n_parts=n_parts)
            options = {"n_parts": n_parts, "max_rows": MIXTURE_ROWS}
            candidates.append(baseline(family, baselines.gaussian_mixture, **options))
    return candidates
