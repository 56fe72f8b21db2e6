"""Archives in the layout of WebDataset: one tar file per chunk."""

import io
import json
import os
import re
import tarfile
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ellipsoid.blocks import n_cores
from ellipsoid.generation.sinks.base import IMAGES, Columns, WritePlan, n_rows
from ellipsoid.generation.sinks.local import LocalSink
from ellipsoid.generation.sinks.png import COMPRESS_LEVEL, check_channels, encode_png


class TarSink(LocalSink):
    """WebDataset shards, one for each chunk: ``x.tar`` gives ``x-000000.tar``, ``x-000001.tar``, ...

    A row has the members ``ROW.json`` (row number, and the gauge if requested), ``ROW.png`` for an image, and
    ``ROW.latents.npy`` and similar ones for other columns.

    Parameters
    ----------
    path : path
        Name of the complete result, which is the stem of the shards' names.
    compress_level : int
        Compression level of zlib in the PNG images, 0 to 9.
    """

    format = "tar"
    _is_folder = False

    def __init__(self, path: str | os.PathLike[str], *, compress_level: int = COMPRESS_LEVEL) -> None:
        super().__init__(path)
        self.workers = n_cores()
        self._compress_level = compress_level

    def open(self, plan: WritePlan) -> None:
        """Receive the plan of the rows.

        Raises
        ------
        ValueError
            If PNG does not support the images' number of channels, or there are columns of bfloat16.
        """
        if IMAGES in plan.columns:
            check_channels(plan)
        super().open(plan)

    def _chunk_files(self, start: int, stop: int) -> list[str]:
        return [f"{self.path.stem}-{start // self.plan.chunk:06d}.tar"]

    def _is_target(self, name: str) -> bool:
        shard = re.fullmatch(rf"{re.escape(self.path.stem)}-(\d{{6,}})\.tar", name)
        if shard is None or int(shard[1]) >= self.plan.n_chunks:
            return False
        return [name] == self._chunk_files(*self.plan.rows(int(shard[1])))

    def _encode(self, start: int, columns: Columns) -> Iterator[tuple[str, memoryview]]:
        shard = io.BytesIO()
        with tarfile.open(fileobj=shard, mode="w", format=tarfile.USTAR_FORMAT) as archive:
            for i in range(n_rows(columns)):
                row = start + i
                for suffix, content in self._members(row, {name: columns[name][i] for name in columns}):
                    member = tarfile.TarInfo(f"{row:09d}.{suffix}")
                    member.size = len(content)
                    archive.addfile(member, io.BytesIO(content))
        yield self._chunk_files(start, start + n_rows(columns))[0], shard.getbuffer()

    def _members(self, row: int, values: Mapping[str, np.ndarray]) -> Iterator[tuple[str, bytes]]:
        about: dict[str, Any] = {"row": row}
        for name, value in values.items():
            if name == IMAGES:
                yield "png", encode_png(value, self._compress_level)
            elif value.ndim == 0:
                about[name] = float(value)
            else:
                array = io.BytesIO()
                np.save(array, value)
                yield f"{name}.npy", array.getvalue()
        yield "json", json.dumps(about).encode()
