"""Figures of an evaluation: curves of fidelity over diversity, and images at equal precision."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ellipsoid.evaluation.candidates import GAUSSIAN, Family
from ellipsoid.evaluation.results import Result

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ellipsoid.figures.quality import Curve

#: Results of each family, in the order in which they were measured.
Grouped = dict[Family, list[Result]]

# A figure has line styles and marks for this many families.
_MOST_FAMILIES = 8


def draw_curves(results: Sequence[Result]) -> "dict[str, Figure]":
    """Draw the curves of families as figures by name. Figures without results are left out.

    Parameters
    ----------
    results : sequence of Result
        Results to draw, at least one.

    Returns
    -------
    dict of str to Figure
        Figures by the names of their files.

    Raises
    ------
    ValueError
        If there are no results.
    """
    grouped = by_family(results)
    points = {family: same for family, same in grouped.items() if len(same) == 1}
    curves = {family: same for family, same in grouped.items() if len(same) > 1}
    fewer = [family for family in curves if family.kind == "truncated"]
    whole = [family for family in curves if family.kind == "region" and _is_truncated_in(fewer, family)]
    regions = [family for family in curves if family.kind == "region" and family.law in ("uniform", "normal")]
    main = [family for family in curves if not _is_aside(family)]
    if not main and not points:
        main = list(curves)

    def draw(
        title: str, families: Sequence[Family], points: Grouped, x: str = "recall", y: str = "precision"
    ) -> "Figure":
        from ellipsoid.figures.quality import fidelity_diversity

        shown = {family: same for family, same in curves.items() if family in families}
        return fidelity_diversity(
            {family.name: _curve(same, x, y) for family, same in best_families(shown).items()},
            {family.name: _curve(same, x, y) for family, same in best_families(points).items()},
            x_label=f"{x} (diversity)",
            y_label=f"{y} (fidelity)",
            title=f"{title} (numbers: spread of the draws)",
        )

    drawings = {
        "fidelity_diversity": draw("Recall and precision", main, points),
        "coverage_density": draw("Coverage and density", main, points, "coverage", "density"),
    }
    if regions:
        drawings["regions"] = draw("Recall and precision of three regions", regions, {})
    if fewer:
        drawings["components"] = draw("Recall and precision with fewer components", [*whole, *fewer], {})
    return drawings


def by_family(results: Sequence[Result]) -> Grouped:
    """Group results by family, in the order of the first result of each family."""
    grouped: Grouped = {}
    for result in results:
        grouped.setdefault(result.family, []).append(result)
    return grouped


def best_families(grouped: Grouped, count: int = _MOST_FAMILIES) -> Grouped:
    """Select the families for one figure, in their order: the Gaussian, and those with the best scores."""

    def rank(family: Family) -> tuple[bool, Any]:
        return family == GAUSSIAN, max(result.measurements.f_score() for result in grouped[family])

    kept = sorted(grouped, key=rank, reverse=True)[:count]
    return {family: same for family, same in grouped.items() if family in kept}


def draw_equal_precision(results: Sequence[Result]) -> "Figure":
    """Draw images of each family at equal precision.

    Each family is shown by its candidate whose precision is nearest to that of the best single region.

    Parameters
    ----------
    results : sequence of Result
        Results to draw, at least one.

    Raises
    ------
    ValueError
        If there are no results.
    """
    from ellipsoid.figures import strips

    regions = [result for result in results if result.family.kind == "region"] or list(results)
    precision = max(regions, key=lambda result: result.measurements.f_score()).measurements.precision.value
    rows, labels = [], []
    for same in by_family(results).values():
        nearest = min(same, key=lambda result: abs(result.measurements.precision.value - precision))
        rows.append(nearest.examples)
        shown = nearest.measurements
        labels.append(f"{nearest.name}: {shown.precision.value:.2f}, {shown.recall.value:.2f}")
    title = f"Draws at a precision near {precision:.2f} (candidate: precision, recall)"
    return strips(rows, labels, title=title)


def _is_truncated_in(fewer: Sequence[Family], whole: Family) -> bool:
    return any((family.law, family.region) == (whole.law, whole.region) for family in fewer)


def _is_aside(family: Family) -> bool:
    """Whether the family has a figure of its own: fewer components, or a region that is not pairwise."""
    return family.kind == "truncated" or (family.kind == "region" and family.region != "pairwise")


def _curve(results: Sequence[Result], x: str, y: str) -> "Curve":
    from ellipsoid.figures.quality import Curve

    (diversity, x_errors), (fidelity, y_errors) = (
        np.array([getattr(result.measurements, name) for result in results]).T for name in (x, y)
    )
    spreads = np.array([result.spread for result in results], np.float64)
    return Curve(diversity, fidelity, x_errors, y_errors, None if np.isnan(spreads).any() else spreads)
