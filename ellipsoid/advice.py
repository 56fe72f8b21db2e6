"""The one place that advises how to draw where no images were compared.

The command line draws by this advice unless it is told otherwise. :func:`ellipsoid.recommend` gives it where
there is no evaluation. :mod:`ellipsoid.diagnostics` gives it from its own measurements of the latents.
"""

from collections.abc import Set
from dataclasses import dataclass

from ellipsoid.checks import check_count
from ellipsoid.levels import matched_level
from ellipsoid.settings import DEFAULT_LEVEL, DrawSettings

#: Goals of the draws, from the most faithful images to the most diverse.
GOALS = ("fidelity", "balanced", "diversity")
#: The source method's level 2.35 times the smallest fact that it used, 0.6.
FAITHFUL_LEVEL = 1.41

# Concerns about the fit, not about the distribution of the latents.
_ABOUT_THE_FIT = {"half_widths", "few_images"}


@dataclass(frozen=True)
class MeasuredLatents:
    """Measurements of latents that the advice rests on.

    Attributes
    ----------
    concerns : set of str
        Names of the assumptions that fail; see :class:`ellipsoid.diagnostics.Concern`.
    level_of_90, level_of_99 : float
        Levels at which 90 % and 99 % of the latents meet all pair conditions.
    """

    concerns: Set[str]
    level_of_90: float
    level_of_99: float


@dataclass(frozen=True)
class Advice:
    """How to draw, and why.

    Attributes
    ----------
    settings : DrawSettings
        Law, level, fact and region.
    reason : str
        Reason for these settings, in one or two sentences.
    """

    settings: DrawSettings
    reason: str


def check_goal(goal: str) -> str:
    """Return `goal` if it is one of `GOALS`.

    Raises
    ------
    ValueError
        If it is not.
    """
    if goal not in GOALS:
        raise ValueError(f"goal: expected one of {', '.join(GOALS)}; got {goal!r}")
    return goal


def advise(n_components: int, goal: str = "balanced", *, measured: MeasuredLatents | None = None) -> Advice:
    """Advise how to draw for a goal, from the number of components and measurements of the latents.

    Without measurements, the advice is ``redraw``, and the goal sets the level: 1.41, 1.645, or the one at
    which draws have the variance of the latents. With measurements, Gaussian latents are drawn by ``normal``,
    and latents that fill their region evenly by ``uniform``. All other latents keep ``redraw``, and so does
    the goal "fidelity".

    Parameters
    ----------
    n_components : int
        Number K of components that are drawn.
    goal : {"fidelity", "balanced", "diversity"}
        Preference between faithful and diverse images.
    measured : MeasuredLatents, optional
        Measurements of the latents.

    Returns
    -------
    Advice
        Settings of the draws, and their reason.

    Raises
    ------
    TypeError
        If `n_components` is not an integer.
    ValueError
        If the goal is unknown, or there are no components.

    Examples
    --------
    The balanced advice is the default of :func:`ellipsoid.sample`:

    >>> from ellipsoid.settings import DrawSettings
    >>> advise(50).settings == DrawSettings()
    True
    >>> advise(50, "diversity").settings
    DrawSettings(law='redraw', level=2.8442, fact=1.0, region='pairwise')
    """
    check_goal(goal)
    check_count("n_components", n_components)
    if measured is None:
        return _advise_unmeasured(n_components, goal)
    if goal == "fidelity":
        return Advice(
            DrawSettings("redraw", FAITHFUL_LEVEL),
            "Images near the average are the most faithful for any latents, so draw well inside the "
            f"region, at level {FAITHFUL_LEVEL:g}.",
        )
    if not measured.concerns:
        return _advise_gaussian(goal, measured)
    if set(measured.concerns) == {"flat"}:
        level = matched_level(n_components, "uniform")
        return Advice(
            DrawSettings("uniform", level),
            f"The latents fill their region evenly. Uniform draws at level {level:.2f} have their variance.",
        )
    return _advise_redraw(n_components, goal, measured)


def _advise_unmeasured(n_components: int, goal: str) -> Advice:
    if goal == "diversity":
        return Advice(
            DrawSettings("redraw", matched_level(n_components, "redraw")),
            "The level is the one at which draws vary as much as the latents, since nothing was measured.",
        )
    level, origin = {
        "fidelity": (FAITHFUL_LEVEL, "the smallest of the source method (2.35 x 0.6)"),
        "balanced": (DEFAULT_LEVEL, "the default (2.35 x 0.7 of the source method)"),
    }[goal]
    return Advice(
        DrawSettings("redraw", level),
        f"The level is {origin}, since nothing was measured. Draws lie well inside the region.",
    )


def _advise_gaussian(goal: str, measured: MeasuredLatents) -> Advice:
    level, left_out = (
        (measured.level_of_99, "hundredth") if goal == "diversity" else (measured.level_of_90, "tenth")
    )
    reason = (
        f"The latents are Gaussian, so the normal distribution draws with their spread. Level {level:.2f} "
        f"leaves out their outermost {left_out}."
    )
    if goal == "balanced":
        reason += f" For images nearer to the average, use redraw at the default level of {DEFAULT_LEVEL:g}."
    return Advice(DrawSettings("normal", level), reason)


def _advise_redraw(n_components: int, goal: str, measured: MeasuredLatents) -> Advice:
    known = "The latents are not Gaussian"
    if set(measured.concerns) <= _ABOUT_THE_FIT:
        known = "The shape of the latents is not known well"
    if goal == "diversity":
        level = matched_level(n_components, "redraw")
        return Advice(
            DrawSettings("redraw", level),
            f"{known}, so some draws may fall where there are no latents. At level {level:.2f} draws vary as "
            "much as the latents.",
        )
    return Advice(
        DrawSettings(),
        f"{known}, so draw well inside the region: keep the default level of {DEFAULT_LEVEL:g}.",
    )
