"""The figures that papers report, each by the protocol that it is published with."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from jax.typing import ArrayLike

from ellipsoid.blocks import subset
from ellipsoid.checks import check_choice
from ellipsoid.metrics.estimate import Estimate
from ellipsoid.metrics.frechet import frechet_distance
from ellipsoid.metrics.gaussian import gaussian_mmd
from ellipsoid.metrics.kernel import kernel_distance
from ellipsoid.metrics.manifold import precision_recall
from ellipsoid.metrics.row_pairs import check_pair

Protocol = Literal["inception", "dinov2", "clip"]


@dataclass(frozen=True)
class PublishedFigures:
    """Result of :func:`published_figures`.

    Attributes
    ----------
    figures : dict of str to Estimate
        Figures by their names in papers.
    caveats : tuple of str
        Reasons why they cannot be held against published ones, a sentence each.
    """

    figures: dict[str, Estimate]
    caveats: tuple[str, ...] = ()

    def __str__(self) -> str:
        lines = [f"{name}: {estimate}" for name, estimate in self.figures.items()]
        return "\n".join([*lines, *(f"caveat: {text}" for text in self.caveats)])


def published_figures(
    generated: ArrayLike,
    real: ArrayLike,
    protocol: Protocol = "inception",
    *,
    comparable: bool = True,
    progress: bool = False,
) -> PublishedFigures:
    """Compute the figures that papers report, from the features that they use.

    - "inception": FID (Heusel et al., 2017); KID times 1,000 (Bińkowski et al., 2018), over all pairs and not
      over random subsets; precision and recall of the third neighbours (Kynkäänniemi et al., 2019).
    - "dinov2": FD-DINOv2, and precision and recall of the fifth neighbours, of 10,000 rows of each set, as in
      its paper (Stein et al., 2023). A larger set gives the same random 10,000 each time.
    - "clip": CMMD (Jayasumana et al., 2024), 1,000 times the squared maximum mean discrepancy of a Gaussian
      kernel of bandwidth 10, of features divided by their lengths. The estimate is unbiased. That of the
      authors' code also counts each row as its own pair, which adds less than 0.001 for 50,000 rows.

    Parameters
    ----------
    generated : array, shape (n, D)
        Features of generated images, in the space with the name of the protocol.
    real : array, shape (m, D)
        Features of real images.
    protocol : {"inception", "dinov2", "clip"}
        Figures to compute.
    comparable : bool
        Whether the features are those that figures are published in; feature spaces have an attribute of this
        name.
    progress : bool
        Whether to show a progress bar for each pass over the pairs.

    Returns
    -------
    PublishedFigures
        Figures with their standard errors, and what keeps them from being compared.

    Raises
    ------
    TypeError
        If the rows do not hold real numbers.
    ValueError
        If the protocol is unknown, or the rows are not finite matrices, are too few, differ in their number
        of columns, or have a length of 0 for "clip".

    Examples
    --------
    >>> import numpy as np
    >>> from ellipsoid.metrics import published_figures
    >>> generated, real = np.random.default_rng(0).normal(size=(2, 500, 8)) + [[[1]], [[1.1]]]
    >>> print(published_figures(generated, real, "clip"))
    CMMD: 0.01393 ± 0.016
    caveat: CMMD is published for 30,000 generated and real images or more; these are 500 and 500.
    """
    check_choice("protocol", protocol, _PROTOCOLS)
    chosen = _PROTOCOLS[protocol]
    generated, real = check_pair("generated", generated, "real", real, least=chosen.least)
    caveats = []
    if min(len(generated), len(real)) < chosen.usual:
        caveats.append(
            f"{chosen.title} is published for {chosen.usual:,} generated and real images or more; these are "
            f"{len(generated):,} and {len(real):,}."
        )
    if not comparable:
        caveats.append(f"These features are not those that {chosen.title} is published in.")
    return PublishedFigures(chosen.compute(generated, real, progress), tuple(caveats))


class _Protocol(NamedTuple):
    title: str
    usual: int  # number of rows
    least: int
    compute: Callable[[np.ndarray, np.ndarray, bool], dict[str, Estimate]]


def _of_inception(generated: np.ndarray, real: np.ndarray, progress: bool) -> dict[str, Estimate]:
    kernel = kernel_distance(generated, real, progress=progress)
    return {
        "FID": frechet_distance(generated, real),
        "KID x 1000": _thousandfold(kernel),
        **precision_recall(real, generated, k=3, progress=progress)._asdict(),
    }


def _of_dinov2(generated: np.ndarray, real: np.ndarray, progress: bool) -> dict[str, Estimate]:
    few_real, few_generated = (subset(rows, 10_000) for rows in (real, generated))
    return {
        "FD-DINOv2": frechet_distance(generated, real),
        **precision_recall(few_real, few_generated, k=5, progress=progress)._asdict(),
    }


def _of_clip(generated: np.ndarray, real: np.ndarray, progress: bool) -> dict[str, Estimate]:
    directions = (_directions(name, rows) for name, rows in (("generated", generated), ("real", real)))
    return {"CMMD": _thousandfold(gaussian_mmd(*directions, bandwidth=10, progress=progress))}


def _directions(name: str, rows: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    if not lengths.all():
        raise ValueError(f"{name}: expected rows of a length above 0; got {np.sum(lengths == 0)} of length 0")
    return rows / lengths


def _thousandfold(estimate: Estimate) -> Estimate:
    return Estimate(1000 * estimate.value, 1000 * estimate.error)


_PROTOCOLS: dict[str, _Protocol] = {
    "inception": _Protocol("FID", 50_000, 4, _of_inception),
    "dinov2": _Protocol("FD-DINOv2", 50_000, 6, _of_dinov2),
    "clip": _Protocol("CMMD", 30_000, 3, _of_clip),
}
