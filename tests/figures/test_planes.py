import numpy as np
import pytest
from figure_checks import correlated_latents
from matplotlib.patches import Ellipse

import ellipsoid as el
from ellipsoid import diagnostics, figures

LEVEL = 1.645


@pytest.fixture(scope="module")
def latents():
    return correlated_latents()


@pytest.fixture(scope="module")
def state(latents):
    return el.fit(latents, n_components=4)


@pytest.fixture(scope="module")
def draws(state):
    return el.sample(el.key(0), state, 50, law="uniform", level=LEVEL)


def ellipses(figure):
    return [next(patch for patch in axes.patches if isinstance(patch, Ellipse)) for axes in figure.axes]


def test_ellipses_of_the_pca_frame_are_level_times_scale(state, latents, draws):
    planes = [(0, 1), (2, 3), (3, 0), (1, 2)]
    figure = figures.latent_planes(state, latents, draws, level=LEVEL, planes=planes, title="Planes")
    assert figure.get_suptitle() == "Planes"
    scale = np.asarray(state.scale)
    for (i, j), axes, ellipse in zip(planes, figure.axes, ellipses(figure), strict=True):
        assert ellipse.center == (0, 0)
        assert ellipse.angle == 0
        np.testing.assert_allclose([ellipse.width, ellipse.height], 2 * LEVEL * scale[[i, j]], rtol=1e-6)
        assert axes.get_xlabel() == f"component {i + 1}"
        assert axes.get_ylabel() == f"component {j + 1}"
        data, generated = (np.asarray(dots.get_offsets()) for dots in axes.collections)
        rows = np.linspace(0, 4999, 3000).round().astype(int)
        np.testing.assert_allclose(data, np.asarray(state.project(latents[rows]))[:, [i, j]], atol=1e-5)
        np.testing.assert_allclose(generated, np.asarray(draws.scores)[:, [i, j]], atol=1e-4)


def test_ellipses_of_the_original_frame_agree_with_eigenvectors(state, latents, draws):
    planes = [(0, 1), (1, 0), (2, 5), (4, 3)]
    figure = figures.latent_planes(state, latents, draws, level=LEVEL, planes=planes, frame="original")
    for plane, axes, ellipse in zip(planes, figure.axes, ellipses(figure), strict=True):
        pair = latents[:, plane].astype(np.float64)
        variances, vectors = np.linalg.eigh(np.cov(pair.T))
        directions = np.linspace(0, 2 * np.pi, 9)
        circle = np.stack([np.cos(directions), np.sin(directions)])
        expected = pair.mean(0) + LEVEL * (vectors * np.sqrt(variances) @ circle).T
        # Points of the one lie on the other: at distance 1 once the drawn ellipse is made a unit circle.
        turn = np.deg2rad(ellipse.angle)
        frame = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        unit = (expected - ellipse.center) @ frame / [ellipse.width / 2, ellipse.height / 2]
        np.testing.assert_allclose(np.hypot(*unit.T), 1, rtol=1e-6)
        assert axes.get_xlabel() == f"latent dimension {plane[0] + 1}"
        np.testing.assert_array_equal(axes.collections[1].get_offsets(), np.asarray(draws.latents)[:, plane])


def test_share_inside_the_ellipses_is_what_the_legend_says(state, latents, draws):
    figure = figures.latent_planes(state, latents, draws, level=LEVEL, max_points=5000)
    (legend,) = figure.legends
    names = [text.get_text() for text in legend.get_texts()]
    assert names == ["latents (5,000)", "generated (50)", "level 1.65 ellipse: 74% of a Gaussian"]
    share = el.pair_coverage(LEVEL)
    for axes, ellipse in zip(figure.axes, ellipses(figure), strict=True):
        data, generated = (np.asarray(dots.get_offsets()) for dots in axes.collections)
        semi_axes = np.array([ellipse.width, ellipse.height]) / 2
        inside = np.hypot(*(data / semi_axes).T) <= 1
        assert abs(inside.mean() - share) < 5 * np.sqrt(share * (1 - share) / len(data))
        assert (np.hypot(*(generated / semi_axes).T) <= 1 + 1e-5).all()


def test_planes_by_default_and_points_by_number(state, latents):
    other = np.zeros((700, 6), np.float32)
    figure = figures.latent_planes(state, latents, other, level=2, max_points=200)
    planes = [(axes.get_xlabel()[-1], axes.get_ylabel()[-1]) for axes in figure.axes]
    assert planes == [("1", "2"), ("3", "4"), ("1", "3"), ("1", "4")]
    assert [len(dots.get_offsets()) for dots in figure.axes[0].collections] == [200, 20]
    assert figure.legends[0].get_texts()[1].get_text() == "generated (20 of 700)"
    assert len(figures.latent_planes(state.truncate(2), latents, other, level=2).axes) == 1


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"latents": np.zeros((5, 3))}, r"latents: expected shape \(n, 6\)"),
        ({"latents": np.zeros((1, 6))}, r"latents: expected shape \(n, 6\), n >= 2"),
        ({"draws": np.zeros((0, 6))}, r"draws: expected shape \(n, 6\)"),
        ({"frame": "PCA"}, "frame: expected 'pca' or 'original'; got 'PCA'"),
        ({"level": 0.0}, "level: expected a finite number above 0; got 0.0"),
        ({"max_points": 0}, "max_points: expected at least 1; got 0"),
        ({"planes": [(0, 4)]}, "planes: expected pairs of two different indices below 4"),
        ({"planes": [(1, 1)]}, "planes: expected pairs"),
        ({"planes": []}, "planes: expected pairs"),
    ],
)
def test_latent_planes_refuses(state, latents, draws, changed, message):
    arguments = {"state": state, "latents": latents, "draws": draws, "level": LEVEL} | changed
    with pytest.raises(ValueError, match=message):
        figures.latent_planes(**arguments)


# --- density ---------------------------------------------------------------------------------------

COVARIANCE = np.array([[4.0, 1.2], [1.2, 1.0]])


def correlated(n, seed=0):
    return np.random.default_rng(seed).multivariate_normal([5, -1], COVARIANCE, n)


def contour_distances(axes, mean, covariance):
    """Give Mahalanobis distances of the points on the edge of each grey area, the outermost first."""
    (contours,) = axes.collections
    root = np.linalg.cholesky(covariance)
    return [
        np.hypot(*np.linalg.solve(root, (max(path.to_polygons(), key=len) - mean).T))
        for path in contours.get_paths()
    ]


@pytest.mark.parametrize("n", [2000, 100_000])
def test_contours_of_a_gaussian_are_its_ellipses(n):
    points = correlated(n)
    figure = figures.density_contours(points, [(0, 1)], names=["width", "height"])
    (axes,) = figure.axes
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("width", "height")
    for level, distances in zip([3, 2.2, 2, 1], contour_distances(axes, [5, -1], COVARIANCE), strict=True):
        # Heights are relative to the peak, so its noise moves all contours, the innermost most.
        assert abs(np.median(distances) - level) < 0.15 * (2000 / n) ** 0.33
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == [f"density of {n:,} points", "ellipses of levels 1, 2, 2.2, 3"]


def test_contours_of_a_box_are_not_ellipses():
    box = np.random.default_rng(0).uniform(-1, 1, (100_000, 2))
    figure = figures.density_contours(box, [(0, 1)], names=["x", "y"])
    outermost, *_, innermost = contour_distances(figure.axes[0], [0, 0], np.eye(2) / 3)
    assert outermost.max() < 2.8
    assert innermost.min() > 1.2


def test_ellipses_of_the_contours_are_those_of_the_covariance():
    points = correlated(500)
    mean = points.mean(axis=0)
    given = np.array([[[1.0, 0.5], [0.5, 1.0]]])
    for options, covariance in (({}, np.cov(points.T)), ({"covariances": given}, given[0])):
        figure = figures.density_contours(points, [(0, 1)], names=["x", "y"], levels=(1, 2.5), **options)
        shown = [patch for patch in figure.axes[0].patches if isinstance(patch, Ellipse)]
        variances, vectors = np.linalg.eigh(covariance)
        for level, ellipse in zip((1, 2.5), shown, strict=True):
            np.testing.assert_allclose(ellipse.center, mean)
            np.testing.assert_allclose(
                [ellipse.height, ellipse.width], 2 * level * np.sqrt(variances), rtol=1e-9
            )
            slope = vectors[1, 1] / vectors[0, 1]
            assert np.tan(np.deg2rad(ellipse.angle)) == pytest.approx(slope)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"points": np.ones((5, 2))}, "points: expected points that fill the plane; got points on one line"),
        ({"points": np.repeat(np.arange(5.0), 2).reshape(5, 2)}, "points: expected points that fill"),
        ({"points": np.eye(2)}, "points: expected at least 3 points; got 2"),
        ({"points": [[1.0, np.nan]]}, "points: expected finite values"),
        ({"points": [1.0, 2.0]}, r"points: expected shape \(n, m\); got \(2,\)"),
        ({"planes": [(0, 2)]}, "planes: expected pairs of two different indices below 2"),
        ({"names": ["x"]}, "names: expected 2 strings"),
        ({"levels": (2, 1)}, "levels: expected ascending levels"),
        ({"levels": (0, 1)}, "levels: expected values above 0; got 0"),
        ({"covariances": np.eye(2)}, r"covariances: expected shape \(1, 2, 2\)"),
        ({"covariances": -np.eye(2)[None]}, "covariances: expected positive definite matrices"),
    ],
)
def test_density_contours_refuses(changed, message):
    arguments = {"points": correlated(9), "planes": [(0, 1)], "names": ["x", "y"]} | changed
    with pytest.raises(ValueError, match=message):
        figures.density_contours(**arguments)


# --- points ----------------------------------------------------------------------------------------


def test_scatter_of_pairs_shows_their_points():
    values = np.arange(30_000.0).reshape(10_000, 3)
    figure = figures.pairs_scatter(values, [(0, 2), (1, 0)], ["a", "b", "c"], ["first", "second"])
    rows = np.linspace(0, 9999, 3000).round().astype(int)
    for axes, pair, note in zip(figure.axes, [(0, 2), (1, 0)], ["first", "second"], strict=True):
        (dots,) = axes.collections
        np.testing.assert_array_equal(dots.get_offsets(), values[rows][:, pair])
        assert (axes.get_xlabel(), axes.get_ylabel()) == ("abc"[pair[0]], "abc"[pair[1]])
        assert axes.get_title("left") == note
    for changed, message in (
        ({"notes": ["one"]}, "notes: expected 2 strings"),
        ({"pairs": []}, "pairs: expected pairs of two different indices below 3"),
        ({"max_points": 0}, "max_points: expected at least 1; got 0"),
    ):
        arguments = {"values": values, "pairs": [(0, 2), (1, 0)], "names": ["a", "b", "c"]} | changed
        with pytest.raises(ValueError, match=message):
            figures.pairs_scatter(**arguments)


def test_surface_shows_points_draws_and_their_ellipsoid():
    rng = np.random.default_rng(0)
    points, draws = rng.normal(size=(5000, 3)), rng.normal(size=(400, 3))
    semi_axes = [3.0, 2.0, 1.0]
    figure = figures.surface(points, draws, semi_axes, names=["a", "b", "c"])
    (axes,) = figure.axes
    wire, *clouds = axes.collections
    for cloud, expected in zip(clouds, (points, draws), strict=True):
        count = min(len(expected), 3000 if expected is points else 300)
        rows = np.linspace(0, len(expected) - 1, count).round().astype(int)
        np.testing.assert_allclose(np.stack(cloud._offsets3d, axis=1), expected[rows])
    mesh = np.concatenate([np.asarray(segment) for segment in wire._segments3d])
    np.testing.assert_allclose(np.linalg.norm(mesh / semi_axes, axis=1), 1)
    # Nothing is cut off, and one unit is as long on each axis.
    limits = np.array([axes.get_xlim(), axes.get_ylim(), axes.get_zlim()])
    assert (np.abs(np.concatenate([points[rows[:1]], draws, mesh])) <= limits[:, 1]).all()
    assert np.ptp(np.ptp(limits, axis=1) / axes._box_aspect) < 1e-9
    assert (axes.get_xlabel(), axes.get_ylabel(), axes.get_zlabel()) == ("a", "b", "c")
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ["latents (3,000 of 5,000)", "generated (300 of 400)", "confidence ellipsoid"]
    with pytest.raises(ValueError, match="semi_axes: expected values above 0; got -1"):
        figures.surface(points, draws, [3, 2, -1], names=["a", "b", "c"])
    with pytest.raises(ValueError, match=r"draws: expected shape \(m, 3\); got \(400, 2\)"):
        figures.surface(points, draws[:, :2], semi_axes, names=["a", "b", "c"])


def test_the_ellipses_drawn_are_those_of_two_independent_constructions(latents):
    (axes,) = figures.density_contours(latents, [(1, 4)], levels=(1.7,), names=list("abcdef")).axes
    (ellipse,) = [patch for patch in axes.patches if isinstance(patch, Ellipse)]
    drawn = ellipse.get_path().interpolated(4).transformed(ellipse.get_patch_transform()).vertices
    pair = latents[:, (1, 4)].astype(np.float64)
    for outline in (diagnostics.ellipse_outline, diagnostics.ellipse_outline_by_correlation):
        points = outline(np.cov(pair.T), 1.7, 20_001) + pair.mean(axis=0)
        nearest = np.linalg.norm(drawn[::9, None] - points[None], axis=2).min(axis=1)
        assert nearest.max() < 1e-2 * np.ptp(points, axis=0).max()
