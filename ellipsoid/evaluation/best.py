"""The best shape for latents: one ellipsoid, mixtures and a flow, judged by latents that none has seen.

Draws and unseen latents are compared in latent space, without a decoder, by the share of the draws that lie
among the latents and of the latents that lie among the draws (precision and recall), and by the test for
copies. Distances between latents rank shapes as distances between the features of decoded images do; energy
and Fréchet distances do not, since a Gaussian of the right covariance is already near by them.
"""

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.random as jr
import numpy as np
from jax.typing import ArrayLike

from ellipsoid.blocks import subset
from ellipsoid.checks import check_matrix, check_positive
from ellipsoid.evaluation.candidates import MIXTURE_ROWS, level_of_spread
from ellipsoid.evaluation.results import COPIES_P_VALUE, f_score
from ellipsoid.fitting import fit
from ellipsoid.flow_fitting import fit_flow
from ellipsoid.metrics import CopyDetector, Estimate, precision_recall
from ellipsoid.mixture_fitting import fit_mixture
from ellipsoid.random import key as make_key
from ellipsoid.sampling import sample
from ellipsoid.settings import DrawSettings
from ellipsoid.shapes import Shape

#: Fewest latents that can be held out: the test for copies needs them.
MIN_HELD_OUT = 20

# Latents that are held out at most: more make the errors no smaller than the differences.
_MOST_HELD_OUT = 5_000
# Numbers of parts of the mixtures, and the rows that each part needs at least.
_N_PARTS = (50, 200)
_ROWS_OF_A_PART = 50
# Spread of draws along the axes of a shape at which next to nothing of the normal distribution is cut off.
_SPREAD = 0.99


@dataclass(frozen=True)
class Contender:
    """A shape, and how its draws compare with latents that it has not seen.

    Attributes
    ----------
    name : str
        Name for a reader.
    shape : PCAState, Mixture or Flow
    settings : DrawSettings
        Settings that its draws were made with.
    precision, recall : Estimate
        Share of the draws among the unseen latents, and of the unseen latents among the draws.
    copies : Estimate
        Share of the draws that lie nearer to training latents than 95 % of the unseen latents do.
    is_copying : bool
        Whether these are more than chance explains, at the level of 1 %.
    """

    name: str
    shape: Shape
    settings: DrawSettings
    precision: Estimate
    recall: Estimate
    copies: Estimate
    is_copying: bool

    @property
    def f_score(self) -> Estimate:
        """F-score of precision and recall."""
        return f_score(self.precision, self.recall)

    def __str__(self) -> str:
        copying = ", but copies training latents" if self.is_copying else ""
        return f"{self.name}: precision {self.precision.value:.2f}, recall {self.recall.value:.2f}{copying}"


@dataclass(frozen=True)
class Choice:
    """The shape that unseen latents speak for, and why.

    Attributes
    ----------
    best : Contender
    contenders : tuple of Contender
        All, from the simplest to the most flexible shape.
    n_held_out : int
        Number of latents that judged them.
    """

    best: Contender
    contenders: tuple[Contender, ...]
    n_held_out: int

    @property
    def shape(self) -> Shape:
        """Shape to draw from."""
        return self.best.shape

    @property
    def settings(self) -> DrawSettings:
        """Settings to draw with."""
        return self.best.settings

    @property
    def reason(self) -> str:
        """Sentences for a reader."""
        others = "; ".join(str(other) for other in self.contenders if other is not self.best)
        return (
            f"{self.best}. By {self.n_held_out:,} latents that were held out, it is the simplest shape among "
            f"those with the largest F-score. In comparison: {others}."
        )

    def __repr__(self) -> str:
        return self.reason


def normal_settings(k: int, spread: float = _SPREAD) -> DrawSettings:
    """Give settings by which draws of the normal distribution in `k` components have this spread.

    By default next to nothing of it is cut off.

    Raises
    ------
    ValueError
        If there is less than one component, or the normal distribution does not reach the spread.
    """
    return DrawSettings("normal", level_of_spread(spread, k, "normal", "pairwise"))


def choose_shape(
    latents: ArrayLike,
    holdout: float | ArrayLike = 0.1,
    *,
    n_components: int | float | None = None,
    n_parts: Sequence[int] | None = None,
    flow_options: Mapping[str, Any] | None = None,
    key: jax.Array | None = None,
    progress: bool = False,
) -> Choice:
    """Fit one ellipsoid, mixtures and a flow, and choose the one that unseen latents speak for.

    Each shape is fitted to the same latents. As many draws as there are latents held out are compared with
    those: the largest F-score of precision and recall wins. Shapes whose F-score lies within its standard
    error of the largest are equally good, and the simplest of them is taken. Shapes that copy training
    latents are left out, unless all do.

    Parameters
    ----------
    latents : array, shape (n, D)
        Latent vectors, so many that at least `MIN_HELD_OUT` are held out.
    holdout : float or array, shape (m, D)
        Share of the latents to judge by, above 0 and below 1; or other latents, of images that the encoder
        has not seen. At most 5,000 are used.
    n_components : int, float or None
        Number of components of all shapes, as for :func:`ellipsoid.fit`.
    n_parts : sequence of int, optional
        Numbers of parts of the mixtures; 50 and 200 by default, or fewer, so that each part has 50 rows.
    flow_options : mapping of str to value, optional
        Arguments of :func:`ellipsoid.fit_flow`: ``{"steps": 1000}``, say.
    key : key, optional
        JAX random key of everything random; None stands for ``ellipsoid.key(0)``.
    progress : bool
        Whether to show progress bars.

    Returns
    -------
    Choice
        The best shape, settings to draw with, the reason, and all contenders. No shape has seen the latents
        held out.

    Raises
    ------
    TypeError
        If the latents do not hold real numbers, or another argument is of the wrong kind.
    ValueError
        If the latents are not a finite matrix or too few, `holdout` is not within (0, 1), or another argument
        is out of range.

    Examples
    --------
    >>> import numpy as np
    >>> from ellipsoid.evaluation import choose_shape
    >>> latents = np.random.default_rng(0).normal(size=(400, 2))
    >>> small = {"steps": 50, "width": 16, "depth": 1, "n_steps": 8}
    >>> choice = choose_shape(latents, n_parts=[2], flow_options=small)
    >>> [contender.name for contender in choice.contenders]
    ['one ellipsoid', 'mixture of 2', 'flow']
    """
    key = make_key(0) if key is None else key
    rows, held = _held_out(latents, holdout, jr.fold_in(key, 0))
    detector = CopyDetector(rows, held)

    def contender(name: str, shape: Shape) -> Contender:
        settings = normal_settings(shape.n_components)
        draws = sample(jr.fold_in(key, 1), shape, len(held), **settings.options).latents
        near, copies = precision_recall(held, draws), detector.test(draws)
        is_copying = copies.p_value < COPIES_P_VALUE
        return Contender(name, shape, settings, near.precision, near.recall, copies.share, is_copying)

    contenders = [contender("one ellipsoid", fit(rows, n_components))]
    most = len(rows) // _ROWS_OF_A_PART
    for m in n_parts or sorted({min(m, most) for m in _N_PARTS} - {0, 1}):
        mixture = fit_mixture(
            rows, m, n_components, max_rows=MIXTURE_ROWS, key=jr.fold_in(key, 2), progress=progress
        )
        contenders.append(contender(f"mixture of {mixture.n_parts}", mixture))
    flow_options = {"key": jr.fold_in(key, 3), "progress": progress, **(flow_options or {})}
    flow = fit_flow(rows, n_components, **flow_options)
    contenders.append(contender("flow", flow))
    return Choice(_simplest_of_the_best(contenders), tuple(contenders), len(held))


def _held_out(
    latents: ArrayLike, holdout: float | ArrayLike, key: jax.Array
) -> tuple[np.ndarray, np.ndarray]:
    """Latents to fit to, and those to judge by."""
    if np.ndim(holdout):
        rows = check_matrix("latents", latents, least=MIN_HELD_OUT)
        held = check_matrix("holdout", holdout, least=MIN_HELD_OUT, n_columns=rows.shape[1])
        return rows, subset(held, _MOST_HELD_OUT)
    share = check_positive("holdout", holdout)
    if share >= 1:
        raise ValueError(f"holdout: expected a share below 1, or other latents; got {holdout}")
    rows = check_matrix("latents", latents, least=math.ceil(MIN_HELD_OUT / share))
    order = np.asarray(jr.permutation(key, len(rows)))
    n_held = min(round(share * len(rows)), _MOST_HELD_OUT)
    return rows[np.sort(order[n_held:])], rows[np.sort(order[:n_held])]


def _simplest_of_the_best(contenders: Sequence[Contender]) -> Contender:
    honest = [contender for contender in contenders if not contender.is_copying] or list(contenders)
    best = max((contender.f_score for contender in honest), key=lambda score: score.value)
    return next(c for c in honest if c.f_score.value >= best.value - best.error)


def fit_best(
    latents: ArrayLike,
    holdout: float | ArrayLike = 0.1,
    *,
    n_components: int | float | None = None,
    n_parts: Sequence[int] | None = None,
    flow_options: Mapping[str, Any] | None = None,
    key: jax.Array | None = None,
    progress: bool = False,
) -> Shape:
    """Learn the shape of latents as one ellipsoid, a mixture or a flow: whichever unseen latents speak for.

    The reason is printed on standard error where progress is shown; :func:`choose_shape` returns it, with the
    settings to draw with and all shapes that were compared.

    Parameters
    ----------
    latents, holdout, n_components, n_parts, flow_options, key, progress
        As for :func:`choose_shape`.

    Returns
    -------
    PCAState, Mixture or Flow
        The best shape, fitted to the latents that were not held out.

    Raises
    ------
    TypeError, ValueError
        As for :func:`choose_shape`.

    Examples
    --------
    >>> import numpy as np
    >>> import ellipsoid as el
    >>> latents = np.random.default_rng(0).normal(size=(400, 2))
    >>> small = {"steps": 50, "width": 16, "depth": 1, "n_steps": 8}
    >>> shape = el.fit_best(latents, n_parts=[2], flow_options=small)
    >>> type(shape).__name__
    'PCAState'
    """
    choice = choose_shape(
        latents,
        holdout,
        n_components=n_components,
        n_parts=n_parts,
        flow_options=flow_options,
        key=key,
        progress=progress,
    )
    if progress:
        print(choice.reason, file=sys.stderr)
    return choice.shape
