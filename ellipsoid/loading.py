"""Loading of any shape, whichever was saved."""

import os

from ellipsoid import mixture, state
from ellipsoid.archive import format_name
from ellipsoid.mixture import Mixture
from ellipsoid.state import PCAState

#: Shapes by the name of the format in which they are saved.
SHAPES: dict[str, type[PCAState | Mixture]] = {
    state.FORMAT.name: PCAState,
    mixture.FORMAT.name: Mixture,
}


def load(path: str | os.PathLike[str]) -> PCAState | Mixture:
    """Read the shape that a file holds, of whatever kind. Nothing is ever unpickled.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is damaged, holds no shape, or is of another format version.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from ellipsoid import fit_mixture, load
    >>> mixture = fit_mixture(np.random.default_rng(0).normal(size=(100, 4)), 1)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     mixture.save(f"{folder}/mixture.npz")
    ...     load(f"{folder}/mixture.npz") == mixture
    True
    """
    name = format_name(path, "shape")
    if name not in SHAPES:
        raise ValueError(
            f"path: {path} cannot be read as a shape: expected one of {', '.join(SHAPES)}; got {name}"
        )
    return SHAPES[name].load(path)
