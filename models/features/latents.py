"""Latents of an autoencoder as features: they are the space that is sampled, so they judge it with bias."""

from dataclasses import dataclass, field

import numpy as np

from ellipsoid.models.autoencoder import ImageAutoencoder, encode_images


@dataclass(frozen=True, eq=False)
class LatentFeatures:
    """Latents of an autoencoder.

    Attributes
    ----------
    autoencoder : Autoencoder or ImportedAutoencoder
    """

    autoencoder: ImageAutoencoder
    name: str = field(default="latents", init=False)
    comparable: bool = field(default=False, init=False)

    @property
    def note(self) -> str:
        """One sentence that says what the features are."""
        return (
            f"{self.autoencoder.config.latent_dim} latents of the autoencoder, the space that is sampled: no "
            "independent judge; published FID figures cannot be held against it."
        )

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Give the latents `(n, latent_dim)`."""
        return encode_images(self.autoencoder, images)


def latent_features(autoencoder: ImageAutoencoder) -> LatentFeatures:
    """Judge images by the latents that the encoder of an autoencoder gives for them."""
    return LatentFeatures(autoencoder)
