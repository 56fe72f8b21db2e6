"""Evaluation of decoded draws: ways to draw latents are compared with unseen real images.

Each candidate (:mod:`ellipsoid.evaluation.candidates`) draws as many latents as there are real images. The
decoded draws are measured by :mod:`ellipsoid.metrics` in one feature space. Measurements are kept on disk
(:mod:`ellipsoid.evaluation.results`). Their names are digests of the latents and images, of the output of
decoder and features for some of them, of the key, of the candidate's fingerprint, and of the versions of this
package and scikit-learn. Measurements of a candidate without a fingerprint are not kept.
"""

import contextlib
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np
from jax.typing import ArrayLike

from ellipsoid import metrics
from ellipsoid.archive import digest
from ellipsoid.blocks import row_slices
from ellipsoid.checks import check_count, check_images, check_matrix
from ellipsoid.evaluation.candidates import (
    FAMILIES,
    TRAINING_IMAGES,
    Candidate,
    Family,
    default_candidates,
    fewer_components,
)
from ellipsoid.evaluation.recommend import GOALS, recall_weight
from ellipsoid.evaluation.results import Evaluation, Measurements, Result, ResultCache
from ellipsoid.moments import Moments
from ellipsoid.pixels import PIXEL_RANGE, ImageDecoder
from ellipsoid.progress import progress_bar
from ellipsoid.random import philox_words
from ellipsoid.shapes import Shape
from ellipsoid.state import PCAState, check_latents

#: Number of images of each candidate that are kept for figures.
N_EXAMPLES = 16
#: Smallest number of images, generated and real: the test for copies needs so many.
MIN_IMAGES = 19

# Curves of fewer spreads are measured at all of them.
_FEW_SPREADS = 5
# Number of training latents whose decoded images are in memory at a time.
_DECODED_ROWS = 10_000
# Number of rows that are drawn from a candidate to check the shape of its latents.
_PROBE_ROWS = 2
_UNSEEN_RECONSTRUCTIONS = Family("unseen reconstructions", "floor")
_NOTE = "Published FID and KID figures use an Inception network. They cannot be compared with these figures."


def evaluate(
    latents: ArrayLike,
    state: PCAState,
    decode: Callable[[np.ndarray], ArrayLike],
    real_images: np.ndarray,
    features: Callable[[np.ndarray], ArrayLike],
    *,
    key: jax.Array,
    pixel_range: tuple[float, float] = PIXEL_RANGE,
    train_images: np.ndarray | None = None,
    real_latents: ArrayLike | None = None,
    candidates: Literal["full", "quick"] | Sequence[Candidate] = "full",
    shapes: Iterable[Shape] = (),
    reference: Literal["images", "reconstructions"] = "images",
    n: int | None = None,
    out: str | os.PathLike[str] | None = None,
    progress: bool = True,
) -> Evaluation:
    """Measure ways to draw latents by their decoded images.

    Parameters
    ----------
    latents : array, shape (m, D)
        Latents of training images, for the fit of the baselines.
    state : PCAState
        State that was fitted to these latents.
    decode : callable
        Function from float32 latents (n, D) to images (n, H, W, C): uint8, or floats in `pixel_range`, which
        are rounded and clipped.
    real_images : (r, H, W, C) uint8 array
        Images that neither the decoder, nor the state, nor the features were trained on. At least 19; below
        1,000 the errors are large.
    features : callable
        Function from (n, H, W, C) uint8 images to (n, F) features. The result takes over its attributes
        ``name``, ``note`` and ``comparable``, if it has them.
    key : jax.Array
        Typed random key, which is the same for all candidates.
    pixel_range : tuple of two float
        Black and white of decoded images that are floats: (-1, 1) for a decoder that ends in tanh.
    train_images : (t, H, W, C) uint8 array, optional
        Training images, for the floor.
    real_latents : array, shape (r, D), optional
        Latents of the real images, for the test for copies, see :func:`ellipsoid.metrics.copy_test`. It
        compares draws with reconstructions of the training images and of the real ones, so that all have
        passed through the decoder. Without these latents it is left out.
    candidates : {"full", "quick"} or sequence of Candidate
        Ways to draw. "full" stands for :func:`ellipsoid.evaluation.default_candidates`, followed by the best
        family of single regions with fewer components. It measures every second spread of each family, and
        then the other spreads of families that may be recommended. "quick" stands for a third of these.
    shapes : iterable of PCAState, Mixture or Flow
        Shapes that have been fitted before, as for :func:`ellipsoid.evaluation.default_candidates`.
    reference : {"images", "reconstructions"}
        What decoded draws are compared with: the real images, or their reconstructions, which need
        `real_latents`. Features of a network that was trained on photographs can tell every decoded image
        from a real one, as EfficientNet's do. No draw then has any precision or recall against images.
        Against reconstructions, the loss by the decoder does not count.
    n : int, optional
        Number of images for each candidate. The default is the number of real images, which is best.
    out : path, optional
        Folder for measurements and a fitted flow, which are reused. Results of your own candidates are kept
        only if a `fingerprint` identifies them.
    progress : bool
        Show a progress bar.

    Returns
    -------
    Evaluation

    Raises
    ------
    TypeError, ValueError
        If the latents do not fit the state, if the images are not images or too few, if `key` is not a key,
        if `reference` is unknown or asks for reconstructions without `real_latents`,
        if candidates have equal names or latents of another shape, or if the decoder or the features return
        something other than images or features. These errors come before any measurement: two rows are drawn
        from each candidate without ``n_features`` to check their shape. Only a candidate whose shape is right
        for two rows and wrong for `n` fails at its turn.
    KeyboardInterrupt
        When interrupted. All measurements are kept in `out`.
    """
    latents = check_latents(state, latents)
    check_images("real_images", real_images, least=MIN_IMAGES)
    n = len(real_images) if n is None else check_count("n", n, MIN_IMAGES)
    if train_images is not None:
        check_images("train_images", train_images, real_images.shape[1:], least=n)
    if real_latents is not None:
        real_latents = _check_real_latents(state, real_latents, len(real_images))
    if reference not in ("images", "reconstructions"):
        raise ValueError(f"reference: expected images or reconstructions; got {reference!r}")
    if reference == "reconstructions" and real_latents is None:
        raise ValueError("real_latents: expected latents of the real images, to reconstruct them; got None")
    full = isinstance(candidates, str) and candidates == "full"
    folder = None if out is None else Path(out) / "cache"
    chosen = _choose(candidates, latents, state, folder, shapes)
    decoder = ImageDecoder(decode, pixel_range, real_images.shape[1:])
    measurer = _Measurer(
        latents, decoder, real_images, features, train_images, real_latents, reference, n, key
    )
    cache = ResultCache(folder, measurer.inputs())
    unmeasured = [candidate for candidate in chosen if cache.read(candidate.cache_key) is None]
    for candidate in unmeasured:
        _check_shape(candidate, latents.shape[1], key)

    _prepare_ahead(unmeasured)
    results: list[Result] = []
    # The best family is known later, but all families have equally many candidates.
    n_more = len(fewer_components(state, next(iter(FAMILIES.values())))) if full else 0
    bar = progress_bar("evaluate", len(chosen) + n_more, enabled=progress, unit="candidates")
    with bar as advance, _interruption_explained(out):

        def measure(more: Sequence[Candidate]) -> None:
            for candidate in more:
                advance(0, candidate.name)
                results.append(measurer.result(candidate, cache))
                advance(1, candidate.name)

        def measure_curves(more: Sequence[Candidate]) -> None:
            """Measure every second spread of each family, and all of those that may be recommended."""
            coarse = coarse_spreads(more)
            start = len(results)
            measure([candidate for candidate in more if candidate in coarse])
            promising = promising_families(results)
            finer = [
                candidate
                for candidate in more
                if candidate not in coarse
                and (candidate.family in promising or cache.read(candidate.cache_key) is not None)
            ]
            advance(len(more) - len(coarse) - len(finer))
            measure(finer)
            order = [candidate.name for candidate in more]
            results[start:] = sorted(results[start:], key=lambda result: order.index(result.name))

        if full:
            measure_curves(chosen)
            measure_curves(fewer_components(state, best_family(results)))
        else:
            measure(chosen)
        floor = measurer.floor(cache)
        reconstructions = measurer.reconstructions(cache)
    return Evaluation(
        tuple(results),
        floor,
        n,
        len(real_images),
        digest(state),
        getattr(features, "name", "features"),
        getattr(features, "note", _NOTE),
        bool(getattr(features, "comparable", False)),
        reconstructions,
        reference,
    )


def best_family(results: Sequence[Result]) -> Family:
    """Find the family of a single region with the largest F-score; the first one among equals.

    Raises
    ------
    ValueError
        If no result belongs to a single region.
    """
    regions = [result for result in results if result.family.kind == "region"]
    if not regions:
        raise ValueError("results: expected at least one result of a single region; got none")
    return max(regions, key=lambda result: result.measurements.f_score()).family


def coarse_spreads(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Candidates that tell how good their families are: every second spread of each.

    A baseline is compared with others at the spread 1. Families of few spreads are measured at all of them.
    """
    curves: dict[Family, list[Candidate]] = {}
    for candidate in candidates:
        curves.setdefault(candidate.family, []).append(candidate)
    return [
        candidate
        for family, curve in curves.items()
        for number, candidate in enumerate(curve)
        if len(curve) < _FEW_SPREADS
        or number % 2 == 1
        or (family.kind == "baseline" and candidate.spread == 1)
    ]


def promising_families(results: Sequence[Result]) -> set[Family]:
    """Families, of those that can be recommended, with a score within four standard errors of the best one.

    There are several scores: one for each weight that a recommendation gives to recall.
    """
    ours = [result for result in results if result.recipe is not None]
    promising = set()
    for goal in GOALS:
        beta = recall_weight(goal)
        scores = [(result.family, result.measurements.f_score(beta)) for result in ours]
        best = max((score.value for _, score in scores), default=0.0)
        promising |= {family for family, score in scores if score.value + 4 * score.error >= best}
    return promising


@contextlib.contextmanager
def _interruption_explained(out: str | os.PathLike[str] | None) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        kept = f"; the measurements are kept in {out}, and the same call continues from them" if out else ""
        raise KeyboardInterrupt(f"interrupted{kept}") from None


# --- checks ----------------------------------------------------------------------------------------


def _check_real_latents(state: PCAState, real_latents: ArrayLike, n_real: int) -> np.ndarray:
    real_latents = check_latents(state, real_latents, "real_latents")
    if len(real_latents) != n_real:
        raise ValueError(
            f"real_latents: expected {n_real} rows, one for each real image; got {len(real_latents)}"
        )
    return real_latents


def _choose(
    candidates: str | Sequence[Candidate],
    latents: np.ndarray,
    state: PCAState,
    folder: Path | None,
    shapes: Iterable[Shape],
) -> Sequence[Candidate]:
    if isinstance(candidates, str):
        if candidates not in ("full", "quick"):
            raise ValueError(
                f"candidates: expected full, quick or a sequence of candidates; got {candidates!r}"
            )
        candidates = default_candidates(
            latents, state, quick=candidates == "quick", folder=folder, shapes=shapes
        )
    candidates = list(candidates)
    for candidate in candidates:
        if not isinstance(candidate, Candidate) or not isinstance(candidate.family, Family):
            raise TypeError(f"candidates: expected Candidates, each with a Family; got {candidate!r}")
    names = [candidate.name for candidate in candidates]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice or not names:
        raise ValueError(
            f"candidates: expected candidates of different names; got {', '.join(twice) or 'none'}"
        )
    families = {candidate.family for candidate in candidates}
    names = sorted(family.name for family in families)
    if len(set(names)) < len(names):
        raise ValueError(f"candidates: expected families of different names; got {', '.join(names)}")
    return candidates


def _check_shape(candidate: Candidate, n_features: int, key: jax.Array) -> None:
    """Refuse latents of the wrong shape, by the candidate's `n_features` or by two rows of it."""
    if candidate.n_features is None:
        shape = np.shape(candidate.draw(key, _PROBE_ROWS))
    else:
        # Draws would fit mixtures and baselines, which may take minutes.
        shape = (_PROBE_ROWS, candidate.n_features)
    if shape != (_PROBE_ROWS, n_features):
        raise ValueError(
            f"candidates: expected latents of shape {(_PROBE_ROWS, n_features)} for {_PROBE_ROWS} rows of "
            f"{candidate.name!r}; got shape {shape}"
        )


def _prepare_ahead(candidates: Iterable[Candidate]) -> None:
    """Prepare candidates one after the other, in a thread that ends with the program."""

    def prepare() -> None:
        for candidate in candidates:
            if candidate.prepare is not None:
                # At its turn the candidate raises the same again.
                with contextlib.suppress(Exception):
                    candidate.prepare()

    threading.Thread(target=prepare, name="prepare candidates", daemon=True).start()


# --- one candidate ---------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Measurer:
    """Measurement of the images of all candidates. Common parts are computed once.

    Attributes
    ----------
    latents, decode, real_images, features, train_images, real_latents, reference, n, key
        Checked arguments of :func:`evaluate`.
    """

    latents: np.ndarray
    decode: ImageDecoder
    real_images: np.ndarray
    features: Callable[[np.ndarray], ArrayLike]
    train_images: np.ndarray | None
    real_latents: np.ndarray | None
    reference: str
    n: int
    key: jax.Array

    def inputs(self) -> list[Any]:
        """List the arrays that all results depend on."""
        # The output for some rows identifies the decoder and the features, however they are made.
        probe = self.latents[:: max(1, len(self.latents) // N_EXAMPLES)][:N_EXAMPLES]
        optional = (self.train_images, self.real_latents)
        return [
            self.latents,
            self._decoded(probe),
            self._real,
            *(array for array in optional if array is not None),
            np.asarray(self.n),
            np.asarray(philox_words(self.key)),
        ]

    def result(self, candidate: Candidate, cache: ResultCache) -> Result:
        """Measure a candidate, or read its earlier measurements."""

        def measure() -> tuple[Measurements, np.ndarray]:
            latents = np.asarray(candidate.draw(self.key, self.n), np.float32)
            expected = (self.n, self.latents.shape[1])
            if latents.shape != expected:
                raise ValueError(
                    f"candidates: expected latents of shape {expected} of {candidate.name!r}; "
                    f"got shape {latents.shape}"
                )
            return self._measure(self._decoded(latents), self._copy_detector)

        measured = cache.get(candidate.cache_key, measure)
        return Result(candidate.family, candidate.spread, candidate.recipe, *measured)

    def floor(self, cache: ResultCache) -> Result | None:
        """Measure training images like generated ones."""
        images = self.train_images
        if images is None or self.reference == "reconstructions":
            return None

        def measure() -> tuple[Measurements, np.ndarray]:
            # The key of the draws selects a random subset.
            rows = jax.random.choice(self.key, len(images), (self.n,), replace=False)
            return self._measure(images[np.sort(rows)])

        return Result(TRAINING_IMAGES, None, None, *cache.get(TRAINING_IMAGES.name, measure))

    def reconstructions(self, cache: ResultCache) -> Result | None:
        """Measure the reconstructions of the real images."""
        if self.real_latents is None or self.train_images is None or self.reference == "reconstructions":
            return None  # without the floor they have no meaning
        measured = cache.get(_UNSEEN_RECONSTRUCTIONS.name, lambda: self._measure(self._reconstructed))
        return Result(_UNSEEN_RECONSTRUCTIONS, None, None, *measured)

    def _measure(
        self, images: np.ndarray, detector: metrics.CopyDetector | None = None
    ) -> tuple[Measurements, np.ndarray]:
        """Measure images; those that were drawn are tested for copies too."""
        generated = self._features_of(images)
        copies = None if detector is None else detector.test(generated)
        measurements = Measurements(
            *self._manifold.compare(generated),
            frechet=metrics.frechet_distance(self._moments, generated),
            kernel=metrics.kernel_distance(self._real / self._unit, generated / self._unit),
            wasserstein=metrics.sliced_wasserstein(self._real, generated, self.key),
            copies=copies and copies.share,
            copies_expected=copies and copies.expected,
            copies_p_value=copies and copies.p_value,
        )
        return measurements, images[:N_EXAMPLES]

    def _decoded(self, latents: np.ndarray) -> np.ndarray:
        return np.asarray(self.decode(latents))

    def _features_of(self, images: np.ndarray) -> np.ndarray:
        features = check_matrix("features", self.features(images), MIN_IMAGES)
        if len(features) != len(images):
            raise ValueError(
                f"features: expected a row for each of {len(images)} images; got {len(features)}"
            )
        return features

    @cached_property
    def _real(self) -> np.ndarray:
        """Features that those of draws are compared with."""
        of_images = self.reference == "images"
        return self._features_of(self.real_images) if of_images else self._of_reconstructed

    @cached_property
    def _manifold(self) -> metrics.RealManifold:
        return metrics.RealManifold(self._real)

    @cached_property
    def _moments(self) -> Moments:
        return Moments.empty(self._real.shape[1]).update(self._real)

    @cached_property
    def _unit(self) -> np.float32:
        """Divisor of the features for the kernel distance, which depends on their scale: 1 for Inception."""
        if getattr(self.features, "comparable", False):
            return np.float32(1)
        return np.float32(np.sqrt(np.mean(np.square(self._real, dtype=np.float64)))) or np.float32(1)

    @cached_property
    def _reconstructed(self) -> np.ndarray:
        assert self.real_latents is not None  # the caller has checked
        return self._decoded(self.real_latents)

    @cached_property
    def _of_reconstructed(self) -> np.ndarray:
        return self._features_of(self._reconstructed)

    @cached_property
    def _copy_detector(self) -> metrics.CopyDetector | None:
        """Detector by reconstructions of training images and of unseen ones: draws are decoded too."""
        if self.real_latents is None:
            return None
        known = [
            self._features_of(self._decoded(self.latents[rows]))
            for rows in row_slices(len(self.latents), _DECODED_ROWS)
        ]
        return metrics.CopyDetector(np.concatenate(known), self._of_reconstructed)
