"""Whole jobs, one function each: train a run, fit a shape to latents, draw latents or images into files.

The commands of the command line parse words, call these functions and print their results.
"""

import dataclasses
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from jax.typing import ArrayLike

from ellipsoid.archive import digest
from ellipsoid.checks import check_matrix
from ellipsoid.evaluation.recommend import Recommendation, load_recommendation, recommend
from ellipsoid.fitting import fit
from ellipsoid.flow_fitting import fit_flow
from ellipsoid.generation.generate import generate
from ellipsoid.generation.sinks import choose_sink
from ellipsoid.mixture_fitting import fit_by_label, fit_mixture
from ellipsoid.options import DEFAULT_STEPS, HalfWidth
from ellipsoid.random import key
from ellipsoid.runs import (
    RunFolder,
    check_image_identity,
    check_run_folder,
    described_images,
    fit_run,
    fit_run_latents,
    image_identity,
    load_autoencoder,
    load_training_images,
    record_imported,
)
from ellipsoid.shapes import Shape, load

if TYPE_CHECKING:
    from ellipsoid.models.autoencoder import Autoencoder, AutoencoderConfig
    from ellipsoid.models.imported import ImportedAutoencoder
    from ellipsoid.models.importing import Found
    from ellipsoid.models.steps import TrainConfig

# Sets of faces without attributes.
_FACES = ("olivetti", "lfw")


# --- training ----------------------------------------------------------------------------------------


def train_run(
    images: str,
    out: str | os.PathLike[str],
    autoencoder: "AutoencoderConfig | None" = None,
    training: "TrainConfig | None" = None,
    *,
    split: Literal["all", "train", "valid", "test"] = "all",
    cache: Path | None = None,
    resume: bool = False,
    progress: bool = True,
) -> RunFolder:
    """Train an autoencoder on images, and fit a PCA state to its latents.

    Parameters
    ----------
    images : path or name
        Images, as for :func:`ellipsoid.models.load_images`.
    out : path
        Run folder.
    autoencoder : AutoencoderConfig, optional
    training : TrainConfig, optional
        Configuration of the training. If ``horizontal_flip`` is None, known sets of faces are flipped.
    split : {"all", "train", "valid", "test"}
        Part of CelebA to train on.
    cache : path, optional
        File (``.npy``) for the decoded images.
    resume : bool
        Whether the training continues from the newest checkpoint in the run folder. A larger number of epochs
        or steps prolongs it; the learning rate then follows the longer schedule.
    progress : bool
        Whether progress bars are shown.

    Returns
    -------
    RunFolder
        The run, with its checkpoints, history, latents and state.

    Raises
    ------
    FileExistsError
        If the run folder is not empty and `resume` is off, or another process trains or fits in it.
    FileNotFoundError
        If there is no run to resume, or the images do not exist.
    TypeError, ValueError
        If the images cannot be read or trained on, a setting is not allowed, or the run folder was made with
        other settings or other images.
    OSError
        If a file cannot be read or written.
    RuntimeError
        If the loss is no longer finite (:class:`ellipsoid.models.TrainingDiverged`).
    KeyboardInterrupt
        After Ctrl-C, once the current epoch is recorded.
    """
    from flax import nnx

    from ellipsoid.models.autoencoder import Autoencoder, AutoencoderConfig
    from ellipsoid.models.images import load_image_set
    from ellipsoid.models.steps import TrainConfig
    from ellipsoid.models.training import train

    if resume and not RunFolder(out).config.exists():
        raise FileNotFoundError(f"out: expected an existing run folder to resume; got {out}")
    check_run_folder(out, resume)
    shape, training = autoencoder or AutoencoderConfig(), training or TrainConfig()
    training.check()
    image_set = load_image_set(
        images, shape.image_size, shape.channels, split=split, cache=cache, progress=progress
    )
    if training.horizontal_flip is None:
        # Only sets of faces have attributes: CelebA and the embedded one.
        is_faces = bool(image_set.attributes) or images in _FACES
        training = dataclasses.replace(training, horizontal_flip=is_faces)
    network = Autoencoder(shape, rngs=nnx.Rngs(training.seed))
    source = described_images(images, split=split, cache=cache)
    train(network, image_set.images, training, out=out, resume=resume, source=source, progress=progress)
    RunFolder(out).write_labels(image_set)
    fit_run(network, image_set.images, out, progress=progress)
    return RunFolder(out)


def complete_run(folder: str | os.PathLike[str], *, progress: bool = True) -> RunFolder:
    """Complete a run whose training was stopped: encode its images with the best checkpoint, and fit a state.

    The run is then ready for draws. A resumed training removes its latents and state again.

    Parameters
    ----------
    folder : path
        Run folder with a checkpoint.
    progress : bool
        Whether progress bars are shown.

    Returns
    -------
    RunFolder
        The run, with its latents and state.

    Raises
    ------
    FileNotFoundError
        If the folder is not a run folder, has no checkpoint, or does not record its images.
    TypeError, ValueError
        If the run is damaged, or its images cannot be read or have changed.
    OSError
        If a file cannot be read or written.
    """
    run, autoencoder = RunFolder(folder), load_autoencoder(folder)
    image_set = load_training_images(folder)
    if image_set is None:
        raise FileNotFoundError(f"run: expected a run that records where its images are; got {run.path}")
    check_image_identity(folder, image_identity(image_set.images))
    run.write_labels(image_set)
    fit_run(autoencoder, image_set.images, folder, progress=progress)
    return run


# --- importing ---------------------------------------------------------------------------------------


def import_run(
    encoder: str | os.PathLike[str] | None,
    decoder: str | os.PathLike[str],
    images: str | None,
    out: str | os.PathLike[str],
    *,
    latents: ArrayLike | None = None,
    pixel_range: tuple[float, float] | None = None,
    input_range: tuple[float, float] | None = None,
    image_size: int | None = None,
    channels: Literal[1, 3] | None = None,
    split: Literal["all", "train", "valid", "test"] = "all",
    cache: Path | None = None,
    progress: bool = True,
) -> "Found":
    """Import an autoencoder of another framework as a run: encode images with it, and fit a PCA state.

    Parameters
    ----------
    encoder : path, str or None
        ONNX file, or the name ``module:function`` of a function of uint8 images ``(n, H, W, C)`` that returns
        latents.
    decoder : path or str
        ONNX file, or the name of a function of float32 latents that returns images ``(n, H, W, C)``, uint8 or
        floats.
    images : path, name or None
        Images that the autoencoder was trained on, as for :func:`ellipsoid.models.load_images`. An encoder
        needs them.
    out : path
        Run folder. ONNX models are copied into it.
    latents : array, shape (n, D), optional
        Latents of the training images, if there is no encoder.
    pixel_range, input_range : tuple of two float, optional
        Values of black and white that the decoder returns, and that the encoder takes. By default the ranges
        that reproduce the images best.
    image_size, channels : int, optional
        Size and number of channels that images are converted to for functions. ONNX models define their own.
    split, cache
        As for :func:`train_run`.
    progress : bool
        Whether progress bars are shown.

    Returns
    -------
    Found
        The autoencoder, and its reconstruction error.

    Raises
    ------
    FileExistsError
        If the run folder is not empty.
    FileNotFoundError
        If a model or the images do not exist.
    ImportError
        If ``onnx`` or ``onnxruntime`` is not installed, or the module of a function cannot be imported.
    TypeError, ValueError
        If the images cannot be read, or the models are not an encoder and a decoder of them; see
        :func:`ellipsoid.models.load_onnx`.
    OSError
        If a file cannot be read or written.
    KeyboardInterrupt
        After an interruption. :func:`complete_run` continues if the images were being encoded.
    """
    from ellipsoid.models.images import load_image_set
    from ellipsoid.models.imported import open_part
    from ellipsoid.models.importing import find_autoencoder, known_image_shape

    check_run_folder(out)
    if (encoder is None) == (latents is None):
        got = "neither" if latents is None else "both"
        raise ValueError(f"encoder: expected either an encoder or latents; got {got}")
    if encoder is not None and images is None:
        raise ValueError("images: expected the images that the autoencoder was trained on; got none")
    encoder_part = None if encoder is None else open_part(encoder, "encoder")
    decoder_part = open_part(decoder, "decoder")
    size, n_channels = known_image_shape(encoder_part, decoder_part) or (image_size, channels)
    real, recorded = None, {}
    if images is not None:
        real = load_image_set(images, size, n_channels, split=split, cache=cache, progress=progress).images
        source = described_images(images, split=split, cache=cache)
        recorded = {"images": source, "data": image_identity(real)}
    rows = None if latents is None else check_matrix("latents", latents)
    found = find_autoencoder(
        encoder_part, decoder_part, real, rows, pixel_range=pixel_range, input_range=input_range
    )
    record_imported(out, found.autoencoder, **recorded)
    if rows is not None:
        fit_run_latents(rows, out)
    elif real is not None:
        fit_run(found.autoencoder, real, out, progress=progress)
    return found


# --- fitting -----------------------------------------------------------------------------------------


def fit_latents(
    latents: ArrayLike,
    n_components: int | float | None = None,
    half_width: HalfWidth = "std",
    *,
    n_parts: Sequence[int] = (),
    labels: Any = None,
    flow: bool = False,
    steps: int = DEFAULT_STEPS,
    width: int | None = None,
    resume: str | os.PathLike[str] | None = None,
    seed: int = 0,
    progress: bool = True,
) -> Shape:
    """Fit a PCA state to latents, a mixture of several, or a flow.

    Parameters
    ----------
    latents : array, shape (n, D)
    n_components : int, float or None
        Number of components, or a share of the variance below 1. By default all components with variance.
    half_width : {"std", "histogram", "histogram_raw", "quantile", "mad", "core"}
        Estimator of each component's standard deviation. Mixtures and flows need "std".
    n_parts : sequence of int
        Number of parts of a mixture. Among several numbers, the one with the highest held-out likelihood is
        chosen. With labels, one number of parts for each label.
    labels : array or dict of arrays, optional
        Labels of a mixture or flow, as for :func:`ellipsoid.fit_by_label`.
    flow : bool
        Whether a flow is fitted.
    steps, width, resume
        Options of a flow, as for :func:`ellipsoid.fit_flow`.
    seed : int
        Random seed of mixtures and flows.
    progress : bool
        Whether a progress bar is shown.

    Returns
    -------
    PCAState, Mixture or Flow
        A mixture for a number of parts, or for labels without a flow.

    Raises
    ------
    TypeError, ValueError
        If latents, labels, the number of components or parts, or the half-width are not allowed.
    OSError
        If the file to resume from cannot be read or written.
    """
    if not n_parts and labels is None and not flow:
        return fit(latents, n_components, half_width)
    if half_width != "std":
        raise ValueError(f"half_width: expected std for a {'flow' if flow else 'mixture'}; got {half_width}")
    if flow and n_parts:
        raise ValueError(f"n_parts: expected no number of parts for a flow; got {tuple(n_parts)}")
    options: dict[str, Any] = {"key": key(seed), "progress": progress}
    if flow:
        return fit_flow(
            latents, n_components, labels=labels, steps=steps, width=width, resume=resume, **options
        )
    if labels is None:
        return fit_mixture(latents, tuple(n_parts), n_components, **options)
    if len(n_parts) > 1:
        raise ValueError(f"n_parts: expected one number with labels; got {tuple(n_parts)}")
    return fit_by_label(latents, labels, n_components, n_parts=n_parts[0] if n_parts else 1, **options)


# --- drawing -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Drawing:
    """A shape to draw from, with the settings.

    Attributes
    ----------
    shape : PCAState, Mixture or Flow
    options : dict
        Values of law, level, fact and region that differ from the defaults of :func:`ellipsoid.sample`.
    recommendation : Recommendation or None
        Recommendation that the settings follow; None if the caller has chosen them.
    """

    shape: Shape
    options: dict[str, Any]
    recommendation: Recommendation | None = None


def how_to_draw(
    source: str | os.PathLike[str],
    goal: Literal["fidelity", "balanced", "diversity"] | None = None,
    *,
    law: str | None = None,
    level: float | None = None,
    fact: float | None = None,
    region: str | None = None,
) -> Drawing:
    """Load a shape and its settings: those that the caller chooses, or those that are recommended.

    The recommendation is that of the run's evaluation, or that of its report, or the general one.

    Parameters
    ----------
    source : path
        File of a shape (.npz), or a run folder.
    goal : {"fidelity", "balanced", "diversity"}, optional
        Goal of the recommendation; balanced by default.
    law, level, fact, region : optional
        As for :func:`ellipsoid.sample`. If one of them is given, the others have their defaults.

    Returns
    -------
    Drawing
        Its shape is the recommended one if the run was evaluated and the caller chooses nothing.

    Raises
    ------
    FileNotFoundError
        If the file does not exist, or the folder has no state.
    ValueError
        If a goal is combined with a choice or unknown, a file is damaged, or the run has changed since its
        evaluation.
    """
    given = {"law": law, "level": level, "fact": fact, "region": region}
    chosen = {name: value for name, value in given.items() if value is not None}
    if goal is not None and chosen:
        raise ValueError(f"goal: cannot be combined with {', '.join(chosen)}; got {goal}")
    if chosen:
        return Drawing(_load_shape(source), chosen)
    recommendation = load_recommendation(source, goal or "balanced") if Path(source).is_dir() else None
    if recommendation is None:
        shape = _load_shape(source)
        measured = RunFolder(source).read_measured(shape) if Path(source).is_dir() else None
        recommendation = recommend(shape, goal=goal or "balanced", diagnostics=measured)
    return Drawing(recommendation.state, recommendation.options, recommendation)


def _load_shape(source: str | os.PathLike[str]) -> Shape:
    if not Path(source).is_dir():
        return load(source)
    source = Path(source)
    state = RunFolder(source).state
    if not state.exists():
        raise FileNotFoundError(
            f"state: expected a fitted shape (.npz), or a run folder; got {source}, with no {state.name}: "
            f"`ellipsoid fit {source} --out {source / 'state.npz'}` makes one"
        )
    return load(state)


@dataclass(frozen=True)
class Written:
    """Result of a write: all rows, or the share of this process.

    Attributes
    ----------
    location : path or URL
        Place of the result; while shares of other processes are missing, the place of its parts.
    is_complete : bool
        Whether all shares are written, and the result has its name.
    n_bytes : int
        Size of the whole result.
    n_judged, n_outside : int
        Number of 16-bit latents that were checked, and of those that rounding has moved out of the region.
    """

    location: Path | str
    is_complete: bool
    n_bytes: int = 0
    n_judged: int = 0
    n_outside: int = 0


def write_latents(
    drawing: Drawing, n: int, out: str | os.PathLike[str], *, seed: int = 0, **options: Any
) -> Written:
    """Draw latents into files.

    Parameters
    ----------
    drawing : Drawing
    n : int
        Number of rows.
    out : path or URL
        As for :func:`ellipsoid.generate`. An unfinished result is continued.
    seed : int
        Random seed of the sequence.
    **options
        Further arguments of :func:`ellipsoid.generate`.

    Returns
    -------
    Written

    Raises
    ------
    FileExistsError, TypeError, ValueError, RuntimeError, OSError, KeyboardInterrupt
        As :func:`ellipsoid.generate`.
    """
    sink = choose_sink(out)
    location = generate(key(seed), drawing.shape, n, sink, **{**drawing.options, **options})
    assert location is not None  # only functions have none
    content = sink.published()
    if content is None:
        return Written(location, is_complete=False)
    manifest = json.loads(content)
    return Written(location, True, manifest["bytes"], manifest["judged"], manifest["outside"])


def write_images(
    autoencoder: "Autoencoder | ImportedAutoencoder",
    drawing: Drawing,
    n: int,
    out: str | os.PathLike[str],
    *,
    seed: int = 0,
    **options: Any,
) -> Written:
    """Draw latents, decode them, and write the images.

    Parameters
    ----------
    autoencoder : Autoencoder or ImportedAutoencoder
        Autoencoder whose decoder is used. A result that was begun with other weights is not continued.
    drawing, n, out, seed, **options
        As for :func:`write_latents`.

    Returns
    -------
    Written

    Raises
    ------
    FileExistsError, TypeError, ValueError, RuntimeError, OSError, KeyboardInterrupt
        As :func:`ellipsoid.generate`.
    """
    decode, weights = decoder_of(autoencoder)
    return write_latents(drawing, n, out, seed=seed, decode=decode, decoder_digest=weights, **options)


def decoder_of(autoencoder: "Autoencoder | ImportedAutoencoder") -> tuple[Callable[[np.ndarray], Any], str]:
    """Return the decoder of any autoencoder as a function from latents to images, and its digest."""
    from ellipsoid.models.autoencoder import decode_function
    from ellipsoid.models.imported import ImportedAutoencoder

    if isinstance(autoencoder, ImportedAutoencoder):
        return autoencoder.batch_decoder(), autoencoder.decoder_digest
    decode = decode_function(autoencoder)
    return decode, digest(decode)
