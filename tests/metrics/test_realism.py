import numpy as np
import pytest
from brute_force import balls, gaussian, squares

from ellipsoid.metrics import authenticity, realism


def literal_realism(generated, real, k, pruned=True):
    radii = np.sqrt(balls(real, k))
    kept = radii <= np.median(radii) if pruned else slice(None)
    return (radii[kept] / np.sqrt(squares(generated, real[kept]))).max(axis=1)


@pytest.mark.usefixtures("block")
def test_realism_is_what_the_formula_says():
    real, generated = gaussian(250, 4, shift=100), gaussian(199, 4, 1, scale=1.5, shift=100)
    scores = realism(generated, real)
    np.testing.assert_allclose(scores, literal_realism(generated, real, 3), rtol=1e-4)
    # With the neighbourhoods of outliers, the score would differ.
    assert (literal_realism(generated, real, 3, pruned=False) > 1.1 * scores).any()
    centre = np.abs(generated - 100).max(axis=1)
    assert scores[centre < 1].mean() > 2 * scores[centre > 3].mean()
    assert (realism(real[:5], real) > 1e4)[balls(real, 3)[:5] <= np.median(balls(real, 3))].all()


@pytest.mark.usefixtures("block")
def test_authenticity_is_the_share_far_from_training_rows():
    train, generated = gaussian(250, 4), gaussian(199, 4, 1)
    generated[:50] = train[:50] + 1e-3
    apart = squares(generated, train)
    expected = apart.min(axis=1) > balls(train, 1)[apart.argmin(axis=1)]
    share = authenticity(generated, train)
    assert share.value == expected.mean()
    assert share.error == pytest.approx(np.sqrt(share.value * (1 - share.value) / 199))
    assert not expected[:50].any()
    honest = authenticity(gaussian(199, 4, 1), train)
    assert honest.value > share.value + 4 * share.error


def test_errors_name_the_argument():
    rows = gaussian(5, 2)
    with pytest.raises(ValueError, match="real: expected at least 6 rows"):
        realism(rows, rows, k=5)
    with pytest.raises(ValueError, match="k: expected at least 1; got 0"):
        realism(rows, rows, k=0)
    with pytest.raises(ValueError, match="train: expected at least 2 rows"):
        authenticity(rows, rows[:1])
