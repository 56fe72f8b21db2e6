"""Configuration of an evaluation, without JAX."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class EvaluateConfig:
    """Options of an evaluation."""

    against: str | None = None
    """Unseen images to compare with: any source that `ellipsoid train` takes. By default unseen faces if the
    run is a demonstration, or else the images that training kept back to choose its best epoch."""
    against_split: Literal["all", "train", "valid", "test"] = "test"
    """Part of the unseen images, for sources with parts such as CelebA."""
    images: str | None = None
    """Training images: any source that `ellipsoid train` takes. By default the images that the run
    records."""
    features: Literal["network", "pixels", "latents", "efficientnet", "inception", "dinov2", "clip"] = (
        "network"
    )
    """Features that images are compared by: those of a small network that is trained on the training images;
    principal components of the pixels; the run's own latents; those of EfficientNet-Lite0, if the extra
    "judges" is installed; those of Inception, if torch-fidelity is installed; or those of DINOv2 or CLIP, if
    the extra "judges" is installed. The last three need --weights."""
    reference: Literal["images", "reconstructions"] = "images"
    """Images that draws are compared with: the unseen images, or their reconstructions by the autoencoder, so
    that the loss by the decoder does not count. EfficientNet tells decoded images from real ones, and other
    networks that were trained on photographs may too: only reconstructions then tell which draws are
    better."""
    weights: Path | None = None
    """File with the weights of Inception, as torch-fidelity publishes it, or of DINOv2 or CLIP, as Hugging
    Face publishes it (model.safetensors)."""
    download: bool = False
    """Permission to download Inception's weights (91 MB) if --weights is not given."""
    n: int | None = None
    """Number of unseen images, and of generated images for each candidate. By default all unseen images, up
    to 5,000, and at most as many as there are training images."""
    quick: bool = False
    """Smaller evaluation, with three distributions at four sizes of the region."""
    seed: int = 0
    """Random seed of the evaluation."""
