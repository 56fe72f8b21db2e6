"""Features of a small network that is trained on the data at hand."""

import dataclasses
import os
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Self

import jax
import numpy as np
from flax import nnx

from ellipsoid.archive import Description, Entries, Format, digest, load_archive, save_archive
from ellipsoid.blocks import map_rows
from ellipsoid.checks import check_images, check_unmasked
from ellipsoid.models.autoencoder import Encoder, as_floats
from ellipsoid.models.features.learning import FeatureNetworkConfig, encoder_shape, learn
from ellipsoid.models.features.space import BATCH_SIZE

_FORMAT = Format("ellipsoid.NetworkFeatures", 1, "feature network")
# Options that had other names when the first networks were saved.
_FORMER_NAMES = {"mirror": "horizontal_flip", "light": "color_jitter"}


@dataclass(frozen=True, eq=False)
class NetworkFeatures:
    """Features of a small network that was trained on the data at hand, by `train_network`.

    Attributes
    ----------
    encoder : Encoder
        Map from pixels in [0, 1] to features. On training images they have mean 0 and, over all of them, mean
        square 1.
    config : FeatureNetworkConfig
    image_shape : tuple of int
        Height, width and channels.
    n_labels : int or None
        Number of labels that it was trained to tell; None without labels.
    accuracy : float
        Share of the held-back images, or of their views, that it classified correctly.
    trained_on : str
        SHA-256 of the training images and labels.
    """

    encoder: Encoder
    config: FeatureNetworkConfig
    image_shape: tuple[int, int, int]
    n_labels: int | None
    accuracy: float
    trained_on: str
    name: str = field(default="network", init=False)
    comparable: bool = field(default=False, init=False)

    @property
    def note(self) -> str:
        """One sentence that says what the features are."""
        task = (
            "to know an image again in another view"
            if self.n_labels is None
            else f"to tell the {self.n_labels} labels"
        )
        return (
            f"{self.config.n_features} features of a small network that was trained on these data {task} "
            f"({self.accuracy:.1%} right on images kept back); published FID figures cannot be held against "
            "them."
        )

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Give the features `(n, n_features)`."""
        check_images("images", images, self.image_shape)
        graph, weights = nnx.split(self.encoder)
        features = np.empty((len(images), self.config.n_features), np.float32)
        return map_rows(lambda batch: _encode(graph, weights, batch), images, BATCH_SIZE, features)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the network to one file in NumPy's ``.npz`` format, completely or not at all.

        Raises
        ------
        OSError
            If the file cannot be written.
        """
        names = ("image_shape", "n_labels", "accuracy", "trained_on")
        description = {name: getattr(self, name) for name in names} | {
            "config": dataclasses.asdict(self.config)
        }
        leaves = {name: np.asarray(leaf) for name, leaf in _named(nnx.state(self.encoder)).items()}
        save_archive(path, _FORMAT, leaves, description)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read a network that `save` wrote. Nothing is ever unpickled.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        ValueError
            If the file is damaged, holds something else, or is of another format version.
        """
        return load_archive(path, _FORMAT, cls._from_entries)

    @classmethod
    def _from_entries(cls, arrays: Entries, description: Description) -> Self:
        try:
            return cls._made_of(arrays, description)
        except (TypeError, AttributeError, LookupError, OverflowError) as error:  # values of other types
            raise ValueError(f"description: expected what `save` writes; got {error}") from error

    @classmethod
    def _made_of(cls, arrays: Entries, description: Description) -> Self:
        options: dict[str, Any] = dict(description["config"])
        for former, name in _FORMER_NAMES.items():
            if former in options:
                options[name] = options.pop(former)
        unknown = options.keys() - {option.name for option in dataclasses.fields(FeatureNetworkConfig)}
        if unknown:
            raise ValueError(f"config: expected options of a FeatureNetworkConfig; got {sorted(unknown)}")
        config, image_shape = FeatureNetworkConfig(**options), tuple(description["image_shape"])
        shape = encoder_shape(config, image_shape[1], image_shape[2])
        graph, expected = nnx.split(nnx.eval_shape(lambda: Encoder(shape, rngs=nnx.Rngs(0))))
        leaves = []
        for name, like in _named(expected).items():
            leaf = arrays[name]
            if leaf.shape != like.shape or leaf.dtype != like.dtype or not np.isfinite(leaf).all():
                raise ValueError(
                    f"{name}: expected finite {like.dtype} of shape {like.shape}; "
                    f"got {leaf.dtype} of shape {leaf.shape}"
                )
            leaves.append(jax.numpy.asarray(leaf))
        structure = jax.tree.structure(nnx.to_pure_dict(expected))
        nnx.replace_by_pure_dict(expected, jax.tree.unflatten(structure, leaves))
        others = {name: description[name] for name in ("n_labels", "accuracy", "trained_on")}
        return cls(nnx.merge(graph, expected), config, image_shape, **others)


def train_network(
    images: np.ndarray,
    labels: np.ndarray | None = None,
    config: FeatureNetworkConfig | None = None,
    *,
    path: str | os.PathLike[str] | None = None,
    progress: bool = True,
) -> NetworkFeatures:
    """Train a small network on the data at hand, to judge other images by its features.

    Parameters
    ----------
    images : (n, size, size, channels) uint8 array
        Training images, at least four; may be memory-mapped.
    labels : (n,) array of integers, optional
        Labels of the images: any integers. Without labels, the network learns to find an image's other view
        among those of other images.
    config : FeatureNetworkConfig, optional
    path : path, optional
        File for the network. If it holds one that was trained in the same way on the same images, that one is
        read; any other is replaced.
    progress : bool
        Show a progress bar.

    Raises
    ------
    TypeError
        If the images are no uint8 NumPy array.
    ValueError
        If the images are not square, neither grey nor in colour, fewer than four, or too small for the
        layers; the labels are not one integer an image, of two values at least; or the file holds no feature
        network.
    OSError
        If the file can't be written.
    """
    config = config or FeatureNetworkConfig()
    check_images("images", images, channels=(1, 3), least=4)
    if images.shape[1] != images.shape[2]:
        raise ValueError(f"images: expected square images; got shape {images.shape}")
    encoder_shape(config, *images.shape[2:])  # refuses images too small for the layers
    if labels is not None:
        labels = _checked_labels(labels, len(images))
    if len(images) > config.max_images:
        chosen = np.random.default_rng((config.seed, 0)).permutation(len(images))[: config.max_images]
        chosen.sort()
        images, labels = images[chosen], None if labels is None else labels[chosen]
    codes = None if labels is None else np.unique(labels, return_inverse=True)[1].astype(np.int32)
    trained_on = digest((images, codes))
    if path is not None and Path(path).exists():
        saved = NetworkFeatures.load(path)
        if (saved.config, saved.trained_on) == (config, trained_on):
            return saved
    encoder, accuracy = learn(np.asarray(images), codes, config, progress=progress)
    n_labels = None if codes is None else int(codes.max()) + 1
    shape = images.shape[1], images.shape[2], images.shape[3]
    network = NetworkFeatures(encoder, config, shape, n_labels, accuracy, trained_on)
    if path is not None:
        network.save(path)
    return network


def _checked_labels(labels, n):
    labels = np.asarray(check_unmasked("labels", labels))
    if labels.shape != (n,) or labels.dtype.kind not in "iu":
        raise ValueError(
            f"labels: expected one integer for each of {n} images; got {labels.dtype} of shape {labels.shape}"
        )
    if (labels == labels[0]).all():
        raise ValueError(f"labels: expected at least two different ones; got {labels[0]} alone")
    return labels


@partial(jax.jit, static_argnums=0)
def _encode(graph, weights, images):
    return nnx.merge(graph, weights)(as_floats(images))


def _named(tree: nnx.State) -> dict[str, Any]:
    # Plain dictionaries have stable paths; those of variables in a state depend on the version of Flax.
    leaves, _ = jax.tree_util.tree_flatten_with_path(nnx.to_pure_dict(tree))
    return {jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in leaves}
