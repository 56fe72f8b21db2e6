import numpy as np
import pytest
from batches import contents, generate, latents_of, manifest_of


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


def test_the_folder_holds_tables_alone_and_its_manifest_lies_beside_it(state, tmp_path):
    pytest.importorskip("pyarrow")
    path = generate(state, 250, tmp_path / "z.parquet", chunk=100)
    assert sorted(entry.name for entry in path.iterdir()) == [f"part-{i:06d}.parquet" for i in range(3)]
    assert manifest_of(path)["rows"] == 250
    # Earlier versions put it inside.
    (tmp_path / "z.parquet.json").rename(path / "_manifest.json")
    before = contents(tmp_path)
    assert generate(state, 250, path) == path
    assert generate(state, 250, path, verify=True) == path
    with pytest.raises(FileExistsError, match=r"z\.parquet, which exists"):
        generate(state, 250, path, level=2.0)
    assert contents(tmp_path) == before
