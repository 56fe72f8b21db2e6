"""Grids of images, laid out in whole pixels."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ellipsoid.checks import check_count, check_unmasked
from ellipsoid.draws import Draws, MixtureDraws
from ellipsoid.figures.style import DPI, INK, PAGE_PIXELS, check_floats, check_names
from ellipsoid.pixels import PIXEL_RANGE, ImageDecoder


def image_grid(
    images: ArrayLike,
    *,
    columns: int | None = None,
    title: str | None = None,
    labels: Sequence[str] | None = None,
) -> Figure:
    """Show images side by side, each pixel as a square.

    Parameters
    ----------
    images : array, shape (n, H, W) or (n, H, W, C)
        Grey (no C, or C = 1) or colour images (C = 3): uint8, or floats in [0, 1], which are clipped.
    columns : int, optional
        Number of images in a row. The default is 8, or more if the grid would otherwise be taller than wide.
    title : str, optional
        Title of the figure.
    labels : sequence of n strings, optional
        Texts below the images.

    Raises
    ------
    ValueError
        If there are no images, or images of another shape or type, if `columns` is below 1, or if `labels`
        does not hold n texts.

    Examples
    --------
    >>> import numpy as np
    >>> figure = image_grid(np.zeros((12, 8, 8)), columns=4, title="Twelve black images")
    >>> figure.axes[0].texts[0].get_text()
    'Twelve black images'
    """
    tiles = as_tiles("images", images)
    n = len(tiles)
    columns = min(n, max(8, math.ceil(math.sqrt(n)))) if columns is None else columns
    if columns < 1:
        raise ValueError(f"columns: expected at least 1; got {columns}")
    if labels is not None and len(labels) != n:
        raise ValueError(f"labels: expected {n}, one for each image; got {len(labels)}")
    starts = range(0, n, columns)
    label_rows = None if labels is None else [labels[start : start + columns] for start in starts]
    cells = [[tiles[start : start + columns]] for start in starts]
    return _draw_table(cells, columns, _Labels(title, tiles=label_rows))


def images_of(
    draws: Draws | MixtureDraws | ArrayLike,
    decode: Callable[[np.ndarray], ArrayLike],
    *,
    n: int = 24,
    columns: int | None = None,
    title: str | None = None,
    pixel_range: tuple[float, float] = PIXEL_RANGE,
) -> Figure:
    """Decode draws and show their images as a grid, in one call.

    Parameters
    ----------
    draws : Draws, or array of shape (m, D)
        Draws from :func:`ellipsoid.sample`, or latents.
    decode : callable
        Function from float32 latents (m, D) to images (m, H, W, C), uint8 or floats in `pixel_range`.
    n : int
        Number of draws to show, from the first. If there are fewer, all are shown.
    columns : int, optional
        Number of images in a row, as for :func:`image_grid`.
    title : str, optional
        Title of the figure.
    pixel_range : tuple of two float
        Black and white of images that are floats: (-1, 1) for a decoder that ends in tanh.

    Raises
    ------
    TypeError
        If `decode` is not a function, or returns neither uint8 nor floats.
    ValueError
        If the latents are not a matrix with at least one row, if `n` or `columns` is below 1, or if `decode`
        does not return images in this range.

    Examples
    --------
    >>> import ellipsoid as el
    >>> import numpy as np
    >>> state = el.fit(np.random.default_rng(0).normal(size=(500, 12)))
    >>> draws = el.sample(el.key(0), state, 100)
    >>> figure = el.images_of(draws, lambda z: (1 + np.tanh(z)).reshape(-1, 2, 2, 3) / 2)
    """
    latents = draws.latents if isinstance(draws, Draws | MixtureDraws) else draws
    chosen = np.asarray(check_unmasked("draws", latents))[: check_count("n", n)]
    if chosen.ndim != 2 or not len(chosen):
        raise ValueError(f"draws: expected draws, or latents of shape (m, D); got shape {chosen.shape}")
    return image_grid(ImageDecoder(decode, pixel_range)(chosen), columns=columns, title=title)


def plot_reconstructions(
    originals: ArrayLike, reconstructions: ArrayLike, *, title: str | None = None
) -> Figure:
    """Show originals and below each its reconstruction, in bands of up to 8 pairs.

    Parameters
    ----------
    originals, reconstructions : arrays, shape (n, H, W) or (n, H, W, C)
        Images as for :func:`image_grid`.
    title : str, optional
        Title of the figure.

    Raises
    ------
    ValueError
        If the two differ in shape, or are not images.
    """
    above = as_tiles("originals", originals)
    below = as_tiles("reconstructions", reconstructions)
    if above.shape != below.shape:
        raise ValueError(
            f"reconstructions: expected the shape of the originals, {np.shape(originals)}; "
            f"got {np.shape(reconstructions)}"
        )
    columns = min(len(above), 8)
    starts = range(0, len(above), columns)
    cells = [[tiles[start : start + columns]] for start in starts for tiles in (above, below)]
    names = ["original", "reconstruction"] * len(starts)
    return _draw_table(cells, columns, _Labels(title, names), rows_in_band=2)


def grid_table(
    cells: Sequence[Sequence[ArrayLike]],
    row_labels: Sequence[str],
    column_labels: Sequence[str],
    *,
    title: str | None = None,
) -> Figure:
    """Show a table of small image grids, such as draws for numbers of components and facts.

    Parameters
    ----------
    cells : rows of columns of arrays, shape (m, H, W) or (m, H, W, C)
        Images as for :func:`image_grid`, of one size.
    row_labels, column_labels : sequences of strings
        Texts at the left of each row and above each column.
    title : str, optional
        Title of the figure.

    Raises
    ------
    ValueError
        If the labels do not match the rows and columns, or the cells are not images of one size.
    """
    if len(cells) != len(row_labels) or not row_labels:
        raise ValueError(f"row_labels: expected {len(cells)}, one for each row; got {len(row_labels)}")
    if any(len(row) != len(column_labels) for row in cells) or not column_labels:
        counts = sorted({len(row) for row in cells})
        raise ValueError(
            f"column_labels: expected one for each cell of a row, {counts}; got {len(column_labels)}"
        )
    stacks = [
        [as_tiles(f"cells[{r}][{c}]", cell) for c, cell in enumerate(row)] for r, row in enumerate(cells)
    ]
    sizes = {stack.shape[1:3] for row in stacks for stack in row}
    if len(sizes) > 1:
        raise ValueError(f"cells: expected images of one size; got {sorted(sizes)}")
    columns = math.ceil(math.sqrt(max(len(stack) for row in stacks for stack in row)))
    return _draw_table(stacks, columns, _Labels(title, row_labels, column_labels), rows_in_band=1)


def strips(
    rows: Sequence[ArrayLike],
    row_labels: Sequence[str] | None = None,
    column_labels: Sequence[str] | None = None,
    title: str | None = None,
) -> Figure:
    """Show rows of equally many images, such as traversals of components or paths in the latent space.

    Parameters
    ----------
    rows : sequence of arrays, shape (m, H, W) or (m, H, W, C)
        Images as for :func:`image_grid`, equally many in each row and of one size.
    row_labels : sequence of strings, optional
        Texts at the left of each row.
    column_labels : sequence of m strings, optional
        Texts above each column.
    title : str, optional
        Title of the figure.

    Raises
    ------
    ValueError
        If the rows differ in shape or are not images, or the labels do not match the rows and columns.
    """
    tiles = [as_tiles(f"rows[{r}]", row) for r, row in enumerate(rows)]
    shapes = sorted({row.shape[:3] for row in tiles})
    if len(shapes) != 1:
        raise ValueError(f"rows: expected rows of equally many images of one size; got shapes {shapes}")
    for name, labels, count in (
        ("row_labels", row_labels, len(tiles)),
        ("column_labels", column_labels, len(tiles[0])),
    ):
        if labels is not None:
            check_names(name, labels, count)
    cells = [[tile[None] for tile in row] for row in tiles]
    return _draw_table(cells, 1, _Labels(title, row_labels, column_labels))


def plot_nearest(
    generated: ArrayLike, neighbours: ArrayLike, distances: ArrayLike, *, title: str | None = None
) -> Figure:
    """Show generated images, and below each its nearest training images with their distances.

    Parameters
    ----------
    generated : array, shape (n, H, W) or (n, H, W, C)
        Images as for :func:`image_grid`, which are shown in bands of up to 8.
    neighbours : array, shape (n, m, H, W) or (n, m, H, W, C)
        Nearest m training images of each generated image, nearest first.
    distances : array, shape (n, m)
        Distances of these training images from the generated image, in any unit.
    title : str, optional
        Title of the figure.

    Raises
    ------
    ValueError
        If the shapes do not match, or are not those of images.
    """
    above = as_tiles("generated", generated)
    distances = check_floats("distances", distances, len(above), "m")
    expected = (*distances.shape, *np.shape(generated)[1:])
    if np.shape(neighbours) != expected:
        raise ValueError(f"neighbours: expected shape {expected}; got {np.shape(neighbours)}")
    below = [as_tiles("neighbours", np.asarray(neighbours)[:, m]) for m in range(distances.shape[1])]
    columns = min(len(above), 8)
    cells, tile_labels = [], []
    for start in range(0, len(above), columns):
        band = slice(start, start + columns)
        cells += [[tiles[band]] for tiles in (above, *below)]
        tile_labels += [[], *([f"{distance:.3g}" for distance in rank] for rank in distances[band].T)]
    ranks = ["nearest"] if len(below) == 1 else [f"nearest {rank + 1}" for rank in range(len(below))]
    names = ["generated", *ranks]
    labels = _Labels(title, names * (len(cells) // len(names)), tiles=tile_labels)
    return _draw_table(cells, columns, labels, rows_in_band=len(names))


def as_tiles(name: str, images: ArrayLike) -> np.ndarray:
    """Convert images to uint8 of shape (n, H, W, 3).

    Raises
    ------
    ValueError
        If `images` does not have the shape (n, H, W), (n, H, W, 1) or (n, H, W, 3), or holds neither uint8
        nor finite floats.
    """
    array = np.asarray(check_unmasked(name, images))
    if array.ndim == 3:
        array = array[..., None]
    if array.ndim != 4 or 0 in array.shape or array.shape[-1] not in (1, 3):
        raise ValueError(
            f"{name}: expected images of shape (n, H, W), (n, H, W, 1) or (n, H, W, 3); "
            f"got {np.shape(images)}"
        )
    if array.dtype != np.uint8:
        # JAX treats bfloat16 as a float; NumPy does not.
        if not jnp.issubdtype(array.dtype, jnp.floating):
            raise ValueError(f"{name}: expected uint8, or floats in [0, 1]; got {array.dtype}")
        array = array.astype(np.float32)
        if not np.isfinite(array).all():
            raise ValueError(f"{name}: expected finite values; got NaN or infinity")
        array = np.rint(np.clip(array, 0, 1) * 255).astype(np.uint8)
    return np.broadcast_to(array, (*array.shape[:3], 3))


@dataclass(frozen=True)
class _Labels:
    """Texts around a table of images: the title, and labels of rows, columns and single images."""

    title: str | None = None
    rows: Sequence[str] | None = None
    columns: Sequence[str] | None = None
    tiles: Sequence[Sequence[str]] | None = None


@dataclass(frozen=True)
class _Layout:
    """Positions and sizes of a table in whole pixels.

    Attributes
    ----------
    enlarge : int
        Number of times that each pixel of an image is repeated along both axes.
    tile, cell : (height, width)
        Sizes of an enlarged image, and of a cell with all of its images.
    gap : int
        Distance between images.
    letter, margin : int
        Height of the letters, and width of the white border.
    lefts, tops : list of int
        Left and upper edges of the columns and rows of cells.
    size : (height, width)
        Size of the whole table.
    """

    enlarge: int
    tile: tuple[int, int]
    cell: tuple[int, int]
    gap: int
    letter: int
    margin: int
    lefts: list[int]
    tops: list[int]
    size: tuple[int, int]


def _draw_table(
    cells: Sequence[Sequence[np.ndarray]], columns: int, labels: _Labels, *, rows_in_band: int | None = None
) -> Figure:
    """Draw a table whose cells are stacks of tiles, `columns` tiles wide.

    The layout is in whole pixels, and tiles are enlarged by a whole factor, so that their pixels stay squares
    of one size. Wider gaps separate bands of `rows_in_band` rows, and columns; None makes all gaps narrow.
    """
    layout = _lay_out(cells, columns, labels, rows_in_band)
    height, width = layout.size
    figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.imshow(_canvas(cells, columns, layout), interpolation="nearest", aspect="auto")
    _write_labels(axes, layout, labels)
    return figure


def _lay_out(
    cells: Sequence[Sequence[np.ndarray]], columns: int, labels: _Labels, rows_in_band: int | None
) -> _Layout:
    n_columns = len(cells[0])
    height, width = cells[0][0].shape[1:3]
    enlarge = round(min(PAGE_PIXELS / (n_columns * columns), 200) / width) or 1
    height, width = height * enlarge, width * enlarge
    gap = max(2, width // 24)
    wide_gap = 4 * gap
    cell_lines = math.ceil(max(len(stack) for row in cells for stack in row) / columns)
    cell_width = columns * (width + gap) - gap
    cell_height = cell_lines * (height + gap) - gap
    column_gap = gap if rows_in_band is None else wide_gap
    table_width = n_columns * (cell_width + column_gap) - column_gap

    # A page shows all grids at one width. Letters in proportion to the grid then have one size on it.
    letter = margin = max(12, round(table_width * 0.017))
    left = margin + (_text_width(labels.rows, letter) + letter if labels.rows else 0)
    top = (
        margin + (round(2.2 * letter) if labels.title else 0) + (round(1.7 * letter) if labels.columns else 0)
    )

    tops, bottom = [], top
    for row in range(len(cells)):
        if row:
            bottom += wide_gap if rows_in_band and row % rows_in_band == 0 else gap
        tops.append(bottom)
        bottom += cell_height + (round(1.6 * letter) if labels.tiles and labels.tiles[row] else 0)
    title_width = _text_width([labels.title], letter) if labels.title else 0
    return _Layout(
        enlarge=enlarge,
        tile=(height, width),
        cell=(cell_height, cell_width),
        gap=gap,
        letter=letter,
        margin=margin,
        lefts=[left + column * (cell_width + column_gap) for column in range(n_columns)],
        tops=tops,
        size=(bottom + margin, max(left + table_width, margin + round(1.2 * title_width)) + margin),
    )


def _canvas(cells: Sequence[Sequence[np.ndarray]], columns: int, layout: _Layout) -> np.ndarray:
    """Place all images on a white canvas, uint8 of shape (height, width, 3)."""
    canvas = np.full((*layout.size, 3), 255, np.uint8)
    height, width = layout.tile
    for top, row in zip(layout.tops, cells, strict=True):
        for left, stack in zip(layout.lefts, row, strict=True):
            for index, tile in enumerate(stack):
                y = top + index // columns * (height + layout.gap)
                x = left + index % columns * (width + layout.gap)
                enlarged = tile.repeat(layout.enlarge, axis=0).repeat(layout.enlarge, axis=1)
                canvas[y : y + height, x : x + width] = enlarged
    return canvas


def _write_labels(axes: Axes, layout: _Layout, labels: _Labels) -> None:
    letter, margin = layout.letter, layout.margin
    (cell_height, cell_width), width = layout.cell, layout.tile[1]

    def write(x: float, y: float, text: str, size: float = letter, **alignment: Any) -> None:
        points = size * 72 / DPI
        axes.text(x, y, text, fontsize=points, color=INK, parse_math=False, **alignment)

    if labels.title:
        write(margin, margin, labels.title, 1.2 * letter, va="top", fontweight="bold")
    if labels.rows:
        for top, label in zip(layout.tops, labels.rows, strict=True):
            write(layout.lefts[0] - letter // 2, top + cell_height / 2, label, ha="right", va="center")
    if labels.columns:
        size = min(letter, letter * cell_width / _text_width(labels.columns, letter))
        for left, label in zip(layout.lefts, labels.columns, strict=True):
            at = left + cell_width / 2, layout.tops[0] - letter // 2
            write(*at, label, size, ha="center", va="bottom")
    if labels.tiles:
        widest = max(_text_width(texts, letter) for texts in labels.tiles if texts)
        size = min(letter, letter * width / widest)
        for top, texts in zip(layout.tops, labels.tiles, strict=True):
            for index, label in enumerate(texts):
                x = layout.lefts[0] + index * (width + layout.gap) + width / 2
                write(x, top + cell_height + letter // 4, label, size, ha="center", va="top")


def _text_width(texts: Sequence[str], letter: int) -> int:
    """Estimate the width in pixels of the longest text: 0.6 of the letter height for each letter."""
    return max(1, math.ceil(0.6 * letter * max(len(line) for text in texts for line in text.split("\n"))))
