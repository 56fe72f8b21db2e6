import io
import json
import tracemalloc
import zipfile

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ellipsoid.archive import Format, digest, format_name, load_archive, save_archive
from ellipsoid.models import load_images

FORMAT = Format("ellipsoid.Example", 3, "saved example")
ARRAYS = {"a": np.arange(3), "b.c": np.eye(2, dtype=np.float32)}
DESCRIPTION = {"note": "text", "sizes": [1, 2], "none": None}


@pytest.fixture
def path(tmp_path):
    save_archive(tmp_path / "example", FORMAT, ARRAYS, DESCRIPTION)
    return tmp_path / "example"


def test_arrays_and_description_come_back(path):
    arrays, description = load_archive(path, FORMAT, lambda *entries: entries)
    assert description == DESCRIPTION
    for name, value in ARRAYS.items():
        np.testing.assert_array_equal(arrays[name], value)
        assert arrays[name].dtype == value.dtype
    assert format_name(path, "file") == "ellipsoid.Example"
    save_archive(path, FORMAT, ARRAYS)
    assert load_archive(path, FORMAT, lambda _, description: description) == {}


@pytest.mark.parametrize(
    "error", [ZeroDivisionError("1 / 0"), KeyError("a"), TypeError("no"), OSError("full")]
)
def test_errors_of_the_callers_code_pass_through(path, error):
    def has_a_bug(arrays, description):
        raise error

    with pytest.raises(type(error)) as caught:
        load_archive(path, FORMAT, has_a_bug)
    assert caught.value is error


def test_a_check_that_fails_names_the_file(path):
    def check(arrays, description):
        raise ValueError("a: expected something else; got [0 1 2]")

    message = rf"^path: {path} cannot be read as a saved example: a: expected something else; got \[0 1 2\]$"
    with pytest.raises(ValueError, match=message):
        load_archive(path, FORMAT, check)


@pytest.mark.parametrize(
    "check", [lambda arrays, _: arrays["z"], lambda _, description: description["z"]], ids=["array", "text"]
)
def test_an_entry_that_is_not_there(path, check):
    with pytest.raises(
        ValueError,
        match=rf"{path} cannot be read .*: (description\.)?z: expected an entry of this name; got none",
    ):
        load_archive(path, FORMAT, check)


@pytest.mark.parametrize(
    "other", [Format("ellipsoid.Example", 2, "saved example"), Format("other", 3, "thing")]
)
def test_another_format_is_not_checked(path, other):
    def check(arrays, description):
        raise AssertionError

    message = f"cannot be read as a {other.title}: expected {other}; got ellipsoid.Example 3"
    with pytest.raises(ValueError, match=message):
        load_archive(path, other, check)


def test_the_description_may_state_the_format(tmp_path):
    # The first version wrote feature networks in this form.
    description = json.dumps({"format": "ellipsoid.Example", "version": 3, "note": "old"})
    np.savez(tmp_path / "old.npz", description=description, a=np.zeros(2))
    assert format_name(tmp_path / "old.npz", "file") == "ellipsoid.Example"
    assert load_archive(tmp_path / "old.npz", FORMAT, lambda _, description: description["note"]) == "old"


def test_a_description_that_cannot_be_kept_leaves_no_file(tmp_path):
    with pytest.raises(TypeError, match="not JSON serializable"):
        save_archive(tmp_path / "x", FORMAT, ARRAYS, {"array": np.zeros(2)})
    with pytest.raises(ValueError, match="allow_pickle"):
        save_archive(tmp_path / "x", FORMAT, {"objects": np.array([{}], object)})
    assert list(tmp_path.iterdir()) == []


def test_digest():
    tree = {"a": np.arange(3), "b": [np.float32(2)]}
    same = {"a": jnp.arange(3, dtype=jnp.int32), "b": [jnp.float32(2)]}
    assert digest(jax.tree.map(jnp.asarray, tree)) == digest(same)
    others = [
        {"a": np.arange(3), "b": [2.0]},
        {"a": np.arange(3)[None], "b": [np.float32(2)]},
        {"a": np.arange(4)},
    ]
    assert len({digest(other) for other in (tree, *others)}) == 4


# --- declared sizes --------------------------------------------------------------------------------


def bomb(path, n_bytes=2**27):
    """Write a small file that unpacks to much."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "|u1", "fortran_order": False, "shape": (n_bytes,)}
    )
    deflated = zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED)
    with deflated as archive, archive.open("a.npy", "w") as member:
        member.write(header.getvalue())
        for _ in range(n_bytes // 2**20):
            member.write(bytes(2**20))
    return path


def lying(path):
    """Write a file whose header claims more than follows."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": (10**12,)})
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.npy", header.getvalue() + bytes(80))
    path.with_suffix(".npy").write_bytes(header.getvalue() + bytes(80))
    return path


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (bomb, r"claims to unpack from \d+,\d+ to 134,217,856 bytes"),
        (lying, "claims 8,000,000,000,000 bytes; the"),
    ],
)
def test_small_files_can_not_ask_for_much_memory(tmp_path, make, message):
    path = make(tmp_path / "x.npz")
    tracemalloc.start()
    with pytest.raises(ValueError, match=f"{path} cannot be read as a saved example: .*{message}"):
        load_archive(path, FORMAT, lambda *entries: entries)
    with pytest.raises(ValueError, match=f"{path}: not a readable .npy or .npz array.*{message}"):
        load_images(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**24
    if make is lying:
        with pytest.raises(ValueError, match=f"x.npy: not a readable .npy or .npz array.*{message}"):
            load_images(path.with_suffix(".npy"))


def test_what_others_have_compressed_is_read(path):
    arrays = dict(np.load(path))
    np.savez_compressed(path.with_suffix(".npz"), **arrays)
    read, _ = load_archive(path.with_suffix(".npz"), FORMAT, lambda *entries: entries)
    np.testing.assert_array_equal(read["a"], ARRAYS["a"])
