"""Turn a plain autoencoder into a generator by drawing inside the shape of its latents."""

from typing import TYPE_CHECKING

from ellipsoid.lazy import load_on_first_use

if TYPE_CHECKING:
    from ellipsoid import diagnostics as diagnostics
    from ellipsoid import estimator as estimator
    from ellipsoid import evaluation as evaluation
    from ellipsoid import figures as figures
    from ellipsoid import generation as generation
    from ellipsoid import metrics as metrics
    from ellipsoid import models as models
    from ellipsoid import report as report
    from ellipsoid import runs as runs
    from ellipsoid import workflows as workflows
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
    from ellipsoid.evaluation import Recommendation as Recommendation
    from ellipsoid.evaluation import fit_best as fit_best
    from ellipsoid.evaluation import recommend as recommend
    from ellipsoid.explore.notebook import explore as explore
    from ellipsoid.figures import images_of as images_of
    from ellipsoid.fitting import fit as fit
    from ellipsoid.fitting import fit_moments as fit_moments
    from ellipsoid.flow import Flow as Flow
    from ellipsoid.flow_fitting import fit_flow as fit_flow
    from ellipsoid.generation import generate as generate
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
    from ellipsoid.options import DEFAULT_LEVEL as DEFAULT_LEVEL
    from ellipsoid.random import key as key
    from ellipsoid.regions import Box as Box
    from ellipsoid.regions import Ellipsoid as Ellipsoid
    from ellipsoid.regions import PairwiseEllipses as PairwiseEllipses
    from ellipsoid.sampling import sample as sample
    from ellipsoid.sampling import sample_at as sample_at
    from ellipsoid.shapes import load as load
    from ellipsoid.state import PCAState as PCAState
    from ellipsoid.version import __version__ as __version__

load_on_first_use(
    __name__,
    {
        "density": ["contains", "gauge", "log_prob"],
        "directions": ["Direction", "Directions", "direction", "directions"],
        "draws": ["Draws", "MixtureDraws"],
        "editing": ["edit", "interpolate"],
        "evaluation": ["Recommendation", "fit_best", "recommend"],
        "figures": ["images_of"],
        "fitting": ["fit", "fit_moments"],
        "flow": ["Flow"],
        "flow_fitting": ["fit_flow"],
        "generation": ["generate"],
        "levels": [
            "joint_coverage",
            "joint_level",
            "log_joint_coverage",
            "matched_level",
            "pair_coverage",
            "pair_level",
        ],
        "mixture": ["Mixture"],
        "mixture_fitting": ["fit_by_label", "fit_mixture"],
        "moments": ["Moments"],
        "options": ["DEFAULT_LEVEL"],
        "random": ["key"],
        "regions": ["Box", "Ellipsoid", "PairwiseEllipses"],
        "sampling": ["sample", "sample_at"],
        "shapes": ["load"],
        "state": ["PCAState"],
        "version": ["__version__"],
    },
    modules=[
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
    ],
)
