import signal

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ellipsoid.state import PCAState

# They hold fixtures, not examples in docstrings.
collect_ignore_glob = ["conftest.py", "*/conftest.py"]

jax.config.update("jax_numpy_rank_promotion", "raise")

# What a shell starts in the background ignores key presses; the tests, and the commands they start, must not.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def make_state():
    """Build a PCAState of K components in D dimensions, with a mean and scales of one's choice."""

    def make(k, d=None, *, scale=None, offset=0.0, seed=0):
        d = k if d is None else d
        rng = np.random.default_rng(seed)
        components = np.linalg.qr(rng.normal(size=(d, d)))[0][:k]
        scale = np.geomspace(2.0, 0.5, k) if scale is None else np.broadcast_to(scale, k)
        fields = (rng.normal(size=d) + offset, components, scale, scale**2, scale**2 / np.sum(scale**2))
        return PCAState(*(jnp.asarray(field, jnp.float32) for field in fields), n_samples=1000)

    return make
