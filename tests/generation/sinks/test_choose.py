import subprocess
import sys

import pytest
from batches import generate
from helpers import decode

from ellipsoid.generation.sinks import (
    CallbackSink,
    NpySink,
    ParquetSink,
    PngSink,
    RemoteZarrSink,
    TarSink,
    ZarrSink,
    choose_sink,
)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("x.npy", NpySink),
        ("x.zarr", ZarrSink),
        ("x.NPY", NpySink),
        ("X.Zarr", ZarrSink),
        ("x.npz.npy", NpySink),
        ("x.tar", TarSink),
        ("x.parquet", ParquetSink),
        ("images", PngSink),
        ("images.2026", PngSink),
        ("level-1.645", PngSink),
        ("run.v2", PngSink),
        ("gs://bucket/x.zarr", RemoteZarrSink),
    ],
)
def test_a_sink_is_chosen_by_the_end_of_its_name(name, kind):
    sink = choose_sink(name)
    assert type(sink) is kind
    assert choose_sink(sink) is sink
    assert sink.name == name


@pytest.mark.parametrize(
    "name",
    ["z.npz", "z.NPZ", "z.h5", "z.csv", "z.json", "z.zip", "z.tar.gz", "z.tgz", "z.pt", "z.pkl", "z.png"],
)
def test_names_of_other_formats_are_refused(state, tmp_path, name):
    with pytest.raises(
        ValueError, match=rf"sink: expected a name that ends in \.npy, \.zarr, \.tar, \.parquet, .*{name}'"
    ):
        generate(state, 10, tmp_path / name, decode=decode)
    assert list(tmp_path.iterdir()) == []


def test_other_sinks_are_refused():
    assert isinstance(choose_sink(print), CallbackSink)
    with pytest.raises(TypeError, match="sink: expected a path, a function or a sink object; got int"):
        choose_sink(3)
    with pytest.raises(ValueError, match=r"URL that ends in \.zarr; got 's3://bucket/x\.npy'"):
        choose_sink("s3://bucket/x.npy")


@pytest.mark.parametrize(("module", "name"), [("pyarrow", "z.parquet"), ("tensorstore", "z.zarr")])
def test_what_is_missing_is_named(state, tmp_path, monkeypatch, module, name):
    monkeypatch.setattr("importlib.util.find_spec", lambda wanted: None if wanted == module else "there")
    with pytest.raises(ImportError, match=rf'needs {module}; run pip install "ellipsoid\[{name[2:]}\]"'):
        generate(state, 10, tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_nothing_heavy_is_loaded_before_it_is_needed():
    code = "import sys, ellipsoid.generation; print(*{name.partition('.')[0] for name in sys.modules})"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert {"tensorstore", "pyarrow", "PIL"}.isdisjoint(loaded.stdout.split())
