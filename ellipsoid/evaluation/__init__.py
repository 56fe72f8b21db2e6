"""Every way to draw, judged by decoded images against images that nobody has seen."""

from ellipsoid.evaluation.evaluate import Evaluation as Evaluation
from ellipsoid.evaluation.evaluate import Measurements as Measurements
from ellipsoid.evaluation.evaluate import Result as Result
from ellipsoid.evaluation.evaluate import evaluate as evaluate
from ellipsoid.evaluation.evaluate import write_evaluation as write_evaluation
from ellipsoid.evaluation.recommend import Recommendation as Recommendation
from ellipsoid.evaluation.recommend import recommend as recommend
