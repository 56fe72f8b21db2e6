"""All pairs of components: their correlations, their ellipses, and dependence beyond both."""

import numpy as np

from ellipsoid import diagnostics, figures
from ellipsoid.figures.style import signed
from ellipsoid.report.chapters.indices import distinct_pairs
from ellipsoid.report.page import Section
from ellipsoid.report.study import Study


def correlations(study: Study) -> Section | None:
    """Compare the correlations of all pairs before and after the rotation."""
    covariances = study.diagnostics.covariance_before, study.diagnostics.covariance_after
    before, after = (diagnostics.correlation(covariance) for covariance in covariances)
    angles, weights = zip(*(_angles_and_weights(covariance) for covariance in covariances), strict=True)
    strongest = ", ".join(
        f"{i + 1} and {j + 1} ({signed(before[i, j])})" for i, j in diagnostics.strongest_pairs(before, 3)
    )
    remaining = np.abs(after[np.triu_indices(len(after), 1)]).max()
    return Section(
        "Correlations",
        "Does the rotation remove all correlations? The most strongly correlated latent dimensions are "
        f"{strongest}. The strongest correlation "
        + (
            f"between principal components is {remaining:.0e}, which is zero up to rounding. The ellipse of "
            "every pair therefore lies along the axes, and a level means the same for all of them."
            if remaining < 1e-3
            else f"between the state's components is {remaining:.2f}, so its axes are not quite those of "
            "these latents: it was fitted to other latents, or to their core. Draws follow the axes of the "
            "state."
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
                "Angle of each pair's ellipse. With weights, longer ellipses count more than circles",
            ),
        ],
    )


def _angles_and_weights(covariance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Angle of each pair's ellipse, and a weight: the difference of its two variances over their sum.

    The weight of a circle, whose angle has no meaning, is zero.
    """
    i, j = upper = np.triu_indices(len(covariance), 1)
    variance = covariance.diagonal()
    difference = np.hypot(variance[i] - variance[j], 2 * covariance[upper])
    weights = difference / np.maximum(variance[i] + variance[j], np.finfo(float).tiny)
    return diagnostics.pair_angles(covariance)[upper], weights


def ellipses(study: Study) -> Section | None:
    """Compare the ellipses of all pairs with the latents."""
    pairs, k = study.diagnostics.calibration, study.diagnostics.n_components
    worst = diagnostics.strongest_pairs(pairs.errors, 3)
    planes = distinct_pairs([(0, 1), *worst, (0, k // 2)], 6)
    error, error_of_gaussian = _ellipticity_errors(study, planes)
    level_2 = int(np.argmin(np.abs(pairs.levels - 2)))
    shares = pairs.of_pairs[level_2]
    return Section(
        "Ellipses",
        "Do the confidence ellipses hold as many latents as they would hold of a Gaussian? Over all "
        f"{len(shares):,} pairs of principal components, the ellipse of level 2 holds "
        f"{np.median(shares):.1%} of the latents in the median pair, from {shares.min():.1%} to "
        f"{shares.max():.1%} in all, and {pairs.expected[level_2]:.1%} of a Gaussian. If an ellipse holds "
        "less, draws inside it miss more of the latents.\n\n"
        "Are the contours of the density ellipses? At half of the largest density, the contours in the "
        f"planes below deviate from an ellipse by up to {error:.1%} of their radius (root mean square); "
        f"those of as many Gaussian points deviate by up to {error_of_gaussian:.1%}. Where the deviation is "
        "much larger, an ellipse also covers places without latents.",
        [
            study.save(
                "calibration",
                figures.plot_calibration(
                    pairs.levels,
                    pairs.expected,
                    pairs.of_pairs,
                    worst=[(f"{i + 1}, {j + 1}", pairs.observed[:, i, j]) for i, j in worst],
                ),
                "Share of the latents inside the ellipses of all pairs, against the share of a Gaussian",
            ),
            study.save(
                "contours_pca",
                figures.density_contours(
                    study.scores,
                    planes,
                    covariances=np.stack([np.diag(study.scale[list(plane)] ** 2) for plane in planes]),
                    names=[f"component {i + 1}" for i in range(k)],
                ),
                "Density of the latents in planes of the first and of the worst pairs of principal "
                "components, with their confidence ellipses",
            ),
            study.save(
                "contours_original",
                figures.density_contours(
                    study.latents,
                    _most_correlated_dimensions(study.diagnostics.covariance_before),
                    names=[f"latent dimension {i + 1}" for i in range(study.diagnostics.n_features)],
                ),
                "Density of the latents in planes of the most strongly correlated latent dimensions",
            ),
        ],
    )


def _ellipticity_errors(study: Study, planes: list[tuple[int, int]]) -> tuple[float, float]:
    """Largest ellipticity errors of the contours of the latents, and of as many Gaussian points."""
    gaussian = np.random.default_rng(0).normal(size=(len(planes), study.diagnostics.n, 2))
    return (
        max(diagnostics.half_maximum(study.scores[:, plane]).ellipticity_error for plane in planes),
        max(diagnostics.half_maximum(points).ellipticity_error for points in gaussian),
    )


def _most_correlated_dimensions(covariance: np.ndarray) -> list[tuple[int, int]]:
    r = diagnostics.correlation(covariance)
    pairs = diagnostics.strongest_pairs(r, r.size)
    # Collinear dimensions have no contours.
    return [(i, j) for i, j in pairs if abs(r[i, j]) < 1 - 1e-6][:3]


def dependence(study: Study) -> Section | None:
    """Look for dependence that no rotation removes."""
    measured = study.diagnostics.dependence
    count = len(measured.distance)
    pairs = diagnostics.strongest_pairs(measured.distance, min(3, count * (count - 1) // 2))
    i, j = pairs[0]
    return Section(
        "Dependence after the rotation",
        "Do uncorrelated components still depend on each other? Among the first "
        f"{count} components, the strongest distance correlation is {measured.distance[i, j]:.2f}, between "
        f"components {i + 1} and {j + 1}; independent components stay below {measured.distance_bound:.2f} in "
        "all pairs with 95% probability. If squares correlate, latents that are far out in one component "
        "tend to be far out in others. Draws from one region do not reproduce such dependence; a mixture or "
        "a flow does.",
        [
            study.save(
                "dependence",
                figures.plot_dependence(
                    measured.squares, measured.distance, measured.squares_bound, measured.distance_bound
                ),
                "Dependence between all pairs of the leading components",
            ),
            study.save(
                "dependent_pairs",
                figures.pairs_scatter(
                    study.scores,
                    pairs,
                    [f"component {i + 1}" for i in range(study.diagnostics.n_components)],
                    [f"distance correlation {measured.distance[pair]:.2f}" for pair in pairs],
                ),
                "Latents in the planes of the most dependent pairs",
            ),
        ],
    )
