"""Turn a plain autoencoder into a generator by drawing inside the shape of its latents."""

from ellipsoid.fitting import Moments as Moments
from ellipsoid.fitting import fit as fit
from ellipsoid.fitting import fit_moments as fit_moments
from ellipsoid.generation import generate as generate
from ellipsoid.levels import joint_coverage as joint_coverage
from ellipsoid.levels import joint_level as joint_level
from ellipsoid.levels import log_joint_coverage as log_joint_coverage
from ellipsoid.levels import matched_level as matched_level
from ellipsoid.levels import pair_coverage as pair_coverage
from ellipsoid.levels import pair_level as pair_level
from ellipsoid.mixture import Mixture as Mixture
from ellipsoid.mixture import load as load
from ellipsoid.mixture_fitting import fit_by_label as fit_by_label
from ellipsoid.mixture_fitting import fit_mixture as fit_mixture
from ellipsoid.random import key as key
from ellipsoid.recommendation import Recommendation as Recommendation
from ellipsoid.recommendation import recommend as recommend
from ellipsoid.regions import Box as Box
from ellipsoid.regions import Ellipsoid as Ellipsoid
from ellipsoid.regions import PairwiseEllipses as PairwiseEllipses
from ellipsoid.sampling import DEFAULT_LEVEL as DEFAULT_LEVEL
from ellipsoid.sampling import Draws as Draws
from ellipsoid.sampling import MixtureDraws as MixtureDraws
from ellipsoid.sampling import contains as contains
from ellipsoid.sampling import gauge as gauge
from ellipsoid.sampling import log_prob as log_prob
from ellipsoid.sampling import sample as sample
from ellipsoid.sampling import sample_at as sample_at
from ellipsoid.state import PCAState as PCAState

__version__ = "0.1.0"
