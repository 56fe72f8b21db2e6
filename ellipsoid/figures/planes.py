"""Latents in coordinate planes."""

import math
from collections.abc import Sequence
from typing import Any, Literal, cast

import numpy as np
from jax.typing import ArrayLike
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Ellipse, Patch
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator
from mpl_toolkits.mplot3d import Axes3D
from scipy.ndimage import gaussian_filter

from ellipsoid.checks import check_unmasked
from ellipsoid.draws import Draws
from ellipsoid.figures.style import (
    BLUE,
    GREY,
    INK,
    PAGE_WIDTH,
    VERMILLION,
    check_floats,
    check_names,
    count_label,
    evenly_spaced_rows,
    finish,
    legend_below,
    new_figure,
    scatter,
)
from ellipsoid.levels import pair_coverage
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
    """Show latents in coordinate planes as scatter plots, with confidence ellipses and draws on top.

    Parameters
    ----------
    state : PCAState
        State of the latents.
    latents : array, shape (n, D)
        Training latents, n >= 2.
    draws : Draws or array, shape (m, D)
        Draws, or an array of any latents.
    level : float
        Level of the ellipses, in standard deviations: ``level * fact`` of the draws. In the PCA frame the
        semi-axes are ``level * scale``. In the original frame they come from the 2 x 2 covariance of the
        latents.
    planes : sequence of pairs of int, optional
        Components or latent dimensions of each plane, from 0 (axes are labelled from 1). The default is up to
        six planes of first, middle and last ones.
    frame : {"pca", "original"}
        Axes of the planes: principal components, or latent dimensions.
    max_points : int
        Largest number of latents to show, in evenly spaced rows. At most a tenth as many draws are shown.
    title : str, optional
        Title of the figure.

    Raises
    ------
    ValueError
        If an argument is not as described.
    """
    latents = _check_latents("latents", latents, state, least=2)
    drawn = _check_latents("draws", draws.latents if isinstance(draws, Draws) else draws, state, least=1)
    if frame not in ("pca", "original"):
        raise ValueError(f"frame: expected 'pca' or 'original'; got {frame!r}")
    if not (math.isfinite(level) and level > 0):
        raise ValueError(f"level: expected a finite number above 0; got {level}")
    size, name = (
        (state.n_components, "component") if frame == "pca" else (state.n_features, "latent dimension")
    )
    planes = _check_planes("planes", _default_planes(size) if planes is None else planes, size)

    # More draws would hide the latents.
    points = evenly_spaced_rows(latents, max_points)
    drawn_points = evenly_spaced_rows(drawn, math.ceil(max_points / 10))
    if frame == "pca":
        widths = 2 * level * np.asarray(state.scale, np.float64)
        ellipses = [Ellipse((0, 0), widths[i], widths[j]) for i, j in planes]
        points, drawn_points = np.asarray(state.project(points)), np.asarray(state.project(drawn_points))
    else:
        pairs = [latents[:, plane].astype(np.float64) for plane in planes]
        ellipses = [_covariance_ellipse(pair.mean(axis=0), np.cov(pair.T), level) for pair in pairs]

    figure, panels = _panels(len(planes), title)
    for axes, (i, j), ellipse in zip(panels, planes, ellipses, strict=True):
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
    legend_below(figure, handles, names, markerscale=1.8)
    return figure


def density_contours(
    points: ArrayLike,
    planes: Sequence[tuple[int, int]],
    *,
    covariances: ArrayLike | None = None,
    levels: Sequence[float] = (1, 2, 2.2, 3),
    names: Sequence[str],
    title: str | None = None,
) -> Figure:
    """Show the density of points in coordinate planes, with the ellipses of a Gaussian.

    The grey areas end where the smoothed density falls to ``exp(-level**2 / 2)`` of its peak. The smoothing
    is Gaussian with standard deviation ``h = n**(-1/6)`` (Scott 1992), in the frame in which the points have
    covariance 1. It widens the distribution by ``sqrt(1 + h**2)``; the heights are corrected for this, so the
    areas of a Gaussian end at its ellipses.

    Parameters
    ----------
    points : array, shape (n, m)
        Latents or scores, n >= 3.
    planes : sequence of pairs of int
        Columns of each plane, from 0.
    covariances : array, shape (len(planes), 2, 2), optional
        Covariances of the ellipses. The default is the covariance of the points in each plane. The centre is
        always the mean of the points.
    levels : sequence of float
        Levels of the ellipses and areas, in standard deviations and ascending.
    names : sequence of m strings
        Names of the columns.
    title : str, optional
        Title of the figure.

    Raises
    ------
    ValueError
        If an argument is not as described, or the points of a plane lie on one line.
    """
    points = check_floats("points", points, "n", "m")
    if len(points) < 3:
        raise ValueError(f"points: expected at least 3 points; got {len(points)}")
    planes = _check_planes("planes", planes, points.shape[1])
    names = check_names("names", names, points.shape[1])
    radii = check_floats("levels", np.asarray(levels), "L", positive=True)
    if (np.diff(radii) <= 0).any():
        raise ValueError(f"levels: expected ascending levels; got {list(levels)}")
    if covariances is not None:
        covariances = check_floats("covariances", covariances, len(planes), 2, 2)
        if (np.linalg.eigvalsh(covariances) <= 0).any():
            raise ValueError("covariances: expected positive definite matrices; got another one")
    figure, panels = _panels(len(planes), title)
    greys = [str(grey) for grey in np.linspace(0.92, 0.6, len(levels))]
    for index, (axes, (i, j)) in enumerate(zip(panels, planes, strict=True)):
        pair = points[:, (i, j)].astype(np.float64)
        mean, covariance = pair.mean(axis=0), np.cov(pair.T)
        # The ratio is 1 less the squared correlation.
        if not np.linalg.det(covariance) > 1e-9 * np.prod(np.diag(covariance)):
            raise ValueError(
                f"points: expected points that fill the plane; got points on one line in the plane of "
                f"{names[i]} and {names[j]}"
            )
        x, y, density, widening = _density(pair, mean, covariance, reach=radii[-1] + 2)
        heights = np.exp(-0.5 * np.square(radii[::-1] / widening))
        axes.contourf(x, y, density, [*heights, np.inf], colors=greys)
        covariance = covariance if covariances is None else covariances[index]
        for level in levels:
            ellipse = _covariance_ellipse(mean, covariance, level)
            ellipse.set(fill=False, edgecolor=VERMILLION, linewidth=1)
            axes.add_patch(ellipse)
        reach = (radii[-1] + 1) * np.sqrt(np.diag(covariance))
        axes.set(xlim=mean[0] + reach[0] * np.array([-1, 1]), ylim=mean[1] + reach[1] * np.array([-1, 1]))
        finish(axes, names[i], names[j])
    numbers = ", ".join(f"{level:g}" for level in levels)
    legend_below(
        figure,
        [Patch(color=greys[len(greys) // 2]), Line2D([], [], color=VERMILLION, linewidth=1)],
        [f"density of {len(points):,} points", f"ellipses of levels {numbers}"],
    )
    return figure


def pairs_scatter(
    values: ArrayLike,
    pairs: Sequence[tuple[int, int]],
    names: Sequence[str],
    notes: Sequence[str] | None = None,
    *,
    max_points: int = 3000,
    title: str | None = None,
) -> Figure:
    """Show scatter plots of pairs of columns.

    Parameters
    ----------
    values : array, shape (n, m)
        Latents or scores.
    pairs : sequence of pairs of int
        Columns of each plot, from 0.
    names : sequence of m strings
        Names of the columns.
    notes : sequence of strings, optional
        Texts above the plots.
    max_points : int
        Largest number of points to show in each plot, in evenly spaced rows.
    title : str, optional
        Title of the figure.

    Raises
    ------
    ValueError
        If an argument is not as described.
    """
    values = check_floats("values", values, "n", "m")
    pairs = _check_planes("pairs", pairs, values.shape[1])
    names = check_names("names", names, values.shape[1])
    notes = [""] * len(pairs) if notes is None else check_names("notes", notes, len(pairs))
    points = evenly_spaced_rows(values, max_points)
    figure, panels = _panels(len(pairs), title)
    for axes, (i, j), note in zip(panels, pairs, notes, strict=True):
        scatter(axes, points[:, (i, j)], (2, 12), color=BLUE, alpha=0.5, linewidth=0)
        finish(axes, names[i], names[j], note)
    return figure


def surface(
    points: ArrayLike,
    draws: ArrayLike,
    semi_axes: ArrayLike,
    *,
    names: Sequence[str],
    max_points: int = 3000,
    title: str | None = None,
) -> Figure:
    """Show three scores of latents and draws in 3D, with their confidence ellipsoid as a wire frame.

    Parameters
    ----------
    points : array, shape (n, 3)
        Scores of latents.
    draws : array, shape (m, 3)
        Scores of generated latents.
    semi_axes : array, shape (3,)
        Semi-axes of the ellipsoid around the origin, above 0.
    names : three strings
        Names of the scores.
    max_points : int
        Largest number of latents to show, in evenly spaced rows. At most a tenth as many draws are shown.
    title : str, optional
        Title of the figure.

    Raises
    ------
    ValueError
        If an argument is not as described.
    """
    points, draws = check_floats("points", points, "n", 3), check_floats("draws", draws, "m", 3)
    semi_axes = check_floats("semi_axes", semi_axes, 3, positive=True)
    names = check_names("names", names, 3)
    shown = evenly_spaced_rows(points, max_points)
    drawn = evenly_spaced_rows(draws, math.ceil(max_points / 10))
    figure = new_figure(5.2, title)
    axes = cast(Axes3D, figure.add_subplot(projection="3d", computed_zorder=False))
    latitude, longitude = np.meshgrid(np.linspace(-np.pi / 2, np.pi / 2, 13), np.linspace(0, 2 * np.pi, 25))
    across, height = np.cos(latitude), np.sin(latitude)
    sphere = np.stack([across * np.cos(longitude), across * np.sin(longitude), height])
    wire = axes.plot_wireframe(
        *(semi_axes[:, None, None] * sphere), color=INK, linewidth=0.5, alpha=0.6, zorder=1
    )
    clouds: list[Any] = []
    for cloud, area, style in (
        (shown, 3, {"color": "0.6", "linewidth": 0, "zorder": 0}),
        (drawn, 14, {"color": VERMILLION, "edgecolor": INK, "linewidth": 0.6, "zorder": 2}),
    ):
        clouds.append(axes.scatter(*cloud.T, s=area, depthshade=False, rasterized=True, **style))
    reach = 1.02 * np.maximum(np.abs(np.concatenate([shown, drawn])).max(axis=0), semi_axes)
    axes.set(xlim=(-reach[0], reach[0]), ylim=(-reach[1], reach[1]), zlim=(-reach[2], reach[2]))
    axes.set_box_aspect(reach)  # one unit is as long on each axis
    n_ticks = np.ceil(5 * reach / reach.max()).astype(int)
    for axis, name, most in zip((axes.xaxis, axes.yaxis, axes.zaxis), names, n_ticks, strict=True):
        axis.set_label_text(name, fontsize=9, parse_math=False)
        axis.set_tick_params(labelsize=8)
        axis.set_major_locator(MaxNLocator(most))
    labels = [
        count_label("latents", len(shown), len(points)),
        count_label("generated", len(drawn), len(draws)),
        "confidence ellipsoid",
    ]
    legend_below(figure, [*clouds, wire], labels, markerscale=1.8)
    return figure


def _check_latents(name: str, values: ArrayLike, state: PCAState, least: int) -> np.ndarray:
    array = np.asarray(check_unmasked(name, values), np.float32)
    if array.ndim != 2 or array.shape[1] != state.n_features or len(array) < least:
        raise ValueError(f"{name}: expected shape (n, {state.n_features}), n >= {least}; got {array.shape}")
    return array


def _check_planes(name: str, planes: Sequence[tuple[int, int]], size: int) -> list[tuple[int, int]]:
    if not planes or not all(0 <= i < size and 0 <= j < size and i != j for i, j in planes):
        raise ValueError(f"{name}: expected pairs of two different indices below {size}; got {list(planes)}")
    return list(planes)


def _panels(count: int, title: str | None) -> tuple[Figure, list[Axes]]:
    """Make a figure of square panels, up to three in a row."""
    columns = min(count, 3)
    rows = math.ceil(count / columns)
    figure = new_figure(rows * min(0.95 * PAGE_WIDTH / columns, 4.5) + 0.6, title)
    panels = [figure.add_subplot(rows, columns, index + 1, box_aspect=1) for index in range(count)]
    for axes in panels:
        axes.xaxis.set_major_locator(MaxNLocator(4))
    return figure, panels


def _default_planes(size: int) -> list[tuple[int, int]]:
    middle = size // 2
    planes = [(0, 1), (2, 3), (0, middle), (middle, middle + 1), (size - 2, size - 1), (0, size - 1)]
    return [(i, j) for i, j in dict.fromkeys(planes) if 0 <= i < j < size]


def _covariance_ellipse(center: np.ndarray, covariance: np.ndarray, level: float) -> Ellipse:
    """Make the ellipse at Mahalanobis distance `level`, from closed-form eigenvalues."""
    (var_x, cov_xy), (_, var_y) = covariance
    middle, half_range = (var_x + var_y) / 2, math.hypot((var_x - var_y) / 2, cov_xy)
    major, minor = math.sqrt(middle + half_range), math.sqrt(max(middle - half_range, 0))
    angle = math.degrees(math.atan2(2 * cov_xy, var_x - var_y) / 2)
    return Ellipse((center[0], center[1]), 2 * level * major, 2 * level * minor, angle=angle)


def _density(
    pair: np.ndarray, mean: np.ndarray, covariance: np.ndarray, reach: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """Estimate the smoothed density of points (n, 2), over its peak, to Mahalanobis distance `reach`.

    The result is the coordinates of the grid, the density, and the factor by which it widens a Gaussian.
    """
    root = np.linalg.cholesky(covariance)
    u, v = np.linalg.solve(root, (pair - mean).T)
    edges = np.linspace(-reach, reach, 121)
    counts, _, _ = np.histogram2d(u, v, edges)
    bandwidth = len(pair) ** (-1 / 6)
    density = gaussian_filter(counts, bandwidth / (edges[1] - edges[0]), mode="constant")
    middles = (edges[1:] + edges[:-1]) / 2
    x, y = mean[:, None, None] + np.tensordot(root, np.stack(np.meshgrid(middles, middles, indexing="ij")), 1)
    return x, y, density / density.max(), math.sqrt(1 + bandwidth**2)
