"""
Train an autoencoder
====================

The examples of this gallery share one small autoencoder. This script trains it on
drawn faces of 32 x 32 pixels and writes the run folder ``run``, which the other
scripts read. The autoencoder is a plain one: a convolutional encoder, a convolutional
decoder, and the mean squared error between them.
"""

# %%
# The faces
# ---------
#
# The package can draw faces, so the example needs no download. The first 6,000 faces
# are the training images. The other 1,000 faces are kept back, and all examples judge
# by them.

from pathlib import Path

from flax import nnx

import ellipsoid as el
from ellipsoid import figures
from ellipsoid.models import (
    Autoencoder,
    AutoencoderConfig,
    TrainConfig,
    decode_latents,
    encode_images,
    procedural_faces,
    train,
)
from ellipsoid.runs import fit_run, load_autoencoder

faces = procedural_faces(7000, size=32, key=el.key(0))
train_images, unseen_images = faces.images[:6000], faces.images[6000:]

figure = figures.image_grid(train_images[:24], columns=12)

# %%
# The training
# ------------
#
# The training writes checkpoints and its history into the folder. ``fit_run`` encodes
# all training images. It writes their latents to ``run/latents.npy``, and the shape
# of these latents to ``run/state.npz``.

if not Path("run/state.npz").exists():
    autoencoder = Autoencoder(
        AutoencoderConfig(image_size=32, latent_dim=32), rngs=nnx.Rngs(0)
    )
    train(
        autoencoder,
        train_images,
        TrainConfig(steps=2000, batch_size=32),
        out="run",
        progress=False,
    )
    fit_run(autoencoder, train_images, "run", test=unseen_images, progress=False)

sorted(path.name for path in Path("run").iterdir())

# %%
# The result
# ----------
#
# The reconstructions of unseen faces show how much the decoder can draw. No way of
# drawing latents gives sharper images than these.

autoencoder = load_autoencoder("run")
reconstructions = decode_latents(
    autoencoder, encode_images(autoencoder, unseen_images[:8])
)
figure = figures.plot_reconstructions(unseen_images[:8], reconstructions)

# %%
# The command line does the same with one command. It trains longer, on larger faces:
#
# .. code-block:: bash
#
#    ellipsoid demo --out run
