"""Recommendations of a way to draw, from an evaluation or from the common advice."""

import hashlib
import json
import os
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ellipsoid.advice import GOALS as GOALS
from ellipsoid.advice import MeasuredLatents, advise, check_goal
from ellipsoid.archive import digest
from ellipsoid.cells import table_of_rows
from ellipsoid.evaluation.candidates import GAUSSIAN, RECONSTRUCTIONS, TRAINING_IMAGES
from ellipsoid.evaluation.results import Evaluation, Result
from ellipsoid.files import replace_file
from ellipsoid.flow import Flow
from ellipsoid.metrics import Estimate
from ellipsoid.mixture import Mixture
from ellipsoid.provenance import provenance, told
from ellipsoid.regions import Region
from ellipsoid.runs import RunFolder
from ellipsoid.settings import DrawSettings
from ellipsoid.shapes import Shape, load
from ellipsoid.state import PCAState

if TYPE_CHECKING:
    from ellipsoid.diagnostics import Diagnostics

_FORMAT = "ellipsoid.recommendation"
_FORMAT_VERSION = 1
_REMEDY = "evaluate the run again, remove the file, or pass the law and the level"

# Weight of recall relative to precision, as a number and in words.
_RECALL_WEIGHTS = {
    "fidelity": (1 / 4, "a quarter as much as"),
    "balanced": (1.0, "as much as"),
    "diversity": (4.0, "four times as much as"),
}
# With a share this small among reconstructions, the scores of candidates do not differ.
_NEXT_TO_NONE = 0.02
# Measurements that a recommendation contains.
_MEASURED = ("precision", "recall", "frechet")
# Results for comparison with a recommended candidate: family, spread, and beginning of a clause.
_COMPARED = (
    (GAUSSIAN, 1.0, "a full Gaussian has"),
    (RECONSTRUCTIONS, None, "reconstructed training images have"),
    (TRAINING_IMAGES, None, "training images themselves have"),
)


@dataclass(frozen=True, repr=False)
class Recommendation:
    """Shape and settings to draw with, and the reason for them.

    Attributes
    ----------
    goal : {"fidelity", "balanced", "diversity"}
        Goal that the settings serve.
    state : PCAState, Mixture or Flow
        Shape to draw from: the given one, one with fewer components, or another.
    settings : DrawSettings
        Law, level, fact and region. They are attributes of the recommendation as well.
    reason : str
        The measurements behind the recommendation, and the baseline.
    measured : mapping of str to Estimate, optional
        Estimates by the names ``precision``, ``recall`` and ``frechet``, if the images of these draws were
        measured.
    provenance : mapping, optional
        Provenance of the evaluation, from :func:`ellipsoid.provenance.provenance`, if the recommendation was
        read from a file.
    """

    goal: str
    state: Shape
    settings: DrawSettings
    reason: str
    measured: Mapping[str, Estimate] | None = None
    provenance: Mapping[str, str] | None = None

    @property
    def law(self) -> str:
        """Distribution of the draws inside the region."""
        return self.settings.law

    @property
    def level(self) -> float:
        """Level in standard deviations."""
        return float(self.settings.level)

    @property
    def fact(self) -> float:
        """Factor on the level."""
        return float(self.settings.fact)

    @property
    def region(self) -> str | Region:
        """Region, as for :func:`ellipsoid.sample`."""
        return self.settings.region

    @property
    def n_components(self) -> int:
        """Number of components of the state."""
        return self.state.n_components

    @property
    def way(self) -> str:
        """Way to draw, in words."""
        kind = " of a flow" if isinstance(self.state, Flow) else ""
        if isinstance(self.state, Mixture):
            kind = f" of a mixture of {self.state.n_parts}"
        return (
            f"law {self.law}, level {self.level:.4g}, fact {self.fact:g}, region {self.region}, "
            f"{self.n_components} components{kind}"
        )

    @property
    def options(self) -> dict[str, Any]:
        """Keyword arguments for :func:`ellipsoid.sample` and :func:`ellipsoid.generate`."""
        return self.settings.options

    def _repr_html_(self) -> str:
        rows = [
            ("law", self.law),
            ("level", f"{self.level:.4g}"),
            ("fact", f"{self.fact:g}"),
            ("region", str(self.region)),
            ("components", str(self.n_components)),
            ("why", self.reason),
        ]
        if isinstance(self.state, Mixture):
            rows.insert(-1, ("parts", str(self.state.n_parts)))
        return table_of_rows(f"Recommendation for {self.goal}", rows)

    def __repr__(self) -> str:
        reason = textwrap.fill(self.reason, 100, initial_indent="  ", subsequent_indent="  ")
        return f"Recommendation for {self.goal}: {self.way}\n{reason}"


def recommend(
    state: Shape,
    evaluation: Evaluation | None = None,
    goal: str = "balanced",
    diagnostics: "Diagnostics | MeasuredLatents | None" = None,
) -> Recommendation:
    """Recommend a law, region, level and number of components to draw with.

    With an evaluation, the candidate with the largest F-score of precision and recall is recommended. Recall
    counts a quarter as much as precision for fidelity, as much for balance, and four times as much for
    diversity. Candidates whose F-score lies within the standard error of the largest are equally good, since
    noise decides the maximum over dozens of candidates. Among these, the one with the smallest Fréchet
    distance is chosen, because this distance depends on the whole distribution. Candidates that copy
    training images, by :func:`ellipsoid.metrics.copy_test` at a significance of 1 %, are left out unless
    all of them copy.

    If even reconstructions of training images differ from unseen images, the reason begins with this fact:
    the decoder is the limit, and no way to draw can improve on it.

    Without an evaluation, the recommendation is the common advice of :func:`ellipsoid.advice.advise`. With
    diagnostics it is that of the verdict on the latents. Otherwise it is ``redraw``: at level 1.41 for
    fidelity, at the default level for balance, and at the level of equal variance for diversity.

    Parameters
    ----------
    state : PCAState, Mixture or Flow
        Shape to draw from.
    evaluation : Evaluation, optional
        Evaluation of this state, from :func:`ellipsoid.evaluation.evaluate`.
    goal : {"fidelity", "balanced", "diversity"}
        Goal of drawing: the most faithful images, the most diverse ones, or a balance of both.
    diagnostics : Diagnostics or MeasuredLatents, optional
        Measurements of this state's latents, from :func:`ellipsoid.diagnostics.diagnose` or from
        :meth:`ellipsoid.runs.RunFolder.read_measured`. They are not used with an evaluation.

    Returns
    -------
    Recommendation

    Raises
    ------
    ValueError
        If `goal` is unknown, if the evaluation or the diagnostics belong to another state, or if the
        evaluation has no candidate that :func:`ellipsoid.sample` can draw.

    Examples
    --------
    >>> import ellipsoid as el
    >>> import numpy as np
    >>> state = el.fit(np.random.default_rng(0).normal(size=(200, 4)))
    >>> el.recommend(state).options
    {'law': 'redraw', 'level': 1.645, 'fact': 1.0, 'region': 'pairwise'}
    >>> el.recommend(state, goal="diversity").way
    'law redraw, level 2.15, fact 1, region pairwise, 4 components'
    """
    check_goal(goal)
    if evaluation is None:
        return _recommend_by_advice(state, goal, diagnostics)
    if evaluation.state_digest != digest(state):
        raise ValueError(
            "evaluation: expected an evaluation of this state; got one of another state: pass the state that "
            "was evaluated"
        )
    beta, _ = _RECALL_WEIGHTS[goal]
    chosen, equal, ours = choose_result(evaluation.results, beta)
    recipe = chosen.recipe
    assert recipe is not None
    reason = _reason(evaluation, goal, chosen, len(equal), len(ours))
    measured = {name: getattr(chosen.measurements, name) for name in _MEASURED}
    return Recommendation(goal, recipe.state(), recipe.settings, reason, measured)


def choose_result(
    results: Sequence[Result], beta: float = 1.0
) -> tuple[Result, Sequence[Result], Sequence[Result]]:
    """Choose the result whose candidate is recommended.

    Parameters
    ----------
    results : sequence of Result
        Results of all candidates. Only those with a recipe can be recommended.
    beta : float
        Weight of recall relative to precision.

    Returns
    -------
    chosen : Result
        Result of the recommended candidate.
    equal, ours : sequences of Result
        Results that are equally good up to the error, and all results that can be recommended.

    Raises
    ------
    ValueError
        If no result has a recipe.
    """
    ours = [result for result in results if result.recipe is not None]
    if not ours:
        raise ValueError("evaluation: expected at least one candidate that `sample` can draw; got none")
    ours = [result for result in ours if not result.measurements.is_copying] or ours
    scores = [result.measurements.f_score(beta) for result in ours]
    best = max(scores)
    equal = [
        result for result, score in zip(ours, scores, strict=True) if score.value >= best.value - best.error
    ]
    return min(equal, key=lambda result: result.measurements.frechet), equal, ours


def recall_weight(goal: str) -> float:
    """Tell how many times as much as precision recall counts for a goal."""
    return _RECALL_WEIGHTS[goal][0]


def _recommend_by_advice(
    state: Shape, goal: str, diagnostics: "Diagnostics | MeasuredLatents | None"
) -> Recommendation:
    if diagnostics is None or isinstance(diagnostics, MeasuredLatents):
        measured = diagnostics
    else:
        from ellipsoid.diagnostics.verdict import measured_latents

        if not isinstance(state, PCAState) or diagnostics.n_components != state.n_components:
            is_one = isinstance(state, PCAState)
            got = f"{state.n_components} components" if is_one else f"a {type(state).__name__.lower()}"
            raise ValueError(
                f"diagnostics: expected diagnostics of this state ({got}); got those of a state of "
                f"{diagnostics.n_components} components"
            )
        measured = measured_latents(diagnostics)
    advice = advise(state.n_components, goal, measured=measured)
    return Recommendation(goal, state, advice.settings, advice.reason)


def _reason(evaluation: Evaluation, goal: str, chosen: Result, n_equal: int, n_ours: int) -> str:
    _, weight = _RECALL_WEIGHTS[goal]
    if chosen.measurements.f_score().value == 0:
        merit = "No candidate has an F-score above 0, and this one has the smallest Fréchet distance"
    elif n_equal > 1:
        merit = (
            f"{n_equal} candidates have the largest F-score up to its error, and this one has the smallest "
            "Fréchet distance among them"
        )
    else:
        merit = "It has the largest F-score"
    sentences = [
        *_limits(evaluation),
        f"The best of {n_ours} candidates is {chosen.name}, with {_precision_and_recall(chosen)}.",
        f"{merit}; recall counts {weight} precision.",
        f"Each candidate was measured with {evaluation.n:,} images against {evaluation.compared_with}, in "
        f"the feature space {evaluation.features!r}.",
    ]
    others = [f"{name} {_precision_and_recall(result)}" for name, result in _compared(evaluation)]
    if others:
        sentences.append("In comparison: " + "; ".join(others) + ".")
    return " ".join(sentences)


def _compared(evaluation: Evaluation) -> list[tuple[str, Result]]:
    """Results for comparison with the recommended one, by the beginnings of their clauses."""
    return [
        (name, result)
        for family, spread, name in _COMPARED
        for result in evaluation.all_results
        if (result.family, result.spread) == (family, spread)
    ]


def _limits(evaluation: Evaluation) -> list[str]:
    """Describe the common limit of all candidates: the images, or the decoder, or none."""
    unlike = {result.family: result for _, result in _compared(evaluation) if is_unlike(result)}
    if (result := unlike.get(TRAINING_IMAGES)) is not None:
        return [
            f"The images are the limit: training images themselves have {_precision_and_recall(result)} "
            "against the unseen ones. Use unseen images of the same kind, or more of them."
        ]
    if (result := unlike.get(RECONSTRUCTIONS)) is not None:
        return [
            "The decoder is the limit: reconstructed training images themselves have only "
            f"{_precision_and_recall(result)}. No way to draw can improve on that; train a better "
            "autoencoder first, or compare draws with reconstructions (reference)."
        ]
    return []


def is_unlike(result: Result) -> bool:
    """Whether hardly any of these images lie among the unseen ones, or the reverse."""
    return min(result.measurements.precision.value, result.measurements.recall.value) < _NEXT_TO_NONE


def _precision_and_recall(result: Result) -> str:
    measured = result.measurements
    return f"precision {_rounded(measured.precision)} and recall {_rounded(measured.recall)}"


def _rounded(estimate: Estimate) -> str:
    return f"{estimate.value:.2f} ± {estimate.error:.2f}"


# --- in a run folder -------------------------------------------------------------------------------


def save_recommendations(
    run: str | os.PathLike[str], state: PCAState, recommendations: Iterable[Recommendation]
) -> list[Path]:
    """Write ``recommendation.json`` into a run folder.

    Recommended shapes that the run does not hold, such as one with fewer components, are written to
    ``recommended-GOAL.npz`` beside it.

    Parameters
    ----------
    run : path
        Run folder with a ``state.npz``.
    state : PCAState
        State of the run, the same as in ``state.npz``.
    recommendations : iterable of Recommendation
        Recommendations, at most one for each goal.

    Returns
    -------
    list of Path
        Files that were written.

    Raises
    ------
    FileNotFoundError
        If the folder has no ``state.npz``.
    """
    folder, goals, written = RunFolder(run), {}, []
    held = {folder.state: state}
    held |= {path: load(path) for path in (folder.mixture, folder.flow) if path.is_file()}
    for recommendation in recommendations:
        path = next((path for path, shape in held.items() if shape == recommendation.state), None)
        if path is None:
            path = folder.recommended_state(recommendation.goal)
            recommendation.state.save(path)
            written.append(path)
        goals[recommendation.goal] = {
            **recommendation.options,
            "n_components": recommendation.n_components,
            "reason": recommendation.reason,
            "measured": recommendation.measured,
            "state": path.name,
            "state_digest": _digest(path),
        }
    content = {
        "format": _FORMAT,
        "format_version": _FORMAT_VERSION,
        "run_state_digest": _digest(folder.state),
        "provenance": provenance(),
        "goals": goals,
    }
    replace_file(folder.recommendation, json.dumps(content, indent=1).encode() + b"\n")
    for path in map(folder.recommended_state, GOALS):
        if path not in written:
            path.unlink(missing_ok=True)
    return [folder.recommendation, *written]


def load_recommendation(run: str | os.PathLike[str], goal: str = "balanced") -> Recommendation | None:
    """Read the recommendation of ``ellipsoid evaluate`` for a run.

    Parameters
    ----------
    run : path
        Run folder.
    goal : {"fidelity", "balanced", "diversity"}
        Goal of drawing.

    Returns
    -------
    Recommendation or None
        Recommendation for this goal. It is None if the run was not evaluated.

    Raises
    ------
    ValueError
        If `goal` is unknown or has no recommendation, if the file is damaged, or if the run's state or the
        recommended shape has changed since the evaluation.
    """
    check_goal(goal)
    folder = RunFolder(run)
    path = folder.recommendation
    if not path.exists():
        return None
    try:
        content = json.loads(path.read_bytes())
        if content["format"] != _FORMAT or content["format_version"] != _FORMAT_VERSION:
            raise ValueError(f"format {content['format']} {content['format_version']}")
        goals = dict(content["goals"])
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: not a recommendation ({error}); {_REMEDY}") from None
    if goal not in goals:
        raise ValueError(
            f"goal: expected one of those recommended in {path}, {', '.join(goals) or 'none'}; got {goal!r}"
        )
    try:
        stored = goals[goal]
        own = (folder.state, folder.mixture, folder.flow)
        states = {path.name: path for path in (*own, folder.recommended_state(goal))}
        if stored["state"] not in states:
            raise ValueError(f"state {stored['state']!r}")
        recommended = states[stored["state"]]
        n_components, reason = int(stored["n_components"]), str(stored["reason"])
        level, fact = float(stored["level"]), float(stored["fact"])
        settings = DrawSettings(str(stored["law"]), level, fact, str(stored["region"]))
        settings.check(n_components)
        digests = {folder.state: content["run_state_digest"], recommended: stored["state_digest"]}
        measured = stored.get("measured")  # earlier files have neither this
        if measured is not None:
            measured = {name: Estimate(*map(float, measured[name])) for name in _MEASURED}
        made = content.get("provenance")  # nor that
        if made is not None:
            told(made)
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: not a recommendation ({error}); {_REMEDY}") from None
    for file, expected in digests.items():
        if not file.is_file() or _digest(file) != expected:
            raise ValueError(f"{path}: {file.name} is not the one that was evaluated; {_REMEDY}")
    state = load(recommended)
    if state.n_components != n_components:
        raise ValueError(f"{path}: not a recommendation ({n_components} components); {_REMEDY}")
    return Recommendation(goal, state, settings, reason, measured, made)


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
