"""Numbers over the components: widths, variance, offset, and differences between draws and data."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jax.typing import ArrayLike
from matplotlib.figure import Figure

from ellipsoid.figures.style import (
    BLUE,
    GREY,
    INK,
    LINES,
    check_floats,
    check_series,
    count_from_one,
    dots,
    finish,
    histogram,
    legend_below,
    new_figure,
    note_below,
    percent,
    scale_y,
)
from ellipsoid.state import PCAState

_MOST_BARS = 24


def explained_variance(state: PCAState, *, title: str | None = None) -> Figure:
    """Show the share of variance of each component, and of the first components together.

    Marks show how many components reach 90, 95 and 99 %, if the state reaches them.

    Parameters
    ----------
    state : PCAState
        State whose explained variance is shown.
    title : str, optional
        Title of the figure.
    """
    ratio = np.asarray(state.explained_variance_ratio, np.float64)
    cumulative = np.cumsum(ratio)
    number = np.arange(1, len(ratio) + 1)
    figure = new_figure(2.9, title)
    each, together = figure.subplots(1, 2)
    each.plot(number, ratio, color=BLUE, **dots(len(ratio)))
    scale_y(each, ratio)
    finish(each, "component", "share of the variance")
    together.plot(number, cumulative, color=BLUE, **dots(len(ratio)))
    together.set(xlim=(0, None), ylim=(0, 1.03))
    notes = []
    for share in (0.9, 0.95, 0.99):
        # Rounded shares may sum to slightly less than the exact total.
        reached = cumulative >= share - 1e-6
        if reached.any():
            count = int(np.argmax(reached)) + 1
            together.plot([0, count, count], [share, share, 0], ":", color="0.4", linewidth=1, zorder=0)
            notes.append(f"{share:.0%}: {count} component{'s' * (count > 1)}")
    note_below(together, notes)
    finish(together, "number of components", "cumulative share")
    for axes in (each, together):
        count_from_one(axes)
        percent(axes.yaxis)
    return figure


def spectrum(
    std: ArrayLike,
    scales: Mapping[str, ArrayLike],
    original_std: ArrayLike | None = None,
    *,
    title: str | None = None,
) -> Figure:
    """Show the standard deviation of each component, and its half-widths relative to it.

    Parameters
    ----------
    std : array, shape (K,)
        Standard deviations of the scores, in latent units, above 0.
    scales : mapping of str to array, shape (K,)
        Half-widths (Gaussian-equivalent standard deviations) by the name of the method, at most 8, above 0.
    original_std : array, shape (D,), optional
        Standard deviations of the latent dimensions. They are shown in descending order, without zeros.
    title : str, optional
        Title of the figure.

    Raises
    ------
    ValueError
        If an argument is not as described.
    """
    std = check_floats("std", std, "K", positive=True)
    scales = check_series("scales", scales, len(std), positive=True) if scales else {}
    figure = new_figure(4.6 if scales else 3.2, title)
    panels = figure.subplots(1 + bool(scales), sharex=True, squeeze=False)[:, 0]
    handles, shown = [], [std]
    if original_std is not None:
        original = check_floats("original_std", original_std, "D")
        original = np.sort(original[original > 0])[::-1]
        order = np.arange(1, len(original) + 1)
        handles += panels[0].plot(order, original, color=GREY, linewidth=4, label="latent dimensions, sorted")
        shown.append(original)
    number = np.arange(1, len(std) + 1)
    handles += panels[0].plot(number, std, color=INK, linewidth=1.8, label="components", **dots(len(std)))
    scale_y(panels[0], np.concatenate(shown))
    finish(panels[0], "", "std (latent units)")
    if scales:
        for line, (name, scale) in enumerate(scales.items()):
            look = LINES[line] | dots(len(std), line)
            handles += panels[1].plot(number, scale / std, label=f"half-width: {name}", **look)
        panels[1].axhline(1, color=INK, linewidth=0.8, zorder=1)
        finish(panels[1], "", "half-width / std")
    panels[-1].set_xlabel("component", fontsize=9)
    count_from_one(panels[-1])
    legend_below(figure, handles, [str(handle.get_label()) for handle in handles])
    return figure


def offset(offset: ArrayLike, shares: ArrayLike, *, title: str | None = None) -> Figure:
    """Show the offset of the latents' centre from the origin, and which dimensions carry it.

    Parameters
    ----------
    offset : array, shape (D,)
        Mean of each latent dimension, in its standard deviations. The 24 largest magnitudes are shown.
    shares : array, shape (D,)
        Share of each dimension in the squared distance between origin and centre.
    title : str, optional
        Title of the figure.

    Raises
    ------
    ValueError
        If an argument is not as described.
    """
    offset = np.abs(check_floats("offset", offset, "D"))
    shares = check_floats("shares", shares, len(offset))
    figure = new_figure(2.9, title)
    each, together = figure.subplots(1, 2, width_ratios=(1.6, 1))
    order = np.argsort(-offset, kind="stable")[:_MOST_BARS]
    each.bar(np.arange(len(order)), offset[order], color=BLUE)
    each.set_xticks(np.arange(len(order)), [str(i + 1) for i in order], rotation=90)
    finish(each, "latent dimension", "|mean| (standard deviations)")
    each.tick_params(axis="x", labelsize=7, length=0)
    cumulative = np.cumsum(np.sort(shares)[::-1])
    together.plot(np.arange(1, len(shares) + 1), cumulative, color=BLUE, **dots(len(shares)))
    together.set(xlim=(0, None), ylim=(0, 1.03))
    count_from_one(together)
    percent(together.yaxis)
    finish(together, "number of latent dimensions", "share of the squared offset")
    return figure


def overshoot(ratios: Mapping[str, ArrayLike], *, title: str | None = None) -> Figure:
    """Show how much further points spread than the data, along each principal component.

    Parameters
    ----------
    ratios : mapping of str to array, shape (K,)
        Ratios of the standard deviation of the points to that of the data, by the name of the points. They
        are above 0; at most 8 sets of points are shown.
    title : str, optional
        Title of the figure.

    Raises
    ------
    ValueError
        If `ratios` is not as described.
    """
    first = next(iter(ratios.values()), ())
    ratios = check_series("ratios", ratios, len(np.atleast_1d(first)), positive=True)
    values = np.stack(list(ratios.values()))
    figure = new_figure(3.2, title)
    axes = figure.add_subplot()
    number = np.arange(1, values.shape[1] + 1)
    handles = [
        axes.plot(number, ratio, **LINES[line], **dots(len(number), line))[0]
        for line, ratio in enumerate(values)
    ]
    handles.append(axes.axhline(1, color=INK, linewidth=0.8, zorder=1))
    scale_y(axes, np.append(values, 1))
    count_from_one(axes)
    finish(axes, "component", "std of points / std of data")
    legend_below(figure, handles, [*ratios, "the data"])
    return figure


def comparison(
    std_ratio: ArrayLike, distance: ArrayLike, pair_difference: ArrayLike, *, title: str | None = None
) -> Figure:
    """Show how draws differ from data, in each component and in all pairs of components.

    Parameters
    ----------
    std_ratio : array, shape (K,)
        Ratio of the standard deviation of the draws to that of the data.
    distance : array, shape (K,)
        Kolmogorov distance between draws and data, in [0, 1].
    pair_difference : array, shape (P,)
        Largest difference in coverage (draws minus data) for each pair, in [-1, 1].
    title : str, optional
        Title of the figure.

    Raises
    ------
    ValueError
        If an argument is not as described.
    """
    std_ratio = check_floats("std_ratio", std_ratio, "K")
    distance = check_floats("distance", distance, len(std_ratio))
    pair_difference = check_floats("pair_difference", pair_difference, "P")
    figure = new_figure(2.7, title)
    widths, distances, pairs = figure.subplots(1, 3)
    number = np.arange(1, len(std_ratio) + 1)
    look: dict[str, Any] = {
        "marker": "o",
        "linestyle": "none",
        "color": BLUE,
        "markersize": 3 if len(number) <= 128 else 2,
    }
    widths.plot(number, std_ratio, **look)
    widths.axhline(1, color=INK, linewidth=0.8, zorder=1)
    finish(widths, "component", "std of draws / std of data")
    distances.plot(number, 100 * distance, **look)
    distances.set_ylim(0, None)
    finish(distances, "component", "Kolmogorov distance (%)")
    density, edges = histogram(100 * pair_difference)
    pairs.stairs(density, edges, fill=True, color=BLUE)
    pairs.axvline(0, color=INK, linewidth=0.8)
    finish(pairs, "difference in coverage\n(percentage points)", f"density of {len(pair_difference):,} pairs")
    for axes in (widths, distances):
        count_from_one(axes)
    return figure
