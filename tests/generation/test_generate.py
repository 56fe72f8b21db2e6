"""A call of generate: the rows that it writes, its result and its refusals, for any sink."""

import numpy as np
import pytest
from batches import generate, latents_of
from helpers import decode


@pytest.mark.parametrize("chunk", [100, 333, 5000, None])
def test_the_file_holds_the_rows_of_the_sequence_whatever_the_chunk(state, tmp_path, chunk):
    path = generate(state, 1000, tmp_path / "z.npy", level=2.0, chunk=chunk)
    assert path == tmp_path / "z.npy"
    written = np.load(path)
    assert written.dtype == np.float32
    np.testing.assert_array_equal(written, latents_of(state, 1000, level=2.0))
    assert {entry.name for entry in tmp_path.iterdir()} == {"z.npy", "z.npy.json"}


def test_rows_go_to_a_function_in_order(state):
    received = []
    location = generate(state, 250, lambda start, columns: received.append((start, columns)), chunk=60)
    assert location is None
    assert [start for start, _ in received] == [0, 60, 120, 180, 240]
    rows = np.concatenate([columns["latents"] for _, columns in received])
    np.testing.assert_array_equal(rows, latents_of(state, 250))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sink": "folder"}, r"name for latents; got .*; images need decode"),
        ({"n": 0}, "n: expected at least 1"),
        ({"chunk": 0}, "chunk: expected at least 1"),
        ({"batch": 0}, "batch: expected at least 1"),
        ({"law": "foo"}, "law: expected one of"),
        ({"level": -1.0}, "level: expected a finite number above 0"),
        ({"dtype": "bfloat16"}, "for npy files; got bfloat16"),
        ({"dtype": "float64"}, "dtype: expected one of"),
        ({"beside": ("images",)}, "beside: expected"),
        ({"beside": "gauge"}, "beside: expected"),
        ({"beside": ("part",)}, "beside: expected no part"),
        ({"processes": 2}, "both or neither; got 2 and None"),
        ({"processes": 2, "process_id": 2}, "process_id: expected 0 to 1; got 2"),
        ({"processes": 0, "process_id": 0}, "processes: expected at least 1; got 0"),
        ({"sink": "x.parquet", "decode": decode}, "which takes latents"),
        ({"sink": "x.tar", "decode": lambda z: decode(z)[..., :2]}, "1, 3 or 4 channels"),
    ],
)
def test_bad_arguments(state, tmp_path, options, message):
    if options.get("sink") == "x.parquet":
        pytest.importorskip("pyarrow")
    arguments = {"n": 10, "sink": "z.npy", **options}
    arguments["sink"] = tmp_path / arguments["sink"]
    with pytest.raises(ValueError, match=message):
        generate(state, **arguments)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["n", "batch", "chunk", "processes"])
def test_counts_are_integers(state, tmp_path, name):
    arguments = {"n": 10, "sink": tmp_path / "z.npy", "process_id": 0, "processes": 1, name: 10.0}
    with pytest.raises(TypeError, match=f"{name}: expected an integer; got float"):
        generate(state, **arguments)
    assert list(tmp_path.iterdir()) == []


def test_progress_goes_to_standard_error(state, tmp_path, capfd, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    generate(state, 10, tmp_path / "z.npy", progress=True)
    captured = capfd.readouterr()
    assert captured.out == ""
    assert "10/10" in captured.err
    assert "MB" in captured.err
