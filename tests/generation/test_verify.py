import numpy as np
import pytest
from batches import Stop, contents, generate
from helpers import decode


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
