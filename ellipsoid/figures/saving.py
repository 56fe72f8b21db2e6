"""Figures as files."""

import io
import os
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from ellipsoid.files import replace_file


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
