import os
import subprocess
import sys

import pytest

from ellipsoid.files import create_file, followed, published, replace_file


def test_a_file_is_replaced_and_folders_are_made(tmp_path):
    path = tmp_path / "a" / "b"
    for content in (b"first", b"second"):
        replace_file(path, content)
        assert path.read_bytes() == content
    assert [entry.name for entry in path.parent.iterdir()] == ["b"]


@pytest.mark.parametrize("error", [OSError("no space"), KeyboardInterrupt()])
def test_a_write_that_fails_keeps_the_old_file(tmp_path, monkeypatch, error):
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def fail(*_):
        raise error

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(type(error)):
        replace_file(path, b"new")
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_a_folder_appears_when_it_is_complete(tmp_path):
    path = tmp_path / "folder"

    def fail():
        with published(path) as temporary:
            temporary.mkdir()
            (temporary / "part").touch()
            raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        fail()
    assert list(tmp_path.iterdir()) == []
    with published(path) as temporary:
        temporary.mkdir()
        (temporary / "part").touch()
        assert not path.exists()
    assert [entry.name for entry in path.iterdir()] == ["part"]


@pytest.mark.parametrize("write", [replace_file, create_file])
def test_what_a_killed_process_has_left_is_removed_by_the_next_one(tmp_path, write):
    """Nothing else is removed: neither files of a living process, nor files of others."""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    with published(tmp_path / "other") as temporary:
        temporary.touch()
        living = temporary.name.replace("other", "a.npy")
    (tmp_path / "other").unlink()
    before, pid, start, after = living.rsplit("-", 3)
    dead = f"{before}-{ended.pid}-{start}-{after}"
    successor = f"{before}-{pid}-1{start}-{after}"  # the number is that of a later process
    kept = {
        living,
        f"{before[:-8]}00000000-{ended.pid}-{start}-{after}",  # on another machine
        dead.replace("a.npy", "b.npy"),
        ".a.npy.0a1b2c3d.tmp",
        ".a.npy.notes.tmp",
    }
    for name in {dead, *kept}:
        (tmp_path / name).touch()
    (tmp_path / successor).mkdir()
    (tmp_path / successor / "part").touch()
    write(tmp_path / "a.npy", b"new")
    assert {path.name for path in tmp_path.iterdir()} == {"a.npy", *kept}


@pytest.mark.parametrize("has_links", [True, False])
def test_a_file_is_created_once(tmp_path, monkeypatch, has_links):
    def refusing(*_):
        raise PermissionError("no links here")

    if not has_links:
        monkeypatch.setattr(os, "link", refusing)
    assert create_file(tmp_path / "file", b"first")
    assert not create_file(tmp_path / "file", b"second")
    assert (tmp_path / "file").read_bytes() == b"first"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_a_link_is_followed_and_stays(tmp_path):
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "old").write_bytes(b"old")
    for target in ("old", "new"):  # there is none of the second name
        link = tmp_path / f"link-{target}"
        link.symlink_to(tmp_path / "far" / target)
        replace_file(link, b"content")
        assert link.is_symlink()
        assert (tmp_path / "far" / target).read_bytes() == b"content"
    assert {entry.name for entry in (tmp_path / "far").iterdir()} == {"old", "new"}
    assert followed(tmp_path / "far") == tmp_path / "far"
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(OSError, match="symbolic links"):
        replace_file(tmp_path / "loop", b"content")


def test_a_pipe_and_a_device_are_not_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(os.devnull)
    for path in (tmp_path / "pipe", tmp_path / "link", os.devnull):
        with pytest.raises(OSError, match=r"path: expected the name of a file or folder; got .*, a device"):
            replace_file(path, b"content")
    assert (tmp_path / "pipe").is_fifo()
    assert {entry.name for entry in tmp_path.iterdir()} == {"pipe", "link"}
