r"""Measurements of latents: a number for every claim on which the method rests.

The method assumes that the latents form one compact core: Gaussian along every principal component, with
elliptic contours in the plane of every two components, and without dependence between components. Each
function here measures one of these claims, over all components or all pairs. :func:`diagnose` measures all.

Among 100,000 rows any small departure from a Gaussian is significant. The measurements are therefore effect
sizes: shares of rows, ratios of widths, correlations. Tests of normality stand beside them. The tests, and
all measurements whose cost grows with the square of the rows, use a fixed random subset of the rows.
"""

from ellipsoid.blocks import subset as subset
from ellipsoid.diagnostics.components import Location as Location
from ellipsoid.diagnostics.components import Marginals as Marginals
from ellipsoid.diagnostics.components import location as location
from ellipsoid.diagnostics.components import marginals as marginals
from ellipsoid.diagnostics.dependence import Dependence as Dependence
from ellipsoid.diagnostics.dependence import dependence as dependence
from ellipsoid.diagnostics.dependence import distance_correlation as distance_correlation
from ellipsoid.diagnostics.diagnose import SHARES as SHARES
from ellipsoid.diagnostics.diagnose import Diagnostics as Diagnostics
from ellipsoid.diagnostics.diagnose import diagnose as diagnose
from ellipsoid.diagnostics.multivariate import Clusters as Clusters
from ellipsoid.diagnostics.multivariate import Distances as Distances
from ellipsoid.diagnostics.multivariate import MultivariateNormality as MultivariateNormality
from ellipsoid.diagnostics.multivariate import clusters as clusters
from ellipsoid.diagnostics.multivariate import distances as distances
from ellipsoid.diagnostics.multivariate import multivariate_normality as multivariate_normality
from ellipsoid.diagnostics.neighbours import nearest as nearest
from ellipsoid.diagnostics.original_frame import original_frame_points as original_frame_points
from ellipsoid.diagnostics.pairs import LEVELS as LEVELS
from ellipsoid.diagnostics.pairs import Calibration as Calibration
from ellipsoid.diagnostics.pairs import Comparison as Comparison
from ellipsoid.diagnostics.pairs import HalfMaximum as HalfMaximum
from ellipsoid.diagnostics.pairs import calibration as calibration
from ellipsoid.diagnostics.pairs import compare as compare
from ellipsoid.diagnostics.pairs import correlation as correlation
from ellipsoid.diagnostics.pairs import ellipse_outline as ellipse_outline
from ellipsoid.diagnostics.pairs import ellipse_outline_by_correlation as ellipse_outline_by_correlation
from ellipsoid.diagnostics.pairs import half_maximum as half_maximum
from ellipsoid.diagnostics.pairs import pair_angles as pair_angles
from ellipsoid.diagnostics.pairs import strongest_pairs as strongest_pairs
from ellipsoid.diagnostics.rows import LEADING as LEADING
from ellipsoid.diagnostics.rows import PAIR_ROWS as PAIR_ROWS
from ellipsoid.diagnostics.rows import TEST_ROWS as TEST_ROWS
from ellipsoid.diagnostics.tables import MOST_PAIRS as MOST_PAIRS
from ellipsoid.diagnostics.tables import as_csv as as_csv
from ellipsoid.diagnostics.tables import component_table as component_table
from ellipsoid.diagnostics.tables import pair_table as pair_table
from ellipsoid.diagnostics.verdict import Concern as Concern
from ellipsoid.diagnostics.verdict import Verdict as Verdict
from ellipsoid.diagnostics.verdict import assess as assess
