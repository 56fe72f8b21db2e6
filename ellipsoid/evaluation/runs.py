"""Evaluation of the ways to draw from a run by its own images, and a record of the best ones."""

import dataclasses
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ellipsoid.archive import digest
from ellipsoid.blocks import subset
from ellipsoid.checks import check_count
from ellipsoid.evaluation.best import Choice, choose_shape, normal_settings
from ellipsoid.evaluation.candidates import MIXTURE_ROWS
from ellipsoid.evaluation.config import EvaluateConfig as EvaluateConfig
from ellipsoid.evaluation.evaluate import MIN_IMAGES, evaluate
from ellipsoid.evaluation.recommend import (
    GOALS,
    Recommendation,
    load_recommendation,
    recommend,
    save_recommendations,
)
from ellipsoid.evaluation.results import Evaluation
from ellipsoid.evaluation.tables import write_evaluation
from ellipsoid.fitting import fit
from ellipsoid.flow import Flow
from ellipsoid.mixture import Mixture
from ellipsoid.random import key
from ellipsoid.runs import (
    Run,
    RunFolder,
    check_training_images,
    load_run,
    load_test_images,
    load_training_images,
)
from ellipsoid.state import PCAState

if TYPE_CHECKING:
    from ellipsoid.models.autoencoder import ImageAutoencoder
    from ellipsoid.models.features import FeatureSpace

# With more images, neighbours take long, and the errors are small already.
_MOST_UNSEEN = 5_000


@dataclass(frozen=True)
class RunEvaluation:
    """Evaluation of a run, with its recommendations and files.

    Attributes
    ----------
    evaluation : Evaluation
        Results of all candidates.
    recommendations : tuple of Recommendation
        Recommended ways to draw, one for each goal.
    written : tuple of Path
        Files that were written.
    replaced : tuple of Recommendation
        Different recommendations of an earlier evaluation, which were replaced.
    """

    evaluation: Evaluation
    recommendations: tuple[Recommendation, ...]
    written: tuple[Path, ...]
    replaced: tuple[Recommendation, ...] = ()


@dataclass(frozen=True)
class _RunData:
    """Images and latents for the evaluation of a run. The unseen images are not among the others.

    Attributes
    ----------
    latents, images, labels : array or None
        Latents and images that may be known, and labels of the images.
    unseen : (n, H, W, C) uint8 array
        Unseen images.
    kept_back : bool
        Whether the unseen images were kept back from training. The run's own state has seen them.
    """

    latents: np.ndarray
    images: np.ndarray | None
    labels: np.ndarray | None
    unseen: np.ndarray
    kept_back: bool


def evaluate_run(
    run: str | os.PathLike[str], config: EvaluateConfig | None = None, *, progress: bool = True
) -> RunEvaluation:
    """Compare all ways to draw from a run by their decoded images, against images that it was not trained on.

    A demonstration draws unseen faces. Other runs need images that they have not seen, or else take those
    that training kept back. These chose its best epoch, so they flatter the decoder a little, more than
    others do; but no shape or baseline has seen them: all are fitted to the other images. Where training
    flipped its images, flipped ones count as training images too. The run's own mixture and flow are judged
    as they are, if they were fitted to the same latents as the rest: where no images are kept back or
    flipped.

    Tables, figures and measurements are written to the folder ``evaluation`` in the run; an interrupted
    evaluation continues from it. The run draws by its ``recommendation.json`` from then on.

    Parameters
    ----------
    run : path
        Run folder.
    config : EvaluateConfig, optional
        Settings of the evaluation.
    progress : bool
        Show progress bars.

    Returns
    -------
    RunEvaluation

    Raises
    ------
    FileNotFoundError
        If there is no such run, no latents in it, or no such file of images.
    TypeError, ValueError
        If the run is damaged, if the features are of the network of its perceptual loss, if the training
        images are not those of the run, if they are needed and the run does not record them, if there are
        fewer than 19 unseen images, if reconstructions are asked for and the run has no encoder, or if the
        features cannot be computed.
    ImportError
        If torch-fidelity is missing for the features of Inception, the package with the weights of
        EfficientNet for its features, or safetensors for those of DINOv2 or CLIP.
    OSError
        If a file cannot be read or written.
    KeyboardInterrupt
        When interrupted. All measurements are kept.
    """
    from ellipsoid.models.autoencoder import decode_latents, encode_images

    config = config or EvaluateConfig()
    if config.n is not None:
        check_count("n", config.n, MIN_IMAGES)
    folder, trained = RunFolder(run), load_run(run)
    _check_judge(trained, config)
    autoencoder, run_state = trained.autoencoder, _fitted_state(folder, trained)
    data = _load_run_data(folder, trained, config)
    features = _features(folder, trained, config, data, progress)
    if _is_flipped(trained):
        data = _with_mirrored(data, autoencoder)
    state = fit(data.latents) if data.kept_back else run_state
    evaluation = evaluate(
        data.latents,
        state,
        lambda z: decode_latents(autoencoder, z),
        data.unseen,
        features,
        key=key(config.seed),
        train_images=data.images,
        real_latents=None if autoencoder.encoder is None else encode_images(autoencoder, data.unseen),
        candidates="quick" if config.quick else "full",
        shapes=folder.read_shapes().values(),
        reference=config.reference,
        out=folder.evaluation,
        progress=progress,
    )
    recommendations = tuple(recommend(state, evaluation, goal) for goal in GOALS)
    replaced = tuple(_others_of_before(folder, recommendations))
    written = write_evaluation(evaluation, folder.evaluation)
    written += save_recommendations(folder.path, run_state, recommendations)
    return RunEvaluation(evaluation, recommendations, tuple(written), replaced)


def _others_of_before(
    folder: RunFolder, recommendations: Iterable[Recommendation]
) -> Iterator[Recommendation]:
    """Recommendations in the folder that differ from these, if they can be used."""
    for new in recommendations:
        try:
            old = load_recommendation(folder, new.goal)
        except ValueError:
            continue
        if old is not None and (old.settings, digest(old.state)) != (new.settings, digest(new.state)):
            yield old


def _is_flipped(trained: Run) -> bool:
    """Whether training flipped its images. For an imported autoencoder this is unknown, and False."""
    return trained.training is not None and bool(trained.training.horizontal_flip)


def _fitted_state(folder: RunFolder, trained: Run) -> PCAState:
    if trained.state is None:
        name = folder.state.name
        raise FileNotFoundError(
            f"run: expected a run with a fitted state; got {folder.path} with no {name}: fit one with "
            f"`ellipsoid fit {folder.path} --out {folder.state}`"
        )
    return trained.state


def _check_judge(trained: Run, config: EvaluateConfig) -> None:
    """Refuse the network whose opinion the autoencoder was trained for, and missing reconstructions."""
    if config.features == "efficientnet" and trained.training is not None and trained.training.perceptual:
        raise ValueError(
            "features: expected features that training did not use; got efficientnet, in which the run's "
            f"perceptual loss (perceptual {trained.training.perceptual:g}) was computed"
        )
    if config.reference == "reconstructions" and trained.autoencoder.encoder is None:
        raise ValueError("reference: expected images; got reconstructions, and the run has no encoder")


# --- images ------------------------------------------------------------------------------------------


def _load_run_data(folder: RunFolder, trained: Run, config: EvaluateConfig) -> _RunData:
    latents, images, labels = folder.read_latents(), None, None
    training_set = load_training_images(folder, config.images)
    if training_set is not None:
        images, labels = training_set.images, training_set.labels
        check_training_images(images, trained.autoencoder, latents)
    unseen = _load_unseen(folder, trained, config)
    kept_back = unseen is None
    if unseen is None:
        images = _checked_to_split(images, len(latents), trained)
        rows, others = _kept_back(len(images), trained)
        unseen, images, latents = images[others], images[rows], latents[rows]
        labels = None if labels is None else labels[rows]
    n_known = len(latents if images is None else images)
    unseen = subset(unseen, min(_MOST_UNSEEN if config.n is None else config.n, n_known))
    return _RunData(latents, images, _as_classes(labels), unseen, kept_back)


def _load_unseen(folder: RunFolder, trained: Run, config: EvaluateConfig) -> np.ndarray | None:
    """Load unseen images: those that are given, or those of a demonstration."""
    from ellipsoid.models.images import load_images
    from ellipsoid.models.sources import has_splits

    source, shape = config.against, trained.autoencoder.config
    if source is None:
        return load_test_images(folder.path)
    split = config.against_split if has_splits(source) else "all"
    return load_images(source, shape.image_size, shape.channels, split=split)


def _checked_to_split(images: np.ndarray | None, n_latents: int, trained: Run) -> np.ndarray:
    """Check that the validation images can be split off the training images as in training."""
    if trained.training is None:
        raise ValueError(
            "against: expected unseen images; got none, and an imported autoencoder may have been trained on "
            "all images of the run"
        )
    if trained.validation == "given":
        raise ValueError(
            "against: expected unseen images; got none, and this run was validated with other images and "
            "kept none back"
        )
    if images is None or len(images) != n_latents:
        got = "none, and the run does not say which they are" if images is None else f"{len(images)}"
        raise ValueError(
            f"images: expected the {n_latents} training images, which include the validation images; got "
            f"{got}: pass them, or pass unseen images (against)"
        )
    return images


def _kept_back(n_images: int, trained: Run) -> tuple[np.ndarray, np.ndarray]:
    """Rows that were trained on, and rows that were kept back for validation."""
    from ellipsoid.models.training import split

    assert trained.training is not None  # it was asked before
    rows, kept_back = split(n_images, trained.training)
    if len(kept_back) < MIN_IMAGES:
        raise ValueError(
            f"against: expected unseen images; got none, and training kept back only {len(kept_back)} of the "
            f"{MIN_IMAGES} that are needed"
        )
    return rows, kept_back


def _as_classes(labels: np.ndarray | None) -> np.ndarray | None:
    """Convert labels of any type to integers; None if all labels are equal."""
    if labels is None:
        return None
    values, classes = np.unique(labels, axis=0, return_inverse=True)
    return classes.reshape(-1) if len(values) > 1 else None


def _with_mirrored(data: _RunData, autoencoder: "ImageAutoencoder") -> _RunData:
    """Add the mirrored training images, which the autoencoder also knows, if there are few images."""
    from ellipsoid.models.autoencoder import encode_images

    latents, images = data.latents, data.images
    # The parts of mixtures need more rows.
    if images is None or len(images) != len(latents) or len(latents) >= MIXTURE_ROWS:
        return data
    mirrored = images[:, :, ::-1]
    return dataclasses.replace(
        data,
        latents=np.concatenate([latents, encode_images(autoencoder, mirrored)]),
        images=np.concatenate([images, mirrored]),
        labels=None,
    )


def _features(
    folder: RunFolder, trained: Run, config: EvaluateConfig, data: _RunData, progress: bool
) -> "FeatureSpace":
    from ellipsoid.models.features import feature_space

    return feature_space(
        config.features,
        images=data.images,
        labels=data.labels,
        autoencoder=trained.autoencoder,
        path=folder.feature_network,
        horizontal_flip=_is_flipped(trained),
        weights=config.weights,
        download=config.download,
        progress=progress,
    )


# --- without images --------------------------------------------------------------------------------

# Spread of the draws for each goal: a smaller spread keeps closer to the middle of the latents.
_SPREADS = {"fidelity": 0.85, "balanced": 0.99, "diversity": 0.99}


def choose_run_shape(
    run: str | os.PathLike[str],
    *,
    flow_options: Mapping[str, Any] | None = None,
    seed: int = 0,
    progress: bool = True,
) -> Choice:
    """Choose the best shape for the latents of a run, and record it. The run draws from it from then on.

    The shapes are compared in latent space: by the latents of images that were not trained on if the run has
    them, otherwise by a tenth of its latents. ``mixture.npz`` and ``flow.npz`` hold the best mixture and the
    flow.

    Parameters
    ----------
    run : path
        Run folder with latents and a state.
    flow_options : mapping of str to value, optional
        Arguments of :func:`ellipsoid.fit_flow`.
    seed : int
        Random seed of all steps.
    progress : bool
        Whether to show progress bars.

    Returns
    -------
    Choice

    Raises
    ------
    FileNotFoundError
        If the folder has no latents or no state.
    ValueError
        If a file is damaged, or the latents are too few.
    OSError
        If a file cannot be written.
    """
    folder = RunFolder(run)
    latents, unseen = folder.read_latents(), folder.read_test_latents()
    state = PCAState.load(folder.state)
    choice = choose_shape(
        latents,
        0.1 if unseen is None else unseen,
        n_components=state.n_components,
        flow_options=flow_options,
        key=key(seed),
        progress=progress,
    )
    for kind, path in ((Mixture, folder.mixture), (Flow, folder.flow)):
        of_kind = [contender for contender in choice.contenders if isinstance(contender.shape, kind)]
        if of_kind:
            max(of_kind, key=lambda contender: contender.f_score.value).shape.save(path)
    k = choice.shape.n_components
    save_recommendations(
        run,
        state,
        [
            Recommendation(
                goal,
                choice.shape,
                normal_settings(k, spread),
                choice.reason,
            )
            for goal, spread in _SPREADS.items()
        ],
    )
    return choice
