import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import decode
from scipy import stats

import ellipsoid as el
from ellipsoid.archive import Format, save_archive
from ellipsoid.mixture import _in_tiles

K, D = 6, 8
KEY = el.key(11)


@pytest.fixture(scope="module")
def mixture():
    """Three parts with own centres, axes and scales, two of which have the label 'b'."""
    rng = np.random.default_rng(0)
    shared = el.fit(rng.normal(size=(300, D)) * np.geomspace(3, 1, D), K)
    axes = np.stack([np.linalg.qr(rng.normal(size=(K, K)))[0] for _ in range(3)]) @ shared.components
    scale = rng.uniform(0.2, 2, (3, K))
    centres = rng.normal(size=(3, K)) @ np.asarray(shared.components) + shared.mean[None]
    fields = (centres, axes, scale, scale**2, scale**2 / 50)
    parts = el.PCAState(*(jnp.asarray(x, jnp.float32) for x in fields), n_samples=jnp.array([150, 100, 50]))
    return el.Mixture(
        jnp.array([0.5, 0.3, 0.2]), parts, shared, ("a", "b"), ((True, False), (False, True), (True, True))
    )


def assert_same(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize(
    ("law", "region", "verify"),
    [
        pytest.param("redraw", "pairwise", True, marks=pytest.mark.slow),  # two programs of 3 s each
        pytest.param("uniform", "pairwise", True, marks=pytest.mark.slow),
        pytest.param("normal", "ellipsoid", False, marks=pytest.mark.slow),
        ("uniform", "box", True),
    ],
)
def test_a_row_is_that_of_its_part(mixture, law, region, verify):
    # The random numbers of a row do not depend on the state, so each part's rows are known from drawing it
    # alone.
    n, settings = 2000, {"law": law, "region": region, "level": 2.0}
    draws = el.sample(KEY, mixture, n, verify=verify, **settings)
    assert isinstance(draws, el.MixtureDraws)
    for m in range(3):
        alone, rows = el.sample(KEY, mixture.part(m), n, **settings), draws.part == m
        np.testing.assert_array_equal(draws.scores[rows], alone.scores[rows])
        np.testing.assert_allclose(draws.gauge[rows], alone.gauge[rows], rtol=5e-7)
        np.testing.assert_allclose(draws.latents[rows], alone.latents[rows], rtol=0, atol=3e-6)


def test_parts_are_as_frequent_as_their_weights(mixture):
    count = np.bincount(el.sample(KEY, mixture, 50_000, law="uniform").part, minlength=3)
    assert stats.chisquare(count, 50_000 * np.asarray(mixture.weights, np.float64)).pvalue > 1e-4
    wrong = 50_000 * np.array([0.48, 0.31, 0.21])
    assert stats.chisquare(count, wrong).pvalue < 1e-9


@pytest.mark.parametrize(
    "dtype",
    ["float32", *(pytest.param(dtype, marks=pytest.mark.slow) for dtype in ("float16", "bfloat16"))],
)
def test_rows_do_not_depend_on_what_is_drawn_beside_them(mixture, dtype):
    n = 20_000  # of which the first block has 16,384
    draws = el.sample(KEY, mixture, n, law="uniform", dtype=dtype)
    assert float(jnp.max(draws.gauge)) <= 1
    index = np.random.default_rng(1).permutation(n)[:5000]
    assert_same(
        el.sample_at(KEY, mixture, index, law="uniform", dtype=dtype), jax.tree.map(lambda x: x[index], draws)
    )
    assert_same(el.sample(KEY, mixture, 7, law="uniform", dtype=dtype), jax.tree.map(lambda x: x[:7], draws))


def test_traced(mixture):
    jitted = jax.jit(lambda key, mixture: el.sample(key, mixture, 300, law="uniform"))
    assert_same(jitted(KEY, mixture), el.sample(KEY, mixture, 300, law="uniform"))


@pytest.mark.slow
def test_many_parts_of_few_rows(mixture):
    # More parts than rows in a tile, most of them without a row.
    many = 200
    parts = jax.tree.map(lambda leaf: jnp.asarray(np.resize(leaf, (many, *leaf.shape[1:]))), mixture.parts)
    parts = dataclasses.replace(parts, mean=jnp.arange(many * D, dtype=jnp.float32).reshape(many, D))
    large = el.Mixture(jnp.full(many, 1 / many), parts, mixture.shared)
    draws = el.sample(KEY, large, 50, law="uniform")
    mean, components, part = np.asarray(parts.mean), np.asarray(parts.components), np.asarray(draws.part)
    expected = mean[part] + np.einsum("nk,nkd->nd", draws.scores, components[part])
    np.testing.assert_allclose(draws.latents, expected, rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize("n_parts", [2, 20, 300])
@pytest.mark.parametrize("over_tiles", [jax.lax.map, lambda of_tile, tiles: jax.vmap(of_tile)(tiles)])
def test_rows_meet_what_belongs_to_their_part(over_tiles, n_parts):
    # The second is how an accelerator goes over the tiles. Two of three parts have no row.
    rng, n = np.random.default_rng(5), 5000
    rows, offsets = (rng.normal(size=(size, 3)).astype(np.float32) for size in (n, n_parts))
    part = rng.integers(n_parts, size=n, dtype=np.int32) // 3 * 3

    def add(offset, rows):
        return rows + offset[None]

    added = jax.jit(functools.partial(_in_tiles, add, over_tiles, 128))(offsets, part, rows)
    np.testing.assert_array_equal(added, rows + offsets[part])


# --- questions asked of a point ----------------------------------------------------------------------


def test_gauge_and_contains_are_those_of_the_nearest_part(mixture):
    z = np.asarray(mixture.shared.mean) + 3 * np.random.default_rng(2).normal(size=(4, 50, D))
    gauges = [el.gauge(mixture.part(m), z, level=2.0) for m in range(3)]
    inside = [el.contains(mixture.part(m), z, level=2.0) for m in range(3)]
    np.testing.assert_allclose(el.gauge(mixture, z, level=2.0), np.min(gauges, axis=0), rtol=1e-6)
    np.testing.assert_array_equal(el.contains(mixture, z, level=2.0), np.any(inside, axis=0))
    assert 0 < np.mean(inside) < 1


@pytest.mark.slow
def test_draws_are_contained(mixture):
    for law in ("redraw", "uniform", "normal"):
        assert el.contains(
            mixture, el.sample(KEY, mixture, 5000, law=law, level=1.0).latents, level=1.0
        ).all()


def test_log_prob_is_the_weighted_sum(mixture):
    z = el.sample(KEY, mixture, 200, law="normal", level=3.0).latents
    density = 0
    for m, weight in enumerate(mixture.weights):
        part = mixture.part(m)
        density += weight * np.exp(el.log_prob(part, part.project(z), law="normal", level=3.0))
    log_density = el.log_prob(mixture, latents=z, law="normal", level=3.0)
    np.testing.assert_allclose(log_density, np.log(density), rtol=0, atol=2e-5)


@pytest.mark.slow
def test_log_prob_integrates_to_one():
    rng = np.random.default_rng(3)
    z = np.concatenate([rng.normal(size=(300, 2)), rng.normal(4, 0.5, (200, 2))])
    plane = el.fit_by_label(z, np.repeat([0, 1], [300, 200]))
    x = np.linspace(-9, 12, 400)
    grid = np.stack(np.meshgrid(x, x), -1)
    density = np.exp(el.log_prob(plane, latents=grid, law="uniform", level=2.0))
    assert density.sum() * (x[1] - x[0]) ** 2 == pytest.approx(1, abs=0.01)


# --- labels ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("label", "parts"),
    [
        ("a", [0, 2]),
        (["a", "b"], [0, 1, 2]),
        ({"a": True, "b": False}, [0]),
        ({"a": False}, [1]),
        ({"a": True, "b": True}, [2]),
        ({}, [0, 1, 2]),
    ],
)
def test_select(mixture, label, parts):
    chosen = mixture.select(label)
    weights = np.asarray(mixture.weights)[parts]
    np.testing.assert_allclose(chosen.weights, weights / weights.sum(), rtol=1e-6)
    assert chosen.has == tuple(mixture.has[m] for m in parts)
    for index, m in enumerate(parts):
        assert_same(chosen.part(index), mixture.part(m))
    draws = el.sample(KEY, mixture, 100, law="uniform", label=label)
    assert_same(draws, el.sample(KEY, chosen, 100, law="uniform"))


def test_labels_may_be_numbers(mixture):
    numbered = dataclasses.replace(mixture, names=("0", "1"))
    assert numbered.select(1).n_parts == 2
    assert numbered.select(np.int64(0)).n_parts == 2
    assert numbered.select(1.0).n_parts == 2


@pytest.mark.parametrize(
    ("label", "error", "message"),
    [
        ("c", ValueError, "expected one of a, b; got 'c'"),
        (
            {"a": False, "b": False},
            ValueError,
            "expected a combination that at least one part has; got {'a': False",
        ),
        ([], ValueError, "expected a combination that at least one part has; got"),
        ({"a": 1}, TypeError, "expected True or False for 'a'; got 1"),
        (2.5, ValueError, "expected one of a, b; got '2.5'"),
        (np.inf, ValueError, "expected one of a, b; got 'inf'"),
        (None, TypeError, "expected text or a number; got None"),
    ],
)
def test_select_refuses(mixture, label, error, message):
    with pytest.raises(error, match=f"^label: .*{message}"):
        mixture.select(label)


def test_one_state_has_no_labels(mixture):
    with pytest.raises(ValueError, match="label: expected None for one state, which has no labels"):
        el.sample(KEY, mixture.shared, 3, label="a")
    with pytest.raises(
        ValueError,
        match=r"label: expected None, since only a mixture that .*fit_by_label fitted has labels; got 'a'",
    ):
        el.sample(KEY, dataclasses.replace(mixture, names=(), has=((), (), ())), 3, label="a")


def test_part_refuses(mixture):
    for index in (-1, 3):
        with pytest.raises(IndexError, match=f"index: expected 0 to 2; got {index}"):
            mixture.part(index)
    with pytest.raises(TypeError, match="index: expected an integer; got float"):
        mixture.part(1.0)


# --- as a value --------------------------------------------------------------------------------------


def test_equality(mixture):
    copy = jax.tree.map(jnp.array, mixture)
    assert mixture == copy
    assert mixture != dataclasses.replace(copy, weights=mixture.weights[::-1])
    assert mixture != dataclasses.replace(copy, names=("a", "c"))
    assert mixture != dataclasses.replace(copy, parts=dataclasses.replace(copy.parts, scale=2 * copy.scale))
    assert mixture != mixture.select("a")
    assert (mixture == mixture.shared) is False
    with pytest.raises(TypeError, match="unhashable"):
        hash(mixture)
    with pytest.raises(TypeError, match="==: expected a Mixture with known values; got one inside jit"):
        jax.jit(lambda traced: traced == mixture)(mixture)


def test_repr(mixture):
    first, variance, weights, scale, labels = repr(mixture).split("\n")
    assert first == "Mixture: 3 parts in 6 of 8 components, fitted to 300 latents (float32)"
    assert variance.startswith("  explained variance: 9")
    assert weights == "  weights: 0.2 to 0.5 (0.5, 0.3, 0.2)"
    assert scale == f"  scale: {np.min(mixture.scale):.3g} to {np.max(mixture.scale):.3g}"
    assert labels == "  labels: a, b"
    many = dataclasses.replace(mixture, names=tuple(map(str, range(1000))))
    assert repr(many).endswith("labels: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 990 more")
    assert "labels" not in repr(dataclasses.replace(mixture, names=(), has=((),) * 3))
    texts = []
    jax.jit(lambda mixture: texts.append(repr(mixture)))(many)
    assert texts[0].startswith("Mixture(weights=float32[3], parts=PCAState(mean=float32[3,8], ")
    assert len(texts[0]) < 2000


# --- files -------------------------------------------------------------------------------------------


def test_save_and_load(mixture, tmp_path):
    mixture.save(tmp_path / "mixture.npz")
    assert_same(el.Mixture.load(tmp_path / "mixture.npz"), mixture)
    assert_same(el.load(tmp_path / "mixture.npz"), mixture)
    mixture.part(1).save(tmp_path / "part.npz")
    assert_same(el.load(tmp_path / "part.npz").components, mixture.part(1).components)


def test_files_are_not_taken_for_one_another(mixture, tmp_path):
    mixture.save(tmp_path / "mixture.npz")
    mixture.shared.save(tmp_path / "state.npz")
    with pytest.raises(
        ValueError,
        match=r"mixture\.npz cannot be read as a PCA state: expected .*\.PCAState 1; got .*\.Mixture 1",
    ):
        el.PCAState.load(tmp_path / "mixture.npz")
    with pytest.raises(ValueError, match=r"state\.npz cannot be read as a mixture"):
        el.Mixture.load(tmp_path / "state.npz")
    with pytest.raises(FileNotFoundError, match="path: expected a saved shape; got no file at"):
        el.load(tmp_path / "absent.npz")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weights": jnp.array([0.5, 0.3, 0.3])}, "weights: expected positive numbers with the sum 1"),
        ({"weights": jnp.array([0.5, 0.5, 0.0])}, "weights: expected positive numbers"),
        ({"weights": jnp.ones(2) / 2, "has": ((True, True),) * 2}, r"parts.mean: expected shape \(2, 8\)"),
        ({"weights": jnp.ones((3, 1))}, r"weights: expected numbers of shape \(M,\)"),
    ],
)
def test_save_refuses_what_is_no_mixture(mixture, change, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(mixture, **change).save(tmp_path / "x.npz")
    assert not any(tmp_path.iterdir())


def test_load_refuses_damage(mixture, tmp_path):
    path = tmp_path / "mixture.npz"
    mixture.save(path)
    content = path.read_bytes()
    path.write_bytes(content[:2000] + b"?" + content[2001:])
    with pytest.raises(ValueError, match="cannot be read as a mixture"):
        el.Mixture.load(path)
    save_archive(path, Format("ellipsoid.Mixture", 2, "mixture"), {"weights": np.ones(1)})
    with pytest.raises(ValueError, match=r"expected ellipsoid\.Mixture 1; got ellipsoid\.Mixture 2"):
        el.Mixture.load(path)


# --- large batches -----------------------------------------------------------------------------------


def test_generate(mixture, tmp_path):
    settings = {"law": "uniform", "progress": False, "label": "a"}
    el.generate(KEY, mixture, 3000, tmp_path / "z.npy", beside=("part", "gauge"), chunk=700, **settings)
    draws = el.sample(KEY, mixture, 3000, law="uniform", label="a")
    np.testing.assert_array_equal(np.load(tmp_path / "z.npy"), draws.latents)
    np.testing.assert_array_equal(np.load(tmp_path / "z.part.npy"), draws.part)
    el.generate(KEY, mixture, 10, tmp_path / "x.npy", decode=decode, **settings)
    assert np.load(tmp_path / "x.npy").shape == (10, 4, 4, 3)


@pytest.mark.slow
def test_generate_goes_on_with_the_same_mixture_only(mixture, tmp_path):
    def stop(z):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        el.generate(KEY, mixture, 10, tmp_path / "x.npy", decode=stop, progress=False)
    el.generate(KEY, mixture, 10, tmp_path / "x.npy", decode=decode, progress=False)
    heavier = dataclasses.replace(mixture, weights=jnp.array([0.6, 0.2, 0.2]))
    with pytest.raises(ValueError, match="was made with other settings"):
        el.generate(KEY, heavier, 10, tmp_path / "x.npy", decode=decode, progress=False, verify=True)


def test_parts_are_written_of_a_mixture_only(mixture, tmp_path):
    with pytest.raises(ValueError, match="beside: expected no part"):
        el.generate(KEY, mixture.shared, 10, tmp_path / "z.npy", beside=("part",), progress=False)
