import json

import numpy as np
import pytest
from batches import Stop, contents, generate, latents_of
from helpers import decode

from ellipsoid.generation import destination
from ellipsoid.generation.sinks import choose_sink


def flip_bit(path, position):
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("sink", ["x.npy", "folder", "x.tar", "x.zarr"])
def test_verify_writes_damaged_chunks_again(state, tmp_path, sink):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    options = {"batch": 10, "chunk": 10, "beside": ("latents",)}
    generate(state, 100, whole / sink, decode=decode, **options)
    with pytest.raises(KeyboardInterrupt):
        generate(state, 100, cut / sink, decode=Stop(KeyboardInterrupt(), at=8), **options)
    for path in (cut / f"{sink}.partial" / "data").rglob("*"):
        if path.is_file() and path.suffix != ".json" and any(path.read_bytes()[128:]):
            flip_bit(path, 140 if sink == "x.npy" else path.stat().st_size // 2)
    rest = Stop()
    generate(state, 100, cut / sink, decode=rest, verify=True, **options)
    assert rest.calls > 1 + 4
    assert contents(cut) == contents(whole)


def test_a_damaged_header_of_an_array_is_written_again(state, tmp_path):
    options = {"batch": 10, "chunk": 10}
    with pytest.raises(KeyboardInterrupt):
        generate(state, 100, tmp_path / "x.npy", decode=Stop(KeyboardInterrupt(), at=8), **options)
    flip_bit(tmp_path / "x.npy.partial" / "data" / "x.npy", 20)
    rest = Stop()
    path = generate(state, 100, tmp_path / "x.npy", decode=rest, verify=True, **options)
    assert rest.calls == 1 + 10
    assert np.load(path).shape == (100, 4, 4, 3)


@pytest.mark.parametrize("sink", ["x.npy", "folder", "x.tar", "x.zarr", "x.parquet"])
def test_a_complete_result_can_be_verified(state, tmp_path, sink):
    if sink == "x.parquet":
        pytest.importorskip("pyarrow")
    options = {"chunk": 10} if sink == "x.parquet" else {"chunk": 10, "batch": 10, "decode": decode}
    path = generate(state, 100, tmp_path / sink, **options)
    assert generate(state, 100, tmp_path / sink, verify=True, **options) == path
    with pytest.raises(ValueError, match="other settings"):
        generate(state, 100, tmp_path / sink, verify=True, **options, level=2.0)
    victim = max(path for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".json")
    flip_bit(victim, victim.stat().st_size // 2)
    with pytest.raises(RuntimeError, match=r"is damaged: 1 of 10 chunks, of 10 rows each"):
        generate(state, 100, tmp_path / sink, verify=True, **options)
    victim.unlink()
    if sink != "x.npy":
        with pytest.raises(RuntimeError, match=r"is damaged: 1 of 10 chunks, of 10 rows each"):
            generate(state, 100, tmp_path / sink, verify=True, **options)


@pytest.mark.parametrize("writers", [1, 2])
def test_damage_that_was_found_is_not_forgotten_by_an_interruption(state, tmp_path, writers):
    options = {"chunk": 10, "batch": 10, "beside": ("latents",)}
    path = tmp_path / "x.npy"
    for i in range(writers):
        stop = Stop(KeyboardInterrupt(), at=5)
        with pytest.raises(KeyboardInterrupt):
            generate(state, 100, path, decode=stop, processes=writers, process_id=i, **options)
    flip_bit(tmp_path / "x.npy.partial" / "data" / "x.npy", 140)  # in the first chunk
    with pytest.raises(KeyboardInterrupt):
        generate(state, 100, path, decode=Stop(KeyboardInterrupt(), at=2), verify=True, **options)
    generate(state, 100, path, decode=decode, **options)
    generate(state, 100, tmp_path / "whole.npy", decode=decode, **options)
    assert path.read_bytes() == (tmp_path / "whole.npy").read_bytes()


@pytest.mark.parametrize("file", ["zarr.json", "latents/zarr.json"])
@pytest.mark.parametrize("damage", ["changed", "missing"])
def test_files_that_describe_arrays_are_verified(state, tmp_path, file, damage):
    def hurt(path):
        content = path.read_text()
        path.unlink() if damage == "missing" else path.write_text(content.replace("3", "4"))

    path = generate(state, 100, tmp_path / "z.zarr", chunk=10)
    before = contents(path)
    generate(state, 100, tmp_path / "z.zarr", chunk=10, verify=True)
    hurt(path / file)
    with pytest.raises(RuntimeError, match=rf"z\.zarr is damaged: {file} has changed since it was written"):
        generate(state, 100, tmp_path / "z.zarr", chunk=10, verify=True)
    generate(state, 100, tmp_path / "y.zarr", chunk=10, processes=2, process_id=0)
    hurt(tmp_path / "y.zarr.partial" / "data" / file)
    generate(state, 100, tmp_path / "y.zarr", chunk=10, verify=True)
    assert contents(tmp_path / "y.zarr") == before


@pytest.mark.parametrize("total", ["rows", "bytes", "judged", "outside"])
def test_totals_of_a_manifest_are_those_of_its_chunks(state, tmp_path, total):
    generate(state, 100, tmp_path / "z.npy", chunk=10)
    manifest = tmp_path / "z.npy.json"
    content = json.loads(manifest.read_text())
    manifest.write_text(json.dumps(content | {total: content[total] + 1}))
    with pytest.raises(ValueError, match=r"z\.npy: expected a manifest .*totals"):
        generate(state, 100, tmp_path / "z.npy", chunk=10, verify=True)


def test_other_versions_matter_for_what_is_to_be_drawn_alone(state, tmp_path, monkeypatch):
    options = {"chunk": 10, "processes": 2}
    generate(state, 100, tmp_path / "z.npy", process_id=0, **options)
    generate(state, 100, tmp_path / "x.npy", chunk=10)
    monkeypatch.setattr(destination, "_versions", lambda: {"jax": "99"})
    assert generate(state, 100, tmp_path / "x.npy", verify=True) == tmp_path / "x.npy"
    with pytest.raises(ValueError, match=r'made_by: .*not {"jax": "99"}'):
        generate(state, 100, tmp_path / "z.npy", process_id=1, **options)
    monkeypatch.undo()

    sink = choose_sink(tmp_path / "z.npy")
    sink.publish = lambda manifest: None  # as if cut when all was written
    generate(state, 100, sink, process_id=1, **options)
    monkeypatch.setattr(destination, "_versions", lambda: {"jax": "99"})
    data = tmp_path / "z.npy.partial" / "data" / "z.npy"
    flip_bit(data, 140)
    with pytest.raises(ValueError, match=r'made_by: .*not {"jax": "99"}'):
        generate(state, 100, tmp_path / "z.npy", verify=True)
    monkeypatch.undo()
    assert generate(state, 100, tmp_path / "z.npy", verify=True) == tmp_path / "z.npy"
    np.testing.assert_array_equal(np.load(tmp_path / "z.npy"), latents_of(state, 100))
    assert (tmp_path / "z.npy.json").read_bytes() == (tmp_path / "x.npy.json").read_bytes()
