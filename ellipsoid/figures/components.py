"""Numbers over the components."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ellipsoid.figures.style import BLUE, finish, new_figure, scale_y
from ellipsoid.state import PCAState


def explained_variance(state: PCAState, *, title: str | None = None) -> Figure:
    """Share of the variance that each component holds, and that the first components hold together.

    The numbers of components that reach 90, 95 and 99 % are marked, as far as the state goes.
    """
    ratio = np.asarray(state.explained_variance_ratio, np.float64)
    cumulative = np.cumsum(ratio)
    number = np.arange(1, len(ratio) + 1)
    figure = new_figure(2.9, title)
    each, together = figure.subplots(1, 2)
    markers = {"marker": "o", "markersize": 3} if len(ratio) <= 64 else {}
    each.plot(number, ratio, color=BLUE, **markers)
    scale_y(each, ratio)
    finish(each, "component", "share of the variance")
    together.plot(number, cumulative, color=BLUE, **markers)
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
    finish(together, "number of components", "cumulative share")
    for axes in (each, together):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.yaxis.set_major_formatter(lambda share, _: f"{100 * share:g}%")
    return figure
