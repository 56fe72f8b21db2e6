"""Draws of rising quality from one decoder: the first picture of a report."""

import numpy as np

import ellipsoid as el
from ellipsoid import figures
from ellipsoid.blocks import subset
from ellipsoid.evaluation.best import normal_settings
from ellipsoid.evaluation.results import f_score
from ellipsoid.metrics import precision_recall
from ellipsoid.report.chapters.region import blind_latents
from ellipsoid.report.page import Section
from ellipsoid.report.study import Study

# Number of images in a row of the picture, and the largest number of draws that are judged.
_N_SHOWN = 10
_N_JUDGED = 2_000
# Names of the first and the last kind.
_RANDOM_BOX, _RECONSTRUCTIONS = "random box", "reconstructions"


def ladder(study: Study) -> Section | None:
    """Show draws of every kind, from a random box to reconstructions."""
    decode, unseen = study.inputs.decode, study.inputs.test_latents
    if decode is None:
        return None
    n = _N_JUDGED if unseen is None else min(len(unseen), _N_JUDGED)
    rungs = _rungs(study, n)
    labels = list(rungs)
    words = ""
    if unseen is not None:
        judged = {name: precision_recall(unseen[:n], latents) for name, latents in rungs.items()}
        labels = [
            f"{name}\nprecision {near.precision.value:.2f}, recall {near.recall.value:.2f}"
            for name, near in judged.items()
        ]
        scores = {name: f_score(near.precision, near.recall).value for name, near in judged.items()}
        best = max((name for name in scores if name != _RECONSTRUCTIONS), key=scores.__getitem__)
        near, random = judged[best], judged[_RANDOM_BOX]
        words = (
            f" Among the draws, {best} is best, with precision {near.precision.value:.2f} and recall "
            f"{near.recall.value:.2f}; the random box has {random.precision.value:.2f} and "
            f"{random.recall.value:.2f}. Precision is the share of {n:,} draws that lie among the latents of "
            f"{n:,} unseen images; recall is the share of those latents that lie among the draws."
        )
    return Section(
        "From noise to new images",
        "How much do images gain from draws that know where the training latents lie?" + words + " Each row "
        "of the picture knows more about the training latents than the row above it; all rows share one "
        "decoder. The last row, reconstructions of training images, shows the limit of this decoder.",
        [
            study.save(
                "ladder",
                figures.strips([decode(latents[:_N_SHOWN]) for latents in rungs.values()], labels),
                "Draws of every kind, and reconstructions of training images in the last row",
                svg=False,
            )
        ],
    )


def _rungs(study: Study, n: int) -> dict[str, np.ndarray]:
    """Latents ``(n, D)`` of each kind, by name."""
    blind, k = blind_latents(study, n), study.state.n_components
    rungs = {
        _RANDOM_BOX: blind["uniform in [-1.5, 1.5]"],
        "independent normals": blind["independent normals"],
        f"one ellipsoid, redraw at {el.DEFAULT_LEVEL:g}": study.sample(n),
    }
    settings = normal_settings(k)
    for name, shape in study.inputs.shapes.items():
        if not isinstance(shape, el.PCAState):
            parts = f" of {shape.n_parts}" if isinstance(shape, el.Mixture) else ""
            rungs[f"{name}{parts}"] = study.sample(n, shape, **settings.options)
    return rungs | {_RECONSTRUCTIONS: subset(study.latents, n)}
