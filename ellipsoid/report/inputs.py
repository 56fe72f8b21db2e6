"""The inputs of a report, and how they are read from a run folder."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import ellipsoid as el
from ellipsoid.runs import RunFolder, check_training_images, load_run


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
        Functions from latents (n, D) to uint8 images (n, H, W, C), and back.
    images, test_images : (n, H, W, C) uint8 arrays, optional
        Training images, in any number and order, and others that the autoencoder has never seen.
    history : sequence of dict
        Losses over the epochs.
    run : Path, optional
        Folder of the run, which may have been evaluated.
    """

    state: el.PCAState
    latents: np.ndarray
    decode: Callable[[np.ndarray], np.ndarray] | None = None
    encode: Callable[[np.ndarray], np.ndarray] | None = None
    images: np.ndarray | None = None
    test_images: np.ndarray | None = None
    history: Sequence[dict[str, Any]] = ()
    run: Path | None = None


def load_report_inputs(
    run: str | os.PathLike[str], images: str | os.PathLike[str] | np.ndarray | None = None
) -> ReportInputs:
    """Read the inputs of a report from a run folder, or from a folder with nothing but ``latents.npy``.

    Without ``state.npz`` a state is fitted to the latents. Without checkpoints the report shows no images.

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
    if not folder.checkpoints.is_dir():
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
        encode=lambda x: encode_images(autoencoder, x),
        images=images,
        history=trained.metrics,
        run=folder.path,
    )
