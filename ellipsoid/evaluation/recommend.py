"""Which law, region and level to draw with: read off an evaluation, or, without one, off the theory."""

import hashlib
import json
import math
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ellipsoid.archive import digest
from ellipsoid.evaluation.candidates import GAUSSIAN, RECONSTRUCTIONS, TRAINING_IMAGES
from ellipsoid.files import replace_file
from ellipsoid.laws import get_law
from ellipsoid.levels import matched_level
from ellipsoid.loading import load
from ellipsoid.mixture import Mixture
from ellipsoid.regions import as_region
from ellipsoid.settings import DEFAULT_LEVEL
from ellipsoid.state import PCAState

if TYPE_CHECKING:
    from ellipsoid.evaluation.evaluate import Evaluation, Result

_COMPARED = {
    f"{GAUSSIAN}, spread 1": "a full Gaussian",
    RECONSTRUCTIONS: "reconstructed training images",
    TRAINING_IMAGES: "training images themselves",
}

#: How many times as much recall counts as precision.
GOALS = {"fidelity": 1 / 4, "balanced": 1.0, "diversity": 4.0}
#: In a run folder.
FILE = "recommendation.json"

_FORMAT = "ellipsoid.recommendation"
_FORMAT_VERSION = 1
_STATE = "state.npz"
# Of dozens of settings that copy nothing, none or one is left out by chance.
_COPIES_P_VALUE = 0.01
_ADVICE = "evaluate the run again, remove the file, or say how to draw (law, level)"
# Of the spread of the data, for the goal diversity without an evaluation.
_WIDE = 1.2


@dataclass(frozen=True)
class Recommendation:
    """What to draw with.

    Attributes
    ----------
    goal : {"fidelity", "balanced", "diversity"}
    state : PCAState or Mixture
        To draw from: the given one, one with fewer components, or a mixture.
    law, level, fact, region
        As for :func:`ellipsoid.sample`.
    n_components : int
        Of the state.
    reason : str
        What was measured, and what it is compared with.
    """

    goal: str
    state: PCAState | Mixture
    law: str
    level: float
    fact: float
    region: str
    n_components: int
    reason: str

    @property
    def options(self) -> dict[str, Any]:
        """Keyword arguments for `sample` and `generate`."""
        return {"law": self.law, "level": self.level, "fact": self.fact, "region": self.region}


def recommend(
    state: PCAState | Mixture, evaluation: "Evaluation | None" = None, goal: str = "balanced"
) -> Recommendation:
    """Say which law, region, level and number of components to draw with.

    From an evaluation: the setting with the largest F-score of precision and recall, in which recall counts a
    quarter as much as precision (fidelity), as much, or four times as much (diversity). Settings whose
    F-score lies within the standard error of the largest are taken as equally good, since a maximum over
    dozens of them would be one of the noise; among these, the one with the smallest Fréchet distance, which
    sees all of the distribution. Settings that copy training images by
    :func:`ellipsoid.metrics.copy_test`, at the level of 1 %, are left out, unless all are such.

    Without one: the law ``redraw``, at the default level for fidelity; where its draws vary as the data do
    (:func:`ellipsoid.matched_level`) for balance; and 1.2 times as much for diversity.

    Parameters
    ----------
    state : PCAState or Mixture
    evaluation : Evaluation, optional
        From :func:`ellipsoid.evaluation.evaluate.evaluate` of this state.
    goal : {"fidelity", "balanced", "diversity"}

    Returns
    -------
    Recommendation

    Raises
    ------
    ValueError
        For an unknown goal, or an evaluation of another state or without any setting of this package.
    """
    if goal not in GOALS:
        raise ValueError(f"goal: expected one of {', '.join(GOALS)}; got {goal!r}")
    if evaluation is None:
        return _from_theory(state, goal)
    if evaluation.state_digest != digest(state):
        raise ValueError(
            "evaluation: expected one of this state; got one of another: pass the state that was evaluated"
        )
    beta = GOALS[goal]
    ours = [result for result in evaluation.results if result.recipe is not None]
    if not ours:
        raise ValueError("evaluation: expected one or more settings that `sample` can draw; got none")
    ours = [result for result in ours if not _copies(result)] or ours
    scores = [result.scores.f_score(beta) for result in ours]
    best = max(scores)
    ties = [
        result for result, score in zip(ours, scores, strict=True) if score.value >= best.value - best.error
    ]
    chosen = min(ties, key=lambda result: result.scores.frechet)
    recipe = chosen.recipe
    assert recipe is not None
    return Recommendation(
        goal,
        recipe.state(),
        recipe.law,
        recipe.level,
        1.0,
        recipe.region,
        recipe.n_components,
        _reason(evaluation, chosen, len(ours), len(ties), beta),
    )


def _copies(result: "Result") -> bool:
    p_value = result.scores.copies_p_value
    return p_value is not None and p_value < _COPIES_P_VALUE


def _from_theory(state: PCAState | Mixture, goal: str) -> Recommendation:
    k = state.n_components
    matched = matched_level(k, "redraw")
    level, reason = {
        "fidelity": (
            DEFAULT_LEVEL,
            f"the default level, at which draws have {DEFAULT_LEVEL / matched:.0%} of the data's standard "
            "deviation and lie well inside",
        ),
        "balanced": (matched, "the level at which draws have the variance of the data"),
        "diversity": (_WIDE * matched, f"{_WIDE:g} times the level at which draws have the data's variance"),
    }[goal]
    reason = f"For {goal}, nothing was measured: {reason}."
    return Recommendation(goal, state, "redraw", level, 1.0, "pairwise", k, reason)


def _reason(evaluation: "Evaluation", chosen: "Result", n_ours: int, n_ties: int, beta: float) -> str:
    weight = {1 / 4: "a quarter as much as", 1.0: "as much as", 4.0: "four times as much as"}[beta]
    ties = (
        f"Of {n_ties} settings with equal F-scores, up to the error, it has the smallest Fréchet distance"
        if n_ties > 1
        else "It has the largest F-score"
    )
    said = [
        f"{chosen.name}: {_figures(chosen)}.",
        f"{ties}, recall counting {weight} precision, among {n_ours} settings, each judged by "
        f"{evaluation.n:,} images against {evaluation.n_real:,} unseen ones in the features "
        f"{evaluation.features!r}.",
    ]
    others = [
        result
        for result in (*evaluation.results, evaluation.floor)
        if result is not None and result.name in _COMPARED
    ]
    if others:
        said.append("In comparison: " + "; ".join(f"{_COMPARED[o.name]} {_figures(o)}" for o in others) + ".")
    return " ".join(said)


def _figures(result: "Result") -> str:
    scores = result.scores
    return f"precision {_rounded(scores.precision)}, recall {_rounded(scores.recall)}"


def _rounded(metric: Any) -> str:
    return f"{metric.value:.2f} ± {metric.error:.2f}"


# --- in a run folder -------------------------------------------------------------------------------


def save_recommendations(
    run: str | os.PathLike[str], state: PCAState, recommendations: Iterable[Recommendation]
) -> list[Path]:
    """Write ``recommendation.json`` into a run folder; `state` is that of its ``state.npz``.

    Recommended states that are others, of fewer components or mixtures, become ``recommended-GOAL.npz``
    beside it.

    Returns
    -------
    list of Path
        What was written.

    Raises
    ------
    FileNotFoundError
        If there is no ``state.npz``.
    """
    run, goals, written = Path(run), {}, []
    for recommendation in recommendations:
        name = _STATE
        if recommendation.state is not state:
            name = _state_file(recommendation.goal)
            recommendation.state.save(run / name)
            written.append(run / name)
        goals[recommendation.goal] = {
            **recommendation.options,
            "n_components": recommendation.n_components,
            "reason": recommendation.reason,
            "state": name,
            "state_digest": _digest(run / name),
        }
    content = {
        "format": _FORMAT,
        "format_version": _FORMAT_VERSION,
        "run_state_digest": _digest(run / _STATE),
        "goals": goals,
    }
    replace_file(run / FILE, json.dumps(content, indent=1).encode() + b"\n")
    used = {goal["state"] for goal in goals.values()}
    for name in map(_state_file, GOALS):
        if name not in used:
            (run / name).unlink(missing_ok=True)
    return [run / FILE, *written]


def load_recommendation(run: str | os.PathLike[str], goal: str = "balanced") -> Recommendation | None:
    """Read what `ellipsoid evaluate` recommends for a run; None if it was not evaluated.

    Raises
    ------
    ValueError
        If the file is damaged, or the run's state or the recommended one is not the one that was evaluated.
    """
    run = Path(run)
    path = run / FILE
    if not path.exists():
        return None
    try:
        content = json.loads(path.read_bytes())
        if content["format"] != _FORMAT or content["format_version"] != _FORMAT_VERSION:
            raise ValueError(f"format {content['format']} {content['format_version']}")
        stored = content["goals"][goal]
        name = stored["state"]
        if name not in (_STATE, _state_file(goal)):
            raise ValueError(f"state {name!r}")
        law, region = str(stored["law"]), str(stored["region"])
        level, fact = float(stored["level"]), float(stored["fact"])
        n_components, reason = int(stored["n_components"]), str(stored["reason"])
        get_law(law, as_region(region))
        if not (0 < level < math.inf and 0 < fact < math.inf):
            raise ValueError(f"level {level:g}, fact {fact:g}")
        digests = {_STATE: content["run_state_digest"], name: stored["state_digest"]}
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: not a recommendation ({error}); {_ADVICE}") from None
    for name, expected in digests.items():
        if not (run / name).is_file() or _digest(run / name) != expected:
            raise ValueError(f"{path}: {name} is not the one that was evaluated; {_ADVICE}")
    state = load(run / name)
    if state.n_components != n_components:
        raise ValueError(f"{path}: not a recommendation ({n_components} components); {_ADVICE}")
    return Recommendation(goal, state, law, level, fact, region, n_components, reason)


def _state_file(goal: str) -> str:
    return f"recommended-{goal}.npz"


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
