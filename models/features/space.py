"""The interface of every feature space."""

from typing import Protocol

import numpy as np

#: Number of images whose features are computed at a time.
BATCH_SIZE = 256


class FeatureSpace(Protocol):
    """A map from images to the features that they are judged by.

    Any callable from uint8 images to float32 features will do where only distances are needed. The spaces of
    this package can also describe themselves.
    """

    @property
    def name(self) -> str:
        """Name of the space, one word."""
        ...

    @property
    def comparable(self) -> bool:
        """Whether figures in these features can be compared with published ones."""
        ...

    @property
    def note(self) -> str:
        """One sentence that says what the features are."""
        ...

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Give the features ``(n, F)`` float32 of uint8 images ``(n, height, width, channels)``."""
        ...
