"""Directions of attributes, against Gaussian groups whose discriminant and AUC are known."""

import math

import numpy as np
import pytest

import ellipsoid as el
from ellipsoid.directions import Direction, Directions


def phi(x):
    return 0.5 * math.erfc(-x / math.sqrt(2))


# Two groups with one covariance, whose means differ: everything about their discriminant is known.
D, N, DISTANCE = 8, 4000, 1.5
RNG = np.random.default_rng(0)
ROOT = RNG.normal(size=(D, D)) * np.geomspace(4, 0.5, D)
SHIFT = ROOT @ np.eye(D)[2] * DISTANCE  # of Mahalanobis length DISTANCE within the groups
SMILING = RNG.random(N) < 0.4
LATENTS = RNG.normal(size=(N, D)) @ ROOT.T + SMILING[:, None] * SHIFT + 3.0


@pytest.fixture(scope="module")
def smile():
    return el.direction(LATENTS, SMILING, name="smiling")


def angle(a, b, covariance):
    """Give the angle between two steps where latents of this covariance are whitened."""
    a, b = (np.linalg.solve(np.linalg.cholesky(covariance), v) for v in (a, b))
    return math.acos(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def points_along_the_discriminant(vector):
    """Tell whether the step is that of the exact discriminant, up to the error of N rows."""
    # In whitened scores each of D - 1 components of a unit vector errs by 1 / (sqrt(n p q) d), where d is the
    # distance of the means in standard deviations of all rows. The errors are squared, summed and rooted.
    distance = DISTANCE / math.sqrt(1 + 0.4 * 0.6 * DISTANCE**2)
    error = math.sqrt((D - 1) / (N * 0.4 * 0.6)) / distance
    return angle(vector, SHIFT, np.cov(LATENTS.T)) < 2 * error


def test_the_step_is_that_of_the_exact_discriminant(smile):
    assert points_along_the_discriminant(smile.vector)


def test_a_wrong_step_is_noticed(smile):
    """The discriminant's normal, the longest axis and a step of random labels are not that step."""
    assert not points_along_the_discriminant(smile.weights)
    assert not points_along_the_discriminant(np.linalg.eigh(np.cov(LATENTS.T))[1][:, -1])
    few = el.direction(LATENTS, np.random.default_rng(1).permutation(SMILING))
    assert not points_along_the_discriminant(few.vector)


def test_one_step_is_one_standard_deviation(smile):
    scores = smile.score(LATENTS)
    assert abs(scores.mean()) < 1e-4
    np.testing.assert_allclose(scores.std(ddof=1), 1, rtol=1e-5)
    np.testing.assert_allclose(smile.score(LATENTS[:5] + 2 * smile.vector), scores[:5] + 2, atol=1e-5)
    # The ellipsoid of one standard deviation ends where the step does.
    np.testing.assert_allclose(smile.vector @ np.linalg.solve(np.cov(LATENTS.T), smile.vector), 1, rtol=1e-4)


def test_auc_is_that_of_the_exact_discriminant(smile):
    exact = phi(DISTANCE / math.sqrt(2))
    assert abs(smile.auc - exact) < 4 * smile.auc_error
    # The error comes from the variances of the placements under normality, with groups of n p and n q rows
    # (Hanley, 1982).
    q1, q2 = exact / (2 - exact), 2 * exact**2 / (1 + exact)
    n, m = (~SMILING).sum(), SMILING.sum()
    hanley = math.sqrt(
        (exact * (1 - exact) + (m - 1) * (q1 - exact**2) + (n - 1) * (q2 - exact**2)) / (n * m)
    )
    assert abs(smile.auc_error / hanley - 1) < 0.1
    # The groups are normal along it, of the within-group deviation.
    within = 1 / math.sqrt(1 + 0.4 * 0.6 * DISTANCE**2)
    np.testing.assert_allclose(smile.group_std, within, rtol=0.05)
    np.testing.assert_allclose(np.diff(smile.group_mean), DISTANCE * within, rtol=0.1)
    assert smile.group_size.tolist() == [n, m]


def test_auc_of_no_difference_is_a_half_where_rows_are_few():
    """The AUC is a half; on the rows that it was learned from, it would be far more."""
    rng = np.random.default_rng(2)
    latents, labels = rng.normal(size=(60, 30)), np.arange(60) % 2 == 0
    none = el.direction(latents, labels)
    assert abs(none.auc - 0.5) < 4 * none.auc_error
    scores = none.score(latents)
    within_the_rows = np.mean(scores[labels][:, None] > scores[~labels])
    assert within_the_rows - 0.5 > 4 * none.auc_error


def test_the_error_covers_what_repeated_samples_show():
    rng, found = np.random.default_rng(3), []
    for _ in range(40):
        labels = rng.random(200) < 0.5
        found.append(el.direction(rng.normal(size=(200, 2)) + np.outer(labels, [1.5, 0]), labels))
    spread = np.std([one.auc for one in found], ddof=1)
    error = np.mean([one.auc_error for one in found])
    assert abs(error / spread - 1) < 4 / math.sqrt(2 * 39)


def test_nothing_depends_on_units_or_axes(smile):
    """The step of rotated, scaled and shifted latents is turned in the same way."""
    turn = np.linalg.qr(np.random.default_rng(4).normal(size=(D, D)))[0] * 7
    turned = el.direction(LATENTS @ turn.T - 5, SMILING)
    np.testing.assert_allclose(turned.vector, turn @ smile.vector, atol=2e-2 * np.linalg.norm(turned.vector))
    assert abs(turned.auc - smile.auc) < 0.1 * smile.auc_error
    away = el.direction(LATENTS, ~SMILING)
    np.testing.assert_allclose(away.vector, -smile.vector, atol=1e-5)
    assert away.auc == pytest.approx(smile.auc, abs=1e-6)


def test_subset_and_state_change_little(smile):
    fewer = el.direction(LATENTS, SMILING, max_rows=1000)
    assert fewer.group_size.tolist() == [1000, 1000]
    assert fewer == el.direction(LATENTS, SMILING, max_rows=1000)
    labelled = slice(0, 1500)
    state = el.fit(LATENTS)
    part = el.direction(LATENTS[labelled], SMILING[labelled], state=state)
    covariance = np.cov(LATENTS.T)
    assert angle(fewer.vector, smile.vector, covariance) < 0.15
    assert angle(part.vector, smile.vector, covariance) < 0.2
    np.testing.assert_allclose(part.score(LATENTS).std(ddof=1), 1, rtol=1e-4)
    # Constant latents, which have no variance, and components that a state leaves out, have no effect.
    wider = el.direction(np.column_stack([LATENTS, np.ones(N)]), SMILING)
    assert wider.vector[-1] == 0
    kept = state.truncate(3)
    held = el.direction(LATENTS, SMILING, state=kept)
    np.testing.assert_allclose(
        kept.reconstruct(kept.project(held.vector + kept.mean)) - kept.mean, held.vector, atol=1e-3
    )


# --- several ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def three():
    rng = np.random.default_rng(5)
    male = rng.random(3000) < 0.5
    attributes = {
        "male": male,
        "smiling": rng.random(3000) < np.where(male, 0.2, 0.8),
        "hat": rng.random(3000) < 0.3,
    }
    latents = rng.normal(size=(3000, 6))
    latents[:, :3] += 2 * np.stack(list(attributes.values()), axis=1)
    return latents, attributes


def test_attributes_that_go_together_correlate(three):
    learned = el.directions(*three)
    assert list(learned) == ["male", "smiling", "hat"]
    r = learned.correlations()
    np.testing.assert_allclose(r, r.T, atol=1e-5)
    np.testing.assert_allclose(np.diag(r), 1, atol=1e-5)
    assert r[0, 1] < -0.3
    assert abs(r[0, 2]) < 0.1
    assert learned["hat"] == el.direction(three[0], three[1]["hat"], name="hat")


def test_orthogonal_steps_leave_other_readings_alone(three):
    plain, held = el.directions(*three), el.directions(*three, orthogonal=["male"])
    assert held["male"] == plain["male"]
    for name in ("smiling", "hat"):
        assert abs(held[name].vector @ plain["male"].weights) < 1e-6
        np.testing.assert_allclose(held[name].vector @ held[name].weights, 1, atol=1e-6)
    assert abs(plain["smiling"].vector @ plain["male"].weights) > 0.3
    # The smile is still there, but separates less than with the help of sex.
    assert 0.7 < held["smiling"].auc < plain["smiling"].auc
    every = el.directions(*three, orthogonal=True)
    assert abs(every["male"].vector @ plain["smiling"].weights) < 1e-6
    one = el.direction(three[0], three[1]["smiling"], name="smiling", orthogonal=plain["male"])
    assert one == held["smiling"]


def test_classes_against_the_rest_and_each_other():
    rng = np.random.default_rng(6)
    labels = rng.integers(3, size=900)
    latents = rng.normal(size=(900, 4))
    latents[np.arange(900), labels] += 4
    learned = el.directions(latents, labels)
    assert list(learned) == ["0", "1", "2"]
    assert learned["1"] == el.direction(latents, labels, 1)
    assert learned["1"] == el.direction(latents, labels.astype(str), 1.0, name="1")
    pair = el.direction(latents, labels, 0, against=2)
    assert pair.group_size.sum() == np.isin(labels, (0, 2)).sum()
    assert pair.vector[0] > 0.5 > -0.5 > pair.vector[2]
    assert abs(pair.vector[1]) < 0.3


# --- files --------------------------------------------------------------------------------------------


def test_saved_directions_are_the_same(three, tmp_path):
    learned = el.directions(*three)
    learned.save(tmp_path / "all.npz")
    loaded = Directions.load(tmp_path / "all.npz")
    assert loaded == learned
    assert list(loaded) == list(learned)
    learned["hat"].save(tmp_path / "hat.npz")
    assert Direction.load(tmp_path / "hat.npz") == learned["hat"]
    assert Direction.load(tmp_path / "hat.npz") != learned["male"]
    with pytest.raises(ValueError, match=r"expected a file with one direction; got .*male, smiling, hat"):
        Direction.load(tmp_path / "all.npz")
    with pytest.raises(ValueError, match="expected one of ellipsoid"):
        el.load(tmp_path / "all.npz")
    with pytest.raises(ValueError, match="expected one or more of the same latents"):
        Directions().save(tmp_path / "none.npz")
    with pytest.raises(KeyError, match="expected one of male, smiling, hat; got 'beard'"):
        _ = learned["beard"]


def test_damaged_files_are_refused(smile, tmp_path):
    from ellipsoid.archive import save_archive
    from ellipsoid.directions import FORMAT

    smile.save(tmp_path / "good.npz")
    with np.load(tmp_path / "good.npz") as archive:
        arrays = {name: archive[name] for name in archive.files if not name.startswith("format")}
    for name, value, message in (
        ("vector", arrays["vector"] * np.nan, "vector: expected finite numbers"),
        ("auc", np.zeros(2), "auc: expected finite numbers of shape"),
        ("names", np.array([1]), "names: expected different names"),
        ("weights", arrays["weights"][:, :-1], "weights: expected finite numbers of shape"),
    ):
        save_archive(tmp_path / "bad.npz", FORMAT, arrays | {name: value})
        with pytest.raises(ValueError, match=message):
            Direction.load(tmp_path / "bad.npz")


def test_repr_says_what_it_is(smile, three):
    assert repr(smile).startswith("Direction 'smiling': 8 latents, AUC 0.8")
    assert len(repr(smile).splitlines()) == 2
    assert repr(el.directions(*three)).splitlines()[0] == "Directions: 3"


# --- bad input ----------------------------------------------------------------------------------------

FEW = np.arange(N) < 9


@pytest.mark.parametrize(
    ("error", "message", "latents", "labels", "options"),
    [
        (ValueError, "at least 10 rows with the attribute and 10 without; got 9 with", LATENTS, FEW, {}),
        (
            ValueError,
            "at least 10 rows with smile and .* got 4,000 with and 0 without",
            LATENTS,
            ["smile"] * N,
            {"label": "smile"},
        ),
        (
            ValueError,
            "labels: expected one for each of 4000 latents; got shape \\(3999,\\)",
            LATENTS,
            SMILING[1:],
            {},
        ),
        (ValueError, "missing ones .* in 1 of 4000 rows", LATENTS, [None, *SMILING[1:].tolist()], {}),
        (ValueError, "missing ones", LATENTS, np.where(FEW, np.nan, 1.0), {"label": 1}),
        (ValueError, "labels: expected no masked values", LATENTS, np.ma.masked_array(SMILING, FEW), {}),
        (ValueError, "latents: expected no masked values", np.ma.masked_greater(LATENTS, 5), SMILING, {}),
        (ValueError, "latents: expected finite values", np.where(LATENTS > 9, np.nan, LATENTS), SMILING, {}),
        (ValueError, "latents: expected at least 20 rows", LATENTS[:19], SMILING[:19], {}),
        (
            TypeError,
            "labels: expected booleans, or classes together with label",
            LATENTS,
            SMILING.astype(int),
            {},
        ),
        (TypeError, "got a mapping; pass it to ellipsoid.directions", LATENTS, {"smiling": SMILING}, {}),
        (ValueError, "label: expected one of 0, 1; got 2", LATENTS, SMILING.astype(int), {"label": 2}),
        (
            ValueError,
            "against: expected one of 0, 1; got 'x'",
            LATENTS,
            SMILING.astype(int),
            {"label": 1, "against": "x"},
        ),
        (
            ValueError,
            "against: expected another class",
            LATENTS,
            SMILING.astype(int),
            {"label": 1, "against": 1},
        ),
        (ValueError, "against: expected None without a label", LATENTS, SMILING, {"against": 1}),
        (TypeError, "label: expected text or a number", LATENTS, SMILING.astype(int), {"label": [1]}),
        (TypeError, "state: expected a PCAState", LATENTS, SMILING, {"state": 3}),
        (
            ValueError,
            "state: expected one with 8 latents; got 7",
            LATENTS,
            SMILING,
            {"state": el.fit(LATENTS[:, 1:])},
        ),
        (
            TypeError,
            "orthogonal: expected directions; got str",
            LATENTS,
            SMILING,
            {"orthogonal": ["smiling"]},
        ),
        (ValueError, "max_rows: expected at least 10; got 9", LATENTS, SMILING, {"max_rows": 9}),
    ],
)
def test_bad_input_is_named(error, message, latents, labels, options):
    with pytest.raises(error, match=message):
        el.direction(latents, labels, **options)


def test_bad_attributes_are_named(smile):
    attributes = {"smiling": SMILING}
    for error, message, given, options in (
        (TypeError, "got bare booleans", SMILING, {}),
        (TypeError, "expected booleans for 'x'", {"x": SMILING.astype(int)}, {}),
        (ValueError, "with 1 and 10 without; got 4,000 with", np.ones(N, int), {}),
        (ValueError, "orthogonal: expected False for classes", SMILING.astype(int), {"orthogonal": True}),
        (
            ValueError,
            "orthogonal: expected names among smiling; got 'male'",
            attributes,
            {"orthogonal": ["male"]},
        ),
        (TypeError, "orthogonal: expected True, False or names", attributes, {"orthogonal": "smiling"}),
    ):
        with pytest.raises(error, match=message):
            el.directions(LATENTS, given, **options)
    with pytest.raises(
        ValueError, match="orthogonal: expected directions of 7 latent dimensions; got 'smiling' of 8"
    ):
        el.direction(LATENTS[:, 1:], SMILING, orthogonal=smile)
    with pytest.raises(ValueError, match="orthogonal: expected fewer directions than components; got 1 of 1"):
        el.direction(LATENTS[:, :1], SMILING, orthogonal=el.direction(LATENTS[:, :1], SMILING))
