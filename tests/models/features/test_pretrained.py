"""DINOv2 and CLIP: the networks against plain NumPy and transformers, and the files of their weights."""

import math

import numpy as np
import pytest
from pretrained_weights import DEPTH, GRIDS, HEADS, HIDDEN, WIDTH, random_arrays, save
from scipy.special import erf, expit

from ellipsoid.models.features import feature_space, pretrained

pytest.importorskip("safetensors")

EPSILON = {"dinov2": 1e-6, "clip": 1e-5}
NAMES = ["dinov2", "clip"]
KINDS = {"dinov2": pretrained._DINOV2, "clip": pretrained._CLIP}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    return {name: save(folder / f"{name}.safetensors", random_arrays(name)) for name in NAMES}


@pytest.fixture(scope="module")
def spaces(files):
    return {name: feature_space(name, weights=files[name]) for name in NAMES}


@pytest.fixture(scope="module")
def images():
    """Images of the size that each network takes."""
    rng = np.random.default_rng(1)
    sides = {name: patch * n for name, (patch, _, n) in GRIDS.items()}
    return {name: rng.integers(0, 256, (3, side, side, 3), np.uint8) for name, side in sides.items()}


@pytest.fixture(scope="module")
def features(spaces, images):
    return {name: spaces[name](images[name]) for name in NAMES}


# --- the networks in plain NumPy ---------------------------------------------------------------------


def interpolated(positions, side, offset):
    """PyTorch's bicubic interpolation, point by point."""
    grid = len(positions)

    def weight(x):
        x = abs(x)
        if x <= 1:
            return 1.25 * x**3 - 2.25 * x**2 + 1
        return -0.75 * x**3 + 3.75 * x**2 - 6 * x + 3 if x < 2 else 0.0

    out = np.zeros((side, side, positions.shape[2]))
    for i in range(side):
        for j in range(side):
            y, x = ((index + 0.5) * grid / (side + offset) - 0.5 for index in (i, j))
            for a in range(math.floor(y) - 1, math.floor(y) + 3):
                for b in range(math.floor(x) - 1, math.floor(x) + 3):
                    there = positions[min(max(a, 0), grid - 1), min(max(b, 0), grid - 1)]
                    out[i, j] += weight(y - a) * weight(x - b) * there
    return out


def gelu(x):
    return x * (1 + erf(x / math.sqrt(2))) / 2


def quick_gelu(x):
    return x * expit(1.702 * x)


def literal(name, images, *, activation=None, scales=True, offset=0.1, norm_first=True):
    """Features of the network, image by image and head by head; options give wrong ones."""
    arrays = {key: np.asarray(array, np.float64) for key, array in random_arrays(name).items()}
    is_dino = name == "dinov2"
    patch, grid, n = GRIDS[name]
    activation = activation or (gelu if is_dino else quick_gelu)

    def normed(x, norm):
        x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + EPSILON[name])
        return x * arrays[f"{norm}.weight"] + arrays[f"{norm}.bias"]

    def mapped(x, layer):
        return x @ arrays[f"{layer}.weight"].T + arrays[f"{layer}.bias"]

    kind = KINDS[name]
    mean, deviation = np.array(kind.mean), np.array(kind.deviation)
    rows = []
    for image in (images / 255 - mean) / deviation:
        patches = [
            image[i * patch : (i + 1) * patch, j * patch : (j + 1) * patch].transpose(2, 0, 1).ravel()
            for i in range(n)
            for j in range(n)
        ]
        if is_dino:
            positions = arrays["embeddings.position_embeddings"][0]
            of_patches = interpolated(positions[1:].reshape(grid, grid, -1), n, offset).reshape(n * n, -1)
            positions = np.concatenate([positions[:1], of_patches])
            start, first = arrays["embeddings.cls_token"][0], "embeddings.patch_embeddings.projection"
            bias = arrays[f"{first}.bias"]
        else:
            positions = arrays["vision_model.embeddings.position_embedding.weight"]
            start = arrays["vision_model.embeddings.class_embedding"][None]
            first, bias = "vision_model.embeddings.patch_embedding", 0
        tokens = np.array(patches) @ arrays[f"{first}.weight"].reshape(WIDTH, -1).T + bias
        x = np.concatenate([start, tokens]) + positions
        if not is_dino and norm_first:
            x = normed(x, "vision_model.pre_layrnorm")
        for i in range(DEPTH):
            block = f"encoder.layer.{i}." if is_dino else f"vision_model.encoder.layers.{i}."
            attention = (
                [f"attention.attention.{part}" for part in ("query", "key", "value")]
                + ["attention.output.dense"]
                if is_dino
                else [f"self_attn.{part}_proj" for part in ("q", "k", "v", "out")]
            )
            y = normed(x, block + ("norm1" if is_dino else "layer_norm1"))
            queries, keys, values = (mapped(y, block + part) for part in attention[:3])
            seen = []
            for head in np.split(np.arange(WIDTH), HEADS):
                weights = np.exp(queries[:, head] @ keys[:, head].T / math.sqrt(WIDTH / HEADS))
                seen.append(weights / weights.sum(1, keepdims=True) @ values[:, head])
            scale1, scale2 = (
                arrays[f"{block}layer_scale{k}.lambda1"] if is_dino and scales else 1 for k in (1, 2)
            )
            x = x + mapped(np.concatenate(seen, axis=1), block + attention[3]) * scale1
            y = normed(x, block + ("norm2" if is_dino else "layer_norm2"))
            x = x + mapped(activation(mapped(y, f"{block}mlp.fc1")), f"{block}mlp.fc2") * scale2
        x = normed(x[0], "layernorm" if is_dino else "vision_model.post_layernorm")
        rows.append(x if is_dino else arrays["visual_projection.weight"] @ x)
    return np.array(rows)


def agree(features, reference):
    return np.abs(features - reference).max() < 1e-4 * np.abs(reference).max()


@pytest.mark.parametrize("name", NAMES)
def test_features_are_those_of_the_network(name, features, images):
    assert features[name].dtype == np.float32
    assert agree(features[name], literal(name, images[name]))


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("dinov2", {"activation": quick_gelu}),
        ("dinov2", {"scales": False}),
        ("dinov2", {"offset": 0}),
        ("clip", {"activation": gelu}),
        ("clip", {"norm_first": False}),
    ],
)
def test_another_network_is_noticed(name, wrong, features, images):
    assert not agree(features[name], literal(name, images[name], **wrong))


def test_images_of_any_size_and_grey_ones(spaces):
    rng = np.random.default_rng(2)
    wide = rng.integers(0, 256, (3, 24, 40, 3), np.uint8)
    clip = spaces["clip"]
    np.testing.assert_array_equal(clip(wide), clip(wide[:, :, 8:32]))  # the centred square
    assert clip(wide[:0]).shape == (0, 16)
    grey = wide[..., :1]
    np.testing.assert_array_equal(clip(grey), clip(np.repeat(grey, 3, axis=3)))
    with pytest.raises(TypeError, match="images: expected a NumPy array of uint8 images; got float64"):
        clip(wide / 255)


def test_spaces_describe_themselves(spaces):
    for name, figure in (("dinov2", "FD-DINOv2"), ("clip", "CMMD")):
        space = spaces[name]
        assert (space.name, space.comparable) == (name, False)
        assert figure in space.note
        published = pretrained.PretrainedFeatures(space.kind, space.kind.sizes, {})
        assert published.comparable
        assert f"those of published {figure} figures" in published.note


# --- the file ----------------------------------------------------------------------------------------


def without(arrays, name):
    return {key: array for key, array in arrays.items() if key != name}


SECOND = "encoder.layer.1.norm1.weight"
DAMAGES = {
    "without encoder.layer.1.norm1.weight": lambda arrays: without(arrays, SECOND),
    "with surplus": lambda arrays: arrays | {"surplus": np.ones(3, np.float32)},
    "with another shape of encoder.layer.1.norm1.weight": lambda arrays: (
        arrays | {SECOND: np.ones(3, np.float32)}
    ),
    "without encoder.layer.0.mlp.fc1.weight and 4 more": lambda _: random_arrays("clip"),
    "a network with registers": lambda arrays: (
        arrays | {"embeddings.register_tokens": np.ones(3, np.float32)}
    ),
    "the giant network": lambda arrays: (
        arrays | {"encoder.layer.0.mlp.weights_in.bias": np.ones(3, np.float32)}
    ),
    "numbers of the types F64": lambda arrays: {
        key: array.astype(np.float64) for key, array in arrays.items()
    },
    "with another shape of embeddings.cls_token": lambda arrays: (
        arrays | {"embeddings.cls_token": np.ones((2, 1, WIDTH), np.float32)}
    ),
    "a network of other sizes": lambda arrays: (
        arrays | {"embeddings.position_embeddings": np.ones((1, 25, WIDTH), np.float32)}
    ),
}


@pytest.mark.parametrize("message", DAMAGES)
def test_another_file_is_refused(tmp_path, message):
    path = save(tmp_path / "weights.safetensors", DAMAGES[message](random_arrays("dinov2")))
    expected = r"weights: expected the file model.safetensors of facebook/dinov2-large .*; got .*: .*"
    with pytest.raises(ValueError, match=expected + message):
        feature_space("dinov2", weights=path)


def test_a_file_that_is_missing_or_damaged(tmp_path, files):
    start = "weights: expected the file model.safetensors of openai/clip-vit-large-patch14-336 "
    with pytest.raises(ValueError, match=rf"{start}.*as Hugging Face publishes it; got None"):
        feature_space("clip")
    with pytest.raises(FileNotFoundError, match=f"{start}.*, no such file"):
        feature_space("clip", weights=tmp_path)
    path = tmp_path / "weights.safetensors"
    for content in (b"", b"\x80\x04.", files["clip"].read_bytes()[:-1]):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=f"{start}.*; got "):
            feature_space("clip", weights=path)


def test_halves_are_read_and_texts_are_not(tmp_path, spaces, images, features):
    halves = {key: array.astype(np.float16) for key, array in random_arrays("clip").items()}
    halves["text_model.weights"] = np.ones(3, np.float64)
    space = feature_space("clip", weights=save(tmp_path / "weights.safetensors", halves))
    np.testing.assert_allclose(
        space(images["clip"]), features["clip"], atol=0.02 * np.abs(features["clip"]).max()
    )


# --- transformers ------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_equals_the_network_in_transformers(name, tmp_path, images, monkeypatch):
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    patch, grid, _ = GRIDS[name]
    sizes = {"hidden_size": WIDTH, "num_hidden_layers": DEPTH, "num_attention_heads": HEADS}
    sizes |= {"image_size": grid * patch, "patch_size": patch}
    if name == "dinov2":
        kind, config = transformers.Dinov2Model, transformers.Dinov2Config(mlp_ratio=HIDDEN // WIDTH, **sizes)
    else:
        kind = transformers.CLIPVisionModelWithProjection
        config = transformers.CLIPVisionConfig(intermediate_size=HIDDEN, projection_dim=16, **sizes)
    config.save_pretrained(tmp_path)
    path = save(tmp_path / "model.safetensors", random_arrays(name))
    mean, deviation = np.array(KINDS[name].mean), np.array(KINDS[name].deviation)
    pixels = torch.from_numpy(((images[name] / 255 - mean) / deviation).transpose(0, 3, 1, 2)).float()
    with torch.inference_mode():
        seen = kind.from_pretrained(tmp_path).eval()(pixel_values=pixels)
    seen = seen.image_embeds if name == "clip" else seen.last_hidden_state[:, 0]
    monkeypatch.setattr(pretrained, "_OFFSET", 0)
    assert agree(feature_space(name, weights=path)(images[name]), seen.numpy())
