"""Comparison of draws with the latents."""

import numpy as np

import ellipsoid as el
from ellipsoid import diagnostics, figures
from ellipsoid.report.page import Section
from ellipsoid.report.study import Study


def draws_and_data(study: Study) -> Section | None:
    """Compare draws with the latents."""
    compared = diagnostics.compare(study.drawn_scores, study.scores, study.scale)
    planes = {"level": el.DEFAULT_LEVEL, "max_points": 20_000}
    few = study.drawn_latents[:20]
    pictures = [
        study.save(
            "planes_pca",
            figures.latent_planes(study.state, study.latents, few, **planes),
            "20 draws and the latents, in planes of principal components",
        ),
        study.save(
            "planes_original",
            figures.latent_planes(study.state, study.latents, few, frame="original", **planes),
            "The same draws, in planes of latent dimensions",
        ),
        study.save(
            "comparison",
            figures.comparison(compared.std_ratio, compared.distance, compared.pair_difference),
            f"{len(study.drawn_scores):,} draws compared with the latents: in each component, and inside the "
            "ellipses of all pairs",
        ),
    ]
    if study.diagnostics.n_components >= 3:
        pictures.append(
            study.save(
                "surface",
                figures.surface(
                    study.scores[:, :3],
                    study.drawn_scores[:, :3],
                    el.DEFAULT_LEVEL * study.scale[:3],
                    names=["component 1", "component 2", "component 3"],
                ),
                "The first three components, with the ellipsoid whose projections are the pairs' ellipses",
            )
        )
    return Section(
        "Draws and latents",
        f"How do draws spread compared with the latents? With the law redraw at level {el.DEFAULT_LEVEL:g}, "
        f"the standard deviation of the draws is {np.median(compared.std_ratio):.2f} times that of the "
        "latents in the median component. A ratio below 1 keeps draws among the typical latents: their "
        "images are safer, but less diverse.",
        pictures,
    )
