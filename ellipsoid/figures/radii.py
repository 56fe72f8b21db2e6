"""Distances of latents from a centre, Mahalanobis distances, and gauges."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from jax.typing import ArrayLike
from matplotlib.figure import Figure
from matplotlib.legend_handler import HandlerTuple
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from scipy import special

from ellipsoid.figures.style import (
    BLUE,
    GREY,
    INK,
    LINES,
    VERMILLION,
    check_floats,
    check_series,
    finish,
    histogram,
    legend_below,
    log_scale,
    new_figure,
    note_below,
    percent,
)

_MOST_QUANTILES = 2000


def plot_distances(
    groups: Mapping[str, ArrayLike], *, xlabel: str, reference: str | None = None, title: str | None = None
) -> Figure:
    """Show distributions of distances, each scaled to its own peak.

    The axis is logarithmic if the distances span a factor of more than 10.

    Parameters
    ----------
    groups : mapping of str to array, shape (n,)
        Groups of distances by name, at most 8. The distances are at least 0; groups may differ in size.
    xlabel : str
        Name and unit of the distance.
    reference : str, optional
        Name of the group that is filled in grey, for comparison. The default is the first group.
    title : str, optional
        Title of the figure.

    Raises
    ------
    ValueError
        If an argument is not as described.
    """
    groups = check_series("groups", groups, "n")
    low, high = min(v.min() for v in groups.values()), max(v.max() for v in groups.values())
    if low < 0:
        raise ValueError(f"groups: expected distances of at least 0; got {low:g}")
    reference = next(iter(groups)) if reference is None else reference
    if reference not in groups:
        raise ValueError(f"reference: expected one of {list(groups)}; got {reference!r}")
    log = 0 < low < high / 10
    figure = new_figure(3.2, title)
    axes = figure.add_subplot()
    handles = []
    others = iter(LINES)
    for name, values in groups.items():
        density, edges = histogram(values, log=log)
        density = density / density.max()
        if name == reference:
            axes.stairs(density, edges, fill=True, color=GREY, zorder=0)
            handles.append(Patch(color=GREY))
        else:
            look = next(others)
            axes.stairs(density, edges, **look)
            handles.append(Line2D([], [], **look))
    if log:
        log_scale(axes, "x", low, high)
    axes.set_ylim(0, 1.05)
    finish(axes, xlabel, "density / its peak")
    legend_below(figure, handles, list(groups))
    return figure


def mahalanobis(
    squares: ArrayLike, k: int, core: ArrayLike | None = None, *, title: str | None = None
) -> Figure:
    r"""Compare squared Mahalanobis distances with those of a Gaussian, which are chi-square distributed.

    The left panel plots quantiles against quantiles, with both tails. The right panel shows the distribution
    of the distances; its density for a Gaussian is :math:`2^{1-k/2} d^{k-1} e^{-d^2/2} / \Gamma(k/2)`.

    Parameters
    ----------
    squares : array, shape (n,)
        Squared distances of all latents, above 0.
    k : int
        Number of dimensions, at least 1.
    core : array, shape (m,), optional
        Squared distances by the mean and covariance of the core.
    title : str, optional
        Title of the figure.

    Raises
    ------
    ValueError
        If an argument is not as described.
    """
    sets = {"latents": check_floats("squares", squares, "n", positive=True)}
    if core is not None:
        sets["by the core"] = check_floats("core", core, "m", positive=True)
    if k < 1:
        raise ValueError(f"k: expected at least 1; got {k}")
    figure = new_figure(3.5, title)
    quantiles, shape = figure.subplots(1, 2)
    looks: tuple[dict[str, Any], ...] = ({"color": BLUE, "marker": "o"}, {"color": VERMILLION, "marker": "x"})
    ends = []
    for look, values in zip(looks, sets.values(), strict=False):
        ranks = _ranks(len(values))
        observed = np.sort(values)[ranks]
        expected = special.chdtri(k, 1 - (ranks + 0.5) / len(values))
        quantiles.plot(expected, observed, linestyle="none", markersize=3, rasterized=True, **look)
        ends += [expected[0], expected[-1], observed[0], observed[-1]]
    low, high = min(ends), max(ends)
    equal = [min(ends[::4]), max(ends[1::4])]
    quantiles.plot(equal, equal, color=INK, linewidth=1)
    if high > 100 * low:
        log_scale(quantiles, "x", *equal)
        log_scale(quantiles, "y", low, high)
    finish(quantiles, f"quantile of chi-square, {k} dimensions", "quantile of the squared distances")

    shape.stairs(*histogram(np.sqrt(sets["latents"])), fill=True, color=GREY)
    if "by the core" in sets:
        shape.stairs(
            *histogram(np.sqrt(sets["by the core"])), color=VERMILLION, linestyle="--", linewidth=1.4
        )
    d = np.linspace(math.sqrt(low), math.sqrt(high), 400)
    log_density = (1 - k / 2) * math.log(2) + (k - 1) * np.log(d) - d**2 / 2 - special.gammaln(k / 2)
    shape.plot(d, np.exp(log_density), color=INK, linewidth=1.2)
    shape.set_ylim(0, None)
    finish(shape, "Mahalanobis distance", "density")
    handles = [
        (Line2D([], [], linestyle="none", markersize=4, **looks[0]), Patch(color=GREY)),
        Line2D([], [], markersize=4, linestyle="--", **looks[1]),
    ][: len(sets)]
    names = [f"{name} ({len(values):,})" for name, values in sets.items()]
    legend_below(
        figure,
        [*handles, Line2D([], [], color=INK, linewidth=1.2)],
        [*names, "Gaussian"],
        handler_map={tuple: HandlerTuple(ndivide=None)},
    )
    return figure


def plot_gauge(
    gauges: ArrayLike,
    joint_levels: ArrayLike,
    joint_coverage: ArrayLike,
    marks: Mapping[float, float],
    *,
    title: str | None = None,
) -> Figure:
    """Show the share of the latents inside the ellipses of all pairs at each level, and that of a Gaussian.

    Parameters
    ----------
    gauges : array, shape (n,)
        Smallest level at which each row lies inside the ellipses of all pairs, in standard deviations.
    joint_levels, joint_coverage : arrays, shape (m,)
        Levels in ascending order, and the share of a Gaussian inside the ellipses of all pairs there.
    marks : mapping of float to float
        Levels to mark, by the share of the latents inside: ``{0.5: 3.1}``.
    title : str, optional
        Title of the figure.

    Raises
    ------
    ValueError
        If an argument is not as described.
    """
    gauges = np.sort(check_floats("gauges", gauges, "n"))
    joint_levels = check_floats("joint_levels", joint_levels, "m")
    joint_coverage = check_floats("joint_coverage", joint_coverage, len(joint_levels))
    if (np.diff(joint_levels) < 0).any():
        raise ValueError("joint_levels: expected ascending levels; got descending ones")
    figure = new_figure(3.3, title)
    axes = figure.add_subplot()
    ranks = _ranks(len(gauges))
    # The step at rank i leads to the share (i + 1) / n.
    (data,) = axes.plot(gauges[ranks], (ranks + 1) / len(gauges), color=BLUE, drawstyle="steps-post")
    (gaussian,) = axes.plot(joint_levels, joint_coverage, "--", color=INK)
    for share, level in marks.items():
        axes.plot([0, level, level], [share, share, 0], ":", color="0.4", linewidth=1, zorder=0)
    note_below(axes, [f"{100 * share:g}%: level {level:.2f}" for share, level in marks.items()])
    # A few outliers would otherwise take up most of the width.
    inside = joint_levels[joint_coverage < 0.999]
    high = max(np.quantile(gauges, 0.999), *inside[-1:], *marks.values())
    axes.set(xlim=(0, 1.05 * high), ylim=(0, 1.03))
    percent(axes.yaxis)
    finish(axes, "level (standard deviations)", "share inside the ellipses of all pairs")
    legend_below(figure, [data, gaussian], [f"latents ({len(gauges):,})", "Gaussian"])
    return figure


def _ranks(n: int) -> np.ndarray:
    """Select at most 2,000 ranks of `n` sorted values: evenly spaced, and denser in both tails."""
    if n <= _MOST_QUANTILES:
        return np.arange(n)
    middle = np.linspace(0, n - 1, _MOST_QUANTILES // 2).round()
    tail = np.geomspace(1, n / 2, _MOST_QUANTILES // 4).round() - 1
    return np.unique(np.concatenate([middle, tail, n - 1 - tail])).astype(int)
