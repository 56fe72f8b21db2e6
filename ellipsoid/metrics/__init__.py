"""How good generated images are."""

from ellipsoid.metrics.measure import *  # noqa: F403
