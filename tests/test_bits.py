"""Draws and files of version 0.1.0: the same numbers come out for ever.

``data/draws.npz`` holds a few rows of every distribution, ``data/state.npz`` and ``data/mixture.npz`` are
saved shapes; ``python tests/test_bits.py FOLDER`` writes all three anew. On one machine and version of JAX
all bits are equal. Floats may differ here by a few units in the last place, as other processors round
otherwise; integers may not.
"""

import sys
from pathlib import Path

import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import ellipsoid as el
from ellipsoid.random import CounterStream, philox4x32, philox_words, row_words

DATA = Path(__file__).parent / "data"
DISTRIBUTIONS = [(law, "pairwise") for law in ("redraw", "sequential", "uniform", "normal")] + [
    (law, region) for law in ("uniform", "normal") for region in ("ellipsoid", "box")
]
BIG_ROWS = np.array([5, 0, 2**32, 2**32 + 5, 2**33 + 1, 2**63 + 11, 2**64 - 1], np.uint64)


def wide_state():
    """Make a state of 50 components whose fields are exact in binary."""
    scale = np.arange(66, 16, -1) / 16
    fields = np.zeros(50), np.eye(50), scale, scale**2, scale**2
    return el.PCAState(*(jnp.asarray(field, jnp.float32) for field in fields), n_samples=1000)


def star(k):
    """Pair the first component with all others."""
    pairs = np.zeros((k, k), bool)
    pairs[0, 1:] = pairs[1:, 0] = True
    return el.PairwiseEllipses(pairs)


def draws_of(state):
    """Draw a few rows of every kind from one state."""
    for law, region in DISTRIBUTIONS:
        level = 2.0 if state.n_components == 5 else 9.0
        yield f"{law} {region}", el.sample(el.key(7), state, 6, law=law, region=region, level=level)
    for law in ("redraw", "sequential"):
        yield f"{law} star", el.sample(el.key(7), state, 4, law=law, region=star(state.n_components))
    for dtype in ("float16", "bfloat16"):
        yield dtype, el.sample(el.key(2**40 + 1), state, 4, law="uniform", dtype=dtype)
    for law in ("redraw", "uniform"):
        yield f"{law} far", el.sample_at(el.key(3), state, BIG_ROWS, law=law)


def draws_of_mixture(mixture):
    """Draw a few rows of every kind from a mixture with labels."""
    for law in ("redraw", "uniform", "normal"):
        yield law, el.sample(el.key(1), mixture, 8, law=law, level=3.0)
    yield "label", el.sample(el.key(1), mixture, 8, label="cat")
    yield "labels", el.sample(el.key(1), mixture, 8, label=["cat", "dog"], dtype="float16")
    yield "far", el.sample_at(el.key(2), mixture, BIG_ROWS, law="uniform")


def words():
    """Draw random words and keys: integers, equal everywhere."""
    yield "philox", jnp.stack(philox4x32((1, 2**31), tuple(jnp.arange(4, dtype=jnp.uint32) * 77)))
    for count in (7, 64, 130):
        for stream in CounterStream:
            row = np.uint32(5), np.uint32(2**31 + 1)
            yield f"{count} {stream.name}", row_words(philox_words(el.key(2**40)), row, stream, count)
    for impl in ("threefry2x32", "rbg", "unsafe_rbg"):
        yield impl, philox_words(jr.key(5, impl=impl))
    keys = jr.split(el.key(11), 3)
    yield "split", jr.key_data(keys)
    yield "fold_in", jr.key_data(jr.fold_in(keys[0], 9))
    yield "bits", jr.bits(keys[1], (5,))


def arrays_of(group, folder):
    """Give the arrays of one group by name; bfloat16, which NumPy cannot save, becomes float32."""
    if group == "words":
        return {f"words {name}": np.asarray(array) for name, array in words()}
    state, mixture = el.load(folder / "state.npz"), el.load(folder / "mixture.npz")
    draws = {
        "state": lambda: draws_of(state),
        "wide": lambda: draws_of(wide_state()),
        "mixture": lambda: draws_of_mixture(mixture),
        "key": lambda: (
            (impl, el.sample(jr.key(5, impl=impl), state, 3)) for impl in ("threefry2x32", "rbg")
        ),
    }[group]()
    arrays = {}
    for name, rows in draws:
        for field, array in rows._asdict().items():
            if group == "wide" and field == "latents":
                continue  # the same numbers as the scores
            array = np.asarray(array)
            is_bfloat16 = array.dtype == jnp.bfloat16
            arrays[f"{group} {name} {field}"] = array.astype(np.float32) if is_bfloat16 else array
    return arrays


GROUPS = ["words", "state", "wide", "mixture", "key"]
SLOW = {"wide", "mixture"}


def write(folder):
    """Write the data anew."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    latents = rng.normal(size=(300, 7)) @ rng.normal(size=(7, 7)) + 3
    el.fit(latents, 5).save(folder / "state.npz")
    labels = np.repeat(["cat", "dog", "hen"], 100)
    el.fit_by_label(latents + 9 * np.eye(7)[np.arange(300) // 100], labels, 4).save(folder / "mixture.npz")
    groups = [arrays_of(group, folder) for group in GROUPS]
    np.savez_compressed(folder / "draws.npz", **{k: v for arrays in groups for k, v in arrays.items()})


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(group, marks=pytest.mark.slow if group in ("wide", "mixture") else ())
        for group in GROUPS
    ],
)
def group(request):
    return request.param


@pytest.fixture(scope="module")
def drawn(group):
    return arrays_of(group, DATA)


@pytest.fixture(scope="module")
def stored(group):
    with np.load(DATA / "draws.npz") as file:
        return {name: file[name] for name in file if name.startswith(f"{group} ")}


def test_nothing_is_left_out(drawn, stored, group):
    assert list(drawn) == list(stored)
    kinds = {"words": {"u"}, "mixture": {"i", "f"}}.get(group, {"f"})
    assert {array.dtype.kind for array in stored.values()} == kinds
    with np.load(DATA / "draws.npz") as file:
        assert {name.partition(" ")[0] for name in file} == set(GROUPS)


def test_random_words_and_parts_are_those_of_before(drawn, stored):
    for name, array in stored.items():
        if array.dtype.kind != "f":
            np.testing.assert_array_equal(drawn[name], array, name)
            assert drawn[name].dtype == array.dtype


def test_draws_are_those_of_before(drawn, stored):
    for name, array in stored.items():
        if array.dtype.kind == "f":
            assert drawn[name].dtype == array.dtype
            rounded_to = (
                np.float32 if "gauge" in name else jnp.bfloat16 if "bfloat16" in name else array.dtype
            )
            eps = float(jnp.finfo(rounded_to).eps)
            got, expected = drawn[name].astype(np.float32), array.astype(np.float32)
            # A latent near zero has the rounding error of the larger terms in its sum.
            atol = 2 * eps * np.abs(expected).max()
            np.testing.assert_allclose(got, expected, rtol=8 * eps, atol=atol, err_msg=name)


def test_a_wrong_bit_is_seen():
    """Another key, row or distribution differs by far more than rounding."""
    with np.load(DATA / "draws.npz") as file:
        stored = dict(file)
    for name, other in (
        ("state uniform pairwise scores", "state uniform box scores"),
        ("state redraw pairwise scores", "state sequential pairwise scores"),
    ):
        assert np.mean(np.isclose(stored[name], stored[other], rtol=1e-5)) < 0.5
    far = stored["state uniform far scores"]
    assert not np.any(np.isclose(far[0], far[3], rtol=1e-5))


def test_a_saved_state_of_before_is_loaded():
    state = el.load(DATA / "state.npz")
    with np.load(DATA / "state.npz") as file:
        for name in ("mean", "components", "scale", "explained_variance", "explained_variance_ratio"):
            np.testing.assert_array_equal(getattr(state, name), file[name])
    assert isinstance(state, el.PCAState)
    assert (state.n_components, state.n_features, state.n_samples) == (5, 7, 300)


def test_a_saved_mixture_of_before_is_loaded():
    mixture = el.load(DATA / "mixture.npz")
    assert isinstance(mixture, el.Mixture)
    assert mixture.names == ("cat", "dog", "hen")
    assert mixture.has == ((True, False, False), (False, True, False), (False, False, True))
    with np.load(DATA / "mixture.npz") as file:
        np.testing.assert_array_equal(mixture.weights, file["weights"])
        for whose in ("shared", "parts"):
            for name in ("mean", "components", "scale", "explained_variance", "explained_variance_ratio"):
                np.testing.assert_array_equal(getattr(getattr(mixture, whose), name), file[f"{whose}.{name}"])
    np.testing.assert_array_equal(mixture.parts.n_samples, [100, 100, 100])


if __name__ == "__main__":
    write(Path(sys.argv[1]))
