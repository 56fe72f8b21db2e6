import numpy as np
import pytest
from figure_checks import assert_legible, drawn_words

from ellipsoid import figures
from ellipsoid.figures import Curve


def made_up_curve(shift=0.0, n=6, dial=True):
    """Make results whose precision falls and recall rises with the dial."""
    t = np.linspace(0, 1, n)
    errors = np.full(n, 0.01)
    return Curve(
        0.1 + 0.7 * t + shift, 0.95 - 0.5 * t**2 + shift, errors, 2 * errors, t + 0.4 if dial else None
    )


def made_up_point(x, y):
    return Curve([x], [y], [0.01], [0.01])


@pytest.fixture
def figure():
    curves = {f"family {i}": made_up_curve(0.02 * i) for i in range(8)}
    points = {f"point {i}": made_up_point(0.5 + 0.05 * i, 0.3) for i in range(8)}
    return figures.fidelity_diversity(curves, points, title="Fidelity and diversity")


def test_sixteen_families_can_be_told_apart_and_read(figure):
    assert_legible(figure)
    (axes,) = figure.axes
    looks = {
        (line.get_color(), line.get_linestyle(), line.get_marker(), line.get_markerfacecolor() == "none")
        for line in axes.lines
    }
    in_grey = {look[1:] for look in looks}
    assert len(axes.lines) == len(looks) == len(in_grey) == 16
    names = {f"family {i}" for i in range(8)} | {f"point {i}" for i in range(8)}
    assert names <= set(drawn_words(figure))


def test_points_and_errors_are_where_they_belong():
    curve = made_up_curve()
    figure = figures.fidelity_diversity({"a": curve}, {"b": made_up_point(0.3, 0.4)})
    (axes,) = figure.axes
    line, point = axes.lines
    np.testing.assert_array_equal(line.get_xydata(), np.stack([curve.diversity, curve.fidelity], axis=1))
    np.testing.assert_array_equal(point.get_xydata(), [[0.3, 0.4]])
    horizontal, vertical = (np.array(bars.get_segments()) for bars in axes.collections[:2])
    np.testing.assert_allclose(np.ptp(horizontal[:, :, 0], axis=1), 2 * curve.diversity_error)
    np.testing.assert_allclose(np.ptp(vertical[:, :, 1], axis=1), 2 * curve.fidelity_error)


def test_dial_values_stand_at_their_points_where_there_is_room():
    curve = made_up_curve()
    figure = figures.fidelity_diversity({"a": curve}, {})
    assert_legible(figure)
    (axes,) = figure.axes
    written = {text.get_text(): text.xy for text in axes.texts}
    assert written.keys() == {f"{value:g}" for value in curve.dial}
    for value, x, y in zip(curve.dial, curve.diversity, curve.fidelity, strict=True):
        np.testing.assert_array_equal(written[f"{value:g}"], (x, y))
    crowd = made_up_curve(n=200)
    crowd = figures.fidelity_diversity({"a": crowd._replace(dial=crowd.dial.round(2))}, {})
    assert_legible(crowd)
    assert 20 < len(crowd.axes[0].texts) < 200
    assert not figures.fidelity_diversity({"a": made_up_curve(dial=False)}, {}).axes[0].texts


@pytest.mark.parametrize(
    ("curves", "points", "message"),
    [
        ({}, {}, "curves, points: expected one or more, up to 8 each; got 0 and 0"),
        ({str(i): made_up_curve() for i in range(9)}, {}, "got 9 and 0"),
        (
            {"a": made_up_curve()._replace(fidelity=[0.5])},
            {},
            r"'a'\].fidelity: expected shape \(6,\)",
        ),
        ({"a": made_up_curve()._replace(dial=[1])}, {}, r"curves\['a'\].dial: expected shape \(6,\)"),
        ({}, {"b": made_up_curve()}, r"points\['b'\].diversity: expected shape \(1,\)"),
        ({}, {"b": made_up_point(np.nan, 1)}, "expected finite values"),
    ],
)
def test_what_cannot_be_drawn(curves, points, message):
    with pytest.raises(ValueError, match=message):
        figures.fidelity_diversity(curves, points)
