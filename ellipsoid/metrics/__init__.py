"""Metrics of generated images: distances between two sets of features, fidelity, diversity and copying.

All functions take features, with one row for each image: pixels after PCA, latents, or the activations of a
network. Figures of different features, or of different numbers of rows, cannot be compared. Published "FID"
and "KID" figures use one Inception network and 50,000 rows.

Each figure is an :class:`Estimate`: a value with its standard error.

The neighbour metrics and the kernel distance are exact: they use every pair of rows, without approximate
neighbours or random features. They process the pairs block by block (:mod:`ellipsoid.metrics.row_pairs`), so
50,000 rows against 50,000 need little more memory than a copy of both.
"""

from ellipsoid.metrics.authenticity import authenticity as authenticity
from ellipsoid.metrics.copies import CopyDetector as CopyDetector
from ellipsoid.metrics.copies import CopyTest as CopyTest
from ellipsoid.metrics.copies import copy_test as copy_test
from ellipsoid.metrics.copy_report import CopyReport as CopyReport
from ellipsoid.metrics.copy_report import copy_report as copy_report
from ellipsoid.metrics.data_copying import DataCopyingTest as DataCopyingTest
from ellipsoid.metrics.data_copying import data_copying_test as data_copying_test
from ellipsoid.metrics.estimate import Estimate as Estimate
from ellipsoid.metrics.extrapolation import extrapolated_frechet_distance as extrapolated_frechet_distance
from ellipsoid.metrics.frechet import frechet_distance as frechet_distance
from ellipsoid.metrics.gaussian import gaussian_mmd as gaussian_mmd
from ellipsoid.metrics.kernel import kernel_distance as kernel_distance
from ellipsoid.metrics.likelihood import feature_likelihood_divergence as feature_likelihood_divergence
from ellipsoid.metrics.manifold import PRDC as PRDC
from ellipsoid.metrics.manifold import DensityCoverage as DensityCoverage
from ellipsoid.metrics.manifold import PrecisionRecall as PrecisionRecall
from ellipsoid.metrics.manifold import RealManifold as RealManifold
from ellipsoid.metrics.manifold import density_coverage as density_coverage
from ellipsoid.metrics.manifold import precision_recall as precision_recall
from ellipsoid.metrics.published import PublishedFigures as PublishedFigures
from ellipsoid.metrics.published import published_figures as published_figures
from ellipsoid.metrics.realism import realism as realism
from ellipsoid.metrics.sliced import sliced_wasserstein as sliced_wasserstein
from ellipsoid.metrics.vendi import vendi_score as vendi_score
