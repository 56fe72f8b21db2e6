"""Better and better draws from one decoder: the first picture of a report."""

import numpy as np

import ellipsoid as el
from ellipsoid import figures
from ellipsoid.blocks import subset
from ellipsoid.evaluation.best import normal_settings
from ellipsoid.metrics import precision_recall
from ellipsoid.report.chapters.region import blind_latents
from ellipsoid.report.page import Section
from ellipsoid.report.study import Study

# Images in a row of the picture, and draws that are judged at most.
_N_SHOWN = 10
_N_JUDGED = 2_000


def ladder(study: Study) -> Section | None:
    """Show draws of every kind, from numbers that know nothing of the latents to reconstructions."""
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
        words = (
            f" Precision is the share of {n:,} draws that lie among the latents of {n:,} unseen images; "
            "recall is the share of those latents that lie among the draws."
        )
    return Section(
        "From noise to new images",
        "One decoder, fed with latents that know more and more of where the training latents lie. The last "
        "row is the most that the decoder can do." + words,
        [
            study.save(
                "ladder",
                figures.strips([decode(latents[:_N_SHOWN]) for latents in rungs.values()], labels),
                "Draws of every kind, and reconstructions of training images",
                svg=False,
            )
        ],
    )


def _rungs(study: Study, n: int) -> dict[str, np.ndarray]:
    """Latents ``(n, D)`` of every kind, by name."""
    blind, k = blind_latents(study, n), study.state.n_components
    rungs = {
        "random box": blind["uniform in [-1.5, 1.5]"],
        "independent normals": blind["independent normals"],
        f"one ellipsoid, redraw at {el.DEFAULT_LEVEL:g}": study.sample(n),
    }
    settings = normal_settings(k)
    for name, shape in study.inputs.shapes.items():
        if not isinstance(shape, el.PCAState):
            parts = f" of {shape.n_parts}" if isinstance(shape, el.Mixture) else ""
            rungs[f"{name}{parts}"] = study.sample(n, shape, **settings.options)
    return rungs | {"reconstructions": subset(study.latents, n)}
