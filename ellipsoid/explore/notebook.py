"""The page in a cell of a notebook."""

import html
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
from jax.typing import ArrayLike

from ellipsoid.explore.opening import open_space
from ellipsoid.explore.server import Listener, check_installed
from ellipsoid.pixels import PIXEL_RANGE


class Explorer:
    """Page that is served until it is closed or the program ends. A notebook shows it in the cell.

    Attributes
    ----------
    address : str
        Address of the page with its token. Any browser on this machine can open it.
    height : int
        Height of the page in the cell, in pixels.
    """

    def __init__(self, listener: Listener, height: int):
        self.address, self.height = listener.address, height
        self._listener = listener
        self._thread = threading.Thread(target=listener.serve, daemon=True, name="ellipsoid-explore")
        self._thread.start()

    def __repr__(self) -> str:
        return f"Explorer: {self.address}"

    def _repr_html_(self) -> str:
        address = html.escape(self.address)
        return (
            f'<iframe src="{address}" width="100%" height="{self.height}" style="border:0" '
            f'title="Explorer of latents"></iframe><p><a href="{address}" target="_blank" rel="noopener">'
            "Open the page in a window of its own</a></p>"
        )

    def close(self) -> None:
        """Stop the server."""
        self._listener.stop()
        self._thread.join()


def explore(
    run_or_shape: Any,
    *,
    decode: Callable[[np.ndarray], ArrayLike] | None = None,
    encode: Callable[[np.ndarray], ArrayLike] | None = None,
    latents: ArrayLike | None = None,
    images: np.ndarray | None = None,
    pixel_range: tuple[float, float] = PIXEL_RANGE,
    height: int = 900,
) -> Explorer:
    """Explore a run, or a shape with a decoder of any framework, on a page in the cell of a notebook.

    It is the same page as that of ``ellipsoid explore``. It is available only on this machine, at an address
    with a token.

    Parameters
    ----------
    run_or_shape : path, shape, or mapping of str to shape
        Run folder, file of a shape (.npz), shape, or several shapes of the same latents by name.
    decode : callable, optional
        Function from float32 latents (n, D) to images (n, H, W, C), uint8 or floats in `pixel_range`. The
        default is the decoder of the run; a shape without a decoder is shown as points.
    encode : callable, optional
        Function from uint8 images (n, H, W, C) to latents (n, D), for pictures that are dropped on the page.
    latents : array, shape (n, D), optional
        Latents of the training images, for the gauge and the map.
    images : array, shape (n, H, W, C), optional
        Training images in the same order, uint8, for the nearest neighbours.
    pixel_range : tuple of two float
        Black and white of decoded images that are floats: (-1, 1) for a decoder that ends in tanh.
    height : int
        Height of the page in the cell, in pixels.

    Returns
    -------
    Explorer
        Page that the cell shows if it is the last value. ``close()`` stops it.

    Raises
    ------
    ImportError
        If starlette or uvicorn is not installed.
    FileNotFoundError
        If the file does not exist, or the folder holds neither a shape nor latents.
    OSError
        If the machine has no free port.
    TypeError, ValueError
        If a file is damaged, if `run_or_shape` is something else, or if the arguments do not fit each other.

    Examples
    --------
    >>> import ellipsoid as el
    >>> state = el.fit(np.random.default_rng(0).normal(size=(500, 12)))
    >>> page = el.explore(state, decode=lambda z: (1 + np.tanh(z)).reshape(-1, 2, 2, 3) / 2)
    >>> page.address
    'http://127.0.0.1:.../?token=...'
    >>> page.close()
    """
    check_installed()
    space = open_space(
        run_or_shape,
        decode=decode,
        encode=encode,
        latents=None if latents is None else np.asarray(latents),
        images=images,
        pixel_range=pixel_range,
    )
    space.warm_up()
    return Explorer(Listener(space, framed=True), height)
