import dataclasses

import numpy as np
import pytest

import ellipsoid as el
from ellipsoid.archive import Format, save_archive
from ellipsoid.shapes import _BY_FORMAT

FORMAT = Format("ellipsoid.Third", 1, "third shape")


@dataclasses.dataclass(frozen=True)
class Third:
    path: object
    load = classmethod(lambda cls, path: cls(path))


def test_every_shape_is_loaded_as_what_it_is(make_state, tmp_path, monkeypatch):
    state = make_state(3, 5)
    mixture = el.fit_by_label(np.random.default_rng(0).normal(size=(60, 5)), np.arange(60) % 2, 3)
    for shape in (state, mixture):
        shape.save(tmp_path / "shape.npz")
        assert el.load(tmp_path / "shape.npz") == shape

    path = tmp_path / "third.npz"
    save_archive(path, FORMAT, {})
    with pytest.raises(ValueError, match=r"expected one of .*\.Mixture, .*\.Flow; got ellipsoid\.Third"):
        el.load(path)
    monkeypatch.setitem(_BY_FORMAT, FORMAT.name, Third)
    assert el.load(path) == Third(path)


def test_what_is_no_shape_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="path: expected a saved shape; got no file at"):
        el.load(tmp_path / "absent.npz")
    (tmp_path / "text").write_text("mean = 0")
    np.savez(tmp_path / "arrays.npz", mean=np.zeros(3))
    for name, message in {
        "text": "does not begin like a NumPy file",
        "arrays.npz": "got an archive of something else",
    }.items():
        with pytest.raises(ValueError, match=f"{name} cannot be read as a shape: .*{message}"):
            el.load(tmp_path / name)
