import jax.numpy as jnp
import numpy as np
import pytest
from figure_checks import assert_legible, drawn_words
from matplotlib.figure import Figure
from PIL import Image

from ellipsoid import figures


def random_images(n, size=8, channels=3, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, size, size, channels), np.uint8)


def grid_pixels(figure):
    """Give the one image that a grid is drawn as."""
    (axes,) = figure.axes
    (image,) = axes.images
    return np.asarray(image.get_array())


def texts(figure):
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def holds_enlarged(canvas, tile):
    """Tell whether a canvas shows a tile, with each of its pixels as a square of one size."""
    corners = np.argwhere((canvas == tile[0, 0]).all(-1))
    if len(corners) == 0:
        return False
    rest = canvas[corners[0][0] :, corners[0][1] :]
    for times in range(1, 1 + min(rest.shape[0] // tile.shape[0], rest.shape[1] // tile.shape[1])):
        enlarged = tile.repeat(times, axis=0).repeat(times, axis=1)
        if np.array_equal(rest[: enlarged.shape[0], : enlarged.shape[1]], enlarged):
            return True
    return False


def test_image_grid_shows_every_image_crisply(tmp_path):
    images = random_images(10)
    figure = figures.image_grid(images, title="Ten images")
    assert isinstance(figure, Figure)
    assert texts(figure) == ["Ten images"]
    path = figures.save(figure, tmp_path / "grid.png")
    saved = np.asarray(Image.open(path).convert("RGB"))
    assert saved.shape == grid_pixels(figure).shape
    assert all(holds_enlarged(saved, image) for image in images)
    assert not holds_enlarged(saved, random_images(1, seed=1)[0])


@pytest.mark.parametrize(("n", "columns", "shape"), [(3, None, (1, 3)), (20, None, (3, 8)), (20, 5, (4, 5))])
def test_image_grid_columns(n, columns, shape):
    dark = np.zeros((n, 8, 8, 3), np.uint8)
    canvas = grid_pixels(figures.image_grid(dark, columns=columns))
    is_dark = (canvas == 0).all(-1)
    runs = [np.count_nonzero(np.diff(is_dark.any(axis).astype(int)) == 1) for axis in (1, 0)]
    assert tuple(runs) == shape


def test_image_grid_labels_each_image():
    labels = [f"cost $ {i}" for i in range(9)]  # a lone dollar sign is no formula
    figure = figures.image_grid(random_images(9), labels=labels)
    assert drawn_words(figure) == labels
    assert_legible(figure)
    (axes,) = figure.axes
    first, ninth = axes.texts[0], axes.texts[8]
    assert ninth.get_position()[0] == first.get_position()[0]
    assert ninth.get_position()[1] > first.get_position()[1]


@pytest.mark.parametrize("dtype", [np.float32, np.float16, jnp.bfloat16])
def test_images_may_be_floats_or_grey(dtype):
    grey = np.linspace(-0.5, 1.5, 64).reshape(1, 8, 8).astype(dtype)
    expected = np.rint(np.clip(grey.astype(np.float32), 0, 1) * 255).astype(np.uint8)
    for images in (grey, grey[..., None], jnp.asarray(grey)):
        canvas = grid_pixels(figures.image_grid(images))
        assert holds_enlarged(canvas, np.repeat(expected[0, ..., None], 3, axis=-1))


def test_reconstructions_lie_below_their_originals():
    originals, decoded = random_images(10), random_images(10, seed=1) / 255
    figure = figures.plot_reconstructions(originals, decoded, title="Pairs")
    assert texts(figure) == ["Pairs", "original", "reconstruction", "original", "reconstruction"]
    canvas = grid_pixels(figure)
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
    canvas = grid_pixels(figure)
    (axes,) = figure.axes
    positions = {text.get_text(): text.get_position() for text in axes.texts}
    column_step = positions["0.7"][0] - positions["0.6"][0]
    row_step = positions["64"][1] - positions["10"][1]
    for row, row_label in enumerate(["10", "64"]):
        for column, column_label in enumerate(["0.6", "0.7", "0.8"]):
            left = round(positions[column_label][0] - column_step / 2)
            top = round(positions[row_label][1] - row_step / 2)
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


def test_grids_refuse_what_does_not_fit():
    images = random_images(4)
    with pytest.raises(ValueError, match="labels: expected 4, one for each image; got 3"):
        figures.image_grid(images, labels=["a", "b", "c"])
    with pytest.raises(ValueError, match="columns: expected at least 1; got 0"):
        figures.image_grid(images, columns=0)
    with pytest.raises(ValueError, match="reconstructions: expected the shape of the originals"):
        figures.plot_reconstructions(images, images[:2])
    with pytest.raises(ValueError, match="row_labels: expected 1, one for each row; got 2"):
        figures.grid_table([[images]], ["a", "b"], ["c"])
    with pytest.raises(ValueError, match="column_labels: expected one for each cell"):
        figures.grid_table([[images], [images, images]], ["a", "b"], ["c"])
    with pytest.raises(ValueError, match="cells: expected images of one size"):
        figures.grid_table([[images, random_images(4, size=6)]], ["a"], ["b", "c"])


def test_strips_put_each_image_under_its_label():
    rows = [random_images(5, seed=seed) for seed in range(3)]
    columns = ["-3", "-1.5", "0", "+1.5", "+3"]
    figure = figures.strips(rows, ["first", "second", "third"], columns, "Traversals")
    assert texts(figure) == ["Traversals", "first", "second", "third", *columns]
    assert_legible(figure)
    canvas = grid_pixels(figure)
    (axes,) = figure.axes
    positions = {text.get_text(): text.get_position() for text in axes.texts}
    width = positions["0"][0] - positions["-1.5"][0]
    height = positions["second"][1] - positions["first"][1]
    for row, label in zip(rows, ["first", "second", "third"], strict=True):
        for image, column in zip(row, columns, strict=True):
            left, top = round(positions[column][0] - width / 2), round(positions[label][1] - height / 2)
            assert holds_enlarged(canvas[top : top + round(height), left : left + round(width)], image)


def test_nearest_images_lie_below_with_their_distances():
    generated = random_images(10)
    neighbours = np.stack([random_images(10, seed=1), random_images(10, seed=2)], axis=1)
    distances = np.arange(20).reshape(10, 2) / 100
    figure = figures.plot_nearest(generated, neighbours, distances, title="Nearest")
    shown = texts(figure)
    assert shown[:7] == ["Nearest", *["generated", "nearest 1", "nearest 2"] * 2]
    ranks = [[f"{distance:.3g}" for distance in rank] for rank in distances.T]
    assert shown[7:] == ranks[0][:8] + ranks[1][:8] + ranks[0][8:] + ranks[1][8:]
    assert_legible(figure)
    canvas = grid_pixels(figure)
    (axes,) = figure.axes
    positions = {text.get_text(): text.get_position() for text in axes.texts}
    x, y = (round(number) for number in positions["0.13"])  # the seventh of the nearest 2
    side = round(positions["0.13"][0] - positions["0.11"][0])
    above = canvas[y - side : y, x - side // 2 : x + side // 2]
    assert holds_enlarged(above, neighbours[6, 1])
    assert not holds_enlarged(above, neighbours[6, 0])
    assert texts(figures.plot_nearest(generated[:1], neighbours[:1, :1], distances[:1, :1])) == [
        "generated",
        "nearest",
        "0",
    ]


def test_strips_and_nearest_refuse_what_does_not_fit():
    images = random_images(4)
    with pytest.raises(ValueError, match="rows: expected rows of equally many images of one size"):
        figures.strips([images, images[:3]])
    with pytest.raises(ValueError, match="rows: expected rows of equally many images"):
        figures.strips([])
    with pytest.raises(ValueError, match=r"rows\[1\]: expected images of shape"):
        figures.strips([images, images[0, 0]])
    with pytest.raises(ValueError, match="row_labels: expected 1 strings"):
        figures.strips([images], ["a", "b"])
    with pytest.raises(ValueError, match="column_labels: expected 4 strings"):
        figures.strips([images], column_labels="abcd")
    with pytest.raises(ValueError, match=r"distances: expected shape \(4, m\); got \(3, 1\)"):
        figures.plot_nearest(images, images[:, None], np.zeros((3, 1)))
    with pytest.raises(ValueError, match=r"neighbours: expected shape \(4, 2, 8, 8, 3\)"):
        figures.plot_nearest(images, images[:, None], np.zeros((4, 2)))


# --- animations ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "enlarged"), [((40, 40), 160), ((64, 96), 192), ((200, 180), 200)])
def test_animation_shows_every_frame_for_ever(tmp_path, size, enlarged):
    frames = np.linspace(0, 1, 5 * size[0] * size[1]).reshape(5, *size)
    path = figures.save_animation(frames, tmp_path / "new" / "path.gif", seconds=1.0)
    assert path == tmp_path / "new" / "path.gif"
    assert [entry.name for entry in path.parent.iterdir()] == ["path.gif"]
    with Image.open(path) as animation:
        assert animation.n_frames == 5
        assert animation.info["loop"] == 0
        assert animation.height == enlarged
        times = animation.height // size[0]
        for index, frame in enumerate(frames):
            animation.seek(index)
            assert animation.info["duration"] == 200
            shown = np.asarray(animation.convert("L"))
            expected = np.rint(frame * 255).repeat(times, axis=0).repeat(times, axis=1)
            assert np.abs(shown - expected).max() <= 1
    again = figures.save_animation(frames, tmp_path / "again.gif", seconds=1.0)
    assert again.read_bytes() == path.read_bytes()


def test_a_sheet_has_every_image_in_its_place(tmp_path):
    grey = np.linspace(0, 1, 6, dtype=np.float32)
    images = np.broadcast_to(grey[:, None, None], (6, 300, 200))
    path = figures.save_sheet(images, tmp_path / "new" / "sheet.webp", columns=3)
    with Image.open(path) as sheet:
        assert sheet.size == (200, 200)
        shown = np.asarray(sheet.convert("L"))[50::100, 33::67].astype(float)
    assert np.abs(shown - np.rint(255 * grey.reshape(2, 3))).max() <= 3
    again = figures.save_sheet(images, tmp_path / "again.webp", columns=3)
    assert again.read_bytes() == path.read_bytes()
    for name, columns, message in (("x.png", 3, "suffix .webp"), ("x.webp", 4, "a divisor of 6")):
        with pytest.raises(ValueError, match=message):
            figures.save_sheet(images, tmp_path / name, columns=columns)


def test_animation_in_colour(tmp_path):
    colours = np.array([[255, 0, 0], [0, 114, 178], [230, 159, 0]], np.uint8)
    frames = np.broadcast_to(colours[:, None, None], (3, 20, 20, 3))
    path = figures.save_animation(frames, tmp_path / "colours.GIF", seconds=0.001)
    with Image.open(path) as animation:
        for index, colour in enumerate(colours):
            animation.seek(index)
            assert animation.info["duration"] == 20
            assert np.asarray(animation.convert("RGB"))[5, 5].tolist() == colour.tolist()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"path": "path.png"}, "path: expected the suffix .gif; got '.png'"),
        ({"seconds": 0.0}, "seconds: expected a finite number above 0; got 0.0"),
        ({"frames": np.zeros((3, 4))}, "frames: expected images of shape"),
    ],
)
def test_animation_refuses(tmp_path, changed, message):
    arguments = {"frames": random_images(2), "path": "path.gif"} | changed
    arguments["path"] = tmp_path / arguments["path"]
    with pytest.raises(ValueError, match=message):
        figures.save_animation(**arguments)
    assert list(tmp_path.iterdir()) == []
