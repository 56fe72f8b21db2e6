"""Latents in coordinate planes."""

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from jax.typing import ArrayLike
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Ellipse
from matplotlib.patheffects import withStroke

from ellipsoid.figures.style import (
    GREY,
    INK,
    PAGE_WIDTH,
    VERMILLION,
    count_label,
    evenly_spaced_rows,
    finish,
    new_figure,
    scatter,
)
from ellipsoid.levels import pair_coverage
from ellipsoid.sampling import Draws
from ellipsoid.state import PCAState


def latent_planes(
    state: PCAState,
    latents: ArrayLike,
    draws: Draws | ArrayLike,
    *,
    level: float,
    planes: Sequence[tuple[int, int]] | None = None,
    frame: Literal["pca", "original"] = "pca",
    max_points: int = 3000,
    title: str | None = None,
) -> Figure:
    """Scatter plots of latents in coordinate planes, with confidence ellipses and generated points on top.

    Parameters
    ----------
    state : PCAState
    latents : array, shape (n, D)
        Training latents, n >= 2.
    draws : Draws or array, shape (m, D)
        Generated latents. An array of any other latents shows where those lie.
    level : float
        Of the ellipses, in standard deviations: ``level * fact`` of the draws. In the PCA frame the semi-axes
        are ``level * scale``; in the original frame they come from the 2 x 2 covariance of all latents.
    planes : sequence of pairs of int, optional
        Components, or latent dimensions, of each plane, from 0 (axes are labelled from 1). By default up to
        six planes of first, middle and last ones.
    frame : {"pca", "original"}
        Axes of the planes: principal components, or dimensions of the latents.
    max_points : int
        Largest number of latents that are shown, in evenly spaced rows, and ten times that of draws.
    title : str, optional

    Raises
    ------
    ValueError
        If an argument is not as described.
    """
    latents = _as_latents("latents", latents, state, least=2)
    drawn = _as_latents("draws", draws.latents if isinstance(draws, Draws) else draws, state, least=1)
    if frame not in ("pca", "original"):
        raise ValueError(f"frame: expected 'pca' or 'original'; got {frame!r}")
    if not (math.isfinite(level) and level > 0):
        raise ValueError(f"level: expected a finite number above 0; got {level}")
    if max_points < 1:
        raise ValueError(f"max_points: expected at least 1; got {max_points}")
    size, name = (
        (state.n_components, "component") if frame == "pca" else (state.n_features, "latent dimension")
    )
    planes = _default_planes(size) if planes is None else planes
    if not planes or not all(0 <= i < size and 0 <= j < size and i != j for i, j in planes):
        raise ValueError(f"planes: expected pairs of two different indices below {size}; got {list(planes)}")

    # More draws would hide the latents that they are to be compared with.
    points = evenly_spaced_rows(latents, max_points)
    drawn_points = evenly_spaced_rows(drawn, math.ceil(max_points / 10))
    if frame == "pca":
        widths = 2 * level * np.asarray(state.scale, np.float64)
        ellipses = [Ellipse((0, 0), widths[i], widths[j]) for i, j in planes]
        points, drawn_points = np.asarray(state.project(points)), np.asarray(state.project(drawn_points))
    else:
        ellipses = [_covariance_ellipse(latents[:, plane], level) for plane in planes]

    columns = min(len(planes), 3)
    rows = math.ceil(len(planes) / columns)
    figure = new_figure(rows * min(0.95 * PAGE_WIDTH / columns, 4.5) + 0.4, title)
    for index, ((i, j), ellipse) in enumerate(zip(planes, ellipses, strict=True)):
        axes = figure.add_subplot(rows, columns, index + 1, box_aspect=1)
        scatter(axes, points[:, (i, j)], (2, 12), color=GREY, linewidth=0)
        scatter(axes, drawn_points[:, (i, j)], (8, 24), color=VERMILLION, edgecolor=INK, linewidth=0.6)
        ellipse.set(fill=False, edgecolor=INK, linewidth=1.5, zorder=3)
        ellipse.set_path_effects([withStroke(linewidth=3, foreground="white")])
        axes.add_patch(ellipse)
        finish(axes, f"{name} {i + 1}", f"{name} {j + 1}")
    handles = [*figure.axes[0].collections, Line2D([], [], color=INK, linewidth=1.5)]
    names = [
        count_label("latents", len(points), len(latents)),
        count_label("generated", len(drawn_points), len(drawn)),
        f"level {level:.3g} ellipse: {pair_coverage(level):.0%} of a Gaussian",
    ]
    style: dict[str, Any] = {"ncols": 3, "frameon": False, "fontsize": 8, "markerscale": 1.8}
    figure.legend(handles, names, loc="outside lower center", **style)
    return figure


def _as_latents(name: str, values: ArrayLike, state: PCAState, least: int) -> np.ndarray:
    array = np.asarray(values, np.float32)
    if array.ndim != 2 or array.shape[1] != state.n_features or len(array) < least:
        raise ValueError(f"{name}: expected shape (n, {state.n_features}), n >= {least}; got {array.shape}")
    return array


def _default_planes(size: int) -> list[tuple[int, int]]:
    middle = size // 2
    planes = [(0, 1), (2, 3), (0, middle), (middle, middle + 1), (size - 2, size - 1), (0, size - 1)]
    return [(i, j) for i, j in dict.fromkeys(planes) if 0 <= i < j < size]


def _covariance_ellipse(pairs: np.ndarray, level: float) -> Ellipse:
    """Ellipse at Mahalanobis distance `level` of points (n, 2), from closed-form eigenvalues."""
    x, y = pairs.astype(np.float64).T
    (var_x, covariance), (_, var_y) = np.cov(x, y)
    middle, half_range = (var_x + var_y) / 2, math.hypot((var_x - var_y) / 2, covariance)
    major, minor = math.sqrt(middle + half_range), math.sqrt(max(middle - half_range, 0))
    angle = math.degrees(math.atan2(2 * covariance, var_x - var_y) / 2)
    return Ellipse((x.mean(), y.mean()), 2 * level * major, 2 * level * minor, angle=angle)
