"""The verdict on a set of latents in plain words, read off the numbers of :mod:`ellipsoid.diagnostics`.

Each rule is one comparison of an effect size with a bound. The bounds lie between what Gaussian latents give
and what the failure gives that the rule is named after, for 600 rows as well as for 20,000.
"""

from dataclasses import dataclass

import numpy as np

from ellipsoid.diagnostics.diagnose import Diagnostics
from ellipsoid.diagnostics.pairs import correlation, strongest_pairs
from ellipsoid.diagnostics.rows import TOLERANCE
from ellipsoid.levels import matched_level
from ellipsoid.settings import DEFAULT_LEVEL
from ellipsoid.state import PCAState


@dataclass(frozen=True)
class Concern:
    """An assumption of the method that fails: its short name, what was found, and what to do."""

    name: str
    text: str


@dataclass(frozen=True)
class Verdict:
    """What the numbers say, for a reader.

    Attributes
    ----------
    headline : str
        Is the core normal? One sentence.
    findings : tuple of str
        Sentences with numbers.
    concerns : tuple of Concern
        Named half_widths, clusters, heavy_tails, flat, skewed, dependent, component, few_images; none if all
        is well.
    law, level : str and float
        To draw with.
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
    """Read the numbers of a state's latents."""
    d = diagnostics
    concerns = [*_concerns(d)]
    worst = int(d.principal.distance.argmax())
    # Of the largest distance of all components, noise is about this in a Gaussian.
    explained = {concern.name for concern in concerns} & {"clusters", "flat", "skewed", "dependent"}
    if not explained and d.principal.distance[worst] >= 0.08 + 1.2 / np.sqrt(d.n):
        concerns.append(_lone_component(d, worst))
    share = d.calibration.share_within(TOLERANCE)
    errors = d.calibration.errors
    i, j = np.unravel_index(errors.argmax(), errors.shape)
    word = "close to" if share >= 0.9 else "roughly" if share >= 0.5 else "not"
    count = d.n_components * (d.n_components - 1) // 2
    headline = (
        f"The latents are {word} normal: of {count:,} pair{'s' * (count > 1)} of components, {share:.0%} "
        f"hold the share of latents that they should, within {TOLERANCE:.0%} and the sampling error of "
        f"{d.calibration.n:,} latents; components {i + 1} and {j + 1} are the farthest off, by "
        f"{errors[i, j]:.1%}."
    )
    law, level, reason = _recommendation(d, concerns)
    return Verdict(headline, tuple(_findings(state, d)), tuple(concerns), law, level, reason)


def _findings(state, d):
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


def _concerns(d):
    low, high = float(d.scale_ratio.min()), float(d.scale_ratio.max())
    resolved = low >= 0.5 and high <= 2
    if not resolved:
        count = int(np.sum((d.scale_ratio < 0.5) | (d.scale_ratio > 2)))
        yield Concern(
            "half_widths",
            f"Half-widths: for {count} of {d.n_components} components they are {low:.2g} to {high:.2g} times "
            "the standard deviation. The method that read them may not resolve these components.",
        )
    parts = d.clusters
    clustered = parts.separation >= 3 and parts.gain >= 0.1 and parts.smaller_share >= 0.02
    if clustered:
        yield Concern(
            "clusters",
            f"Several clusters: by the first {parts.n_components} components the latents split "
            f"into parts of {1 - parts.smaller_share:.0%} and {parts.smaller_share:.0%} whose centres lie "
            f"{parts.separation:.1f} standard deviations apart. One region covers the gap between them as "
            "well: fit one state for each group.",
        )
    if d.distances.far_share >= 0.01:
        advice = (
            'Outskirts stretch the standard deviations: fit with half_width="core", or within a radius, to '
            "describe the core."
            if np.median(d.scale_ratio) > 0.97
            else f"The half-widths describe the core: {np.median(d.scale_ratio):.2f} standard deviations."
        )
        yield Concern(
            "heavy_tails",
            f"Heavy tails: {d.distances.far_share:.1%} of the latents lie where a Gaussian has 0.1%. "
            + advice,
        )
    kurtosis = float(np.median(d.principal.kurtosis))
    # Less two standard errors, as a Gaussian shows them for so many rows and components.
    noise = 2 / np.sqrt(d.n)
    flat = kurtosis <= -0.3 - 6 * noise / np.sqrt(d.n_components) or d.distances.spread <= 0.75 - noise
    if resolved and not clustered and flat:
        yield Concern(
            "flat",
            f"Flat: the latents fill their region evenly, up to an edge (median excess kurtosis "
            f"{kurtosis:.2f}, distances from the centre spread {d.distances.spread:.2f} times as wide as a "
            "Gaussian's). The law uniform is nearer to them than the law normal.",
        )
    skewness = float(np.median(np.abs(d.principal.skewness)))
    if skewness >= 0.5:
        yield Concern(
            "skewed",
            f"Skewed components: the median skewness is {skewness:.2f}. An ellipse about the mean reaches "
            "too far on one side and not far enough on the other.",
        )
    ties = d.dependence
    i, j = strongest_pairs(ties.distance, 1)[0]
    if ties.distance[i, j] >= max(0.25, 1.5 * ties.distance_bound):
        r = correlation(d.covariance_after)
        yield Concern(
            "dependent",
            f"Dependent components: of the first {len(ties.distance)}, {i + 1} and {j + 1} have a distance "
            f"correlation of {ties.distance[i, j]:.2f}, and a correlation of {r[i, j]:.2f}. "
            + (
                "A curve or groups, which no rotation takes away: draws will also fall where there are no "
                "latents."
                if abs(r[i, j]) < 0.1
                else "The state's axes are not those of these latents: fit it to them."
            ),
        )
    if d.n < 10 * d.n_components:
        yield Concern(
            "few_images",
            f"Few images: {d.n:,} latents for {d.n_components} components, where 10 for each are the least. "
            "The narrow components are measured too narrow: add images, or keep fewer components.",
        )


def _lone_component(d, i):
    return Concern(
        "component",
        f"Component {i + 1} is far from a Gaussian: shares of latents below a value differ by up to "
        f"{d.principal.distance[i]:.0%} (skewness {d.principal.skewness[i]:.2f}, excess kurtosis "
        f"{d.principal.kurtosis[i]:.2f}). Look at its distribution; a gap in it, or a long tail, is drawn "
        "over.",
    )


def _recommendation(d, concerns):
    names = {concern.name for concern in concerns}
    if not names:
        level = d.levels_holding[0.9]
        return (
            "normal",
            level,
            f"The law normal draws with the spread of the data, and level {level:.2f} leaves off its "
            f"outermost tenth. For draws nearer to the average, use redraw at the default level "
            f"{DEFAULT_LEVEL:g}.",
        )
    if names == {"flat"}:
        level = matched_level(d.n_components, law="uniform")
        return (
            "uniform",
            level,
            f"The latents fill their region evenly; at level {level:.2f} the law uniform has their variance.",
        )
    return (
        "redraw",
        DEFAULT_LEVEL,
        "Where the assumptions fail, draws are best kept well inside of the region: the default.",
    )
