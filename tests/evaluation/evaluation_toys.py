"""A small autoencoder, and made-up results, for the tests of evaluation."""

import numpy as np

import ellipsoid as el
from ellipsoid.evaluation import (
    FAMILIES,
    Candidate,
    Evaluation,
    Family,
    Measurements,
    Recipe,
    Result,
    evaluate,
)
from ellipsoid.metrics import Estimate
from ellipsoid.settings import DrawSettings

N_TRAIN, N_REAL, D = 600, 150, 5


class Toy:
    """Latents of five dimensions, a smooth map from them to images of 6 x 6 pixels, and features of these."""

    def __init__(self):
        rng = np.random.default_rng(0)
        z = (rng.normal(size=(N_TRAIN + N_REAL, D)) @ rng.normal(size=(D, D)) + 2).astype(np.float32)
        self.map = rng.normal(size=(D, 36)).astype(np.float32)
        self.n_decoded = 0
        images = self.decode(z)
        self.latents, self.real_latents = z[:N_TRAIN], z[N_TRAIN:]
        self.train_images, self.real_images = images[:N_TRAIN], images[N_TRAIN:]
        self.state = el.fit(self.latents)

    def decode(self, z):
        self.n_decoded += len(z)
        return np.rint(255 / (1 + np.exp(-0.3 * (z - 2) @ self.map))).astype(np.uint8).reshape(-1, 6, 6, 1)

    @staticmethod
    def features(images):
        return images.reshape(len(images), -1)[:, ::3] / np.float32(255)

    def evaluate(self, candidates, **changes):
        arguments = {
            "latents": self.latents,
            "state": self.state,
            "decode": self.decode,
            "real_images": self.real_images,
            "features": self.features,
            "key": el.key(0),
            "train_images": self.train_images,
            "real_latents": self.real_latents,
            "progress": False,
        }
        return evaluate(**arguments | changes, candidates=candidates)

    def counted(self, name="counted", **fields):
        """Make a candidate that records how many rows were drawn from it each time."""
        calls = []

        def draw(key, n):
            calls.append(n)
            return el.sample(key, self.state, n, law="normal", level=3.0).latents

        return Candidate(Family(name), draw, **{"fingerprint": "normal 3", "n_features": D} | fields), calls


def measurements(precision, recall, *, error=0.0, frechet=1.0, copies_p_value=None):
    shares = [Estimate(value, error) for value in (precision, recall, 1.0, 1.0)]
    distances = {"frechet": Estimate(frechet, 0.1), "kernel": Estimate(0, 1), "wasserstein": Estimate(0, 1)}
    return Measurements(*shares, **distances, copies_p_value=copies_p_value)


def made_up_result(family, precision, recall, *, spread=None, state=None, level=None, **numbers):
    """Make a result without measuring; with a state, its candidate is one of this package."""
    family = FAMILIES.get(family) or Family(family) if isinstance(family, str) else family
    recipe = None
    if state is not None:
        settings = DrawSettings("normal", spread if level is None else level)
        recipe = Recipe(lambda: state, settings, state.n_components)
    examples = np.zeros((1, 2, 2, 1), np.uint8)
    return Result(family, spread, recipe, measurements(precision, recall, **numbers), examples)


def made_up_evaluation(state_digest, results, floor=None):
    return Evaluation(tuple(results), floor, 500, 500, state_digest, "pixels", "A note.", False)
