from functools import cache

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from ellipsoid.models.faces import FACTOR_CORRELATION, FACTOR_NAMES, draw_face, procedural_faces

SIZE = 32
LATERAL = ["parting", "gaze", "head_turn", "head_tilt", "light"]


@cache
def _compiled(size):
    return jax.jit(jax.vmap(lambda factors: draw_face(factors, size)))


def draw(factors, size=SIZE):
    """Draw images of any number of faces, in blocks of one shape so that each size is compiled once."""
    factors = np.asarray(factors, np.float32)
    padded = np.resize(factors, (-(-len(factors) // 16) * 16, len(FACTOR_NAMES)))
    blocks = [np.asarray(_compiled(size)(padded[i : i + 16])) for i in range(0, len(padded), 16)]
    return np.concatenate(blocks)[: len(factors)]


def with_factor(factors, name, value):
    changed = np.array(factors)
    changed[..., FACTOR_NAMES.index(name)] = value
    return changed


@pytest.fixture(scope="module")
def faces():
    return procedural_faces(300, size=SIZE, key=jr.key(0))


@pytest.fixture(scope="module")
def some_factors(faces):
    return faces.factors[:16]


def test_shapes_and_types(faces):
    assert faces.images.shape == (300, SIZE, SIZE, 3)
    assert faces.images.dtype == np.uint8
    assert faces.factors.shape == (300, len(FACTOR_NAMES))
    assert faces.factors.dtype == np.float32
    for name, values in faces.attributes.items():
        assert values.shape == (300,), name
        assert values.dtype == bool, name
        assert 0.05 < values.mean() < 0.95, name


def test_a_face_depends_on_its_key_and_row_alone(faces):
    few = procedural_faces(10, size=SIZE, key=jr.key(0))
    np.testing.assert_array_equal(few.images, faces.images[:10])
    np.testing.assert_array_equal(few.factors, faces.factors[:10])
    for name, values in few.attributes.items():
        np.testing.assert_array_equal(values, faces.attributes[name][:10])
    other = procedural_faces(10, size=SIZE, key=jr.key(1))
    assert (other.factors != few.factors).all()
    assert (other.images != few.images).any(axis=(1, 2, 3)).all()


@pytest.mark.parametrize("impl", ["threefry2x32", "rbg"])
def test_factors_are_the_same_at_any_size(impl):
    # The sizes are drawn in blocks of different length; plain rbg would give different numbers there.
    key = jr.key(3, impl=impl)
    small, large = procedural_faces(70, size=16, key=key), procedural_faces(70, size=SIZE, key=key)
    np.testing.assert_allclose(small.factors, large.factors, atol=1e-6)


@pytest.mark.slow
def test_images_are_the_drawn_factors(faces):
    drawn = draw(faces.factors[:32])
    assert drawn.dtype == np.float32
    assert drawn.min() >= 0
    assert drawn.max() <= 1
    assert np.abs(255 * drawn - faces.images[:32]).max() <= 0.51
    assert faces.images.std(axis=0).mean() > 20  # grey levels: no two faces look alike


def _largest_deviations(factors):
    """Give the largest deviations of covariance and fourth moments from the law, in standard errors."""
    n = len(factors)
    covariance_error = np.sqrt((1 + FACTOR_CORRELATION**2) / n)
    covariance = np.abs(factors.T @ factors / n - FACTOR_CORRELATION) / covariance_error
    fourth_moment = np.abs((factors**4).mean(axis=0) - 3) / np.sqrt(96 / n)
    mean = np.abs(factors.mean(axis=0)) * np.sqrt(n)
    return mean.max(), covariance.max(), fourth_moment.max()


def test_factors_are_correlated_normals():
    n = 20_000
    factors = procedural_faces(n, size=16, key=jr.key(4)).factors.astype(np.float64)
    assert max(_largest_deviations(factors)) < 5
    generator = np.random.default_rng(0)
    independent = generator.standard_normal(factors.shape)
    flat = generator.uniform(-np.sqrt(3), np.sqrt(3), factors.shape)
    assert _largest_deviations(independent)[1] > 5
    assert _largest_deviations(flat)[2] > 5


@pytest.mark.parametrize("name", FACTOR_NAMES)
def test_every_factor_changes_every_face_smoothly(name, some_factors):
    low, high = draw(with_factor(some_factors, name, -2)), draw(with_factor(some_factors, name, 2))
    assert np.abs(high - low).mean(axis=(1, 2, 3)).min() > 2e-4
    path = np.tile(some_factors[0], (64, 1))
    sweep = draw(with_factor(path, name, np.linspace(-2.5, 2.5, 64)))
    steps = np.abs(np.diff(sweep, axis=0)).mean(axis=(1, 2, 3))
    # A feature that appeared at once would make one step as long as the whole sweep.
    assert steps.max() < 0.2 * steps.sum()


@pytest.mark.parametrize("name", ["glasses", "beard"])
def test_an_absent_feature_leaves_no_trace(name, faces, some_factors):
    present = faces.attributes[name]
    factor = faces.factors[:, FACTOR_NAMES.index(name)]
    threshold = factor[present].min()
    assert factor[~present].max() <= threshold
    np.testing.assert_array_equal(
        draw(with_factor(some_factors, name, factor[~present].max())),
        draw(with_factor(some_factors, name, -3)),
    )
    shown = np.abs(draw(with_factor(some_factors, name, 2)) - draw(with_factor(some_factors, name, -3)))
    assert shown.max(axis=(1, 2, 3)).min() > 0.1


def test_extreme_factors_stay_in_range():
    signs = np.random.default_rng(0).choice([-1.0, 1.0], (64, len(FACTOR_NAMES)))
    for extreme in (3.5 * signs, 1e3 * signs):
        drawn = draw(extreme)
        assert np.isfinite(drawn).all()
        assert drawn.min() >= 0
        assert drawn.max() <= 1
        assert drawn.std(axis=(1, 2)).min() > 0.03


@pytest.mark.slow
def test_edges_are_antialiased_at_any_size(some_factors):
    small, large = draw(some_factors, SIZE), draw(some_factors, 3 * SIZE)
    averaged = large.reshape(16, SIZE, 3, SIZE, 3, 3).mean(axis=(2, 4))
    error = np.abs(small - averaged).mean()
    aliased = np.abs(large[:, 1::3, 1::3] - averaged).mean()
    assert error < 0.01
    assert error < 0.6 * aliased


def test_lateral_factors_mirror_the_face(some_factors):
    mirrored = np.array(some_factors)
    for name in LATERAL:
        mirrored = with_factor(mirrored, name, -mirrored[:, FACTOR_NAMES.index(name)])
    flipped = draw(some_factors)[:, :, ::-1]
    np.testing.assert_allclose(draw(mirrored), flipped, atol=1e-3)
    assert np.abs(draw(some_factors) - flipped).mean(axis=(1, 2, 3)).min() > 0.01


@pytest.mark.parametrize(
    ("name", "half_width", "weight"),
    [
        ("gaze", 8, lambda rgb: np.maximum(0.35 - rgb.mean(axis=-1), 0)),  # pupils
        ("head_turn", 8, lambda rgb: np.maximum(rgb.min(axis=-1) - 0.6, 0)),  # whites of the eyes
        ("light", 8, lambda rgb: rgb.mean(axis=-1)),
        ("head_tilt", 16, lambda rgb: 1 - rgb.mean(axis=-1)),  # the head before the bright wall
    ],
)
def test_positive_is_to_the_right(name, half_width, weight):
    eye_rows = draw(with_factor(np.zeros((1, len(FACTOR_NAMES))), name, 2))[0, 14:19]
    weights = weight(eye_rows[:, SIZE // 2 - half_width : SIZE // 2 + half_width])
    columns = np.arange(2 * half_width) - (half_width - 0.5)
    assert (weights * columns).sum() / weights.sum() > 0.1  # pixels


def test_hair_and_skin_take_their_colours(some_factors):
    darkness = {}
    for name, sign in (("hair_tone", -1), ("skin_tone", 1)):
        deep, pale = (draw(with_factor(some_factors, name, sign * value)).mean() for value in (2, -2))
        darkness[name] = pale - deep
    assert min(darkness.values()) > 0.03


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"n": 0}, ValueError, "n: expected at least 1; got 0"),
        ({"n": 2.0}, TypeError, "n: expected an integer; got float"),
        ({"n": True}, TypeError, "n: expected an integer; got bool"),
        ({"size": 8}, ValueError, "size: expected at least 16; got 8"),
        ({"size": "64"}, TypeError, "size: expected an integer; got str"),
        ({"key": 0}, TypeError, "key: expected one typed JAX key, .*; got 0"),
        (
            {"key": jnp.zeros(2, jnp.uint32)},
            TypeError,
            r"key: expected one typed JAX key, .*; got uint32 of shape \(2,\)",
        ),
        ({"key": jr.split(jr.key(0))}, TypeError, r"key: expected one typed JAX key, .*of shape \(2,\)"),
    ],
)
def test_bad_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        procedural_faces(**({"n": 1, "size": SIZE, "key": jr.key(0)} | arguments))


def test_the_key_is_not_optional():
    with pytest.raises(TypeError, match="key"):
        procedural_faces(1)


def test_draw_face_takes_one_face(some_factors):
    with pytest.raises(ValueError, match=r"factors: expected shape \(28,\), one face; got \(16, 28\)"):
        draw_face(some_factors, SIZE)
