"""Reason for taking the ellipses along the principal axes."""

import numpy as np

import ellipsoid as el
from ellipsoid import diagnostics, figures
from ellipsoid.report.chapters.indices import distinct_pairs
from ellipsoid.report.page import Section
from ellipsoid.report.study import Study


def principal_frame(study: Study) -> Section | None:
    """Show draws inside the ellipses of original latent dimensions, which miss the latents."""
    k, std = study.diagnostics.n_components, study.diagnostics.principal.std
    walked = study.mean + diagnostics.original_frame_points(
        study.walk_key, study.diagnostics.covariance_before, el.DEFAULT_LEVEL, 512
    )
    drawn = study.sample(2_000, law="uniform")
    overshoot, of_draws = (
        np.asarray(study.state.project(latents)).std(axis=0) / std for latents in (walked, drawn)
    )
    planes = distinct_pairs([(0, 1), (0, k - 1), (k - 2, k - 1)], 3)
    pictures = [
        study.save(
            "overshoot",
            figures.overshoot(
                {"ellipses of latent dimensions": overshoot, "ellipses of components": of_draws}
            ),
            "Spread of points inside the ellipses of latent dimensions and inside those of components, "
            "relative to the latents",
        ),
        study.save(
            "original_frame",
            figures.latent_planes(study.state, study.latents, walked, level=el.DEFAULT_LEVEL, planes=planes),
            "Points inside the ellipses of all pairs of latent dimensions, in planes of principal components",
        ),
    ]
    if study.inputs.decode is not None:
        pictures.append(
            study.save(
                "original_frame_images",
                figures.image_grid(study.inputs.decode(walked[:24]), columns=12),
                "Images decoded from points inside the ellipses of all pairs of latent dimensions",
                svg=False,
            )
        )
    return Section(
        "Why the principal components",
        "Could draws use the ellipses of the original latent dimensions, without a rotation? A random walk "
        "drew points uniformly inside the ellipses of all pairs of latent dimensions, at the same level "
        f"{el.DEFAULT_LEVEL:g}: along component {overshoot.argmax() + 1} the points spread "
        f"{overshoot.max():.3g} times as wide as the latents, and {overshoot.min():.3g} times along "
        f"component {overshoot.argmin() + 1}. Ellipses of two dimensions do not see directions in which many "
        "dimensions vary together, so draws use the principal components.",
        pictures,
    )
