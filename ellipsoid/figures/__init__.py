"""Figures of images, latents and training: one function for each figure.

Each function takes arrays or a state and returns a :class:`matplotlib.figure.Figure`, which :func:`save`
writes. The figures use no backend and no global state of Matplotlib, and have one page width. Points and
lines also differ in shape, size or darkness, so that they stay distinct in black and white. The hues are
those of Okabe and Ito (2008), which colour-blind readers can distinguish.
"""

from ellipsoid.figures.describing import described as described
from ellipsoid.figures.image_grids import grid_table as grid_table
from ellipsoid.figures.image_grids import image_grid as image_grid
from ellipsoid.figures.image_grids import images_of as images_of
from ellipsoid.figures.image_grids import plot_nearest as plot_nearest
from ellipsoid.figures.image_grids import plot_reconstructions as plot_reconstructions
from ellipsoid.figures.image_grids import strips as strips
from ellipsoid.figures.marginals import component_statistics as component_statistics
from ellipsoid.figures.marginals import components as components
from ellipsoid.figures.pairs import correlation_matrices as correlation_matrices
from ellipsoid.figures.pairs import named_correlations as named_correlations
from ellipsoid.figures.pairs import plot_calibration as plot_calibration
from ellipsoid.figures.pairs import plot_dependence as plot_dependence
from ellipsoid.figures.pairs import plot_pair_angles as plot_pair_angles
from ellipsoid.figures.planes import density_contours as density_contours
from ellipsoid.figures.planes import latent_planes as latent_planes
from ellipsoid.figures.planes import pairs_scatter as pairs_scatter
from ellipsoid.figures.planes import surface as surface
from ellipsoid.figures.quality import Curve as Curve
from ellipsoid.figures.quality import fidelity_diversity as fidelity_diversity
from ellipsoid.figures.radii import mahalanobis as mahalanobis
from ellipsoid.figures.radii import plot_distances as plot_distances
from ellipsoid.figures.radii import plot_gauge as plot_gauge
from ellipsoid.figures.saving import save as save
from ellipsoid.figures.saving import save_animation as save_animation
from ellipsoid.figures.saving import save_sheet as save_sheet
from ellipsoid.figures.spectra import comparison as comparison
from ellipsoid.figures.spectra import explained_variance as explained_variance
from ellipsoid.figures.spectra import offset as offset
from ellipsoid.figures.spectra import overshoot as overshoot
from ellipsoid.figures.spectra import spectrum as spectrum
from ellipsoid.figures.training import training_curve as training_curve
