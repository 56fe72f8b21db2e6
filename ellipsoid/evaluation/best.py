"""Choice of the best shape for latents among one ellipsoid, mixtures and a flow, by unseen latents.

Draws are compared with unseen latents in latent space, without a decoder. The measures are precision (the
share of the draws that lie among the latents), recall (the share of the latents that lie among the draws),
and the test for copies. They rank shapes in the same order as the features of decoded images do. Energy and
Fréchet distances do not, since they are already small for a Gaussian of the right covariance.
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

#: Smallest number of held-out latents: the test for copies needs so many.
MIN_HELD_OUT = 20

# Largest number of held-out latents. With more, the errors stay as large as the differences between shapes.
_MOST_HELD_OUT = 5_000
# Numbers of parts of the mixtures, and the smallest number of rows for each part.
_N_PARTS = (50, 200)
_ROWS_OF_A_PART = 50
# Spread of draws along the axes of a shape that cuts off next to nothing of the normal distribution.
_SPREAD = 0.99


@dataclass(frozen=True)
class Contender:
    """A shape, and a comparison of its draws with unseen latents.

    Attributes
    ----------
    name : str
        Name of the shape in words.
    shape : PCAState, Mixture or Flow
        Shape that was fitted.
    settings : DrawSettings
        Settings of its draws.
    precision, recall : Estimate
        Share of the draws among the unseen latents, and of the unseen latents among the draws.
    copies : Estimate
        Share of the draws that lie closer to training latents than 95 % of the unseen latents do.
    is_copying : bool
        Whether this share is significantly larger than by chance, at 1 %.
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
        copying = ", copies training latents" if self.is_copying else ""
        return f"{self.name} (precision {self.precision.value:.2f}, recall {self.recall.value:.2f}{copying})"


@dataclass(frozen=True)
class Choice:
    """The shape that was chosen by unseen latents, with the comparison.

    Attributes
    ----------
    best : Contender
        Chosen contender.
    contenders : tuple of Contender
        All contenders, from the simplest to the most flexible shape.
    n_held_out : int
        Number of latents in the comparison.
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
        """Reason for the choice, in sentences."""
        others = ", ".join(str(other) for other in self.contenders if other is not self.best)
        return (
            f"By {self.n_held_out:,} held-out latents, the best shape is {self.best}. It is the simplest "
            f"one whose F-score equals the largest up to its error. The others are {others}."
        )

    def __repr__(self) -> str:
        return self.reason


def normal_settings(k: int, spread: float = _SPREAD) -> DrawSettings:
    """Return settings by which draws of the law normal in `k` components have this spread.

    The default spread cuts off next to nothing of the normal distribution.

    Raises
    ------
    ValueError
        If `k` is below 1, or `spread` is not below 1.
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
    """Fit one ellipsoid, mixtures and a flow, and choose the best one by unseen latents.

    All shapes are fitted to the same latents. The held-out latents are compared with equally many draws of
    each shape by the F-score of precision and recall. Shapes whose F-score lies within the standard error of
    the largest are equally good, and the simplest of them is chosen. Shapes that copy training latents are
    left out unless all of them copy.

    Parameters
    ----------
    latents : array, shape (n, D)
        Latent vectors, enough to hold out at least `MIN_HELD_OUT`.
    holdout : float or array, shape (m, D)
        Share of the latents to hold out, above 0 and below 1, or other latents: those of images that the
        encoder has not seen. At most 5,000 are used.
    n_components : int, float or None
        Number of components of all shapes, as for :func:`ellipsoid.fit`.
    n_parts : sequence of int, optional
        Numbers of parts of the mixtures; 50 and 200 by default, or fewer, so that each part has 50 rows.
    flow_options : mapping of str to value, optional
        Arguments of :func:`ellipsoid.fit_flow`, such as ``{"steps": 1000}``.
    key : key, optional
        JAX random key for all random steps. None stands for ``ellipsoid.key(0)``.
    progress : bool
        Whether to show progress bars.

    Returns
    -------
    Choice
        Best shape, settings to draw with, the reason, and all contenders. No shape was fitted to the held-out
        latents.

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
    """Split latents into those for the fit and those for the comparison."""
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
    """Fit one ellipsoid, mixtures and a flow to latents, and return the best one by unseen latents.

    The reason for the choice is printed on standard error if `progress` is set. :func:`choose_shape`
    returns it, with the settings to draw with and all shapes of the comparison.

    Parameters
    ----------
    latents, holdout, n_components, n_parts, flow_options, key, progress
        Arguments as for :func:`choose_shape`.

    Returns
    -------
    PCAState, Mixture or Flow
        Best shape, fitted to the latents that were not held out.

    Raises
    ------
    TypeError, ValueError
        Under the conditions of :func:`choose_shape`.

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
