import fcntl
import os
import shutil
import signal

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import SMALL_FLOW, two_clusters

import ellipsoid as el
from ellipsoid.state import PCAState

# These modules hold fixtures, not examples in docstrings.
collect_ignore_glob = ["conftest.py", "*/conftest.py"]

jax.config.update("jax_numpy_rank_promotion", "raise")

# A process that a shell starts in the background ignores Ctrl-C; the tests and their commands must not.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Leave the examples in docstrings to the slow tests, since each compiles programs of its own."""
    for item in items:
        if isinstance(item, pytest.DoctestItem):
            item.add_marker("slow")


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


@pytest.fixture(scope="session")
def made_once(tmp_path_factory):
    """Give the path of something that the first test process in need of it makes, and the others wait for."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent  # that of all processes

    def path_of(name, make):
        path = folder / name
        with open(f"{path}.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not path.exists():
                make(folder / f"new-{name}")
                (folder / f"new-{name}").rename(path)
        return path

    return path_of


@pytest.fixture(scope="session")
def trained_run(made_once):
    """Run that the command line has trained on a folder of 250 drawn faces, beside it; to be read only."""
    from PIL import Image

    from ellipsoid.cli import main
    from ellipsoid.models import procedural_faces
    from ellipsoid.random import key

    def make_images(folder):
        folder.mkdir()
        for i, image in enumerate(procedural_faces(250, 16, key=key(0)).images):
            Image.fromarray(image).save(folder / f"{i:03d}.png")

    images = made_once("images", make_images)  # the run records where they are

    def make_run(folder):
        command = ["train", str(images), "--out", str(folder)]
        command += ["--image-size", "16", "--filters", "4", "8", "--latent-dim", "8"]
        command += ["--horizontal-flip", "True", "--steps", "24", "--batch-size", "64"]
        assert main([*command, "--validation-fraction", "0.2"]) == 0

    return made_once("run", make_run)


@pytest.fixture
def run_copy(trained_run, tmp_path):
    """Copy of the trained run, to be changed."""
    shutil.copytree(trained_run, tmp_path / "run")
    return tmp_path / "run"


@pytest.fixture(scope="session")
def small_flow(made_once):
    """Flow of two labelled clusters, 3 components of 4 dimensions; it is fitted once, which takes seconds."""

    def make(path):
        latents, labels = two_clusters(2000)
        el.fit_flow(latents, 3, labels=labels, **SMALL_FLOW).save(path)

    return el.load(made_once("flow.npz", make))
