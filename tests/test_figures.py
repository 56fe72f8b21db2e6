import dataclasses
import io

import jax.numpy as jnp
import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse
from PIL import Image

import ellipsoid as el
from ellipsoid import figures

LEVEL = 1.645


@pytest.fixture(scope="module")
def latents():
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(6, 6)) * np.geomspace(3, 0.1, 6)
    return (rng.normal(size=(5000, 6)) @ mixing.T + 5).astype(np.float32)


@pytest.fixture(scope="module")
def state(latents):
    return el.fit(latents, n_components=4)


@pytest.fixture(scope="module")
def draws(state):
    return el.sample(el.key(0), state, 50, law="uniform", level=LEVEL)


def random_images(n, size=8, channels=3, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, size, size, channels), np.uint8)


def sheet_pixels(figure):
    """The one image that a sheet is drawn as."""
    (axes,) = figure.axes
    (image,) = axes.images
    return np.asarray(image.get_array())


def texts(figure):
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def holds_enlarged(canvas, tile):
    """Whether a canvas shows a tile, each of its pixels as a square of one size."""
    corners = np.argwhere((canvas == tile[0, 0]).all(-1))
    if len(corners) == 0:
        return False
    rest = canvas[corners[0][0] :, corners[0][1] :]
    for times in range(1, 1 + min(rest.shape[0] // tile.shape[0], rest.shape[1] // tile.shape[1])):
        enlarged = tile.repeat(times, axis=0).repeat(times, axis=1)
        if np.array_equal(rest[: enlarged.shape[0], : enlarged.shape[1]], enlarged):
            return True
    return False


def render(figure):
    figure.savefig(io.BytesIO(), format="png")


# --- sheets of images ------------------------------------------------------------------------------


def test_image_grid_shows_every_image_crisply(tmp_path):
    images = random_images(10)
    figure = figures.image_grid(images, title="Ten images")
    assert isinstance(figure, Figure)
    assert texts(figure) == ["Ten images"]
    path = figures.save(figure, tmp_path / "grid.png")
    saved = np.asarray(Image.open(path).convert("RGB"))
    assert saved.shape == sheet_pixels(figure).shape
    assert all(holds_enlarged(saved, image) for image in images)
    assert not holds_enlarged(saved, random_images(1, seed=1)[0])


@pytest.mark.parametrize(("n", "columns", "shape"), [(3, None, (1, 3)), (20, None, (3, 8)), (20, 5, (4, 5))])
def test_image_grid_columns(n, columns, shape):
    dark = np.zeros((n, 8, 8, 3), np.uint8)
    canvas = sheet_pixels(figures.image_grid(dark, columns=columns))
    is_dark = (canvas == 0).all(-1)
    runs = [np.count_nonzero(np.diff(is_dark.any(axis).astype(int)) == 1) for axis in (1, 0)]
    assert tuple(runs) == shape


def test_image_grid_labels_each_image():
    labels = [f"cost $ {i}" for i in range(9)]  # a lone dollar sign is no formula
    figure = figures.image_grid(random_images(9), labels=labels)
    assert texts(figure) == labels
    render(figure)
    (axes,) = figure.axes
    first, ninth = axes.texts[0], axes.texts[8]
    assert ninth.get_position()[0] == first.get_position()[0]
    assert ninth.get_position()[1] > first.get_position()[1]


@pytest.mark.parametrize("dtype", [np.float32, np.float16, jnp.bfloat16])
def test_images_may_be_floats_or_grey(dtype):
    grey = np.linspace(-0.5, 1.5, 64).reshape(1, 8, 8).astype(dtype)
    expected = np.rint(np.clip(grey.astype(np.float32), 0, 1) * 255).astype(np.uint8)
    for images in (grey, grey[..., None], jnp.asarray(grey)):
        canvas = sheet_pixels(figures.image_grid(images))
        assert holds_enlarged(canvas, np.repeat(expected[0, ..., None], 3, axis=-1))


def test_reconstructions_lie_below_their_originals():
    originals, decoded = random_images(10), random_images(10, seed=1) / 255
    figure = figures.reconstructions(originals, decoded, title="Pairs")
    assert texts(figure) == ["Pairs", "original", "reconstruction", "original", "reconstruction"]
    canvas = sheet_pixels(figure)
    decoded = np.rint(decoded * 255).astype(np.uint8)
    (axes,) = figure.axes
    heights = [text.get_position()[1] for text in axes.texts[1:]]
    assert heights == sorted(heights)
    middle = round((heights[0] + heights[1]) / 2)
    assert holds_enlarged(canvas[:middle], originals[7])
    assert not holds_enlarged(canvas[:middle], decoded[7])
    assert holds_enlarged(canvas[middle : round((heights[1] + heights[2]) / 2)], decoded[7])


def test_grid_table_puts_cells_under_their_labels():
    cells = [[random_images(4, seed=3 * row + column) for column in range(3)] for row in range(2)]
    figure = figures.grid_table(cells, ["10", "64"], ["0.6", "0.7", "0.8"], title="Table")
    assert texts(figure) == ["Table", "10", "64", "0.6", "0.7", "0.8"]
    canvas = sheet_pixels(figure)
    (axes,) = figure.axes
    places = {text.get_text(): text.get_position() for text in axes.texts}
    column_step = places["0.7"][0] - places["0.6"][0]
    row_step = places["64"][1] - places["10"][1]
    for row, row_label in enumerate(["10", "64"]):
        for column, column_label in enumerate(["0.6", "0.7", "0.8"]):
            left = round(places[column_label][0] - column_step / 2)
            top = round(places[row_label][1] - row_step / 2)
            cell = canvas[top : top + round(row_step), left : left + round(column_step)]
            assert all(holds_enlarged(cell, image) for image in cells[row][column])


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((0, 8, 8, 3), np.uint8), "images: expected images of shape"),
        (np.zeros((8, 8), np.uint8), "images: expected images of shape"),
        (np.zeros((2, 8, 8, 4), np.uint8), "images: expected images of shape"),
        (np.zeros((2, 8, 8, 3), np.int32), "images: expected uint8, or floats in .*; got int32"),
        (np.full((2, 8, 8, 3), np.nan), "images: expected finite values"),
    ],
)
def test_image_grid_refuses(images, message):
    with pytest.raises(ValueError, match=message):
        figures.image_grid(images)


def test_sheets_refuse_what_does_not_fit():
    images = random_images(4)
    with pytest.raises(ValueError, match="labels: expected 4, one for each image; got 3"):
        figures.image_grid(images, labels=["a", "b", "c"])
    with pytest.raises(ValueError, match="columns: expected at least 1; got 0"):
        figures.image_grid(images, columns=0)
    with pytest.raises(ValueError, match="reconstructions: expected the shape of the originals"):
        figures.reconstructions(images, images[:2])
    with pytest.raises(ValueError, match="row_labels: expected 1, one for each row; got 2"):
        figures.grid_table([[images]], ["a", "b"], ["c"])
    with pytest.raises(ValueError, match="column_labels: expected one for each cell"):
        figures.grid_table([[images], [images, images]], ["a", "b"], ["c"])
    with pytest.raises(ValueError, match="cells: expected images of one size"):
        figures.grid_table([[images, random_images(4, size=6)]], ["a"], ["b", "c"])


# --- latents ---------------------------------------------------------------------------------------


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


# --- curves ----------------------------------------------------------------------------------------


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
    render(figure)


def test_explained_variance_marks_only_what_is_reached(state):
    short = dataclasses.replace(state.truncate(1), explained_variance_ratio=jnp.asarray([0.93]))
    figure = figures.explained_variance(short)
    assert figure.axes[1].texts[0].get_text() == "90%: 1 component"
    render(figure)


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
    render(figure)


def test_a_narrow_range_is_shown_from_zero():
    figure = figures.training_curve([{"epoch": 1, "train_loss": 0.3}])
    assert figure.axes[0].get_yscale() == "linear"
    assert figure.axes[0].get_ylim()[0] == 0


@pytest.mark.parametrize("history", [[], [{"epoch": 1, "train_loss": None}]])
def test_training_curve_needs_a_loss(history):
    with pytest.raises(ValueError, match="history: expected records with train_loss or validation_loss"):
        figures.training_curve(history)


# --- files -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".png", ".svg", ".SVG"])
def test_saved_files_are_reproducible(state, tmp_path, suffix):
    salt = mpl.rcParams["svg.hashsalt"]
    first, second = (
        figures.save(figures.explained_variance(state), tmp_path / folder / f"figure{suffix}")
        for folder in ("a", "b")
    )
    assert first == tmp_path / "a" / f"figure{suffix}"
    assert first.read_bytes() == second.read_bytes()
    assert b"<dc:date>" not in first.read_bytes()
    assert [path.name for path in first.parent.iterdir()] == [first.name]
    assert mpl.rcParams["svg.hashsalt"] == salt


def test_save_refuses_other_formats(state, tmp_path):
    figure = figures.explained_variance(state)
    with pytest.raises(ValueError, match=r"path: expected the suffix .png or .svg; got '.jpg'"):
        figures.save(figure, tmp_path / "figure.jpg")
    assert list(tmp_path.iterdir()) == []
