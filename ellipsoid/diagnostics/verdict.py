"""The verdict on a set of latents in plain words, read off the numbers of :mod:`ellipsoid.diagnostics`.

Each rule is one comparison of an effect size with a bound. The bounds lie between what Gaussian latents give
and what the failure gives that the rule is named after, for 600 rows as well as for 20,000.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from ellipsoid.advice import MeasuredLatents, advise
from ellipsoid.diagnostics.diagnose import Diagnostics
from ellipsoid.diagnostics.pairs import correlation, strongest_pairs
from ellipsoid.diagnostics.rows import TOLERANCE
from ellipsoid.state import PCAState

# With one of these, a component far from a Gaussian is no news.
_EXPLAIN_A_COMPONENT = {"clusters", "flat", "skewed", "dependent"}


@dataclass(frozen=True)
class Concern:
    """An assumption of the method that fails.

    Attributes
    ----------
    name : str
        Short name: half_widths, clusters, heavy_tails, flat, skewed, dependent, few_images or component.
    text : str
        Sentences for a reader: what was measured, and what to do.
    """

    name: str
    text: str


@dataclass(frozen=True)
class Verdict:
    """The numbers in words, for a reader.

    Attributes
    ----------
    headline : str
        One sentence that says whether the core is normal.
    findings : tuple of str
        Sentences with numbers.
    concerns : tuple of Concern
        Assumptions that fail; none if all is well.
    law, level : str and float
        Settings to draw with, for a balance of fidelity and diversity: :func:`ellipsoid.advice.advise`.
    reason : str
        Why these.
    """

    headline: str
    findings: tuple[str, ...]
    concerns: tuple[Concern, ...]
    law: str
    level: float
    reason: str


def assess(state: PCAState, diagnostics: Diagnostics) -> Verdict:
    """Read the numbers of a state's latents.

    Parameters
    ----------
    state : PCAState
    diagnostics : Diagnostics
        Measurements by :func:`ellipsoid.diagnostics.diagnose` of this state.

    Returns
    -------
    Verdict
    """
    concerns = tuple(_concerns(diagnostics))
    advice = advise(diagnostics.n_components, measured=_measured(diagnostics, concerns))
    return Verdict(
        _headline(diagnostics),
        tuple(_findings(state, diagnostics)),
        concerns,
        advice.settings.law,
        float(advice.settings.level),
        advice.reason,
    )


def measured_latents(diagnostics: Diagnostics) -> MeasuredLatents:
    """Give what :func:`ellipsoid.advice.advise` needs to know of latents."""
    return _measured(diagnostics, _concerns(diagnostics))


def _measured(d: Diagnostics, concerns: Iterable[Concern]) -> MeasuredLatents:
    names = frozenset(concern.name for concern in concerns)
    return MeasuredLatents(names, level_of_90=d.levels_holding[0.9], level_of_99=d.levels_holding[0.99])


def _headline(d: Diagnostics) -> str:
    share = d.calibration.share_within(TOLERANCE)
    errors = d.calibration.errors
    i, j = np.unravel_index(errors.argmax(), errors.shape)
    word = "close to" if share >= 0.9 else "roughly" if share >= 0.5 else "not"
    count = d.n_components * (d.n_components - 1) // 2
    return (
        f"The latents are {word} normal: of {count:,} pair{'s' * (count > 1)} of components, {share:.0%} "
        f"hold the share of latents that they should, within {TOLERANCE:.0%} and the sampling error of "
        f"{d.calibration.n:,} latents; components {i + 1} and {j + 1} are the farthest off, by "
        f"{errors[i, j]:.1%}."
    )


def _findings(state: PCAState, d: Diagnostics) -> Iterator[str]:
    if not np.isnan(d.distances.core_share):
        yield (
            f"{d.distances.core_share:.0%} of the {d.n:,} latents belong to one Gaussian core; "
            f"{d.distances.far_share:.1%} lie beyond the distance that a Gaussian exceeds in 0.1%."
        )
    middle, most = d.levels_holding[0.5], d.levels_holding[0.9]
    yield (
        f"Half of the latents meet all pair conditions at level {middle:.2f}, 90% at level {most:.2f}; "
        f"of a Gaussian, at {d.gaussian_levels[0.5]:.2f} and {d.gaussian_levels[0.9]:.2f}."
    )
    yield (
        f"The centre lies {d.location.distance:.3g} latent units from the origin, where the latents lie "
        f"{d.location.radius:.3g} from the centre; the origin is {d.location.origin_distance:.3g} standard "
        f"deviations out, {d.location.origin_distance / np.sqrt(d.n_components):.1f} times as far as a "
        "typical latent."
    )
    total = np.cumsum(np.asarray(state.explained_variance_ratio, np.float64))
    count = min(int(np.searchsorted(total, 0.999)) + 1, d.n_components)
    if count < d.n_features:
        held = min(total[count - 1], 1)
        beyond = (
            "those beyond carry next to none"
            if held >= 0.999
            else f"the state leaves out the other {1 - held:.1%}"
        )
        yield f"{count} of {d.n_features} components hold {held:.1%} of the variance; {beyond}."


# A bound that a number that is NaN neither meets nor misses raises no concern: hence `not ... >=`.


def _concerns(d: Diagnostics) -> list[Concern]:
    half_widths, clusters = _half_widths(d), _clusters(d)
    concerns = [
        half_widths,
        clusters,
        _heavy_tails(d),
        # Badly read half-widths, or a gap, make the latents look flat.
        None if half_widths or clusters else _flat(d),
        _skewed(d),
        _dependent(d),
        _few_images(d),
    ]
    concerns = [concern for concern in concerns if concern is not None]
    if not _EXPLAIN_A_COMPONENT & {concern.name for concern in concerns}:
        component = _lone_component(d)
        concerns += [] if component is None else [component]
    return concerns


def _half_widths(d: Diagnostics) -> Concern | None:
    low, high = float(d.scale_ratio.min()), float(d.scale_ratio.max())
    if low >= 0.5 and high <= 2:
        return None
    count = int(np.sum((d.scale_ratio < 0.5) | (d.scale_ratio > 2)))
    return Concern(
        "half_widths",
        f"Half-widths: for {count} of {d.n_components} components they are {low:.2g} to {high:.2g} times "
        "the standard deviation. The method that read them may not resolve these components.",
    )


def _clusters(d: Diagnostics) -> Concern | None:
    split = d.clusters
    if not (split.separation >= 3 and split.gain >= 0.1 and split.smaller_share >= 0.02):
        return None
    return Concern(
        "clusters",
        f"Several clusters: by the first {split.n_components} components the latents split "
        f"into groups of {1 - split.smaller_share:.0%} and {split.smaller_share:.0%} whose centres lie "
        f"{split.separation:.1f} standard deviations apart. One region covers the gap between them as "
        "well; a mixture or a flow does not.",
    )


def _heavy_tails(d: Diagnostics) -> Concern | None:
    if not d.distances.far_share >= 0.01:
        return None
    core = np.median(d.scale_ratio)
    advice = (
        'Outskirts stretch the standard deviations: fit with half_width="core", or within a radius, to '
        "describe the core."
        if core > 0.97
        else f"The half-widths describe the core: {core:.2f} standard deviations."
    )
    return Concern(
        "heavy_tails",
        f"Heavy tails: {d.distances.far_share:.1%} of the latents lie where a Gaussian has 0.1%. {advice}",
    )


def _flat(d: Diagnostics) -> Concern | None:
    kurtosis = float(np.median(d.principal.kurtosis))
    # Less two standard errors, as a Gaussian shows them for so many rows and components.
    noise = 2 / np.sqrt(d.n)
    if not (kurtosis <= -0.3 - 6 * noise / np.sqrt(d.n_components) or d.distances.spread <= 0.75 - noise):
        return None
    return Concern(
        "flat",
        f"Flat: the latents fill their region evenly, up to an edge (median excess kurtosis "
        f"{kurtosis:.2f}, distances from the centre spread {d.distances.spread:.2f} times as wide as a "
        "Gaussian's). The uniform distribution is nearer to them than the normal one.",
    )


def _skewed(d: Diagnostics) -> Concern | None:
    skewness = float(np.median(np.abs(d.principal.skewness)))
    if not skewness >= 0.5:
        return None
    return Concern(
        "skewed",
        f"Skewed components: the median skewness is {skewness:.2f}. An ellipse about the mean reaches "
        "too far on one side and not far enough on the other.",
    )


def _dependent(d: Diagnostics) -> Concern | None:
    ties = d.dependence
    i, j = strongest_pairs(ties.distance, 1)[0]
    if not ties.distance[i, j] >= max(0.25, 1.5 * ties.distance_bound):
        return None
    r = correlation(d.covariance_after)
    advice = (
        "A curve or groups, which no rotation takes away: draws will also fall where there are no latents."
        if abs(r[i, j]) < 0.1
        else "The state's axes are not those of these latents: fit it to them."
    )
    return Concern(
        "dependent",
        f"Dependent components: of the first {len(ties.distance)}, {i + 1} and {j + 1} have a distance "
        f"correlation of {ties.distance[i, j]:.2f}, and a correlation of {r[i, j]:.2f}. {advice}",
    )


def _few_images(d: Diagnostics) -> Concern | None:
    if d.n >= 10 * d.n_components:
        return None
    return Concern(
        "few_images",
        f"Few images: {d.n:,} latents for {d.n_components} components, where 10 for each are the least. "
        "The narrow components are measured too narrow: add images, or keep fewer components.",
    )


def _lone_component(d: Diagnostics) -> Concern | None:
    i = int(d.principal.distance.argmax())
    # The largest distance of all components is about 1.2 / sqrt(n) in a Gaussian, by noise.
    if not d.principal.distance[i] >= 0.08 + 1.2 / np.sqrt(d.n):
        return None
    return Concern(
        "component",
        f"Component {i + 1} is far from a Gaussian: shares of latents below a value differ by up to "
        f"{d.principal.distance[i]:.0%} (skewness {d.principal.skewness[i]:.2f}, excess kurtosis "
        f"{d.principal.kurtosis[i]:.2f}). Look at its distribution; a gap in it, or a long tail, is drawn "
        "over.",
    )
