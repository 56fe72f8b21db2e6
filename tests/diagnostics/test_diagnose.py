"""All measures together, and the concerns that they raise."""

import math

import numpy as np
import pytest
from diagnostic_latents import gaussian, latents_of

import ellipsoid as el
from ellipsoid import diagnostics as dg


def concerns_of(state, latents):
    """Give the texts of the concerns about a state's latents, by their names."""
    verdict = dg.assess(state, dg.diagnose(state, latents))
    return {concern.name: concern.text for concern in verdict.concerns}


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        ("gaussian", set()),
        ("two clusters", {"clusters"}),
        ("banana", {"dependent"}),
        ("heavy tails", {"heavy_tails"}),
        ("wide outskirts", {"heavy_tails"}),
        ("box", {"flat"}),
        ("ball", {"flat"}),
        ("skewed", {"heavy_tails", "skewed"}),
        ("one odd component", {"component"}),
    ],
)
@pytest.mark.parametrize(("n", "d"), [(2_000, 16), pytest.param(600, 32, marks=pytest.mark.slow)])
def test_each_failure_of_an_assumption_raises_its_concern_and_no_other(case, expected, n, d):
    latents = latents_of(case, n, d)
    state = el.fit(latents)
    verdict = dg.assess(state, dg.diagnose(state, latents))
    assert {concern.name for concern in verdict.concerns} == expected
    if case == "gaussian":
        assert verdict.headline.startswith("The latents are close to Gaussian")
        assert verdict.law == "normal"
        assert verdict.level == pytest.approx(el.joint_level(0.9, d), rel=0.05)
    elif expected == {"flat"}:
        assert verdict.law == "uniform"
        assert 2.3 < verdict.level < math.sqrt(6)
    else:
        assert (verdict.law, verdict.level) == ("redraw", el.DEFAULT_LEVEL)


@pytest.mark.slow
@pytest.mark.parametrize(("n", "d"), [(60, 2), (100, 10), (300, 2)])
def test_few_latents_of_a_gaussian_raise_no_concern(n, d):
    alarms = 0
    for seed in range(6):
        latents = gaussian(n, d, seed)
        state = el.fit(latents)
        alarms += bool(concerns_of(state, latents))
    assert alarms <= 1


def test_axes_that_are_not_those_of_the_latents_are_said_to_be_so():
    latents = latents_of("gaussian", 2_000, 16)
    turned = latents[:, ::-1] * np.float32([1] * 15 + [4])
    state = el.fit(latents)
    concerns = concerns_of(state, turned)
    assert "fit it to them" in concerns["dependent"]


@pytest.mark.slow
def test_few_images_and_bad_half_widths_are_concerns():
    few = gaussian(200, 32)
    state = el.fit(few)
    assert set(concerns_of(state, few)) == {"few_images"}
    # Components of widths 1 to 1/1000 are read in intervals of one common width.
    narrow = gaussian(2_000, 16) * np.geomspace(1, 1e-3, 16).astype(np.float32)
    state = el.fit(narrow, half_width="histogram_raw")
    assert set(concerns_of(state, narrow)) == {"half_widths"}


def test_numbers_of_a_gaussian_state():
    latents = latents_of("gaussian", 6_000, 16)
    state = el.fit(latents)
    measured = dg.diagnose(state, latents)
    summary = measured.summary()
    assert (summary["n"], summary["n_features"], summary["n_components"]) == (6_000, 16, 16)
    assert summary["correlation"]["strongest_before"] > 0.2
    assert summary["correlation"]["strongest_after"] < 1e-5
    for share, level in measured.levels_holding.items():
        exact = el.joint_level(share, 16)
        slope = (el.joint_coverage(exact + 0.01, 16) - el.joint_coverage(exact - 0.01, 16)) / 0.02
        assert abs(level - exact) < 5 * math.sqrt(share * (1 - share) / 6_000) / slope
    np.testing.assert_array_equal(measured.gauges <= 3, el.contains(state, latents, level=3.0, tolerance=0))


@pytest.mark.slow
def test_diagnose_works_with_fewer_components_than_dimensions_and_few_rows():
    latents = latents_of("gaussian", 60, 6)
    state = el.fit(latents, n_components=2)
    measured = dg.diagnose(state, latents)
    assert measured.scores.shape == (60, 2)
    assert measured.original.mean.shape == (6,)
    verdict = dg.assess(state, measured)
    left_out = 1 - float(state.explained_variance_ratio.sum())
    assert any(
        "2 of 6 components hold" in sentence and f"leaves out the other {left_out:.1%}" in sentence
        for sentence in verdict.findings
    )
    wide = latents_of("gaussian", 10, 20)
    with pytest.warns(UserWarning, match="dropped"):
        state = el.fit(wide)
    assert dg.diagnose(state, wide).normality is None


def test_diagnose_refuses_what_it_cannot_measure():
    latents = gaussian(100, 4)
    state = el.fit(latents)
    with pytest.raises(
        TypeError, match=r"state: expected one PCAState; for a mixture, pass mixture\.shared or"
    ):
        dg.diagnose(el.fit_mixture(latents, 2), latents)
    with pytest.raises(ValueError, match="latents: expected 4 columns"):
        dg.diagnose(state, latents[:, :3])
    with pytest.raises(ValueError, match="NaN"):
        dg.diagnose(state, np.full((10, 4), np.nan))
    with pytest.raises(ValueError, match="at least 8 rows"):
        dg.diagnose(state, latents[:5])
    with pytest.raises(ValueError, match="at least 2 components"):
        dg.diagnose(state.truncate(1), latents)
    with pytest.raises(
        ValueError, match="covariance: expected correlations between -1 and 1; got collinear columns 0 and 1"
    ):
        dg.calibration(latents, np.where(np.eye(4) > 0, 1.0, [[0, 1, 0, 0], [1, 0, 0, 0], [0] * 4, [0] * 4]))
    with pytest.raises(ValueError, match="covariance: expected shape"):
        dg.calibration(latents, np.eye(3))
    with pytest.raises(ValueError, match="at least 2 columns"):
        dg.calibration(latents[:, :1], np.eye(1))


def test_measures_refuse_units_and_columns_that_are_none():
    rows = gaussian(100, 3)
    for scale in ([1, 1], [1, 1, 0], [1, 1, np.nan], 1.0):
        for measure in (dg.distances, lambda rows, scale: dg.compare(rows, rows, scale)):
            with pytest.raises(ValueError, match="scale: expected 3 finite numbers above 0; got"):
                measure(rows, scale)
    with pytest.raises(ValueError, match=r"points: expected 2 columns; got shape \(100, 3\)"):
        dg.half_maximum(rows)
    rows[:, 1] = 1
    for measure, name in ((dg.clusters, "scores"), (dg.dependence, "values")):
        with pytest.raises(ValueError, match=f"{name}: expected columns that vary; got a constant column 1"):
            measure(rows)


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"level": 0.0}, ValueError, "level: expected a finite number above 0; got 0.0"),
        ({"n": 0}, ValueError, "n: expected at least 1; got 0"),
        ({"sweeps": 2.0}, TypeError, "sweeps: expected an integer; got float"),
        ({"covariance": np.ones((2, 3))}, ValueError, r"covariance: expected shape \(D, D\); got \(2, 3\)"),
    ],
)
def test_a_walk_in_the_original_frame_refuses(changed, error, message):
    arguments = {"key": el.key(0), "covariance": np.eye(2), "level": 1.0, "n": 5, "sweeps": 2} | changed
    with pytest.raises(error, match=message):
        dg.original_frame_points(**arguments)
