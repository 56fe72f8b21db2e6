"""All pairs of components: their correlations, their ellipses, and dependence beyond both."""

import numpy as np

from ellipsoid import diagnostics, figures
from ellipsoid.report.chapters.indices import distinct_pairs
from ellipsoid.report.page import Section
from ellipsoid.report.study import Study


def correlations(study: Study) -> Section | None:
    """Compare all pairs before and after the rotation."""
    covariances = study.diagnostics.covariance_before, study.diagnostics.covariance_after
    before, after = (diagnostics.correlation(covariance) for covariance in covariances)
    angles, weights = zip(*(_angles_and_weights(covariance) for covariance in covariances), strict=True)
    strongest = "; ".join(
        f"{i + 1} and {j + 1} by {before[i, j]:.2f}" for i, j in diagnostics.strongest_pairs(before, 3)
    )
    remaining = np.abs(after[np.triu_indices(len(after), 1)]).max()
    return Section(
        "Correlations",
        f"The most strongly correlated dimensions of the latents: {strongest}. The strongest correlation "
        + (
            f"of principal components is {remaining:.0e}: none. The ellipse of every pair of them lies along "
            "the axes, at 0 or 90 degrees."
            if remaining < 1e-3
            else f"of the state's components is {remaining:.2f}: its axes are not quite those of these "
            "latents, as they were fitted to others or to the core."
        ),
        [
            study.save(
                "correlations",
                figures.correlation_matrices(before, after),
                "Correlations of all pairs, before and after the rotation",
            ),
            study.save(
                "angles",
                figures.plot_pair_angles(*angles, weights=weights),
                "Angle of each pair's ellipse; by weight, the longer an ellipse the more it counts",
            ),
        ],
    )


def _angles_and_weights(covariance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Angle of the ellipse of each pair, and how far from a circle it is.

    The weight is the difference of the two variances of the ellipse over their sum.
    """
    i, j = upper = np.triu_indices(len(covariance), 1)
    variance = covariance.diagonal()
    difference = np.hypot(variance[i] - variance[j], 2 * covariance[upper])
    weights = difference / np.maximum(variance[i] + variance[j], np.finfo(float).tiny)
    return diagnostics.pair_angles(covariance)[upper], weights


def ellipses(study: Study) -> Section | None:
    """Hold the ellipses of all pairs against the latents."""
    pairs, k = study.diagnostics.calibration, study.diagnostics.n_components
    worst = diagnostics.strongest_pairs(pairs.errors, 3)
    planes = distinct_pairs([(0, 1), *worst, (0, k // 2)], 6)
    error, error_of_gaussian = _ellipticity_errors(study, planes)
    level_2 = int(np.argmin(np.abs(pairs.levels - 2)))
    shares = pairs.of_pairs[level_2]
    return Section(
        "Ellipses",
        f"A Gaussian has {pairs.expected[level_2]:.1%} of its points inside the ellipse of level 2. "
        f"Over all {len(shares):,} pairs of principal components the latents have "
        f"{np.median(shares):.1%} there in the median, and from {shares.min():.1%} to {shares.max():.1%}. "
        "At half of the largest density the contours of the planes below depart from an ellipse by up to "
        f"{error:.1%} of their radius (root mean square); those of as many Gaussian points by "
        f"{error_of_gaussian:.1%}.",
        [
            study.save(
                "calibration",
                figures.plot_calibration(
                    pairs.levels,
                    pairs.expected,
                    pairs.of_pairs,
                    worst=[(f"{i + 1}, {j + 1}", pairs.observed[:, i, j]) for i, j in worst],
                ),
                "Share of the latents inside each pair's ellipse, against a Gaussian's, for all pairs",
            ),
            study.save(
                "contours_pca",
                figures.density_contours(
                    study.scores,
                    planes,
                    covariances=np.stack([np.diag(study.scale[list(plane)] ** 2) for plane in planes]),
                    names=[f"component {i + 1}" for i in range(k)],
                ),
                "Density of the first and of the worst pairs of principal components, with their "
                "confidence ellipses",
            ),
            study.save(
                "contours_original",
                figures.density_contours(
                    study.latents,
                    _most_correlated_dimensions(study.diagnostics.covariance_before),
                    names=[f"latent dimension {i + 1}" for i in range(study.diagnostics.n_features)],
                ),
                "Density of the most strongly correlated pairs of latent dimensions",
            ),
        ],
    )


def _ellipticity_errors(study: Study, planes: list[tuple[int, int]]) -> tuple[float, float]:
    """Largest ellipticity error of the contours: of the latents, and of as many Gaussian points."""
    gaussian = np.random.default_rng(0).normal(size=(len(planes), study.diagnostics.n, 2))
    return (
        max(diagnostics.half_maximum(study.scores[:, plane]).ellipticity_error for plane in planes),
        max(diagnostics.half_maximum(points).ellipticity_error for points in gaussian),
    )


def _most_correlated_dimensions(covariance: np.ndarray) -> list[tuple[int, int]]:
    r = diagnostics.correlation(covariance)
    pairs = diagnostics.strongest_pairs(r, r.size)
    # Dimensions that are one and the same have no contours.
    return [(i, j) for i, j in pairs if abs(r[i, j]) < 1 - 1e-6][:3]


def dependence(study: Study) -> Section | None:
    """Look for dependence that no rotation takes away."""
    measured = study.diagnostics.dependence
    count = len(measured.distance)
    pairs = diagnostics.strongest_pairs(measured.distance, min(3, count * (count - 1) // 2))
    i, j = pairs[0]
    return Section(
        "What a rotation leaves behind",
        f"Uncorrelated components may still depend on each other. Of the pairs of the first {count} "
        f"components, the strongest distance correlation is {measured.distance[i, j]:.2f}, of "
        f"components {i + 1} and {j + 1}; independent ones stay below {measured.distance_bound:.2f}, "
        "with 95% probability for all pairs together. Correlated squares show a width that "
        "components share: rows that are far out in one are far out in others.",
        [
            study.save(
                "dependence",
                figures.plot_dependence(
                    measured.squares, measured.distance, measured.squares_bound, measured.distance_bound
                ),
                "Dependence of all pairs of the leading components",
            ),
            study.save(
                "dependent_pairs",
                figures.pairs_scatter(
                    study.scores,
                    pairs,
                    [f"component {i + 1}" for i in range(study.diagnostics.n_components)],
                    [f"distance correlation {measured.distance[pair]:.2f}" for pair in pairs],
                ),
                "The pairs that depend on each other most",
            ),
        ],
    )
