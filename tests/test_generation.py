import numpy as np
import pytest
from PIL import Image

import ellipsoid as el


@pytest.fixture(scope="module")
def state():
    rng = np.random.default_rng(0)
    return el.fit(rng.normal(size=(500, 12)) @ rng.normal(size=(12, 12)))


@pytest.mark.parametrize("chunk", [100, 333, 5000])
def test_the_file_holds_the_rows_of_the_sequence_whatever_the_chunk(state, tmp_path, chunk):
    path = el.generate(
        el.key(3), state, 1000, tmp_path / "z.npy", law="uniform", level=2.0, chunk=chunk, progress=False
    )
    written = np.load(path)
    assert written.dtype == np.float32
    np.testing.assert_array_equal(
        written, el.sample(el.key(3), state, 1000, law="uniform", level=2.0).latents
    )


def decode(z):
    """Images of 4 x 4 pixels, with values beyond [0, 1]."""
    return np.repeat(z[:, :3], 16, axis=1).reshape(-1, 3, 4, 4).transpose(0, 2, 3, 1)


def test_images_are_rounded_and_clipped_never_wrapped(state, tmp_path):
    path = el.generate(
        el.key(0), state, 50, tmp_path / "x.npy", law="uniform", decode=decode, chunk=20, progress=False
    )
    floats = decode(np.asarray(el.sample(el.key(0), state, 50, law="uniform").latents))
    assert floats.min() < 0
    assert floats.max() > 1
    images = np.load(path)
    assert images.dtype == np.uint8
    np.testing.assert_array_equal(images, np.round(np.clip(floats, 0, 1) * 255))


@pytest.mark.parametrize("channels", [1, 3])
def test_a_folder_of_numbered_images(state, tmp_path, channels):
    folder = el.generate(
        el.key(0),
        state,
        7,
        tmp_path / "images",
        law="uniform",
        decode=lambda z: decode(z)[..., :channels],
        chunk=3,
        progress=False,
    )
    expected = np.clip(decode(np.asarray(el.sample(el.key(0), state, 7, law="uniform").latents)), 0, 1)
    assert sorted(path.name for path in folder.iterdir()) == [f"{i:06d}.png" for i in range(7)]
    for i in range(7):
        image = np.asarray(Image.open(folder / f"{i:06d}.png")).reshape(4, 4, channels)
        np.testing.assert_array_equal(image, np.round(expected[i, ..., :channels] * 255))


def test_what_exists_is_not_overwritten(state, tmp_path):
    path = tmp_path / "z.npy"
    path.write_bytes(b"precious")
    with pytest.raises(FileExistsError, match=r"z\.npy exists: choose another name"):
        el.generate(el.key(0), state, 10, path, progress=False)
    assert path.read_bytes() == b"precious"


def test_an_interrupted_run_leaves_nothing_behind(state, tmp_path):
    calls = []

    def failing(z):
        calls.append(len(z))
        if len(calls) == 2:
            raise KeyboardInterrupt
        return decode(z)

    for sink in ("x.npy", "folder"):
        calls.clear()
        with pytest.raises(KeyboardInterrupt):
            el.generate(
                el.key(0), state, 30, tmp_path / sink, law="uniform", decode=failing, chunk=10, progress=False
            )
        assert calls == [10, 10]
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sink": "folder"}, r"latents are written to a \.npy file.*images need decode"),
        ({"n": 0}, "at least 1"),
        ({"chunk": 0}, "at least 1"),
        ({"law": "foo"}, "law: expected one of"),
        ({"level": -1.0}, "level"),
    ],
)
def test_bad_arguments(state, tmp_path, options, message):
    arguments = {"n": 10, "sink": "z.npy", **options}
    arguments["sink"] = tmp_path / arguments["sink"]
    with pytest.raises(ValueError, match=message):
        el.generate(el.key(0), state, arguments.pop("n"), arguments.pop("sink"), progress=False, **arguments)
    assert list(tmp_path.iterdir()) == []


def test_progress_goes_to_standard_error(state, tmp_path, capfd):
    el.generate(el.key(0), state, 10, tmp_path / "z.npy", law="uniform")
    captured = capfd.readouterr()
    assert captured.out == ""
    assert "10/10" in captured.err
