"""Words on what limits the images: the decoder, or the way to draw."""

import math

from ellipsoid.evaluation.recommend import choose_result
from ellipsoid.evaluation.results import Evaluation

# In these spaces a blur of 1 pixel moves the Fréchet distance by less than two standard errors
# (benchmarks/results.md).
_BLIND_TO_BLUR = ("pixels", "network")
_DECODER = "train longer, or with more filters or latents"
_SAMPLER = "draw from a mixture, or at another level"


def limit(evaluation: Evaluation) -> str | None:
    """Say whether the decoder or the way to draw keeps draws from real images, and what to do about it.

    Reconstructions of unseen images, held against the images themselves, tell what the decoder loses alone:
    no way to draw regains it. Training images against unseen ones tell what is between two sets of so many
    real images. The rest of the distance between recommended draws and unseen images is due to the way to
    draw: Fréchet distances are squares, and errors that have nothing to do with each other add up in squares.

    Parameters
    ----------
    evaluation : Evaluation

    Returns
    -------
    str or None
        Some sentences; None where reconstructions or training images were not measured, or nothing can be
        recommended.

    Examples
    --------
    >>> from ellipsoid.evaluation import Evaluation
    >>> limit(Evaluation((), None, 500, 500, "", "pixels", "", False)) is None
    True
    """
    reconstructions, floor = evaluation.reconstructions, evaluation.floor
    if (
        reconstructions is None
        or floor is None
        or all(result.recipe is None for result in evaluation.results)
    ):
        return None
    chosen = choose_result(evaluation.results)[0]
    decoder, draws, real = (result.measurements.frechet for result in (reconstructions, chosen, floor))
    lost = draws.value - real.value
    told = (
        f"Fréchet distances: {decoder} between unseen images and their reconstructions, {draws} between them "
        f"and the draws of {chosen.name}, {real} between them and training images."
    )
    if lost < 2 * math.hypot(draws.error, real.error):
        words = (
            f"{told} So draws are as near to unseen images as training images are: nothing limits them here."
        )
        return words + _caution(evaluation.features)
    share = min(decoder.value / lost, 1.0)
    # Twice the decoder's part less all that is lost: positive where it is the larger half.
    balance, error = 2 * decoder.value - lost, math.hypot(2 * decoder.error, draws.error, real.error)
    words = f"{told} The decoder alone makes up {share:.0%} of what draws lose against training images"
    if abs(balance) < 2 * error:
        words += f", so both count: {_DECODER}, and {_SAMPLER}."
    elif balance > 0:
        words += f", so the decoder is the limit: {_DECODER}."
    else:
        words += f", so the way to draw is the limit: {_SAMPLER}."
    return words + _caution(evaluation.features)


def _caution(features: str) -> str:
    if features not in _BLIND_TO_BLUR:
        return ""
    return f" The features {features!r} hardly see blur, by which a decoder loses most: efficientnet sees it."
