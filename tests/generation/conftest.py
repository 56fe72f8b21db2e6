import numpy as np
import pytest

import ellipsoid as el


@pytest.fixture(scope="session")
def state():
    """State of 12 components that was fitted to latents."""
    rng = np.random.default_rng(0)
    return el.fit(rng.normal(size=(500, 12)) @ rng.normal(size=(12, 12)))
