import numpy as np
import pytest


@pytest.fixture(scope="session")
def latents():
    """Six dimensions that vary by themselves, the fourth of them twice, and a dead one."""
    random = np.random.default_rng(0)
    values = random.normal(size=(3_000, 8)) @ random.normal(size=(8, 8)) + 3
    values[:, 5] = 0.5
    values[:, 3] = -2 * values[:, 6]
    return values.astype(np.float32)


@pytest.fixture(scope="session")
def small_latents():
    """Sixty latents of two dimensions, the fewest that make a pair."""
    return np.random.default_rng(0).normal(size=(60, 2)).astype(np.float32)
