"""Ask whether decoded draws are as good as the autoencoder allows, and better than those of others.

    python benchmarks/quality.py DATA --out FOLDER [--only portraits fashion congress demo]
    python benchmarks/quality.py DATA --out FOLDER --brief --features network pixels efficientnet

DATA is a folder with ``portrait_faces64.npz`` (folds 0 to 6 train, 7 tests), ``fashion_mnist.npz`` (60,000
train, 10,000 test) and ``congress_faces128.npz`` (697 faces: too few for figures, drawn for show only). For
each an autoencoder is trained, and every way to draw is measured on the test images, in features that the
sampler did not see: a network trained without labels on the training images, and pixels on their principal
axes. Mirrored portraits count as training images too, as the autoencoder was trained with them. The
demonstration draws its own faces. Tables and pictures go to FOLDER, which keeps all results: the same command
goes on where it was stopped.

With --brief, fewer ways to draw are judged by at most 800 images, against unseen images and against their
reconstructions, and the judges are compared: by the ranks that they give to the same draws.
"""

import argparse
import itertools
from pathlib import Path
from typing import Literal

import numpy as np
from flax import nnx
from scipy import stats

import ellipsoid as el
from ellipsoid import figures
from ellipsoid.archive import digest
from ellipsoid.blocks import subset
from ellipsoid.demo import DemoConfig, run_demo
from ellipsoid.evaluation import (
    FAMILIES,
    GAUSSIAN,
    RECONSTRUCTIONS,
    Candidate,
    Evaluation,
    Result,
    candidates_of_mixture,
    default_candidates,
    evaluate,
    fewer_components,
    write_evaluation,
)
from ellipsoid.models import Autoencoder, AutoencoderConfig, TrainConfig, train
from ellipsoid.models.autoencoder import decode_latents, encode_images
from ellipsoid.models.features import FeatureName, FeatureSpace, feature_space
from ellipsoid.runs import RunFolder, drawn_faces, fit_run, load_run

# With as many images as there are test portraits or more, the errors are small beside the differences.
MOST_IMAGES = 2000
# More mixtures than the default ones: number of parts and of components.
MIXTURES = {"portraits": [(300, 256), (400, 256)], "fashion": [(200, 40)], "demo": []}

# A brief run: ways to draw, at the spread of the latents and at a smaller one.
BRIEF_FAMILIES = {"redraw", "uniform", "flow", "flow, redraw", "kernel density", "box", "interpolations"}
BRIEF_PARTS = {50, 200}
BRIEF_SPREADS = {None, 0.7, 0.99, 1.0}
BRIEF_IMAGES = 800
# EfficientNet takes 17 ms an image, and the test for copies needs its features of all known latents.
BRIEF_KNOWN = 6_000
REFERENCES: tuple[Literal["images"], Literal["reconstructions"]] = ("images", "reconstructions")

CONFIGS = {
    "portraits": (
        AutoencoderConfig(image_size=64, channels=1, filters=(32, 64, 128, 256), latent_dim=256),
        TrainConfig(epochs=25, seed=1, horizontal_flip=True),
    ),
    "fashion": (
        AutoencoderConfig(image_size=28, channels=1, filters=(32, 64, 128, 256), latent_dim=64),
        TrainConfig(epochs=6, seed=1),
    ),
    "congress": (
        AutoencoderConfig(image_size=128, channels=3, filters=(32, 64, 128, 256), latent_dim=128),
        TrainConfig(epochs=60, batch_size=64, seed=1, horizontal_flip=True),
    ),
}


DEMO = DemoConfig.small()


def load_images(data: Path, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Give images to train on and to test with; all congress faces are for both."""
    if name == "demo":
        size = DEMO.autoencoder.image_size
        known, unseen = DEMO.n_images, DEMO.n_test
        return drawn_faces(known, size, DEMO.seed), drawn_faces(unseen, size, DEMO.seed, unseen=True)
    if name == "portraits":
        with np.load(data / "portrait_faces64.npz") as file:
            images, is_test = file["images"], file["fold"] == 7
        return images[~is_test], images[is_test]
    if name == "fashion":
        with np.load(data / "fashion_mnist.npz") as file:
            images = file["images"].reshape(-1, 28, 28, 1)
        return images[:60_000], images[60_000:]
    with np.load(data / "congress_faces128.npz") as file:
        return file["images"], file["images"]


def trained(name: str, train_images: np.ndarray, test_images: np.ndarray, out: Path) -> Autoencoder:
    """Give the autoencoder of a run, trained first where needed."""
    if name == "demo":
        if not RunFolder(out).flow.exists():
            run_demo(out, DEMO)
    elif not RunFolder(out).test_latents.exists():
        config, training = CONFIGS[name]
        autoencoder = Autoencoder(config, rngs=nnx.Rngs(training.seed))
        train(autoencoder, train_images, training, out=out, resume=True)
        fit_run(autoencoder, train_images, out, test=test_images)
    autoencoder = load_run(out).autoencoder
    assert isinstance(autoencoder, Autoencoder)
    return autoencoder


def judge(name: str, data: Path, out: Path, features: list[FeatureName], brief: bool) -> None:
    train_images, test_images = load_images(data, name)
    autoencoder = trained(name, train_images, test_images, out)
    latents, test_latents = np.load(RunFolder(out).latents), np.load(RunFolder(out).test_latents)
    known_images = train_images
    flipped = name in CONFIGS and bool(CONFIGS[name][1].horizontal_flip)
    if flipped:
        mirrored = train_images[:, :, ::-1]
        latents = np.concatenate([latents, encode_images(autoencoder, mirrored, progress=False)])
        known_images = np.concatenate([train_images, mirrored])
    state = el.fit(latents)

    def decode(z: np.ndarray) -> np.ndarray:
        return decode_latents(autoencoder, z, progress=False)

    folder = RunFolder(out).evaluation
    # Once for all features: mixtures and flows are kept.
    candidates = default_candidates(latents, state, folder=folder / "cache")
    if brief:
        candidates = [candidate for candidate in candidates if is_brief(candidate)]
    else:
        candidates += fewer_components(state, FAMILIES["normal"])
        for n_parts, k in MIXTURES[name]:
            candidates += candidates_of_mixture(latents, n_parts, k)
    chosen = subset(np.arange(len(test_images)), BRIEF_IMAGES if brief else MOST_IMAGES)
    evaluations = {}
    for space in features:
        judged_in = feature_space(
            space, images=train_images, path=out / "features.npz", horizontal_flip=flipped
        )
        judged_in = Remembering(judged_in) if brief else judged_in
        for reference in REFERENCES if brief else REFERENCES[:1]:
            evaluations[reference, space] = evaluate(
                subset(latents, BRIEF_KNOWN) if brief else latents,
                state,
                decode,
                test_images[chosen],
                judged_in,
                key=el.key(0),
                train_images=known_images,
                real_latents=test_latents[chosen],
                candidates=candidates,
                reference=reference,
                out=folder,
            )
        if not brief:
            write_evaluation(evaluations["images", space], out / f"evaluation-{space}")
            print(f"\n## {name}, {space}\n\n{(out / f'evaluation-{space}' / 'table.md').read_text()}")
            print_aims(evaluations["images", space])
    for reference in REFERENCES if brief else ():
        size = f"{len(latents):,} latents x {latents.shape[1]}"
        print(f"\n## {name}: {size}, against {len(chosen)} unseen {reference}\n")
        print_judges({space: evaluations[reference, space] for space in features})


# --- judges ------------------------------------------------------------------------------------------


class Remembering:
    """Features that are computed once for the same images."""

    comparable = False

    def __init__(self, features: FeatureSpace) -> None:
        self.features, self.name, self.note = features, features.name, features.note
        self.kept: dict[str, np.ndarray] = {}

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Give the features of images."""
        key = digest(images)
        if key not in self.kept:
            self.kept[key] = self.features(images)
        return self.kept[key]


def is_brief(candidate: Candidate) -> bool:
    """Whether a candidate belongs to a brief run."""
    family = candidate.family
    chosen = family in (GAUSSIAN, RECONSTRUCTIONS) or family.name in BRIEF_FAMILIES
    chosen |= family.kind == "mixture" and family.n_parts in BRIEF_PARTS
    return chosen and candidate.spread in BRIEF_SPREADS


def print_judges(evaluations: dict[str, Evaluation]) -> None:
    """Print what each judge says of the same draws, and how well the judges agree on their ranks."""
    spaces = list(evaluations)
    print("| | " + " | ".join(f"{space}: precision, recall | Fréchet | copies" for space in spaces) + " |")
    print("|---" * (1 + 3 * len(spaces)) + "|")
    for same in zip(*(everything(evaluation) for evaluation in evaluations.values()), strict=True):
        cells = [same[0].name]
        for measured in (result.measurements for result in same):
            copies = "" if measured.copies is None else f"{measured.copies.value:.1%}"
            precision, recall = measured.precision.value, measured.recall.value
            cells += [f"{precision:.2f}, {recall:.2f}", str(measured.frechet), copies]
        print("| " + " | ".join(cells) + " |")
    print("\nRank correlation (Spearman) of two judges over all draws of new latents:")
    for one, other in itertools.combinations(spaces, 2):
        scores = [
            [(result.measurements.f_score().value, -result.measurements.frechet.value) for result in results]
            for results in (draws_of(evaluations[one]), draws_of(evaluations[other]))
        ]
        by_score, by_distance = (spearman(*(np.array(values)[:, i] for values in scores)) for i in (0, 1))
        print(f"  {one}, {other}: F-score {by_score:.2f}, Fréchet distance {by_distance:.2f}")


def everything(evaluation: Evaluation) -> list[Result]:
    """Give the results of an evaluation with those of real images and of their reconstructions first."""
    ends = (evaluation.floor, evaluation.reconstructions)
    return [*(end for end in ends if end is not None), *evaluation.results]


def draws_of(evaluation: Evaluation) -> list[Result]:
    """Give the results of latents that are new."""
    return [result for result in evaluation.results if result.family != RECONSTRUCTIONS]


def spearman(a: np.ndarray, b: np.ndarray) -> float:
    """Give the rank correlation of two lists."""
    return float(stats.spearmanr(a, b).statistic)  # pyright: ignore[reportAttributeAccessIssue]


# --- goals -------------------------------------------------------------------------------------------


def print_aims(evaluation: Evaluation) -> None:
    """Compare our best candidates with the full and the tempered Gaussian, and scikit-learn's mixture."""
    (gaussian,) = (r for r in evaluation.results if (r.family, r.spread) == (GAUSSIAN, 1.0))
    (ceiling,) = (r for r in evaluation.results if r.family == RECONSTRUCTIONS)
    (other,) = (r for r in evaluation.results if r.family.kind == "baseline" and r.family.n_parts == 10)
    regions = [result for result in evaluation.results if result.family.kind in ("region", "truncated")]
    mixtures = [result for result in evaluation.results if result.family.kind == "mixture"]

    for metric in ("frechet", "kernel"):
        best = min(regions, key=lambda result: getattr(result.measurements, metric))
        print(f"best region, {metric}: {compared(best, gaussian, metric)} (full Gaussian)")
    tempered = [result for result in evaluation.results if result.family == GAUSSIAN]
    print("precision of our regions less that of the tempered Gaussian, at its recall:")
    for point in tempered:
        precision, recall = point.measurements.precision, point.measurements.recall.value
        ours, error = highest_precision(regions, recall)
        apart = f"{ours - precision.value:+.3f} ± {np.hypot(error, precision.error):.3f}"
        print(f"  {point.name}, recall {recall:.3f}: {apart if ours else 'no curve of ours gets there'}")

    print("share of the gap in precision between the full Gaussian and reconstructions that is closed:")
    bottom, top = gaussian.measurements.precision.value, ceiling.measurements.precision.value
    recall = ceiling.measurements.recall.value
    for label, group in (("regions", regions), ("mixtures", mixtures)):
        for within in (0.0, 0.03):
            precision, error = highest_precision(group, recall - within)
            closed = f"{(precision - bottom) / (top - bottom):.0%} ± {error / (top - bottom):.0%}"
            where = f"at the recall of reconstructions{f' less {within}' if within else ''}"
            print(f"  {label}, {where}: {closed if precision else 'no curve gets there'}")
    kept = [result for result in mixtures if not result.measurements.is_copying]
    best = max(kept, key=lambda result: result.measurements.f_score())
    print("mixture of the largest F-score that does not copy, against scikit-learn's of 10:")
    for metric in ("frechet", "kernel", "precision", "recall", "coverage"):
        print(f"  {metric}: {compared(best, other, metric)}")
    closed = (best.measurements.precision.value - bottom) / (top - bottom)
    print(f"  it closes {closed:.0%} of the gap in precision, at a recall of {best.measurements.recall}")
    print("copies: more of them than reconstructions of unseen images have, beyond the error:")
    for result in regions + mixtures + tempered:
        if result.measurements.is_copying:
            expected = result.measurements.copies_expected
            print(f"  {result.name}: {result.measurements.copies}, expected {expected:.3f}")


def compared(ours: Result, other: Result, metric: str) -> str:
    a, b = getattr(ours.measurements, metric), getattr(other.measurements, metric)
    return f"{ours.name}: {a} against {b}, apart {a.value - b.value:+.3g} ± {np.hypot(a.error, b.error):.2g}"


def highest_precision(results: list[Result], recall: float) -> tuple[float, float]:
    """Give the highest precision on any curve at a recall, by lines between its points, and its error.

    The best of several curves is chosen on the images that measure it, so it is too high by up to an error.
    """
    crossings = [(0.0, 0.0)]
    for a, b in itertools.pairwise(results):
        low, high = sorted((a.measurements, b.measurements), key=lambda measured: measured.recall.value)
        if a.family == b.family and low.recall.value <= recall <= high.recall.value:
            share = (recall - low.recall.value) / max(high.recall.value - low.recall.value, 1e-9)
            precision, error = (1 - share) * np.array(low.precision) + share * np.array(high.precision)
            crossings.append((float(precision), float(error)))
    return max(crossings)


# --- for show ----------------------------------------------------------------------------------------


def show(name: str, data: Path, out: Path) -> None:
    images, _ = load_images(data, name)
    autoencoder = trained(name, images, images, out)
    latents = np.load(RunFolder(out).latents)
    state = el.fit(latents, 0.9)
    mixture = el.fit_mixture(latents, (1, 2, 3, 5), 0.9)
    rows = {"training images": images[:12], "reconstructions": decode_latents(autoencoder, latents[:12])}
    draws = {
        "redraw, level 1.645": el.sample(el.key(0), state, 12),
        "uniform, matched level": el.sample(
            el.key(0), state, 12, law="uniform", level=el.matched_level(state.n_components, "uniform")
        ),
        f"mixture of {mixture.n_parts}, level 1.645": el.sample(el.key(0), mixture, 12),
    }
    rows |= {label: decode_latents(autoencoder, np.asarray(drawn.latents)) for label, drawn in draws.items()}
    path = figures.save(figures.strips(list(rows.values()), list(rows), title=name), out / "draws.png")
    print(f"\n## {name}\n\nwrote {path}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", nargs="+", choices=(*CONFIGS, "demo"), default=[*CONFIGS, "demo"])
    parser.add_argument("--brief", action="store_true")
    parser.add_argument("--features", nargs="+", default=["network", "pixels"])
    options = parser.parse_args()
    for name in options.only:
        if name == "congress":
            show(name, options.data, options.out / name)
        else:
            judge(name, options.data, options.out / name, options.features, options.brief)


if __name__ == "__main__":
    main()
