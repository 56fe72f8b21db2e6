"""Why the ellipses are taken along the principal axes."""

import numpy as np

import ellipsoid as el
from ellipsoid import diagnostics, figures
from ellipsoid.report.chapters.indices import distinct_pairs
from ellipsoid.report.page import Section
from ellipsoid.report.study import Study


def principal_frame(study: Study) -> Section | None:
    """Show why the ellipses are not taken in the frame of the latents themselves."""
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
            "Width of both along each principal component, over the width of the latents",
        ),
        study.save(
            "original_frame",
            figures.latent_planes(study.state, study.latents, walked, level=el.DEFAULT_LEVEL, planes=planes),
            "Points inside all ellipses of latent dimensions, in planes of principal components",
        ),
    ]
    if study.inputs.decode is not None:
        pictures.append(
            study.save(
                "original_frame_images",
                figures.image_grid(study.inputs.decode(walked[:24]), columns=12),
                "Points inside all ellipses of latent dimensions, decoded",
                svg=False,
            )
        )
    return Section(
        "Why the principal components",
        "Every pair of latent dimensions has a confidence ellipse as well. Points that lie inside all "
        f"of those, at the same level {el.DEFAULT_LEVEL:g}, are here drawn evenly by a random walk. "
        "Ellipses of two dimensions know nothing of directions in which many dimensions work together: "
        f"along component {overshoot.argmax() + 1} the points spread {overshoot.max():.3g} times as "
        f"wide as the latents, and along component {overshoot.argmin() + 1} {overshoot.min():.3g} times.",
        pictures,
    )
