"""Descriptions of figures in words, for readers who cannot see them."""

from matplotlib.figure import Figure

# A screen reader would take too long for more names.
_MOST = 4


def described(figure: Figure) -> str:
    """Describe a figure by its axes and the names of its curves.

    Parameters
    ----------
    figure : Figure
        Figure to describe.

    Returns
    -------
    str
        One sentence.

    Examples
    --------
    >>> figure = Figure()
    >>> axes = figure.add_subplot(xlabel="level", ylabel="share")
    >>> lines = axes.plot([0, 1], label="latents") + axes.plot([1, 0], label="draws")
    >>> described(figure)
    'Chart of share against level, with latents and draws.'
    """
    plots, n_images, names = [], 0, []
    for axes in figure.axes:
        if axes.images and not axes.get_xlabel():
            n_images += 1
        elif axes.get_xlabel() or axes.get_ylabel():
            words = [axes.get_ylabel(), axes.get_xlabel()]
            plots.append(" against ".join(filter(None, words)))
        names += [name for name in axes.get_legend_handles_labels()[1] if not name.startswith("_")]
    # A name that contains another one replaces it: charts may share an axis.
    plots = [plot for plot in plots if not any(plot != other and plot in other for other in plots)]
    parts = [f"Chart of {_listed(plots)}"] if plots else []
    if n_images:
        parts.append("Grid of images" if n_images == 1 else f"{n_images} grids of images")
    text = " and ".join(parts) or "Drawing"
    return f"{text}, with {_listed(names)}." if names else f"{text}."


def _listed(words: list[str]) -> str:
    *most, last = dict.fromkeys(" ".join(word.split()) for word in words)
    if len(most) > _MOST:
        most, last = most[:_MOST], "more"
    return f"{', '.join(most)} and {last}" if most else last
