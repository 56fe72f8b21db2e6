"""Page width, line styles, axes and argument checks that all figures share."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from jax.typing import ArrayLike
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from ellipsoid.checks import check_unmasked

PAGE_WIDTH = 7.5  # inches
DPI = 150
PAGE_PIXELS = round(PAGE_WIDTH * DPI)

GREY = "0.72"
BLUE = "#0072B2"
VERMILLION = "#D55E00"
INK = "0.15"

_DASHES = ("-", "--", "-.", ":", (0, (6, 1, 1, 1, 1, 1)), (0, (8, 3)), (0, (1, 2.5)), (0, (3, 1)))
_HUES = (BLUE, VERMILLION, "#009E73", INK, "#CC79A7", "#56B4E9", "#E69F00", "0.45")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")

#: Styles that distinguish the lines of a figure, with and without hues.
LINES: tuple[dict[str, Any], ...] = tuple(
    {"color": color, "linestyle": dashes, "linewidth": 1.4}
    for color, dashes in zip(_HUES, _DASHES, strict=True)
)
#: Styles that distinguish single marks.
MARKS: tuple[dict[str, Any], ...] = tuple(
    {"color": color, "marker": marker, "linestyle": "none"}
    for color, marker in zip(_HUES, _MARKERS, strict=True)
)


# --- input -----------------------------------------------------------------------------------------


def check_floats(name: str, values: ArrayLike, *shape: int | str, positive: bool = False) -> np.ndarray:
    """Return `values` as finite floats of this shape, in which a string stands for any length above 0.

    Raises
    ------
    ValueError
        If `values` has another shape, or holds values that are not finite or, for `positive`, not above 0.
    """
    array = np.asarray(check_unmasked(name, values))
    if array.ndim != len(shape) or not all(
        got >= 1 if isinstance(expected, str) else got == expected
        for got, expected in zip(array.shape, shape, strict=True)
    ):
        lengths = f"({', '.join(map(str, shape))}{',' * (len(shape) == 1)})"
        raise ValueError(f"{name}: expected shape {lengths}; got {array.shape}")
    if not np.issubdtype(array.dtype, np.floating):
        array = array.astype(np.float64)
    if not np.isfinite(array).all():
        raise ValueError(f"{name}: expected finite values; got NaN or infinity")
    if positive and array.min() <= 0:
        raise ValueError(f"{name}: expected values above 0; got {array.min():g}")
    return array


def check_series(
    name: str, series: Mapping[str, ArrayLike], *shape: int | str, positive: bool = False
) -> dict[str, np.ndarray]:
    """Return arrays by name, each checked by :func:`check_floats`.

    Raises
    ------
    ValueError
        If there are no arrays, more arrays than line styles, or an array that is not as described.
    """
    if not 1 <= len(series) <= len(LINES):
        raise ValueError(f"{name}: expected 1 to {len(LINES)} arrays; got {len(series)}")
    return {
        label: check_floats(f"{name}[{label!r}]", values, *shape, positive=positive)
        for label, values in series.items()
    }


def check_names(name: str, names: Sequence[str], count: int) -> list[str]:
    """Return `count` strings as a list.

    Raises
    ------
    ValueError
        If there is another number of strings.
    """
    if isinstance(names, str) or len(names) != count:
        raise ValueError(f"{name}: expected {count} strings; got {names!r}")
    return list(names)


# --- figure and axes -------------------------------------------------------------------------------


def new_figure(height: float, title: str | None) -> Figure:
    """Make an empty figure as wide as the page; height in inches."""
    layout = ConstrainedLayoutEngine(h_pad=0.08, w_pad=0.08)
    figure = Figure(figsize=(PAGE_WIDTH, height), dpi=DPI, layout=layout)
    if title:
        figure.suptitle(title, x=0.02, ha="left", fontsize=11, fontweight="bold", color=INK, parse_math=False)
    return figure


def finish(axes: Axes, x_label: str, y_label: str, title: str | None = None) -> None:
    """Label the axes in one font size, and remove the upper and right frame."""
    axes.set_xlabel(x_label, fontsize=9, parse_math=False)
    axes.set_ylabel(y_label, fontsize=9, parse_math=False)
    if title:
        axes.set_title(title, fontsize=9, loc="left", color=INK, parse_math=False)
    axes.tick_params(which="both", labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)


def legend_below(figure: Figure, handles: Sequence[Any], names: Sequence[str], **style: Any) -> None:
    """Add one legend for all axes, below them, where it covers no data."""
    columns = min(len(names), 3 if max(map(len, names)) > 24 else 4)
    style = {"ncols": columns, "frameon": False, "fontsize": 8, "handlelength": 3.2, **style}
    legend = figure.legend(handles, names, loc="outside lower center", **style)
    for text in legend.get_texts():
        text.set_parse_math(False)


def log_scale(axes: Axes, which: Literal["x", "y"], low: float, high: float) -> None:
    """Make an axis logarithmic, with ticks for values from `low` to `high`."""
    axes.set(**{f"{which}scale": "log"})
    axis = axes.xaxis if which == "x" else axes.yaxis
    # A range of few decades would otherwise have only one or two labels.
    ratio = high / low
    steps = range(1, 10) if ratio < 5 else (1, 2, 5) if ratio < 300 else (1,)
    axis.set_major_locator(LogLocator(subs=steps))
    axis.set_major_formatter(lambda value, _: f"{value:g}")
    axis.set_minor_formatter(NullFormatter())


def scale_y(axes: Axes, values: np.ndarray) -> None:
    """Start the y axis at 0, or make it logarithmic where the positive values span more than a decade."""
    positive = values[values > 0]
    if len(positive) == 0 or positive.max() < 10 * positive.min():
        axes.set_ylim(0, None)
    else:
        log_scale(axes, "y", positive.min(), positive.max())


def count_from_one(axes: Axes) -> None:
    """Put ticks of an x axis at whole numbers, with room for three digits each."""
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))


def percent(axis: Any) -> None:
    """Show shares as percentages."""
    axis.set_major_formatter(lambda share, _: f"{100 * share:g}%")


def signed(number: float) -> str:
    """Format a number with two decimals, and with the minus sign of the ticks."""
    return f"{number:.2f}".replace("-", "−")


def note_below(axes: Axes, lines: Sequence[str]) -> None:
    """Write lines of text in the lower right corner, where rising curves leave room."""
    ground = {"facecolor": "white", "edgecolor": "none", "pad": 2}
    axes.text(0.97, 0.06, "\n".join(lines), fontsize=8, bbox=ground, transform=axes.transAxes, ha="right")


def dots(count: int, line: int = 0) -> dict[str, Any]:
    """Choose marks for the `count` points of a line, unless they would touch; each line has its own."""
    return {"marker": _MARKERS[line], "markersize": 3} if count <= 64 else {}


# --- few marks for many numbers -------------------------------------------------------------------


def evenly_spaced_rows(array: np.ndarray, max_points: int) -> np.ndarray:
    """Select at most `max_points` evenly spaced rows, with the first and the last.

    Raises
    ------
    ValueError
        If `max_points` is below 1.
    """
    if max_points < 1:
        raise ValueError(f"max_points: expected at least 1; got {max_points}")
    return array[np.linspace(0, len(array) - 1, min(max_points, len(array))).round().astype(int)]


def histogram(
    values: np.ndarray, *, bins: int | None = None, reach: float = math.inf, log: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Compute the density of values in bins of equal width (equal ratio for `log`), and the bin edges.

    Values further than `reach` from the mean are counted in the total, but lie outside the bins.
    """
    mean = float(values.mean(dtype=np.float64))
    low, high = max(float(values.min()), mean - reach), min(float(values.max()), mean + reach)
    if low == high:
        low, high = (low / 1.05, high * 1.05) if log else (low - 0.5, high + 0.5)
    bins = bins or min(60, math.ceil(2 * len(values) ** (1 / 3)))  # the rule of Rice University
    edges = np.geomspace(low, high, bins + 1) if log else np.linspace(low, high, bins + 1)
    return np.histogram(values, edges)[0] / (len(values) * np.diff(edges)), edges


def scatter(axes: Axes, points: np.ndarray, areas: tuple[float, float], **style: Any) -> None:
    """Draw dots that are smaller for more points, within `areas` in square points."""
    area = float(np.clip(1500 / len(points), *areas))
    # A vector file with thousands of dots is large and slow to show.
    axes.scatter(*points.T, s=area, rasterized=True, **style)


def count_label(name: str, shown: int, total: int) -> str:
    """Format a name with the number of points, and the number shown if not all are."""
    return f"{name} ({total:,})" if shown == total else f"{name} ({shown:,} of {total:,})"
