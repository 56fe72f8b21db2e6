import json
import socket

import numpy as np
import pytest
import tensorstore
from batches import contents, draws_of, generate, latents_of
from helpers import decode

from ellipsoid.generation.sinks import Column, WritePlan, zarr
from ellipsoid.generation.sinks.zarr import _block_rows


def open_zarr(path):
    spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": f"{path}/"}}
    return tensorstore.open(spec, open=True, read=True).result()


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


def test_a_zarr_shard_is_read_in_blocks_of_a_megabyte(state, tmp_path):
    ones = np.ones((5, 200, 200, 3), np.float32)
    path = generate(state, 5, tmp_path / "x.zarr", chunk=30, batch=5, decode=lambda z: ones)
    images = open_zarr(path / "images")
    assert images.chunk_layout.read_chunk.shape == (6, 200, 200, 3)
    assert images.chunk_layout.write_chunk.shape == (30, 200, 200, 3)
    assert images[4, 7, 7, 1].read().result() == 255


def test_a_store_that_is_opened_by_its_url(state, tmp_path):
    url = f"file://{tmp_path}/z.zarr"
    first = generate(state, 250, url, chunk=100, processes=2, process_id=1)
    assert first == url
    assert not (tmp_path / "z.zarr.json").exists()
    records = tmp_path / "z.zarr" / "part-1.json"
    content = records.read_bytes()
    with pytest.raises(ValueError, match=r"level: 1\.645, not 2\.0"):
        generate(state, 250, url, level=2.0)
    assert generate(state, 250, url, verify=True) == url
    np.testing.assert_array_equal(
        open_zarr(tmp_path / "z.zarr" / "latents").read().result(), latents_of(state, 250)
    )
    entries = {path.name for path in (tmp_path / "z.zarr").iterdir()}
    assert entries == {"latents", "zarr.json"}
    assert generate(state, 250, url) == url
    with pytest.raises(FileExistsError, match="exists"):
        generate(state, 250, url, level=2.0)
    assert generate(state, 250, url, verify=True) == url
    records.write_bytes(content)  # as left by a run that was cut at its last step
    assert generate(state, 250, url) == url
    assert not records.exists()


@pytest.mark.parametrize("scheme", ["", "file://"])
def test_the_group_holds_arrays_alone_and_its_manifest_lies_beside_it(state, tmp_path, scheme):
    name, group = f"{scheme}{tmp_path}/z.zarr", tmp_path / "z.zarr"
    generate(state, 20, name, chunk=10)
    assert {path.name for path in group.iterdir()} == {"latents", "zarr.json"}
    # Earlier versions put it inside.
    (tmp_path / "z.zarr.json").rename(group / "manifest.json")
    before = contents(tmp_path)
    assert str(generate(state, 20, name, verify=True)) == name
    with pytest.raises(FileExistsError, match="exists"):
        generate(state, 20, name, level=2.0)
    assert contents(tmp_path) == before


def test_dimensions_have_names(state, tmp_path):
    beside = ("latents", "scores", "gauge")
    path = generate(state, 20, tmp_path / "x.zarr", decode=decode, beside=beside, chunk=10, batch=10)
    names = {
        name: json.loads((path / name / "zarr.json").read_text())["dimension_names"]
        for name in ("images", *beside)
    }
    assert names == {
        "images": ["row", "height", "width", "channel"],
        "latents": ["row", "latent"],
        "scores": ["row", "component"],
        "gauge": ["row"],
    }


def test_an_unfinished_result_without_names_and_claim_goes_on(state, tmp_path):
    """Unfinished results of earlier versions go on."""
    path = tmp_path / "z.zarr"
    generate(state, 250, path, chunk=100, processes=2, process_id=1)
    (tmp_path / "z.zarr.partial" / "claim.json").unlink()
    description = tmp_path / "z.zarr.partial" / "data" / "latents" / "zarr.json"
    content = json.loads(description.read_text())
    del content["dimension_names"]
    description.write_text(json.dumps(content))
    before = description.read_bytes()
    with pytest.raises(ValueError, match=r"level: 1\.645, not 2\.0"):
        generate(state, 250, path, level=2.0)
    assert generate(state, 250, path) == path
    assert (path / "latents" / "zarr.json").read_bytes() == before
    np.testing.assert_array_equal(open_zarr(path / "latents").read().result(), latents_of(state, 250))
    assert generate(state, 250, path, verify=True) == path


@pytest.mark.parametrize(
    ("chunk", "row", "block"), [(12, 2**18, 4), (12, 2**20, 1), (7, 2**18, 1), (12, 2**21, 1), (12, 1, 12)]
)
def test_a_block_is_the_largest_that_divides_a_shard(chunk, row, block):
    column = Column(np.dtype(np.uint8), (row,))
    assert _block_rows(WritePlan(100, chunk, {"images": column}), column) == block


def test_a_store_that_does_not_answer_is_refused(state, monkeypatch):
    monkeypatch.setattr(zarr, "_PATIENCE", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/z.zarr"
        with pytest.raises(TimeoutError, match=r"sink: .* got no answer for http://127\.0\.0\.1"):
            generate(state, 10, zarr.RemoteZarrSink(url))
