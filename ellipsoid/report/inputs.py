"""The inputs of a report, and how they are read from a run folder."""

import dataclasses
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import ellipsoid as el
from ellipsoid.pixels import PIXEL_RANGE, ImageDecoder
from ellipsoid.runs import RunFolder, check_training_images, load_run
from ellipsoid.state import check_latents

# Latents whose images are examined before anything is measured.
_N_EXAMINED = 64


@dataclass(frozen=True)
class ReportInputs:
    """What a report is about.

    Attributes
    ----------
    state : PCAState
        State whose claims are tested.
    latents : ndarray, shape (n, D)
        Latents of the training images.
    decode, encode : callable, optional
        Functions from float32 latents (n, D) to images (n, H, W, C), uint8 or floats in `pixel_range`, and
        from uint8 images to latents.
    images, test_images : (n, H, W, C) uint8 arrays, optional
        Training images, in any number and order, and others that the autoencoder has never seen.
    history : sequence of dict
        Losses over the epochs.
    run : Path, optional
        Folder of the run, which may have been evaluated.
    pixel_range : tuple of two float
        Black and white of decoded images that are floats: (-1, 1) for a decoder that ends in tanh.
    """

    state: el.PCAState
    latents: np.ndarray
    decode: Callable[[np.ndarray], np.ndarray] | None = None
    encode: Callable[[np.ndarray], np.ndarray] | None = None
    images: np.ndarray | None = None
    test_images: np.ndarray | None = None
    history: Sequence[dict[str, Any]] = ()
    run: Path | None = None
    pixel_range: tuple[float, float] = PIXEL_RANGE

    def examined(self) -> "ReportInputs":
        """Give the same with a decoder of uint8 images, after the images of some latents were examined.

        Raises
        ------
        TypeError, ValueError
            If the latents do not fit the state, or `decode` gives no images in `pixel_range`.
        """
        if self.decode is None:
            return self
        decoder = ImageDecoder(self.decode, self.pixel_range)
        decoder(check_latents(self.state, self.latents)[:_N_EXAMINED])
        return dataclasses.replace(self, decode=lambda latents: np.asarray(decoder(latents)))


def load_report_inputs(
    run: str | os.PathLike[str], images: str | os.PathLike[str] | np.ndarray | None = None
) -> ReportInputs:
    """Read the inputs of a report from a run folder, or from a folder with nothing but ``latents.npy``.

    Without ``state.npz`` a state is fitted to the latents. Without an autoencoder the report shows no images.

    Parameters
    ----------
    run : path
        Folder of the run.
    images : path, name or array, optional
        Training images, as for :func:`ellipsoid.models.load_images`.

    Returns
    -------
    ReportInputs

    Raises
    ------
    FileNotFoundError
        If there is no such folder, no ``latents.npy`` in it, or no file of the images.
    TypeError
        If the latents do not hold real numbers.
    ValueError
        If a file in it is damaged, if no state can be fitted to the latents, or if the images cannot be read,
        are not those of the run, or come without an autoencoder.
    """
    folder = RunFolder(run)
    latents = folder.read_latents()
    state = el.PCAState.load(folder.state) if folder.state.exists() else el.fit(latents)
    if not folder.has_autoencoder:
        if images is not None:
            raise ValueError(f"images: expected a run with an autoencoder to go with them; {run} has none")
        return ReportInputs(state, latents)

    from ellipsoid.models.autoencoder import decode_latents, encode_images
    from ellipsoid.models.images import load_images

    trained = load_run(folder)
    autoencoder, config = trained.autoencoder, trained.autoencoder.config
    if images is not None:
        images = load_images(images, config.image_size, config.channels)
        check_training_images(images, autoencoder, latents)
    return ReportInputs(
        state,
        latents,
        decode=lambda z: decode_latents(autoencoder, np.asarray(z)),
        encode=None if autoencoder.encoder is None else lambda x: encode_images(autoencoder, x),
        images=images,
        history=trained.metrics,
        run=folder.path,
    )
