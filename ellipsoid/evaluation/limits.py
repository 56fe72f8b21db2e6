"""Explanation of the limit on the images: the decoder, or the way to draw."""

import math

from ellipsoid.evaluation.recommend import choose_result, is_unlike
from ellipsoid.evaluation.results import Evaluation

# In these feature spaces a blur of 1 pixel moves the Fréchet distance by less than two standard errors
# (benchmarks/results.md).
_BLIND_TO_BLUR = ("pixels", "network")
_DECODER = "train longer, or with more filters or latents"
_DRAWS_ALONE = "The reference 'reconstructions' tells which draws are better."
_SAMPLER = "draw from a mixture or a flow, or at another level"


def limit(evaluation: Evaluation) -> str | None:
    """Tell whether the decoder or the way to draw limits the images, with a remedy.

    The distance between unseen images and their reconstructions measures the loss by the decoder alone, which
    no way to draw regains. The distance between training images and unseen ones measures the noise between
    two sets of so many real images. The rest of the distance between recommended draws and unseen images is
    due to the way to draw: Fréchet distances are squares, and independent errors add up in squares.

    Parameters
    ----------
    evaluation : Evaluation
        Evaluation with reconstructions and a floor.

    Returns
    -------
    str or None
        Explanation in a few sentences. It is None if reconstructions or training images were not measured, or
        if no candidate can be recommended.

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
    if is_unlike(reconstructions):
        return (
            "These features tell every decoded image from a real one: even the reconstructions of the unseen "
            f"images lie apart from these, at a Fréchet distance of {decoder}. So the decoder is the limit: "
            f"{_DECODER}. {_DRAWS_ALONE}"
        )
    told = (
        f"The Fréchet distance of unseen images is {decoder} to their reconstructions, {draws} to draws of "
        f"{chosen.name}, and {real} to training images."
    )
    if lost < 2 * math.hypot(draws.error, real.error):
        words = (
            f"{told} Draws are as close to unseen images as training images are, so nothing limits them here."
        )
        return words + _caution(evaluation.features)
    share = min(decoder.value / lost, 1.0)
    # The balance is twice the loss by the decoder less the whole loss: positive if the decoder loses more.
    balance, error = 2 * decoder.value - lost, math.hypot(2 * decoder.error, draws.error, real.error)
    words = f"{told} The decoder alone causes {share:.0%} of what draws lose against training images"
    if abs(balance) < 2 * error:
        words += f", so both count: {_DECODER}, and {_SAMPLER}."
    elif balance > 0:
        words += f", so the decoder is the limit: {_DECODER}. {_DRAWS_ALONE}"
    else:
        words += f", so the way to draw is the limit: {_SAMPLER}."
    return words + _caution(evaluation.features)


def _caution(features: str) -> str:
    if features not in _BLIND_TO_BLUR:
        return ""
    return (
        f" The features {features!r} hardly respond to blur, the main loss by a decoder: evaluate with the "
        "features 'efficientnet' as well."
    )
