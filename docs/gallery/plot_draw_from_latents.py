"""
Draw from latents
=================

An autoencoder maps images to latent vectors, and latent vectors to images. New images
need new latent vectors. Most latent vectors decode to garbage, because the training
latents fill only a small region of the latent space. This example learns the shape of
that region, draws inside it, and decodes the draws.
"""

# %%
# Latents in, a shape out
# -----------------------
#
# All that ``fit`` needs is an array with one latent vector in each row. These latents
# come from the autoencoder of the first example. Latents of any other encoder work in
# the same way.

import numpy as np

import ellipsoid as el
from ellipsoid import figures
from ellipsoid.models import decode_latents
from ellipsoid.runs import load_autoencoder

latents = np.load("run/latents.npy")
state = el.fit(latents)
state

# %%
# A shape in, new latents out
# ---------------------------
#
# Each draw lies inside the confidence ellipse of every pair of principal components.
# The gauge of a draw says how far inside: it is 0 at the centre and 1 on the
# boundary.

draws = el.sample(el.key(1), state, 1000)
print("latents:", draws.latents.shape)
print("largest gauge:", float(draws.gauge.max()))

# %%
# New images
# ----------
#
# The first row shows what happens without the shape: the decoder is given random
# numbers of the right size, each dimension within the range of the training latents.
# The other rows are draws from the shape at three levels. The level is the half-width
# of the ellipses in standard deviations. A low level gives typical, similar faces. A
# high level gives variety and, in the end, failures.

autoencoder = load_autoencoder("run")
low, high = latents.min(axis=0), latents.max(axis=0)
box = (
    np.random.default_rng(0)
    .uniform(low, high, size=(12, latents.shape[1]))
    .astype(np.float32)
)

rows = {"random box": box}
for level in (1, 1.645, 3):
    rows[f"level {level}"] = np.asarray(
        el.sample(el.key(1), state, 12, level=level).latents
    )

figure = figures.strips(
    [decode_latents(autoencoder, z) for z in rows.values()], list(rows)
)
# sphinx_gallery_thumbnail_number = 1

# %%
# Where the draws lie
# -------------------
#
# Each panel shows the plane of two principal components. The draws stay inside the
# ellipse of each plane, here at the default level of 1.645.

figure = figures.latent_planes(
    state, latents, draws, level=1.645, planes=[(0, 1), (0, 2), (1, 2)]
)
