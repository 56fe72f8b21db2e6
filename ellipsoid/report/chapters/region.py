"""Where the region lies, and what generators give that know nothing of it."""

import jax.random as jr
import numpy as np

import ellipsoid as el
from ellipsoid import diagnostics, figures
from ellipsoid.report.page import Section
from ellipsoid.report.study import Study


def without_the_region(study: Study) -> Section | None:
    """Show what generators decode to that know nothing of the region."""
    decode = study.inputs.decode
    if decode is None:
        return None
    return Section(
        "What goes wrong without the region",
        "The same decoder, fed with latents that ignore where the training latents lie.",
        [
            study.save(
                f"trial_{number}",
                figures.image_grid(decode(latents), columns=12),
                name[0].upper() + name[1:],
                svg=False,
            )
            for number, (name, latents) in enumerate(blind_latents(study, 24).items(), 1)
        ],
    )


def location(study: Study) -> Section | None:
    """Show where the latents lie, and where generators place their points."""
    centre = study.diagnostics.location
    random, shape = np.random.default_rng(0), (2_000, study.state.n_features)
    latents = {"latents": diagnostics.subset(study.latents, diagnostics.PAIR_ROWS)}
    normals = {"independent normals": blind_latents(study, shape[0])["independent normals"]}
    cubes = {f"uniform in ±{b:g}": random.uniform(-b, b, size=shape) for b in (0.25, 0.5, 1.5)}
    laws = ("redraw", "sequential", "uniform", "normal")
    draws = {f"law {law}": study.sample(shape[0], law=law) for law in laws}
    largest = np.argsort(-centre.shares)[:3]
    listed = ", ".join(str(i + 1) for i in largest)
    return Section(
        "Where the region lies",
        f"The centre of the latents is {centre.distance:.3g} latent units from the origin, and half of "
        f"the latents are within {centre.radius:.3g} of the centre. Dimensions {listed} carry "
        f"{centre.shares[largest].sum():.0%} of the squared offset. Numbers thrown at the whole space do not "
        "know how far out the latents lie, nor in which direction.",
        [
            study.save(
                "distances_origin",
                figures.plot_distances(
                    {name: np.linalg.norm(z, axis=1) for name, z in (latents | cubes | normals).items()},
                    xlabel="distance from the origin (latent units)",
                ),
                "Distances from the origin: latents, and generators that do not know their region",
            ),
            study.save(
                "distances_centre",
                figures.plot_distances(
                    {
                        name: np.linalg.norm(z - study.mean, axis=1)
                        for name, z in (latents | draws | normals).items()
                    },
                    xlabel="distance from the centre of the latents (latent units)",
                ),
                f"Distances from the centre of the latents: latents, and each law at level "
                f"{el.DEFAULT_LEVEL:g}",
            ),
            study.save(
                "offset",
                figures.offset(np.abs(centre.offset), centre.shares),
                "Offset of each latent dimension from zero, and its share in the squared distance",
            ),
        ],
    )


def blind_latents(study: Study, n: int) -> dict[str, np.ndarray]:
    """Latents (n, D) of generators that miss the region, by what the generator does.

    The first throws numbers at the whole space; the other two know each latent dimension's own mean and
    standard deviation, but nothing of how the dimensions go together.
    """
    cube_key, box_key, normal_key = jr.split(study.blind_key, 3)
    shape, mean, std = (n, study.state.n_features), study.mean, study.std
    uniform = np.asarray(jr.uniform(box_key, shape, minval=-1.0, maxval=1.0))
    return {
        "uniform in [-1.5, 1.5]": np.asarray(jr.uniform(cube_key, shape, minval=-1.5, maxval=1.5)),
        "box, each dimension alone": mean + std * el.DEFAULT_LEVEL * uniform,
        "independent normals": mean + std * np.asarray(jr.normal(normal_key, shape)),
    }
