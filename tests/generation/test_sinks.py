import io
import json
import subprocess
import sys
import tarfile

import jax.numpy as jnp
import numpy as np
import pytest
import tensorstore
from helpers import decode, fitted_state, generate
from PIL import Image

import ellipsoid as el
from ellipsoid.generation.sinks import CallbackSink, Checksum, NpySink, ParquetSink, PngSink, Sink, TarSink, choose_sink as as_sink
from ellipsoid.generation.sinks.zarr import RemoteZarrSink, ZarrSink


@pytest.fixture(scope="module")
def state():
    return fitted_state()


def draws_of(state, n, **options):
    return el.sample(el.key(3), state, n, law="uniform", **options)


def images_of(latents):
    return np.round(np.clip(decode(np.asarray(latents)), 0, 1) * 255).astype(np.uint8)


def open_zarr(path):
    spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": f"{path}/"}}
    return tensorstore.open(spec, open=True, read=True).result()


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("x.npy", NpySink),
        ("x.zarr", ZarrSink),
        ("x.tar", TarSink),
        ("x.parquet", ParquetSink),
        ("images", PngSink),
        ("images.2026", PngSink),
        ("gs://bucket/x.zarr", RemoteZarrSink),
    ],
)
def test_a_sink_is_chosen_by_the_end_of_its_name(name, kind):
    sink = as_sink(name)
    assert type(sink) is kind
    assert as_sink(sink) is sink
    assert sink.name == name


def test_other_sinks_are_refused():
    assert isinstance(as_sink(print), CallbackSink)
    with pytest.raises(TypeError, match="sink: expected a path, a function or a sink object; got int"):
        as_sink(3)
    with pytest.raises(ValueError, match=r"URL that ends in \.zarr; got 's3://bucket/x\.npy'"):
        as_sink("s3://bucket/x.npy")


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


def test_many_images_lie_in_folders_of_ten_thousand(state, tmp_path):
    folder = generate(
        state, 10_003, tmp_path / "images", decode=lambda z: decode(z)[:, :1, :1, :1], beside=("gauge",)
    )
    assert len(list((folder / "00").iterdir())) == 10_000
    assert sorted(path.name for path in (folder / "01").iterdir()) == [
        f"{row:06d}.png" for row in (10_000, 10_001, 10_002)
    ]
    np.testing.assert_array_equal(np.load(folder / "gauge.npy"), draws_of(state, 10_003).gauge)


def test_tar_shards_hold_a_group_of_members_for_each_row(state, tmp_path):
    generate(state, 25, tmp_path / "x.tar", decode=decode, chunk=10, batch=8, beside=("latents", "gauge"))
    draws = draws_of(state, 25)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "x-000000.tar",
        "x-000001.tar",
        "x-000002.tar",
        "x.tar.json",
    ]
    row = 0
    for path in sorted(tmp_path.glob("*.tar")):
        with tarfile.open(path) as archive:
            members = {member.name: archive.extractfile(member).read() for member in archive}
            keys = [name.partition(".")[0] for name in members]
        for key in dict.fromkeys(keys):
            assert keys.count(key) == 3
            assert int(key) == row
            image = np.asarray(Image.open(io.BytesIO(members[f"{key}.png"])))
            np.testing.assert_array_equal(image, images_of(draws.latents[row : row + 1])[0])
            np.testing.assert_array_equal(
                np.load(io.BytesIO(members[f"{key}.latents.npy"])), draws.latents[row]
            )
            about = json.loads(members[f"{key}.json"])
            assert about == {"row": row, "gauge": float(draws.gauge[row])}
            row += 1
    assert row == 25


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_parquet_files_hold_the_row_number_and_the_columns(state, tmp_path, dtype):
    pytest.importorskip("pyarrow")
    from pyarrow import parquet

    path = generate(state, 250, tmp_path / "z.parquet", chunk=100, dtype=dtype, beside=("gauge",))
    table = parquet.read_table(path)
    assert table.column_names == ["row", "latents", "gauge"]
    np.testing.assert_array_equal(table["row"], np.arange(250))
    latents = np.stack(table["latents"].to_numpy())
    assert latents.dtype == dtype
    np.testing.assert_array_equal(latents, draws_of(state, 250, dtype=dtype).latents)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_a_zarr_group_holds_one_array_a_column_and_one_shard_a_chunk(state, tmp_path, dtype):
    path = generate(state, 250, tmp_path / "z.zarr", chunk=100, dtype=dtype, beside=("scores", "gauge"))
    draws = draws_of(state, 250, dtype=dtype)
    assert json.loads((path / "zarr.json").read_text())["node_type"] == "group"
    latents = open_zarr(path / "latents")
    assert latents.dtype.name == dtype
    assert latents.chunk_layout.write_chunk.shape == (100, 12)
    np.testing.assert_array_equal(latents.read().result(), draws.latents)
    np.testing.assert_array_equal(open_zarr(path / "scores").read().result(), draws.scores)
    assert open_zarr(path / "gauge").shape == (250,)
    assert len([entry for entry in (path / "latents" / "c").rglob("*") if entry.is_file()]) == 3


def test_a_zarr_shard_is_read_in_parts_of_a_megabyte(state, tmp_path):
    path = generate(state, 5, tmp_path / "x.zarr", chunk=30, decode=lambda z: jnp.ones((256, 200, 200, 3)))
    images = open_zarr(path / "images")
    assert images.chunk_layout.read_chunk.shape == (6, 200, 200, 3)
    assert images.chunk_layout.write_chunk.shape == (30, 200, 200, 3)
    assert images[4, 7, 7, 1].read().result() == 255


def test_a_store_that_is_opened_by_its_url(state, tmp_path):
    url = f"file://{tmp_path}/z.zarr"
    first = generate(state, 250, url, chunk=100, processes=2, process_id=1)
    assert first == url
    assert not (tmp_path / "z.zarr" / "manifest.json").exists()
    part = tmp_path / "z.zarr" / "part-1.json"
    content = part.read_bytes()
    with pytest.raises(ValueError, match=r"level: 1\.645, not 2\.0"):
        generate(state, 250, url, level=2.0)
    assert generate(state, 250, url, verify=True) == url
    np.testing.assert_array_equal(
        open_zarr(tmp_path / "z.zarr" / "latents").read().result(), draws_of(state, 250).latents
    )
    entries = {path.name for path in (tmp_path / "z.zarr").iterdir()}
    assert entries == {"latents", "manifest.json", "zarr.json"}
    with pytest.raises(FileExistsError, match="exists"):
        generate(state, 250, url)
    assert generate(state, 250, url, verify=True) == url
    part.write_bytes(content)  # as left by a run that was cut at its last step
    assert generate(state, 250, url) == url
    assert not part.exists()


def test_a_sink_of_ones_own_needs_a_write_alone(state):
    class Means(Sink):
        def __init__(self):
            self.means = {}

        def write(self, start, columns):
            self.means[start] = columns["latents"].mean()
            return Checksum()

    sink = Means()
    assert generate(state, 250, sink, chunk=100) is None
    latents = np.asarray(draws_of(state, 250).latents)
    assert sink.means == {start: latents[start : start + 100].mean() for start in (0, 100, 200)}


@pytest.mark.parametrize(("module", "name"), [("pyarrow", "z.parquet"), ("tensorstore", "z.zarr")])
def test_what_is_missing_is_named(state, tmp_path, monkeypatch, module, name):
    monkeypatch.setattr("importlib.util.find_spec", lambda wanted: None if wanted == module else "there")
    with pytest.raises(ImportError, match=rf'needs {module}: pip install "ellipsoid\[{name[2:]}\]"'):
        generate(state, 10, tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_nothing_heavy_is_loaded_before_it_is_needed():
    code = "import sys, ellipsoid; print(*{name.partition('.')[0] for name in sys.modules})"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert {"tensorstore", "pyarrow", "PIL"}.isdisjoint(loaded.stdout.split())
