"""Feature spaces to judge images in: pixels, latents, a network trained on the data, or on photographs."""

from ellipsoid.models.features.choose import FeatureName as FeatureName
from ellipsoid.models.features.choose import feature_space as feature_space
from ellipsoid.models.features.efficientnet import EfficientNetFeatures as EfficientNetFeatures
from ellipsoid.models.features.efficientnet import efficientnet_features as efficientnet_features
from ellipsoid.models.features.faces import FaceFeatures as FaceFeatures
from ellipsoid.models.features.faces import face_features as face_features
from ellipsoid.models.features.inception import InceptionFeatures as InceptionFeatures
from ellipsoid.models.features.inception import inception_features as inception_features
from ellipsoid.models.features.latents import LatentFeatures as LatentFeatures
from ellipsoid.models.features.latents import latent_features as latent_features
from ellipsoid.models.features.learning import FeatureNetworkConfig as FeatureNetworkConfig
from ellipsoid.models.features.network import NetworkFeatures as NetworkFeatures
from ellipsoid.models.features.network import train_network as train_network
from ellipsoid.models.features.pixels import PixelFeatures as PixelFeatures
from ellipsoid.models.features.pixels import pixel_features as pixel_features
from ellipsoid.models.features.pretrained import PretrainedFeatures as PretrainedFeatures
from ellipsoid.models.features.pretrained import clip_features as clip_features
from ellipsoid.models.features.pretrained import dinov2_features as dinov2_features
from ellipsoid.models.features.space import FeatureSpace as FeatureSpace
