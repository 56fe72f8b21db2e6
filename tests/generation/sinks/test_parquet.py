import numpy as np
import pytest
from batches import generate, latents_of


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_parquet_files_hold_the_row_number_and_the_columns(state, tmp_path, dtype):
    pytest.importorskip("pyarrow")
    from pyarrow import parquet

    path = generate(state, 250, tmp_path / "z.parquet", chunk=100, dtype=dtype, beside=("gauge",))
    table = parquet.read_table(path)
    assert table.column_names == ["row", "latents", "gauge"]
    np.testing.assert_array_equal(table["row"], np.arange(250))
    latents = np.stack(table["latents"].to_numpy())
    assert latents.dtype == dtype
    np.testing.assert_array_equal(latents, latents_of(state, 250, dtype=dtype))
