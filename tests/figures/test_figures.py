import dataclasses

import jax.numpy as jnp
import matplotlib as mpl
import numpy as np
import pytest
from figure_checks import assert_legible, correlated_latents, drawn_words
from matplotlib.figure import Figure
from scipy import stats

import ellipsoid as el
from ellipsoid import figures


@pytest.fixture(scope="module")
def latents():
    return correlated_latents()


@pytest.fixture(scope="module")
def state(latents):
    return el.fit(latents, n_components=4)


def test_explained_variance_of_the_state(latents):
    state = el.fit(latents)
    figure = figures.explained_variance(state, title="Variance")
    assert figure.get_suptitle() == "Variance"
    each, together = figure.axes
    ratio = np.asarray(state.explained_variance_ratio)
    np.testing.assert_allclose(each.lines[0].get_ydata(), ratio)
    np.testing.assert_allclose(together.lines[0].get_ydata(), np.cumsum(ratio), rtol=1e-6)
    counts = [int(np.searchsorted(np.cumsum(ratio), share)) + 1 for share in (0.9, 0.95, 0.99)]
    assert min(counts) == 1
    assert max(counts) > 1
    expected = [
        f"{share}: {count} component{'s' if count > 1 else ''}"
        for share, count in zip(("90%", "95%", "99%"), counts, strict=True)
    ]
    assert together.texts[0].get_text().split("\n") == expected
    words = drawn_words(figure)
    labels = {"component", "share of the variance", "number of components", "cumulative share"}
    assert {"Variance", "\n".join(expected), *labels} <= set(words)


def test_explained_variance_marks_only_what_is_reached(state):
    short = dataclasses.replace(state.truncate(1), explained_variance_ratio=jnp.asarray([0.93]))
    figure = figures.explained_variance(short)
    notes = [text for text in drawn_words(figure) if ": " in text]
    assert notes == ["90%: 1 component"]


def test_training_curve():
    history = [
        {"epoch": epoch, "step": 10 * epoch, "train_loss": 1 / epoch, "validation_loss": loss}
        for epoch, loss in ((1, None), (2, 0.75), (40, 0.05))
    ]
    del history[2]["train_loss"]
    figure = figures.training_curve(history, title="Losses")
    (axes,) = figure.axes
    train, validation = axes.lines
    np.testing.assert_array_equal(train.get_xydata(), [[1, 1], [2, 0.5]])
    np.testing.assert_array_equal(validation.get_xydata(), [[2, 0.75], [40, 0.05]])
    assert [line.get_label() for line in axes.lines] == ["train", "validation"]
    assert train.get_linestyle() != validation.get_linestyle()
    assert axes.get_yscale() == "log"
    words = drawn_words(figure)
    assert {"Losses", "epoch", "loss", "train", "validation"} <= set(words)
    # Ticks are whole epochs, and powers of ten for two decades of losses.
    assert {"0", "10", "20", "30", "40"} <= set(words)
    assert {"0.1", "1"} <= set(words)


def test_a_narrow_range_is_shown_from_zero():
    figure = figures.training_curve([{"epoch": 1, "train_loss": 0.3}])
    assert figure.axes[0].get_yscale() == "linear"
    assert figure.axes[0].get_ylim()[0] == 0


@pytest.mark.parametrize("history", [[], [{"epoch": 1, "train_loss": None}]])
def test_training_curve_needs_a_loss(history):
    with pytest.raises(ValueError, match="history: expected records with train_loss or validation_loss"):
        figures.training_curve(history)


# --- components ------------------------------------------------------------------------------------


def stairs(axes):
    """Give densities and edges of the histograms of some axes, in the order in which they were drawn."""
    return [patch.get_data() for patch in axes.patches if hasattr(patch, "get_data")]


def legend(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_components_show_distribution_gaussian_and_half_widths():
    values = np.random.default_rng(0).normal([0, 5], [1, 0.1], (2000, 2))
    values[0, 1] = 1000  # counted, but beside the picture
    widths = {"std": values.std(axis=0), "mad": [0.9, 0.11]}
    figure = figures.components(
        values, ["a $", "b"], widths, skewness=[0.25, -1.5], kurtosis=[-0.125, 2], bins=25
    )
    assert legend(figure) == [
        "values (2,000)",
        "Gaussian, same mean and std",
        "half-width: std",
        "half-width: mad",
    ]
    for index, axes in enumerate(figure.axes):
        ((density, edges, _),) = stairs(axes)
        assert len(density) == 25
        beside = index / 2000
        assert np.sum(density * np.diff(edges)) == pytest.approx(1 - beside)
        mean, std = values[:, index].mean(), values[:, index].std()
        x, y = axes.lines[0].get_data()
        np.testing.assert_allclose(y, stats.norm.pdf(x, mean, std))
        for line, width in zip(axes.lines[1:], widths.values(), strict=True):
            assert np.diff(line.get_xdata())[0] == pytest.approx(2 * np.sqrt(2 * np.log(2)) * width[index])
            assert np.mean(line.get_xdata()) == pytest.approx(mean)
        assert axes.lines[1].get_marker() != axes.lines[2].get_marker()
    assert [axes.get_title("left") for axes in figure.axes] == ["a $", "b"]
    notes = [axes.texts[0] for axes in figure.axes]
    assert notes[0].get_text() == "skewness 0.25\nexcess kurtosis −0.12"
    assert [note.get_ha() for note in notes] == ["right", "left"]


def test_component_statistics_and_their_noise():
    skewness, kurtosis = np.array([-0.5, 0.1, 0.2]), np.array([0.0, 1.0, 4.0])
    figure = figures.component_statistics(
        skewness, kurtosis, [0.01, 0.02, 0.05], noise={"skewness": 0.3, "distance": 0.015}
    )
    labels = [axes.get_ylabel() for axes in figure.axes]
    assert labels == ["skewness", "excess\nkurtosis", "Kolmogorov\ndistance (%)"]
    for axes, values in zip(figure.axes, (skewness, kurtosis, [1, 2, 5]), strict=True):
        np.testing.assert_allclose(axes.lines[0].get_xydata(), np.stack([[1, 2, 3], values], axis=1))
        np.testing.assert_allclose(axes.lines[1].get_ydata(), np.median(values))
    bands = [[(band.get_y(), band.get_height()) for band in axes.patches] for axes in figure.axes]
    assert bands[0] == [pytest.approx((-0.3, 0.6))]
    assert bands[1] == []
    assert bands[2] == [pytest.approx((0, 1.5))]
    assert legend(figure) == ["component", "median", "Gaussian samples of this size"]
    with_fourth = figures.component_statistics(skewness, kurtosis, skewness**2, [0.3, 0.4, 9])
    assert with_fourth.axes[3].get_ylabel() == "Anderson-\nDarling"
    assert legend(with_fourth) == ["component", "median"]


def test_spectrum_shows_scales_relative_to_the_standard_deviation():
    std = np.array([10.0, 2.0, 0.5])
    figure = figures.spectrum(std, {"mad": [9, 2.2, 0.5], "core": std / 2}, [0.0, 3, 1, 4])
    spectrum, ratios = figure.axes
    original, components = spectrum.lines
    np.testing.assert_array_equal(original.get_ydata(), [4, 3, 1])
    np.testing.assert_array_equal(components.get_ydata(), std)
    assert spectrum.get_yscale() == "log"
    np.testing.assert_allclose(ratios.lines[0].get_ydata(), [0.9, 1.1, 1])
    np.testing.assert_allclose(ratios.lines[1].get_ydata(), [0.5, 0.5, 0.5])
    assert ratios.lines[0].get_linestyle() != ratios.lines[1].get_linestyle()
    assert legend(figure) == [
        "latent dimensions, sorted",
        "components",
        "half-width: mad",
        "half-width: core",
    ]
    assert len(figures.spectrum(std, {}).axes) == 1


def test_offset_names_the_largest_dimensions():
    offset = np.array([0.1, -3.0, 2.0, *np.zeros(30)])
    shares = np.array([0.1, 0.2, 0.7, *np.zeros(30)])
    each, together = figures.offset(offset, shares).axes
    assert [bar.get_height() for bar in each.patches][:4] == [3, 2, 0.1, 0]
    assert [label.get_text() for label in each.get_xticklabels()][:3] == ["2", "3", "1"]
    assert len(each.patches) == 24
    np.testing.assert_allclose(together.lines[0].get_ydata()[:3], [0.7, 0.9, 1])


def test_overshoot_and_comparison():
    figure = figures.overshoot({"box": [1, 5, 50], "ellipses": [2, 2, 2]})
    (axes,) = figure.axes
    np.testing.assert_array_equal(axes.lines[0].get_ydata(), [1, 5, 50])
    np.testing.assert_array_equal(axes.lines[2].get_ydata(), [1, 1])
    assert axes.get_yscale() == "log"
    assert legend(figure) == ["box", "ellipses", "the data"]
    ratios, distances, pairs = figures.comparison([0.9, 1.1], [0.02, 0.03], [-0.01, 0.0, 0.02]).axes
    np.testing.assert_array_equal(ratios.lines[0].get_ydata(), [0.9, 1.1])
    np.testing.assert_array_equal(distances.lines[0].get_ydata(), [2, 3])
    ((density, edges, _),) = stairs(pairs)
    assert edges[[0, -1]].tolist() == [-1, 2]
    assert np.sum(density * np.diff(edges)) == pytest.approx(1)


# --- distances -------------------------------------------------------------------------------------


def test_distances_are_scaled_to_their_peaks():
    rng = np.random.default_rng(0)
    groups = {"data": rng.normal(10, 1, 3000), "wide": rng.uniform(5, 25, 50), "one": np.array([7.0])}
    figure = figures.plot_distances(groups, xlabel="distance", reference="wide")
    (axes,) = figure.axes
    assert (axes.get_xlabel(), axes.get_xscale()) == ("distance", "linear")
    assert legend(figure) == list(groups)
    for (density, edges, _), values in zip(stairs(axes), groups.values(), strict=True):
        assert density.max() == 1
        assert edges[0] <= values.min()
        assert values.max() <= edges[-1]
    assert [patch.get_fill() for patch in axes.patches] == [False, True, False]
    assert len({str(patch.get_linestyle()) for patch in axes.patches if not patch.get_fill()}) == 2


def test_distances_of_a_wide_range_are_on_a_log_scale():
    groups = {"near": np.geomspace(1, 2, 100), "far": np.geomspace(90, 110, 100)}
    (axes,) = figures.plot_distances(groups, xlabel="distance").axes
    assert axes.get_xscale() == "log"
    for _, edges, _ in stairs(axes):
        np.testing.assert_allclose(edges[1:] / edges[:-1], edges[1] / edges[0])


@pytest.mark.parametrize("k", [2, 256])
def test_mahalanobis_quantiles_of_a_gaussian_lie_on_the_line(k):
    squares = stats.chi2(k).rvs(20_000, random_state=0)
    figure = figures.mahalanobis(squares, k, squares[:500])
    quantiles, shape = figure.axes
    expected, observed = quantiles.lines[0].get_data()
    assert len(expected) <= 2000
    assert np.isin([np.sort(squares)[:3], np.sort(squares)[-3:]], observed).all()
    middle = slice(len(expected) // 4, -len(expected) // 4)
    np.testing.assert_allclose(expected[middle], observed[middle], rtol=0.1)
    np.testing.assert_array_equal(quantiles.lines[1].get_ydata(), np.sort(squares[:500]))
    assert np.ptp(quantiles.lines[2].get_xydata(), axis=1).tolist() == [0, 0]
    assert quantiles.get_xscale() == ("log" if k == 2 else "linear")
    d, density = shape.lines[0].get_data()
    np.testing.assert_allclose(density, stats.chi(k).pdf(d), rtol=1e-8)
    assert len(stairs(shape)) == 2
    assert legend(figure) == ["latents (20,000)", "by the core (500)", "Gaussian"]


def test_gauge_of_the_data_beside_that_of_a_gaussian():
    gauges = np.array([3.0, 1.0, 2.0, 4.0])
    levels = np.linspace(0.5, 6, 12)
    coverage = np.array([el.joint_coverage(level, 3) for level in levels])
    figure = figures.plot_gauge(gauges, levels, coverage, {0.5: 2.0, 0.995: 4.0})
    (axes,) = figure.axes
    data, gaussian, *marks = axes.lines
    np.testing.assert_array_equal(data.get_xydata(), [[1, 0.25], [2, 0.5], [3, 0.75], [4, 1]])
    np.testing.assert_array_equal(gaussian.get_ydata(), coverage)
    assert [mark.get_xydata()[1].tolist() for mark in marks] == [[2, 0.5], [4, 0.995]]
    assert axes.texts[0].get_text() == "50%: level 2.00\n99.5%: level 4.00"


# --- pairs -----------------------------------------------------------------------------------------


def test_correlations_before_and_after_share_one_scale():
    before = np.array([[1, 0.8, -0.4], [0.8, 1, 0.1], [-0.4, 0.1, 1]])
    after = np.eye(2) + 1e-12
    figure = figures.correlation_matrices(before, after, labels=("dims", "parts"))
    left, right = (axes.images[0] for axes in figure.axes[:2])
    shown = np.ma.filled(left.get_array(), np.nan)
    np.testing.assert_array_equal(np.isnan(shown), np.eye(3, dtype=bool))
    np.testing.assert_array_equal(shown[~np.eye(3, dtype=bool)], before[~np.eye(3, dtype=bool)])
    assert left.get_clim() == right.get_clim()
    assert left.get_clim()[0] == -left.get_clim()[1]
    # Darkness tells the size of a correlation without its hue.
    greys = left.cmap(np.linspace(0, 1, 101))[:, :3] @ [0.299, 0.587, 0.114]
    assert (np.diff(greys[:51]) > -0.01).all()
    assert (np.diff(greys[50:]) < 0.01).all()
    assert figure.axes[0].get_ylabel() == "dims"
    ((shares, edges, _),) = stairs(figure.axes[2])
    assert shares.sum() == pytest.approx(1)
    assert [shares[(edges[:-1] < r) & (r < edges[1:])].tolist() for r in (0.1, 0.4, 0.8)] == [[1 / 3]] * 3
    ((shares, _, _),) = stairs(figure.axes[3])
    assert shares[0] == 1


def test_angles_of_pairs_plain_and_by_weight():
    before, after = np.array([-90.0, 44, 46, 90]), np.array([1.0, -1])
    figure = figures.plot_pair_angles(before, after, weights=([1, 0, 2, 1], [3, 1]))
    (plain, edges, _), (weighted, _, _) = stairs(figure.axes[0])
    np.testing.assert_allclose(edges, np.arange(-90, 91, 5))
    assert plain[[0, 26, 27, 35]].tolist() == [0.25] * 4
    assert weighted[[0, 26, 27, 35]].tolist() == [0.25, 0, 0.5, 0.25]
    assert stairs(figure.axes[1])[1][0][[17, 18]].tolist() == [0.25, 0.75]
    assert legend(figure) == ["equal weights", "weighted by ellipticity"]
    assert figures.plot_pair_angles(before, after).legends == []


def test_calibration_of_pairs():
    levels = np.array([1.0, 2.0, 3.0])
    expected = 1 - np.exp(-(levels**2) / 2)
    observed = expected[:, None] + np.array([0.1, -0.1, 0.02]) * np.array([1, 0.5, 0.01])[:, None]
    figure = figures.plot_calibration(levels, expected, observed, worst=[("pair (1, 2)", observed[:, 0])])
    curve, difference = figure.axes
    np.testing.assert_allclose(curve.lines[0].get_xydata(), np.stack([expected, observed[:, 2]], axis=1))
    np.testing.assert_array_equal(curve.lines[1].get_xydata(), [[0, 0], [1, 1]])
    widest = difference.collections[0].get_paths()[0].vertices
    assert widest[:, 1].min() == pytest.approx(-10)
    assert widest[:, 1].max() == pytest.approx(10)
    np.testing.assert_allclose(difference.lines[0].get_ydata(), [2, 1, 0.02], atol=1e-9)
    np.testing.assert_allclose(difference.lines[2].get_ydata(), [10, 5, 0.1], atol=1e-9)
    assert legend(figure) == [
        "median of 3 pairs",
        "5% to 95%",
        "minimum to maximum",
        "Gaussian",
        "pair (1, 2)",
    ]


def test_dependence_counts_pairs_above_the_threshold():
    squares = np.array([[1, 0.3, -0.2], [0.3, 1, 0.01], [-0.2, 0.01, 1]])
    figure = figures.plot_dependence(squares, np.abs(squares), 0.1, 0.25)
    signed, unsigned, *bars = figure.axes
    assert signed.get_title("left") == "2 of 3 pairs above 0.1"
    assert unsigned.get_title("left") == "1 of 3 pairs above 0.25"
    assert signed.images[0].get_clim() == (-0.3, 0.3)
    assert unsigned.images[0].get_clim() == (0, 0.3)
    assert [bar.get_ylabel() for bar in bars] == ["rank correlation of squares", "distance correlation"]


def test_correlations_are_named():
    matrix = np.array([[1, 0.3, -0.75], [0.3, 1, 0], [-0.75, 0, 1]])
    axes = figures.named_correlations(matrix, ["a", "$b$", "c" * 30]).axes[0]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["a", "$b$", "c" * 23 + "…"]
    assert [text.get_text() for text in axes.texts] == ["0.30", "−0.75", "0.30", "0.00", "−0.75", "0.00"]
    assert axes.images[0].get_clim() == (-1, 1)
    with pytest.raises(ValueError, match="names: expected 3 strings"):
        figures.named_correlations(matrix, ["a"])


# --- all -------------------------------------------------------------------------------------------


def every_figure(n, k, title):
    """Draw each figure of numbers, for n latents of k components."""
    rng = np.random.default_rng(0)
    scores = rng.standard_t(4, (n, k)) * np.geomspace(4, 0.02, k)
    std = scores.std(axis=0)
    matrix = np.corrcoef(scores.T)
    pairs = matrix[np.triu_indices(k, 1)]
    names = [f"component {i + 1}" for i in range(k)]
    state = el.fit(scores)
    draws = el.sample(el.key(0), state, 400, law="uniform")
    levels = np.linspace(0.5, 3, 6)
    coverage = 1 - np.exp(-(levels**2) / 2)
    observed = coverage[:, None] + 0.01 * rng.normal(size=(6, len(pairs)))
    planes = [(0, 1), (1, 0), (0, k - 1), (k - 1, 0), (k - 2, k - 1), (k - 1, k - 2)]
    methods = ["std", "histogram", "histogram_raw", "quantile", "mad", "core"]
    scales = {method: std * (1 + 0.1 * rng.normal(size=k)) for method in methods}
    several = slice(max(0, k - 12), k)
    squares = np.sum((scores / std) ** 2, axis=1)
    radii = {name: factor * np.sqrt(squares) for factor, name in enumerate(methods, 1)}
    joint = [el.joint_coverage(level, k) for level in levels]
    space = rng.normal(size=(n, 3))
    widths = {name: scale[several] for name, scale in scales.items()}
    wide = {name: scale / std.min() for name, scale in scales.items()}
    moments = {"skewness": std[several] - 1, "kurtosis": -std[several]}
    noise = {"skewness": 0.1, "kurtosis": 0.2, "distance": 0.01, "anderson_darling": 0.7}
    worst = [(f"component {k} and component {i}", observed[:, 0] + i / 100) for i in range(4)]
    return [
        lambda: figures.components(scores[:, several], names[several], widths, **moments, title=title),
        lambda: figures.component_statistics(std, -std, std / 10, std, noise=noise, title=title),
        lambda: figures.spectrum(std, scales, std[::-1], title=title),
        lambda: figures.explained_variance(state, title=title),
        lambda: figures.offset(std, std / std.sum(), title=title),
        lambda: figures.overshoot(wide, title=title),
        lambda: figures.comparison(std, std / 10, pairs, title=title),
        lambda: figures.plot_distances(radii, xlabel="distance (latent units)", title=title),
        lambda: figures.mahalanobis(squares, k, squares[: n // 2], title=title),
        lambda: figures.plot_gauge(np.sqrt(squares), levels, joint, {0.5: 2, 0.9: 3}, title=title),
        lambda: figures.correlation_matrices(matrix, matrix / 1e6, title=title),
        lambda: figures.named_correlations(matrix[:40, :40], names[:40], title=title),
        lambda: figures.plot_pair_angles(90 * pairs, pairs, weights=(pairs**2,) * 2, title=title),
        lambda: figures.plot_calibration(levels, coverage, observed, worst=worst, title=title),
        lambda: figures.plot_dependence(matrix, np.abs(matrix), 0.1, 0.1, title=title),
        lambda: figures.latent_planes(state, scores, draws, level=2, title=title),
        lambda: figures.density_contours(scores, planes, names=names, title=title),
        lambda: figures.pairs_scatter(scores, planes, names, names[:1] * 6, title=title),
        lambda: figures.surface(space, space, [3, 2, 0.3], names=["a", "b", "c"], title=title),
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("n", "k", "title"),
    [(20, 2, None), pytest.param(3000, 256, "Title $ of the figure", marks=pytest.mark.slow)],
)
def test_text_can_be_read(n, k, title):
    for draw in every_figure(n, k, title):
        figure = draw()
        assert_legible(figure)
        assert figure.get_figwidth() == 7.5


@pytest.mark.parametrize("position", [(0.3, 0.5), (0.95, 0.5)])
def test_text_that_overlaps_or_is_cut_off_is_found(position):
    figure = Figure()
    figure.text(0.2, 0.5, "this is a text")
    assert_legible(figure)
    figure.text(*position, "and another one")
    with pytest.raises(AssertionError):
        assert_legible(figure)


def test_no_module_of_the_package_has_the_name_of_a_figure():
    public = {name for name in vars(figures) if not name.startswith("_")}
    modules = {
        "describing",
        "marginals",
        "pairs",
        "planes",
        "quality",
        "radii",
        "saving",
        "image_grids",
        "spectra",
        "style",
    }
    modules |= {"training"}
    assert modules < public
    assert all(callable(getattr(figures, name)) for name in public - modules)


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("components", ([[1.0, 2.0]], ["a", "b"]), r"values: expected shape \(n, m\), n >= 2 and m <= 12"),
        ("components", (np.eye(13), ["a"] * 13), r"values: .* m <= 12; got \(13, 13\)"),
        ("components", (np.eye(3), ["a"]), r"names: expected 3 strings; got \['a'\]"),
        ("components", ([[1.0, 0.1], [2.0, 0.1]], ["a", "b"]), "values: .* vary; got a constant 'b'"),
        ("components", (np.eye(2), ["a", "b"], {"std": [1]}), r"widths\['std'\]: expected shape \(2,\)"),
        ("component_statistics", ([1.0], [1.0, 2.0], [1.0]), r"kurtosis: expected shape \(1,\)"),
        ("spectrum", ([1.0, 0.0], {}), "std: expected values above 0; got 0"),
        ("spectrum", ([1.0], {str(i): [1.0] for i in range(9)}), "scales: expected 1 to 8 arrays; got 9"),
        ("offset", ([1.0], [np.inf]), "shares: expected finite values; got NaN or infinity"),
        ("overshoot", ({},), "ratios: expected 1 to 8 arrays; got 0"),
        ("overshoot", ({"a": [1.0], "b": [1.0, 2.0]},), r"ratios\['b'\]: expected shape \(1,\)"),
        ("comparison", ([1.0], [1.0], []), r"pair_difference: expected shape \(P,\); got \(0,\)"),
        ("mahalanobis", ([1.0, -1.0], 2), "squares: expected values above 0; got -1"),
        ("mahalanobis", ([1.0], 0), "k: expected at least 1; got 0"),
        ("plot_gauge", ([1.0], [2.0, 1.0], [0.1, 0.2], {}), "joint_levels: expected ascending levels"),
        ("correlation_matrices", (np.eye(1), np.eye(2)), r"before: expected shape \(K, K\), K >= 2"),
        ("correlation_matrices", (np.eye(2), [[1, np.nan], [0, 1]]), "after: expected finite values off"),
        ("plot_pair_angles", ([0.0], [91.0]), r"after: expected angles in \[-90, 90\] degrees; got 91"),
    ],
)
def test_figures_refuse(name, arguments, message):
    with pytest.raises(ValueError, match=message):
        getattr(figures, name)(*arguments)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: figures.components(np.eye(2), ["a", "b"], bins=0), "bins: expected at least 1; got 0"),
        (
            lambda: figures.component_statistics([0.0], [0.0], [0.0], noise={"anderson_darling": 1.0}),
            r"noise: expected names among \['skewness', .*; got \['anderson_darling'\]",
        ),
        (
            lambda: figures.plot_distances({"a": [1.0]}, xlabel="x", reference="b"),
            r"reference: expected one of \['a'\]; got 'b'",
        ),
        (
            lambda: figures.plot_distances({"a": [-1.0]}, xlabel="x"),
            "groups: expected distances of at least 0",
        ),
        (
            lambda: figures.plot_pair_angles([0.0], [0.0], weights=([1.0], [0.0])),
            r"weights\[1\]: expected weights of at least 0, and not only zeros",
        ),
        (
            lambda: figures.plot_calibration([1.0], [0.4], [[0.4]], worst=[("a", [0.4])] * 9),
            "worst: expected at most 8 pairs; got 9",
        ),
    ],
)
def test_figures_refuse_options(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# --- files -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".png", ".svg", ".SVG"])
@pytest.mark.parametrize("figure", ["explained_variance", "density_contours", "surface"])
def test_saved_files_are_reproducible(state, latents, tmp_path, figure, suffix):
    draw = {
        "explained_variance": lambda: figures.explained_variance(state),
        "density_contours": lambda: figures.density_contours(latents, [(0, 1)], names=[*"abcdef"]),
        "surface": lambda: figures.surface(latents[:50, :3], latents[:9, :3], [1, 2, 3], names=[*"abc"]),
    }[figure]
    salt = mpl.rcParams["svg.hashsalt"]
    first, second = (figures.save(draw(), tmp_path / folder / f"figure{suffix}") for folder in ("a", "b"))
    assert first == tmp_path / "a" / f"figure{suffix}"
    assert first.read_bytes() == second.read_bytes()
    assert b"<dc:date>" not in first.read_bytes()
    assert [path.name for path in first.parent.iterdir()] == [first.name]
    assert mpl.rcParams["svg.hashsalt"] == salt


@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_a_saved_figure_is_that_of_savefig(state, tmp_path, suffix):
    figure, other = figures.explained_variance(state), figures.explained_variance(state)
    canvas = figure.canvas
    figures.save(figure, tmp_path / f"one{suffix}")
    assert figure.canvas is canvas
    with mpl.rc_context({"svg.hashsalt": "ellipsoid"}):
        other.savefig(tmp_path / f"other{suffix}", metadata={"Date": None} if suffix == ".svg" else None)
    assert (tmp_path / f"one{suffix}").read_bytes() == (tmp_path / f"other{suffix}").read_bytes()


def test_save_refuses_other_formats(state, tmp_path):
    figure = figures.explained_variance(state)
    with pytest.raises(ValueError, match=r"path: expected the suffix .png or .svg; got '.jpg'"):
        figures.save(figure, tmp_path / "figure.jpg")
    assert list(tmp_path.iterdir()) == []
