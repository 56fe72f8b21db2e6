"""
Does a generator copy?
======================

A generator is of no use if it repeats its training images. A small distance to a
training image proves little, because smooth, typical images are near to all others.
The test compares two distances: a copy is nearer to a training image than to any
unseen image. This example tests honest draws, and a cheat.
"""

# %%
# Two generators
# --------------
#
# The honest generator draws from a mixture of the training latents. The cheat takes
# training latents and adds a little noise.

import numpy as np

import ellipsoid as el
from ellipsoid import diagnostics, figures, metrics
from ellipsoid.models import decode_latents, procedural_faces
from ellipsoid.runs import load_autoencoder

latents, unseen_latents = np.load("run/latents.npy"), np.load("run/latents_test.npy")
rng = np.random.default_rng(0)

shape = el.fit_mixture(latents, 50, key=el.key(0))
honest = np.asarray(el.sample(el.key(1), shape, 500, law="normal", level=4).latents)
chosen = latents[rng.choice(len(latents), 500, replace=False)]
noise = rng.normal(size=chosen.shape).astype(np.float32)
cheat = chosen + 0.3 * latents.std(axis=0) * noise

# %%
# The test
# --------
#
# If a generator made images like unseen ones, 5 % of them would count as near. A
# larger share than chance explains means copies. The p-value is the probability of
# such a share, or a larger one, for a generator that does not copy.

for name, generated in {"honest": honest, "cheat": cheat}.items():
    result = metrics.copy_test(generated, latents, unseen_latents)
    print(
        f"{name:7} near {result.share.value:.1%}, expected {result.expected:.1%}, "
        f"p-value {result.p_value:.3f}"
    )

# %%
# Look at the nearest pairs
# -------------------------
#
# Numbers are not all. Each column shows an image of the cheat, and below it the
# nearest training image with its distance. Most of them are the image that the cheat
# has copied.

train_images = procedural_faces(6000, size=32, key=el.key(0)).images
autoencoder = load_autoencoder("run")


def show_nearest(generated):
    images = decode_latents(autoencoder, generated[:8])
    index, distances = diagnostics.nearest(images, train_images)
    return figures.plot_nearest(images, train_images[index], distances)


figure = show_nearest(cheat)

# %%
# The draws of the honest generator resemble training images too. They are no nearer
# to them than unseen faces are.

figure = show_nearest(honest)

# %%
# The command line tests folders of images, arrays and tables:
#
# .. code-block:: bash
#
#    ellipsoid copies generated/ --train train/ --unseen test/
