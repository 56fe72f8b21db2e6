"""Turn a plain autoencoder into a generator by drawing inside the shape of its latents."""

import importlib
from typing import TYPE_CHECKING, Any

from ellipsoid.density import contains as contains
from ellipsoid.density import gauge as gauge
from ellipsoid.density import log_prob as log_prob
from ellipsoid.directions import Direction as Direction
from ellipsoid.directions import Directions as Directions
from ellipsoid.directions import direction as direction
from ellipsoid.directions import directions as directions
from ellipsoid.draws import Draws as Draws
from ellipsoid.draws import MixtureDraws as MixtureDraws
from ellipsoid.editing import edit as edit
from ellipsoid.editing import interpolate as interpolate
from ellipsoid.fitting import fit as fit
from ellipsoid.fitting import fit_moments as fit_moments
from ellipsoid.flow import Flow as Flow
from ellipsoid.flow_fitting import fit_flow as fit_flow
from ellipsoid.levels import joint_coverage as joint_coverage
from ellipsoid.levels import joint_level as joint_level
from ellipsoid.levels import log_joint_coverage as log_joint_coverage
from ellipsoid.levels import matched_level as matched_level
from ellipsoid.levels import pair_coverage as pair_coverage
from ellipsoid.levels import pair_level as pair_level
from ellipsoid.mixture import Mixture as Mixture
from ellipsoid.mixture_fitting import fit_by_label as fit_by_label
from ellipsoid.mixture_fitting import fit_mixture as fit_mixture
from ellipsoid.moments import Moments as Moments
from ellipsoid.random import key as key
from ellipsoid.regions import Box as Box
from ellipsoid.regions import Ellipsoid as Ellipsoid
from ellipsoid.regions import PairwiseEllipses as PairwiseEllipses
from ellipsoid.sampling import sample as sample
from ellipsoid.sampling import sample_at as sample_at
from ellipsoid.settings import DEFAULT_LEVEL as DEFAULT_LEVEL
from ellipsoid.shapes import load as load
from ellipsoid.state import PCAState as PCAState
from ellipsoid.version import __version__ as __version__

if TYPE_CHECKING:
    from ellipsoid.evaluation import Recommendation as Recommendation
    from ellipsoid.evaluation import fit_best as fit_best
    from ellipsoid.evaluation import recommend as recommend
    from ellipsoid.explore.notebook import explore as explore
    from ellipsoid.figures import images_of as images_of
    from ellipsoid.generation import generate as generate


# Rooms that are built on the core. They load on first use, so that the import of the core stays light.
_ROOMS = (
    "diagnostics",
    "estimator",
    "evaluation",
    "explore",
    "figures",
    "generation",
    "metrics",
    "models",
    "report",
    "runs",
    "workflows",
)
_FROM_ROOMS = {
    "Recommendation": "evaluation",
    "fit_best": "evaluation",
    "generate": "generation",
    "images_of": "figures",
    "recommend": "evaluation",
}


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return importlib.import_module(f"ellipsoid.{name}")
    if name in _FROM_ROOMS:
        value = getattr(importlib.import_module(f"ellipsoid.{_FROM_ROOMS[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_ROOMS, *_FROM_ROOMS})
