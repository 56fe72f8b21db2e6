"""Fidelity of generated images against their diversity."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jax.typing import ArrayLike
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ellipsoid.figures.style import GREY, INK, LINES, MARKS, check_floats, finish, legend_below, new_figure

# Offsets of a dial value from its point, and its distances from other points and values; in typographic
# points.
_OFFSETS = np.array([(13, 6), (13, -6), (-13, 6), (-13, -6)])
_FROM_POINTS = (12.5, 5.5)
_FROM_TEXT = (18.0, 8.0)


class Curve(NamedTuple):
    """Diversity and fidelity of the settings of one family, in the order of its dial.

    Attributes
    ----------
    diversity, fidelity : arrays, shape (m,)
        Measurements of each setting.
    diversity_error, fidelity_error : arrays, shape (m,)
        Standard errors of these measurements.
    dial : array, shape (m,), optional
        Value of the setting that changes along the curve. It is written beside the points.
    """

    diversity: ArrayLike
    fidelity: ArrayLike
    diversity_error: ArrayLike
    fidelity_error: ArrayLike
    dial: ArrayLike | None = None


def fidelity_diversity(
    curves: Mapping[str, Curve],
    points: Mapping[str, Curve],
    *,
    x_label: str = "recall (diversity)",
    y_label: str = "precision (fidelity)",
    title: str | None = None,
) -> Figure:
    """Show fidelity over diversity, with a line for each family of settings and a mark for each single one.

    Parameters
    ----------
    curves : mapping of name to Curve
        Families, at most 8. The values of their dials are written where there is room.
    points : mapping of name to Curve
        Single settings (m = 1) for comparison, at most 8.
    x_label, y_label : str
        Labels of the axes.
    title : str, optional
        Title of the figure.

    Raises
    ------
    ValueError
        If there are neither curves nor points, if there are more than 8 of either, or if their arrays differ
        in length or hold values that are not finite.
    """
    checked = {name: _checked(f"curves[{name!r}]", curve) for name, curve in curves.items()}
    marks = {name: _checked(f"points[{name!r}]", point, 1) for name, point in points.items()}
    if not (checked or marks) or max(len(checked), len(marks)) > len(LINES):
        raise ValueError(
            f"curves, points: expected one or more, up to {len(LINES)} each; "
            f"got {len(checked)} and {len(marks)}"
        )
    figure = new_figure(5.6, title)
    axes = figure.add_subplot()
    handles = []
    for curve, line, mark in zip(checked.values(), LINES, MARKS, strict=False):
        style = {**line, "marker": mark["marker"], "markersize": 4, "zorder": 3}
        handles.append(_draw(axes, curve, style))
    for point, mark in zip(marks.values(), MARKS, strict=False):
        # Large hollow marks differ clearly from the points of curves.
        style = {**mark, "markersize": 9, "markerfacecolor": "none", "markeredgewidth": 1.4, "zorder": 4}
        handles.append(_draw(axes, point, style))
    axes.margins(0.06)
    finish(axes, x_label, y_label)
    axes.grid(color=GREY, linewidth=0.4, alpha=0.5)
    legend_below(figure, handles, [*checked, *marks])
    _write_dials(figure, axes, checked.values())
    return figure


class _Checked(NamedTuple):
    diversity: np.ndarray
    fidelity: np.ndarray
    diversity_error: np.ndarray
    fidelity_error: np.ndarray
    dial: np.ndarray | None


def _checked(name: str, curve: Curve, length: int | None = None) -> _Checked:
    diversity = check_floats(f"{name}.diversity", curve.diversity, "m" if length is None else length)

    def same(field: str) -> np.ndarray:
        return check_floats(f"{name}.{field}", getattr(curve, field), len(diversity))

    dial = None if curve.dial is None else same("dial")
    return _Checked(diversity, same("fidelity"), same("diversity_error"), same("fidelity_error"), dial)


def _draw(axes: Axes, curve: _Checked, style: dict[str, Any]) -> Any:
    bars = {"ecolor": style["color"], "elinewidth": 0.7, "capsize": 0}
    drawn = axes.errorbar(
        curve.diversity, curve.fidelity, curve.fidelity_error, curve.diversity_error, **style, **bars
    )
    for bar in drawn.lines[2]:
        bar.set_alpha(0.5)
    return drawn.lines[0]


def _write_dials(figure: Figure, axes: Axes, curves: Iterable[_Checked]) -> None:
    """Write dial values beside their points, unless they would cover other values or points."""
    figure.draw_without_rendering()  # the layout fixes the positions
    labels, points, written = [], [], []
    for curve in curves:
        at = np.stack([curve.diversity, curve.fidelity], axis=1)
        positions = axes.transData.transform(at) * 72 / figure.dpi
        points += list(positions)
        if curve.dial is not None:
            for i, (value, xy, position) in enumerate(zip(curve.dial, at, positions, strict=True)):
                labels.append((0 < i < len(at) - 1, f"{value:g}", xy, position))
    # The ends of each curve come first, since they suffice to read it.
    for _, text, xy, position in sorted(labels, key=lambda label: label[0]):
        for offset in _OFFSETS:
            spot = position + offset
            if _is_free(spot, points, _FROM_POINTS) and _is_free(spot, written, _FROM_TEXT):
                where = {"xytext": offset, "textcoords": "offset points", "ha": "center", "va": "center"}
                axes.annotate(text, xy, **where, fontsize=6.5, color=INK, zorder=5)
                written.append(spot)
                break


def _is_free(spot: np.ndarray, taken: Sequence[np.ndarray], room: tuple[float, float]) -> bool:
    return not any(np.all(np.abs(other - spot) < room) for other in taken)
