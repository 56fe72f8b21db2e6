"""Place of the region in the latent space, and images of latents that ignore it."""

import jax.random as jr
import numpy as np

import ellipsoid as el
from ellipsoid import diagnostics, figures
from ellipsoid.report.page import Section
from ellipsoid.report.study import Study


def without_the_region(study: Study) -> Section | None:
    """Show the images of latents that ignore the region."""
    decode = study.inputs.decode
    if decode is None:
        return None
    kinds = blind_latents(study, 24)
    latents = np.concatenate(list(kinds.values()))
    inside = int(np.sum(np.asarray(el.gauge(study.state, latents, level=el.DEFAULT_LEVEL)) <= 1))
    return Section(
        "Without the region",
        "Do draws have to stay inside the region? The images below come from the same decoder, but from "
        f"latents that ignore the region: {inside} of these {len(latents)} lie inside it at level "
        f"{el.DEFAULT_LEVEL:g}. The decoder was never trained on such latents.",
        [
            study.save(
                f"trial_{number}",
                figures.image_grid(decode(latents), columns=12),
                name[0].upper() + name[1:],
                svg=False,
            )
            for number, (name, latents) in enumerate(kinds.items(), 1)
        ],
    )


def location(study: Study) -> Section | None:
    """Show where the latents and different kinds of draws lie."""
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
        "Where do the latents lie in their space? Their centre is "
        f"{centre.distance:.3g} latent units from the origin, and half of the latents lie within "
        f"{centre.radius:.3g} of the centre. Dimensions {listed} carry {centre.shares[largest].sum():.0%} of "
        "the squared distance from the origin. Random numbers around the origin miss both this distance and "
        "its direction, so draws start from the centre.",
        [
            study.save(
                "distances_origin",
                figures.plot_distances(
                    {name: np.linalg.norm(z, axis=1) for name, z in (latents | cubes | normals).items()},
                    xlabel="distance from the origin (latent units)",
                ),
                "Distances from the origin: the latents, and random numbers that ignore the region",
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
                "Distances from the centre of the latents: the latents, and draws by each law at level "
                f"{el.DEFAULT_LEVEL:g}",
            ),
            study.save(
                "offset",
                figures.offset(np.abs(centre.offset), centre.shares),
                "Mean of each latent dimension, and its share of the squared distance from the origin",
            ),
        ],
    )


def blind_latents(study: Study, n: int) -> dict[str, np.ndarray]:
    """Latents (n, D) that ignore the region, by the name of their distribution.

    The first distribution is a cube around the origin. The other two have the mean and the standard deviation
    of each latent dimension, but no dependence between dimensions.
    """
    cube_key, box_key, normal_key = jr.split(study.blind_key, 3)
    shape, mean, std = (n, study.state.n_features), study.mean, study.std
    uniform = np.asarray(jr.uniform(box_key, shape, minval=-1.0, maxval=1.0))
    return {
        "uniform in [-1.5, 1.5]": np.asarray(jr.uniform(cube_key, shape, minval=-1.5, maxval=1.5)),
        "box, each dimension alone": mean + std * el.DEFAULT_LEVEL * uniform,
        "independent normals": mean + std * np.asarray(jr.normal(normal_key, shape)),
    }
