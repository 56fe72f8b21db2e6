"""Rows of a flow in files: shared by processes, continued, and told from those of another flow."""

import dataclasses

import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import ellipsoid as el
from ellipsoid.velocity import untrained


@pytest.fixture
def flow(make_state):
    """Flow with a random field and two labels; nothing is fitted."""
    base, field = make_state(3), untrained(el.key(0), 3, 2, 16, 1)
    field = field._replace(last=0.1 * jr.normal(el.key(1), field.last.shape))
    return el.Flow(base, field, base.scale, jnp.float32(0.9), jnp.zeros(2), 4, ("low", "high"))


@pytest.mark.slow
def test_rows_of_a_flow_are_written_once(flow, tmp_path):
    settings = {"law": "normal", "level": 4.0, "label": "low"}
    options = {**settings, "chunk": 150, "progress": False}
    expected = el.sample(el.key(0), flow, 600, **settings).latents
    assert not np.allclose(expected, el.sample(el.key(0), flow, 600, **settings | {"label": "high"}).latents)
    out = tmp_path / "z.npy"
    for process in (1, 0):
        el.generate(el.key(0), flow, 600, out, processes=2, process_id=process, **options)
    np.testing.assert_array_equal(np.load(out), expected)
    el.generate(el.key(0), flow, 600, out, verify=True, **options)
    other = dataclasses.replace(flow, velocity=flow.velocity._replace(last=2 * flow.velocity.last))
    with pytest.raises(ValueError, match="was made with other settings"):
        el.generate(el.key(0), other, 600, out, verify=True, **options)
    np.testing.assert_array_equal(np.load(out), expected)
