"""Draws beside the latents."""

import numpy as np

import ellipsoid as el
from ellipsoid import diagnostics, figures
from ellipsoid.report.page import Section
from ellipsoid.report.study import Study


def draws_and_data(study: Study) -> Section | None:
    """Lay draws over the latents."""
    compared = diagnostics.compare(study.drawn_scores, study.scores, study.scale)
    planes = {"level": el.DEFAULT_LEVEL, "max_points": 20_000}
    few = study.drawn_latents[:20]
    pictures = [
        study.save(
            "planes_pca",
            figures.latent_planes(study.state, study.latents, few, **planes),
            "20 draws over the latents, in planes of principal components",
        ),
        study.save(
            "planes_original",
            figures.latent_planes(study.state, study.latents, few, frame="original", **planes),
            "The same draws, in planes of latent dimensions",
        ),
        study.save(
            "comparison",
            figures.comparison(compared.std_ratio, compared.distance, compared.pair_difference),
            f"{len(study.drawn_scores):,} draws beside the latents: each component, and the ellipses of all "
            "pairs",
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
                "The first three components with the ellipsoid whose shadows are the ellipses of their pairs",
            )
        )
    return Section(
        "Draws and latents",
        f"Draws of the law redraw at level {el.DEFAULT_LEVEL:g} lie well inside of the latents: "
        f"their standard deviation along a component is {np.median(compared.std_ratio):.2f} times "
        "that of the latents in the median.",
        pictures,
    )
