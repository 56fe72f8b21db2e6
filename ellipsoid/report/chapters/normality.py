"""Joint normality of all components: distances from the centre, and the level that all pairs need."""

import math

import numpy as np

import ellipsoid as el
from ellipsoid import diagnostics, figures
from ellipsoid.diagnostics import Diagnostics, MultivariateNormality
from ellipsoid.report.page import Section
from ellipsoid.report.study import Study


def normality(study: Study) -> Section | None:
    """Show the distances over all components, and the level that all pairs need."""
    measured = study.diagnostics
    k, distances = measured.n_components, measured.distances
    levels = np.linspace(0.05, 1.1 * max(measured.gauges.max(), measured.gaussian_levels[0.99]), 200)
    coverage = np.array([el.joint_coverage(level, k) for level in levels])
    text = _levels(measured) + "\n\n" + _distances(measured)
    if measured.normality is not None:
        text += "\n\n" + _tests(measured.normality)
    return Section(
        "All components at once",
        text,
        [
            study.save(
                "mahalanobis",
                figures.mahalanobis(distances.squares, k, distances.core_squares),
                "Squared distances from the centre compared with a Gaussian: in units of the half-widths, "
                "and by the mean and covariance of the core",
            ),
            study.save(
                "gauge",
                figures.plot_gauge(measured.gauges, levels, coverage, measured.levels_holding),
                "Share of the latents inside the ellipses of all pairs at each level, and of a Gaussian",
            ),
        ],
    )


def _levels(measured: Diagnostics) -> str:
    table = ", ".join(
        f"{share:.0%} at level {measured.levels_holding[share]:.2f} (a Gaussian: "
        f"{measured.gaussian_levels[share]:.2f})"
        for share in diagnostics.SHARES
    )
    return (
        "Which level do the ellipses of all pairs need to hold the latents? They hold "
        f"{table}. The further a level lies below these, the further inside the latents its draws stay."
    )


def _distances(measured: Diagnostics) -> str:
    text = (
        "From the 10% to the 90% quantile, the squared distances from the centre spread "
        f"{measured.distances.spread:.2f} times as wide as a Gaussian's."
    )
    if not math.isnan(measured.distances.core_share):
        text += (
            f" {measured.distances.core_share:.0%} of the latents belong to one Gaussian core; the others "
            "lie further out."
        )
    return text


def _tests(tests: MultivariateNormality) -> str:
    return (
        f"Tests of normality on {tests.n:,} latents: Mardia's kurtosis is {tests.kurtosis_ratio:.3f} times a "
        f"Gaussian's (p = {tests.kurtosis_p:.2g}), and Mardia's skewness has p = {tests.skewness_p:.2g}. "
        f"The Henze-Zirkler statistic of the first {min(tests.k, diagnostics.LEADING)} components is "
        f"{tests.henze_zirkler:.3g}, and a Gaussian's is {tests.henze_zirkler_expected:.3g} (p = "
        f"{tests.henze_zirkler_p:.2g}). With so many latents even small departures are significant, so their "
        "size matters more than the p-values."
    )
