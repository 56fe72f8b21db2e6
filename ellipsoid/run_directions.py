"""Directions of a run: learned from the labels of its images, kept in its folder, and applied to images."""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ellipsoid.archive import digest
from ellipsoid.checks import check_count
from ellipsoid.directions import MIN_ROWS, Direction, Directions, directions
from ellipsoid.editing import edit
from ellipsoid.labels import as_attributes, as_labels
from ellipsoid.outputs import check_output
from ellipsoid.runs import RunFolder, training_attributes
from ellipsoid.shapes import Shape

if TYPE_CHECKING:
    from ellipsoid.models.autoencoder import ImageAutoencoder

#: Highest number of attributes or classes whose directions are learned for a run.
MAX_DIRECTIONS = 256


def learn_run_directions(
    folder: str | os.PathLike[str],
    labels: Any = None,
    *,
    orthogonal: bool | Sequence[str] = False,
) -> Directions:
    """Learn the directions of a run's attributes or classes, and save them in its folder.

    Parameters
    ----------
    folder : path
        Run folder, or a folder with ``latents.npy`` from any framework.
    labels : array or mapping of arrays, optional
        Class of each latent vector, or booleans by the name of the attribute; by default the labels of the
        run's training images.
    orthogonal : bool or sequence of str
        Attributes that a step along any other direction must not change; see :func:`ellipsoid.directions`.

    Returns
    -------
    Directions
        Directions of all attributes that at least 10 rows have and at least 10 lack.

    Raises
    ------
    FileNotFoundError
        If there are no latents in the folder.
    FileExistsError
        If ``directions.npz`` is a file of another kind.
    TypeError, ValueError
        If no labels are given and the images have none, the labels do not fit the latents, no label is
        frequent enough, or a file is damaged.
    OSError
        If a file cannot be read or written.
    """
    run = RunFolder(folder)
    check_output("run", run.directions, "a file of directions", Directions.load)
    latents = run.read_latents()
    known = labels
    if known is None and run.config.exists():
        known = training_attributes(folder)
    if known is None:
        raise ValueError(
            f"labels: expected labels of the latents, since nothing is known of the training images of "
            f"{run.path}; got none"
        )
    if labels is None and len(next(iter(known.values()))) != len(latents):
        raise ValueError(
            f"run: expected as many training images as latents, {len(latents):,}; got "
            f"{len(next(iter(known.values()))):,}, since the images have changed"
        )
    learned = directions(latents, _frequent(known, len(latents)), orthogonal=orthogonal)
    learned.save(run.directions)
    return learned


def _frequent(labels: Any, n: int) -> dict[str, np.ndarray]:
    """Return the attributes, or the classes against the rest, that enough rows have and lack."""
    if isinstance(labels, Mapping):
        groups = as_attributes(labels, n)
    else:
        classes = as_labels(labels, n)
        values, counts = np.unique(classes, return_counts=True)
        if len(values) > MAX_DIRECTIONS:
            raise ValueError(f"labels: expected at most {MAX_DIRECTIONS} classes; got {len(values):,}")
        groups = {str(value): classes == value for value in values[counts >= MIN_ROWS]}
    frequent = {name: has for name, has in groups.items() if MIN_ROWS <= np.sum(has) <= n - MIN_ROWS}
    if not frequent:
        raise ValueError(
            f"labels: expected an attribute that {MIN_ROWS} rows have and {MIN_ROWS} lack; got none"
        )
    if len(frequent) > MAX_DIRECTIONS:
        raise ValueError(f"labels: expected at most {MAX_DIRECTIONS} attributes; got {len(frequent):,}")
    return frequent


def run_directions(folder: str | os.PathLike[str]) -> Directions:
    """Load the directions of a run; the first call learns them from the labels of its images.

    Raises
    ------
    FileNotFoundError, FileExistsError, TypeError, ValueError, OSError
        If :func:`learn_run_directions` would raise it.
    """
    run = RunFolder(folder)
    return Directions.load(run.directions) if run.directions.exists() else learn_run_directions(folder)


def run_direction(folder: str | os.PathLike[str], name: str) -> Direction:
    """Load one direction of a run by its name.

    Raises
    ------
    ValueError
        If there is no direction of this name.
    FileNotFoundError, FileExistsError, TypeError, OSError
        If :func:`learn_run_directions` would raise it.
    """
    known = run_directions(folder)
    if name not in known:
        raise ValueError(f"direction: expected one of {', '.join(known)}; got {name!r}")
    return known[name]


# --- images ------------------------------------------------------------------------------------------


def edited_decoder(
    decode: Callable[[Any], Any],
    decoder_digest: str,
    shape: Shape,
    edits: Sequence[tuple[Direction, float]],
    **region: Any,
) -> tuple[Callable[[np.ndarray], Any], str]:
    """Return a decoder that first moves latents along directions, one after the other, and its digest.

    Rows that leave the region are pulled towards the centre of the shape.

    Parameters
    ----------
    decode : callable
        Function from latents to images.
    decoder_digest : str
        Digest that identifies the decoder.
    shape : PCAState, Mixture or Flow
        Shape that defines the region.
    edits : sequence of (Direction, float)
        Directions and the number of steps along each.
    **region
        Level, fact and region; see :func:`ellipsoid.edit`.

    Returns
    -------
    callable
        Function from latents to images.
    str
        Digest that identifies the new function.
    """

    def edited(latents):
        for direction, amount in edits:
            latents = edit(shape, latents, direction, amount, towards="centre", **region).latents
        return decode(latents)

    steps = [(direction.vector, np.float64(amount)) for direction, amount in edits]
    return edited, f"{decoder_digest} edited {digest(steps)}"


class PictureStrip(NamedTuple):
    """A picture moved along a direction.

    Attributes
    ----------
    original, reconstruction : (H, W, C) uint8 array
        Picture as the encoder sees it, and its decoded latents without a move.
    images : (n, H, W, C) uint8 array
        Pictures after each number of steps.
    score : float
        Reading of the picture along the direction, in standard deviations.
    gauge : (n,) array
        Gauge of each picture's latents.
    """

    original: np.ndarray
    reconstruction: np.ndarray
    images: np.ndarray
    score: float
    gauge: np.ndarray


def edit_picture(
    autoencoder: "ImageAutoencoder",
    shape: Shape,
    picture: str | os.PathLike[str],
    direction: Direction,
    amounts: Sequence[float],
    **options: Any,
) -> PictureStrip:
    """Encode a picture, move it along a direction, and decode it.

    Parameters
    ----------
    autoencoder : Autoencoder or ImportedAutoencoder
        Encoder and decoder of the picture.
    shape : PCAState, Mixture or Flow
        Shape that defines the region.
    picture : path
        Image file.
    direction : Direction
        Direction of the move.
    amounts : sequence of float
        Numbers of steps, in standard deviations of the latents.
    **options
        Arguments of :func:`ellipsoid.edit`.

    Returns
    -------
    PictureStrip
        Picture, its reconstruction, and the moved pictures.

    Raises
    ------
    FileNotFoundError, TypeError, ValueError, OSError
        If the picture cannot be read, or :func:`ellipsoid.edit` refuses an argument.
    """
    from ellipsoid.models.autoencoder import decode_latents, encode_images
    from ellipsoid.models.images import load_image

    config = autoencoder.config
    original = load_image(picture, config.image_size, config.channels)
    z = encode_images(autoencoder, original)
    n = check_count("amounts", len(amounts))
    edited = edit(shape, z.repeat(n, axis=0), direction, np.asarray(amounts, np.float32), **options)
    images = decode_latents(autoencoder, np.concatenate([z, edited.latents]))
    return PictureStrip(original[0], images[0], images[1:], float(direction.score(z)[0]), edited.gauge)
