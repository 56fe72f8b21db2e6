"""The autoencoder: its reconstructions and losses, and the training images nearest to draws."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ellipsoid import diagnostics, figures
from ellipsoid.report.chapters.indices import evenly_spaced
from ellipsoid.report.page import Section
from ellipsoid.report.study import Study


def autoencoder(study: Study) -> Section | None:
    """Show reconstructions and losses."""
    decode, encode, history = study.inputs.decode, study.inputs.encode, study.inputs.history
    images, kind = study.inputs.test_images, "Unseen images"
    if images is None:
        images, kind = study.inputs.images, "Training images"
    pictures = []
    if images is not None and decode is not None and encode is not None:
        pictures.append(
            study.save(
                "reconstructions",
                figures.plot_reconstructions(images[:16], decode(encode(images[:16]))),
                f"{kind}, and their reconstructions by the autoencoder",
                svg=False,
            )
        )
    if history:
        pictures.append(
            study.save("training", figures.training_curve(history), "Mean squared error in each epoch")
        )
    text = (
        "How well does the autoencoder rebuild images? "
        + _last_losses(history)
        + "Draws pass through the same decoder, so they show no more detail than its reconstructions."
    )
    return Section("The autoencoder", text, pictures) if pictures else None


def _last_losses(history: Sequence[dict[str, Any]]) -> str:
    """Sentence with the losses of the last epoch; empty without any."""
    last = history[-1] if history else {}
    losses = [
        f"{last[f'{name}_loss']:.3g} on {words}"
        for name, words in (("train", "training images"), ("validation", "validation images"))
        if last.get(f"{name}_loss") is not None
    ]
    return f"In the last epoch its mean squared error is {' and '.join(losses)}. " if losses else ""


def neighbours(study: Study) -> Section | None:
    """Show the training images nearest to draws."""
    decode, encode, images = study.inputs.decode, study.inputs.encode, study.inputs.images
    if decode is None or encode is None or images is None:
        return None
    generated = decode(study.drawn_latents[:256])
    index, distance = diagnostics.nearest(generated, images, min(2, len(images)))
    if study.inputs.test_images is not None:
        name, not_own = "reconstructions of unseen images", ""
        reconstructed = decode(encode(study.inputs.test_images[:256]))
        others = diagnostics.nearest(reconstructed, images, min(2, len(images)))[1][:, 0]
    else:
        name, not_own = "reconstructions of training images", " other than their own"
        others = _distances_to_others(images, lambda originals: decode(encode(originals)))
    bound = float(np.quantile(others, 0.01))
    return Section(
        "Nearest training images",
        f"Are draws copies of training images? {np.mean(distance[:, 0] < bound):.1%} of the draws lie within "
        f"{bound:.3f} of a training image (root mean square difference of the pixels). The same holds for 1% "
        f"of {name}{not_own and ', compared with training images' + not_own}, which are as smooth as draws "
        "but not copies. A share far above 1% is therefore a sign of copies. Smooth images near the average "
        "may also lie close to many training images; `ellipsoid evaluate` tests for copies more strictly.",
        [
            study.save(
                "nearest",
                figures.plot_nearest(generated[:8], images[index[:8]], distance[:8]),
                "Draws, and below each its nearest training images with their distances",
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
    """Distances of reconstructed training images to the nearest training image other than their own."""
    own = np.array(evenly_spaced(len(images), 256))
    index, distance = diagnostics.nearest(reconstruct(images[own]), images, min(2, len(images)))
    return np.where(index[:, 0] == own, distance[:, -1], distance[:, 0])
