import subprocess
import sys

import pytest
from batches import generate

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
        ("x.tar", TarSink),
        ("x.parquet", ParquetSink),
        ("images", PngSink),
        ("images.2026", PngSink),
        ("gs://bucket/x.zarr", RemoteZarrSink),
    ],
)
def test_a_sink_is_chosen_by_the_end_of_its_name(name, kind):
    sink = choose_sink(name)
    assert type(sink) is kind
    assert choose_sink(sink) is sink
    assert sink.name == name


def test_other_sinks_are_refused():
    assert isinstance(choose_sink(print), CallbackSink)
    with pytest.raises(TypeError, match="sink: expected a path, a function or a sink object; got int"):
        choose_sink(3)
    with pytest.raises(ValueError, match=r"URL that ends in \.zarr; got 's3://bucket/x\.npy'"):
        choose_sink("s3://bucket/x.npy")


@pytest.mark.parametrize(("module", "name"), [("pyarrow", "z.parquet"), ("tensorstore", "z.zarr")])
def test_what_is_missing_is_named(state, tmp_path, monkeypatch, module, name):
    monkeypatch.setattr("importlib.util.find_spec", lambda wanted: None if wanted == module else "there")
    with pytest.raises(ImportError, match=rf'needs {module}: pip install "ellipsoid\[{name[2:]}\]"'):
        generate(state, 10, tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_nothing_heavy_is_loaded_before_it_is_needed():
    code = "import sys, ellipsoid.generation; print(*{name.partition('.')[0] for name in sys.modules})"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert {"tensorstore", "pyarrow", "PIL"}.isdisjoint(loaded.stdout.split())
