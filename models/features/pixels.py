"""Pixels on their principal axes: a feature space that sees coarse shape and shade."""

from dataclasses import dataclass, field

import numpy as np

from ellipsoid.blocks import map_rows
from ellipsoid.checks import check_count, check_images
from ellipsoid.models.features.space import BATCH_SIZE

# More images give no better axes: the leading 64 only need to be the same ones each time.
_MAX_PCA_IMAGES = 10_000


@dataclass(frozen=True, eq=False)
class PixelFeatures:
    """Pixels in [0, 1] on principal axes, as `pixel_features` makes them.

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
        """One sentence that says what the features are."""
        return (
            f"Pixels on {len(self.components)} principal axes: coarse shape and shade, blind to fine detail; "
            "published FID figures cannot be held against them."
        )

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Give the features `(n, n_components)`, in units of the pixels."""
        check_images("images", images, self.mean.shape)

        def project(batch):
            pixels = batch / np.float32(255) - self.mean
            return pixels.reshape(len(batch), -1) @ self.components.T

        return map_rows(
            project, images, BATCH_SIZE, np.empty((len(images), len(self.components)), np.float32)
        )


def pixel_features(images: np.ndarray, n_components: int = 64) -> PixelFeatures:
    """Find the principal axes of images, to judge other images by their pixels on these axes.

    The features are not whitened: a distance is one between pixels, as far as the axes show it. Whitening
    would give the last axes, which are mostly noise, the same weight as the first.

    Parameters
    ----------
    images : (n, height, width, channels) uint8 array
        Training images. The axes are those of 10,000 evenly spaced ones, if there are more.
    n_components : int
        Number of axes; there are fewer if there are fewer images or pixels.

    Raises
    ------
    TypeError
        If the images are no uint8 NumPy array, or `n_components` is no integer.
    ValueError
        If the images are neither grey nor in colour, or fewer than two, or `n_components` is below 1.
    """
    from sklearn.decomposition import PCA

    check_images("images", images, channels=(1, 3), least=2)
    check_count("n_components", n_components)
    rows = images[:: -(-len(images) // _MAX_PCA_IMAGES)].reshape(-1, images[0].size) / np.float32(255)
    # `el.fit` would decompose the covariance of all pixels: 19 GB at 128 pixels in colour.
    pca = PCA(min(n_components, *rows.shape), svd_solver="randomized", random_state=0).fit(rows)
    return PixelFeatures(pca.mean_.reshape(images.shape[1:]), np.asarray(pca.components_))
