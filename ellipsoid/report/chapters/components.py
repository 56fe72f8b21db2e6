"""Distributions of single components and latent dimensions."""

import math

import numpy as np
from matplotlib.figure import Figure

from ellipsoid import diagnostics, figures
from ellipsoid.diagnostics import Marginals
from ellipsoid.halfwidth import HALF_WIDTHS, half_widths
from ellipsoid.report.chapters.indices import evenly_spaced
from ellipsoid.report.page import Section
from ellipsoid.report.study import Study


def components(study: Study) -> Section | None:
    """Show the distribution of each component."""
    measured = study.diagnostics
    principal = measured.principal
    widths = _half_widths(study.scores)
    if measured.distances.core_scale is not None:
        widths["core"] = measured.distances.core_scale
    return Section(
        "Components",
        "Is each component Gaussian? The Kolmogorov distance to the Gaussian with the same mean and standard "
        f"deviation is {np.median(principal.distance):.1%} in the median principal component and "
        f"{principal.distance.max():.1%} in the worst. It is the largest difference between the two "
        "cumulative distributions. The smaller it is, the better an ellipse describes where the latents "
        "lie.\n\n"
        "Each half-width method estimates the standard deviation of the Gaussian core of a component. The "
        "methods agree where a component is Gaussian. The method histogram_raw uses bins of one width for "
        "all components, so it cannot resolve narrow ones.",
        [
            study.save(
                "components_pca",
                _distributions_of_components(study, widths),
                "Distributions of principal components, with the half-width at half maximum by each method",
            ),
            study.save(
                "components_original",
                _distributions_of_dimensions(study),
                "Distributions of latent dimensions, before the rotation",
            ),
            study.save(
                "component_statistics",
                _statistics(principal, measured.n, "component"),
                "Deviation of each principal component from a Gaussian. The Anderson-Darling statistic uses "
                f"{min(measured.n, diagnostics.TEST_ROWS):,} latents",
            ),
            study.save(
                "dimension_statistics",
                _statistics(measured.original, measured.n, "latent dimension that varies"),
                "Deviation of each latent dimension from a Gaussian, before the rotation",
            ),
            study.save(
                "spectrum",
                figures.spectrum(principal.std, widths, measured.original.std),
                "Standard deviation of each component, and the estimates by each half-width method",
            ),
            study.save(
                "explained_variance",
                figures.explained_variance(study.state),
                "Explained variance of each component, and of the first components together",
            ),
        ],
    )


def _distributions_of_components(study: Study, widths: dict[str, np.ndarray]) -> Figure:
    shown = evenly_spaced(study.diagnostics.n_components, 6)
    widths = {name: width[shown] for name, width in widths.items()}
    return _distributions(study.scores, shown, "component", study.diagnostics.principal, widths)


def _distributions_of_dimensions(study: Study) -> Figure:
    varying = np.flatnonzero(study.std > 0)
    shown = [int(varying[index]) for index in evenly_spaced(len(varying), 6)]
    widths = _half_widths(study.latents[:, shown])
    return _distributions(study.latents, shown, "latent dimension", study.diagnostics.original, widths)


def _distributions(
    values: np.ndarray, shown: list[int], label: str, marginals: Marginals, widths: dict[str, np.ndarray]
) -> Figure:
    return figures.components(
        values[:, shown],
        [f"{label} {i + 1}" for i in shown],
        {name: width for name, width in widths.items() if name != "histogram_raw"},
        skewness=marginals.skewness[shown],
        kurtosis=marginals.kurtosis[shown],
    )


def _half_widths(values: np.ndarray) -> dict[str, np.ndarray]:
    """Half-widths of the columns by each method, in the units of the values."""
    rows = diagnostics.subset(values, diagnostics.PAIR_ROWS)
    return {name: half_widths(rows, name) for name in HALF_WIDTHS}


def _statistics(marginals: Marginals, n: int, label: str) -> Figure:
    noise = {
        "skewness": 2 * math.sqrt(6 / n),
        "kurtosis": 2 * math.sqrt(24 / n),
        "distance": 0.886 / math.sqrt(n),  # 95 % quantile of Lilliefors' statistic
        "anderson_darling": 0.752,
    }
    numbers = {name: getattr(marginals, name)[marginals.std > 0] for name in noise}
    return figures.component_statistics(**numbers, noise=noise, label=label)
