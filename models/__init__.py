"""The autoencoder: from images to latents and back."""

from typing import TYPE_CHECKING

from ellipsoid.lazy import load_on_first_use

if TYPE_CHECKING:
    from ellipsoid.models.autoencoder import Autoencoder as Autoencoder
    from ellipsoid.models.autoencoder import decode_function as decode_function
    from ellipsoid.models.autoencoder import decode_latents as decode_latents
    from ellipsoid.models.autoencoder import encode_images as encode_images
    from ellipsoid.models.configs import AutoencoderConfig as AutoencoderConfig
    from ellipsoid.models.configs import TrainConfig as TrainConfig
    from ellipsoid.models.faces import procedural_faces as procedural_faces
    from ellipsoid.models.features import FeatureNetworkConfig as FeatureNetworkConfig
    from ellipsoid.models.features import NetworkFeatures as NetworkFeatures
    from ellipsoid.models.features import feature_space as feature_space
    from ellipsoid.models.features import train_network as train_network
    from ellipsoid.models.images import ImageSet as ImageSet
    from ellipsoid.models.images import load_image_set as load_image_set
    from ellipsoid.models.images import load_images as load_images
    from ellipsoid.models.imported import ImportedAutoencoder as ImportedAutoencoder
    from ellipsoid.models.importing import load_onnx as load_onnx
    from ellipsoid.models.training import TrainingDiverged as TrainingDiverged
    from ellipsoid.models.training import train as train

load_on_first_use(
    __name__,
    {
        "autoencoder": [
            "Autoencoder",
            "decode_function",
            "decode_latents",
            "encode_images",
        ],
        "configs": ["AutoencoderConfig", "TrainConfig"],
        "faces": ["procedural_faces"],
        "features": ["FeatureNetworkConfig", "NetworkFeatures", "feature_space", "train_network"],
        "images": ["ImageSet", "load_image_set", "load_images"],
        "imported": ["ImportedAutoencoder"],
        "importing": ["load_onnx"],
        "training": ["TrainingDiverged", "train"],
    },
)
