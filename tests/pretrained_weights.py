"""Files of random weights of tiny networks, laid out as Hugging Face publishes DINOv2 and CLIP."""

import numpy as np

WIDTH, HIDDEN, DEPTH, HEADS = 128, 256, 2, 2
# The side of the patches, the number along a side at which positions were learned, and that of an image.
GRIDS = {"dinov2": (56, 5, 4), "clip": (8, 3, 3)}


def layers(prefix, names, rng):
    arrays = {}
    for name, (rows, columns) in names.items():
        arrays[f"{prefix}{name}.weight"] = rng.normal(size=(rows, columns)) / np.sqrt(columns)
        arrays[f"{prefix}{name}.bias"] = rng.normal(size=rows)
    return arrays


def norms(prefix, names, rng):
    return {f"{prefix}{name}.{part}": rng.normal(size=WIDTH) for name in names for part in ("weight", "bias")}


def random_arrays(name):
    """Random arrays under the names that transformers gives them."""
    rng = np.random.default_rng(0)
    patch, grid, _ = GRIDS[name]
    kernel, positions = (
        rng.normal(size=(WIDTH, 3, patch, patch)) / patch,
        rng.normal(size=(grid**2 + 1, WIDTH)),
    )
    square = (WIDTH, WIDTH)
    if name == "dinov2":
        arrays = {
            "embeddings.cls_token": rng.normal(size=(1, 1, WIDTH)),
            "embeddings.mask_token": rng.normal(size=(1, WIDTH)),
            "embeddings.position_embeddings": positions[None],
            "embeddings.patch_embeddings.projection.weight": kernel,
            "embeddings.patch_embeddings.projection.bias": rng.normal(size=WIDTH),
            **norms("", ["layernorm"], rng),
        }
        for i in range(DEPTH):
            start = f"encoder.layer.{i}."
            named = {f"attention.attention.{part}": square for part in ("query", "key", "value")}
            named |= {
                "attention.output.dense": square,
                "mlp.fc1": (HIDDEN, WIDTH),
                "mlp.fc2": (WIDTH, HIDDEN),
            }
            arrays |= layers(start, named, rng) | norms(start, ["norm1", "norm2"], rng)
            arrays |= {f"{start}layer_scale{n}.lambda1": rng.normal(size=WIDTH) for n in (1, 2)}
    else:
        arrays = {
            "logit_scale": np.array(1.0),
            "text_model.final_layer_norm.weight": np.ones(3),
            "visual_projection.weight": rng.normal(size=(16, WIDTH)) / 8,
            "vision_model.embeddings.class_embedding": rng.normal(size=WIDTH),
            "vision_model.embeddings.patch_embedding.weight": kernel,
            "vision_model.embeddings.position_embedding.weight": positions,
            **norms("vision_model.", ["pre_layrnorm", "post_layernorm"], rng),
        }
        for i in range(DEPTH):
            start = f"vision_model.encoder.layers.{i}."
            named = {f"self_attn.{part}_proj": square for part in ("q", "k", "v", "out")}
            named |= {"mlp.fc1": (HIDDEN, WIDTH), "mlp.fc2": (WIDTH, HIDDEN)}
            arrays |= layers(start, named, rng) | norms(start, ["layer_norm1", "layer_norm2"], rng)
    return {key: np.asarray(array, np.float32) for key, array in arrays.items()}


def save(path, arrays):
    import safetensors.numpy

    safetensors.numpy.save_file({key: np.ascontiguousarray(array) for key, array in arrays.items()}, path)
    return path
