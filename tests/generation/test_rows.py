import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from batches import contents, generate, images_of, latents_of, manifest_of
from helpers import decode
from jax.sharding import PartitionSpec

import ellipsoid as el
from ellipsoid.generation import rows

JUDGED = 2048  # Number of rows that are judged at a time: calls of this many are compiled already.


def ask(question, state, latents):
    """Ask `el.gauge` or `el.contains` about at most JUDGED latents."""
    return np.asarray(question(state, np.resize(latents, (JUDGED, latents.shape[1]))))[: len(latents)]


# --- decoding --------------------------------------------------------------------------------------


@pytest.mark.parametrize("chunk", [64, 100])
def test_images_are_rounded_and_clipped_never_wrapped(state, tmp_path, chunk):
    path = generate(state, 150, tmp_path / "x.npy", decode=decode, chunk=chunk, batch=32)
    floats = decode(latents_of(state, 150))
    assert floats.min() < 0
    assert floats.max() > 1
    images = np.load(path)
    assert images.dtype == np.uint8
    np.testing.assert_array_equal(images, np.round(np.clip(floats, 0, 1) * 255))


def test_a_decoder_is_always_given_whole_batches_and_compiled_once(state, tmp_path):
    traced = []

    @jax.jit
    def compiled(z):
        traced.append(z.shape)
        return jnp.reshape(z / 16 + 0.5, (-1, 3, 4, 1))

    path = generate(state, 70, tmp_path / "x.npy", decode=compiled, chunk=30, batch=16)
    assert traced == [(16, 12)]
    expected = np.clip(latents_of(state, 70).reshape(-1, 3, 4, 1) / 16 + 0.5, 0, 1) * 255
    np.testing.assert_array_equal(np.load(path), np.round(expected))


def test_a_decoder_may_write_to_what_it_is_given(state, tmp_path):
    def writing(z):
        images = decode(z)
        z[:] = 0
        return images

    generate(state, 70, tmp_path / "x.npy", decode=writing, chunk=30, batch=16, beside=("latents",))
    np.testing.assert_array_equal(np.load(tmp_path / "x.latents.npy"), latents_of(state, 70))
    np.testing.assert_array_equal(np.load(tmp_path / "x.npy"), images_of(latents_of(state, 70)))


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_a_decoder_may_use_its_buffer_again(state, tmp_path, dtype):
    buffer = np.empty((16, 4, 4, 3), dtype)

    def reusing(z):
        images = np.clip(decode(z), 0, 1)
        buffer[:] = np.round(images * 255) if dtype == np.uint8 else images
        return buffer

    generate(state, 70, tmp_path / "x.npy", decode=reusing, chunk=30, batch=16)
    np.testing.assert_array_equal(np.load(tmp_path / "x.npy"), images_of(latents_of(state, 70)))


@pytest.mark.parametrize(
    ("images", "error", "message"),
    [
        (lambda z: decode(z)[:-1], ValueError, "decode: expected images"),
        (lambda z: z, ValueError, "decode: expected images"),
        (lambda z: decode(z).astype(np.int32), TypeError, "uint8 images or floats"),
    ],
)
def test_a_decoder_that_gives_something_else_is_refused(state, tmp_path, images, error, message):
    with pytest.raises(error, match=message):
        generate(state, 10, tmp_path / "x.npy", decode=images)
    assert list(tmp_path.iterdir()) == []


def test_a_decoder_that_changes_its_mind_is_refused(state, tmp_path):
    calls = []

    def changing(z):
        calls.append(z)
        return decode(z)[:, : 4 if len(calls) < 3 else 2]

    with pytest.raises(RuntimeError, match="images: expected uint8 rows of shape"):
        generate(state, 30, tmp_path / "x.npy", decode=changing, batch=10, chunk=10)


# --- 16 bits ---------------------------------------------------------------------------------------


def test_sixteen_bit_latents_are_judged_as_they_are_written(state, tmp_path):
    n = JUDGED
    path = generate(state, n, tmp_path / "z.npy", dtype="float16", beside=("gauge", "scores"), chunk=999)
    draws = el.sample(el.key(3), state, n, law="uniform", dtype="float16")
    written = np.load(path)
    np.testing.assert_array_equal(written, draws.latents)
    np.testing.assert_array_equal(np.load(tmp_path / "z.scores.npy"), draws.scores)
    gauge = np.load(tmp_path / "z.gauge.npy")
    np.testing.assert_allclose(gauge, ask(el.gauge, state, written), rtol=1e-5)
    assert gauge.max() > 1
    outside = int(np.sum(~ask(el.contains, state, written)))
    assert 0 < outside < n
    assert manifest_of(path)["outside"] == outside
    assert manifest_of(path)["judged"] == n


def test_of_many_latents_an_even_share_is_judged(state, tmp_path, monkeypatch):
    monkeypatch.setattr(rows, "_JUDGED_ROWS", 1000)
    path = generate(state, 5003, tmp_path / "z.npy", dtype="float16", chunk=7 * 64)
    sample = np.load(path)[::5]
    assert manifest_of(path)["judged"] == len(sample)
    assert manifest_of(path)["outside"] == np.sum(~ask(el.contains, state, sample)) > 0


def test_the_gauge_does_not_depend_on_the_chunk(state, tmp_path):
    for chunk in (100, 3000):
        generate(state, 3000, tmp_path / f"{chunk}.npy", dtype="float16", beside=["gauge"], chunk=chunk)
    assert (tmp_path / "100.gauge.npy").read_bytes() == (tmp_path / "3000.gauge.npy").read_bytes()


def test_images_are_decoded_from_the_latents_that_are_written(state, tmp_path):
    generate(state, 300, tmp_path / "x.npy", dtype="float16", decode=decode, beside=("latents", "gauge"))
    latents = np.load(tmp_path / "x.latents.npy")
    assert latents.dtype == np.float16
    np.testing.assert_array_equal(np.load(tmp_path / "x.npy"), images_of(latents))


# --- devices ---------------------------------------------------------------------------------------


def test_several_devices_are_given_an_even_number_of_rows(state, tmp_path, monkeypatch):
    asked = []

    def sample_at(key, state, index, *, sharding, **options):
        asked.append((len(index), sharding))
        return el.sample_at(key, state, index, **options)

    monkeypatch.setattr(rows, "sample_at", sample_at)
    monkeypatch.setattr(rows, "Mesh", lambda devices, axis: devices)
    monkeypatch.setattr(rows, "NamedSharding", lambda mesh, spec: (mesh, spec))
    monkeypatch.setattr(jax, "local_devices", lambda: ["one", "two", "three"])
    path = generate(state, 250, tmp_path / "z.npy", chunk=100, batch=100)
    assert [n for n, _ in asked] == [102, 102, 102, 51]
    assert {(tuple(mesh), spec) for _, (mesh, spec) in asked} == {
        (("one", "two", "three"), PartitionSpec("rows"))
    }
    monkeypatch.undo()
    np.testing.assert_array_equal(np.load(path), latents_of(state, 250))


@pytest.mark.slow
def test_several_devices_leave_the_same_bytes(state, tmp_path):
    """The devices need a separate process, since JAX makes them when it starts."""
    code = """
import sys
import jax
import ellipsoid as el
state = el.PCAState.load(sys.argv[1])
assert jax.local_device_count() == 3
options = {"law": "uniform", "chunk": 100, "dtype": "float16", "beside": ("scores", "gauge")}
el.generate(el.key(3), state, 1000, sys.argv[2], progress=False, **options)
"""
    state.save(tmp_path / "state.npz")
    environment = os.environ | {"XLA_FLAGS": "--xla_force_host_platform_device_count=3"}
    command = [sys.executable, "-c", code, str(tmp_path / "state.npz"), str(tmp_path / "three" / "z.npy")]
    subprocess.run(command, env=environment, check=True)
    options = {"chunk": 100, "dtype": "float16", "beside": ("scores", "gauge")}
    generate(state, 1000, tmp_path / "one" / "z.npy", **options)
    assert contents(tmp_path / "three") == contents(tmp_path / "one")


# --- the contract of decoders ----------------------------------------------------------------------


def test_the_range_of_a_decoder_is_said_and_kept(state, tmp_path):
    def doubled(z):
        return 2 * decode(z) - 1

    with pytest.raises(ValueError, match=r"output of tanh: pass pixel_range=\(-1, 1\)"):
        generate(state, 40, tmp_path / "x.npy", decode=lambda z: doubled(z).clip(-1, 1), batch=16)
    with pytest.raises(TypeError, match="pixel_range: expected two numbers"):
        generate(state, 40, tmp_path / "x.npy", decode=doubled, pixel_range=1)
    assert list(tmp_path.iterdir()) == []
    images = [
        np.load(generate(state, 40, tmp_path / name, batch=16, **options))
        for name, options in (
            ("usual.npy", {"decode": decode}),
            ("tanh.npy", {"decode": doubled, "pixel_range": (-1, 1)}),
        )
    ]
    assert np.abs(np.subtract(*images, dtype=int)).max() <= 1  # the doubled ones are rounded twice
    configurations = [manifest_of(tmp_path / name)["configuration"] for name in ("usual.npy", "tanh.npy")]
    assert "pixel_range" not in configurations[0]
    assert configurations[1]["pixel_range"] == [-1, 1]
    with pytest.raises(ValueError, match=r"pixel_range: \[-1.0, 1.0\], not null"):
        generate(state, 40, tmp_path / "tanh.npy", decode=decode, batch=16, verify=True)


def test_a_decoder_may_use_one_memory_for_all_its_images(state, tmp_path):
    buffer = np.empty((16, 4, 4, 3), np.uint8)

    def reusing(z):
        buffer[:] = images_of(z)
        return buffer

    path = generate(state, 70, tmp_path / "x.npy", decode=reusing, batch=16)
    np.testing.assert_array_equal(np.load(path), images_of(latents_of(state, 70)))
