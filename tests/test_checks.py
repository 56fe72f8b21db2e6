import jax.numpy as jnp
import numpy as np
import pytest

import ellipsoid as el
from ellipsoid.checks import check_images, check_matrix, check_rows, check_unmasked
from ellipsoid.estimator import EllipsoidSampler
from ellipsoid.metrics import precision_recall, sliced_wasserstein

ROWS = np.random.default_rng(0).normal(size=(40, 3))
MASKED = np.ma.masked_array(ROWS, mask=False)
MASKED[5, 1] = MASKED[7, 1] = np.ma.masked


@pytest.mark.parametrize("masked", [MASKED, list(MASKED), tuple(MASKED)])
@pytest.mark.parametrize("check", [check_rows, check_matrix, check_unmasked])
def test_masked_values_are_refused(check, masked):
    with pytest.raises(
        ValueError, match=r"rows: expected no masked values; got 2; fill them with \.filled\(\)"
    ):
        check("rows", masked)


def test_a_mask_that_hides_nothing_is_dropped():
    for check in (check_rows, check_matrix, check_unmasked):
        rows = check("rows", np.ma.masked_array(ROWS, mask=False))
        assert type(rows) is np.ndarray
        np.testing.assert_array_equal(rows, ROWS)
    assert check_unmasked("rows", ROWS) is ROWS
    traced = jnp.asarray(ROWS)
    assert check_unmasked("rows", traced) is traced


def test_masked_images_are_refused():
    images = np.ma.masked_equal(np.arange(24, dtype=np.uint8).reshape(2, 2, 2, 3), 7)
    with pytest.raises(ValueError, match="images: expected no masked values; got 1; fill"):
        check_images("images", images)


STATE = el.fit(ROWS)
MIXTURE = el.fit_mixture(ROWS, 1)
LABELS = np.arange(40) % 2


@pytest.mark.parametrize(
    "call",
    [
        lambda: el.fit(MASKED),
        lambda: el.Moments.empty(3).update(MASKED),
        lambda: el.fit_mixture(MASKED, 2),
        lambda: el.fit_by_label(MASKED, LABELS),
        lambda: el.fit_by_label(ROWS, np.ma.masked_greater(np.arange(40), 30)),
        lambda: el.fit_by_label(ROWS, {"smiles": np.ma.masked_array(LABELS > 0, mask=LABELS > 0)}),
        lambda: STATE.project(MASKED),
        lambda: STATE.reconstruct(MASKED),
        lambda: MIXTURE.project(MASKED),
        lambda: MIXTURE.reconstruct(MASKED, np.zeros(40, int)),
        lambda: el.gauge(STATE, MASKED),
        lambda: el.contains(MIXTURE, MASKED),
        lambda: el.log_prob(STATE, MASKED, law="uniform"),
        lambda: el.log_prob(MIXTURE, latents=MASKED, law="uniform"),
        lambda: el.sample_at(el.key(0), STATE, np.ma.masked_equal([0, 1], 1)),
        lambda: EllipsoidSampler().fit(MASKED),
        lambda: sliced_wasserstein(MASKED, ROWS, el.key(0)),
        lambda: precision_recall(ROWS, MASKED),
    ],
)
def test_no_function_takes_masked_values(call):
    with pytest.raises(ValueError, match=r"\w+: expected no masked values; got \d+; fill"):
        call()
