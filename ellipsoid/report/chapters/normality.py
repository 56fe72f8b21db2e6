"""Normality of all components at once: distances from the centre, and the level that all pairs need."""

import math

import numpy as np

import ellipsoid as el
from ellipsoid import diagnostics, figures
from ellipsoid.diagnostics import Diagnostics, MultivariateNormality
from ellipsoid.report.page import Section
from ellipsoid.report.study import Study


def normality(study: Study) -> Section | None:
    """Look at the distances over all components, and at the level that all pairs need."""
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
                "Squared distances from the centre against those of a Gaussian; once in the state's "
                "half-widths, once by the mean and covariance of the core",
            ),
            study.save(
                "gauge",
                figures.plot_gauge(measured.gauges, levels, coverage, measured.levels_holding),
                "Share of the latents that meet all pair conditions at a level, beside a Gaussian",
            ),
        ],
    )


def _levels(measured: Diagnostics) -> str:
    table = "; ".join(
        f"{share:.0%} at {measured.levels_holding[share]:.2f} (a Gaussian: "
        f"{measured.gaussian_levels[share]:.2f})"
        for share in diagnostics.SHARES
    )
    return f"The latents meet all pair conditions: {table}."


def _distances(measured: Diagnostics) -> str:
    text = (
        "From the 10% to the 90% quantile, the squared distances from the centre spread "
        f"{measured.distances.spread:.2f} times as wide as a Gaussian's."
    )
    if not math.isnan(measured.distances.core_share):
        text += (
            f" {measured.distances.core_share:.0%} of the latents belong to one Gaussian core, the others "
            "to its outskirts."
        )
    return text


def _tests(tests: MultivariateNormality) -> str:
    return (
        f"Tests on {tests.n:,} latents: Mardia's kurtosis is {tests.kurtosis_ratio:.3f} of a "
        f"Gaussian's (p = {tests.kurtosis_p:.2g}), his skewness has p = {tests.skewness_p:.2g}; "
        f"Henze and Zirkler's statistic of the first {min(tests.k, diagnostics.LEADING)} components is "
        f"{tests.henze_zirkler:.3g}, where a Gaussian has {tests.henze_zirkler_expected:.3g} (p = "
        f"{tests.henze_zirkler_p:.2g}). With so many latents small departures are significant; what "
        "matters is their size."
    )
