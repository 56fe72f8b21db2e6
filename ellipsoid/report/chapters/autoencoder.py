"""The autoencoder itself, and whether draws are copies of the images that it was trained on."""

from collections.abc import Callable

import numpy as np

from ellipsoid import diagnostics, figures
from ellipsoid.report.chapters.indices import evenly_spaced
from ellipsoid.report.page import Section
from ellipsoid.report.study import Study


def autoencoder(study: Study) -> Section | None:
    """Show reconstructions and the losses."""
    decode, encode, history = study.inputs.decode, study.inputs.encode, study.inputs.history
    images, kind = study.inputs.test_images, "it has never seen"
    if images is None:
        images, kind = study.inputs.images, "of the training set"
    pictures = []
    if images is not None and decode is not None and encode is not None:
        pictures.append(
            study.save(
                "reconstructions",
                figures.plot_reconstructions(images[:16], decode(encode(images[:16]))),
                f"Images {kind}, and what the autoencoder makes of them",
                svg=False,
            )
        )
    if history:
        pictures.append(
            study.save("training", figures.training_curve(history), "Mean squared error over the epochs")
        )
    return Section("The autoencoder", "", pictures) if pictures else None


def neighbours(study: Study) -> Section | None:
    """Show the training images nearest to draws."""
    decode, encode, images = study.inputs.decode, study.inputs.encode, study.inputs.images
    if decode is None or encode is None or images is None:
        return None
    generated = decode(study.drawn_latents[:256])
    index, distance = diagnostics.nearest(generated, images, min(2, len(images)))
    if study.inputs.test_images is not None:
        name, not_own = "unseen images, reconstructed", ""
        reconstructed = decode(encode(study.inputs.test_images[:256]))
        others = diagnostics.nearest(reconstructed, images, min(2, len(images)))[1][:, 0]
    else:
        name, not_own = "other training images, reconstructed", " that is not their own"
        others = _distances_to_others(images, lambda originals: decode(encode(originals)))
    bound = float(np.quantile(others, 0.01))
    return Section(
        "Nearest training images",
        "If draws were copies, they would lie nearer to training images than other images do that are "
        f"as smooth: {name}. 1% of those lie nearer to a training image{not_own} than "
        f"{bound:.3f}, in the root mean square of the pixels' differences; of the draws, "
        f"{np.mean(distance[:, 0] < bound):.1%}. Smooth images near the mean are near to many without "
        "being a copy of any; an evaluation tells them apart.",
        [
            study.save(
                "nearest",
                figures.plot_nearest(generated[:8], images[index[:8]], distance[:8]),
                "Draws, and the training images nearest to them",
                svg=False,
            ),
            study.save(
                "nearest_distances",
                figures.plot_distances(
                    {"draws": distance[:, 0], name: others},
                    xlabel="distance to the nearest training image (root mean square of pixels)",
                ),
                "Distances to the nearest training image",
            ),
        ],
    )


def _distances_to_others(images: np.ndarray, reconstruct: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Distances of the reconstructions of training images to the nearest image that is not their own."""
    own = np.array(evenly_spaced(len(images), 256))
    index, distance = diagnostics.nearest(reconstruct(images[own]), images, min(2, len(images)))
    return np.where(index[:, 0] == own, distance[:, -1], distance[:, 0])
