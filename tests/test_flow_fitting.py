"""Fitting a flow: reproducible, resumable, no worse than one Gaussian, and right by exact samples."""

import contextlib
import dataclasses
import re

import jax.numpy as jnp
import numpy as np
import pytest
from helpers import CENTRES, SMALL_FLOW, energy_score, two_clusters
from scipy.spatial.distance import cdist

import ellipsoid as el
from ellipsoid import flow_fitting

KEY = el.key(3)
FULL = {"law": "normal", "level": 6.0}


@pytest.fixture(scope="module")
def clusters():
    return two_clusters(2000)


@pytest.fixture
def bar(monkeypatch):
    """Progress of a training: the size and note of each move; it is interrupted after `stop_after` moves."""

    class Bar:
        stop_after = None

        def advance(self, count, note=""):
            self.moves.append((count, note))
            if len(self.moves) == self.stop_after:
                raise KeyboardInterrupt

        @contextlib.contextmanager
        def __call__(self, label, total, **options):
            self.moves = []
            yield self.advance

    monkeypatch.setattr(flow_fitting, "progress_bar", Bar())
    return flow_fitting.progress_bar


def fit_small(latents, labels, **settings):
    return el.fit_flow(latents, 3, labels=labels, **SMALL_FLOW | settings)


# --- pairs -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def gaussian():
    """Pairs of Gaussian latents and normal vectors, and the facts about the components."""
    rng = np.random.default_rng(0)
    latents = (rng.normal(size=(2048, 3)) * [8, 3, 0.5]).astype(np.float32)

    def make(n_labels):
        conditions = np.zeros((2048, n_labels), np.int8)
        data = flow_fitting._Data.of(el.fit(latents), latents, conditions, KEY)
        return data, data.pairs(np.arange(2048), np.random.default_rng(1))

    return make


def test_latents_are_paired_with_near_vectors(gaussian):
    data, (x0, x1, _) = gaussian(0)
    correlations = np.cos(data.frame.openings)
    assert correlations[0] > correlations[1] > correlations[2] >= 0
    _, (y0, y1, _) = gaussian(1)
    np.testing.assert_array_equal(y1, x1)
    np.testing.assert_array_equal(np.sort(y0, axis=0), np.sort(x0, axis=0))
    assert np.abs(np.mean(y0 * y1, axis=0)).max() < 5 / np.sqrt(2048)


def test_the_way_of_pairs_keeps_their_variance(gaussian):
    data, (x0, x1, _) = gaussian(0)

    def keeps_it(frame):
        middle = np.full(2048, flow_fitting.END / 2, np.float32)
        squares = np.square(flow_fitting._path(frame, x0, x1, middle)[0])
        return (np.abs(squares.mean(axis=0) - 1) < 5 * squares.std(axis=0) / np.sqrt(2048)).all()

    assert keeps_it(data.frame)
    right_angles = np.full_like(data.frame.openings, flow_fitting.END)
    assert not keeps_it(data.frame._replace(openings=right_angles))
    np.testing.assert_array_equal(gaussian(1)[0].frame.openings, right_angles)


# --- training ----------------------------------------------------------------------------------------


def test_what_is_not_gaussian_is_learned(small_flow):
    assert small_flow.loss < 0.9
    assert int(small_flow.base.n_samples) == 2000


def test_draws_vary_as_the_latents_do(small_flow):
    scores = np.asarray(small_flow.scale) * np.random.default_rng(1).normal(size=(2000, 3))

    variance = np.sum(small_flow.base.explained_variance)

    def varies_as_much(scores):
        squares = np.sum(np.square(small_flow.bend(scores)), axis=1) / variance
        return abs(squares.mean() - 1) < 5 * squares.std() / np.sqrt(len(squares))

    assert varies_as_much(scores)
    assert not varies_as_much(0.8 * scores)


def test_gaussian_latents_leave_the_pca(clusters, bar):
    z = np.random.default_rng(1).normal(size=(2000, 3)) @ np.random.default_rng(2).normal(size=(3, 4))
    flow = fit_small(z, clusters[1])
    assert flow.loss == pytest.approx(1, abs=0.02)
    assert not np.any(flow.velocity.last)
    np.testing.assert_allclose(flow.scale, flow.base.scale, rtol=1e-5)
    # Training ended before all steps were done, and said so.
    assert sum(count for count, _ in bar.moves) == SMALL_FLOW["steps"]
    assert re.fullmatch(r"stopped at \d+: the held-out loss no longer falls", bar.moves[-1][1])
    assert all(note.startswith("held-out loss") for _, note in bar.moves[:-1])


def test_an_interrupted_training_goes_on(small_flow, clusters, bar, tmp_path):
    path = tmp_path / "training.npz"
    bar.stop_after = 2
    with pytest.raises(KeyboardInterrupt):
        fit_small(*clusters, resume=path)
    bar.stop_after = None
    with pytest.raises(
        ValueError, match="expected a training of these latents, settings and key; got another"
    ):
        fit_small(*clusters, resume=path, key=KEY)
    with pytest.raises(
        ValueError, match="expected a training of these latents, settings and key; got another"
    ):
        fit_small(clusters[0] * 2, clusters[1], resume=path)
    flow = fit_small(*clusters, resume=path)
    assert flow == small_flow
    assert [count for count, _ in bar.moves] == [200, 100]
    assert not path.exists()


def test_an_interruption_amid_a_chunk_loses_nothing_before_it(
    small_flow, clusters, bar, monkeypatch, tmp_path
):
    path, losses, calls = tmp_path / "training.npz", flow_fitting._Judge.losses, []

    def stop_at_the_third(*arguments):
        calls.append(arguments)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return losses(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(flow_fitting._Judge, "losses", stop_at_the_third)
        with pytest.raises(KeyboardInterrupt):
            fit_small(*clusters, resume=path)
    assert fit_small(*clusters, resume=path) == small_flow
    assert [count for count, _ in bar.moves] == [200, 100]


def test_a_file_of_something_else_is_refused(small_flow, clusters, tmp_path):
    small_flow.save(tmp_path / "flow.npz")
    with pytest.raises(ValueError, match=r"cannot be read as a flow in training: .*; got ellipsoid\.Flow 1"):
        fit_small(*clusters, resume=tmp_path / "flow.npz")
    assert el.load(tmp_path / "flow.npz") == small_flow


def test_a_flow_is_that_of_its_key(small_flow, clusters, tmp_path):
    latents, labels = clusters
    np.save(tmp_path / "z.npy", latents)
    mapped = np.load(tmp_path / "z.npy", mmap_mode="r")
    assert fit_small(mapped, labels, key=el.key(0)) == small_flow
    other = fit_small(latents, labels, key=KEY)
    assert other.base == small_flow.base
    assert np.abs(other.velocity.last - small_flow.velocity.last).max() > 0.01


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"steps": 0}, ValueError, "steps: expected"),
        ({"steps": 1.5}, TypeError, "steps: expected"),
        ({"width": 0}, ValueError, "width: expected"),
        ({"depth": 0}, ValueError, "depth: expected"),
        ({"n_steps": 0}, ValueError, "n_steps: expected"),
        ({"n_components": 5}, ValueError, "n_components: expected"),
        ({"labels": ["a"]}, ValueError, "labels: expected one for each of 20 latents"),
        ({"labels": [None] * 20}, ValueError, "labels: expected one for each row; got missing ones"),
        ({"labels": {"a": np.ones(20)}}, TypeError, "labels: expected booleans for 'a'"),
        ({"key": 5}, TypeError, "key: expected"),
    ],
)
def test_bad_settings_are_refused(settings, error, message):
    latents = np.random.default_rng(0).normal(size=(20, 4))
    with pytest.raises(error, match=message):
        el.fit_flow(latents, **settings)


@pytest.mark.parametrize(
    ("latents", "error", "message"),
    [
        (np.ones((1, 3)), ValueError, "latents: expected at least two rows"),
        (np.ones((20, 3)), ValueError, "latents: expected"),
        (np.full((20, 3), np.nan), ValueError, "latents: expected finite values; got NaN or infinity"),
        (np.ones(20), ValueError, r"latents: expected shape \(n, D\)"),
        (np.full((20, 3), "a"), TypeError, "latents: expected real numbers"),
    ],
)
def test_bad_latents_are_refused(latents, error, message):
    with pytest.raises(error, match=message):
        el.fit_flow(latents)


# --- compared with the exact law ---------------------------------------------------------------------


@pytest.mark.slow
def test_labels_have_their_own_means():
    latents, labels = two_clusters(8000)
    names = {"low": labels == "low", "rare": np.random.default_rng(3).random(8000) < 0.3}
    names["rare"] &= latents[:, 0] > 3
    settings = {"steps": 1500, "width": 64, "depth": 2}
    for given, label, own in (
        (labels, "low", names["low"]),
        (labels, "high", ~names["low"]),
        (names, {"low": False}, ~names["low"]),
        (names, {"low": True, "rare": True}, names["low"] & names["rare"]),
    ):
        flow = el.fit_flow(latents, 3, labels=given, **settings)
        draws = np.asarray(el.sample(KEY, flow, 1000, label=label, **FULL).latents, float)
        exact = CENTRES[label] if isinstance(label, str) else latents[own].mean(axis=0)
        error = draws.std(axis=0) * np.sqrt(1 / len(draws) + 1 / own.sum())
        assert (np.abs(draws.mean(axis=0) - exact) < 5 * error).all()
        everything = np.asarray(el.sample(KEY, flow, 1000, **FULL).latents, float)
        error = everything.std(axis=0) * np.sqrt(1 / 1000 + 1 / 8000)
        assert (np.abs(everything.mean(axis=0) - latents.mean(axis=0)) < 5 * error).all()
        # Draws without a label are no draws of the label.
        assert not (np.abs(everything.mean(axis=0) - exact) < 5 * error).all()


def ring(rng, n):
    angle = rng.uniform(0, 2 * np.pi, n)
    return np.stack([np.cos(angle), np.sin(angle)], 1) + 0.1 * rng.normal(size=(n, 2))


def moons(rng, n):
    angle, upper = rng.uniform(0, np.pi, n), rng.random(n) < 0.5
    x = np.where(upper, np.cos(angle), 1 - np.cos(angle))
    y = np.where(upper, np.sin(angle), 0.5 - np.sin(angle))
    plane = np.stack([x, y], axis=1) + 0.1 * rng.normal(size=(n, 2))
    return np.concatenate([plane, 0.5 * rng.normal(size=(n, 1))], axis=1)


def banana(rng, n):
    x = rng.normal(size=(n, 3))
    return np.stack([x[:, 0], 0.3 * x[:, 1] + np.square(x[:, 0]), x[:, 2]], axis=1)


def heavy_tails(rng, n):
    return rng.standard_t(4, size=(n, 3)) @ np.float64([[2, 1, 0], [0, 1, 0.5], [0, 0, 0.5]])


KNOWN = {
    "moons": moons,
    "ring": ring,
    "clusters": lambda rng, n: 0.3 * rng.normal(size=(n, 3)) + rng.choice([-1, 1], size=(n, 1)),
    "heavy tails": heavy_tails,
    "banana": banana,
}


def energy_pvalue(a, b, n_permutations=999):
    """Give the share of random divisions of two samples with as large an energy distance as theirs."""
    distances = cdist(*[np.concatenate([a, b])] * 2)
    signs = np.ones((n_permutations + 1, len(distances)))
    signs[:, : len(a)] = -1
    np.random.default_rng(0).permuted(signs[1:], axis=1, out=signs[1:])
    # Twice the mean distance across less those within is, up to a factor, minus this.
    energies = -np.einsum("ij,ij->i", signs @ distances, signs)
    return np.mean(energies >= energies[0])


@pytest.mark.slow
@pytest.mark.parametrize("name", KNOWN)
def test_a_known_shape_is_learned(name):
    """Draws can't be told from as many exact samples, whereas those of wrong ways to draw can."""
    rng, n = np.random.default_rng(0), 2000
    shape = KNOWN[name]
    flow = el.fit_flow(shape(rng, 20_000), steps=1500, width=64, depth=2)
    exact = shape(rng, n)
    draws = el.sample(KEY, flow, n, **FULL)
    assert energy_pvalue(draws.latents, exact) > 1e-3
    assert flow.n_steps in flow_fitting.N_STEPS
    apart = np.asarray(flow.project(draws.latents)) - np.asarray(draws.scores)
    assert np.abs(apart / np.asarray(flow.scale)).max() < 1e-3
    turned = dataclasses.replace(flow, velocity=flow.velocity._replace(last=-flow.velocity.last))
    wrong = {
        "field of the wrong sign": turned.reconstruct(draws.scores),
        "time reversed": flow.base.reconstruct(flow.project(flow.base.reconstruct(draws.scores))),
        "scores of the PCA": flow.base.reconstruct(draws.scores),
    }
    for latents in wrong.values():
        assert energy_pvalue(np.asarray(latents), exact) == 1e-3


# --- latents of all kinds ----------------------------------------------------------------------------


def constant_columns(rng):
    z = ring(rng, 1000)
    return np.concatenate([z, np.full((1000, 2), 7.0)], axis=1)


LATENTS = {
    "constant columns": constant_columns,
    "duplicates": lambda rng: np.repeat(ring(rng, 250), 4, axis=0),
    "fewer rows than dimensions": lambda rng: rng.normal(size=(20, 40)),
    "fifty rows": lambda rng: ring(rng, 50),
    "heavy tails": lambda rng: rng.standard_t(2, size=(1000, 2)),
    "far clusters": lambda rng: rng.normal(size=(1000, 2)) + 1000 * rng.integers(2, size=(1000, 1)),
    "tiny": lambda rng: 1e-10 * ring(rng, 1000),
    "huge": lambda rng: 1e10 * ring(rng, 1000),
    "whole numbers": lambda rng: rng.integers(5, size=(1000, 2)),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", LATENTS)
def test_no_latents_make_a_flow_worse_than_one_gaussian(name):
    rng = np.random.default_rng(0)
    latents = LATENTS[name](rng).astype(np.float32)
    order = rng.permutation(len(latents))
    unseen, latents = latents[order[: len(order) // 2]], latents[order[len(order) // 2 :]]
    k = min(2, len(latents) - 1)
    flow, state = el.fit_flow(latents, k, **SMALL_FLOW), el.fit(latents, k)
    unit = float(np.max(state.scale))
    draws = [np.asarray(el.sample(KEY, shape, 1000, **FULL).latents) / unit for shape in (flow, state)]
    assert all(np.isfinite(one).all() for one in draws)
    assert el.contains(flow, draws[0] * np.float32(unit), level=6.0).all()
    worse = energy_score(draws[0], unseen / unit) - energy_score(draws[1], unseen / unit)
    # The scores of the latents, and those of the draws by themselves, are known up to their errors.
    among_draws = energy_score(draws[1], draws[1]).std() / np.sqrt(1000)
    error = np.hypot(worse.std() / np.sqrt(len(unseen)), among_draws)
    assert worse.mean() < 3 * error


@pytest.mark.slow
def test_two_rows():
    latents = np.float32([[0, 1, 2, 3], [4, 4, 4, 4]])
    flow = el.fit_flow(latents, 1, **SMALL_FLOW)
    assert not np.any(flow.velocity.last)
    np.testing.assert_allclose(flow.reconstruct(flow.project(latents)), latents, rtol=1e-6, atol=1e-5)
    assert flow.loss == jnp.float32(1)
