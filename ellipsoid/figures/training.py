"""Losses over a training."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ellipsoid.figures.style import BLUE, VERMILLION, finish, new_figure, scale_y


def training_curve(history: Sequence[Mapping[str, Any]], *, title: str | None = None) -> Figure:
    """Show training and validation loss over the epochs.

    Parameters
    ----------
    history : sequence of mappings
        Records with keys ``epoch``, ``train_loss`` and ``validation_loss``. Other keys are ignored, and a
        loss that is missing or None is left out.
    title : str, optional
        Title of the figure.

    Raises
    ------
    ValueError
        If no record holds a loss.
    """
    figure = new_figure(3.2, title)
    axes = figure.add_subplot()
    for name, color, style, marker in (
        ("train_loss", BLUE, "-", "o"),
        ("validation_loss", VERMILLION, "--", "s"),
    ):
        records = [record for record in history if record.get(name) is not None]
        if records:
            axes.plot(
                [record["epoch"] for record in records],
                [record[name] for record in records],
                linestyle=style,
                marker=marker,
                markersize=3.5,
                color=color,
                label=name.removesuffix("_loss"),
            )
    if not axes.lines:
        raise ValueError("history: expected records with train_loss or validation_loss; got none")
    scale_y(axes, np.concatenate([line.get_ydata() for line in axes.lines]))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    finish(axes, "epoch", "loss")
    axes.legend(frameon=False, fontsize=9)
    return figure
