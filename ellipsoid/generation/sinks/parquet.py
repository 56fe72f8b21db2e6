"""Tables: a folder of Parquet files."""

import io
from collections.abc import Iterator

import numpy as np

from ellipsoid.generation.sinks.base import IMAGES, Columns, WritePlan, n_rows, require
from ellipsoid.generation.sinks.local import LocalSink


class ParquetSink(LocalSink):
    """A folder of Parquet files, one for each chunk: the row number and all columns but images.

    Needs pyarrow: ``pip install "ellipsoid[parquet]"``.

    Parameters
    ----------
    path : path
        Name of the complete result.
    """

    format = "parquet"
    _manifest_name = "_manifest.json"  # readers of such folders pass over names that begin so

    def open(self, plan: WritePlan) -> None:
        """Learn what will be written.

        Raises
        ------
        ValueError
            If there are images, or columns of bfloat16.
        ImportError
            If pyarrow is missing.
        """
        require("pyarrow", "parquet")
        if IMAGES in plan.columns:
            raise ValueError("sink: .parquet is for latents; write images to a folder, .npy, .zarr or .tar")
        super().open(plan)

    def _chunk_files(self, start: int, stop: int) -> list[str]:
        return [f"part-{start // self.plan.chunk:06d}.parquet"]

    def _encode(self, start: int, columns: Columns) -> Iterator[tuple[str, memoryview]]:
        import pyarrow as pa
        from pyarrow import parquet

        stop = start + n_rows(columns)
        table = {"row": pa.array(np.arange(start, stop, dtype=np.uint64))}
        for name, values in columns.items():
            flat = pa.array(values.reshape(-1))
            table[name] = (
                pa.FixedSizeListArray.from_arrays(flat, values.shape[1]) if values.ndim > 1 else flat
            )
        file = io.BytesIO()
        # Neither a dictionary nor a compressor makes less of random digits.
        parquet.write_table(pa.table(table), file, compression="NONE", use_dictionary=False)
        yield self._chunk_files(start, stop)[0], file.getbuffer()
