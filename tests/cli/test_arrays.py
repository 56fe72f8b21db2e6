"""Latents in the forms in which people have them."""

import io
import pickle
import zipfile

import numpy as np
import pytest

import ellipsoid as el
from ellipsoid.cli.arrays import read_array, read_arrays
from ellipsoid.runs import RunFolder

LATENTS = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)


def test_arrays_in_files(tmp_path):
    array = np.arange(6).reshape(2, 3)
    np.save(tmp_path / "x.npy", array)
    np.savez(tmp_path / "x.npz", a=array, b=array[0])
    np.testing.assert_array_equal(read_array("latents", tmp_path / "x.npy"), array)
    assert read_arrays("labels", tmp_path / "x.npz").keys() == {"a", "b"}
    with pytest.raises(ValueError, match=r"got .*x\.npz, with the arrays a, b; .*--array"):
        read_array("latents", tmp_path / "x.npz")
    (tmp_path / "x.npy").write_bytes(b"damaged")
    with pytest.raises(ValueError, match=r"latents: expected .*; got .*x\.npy, which cannot be read"):
        read_array("latents", tmp_path / "x.npy")
    with pytest.raises(FileNotFoundError, match=r"labels: expected .*; got .*no\.npy, no such file"):
        read_arrays("labels", tmp_path / "no.npy")


def test_one_array_of_a_npz_file_needs_no_name(tmp_path):
    np.savez(tmp_path / "one.NPZ", z=LATENTS)
    np.savez(tmp_path / "two.npz", z=LATENTS, labels=np.arange(20))
    (tmp_path / "one.NPZ.npz").rename(tmp_path / "one.NPZ")
    np.testing.assert_array_equal(read_array("latents", tmp_path / "one.NPZ"), LATENTS)
    np.testing.assert_array_equal(read_array("latents", tmp_path / "two.npz", "z"), LATENTS)
    with pytest.raises(ValueError, match=r"array: expected the name of an array in .*: z, labels; got x"):
        read_array("latents", tmp_path / "two.npz", "x")


@pytest.mark.parametrize("header", [None, "a,b,c", '"x 1","x 2","x 3"', "0,1,2", "# made by hand"])
def test_csv_with_and_without_names(tmp_path, header):
    path = tmp_path / "z.csv"
    np.savetxt(path, LATENTS, delimiter=",", header=header or "", comments="")
    if header is None:
        path.write_text(path.read_text().lstrip("\n"))
    np.testing.assert_allclose(read_array("latents", path), LATENTS, rtol=1e-6)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (",a,b\n0,1,2\n", "its first column has no name, like an index"),
        ("1,2\n3,four\n", "four"),
        ("1,2\n3\n", "number of columns"),
    ],
)
def test_csv_of_something_else(tmp_path, content, reason):
    (tmp_path / "z.csv").write_text(content)
    with pytest.raises(ValueError, match=rf"latents: expected rows of numbers; got .*{reason}"):
        read_array("latents", tmp_path / "z.csv")


def test_parquet_of_columns_and_of_lists(tmp_path):
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "z.parquet"
    columns = {f"z{i}": LATENTS[:, i] for i in range(3)}
    pq.write_table(pa.table(columns | {"__index_level_0__": np.arange(20)}), path)
    np.testing.assert_array_equal(read_array("latents", path), LATENTS)
    pq.write_table(pa.table(columns | {"name": ["x"] * 20}), path)
    with pytest.raises(ValueError, match=r"these columns hold no numbers: name .string."):
        read_array("latents", path)
    pq.write_table(pa.table({"name": ["x"] * 20, "z": LATENTS.tolist()}), path)
    np.testing.assert_array_equal(read_array("latents", path), LATENTS)
    pq.write_table(pa.table({"z": LATENTS.tolist(), "w": (2 * LATENTS).tolist()}), path)
    np.testing.assert_array_equal(read_array("latents", path, "w"), 2 * LATENTS)
    path.write_bytes(b"damaged")
    with pytest.raises(ValueError, match="which cannot be read"):
        read_array("latents", path)


def test_what_sample_writes_is_read(tmp_path):
    pytest.importorskip("pyarrow")
    out = tmp_path / "z.parquet"
    state = el.fit(LATENTS)
    el.generate(el.key(0), state, 30, out, law="uniform", chunk=10, progress=False)
    expected = el.sample(el.key(0), state, 30, law="uniform").latents
    np.testing.assert_array_equal(read_array("latents", out), expected)


@pytest.mark.parametrize("suffix", ["pt", "PTH", "h5", "safetensors", "pkl", "mat"])
def test_other_formats_are_refused_with_the_line_that_converts_them(tmp_path, suffix):
    path = tmp_path / f"z.{suffix}"
    path.write_bytes(pickle.dumps(LATENTS))
    with pytest.raises(ValueError, match=r"got .*; this line of Python converts it: np\.save\(.*npy'"):
        read_array("latents", path)


def test_a_small_file_that_claims_to_be_large_is_refused(tmp_path):
    """The file is refused before memory is asked for: in .npy and .npz, and as the latents of a run."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "<f4", "fortran_order": False, "shape": (10**11, 9)}
    )
    content = header.getvalue() + bytes(80)
    (tmp_path / "latents.npy").write_bytes(content)
    with zipfile.ZipFile(tmp_path / "z.npz", "w") as archive:
        archive.writestr("a.npy", content)
    message = "claims 3,600,000,000,000 bytes"
    for path in (tmp_path / "latents.npy", tmp_path / "z.npz"):
        with pytest.raises(ValueError, match=rf"latents: expected a \.npy array; got .*{message}"):
            read_array("latents", path)
    with pytest.raises(ValueError, match=rf"latents\.npy: not a readable \.npy array \(.*{message}"):
        RunFolder(tmp_path).read_latents()


def test_nobody_is_advised_to_unpickle(tmp_path):
    (tmp_path / "z").write_bytes(pickle.dumps(LATENTS))
    np.save(tmp_path / "objects.npy", np.array([{}, None], object), allow_pickle=True)
    for name in ("z", "objects.npy"):
        with pytest.raises(ValueError, match="latents: expected") as refused:
            read_array("latents", tmp_path / name)
        assert "pickle" not in str(refused.value)
