"""Measurements of candidates, and their cache on disk.

The measurements of each candidate are kept in files of their own, whose name is a digest of everything that
they depend on. An evaluation may be stopped at any moment, and continues with the next candidate.
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
# An evaluation tests dozens of candidates. At this level, chance alone flags about one of a hundred honest
# ones.
COPIES_P_VALUE = 0.01


@dataclass(frozen=True)
class Measurements:
    """Quality measurements of one set of generated images.

    Attributes
    ----------
    precision, recall, density, coverage : Estimate
        Measures of fidelity and diversity, see :mod:`ellipsoid.metrics`.
    frechet, kernel, wasserstein : Estimate
        Distances to the real images. The Fréchet distance is in squared units of the features, and the sliced
        Wasserstein distance in these units. For the kernel distance, features are divided by their root mean
        square, unless they are comparable to published ones.
    copies : Estimate, optional
        Share of images that lie suspiciously close to training images, by :func:`ellipsoid.metrics.copy_test`
        with reconstructions of training images and of unseen ones. None for images that are not drawn.
    copies_expected, copies_p_value : float, optional
        Share expected without copying, and probability of the measured share or a larger one without copying.
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
        """Whether the test for copies is significant at 1 %."""
        return self.copies_p_value is not None and self.copies_p_value < COPIES_P_VALUE

    def f_score(self, beta: float = 1.0) -> Estimate:
        """F-score of precision and recall (van Rijsbergen, 1979).

        Recall counts `beta` times as much as precision. The error is of first order, for independent errors
        of both.

        Parameters
        ----------
        beta : float
            Weight of recall, above 0.

        Returns
        -------
        Estimate
            F-score between 0 and 1.

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
    """A candidate and the measurements of its images.

    Attributes
    ----------
    family, spread, recipe
        Attributes of the :class:`Candidate`.
    measurements : Measurements
        Measurements of the images.
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
        Training images against the unseen ones: the result of a perfect generator with so many images.
    n : int
        Number of images generated for each candidate.
    n_real : int
        Number of unseen images for comparison.
    state_digest : str
        Digest of the state that was evaluated, by :func:`ellipsoid.archive.digest`.
    features, note : str
        Name of the feature space, and a note that belongs to its numbers.
    comparable : bool
        Whether these Fréchet distances are comparable with published ones of the same network.
    reconstructions : Result or None
        Reconstructions of the unseen images against these images: the loss by the decoder alone. Precision
        and recall say little here, since each reconstruction is close to its own image. It is None without
        training images, or without latents of the unseen images.
    reference : {"images", "reconstructions"}
        What draws were compared with: the unseen images, or their reconstructions. The floor and
        `reconstructions` are None with the latter.
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
    reference: str = "images"

    @property
    def all_results(self) -> tuple[Result, ...]:
        """Results of all candidates, and the floor if there is one: the rows of a table."""
        return self.results if self.floor is None else (*self.results, self.floor)

    @property
    def compared_with(self) -> str:
        """Images that draws were compared with, in words after "images against"."""
        unseen = f"{self.n_real:,} unseen ones"
        return unseen if self.reference == "images" else f"reconstructions of {unseen}"

    def __repr__(self) -> str:
        lines = [
            f"Evaluation of {len(self.results)} candidates in the features {self.features!r}",
            f"  images: {self.n:,} generated for each candidate, against {self.compared_with}",
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
    """Cache of the measurements and examples of candidates, in a folder.

    Parameters
    ----------
    folder : path, optional
        Folder of the files. Without a folder nothing is kept.
    inputs : pytree of arrays
        Arrays that all results depend on. Results also depend on the versions of this package and of
        scikit-learn.
    """

    def __init__(self, folder: str | os.PathLike[str] | None, inputs: Any) -> None:
        self._folder = None if folder is None else Path(folder)
        self._context = f"{_FORMAT_VERSION} {__version__} {version('scikit-learn')} {digest(inputs)}"

    def get(
        self, key: str | None, measure: Callable[[], tuple[Measurements, np.ndarray]]
    ) -> tuple[Measurements, np.ndarray]:
        """Read the measurements and examples of a candidate, or measure and keep them.

        Parameters
        ----------
        key : str, optional
            Text that identifies the candidate. Measurements without a key are not kept.
        measure : callable
            Function that measures, which is called if nothing is kept.

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
        """Read kept measurements and examples; None if there are none, or they cannot be read."""
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
        # This file is written last, so the examples exist wherever it exists.
        replace_file(path.with_suffix(".json"), json.dumps(record, indent=1).encode() + b"\n")
