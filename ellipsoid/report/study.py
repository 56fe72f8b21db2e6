"""The study that all chapters of a report share: latents, diagnostics, draws and keys, made once."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.random as jr
import numpy as np
from matplotlib.figure import Figure

import ellipsoid as el
from ellipsoid import figures
from ellipsoid.diagnostics import Diagnostics
from ellipsoid.evaluation.recommend import Recommendation
from ellipsoid.report.inputs import ReportInputs
from ellipsoid.report.page import Picture, Walk

#: Draws that are compared with the latents.
N_DRAWS = 10_000

# Images of a walk: the average and a few draws, from so far on one side to so far on the other.
_WALK_ROWS, _WALK_COLUMNS, _WALK_REACH = 4, 25, 3.0


@dataclass(frozen=True)
class Study:
    """Latents under study: each chapter of a report is a function of it.

    Attributes
    ----------
    inputs : ReportInputs
        State, latents, images, and the functions between latents and images.
    diagnostics : Diagnostics
        Measurements of these latents.
    advice : Recommendation
        How to draw for a balance of fidelity and diversity: by an evaluation of the run, or by these
        measurements.
    folder : Path
        Folder of the figures.
    drawn_latents : ndarray, shape (N_DRAWS, D)
        Draws of the default law and level.
    drawn_scores : ndarray, shape (N_DRAWS, K)
        Scores of these draws.
    blind_key, sample_key, walk_key : jax.Array
        Random keys of the latents that ignore the region, of further draws, and of the walk in the original
        frame.
    """

    inputs: ReportInputs
    diagnostics: Diagnostics
    advice: Recommendation
    folder: Path
    drawn_latents: np.ndarray
    drawn_scores: np.ndarray
    blind_key: jax.Array
    sample_key: jax.Array
    walk_key: jax.Array

    @property
    def state(self) -> el.PCAState:
        """State whose claims are tested."""
        return self.inputs.state

    @property
    def latents(self) -> np.ndarray:
        """Latents of the training images, shape (n, D)."""
        return self.inputs.latents

    @property
    def scores(self) -> np.ndarray:
        """Scores of the latents, shape (n, K)."""
        return self.diagnostics.scores

    @property
    def scale(self) -> np.ndarray:
        """Scale of each component, shape (K,), float64."""
        return np.asarray(self.state.scale, np.float64)

    @property
    def mean(self) -> np.ndarray:
        """Mean of each latent dimension, shape (D,).

        It comes from sums in float64: those of float32 numbers far from zero would be far off.
        """
        return self.diagnostics.original.mean

    @property
    def std(self) -> np.ndarray:
        """Standard deviation of each latent dimension, shape (D,)."""
        return self.diagnostics.original.std

    def sample(
        self, n: int, shape: el.PCAState | el.Mixture | el.Flow | None = None, **options: Any
    ) -> np.ndarray:
        """Latents of `n` draws, by default of the whole state; `options` are those of ``sample``."""
        return np.asarray(el.sample(self.sample_key, shape or self.state, n, **options).latents)

    def walk(
        self, name: str, decode: Callable[[np.ndarray], np.ndarray], step: np.ndarray, label: str
    ) -> Walk:
        """Move the average and a few draws along a step ``(D,)`` of one standard deviation, in one sheet."""
        starts = np.concatenate([self.mean[None], self.drawn_latents[: _WALK_ROWS - 1]]).astype(np.float32)
        amounts = np.linspace(-_WALK_REACH, _WALK_REACH, _WALK_COLUMNS, dtype=np.float32)
        latents = starts[:, None] + amounts[:, None] * np.asarray(step, np.float32)
        images = decode(latents.reshape(-1, latents.shape[-1]))
        path = figures.save_sheet(images, self.folder / f"{name}.webp", columns=_WALK_COLUMNS)
        caption = (
            f"The average and {len(starts) - 1} draws, moved along {label} from {-_WALK_REACH:g} to "
            f"{_WALK_REACH:g} standard deviations"
        )
        return Walk(path, label, caption, len(starts), _WALK_COLUMNS, -_WALK_REACH, _WALK_REACH)

    def save(self, name: str, figure: Figure, caption: str, *, svg: bool = True) -> Picture:
        """Save a figure as PNG, and as SVG too unless it shows images; its path, caption and content."""
        path = figures.save(figure, self.folder / f"{name}.png")
        if svg:
            figure.set_layout_engine("none")  # it is laid out, and would be so twice more for another file
            figures.save(figure, self.folder / f"{name}.svg")
        return path, caption, figures.described(figure)


def make_study(
    inputs: ReportInputs,
    diagnostics: Diagnostics,
    advice: Recommendation,
    folder: Path,
    *,
    key: jax.Array,
) -> Study:
    """Draw once what several chapters show.

    Parameters
    ----------
    inputs : ReportInputs
    diagnostics : Diagnostics
        Measurements of the same state and latents.
    advice : Recommendation
        How to draw.
    folder : Path
        Folder of the figures; made when the first one is saved.
    key : jax.Array
        Random key of everything that is drawn.

    Returns
    -------
    Study
    """
    draw_key, blind_key, sample_key, walk_key = jr.split(key, 4)
    draws = el.sample(draw_key, inputs.state, N_DRAWS)
    return Study(
        inputs=inputs,
        diagnostics=diagnostics,
        advice=advice,
        folder=folder,
        drawn_latents=np.asarray(draws.latents),
        drawn_scores=np.asarray(draws.scores),
        blind_key=blind_key,
        sample_key=sample_key,
        walk_key=walk_key,
    )
