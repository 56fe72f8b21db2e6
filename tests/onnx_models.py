"""Linear autoencoders as ONNX models, and images that they alone can reconstruct."""

import numpy as np
import onnx
from onnx import helper, numpy_helper

SIZE, LATENTS = 8, 4


def patterned_images(n, channels=3, seed=0):
    """Make images of a few random patterns on grey, which are flat in any pixel range but one."""
    patterns = np.random.default_rng(0).uniform(-1, 1, size=(LATENTS, SIZE, SIZE, channels))
    amounts = np.random.default_rng(seed).uniform(-25, 25, size=(n, LATENTS))
    return (150 + np.tensordot(amounts, patterns, 1)).round().astype(np.uint8)


def save_model(path, nodes, takes, gives, weights, **options):
    """Save a model; `takes` and `gives` are the types and shapes of its inputs and outputs by their names."""
    values = [
        [helper.make_tensor_value_info(name, *kind) for name, kind in named.items()]
        for named in (takes, gives)
    ]
    tensors = [numpy_helper.from_array(np.asarray(array), name) for name, array in weights.items()]
    graph = helper.make_graph(nodes, "model", *values, tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, path, **options)
    return path


def save_autoencoder(
    folder,
    images,
    *,
    layout="NCHW",
    pixel_range=(0, 1),
    dtype=np.float32,
    batch="n",
    latent_shape=(LATENTS,),
    external=False,
):
    """Save encoder and decoder of the principal components of some images."""
    black, white = pixel_range
    pixels = images / 255 * (white - black) + black
    if layout == "NCHW":
        pixels = pixels.transpose(0, 3, 1, 2)
    shape, pixels = pixels.shape[1:], pixels.reshape(len(pixels), -1)
    mean = pixels.mean(axis=0)
    axes = np.linalg.svd(pixels - mean, full_matrices=False)[2][:LATENTS].T
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    options = (
        {"save_as_external_data": True, "location": "weights.bin", "size_threshold": 0} if external else {}
    )
    encoder = save_model(
        folder / "encoder.onnx",
        [
            helper.make_node("Flatten", ["images"], ["flat"]),
            helper.make_node("Gemm", ["flat", "axes", "offset"], ["scores"]),
            helper.make_node("Reshape", ["scores", "shape"], ["latents"]),
        ],
        {"images": (kind, [batch, *shape])},
        {"latents": (kind, [batch, *latent_shape])},
        {
            "axes": axes.astype(dtype),
            "offset": (-mean @ axes).astype(dtype),
            "shape": np.array([-1, *latent_shape], np.int64),
        },
        **options,
    )
    decoder = save_model(
        folder / "decoder.onnx",
        [
            helper.make_node("Flatten", ["latents"], ["scores"]),
            helper.make_node("Gemm", ["scores", "axes", "mean"], ["flat"]),
            helper.make_node("Reshape", ["flat", "shape"], ["images"]),
        ],
        {"latents": (kind, [batch, *latent_shape])},
        {"images": (kind, [batch, *shape])},
        {
            "axes": axes.T.astype(dtype),
            "mean": mean.astype(dtype),
            "shape": np.array([-1, *shape], np.int64),
        },
    )
    return encoder, decoder
