"""Ask whether training with the perceptual loss makes reconstructions better, and for how much time.

    python benchmarks/perceptual.py DATA --out FOLDER [--only portraits congress] [--weights 0 0.01 0.05]

DATA is a folder with ``portrait_faces64.npz`` (folds 0 to 6 train, 7 tests) and ``congress_faces128.npz``
(697 faces, which are shrunk to 64 pixels; 497 train, 200 test). An autoencoder is trained with the squared
error, or taken from FOLDER/portraits, where ``quality.py`` leaves one. Each weight of the perceptual loss
then trains it for the same number of steps, once for each seed. The reconstructions of unseen images are
compared with their originals:

- by what is trained, the squared error and the perceptual error;
- by SSIM, where scikit-image is installed;
- by the identity features of the two faces, where the extra "faces" is installed;
- by their high frequencies, which a Gaussian blur of one pixel takes away: the energy over the original's,
  and the correlation with the original's;
- by Fréchet distance, precision and recall in features of a small network, which learned from the training
  images.

Reconstructions with the first weight are also sharpened by an unsharp mask, which costs nothing. Differences
from the first weight have the standard error of pairs of images. A step of each loss is timed in turns. Runs
stay in FOLDER: the same command goes on where it was stopped. Pictures go there too.
"""

import argparse
import os
import platform
import time
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import jax
import numpy as np
import quality
from flax import nnx
from scipy.ndimage import gaussian_filter

from ellipsoid import figures, metrics
from ellipsoid.models import (
    Autoencoder,
    AutoencoderConfig,
    FeatureNetworkConfig,
    TrainConfig,
    decode_latents,
    encode_images,
    load_images,
    train,
    train_network,
)
from ellipsoid.models.autoencoder import as_floats
from ellipsoid.models.features import efficientnet_features, face_features
from ellipsoid.models.perceptual import perceptual_errors
from ellipsoid.models.steps import Steps, TrainState
from ellipsoid.runs import load_run

STEPS = {"portraits": 500, "congress": 200}
UNSEEN_CONGRESS = 200
# Networks look at so many of the unseen images: dlib's takes 90 ms for each.
LOOKED_AT = 200
BATCH_SIZE = 16
# Below the rate of the first training, since the training goes on from its end.
LEARNING_RATE = 1e-3
Measure = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Map from reconstructions and originals, uint8 `(n, H, W, C)`, to a figure of each pair."""


# --- data and training -------------------------------------------------------------------------------


def divided(data: Path, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Give images to train on, and unseen ones."""
    if name == "portraits":
        return quality.load_images(data, name)
    images = load_images(data / "congress_faces128.npz", 64)
    images = images[np.random.default_rng(0).permutation(len(images))]
    return images[UNSEEN_CONGRESS:], images[:UNSEEN_CONGRESS]


def configs(name: str) -> tuple[AutoencoderConfig, TrainConfig, FeatureNetworkConfig]:
    """Give the settings of the autoencoder, its first training, and the network that judges."""
    shape, training = quality.CONFIGS[name]
    # The congress faces are few.
    steps = 1000 if name == "portraits" else 250
    return replace(shape, image_size=64), training, FeatureNetworkConfig(horizontal_flip=True, steps=steps)


def tuned(start: Autoencoder, images: np.ndarray, training: TrainConfig, out: Path) -> Autoencoder:
    """Train a copy of the autoencoder, and give it as the last step leaves it.

    The loss of the validation images, which would choose a checkpoint, is their squared error alone.
    """
    train(nnx.clone(start), images, training, out=out, resume=True, progress=False)
    autoencoder = load_run(out, "newest").autoencoder
    assert isinstance(autoencoder, Autoencoder)
    return autoencoder


def step_seconds(start: Autoencoder, images: np.ndarray, trainings: list[TrainConfig]) -> list[np.ndarray]:
    """Give the median seconds of a step of each training: by the processors, and by the clock."""
    graph, weights = nnx.split(start)
    batch, weight = images[:BATCH_SIZE], np.ones(BATCH_SIZE, np.float32)
    runs = []
    for training in trainings:
        steps = Steps(graph, training, 100)
        runs.append((steps, [steps.place(TrainState.new(training, weights))], []))
    for number in range(8):
        for steps, state, seconds in runs:
            before = np.array([time.process_time(), time.perf_counter()])
            state[0], loss = steps.step(state[0], number, batch, weight)
            jax.block_until_ready((state[0], loss))
            seconds.append(np.array([time.process_time(), time.perf_counter()]) - before)
    # The first step compiles.
    return [np.median(seconds[1:], axis=0) for _, _, seconds in runs]


# --- measures ----------------------------------------------------------------------------------------


def high_frequencies(images: np.ndarray) -> np.ndarray:
    """Give what a Gaussian blur of one pixel takes away from the brightness of uint8 images."""
    grey = images.mean(axis=3) / 255
    return grey - gaussian_filter(grey, (0, 1, 1), mode="nearest")


def compared_frequencies(images: np.ndarray, originals: np.ndarray) -> tuple[float, float]:
    """Give the energy of the high frequencies over the originals', and the correlation with theirs."""
    a, b = high_frequencies(images), high_frequencies(originals)
    energy, original = np.sum(np.square(a)), np.sum(np.square(b))
    return float(energy / original), float(np.sum(a * b) / np.sqrt(energy * original))


def sharpened(images: np.ndarray) -> np.ndarray:
    """Give uint8 images with half of their high frequencies added, an unsharp mask."""
    blurred = gaussian_filter(images.astype(np.float32), (0, 1, 1, 0), mode="nearest")
    return np.rint(np.clip(1.5 * images - 0.5 * blurred, 0, 255)).astype(np.uint8)


def squared_errors(images: np.ndarray, originals: np.ndarray) -> np.ndarray:
    return np.mean(np.square((images.astype(np.float32) - originals) / 255), axis=(1, 2, 3))


def measures() -> dict[str, Measure]:
    """Give the measures of pairs that can be computed here."""
    network = efficientnet_features().network
    compare = jax.jit(lambda a, b: perceptual_errors(network, as_floats(a), as_floats(b)))

    def perceptual(images: np.ndarray, originals: np.ndarray) -> np.ndarray:
        batches = (slice(i, i + 50) for i in range(0, LOOKED_AT, 50))
        return np.concatenate([compare(images[batch], originals[batch]) for batch in batches])

    found: dict[str, Measure] = {"squared error": squared_errors, "perceptual error": perceptual}
    try:
        from skimage.metrics import structural_similarity  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        print(f"SSIM is left out ({error})")
    else:
        # The settings of Wang et al. (2004).
        settings = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "channel_axis": 2}
        found["SSIM"] = lambda images, originals: np.array(
            [structural_similarity(*pair, **settings) for pair in zip(images, originals, strict=True)]
        )
    try:
        faces = face_features()
    except ImportError as error:
        print(f"Identities are left out ({error})")
    else:
        of_originals = lru_cache(lambda pixels, shape: faces(np.frombuffer(pixels, np.uint8).reshape(shape)))

        def apart(images: np.ndarray, originals: np.ndarray) -> np.ndarray:
            originals = originals[:LOOKED_AT]
            seen = of_originals(originals.tobytes(), originals.shape)
            return np.linalg.norm(faces(images[:LOOKED_AT]) - seen, axis=1)

        found["identity"] = apart
    return found


def in_words(values: np.ndarray, base: np.ndarray | None) -> str:
    """Give a mean, and how far it lies from that of the same images with another loss."""
    if base is None:
        return f"{values.mean():.4g}"
    apart = values - base
    return f"{values.mean():.4g} ({apart.mean():+.2g} ± {apart.std(ddof=1) / np.sqrt(len(apart)):.1g})"


# --- one set of images -------------------------------------------------------------------------------


def judge(name: str, options: argparse.Namespace, found: dict[str, Measure]) -> None:
    train_images, unseen = divided(options.data, name)
    shape, training, judging = configs(name)
    folder = options.out / ("portraits" if name == "portraits" else "congress64")
    start = Autoencoder(shape, rngs=nnx.Rngs(training.seed))
    train(start, train_images, training, out=folder, resume=True, progress=False)
    network = train_network(train_images, config=judging, path=folder / "features.npz", progress=False)
    real = network(unseen)
    print(f"\n## {name}: {len(train_images)} training images, {len(unseen)} unseen")
    header = [*found, "high-frequency energy", "correlation", "Fréchet", "precision", "recall"]
    print(f"\n| loss | seed | {' | '.join(header)} |\n|---|---{'|---' * len(header)}|")

    def reconstructed(autoencoder: Autoencoder) -> np.ndarray:
        return decode_latents(autoencoder, encode_images(autoencoder, unseen))

    def row(
        label: str, seed: object, images: np.ndarray, base: dict[str, np.ndarray]
    ) -> dict[str, np.ndarray]:
        values = {measure: function(images, unseen) for measure, function in found.items()}
        cells = [in_words(values[measure], base.get(measure)) for measure in found]
        features = network(images)
        shares = metrics.precision_recall(real, features)
        cells += [f"{share:.3f}" for share in compared_frequencies(images, unseen)]
        cells += [str(metrics.frechet_distance(real, features)), *map(str, shares)]
        print(f"| {label} | {seed} | {' | '.join(cells)} |", flush=True)
        return values

    rows = {"originals": unseen, "start": reconstructed(start)}
    row("start", "", rows["start"], {})
    trainings = [
        TrainConfig(
            steps=options.steps or STEPS[name],
            batch_size=BATCH_SIZE,
            learning_rate=LEARNING_RATE,
            perceptual=weight,
            horizontal_flip=True,
        )
        for weight in options.weights
    ]
    for seed in options.seeds:
        base: dict[str, np.ndarray] = {}
        for config in trainings:
            label = f"+ {config.perceptual:g} perceptual" if config.perceptual else "squared error"
            out = folder / f"perceptual-{config.perceptual:g}-seed-{seed}"
            images = reconstructed(tuned(start, train_images, replace(config, seed=seed), out))
            values = row(label, seed, images, base)
            rows.setdefault(label, images)
            if not base:
                base = values
                row("the same, sharpened", seed, sharpened(images), base)

    print("\n| loss | processor s / step | s / step |\n|---|---|---|")
    for config, (processors, clock) in zip(
        trainings, step_seconds(start, train_images, trainings), strict=True
    ):
        print(f"| {config.perceptual:g} perceptual | {processors:.3f} | {clock:.3f} |", flush=True)
    chosen = np.random.default_rng(0).permutation(len(unseen))[:10]
    picture = figures.strips([images[chosen] for images in rows.values()], list(rows), title=name)
    print(f"\nwrote {figures.save(picture, options.out / f'perceptual-{name}.png')}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", nargs="+", choices=tuple(STEPS), default=list(STEPS))
    parser.add_argument("--weights", nargs="+", type=float, default=[0, 0.01, 0.05])
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--steps", type=int, help="steps of each loss, by default 500 and 200")
    options = parser.parse_args()
    print(f"JAX {jax.__version__}, {platform.machine()}, {os.cpu_count()} cores")
    found = measures()
    for name in options.only:
        judge(name, options, found)
    print(f"\n{time.process_time():.0f} s of processor time in all")


if __name__ == "__main__":
    main()
