"""Distribution of each component, and its deviation from a Gaussian."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from jax.typing import ArrayLike
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from ellipsoid.figures.style import (
    BLUE,
    GREY,
    INK,
    MARKS,
    check_floats,
    check_names,
    check_series,
    count_from_one,
    finish,
    histogram,
    legend_below,
    new_figure,
    signed,
)

_MOST_COMPONENTS = 12
_HALF_WIDTH = math.sqrt(2 * math.log(2))  # half-width at half maximum of a standard Gaussian


def components(
    values: ArrayLike,
    names: Sequence[str],
    widths: Mapping[str, ArrayLike] | None = None,
    *,
    skewness: ArrayLike | None = None,
    kurtosis: ArrayLike | None = None,
    bins: int | None = None,
    title: str | None = None,
) -> Figure:
    """Show the distribution of each component, with the Gaussian of its mean and standard deviation.

    Parameters
    ----------
    values : array, shape (n, m)
        Components in latent units, with n >= 2 and m <= 12. All values are counted; those further than five
        standard deviations from the mean lie outside the picture.
    names : sequence of m strings
        Titles of the panels.
    widths : mapping of str to array, shape (m,), optional
        Gaussian-equivalent standard deviations by each half-width method, at most 8, in latent units. The
        marks stand at the corresponding half-widths at half maximum, which are 1.1774 times as large.
    skewness, kurtosis : arrays, shape (m,), optional
        Skewness and excess kurtosis, to write beside the distribution.
    bins : int, optional
        Number of bins. The default grows with the number of values, up to 60.
    title : str, optional
        Title of the figure.

    Raises
    ------
    ValueError
        If an argument is not as described, or a component is constant.
    """
    values = check_floats("values", values, "n", "m")
    n, m = values.shape
    if n < 2 or m > _MOST_COMPONENTS:
        raise ValueError(
            f"values: expected shape (n, m), n >= 2 and m <= {_MOST_COMPONENTS}; got {values.shape}"
        )
    names = check_names("names", names, m)
    scales = check_series("widths", widths, m, positive=True) if widths else {}
    moments: dict[str, np.ndarray] = {
        label: check_floats(argument, numbers, m)
        for argument, label, numbers in (
            ("skewness", "skewness", skewness),
            ("kurtosis", "excess kurtosis", kurtosis),
        )
        if numbers is not None
    }
    if bins is not None and bins < 1:
        raise ValueError(f"bins: expected at least 1; got {bins}")
    mean, std = values.mean(axis=0, dtype=np.float64), values.std(axis=0, dtype=np.float64)
    if not np.ptp(values, axis=0).all():
        constant = names[int(np.argmin(np.ptp(values, axis=0)))]
        raise ValueError(f"values: expected components that vary; got a constant {constant!r}")

    columns = min(m, 3)
    rows = math.ceil(m / columns)
    figure = new_figure(1.75 * rows + 0.8, title)
    for index, name in enumerate(names):
        axes = figure.add_subplot(rows, columns, index + 1)
        density, edges = histogram(values[:, index], bins=bins, reach=5 * std[index])
        axes.stairs(density, edges, fill=True, color=GREY)
        peak = _draw_gaussian(axes, mean[index], std[index])
        _mark_half_widths(axes, mean[index], [scale[index] for scale in scales.values()], peak)
        _note_moments(axes, {label: numbers[index] for label, numbers in moments.items()})
        axes.set_ylim(0, 1.3 * max(peak, density.max()))
        lowest, leftmost = index >= m - columns, index % columns == 0
        finish(axes, "value (latent units)" if lowest else "", "density" if leftmost else "", name)
    handles = [Patch(color=GREY), Line2D([], [], color=INK, linewidth=1.2)]
    handles += [Line2D([], [], markersize=5, **look) for look in MARKS[: len(scales)]]
    labels = [f"values ({n:,})", "Gaussian, same mean and std"]
    legend_below(figure, handles, [*labels, *(f"half-width: {name}" for name in scales)])
    return figure


def _draw_gaussian(axes: Axes, mean: float, std: float) -> float:
    """Draw the density of a Gaussian, and return its peak."""
    peak = 1 / (math.sqrt(2 * math.pi) * std)
    x = np.linspace(-4, 4, 161)
    axes.plot(mean + std * x, peak * np.exp(-(x**2) / 2), color=INK, linewidth=1.2)
    return peak


def _mark_half_widths(axes: Axes, mean: float, scales: Sequence[float], peak: float) -> None:
    # Marks of equal widths would cover each other at one height.
    heights = peak * (0.5 + 0.1 * (np.arange(len(scales)) - (len(scales) - 1) / 2))
    edge = {"markeredgecolor": "white", "markeredgewidth": 0.4}
    for look, height, scale in zip(MARKS, heights, scales, strict=False):
        ends = mean + _HALF_WIDTH * scale * np.array([-1, 1])
        axes.plot(ends, [height, height], markersize=4, **look, **edge)


def _note_moments(axes: Axes, moments: Mapping[str, float]) -> None:
    note = "\n".join(f"{label} {signed(number)}" for label, number in moments.items())
    # The side of the long tail has free space.
    left = moments.get("skewness", 0) < 0
    corner = {"transform": axes.transAxes, "ha": "left" if left else "right", "va": "top"}
    axes.text(0.01 if left else 0.99, 0.99, note, fontsize=7, **corner)


def component_statistics(
    skewness: ArrayLike,
    kurtosis: ArrayLike,
    distance: ArrayLike,
    anderson_darling: ArrayLike | None = None,
    *,
    noise: Mapping[str, float] | None = None,
    label: str = "component",
    title: str | None = None,
) -> Figure:
    """Show the deviation of each component from a Gaussian, over the number of the component.

    Parameters
    ----------
    skewness, kurtosis : arrays, shape (K,)
        Skewness and excess kurtosis, both 0 for a Gaussian.
    distance : array, shape (K,)
        Kolmogorov distance to the fitted Gaussian, in [0, 1].
    anderson_darling : array, shape (K,), optional
        Statistic of the Anderson-Darling test.
    noise : mapping of str to float, optional
        Size of each statistic in Gaussian samples with as many rows, by the name of an argument. It is drawn
        as a band, which is two-sided for skewness and kurtosis.
    label : str
        Name of the numbered items.
    title : str, optional
        Title of the figure.

    Raises
    ------
    ValueError
        If an argument is not as described.
    """
    skewness = check_floats("skewness", skewness, "K")
    statistics = {
        "skewness": (skewness, "skewness"),
        "kurtosis": (check_floats("kurtosis", kurtosis, len(skewness)), "excess\nkurtosis"),
        "distance": (100 * check_floats("distance", distance, len(skewness)), "Kolmogorov\ndistance (%)"),
    }
    if anderson_darling is not None:
        values = check_floats("anderson_darling", anderson_darling, len(skewness))
        statistics["anderson_darling"] = (values, "Anderson-\nDarling")
    noise = dict(noise or {})
    if not noise.keys() <= statistics.keys():
        raise ValueError(f"noise: expected names among {list(statistics)}; got {list(noise)}")

    figure = new_figure(1.35 * len(statistics) + 0.7, title)
    panels = figure.subplots(len(statistics), sharex=True, squeeze=False)[:, 0]
    number = np.arange(1, len(skewness) + 1)
    for axes, (key, (values, name)) in zip(panels, statistics.items(), strict=True):
        if key in noise:
            half_width = noise[key] * (100 if key == "distance" else 1)
            low = -half_width if key in ("skewness", "kurtosis") else 0
            axes.axhspan(low, half_width, color="0.87", linewidth=0, zorder=0)
        axes.plot(number, values, "o", color=BLUE, markersize=3 if len(number) <= 128 else 2)
        axes.axhline(np.median(values), color=INK, linestyle="--", linewidth=1)
        if values.min() >= 0:
            axes.set_ylim(0, None)
        count_from_one(axes)
        finish(axes, label if axes is panels[-1] else "", name)
    handles = [panels[0].lines[0], panels[0].lines[1], Patch(color="0.87")]
    labels = [label, "median", "Gaussian samples of this size"]
    shown = 3 if noise else 2
    legend_below(figure, handles[:shown], labels[:shown])
    figure.align_ylabels()
    return figure
