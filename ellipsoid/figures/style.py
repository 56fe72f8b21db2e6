"""What all figures share: page width, colours and axes."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import LogLocator, NullFormatter

PAGE_WIDTH = 7.5  # inches
DPI = 150
PAGE_PIXELS = round(PAGE_WIDTH * DPI)

GREY = "0.72"
BLUE = "#0072B2"
VERMILLION = "#D55E00"
INK = "0.15"


def new_figure(height: float, title: str | None) -> Figure:
    """Make an empty figure as wide as the page; height in inches."""
    layout = ConstrainedLayoutEngine(h_pad=0.08, w_pad=0.08)
    figure = Figure(figsize=(PAGE_WIDTH, height), dpi=DPI, layout=layout)
    if title:
        figure.suptitle(title, x=0.02, ha="left", fontsize=11, fontweight="bold", color=INK, parse_math=False)
    return figure


def scale_y(axes: Axes, values: np.ndarray) -> None:
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


def finish(axes: Axes, x_label: str, y_label: str) -> None:
    """Label the axes in the one size of letters, and take away what frames them needlessly."""
    axes.set_xlabel(x_label, fontsize=9)
    axes.set_ylabel(y_label, fontsize=9)
    axes.tick_params(which="both", labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)


def evenly_spaced_rows(array: np.ndarray, count: int) -> np.ndarray:
    """At most `count` rows, the first and the last among them."""
    return array[np.linspace(0, len(array) - 1, min(count, len(array))).round().astype(int)]


def scatter(axes: Axes, points: np.ndarray, areas: tuple[float, float], **style: Any) -> None:
    """Dots that shrink as they grow many, so that they do not run together; areas in square points."""
    area = float(np.clip(1500 / len(points), *areas))
    # A vector file of thousands of dots is large and slow to show.
    axes.scatter(*points.T, s=area, rasterized=True, **style)


def count_label(name: str, shown: int, total: int) -> str:
    """Name with the number of points, and how many of them are shown if not all."""
    return f"{name} ({total:,})" if shown == total else f"{name} ({shown:,} of {total:,})"
