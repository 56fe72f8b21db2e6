"""Evaluation of ways to draw, by their decoded images against unseen images."""

from typing import TYPE_CHECKING

from ellipsoid.lazy import load_on_first_use

if TYPE_CHECKING:
    from ellipsoid.evaluation.best import Choice as Choice
    from ellipsoid.evaluation.best import Contender as Contender
    from ellipsoid.evaluation.best import choose_shape as choose_shape
    from ellipsoid.evaluation.best import fit_best as fit_best
    from ellipsoid.evaluation.candidates import FAMILIES as FAMILIES
    from ellipsoid.evaluation.candidates import GAUSSIAN as GAUSSIAN
    from ellipsoid.evaluation.candidates import MIXTURE_ROWS as MIXTURE_ROWS
    from ellipsoid.evaluation.candidates import RECONSTRUCTIONS as RECONSTRUCTIONS
    from ellipsoid.evaluation.candidates import SPREADS as SPREADS
    from ellipsoid.evaluation.candidates import TRAINING_IMAGES as TRAINING_IMAGES
    from ellipsoid.evaluation.candidates import Candidate as Candidate
    from ellipsoid.evaluation.candidates import Family as Family
    from ellipsoid.evaluation.candidates import Recipe as Recipe
    from ellipsoid.evaluation.candidates import baseline_candidates as baseline_candidates
    from ellipsoid.evaluation.candidates import candidates_of_flow as candidates_of_flow
    from ellipsoid.evaluation.candidates import candidates_of_mixture as candidates_of_mixture
    from ellipsoid.evaluation.candidates import default_candidates as default_candidates
    from ellipsoid.evaluation.candidates import fewer_components as fewer_components
    from ellipsoid.evaluation.candidates import flow_candidates as flow_candidates
    from ellipsoid.evaluation.candidates import level_of_spread as level_of_spread
    from ellipsoid.evaluation.candidates import mixture_candidates as mixture_candidates
    from ellipsoid.evaluation.candidates import region_candidate as region_candidate
    from ellipsoid.evaluation.evaluate import MIN_IMAGES as MIN_IMAGES
    from ellipsoid.evaluation.evaluate import evaluate as evaluate
    from ellipsoid.evaluation.limits import limit as limit
    from ellipsoid.evaluation.recommend import GOALS as GOALS
    from ellipsoid.evaluation.recommend import Recommendation as Recommendation
    from ellipsoid.evaluation.recommend import load_recommendation as load_recommendation
    from ellipsoid.evaluation.recommend import recommend as recommend
    from ellipsoid.evaluation.recommend import save_recommendations as save_recommendations
    from ellipsoid.evaluation.results import Evaluation as Evaluation
    from ellipsoid.evaluation.results import Measurements as Measurements
    from ellipsoid.evaluation.results import Result as Result
    from ellipsoid.evaluation.tables import table_of as table_of
    from ellipsoid.evaluation.tables import write_evaluation as write_evaluation

load_on_first_use(
    __name__,
    {
        "best": ["Choice", "Contender", "choose_shape", "fit_best"],
        "candidates": [
            "Candidate",
            "FAMILIES",
            "Family",
            "GAUSSIAN",
            "MIXTURE_ROWS",
            "RECONSTRUCTIONS",
            "Recipe",
            "SPREADS",
            "TRAINING_IMAGES",
            "baseline_candidates",
            "candidates_of_flow",
            "candidates_of_mixture",
            "default_candidates",
            "fewer_components",
            "flow_candidates",
            "level_of_spread",
            "mixture_candidates",
            "region_candidate",
        ],
        "evaluate": ["MIN_IMAGES", "evaluate"],
        "limits": ["limit"],
        "recommend": ["GOALS", "Recommendation", "load_recommendation", "recommend", "save_recommendations"],
        "results": ["Evaluation", "Measurements", "Result"],
        "tables": ["table_of", "write_evaluation"],
    },
)
