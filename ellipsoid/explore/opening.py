"""Spaces to explore, from the folder of a run or from a shape and functions."""

import functools
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jax.typing import ArrayLike

import ellipsoid as el
from ellipsoid.archive import digest
from ellipsoid.directions import Direction
from ellipsoid.explore.space import Space
from ellipsoid.pixels import PIXEL_RANGE
from ellipsoid.run_directions import run_directions
from ellipsoid.runs import DRAWN_FACES, RunFolder, load_run, load_training_images
from ellipsoid.settings import DrawSettings
from ellipsoid.shapes import Shape, load
from ellipsoid.workflows import decoder_of, how_to_draw

_Decode = Callable[[np.ndarray], ArrayLike]


def open_space(
    source: Any,
    *,
    decode: _Decode | None = None,
    encode: _Decode | None = None,
    latents: np.ndarray | None = None,
    images: np.ndarray | None = None,
    pixel_range: tuple[float, float] = PIXEL_RANGE,
) -> Space:
    """Make the space of a run, or of a shape with functions of any framework.

    Parameters
    ----------
    source : path, shape, or mapping of str to shape
        Run folder, file of a shape (.npz), shape, or several shapes of the same latents by name.
    decode, encode : callable, optional
        Functions from float32 latents (n, D) to images (n, H, W, C), and from uint8 images to latents. The
        default is the autoencoder of the run.
    latents : array, shape (n, D), optional
        Latents of the training images. The default is those of the run.
    images : array, shape (n, H, W, C), optional
        Training images in the same order, uint8. The default is the images that the run records.
    pixel_range : tuple of two float
        Black and white of decoded images that are floats.

    Returns
    -------
    Space

    Raises
    ------
    FileNotFoundError
        If the file does not exist, or the folder holds neither a shape nor latents.
    TypeError, ValueError
        If a file is damaged, if `source` is something else, or if the arguments do not fit each other.
    """
    options = {"decode": decode, "encode": encode, "latents": latents, "pixel_range": pixel_range}
    given: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
    if images is not None:
        given["images"] = lambda: images
    if isinstance(source, str | os.PathLike):
        path = Path(source)
        if path.is_dir():
            return _of_run(RunFolder(path), given)
        return Space({path.stem: load(path)}, name=path.name, **given)
    shapes = dict(source) if isinstance(source, Mapping) else {"shape": source}
    return Space(shapes, **given)


def _of_run(run: RunFolder, given: dict[str, Any]) -> Space:
    shapes = _shapes_of(run)
    latents = run.read_latents() if run.latents.is_file() else None
    if not shapes:
        shapes = {"state": el.fit(run.read_latents())}
    found: dict[str, Any] = {
        "name": run.path.resolve().name,
        "latents": latents,
        "unseen": np.load(run.test_latents, allow_pickle=False) if run.test_latents.is_file() else None,
        "directions": _directions_of(run),
        # The exported Python code can only use the run's own decoder.
        "folder": None if "decode" in given else str(run.path),
    }
    if run.checkpoints.is_dir() and "decode" not in given:
        found |= _autoencoder_of(run)
    if run.state.exists():
        found |= _beginning(run, shapes)
    return Space(shapes, **(found | given))


def _shapes_of(run: RunFolder) -> dict[str, Shape]:
    """Load the shapes among the files of a run, its own state first."""
    shapes: dict[str, Shape] = {}
    for path in sorted(run.path.glob("*.npz"), key=lambda path: (path != run.state, path.name)):
        try:
            shapes[path.stem] = load(path)
        except ValueError:
            if path == run.state:
                raise
            # The folder may also hold other archives.
    features = next((shape.n_features for shape in shapes.values()), None)
    return {name: shape for name, shape in shapes.items() if shape.n_features == features}


def _directions_of(run: RunFolder) -> Mapping[str, Direction]:
    """Load the directions of a run. For a demonstration without them, they are learned within seconds."""
    is_drawn = run.config.exists() and (run.read_config().get("images") or {}).get("source") == DRAWN_FACES
    if not run.directions.exists() and not is_drawn:
        return {}
    try:
        return run_directions(run)
    except OSError:
        return {}  # the folder is read-only


def _autoencoder_of(run: RunFolder) -> dict[str, Any]:
    from ellipsoid.models.autoencoder import encode_images

    autoencoder = load_run(run).autoencoder

    def training_images() -> np.ndarray | None:
        image_set = load_training_images(run)
        return None if image_set is None else image_set.images

    encode = None
    if autoencoder.encoder is not None:
        encode = functools.partial(encode_images, autoencoder, batch_size=1)
    return {
        "decode": decoder_of(autoencoder)[0],
        "encode": encode,
        "images": training_images,
    }


def _beginning(run: RunFolder, shapes: Mapping[str, Shape]) -> dict[str, Any]:
    """Name of the shape and settings that the command line draws with."""
    drawing = how_to_draw(run.path)
    settings = DrawSettings(**drawing.options)
    digests = {digest(shape): name for name, shape in shapes.items()}
    default = digests.get(digest(drawing.shape), next(iter(shapes)))
    return {"settings": settings, "default": default}
