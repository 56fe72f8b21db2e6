"""All pairs of components: correlations, angles of ellipses, calibration and dependence."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from jax.typing import ArrayLike
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from ellipsoid.checks import check_unmasked
from ellipsoid.figures.style import (
    BLUE,
    GREY,
    INK,
    LINES,
    check_floats,
    check_names,
    count_from_one,
    finish,
    legend_below,
    log_scale,
    new_figure,
    percent,
    signed,
)

# The lightness falls with the magnitude of a value, so the maps are readable without hues.
_SIGNED, _UNSIGNED = "PuOr", "Purples"


def correlation_matrices(
    before: ArrayLike,
    after: ArrayLike,
    *,
    labels: Sequence[str] = ("latent dimensions", "components"),
    title: str | None = None,
) -> Figure:
    """Show the correlations of all pairs before and after a change of frame, on one colour scale.

    The scale ends at the 99.9 % quantile of ``|r|``. The distribution of ``|r|`` over the pairs stands below
    each matrix; it shows values below 1e-9 at 1e-9.

    Parameters
    ----------
    before, after : arrays, shape (D, D) and (K, K)
        Correlation matrices, with D and K at least 2. Their diagonals are ignored.
    labels : two strings
        Names of the rows of each matrix.
    title : str, optional
        Title of the figure.

    Raises
    ------
    ValueError
        If an argument is not as described.
    """
    matrices = [_check_matrix("before", before), _check_matrix("after", after)]
    labels = check_names("labels", labels, 2)
    sizes = [np.clip(np.abs(_pairs(matrix)), 1e-9, None) for matrix in matrices]
    limit = float(np.quantile(np.concatenate(sizes), 0.999))
    figure = new_figure(5.2, title)
    panels = figure.subplots(2, 2, height_ratios=(2.6, 1))
    low, high = min(map(np.min, sizes)), max(map(np.max, sizes))
    edges = np.geomspace(low * 0.99, high * 1.01, 61)
    images = []
    for (above, below), matrix, size, label in zip(panels.T, matrices, sizes, labels, strict=True):
        images.append(_show_matrix(above, matrix, limit, label))
        below.stairs(np.histogram(size, edges)[0] / len(size), edges, fill=True, color=GREY)
        below.axvline(np.median(size), color=INK, linestyle="--", linewidth=1)
        log_scale(below, "x", low, high)
        percent(below.yaxis)
        finish(below, "|r| (median dashed)", "share of pairs")
    extend = "both" if limit < high else "neither"
    _color_bar(figure, images[0], panels[0], "correlation r", extend)
    return figure


def named_correlations(matrix: ArrayLike, names: Sequence[str], *, title: str | None = None) -> Figure:
    """Show correlations of named items. Up to 16 items have their numbers written in the squares.

    Parameters
    ----------
    matrix : array, shape (M, M)
        Correlations, with M at least 2. The diagonal is ignored.
    names : sequence of M strings
        Names of the items.
    title : str, optional
        Title of the figure.

    Raises
    ------
    ValueError
        If an argument is not as described.
    """
    matrix = _check_matrix("matrix", matrix)
    names = check_names("names", names, len(matrix))
    figure = new_figure(min(9.0, 1.6 + 0.36 * len(matrix)), title)
    axes = figure.subplots()
    image = axes.imshow(matrix, cmap=_SIGNED, vmin=-1, vmax=1, aspect="auto")
    short = [name if len(name) <= 24 else f"{name[:23]}…" for name in names]
    axes.set_xticks(range(len(names)), short, parse_math=False)
    axes.set_yticks(range(len(names)), short, parse_math=False)
    for text in axes.get_xticklabels():
        text.set(rotation=45, ha="right", rotation_mode="anchor")
    finish(axes, "", "")
    axes.tick_params(length=0)
    if len(names) <= 16:
        for (i, j), value in np.ndenumerate(matrix):
            if i != j:
                colour = "white" if abs(value) > 0.6 else INK
                axes.text(j, i, signed(value), ha="center", va="center", fontsize=7, color=colour)
    figure.colorbar(image, ax=axes, shrink=0.8).ax.tick_params(labelsize=8)
    return figure


def plot_pair_angles(
    before: ArrayLike,
    after: ArrayLike,
    *,
    weights: tuple[ArrayLike, ArrayLike] | None = None,
    labels: Sequence[str] = ("latent dimensions", "components"),
    title: str | None = None,
) -> Figure:
    """Show the directions of the major axes of all pairs' ellipses, before and after a change of frame.

    Parameters
    ----------
    before, after : arrays, shape (P,) and (Q,)
        Angle between each pair's ellipse and its first axis, in degrees from -90 to 90.
    weights : two arrays, shape (P,) and (Q,), optional
        Weights of the pairs in a second distribution, such as their ellipticity. The angle of a circle has no
        meaning.
    labels : two strings
        Names of the two frames.
    title : str, optional
        Title of the figure.

    Raises
    ------
    ValueError
        If an argument is not as described.
    """
    frames = [check_floats("before", before, "P"), check_floats("after", after, "Q")]
    for name, angles in zip(("before", "after"), frames, strict=True):
        if np.abs(angles).max() > 90:
            raise ValueError(f"{name}: expected angles in [-90, 90] degrees; got {np.abs(angles).max():g}")
    labels = check_names("labels", labels, 2)
    figure = new_figure(2.9, title)
    panels = figure.subplots(1, 2)
    edges = np.linspace(-90, 90, 37)
    handles: list[Any] = [Patch(color=GREY)]
    for index, (axes, angles, label) in enumerate(zip(panels, frames, labels, strict=True)):
        axes.stairs(np.histogram(angles, edges)[0] / len(angles), edges, fill=True, color=GREY)
        if weights is not None:
            weight = check_floats(f"weights[{index}]", weights[index], len(angles))
            if weight.min() < 0 or weight.sum() == 0:
                raise ValueError(f"weights[{index}]: expected weights of at least 0, and not only zeros")
            counts = np.histogram(angles, edges, weights=weight)[0]
            axes.stairs(counts / weight.sum(), edges, color=INK, linewidth=1.4)
        axes.set_xticks([-90, -45, 0, 45, 90])
        percent(axes.yaxis)
        finish(axes, "angle of the major axis (degrees)", "share of pairs (bins of 5°)", label)
    if weights is not None:
        handles.append(Line2D([], [], color=INK, linewidth=1.4))
        legend_below(figure, handles, ["equal weights", "weighted by ellipticity"])
    return figure


def plot_calibration(
    levels: ArrayLike,
    expected: ArrayLike,
    observed: ArrayLike,
    *,
    worst: Sequence[tuple[str, ArrayLike]] | None = None,
    title: str | None = None,
) -> Figure:
    """Show the share of the data inside each pair's ellipse, against the share of a Gaussian.

    Parameters
    ----------
    levels : array, shape (m,)
        Levels of the ellipses in standard deviations, ascending.
    expected : array, shape (m,)
        Shares of a Gaussian, ``1 - exp(-level**2 / 2)``.
    observed : array, shape (m, P)
        Shares of the data for each pair.
    worst : sequence of (str, array of shape (m,)), optional
        Names and shares of single pairs to show, at most 8.
    title : str, optional
        Title of the figure.

    Raises
    ------
    ValueError
        If an argument is not as described.
    """
    levels = check_floats("levels", levels, "m")
    expected = check_floats("expected", expected, len(levels))
    observed = check_floats("observed", observed, len(levels), "P")
    worst = [(name, check_floats(f"worst[{name!r}]", share, len(levels))) for name, share in worst or ()]
    if len(worst) > len(LINES):
        raise ValueError(f"worst: expected at most {len(LINES)} pairs; got {len(worst)}")
    figure = new_figure(3.7, title)
    curve, difference = figure.subplots(1, 2)
    least, low, median, high, most = np.quantile(observed, [0, 0.05, 0.5, 0.95, 1], axis=1)
    bands = []
    for axes, x, base, unit in ((curve, expected, 0, 1), (difference, levels, expected, 100)):
        bands = [
            axes.fill_between(x, unit * (below - base), unit * (above - base), color=color, linewidth=0)
            for below, above, color in ((least, most, "0.88"), (low, high, "0.68"))
        ]
        axes.plot(x, unit * (median - base), color=BLUE, linewidth=1.6)
    curve.plot([0, 1], [0, 1], color=INK, linewidth=0.8)
    curve.set(xlim=(0, 1), ylim=(0, 1))
    percent(curve.xaxis)
    percent(curve.yaxis)
    finish(curve, "expected share inside", "observed share inside")
    difference.axhline(0, color=INK, linewidth=0.8)
    lines = [
        difference.plot(levels, 100 * (share - expected), **{**look, "linewidth": 1})[0]
        for look, (_, share) in zip(LINES[1:] + LINES[:1], worst, strict=False)
    ]
    finish(difference, "level (standard deviations)", "observed − expected\n(percentage points)")
    handles = [curve.lines[0], *reversed(bands), curve.lines[1], *lines]
    names = [f"median of {observed.shape[1]:,} pairs", "5% to 95%", "minimum to maximum", "Gaussian"]
    legend_below(figure, handles, [*names, *(name for name, _ in worst)])
    return figure


def plot_dependence(
    matrix_squares: ArrayLike,
    matrix_distance: ArrayLike,
    threshold_squares: float,
    threshold_distance: float,
    *,
    title: str | None = None,
) -> Figure:
    """Show two measures of dependence between uncorrelated components, for all pairs.

    Parameters
    ----------
    matrix_squares : array, shape (K, K)
        Rank correlation of the squares of the components, with K at least 2. The diagonal is ignored.
    matrix_distance : array, shape (K, K)
        Distance correlation of the components, in [0, 1]. The diagonal is ignored.
    threshold_squares, threshold_distance : float
        Bounds that independent components stay below.
    title : str, optional
        Title of the figure.

    Raises
    ------
    ValueError
        If an argument is not as described.
    """
    squares = _check_matrix("matrix_squares", matrix_squares)
    distance = _check_matrix("matrix_distance", matrix_distance)
    figure = new_figure(3.4, title)
    panels = figure.subplots(1, 2)
    for axes, matrix, name, threshold in (
        (panels[0], squares, "rank correlation of squares", threshold_squares),
        (panels[1], distance, "distance correlation", threshold_distance),
    ):
        size = np.abs(_pairs(matrix))
        count = f"{np.count_nonzero(size > threshold):,} of {len(size):,} pairs above {threshold:.2g}"
        image = _show_matrix(axes, matrix, float(size.max()) or 1.0, "component", signed=matrix is squares)
        axes.set_title(count, fontsize=9, loc="left", color=INK)
        _color_bar(figure, image, [axes], name)
    return figure


def _check_matrix(name: str, values: ArrayLike) -> np.ndarray:
    """Return a square matrix with NaN on its diagonal."""
    matrix = np.array(check_unmasked(name, values), np.float64)
    if matrix.ndim != 2 or len(matrix) < 2 or len(matrix) != matrix.shape[1]:
        raise ValueError(f"{name}: expected shape (K, K), K >= 2; got {matrix.shape}")
    np.fill_diagonal(matrix, 0)
    if not np.isfinite(matrix).all():
        raise ValueError(f"{name}: expected finite values off the diagonal; got NaN or infinity")
    np.fill_diagonal(matrix, np.nan)
    return matrix


def _pairs(matrix: np.ndarray) -> np.ndarray:
    return matrix[np.triu_indices(len(matrix), 1)]


def _show_matrix(
    axes: Axes, matrix: np.ndarray, limit: float, label: str, *, signed: bool = True
) -> AxesImage:
    """Show a matrix as an image, numbered from 1, with colours to `limit` (if signed, from ``-limit``)."""
    k = len(matrix)
    image = axes.imshow(
        matrix,
        cmap=_SIGNED if signed else _UNSIGNED,
        vmin=-limit if signed else 0,
        vmax=limit,
        extent=(0.5, k + 0.5, k + 0.5, 0.5),
    )
    count_from_one(axes)
    axes.yaxis.set_major_locator(axes.xaxis.get_major_locator())
    finish(axes, label, label)
    return image


def _color_bar(
    figure: Figure, image: AxesImage, panels: Any, label: str, extend: Literal["neither", "both"] = "neither"
) -> None:
    bar = figure.colorbar(image, ax=panels, fraction=0.05, pad=0.02, extend=extend)
    bar.set_label(label, fontsize=9)
    bar.ax.tick_params(labelsize=8)
