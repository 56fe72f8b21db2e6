import shutil
import sys
import urllib.error
import urllib.request

import numpy as np
import pytest
from explore_toys import decode, encode

import ellipsoid as el
from ellipsoid.cli import main
from ellipsoid.explore.code import lines_of_python
from ellipsoid.explore.opening import open_space


@pytest.fixture
def folder(space, tmp_path):
    """Folder with latents and shapes, and no autoencoder."""
    np.save(tmp_path / "latents.npy", space.latents)
    space.shapes["state"].save(tmp_path / "state.npz")
    space.shapes["by label"].save(tmp_path / "by_label.npz")
    np.savez(tmp_path / "notes.npz", mine=np.arange(3))
    (tmp_path / "broken.npz").write_bytes(b"no archive")
    return tmp_path


def test_a_folder_gives_all_shapes_and_directions_in_it(space, folder):
    smiling = space.latents[:, 2] > 0
    el.directions(space.latents, {"smiling": smiling}).save(folder / "directions.npz")
    opened = open_space(folder, decode=decode, encode=encode)
    assert list(opened.shapes) == ["state", "by_label"]
    assert opened.default == "state"
    assert (opened.settings.law, float(opened.settings.radius)) == ("redraw", 1.645)
    assert opened.name == folder.name
    assert opened.image_shape == (2, 2, 3)
    before = sorted(path.name for path in folder.iterdir())
    moved = opened.place("state", None, {"d:smiling": 1.0}, opened.settings).latents
    assert opened.directions["smiling"].score(moved) == pytest.approx(1, abs=1e-3)
    assert [axis.id for axis in opened.axes("state", None, opened.settings)[1]][-1] == "d:smiling"
    assert sorted(path.name for path in folder.iterdir()) == before


def test_the_lines_of_python_know_the_files_of_the_folder(space, folder):
    el.directions(space.latents, {"it's": space.latents[:, 2] > 0}).save(folder / "directions.npz")
    opened, names = open_space(folder), {}
    moves = {"d:it's": 2.5, "c1": 0.5}
    exec(lines_of_python(opened, "state", opened.settings, moves, keep_inside=True, is_centre=True), names)
    expected = opened.place("state", None, moves, opened.settings, keep_inside=True)
    assert expected.kept < 1
    np.testing.assert_allclose(names["latents"], expected.latents[None], atol=2e-4)


def test_latents_alone_are_enough_and_nothing_is_not(space, folder, tmp_path):
    for path in folder.glob("*.npz"):
        path.unlink()
    opened = open_space(folder)
    assert opened.shapes["state"] == el.fit(space.latents)
    assert not opened.has_decoder
    (folder / "latents.npy").unlink()
    with pytest.raises(FileNotFoundError, match=r"run: expected a run folder, or a folder with latents.npy"):
        open_space(folder)
    with pytest.raises(FileNotFoundError):
        open_space(tmp_path / "nowhere.npz")
    with pytest.raises(TypeError, match="shape: expected a PCAState"):
        open_space(3)


def test_a_damaged_state_is_said_so(folder):
    shutil.copy(folder / "broken.npz", folder / "state.npz")
    with pytest.raises(ValueError, match=r"state\.npz"):
        open_space(folder)


def test_a_notebook_shows_the_page_and_closes_it(space):
    page = el.explore(space.shapes["state"], decode=decode, encode=encode, latents=space.latents)
    shown = page._repr_html_()
    assert f'<iframe src="{page.address}"' in shown
    assert repr(page) == f"Explorer: {page.address}"
    with urllib.request.urlopen(page.address) as answer:
        assert b"<title>Explore</title>" in answer.read()
    page.close()
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(page.address)


def test_the_room_is_callable_however_it_was_imported():
    import ellipsoid.explore.space  # noqa: F401

    assert callable(el.explore)


def test_what_is_missing_is_named(folder, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert main(["explore", str(folder), "--no-browser"]) == 1
    assert 'pip install "ellipsoid[explore]"' in capsys.readouterr().err


def test_a_port_that_is_taken_is_named(folder, space, capsys):
    page = el.explore(space.shapes["state"])
    port = page.address.partition("/?")[0].rpartition(":")[2]
    assert main(["explore", str(folder), "--no-browser", "--port", port]) == 1
    page.close()
    assert f"--port: expected a free port on 127.0.0.1; got {port}" in capsys.readouterr().err
