import numpy as np
import pytest
from explore_toys import HOSTILE, decode, encode

import ellipsoid as el
from ellipsoid.explore.space import Space


@pytest.fixture(scope="session")
def space():
    """Space of a state and of a mixture by label, with a decoder, an encoder and training images."""
    rng = np.random.default_rng(0)
    latents = (rng.normal(size=(400, 12)) * np.geomspace(1, 0.2, 12)).astype(np.float32)
    labels = np.where(latents[:, 0] > 0, "plain", HOSTILE)
    shapes = {"state": el.fit(latents, 8), "by label": el.fit_by_label(latents, labels, 8)}
    images = np.round(255 * decode(latents)).astype(np.uint8)
    return Space(
        shapes, name="toys", decode=decode, encode=encode, latents=latents, images=lambda: images, folder=None
    )
