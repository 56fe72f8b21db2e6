"""Files that may be written, and those that no command replaces."""

import os
from pathlib import Path

import pytest

from ellipsoid.outputs import check_output


def read(path):
    if path.read_text() != "ours":
        raise ValueError


def check(path, **options):
    return check_output("out", path, "a saved thing", read, **options)


def test_new_files_and_those_of_the_same_kind(tmp_path):
    path = tmp_path / "x.npz"
    assert check(path) == path
    path.write_text("ours")
    assert check(path) == path
    (tmp_path / "link").symlink_to(path)
    assert check(tmp_path / "link") == tmp_path / "link"


def test_others_are_replaced_by_force_only(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match=r"out: expected a new file or a saved thing; got .*notes\.txt"):
        check(tmp_path / "notes.txt")
    check(tmp_path / "notes.txt", force=True)


@pytest.mark.parametrize("force", [False, True])
def test_what_is_not_even_replaced_by_force(tmp_path, force):
    source = tmp_path / "x.npy"
    source.write_text("ours")
    (tmp_path / "hard").hardlink_to(source)
    (tmp_path / "soft").symlink_to(source)
    for name in ("x.npy", "hard", "soft"):
        with pytest.raises(FileExistsError, match="expected a file other than the inputs"):
            check(tmp_path / name, inputs=[source], force=force)
    with pytest.raises(FileExistsError, match="expected a file other than the inputs"):
        check(tmp_path / "new", inputs=[tmp_path / "." / "new"], force=force)
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path / "fifo", Path("/dev/null")):
        with pytest.raises(FileExistsError, match="a device, FIFO or socket"):
            check(path, force=force)
    with pytest.raises(FileExistsError, match="a folder"):
        check(tmp_path, force=force)
    with pytest.raises(FileNotFoundError, match="nowhere does not exist"):
        check(tmp_path / "nowhere" / "x", force=force)
    with pytest.raises(FileNotFoundError, match=r"x\.npy is not a folder"):
        check(source / "x", force=force)


def test_a_folder_that_can_not_be_written_in(tmp_path, monkeypatch):
    monkeypatch.setattr("os.access", lambda *_: False)
    with pytest.raises(PermissionError, match="expected a writable folder"):
        check(tmp_path / "x")
