"""Which results are drawn in which figure."""

import pytest
from evaluation_toys import made_up_result
from matplotlib.text import Text

from ellipsoid.evaluation import FAMILIES, GAUSSIAN, RECONSTRUCTIONS, Family
from ellipsoid.evaluation.drawings import best_families, by_family, draw_curves, draw_equal_precision


def curve(family, *, best=0.5):
    return [made_up_result(family, 1 - spread, best * spread, spread=spread) for spread in (0.4, 0.7)]


def texts_of(figure):
    return {text.get_text() for text in figure.findobj(Text) if text.get_visible()}


def drawn_families(figure, names):
    return texts_of(figure).intersection(names)


def test_each_figure_shows_its_families():
    truncated = Family("redraw, 50 components", "truncated", "redraw", "pairwise", 50)
    mixture = Family("mixture of 10, K 60", "mixture", "normal", "pairwise", 60, 10)
    families = [*FAMILIES.values(), truncated, mixture, GAUSSIAN]
    results = [result for family in families for result in curve(family)]
    figures = draw_curves([*results, made_up_result(RECONSTRUCTIONS, 0.9, 0.9)])
    names = [family.name for family in families] + [RECONSTRUCTIONS.name]
    assert {name: drawn_families(figure, names) for name, figure in figures.items()} == {
        "fidelity_diversity": (
            main := {
                *("redraw", "sequential", "uniform", "normal"),
                *(mixture.name, GAUSSIAN.name, RECONSTRUCTIONS.name),
            }
        ),
        "coverage_density": main,
        "regions": {name for name in FAMILIES if name not in ("redraw", "sequential")},
        "components": {"redraw", truncated.name},
    }


def test_figures_are_told_apart_by_what_families_are_and_not_by_their_names():
    """A curve of the user's own may end in the words of one of ours."""
    names = ("mine, ellipsoid", "mine of 5 components")
    figures = draw_curves([result for name in names for result in curve(name)])
    assert set(figures) == {"fidelity_diversity", "coverage_density"}
    assert drawn_families(figures["fidelity_diversity"], names) == set(names)


def test_curves_of_lesser_regions_alone_are_drawn():
    names = ("uniform, box", "normal, ellipsoid")
    figures = draw_curves([result for name in names for result in curve(name)])
    assert set(figures) == {"fidelity_diversity", "coverage_density", "regions"}
    for name in ("fidelity_diversity", "regions"):
        assert drawn_families(figures[name], names) == set(names)


def test_the_gaussian_is_drawn_however_many_curves_are_better():
    curves = {Family(f"curve {i}"): curve(f"curve {i}", best=0.9) for i in range(9)}
    gaussian = curve(GAUSSIAN, best=0.1)
    assert curves[Family("curve 0")][0].measurements.f_score() > gaussian[0].measurements.f_score()
    shown = best_families(curves | {GAUSSIAN: gaussian})
    assert [family.name for family in shown] == [*(f"curve {i}" for i in range(7)), "Gaussian"]


def test_families_keep_the_order_in_which_they_were_measured():
    results = [made_up_result(name, 0.5, 0.5, spread=s) for name, s in (("b", 1), ("a", 1), ("b", 2))]
    grouped = by_family(results)
    assert [(family.name, len(same)) for family, same in grouped.items()] == [("b", 2), ("a", 1)]


@pytest.mark.parametrize("ours", [True, False])
def test_families_are_shown_at_the_precision_of_the_best_single_region(ours):
    uniform = [("uniform", 0.9, 0.2, 0.4), ("uniform", 0.6, 0.6, 0.7)] if ours else []
    others = [("box", 0.55, 0.3, None), (GAUSSIAN, 0.95, 0.9, 0.4), (GAUSSIAN, 0.7, 0.3, 1.0)]
    results = [made_up_result(name, p, r, spread=spread) for name, p, r, spread in (*uniform, *others)]
    texts = " ".join(texts_of(draw_equal_precision(results)))
    # Without any region, the precision is that of the best of all.
    shown = "Gaussian, spread 1" if ours else "Gaussian, spread 0.4"
    expected = ("0.60", "uniform, spread 0.7", shown) if ours else ("0.95", shown)
    for words in expected:
        assert words in texts
    assert ("Gaussian, spread 0.4" in texts) != ours
