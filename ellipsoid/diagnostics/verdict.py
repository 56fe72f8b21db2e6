"""The verdict on a set of latents in plain words, read off the numbers of :mod:`ellipsoid.diagnostics`.

Each rule compares one effect size with a bound. The bound separates Gaussian latents from those with the
failure that the rule is named after, for 600 rows as well as for 20,000.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from ellipsoid.advice import MeasuredLatents, advise
from ellipsoid.diagnostics.diagnose import Diagnostics
from ellipsoid.diagnostics.pairs import correlation, strongest_pairs
from ellipsoid.diagnostics.rows import TOLERANCE
from ellipsoid.state import PCAState

# Each of these explains why a component is far from Gaussian.
_EXPLAIN_A_COMPONENT = {"clusters", "flat", "skewed", "dependent"}


@dataclass(frozen=True)
class Concern:
    """An assumption of the method that fails.

    Attributes
    ----------
    name : str
        Short name: half_widths, clusters, heavy_tails, flat, skewed, dependent, few_images or component.
    text : str
        Explanation for a reader: the measurement, and a remedy where there is one.
    """

    name: str
    text: str


@dataclass(frozen=True)
class Verdict:
    """The numbers in words, for a reader.

    Attributes
    ----------
    headline : str
        Sentences that say whether the latents are Gaussian.
    findings : tuple of str
        Measurements in words.
    concerns : tuple of Concern
        Assumptions that fail; empty if all hold.
    law, level : str and float
        Settings for a balance of fidelity and diversity, from :func:`ellipsoid.advice.advise`.
    reason : str
        Reason for these settings.
    """

    headline: str
    findings: tuple[str, ...]
    concerns: tuple[Concern, ...]
    law: str
    level: float
    reason: str


def assess(state: PCAState, diagnostics: Diagnostics) -> Verdict:
    """Judge the latents of a state by their measurements.

    Parameters
    ----------
    state : PCAState
        State of the latents.
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
    """Select the measurements that :func:`ellipsoid.advice.advise` needs."""
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
        f"The latents are {word} Gaussian. In {share:.0%} of the {count:,} pair{'s' * (count > 1)} of "
        "components, the confidence ellipses hold the same share of the latents as of a Gaussian, to within "
        f"{100 * TOLERANCE:g} percentage points and the sampling error of {d.calibration.n:,} latents. "
        f"Components {i + 1} and {j + 1} deviate most, by {100 * errors[i, j]:.1f} percentage points."
    )


def _findings(state: PCAState, d: Diagnostics) -> Iterator[str]:
    if not np.isnan(d.distances.core_share):
        yield (
            f"{d.distances.core_share:.0%} of the {d.n:,} latents belong to one Gaussian core. "
            f"{d.distances.far_share:.1%} lie beyond the distance from the centre that 0.1% of a Gaussian "
            "exceeds."
        )
    middle, most = d.levels_holding[0.5], d.levels_holding[0.9]
    yield (
        f"The ellipses of all pairs hold half of the latents at level {middle:.2f}, and 90% at level "
        f"{most:.2f}. For a Gaussian these levels are {d.gaussian_levels[0.5]:.2f} and "
        f"{d.gaussian_levels[0.9]:.2f}."
    )
    yield (
        f"The centre of the latents lies {d.location.distance:.3g} latent units from the origin; the median "
        f"distance of the latents from their centre is {d.location.radius:.3g}. In standard deviations the "
        f"origin is {d.location.origin_distance:.3g} from the centre, "
        f"{d.location.origin_distance / np.sqrt(d.n_components):.1f} times as far as a typical latent."
    )
    total = np.cumsum(np.asarray(state.explained_variance_ratio, np.float64))
    count = min(int(np.searchsorted(total, 0.999)) + 1, d.n_components)
    if count < d.n_features:
        held = min(total[count - 1], 1)
        beyond = (
            "the others hold next to none"
            if held >= 0.999
            else f"the fitted state leaves out the other {1 - held:.1%}"
        )
        yield f"{count} of {d.n_features} components hold {held:.1%} of the variance; {beyond}."


# NaN raises no concern: `not x >= bound` is true for it.


def _concerns(d: Diagnostics) -> list[Concern]:
    half_widths, clusters = _half_widths(d), _clusters(d)
    concerns = [
        half_widths,
        clusters,
        _heavy_tails(d),
        # Half-widths that were estimated badly, or a gap, make the latents look flat.
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
        f"Half-widths: they range from {low:.2g} to {high:.2g} standard deviations, and those of {count} of "
        f"{d.n_components} components are below 0.5 or above 2. The method that estimated them may not "
        'resolve these components: fit with half_width="std" or "core".',
    )


def _clusters(d: Diagnostics) -> Concern | None:
    split = d.clusters
    if not (split.separation >= 3 and split.gain >= 0.1 and split.smaller_share >= 0.02):
        return None
    return Concern(
        "clusters",
        f"Several clusters: in the first {split.n_components} components the latents form groups of "
        f"{1 - split.smaller_share:.0%} and {split.smaller_share:.0%}, whose centres lie "
        f"{split.separation:.1f} standard deviations apart. One region also covers the gap between them: "
        "draw from a mixture or a flow instead.",
    )


def _heavy_tails(d: Diagnostics) -> Concern | None:
    if not d.distances.far_share >= 0.01:
        return None
    core = np.median(d.scale_ratio)
    advice = (
        'Outliers widen the standard deviations: fit with half_width="core" to describe the core.'
        if core > 0.97
        else f"The half-widths already describe the core: their median is {core:.2f} standard deviations."
    )
    return Concern(
        "heavy_tails",
        f"Heavy tails: {d.distances.far_share:.1%} of the latents lie beyond the distance from the centre "
        f"that 0.1% of a Gaussian exceeds. {advice}",
    )


def _flat(d: Diagnostics) -> Concern | None:
    kurtosis = float(np.median(d.principal.kurtosis))
    # The bounds leave room for two standard errors of a Gaussian with so many rows and components.
    noise = 2 / np.sqrt(d.n)
    if not (kurtosis <= -0.3 - 6 * noise / np.sqrt(d.n_components) or d.distances.spread <= 0.75 - noise):
        return None
    return Concern(
        "flat",
        "Flat distribution: the latents fill their region evenly, up to an edge. Their median excess "
        f"kurtosis is {kurtosis:.2f}, and their squared distances from the centre spread "
        f"{d.distances.spread:.2f} times as wide as a Gaussian's. A uniform distribution describes them "
        "better than a normal one.",
    )


def _skewed(d: Diagnostics) -> Concern | None:
    skewness = float(np.median(np.abs(d.principal.skewness)))
    if not skewness >= 0.5:
        return None
    return Concern(
        "skewed",
        f"Skewed components: the median absolute skewness is {skewness:.2f}. An ellipse about the mean "
        "reaches too far on one side and not far enough on the other.",
    )


def _dependent(d: Diagnostics) -> Concern | None:
    ties = d.dependence
    i, j = strongest_pairs(ties.distance, 1)[0]
    if not ties.distance[i, j] >= max(0.25, 1.5 * ties.distance_bound):
        return None
    r = correlation(d.covariance_after)
    advice = (
        "No rotation removes it, so draws from one region also fall where there are no latents: draw from a "
        "mixture or a flow instead."
        if abs(r[i, j]) < 0.1
        else "The state has other principal axes than these latents: fit it to them."
    )
    return Concern(
        "dependent",
        f"Dependent components: among the first {len(ties.distance)}, components {i + 1} and {j + 1} depend "
        f"on each other most. Their distance correlation is {ties.distance[i, j]:.2f}, and their linear "
        f"correlation {r[i, j]:.2f}. {advice}",
    )


def _few_images(d: Diagnostics) -> Concern | None:
    if d.n >= 10 * d.n_components:
        return None
    return Concern(
        "few_images",
        f"Few images: there are {d.n:,} latents for {d.n_components} components, and each component needs "
        "at least 10. Otherwise narrow components are estimated too narrow: add images, or keep fewer "
        "components.",
    )


def _lone_component(d: Diagnostics) -> Concern | None:
    i = int(d.principal.distance.argmax())
    # Noise alone gives a Gaussian a largest distance of about 1.2 / sqrt(n) over all components.
    if not d.principal.distance[i] >= 0.08 + 1.2 / np.sqrt(d.n):
        return None
    return Concern(
        "component",
        f"Component {i + 1} is far from Gaussian: its cumulative distribution differs by up to "
        f"{100 * d.principal.distance[i]:.0f} percentage points (skewness {d.principal.skewness[i]:.2f}, "
        f"excess kurtosis {d.principal.kurtosis[i]:.2f}). Look at its distribution: draws also fall into a "
        "gap, or beside a long tail.",
    )
