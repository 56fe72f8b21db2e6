"""Drawing many rows into a file or a folder, a chunk at a time: memory is bounded by the chunk."""

import os
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np

from ellipsoid.files import published
from ellipsoid.progress import progress_bar
from ellipsoid.sampling import DEFAULT_LEVEL, sample_at
from ellipsoid.state import PCAState


def generate(
    key: jax.Array,
    state: PCAState,
    n: int,
    sink: str | os.PathLike[str],
    *,
    law: str = "redraw",
    level: float = DEFAULT_LEVEL,
    fact: float = 1.0,
    region: str = "pairwise",
    decode: Callable[[np.ndarray], np.ndarray] | None = None,
    chunk: int = 16_384,
    progress: bool = True,
) -> Path:
    """Write the first `n` rows of a sequence, as latents or as decoded images.

    The result appears under its name when it is complete, by a rename; what is interrupted leaves
    nothing behind.

    Parameters
    ----------
    key, state, n, law, level, fact, region
        As for :func:`ellipsoid.sample`.
    sink : path
        A name that ends in ``.npy``: one array, ``(n, D)`` float32 latents or ``(n, H, W, C)`` uint8
        images. Any other name: a folder of numbered PNG images.
    decode : callable, optional
        From ``(m, D)`` latents to ``(m, H, W, C)`` images: uint8, or floats in [0, 1], which are
        rounded and clipped. Latents are written when absent.
    chunk : int
        Rows in memory at a time. It does not change the result.
    progress : bool
        Show a progress bar.

    Returns
    -------
    Path
        What was written.

    Raises
    ------
    FileExistsError
        If the sink exists.
    ValueError
        For a folder without `decode`, and as :func:`ellipsoid.sample`.
    """
    sink = Path(sink)
    if sink.exists():
        raise FileExistsError(f"{sink} exists: choose another name, or remove it first")
    if sink.suffix != ".npy" and decode is None:
        raise ValueError(f"sink: latents are written to a .npy file, got {str(sink)!r}; images need decode")
    if n < 1 or chunk < 1:
        raise ValueError(f"n and chunk: expected at least 1, got {n} and {chunk}")

    def rows():
        for start in range(0, n, chunk):
            index = np.arange(start, min(start + chunk, n), dtype=np.uint64)
            draws = sample_at(key, state, index, law=law, level=level, fact=fact, region=region)
            latents = np.asarray(draws.latents)
            yield start, latents if decode is None else _as_uint8(decode(latents))

    write = _write_array if sink.suffix == ".npy" else _write_folder
    with published(sink) as temporary, progress_bar(sink.name, n, enabled=progress) as advance:
        write(temporary, rows(), n, advance)
    return sink


def _as_uint8(images) -> np.ndarray:
    images = np.asarray(images)
    if images.dtype == np.uint8:
        return images
    return np.round(np.clip(images, 0, 1) * 255).astype(np.uint8)


def _write_array(path, chunks, n, advance):
    array = None
    for start, rows in chunks:
        if array is None:
            array = np.lib.format.open_memmap(path, "w+", dtype=rows.dtype, shape=(n, *rows.shape[1:]))
        array[start : start + len(rows)] = rows
        advance(len(rows))
    assert array is not None
    array.flush()


def _write_folder(path, chunks, n, advance):
    from PIL import Image

    path.mkdir()
    digits = max(len(str(n - 1)), 6)
    for start, images in chunks:
        for number, image in enumerate(images, start):
            Image.fromarray(image.squeeze(-1) if image.shape[-1] == 1 else image).save(
                path / f"{number:0{digits}d}.png"
            )
            advance(1)
