"""Nearest training images of generated ones, to see whether those are copies."""

import math

import numpy as np

from ellipsoid.checks import check_count, check_images
from ellipsoid.metrics.near_pairs import nearest_rows


def nearest(
    queries: np.ndarray,
    references: np.ndarray,
    count: int = 1,
) -> tuple[np.ndarray, np.ndarray]:
    """Find the nearest reference images of each query image.

    Parameters
    ----------
    queries : (m, H, W, C) uint8 array
        Images whose neighbours are searched for.
    references : (n, H, W, C) uint8 array
        Images to search. They may be memory-mapped, and are read once, in blocks.
    count : int
        Number of neighbours of each query.

    Returns
    -------
    index : ndarray, shape (m, count)
        Indices of the references, nearest first. Among equally near ones, the lower index comes first.
    distance : ndarray, shape (m, count)
        Root mean square difference of the pixels, from 0 to 1.

    Raises
    ------
    TypeError
        If the images are not uint8 NumPy arrays, or `count` is not an integer.
    ValueError
        If the images differ in shape, or `count` is not between 1 and n.

    Examples
    --------
    >>> import numpy as np
    >>> from ellipsoid.diagnostics import nearest
    >>> grey_levels = np.array([0, 51, 204, 255], np.uint8)
    >>> images = np.broadcast_to(grey_levels[:, None, None, None], (4, 6, 6, 3))
    >>> index, distance = nearest(images[:1], images, 2)
    >>> index, distance.round(6)
    (array([[0, 1]]), array([[0. , 0.2]]))
    """
    references = check_images("references", references)
    queries = check_images("queries", queries, references.shape[1:])
    count = check_count("count", count)
    if count > len(references):
        raise ValueError(f"count: expected 1 to {len(references)}, the number of references; got {count}")
    index, distance = nearest_rows(queries, references, count)
    return index, distance / (255 * math.sqrt(math.prod(references.shape[1:])))
