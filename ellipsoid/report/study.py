"""The study that all chapters of a report share: latents, diagnostics, draws and keys."""

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

#: Number of draws that are compared with the latents.
N_DRAWS = 10_000

# Rows of a walk (the average and a few draws), its images per row, and its reach to both sides.
_WALK_ROWS, _WALK_COLUMNS, _WALK_REACH = 4, 25, 3.0


@dataclass(frozen=True)
class Study:
    """Latents under study, with everything that the chapters of a report share.

    Attributes
    ----------
    inputs : ReportInputs
        State, latents, images, encoder and decoder.
    diagnostics : Diagnostics
        Measurements of the latents.
    advice : Recommendation
        Recommended way to draw for a balance of fidelity and diversity, from an evaluation of the run or from
        the measurements.
    folder : Path
        Folder of the figures.
    drawn_latents : ndarray, shape (N_DRAWS, D)
        Draws by the default law and level.
    drawn_scores : ndarray, shape (N_DRAWS, K)
        Scores of these draws.
    blind_key, sample_key, walk_key : jax.Array
        Random keys for latents that ignore the region, for further draws, and for the walk in the original
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
        """State under study."""
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

        The sums are in float64, since float32 sums of numbers far from zero are inaccurate.
        """
        return self.diagnostics.original.mean

    @property
    def std(self) -> np.ndarray:
        """Standard deviation of each latent dimension, shape (D,)."""
        return self.diagnostics.original.std

    def sample(
        self, n: int, shape: el.PCAState | el.Mixture | el.Flow | None = None, **options: Any
    ) -> np.ndarray:
        """Draw `n` latents from the state or another shape, with the options of :func:`ellipsoid.sample`."""
        return np.asarray(el.sample(self.sample_key, shape or self.state, n, **options).latents)

    def walk(
        self, name: str, decode: Callable[[np.ndarray], np.ndarray], step: np.ndarray, label: str
    ) -> Walk:
        """Make a sheet of the average and a few draws, moved in steps ``(D,)`` of one standard deviation."""
        starts = np.concatenate([self.mean[None], self.drawn_latents[: _WALK_ROWS - 1]]).astype(np.float32)
        amounts = np.linspace(-_WALK_REACH, _WALK_REACH, _WALK_COLUMNS, dtype=np.float32)
        latents = starts[:, None] + amounts[:, None] * np.asarray(step, np.float32)
        images = decode(latents.reshape(-1, latents.shape[-1]))
        path = figures.save_sheet(images, self.folder / f"{name}.webp", columns=_WALK_COLUMNS)
        caption = (
            f"The average image and {len(starts) - 1} draws, moved along {label} from {-_WALK_REACH:g} to "
            f"{_WALK_REACH:g} standard deviations"
        )
        return Walk(path, label, caption, len(starts), _WALK_COLUMNS, -_WALK_REACH, _WALK_REACH)

    def save(self, name: str, figure: Figure, caption: str, *, svg: bool = True) -> Picture:
        """Save a figure as PNG, and as SVG unless it shows images; return path, caption and description."""
        path = figures.save(figure, self.folder / f"{name}.png")
        if svg:
            figure.set_layout_engine(
                "none"
            )  # the layout is done, and would be repeated twice for another file
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
    """Make a study: its draws are made once for all chapters.

    Parameters
    ----------
    inputs : ReportInputs
        Inputs of the report.
    diagnostics : Diagnostics
        Measurements of the same state and latents.
    advice : Recommendation
        Recommended way to draw.
    folder : Path
        Folder of the figures. It is created when the first figure is saved.
    key : jax.Array
        Random key for all draws.

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
