"""Files of figures, animations and sheets of images."""

import io
import math
import os
from pathlib import Path

import matplotlib as mpl
import numpy as np
from jax.typing import ArrayLike
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from PIL import Image

from ellipsoid.figures.image_grids import as_tiles
from ellipsoid.files import replace_file


def save(figure: Figure, path: str | os.PathLike[str], *, software: str | None = None) -> Path:
    """Write a figure as PNG or SVG, completely or not at all. Folders are created as needed.

    The same figure gives the same bytes: the file contains no date and no random names.

    Parameters
    ----------
    figure : Figure
        Figure to write.
    path : path
        File with the suffix ``.png`` or ``.svg``.
    software : str, optional
        Name of the program in the metadata of a PNG file, in place of Matplotlib.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    OSError
        If the file cannot be written.
    ValueError
        If the file has another suffix.

    Examples
    --------
    >>> import tempfile
    >>> from ellipsoid import figures
    >>> figure = figures.plot_distances({"latents": [1.0, 2.0, 2.5]}, xlabel="distance (latent units)")
    >>> figures.save(figure, f"{tempfile.mkdtemp()}/distances.png").name
    'distances.png'
    """
    path = Path(path)
    content = io.BytesIO()
    canvas = figure.canvas
    try:
        # Figure.savefig would draw everything twice, the first time for the layout alone.
        match path.suffix.lower():
            case ".png":
                FigureCanvasAgg(figure).print_png(
                    content, metadata=None if software is None else {"Software": software}
                )
            case ".svg":
                with mpl.rc_context({"svg.hashsalt": "ellipsoid"}):
                    FigureCanvasSVG(figure).print_svg(content, metadata={"Date": None})
            case suffix:
                raise ValueError(f"path: expected the suffix .png or .svg; got {suffix!r} in {path}")
    finally:
        figure.set_canvas(canvas)
    replace_file(path, content.getvalue())
    return path


def save_animation(frames: ArrayLike, path: str | os.PathLike[str], seconds: float = 4.0) -> Path:
    """Write images as an endless GIF, completely or not at all. Folders are created as needed.

    Small images are enlarged by a whole factor, so that the smaller side has at least 160 pixels. Each frame
    has its own 256 colours. The same frames give the same bytes.

    Parameters
    ----------
    frames : array, shape (n, H, W) or (n, H, W, C)
        Images as for :func:`image_grid`.
    path : path
        File with the suffix ``.gif``.
    seconds : float
        Duration of all frames together. A frame lasts at least 20 ms, in steps of 10 ms.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    OSError
        If the file cannot be written.
    ValueError
        If the frames are not images, `seconds` is not above 0, or the file has another suffix.
    """
    path = Path(path)
    if path.suffix.lower() != ".gif":
        raise ValueError(f"path: expected the suffix .gif; got {path.suffix!r} in {path}")
    replace_file(path, animation(frames, seconds))
    return path


def animation(frames: ArrayLike, seconds: float = 4.0) -> bytes:
    """Return the content of the GIF that :func:`save_animation` writes.

    Parameters
    ----------
    frames, seconds
        Arguments as for :func:`save_animation`.

    Raises
    ------
    ValueError
        If the frames are not images, or `seconds` is not above 0.
    """
    tiles = as_tiles("frames", frames)
    if not (math.isfinite(seconds) and seconds > 0):
        raise ValueError(f"seconds: expected a finite number above 0; got {seconds}")
    n, height, width, _ = tiles.shape
    times = math.ceil(160 / min(height, width))
    images = [
        Image.fromarray(tile)
        .quantize(256, dither=Image.Dither.NONE)
        .resize((times * width, times * height), Image.Resampling.NEAREST)
        for tile in tiles
    ]
    # Browsers slow down shorter frames.
    duration = max(20, round(100 * seconds / n) * 10)
    content = io.BytesIO()
    images[0].save(
        content, "GIF", save_all=True, append_images=images[1:], duration=duration, loop=0, optimize=False
    )
    return content.getvalue()


def save_sheet(images: ArrayLike, path: str | os.PathLike[str], *, columns: int) -> Path:
    """Write rows of images without gaps as a WebP file, completely or not at all.

    Images above 128 pixels are reduced by averaging blocks of pixels. The same images give the same bytes.

    Parameters
    ----------
    images : array, shape (n, H, W) or (n, H, W, C)
        Images as for :func:`image_grid`, row after row. Their number is a multiple of `columns`.
    path : path
        File with the suffix ``.webp``.
    columns : int
        Number of images in a row.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    OSError
        If the file cannot be written.
    ValueError
        If `images` does not hold images, if they do not fill the rows, or if the file has another suffix.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> path = save_sheet(np.zeros((6, 8, 8)), f"{tempfile.mkdtemp()}/black.webp", columns=3)
    >>> with Image.open(path) as sheet:
    ...     sheet.size
    (24, 16)
    """
    path, tiles = Path(path), as_tiles("images", images)
    if path.suffix.lower() != ".webp":
        raise ValueError(f"path: expected the suffix .webp; got {path.suffix!r} in {path}")
    if columns < 1 or len(tiles) % columns:
        raise ValueError(f"columns: expected a divisor of {len(tiles)}, the number of images; got {columns}")
    rows = tiles.reshape(-1, columns, *tiles.shape[1:])
    sheet = Image.fromarray(np.concatenate([np.concatenate(list(row), axis=1) for row in rows]))
    factor = math.ceil(max(tiles.shape[1:3]) / 128)
    content = io.BytesIO()
    (sheet.reduce(factor) if factor > 1 else sheet).save(content, "WEBP", quality=85, method=4)
    replace_file(path, content.getvalue())
    return path
