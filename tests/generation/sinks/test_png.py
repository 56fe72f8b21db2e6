import numpy as np
import pytest
from batches import draws_of, generate, images_of
from helpers import decode
from PIL import Image

from ellipsoid.generation.sinks import Column, PngSink, WritePlan


@pytest.mark.parametrize("channels", [1, 3])
def test_a_folder_of_numbered_images(state, tmp_path, channels):
    folder = generate(
        state, 7, tmp_path / "images", decode=lambda z: decode(z)[..., :channels], chunk=3, batch=4
    )
    expected = images_of(draws_of(state, 7).latents)[..., :channels]
    names = sorted(path.name for path in folder.iterdir())
    assert names == [*(f"{i:06d}.png" for i in range(7)), "manifest.json"]
    for i in range(7):
        image = np.asarray(Image.open(folder / f"{i:06d}.png")).reshape(4, 4, channels)
        np.testing.assert_array_equal(image, expected[i])


def test_ten_thousand_images_and_more_have_subfolders(tmp_path):
    columns = {"images": Column(np.dtype(np.uint8), (1, 1, 1)), "gauge": Column(np.dtype(np.float32), ())}
    sink = PngSink(tmp_path / "images")
    sink.open(WritePlan(10_003, 3334, columns))
    sink.create()
    rows = {"images": np.arange(5, dtype=np.uint8).reshape(5, 1, 1, 1), "gauge": np.ones(5, np.float32)}
    written = sink.write(9_998, rows)
    data = tmp_path / "images.partial" / "data"
    assert sorted(str(path.relative_to(data)) for path in data.rglob("*.png")) == [
        "00/009998.png",
        "00/009999.png",
        "01/010000.png",
        "01/010001.png",
        "01/010002.png",
    ]
    np.testing.assert_array_equal(np.load(data / "gauge.npy")[9_998:], 1)
    stored = sink.read(9_998, 10_003)
    assert (stored.n_bytes, stored.crc32) == (written.n_bytes, written.crc32)


@pytest.mark.slow
def test_many_images_lie_in_folders_of_ten_thousand(state, tmp_path):
    folder = generate(
        state, 10_003, tmp_path / "images", decode=lambda z: decode(z)[:, :1, :1, :1], beside=("gauge",)
    )
    assert len(list((folder / "00").iterdir())) == 10_000
    assert sorted(path.name for path in (folder / "01").iterdir()) == [
        f"{row:06d}.png" for row in (10_000, 10_001, 10_002)
    ]
    np.testing.assert_array_equal(np.load(folder / "gauge.npy"), draws_of(state, 10_003).gauge)
