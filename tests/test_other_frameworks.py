"""The examples of the guide for other frameworks, run as they are."""

import re
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

import ellipsoid as el


def code_of_page(text):
    """Give the one block of Python in the guide to other autoencoders that holds `text`."""
    page = (Path(__file__).parents[1] / "docs" / "your-autoencoder.md").read_text(encoding="utf-8")
    (code,) = [block for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if text in block]
    return code


def read_images(path):
    images = np.load(path)
    assert images.shape == (1000, 8, 8, 3)
    assert images.dtype == np.uint8
    return images


def test_pytorch(tmp_path, monkeypatch):
    torch = pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    nn = torch.nn
    torch.manual_seed(0)
    names = {
        "el": el,
        "images": torch.rand(500, 3, 8, 8),
        "encoder": nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(128, 6)),
        "decoder": nn.Sequential(nn.Linear(6, 192), nn.Sigmoid(), nn.Unflatten(1, (3, 8, 8))),
    }
    exec(code_of_page("torch.from_dlpack"), names)

    latents, draws = names["latents"], names["draws"]
    assert jnp.from_dlpack(latents).unsafe_buffer_pointer() == latents.data_ptr()
    assert torch.from_dlpack(draws.latents).data_ptr() == draws.latents.unsafe_buffer_pointer()
    np.testing.assert_array_equal(names["state"].mean, el.fit(latents.numpy()).mean)
    assert names["new_images"].shape == (64, 3, 8, 8)
    np.testing.assert_allclose(
        read_images("new_images.npy")[:64],
        255 * names["new_images"].numpy().transpose(0, 2, 3, 1),
        atol=0.51,
    )


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float64"])
def test_tensors_of_other_precisions(dtype):
    torch = pytest.importorskip("torch")
    tensor = torch.randn(500, 6, generator=torch.Generator().manual_seed(0)).to(getattr(torch, dtype))
    state = el.fit(jnp.from_dlpack(tensor))
    np.testing.assert_allclose(state.mean, tensor.double().mean(dim=0), atol=1e-6)


class Keras:
    """A model that is called as Keras's are: NumPy arrays in batches to NumPy arrays."""

    def __init__(self, function):
        self.function = function

    def predict(self, x, batch_size=32, verbose="auto"):
        assert isinstance(x, np.ndarray)
        assert verbose in ("auto", 0)
        return np.concatenate(
            [self.function(x[start : start + batch_size]) for start in range(0, len(x), batch_size)]
        )


def test_keras(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(192, 6)) / 14
    names = {
        "el": el,
        "np": np,
        "images": rng.random((500, 8, 8, 3), np.float32),
        "encoder": Keras(lambda x: x.reshape(-1, 192) @ weights),
        "decoder": Keras(lambda z: 1 / (1 + np.exp(-z @ weights.T.astype(np.float32))).reshape(-1, 8, 8, 3)),
    }
    exec(code_of_page(".predict("), names)

    assert names["new_images"].shape == (64, 8, 8, 3)
    np.testing.assert_allclose(read_images("new_images.npy")[:64], 255 * names["new_images"], atol=0.51)


@pytest.mark.parametrize("form", ["float16", "float64", ">f8", "fortran", "strided", "memmap", "list"])
def test_numpy_arrays_of_any_form(tmp_path, form):
    # Values that are exact in all of these precisions, so that the states must agree.
    latents = np.round(np.random.default_rng(0).normal(3, 1, size=(500, 6)), 2).astype(np.float16)
    expected = el.fit(latents.astype(np.float32))
    if form == "fortran":
        latents = np.asfortranarray(latents)
    elif form == "strided":
        latents = np.repeat(latents, 2, axis=0)[::2]
    elif form == "memmap":
        np.save(tmp_path / "latents.npy", latents)
        latents = np.load(tmp_path / "latents.npy", mmap_mode="r")
    elif form == "list":
        latents = latents.tolist()
    else:
        latents = latents.astype(form)
    state = el.fit(latents)
    for name in ("mean", "components", "scale"):
        np.testing.assert_allclose(getattr(state, name), getattr(expected, name), rtol=1e-6, atol=1e-7)
    np.testing.assert_array_equal(el.contains(state, latents), el.contains(expected, latents))


@pytest.mark.slow
def test_scikit_learn(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    latents = np.random.default_rng(0).normal(5, np.geomspace(3, 0.03, 130), size=(300, 130))
    np.save("latents.npy", latents)
    names = {}
    exec(code_of_page("make_pipeline"), names)
    assert names["z"].shape == (1000, 130)
    # The draws are latents again, and not the output of the scaler.
    np.testing.assert_allclose(names["z"].mean(axis=0), latents.mean(axis=0), atol=0.5)
    assert 0.5 < np.median(names["z"].std(axis=0) / latents.std(axis=0)) < 1.5
