"""Sensitivity of each feature space: how far every metric moves, in its standard errors, as images worsen.

python benchmarks/spaces.py [--images IMAGES] [--n 300] [--size 64] [--spaces pixels network efficientnet]

Real images that no space was trained on are distorted and compared with other real ones. The sets are
blurred, shifted and so on at three strengths each, lack a part of what there is, or hold copies of training
images. A cell is the change from the same images undistorted, over the standard error of that difference:
within 2, the space sees nothing. Images are the drawn faces, or those of a file or folder in a form that
`ellipsoid train` takes. `3 n` of them are distorted, n are compared with, and the others train the spaces,
5 n at most.
"""

import argparse
import io
import math
import os
import platform
import time
from collections.abc import Callable

import jax
import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter

import ellipsoid as el
from ellipsoid import metrics
from ellipsoid.metrics import Estimate
from ellipsoid.models import FeatureNetworkConfig, load_images, procedural_faces, train_network
from ellipsoid.models.features import feature_space

METRICS = ("precision", "recall", "density", "coverage", "Fréchet", "kernel", "Wasserstein", "copies")


def blurred(images, sigma):
    return gaussian_filter(images.astype(np.float32), (0, sigma, sigma, 0), mode="nearest")


def noisy(images, deviation):
    return images + 255 * deviation * np.random.default_rng(0).standard_normal(images.shape)


def shifted(images, pixels):
    return np.pad(images, ((0, 0), (0, 0), (pixels, 0), (0, 0)), mode="edge")[:, :, : images.shape[2]]


def compressed(images, quality):
    def as_jpeg(image):
        file = io.BytesIO()
        Image.fromarray(image[..., 0] if image.shape[2] == 1 else image).save(file, "JPEG", quality=quality)
        return np.asarray(Image.open(file)).reshape(image.shape)

    return np.stack([as_jpeg(image) for image in images])


def tinted(images, share):
    cast = np.array([1, 0, -1] if images.shape[3] == 3 else [1], np.float32)
    return images + 255 * share * cast


# Unit, function and three strengths of each distortion.
DISTORTIONS: dict[str, tuple[str, Callable, tuple]] = {
    "blur": ("px", blurred, (0.5, 1, 2)),
    "noise": ("", noisy, (0.02, 0.05, 0.1)),
    "shift": ("px", shifted, (1, 2, 4)),
    "JPEG quality": ("", compressed, (75, 40, 15)),
    "cast": ("", tinted, (0.02, 0.05, 0.1)),
}
DROPPED = (0.25, 0.5, 2 / 3)
COPIED = (0.05, 0.2, 0.5)


def measured(real, manifold, detector, generated) -> list[Estimate]:
    shares = manifold.compare(generated)
    unit = np.sqrt(np.mean(np.square(real, dtype=np.float64)))
    copies = detector.test(generated).share
    return [
        *shares,
        metrics.frechet_distance(real, generated),
        metrics.kernel_distance(real / unit, generated / unit),
        metrics.sliced_wasserstein(real, generated, el.key(0)),
        copies,
    ]


def moves(space, train, real, pool, n) -> list[tuple[str, list[float]]]:
    """Give each distortion, and by how many standard errors it moves every metric."""
    train_features, real_features, pool_features = (space(images) for images in (train, real, pool))
    manifold = metrics.RealManifold(real_features)
    detector = metrics.CopyDetector(train_features, real_features)
    clean = measured(real_features, manifold, detector, pool_features[:n])

    def against_clean(name, features):
        values = measured(real_features, manifold, detector, features)
        differences = [
            (now.value - before.value) / (math.hypot(now.error, before.error) or math.inf)
            for now, before in zip(values, clean, strict=True)
        ]
        return name, differences

    rows = []
    for name, (unit, distort, strengths) in DISTORTIONS.items():
        for strength in strengths:
            images = np.clip(np.rint(distort(pool[:n], strength)), 0, 255).astype(np.uint8)
            rows.append(against_clean(f"{name} {strength:g} {unit}".strip(), space(images)))
    by_brightness = np.argsort(pool.mean(axis=(1, 2, 3)))
    for share in DROPPED:
        kept = by_brightness[: round(len(pool) * (1 - share))]
        chosen = np.random.default_rng(0).choice(kept, n, replace=False)
        rows.append(against_clean(f"the brightest {share:.0%} dropped", pool_features[chosen]))
    for share in COPIED:
        count = round(share * n)
        copied = np.concatenate([train_features[:count], pool_features[count:n]])
        rows.append(against_clean(f"{share:.0%} copies", copied))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", help="images as for `ellipsoid train`; drawn faces by default")
    parser.add_argument("--n", type=int, default=300)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--steps", type=int, default=500, help="steps that the network is trained for")
    parser.add_argument("--spaces", nargs="+", default=["pixels", "network", "efficientnet"])
    given = parser.parse_args()
    n = given.n
    if given.images is None:
        images = procedural_faces(9 * n, given.size, key=el.key(0)).images
    else:
        images = load_images(given.images, given.size)
    images = images[np.random.default_rng(0).permutation(len(images))][: 9 * n]
    real, pool, train = images[:n], images[n : 4 * n], images[4 * n :]
    print(f"JAX {jax.__version__}, {platform.machine()}, {os.cpu_count()} cores")
    print(f"{given.images or 'drawn faces'}: {len(train)} to train on, {n} against {n}, {images.shape[1:]}")
    for name in given.spaces:
        start = time.perf_counter()
        if name == "network":
            config = FeatureNetworkConfig(steps=given.steps)
            space = train_network(train, config=config, progress=False)
        else:
            space = feature_space(name, images=train)
        rows = moves(space, train, real, pool, n)
        print(f"\n{name} ({time.perf_counter() - start:.0f} s)\n")
        print(f"| | {' | '.join(METRICS)} |\n|---{'|---:' * len(METRICS)}|")
        for label, differences in rows:
            print(
                f"| {label} | {' | '.join(f'{difference:+.1f}' for difference in differences)} |", flush=True
            )


if __name__ == "__main__":
    main()
