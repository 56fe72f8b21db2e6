"""A flow in every place of a state: before training, both ways, rows, densities, labels, files."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import CENTRES, literal_push, random_field

import ellipsoid as el
from ellipsoid.archive import save_archive
from ellipsoid.flow import FORMAT
from ellipsoid.settings import DEFAULT_LEVEL
from ellipsoid.state import FIELDS
from ellipsoid.velocity import Velocity

KEY = el.key(11)
NORMAL = {"law": "normal", "level": 3.0}


def flow_of(state, velocity, n_steps=8):
    scale = jnp.sqrt(state.explained_variance)
    return el.Flow(state, velocity, scale, jnp.float32(1), jnp.zeros(0, np.float32), n_steps)


def assert_same(a, b):
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_array_equal(x, y)


@pytest.fixture(scope="module")
def draws(small_flow):
    return el.sample(KEY, small_flow, 600, **NORMAL)


def test_before_training_a_flow_is_the_pca(small_flow, draws):
    plain = dataclasses.replace(small_flow, velocity=jax.tree.map(jnp.zeros_like, small_flow.velocity))
    base = dataclasses.replace(small_flow.base, scale=small_flow.scale)
    z, y = np.asarray(draws.latents), np.asarray(draws.scores)
    same = {"rtol": 1e-6, "atol": 3e-6}
    np.testing.assert_allclose(plain.project(z), base.project(z), **same)
    np.testing.assert_allclose(plain.reconstruct(y), base.reconstruct(y), **same)
    for one, other in zip(
        el.sample(KEY, plain, 600, **NORMAL), el.sample(KEY, base, 600, **NORMAL), strict=True
    ):
        np.testing.assert_allclose(one, other, **same)
    np.testing.assert_allclose(el.gauge(plain, z), el.gauge(base, z), **same)
    # A flow that has learned is another.
    assert np.abs(el.gauge(small_flow, z) - el.gauge(base, z)).max() > 0.1


# --- there and back ----------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 3])
def test_scores_come_back_from_latents(small_flow, draws, size):
    y = size * np.asarray(draws.scores)
    z, scale = small_flow.reconstruct(y), np.asarray(small_flow.scale)
    assert np.abs((np.asarray(small_flow.project(z)) - y) / scale).max() < 1e-3
    assert np.abs((np.asarray(small_flow.base.project(z)) - y) / scale).max() > 0.3


def test_latents_come_back_from_scores(small_flow):
    z = 3 + np.random.default_rng(2).normal(size=(600, 4)) * 5
    subspace = small_flow.base.reconstruct(small_flow.base.project(z))
    np.testing.assert_allclose(small_flow.reconstruct(small_flow.project(z)), subspace, rtol=0, atol=1e-3)


@pytest.mark.slow
def test_latents_that_are_not_finite(small_flow, draws):
    z = np.array(draws.latents[:16])
    gauges = np.asarray(el.gauge(small_flow, z, level=3.0))
    z[2, 1], z[5, 0], z[6] = np.nan, np.inf, -3e38
    found = np.asarray(el.gauge(small_flow, z, level=3.0))
    others = [i for i in range(16) if i not in (2, 5, 6)]
    np.testing.assert_array_equal(found[others], gauges[others])
    assert np.isnan(found[2])
    assert np.isinf(found[5])
    assert found[6] > 1e30
    inside = np.asarray(el.contains(small_flow, z, level=3.0))
    assert inside[others].all()
    assert not inside[[2, 5, 6]].any()
    assert np.isnan(small_flow.project(z)[2]).all()


def test_wrong_shapes_and_masked_values_are_refused(small_flow):
    for call in (small_flow.reconstruct, small_flow.bend):
        with pytest.raises(ValueError, match=r"y: expected shape \(..., 3\); got \(2, 4\)"):
            call(np.zeros((2, 4)))
    with pytest.raises(ValueError, match=r"z: expected shape \(..., 4\); got \(2, 3\)"):
        small_flow.project(np.zeros((2, 3)))
    with pytest.raises(ValueError, match="y: expected"):
        small_flow.reconstruct(np.ma.masked_less([[1.0, -1.0, 1.0]], 0))


@pytest.mark.parametrize(
    ("law", "region"),
    [
        pytest.param("redraw", "pairwise", marks=pytest.mark.slow),
        ("uniform", "pairwise"),
        pytest.param("normal", "ellipsoid", marks=pytest.mark.slow),
    ],
)
def test_draws_are_inside(small_flow, law, region):
    check_inside(small_flow, law, region, 2000)


@pytest.mark.slow
@pytest.mark.parametrize("law", ["redraw", "sequential", "uniform", "normal"])
def test_all_laws_and_regions_are_inside(small_flow, law):
    for region in ("pairwise", "ellipsoid", "box") if law in ("uniform", "normal") else ("pairwise",):
        for level in (1.5, 4.0):
            check_inside(small_flow, law, region, 10_000, level=level)


@pytest.mark.slow
@pytest.mark.parametrize("k", [64, 256])
def test_many_draws_are_inside(make_state, k):
    flow = flow_of(make_state(k), random_field(k))
    check_inside(flow, "uniform", "pairwise", 100_000, level=2.45)


def check_inside(flow, law, region, n, level=2.0):
    """Check that gauges are at most 1, that `contains` holds, and that scores come back."""
    settings = {"level": level, "region": region}
    draws = el.sample(KEY, flow, n, law=law, verify=n <= 10_000, **settings)
    gauges, inside = np.asarray(draws.gauge), el.contains(flow, draws.latents, **settings)
    assert 0.9 < gauges.max() <= 1
    assert np.asarray(inside).all()
    back = np.concatenate(
        [flow.project(block) for block in np.array_split(np.asarray(draws.latents), n // 1000)]
    )
    assert np.abs((back - np.asarray(draws.scores)) / np.asarray(flow.scale)).max() < 1e-3
    # Nearer in than the outermost draw, `contains` is not true of all.
    smaller = settings | {"level": level * (gauges.max() - 0.01)}
    assert not np.asarray(el.contains(flow, draws.latents, **smaller)).all()


# --- rows --------------------------------------------------------------------------------------------


def test_rows_by_their_number(small_flow, draws):
    index = np.random.default_rng(1).permutation(600)[:300]
    assert_same(el.sample_at(KEY, small_flow, index, **NORMAL), jax.tree.map(lambda x: x[index], draws))
    assert_same(el.sample(KEY, small_flow, 7, **NORMAL), jax.tree.map(lambda x: x[:7], draws))
    assert not np.array_equal(el.sample(el.key(12), small_flow, 7, **NORMAL).latents, draws.latents[:7])


def test_rows_under_jit(small_flow, draws):
    jitted = jax.jit(lambda key, flow: el.sample(key, flow, 300, **NORMAL))
    traced = jitted(KEY, small_flow)
    assert_same((traced.latents, traced.scores), (draws.latents[:300], draws.scores[:300]))
    np.testing.assert_allclose(traced.gauge, draws.gauge[:300], rtol=3e-7)


def test_rows_in_chunks_of_a_file(small_flow, draws, tmp_path):
    el.generate(KEY, small_flow, 600, tmp_path / "z.npy", chunk=250, progress=False, **NORMAL)
    np.testing.assert_array_equal(np.load(tmp_path / "z.npy"), draws.latents)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_16_bit_draws(small_flow, draws, dtype):
    short = el.sample(KEY, small_flow, 600, dtype=dtype, **NORMAL)
    assert float(short.gauge.max()) <= 1
    scores = np.asarray(short.scores, np.float32)
    expected = np.asarray(small_flow.reconstruct(scores))
    half_ulp = float(jnp.finfo(dtype).eps) / 2
    np.testing.assert_allclose(
        np.asarray(short.latents, np.float32), expected, rtol=1.01 * half_ulp, atol=1e-5
    )
    assert np.abs(scores).max() < np.abs(draws.scores).max()


# --- density -----------------------------------------------------------------------------------------


def test_density_over_scores_is_that_of_one_ellipsoid(small_flow, draws):
    base = dataclasses.replace(small_flow.base, scale=small_flow.scale)
    for settings in (NORMAL, {"law": "uniform", "level": 2.0}):
        found = el.log_prob(small_flow, draws, **settings)
        np.testing.assert_array_equal(found, el.log_prob(base, draws.scores, **settings))
        np.testing.assert_array_equal(found, el.log_prob(small_flow, draws.scores, **settings))
    assert np.isneginf(found).any()
    of_latents = el.log_prob(small_flow, latents=draws.latents, **NORMAL)
    exact = el.log_prob(small_flow, draws, **NORMAL)
    np.testing.assert_allclose(np.where(np.isfinite(of_latents), of_latents, exact), exact, rtol=0, atol=1e-3)


@pytest.mark.slow
def test_density_over_latents_is_divided_by_the_determinant(small_flow, draws):
    """The density is compared with differences of a float64 version of the whole path."""
    y, k, step = np.asarray(draws.scores[:64], float), 3, 1e-5
    deviations = np.sqrt(np.asarray(small_flow.base.explained_variance, float))

    def bend(y):
        no_label = np.zeros(len(small_flow.names))
        return literal_push(small_flow.velocity, y / deviations, small_flow.n_steps, no_label) * deviations

    columns = [(bend(y + step * axis) - bend(y - step * axis)) / (2 * step) for axis in np.eye(k)]
    log_volume = np.linalg.slogdet(np.stack(columns, axis=-1))[1]
    over_scores = np.asarray(el.log_prob(small_flow, y.astype(np.float32), **NORMAL))
    found = np.asarray(el.log_prob(small_flow, y.astype(np.float32), over="latents", **NORMAL))
    np.testing.assert_allclose(found, over_scores - log_volume, rtol=0, atol=1e-3)
    assert np.abs(log_volume).max() > 0.1
    of_latents = el.log_prob(small_flow, latents=draws.latents[:64], over="latents", **NORMAL)
    np.testing.assert_allclose(of_latents, found, rtol=0, atol=3e-3)


@pytest.mark.slow
def test_density_over_latents_integrates_to_one(make_state):
    flow = flow_of(make_state(2, scale=[1.0, 0.7]), random_field(2, size=0.7))
    x = np.linspace(-6, 6, 45)
    grid = np.asarray(flow.base.mean) + np.stack(np.meshgrid(x, x), axis=-1)

    def mass(over):
        logs = el.log_prob(flow, latents=grid, law="normal", level=4.0, over=over)
        return np.exp(np.asarray(logs, float)).sum() * (x[1] - x[0]) ** 2

    assert mass("latents") == pytest.approx(1, abs=0.01)
    assert abs(mass("scores") - 1) > 0.05


def test_log_prob_refuses(small_flow, draws):
    with pytest.raises(ValueError, match="over: expected one of scores, latents; got 'images'"):
        el.log_prob(small_flow, draws, over="images", **NORMAL)
    with pytest.raises(ValueError, match="law: expected uniform or normal"):
        el.log_prob(small_flow, draws, law="redraw")
    with pytest.raises(ValueError, match="scores: expected draws of this shape; got draws of another one"):
        el.log_prob(small_flow, el.sample(KEY, small_flow, 5, label="low", **NORMAL), **NORMAL)


# --- labels ------------------------------------------------------------------------------------------


def test_draws_of_a_label(small_flow):
    centres = np.array(list(CENTRES.values()))
    for own, label in enumerate(CENTRES):
        selected = small_flow.select(label)
        draws = el.sample(KEY, small_flow, 300, label=label, **NORMAL)
        assert_same(draws, el.sample(KEY, selected, 300, **NORMAL))
        assert el.contains(selected, draws.latents, level=3.0).all()
        nearest = np.linalg.norm(np.asarray(draws.latents)[:, None] - centres, axis=-1).argmin(axis=1)
        assert np.mean(nearest == own) > 0.95


def test_unlabelled_draws_hold_all(small_flow, draws):
    centres = np.array(list(CENTRES.values()))
    nearest = np.linalg.norm(np.asarray(draws.latents)[:, None] - centres, axis=-1).argmin(axis=1)
    # Half of the latents have each label; the field learned that to a tenth.
    assert abs(np.mean(nearest) - 0.5) < 0.1 + 5 * 0.5 / np.sqrt(600)


def test_select(small_flow):
    assert set(small_flow.names) == {"low", "high"}
    low = small_flow.names.index("low")
    np.testing.assert_array_equal(small_flow.select("low").condition, np.eye(2)[low])
    np.testing.assert_array_equal(small_flow.select({"low": True}).condition, np.eye(2)[low])
    attributes = dataclasses.replace(small_flow, names=("a", "b"), exclusive=False)
    for label, condition in (
        ("b", [0, 1]),
        ({"a": False}, [-1, 0]),
        ({"a": True, "b": False}, [1, -1]),
        ({}, [0, 0]),
    ):
        np.testing.assert_array_equal(attributes.select(label).condition, condition)
    numbered = dataclasses.replace(small_flow, names=("0", "1"))
    for label in (1, 1.0, np.int64(1)):
        np.testing.assert_array_equal(numbered.select(label).condition, [0, 1])


@pytest.mark.parametrize(
    ("label", "error", "message"),
    [
        ("middle", ValueError, "expected one of high, low; got 'middle'"),
        (["low", "high"], TypeError, r"expected one label of a flow; got \['low', 'high'\]"),
        ({"low": True, "high": True}, ValueError, "expected one of high, low; got {'low': True"),
        ({"low": False}, ValueError, "expected one of high, low; got {'low': False}"),
        ({}, ValueError, "expected one of high, low; got {}"),
        ({"low": 1}, TypeError, "expected True or False for 'low'; got 1"),
        (None, TypeError, "expected text or a number; got None"),
    ],
)
def test_select_refuses(small_flow, label, error, message):
    with pytest.raises(error, match=f"^label: {message}"):
        small_flow.select(label)


@pytest.mark.slow
def test_a_flow_without_labels_has_none_to_draw(make_state):
    flow = flow_of(make_state(3), random_field(3))
    with pytest.raises(ValueError, match=r"label: expected None, since only a flow .* has labels; got 'low'"):
        el.sample(KEY, flow, 5, label="low")


# --- as a value, and files ---------------------------------------------------------------------------


def test_equality_and_text(small_flow):
    copy = jax.tree.map(jnp.array, small_flow)
    assert copy == small_flow
    assert small_flow.select("low") != small_flow
    assert dataclasses.replace(copy, n_steps=small_flow.n_steps + 1) != small_flow
    assert (small_flow == small_flow.base) is False
    lines = repr(small_flow).split("\n")
    assert lines[0] == "Flow: 3 of 4 components, fitted to 2,000 latents (float32)"
    assert lines[2:] == [
        f"  field: 1 blocks of 32 units, {small_flow.n_steps} steps",
        f"  held-out loss: {float(small_flow.loss):.3f} of that of one Gaussian",
        "  labels: high, low",
    ]
    assert "<td>1 blocks of 32 units, " in small_flow._repr_html_()
    assert "<td>high, low</td>" in small_flow._repr_html_()
    texts = []
    jax.jit(lambda flow: texts.extend([repr(flow), flow._repr_html_()]))(small_flow)
    assert texts[0].startswith("Flow(base=PCAState(mean=float32[4], ")
    assert texts[1].startswith("<pre>Flow(base=")


@pytest.fixture(scope="module")
def saved(small_flow, tmp_path_factory):
    path = tmp_path_factory.mktemp("flow") / "flow.npz"
    small_flow.select("low").save(path)
    return path


def test_save_and_load(small_flow, saved):
    for load in (el.Flow.load, el.load):
        flow = load(saved)
        assert flow == small_flow.select("low")
        assert (flow.names, flow.exclusive, flow.n_steps) == (small_flow.names, True, small_flow.n_steps)
    with pytest.raises(
        ValueError, match=r"cannot be read as a PCA state: expected .*; got ellipsoid\.Flow 1"
    ):
        el.PCAState.load(saved)
    with pytest.raises(FileNotFoundError, match="path: expected a saved flow; got no file at"):
        el.Flow.load(saved.with_name("absent.npz"))


ENTRIES = (
    *(f"base.{name}" for name in FIELDS),
    *(f"velocity.{name}" for name in Velocity._fields),
    *("scale", "loss", "condition", "names"),
)
NUMBERS = tuple(name for name in ENTRIES if name not in ("names", "base.n_samples"))


def read(path):
    with np.load(path) as file:
        return {name: file[name] for name in ENTRIES}, {"n_steps": 8, "exclusive": True}


def check_refused(arrays, description, name, tmp_path):
    save_archive(tmp_path / "x.npz", FORMAT, arrays, description)
    with pytest.raises(
        ValueError,
        match=rf"x\.npz cannot be read as a flow: (base\.|velocity\.|description\.)?{name}: expected",
    ):
        el.Flow.load(tmp_path / "x.npz")


DAMAGES = {
    "missing": ENTRIES,
    "shape": ENTRIES,
    "dtype": (*NUMBERS, "base.n_samples"),
    "NaN": NUMBERS,
}


@pytest.mark.parametrize(
    ("damage", "name"), [(damage, name) for damage, names in DAMAGES.items() for name in names]
)
def test_load_refuses_a_damaged_field(saved, name, damage, tmp_path):
    arrays, description = read(saved)
    if damage == "missing":
        del arrays[name]
    elif damage == "shape":
        arrays[name] = arrays[name][None]
    elif damage == "dtype":
        arrays[name] = arrays[name].astype(np.float64 if name == "base.n_samples" else np.int8)
    else:
        arrays[name].flat[-1] = np.nan
    check_refused(arrays, description, name.removeprefix("base."), tmp_path)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("scale", -np.ones(3, np.float32)),
        ("base.scale", np.zeros(3, np.float32)),
        ("base.explained_variance", np.zeros(3, np.float32)),
        ("base.n_samples", np.array(0)),
        ("names", np.array([1, 2])),
        ("names", np.array(["a", "b", "c"])),
        ("n_steps", 0),
        ("n_steps", 2.5),
        ("n_steps", None),
        ("exclusive", 1),
    ],
)
def test_load_refuses_wrong_values(saved, name, value, tmp_path):
    arrays, description = read(saved)
    if name in description:
        description[name] = value
        if value is None:
            del description[name]
    else:
        arrays[name] = value
    own = (
        "(condition|velocity.condition)"
        if name == "names" and len(value) == 3
        else name.removeprefix("base.")
    )
    check_refused(arrays, description, own, tmp_path)


def test_another_version_and_damaged_bytes_are_refused(saved, tmp_path):
    arrays, description = read(saved)
    save_archive(tmp_path / "new.npz", dataclasses.replace(FORMAT, version=2), arrays, description)
    with pytest.raises(
        ValueError, match=r"cannot be read as a flow: expected ellipsoid\.Flow 1; got ellipsoid\.Flow 2"
    ):
        el.Flow.load(tmp_path / "new.npz")
    content = saved.read_bytes()
    (tmp_path / "damaged.npz").write_bytes(content[:3000] + bytes([content[3000] ^ 1]) + content[3001:])
    with pytest.raises(ValueError, match=r"damaged\.npz cannot be read as a flow"):
        el.Flow.load(tmp_path / "damaged.npz")


def test_save_refuses_what_is_no_flow(small_flow, tmp_path):
    with pytest.raises(ValueError, match="loss: expected finite values"):
        dataclasses.replace(small_flow, loss=jnp.float32(np.nan)).save(tmp_path / "x.npz")
    assert not any(tmp_path.iterdir())


def test_default_level_is_that_of_the_others(small_flow):
    assert_same(
        el.sample(KEY, small_flow, 5), el.sample(KEY, small_flow, 5, law="redraw", level=DEFAULT_LEVEL)
    )
