"""A feature space by its name."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np

from ellipsoid.models.autoencoder import ImageAutoencoder
from ellipsoid.models.features.efficientnet import efficientnet_features
from ellipsoid.models.features.faces import face_features
from ellipsoid.models.features.inception import Resize, inception_features
from ellipsoid.models.features.latents import latent_features
from ellipsoid.models.features.learning import FeatureNetworkConfig
from ellipsoid.models.features.network import NetworkFeatures, train_network
from ellipsoid.models.features.pixels import pixel_features
from ellipsoid.models.features.pretrained import clip_features, dinov2_features
from ellipsoid.models.features.space import FeatureSpace

FeatureName = Literal["pixels", "latents", "network", "efficientnet", "faces", "inception", "dinov2", "clip"]

T = TypeVar("T")


def feature_space(
    name: FeatureName,
    *,
    images: np.ndarray | None = None,
    labels: np.ndarray | None = None,
    autoencoder: ImageAutoencoder | None = None,
    path: str | os.PathLike[str] | None = None,
    horizontal_flip: bool = False,
    weights: str | os.PathLike[str] | None = None,
    download: bool = False,
    resize: Resize = "original",
    progress: bool = True,
) -> FeatureSpace:
    """Make a feature space by its name.

    Parameters
    ----------
    name : {"pixels", "latents", "network", "efficientnet", "faces", "inception", "dinov2", "clip"}
    images : (n, height, width, channels) uint8 array, optional
        Training images: needed for "pixels", and for "network" to be trained on.
    labels, path, horizontal_flip
        Options of "network": see `train_network`. A network in `path` needs no images.
    autoencoder : Autoencoder or ImportedAutoencoder, optional
        Autoencoder whose latents are the features: needed for "latents".
    weights : path, optional
        File with the weights of "inception", "dinov2" or "clip": see `inception_features`, `dinov2_features`
        and `clip_features`.
    download, resize
        Options of "inception": see `inception_features`.
    progress : bool
        Show a progress bar while a network is trained.

    Raises
    ------
    TypeError
        If the images are no uint8 NumPy array.
    ValueError
        If the name is unknown, what this space is made from is missing, or the space can't be made from it.
    FileNotFoundError
        If there is no file of weights at the path given.
    ImportError
        If "inception" lacks torch-fidelity, "dinov2" or "clip" lacks safetensors, "faces" lacks dlib, or
        "efficientnet" or "faces" lacks the package with its weights.

    Examples
    --------
    >>> import numpy as np
    >>> images = np.random.default_rng(0).integers(0, 256, (50, 8, 8, 3), np.uint8)
    >>> space = feature_space("pixels", images=images)
    >>> space.name, space(images[:5]).shape
    ('pixels', (5, 50))
    """

    def network() -> FeatureSpace:
        if images is None and path is not None and Path(path).exists():
            return NetworkFeatures.load(path)
        config = FeatureNetworkConfig(horizontal_flip=horizontal_flip)
        return train_network(_given("images", images, name), labels, config, path=path, progress=progress)

    # A new space needs a module, a line here and its name above.
    makers: dict[str, Callable[[], FeatureSpace]] = {
        "pixels": lambda: pixel_features(_given("images", images, name)),
        "latents": lambda: latent_features(_given("autoencoder", autoencoder, name)),
        "network": network,
        "efficientnet": efficientnet_features,
        "faces": face_features,
        "inception": lambda: inception_features(weights, download=download, resize=resize),
        "dinov2": lambda: dinov2_features(weights),
        "clip": lambda: clip_features(weights),
    }
    if name not in makers:
        raise ValueError(f"name: expected one of {', '.join(makers)}; got {name!r}")
    if resize != "original" and name != "inception":
        raise ValueError(f"resize: expected original for {name}, which has one way to resize; got {resize}")
    return makers[name]()


def _given(argument: str, value: T | None, name: str) -> T:
    if value is None:
        raise ValueError(f"{argument}: expected what the {name} features are made from; got None")
    return value
