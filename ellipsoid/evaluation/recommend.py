"""Recommendations how to draw: read off an evaluation, or, without one, off the common advice."""

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
_REMEDY = "evaluate the run again, remove the file, or say how to draw (law, level)"

# How many times as much recall counts as precision, and how that is said.
_RECALL_WEIGHTS = {
    "fidelity": (1 / 4, "a quarter as much as"),
    "balanced": (1.0, "as much as"),
    "diversity": (4.0, "four times as much as"),
}
# Reconstructions that cover so few unseen images leave candidates nothing to differ in.
_NEXT_TO_NONE = 0.02
# Measurements that a recommendation tells.
_MEASURED = ("precision", "recall", "frechet")
# What a recommended candidate is compared with: family, spread, and how it is called.
_COMPARED = (
    (GAUSSIAN, 1.0, "a full Gaussian"),
    (RECONSTRUCTIONS, None, "reconstructed training images"),
    (TRAINING_IMAGES, None, "training images themselves"),
)


@dataclass(frozen=True, repr=False)
class Recommendation:
    """State and settings to draw with, and why.

    Attributes
    ----------
    goal : {"fidelity", "balanced", "diversity"}
    state : PCAState, Mixture or Flow
        Shape to draw from: the given one, one with fewer components, or another.
    settings : DrawSettings
        Law, level, fact and region, which are attributes of the recommendation as well.
    reason : str
        The measurements behind the recommendation, and the baseline.
    measured : mapping of str to Estimate, optional
        Precision, recall and Fréchet distance, by these names in lower case without accents, if the images of
        these draws were measured.
    provenance : mapping, optional
        When and by what the evaluation was made, as :func:`ellipsoid.provenance.provenance` tells it, if the
        recommendation was read from a file.
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
        """Words that say how to draw."""
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
    """Say which law, region, level and number of components to draw with.

    An evaluation decides: the candidate with the largest F-score of precision and recall, in which recall
    counts a quarter as much as precision (fidelity), as much, or four times as much (diversity). Candidates
    whose F-score lies within the standard error of the largest are taken as equally good, since a maximum
    over dozens of them would be one of the noise; the one with the smallest Fréchet distance, which sees all
    of the distribution, is chosen from these. Candidates that copy training images by
    :func:`ellipsoid.metrics.copy_test`, at the level of 1 %, are left out, unless all are such.

    Where not even reconstructions of training images are like unseen ones, the reason begins with that: the
    decoder is the limit then, and no way to draw mends it.

    Without an evaluation the common advice is given, :func:`ellipsoid.advice.advise`. It is that of the
    verdict on the latents if there are diagnostics, and otherwise ``redraw``: at level 1.41 for fidelity, at
    the default level for balance, and where draws vary as the latents do for diversity.

    Parameters
    ----------
    state : PCAState, Mixture or Flow
        Shape whose latents are to be drawn.
    evaluation : Evaluation, optional
        Evaluation of this state, from :func:`ellipsoid.evaluation.evaluate`.
    goal : {"fidelity", "balanced", "diversity"}
    diagnostics : Diagnostics or MeasuredLatents, optional
        Measurements of this state's latents, from :func:`ellipsoid.diagnostics.diagnose`, or as a report
        keeps them, from :meth:`ellipsoid.runs.RunFolder.read_measured`. Where there is an evaluation they are
        not needed.

    Returns
    -------
    Recommendation

    Raises
    ------
    ValueError
        For an unknown goal, an evaluation or diagnostics of another state, or an evaluation without any
        candidate of this package.

    Examples
    --------
    >>> import ellipsoid as el
    >>> import numpy as np
    >>> state = el.fit(np.random.default_rng(0).normal(size=(200, 4)))
    >>> el.recommend(state).options
    {'law': 'redraw', 'level': 1.645, 'fact': 1.0, 'region': 'pairwise'}
    >>> el.recommend(state, goal="diversity")
    Recommendation for diversity: law redraw, level 2.15, fact 1, region pairwise, 4 components
      Since nothing was measured, the level is the one at which draws vary as much as the latents.
    """
    check_goal(goal)
    if evaluation is None:
        return _recommend_by_advice(state, goal, diagnostics)
    if evaluation.state_digest != digest(state):
        raise ValueError(
            "evaluation: expected one of this state; got one of another: pass the state that was evaluated"
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
        Number of times that recall counts as much as precision.

    Returns
    -------
    chosen : Result
    equal, ours : sequences of Result
        Results that are equally good up to the error, and all that it was chosen from.

    Raises
    ------
    ValueError
        If no result has a recipe.
    """
    ours = [result for result in results if result.recipe is not None]
    if not ours:
        raise ValueError("evaluation: expected one or more candidates that `sample` can draw; got none")
    ours = [result for result in ours if not result.measurements.is_copying] or ours
    scores = [result.measurements.f_score(beta) for result in ours]
    best = max(scores)
    equal = [
        result for result, score in zip(ours, scores, strict=True) if score.value >= best.value - best.error
    ]
    return min(equal, key=lambda result: result.measurements.frechet), equal, ours


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
                f"diagnostics: expected those of this state; got those of one state of "
                f"{diagnostics.n_components} components for {got}"
            )
        measured = measured_latents(diagnostics)
    advice = advise(state.n_components, goal, measured=measured)
    return Recommendation(goal, state, advice.settings, advice.reason)


def _reason(evaluation: Evaluation, goal: str, chosen: Result, n_equal: int, n_ours: int) -> str:
    _, weight = _RECALL_WEIGHTS[goal]
    if chosen.measurements.f_score().value == 0:
        merit = "none has an F-score above 0, and this one has the smallest Fréchet distance"
    elif n_equal > 1:
        merit = (
            f"{n_equal} have the largest F-score, up to its error, and this one has the smallest Fréchet "
            "distance of these"
        )
    else:
        merit = "this one has the largest F-score"
    sentences = [
        *_limits(evaluation),
        f"{chosen.name}: {_precision_and_recall(chosen)}.",
        f"Among {n_ours} candidates {merit}; recall counts {weight} precision.",
        f"Each was measured by {evaluation.n:,} images against {evaluation.n_real:,} unseen ones in the "
        f"features {evaluation.features!r}.",
    ]
    others = [f"{name} {_precision_and_recall(result)}" for name, result in _compared(evaluation)]
    if others:
        sentences.append("In comparison: " + "; ".join(others) + ".")
    return " ".join(sentences)


def _compared(evaluation: Evaluation) -> list[tuple[str, Result]]:
    """Results that the recommended one is compared with, by how they are called."""
    return [
        (name, result)
        for family, spread, name in _COMPARED
        for result in evaluation.all_results
        if (result.family, result.spread) == (family, spread)
    ]


def _limits(evaluation: Evaluation) -> list[str]:
    """Sentence that says what limits all candidates alike: the images, else the decoder, else nothing."""
    unlike = {result.family: result for _, result in _compared(evaluation) if _is_unlike(result)}
    if (result := unlike.get(TRAINING_IMAGES)) is not None:
        return [
            f"The images are the limit: training images themselves have {_precision_and_recall(result)} "
            "against the unseen ones. Give unseen images of the same kind, or more of them."
        ]
    if (result := unlike.get(RECONSTRUCTIONS)) is not None:
        return [
            "The decoder is the limit: reconstructed training images themselves have "
            f"{_precision_and_recall(result)}, and no way to draw mends that. Train a better one first."
        ]
    return []


def _is_unlike(result: Result) -> bool:
    """Whether next to none of these images are among the unseen ones, or of the unseen ones among these."""
    return min(result.measurements.precision.value, result.measurements.recall.value) < _NEXT_TO_NONE


def _precision_and_recall(result: Result) -> str:
    measured = result.measurements
    return f"precision {_rounded(measured.precision)}, recall {_rounded(measured.recall)}"


def _rounded(estimate: Estimate) -> str:
    return f"{estimate.value:.2f} ± {estimate.error:.2f}"


# --- in a run folder -------------------------------------------------------------------------------


def save_recommendations(
    run: str | os.PathLike[str], state: PCAState, recommendations: Iterable[Recommendation]
) -> list[Path]:
    """Write ``recommendation.json`` into a run folder.

    Recommended shapes that the run does not hold already, with fewer components, say, become
    ``recommended-GOAL.npz`` beside it.

    Parameters
    ----------
    run : path
        Run folder with a ``state.npz``.
    state : PCAState
        State of the run, as it lies in ``state.npz``.
    recommendations : iterable of Recommendation
        One for each goal, at most.

    Returns
    -------
    list of Path
        Files that were written.

    Raises
    ------
    FileNotFoundError
        If there is no ``state.npz``.
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
    """Read how `ellipsoid evaluate` recommends to draw from a run; None if it was not evaluated.

    Parameters
    ----------
    run : path
        Run folder.
    goal : {"fidelity", "balanced", "diversity"}

    Returns
    -------
    Recommendation or None

    Raises
    ------
    ValueError
        For an unknown goal, or one that was not recommended for; if the file is damaged, or the run's state
        or the recommended one is not the one that was evaluated.
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
        measured = stored.get("measured")  # files of before have neither this
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
