"""Measurements of candidates: what they hold, and where they are kept on disk.

What was measured is kept in one file a candidate, named by a digest of everything that it depends on. So an
evaluation may be stopped at any moment and goes on there.
"""

import dataclasses
import hashlib
import io
import json
import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from ellipsoid.archive import digest
from ellipsoid.evaluation.candidates import Family, Recipe, candidate_name
from ellipsoid.files import replace_file
from ellipsoid.metrics import Estimate
from ellipsoid.version import __version__

_FORMAT = "ellipsoid.evaluation"
_FORMAT_VERSION = 2
# Dozens of candidates that copy nothing are tested: none or one of them is suspected by chance.
COPIES_P_VALUE = 0.01


@dataclass(frozen=True)
class Measurements:
    """Numbers that tell how good one set of generated images is.

    Attributes
    ----------
    precision, recall, density, coverage : Estimate
        Fidelity and diversity, see :mod:`ellipsoid.metrics`.
    frechet, kernel, wasserstein : Estimate
        Distances to the real images: Fréchet in squared units of the features, and sliced Wasserstein in
        these units. The kernel distance is that of features over their root mean square, unless they are
        comparable to published ones.
    copies : Estimate, optional
        Share nearer to a training image, compared with unseen ones, than nearly all reconstructions of unseen
        images are: :func:`ellipsoid.metrics.copy_test`.
    copies_expected, copies_p_value : float, optional
        That share if draws lie as these do; probability of such a share, or more, if they do.
    """

    precision: Estimate
    recall: Estimate
    density: Estimate
    coverage: Estimate
    frechet: Estimate
    kernel: Estimate
    wasserstein: Estimate
    copies: Estimate | None = None
    copies_expected: float | None = None
    copies_p_value: float | None = None

    @property
    def is_copying(self) -> bool:
        """Whether the test for copies, at the level of 1 %, finds more of them than is usual."""
        return self.copies_p_value is not None and self.copies_p_value < COPIES_P_VALUE

    def f_score(self, beta: float = 1.0) -> Estimate:
        """F-score of precision and recall, in which recall counts `beta` times as much.

        By van Rijsbergen (1979). The error is that of the first order, both taken as independent.

        Parameters
        ----------
        beta : float
            Weight of recall, above 0.

        Returns
        -------
        Estimate
            Between 0 and 1.

        Examples
        --------
        >>> from ellipsoid.metrics import Estimate
        >>> measured = Measurements(Estimate(0.8, 0.02), Estimate(0.4, 0.03), *5 * [Estimate(0, 0)])
        >>> print(measured.f_score())
        0.5333 ± 0.027
        """
        return f_score(self.precision, self.recall, beta)


def f_score(precision: Estimate, recall: Estimate, beta: float = 1.0) -> Estimate:
    """F-score of precision and recall, see :meth:`Measurements.f_score`."""
    (p, p_error), (r, r_error) = precision, recall
    below, scale = beta**2 * p + r, 1 + beta**2
    if below == 0:
        return Estimate(0.0, math.hypot(p_error, r_error))
    by_p, by_r = scale * (r / below) ** 2, scale * (beta * p / below) ** 2
    return Estimate(scale * p * r / below, math.hypot(by_p * p_error, by_r * r_error))


@dataclass(frozen=True)
class Result:
    """A candidate and what was measured of its images.

    Attributes
    ----------
    family, spread, recipe
        Those of the :class:`Candidate`.
    measurements : Measurements
    examples : (m, H, W, C) uint8 array
        Images of the first rows.
    """

    family: Family
    spread: float | None
    recipe: Recipe | None
    measurements: Measurements
    examples: np.ndarray = dataclasses.field(repr=False)

    @property
    def name(self) -> str:
        """Name of the candidate."""
        return candidate_name(self.family, self.spread)


@dataclass(frozen=True, repr=False)
class Evaluation:
    """Results of :func:`evaluate`.

    Attributes
    ----------
    results : tuple of Result
        Results of all candidates, in their order.
    floor : Result or None
        Training images against the unseen ones: what a generator of perfect images gets with so many of them.
    n : int
        Number of images generated for each candidate.
    n_real : int
        Number of unseen images that they are compared with.
    state_digest : str
        Digest of the state that was evaluated: :func:`ellipsoid.archive.digest`.
    features, note : str
        Name of the feature space, and what must be said of it wherever the numbers are shown.
    comparable : bool
        Whether published FID figures may be held against these Fréchet distances.
    reconstructions : Result or None
        Reconstructions of the unseen images against these images themselves: what the decoder loses alone.
        Each is near to its own image, so that precision and recall tell little of it. They are measured where
        there are training images and latents of the unseen ones.
    """

    results: tuple[Result, ...]
    floor: Result | None
    n: int
    n_real: int
    state_digest: str
    features: str
    note: str
    comparable: bool
    reconstructions: Result | None = None

    @property
    def all_results(self) -> tuple[Result, ...]:
        """Results of all candidates, and the floor, if there is one: the rows of a table."""
        return self.results if self.floor is None else (*self.results, self.floor)

    def __repr__(self) -> str:
        lines = [
            f"Evaluation of {len(self.results)} candidates in the features {self.features!r}",
            f"  images: {self.n:,} generated for each candidate, against {self.n_real:,} unseen ones",
        ]
        shown = {"floor": self.floor}
        if self.results:
            shown = {"best": max(self.results, key=lambda result: result.measurements.f_score()), **shown}
        for label, result in shown.items():
            if result is not None:
                m = result.measurements
                lines.append(
                    f"  {label}: {result.name}, F-score {m.f_score()}, precision {m.precision}, "
                    f"recall {m.recall}"
                )
        return "\n".join(lines)


# --- on disk ---------------------------------------------------------------------------------------


class ResultCache:
    """Measurements and examples of candidates in a folder, by what they depend on.

    Parameters
    ----------
    folder : path, optional
        Folder of the files; without one nothing is kept.
    inputs : pytree of arrays
        Everything that all results depend on. The versions of this package and of scikit-learn count, too.
    """

    def __init__(self, folder: str | os.PathLike[str] | None, inputs: Any) -> None:
        self._folder = None if folder is None else Path(folder)
        self._context = f"{_FORMAT_VERSION} {__version__} {version('scikit-learn')} {digest(inputs)}"

    def get(
        self, key: str | None, measure: Callable[[], tuple[Measurements, np.ndarray]]
    ) -> tuple[Measurements, np.ndarray]:
        """Read measurements and examples, or measure and keep them.

        Parameters
        ----------
        key : str, optional
            Text that tells this candidate from others; measurements without one are not kept.
        measure : callable
            Called if nothing is kept.

        Raises
        ------
        OSError
            If the files cannot be written.
        """
        kept = self.read(key)
        if kept is not None:
            return kept
        measured = measure()
        if self._folder is not None and key is not None:
            self._write(self._folder / self._name_of(key), key, *measured)
        return measured

    def read(self, key: str | None) -> tuple[Measurements, np.ndarray] | None:
        """Measurements and examples that are kept; None if there are none, or they can't be read."""
        if self._folder is None or key is None:
            return None
        path = self._folder / self._name_of(key)
        try:
            record = json.loads(path.with_suffix(".json").read_bytes())
            values: dict[str, Any] = {
                name: Estimate(**value) if isinstance(value, dict) else value
                for name, value in record["scores"].items()
            }
            return Measurements(**values), np.load(path.with_suffix(".npy"), allow_pickle=False)
        except (FileNotFoundError, ValueError, KeyError, TypeError, EOFError):
            return None

    def _name_of(self, key: str) -> str:
        return hashlib.sha256(f"{self._context}\n{key}".encode()).hexdigest()[:32]

    @staticmethod
    def _write(path: Path, key: str, measurements: Measurements, examples: np.ndarray) -> None:
        content = io.BytesIO()
        np.save(content, examples, allow_pickle=False)
        replace_file(path.with_suffix(".npy"), content.getvalue())
        numbers = {
            name: value._asdict() if isinstance(value, Estimate) else value
            for name, value in vars(measurements).items()
        }
        record = {"format": _FORMAT, "format_version": _FORMAT_VERSION, "what": key, "scores": numbers}
        # Last: where it lies, the examples do.
        replace_file(path.with_suffix(".json"), json.dumps(record, indent=1).encode() + b"\n")
