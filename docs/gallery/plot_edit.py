"""
Attribute directions and editing
================================

The latents of faces with glasses lie in another place than those of faces without.
The direction from one group to the other is the direction of glasses. A step along it
puts glasses on a face, and the rest of the face stays much as it was.
"""

# %%
# Learn the directions
# --------------------
#
# A direction is learned from latents and one label for each of them. The AUC says how
# well the two groups are separated along it, by cross-validation: 0.5 is chance, and
# 1 is a perfect separation.

import numpy as np

import ellipsoid as el
from ellipsoid import figures
from ellipsoid.models import decode_latents, procedural_faces
from ellipsoid.runs import load_autoencoder

# These are the training images of the first example, with the attributes of each.
faces = procedural_faces(6000, size=32, key=el.key(0))
latents = np.load("run/latents.npy")
state = el.fit(latents)
directions = el.directions(latents, faces.attributes, state=state)

for name, direction in directions.items():
    print(f"{name:14} AUC {direction.auc:.3f}")

# %%
# Edit a face
# -----------
#
# An amount of 1 is one standard deviation of the latents along the direction.
# ``edit`` pulls a point that would leave the region back towards where it started, so
# that no edit ends in a place where the decoder knows nothing. Each row below moves
# the face in its middle along one direction.

autoencoder = load_autoencoder("run")
unseen_latents = np.load("run/latents_test.npy")
start = unseen_latents[4]
amounts = np.linspace(-3, 3, 9)

rows = {}
for name in ("glasses", "beard", "long_hair", "dark_hair", "turned_left"):
    edited = el.edit(state, np.tile(start, (9, 1)), directions[name], amounts, level=5)
    rows[name.replace("_", " ")] = decode_latents(autoencoder, edited.latents)

figure = figures.strips(
    list(rows.values()), list(rows), [f"{amount:+.2g}" for amount in amounts]
)
# sphinx_gallery_thumbnail_number = 1

# %%
# From one face to another
# ------------------------
#
# A straight line between two points inside a convex region stays inside. The gauge
# says so for every point of the way.

ends = unseen_latents[[4, 1]]
path = el.interpolate(state, *ends, 9, level=5)
figure = figures.strips(
    [decode_latents(autoencoder, path.latents)],
    ["path"],
    [f"gauge {gauge:.2f}" for gauge in path.gauge],
)
