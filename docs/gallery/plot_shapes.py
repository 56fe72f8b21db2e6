"""
One ellipsoid, a mixture, and a flow
====================================

One ellipsoid describes latents that form one compact cloud with elliptic contours.
Many latents don't. A mixture describes them by several ellipsoids. A flow is a
learned reversible map that bends an ellipsoid into the shape of the latents. This
example compares the three on the faces of the first example.
"""

# %%
# Three shapes
# ------------
#
# The draws of all three come from the same function. ``law="normal"`` spreads the
# draws as the latents themselves are spread, and level 4 keeps almost all of that
# distribution.

import numpy as np

import ellipsoid as el
from ellipsoid import figures
from ellipsoid.models import decode_latents
from ellipsoid.runs import load_autoencoder

latents, unseen_latents = np.load("run/latents.npy"), np.load("run/latents_test.npy")

shapes = {
    "one ellipsoid": el.fit(latents),
    "mixture": el.fit_mixture(latents, 100, key=el.key(1)),
    "flow": el.fit_flow(latents, steps=1000, key=el.key(2)),
}
draws = {
    name: el.sample(el.key(3), shape, 1000, law="normal", level=4)
    for name, shape in shapes.items()
}

# %%
# The images
# ----------
#
# One ellipsoid also covers the space between the kinds of faces that occur. The
# decoder answers with a blend: half a beard, or the ghost of a pair of glasses. The
# mixture and the flow leave that space out.

autoencoder = load_autoencoder("run")
images = [
    decode_latents(autoencoder, np.asarray(drawn.latents[:10]))
    for drawn in draws.values()
]
figure = figures.strips(images, list(draws))
# sphinx_gallery_thumbnail_number = 1

# %%
# The numbers
# -----------
#
# Precision is the share of the draws that lie among unseen latents. Recall is the
# share of the unseen latents that lie among the draws. Both are shares between 0 and
# 1, with a standard error.

from ellipsoid import metrics

for name, drawn in draws.items():
    precision, recall = metrics.precision_recall(
        unseen_latents, np.asarray(drawn.latents)
    )
    print(f"{name:13}  precision {precision}  recall {recall}")

# %%
# ``el.fit_best(latents)`` makes this comparison by itself. It fits all three, judges
# them by latents that it holds out, and returns the simplest of the best.
