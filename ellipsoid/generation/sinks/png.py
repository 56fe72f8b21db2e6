"""Image files: a folder of numbered PNG images."""

import io
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ellipsoid.blocks import n_cores
from ellipsoid.generation.sinks.base import IMAGES, Columns, WritePlan
from ellipsoid.generation.sinks.local import LocalSink

# Drawn faces of 64 pixels: 5.8, 5.5, 5.2 and 5.1 KB at levels 1, 3, 6 and 9, in 1.0, 0.9, 1.4 and 3.5 ms.
COMPRESS_LEVEL = 3
_BLOCK_BYTES = 4096  # smallest space of a file on a typical file system


class PngSink(LocalSink):
    """Folder of numbered PNG images, in subfolders of 10,000 if there are more.

    Other columns lie beside them as arrays: ``latents.npy``, ``gauge.npy``.

    Parameters
    ----------
    path : path
        Name of the complete result.
    compress_level : int
        Compression level of zlib, 0 to 9.
    """

    format = "png"

    def __init__(self, path: str | os.PathLike[str], *, compress_level: int = COMPRESS_LEVEL) -> None:
        super().__init__(path)
        self.workers = n_cores()
        self._compress_level = compress_level

    def open(self, plan: WritePlan) -> None:
        """Receive the plan of the rows.

        Raises
        ------
        ValueError
            If there are no images, or PNG does not support their number of channels.
        """
        if IMAGES not in plan.columns:
            raise ValueError(
                f"sink: expected a .npy, .zarr, .tar or .parquet name for latents; got {self.name!r}; "
                f"images need decode"
            )
        check_channels(plan)
        super().open(plan)

    def _array_files(self) -> dict[str, str]:
        return {name: f"{name}.npy" for name in self.plan.columns if name != IMAGES}

    def _chunk_files(self, start: int, stop: int) -> Iterator[str]:
        digits = max(len(str(self.plan.n - 1)), 6)
        for row in range(start, stop):
            name = f"{row:0{digits}d}"
            yield f"{name[:-4]}/{name}.png" if self.plan.n > 10_000 else f"{name}.png"

    def _encode(self, start: int, columns: Columns) -> Iterator[tuple[str, bytes]]:
        images = columns[IMAGES]
        for name, image in zip(self._chunk_files(start, start + len(images)), images, strict=True):
            yield name, encode_png(image, self._compress_level)

    def _write_file(self, path: Path, content: bytes | memoryview) -> None:
        try:
            path.write_bytes(content)
        except FileNotFoundError:
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(content)

    def flush(self) -> None:
        """Return when everything written is on disk."""
        super().flush()
        # One call covers all files: a call for each file takes longer than its encoding.
        os.sync()

    def _row_bytes(self, first: Columns) -> float:
        # A file occupies whole blocks.
        sizes = [len(content) for _, content in self._encode(0, first)]
        blocks = sum(-(-size // _BLOCK_BYTES) * _BLOCK_BYTES for size in sizes)
        return super()._row_bytes(first) + (blocks - sum(sizes)) / len(sizes)


def check_channels(plan: WritePlan) -> None:
    """Raise ``ValueError`` unless PNG supports images like those of a plan."""
    shape = plan.columns[IMAGES].shape
    if shape[-1] not in (1, 3, 4):
        raise ValueError(f"decode: expected images of 1, 3 or 4 channels for PNG; got shape {shape}")


def encode_png(image: np.ndarray, compress_level: int) -> bytes:
    """Encode one uint8 image, shape (H, W, C), as a PNG file."""
    from PIL import Image

    file = io.BytesIO()
    image = image.squeeze(-1) if image.shape[-1] == 1 else image
    Image.fromarray(image).save(file, "PNG", compress_level=compress_level)
    return file.getvalue()
