"""Readers of other projects: they read all that is written, and warn of nothing."""

import numpy as np
import polars
import pytest
import xarray
import zarr
from batches import draws_of, generate, images_of
from helpers import decode

BESIDE = ("latents", "scores", "gauge")


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_polars_reads_the_folder_of_tables(state, tmp_path, dtype):
    path = generate(state, 25, tmp_path / "z.parquet", chunk=10, dtype=dtype, beside=("scores", "gauge"))
    draws = draws_of(state, 25, dtype=dtype)
    for table in (polars.read_parquet(path), polars.scan_parquet(path).collect()):
        assert table.columns == ["row", "latents", "scores", "gauge"]
        np.testing.assert_array_equal(table["row"], np.arange(25))
        np.testing.assert_array_equal(table["latents"].to_numpy(), draws.latents)
        np.testing.assert_array_equal(table["scores"].to_numpy(), draws.scores)


@pytest.fixture(scope="module")
def group(state, tmp_path_factory):
    """Zarr group of images, with every column beside them."""
    path = tmp_path_factory.mktemp("group") / "x.zarr"
    return generate(state, 25, path, decode=decode, beside=BESIDE, chunk=10, batch=5)


def test_zarr_python_lists_and_reads_the_group(state, group):
    arrays = dict(zarr.open_group(group, mode="r").arrays())
    assert set(arrays) == {"images", *BESIDE}
    draws = draws_of(state, 25)
    np.testing.assert_array_equal(arrays["latents"][:], draws.latents)
    np.testing.assert_array_equal(arrays["scores"][3:21], draws.scores[3:21])
    np.testing.assert_array_equal(arrays["images"][:], images_of(draws.latents))


def test_xarray_reads_the_group(state, group):
    data = xarray.open_zarr(group)
    assert dict(data.sizes)["row"] == 25
    assert data.latents.dims == ("row", "latent")
    np.testing.assert_array_equal(data.latents, draws_of(state, 25).latents)
    assert set(data) == {"images", *BESIDE}
