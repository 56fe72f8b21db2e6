"""
Judge the images, and choose how to draw
========================================

Fidelity and diversity pull in opposite directions: draws near the centre are clear
and alike, draws far out are varied and less clear. An evaluation measures both for
many ways to draw, by the images that they decode to. It compares them with faces that
neither the autoencoder nor the shape has seen.
"""

# %%
# The candidates
# --------------
#
# Each family is one way to draw, and its dial is the spread: the standard deviation
# of the draws over that of the latents. The families here are one ellipsoid with two
# distributions, a mixture of 50 parts, and a plain Gaussian.

import textwrap

import numpy as np

import ellipsoid as el
from ellipsoid import evaluation, figures
from ellipsoid.models import decode_latents, feature_space, procedural_faces
from ellipsoid.runs import load_autoencoder

latents, unseen_latents = np.load("run/latents.npy"), np.load("run/latents_test.npy")
images = procedural_faces(7000, size=32, key=el.key(0)).images
train_images, unseen_images = images[:6000], images[6000:]
autoencoder = load_autoencoder("run")
state = el.fit(latents)

spreads = (0.4, 0.6, 0.8, 0.95)
families = [evaluation.FAMILIES["redraw"], evaluation.FAMILIES["normal"]]
candidates = [
    evaluation.region_candidate(family, state, spread)
    for family in families
    for spread in spreads
]
candidates += evaluation.candidates_of_mixture(latents, 50, state.n_components)
gaussian = evaluation.baseline_candidates(latents, spreads, slow=False)
candidates += [
    candidate for candidate in gaussian if candidate.family == evaluation.GAUSSIAN
]

# %%
# Measure
# -------
#
# Images are compared in a feature space. The simplest one is that of the pixels on
# their principal axes. It needs no network, and it is blind to much that a person
# sees. ``feature_space("network")`` and ``feature_space("efficientnet")`` are better
# judges, and slower ones.

measured = evaluation.evaluate(
    latents,
    state,
    lambda z: decode_latents(autoencoder, z),
    unseen_images,
    feature_space("pixels", images=train_images),
    key=el.key(1),
    train_images=train_images,
    real_latents=unseen_latents,
    candidates=candidates,
    progress=False,
)

for line in evaluation.table_of(measured):
    print(
        f"{line['setting']:33} precision {line['precision']}   recall {line['recall']}"
    )

# %%
# The curves
# ----------
#
# Each line is one family, and the numbers are its spread. Further up means clearer
# images, and further to the right means more variety.


def curve(results):
    found = [result.measurements for result in results]
    return figures.Curve(
        [m.recall.value for m in found],
        [m.precision.value for m in found],
        [m.recall.error for m in found],
        [m.precision.error for m in found],
        dial=[result.spread for result in results],
    )


curves = {
    family.name: curve(
        [result for result in measured.results if result.family == family]
    )
    for family in dict.fromkeys(candidate.family for candidate in candidates)
}
figure = figures.fidelity_diversity(curves, {})
# sphinx_gallery_thumbnail_number = 1

# %%
# The recommendation
# ------------------
#
# For each goal there is one recommendation: fidelity, balanced or diversity. It
# brings the settings for the draws.

best = el.recommend(state, measured, goal="balanced")
print(textwrap.fill(best.reason, 88))

draws = el.sample(el.key(2), best.state, 24, **best.options)
figure = el.images_of(draws, lambda z: decode_latents(autoencoder, z), columns=12)

# %%
# The command line evaluates a whole run, with all families:
#
# .. code-block:: bash
#
#    ellipsoid evaluate run
