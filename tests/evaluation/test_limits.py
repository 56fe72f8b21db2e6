"""Whether the decoder or the way to draw sets the limit."""

from dataclasses import replace

import numpy as np
import pytest
from evaluation_toys import made_up_evaluation, made_up_result

from ellipsoid.evaluation import TRAINING_IMAGES, limit
from ellipsoid.metrics import Estimate


def limited(make_state, decoder, draws, real, error=0.1, features="efficientnet"):
    """Give the words for these three Fréchet distances."""

    def result(family, value, **options):
        made = made_up_result(family, 0.8, 0.8, **options)
        return replace(made, measurements=replace(made.measurements, frechet=Estimate(value, error)))

    state = make_state(3)
    evaluation = made_up_evaluation(
        "digest", [result("normal", draws, spread=0.7, state=state)], result(TRAINING_IMAGES, real)
    )
    reconstructions = result("unseen reconstructions", decoder)
    return limit(replace(evaluation, features=features, reconstructions=reconstructions))


@pytest.mark.parametrize(
    ("distances", "words"),
    [
        (
            (8, 11, 1),
            "80% of what draws lose against training images, so the decoder is the limit",
        ),
        (
            (2, 11, 1),
            "20% of what draws lose against training images, so the way to draw is the limit",
        ),
        (
            (5.1, 11, 1),
            "51% of what draws lose against training images, so both count",
        ),
        ((0.5, 1.2, 1), "nothing limits them here"),
    ],
)
def test_what_loses_most_is_the_limit(make_state, distances, words):
    said = limited(make_state, *distances)
    assert words in said
    assert "blur" not in said
    assert limited(make_state, *distances, features="network").endswith("features 'efficientnet' as well.")


def test_what_a_decoder_loses_is_seen_and_nothing_else(toy, evaluation):
    assert evaluation.reconstructions.measurements.frechet.value == pytest.approx(0, abs=1e-9)
    assert "nothing limits them here" in limit(evaluation)
    candidate = toy.counted()[0]

    def flat(z):
        return (toy.decode(z) // 2 + 64).astype(np.uint8)

    of_flat = toy.evaluate([candidate], decode=flat).reconstructions.measurements.frechet
    assert of_flat.value > 5 * of_flat.error
    assert toy.evaluate([candidate], real_latents=None).reconstructions is None
    assert limit(toy.evaluate([candidate], real_latents=None)) is None
