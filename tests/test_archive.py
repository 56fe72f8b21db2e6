import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ellipsoid.archive import Format, digest, format_name, load_archive, save_archive

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
    # The first feature networks were written so.
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
