"""The autoencoder: from images to latents and back."""

from ellipsoid.models.autoencoder import Autoencoder as Autoencoder
from ellipsoid.models.autoencoder import AutoencoderConfig as AutoencoderConfig
from ellipsoid.models.autoencoder import decode_function as decode_function
from ellipsoid.models.autoencoder import decode_latents as decode_latents
from ellipsoid.models.autoencoder import encode_images as encode_images
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
from ellipsoid.models.steps import TrainConfig as TrainConfig
from ellipsoid.models.training import TrainingDiverged as TrainingDiverged
from ellipsoid.models.training import train as train
