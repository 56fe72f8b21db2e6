"""Folders, zip files and CelebA, in the forms in which users have them."""

import io
import tarfile
import warnings
import zipfile
import zlib
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
import scipy.io
from PIL import Image, features

from ellipsoid.cli import main
from ellipsoid.models import load_image_set, load_images, training
from ellipsoid.models.sources import has_splits

ATTRIBUTES = ("Bald", "Smiling", "Young")


def encoded(value, kind="PNG", size=(8, 8)):
    """Give the bytes of an image of one grey level."""
    buffer = io.BytesIO()
    Image.new("RGB", size, (value,) * 3).save(buffer, kind)
    return buffer.getvalue()


def make_folder(path, files):
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    return path


def make_zip(path, files):
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def values(images):
    """Give the grey level of each image."""
    return images[:, 0, 0, 0].tolist()


def load(source, **options):
    return load_image_set(source, progress=False, **options)


# --- folders and zip files -------------------------------------------------------------------------


@pytest.mark.parametrize("make", [make_folder, make_zip])
def test_class_folders_are_labels(tmp_path, make):
    files = {
        "photos/dog/2.png": encoded(1),
        "photos/cat/10.png": encoded(2),
        "photos/cat/1.png": encoded(3),
        "photos/.cache/1.png": encoded(4),
        "photos/cat/._1.png": b"a note of macOS",
        "__MACOSX/photos/cat/1.png": b"another",
        "photos/readme.txt": b"no image",
    }
    found = load(make(tmp_path / "x.zip", files))
    assert values(found.images) == [3, 2, 1]
    assert found.labels.tolist() == [0, 0, 1]
    assert found.label_names == ("cat", "dog")
    assert found.skipped == ()


@pytest.mark.parametrize("names", [("a.png", "b.png"), ("x/a.png", "x/b.png"), ("x/a.png", "x/more/b.png")])
def test_folders_that_are_no_classes(tmp_path, names):
    found = load(make_zip(tmp_path / "x.zip", dict.fromkeys(names, encoded(5))))
    assert found.labels is None
    assert found.label_names == ()


@pytest.mark.parametrize(
    ("names", "classes"),
    [
        # Tiny ImageNet has a folder of one name in each class.
        ("n1/images/a n1/images/b n2/images/a", "n1 n1 n2"),
        ("top/n1/x/images/a top/n2/x/images/a", "n1 n2"),
        ("animals/cat/a animals/dog/a plants/rose/a", "cat dog rose"),
        # A name in several places stands for one class each.
        ("x/left/a x/right/a y/left/a", "x/left right y/left"),
        # One stray picture, or a few.
        ("cat/a cat/b dog/a overview", "cat cat dog -"),
        ("photos/cat/a photos/dog/a photos/overview", "cat dog -"),
        ("overview photos/cat/a photos/dog/a", "- cat dog"),
        ("a b cat/a dog/a", None),
        ("a cat/a cat/b", None),
    ],
)
@pytest.mark.filterwarnings("ignore:.*gave label -1")
def test_the_folder_that_tells_images_apart_is_the_class(tmp_path, names, classes):
    names = names.split()
    found = load(make_zip(tmp_path / "x.zip", {f"{name}.png": encoded(i) for i, name in enumerate(names)}))
    assert found.partition is None
    if classes is None:
        assert (found.labels, found.label_names) == (None, ())
        return
    order = sorted(range(len(names)), key=lambda i: PurePosixPath(names[i]).parts)
    assert values(found.images) == order
    got = ["-" if label < 0 else found.label_names[label] for label in found.labels]
    assert got == [classes.split()[i] for i in order]


def test_images_beside_the_classes_are_counted(tmp_path):
    files = dict.fromkeys(["cat/a.png", "dog/a.png", "overview.png"], encoded(5))
    with pytest.warns(
        UserWarning, match="gave label -1 to 1 of 3 images, which lie beside the class folders"
    ):
        load(make_folder(tmp_path, files))


def test_folders_of_splits_are_no_classes(tmp_path):
    names = [
        "train/cat/a",
        "train/dog/b",
        "train/dog/c",
        "val/cat/d",
        "val/dog/e",
        "test/dog/f",
        "test/cat/g",
    ]
    source = make_folder(tmp_path, {f"data/{name}.png": encoded(ord(name[-1])) for name in names})
    found = load(source)
    assert found.label_names == ("cat", "dog")
    of_image = dict(
        zip(
            "".join(map(chr, values(found.images))),
            zip(found.labels, found.partition, strict=True),
            strict=True,
        )
    )
    assert of_image == {
        "a": (0, 0),
        "b": (1, 0),
        "c": (1, 0),
        "d": (0, 1),
        "e": (1, 1),
        "f": (1, 2),
        "g": (0, 2),
    }
    test = load(source, split="test")
    assert values(test.images) == [ord("g"), ord("f")]
    assert test.labels.tolist() == [0, 1]
    assert has_splits(source)


def test_folders_of_splits_without_classes(tmp_path):
    source = make_folder(
        tmp_path, {f"{split}/{i}.png": encoded(i) for split in ("Train", "test") for i in (1, 2)}
    )
    found = load(source)
    assert (found.labels, found.label_names) == (None, ())
    assert found.partition.tolist() == [0, 0, 2, 2]


def test_linked_folders_are_read_and_circles_end(tmp_path):
    elsewhere = make_folder(tmp_path / "elsewhere", {"cat/1.png": encoded(1), "cat/2.png": encoded(2)})
    source = make_folder(tmp_path / "images", {"dog/3.png": encoded(3)})
    try:
        (source / "cat").symlink_to(elsewhere / "cat")
    except OSError:
        pytest.skip("no symbolic links here")
    (source / "again").symlink_to(source / "dog")
    (source / "dog" / "up").symlink_to(source)
    (elsewhere / "cat" / "back").symlink_to(source)
    (source / "broken").symlink_to(tmp_path / "nowhere")
    found = load(source)
    assert values(found.images) == [1, 2, 3]
    assert found.label_names == ("cat", "dog")
    (tmp_path / "alias").symlink_to(source)
    assert load(tmp_path / "alias").label_names == ("cat", "dog")


def test_celeba_as_a_link(tmp_path):
    source = as_torchvision(tmp_path)
    (source / "img_align_celeba").rename(tmp_path / "moved")
    (source / "img_align_celeba").symlink_to(tmp_path / "moved")
    assert tuple(load(source, size=16).attributes) == ATTRIBUTES


def test_zip_files_of_windows(tmp_path):
    found = load(
        make_zip(
            tmp_path / "x.zip", {"a\\cat\\": b"", "a\\cat\\1.png": encoded(1), "a\\dog\\1.png": encoded(2)}
        )
    )
    assert found.label_names == ("cat", "dog")
    attributes, _ = celeba_lists()
    files = {
        name.replace("/", "\\"): content for name, content in celeba_images("c/img_align_celeba/").items()
    }
    source = make_zip(tmp_path / "celeba.zip", files | {"c\\list_attr_celeba.txt": attributes})
    assert tuple(load(source, size=16).attributes) == ATTRIBUTES


def test_what_is_passed_over_is_counted(tmp_path):
    buffer = io.BytesIO()
    Image.new("L", (8, 8)).save(buffer, "PPM")
    photographs = {"a.jfif": encoded(8, "JPEG"), "b.JPE": encoded(8, "JPEG"), "c.pnm": buffer.getvalue()}
    if features.check("avif"):
        photographs["d.avif"] = encoded(8, "AVIF")
    others = {
        "1.heic": b"",
        "2.HEIC": b"",
        "x.svg": b"",
        "notes.txt": b"",
        ".hidden.svg": b"",
        "Makefile": b"",
    }
    source = make_folder(tmp_path, photographs | others)
    with pytest.warns(
        UserWarning, match=r": ignored files that are not read as images: 2 .heic, 1 .svg$"
    ) as record:
        assert len(load(source).images) == len(photographs)
    assert len(record) == 1
    for name in photographs:
        (source / name).unlink()
    with pytest.raises(
        ValueError, match=r"\(.png, .*; got no images in .* \(2 .heic, 1 without suffix, 1 .svg, 1 .txt"
    ):
        load(source)


def test_member_names_of_a_zip_are_never_paths(tmp_path):
    files = {"../../outside/a.png": encoded(1), "/absolute/b.png": encoded(2), "C:\\c.png": encoded(3)}
    found = load(make_zip(tmp_path / "in" / "x.zip", files))
    assert sorted(values(found.images)) == [1, 2, 3]
    assert [path.name for path in tmp_path.rglob("*")] == ["in", "x.zip"]


def encrypted(path):
    content = bytearray(make_zip(path, {"a.png": encoded(1)}).read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1  # the flag in the directory
    path.write_bytes(content)
    return path


def cut(path):
    path.write_bytes(make_zip(path, {"a.png": encoded(1)}).read_bytes()[:-30])
    return path


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (encrypted, "encrypted; unpack it with its password"),
        (cut, "not a readable zip file"),
        (lambda path: make_zip(path, {"readme.txt": b""}), "no images"),
    ],
)
def test_zip_files_that_are_refused(tmp_path, make, message):
    with pytest.raises(ValueError, match=message) as error:
        load(make(tmp_path / "x.zip"))
    assert str(tmp_path / "x.zip") in str(error.value)
    assert "\n" not in str(error.value)


# --- damaged images --------------------------------------------------------------------------------


def lying(path, files, name, size):
    """Make a zip file whose directory claims another unpacked size for one member."""
    content = bytearray(make_zip(path, files).read_bytes())
    entry = content.rindex(b"PK\x01\x02", 0, content.rindex(name.encode()))
    content[entry + 24 : entry + 28] = size.to_bytes(4, "little")
    path.write_bytes(content)
    return path


def cut_off(kind):
    """Give the first half of an image of noise."""
    buffer = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8)
    Image.fromarray(noise).save(buffer, kind)
    return buffer.getvalue()[: buffer.tell() // 2]


DAMAGED = {
    "empty.png": (b"", "not in a known image format"),
    "flipped.png": (encoded(1)[:45] + b"\xff\xff" + encoded(1)[47:], ""),
    "short.jpg": (cut_off("JPEG"), "truncated"),
    "short.png": (cut_off("PNG"), "truncated"),
    "text.png": (b"not an image", "not in a known image format"),
    "vector.png": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n", "not in a known image format"),
}


def good(n=60):
    return {f"{i:03d}.png": encoded(i) for i in range(n)}


@pytest.mark.parametrize("make", [make_folder, make_zip])
def test_damaged_images_are_left_out_and_counted(tmp_path, make):
    source = make(tmp_path / "x.zip", good() | {name: content for name, (content, _) in DAMAGED.items()})
    with pytest.warns(UserWarning, match=r"left out 6 of 66 images.*: empty.png \(") as record:
        found = load(source)
    assert len(record) == 1
    assert values(found.images) == list(range(60))
    assert found.skipped == tuple(DAMAGED)


@pytest.mark.parametrize("name", DAMAGED)
def test_the_strict_are_told_why(tmp_path, name):
    content, reason = DAMAGED[name]
    source = make_folder(tmp_path, good() | {name: content})
    with pytest.raises(ValueError, match=rf"1 of 61 images can't be read.*{name} \(.*{reason}"):
        load(source, on_error="raise")


def test_images_of_absurd_size_are_damaged(tmp_path, monkeypatch):
    files = good() | {"huge.png": encoded(1, size=(30, 20)), "large.png": encoded(1, size=(12, 10))}
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    source = lying(tmp_path / "x.zip", files | {"bomb.png": encoded(1)}, "bomb.png", 2**31)
    with pytest.warns(UserWarning, match=r"3 of 63.*bomb.png \(2.1 GB.*huge.png \(Image size.*large.png"):
        found = load(source)
    assert found.skipped == ("bomb.png", "huge.png", "large.png")


def test_a_member_that_unpacks_to_more_than_it_claims_is_damaged(tmp_path):
    source = lying(tmp_path / "x.zip", good() | {"bomb.png": bytes(10**7)}, "bomb.png", 1000)
    with pytest.warns(UserWarning, match=r"bomb.png \(Bad CRC-32"):
        assert load(source).skipped == ("bomb.png",)


def test_more_than_a_tenth_is_a_mistake(tmp_path):
    source = make_folder(tmp_path, good(9) | {"x.png": b""})
    with pytest.warns(UserWarning, match="left out 1 of 10"):
        assert len(load(source).images) == 9
    make_folder(tmp_path, {"y.png": b""})
    with pytest.raises(
        ValueError, match=r"2 of 11 images can't be read, more than 10%, the first of them x.png"
    ):
        load(source)


def test_labels_skip_damaged_images_too(tmp_path):
    files = {f"{label}/{i}.png": encoded(10 * k + i) for k, label in enumerate("ab") for i in range(10)}
    with pytest.warns(UserWarning, match="left out 2 of 20"):
        found = load(make_zip(tmp_path / "x.zip", files | {"a/3.png": b"", "b/4.png": b""}))
    assert (np.array(values(found.images)) // 10).tolist() == found.labels.tolist() == [0] * 9 + [1] * 9


def test_pillow_is_not_heard_about_odd_metadata(tmp_path):
    # A PNG file that claims to be an animation of no frames.
    chunk = b"acTL" + bytes(8)
    content = encoded(9)
    content = content[:33] + (8).to_bytes(4) + chunk + zlib.crc32(chunk).to_bytes(4) + content[33:]
    with pytest.warns(UserWarning, match="Invalid APNG"):
        Image.open(io.BytesIO(content))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = load(make_folder(tmp_path, {"a.png": content, "b.png": encoded(9)}))
    assert values(found.images) == [9, 9]


# --- CelebA ----------------------------------------------------------------------------------------


def celeba_lists(n=12, style="txt"):
    """Give attributes and partition of images 1 to n: 2 of 3 smile, the last two are valid and test."""
    rows, splits = [], []
    for i in range(1, n + 1):
        rows.append((f"{i:06d}.jpg", -1, 1 if i % 3 else -1, 1))
        splits.append((f"{i:06d}.jpg", max(0, i - n + 2)))
    if style == "csv":
        tables = [("image_id", *ATTRIBUTES), *rows], [("image_id", "partition"), *splits]
        return ["\r\n".join(",".join(map(str, row)) for row in table).encode() for table in tables]
    tables = [(n,), ATTRIBUTES, *rows], splits
    return ["".join("  ".join(map(str, row)) + "\n" for row in table).encode() for table in tables]


def celeba_images(prefix, kind="JPEG", n=12):
    suffix = {"JPEG": "jpg", "PNG": "png"}[kind]
    return {f"{prefix}{i:06d}.{suffix}": encoded(10 * i, kind, (178, 218)) for i in range(1, n + 1)}


def as_torchvision(path):
    attributes, splits = celeba_lists()
    lists = {"list_attr_celeba.txt": attributes, "list_eval_partition.txt": splits}
    return make_folder(path / "celeba", celeba_images("img_align_celeba/") | lists)


def as_downloaded(path):
    attributes, splits = celeba_lists()
    make_folder(path, {"Anno/list_attr_celeba.txt": attributes, "Eval/list_eval_partition.txt": splits})
    make_zip(path / "Img/img_align_celeba.zip", celeba_images("img_align_celeba/"))
    return path


def as_kaggle(path):
    attributes, splits = celeba_lists(style="csv")
    lists = {"list_attr_celeba.csv": attributes, "list_eval_partition.csv": splits}
    return make_zip(path / "archive.zip", celeba_images("img_align_celeba/img_align_celeba/") | lists)


def as_zip_beside_the_lists(path):
    return as_downloaded(path) / "Img" / "img_align_celeba.zip"


def as_folder_beside_the_lists(path):
    return as_torchvision(path) / "img_align_celeba"


def as_png(path):
    attributes, splits = celeba_lists()
    lists = {"list_attr_celeba.txt": attributes, "list_eval_partition.txt": splits}
    return make_folder(path, celeba_images("img_align_celeba_png/", "PNG") | lists)


FORMS = [
    as_torchvision,
    as_downloaded,
    as_kaggle,
    as_zip_beside_the_lists,
    as_folder_beside_the_lists,
    as_png,
]


@pytest.mark.parametrize("form", FORMS)
def test_celeba_in_all_its_forms(tmp_path, form):
    found = load(form(tmp_path), size=16)
    assert found.images.shape == (12, 16, 16, 3)
    assert values(found.images) == [10 * i for i in range(1, 13)]
    assert tuple(found.attributes) == ATTRIBUTES
    assert found.attributes["Smiling"].tolist() == [i % 3 != 0 for i in range(1, 13)]
    assert found.attributes["Young"].all()
    assert not found.attributes["Bald"].any()
    assert found.partition.tolist() == [0] * 10 + [1, 2]
    assert found.labels is None


def test_a_split_of_celeba(tmp_path):
    source = as_downloaded(tmp_path)
    train = load(source, size=16, split="train")
    assert values(train.images) == [10 * i for i in range(1, 11)]
    assert train.attributes["Smiling"].tolist() == [i % 3 != 0 for i in range(1, 11)]
    assert train.partition.tolist() == [0] * 10
    with pytest.raises(ValueError, match="images: expected at least 2 images; got 1"):
        load(source, size=16, split="test")


@pytest.mark.parametrize("form", FORMS)
def test_celeba_is_known_to_have_splits(tmp_path, form):
    assert has_splits(form(tmp_path))


def test_other_images_have_no_splits(tmp_path):
    np.save(tmp_path / "array.npy", np.zeros((2, 8, 8), np.uint8))
    plain = make_zip(tmp_path / "plain.zip", {"a.png": encoded(1), "b.png": encoded(2)})
    for source in (plain, tmp_path / "array.npy", "faces", tmp_path / "absent.zip"):
        assert not has_splits(source)


def test_the_images_in_the_wild_are_left_aside(tmp_path):
    source = as_torchvision(tmp_path)
    make_folder(source, {"img_celeba/000001.jpg": encoded(99, "JPEG", (300, 200))})
    assert values(load(source, size=16).images) == [10 * i for i in range(1, 13)]


def test_some_of_the_images_of_celeba(tmp_path):
    source = as_torchvision(tmp_path)
    for i in range(1, 8):
        (source / "img_align_celeba" / f"{i:06d}.jpg").unlink()
    found = load(source, size=16)
    assert values(found.images) == [80, 90, 100, 110, 120]
    assert found.partition.tolist() == [0, 0, 0, 1, 2]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "list_attr_celeba.txt",
            b"1\nBald\n000001.jpg -1\n",
            "expected a row for each image; got none for .*2.jpg",
        ),
        ("list_attr_celeba.txt", b"1\nBald Young\n000001.jpg -1\n", "1 numbers in a row, and 2 names"),
        ("list_eval_partition.txt", b"000001.jpg zero\n", "expected one row of integers for each image"),
        ("list_eval_partition.txt", b"", "expected one row of integers for each image"),
        ("list_attr_celeba.txt", b",,,\n" * 9, "expected one row of integers for each image"),
    ],
)
def test_lists_that_do_not_fit(tmp_path, name, content, message):
    source = as_torchvision(tmp_path)
    (source / name).write_bytes(content)
    with pytest.raises(ValueError, match=message) as error:
        load(source, size=16)
    assert name in str(error.value)
    assert "\n" not in str(error.value)


def test_lists_that_are_too_long_are_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr("ellipsoid.models.sources._MAX_LIST_BYTES", 100)
    for form in (as_kaggle, as_folder_beside_the_lists):
        with pytest.raises(ValueError, match=r"list_attr_celeba.*: .* \(\d+ bytes are too many\)"):
            load(form(tmp_path), size=16)


def test_a_damaged_list_in_a_zip_file(tmp_path):
    source = as_kaggle(tmp_path)
    content = bytearray(source.read_bytes())
    start = content.index(b"list_attr_celeba.csv") + 25
    content[start : start + 40] = bytes(40)
    source.write_bytes(content)
    with pytest.raises(ValueError, match=r"archive.zip/list_attr_celeba.csv: expected one row of integers"):
        load(source, size=16)


def test_only_celeba_has_splits(tmp_path):
    with pytest.raises(ValueError, match=r"split: expected 'all', since .* has no list_eval_partition"):
        load(make_folder(tmp_path, good(3)), split="train")
    with pytest.raises(ValueError, match="split: expected 'all', since only CelebA has splits; got 'train'"):
        load("digits", split="train")


# --- sets that scikit-learn downloads --------------------------------------------------------------


@pytest.fixture
def downloads(tmp_path, monkeypatch):
    """Names of files that scikit-learn's own fetchers ask for, without a network; no pickle can be read."""
    pixels = np.arange(400)[None, :] % 251 * np.ones((4096, 1))
    pixels[0], pixels[-1] = 0, 255
    folders = {
        f"lfw_funneled/{name}/{name}_000{i}.jpg": encoded(20 * i, "JPEG") for name in "AB" for i in (1, 2)
    }
    downloaded = []

    def fetch(remote, dirname, **_):
        downloaded.append(remote.filename)
        path = Path(dirname) / remote.filename
        if path.suffix == ".mat":
            scipy.io.savemat(path, {"faces": pixels})
        elif path.suffix == ".tgz":
            with tarfile.open(path, "w:gz") as archive:
                for name, content in folders.items():
                    member = tarfile.TarInfo(name)
                    member.size = len(content)
                    archive.addfile(member, io.BytesIO(content))
        else:
            path.touch()
        return path

    def forbidden(*_, **__):
        raise AssertionError("a pickle was about to be read")

    monkeypatch.setenv("SCIKIT_LEARN_DATA", str(tmp_path / "data"))
    monkeypatch.setattr("sklearn.datasets._olivetti_faces._fetch_remote", fetch)
    monkeypatch.setattr("sklearn.datasets._lfw._fetch_remote", fetch)
    monkeypatch.setattr("joblib.load", forbidden)
    monkeypatch.setattr("pickle.load", forbidden)
    return downloaded


def test_olivetti_is_downloaded_once(downloads):
    found = load("olivetti")
    assert found.images.shape == (400, 64, 64, 1)
    assert values(found.images[:, 5:]) == [i % 251 for i in range(400)]
    assert found.labels.tolist() == [i // 10 for i in range(400)]
    np.testing.assert_array_equal(load_images("olivetti", channels=3)[..., :1], found.images)
    assert downloads == ["olivettifaces.mat"]


def test_lfw_is_downloaded_once_and_read_as_a_folder(downloads, tmp_path):
    found = load("lfw")
    assert values(found.images) == [20, 40, 20, 40]
    assert found.label_names == ("A", "B")
    assert found.labels.tolist() == [0, 0, 1, 1]
    assert downloads.count("lfw-funneled.tgz") == 1
    count = len(downloads)
    load("lfw")
    assert len(downloads) == count
    assert not list((tmp_path / "data").rglob("*.pkl"))


@pytest.mark.parametrize("name", ["olivetti", "lfw"])
def test_without_a_network(downloads, monkeypatch, name):
    def no_network(*_, **__):
        raise OSError("no route to host")

    monkeypatch.setattr("sklearn.datasets._olivetti_faces._fetch_remote", no_network)
    monkeypatch.setattr("sklearn.datasets._lfw._fetch_remote", no_network)
    with pytest.raises(OSError, match=f"{name}: scikit-learn could not download it .*no route to host"):
        load(name)


@pytest.mark.slow
def test_the_command_line_reads_a_split_of_a_zip_file_through_a_cache(tmp_path, capsys, monkeypatch):
    # The model is not trained, since compiling the step takes longer than all else.
    monkeypatch.setattr(training.Steps, "step", lambda _, state, *__: (state, np.float32(0.1)))
    monkeypatch.setattr(training, "_mean_loss", lambda *_: 0.1)
    source = as_kaggle(tmp_path)
    arguments = ["train", str(source), "--split", "train", "--cache", str(tmp_path / "cache.npy")]
    small = ["--image-size", "16", "--filters", "8", "--latent-dim", "2", "--epochs", "1"]
    assert main([*arguments, "--out", str(tmp_path / "run"), *small]) == 0
    assert np.load(tmp_path / "cache.npy").shape == (10, 16, 16, 3)
    assert np.load(tmp_path / "run" / "latents.npy").shape == (10, 2)
    assert main(["train", str(source), "--split", "test", "--out", str(tmp_path / "other"), *small]) == 1
    assert capsys.readouterr().err.splitlines()[-1] == "ellipsoid: images: expected at least 2 images; got 1"
