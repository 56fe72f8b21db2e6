"""Several commands for one output at the same time: one of them writes, and the others are refused."""

import errno
import fcntl
import json
import os
import socket
import subprocess
import sys

import numpy as np
import pytest
from batches import Stop, contents, generate, latents_of
from helpers import decode

import ellipsoid as el
from ellipsoid.generation.sinks import choose_sink
from ellipsoid.holding import held

OPTIONS = {"batch": 10, "chunk": 10}
SINKS = ["x.npy", "folder", "x.tar", "x.zarr"]


class Calling:
    """A decoder that calls a function once, when the second chunk is decoded."""

    def __init__(self, function):
        self.calls, self.function = 0, function

    def __call__(self, z):
        self.calls += 1
        if self.calls == 3:
            self.function()
        return decode(z)


@pytest.mark.parametrize("sink", SINKS)
def test_the_same_command_twice_at_once_is_refused_once(state, tmp_path, sink):
    def again():
        holder = f"process {os.getpid()} on {socket.gethostname()}"
        with pytest.raises(FileExistsError, match=f"is already being written by {holder}"):
            generate(state, 50, tmp_path / "two" / sink, decode=decode, **OPTIONS)

    generate(state, 50, tmp_path / "one" / sink, decode=decode, **OPTIONS)
    generate(state, 50, tmp_path / "two" / sink, decode=Calling(again), **OPTIONS)
    assert contents(tmp_path / "two") == contents(tmp_path / "one")


@pytest.mark.parametrize("process_id", [0, 1])
@pytest.mark.parametrize("sink", SINKS)
def test_another_command_for_the_same_output_is_refused(state, tmp_path, sink, process_id):
    def other():
        with pytest.raises(ValueError, match=r"was made with other settings \(level: 1.645, not 2.0\)"):
            generate(state, 50, path, decode=decode, level=2.0, processes=2, process_id=process_id, **OPTIONS)

    path = tmp_path / sink
    generate(state, 50, path, decode=Calling(other), processes=2, process_id=0, **OPTIONS)
    generate(state, 50, path, decode=decode, processes=2, process_id=1, **OPTIONS)
    generate(state, 50, tmp_path / "whole" / sink, decode=decode, **OPTIONS)
    whole = contents(tmp_path / "whole")
    assert {name: value for name, value in contents(tmp_path).items() if name in whole} == whole


@pytest.mark.parametrize("sink", [*SINKS, "file://{}/x.zarr"])
def test_of_two_commands_that_both_found_nothing_one_is_refused(state, tmp_path, sink):
    """The second is in the middle of its claim when the first begins."""

    def claiming(manifest):
        with pytest.raises(KeyboardInterrupt):
            generate(state, 50, path, decode=Stop(KeyboardInterrupt(), at=4), **OPTIONS)
        return claim(manifest)

    path = sink.format(tmp_path) if "://" in sink else tmp_path / sink
    late = choose_sink(path)
    claim, late.claim = late.claim, claiming
    with pytest.raises(ValueError, match=r"was made with other settings \(level: 1.645, not 2.0\)"):
        generate(state, 50, late, decode=decode, level=2.0, **OPTIONS)
    rest = Stop()
    generate(state, 50, path, decode=rest, **OPTIONS)
    assert rest.calls == 1 + 3


@pytest.mark.parametrize("sink", [*SINKS, "file://{}/two/x.zarr"])
def test_a_command_that_comes_at_the_end_of_another_leaves_nothing(state, tmp_path, sink):
    def claiming(manifest):
        generate(state, 50, path, decode=decode, **options)
        return claim(manifest)

    options = OPTIONS | {"decoder_digest": "one"}
    path = sink.format(tmp_path) if "://" in sink else tmp_path / "two" / sink
    late = choose_sink(path)
    claim, late.claim = late.claim, claiming
    rest = Stop()
    generate(state, 50, late, decode=rest, **options)
    assert rest.calls == 1
    generate(state, 50, tmp_path / "one" / str(sink).rpartition("/")[2], decode=decode, **options)
    assert contents(tmp_path / "two") == contents(tmp_path / "one")


def test_rows_of_other_settings_are_not_published(state, tmp_path):
    path = tmp_path / "z.npy"
    generate(state, 100, path, chunk=10, processes=2, process_id=0)
    record = tmp_path / "z.npy.partial" / "part-0.json"

    def change():
        content = json.loads(record.read_text())
        content["configuration"]["key"] = [4, 0]
        record.write_text(json.dumps(content))

    sink = choose_sink(path)
    sink.flush = change
    with pytest.raises(RuntimeError, match=r"process 0 has drawn rows with other settings \(key: \[4, 0\]"):
        generate(state, 100, sink, chunk=10, processes=2, process_id=1)
    assert not path.exists()


# --- holders ---------------------------------------------------------------------------------------


def test_a_holder_is_gone_at_the_end_and_a_dead_one_is_followed(tmp_path):
    path = tmp_path / "new" / "holder-0.json"
    with held(path, "x"):
        assert json.loads(path.read_bytes())["pid"] == os.getpid()
        with (
            pytest.raises(FileExistsError, match=r"sink: x is already being written by process \d+ on "),
            held(path, "x"),
        ):
            pass
    assert not path.exists()
    for content in ('{"pid": 1, "host": "elsewhere", "start": null}', "", "[]"):  # none has the lock
        path.write_text(content)
        with held(path, "x"):
            assert json.loads(path.read_bytes())["pid"] == os.getpid()
        assert not path.exists()


def test_without_locks_a_holder_is_asked_whether_it_lives(tmp_path, monkeypatch):
    def refusing(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refusing)
    path, host = tmp_path / "holder-0.json", socket.gethostname()
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    with held(path, "x"):
        me = json.loads(path.read_bytes())
        with pytest.raises(FileExistsError, match=f"process {os.getpid()} on {host}"), held(path, "x"):
            pass
    for holder in ({**me, "start": "0"}, {**me, "pid": ended.pid}):
        path.write_text(json.dumps(holder))
        with held(path, "x"):
            pass
    path.write_text(json.dumps({**me, "host": "elsewhere"}))
    with pytest.raises(FileExistsError, match="on elsewhere"), held(path, "x"):
        pass


COMMAND = """
import sys
import ellipsoid as el
state = el.load(sys.argv[1])
try:
    key = el.key(int(sys.argv[3]))
    el.generate(key, state, 40_000, sys.argv[2], law="uniform", chunk=100, progress=False)
except (ValueError, FileExistsError) as error:
    sys.exit(str(error))
"""


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [(3, 3, 3), (3, 4, 3)])
def test_commands_that_start_together_leave_one_result(state, tmp_path, seeds):
    state.save(tmp_path / "state.npz")
    path = tmp_path / "out" / "z.npy"
    arguments = [sys.executable, "-c", COMMAND, str(tmp_path / "state.npz"), str(path)]
    children = [
        subprocess.Popen([*arguments, str(seed)], stderr=subprocess.PIPE, text=True) for seed in seeds
    ]
    errors = [child.communicate()[1] for child in children]
    assert all(
        not error or "already being written" in error or "other settings" in error or "exists" in error
        for error in errors
    )
    seed = el.key(4 if np.load(path)[0, 0] != latents_of(state, 10)[0, 0] else 3)
    np.testing.assert_array_equal(np.load(path), el.sample(seed, state, 40_000, law="uniform").latents)
    assert {entry.name for entry in path.parent.iterdir()} == {"z.npy", "z.npy.json"}
