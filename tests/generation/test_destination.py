import dataclasses
import os
from pathlib import Path

import pytest
from batches import Stop, contents, generate
from helpers import decode

import ellipsoid as el
from ellipsoid.generation.destination import Status, look
from ellipsoid.generation.rows import RowSource
from ellipsoid.generation.sinks import choose_sink
from ellipsoid.settings import DrawSettings

OPTIONS = {"decode": decode, "batch": 10, "chunk": 10}


def interrupt(state, path, **options):
    """Leave three chunks of ten rows of an unfinished run of a hundred."""
    with pytest.raises(KeyboardInterrupt):
        generate(state, 100, path, **OPTIONS | {"decode": Stop(KeyboardInterrupt(), at=5)} | options)


def cut_at_rename(state, path, monkeypatch, number):
    """Write all chunks of a run, and cut it before one of the renames that give it its name."""
    rename, moved = Path.replace, []

    def failing(self, target):
        moved.append(target)
        if len(moved) == number:
            raise PermissionError("cut")
        return rename(self, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", failing)
        with pytest.raises(PermissionError):
            generate(state, 100, path, beside=("gauge",), **OPTIONS)


# --- one look --------------------------------------------------------------------------------------


def look_at(state, path, level=1.645, *, beside=()):
    settings = DrawSettings("uniform", level)
    source = RowSource(el.key(3), state, settings, 100, ["images", *beside], "float32", 10, decode)
    before = contents(path.parent)
    destination = look(choose_sink(path), source, 10, None)
    assert contents(path.parent) == before
    return destination


def test_nothing_is_new(state, tmp_path):
    destination = look_at(state, tmp_path / "x.npy")
    assert destination.status is Status.NEW
    assert destination.processes == {}


@pytest.mark.parametrize("sink", ["x.npy", "folder", "x.tar", "x.zarr"])
def test_what_was_begun_is_unfinished_then_complete(state, tmp_path, sink):
    interrupt(state, tmp_path / sink)
    destination = look_at(state, tmp_path / sink)
    assert destination.status is Status.UNFINISHED
    assert [*destination.processes["0"].records] == [0, 1, 2]
    assert look_at(state, tmp_path / sink, 2.0).status is Status.FOREIGN
    generate(state, 100, tmp_path / sink, **OPTIONS)
    destination = look_at(state, tmp_path / sink)
    assert destination.status is Status.COMPLETE
    assert sum(record.rows for record in destination.complete.records.values()) == 100
    destination = look_at(state, tmp_path / sink, 2.0)
    assert destination.status is Status.FOREIGN
    assert destination.differences == ["level: 1.645, not 2.0"]


def test_what_was_cut_while_it_was_named_is_written(state, tmp_path, monkeypatch):
    cut_at_rename(state, tmp_path / "x.npy", monkeypatch, 3)
    assert look_at(state, tmp_path / "x.npy", beside=("gauge",)).status is Status.WRITTEN


def test_what_something_else_has_the_name_of_is_foreign(state, tmp_path):
    interrupt(state, tmp_path / "x.npy")
    (tmp_path / "x.npy").touch()
    assert look_at(state, tmp_path / "x.npy").status is Status.FOREIGN
    with pytest.raises(FileExistsError, match=r"x\.npy, which exists; choose another name"):
        generate(state, 100, tmp_path / "x.npy", verify=True, **OPTIONS)
    (tmp_path / "y.npy").touch()
    assert look_at(state, tmp_path / "y.npy").status is Status.FOREIGN


# --- refusals --------------------------------------------------------------------------------------


def test_what_exists_is_not_overwritten(state, tmp_path):
    path = tmp_path / "z.npy"
    path.write_bytes(b"precious")
    with pytest.raises(FileExistsError, match=r"z\.npy, which exists; choose another name"):
        generate(state, 10, path)
    with pytest.raises(FileExistsError, match="result with a manifest"):
        generate(state, 10, path, verify=True)
    assert path.read_bytes() == b"precious"
    (tmp_path / "x.gauge.npy").write_bytes(b"precious")
    with pytest.raises(FileExistsError, match=r"x\.npy, which exists"):
        generate(state, 10, tmp_path / "x.npy", beside=("gauge",))


@pytest.mark.parametrize("taken", ["x.npy", "x.gauge.npy", "x.npy.json"])
def test_a_pipe_or_a_device_is_not_replaced(state, tmp_path, taken):
    os.mkfifo(tmp_path / taken)
    with pytest.raises(FileExistsError, match=r"x\.npy, which exists; choose another name"):
        generate(state, 100, tmp_path / "x.npy", beside=("gauge",), **OPTIONS)
    assert (tmp_path / taken).is_fifo()
    (tmp_path / taken).unlink()
    (tmp_path / taken).symlink_to(os.devnull)
    with pytest.raises(FileExistsError, match=r"x\.npy, which exists; choose another name"):
        generate(state, 100, tmp_path / "x.npy", beside=("gauge",), **OPTIONS)
    assert [path.name for path in tmp_path.iterdir()] == [taken]


@pytest.mark.parametrize("sink", ["x.npy", "folder", "x.tar", "x.zarr"])
def test_a_link_is_followed_to_where_nothing_is_yet(state, tmp_path, sink):
    (tmp_path / "near").mkdir()
    (tmp_path / "near" / sink).symlink_to(tmp_path / "far" / sink)
    options = OPTIONS | {"decoder_digest": "one"}
    path = generate(state, 100, tmp_path / "near" / sink, **options)
    assert path == tmp_path / "far" / sink
    assert generate(state, 100, tmp_path / "near" / sink, **options) == path
    generate(state, 100, tmp_path / "whole" / sink, **options)
    assert contents(tmp_path / "far") == contents(tmp_path / "whole")
    assert (tmp_path / "near" / sink).is_symlink()
    assert len(list((tmp_path / "near").iterdir())) == 1


@pytest.mark.parametrize("sink", ["z.npy", "z.tar", "z.zarr", "folder", "file://{folder}/z.zarr"])
def test_a_complete_result_is_not_written_again(state, tmp_path, sink):
    sink = sink.format(folder=tmp_path) if "://" in sink else tmp_path / sink
    options = OPTIONS | {"decoder_digest": "one"}
    path = generate(state, 100, sink, **options)
    before = contents(tmp_path)
    again = Stop()
    assert generate(state, 100, sink, **options | {"decode": again}) == path
    assert again.calls == 1  # one call looks at the first rows
    for change in ({"level": 2.0}, {"decoder_digest": "other"}, {"chunk": 20}, {"n": 101}):
        with pytest.raises(FileExistsError, match=r"which exists; choose another name"):
            generate(state, **{"n": 100, "sink": sink, **options} | change)
    assert contents(tmp_path) == before


def test_complete_images_of_a_decoder_that_nothing_tells_from_others_are_refused(state, tmp_path):
    generate(state, 100, tmp_path / "x.npy", **OPTIONS)
    with pytest.raises(
        FileExistsError, match=r"x\.npy, which exists, and without a decoder_digest nothing shows"
    ):
        generate(state, 100, tmp_path / "x.npy", **OPTIONS)


@pytest.fixture(scope="module")
def begun(state, tmp_path_factory):
    """Folder of an unfinished run, which every refusal leaves as it is."""
    folder = tmp_path_factory.mktemp("begun")
    interrupt(state, folder / "x.npy", beside=("latents",))
    return folder


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("another state", "state_digest: "),
        ({"level": 2.0}, "level: 1.645, not 2.0"),
        ({"law": "normal"}, 'law: "uniform", not "normal"'),
        ({"n": 101}, "n: 100, not 101"),
        ({"chunk": 20}, "chunk: 10, not 20"),
        ({"dtype": "float16"}, "columns: "),
        ({"region": "box"}, 'region: "pairwise", not "box"'),
        ({"key": el.key(4)}, r"key: \[3, 0\], not \[4, 0\]"),
        ({"fact": 0.5}, "fact: 1.0, not 0.5"),
        ({"decoder_digest": "other"}, 'decoder_digest: null, not "other"'),
    ],
)
def test_other_settings_are_refused_by_name(state, begun, change, message):
    arguments = {
        "key": el.key(3),
        "shape": state,
        "n": 100,
        "sink": begun / "x.npy",
        "law": "uniform",
        "beside": ("latents",),
        "progress": False,
        **OPTIONS,
    }
    before = contents(begun)
    if change == "another state":
        change = {"shape": dataclasses.replace(state, mean=state.mean + 1)}
    with pytest.raises(ValueError, match=rf"x\.npy\.partial was made with other settings.*{message}"):
        el.generate(**arguments | change)
    assert contents(begun) == before


def test_a_damaged_manifest_is_refused(state, tmp_path):
    interrupt(state, tmp_path / "x.npy")
    file = tmp_path / "x.npy.partial" / "part-0.json"
    for damaged in (file.read_bytes()[:-9], b'{"format": "other"}', b"[]"):
        file.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"x\.npy, records of process 0: expected a manifest"):
            generate(state, 100, tmp_path / "x.npy", decode=decode, batch=10)


def test_a_manifest_without_its_result_is_kept_from_other_settings(state, tmp_path):
    path = generate(state, 100, tmp_path / "x.npy", **OPTIONS)
    before = contents(tmp_path)
    path.unlink()
    with pytest.raises(ValueError, match="other settings"):
        generate(state, 100, path, level=2.0, **OPTIONS)
    generate(state, 100, path, **OPTIONS)
    assert contents(tmp_path) == before


# --- runs that were cut at the end -----------------------------------------------------------------


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_result_that_was_cut_while_it_was_named_is_completed(state, tmp_path, monkeypatch, number):
    generate(state, 100, tmp_path / "whole" / "z.npy", beside=("gauge",), **OPTIONS)
    cut_at_rename(state, tmp_path / "cut" / "z.npy", monkeypatch, number)
    assert not (tmp_path / "cut" / "z.npy").exists()
    rest = Stop()
    generate(state, 100, tmp_path / "cut" / "z.npy", beside=("gauge",), **OPTIONS | {"decode": rest})
    assert rest.calls == 1
    assert contents(tmp_path / "cut") == contents(tmp_path / "whole")


@pytest.mark.parametrize("sink", ["x.npy", "folder", "x.tar", "x.zarr"])
def test_what_is_left_beside_a_complete_result_is_removed(state, tmp_path, sink):
    path = generate(state, 100, tmp_path / sink, **OPTIONS)
    before = contents(tmp_path)
    work = tmp_path / f"{sink}.partial"
    for left in ((), ("reserve",), ("reserve", "data/")):
        work.mkdir()
        for name in left:
            (work / name).mkdir() if name.endswith("/") else (work / name).touch()
        with pytest.raises(ValueError, match="other settings"):
            generate(state, 100, tmp_path / sink, level=2.0, **OPTIONS)
        assert generate(state, 100, tmp_path / sink, **OPTIONS) == path
        assert contents(tmp_path) == before
    (work / "data").mkdir(parents=True)
    (work / "data" / "precious").touch()
    with pytest.raises(FileExistsError):
        generate(state, 100, tmp_path / sink, **OPTIONS)
    assert (work / "data" / "precious").exists()


@pytest.mark.parametrize("sink", ["x.npy", "folder", "x.zarr"])
def test_files_of_other_people_in_the_work_folder_stay(state, tmp_path, sink):
    work = tmp_path / f"{sink}.partial"
    for name in ("notes.txt", "part-one.json", "manifest.json", ".part-0.json.tmp", "reserve.d/notes"):
        (work / name).parent.mkdir(parents=True, exist_ok=True)
        (work / name).write_text("precious")
    before = contents(work)
    path = generate(state, 100, tmp_path / sink, **OPTIONS)
    assert path == tmp_path / sink
    assert contents(work) == before
    assert generate(state, 100, tmp_path / sink, verify=True, **OPTIONS) == path
    assert contents(work) == before
    with pytest.raises(FileExistsError):
        generate(state, 100, tmp_path / sink, level=2.0, **OPTIONS)
    assert contents(work) == before
    # A kill leaves such files, in today's version and in earlier ones.
    of_today = ".part-0.json.0a1b2c3d-1-99-0a1b2c3d.tmp"
    for name in ("reserve", of_today, ".part-0.json.0a1b2c3d.tmp"):
        (work / name).touch()
    generate(state, 100, tmp_path / sink, verify=True, **OPTIONS)
    assert contents(work) == before


@pytest.mark.parametrize("sink", ["x.npy", "folder", "x.zarr"])
def test_rows_are_not_put_among_other_files(state, tmp_path, sink):
    data = tmp_path / f"{sink}.partial" / "data"
    data.mkdir(parents=True)
    (data / "notes.txt").write_text("precious")
    before = contents(tmp_path)
    with pytest.raises(FileExistsError, match=r"\.partial, which holds other files; choose another name"):
        generate(state, 100, tmp_path / sink, **OPTIONS)
    assert contents(tmp_path) == before
