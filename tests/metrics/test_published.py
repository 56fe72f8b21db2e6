"""The figures of papers: what each protocol computes, and what it warns of."""

import numpy as np
import pytest

from ellipsoid.metrics import frechet_distance, kernel_distance, precision_recall, published_figures
from ellipsoid.metrics.published import _PROTOCOLS


@pytest.fixture(scope="module")
def rows():
    generated, real = np.random.default_rng(0).normal(size=(2, 60, 5))
    return (1.2 * generated + 0.3).astype(np.float32), real[:50].astype(np.float32)


def test_inception(rows):
    generated, real = rows
    figures = published_figures(generated, real).figures
    assert list(figures) == ["FID", "KID x 1000", "precision", "recall"]
    assert figures["FID"] == frechet_distance(generated, real)
    assert figures["KID x 1000"].value == 1000 * kernel_distance(generated, real).value
    expected = precision_recall(real, generated, k=3)
    assert (figures["precision"], figures["recall"]) == expected


def test_dinov2(rows):
    generated, real = rows
    figures = published_figures(generated, real, "dinov2").figures
    assert list(figures) == ["FD-DINOv2", "precision", "recall"]
    assert figures["FD-DINOv2"] == frechet_distance(generated, real)
    assert (figures["precision"], figures["recall"]) == precision_recall(real, generated, k=5)


def test_clip_is_the_discrepancy_of_unit_vectors(rows):
    def kernel(a, b):
        return np.exp(-np.square(a[:, None] - b[None]).sum(axis=2) / 200)

    def mean_of_others(a):
        return (kernel(a, a).sum() - len(a)) / (len(a) * (len(a) - 1))

    def cmmd(x, y):
        return 1000 * (mean_of_others(x) + mean_of_others(y) - 2 * kernel(x, y).mean())

    generated, real = rows
    figures = published_figures(generated, real, "clip").figures
    units = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in rows]
    assert figures["CMMD"].value == pytest.approx(cmmd(*units), rel=1e-4)
    assert figures["CMMD"].value != pytest.approx(cmmd(generated, real), rel=0.1)


@pytest.mark.parametrize("protocol", ["inception", "dinov2", "clip"])
def test_what_keeps_figures_from_being_compared(rows, protocol):
    few, other = published_figures(*rows, protocol, comparable=False).caveats
    assert few.endswith("0,000 generated and real images or more; these are 60 and 50.")
    assert other.startswith("These features are not those that ")
    assert len(published_figures(*rows, protocol).caveats) == 1


def test_enough_rows_have_no_caveat(rows, monkeypatch):
    for usual, count in ((50, 0), (51, 1)):
        monkeypatch.setitem(_PROTOCOLS, "clip", _PROTOCOLS["clip"]._replace(usual=usual))
        assert len(published_figures(*rows, "clip").caveats) == count


def test_bad_input_is_refused(rows):
    generated, real = rows
    with pytest.raises(ValueError, match="protocol: expected one of inception, dinov2, clip; got 'vgg'"):
        published_figures(generated, real, "vgg")
    with pytest.raises(ValueError, match=r"real: expected at least 6 rows; got shape \(5, 5\)"):
        published_figures(generated, real[:5], "dinov2")
    with pytest.raises(ValueError, match="generated: expected rows of a length above 0; got 1 of length 0"):
        published_figures(generated * (np.arange(60) != 3)[:, None], real, "clip")
