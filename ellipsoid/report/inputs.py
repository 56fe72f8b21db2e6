"""Inputs of a report, and their reading from a run folder."""

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import ellipsoid as el
from ellipsoid.directions import Directions
from ellipsoid.pixels import PIXEL_RANGE, ImageDecoder
from ellipsoid.runs import (
    RunFolder,
    check_training_images,
    load_run,
    load_test_images,
    load_training_images,
)
from ellipsoid.shapes import Shape
from ellipsoid.state import check_latents

# Number of latents whose images are examined before anything is measured.
_N_EXAMINED = 64


@dataclass(frozen=True)
class ReportInputs:
    """Inputs of a report.

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
        Training images, in any number and order, and images that the autoencoder has not seen.
    history : sequence of dict
        Losses of each epoch.
    run : Path, optional
        Folder of the run, for the results of an evaluation with this state.
    directions : Directions, optional
        Directions of attributes in the latents.
    pixel_range : tuple of two float
        Black and white of decoded images that are floats: (-1, 1) for a decoder that ends in tanh.
    notes : sequence of str
        Sentences about content that the page leaves out.
    shapes : mapping of str to shape
        Other shapes of the same latents, by name: "mixture", "flow".
    test_latents : ndarray, shape (m, D), optional
        Latents of images that the autoencoder has not seen.
    """

    state: el.PCAState
    latents: np.ndarray
    decode: Callable[[np.ndarray], np.ndarray] | None = None
    encode: Callable[[np.ndarray], np.ndarray] | None = None
    images: np.ndarray | None = None
    test_images: np.ndarray | None = None
    history: Sequence[dict[str, Any]] = ()
    run: Path | None = None
    directions: Directions | None = None
    pixel_range: tuple[float, float] = PIXEL_RANGE
    notes: Sequence[str] = ()
    shapes: Mapping[str, Shape] = dataclasses.field(default_factory=dict)
    test_latents: np.ndarray | None = None

    def examined(self) -> "ReportInputs":
        """Return the same inputs with a decoder of uint8 images, after a check of some decoded latents.

        Raises
        ------
        TypeError, ValueError
            If the latents do not fit the state, or `decode` does not return images in `pixel_range`.
        """
        if self.decode is None:
            return self
        decoder = ImageDecoder(self.decode, self.pixel_range)
        decoder(check_latents(self.state, self.latents)[:_N_EXAMINED])
        return dataclasses.replace(self, decode=lambda latents: np.asarray(decoder(latents)))


def load_report_inputs(
    run: str | os.PathLike[str], images: str | os.PathLike[str] | np.ndarray | None = None
) -> ReportInputs:
    """Read the inputs of a report from a run folder, or from a folder with only ``latents.npy``.

    Without ``state.npz`` a state is fitted to the latents. Without an autoencoder the report shows no images.
    Without the training images it says that reconstructions and nearest neighbours are left out.

    Parameters
    ----------
    run : path
        Folder of the run.
    images : path, name or array, optional
        Training images, as for :func:`ellipsoid.models.load_images`. By default these are the images that the
        run records, if they still exist.

    Returns
    -------
    ReportInputs

    Raises
    ------
    FileNotFoundError
        If the folder, its ``latents.npy`` or the file of images does not exist.
    TypeError
        If the latents do not hold real numbers.
    ValueError
        If a file in the folder is damaged, if no state can be fitted to the latents, if the images cannot be
        read or are not those of the run, or if the run has no autoencoder for them.
    """
    folder = RunFolder(run)
    latents = folder.read_latents()
    state = el.PCAState.load(folder.state) if folder.state.exists() else el.fit(latents)
    directions = _directions(folder, latents.shape[-1])
    if not folder.has_autoencoder:
        if images is not None:
            raise ValueError(f"images: expected a run with an autoencoder; got {run}, which has none")
        return ReportInputs(state, latents, directions=directions)

    from ellipsoid.models.autoencoder import decode_latents, encode_images

    trained = load_run(folder)
    autoencoder, notes = trained.autoencoder, ()
    try:
        found = load_training_images(folder, images)
        if found is not None:
            check_training_images(found.images, autoencoder, latents)
    except (OSError, ValueError, TypeError) as error:
        if images is not None:
            raise
        found, notes = None, (f"Reconstructions and nearest training images are left out: {error}.",)
    return ReportInputs(
        state,
        latents,
        decode=lambda z: decode_latents(autoencoder, np.asarray(z)),
        encode=None if autoencoder.encoder is None else lambda x: encode_images(autoencoder, x),
        images=None if found is None else found.images,
        test_images=None if found is None else load_test_images(folder),
        history=trained.metrics,
        run=folder.path,
        notes=notes,
        shapes=folder.read_shapes(),
        test_latents=folder.read_test_latents(),
        directions=directions,
    )


def _directions(run: RunFolder, n_features: int) -> Directions | None:
    if not run.directions.exists():
        return None
    directions = Directions.load(run.directions)
    found = len(next(iter(directions.values())).vector)
    if found != n_features:
        raise ValueError(
            f"{run.directions}: expected directions in {n_features} latent dimensions; got {found} "
            f"dimensions: learn them again with `ellipsoid directions {run.path}`"
        )
    return directions
