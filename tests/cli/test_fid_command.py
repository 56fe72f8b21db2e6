"""The command `fid`, with a tiny network."""

import json
import sys

import numpy as np
import pytest
from PIL import Image
from pretrained_weights import random_arrays, save

from ellipsoid.cli import main
from ellipsoid.metrics import published_figures
from ellipsoid.models.features import feature_space


@pytest.fixture
def images(tmp_path, monkeypatch):
    """Seven generated images in a file, and six real ones of another size in a folder."""
    pytest.importorskip("safetensors")
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    generated = rng.integers(0, 256, (7, 12, 12, 3), np.uint8)
    real = rng.integers(0, 128, (6, 24, 24, 3), np.uint8)
    np.save("generated.npy", generated)
    (tmp_path / "real").mkdir()
    for i, image in enumerate(real):
        Image.fromarray(image).save(f"real/{i}.png")
    save(tmp_path / "clip.safetensors", random_arrays("clip"))
    return generated, real


def test_figures_are_those_of_the_features(images, capsys):
    generated, real = images
    words = ["fid", "generated.npy", "real", "--features", "clip", "--weights", "clip.safetensors"]
    assert main([*words, "--image-size", "24", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    space = feature_space("clip", weights="clip.safetensors")
    enlarged = [Image.fromarray(one).resize((24, 24), Image.Resampling.LANCZOS) for one in generated]
    expected = published_figures(space(np.stack(enlarged)), space(real), "clip", comparable=False)
    assert told["figures"] == {"CMMD": pytest.approx(expected.figures["CMMD"]._asdict(), rel=1e-4)}
    assert told["caveats"] == list(expected.caveats)
    assert (told["generated"], told["real"], told["features"]) == (7, 6, "clip")

    assert main(words) == 0
    output = capsys.readouterr().out
    assert "CMMD" in output
    assert "7 generated and 6 real images" in output
    assert main([*words, "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("no", "real"), "generated: expected a file or folder of data; got no, which does not exist"),
        (("generated.npy", "run"), "real: expected a file or folder of data; got run, a run folder"),
        (("generated.npy", "real"), "weights: expected the file of Inception's weights"),
        (
            ("generated.npy", "real", "--features", "dinov2", "--weights", "clip.safetensors"),
            "facebook/dinov2-large (or facebook/dinov2-base or -small); got clip.safetensors: a file without "
            "encoder.layer.0.mlp.fc1.weight and 4 more",
        ),
        (
            ("generated.npy", "real", "--features", "clip", "--resize", "clean"),
            "--resize: expected original for clip, which has one way to resize; got clean",
        ),
    ],
)
def test_bad_input_is_refused(images, tmp_path, capsys, arguments, message):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.json").write_text("{}")
    assert main(["fid", *arguments]) == 1
    assert message in capsys.readouterr().err


def test_a_missing_package_is_named_before_images_are_read(images, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors", None)
    words = ["fid", "generated.npy", "real", "--features", "clip", "--weights", "clip.safetensors"]
    monkeypatch.setattr("ellipsoid.models.images.load_images", None)
    assert main(words) == 1
    assert "clip needs safetensors: pip install safetensors" in capsys.readouterr().err
