"""Figures of images, latents and training: one function a figure.

Each function takes arrays or a state and returns a :class:`matplotlib.figure.Figure` that belongs to no
backend and no global state; :func:`save` writes it. All are made for one page width. Points and lines differ
in shape, size or darkness too, so that they stay apart in black and white; the hues are those of Okabe and
Ito (2008), which colour-blind readers tell apart.
"""

import io
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import jax.numpy as jnp
import matplotlib as mpl
import numpy as np
from jax.typing import ArrayLike
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.patches import Ellipse
from matplotlib.patheffects import withStroke
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from ellipsoid.files import replace_file
from ellipsoid.levels import pair_coverage
from ellipsoid.sampling import Draws
from ellipsoid.state import PCAState

_PAGE_WIDTH = 7.5  # inches
_DPI = 150
_PAGE_PIXELS = round(_PAGE_WIDTH * _DPI)

_GREY = "0.72"
_BLUE = "#0072B2"
_VERMILLION = "#D55E00"
_INK = "0.15"


# --- sheets of images ------------------------------------------------------------------------------


def image_grid(
    images: ArrayLike,
    *,
    columns: int | None = None,
    title: str | None = None,
    labels: Sequence[str] | None = None,
) -> Figure:
    """Images side by side, each pixel shown as a square.

    Parameters
    ----------
    images : array, shape (n, H, W) or (n, H, W, C)
        Grey (no C, or C = 1) or colour (C = 3); uint8, or floats in [0, 1], which are clipped.
    columns : int, optional
        Images in a row; by default 8, or more where that would make the grid higher than wide.
    title : str, optional
    labels : sequence of n strings, optional
        One below each image.

    Raises
    ------
    ValueError
        If the images are none, or of another shape, type or range; for fewer than one column, or a number
        of labels other than n.
    """
    tiles = _as_tiles("images", images)
    n = len(tiles)
    columns = min(n, max(8, math.ceil(math.sqrt(n)))) if columns is None else columns
    if columns < 1:
        raise ValueError(f"columns: expected at least 1; got {columns}")
    if labels is not None and len(labels) != n:
        raise ValueError(f"labels: expected {n}, one for each image; got {len(labels)}")
    starts = range(0, n, columns)
    label_rows = None if labels is None else [labels[start : start + columns] for start in starts]
    return _sheet(
        [[tiles[start : start + columns]] for start in starts], columns, title, tile_labels=label_rows
    )


def reconstructions(originals: ArrayLike, reconstructions: ArrayLike, *, title: str | None = None) -> Figure:
    """Originals, and below each what the autoencoder makes of it, in bands of up to 8 pairs.

    Parameters
    ----------
    originals, reconstructions : arrays, shape (n, H, W) or (n, H, W, C)
        As for :func:`image_grid`.
    title : str, optional

    Raises
    ------
    ValueError
        If the two differ in shape, or are no images.
    """
    above = _as_tiles("originals", originals)
    below = _as_tiles("reconstructions", reconstructions)
    if above.shape != below.shape:
        raise ValueError(
            f"reconstructions: expected the shape of the originals, {np.shape(originals)}; "
            f"got {np.shape(reconstructions)}"
        )
    columns = min(len(above), 8)
    starts = range(0, len(above), columns)
    cells = [[tiles[start : start + columns]] for start in starts for tiles in (above, below)]
    names = ["original", "reconstruction"] * len(starts)
    return _sheet(cells, columns, title, row_labels=names, rows_in_band=2)


def grid_table(
    cells: Sequence[Sequence[ArrayLike]],
    row_labels: Sequence[str],
    column_labels: Sequence[str],
    *,
    title: str | None = None,
) -> Figure:
    """Table of small image grids: generated images over numbers of components and facts, for example.

    Parameters
    ----------
    cells : rows of columns of arrays, shape (m, H, W) or (m, H, W, C)
        As for :func:`image_grid`; H and W are the same for all.
    row_labels, column_labels : sequences of strings
    title : str, optional

    Raises
    ------
    ValueError
        If there are other numbers of rows or columns than labels, or the cells are no images of one size.
    """
    if len(cells) != len(row_labels) or not row_labels:
        raise ValueError(f"row_labels: expected {len(cells)}, one for each row; got {len(row_labels)}")
    if any(len(row) != len(column_labels) for row in cells) or not column_labels:
        counts = sorted({len(row) for row in cells})
        raise ValueError(
            f"column_labels: expected one for each cell of a row, {counts}; got {len(column_labels)}"
        )
    stacks = [
        [_as_tiles(f"cells[{r}][{c}]", cell) for c, cell in enumerate(row)] for r, row in enumerate(cells)
    ]
    sizes = {stack.shape[1:3] for row in stacks for stack in row}
    if len(sizes) > 1:
        raise ValueError(f"cells: expected images of one size; got {sorted(sizes)}")
    columns = math.ceil(math.sqrt(max(len(stack) for row in stacks for stack in row)))
    return _sheet(stacks, columns, title, row_labels=row_labels, column_labels=column_labels, rows_in_band=1)


def _as_tiles(name: str, images: ArrayLike) -> np.ndarray:
    """Images as uint8 of shape (n, H, W, 3)."""
    array = np.asarray(images)
    if array.ndim == 3:
        array = array[..., None]
    if array.ndim != 4 or 0 in array.shape or array.shape[-1] not in (1, 3):
        raise ValueError(
            f"{name}: expected images of shape (n, H, W), (n, H, W, 1) or (n, H, W, 3); "
            f"got {np.shape(images)}"
        )
    if array.dtype != np.uint8:
        # jnp knows bfloat16 to be a float; NumPy does not.
        if not jnp.issubdtype(array.dtype, jnp.floating):
            raise ValueError(f"{name}: expected uint8, or floats in [0, 1]; got {array.dtype}")
        array = array.astype(np.float32)
        if not np.isfinite(array).all():
            raise ValueError(f"{name}: expected finite values; got NaN or infinity")
        array = np.rint(np.clip(array, 0, 1) * 255).astype(np.uint8)
    return np.broadcast_to(array, (*array.shape[:3], 3))


def _sheet(
    cells: Sequence[Sequence[np.ndarray]],
    columns: int,
    title: str | None,
    *,
    row_labels: Sequence[str] | None = None,
    column_labels: Sequence[str] | None = None,
    tile_labels: Sequence[Sequence[str]] | None = None,
    rows_in_band: int | None = None,
) -> Figure:
    """Draw a table whose cells are stacks of tiles, `columns` tiles wide.

    All is laid out in whole pixels, and tiles are enlarged a whole number of times, so that their pixels stay
    squares of one size. Bands of `rows_in_band` rows are set apart (None: nowhere).
    """
    n_columns = len(cells[0])
    height, width = cells[0][0].shape[1:3]
    enlarge = round(min(_PAGE_PIXELS / (n_columns * columns), 200) / width) or 1
    height, width = height * enlarge, width * enlarge
    gap = max(2, width // 24)
    wide_gap = 4 * gap
    cell_lines = math.ceil(max(len(stack) for row in cells for stack in row) / columns)
    cell_width = columns * (width + gap) - gap
    cell_height = cell_lines * (height + gap) - gap
    table_width = n_columns * (cell_width + wide_gap) - wide_gap

    # The page shows all sheets at one width: letters that grow with the sheet have one size there.
    letter = max(12, round(table_width * 0.017))
    margin = letter
    left = margin + (_text_width(row_labels, letter) + letter if row_labels else 0)
    top = margin + (round(2.2 * letter) if title else 0) + (round(1.7 * letter) if column_labels else 0)
    below_tiles = round(1.6 * letter) if tile_labels else 0

    lefts = [left + c * (cell_width + wide_gap) for c in range(n_columns)]
    tops, bottom = [], top
    for row in range(len(cells)):
        if row:
            bottom += wide_gap if rows_in_band and row % rows_in_band == 0 else gap
        tops.append(bottom)
        bottom += cell_height + below_tiles
    title_width = _text_width([title], letter) if title else 0
    total_width = max(left + table_width, margin + round(1.2 * title_width)) + margin
    canvas = np.full((bottom + margin, total_width, 3), 255, np.uint8)
    for y, row in zip(tops, cells, strict=True):
        for x, stack in zip(lefts, row, strict=True):
            for index, tile in enumerate(stack):
                tile_y = y + index // columns * (height + gap)
                tile_x = x + index % columns * (width + gap)
                enlarged = tile.repeat(enlarge, axis=0).repeat(enlarge, axis=1)
                canvas[tile_y : tile_y + height, tile_x : tile_x + width] = enlarged

    figure = Figure(figsize=(canvas.shape[1] / _DPI, canvas.shape[0] / _DPI), dpi=_DPI)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.imshow(canvas, interpolation="nearest", aspect="auto")

    def write(x: float, y: float, text: str, size: float = letter, **alignment: Any) -> None:
        points = size * 72 / _DPI
        axes.text(x, y, text, fontsize=points, color=_INK, parse_math=False, **alignment)

    if title:
        write(margin, margin, title, 1.2 * letter, va="top", fontweight="bold")
    if row_labels:
        for y, label in zip(tops, row_labels, strict=True):
            write(left - letter // 2, y + cell_height / 2, label, ha="right", va="center")
    if column_labels:
        size = min(letter, letter * cell_width / _text_width(column_labels, letter))
        for x, label in zip(lefts, column_labels, strict=True):
            write(x + cell_width / 2, top - letter // 2, label, size, ha="center", va="bottom")
    if tile_labels:
        widest = max(_text_width(labels, letter) for labels in tile_labels)
        size = min(letter, letter * width / widest)
        for y, labels in zip(tops, tile_labels, strict=True):
            for index, label in enumerate(labels):
                x = left + index * (width + gap) + width / 2
                write(x, y + cell_height + letter // 4, label, size, ha="center", va="top")
    return figure


def _text_width(texts: Sequence[str], letter: int) -> int:
    """Rough width in pixels of the longest text, in letters of that height: 0.6 em each on average."""
    return max(1, math.ceil(0.6 * letter * max(len(text) for text in texts)))


# --- latents ---------------------------------------------------------------------------------------


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
    points = _evenly_spaced_rows(latents, max_points)
    drawn_points = _evenly_spaced_rows(drawn, math.ceil(max_points / 10))
    if frame == "pca":
        widths = 2 * level * np.asarray(state.scale, np.float64)
        ellipses = [Ellipse((0, 0), widths[i], widths[j]) for i, j in planes]
        points, drawn_points = np.asarray(state.project(points)), np.asarray(state.project(drawn_points))
    else:
        ellipses = [_covariance_ellipse(latents[:, plane], level) for plane in planes]

    columns = min(len(planes), 3)
    rows = math.ceil(len(planes) / columns)
    figure = _figure(rows * min(0.95 * _PAGE_WIDTH / columns, 4.5) + 0.4, title)
    for index, ((i, j), ellipse) in enumerate(zip(planes, ellipses, strict=True)):
        axes = figure.add_subplot(rows, columns, index + 1, box_aspect=1)
        _scatter(axes, points[:, (i, j)], (2, 12), color=_GREY, linewidth=0)
        _scatter(axes, drawn_points[:, (i, j)], (8, 24), color=_VERMILLION, edgecolor=_INK, linewidth=0.6)
        ellipse.set(fill=False, edgecolor=_INK, linewidth=1.5, zorder=3)
        ellipse.set_path_effects([withStroke(linewidth=3, foreground="white")])
        axes.add_patch(ellipse)
        _finish(axes, f"{name} {i + 1}", f"{name} {j + 1}")
    handles = [*figure.axes[0].collections, Line2D([], [], color=_INK, linewidth=1.5)]
    names = [
        _count("latents", len(points), len(latents)),
        _count("generated", len(drawn_points), len(drawn)),
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


def _evenly_spaced_rows(array: np.ndarray, count: int) -> np.ndarray:
    return array[np.linspace(0, len(array) - 1, min(count, len(array))).round().astype(int)]


def _scatter(axes: Axes, points: np.ndarray, areas: tuple[float, float], **style: Any) -> None:
    """Dots that shrink as they grow many, so that they do not run together; areas in square points."""
    area = float(np.clip(1500 / len(points), *areas))
    # A vector file of thousands of dots is large and slow to show.
    axes.scatter(*points.T, s=area, rasterized=True, **style)


def _count(name: str, shown: int, total: int) -> str:
    return f"{name} ({total:,})" if shown == total else f"{name} ({shown:,} of {total:,})"


def _covariance_ellipse(pairs: np.ndarray, level: float) -> Ellipse:
    """Ellipse at Mahalanobis distance `level` of points (n, 2), from closed-form eigenvalues."""
    x, y = pairs.astype(np.float64).T
    (var_x, covariance), (_, var_y) = np.cov(x, y)
    middle, half_range = (var_x + var_y) / 2, math.hypot((var_x - var_y) / 2, covariance)
    major, minor = math.sqrt(middle + half_range), math.sqrt(max(middle - half_range, 0))
    angle = math.degrees(math.atan2(2 * covariance, var_x - var_y) / 2)
    return Ellipse((x.mean(), y.mean()), 2 * level * major, 2 * level * minor, angle=angle)


# --- curves ----------------------------------------------------------------------------------------


def explained_variance(state: PCAState, *, title: str | None = None) -> Figure:
    """Share of the variance that each component holds, and that the first components hold together.

    The numbers of components that reach 90, 95 and 99 % are marked, as far as the state goes.
    """
    ratio = np.asarray(state.explained_variance_ratio, np.float64)
    cumulative = np.cumsum(ratio)
    number = np.arange(1, len(ratio) + 1)
    figure = _figure(2.9, title)
    each, together = figure.subplots(1, 2)
    markers = {"marker": "o", "markersize": 3} if len(ratio) <= 64 else {}
    each.plot(number, ratio, color=_BLUE, **markers)
    _scale_y(each, ratio)
    _finish(each, "component", "share of the variance")
    together.plot(number, cumulative, color=_BLUE, **markers)
    together.set(xlim=(0, None), ylim=(0, 1.03))
    notes = []
    for share in (0.9, 0.95, 0.99):
        # A sum of rounded shares may end a little below what all components hold.
        reached = cumulative >= share - 1e-6
        if reached.any():
            count = int(np.argmax(reached)) + 1
            together.plot([0, count, count], [share, share, 0], ":", color="0.4", linewidth=1, zorder=0)
            notes.append(f"{share:.0%}: {count} component{'s' * (count > 1)}")
    ground = {"facecolor": "white", "edgecolor": "none", "pad": 2}  # the dotted lines pass behind
    together.text(
        0.97, 0.06, "\n".join(notes), transform=together.transAxes, ha="right", fontsize=8, bbox=ground
    )
    _finish(together, "number of components", "cumulative share")
    for axes in (each, together):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.yaxis.set_major_formatter(lambda share, _: f"{100 * share:g}%")
    return figure


def training_curve(history: Sequence[Mapping[str, Any]], *, title: str | None = None) -> Figure:
    """Training and validation loss over the epochs.

    Parameters
    ----------
    history : sequence of mappings
        With keys ``epoch``, ``train_loss`` and ``validation_loss``; others are not looked at, and a loss that
        is missing or None is left out.
    title : str, optional

    Raises
    ------
    ValueError
        If no record holds a loss.
    """
    figure = _figure(3.2, title)
    axes = figure.add_subplot()
    for name, color, style, marker in (
        ("train_loss", _BLUE, "-", "o"),
        ("validation_loss", _VERMILLION, "--", "s"),
    ):
        records = [record for record in history if record.get(name) is not None]
        if records:
            axes.plot(
                [record["epoch"] for record in records],
                [record[name] for record in records],
                linestyle=style,
                marker=marker,
                markersize=3.5,
                color=color,
                label=name.removesuffix("_loss"),
            )
    if not axes.lines:
        raise ValueError("history: expected records with train_loss or validation_loss; got none")
    _scale_y(axes, np.concatenate([line.get_ydata() for line in axes.lines]))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    _finish(axes, "epoch", "loss")
    axes.legend(frameon=False, fontsize=9)
    return figure


def _figure(height: float, title: str | None) -> Figure:
    layout = ConstrainedLayoutEngine(h_pad=0.08, w_pad=0.08)
    figure = Figure(figsize=(_PAGE_WIDTH, height), dpi=_DPI, layout=layout)
    if title:
        figure.suptitle(
            title, x=0.02, ha="left", fontsize=11, fontweight="bold", color=_INK, parse_math=False
        )
    return figure


def _scale_y(axes: Axes, values: np.ndarray) -> None:
    """Start the y axis at 0, or make it logarithmic where the positive values span more than a decade."""
    positive = values[values > 0]
    if len(positive) == 0 or positive.max() < 10 * positive.min():
        axes.set_ylim(0, None)
        return
    axes.set_yscale("log")
    # A single decade would have one or two labels only.
    few_decades = positive.max() < 300 * positive.min()
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if few_decades else (1,)))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())


def _finish(axes: Axes, x_label: str, y_label: str) -> None:
    axes.set_xlabel(x_label, fontsize=9)
    axes.set_ylabel(y_label, fontsize=9)
    axes.tick_params(which="both", labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)


# --- files -----------------------------------------------------------------------------------------


def save(figure: Figure, path: str | os.PathLike[str]) -> Path:
    """Write a figure in the format of the suffix, completely or not at all; folders are made as needed.

    The same figure gives the same bytes: no date is written, and SVG names do not change.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    ValueError
        If the suffix is neither ``.png`` nor ``.svg``.
    """
    path = Path(path)
    content = io.BytesIO()
    match path.suffix.lower():
        case ".png":
            figure.savefig(content, format="png")
        case ".svg":
            with mpl.rc_context({"svg.hashsalt": "ellipsoid"}):
                figure.savefig(content, format="svg", metadata={"Date": None})
        case suffix:
            raise ValueError(f"path: expected the suffix .png or .svg; got {suffix!r} in {path}")
    replace_file(path, content.getvalue())
    return path
