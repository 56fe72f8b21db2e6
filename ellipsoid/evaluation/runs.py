"""Evaluation of a run: ways to draw are judged by its own images, and the best ones are recorded."""

import dataclasses
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ellipsoid.archive import digest
from ellipsoid.blocks import subset
from ellipsoid.checks import check_count
from ellipsoid.evaluation.best import Choice, choose_shape, normal_settings
from ellipsoid.evaluation.candidates import MIXTURE_ROWS
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
from ellipsoid.runs import Run, RunFolder, check_training_images, load_run, load_training_images
from ellipsoid.state import PCAState

if TYPE_CHECKING:
    from ellipsoid.models.autoencoder import ImageAutoencoder
    from ellipsoid.models.features import FeatureSpace
    from ellipsoid.models.images import Split

# Neighbours of more images take long, and the errors are small.
_MOST_UNSEEN = 5_000


@dataclass(frozen=True)
class EvaluateConfig:
    """How to evaluate a run."""

    against: str | None = None
    """Unseen images, as for train. By default those that training kept back to judge its epochs by."""
    against_split: Literal["all", "train", "valid", "test"] = "test"
    """Part of the unseen images, if they have parts, as CelebA has."""
    images: str | None = None
    """Training images, as for train. By default those that the run says it was trained on."""
    features: Literal["network", "pixels", "latents", "efficientnet", "inception"] = "network"
    """Features by which images are compared: those of a small network that is trained on the training images,
    principal components of pixels, the run's own latents, those of EfficientNet-Lite0, if the extra "judges"
    is installed, or Inception's, if torch-fidelity is."""
    weights: Path | None = None
    """File of Inception's weights, as torch-fidelity publishes it."""
    download: bool = False
    """Permission to download Inception's weights (91 MB) if there is no file."""
    n: int | None = None
    """Number of unseen images to use, and of images to generate for each candidate; all, up to 5,000, by
    default. No more than there are training images."""
    quick: bool = False
    """Fewer candidates: three laws and four spreads only."""
    seed: int = 0
    """Seed of everything that is drawn."""


@dataclass(frozen=True)
class RunEvaluation:
    """Evaluation of a run, and what was made of it.

    Attributes
    ----------
    evaluation : Evaluation
    recommendations : tuple of Recommendation
        Ways to draw, one for each goal.
    written : tuple of Path
        Files that were written.
    replaced : tuple of Recommendation
        Ways to draw that an earlier evaluation had recommended, where these are others.
    """

    evaluation: Evaluation
    recommendations: tuple[Recommendation, ...]
    written: tuple[Path, ...]
    replaced: tuple[Recommendation, ...] = ()


@dataclass(frozen=True)
class _RunData:
    """Images and latents that a run is judged by; none of the unseen images are among the others."""

    latents: np.ndarray
    images: np.ndarray | None
    labels: np.ndarray | None
    unseen: np.ndarray


def evaluate_run(
    run: str | os.PathLike[str], config: EvaluateConfig | None = None, *, progress: bool = True
) -> RunEvaluation:
    """Judge all ways to draw from a run by their decoded images, against images that it was not trained on.

    The images that training kept back chose its best epoch. So they flatter the decoder a little, more than
    others do; but no state or baseline has seen them: both are fitted to the other images. Where training
    flipped its images, flipped ones count as training images too.

    Tables, figures and what was measured go to the folder ``evaluation`` in the run; an evaluation that was
    interrupted goes on there. ``recommendation.json`` is what is drawn with from then on.

    Parameters
    ----------
    run : path
        Run folder.
    config : EvaluateConfig, optional
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
        For a damaged run; if the training images are not those of the run, or the run does not say which they
        are and they are needed; if there are fewer than 19 unseen images; and for features that can't be
        made.
    ImportError
        For Inception's features without torch-fidelity, and EfficientNet's without the package of its
        weights.
    OSError
        If a file can't be read or written.
    KeyboardInterrupt
        When interrupted; what was measured is kept.
    """
    from ellipsoid.models.autoencoder import decode_latents, encode_images

    config = config or EvaluateConfig()
    if config.n is not None:
        check_count("n", config.n, MIN_IMAGES)
    folder, trained = RunFolder(run), load_run(run)
    autoencoder, run_state = trained.autoencoder, _fitted_state(folder, trained)
    data = _load_run_data(folder, trained, config)
    features = _features(folder, trained, config, data, progress)
    if _is_flipped(trained):
        data = _with_mirrored(data, autoencoder)
    # The run's own state was fitted to the images kept back, too.
    state = fit(data.latents) if config.against is None else run_state
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
    """Recommendations in the folder that differ from these, if they can be drawn by."""
    for new in recommendations:
        try:
            old = load_recommendation(folder, new.goal)
        except ValueError:
            continue
        if old is not None and (old.settings, digest(old.state)) != (new.settings, digest(new.state)):
            yield old


def _is_flipped(trained: Run) -> bool:
    """Whether training has flipped its images; of an imported autoencoder that is not known."""
    return trained.training is not None and bool(trained.training.horizontal_flip)


def _fitted_state(folder: RunFolder, trained: Run) -> PCAState:
    if trained.state is None:
        name = folder.state.name
        raise FileNotFoundError(
            f"run: expected a run whose latents a state is fitted to; got {folder.path}, with no {name}: "
            f"`ellipsoid fit {folder.path} --out {folder.state}` fits one"
        )
    return trained.state


# --- images ------------------------------------------------------------------------------------------


def _load_run_data(folder: RunFolder, trained: Run, config: EvaluateConfig) -> _RunData:
    latents, images, labels = folder.read_latents(), None, None
    training_set = load_training_images(folder, config.images)
    if training_set is not None:
        images, labels = training_set.images, training_set.labels
        check_training_images(images, trained.autoencoder, latents)
    if config.against is not None:
        unseen = _load_unseen(config.against, config.against_split, trained)
    else:
        images = _checked_to_split(images, len(latents), trained)
        rows, kept_back = _kept_back(len(images), trained)
        unseen, images, latents = images[kept_back], images[rows], latents[rows]
        labels = None if labels is None else labels[rows]
    n_known = len(latents if images is None else images)
    unseen = subset(unseen, min(_MOST_UNSEEN if config.n is None else config.n, n_known))
    return _RunData(latents, images, _as_classes(labels), unseen)


def _load_unseen(source: str, split: "Split", trained: Run) -> np.ndarray:
    from ellipsoid.models.images import load_images
    from ellipsoid.models.sources import has_splits

    shape = trained.autoencoder.config
    return load_images(source, shape.image_size, shape.channels, split=split if has_splits(source) else "all")


def _checked_to_split(images: np.ndarray | None, n_latents: int, trained: Run) -> np.ndarray:
    """Check that the images to judge by can be split off the training images as training has done it."""
    if trained.training is None:
        raise ValueError(
            "against: expected unseen images, since an imported autoencoder may have been trained on all "
            "images of the run; got none"
        )
    if trained.validation == "given":
        raise ValueError(
            "against: expected unseen images, since this run was trained with others for validation and "
            "kept none back; got none"
        )
    if images is None or len(images) != n_latents:
        got = "none, since the run does not say which" if images is None else f"{len(images)}"
        raise ValueError(
            f"images: expected the {n_latents} training images, some of which were kept back; got {got}: "
            "give them, or unseen ones (against)"
        )
    return images


def _kept_back(n_images: int, trained: Run) -> tuple[np.ndarray, np.ndarray]:
    """Rows that were trained on, and rows that were kept back to judge the epochs by."""
    from ellipsoid.models.training import split

    assert trained.training is not None  # it was asked before
    rows, kept_back = split(n_images, trained.training)
    if len(kept_back) < MIN_IMAGES:
        raise ValueError(
            f"against: expected unseen images, since training kept back only {len(kept_back)}, and "
            f"{MIN_IMAGES} are needed; got none"
        )
    return rows, kept_back


def _as_classes(labels: np.ndarray | None) -> np.ndarray | None:
    """Integers for labels of any type; None if there are not two different ones to tell apart."""
    if labels is None:
        return None
    values, classes = np.unique(labels, axis=0, return_inverse=True)
    return classes.reshape(-1) if len(values) > 1 else None


def _with_mirrored(data: _RunData, autoencoder: "ImageAutoencoder") -> _RunData:
    """Add the mirrored training images, which the autoencoder knows as well, where there are few images."""
    from ellipsoid.models.autoencoder import encode_images

    latents, images = data.latents, data.images
    # Parts of mixtures can do with more rows.
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

# Spreads that are drawn with for each goal: less of it keeps nearer to the middle of the latents.
_SPREADS = {"fidelity": 0.85, "balanced": 0.99, "diversity": 0.99}


def choose_run_shape(
    run: str | os.PathLike[str],
    *,
    flow_options: Mapping[str, Any] | None = None,
    seed: int = 0,
    progress: bool = True,
) -> Choice:
    """Choose the best shape for the latents of a run, and record it: it is what is drawn with from then on.

    The shapes are judged in latent space, by the latents of images that were not trained on where the run has
    them, else by a tenth of its latents. ``mixture.npz`` and ``flow.npz`` are the best mixture and the flow.

    Parameters
    ----------
    run : path
        Run folder with latents and a state.
    flow_options : mapping of str to value, optional
        Arguments of :func:`ellipsoid.fit_flow`.
    seed : int
        Seed of everything random.
    progress : bool
        Show progress bars.

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
        If a file can't be written.
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
