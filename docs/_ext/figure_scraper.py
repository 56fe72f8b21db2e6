"""Figures of :mod:`ellipsoid.figures` on the pages of the examples.

They belong to no backend, so sphinx-gallery does not find them by itself. Here it is given those that the
names of a script hold.
"""

from pathlib import Path
from typing import Any
from weakref import WeakSet

from matplotlib.figure import Figure
from sphinx_gallery.scrapers import figure_rst

from ellipsoid import figures

_shown: WeakSet[Figure] = WeakSet()


def figure_scraper(block: tuple, block_vars: dict[str, Any], gallery_conf: dict[str, Any]) -> str:
    """Save the figures that a block of a script has made, and give the text that shows them."""
    values = block_vars["example_globals"].values()
    new = [value for value in values if isinstance(value, Figure) and value not in _shown]
    _shown.update(new)
    paths = [figures.save(figure, Path(next(block_vars["image_path_iterator"]))) for figure in new]
    return figure_rst([str(path) for path in paths], gallery_conf["src_dir"])
