"""Autoencoders of other frameworks, as ONNX models and as functions."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx_models import LATENTS, SIZE, patterned_images, save_autoencoder, save_model

from ellipsoid.models import decode_latents, encode_images, load_onnx
from ellipsoid.models.imported import PythonFunction, open_part
from ellipsoid.models.importing import find_autoencoder

FLOAT = TensorProto.FLOAT
RANGES = [(0, 1), (-1, 1), (0, 255)]


@pytest.fixture(scope="module")
def images():
    return patterned_images(60)


def come_back(autoencoder, images, within=2):
    latents = encode_images(autoencoder, images)
    assert latents.shape == (len(images), LATENTS)
    assert latents.dtype == np.float32
    decoded = decode_latents(autoencoder, latents)
    assert decoded.dtype == np.uint8
    assert decoded.shape == images.shape
    return np.abs(decoded.astype(int) - images).max() <= within


# --- what is found -----------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("pixel_range", RANGES)
def test_layout_sizes_and_range_are_found(tmp_path, images, layout, pixel_range):
    files = save_autoencoder(tmp_path, images, layout=layout, pixel_range=pixel_range)
    autoencoder = load_onnx(*files, images)
    config = autoencoder.config
    assert (config.image_size, config.channels, config.latent_dim) == (SIZE, 3, LATENTS)
    assert (config.encoder_layout, config.decoder_layout) == (layout, layout)
    assert config.input_range == config.pixel_range == pixel_range
    assert come_back(autoencoder, images)
    # Floats in [0, 1], as our own autoencoder takes and gives them, give the same result.
    latents = autoencoder.encode(images / np.float32(255))
    np.testing.assert_allclose(latents, encode_images(autoencoder, images), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(autoencoder.decode(latents), images / 255, atol=2 / 255)


@pytest.mark.parametrize(
    "options",
    [
        {"batch": 1},
        {"batch": 7},
        {"dtype": np.float16},
        {"latent_shape": (LATENTS, 1, 1)},
        {"latent_shape": (1, 2, 2)},
        {"external": True},
    ],
    ids=str,
)
def test_models_of_other_forms(tmp_path, images, options):
    files = save_autoencoder(tmp_path, images, pixel_range=(-1, 1), **options)
    assert come_back(load_onnx(*files, images), images, within=4)


def test_grey_images(tmp_path):
    grey = patterned_images(40, channels=1)
    autoencoder = load_onnx(*save_autoencoder(tmp_path, grey), grey)
    assert autoencoder.config.image_shape == (SIZE, SIZE, 1)
    assert come_back(autoencoder, grey)


def test_the_ranges_of_encoder_and_decoder_may_differ(tmp_path, images):
    encoder, decoder = save_autoencoder(tmp_path, images)
    model = onnx.load(decoder)
    model.graph.node[-1].output[0] = "shares"
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.float32(255), "white"))
    model.graph.node.append(helper.make_node("Mul", ["shares", "white"], ["images"]))
    onnx.save(model, decoder)
    for given in ({}, {"pixel_range": (0, 255), "input_range": (0, 1)}):
        autoencoder = load_onnx(encoder, decoder, images, **given)
        assert (autoencoder.config.input_range, autoencoder.config.pixel_range) == ((0, 1), (0, 255))
        assert come_back(autoencoder, images)
    with pytest.raises(ValueError, match=r"best, 0.00\d+ by \[0, 255\] from an input of \[0, 1\]; got"):
        load_onnx(encoder, decoder, images, pixel_range=(0, 255))


def with_outputs(path, encoder, nodes, outputs):
    """Give the same encoder with more outputs."""
    model = onnx.load(encoder)
    del model.graph.output[:]
    model.graph.node.extend(nodes)
    model.graph.output.extend(
        helper.make_tensor_value_info(name, FLOAT, ["n", size]) for name, size in outputs.items()
    )
    onnx.save(model, path)
    return path


def test_of_several_outputs_the_latents_are_taken(tmp_path, images):
    encoder, decoder = save_autoencoder(tmp_path, images)
    nodes = [helper.make_node("Exp", ["latents"], ["spread"])]
    outputs = {"flat": 3 * SIZE**2, "spread": LATENTS, "latents": LATENTS}
    several = with_outputs(tmp_path / "several.onnx", encoder, nodes, outputs)
    autoencoder = load_onnx(several, decoder, images)
    assert autoencoder.config.encoder_output == "latents"
    assert come_back(autoencoder, images)
    only = with_outputs(tmp_path / "only.onnx", encoder, [], {"flat": 3 * SIZE**2})
    with pytest.raises(
        ValueError, match="encoder: expected an output with the decoder's 4 latents; got flat with"
    ):
        load_onnx(only, decoder, images)


def test_uint8_models_need_no_range(tmp_path, images):
    encoder, decoder = save_autoencoder(tmp_path, images, layout="NHWC", pixel_range=(0, 255))
    model = onnx.load(encoder)
    model.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.UINT8
    model.graph.node[0].input[0] = "floats"
    model.graph.node.insert(0, helper.make_node("Cast", ["images"], ["floats"], to=FLOAT))
    onnx.save(model, encoder)
    model = onnx.load(decoder)
    model.graph.node[-1].output[0] = "floats"
    model.graph.node.extend(
        [
            helper.make_node("Clip", ["floats", "black", "white"], ["clipped"]),
            helper.make_node("Round", ["clipped"], ["rounded"]),
            helper.make_node("Cast", ["rounded"], ["images"], to=onnx.TensorProto.UINT8),
        ]
    )
    for name, value in (("black", 0), ("white", 255)):
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.float32(value), name))
    model.graph.output[0].type.tensor_type.elem_type = onnx.TensorProto.UINT8
    onnx.save(model, decoder)
    found = find_autoencoder(open_part(encoder, "encoder"), open_part(decoder, "decoder"), images)
    assert "; encoder NHWC, uint8; decoder NHWC, uint8; 4 latents; " in found.text
    assert come_back(found.autoencoder, images)


# --- ranges ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("right", RANGES)
def test_a_wrong_range_is_named(tmp_path, images, right):
    files = save_autoencoder(tmp_path, images, pixel_range=right)
    for wrong in RANGES:
        if wrong != right:
            named = rf"by \[{right[0]}, {right[1]}\]; got .* by \[{wrong[0]}, {wrong[1]}\]"
            with pytest.raises(ValueError, match=f"pixel_range: expected the one .* best, 0.00.* {named}"):
                load_onnx(*files, images, pixel_range=wrong)
    assert come_back(load_onnx(*files, images, pixel_range=right), images)


def test_other_ranges_must_be_said(tmp_path, images):
    files = save_autoencoder(tmp_path, images, pixel_range=(-3, 5))
    with pytest.raises(ValueError, match="pixel_range: expected reconstructions with an error below"):
        load_onnx(*files, images)
    assert come_back(load_onnx(*files, images, pixel_range=(-3, 5)), images)


def test_a_range_that_cannot_be_told_is_asked_for(tmp_path, images):
    """Latents that are the pixels come back in any range."""
    kinds = {"images": (FLOAT, ["n", SIZE, SIZE, 3])}, {"latents": (FLOAT, ["n", SIZE, SIZE, 3])}
    copied = [helper.make_node("Identity", ["images"], ["latents"])]
    encoder = save_model(tmp_path / "encoder.onnx", copied, *kinds, {})
    back = [helper.make_node("Identity", ["latents"], ["images"])]
    decoder = save_model(tmp_path / "decoder.onnx", back, *kinds[::-1], {})
    with pytest.raises(
        ValueError, match=r"pixel_range: expected black and white, such as -1 1, since .* equally well"
    ):
        load_onnx(encoder, decoder, images)
    assert load_onnx(encoder, decoder, images, pixel_range=(-1, 1)).config.input_range == (-1, 1)


@pytest.mark.parametrize("pixel_range", [(1, 0), (0, np.nan)])
def test_ranges_that_are_none(tmp_path, images, pixel_range):
    with pytest.raises(ValueError, match="pixel_range: expected finite numbers, with white above black"):
        load_onnx(*save_autoencoder(tmp_path, images), images, pixel_range=pixel_range)


def test_a_decoder_alone(tmp_path, images):
    images = images // 2  # Most of tanh's numbers are below 0.
    encoder, decoder = save_autoencoder(tmp_path, images, pixel_range=(-1, 1))
    latents = encode_images(load_onnx(encoder, decoder, images), images)
    with pytest.raises(ValueError, match="encoder: expected an encoder, or latents of real images"):
        load_onnx(None, decoder, images)
    with pytest.raises(ValueError, match="pixel_range: expected black and white of the decoder's images"):
        load_onnx(None, decoder, latents=latents)
    with pytest.raises(ValueError, match=r"expected floats in \[0, 1\]; got -.* pass pixel_range=\(-1, 1\)"):
        load_onnx(None, decoder, latents=latents, pixel_range=(0, 1))
    with pytest.raises(ValueError, match="latents: expected the decoder's 4 columns; got 3"):
        load_onnx(None, decoder, latents=latents[:, :3], pixel_range=(-1, 1))
    autoencoder = load_onnx(None, decoder, latents=latents, pixel_range=(-1, 1))
    assert np.abs(decode_latents(autoencoder, latents).astype(int) - images).max() <= 2
    with pytest.raises(
        ValueError, match="encoder: expected an autoencoder with an encoder; got a decoder alone"
    ):
        encode_images(autoencoder, images)


# --- functions ---------------------------------------------------------------------------------------


def test_functions(images):
    flat = images.reshape(len(images), -1) / 255
    axes = np.linalg.svd(flat - flat.mean(axis=0), full_matrices=False)[2][:LATENTS]

    def encode(images):
        assert images.dtype == np.uint8
        return (images.reshape(len(images), -1) / 255 - flat.mean(axis=0)) @ axes.T

    def decode(latents):
        assert latents.dtype == np.float32
        return 2 * (latents @ axes + flat.mean(axis=0)).reshape(-1, SIZE, SIZE, 3) - 1

    found = find_autoencoder(PythonFunction("m:encode", encode), PythonFunction("m:decode", decode), images)
    assert found.autoencoder.config.pixel_range == (-1, 1)
    assert found.error < 0.01 < found.mean_error
    assert come_back(found.autoencoder, images)


@pytest.mark.parametrize(
    ("encode", "message"),
    [
        (
            lambda x: np.zeros((len(x), 4, 2)),
            r"encoder: expected latents \(1, D\) for 1 images; got shape \(1, 4, 2\)",
        ),
        (
            lambda x: np.zeros((1, 4)),
            r"encoder: expected latents \(32, D\) for 32 images; got shape \(1, 4\)",
        ),
    ],
)
def test_functions_that_give_no_latents(images, encode, message):
    decoder = PythonFunction("m:decode", lambda z: np.zeros((len(z), SIZE, SIZE, 3)))
    with pytest.raises(ValueError, match=message):
        find_autoencoder(PythonFunction("m:encode", encode), decoder, images)


# --- refusals ----------------------------------------------------------------------------------------


def test_files_that_are_no_models(tmp_path, images):
    encoder, decoder = save_autoencoder(tmp_path, images)
    with pytest.raises(FileNotFoundError, match=r"encoder: expected an ONNX file; got .*absent.onnx"):
        load_onnx(tmp_path / "absent.onnx", decoder, images)
    for content in (b"", b"weights", encoder.read_bytes()[:300]):
        (tmp_path / "broken.onnx").write_bytes(content)
        with pytest.raises(ValueError, match=r"encoder: expected an ONNX (file|model)"):
            load_onnx(tmp_path / "broken.onnx", decoder, images)
    save_autoencoder(tmp_path, images, external=True)
    (tmp_path / "weights.bin").unlink()
    with pytest.raises(
        ValueError, match=r"encoder: expected an ONNX file of up to 2 GiB with its weights; got"
    ):
        load_onnx(encoder, decoder, images)


def test_models_that_do_not_fit(tmp_path, images):
    encoder, decoder = save_autoencoder(tmp_path, images)
    with pytest.raises(
        ValueError, match=r"decoder: expected images of 4 x 4 pixels and 3 channels; got a model"
    ):
        load_onnx(encoder, decoder, images[:, :4, :4])
    with pytest.raises(ValueError, match=r"images: expected square images of 1 or 3 channels; got"):
        load_onnx(encoder, decoder, images[:, :4])
    with pytest.raises(ValueError, match=r"decoder: expected images of 8 x 8 pixels .* of shape \(n, 4\)"):
        load_onnx(decoder, encoder, images)
    with pytest.raises(TypeError, match="images: expected a NumPy array of uint8 images; got float64"):
        load_onnx(encoder, decoder, images / 255)
    (tmp_path / "grey").mkdir()
    other, _ = save_autoencoder(tmp_path / "grey", images[..., :1])
    with pytest.raises(
        ValueError, match="encoder: expected images of 8 x 8 pixels and 3 channels; got a model"
    ):
        load_onnx(other, decoder, images)


def test_models_of_several_inputs(tmp_path, images):
    _, decoder = save_autoencoder(tmp_path, images)
    kinds = {"images": (FLOAT, ["n", 3]), "noise": (FLOAT, ["n", 3])}
    nodes = [helper.make_node("Add", ["images", "noise"], ["latents"])]
    encoder = save_model(tmp_path / "two.onnx", nodes, kinds, {"latents": (FLOAT, ["n", 3])}, {})
    with pytest.raises(ValueError, match="encoder: expected a model with one input; got 2: images, noise"):
        load_onnx(encoder, decoder, images)


def test_models_that_draw_random_numbers(tmp_path, images):
    encoder, decoder = save_autoencoder(tmp_path, images)
    nodes = [
        helper.make_node("RandomNormalLike", ["latents"], ["noise"], scale=0.1),
        helper.make_node("Add", ["latents", "noise"], ["drawn"]),
    ]
    random = with_outputs(tmp_path / "random.onnx", encoder, nodes, {"drawn": LATENTS})
    with pytest.raises(ValueError, match="encoder: expected the same results for the same rows; got others"):
        load_onnx(random, decoder, images)


# --- of PyTorch --------------------------------------------------------------------------------------


@pytest.mark.slow
def test_models_that_pytorch_exports(tmp_path, images):
    torch = pytest.importorskip("torch")
    pytest.importorskip("onnxscript")
    flat = torch.tensor(
        images.transpose(0, 3, 1, 2).reshape(len(images), -1) / 127.5 - 1, dtype=torch.float32
    )
    mean = flat.mean(dim=0)
    axes = torch.linalg.svd(flat - mean, full_matrices=False)[2][:LATENTS]
    encode, decode = torch.nn.Linear(192, LATENTS), torch.nn.Linear(LATENTS, 192)
    with torch.no_grad():
        encode.weight.copy_(axes)
        encode.bias.copy_(-axes @ mean)
        decode.weight.copy_(axes.T)
        decode.bias.copy_(mean)
    encoder = torch.nn.Sequential(torch.nn.Flatten(), encode)
    decoder = torch.nn.Sequential(decode, torch.nn.Unflatten(1, (3, SIZE, SIZE)))
    batch = {0: torch.export.Dim("batch")}
    for name, network, example in (
        ("encoder", encoder, (2, 3, SIZE, SIZE)),
        ("decoder", decoder, (2, LATENTS)),
    ):
        torch.onnx.export(
            network,
            (torch.zeros(example),),
            tmp_path / f"{name}.onnx",
            dynamo=True,
            dynamic_shapes=(batch,),
        )
    autoencoder = load_onnx(tmp_path / "encoder.onnx", tmp_path / "decoder.onnx", images)
    assert autoencoder.config.pixel_range == (-1, 1)
    assert come_back(autoencoder, images)
