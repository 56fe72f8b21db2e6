"""Feature spaces to judge images in: pixels after PCA, latents, a network trained on the data, Inception.

A feature space is any callable from uint8 images `(n, height, width, channels)` to float32 features `(n, F)`.
Those made here carry a `name`; a `note` for the reader; and `comparable`, whether their Fréchet distance may
be held against published FID figures.
"""

import dataclasses
import hashlib
import io
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal, Protocol, Self, get_args

import jax
import numpy as np
from flax import nnx

from ellipsoid.archive import Description, Entries, Format, digest, load_archive, save_archive
from ellipsoid.blocks import padded_batches
from ellipsoid.models.autoencoder import Autoencoder, Encoder, as_floats, encode_images
from ellipsoid.models.feature_network import FeatureNetworkConfig, encoder_shape, learn

FeatureName = Literal["pixels", "latents", "network", "inception"]

_FORMAT = Format("ellipsoid.NetworkFeatures", 1, "feature network")
# Options that had other names when the first networks were saved.
_FORMER_NAMES = {"mirror": "horizontal_flip", "light": "color_jitter"}
# Axes of more images are no better: of the leading 64, all that is wanted is that they are the same ones.
_MAX_PCA_IMAGES = 10_000
_BATCH_SIZE = 256


class FeatureSpace(Protocol):
    """What the feature spaces of this module have in common."""

    @property
    def name(self) -> str:
        """One word."""
        ...

    @property
    def comparable(self) -> bool:
        """Whether their Fréchet distance may be held against published FID figures."""
        ...

    @property
    def note(self) -> str:
        """What the features are, in one sentence."""
        ...

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Give the features `(n, F)` float32 of uint8 images `(n, height, width, channels)`."""
        ...


def feature_space(
    name: FeatureName,
    *,
    images: np.ndarray | None = None,
    labels: np.ndarray | None = None,
    autoencoder: Autoencoder | None = None,
    path: str | os.PathLike[str] | None = None,
    horizontal_flip: bool = False,
    weights: str | os.PathLike[str] | None = None,
    download: bool = False,
    progress: bool = True,
) -> FeatureSpace:
    """Make a feature space by its name.

    Parameters
    ----------
    name : {"pixels", "latents", "network", "inception"}
    images : (n, height, width, channels) uint8 array, optional
        Training images: needed for "pixels", and for "network" to be trained on.
    labels, path, horizontal_flip
        For "network": see `train_network`. A network in `path` does without images.
    autoencoder : Autoencoder, optional
        Needed for "latents".
    weights, download
        For "inception": see `inception`.
    progress : bool
        Show a progress bar while a network is trained.

    Raises
    ------
    ValueError
        If the name is unknown, or what this space is made from is missing.
    """
    if name not in get_args(FeatureName):
        raise ValueError(f"name: expected one of {', '.join(get_args(FeatureName))}; got {name!r}")
    if name == "inception":
        return inception(weights, download=download)
    if name == "latents":
        if autoencoder is None:
            raise ValueError("autoencoder: the latents of which autoencoder? Pass one")
        return latents(autoencoder)
    if images is None:
        if name == "network" and path is not None and Path(path).exists():
            return NetworkFeatures.load(path)
        raise ValueError(f"images: the {name} features are made from training images; pass them")
    if name == "pixels":
        return pixels(images)
    config = FeatureNetworkConfig(horizontal_flip=horizontal_flip)
    return train_network(images, labels, config, path=path, progress=progress)


# --- pixels ----------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class PixelFeatures:
    """Pixels in [0, 1] on principal axes, as `pixels` makes it.

    Attributes
    ----------
    mean : (height, width, channels) float32 array
    components : (n_components, height * width * channels) float32 array
    """

    mean: np.ndarray
    components: np.ndarray
    name: str = field(default="pixels", init=False)
    comparable: bool = field(default=False, init=False)

    @property
    def note(self) -> str:
        """What the features are, in one sentence."""
        return (
            f"Pixels on {len(self.components)} principal axes: coarse shape and shade, blind to fine detail; "
            "published FID figures cannot be held against them."
        )

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Give the features `(n, n_components)`, in units of the pixels."""
        _check_images(images, self.mean.shape)

        def project(batch):
            pixels = batch / np.float32(255) - self.mean
            return pixels.reshape(len(batch), -1) @ self.components.T

        return _in_batches(project, images, len(self.components))


def pixels(images: np.ndarray, n_components: int = 64) -> PixelFeatures:
    """Principal axes of images, to judge other images by their pixels on these axes.

    The features are not whitened: a distance is one between pixels, as far as the axes show it. Whitened, the
    last axes, of little but noise, would count as much as the first.

    Parameters
    ----------
    images : (n, height, width, channels) uint8 array
        Training images. The axes are those of 10,000 evenly spaced ones, if there are more.
    n_components : int
        Fewer where there are not so many images or pixels.

    Raises
    ------
    TypeError, ValueError
        If the images are not uint8, or fewer than two, or `n_components` is below 1.
    """
    from sklearn.decomposition import PCA

    _check_images(images)
    if len(images) < 2:
        raise ValueError(f"images: expected at least two; got {len(images)}")
    if n_components < 1:
        raise ValueError(f"n_components: expected at least 1; got {n_components}")
    rows = images[:: -(-len(images) // _MAX_PCA_IMAGES)].reshape(-1, images[0].size) / np.float32(255)
    # Not `el.fit`, which decomposes the covariance of all pixels: 19 GB at 128 pixels in colour.
    pca = PCA(min(n_components, *rows.shape), svd_solver="randomized", random_state=0).fit(rows)
    return PixelFeatures(pca.mean_.reshape(images.shape[1:]), np.asarray(pca.components_))


# --- latents ---------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class LatentFeatures:
    """Latents of an autoencoder.

    Attributes
    ----------
    autoencoder : Autoencoder
    """

    autoencoder: Autoencoder
    name: str = field(default="latents", init=False)
    comparable: bool = field(default=False, init=False)

    @property
    def note(self) -> str:
        """What the features are, in one sentence."""
        return (
            f"{self.autoencoder.config.latent_dim} latents of the autoencoder, the space that is sampled: no "
            "independent judge; published FID figures cannot be held against it."
        )

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Give the latents `(n, latent_dim)`."""
        return encode_images(self.autoencoder, images)


def latents(autoencoder: Autoencoder) -> LatentFeatures:
    """Judge images by the latents that an autoencoder's encoder gives for them."""
    return LatentFeatures(autoencoder)


# --- a network trained on the data -----------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class NetworkFeatures:
    """Features of a small network that was trained on the data at hand, by `train_network`.

    Attributes
    ----------
    encoder : Encoder
        From pixels in [0, 1] to features of mean 0 and, over all of them, mean square 1 on training images.
    config : FeatureNetworkConfig
    image_shape : tuple of int
        Height, width and channels.
    n_labels : int or None
        Number of labels that it was trained to tell; None where it was trained without.
    accuracy : float
        Share of the images kept back, or of their views, that it told rightly.
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
        """What the features are, in one sentence."""
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
        _check_images(images, self.image_shape)
        graph, weights = nnx.split(self.encoder)
        return _in_batches(lambda batch: _encode(graph, weights, batch), images, self.config.n_features)

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

    def _shape(self):
        return encoder_shape(self.config, self.image_shape[1], self.image_shape[2])


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
        What to tell the images apart by: any integers. Without labels the network learns to find an image's
        other view among those of other images.
    config : FeatureNetworkConfig, optional
    path : path, optional
        File to keep the network in. One that was trained in the same way on the same images is read from
        there, any other is replaced.
    progress : bool
        Show a progress bar.

    Raises
    ------
    TypeError, ValueError
        If the images are not square and uint8, fewer than four, or too small for the layers; the labels are
        not one integer an image, of two values at least; or the file holds no feature network.
    """
    config = config or FeatureNetworkConfig()
    _check_images(images)
    if len(images) < 4 or images.shape[1] != images.shape[2]:
        raise ValueError(f"images: expected at least four square ones; got shape {images.shape}")
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
        found = NetworkFeatures.load(path)
        if (found.config, found.trained_on) == (config, trained_on):
            return found
    encoder, accuracy = learn(np.asarray(images), codes, config, progress=progress)
    n_labels = None if codes is None else int(codes.max()) + 1
    shape = images.shape[1], images.shape[2], images.shape[3]
    network = NetworkFeatures(encoder, config, shape, n_labels, accuracy, trained_on)
    if path is not None:
        network.save(path)
    return network


def _checked_labels(labels, n):
    labels = np.asarray(labels)
    if labels.shape != (n,) or labels.dtype.kind not in "iu":
        raise ValueError(
            f"labels: expected one integer for each of {n} images; got {labels.dtype} of shape {labels.shape}"
        )
    if (labels == labels[0]).all():
        raise ValueError(f"labels: expected at least two different ones; all are {labels[0]}")
    return labels


@partial(jax.jit, static_argnums=0)
def _encode(graph, weights, images):
    return nnx.merge(graph, weights)(as_floats(images))


# --- Inception -------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class InceptionFeatures:
    """The 2,048 features of the Inception network by which published FID figures are made.

    Attributes
    ----------
    extractor : torch_fidelity.FeatureExtractorInceptionV3
    device : str
        Where PyTorch computes.
    comparable : bool
        Whether the weights are the published ones.
    """

    extractor: Any
    device: str
    comparable: bool
    name: str = field(default="inception", init=False)

    @property
    def note(self) -> str:
        """What the features are, in one sentence."""
        if not self.comparable:
            return (
                "2,048 features of Inception with weights of your own; published FID figures cannot be held "
                "against them."
            )
        return (
            "2,048 features of Inception: their Fréchet distance is FID, comparable with figures published "
            "for the same real images and the same number of rows, usually 50,000."
        )

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Give the features `(n, 2048)`; grey images are repeated in all three channels."""
        import torch  # pyright: ignore[reportMissingImports]

        _check_images(images)

        def extract(batch):
            colour = np.broadcast_to(batch, (*batch.shape[:3], 3)).transpose(0, 3, 1, 2)
            tensor = torch.from_numpy(np.ascontiguousarray(colour)).to(self.device)
            with torch.inference_mode():
                return self.extractor(tensor)[0].cpu().numpy()

        return _in_batches(extract, images, 2048, batch_size=min(32, max(len(images), 1)))


def inception(
    weights: str | os.PathLike[str] | None = None, *, download: bool = False, device: str = "cpu"
) -> InceptionFeatures:
    """Judge images by Inception's features, those of published FID figures; needs ``ellipsoid[fidelity]``.

    Parameters
    ----------
    weights : path, optional
        File of the weights, as torch-fidelity publishes it: ``weights-inception-2015-12-05-6726825d.pth``.
    download : bool
        Without a file, have PyTorch download the weights (91 MB) or find them in its cache. There is no
        download unless it is asked for.
    device : str
        Where PyTorch computes, such as "cuda".

    Raises
    ------
    ImportError
        If torch-fidelity is not installed.
    FileNotFoundError
        If there is no such file.
    ValueError
        If there is neither a file nor `download`, or the file holds other weights, or more than weights.
    """
    if weights is None and not download:
        raise ValueError(
            "weights: expected the file of Inception's weights; pass its path, or download=True to fetch it"
        )
    try:
        import torch  # pyright: ignore[reportMissingImports]
        from torch_fidelity import feature_extractor_inceptionv3 as v3  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        message = f"inception needs torch-fidelity ({error}): pip install torch-fidelity"
        raise ImportError(message) from None

    url = Path(v3.URL_INCEPTION_V3)
    if weights is None:
        torch.hub.load_state_dict_from_url(v3.URL_INCEPTION_V3, check_hash=True, weights_only=True)
        weights = Path(torch.hub.get_dir(), "checkpoints", url.name)
    content = Path(weights).read_bytes()
    try:
        arrays = torch.load(io.BytesIO(content), weights_only=True, map_location="cpu")
        # torch-fidelity unpickles all that its file holds. So it is given one that holds these arrays alone.
        buffer = io.BytesIO()
        torch.save(dict(arrays), buffer)
        buffer.seek(0)
        extractor = v3.FeatureExtractorInceptionV3("inception-v3-compat", ["2048"], buffer)
    except Exception as error:
        message = f"weights: expected a file of Inception's weights alone, {url.name}; got {weights}"
        raise ValueError(message) from error
    found = hashlib.sha256(content).hexdigest()
    genuine = found.startswith(url.stem.rpartition("-")[2])
    return InceptionFeatures(extractor.to(device), device, genuine)


# --- common ----------------------------------------------------------------------------------------


def _check_images(images: np.ndarray, shape: tuple[int, ...] | None = None) -> None:
    if not isinstance(images, np.ndarray) or images.dtype != np.uint8:
        got = images.dtype if isinstance(images, np.ndarray) else type(images).__name__
        raise TypeError(f"images: expected a numpy array of uint8, as load_images gives; got {got}")
    if images.ndim != 4 or images.shape[3] not in (1, 3) or shape not in (None, images.shape[1:]):
        expected = "height, width, 1 or 3" if shape is None else ", ".join(map(str, shape))
        raise ValueError(f"images: expected shape (n, {expected}); got {images.shape}")


def _in_batches(
    function: Callable[[np.ndarray], Any], images: np.ndarray, n_features: int, batch_size: int = _BATCH_SIZE
) -> np.ndarray:
    features = np.empty((len(images), n_features), np.float32)
    for rows, batch in padded_batches(images, batch_size):
        features[rows] = np.asarray(function(batch))[: rows.stop - rows.start]
    return features


def _named(tree: nnx.State) -> dict[str, Any]:
    # As plain dictionaries: the paths of variables in a state depend on the version of Flax.
    leaves, _ = jax.tree_util.tree_flatten_with_path(nnx.to_pure_dict(tree))
    return {jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in leaves}
