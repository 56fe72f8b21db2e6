import dataclasses
import io
import os
import pickle
import zipfile

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ellipsoid.state import PCAState

D, K = 7, 4


def make_state(seed=0, offset=0.0):
    rng = np.random.default_rng(seed)
    components = np.linalg.qr(rng.normal(size=(D, D)))[0][:K]
    variance = np.array([4.0, 2.0, 1.0, 0.5])
    fields = (rng.normal(size=D) + offset, components, np.sqrt(variance), variance, variance / 8)
    return PCAState(*(jnp.asarray(field, jnp.float32) for field in fields), n_samples=100)


def assert_same(a, b):
    assert a.n_samples == b.n_samples
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_array_equal(x, y)


def reference(state):
    return np.asarray(state.mean, np.float64), np.asarray(state.components, np.float64)


def test_sizes():
    assert (make_state().n_components, make_state().n_features) == (K, D)


@pytest.mark.parametrize("shape", [(), (5,), (2, 3)])
def test_project_and_reconstruct(shape):
    state = make_state(offset=1e3)
    mean, components = reference(state)
    rng = np.random.default_rng(1)
    z = (mean + rng.normal(size=(*shape, D))).astype(np.float32)
    y = rng.normal(size=(*shape, K)).astype(np.float32)

    scores = state.project(z)
    assert scores.dtype == jnp.float32
    # The mean is subtracted exactly, so a mean of 1e3 leaves the error at a few eps of the scores.
    np.testing.assert_allclose(scores, (z - mean) @ components.T, rtol=0, atol=1e-6)
    np.testing.assert_allclose(state.reconstruct(y), mean + y @ components, rtol=3e-7, atol=0)
    np.testing.assert_allclose(state.project(state.reconstruct(y)), y, rtol=0, atol=3e-4)


def test_products_ask_for_the_highest_precision():
    # Only an accelerator shows the difference (TF32, bfloat16), so the test reads the precision from the
    # program.
    state = make_state()
    for function, size in ((PCAState.project, D), (PCAState.reconstruct, K)):
        equations = jax.make_jaxpr(function)(state, jnp.zeros((2, size))).jaxpr.eqns
        (product,) = [e for e in equations if e.primitive.name == "dot_general"]
        assert set(product.params["precision"]) == {jax.lax.Precision.HIGHEST}


@pytest.mark.parametrize("dtype", [np.float64, np.float16, jnp.bfloat16, np.int32])
def test_other_types_are_taken_in_the_precision_of_the_state(dtype):
    z = np.arange(2 * D).reshape(2, D)
    scores = make_state().project(z.astype(dtype))
    assert scores.dtype == jnp.float32
    np.testing.assert_array_equal(scores, make_state().project(z.astype(np.float32)))


def test_shape_errors():
    with pytest.raises(ValueError, match=r"z: expected shape \(\.\.\., 7\); got \(3, 4\)"):
        make_state().project(np.zeros((3, 4)))
    with pytest.raises(ValueError, match=r"y: expected shape \(\.\.\., 4\); got \(\)"):
        make_state().reconstruct(np.float32(1))


def test_is_a_pytree_of_data():
    states = [make_state(seed) for seed in range(3)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)
    assert stacked.n_components == K
    z = np.random.default_rng(0).normal(size=(5, D)).astype(np.float32)
    traces = []

    @jax.jit
    def project(state, z):
        traces.append(0)
        return state.project(z)

    each = np.stack([project(state, z) for state in states])
    assert len(traces) == 1
    np.testing.assert_allclose(jax.vmap(PCAState.project, (0, None))(stacked, z), each, atol=1e-6)
    assert stacked.truncate(2).components.shape == (3, 2, D)


def test_equality_is_that_of_types_shapes_and_values():
    state = make_state()
    assert state == make_state()
    assert state == jax.tree.map(jnp.asarray, state)  # n_samples is an array now, of the same value
    for field in dataclasses.fields(PCAState):
        value = getattr(state, field.name)
        assert state != dataclasses.replace(state, **{field.name: value + 1})
        assert state != dataclasses.replace(state, **{field.name: jnp.stack([jnp.asarray(value)] * 2)})
    assert state != dataclasses.replace(state, mean=np.asarray(state.mean, np.float64))
    assert state != state.truncate(2)
    for other in (None, 5, "state", jax.tree.leaves(state), np.zeros(3)):
        assert (state == other) is False
        assert (state != other) is True
    assert state in [None, make_state()]
    with pytest.raises(TypeError, match="unhashable"):
        hash(state)


def test_equality_says_why_it_has_no_answer_under_a_trace():
    state = make_state()
    message = "==: expected a PCAState with known values; got one inside jit, vmap or grad"
    for compare in (lambda traced: traced == state, lambda traced: state == traced):
        with pytest.raises(TypeError, match=message):
            jax.jit(compare)(state)
    assert jax.jit(lambda traced: jnp.array(traced == "a state"))(state) == False  # noqa: E712


def test_trees_do_not_compare_states(monkeypatch):
    state = make_state()
    monkeypatch.setattr(PCAState, "__eq__", None)
    doubled = jax.jit(lambda state: jax.tree.map(lambda leaf: leaf * 2, state))(state)
    assert jax.tree.structure(doubled) == jax.tree.structure(state)
    jax.lax.cond(True, lambda a, b: a, lambda a, b: b, doubled, doubled)
    jax.vmap(lambda state: state.mean)(jax.tree.map(lambda leaf: jnp.stack([jnp.asarray(leaf)] * 2), state))


def test_repr_of_one_state():
    assert repr(make_state()) == (
        "PCAState: 4 of 7 components, fitted to 100 latents (float32)\n"
        "  explained variance: 93.8% of the total\n"
        "  scale: 0.707 to 2 (2, 1.41, 1, 0.707)"
    )
    large = dataclasses.replace(make_state(), scale=np.geomspace(2, 0.5, 4096), n_samples=123456)
    assert "123,456 latents" in repr(large)
    assert "0.5 to 2 (2, 2, 2, 2, 2, ...)" in repr(large)
    assert repr(make_state().truncate(1)).endswith("scale: 2")


def test_repr_of_what_has_no_values():
    state, texts = make_state(), []
    jax.jit(lambda state: texts.append(repr(state)))(state)
    texts.append(repr(jax.eval_shape(lambda state: state, state)))
    shapes = (
        "PCAState(mean=float32[7], components=float32[4,7], scale=float32[4], explained_variance=float32[4], "
        "explained_variance_ratio=float32[4], n_samples=int32[])"
    )
    assert texts == [shapes, shapes]
    stacked = jax.tree.map(lambda leaf: jnp.stack([jnp.asarray(leaf)] * 3), state)
    assert "components=float32[3,4,7]" in repr(stacked)
    assert repr(jax.tree.map(lambda leaf: None, state)).startswith("PCAState(mean=None, ")
    assert repr(jax.tree.map(lambda leaf: "x" * 1000, state)).count("...") == 6
    donated = jax.tree.map(jnp.array, state)
    donated.mean.delete()
    assert repr(donated).startswith("PCAState(mean=float32[7], ")


def test_truncate():
    state = make_state()
    short = state.truncate(2)
    np.testing.assert_array_equal(short.components, state.components[:2])
    for name in ("scale", "explained_variance", "explained_variance_ratio"):
        np.testing.assert_array_equal(getattr(short, name), getattr(state, name)[:2])
    np.testing.assert_array_equal(short.mean, state.mean)
    assert_same(state.truncate(K), state)
    for k in (0, K + 1):
        with pytest.raises(ValueError, match=f"k: expected 1 to 4, the number of components; got {k}"):
            state.truncate(k)
    with pytest.raises(TypeError, match="k: expected an integer; got float"):
        state.truncate(1.5)


@pytest.mark.parametrize("name", ["state.npz", "state", "state.v1.bin"])
def test_save_and_load(tmp_path, name):
    state = make_state()
    make_state(seed=1).save(tmp_path / name)
    state.save(str(tmp_path / name))
    assert os.listdir(tmp_path) == [name]
    loaded = PCAState.load(str(tmp_path / name))
    assert_same(loaded, state)
    assert isinstance(loaded.n_samples, int)
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(loaded)[:-1])


def test_save_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "state.npz"
    make_state().save(path)

    def no_space(_):
        raise OSError("no space left")

    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(OSError, match="no space left"):
        make_state(seed=1).save(path)
    assert os.listdir(tmp_path) == ["state.npz"]
    assert_same(PCAState.load(path), make_state())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mean": jnp.full(D, jnp.nan)}, "mean: expected finite values"),
        ({"mean": jnp.zeros((D, 1))}, r"mean: expected .* of shape \(7,\); got float32\(7, 1\)"),
        ({"components": jnp.zeros((2, K, D))}, r"components: expected shape \(K, D\)"),
        ({"components": jnp.zeros((D, K))}, r"components: expected shape \(K, D\) with 1 <= K <= D"),
        ({"scale": jnp.zeros(K)}, "scale: expected positive values"),
        ({"scale": jnp.ones(K, jnp.bfloat16)}, "scale: expected float32 or float64"),
        ({"n_samples": 0}, "n_samples: expected one integer above 0; got 0"),
        ({"components": 1.01 * jnp.eye(K, D)}, "components: expected orthonormal rows; .* off by up to 0.02"),
        ({"components": jnp.ones((K, D))}, "components: expected orthonormal rows"),
    ],
)
def test_save_refuses_what_load_would(tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(make_state(), **change).save(tmp_path / "state.npz")
    assert os.listdir(tmp_path) == []


def test_load_without_a_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="path: expected a saved PCA state; got no file at"):
        PCAState.load(tmp_path / "absent.npz")


def saved_fields(tmp_path):
    make_state().save(tmp_path / "good.npz")
    with np.load(tmp_path / "good.npz") as archive:
        return dict(archive)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": None}, "expected ellipsoid.PCAState 1; got an archive of something else"),
        ({"description": "{"}, "Expecting property name"),
        ({"format": "ellipsoid.Other"}, "expected ellipsoid.PCAState 1; got ellipsoid.Other 1"),
        ({"format_version": 2}, "expected ellipsoid.PCAState 1; got ellipsoid.PCAState 2"),
        ({"scale": None}, "scale: expected an entry of this name; got none"),
        ({"scale": np.ones(K + 1, np.float32)}, r"scale: expected .* of shape \(4,\)"),
        ({"mean": np.full(D, np.inf, np.float32)}, "mean: expected finite values"),
        ({"mean": np.zeros(D, ">f4")}, "mean: expected float32 or float64"),
        ({"n_samples": 2.5}, "n_samples: expected one integer"),
        ({"components": np.zeros((K, D), np.float32)}, "components: expected orthonormal rows"),
        ({"mean": np.full(D, 1e39)}, r"mean: expected numbers in the range of float32, .*; got 1e\+39"),
        ({"scale": np.full(K, 1e39)}, "scale: expected numbers in the range of float32"),
        ({"scale": np.full(K, 1e-60)}, "scale: expected positive values"),
    ],
)
def test_load_refuses_other_contents(tmp_path, change, message):
    fields = saved_fields(tmp_path) | change
    path = tmp_path / "bad.npz"
    np.savez(path, **{name: value for name, value in fields.items() if value is not None})
    with pytest.raises(ValueError, match=rf"^path: .*bad\.npz cannot be read as a PCA state: .*{message}"):
        PCAState.load(path)


class Trap:
    sprung = False

    def __reduce__(self):
        return setattr, (Trap, "sprung", True)


def test_load_never_unpickles(tmp_path):
    fields = saved_fields(tmp_path) | {"mean": np.array([Trap()] * D, object)}
    np.savez(tmp_path / "objects.npz", **fields)
    (tmp_path / "pickle.npz").write_bytes(pickle.dumps(Trap()))
    for name in ("objects.npz", "pickle.npz"):
        with pytest.raises(ValueError, match="cannot be read as a PCA state"):
            PCAState.load(tmp_path / name)
    assert not Trap.sprung


def test_load_refuses_every_truncation_and_every_damaged_byte(tmp_path):
    path = tmp_path / "state.npz"
    state = make_state()
    state.save(path)
    content = path.read_bytes()
    for size in (*range(0, len(content), 37), len(content) - 1):
        path.write_bytes(content[:size])
        with pytest.raises(ValueError, match="cannot be read as a PCA state"):
            PCAState.load(path)
    n_refused = 0
    for position in range(0, len(content), 3):
        damaged = bytearray(content)
        damaged[position] ^= 0xFF
        path.write_bytes(damaged)
        try:
            assert_same(PCAState.load(path), state)  # some bytes, dates for example, carry no data
        except ValueError as error:
            assert "cannot be read as a PCA state" in str(error)  # noqa: PT017
            n_refused += 1
    assert n_refused > len(content) / 3 / 2


def test_load_refuses_other_files(tmp_path):
    (tmp_path / "text").write_text("mean = 0")
    np.save(tmp_path / "array.npy", np.zeros(3))
    with zipfile.ZipFile(tmp_path / "archive.zip", "w") as archive:
        archive.writestr("a.txt", "a")
    buffer = io.BytesIO()
    np.savez(buffer, latents=np.zeros((3, 2)))
    (tmp_path / "latents.npz").write_bytes(buffer.getvalue())
    for name in os.listdir(tmp_path):
        with pytest.raises(ValueError, match="cannot be read as a PCA state"):
            PCAState.load(tmp_path / name)
