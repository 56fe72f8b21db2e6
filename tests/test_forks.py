"""Forked processes, in which JAX hangs: they get an error at once."""

import os
import signal
import warnings

import numpy as np
import pytest

import ellipsoid as el
from ellipsoid import forks
from ellipsoid.metrics import frechet_distance, precision_recall, sliced_wasserstein
from ellipsoid.models import Autoencoder, AutoencoderConfig
from ellipsoid.velocity import untrained

LATENTS = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)


@pytest.fixture(scope="module")
def state():
    return el.fit(LATENTS)


def status_in_a_fork(function):
    """Give 0 if a function returns in a forked process, 1 if it refuses to work there, and 9 if it hangs."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # JAX's own, in the parent
        child = os.fork()
    if child == 0:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(20)
        try:
            function()
        except RuntimeError as error:
            os._exit("start processes by multiprocessing.get_context('spawn')" in str(error))
        os._exit(0)
    _, status = os.waitpid(child, 0)
    return 9 if os.WIFSIGNALED(status) else os.waitstatus_to_exitcode(status)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no processes are forked here")
def test_a_process_that_was_forked_from_jax_is_told_so(state):
    key = el.key(0)
    assert status_in_a_fork(lambda: el.sample(key, state, 10)) == 1
    assert status_in_a_fork(lambda: frechet_distance(LATENTS, LATENTS)) == 0  # by NumPy alone


def test_whatever_would_wait_refuses(state, monkeypatch):
    key, mixture = el.key(0), el.fit_by_label(LATENTS, np.arange(60) % 2)
    no_label = np.zeros(0, np.float32)
    flow = el.Flow(state, untrained(key, 4, 0, width=8, depth=1), state.scale, np.float32(1), no_label)
    monkeypatch.setattr(forks, "_is_stuck", True)
    for call in (
        lambda: el.sample(key, state, 10),
        lambda: el.sample_at(key, mixture, np.arange(3)),
        lambda: el.gauge(state, LATENTS),
        lambda: el.contains(state, LATENTS),
        lambda: el.log_prob(state, latents=LATENTS, law="uniform"),
        lambda: el.fit_mixture(LATENTS, 2),
        lambda: state.project(LATENTS),
        lambda: state.reconstruct(LATENTS),
        lambda: state.truncate(2),
        lambda: flow.project(LATENTS),
        lambda: flow.reconstruct(LATENTS),
        lambda: flow.bend(LATENTS),
        lambda: mixture.part(0),
        lambda: mixture.reconstruct(LATENTS, np.zeros(60, int)),
        lambda: precision_recall(LATENTS, LATENTS),
        lambda: sliced_wasserstein(LATENTS, LATENTS, key),
        lambda: Autoencoder(AutoencoderConfig(image_size=8, filters=(4,), latent_dim=2), rngs=None),
    ):
        with pytest.raises(RuntimeError, match=r"forked after JAX had been used.*get_context\('spawn'\)"):
            call()


def test_jax_is_asked_for_what_it_still_has():
    """JAX's attribute is not public, and its loss would go unnoticed without this test."""
    from jax._src import xla_bridge

    assert xla_bridge._backends
