"""Features of DINOv2 and CLIP, whose weights are given as a file of arrays.

The file is the ``.safetensors`` file that Hugging Face publishes. It holds arrays and their names, and no
code. All sizes of the network are inferred from it. CLIP's network for texts is not read.
"""

import math
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ellipsoid.blocks import map_rows
from ellipsoid.checks import check_images
from ellipsoid.models.autoencoder import as_floats
from ellipsoid.models.features.resizing import centred_squares, resized
from ellipsoid.models.features.transformer import HEAD, class_token, resampled

# Images at a time, by the kind of device. On a CPU, 8 take 1.7 times as long each as 2 do.
_BATCH_SIZES = {"cpu": 2}
_BATCH_SIZE = 32


class _Sizes(NamedTuple):
    width: int
    depth: int
    patch: int
    n_tokens: int
    n_features: int


@dataclass(frozen=True, eq=False)  # compared by identity, so it can be static
class _Kind:
    """A network as it was published."""

    name: str
    title: str
    model: str  # with which figures are published
    others: str
    sizes: _Sizes  # of that model
    figure: str
    mean: tuple[float, float, float]  # of red, green and blue in training, and their deviation
    deviation: tuple[float, float, float]
    side: int | None  # of the images; None for that in training
    crops: bool  # images that are not square; otherwise they are squeezed
    activation: Callable[[jax.Array], jax.Array]
    epsilon: float
    # Names in the file by ours. A norm and a layer have a weight and a bias.
    arrays: dict[str, str]
    block: str
    blocks: dict[str, str]
    within: tuple[str, ...]  # beginnings of all names of the network
    ignored: str


def _quick_gelu(x: jax.Array) -> jax.Array:
    return x * jax.nn.sigmoid(1.702 * x)


_DINOV2 = _Kind(
    name="dinov2",
    title="DINOv2",
    model="facebook/dinov2-large",
    others="facebook/dinov2-base or -small",
    sizes=_Sizes(1024, 24, 14, 1 + 37**2, 1024),
    figure="FD-DINOv2",
    mean=(0.485, 0.456, 0.406),
    deviation=(0.229, 0.224, 0.225),
    side=224,
    crops=False,
    activation=partial(jax.nn.gelu, approximate=False),
    epsilon=1e-6,
    arrays={
        "class": "embeddings.cls_token",
        "positions": "embeddings.position_embeddings",
        "patches": "embeddings.patch_embeddings.projection.weight",
        "patches_bias": "embeddings.patch_embeddings.projection.bias",
        "after": "layernorm",
    },
    block="encoder.layer.",
    blocks={
        "norm1": "norm1",
        "query": "attention.attention.query",
        "key": "attention.attention.key",
        "value": "attention.attention.value",
        "out": "attention.output.dense",
        "scale1": "layer_scale1.lambda1",
        "norm2": "norm2",
        "widen": "mlp.fc1",
        "narrow": "mlp.fc2",
        "scale2": "layer_scale2.lambda1",
    },
    within=("",),
    ignored="embeddings.mask_token",
)

_CLIP = _Kind(
    name="clip",
    title="CLIP",
    model="openai/clip-vit-large-patch14-336",
    others="openai/clip-vit-large-patch14, -base-patch16 or -base-patch32",
    sizes=_Sizes(1024, 24, 14, 1 + 24**2, 768),
    figure="CMMD",
    mean=(0.48145466, 0.4578275, 0.40821073),
    deviation=(0.26862954, 0.26130258, 0.27577711),
    side=None,
    crops=True,
    activation=_quick_gelu,
    epsilon=1e-5,
    arrays={
        "class": "vision_model.embeddings.class_embedding",
        "positions": "vision_model.embeddings.position_embedding.weight",
        "patches": "vision_model.embeddings.patch_embedding.weight",
        "before": "vision_model.pre_layrnorm",
        "after": "vision_model.post_layernorm",
        "projection": "visual_projection.weight",
    },
    block="vision_model.encoder.layers.",
    blocks={
        "norm1": "layer_norm1",
        "query": "self_attn.q_proj",
        "key": "self_attn.k_proj",
        "value": "self_attn.v_proj",
        "out": "self_attn.out_proj",
        "norm2": "layer_norm2",
        "widen": "mlp.fc1",
        "narrow": "mlp.fc2",
    },
    within=("vision_model.", "visual_projection."),
    ignored="vision_model.embeddings.position_ids",
)

_NORMS = ("before", "after", "norm1", "norm2")
_LAYERS = ("query", "key", "value", "out", "widen", "narrow")

# The network's own code, with which FD-DINOv2 is published, interpolates positions at a scale of 16.1 / 37
# instead of 16 / 37. Transformers has dropped this.
_OFFSET = 0.1


@dataclass(frozen=True, eq=False)
class PretrainedFeatures:
    """Features of DINOv2 or CLIP, as `dinov2_features` and `clip_features` make them.

    Attributes
    ----------
    kind : object
        Constants of the network, and names in its file.
    sizes : tuple of int
        Width, blocks, patch, tokens and features of the network.
    network : dict
        Arrays of the network, a pytree for `ellipsoid.models.features.transformer.class_token`.
    """

    kind: _Kind = field(repr=False)
    sizes: _Sizes
    network: dict[str, Any] = field(repr=False)

    @property
    def name(self) -> str:
        """Name of the space, one word."""
        return self.kind.name

    @property
    def comparable(self) -> bool:
        """Whether the network has the sizes of the one that figures are published with."""
        return self.sizes == self.kind.sizes

    @property
    def note(self) -> str:
        """One sentence that says what the features are."""
        kind, (width, depth, *_, n_features) = self.kind, self.sizes
        start = f"{n_features:,} features of {kind.title}, {depth} blocks of width {width:,}"
        if self.comparable:
            return f"{start}: those of published {kind.figure} figures, if the weights are {kind.model}'s."
        return f"{start}; published {kind.figure} figures are those of {kind.model}."

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Give the features of images of any size, a row each; grey ones are repeated in all channels.

        Images are resized as for published figures: by Pillow's bicubic filter, rounded to 8 bits. CLIP sees
        the largest centred square, and DINOv2 the whole image, squeezed to 224 x 224 pixels.
        """
        check_images("images", images, channels=(1, 3))
        kind = self.kind
        side = kind.side or math.isqrt(self.sizes.n_tokens - 1) * self.sizes.patch

        def see(batch: np.ndarray) -> jax.Array:
            return _features(
                kind, self.network, resized(centred_squares(batch) if kind.crops else batch, side)
            )

        size = min(_BATCH_SIZES.get(jax.default_backend(), _BATCH_SIZE), max(len(images), 1))
        return map_rows(see, images, size, np.empty((len(images), self.sizes.n_features), np.float32))


def dinov2_features(weights: str | os.PathLike[str] | None = None) -> PretrainedFeatures:
    """Judge images by DINOv2's features (Oquab et al., 2023), those of published FD-DINOv2 figures.

    They tell images apart as people do, better than Inception's (Stein et al., 2023). The features are the
    class token after the last norm. Reading the file needs ``ellipsoid[judges]``; no PyTorch is needed.

    Parameters
    ----------
    weights : path
        File ``model.safetensors`` of facebook/dinov2-large, with which figures are published, of -base or of
        -small. The networks with registers and the giant one are not supported.

    Raises
    ------
    ImportError
        If safetensors is not installed.
    FileNotFoundError
        If there is no such file.
    ValueError
        If no file is given, or it holds other arrays.
    """
    return _space(_DINOV2, weights)


def clip_features(weights: str | os.PathLike[str] | None = None) -> PretrainedFeatures:
    """Judge images by CLIP's features (Radford et al., 2021), those of published CMMD figures.

    The features are the embedding of an image, which is not normalised. Reading the file needs
    ``ellipsoid[judges]``; no PyTorch is needed.

    Parameters
    ----------
    weights : path
        File ``model.safetensors`` of openai/clip-vit-large-patch14-336, with which figures are published, of
        openai/clip-vit-large-patch14, -base-patch16 or -base-patch32.

    Raises
    ------
    ImportError
        If safetensors is not installed.
    FileNotFoundError
        If there is no such file.
    ValueError
        If no file is given, or it holds other arrays.
    """
    return _space(_CLIP, weights)


@partial(jax.jit, static_argnums=0)
def _features(kind: _Kind, network: dict[str, Any], images: jax.Array) -> jax.Array:
    mean, deviation = (jnp.asarray(values)[None, None, None] for values in (kind.mean, kind.deviation))
    return class_token(network, (as_floats(images) - mean) / deviation, kind.activation, kind.epsilon)


# --- the file ----------------------------------------------------------------------------------------


def _space(kind: _Kind, weights: str | os.PathLike[str] | None) -> PretrainedFeatures:
    expected = f"weights: expected the file model.safetensors of {kind.model} (or {kind.others})"
    if weights is None:
        raise ValueError(f"{expected}, as Hugging Face publishes it; got None")
    try:
        from safetensors import SafetensorError, safe_open
    except ImportError:
        raise ImportError(f"{kind.name} needs safetensors: pip install safetensors") from None
    path = Path(weights)
    if not path.is_file():
        raise FileNotFoundError(f"{expected}; got {path}, no such file")
    try:
        with safe_open(path, "numpy") as file:
            names = [name for name in file.keys() if name.startswith(kind.within)]  # noqa: SIM118
            slices = {name: file.get_slice(name) for name in names}
            sizes = _checked(kind, {name: tuple(part.get_shape()) for name, part in slices.items()})
            types = {part.get_dtype() for name, part in slices.items() if name != kind.ignored}
            if types - {"F32", "F16"}:
                raise ValueError(f"numbers of the types {', '.join(sorted(types))}")
            return PretrainedFeatures(kind, sizes, _network(kind, sizes, file.get_tensor))
    except (SafetensorError, ValueError) as error:
        raise ValueError(f"{expected}; got {path}: {error}") from None


def _checked(kind: _Kind, shapes: dict[str, tuple[int, ...]]) -> _Sizes:
    """Infer the sizes of a network from the shapes of its arrays, all of which must fit."""
    if any(".weights_in." in name for name in shapes):
        raise ValueError("the giant network, whose blocks differ (SwiGLU)")
    if any("register" in name for name in shapes):
        raise ValueError("a network with registers")
    widening = f"{kind.block}0.{kind.blocks['widen']}.weight"
    first = [widening, *(name for ours, name in kind.arrays.items() if ours not in ("before", "after"))]
    _refuse("without", [name for name in first if name not in shapes])
    at = {ours: (*(0,) * 4, *shapes[name]) for ours, name in kind.arrays.items() if name in shapes}
    width, (hidden, _) = at["class"][-1], (0, 0, *shapes[widening])[-2:]
    depth = len(
        {name.removeprefix(kind.block).split(".")[0] for name in shapes if name.startswith(kind.block)}
    )
    n_features = at["projection"][-2] if "projection" in at else width
    sizes = _Sizes(width, depth, at["patches"][-1], at["positions"][-2], n_features)
    wanted = dict(_shapes(kind, sizes, hidden))
    _refuse("without", [name for name in wanted if name not in shapes])
    _refuse("with", [name for name in shapes if name not in wanted and name != kind.ignored])
    # Some arrays have further axes of length 1 in front.
    misshapen = [
        name
        for name, shape in wanted.items()
        if shapes[name] != (1,) * (len(shapes[name]) - len(shape)) + shape
    ]
    _refuse("with another shape of", misshapen)
    is_square = min(sizes) > 0 and math.isqrt(sizes.n_tokens - 1) ** 2 == sizes.n_tokens - 1
    if not is_square or width % HEAD or (kind.side or 0) % sizes.patch:
        raise ValueError(f"a network of other sizes: {sizes}")
    return sizes


def _shapes(kind: _Kind, sizes: _Sizes, hidden: int) -> Iterable[tuple[str, tuple[int, ...]]]:
    """Give the name and shape of every array."""
    width, patch = sizes.width, sizes.patch
    own = {
        "positions": (sizes.n_tokens, width),
        "patches": (width, 3, patch, patch),
        "projection": (sizes.n_features, width),
        "widen": (hidden, width),
        "narrow": (width, hidden),
    }
    blocks = [
        (ours, f"{kind.block}{i}.{name}") for i in range(sizes.depth) for ours, name in kind.blocks.items()
    ]
    for ours, name in [*kind.arrays.items(), *blocks]:
        if ours in _LAYERS:
            shape = own.get(ours, (width, width))
            yield from ((f"{name}.weight", shape), (f"{name}.bias", shape[:1]))
        elif ours in _NORMS:
            yield from ((f"{name}.weight", (width,)), (f"{name}.bias", (width,)))
        else:
            yield name, own.get(ours, (width,))


def _refuse(how: str, names: list[str]) -> None:
    if names:
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        raise ValueError(f"a file {how} {names[0]}{more}")


def _network(kind: _Kind, sizes: _Sizes, read: Callable[[str], np.ndarray]) -> dict[str, Any]:
    """Read the arrays in the form that `class_token` takes."""

    def array(name: str) -> np.ndarray:
        values = np.asarray(read(name), np.float32)
        return values.T if values.ndim == 2 else values.reshape(1, 1, -1)

    def own(ours: str, name: str, get: Callable[[str], np.ndarray]) -> Any:
        if ours in _NORMS + _LAYERS:
            return tuple(jnp.asarray(get(f"{name}.{part}")) for part in ("weight", "bias"))
        return jnp.asarray(get(name))

    def stacked(name: str) -> np.ndarray:
        return np.stack([array(f"{kind.block}{i}.{name}") for i in range(sizes.depth)])

    arrays = dict(kind.arrays)
    positions = read(arrays.pop("positions")).reshape(sizes.n_tokens, sizes.width)
    patches = read(arrays.pop("patches")).transpose(2, 3, 1, 0)
    return {
        "patches": jnp.asarray(patches, jnp.float32),
        "positions": jnp.asarray(_placed(kind, sizes, positions)[None], jnp.float32),
        "blocks": {ours: own(ours, name, stacked) for ours, name in kind.blocks.items()},
        **{ours: own(ours, name, array) for ours, name in arrays.items()},
    }


def _placed(kind: _Kind, sizes: _Sizes, positions: np.ndarray) -> np.ndarray:
    """Interpolate the vectors of positions for the size of the images, if it is another one."""
    grid = math.isqrt(sizes.n_tokens - 1)
    side = grid if kind.side is None else kind.side // sizes.patch
    if side == grid:
        return positions
    of_patches = resampled(positions[1:].reshape(grid, grid, -1), side, _OFFSET)
    return np.concatenate([positions[:1], of_patches.reshape(side**2, -1)])
