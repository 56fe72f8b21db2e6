"""Tables: a folder of Parquet files."""

import io
from collections.abc import Iterator

import numpy as np

from ellipsoid.generation.sinks.base import IMAGES, Columns, WritePlan, n_rows, require
from ellipsoid.generation.sinks.local import LocalSink


class ParquetSink(LocalSink):
    """Folder of Parquet files, one for each chunk, with the row number and all columns except images.

    It needs pyarrow: ``pip install "ellipsoid[parquet]"``.

    Parameters
    ----------
    path : path
        Name of the complete result.
    """

    format = "parquet"
    _manifest_is_inside = False  # some readers take every file of such a folder for a table
    _former_manifest = "_manifest.json"

    def open(self, plan: WritePlan) -> None:
        """Receive the plan of the rows.

        Raises
        ------
        ValueError
            If there are images, or columns of bfloat16.
        ImportError
            If pyarrow is missing.
        """
        require("pyarrow", "parquet")
        if IMAGES in plan.columns:
            raise ValueError(
                "sink: expected a folder, .npy, .zarr or .tar for images; got .parquet, which takes latents"
            )
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
        # Neither dictionaries nor compressors shrink random digits.
        parquet.write_table(pa.table(table), file, compression="NONE", use_dictionary=False)
        yield self._chunk_files(start, stop)[0], file.getbuffer()
