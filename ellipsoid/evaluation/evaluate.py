"""How good decoded draws are: every way to draw latents, held against real images that nobody has seen.

Each candidate (:mod:`ellipsoid.evaluation.candidates`) draws as many latents as there are real images; they
are decoded and judged by :mod:`ellipsoid.metrics` in one feature space. What was found is kept in one file a
setting, named by a digest of the latents and images, of what decoder and features give for some of them, of
the key, of its fingerprint, and of the versions of this package and scikit-learn. So an evaluation
may be stopped at any moment and goes on there; a candidate without a fingerprint is not kept.
"""

import contextlib
import csv
import dataclasses
import hashlib
import io
import json
import math
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np
from jax.typing import ArrayLike

from ellipsoid import __version__, metrics
from ellipsoid.archive import digest
from ellipsoid.checks import check_integer, check_matrix
from ellipsoid.evaluation.candidates import (
    FAMILIES,
    GAUSSIAN,
    TRAINING_IMAGES,
    Candidate,
    Recipe,
    default_settings,
    fewer_components,
)
from ellipsoid.files import replace_file
from ellipsoid.metrics import Estimate
from ellipsoid.moments import Moments
from ellipsoid.pixels import as_uint8
from ellipsoid.progress import progress_bar
from ellipsoid.random import philox_words
from ellipsoid.state import PCAState, check_latents

#: Images of each setting that are kept to be shown.
N_EXAMPLES = 16
#: Images that are needed, generated and real: the test for copies takes no fewer.
MIN_IMAGES = 19

_FORMAT = "ellipsoid.evaluation"
_FORMAT_VERSION = 2
_NOTE = "Published FID and KID figures are those of an Inception network; they cannot be held against these."


@dataclass(frozen=True)
class Measurements:
    """What was measured of one set of generated images.

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

    def f_score(self, beta: float = 1.0) -> Estimate:
        """F-score of precision and recall, in which recall counts `beta` times as much.

        By van Rijsbergen (1979). The error is that of the first order, both taken as independent.
        """
        (p, p_error), (r, r_error) = self.precision, self.recall
        below, scale = beta**2 * p + r, 1 + beta**2
        if below == 0:
            return Estimate(0.0, math.hypot(p_error, r_error))
        by_p, by_r = scale * (r / below) ** 2, scale * (beta * p / below) ** 2
        return Estimate(scale * p * r / below, math.hypot(by_p * p_error, by_r * r_error))


@dataclass(frozen=True)
class Result:
    """A setting and what was measured of its images.

    Attributes
    ----------
    name, family, spread, recipe
        As those of :class:`ellipsoid.evaluation.candidates.Candidate`.
    scores : Measurements
    examples : (m, H, W, C) uint8 array
        The images of the first rows.
    """

    name: str
    family: str
    spread: float | None
    recipe: Recipe | None
    scores: Measurements
    examples: np.ndarray = dataclasses.field(repr=False)


@dataclass(frozen=True)
class Evaluation:
    """What :func:`evaluate` found.

    Attributes
    ----------
    results : tuple of Result
        One a setting.
    floor : Result or None
        Training images against the unseen ones: what a generator of perfect images gets with so many of them.
    n : int
        Generated images a setting.
    n_real : int
        Unseen images that they are compared with.
    state_digest : str
        Of the state that was evaluated: :func:`ellipsoid.archive.digest`.
    features, note : str
        Name of the feature space, and what must be said of it wherever the numbers are shown.
    comparable : bool
        Whether published FID figures may be held against these Fréchet distances.
    """

    results: tuple[Result, ...]
    floor: Result | None
    n: int
    n_real: int
    state_digest: str
    features: str
    note: str
    comparable: bool


def evaluate(
    latents: ArrayLike,
    state: PCAState,
    decode: Callable[[np.ndarray], ArrayLike],
    real_images: np.ndarray,
    features: Callable[[np.ndarray], ArrayLike],
    *,
    key: jax.Array,
    train_images: np.ndarray | None = None,
    real_latents: ArrayLike | None = None,
    settings: Literal["full", "quick"] | Sequence[Candidate] = "full",
    n: int | None = None,
    out: str | os.PathLike[str] | None = None,
    progress: bool = True,
) -> Evaluation:
    """Judge ways to draw latents by the images that they decode to.

    Parameters
    ----------
    latents : array, shape (m, D)
        Of training images: what the baselines are fitted to.
    state : PCAState
        Fitted to these latents.
    decode : callable
        From latents (n, D) to images (n, H, W, C): uint8, or floats in [0, 1], which are rounded and clipped.
    real_images : (r, H, W, C) uint8 array
        Images that neither the decoder, nor the state, nor the features were trained on. At least 19; below
        1,000 the errors are large.
    features : callable
        From (n, H, W, C) uint8 images to (n, F) features. Its attributes ``name``, ``note`` and
        ``comparable`` are handed on, if it has them.
    key : jax.Array
        Typed key, the same for every setting.
    train_images : (t, H, W, C) uint8 array, optional
        For the floor, and to look for copies.
    real_latents : array, shape (r, D), optional
        Of the real images. Their reconstructions tell what is usual for images that are no copies, see
        :func:`ellipsoid.metrics.copy_test`; without them, or `train_images`, copies are not looked for.
    settings : {"full", "quick"} or sequence of Candidate
        "full" is :func:`ellipsoid.evaluation.candidates.default_settings`, then the best family of ours again
        with fewer components.
    n : int, optional
        Images a setting; by default, and best, as many as there are real ones.
    out : path, optional
        Folder for what was found. Results that are there are not computed again, but for those of settings
        of your own without `fingerprint`, which are not kept.
    progress : bool
        Show a progress bar.

    Returns
    -------
    Evaluation

    Raises
    ------
    TypeError, ValueError
        For latents that do not fit the state, images that are none, too few of them, settings of equal names,
        or a decoder or features that give something else than images or features; before anything is drawn.
    KeyboardInterrupt
        When interrupted; what was found is kept in `out`.
    """
    latents = check_latents(state, latents)
    _check_images("real_images", real_images, MIN_IMAGES)
    n = len(real_images) if n is None else check_integer("n", n)
    if n < MIN_IMAGES:
        raise ValueError(f"n: expected at least {MIN_IMAGES} images a setting; got {n}")
    if train_images is not None:
        _check_images("train_images", train_images, n, like=real_images)
    if real_latents is not None:
        real_latents = check_latents(state, real_latents, "real_latents")
        if len(real_latents) != len(real_images):
            raise ValueError(
                f"real_latents: expected {len(real_images)} rows, one for each real image; "
                f"got {len(real_latents)}"
            )
    full = settings == "full"
    if isinstance(settings, str):
        if settings not in ("full", "quick"):
            raise ValueError(f"settings: expected full, quick or a sequence of settings; got {settings!r}")
        settings = default_settings(latents, state, quick=not full)
    settings = list(settings)
    _check_names(settings)

    judge = _Judge(latents, decode, real_images, features, train_images, real_latents, n, key, out)
    results: list[Result] = []
    # Of whichever family turns out to be the best: all have as many.
    n_more = len(fewer_components(state, next(iter(FAMILIES)))) if full else 0
    with (
        progress_bar("evaluate", len(settings) + n_more, enabled=progress, unit="settings") as advance,
        _explained(out),
    ):

        def measure(chosen: Sequence[Candidate]) -> None:
            for setting in chosen:
                advance(0, setting.name)
                results.append(judge.result(setting))
                advance(1, setting.name)

        measure(settings)
        if full:
            measure(fewer_components(state, _best_family(results)))
        floor = judge.floor()
    return Evaluation(
        tuple(results),
        floor,
        n,
        len(real_images),
        digest(state),
        getattr(features, "name", "features"),
        getattr(features, "note", _NOTE),
        bool(getattr(features, "comparable", False)),
    )


def _best_family(results: Sequence[Result]) -> str:
    ours = [result for result in results if result.family in FAMILIES]
    return max(ours, key=lambda result: result.scores.f_score()).family


@contextlib.contextmanager
def _explained(out) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        kept = f"; what was measured is kept in {out}, the same call goes on there" if out else ""
        raise KeyboardInterrupt(f"interrupted{kept}") from None


def _check_images(name, images, least, like=None):
    if not isinstance(images, np.ndarray) or images.dtype != np.uint8 or images.ndim != 4:
        got = f"{images.dtype} of shape {images.shape}" if isinstance(images, np.ndarray) else type(images)
        raise TypeError(f"{name}: expected uint8 images of shape (n, H, W, C); got {got}")
    if len(images) < least:
        raise ValueError(f"{name}: expected at least {least} images; got {len(images)}")
    if like is not None and images.shape[1:] != like.shape[1:]:
        raise ValueError(
            f"{name}: expected images {like.shape[1:]}, as the real ones; got {images.shape[1:]}"
        )


def _check_names(settings):
    names = [setting.name for setting in settings]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice or not names:
        raise ValueError(
            f"settings: expected one or more of different names; got {', '.join(twice) or 'none'}"
        )


# --- one setting -----------------------------------------------------------------------------------


class _Judge:
    """What all settings are held against, computed when it is first needed."""

    def __init__(self, latents, decode, real_images, features, train_images, real_latents, n, key, out):
        self._decode, self._features = decode, features
        self._latents, self._real_latents = latents, real_latents
        self._train_images = train_images
        self._n, self._key = n, key
        self._cache = None if out is None else Path(out) / "cache"
        self._image_shape = real_images.shape[1:]
        self._real = self._features_of(real_images)
        # What the decoder and the features do to some rows tells them from others, whatever they are made of.
        probe = latents[:: max(1, len(latents) // N_EXAMPLES)][:N_EXAMPLES]
        everything = (latents, self._decoded(probe), self._real, train_images, real_latents)
        words = np.asarray(philox_words(key))
        everything = digest([*filter(lambda part: part is not None, everything), np.asarray(n), words])
        self._context = f"{_FORMAT_VERSION} {__version__} {version('scikit-learn')} {everything}"

    def result(self, setting: Candidate) -> Result:
        """Measure a setting, or find what was measured before."""

        def draw():
            drawn = np.asarray(setting.draw(self._key, self._n), np.float32)
            if drawn.shape != (self._n, self._latents.shape[1]):
                raise ValueError(
                    f"settings: expected latents {(self._n, self._latents.shape[1])} of {setting.name!r}; "
                    f"got shape {drawn.shape}"
                )
            return self._decoded(drawn)

        if setting.fingerprint:
            scores, examples = self._kept(f"{setting.name}\n{setting.fingerprint}", draw)
        else:
            scores, examples = self._measured(draw())
        return Result(setting.name, setting.family, setting.spread, setting.recipe, scores, examples)

    def floor(self) -> Result | None:
        """Measure training images as if they were generated."""
        images = self._train_images
        if images is None:
            return None

        def choose():
            # A random subset, by the key of the draws.
            return images[np.sort(jax.random.choice(self._key, len(images), (self._n,), replace=False))]

        return Result(TRAINING_IMAGES, TRAINING_IMAGES, None, None, *self._kept(TRAINING_IMAGES, choose))

    def _kept(self, what: str, images: Callable[[], np.ndarray]) -> tuple[Measurements, np.ndarray]:
        if self._cache is None:
            return self._measured(images())
        name = hashlib.sha256(f"{self._context}\n{what}".encode()).hexdigest()[:32]
        found = _read(self._cache, name)
        if found is None:
            found = self._measured(images())
            _write(self._cache, name, what, *found)
        return found

    def _measured(self, images: np.ndarray) -> tuple[Measurements, np.ndarray]:
        generated = self._features_of(images)
        copies = None if self._originals is None else self._originals.test(generated)
        scores = Measurements(
            *self._reference.compare(generated),
            frechet=metrics.frechet_distance(self._moments, generated),
            kernel=metrics.kernel_distance(self._real / self._unit, generated / self._unit),
            wasserstein=metrics.sliced_wasserstein(self._real, generated, self._key),
            copies=copies and copies.share,
            copies_expected=copies and copies.expected,
            copies_p_value=copies and copies.p_value,
        )
        return scores, images[:N_EXAMPLES]

    def _decoded(self, latents: np.ndarray) -> np.ndarray:
        images = np.asarray(self._decode(latents))
        if images.shape != (len(latents), *self._image_shape):
            raise ValueError(
                f"decode: expected images {(len(latents), *self._image_shape)}, as the real ones; "
                f"got shape {images.shape}"
            )
        return as_uint8(images)

    def _features_of(self, images: np.ndarray) -> np.ndarray:
        found = check_matrix("features", self._features(images), MIN_IMAGES)
        if len(found) != len(images):
            raise ValueError(f"features: expected a row for each of {len(images)} images; got {len(found)}")
        return found

    @cached_property
    def _reference(self) -> metrics.RealManifold:
        return metrics.RealManifold(self._real)

    @cached_property
    def _moments(self) -> Moments:
        return Moments.empty(self._real.shape[1]).update(self._real)

    @cached_property
    def _unit(self) -> np.float32:
        """What features are divided by for the kernel, which has a scale of its own: 1 for Inception's."""
        if getattr(self._features, "comparable", False):
            return np.float32(1)
        return np.float32(np.sqrt(np.mean(np.square(self._real, dtype=np.float64)))) or np.float32(1)

    @cached_property
    def _originals(self) -> metrics.CopyDetector | None:
        """Training images, and the unseen ones as the decoder shows them."""
        if self._train_images is None or self._real_latents is None:
            return None
        return metrics.CopyDetector(
            self._features_of(self._train_images), self._features_of(self._decoded(self._real_latents))
        )


# --- what was found, on disk -----------------------------------------------------------------------


def _write(folder: Path, name: str, what: str, scores: Measurements, examples: np.ndarray) -> None:
    content = io.BytesIO()
    np.save(content, examples, allow_pickle=False)
    replace_file(folder / f"{name}.npy", content.getvalue())
    # Last: what it stands for is complete.
    record = {"format": _FORMAT, "format_version": _FORMAT_VERSION, "what": what, "scores": _plain(scores)}
    replace_file(folder / f"{name}.json", json.dumps(record, indent=1).encode() + b"\n")


def _read(folder: Path, name: str) -> tuple[Measurements, np.ndarray] | None:
    """Measurements and examples of a setting; None if there are none, or they can't be read."""
    try:
        record = json.loads((folder / f"{name}.json").read_bytes())
        values: dict[str, Any] = {
            name: Estimate(**value) if isinstance(value, dict) else value
            for name, value in record["scores"].items()
        }
        return Measurements(**values), np.load(folder / f"{name}.npy", allow_pickle=False)
    except (FileNotFoundError, ValueError, KeyError, TypeError, EOFError):
        return None


def _plain(scores: Measurements) -> dict[str, Any]:
    return {
        name: value._asdict() if isinstance(value, Estimate) else value
        for name, value in vars(scores).items()
    }


# --- for readers -----------------------------------------------------------------------------------


def write_evaluation(evaluation: Evaluation, folder: str | os.PathLike[str]) -> list[Path]:
    """Write tables, curves and images of an evaluation.

    ``table.md`` and ``table.csv`` have one line a setting, ``evaluation.json`` the same for programs.
    ``fidelity_diversity``, ``coverage_density``, ``regions`` and ``components`` are drawings (PNG and SVG),
    and ``equal_precision.png`` shows images of every family at the precision of our best single region.

    Returns
    -------
    list of Path
        What was written.
    """
    from ellipsoid import figures

    folder, written = Path(folder), []

    def write(name: str, content: str) -> None:
        replace_file(folder / name, content.encode())
        written.append(folder / name)

    rows = [_row(result) for result in _all_results(evaluation)]
    sheet = io.StringIO()
    table = csv.DictWriter(sheet, list(rows[0]), lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    write("table.csv", sheet.getvalue())
    lines = table_of(evaluation)
    ruled = [list(lines[0]), ["---"] * len(lines[0]), *(line.values() for line in lines)]
    write("table.md", "\n".join(f"| {' | '.join(line)} |" for line in ruled) + f"\n\n{evaluation.note}\n")
    about = {name: value for name, value in vars(evaluation).items() if name not in ("results", "floor")}
    write("evaluation.json", json.dumps({**about, "results": rows}, indent=1) + "\n")
    for name, figure in _drawings(evaluation).items():
        written += [
            figures.save(figure, folder / f"{name}.png"),
            figures.save(figure, folder / f"{name}.svg"),
        ]
    written.append(figures.save(_equal_precision(evaluation), folder / "equal_precision.png"))
    return written


def table_of(evaluation: Evaluation) -> list[dict[str, str]]:
    """Table for readers: a line a setting, by the names of the columns, with standard errors."""
    return [_line(result) for result in _all_results(evaluation)]


def _line(result: Result) -> dict[str, str]:
    scores, recipe = result.scores, result.recipe
    shares = {"precision": scores.precision, "recall": scores.recall, "F-score": scores.f_score()}
    shares |= {"density": scores.density, "coverage": scores.coverage}
    copies = scores.copies and f"{scores.copies.value:.1%}, expected {scores.copies_expected:.1%}"
    return {
        "setting": result.name,
        "level": "" if recipe is None else f"{recipe.level:.3g}",
        **{name: f"{share.value:.3f} ± {share.error:.3f}" for name, share in shares.items()},
        "Fréchet": str(scores.frechet),
        "kernel": str(scores.kernel),
        "Wasserstein": str(scores.wasserstein),
        "copies": copies or "",
    }


def _all_results(evaluation: Evaluation) -> list[Result]:
    return [*evaluation.results, *([evaluation.floor] if evaluation.floor else [])]


def _row(result: Result) -> dict[str, Any]:
    recipe = result.recipe
    row: dict[str, Any] = {"setting": result.name, "family": result.family, "spread": result.spread}
    for name in ("law", "level", "region", "n_components"):
        row[name] = None if recipe is None else getattr(recipe, name)
    for name, value in vars(result.scores).items():
        if name in ("copies_expected", "copies_p_value"):
            row[name] = value
        else:
            row[name], row[f"{name}_error"] = value or (None, None)
    return row


def _drawings(evaluation: Evaluation) -> dict[str, Any]:
    """Figures by name, of what there is."""
    from ellipsoid.figures.quality import fidelity_diversity

    results = _all_results(evaluation)
    by_family = {result.family: [r for r in results if r.family == result.family] for result in results}
    points = {family: found for family, found in by_family.items() if len(found) == 1}
    curves = {family: found for family, found in by_family.items() if len(found) > 1}
    fewer = [family for family in curves if family.endswith(" components")]
    whole = [family.rpartition(", ")[0] for family in fewer]
    regions = [family for family in curves if FAMILIES.get(family, ("",))[0] in ("uniform", "normal")]
    main = [
        family for family in curves if family not in fewer and not family.endswith((", ellipsoid", ", box"))
    ]
    if not main and not points:
        main = list(curves)

    def draw(title, families, points, x="recall", y="precision"):
        shown = {family: found for family, found in curves.items() if family in families}
        return fidelity_diversity(
            {family: _curve(found, x, y) for family, found in _best(shown).items()},
            {family: _curve(found, x, y) for family, found in _best(points).items()},
            x_label=f"{x} (diversity)",
            y_label=f"{y} (fidelity)",
            title=f"{title}; numbers: spread of the draws",
        )

    drawings = {
        "fidelity_diversity": draw("Recall and precision", main, points),
        "coverage_density": draw("Coverage and density", main, points, "coverage", "density"),
    }
    if regions:
        drawings["regions"] = draw("Three regions", regions, {})
    if fewer:
        drawings["components"] = draw("Fewer components", [*whole, *fewer], {})
    return drawings


def _best(families: dict[str, list[Result]], count: int = 8) -> dict[str, list[Result]]:
    """As many families as a figure can show, in their order: the Gaussian, and those that score highest."""

    def score(family):
        return family == GAUSSIAN, max(result.scores.f_score() for result in families[family])

    kept = sorted(families, key=score, reverse=True)[:count]
    return {family: found for family, found in families.items() if family in kept}


def _curve(results: Sequence[Result], x: str, y: str) -> Any:
    from ellipsoid.figures.quality import Curve

    (diversity, x_errors), (fidelity, y_errors) = (
        np.array([getattr(result.scores, name) for result in results]).T for name in (x, y)
    )
    spreads = np.array([result.spread for result in results], np.float64)
    return Curve(diversity, fidelity, x_errors, y_errors, None if np.isnan(spreads).any() else spreads)


def _equal_precision(evaluation: Evaluation) -> Any:
    """Images of each family, of its setting whose precision is nearest to that of our best single region."""
    from ellipsoid.figures import strips

    results = _all_results(evaluation)
    regions = [result for result in results if result.family in FAMILIES] or results
    precision = max(regions, key=lambda result: result.scores.f_score()).scores.precision.value
    rows, labels = [], []
    for family in dict.fromkeys(result.family for result in results):
        same = [result for result in results if result.family == family]
        nearest = min(same, key=lambda result: abs(result.scores.precision.value - precision))
        rows.append(nearest.examples)
        shown = nearest.scores
        labels.append(f"{nearest.name}: {shown.precision.value:.2f}, {shown.recall.value:.2f}")
    title = f"At a precision near {precision:.2f}: setting, precision, recall"
    return strips(rows, labels, title=title)
