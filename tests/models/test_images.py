import numpy as np
import pytest
from PIL import Image

from ellipsoid.models.face_factors import FACTOR_NAMES, attributes_of
from ellipsoid.models.faces import ProceduralFaces
from ellipsoid.models.images import load_image_set, load_images


@pytest.fixture
def folder(tmp_path):
    """Three images of one size, in subfolders, one of them grey."""
    rng = np.random.default_rng(0)
    (tmp_path / "more").mkdir()
    for name in ("b.png", "more/c.png"):
        Image.fromarray(rng.integers(0, 256, (20, 30, 3), np.uint8)).save(tmp_path / name)
    Image.fromarray(rng.integers(0, 256, (20, 30), np.uint8)).save(tmp_path / "a.png")
    (tmp_path / "notes.txt").write_text("no image")
    return tmp_path


def test_a_folder_is_read_in_order_with_its_subfolders(folder):
    images = load_images(folder, progress=False)
    assert images.shape == (3, 20, 30, 3)
    assert images.dtype == np.uint8
    for image, name in zip(images, ("a.png", "b.png", "more/c.png"), strict=True):
        np.testing.assert_array_equal(image, np.asarray(Image.open(folder / name).convert("RGB")))


def test_grey_and_colour(folder, tmp_path_factory):
    assert load_images(folder, channels=1, progress=False).shape == (3, 20, 30, 1)
    grey = tmp_path_factory.mktemp("grey")
    for name in "ab":
        Image.fromarray(np.full((8, 8), 99, np.uint8)).save(grey / f"{name}.png")
    assert load_images(grey, progress=False).shape == (2, 8, 8, 1)
    colour = load_images(grey, channels=3, progress=False)
    assert colour.shape == (2, 8, 8, 3)
    assert (colour == 99).all()


def test_centre_crop_and_resize(tmp_path):
    image = np.zeros((10, 30, 3), np.uint8)
    image[:, 10:20] = 200  # the central square
    for name in "ab":
        Image.fromarray(image).save(tmp_path / f"{name}.png")
    np.testing.assert_array_equal(load_images(tmp_path, size=10, progress=False), 200)
    np.testing.assert_array_equal(load_images(tmp_path, size=5, progress=False), 200)


def test_resizing_is_antialiased():
    stripes = np.zeros((2, 64, 64), np.uint8)
    stripes[:, :, ::2] = 255
    small = load_images(stripes, size=16)
    assert abs(small.astype(float).mean() - 127.5) < 2
    assert small[:, 4:-4, 4:-4].std() < 10  # plain subsampling would give all black or all white


def test_exif_orientation_is_followed(tmp_path):
    image = np.zeros((6, 12, 3), np.uint8)
    image[:, :6] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    for name in "ab":
        Image.fromarray(image).save(tmp_path / f"{name}.png", exif=exif)
    turned = load_images(tmp_path, progress=False)
    assert turned.shape == (2, 12, 6, 3)
    assert (turned[:, :6] == 255).all()
    assert (turned[:, 6:] == 0).all()


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_array_files(tmp_path, suffix):
    images = np.random.default_rng(1).integers(0, 256, (4, 8, 8, 3), np.uint8)
    path = tmp_path / f"x{suffix}"
    if suffix == ".npy":
        np.save(path, images)
    else:
        np.savez(path, images=images, labels=np.arange(4))
    np.testing.assert_array_equal(load_images(path), images)


@pytest.mark.parametrize("name", ["labels", "label", "target", "y"])
def test_labels_of_an_array_file_come_along(tmp_path, name):
    images = np.random.default_rng(1).integers(0, 256, (4, 8, 8, 3), np.uint8)
    np.savez(tmp_path / "x.npz", images=images, **{name: [3, 1, 4, 1]})
    for size in (None, 4):
        found = load_image_set(tmp_path / "x.npz", size, progress=False)
        assert found.labels.tolist() == [3, 1, 4, 1]
    np.testing.assert_array_equal(load_image_set(tmp_path / "x.npz").images, images)


@pytest.mark.parametrize(
    ("labels", "message"), [(["a", None], "it is a pickle"), ([1, 2, 3], r"it has shape \(3,\)")]
)
def test_labels_that_can_not_be_used_are_left_out(tmp_path, labels, message):
    labels = np.array(labels, object if None in labels else int)
    np.savez(tmp_path / "x.npz", images=np.zeros((2, 8, 8), np.uint8), y=labels)
    with pytest.warns(UserWarning, match=f"left out 'y', since {message}"):
        found = load_image_set(tmp_path / "x.npz")
    assert found.labels is None
    assert found.images.shape == (2, 8, 8, 1)


def test_a_large_array_file_is_mapped(tmp_path, monkeypatch):
    images = np.random.default_rng(1).integers(0, 256, (4, 8, 8, 3), np.uint8)
    np.save(tmp_path / "x.npy", images)
    assert type(load_images(tmp_path / "x.npy")) is np.ndarray
    monkeypatch.setattr("ellipsoid.models.images.MAX_BYTES_IN_MEMORY", 500)
    mapped = load_images(tmp_path / "x.npy")
    assert type(mapped) is np.memmap
    np.testing.assert_array_equal(mapped, images)


def test_floats_are_rounded_not_cut():
    images = load_images(np.full((2, 4, 4), 0.999, np.float32))
    assert images.shape == (2, 4, 4, 1)
    assert (images == 255).all()


def test_embedded_digits():
    digits = load_image_set("digits")
    assert digits.images.shape == (1797, 8, 8, 1)
    assert digits.images.max() == 255
    assert digits.labels[:10].tolist() == list(range(10))
    np.testing.assert_array_equal(load_images("digits"), digits.images)


def test_embedded_faces_have_attributes(monkeypatch):
    def drawn(n, size, *, key):
        assert (n, size) == (20_000, 16)
        factors = np.random.default_rng(0).normal(size=(20, len(FACTOR_NAMES)))
        return ProceduralFaces(np.zeros((20, size, size, 3), np.uint8), factors, attributes_of(factors))

    monkeypatch.setattr("ellipsoid.models.faces.procedural_faces", drawn)
    faces = load_image_set("faces", size=16)
    assert faces.images.shape == (20, 16, 16, 3)
    assert all(values.shape == (20,) and values.dtype == bool for values in faces.attributes.values())
    assert faces.attributes


def one_image(tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "only.png")
    return tmp_path


def mixed_sizes(tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    Image.new("RGB", (8, 9)).save(tmp_path / "b.png")
    return tmp_path


def damaged(tmp_path):
    (tmp_path / "broken.png").write_bytes(b"not an image")
    return tmp_path


def damaged_array(tmp_path):
    (tmp_path / "x.npy").write_bytes(b"\x93NUMPY broken")
    return tmp_path / "x.npy"


def words(tmp_path):
    (tmp_path / "x.npy").write_text("These are words.")
    return tmp_path / "x.npy"


def pickled(tmp_path):
    np.save(tmp_path / "x.npy", np.array([{"a": 1}], object), allow_pickle=True)
    return tmp_path / "x.npy"


def many_arrays(tmp_path):
    np.savez(tmp_path / "x.npz", first=np.zeros(2), second=np.zeros(2))
    return tmp_path / "x.npz"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (lambda path: path, "no images"),
        (one_image, "images: expected at least 2 images; got 1"),
        (mixed_sizes, "b.png has 8 x 9 pixels, and those before it 8 x 8; pass size="),
        (damaged, "1 of 1 images can't be read, more than 10%, the first of them broken.png "),
        (damaged_array, "not a readable"),
        (pickled, "it holds Python objects"),
        (words, "it does not begin like a NumPy file"),
        (many_arrays, "'images' among first, second"),
        (lambda path: np.zeros((2, 8), np.uint8), r"expected shape .*got \(2, 8\)"),
        (lambda path: np.zeros((2, 8, 8, 4), np.uint8), r"got \(2, 8, 8, 4\)"),
        (lambda path: np.zeros((2, 8, 8), np.int64), "uint8, or floats"),
        (lambda path: np.full((2, 8, 8), np.nan), "nan"),
        (lambda path: np.full((2, 8, 8), 255.0), r"floats in \[0, 1\]; got 255.0"),
    ],
)
def test_bad_input_is_refused_in_one_line(tmp_path, source, message):
    with pytest.raises(ValueError, match=message) as error:
        load_images(source(tmp_path), progress=False)
    assert "\n" not in str(error.value)


def test_a_missing_path_is_named(tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r"expected a folder, .*faces, digits.*nowhere, no such file or folder"
    ):
        load_images(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("option", "value"),
    [("size", 0), ("size", 1.5), ("channels", 2), ("split", "dev"), ("on_error", "ignore")],
)
def test_bad_options(option, value):
    with pytest.raises((ValueError, TypeError), match=f"^{option}: expected"):
        load_images("digits", **{option: value})
