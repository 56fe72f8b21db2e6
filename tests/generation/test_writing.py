import dataclasses
import errno
import json
import os
import shutil
import threading
import time
import tracemalloc

import jax
import numpy as np
import pytest
from batches import Logged, Stop, contents, generate, latents_of
from helpers import decode

import ellipsoid as el
from ellipsoid.generation import manifest, rows
from ellipsoid.generation.sinks import NpySink, choose_sink

# --- interruptions ---------------------------------------------------------------------------------


@pytest.mark.parametrize("sink", ["x.npy", "folder", "x.tar", "x.zarr"])
def test_an_interrupted_run_goes_on_where_it_was(state, tmp_path, sink):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    generate(state, 100, whole / sink, decode=decode, batch=10, chunk=10, beside=("gauge",))
    # One call looks at the first rows; six chunks follow.
    stop = Stop(KeyboardInterrupt(), at=8)
    with pytest.raises(
        KeyboardInterrupt, match=r"60 of 100 rows are kept in .*\.partial; the same call goes on"
    ):
        generate(state, 100, cut / sink, decode=stop, batch=10, chunk=10, beside=("gauge",))
    assert [path.name for path in cut.iterdir()] == [f"{sink}.partial"]
    rest = Stop()
    generate(state, 100, cut / sink, decode=rest, batch=10, chunk=10, beside=("gauge",))
    assert rest.calls == 1 + 4
    assert contents(cut) == contents(whole)


@pytest.mark.parametrize("sink", ["x.npy", "folder", "x.tar", "x.zarr"])
def test_whatever_a_kill_leaves_on_disk_leads_to_the_same_bytes(state, tmp_path, monkeypatch, sink):
    """A copy of the files just before or after a write stands for a kill at that moment."""
    monkeypatch.setattr(manifest, "_INTERVAL", 0)
    monkeypatch.setattr(manifest, "_INTERVAL_PER_COST", 0)
    options = {"decode": decode, "batch": 10, "chunk": 10, "beside": ("latents",)}
    copied = choose_sink(tmp_path / "whole" / sink)
    copied.workers = 1
    write, record, recorded, copies = copied.write, copied.record, threading.Event(), []

    def copy(name):
        copies.append(tmp_path / name)
        shutil.copytree(tmp_path / "whole", copies[-1], ignore=shutil.ignore_patterns("*.tmp"))

    def copying_write(start, columns):
        # The first chunk is recorded before the third is written.
        assert start < 20 or recorded.wait(timeout=60)
        copy(f"before-{start}")
        checksum = write(start, columns)
        copy(f"after-{start}")
        return checksum

    def telling_record(process, content):
        record(process, content)
        recorded.set()

    copied.write, copied.record = copying_write, telling_record
    generate(state, 30, copied, **options)
    calls = {}
    for folder in copies:
        rest = Stop()
        generate(state, 30, folder / sink, **options | {"decode": rest})
        calls[folder.name] = rest.calls
        assert contents(folder) == contents(tmp_path / "whole")
    assert len(calls) == 6
    assert calls["before-0"] == 1 + 3
    assert calls["after-20"] <= 1 + 2  # what is recorded is not written again


def test_an_error_keeps_what_was_done_and_says_so(state, tmp_path):
    with pytest.raises(ZeroDivisionError) as raised:
        generate(state, 50, tmp_path / "x.npy", decode=Stop(ZeroDivisionError(), at=4), batch=10, chunk=10)
    assert raised.value.__notes__ == [
        f"20 of 50 rows are kept in {tmp_path / 'x.npy.partial'}; the same call goes on there"
    ]
    rest = Stop()
    generate(state, 50, tmp_path / "x.npy", decode=rest, batch=10)  # the chunk is known from the first run
    assert rest.calls == 1 + 3


def test_latents_that_cannot_be_drawn_keep_those_before_them(state, tmp_path, monkeypatch):
    def sample_at(key, state, index, **options):
        if index[-1] >= 300:
            raise ValueError("dtype: expected latents that float16 holds; got 70,000")
        return el.sample_at(key, state, index, **options)

    monkeypatch.setattr(rows, "sample_at", sample_at)
    with pytest.raises(ValueError, match="expected latents that float16 holds") as raised:
        generate(state, 1000, tmp_path / "z.npy", chunk=100)
    assert "300 of 1,000 rows are kept" in raised.value.__notes__[0]
    monkeypatch.undo()
    generate(state, 1000, tmp_path / "z.npy")
    np.testing.assert_array_equal(np.load(tmp_path / "z.npy"), latents_of(state, 1000))


# --- space -----------------------------------------------------------------------------------------


def test_too_little_space_is_said_before_the_start(state, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=1000 * 12 * 4 - 1)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(OSError, match=r"room for 1,000 rows, about 0\.0 MB; got 0\.0 MB in"):
        generate(state, 1000, tmp_path / "z.npy")
    assert list(tmp_path.iterdir()) == []
    usage = usage._replace(free=usage.free + 1)
    generate(state, 1000, tmp_path / "z.npy")


@pytest.mark.parametrize(
    ("sink", "n", "chunk"),
    [
        ("x.tar", 10**13, None),
        ("x.tar", 10**13, 100),
        ("x.npy", 10**15, 1),
        ("x.zarr", 10**15, 100),
        ("x.zarr", 10**15, 10**9 + 7),
        ("x.parquet", 10**13, 100),
    ],
)
def test_nothing_is_made_for_each_chunk_before_the_space_is_checked(state, tmp_path, sink, n, chunk):
    if sink == "x.parquet":
        pytest.importorskip("pyarrow")
    started = time.monotonic()
    tracemalloc.start()
    with pytest.raises(OSError, match="make room"):
        generate(state, n, tmp_path / sink, chunk=chunk, batch=100)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 5e7
    assert time.monotonic() - started < 5
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_loses_nothing(state, tmp_path):
    class Full(NpySink):
        def write(self, start, columns):
            if start >= 300:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return super().write(start, columns)

    with pytest.raises(
        OSError, match=r"No space left.*make room; 300 of 1,000 rows are kept.*goes on"
    ) as raised:
        generate(state, 1000, Full(tmp_path / "z.npy"), chunk=100)
    assert raised.value.errno == errno.ENOSPC
    generate(state, 1000, tmp_path / "z.npy")
    np.testing.assert_array_equal(np.load(tmp_path / "z.npy"), latents_of(state, 1000))


def replace_if_there_is_room(path, content):
    """Write a file where only the reserve has room for it."""
    if path.with_name("reserve").exists():
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    path.write_bytes(content)


@pytest.mark.parametrize("sink", ["x.npy", "folder", "x.tar", "x.zarr"])
def test_the_manifest_finds_room_on_a_full_disk(state, tmp_path, monkeypatch, sink):
    options = {"decode": decode, "batch": 10, "chunk": 10}
    generate(state, 50, tmp_path / "one" / sink, **options)
    full = choose_sink(tmp_path / "two" / sink)
    publish = full.publish

    def publishing(manifest):
        assert (tmp_path / "two" / f"{sink}.partial" / "reserve").exists()
        monkeypatch.setattr("ellipsoid.generation.sinks.local.replace_file", replace_if_there_is_room)
        publish(manifest)

    full.publish = publishing
    generate(state, 50, full, **options)
    assert contents(tmp_path / "two") == contents(tmp_path / "one")


def test_the_records_find_room_on_a_full_disk(state, tmp_path, monkeypatch):
    monkeypatch.setattr("ellipsoid.generation.sinks.local.replace_file", replace_if_there_is_room)
    with pytest.raises(KeyboardInterrupt):
        generate(state, 50, tmp_path / "x.npy", decode=Stop(KeyboardInterrupt(), at=4), batch=10, chunk=10)
    records = json.loads((tmp_path / "x.npy.partial" / "part-0.json").read_text())
    assert records["rows"] == 20


# --- order of events -------------------------------------------------------------------------------


def test_the_manifest_tells_only_of_what_is_on_disk(state, tmp_path, monkeypatch):
    monkeypatch.setattr(manifest, "_INTERVAL", 0)
    monkeypatch.setattr(manifest, "_INTERVAL_PER_COST", 0)
    sink = Logged(tmp_path / "z.npy")
    generate(state, 1000, sink, chunk=10)
    on_disk, written = set(), set()
    recorded = [event[1] for event in sink.events if event[0] == "recorded"]
    assert len(recorded) > 3
    flushing = set()
    for kind, *what in sink.events:
        if kind == "written":
            written.add(what[0])
        elif kind == "flush":
            flushing = set(written)
        elif kind == "flushed":
            on_disk |= flushing
        else:
            assert what[0] <= on_disk
    assert recorded[-1] == set(range(100))


def test_drawing_runs_ahead_of_writing_and_not_far(state, tmp_path):
    most, ahead = 0, threading.Event()

    def counting(z):
        nonlocal most
        sink.log("decoded")
        events = [event[0] for event in sink.events]
        in_hand = events.count("decoded") - 1 - events.count("written")  # one call looks at the first rows
        most = max(most, in_hand)
        if in_hand > sink.workers:
            ahead.set()
        return decode(z)

    class Waiting(Logged):
        def write(self, start, columns):
            # Writing waits until the largest number of chunks in hand is drawn.
            assert ahead.wait(timeout=60)
            return super().write(start, columns)

    sink = Waiting(tmp_path / "x.npy")
    generate(state, 300, sink, decode=counting, batch=10, chunk=10)
    assert sink.workers < most <= sink.workers + 2


def test_chunks_in_hand_are_finished_when_drawing_stops(state, tmp_path):
    """Writing waits until drawing has failed, and the largest number of chunks in hand is written then."""
    stopped = threading.Event()

    class Waiting(Logged):
        def write(self, start, columns):
            assert stopped.wait(timeout=60)
            return super().write(start, columns)

    def stopping(z):
        if len(decoded) == 1 + sink.workers:
            stopped.set()
            raise KeyboardInterrupt
        decoded.append(z)
        return decode(z)

    sink, decoded = Waiting(tmp_path / "x.npy"), []
    with pytest.raises(KeyboardInterrupt, match=f"{sink.workers * 10} of 300 rows are kept"):
        generate(state, 300, sink, decode=stopping, batch=10, chunk=10)


# --- processes -------------------------------------------------------------------------------------


def test_another_number_of_processes_can_finish(state, tmp_path):
    location = generate(state, 1000, tmp_path / "z.npy", chunk=10, processes=3, process_id=1)
    assert location == tmp_path / "z.npy.partial"
    sink = Logged(tmp_path / "z.npy")
    generate(state, 1000, sink)
    written = {event[1] for event in sink.events if event[0] == "written"}
    assert written == {index for index in range(100) if index % 3 != 1}
    np.testing.assert_array_equal(np.load(tmp_path / "z.npy"), latents_of(state, 1000))


def test_one_of_three_processes_is_interrupted_and_goes_on(state, tmp_path):
    path = tmp_path / "x.npy"
    options = {"decode": decode, "batch": 10, "chunk": 10, "processes": 3}
    generate(state, 300, path, process_id=0, **options)
    with pytest.raises(KeyboardInterrupt, match="40 of 300 rows are kept"):
        generate(state, 300, path, process_id=1, **options | {"decode": Stop(KeyboardInterrupt(), at=6)})
    assert generate(state, 300, path, process_id=2, **options) == tmp_path / "x.npy.partial"
    assert not path.exists()
    assert {entry.name for entry in (tmp_path / "x.npy.partial").glob("part-*")} == {
        f"part-{i}.json" for i in range(3)
    }
    rest = Stop()
    assert generate(state, 300, path, process_id=1, **options | {"decode": rest}) == path
    assert rest.calls == 1 + 6
    generate(state, 300, tmp_path / "whole.npy", decode=decode, batch=10, chunk=10)
    assert path.read_bytes() == (tmp_path / "whole.npy").read_bytes()
    assert not (tmp_path / "x.npy.partial").exists()


def test_the_share_of_a_process_is_what_jax_says(state, tmp_path, monkeypatch):
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    for index in (1, 0):
        monkeypatch.setattr(jax, "process_index", lambda index=index: index)
        location = generate(state, 100, tmp_path / "z.npy", chunk=10)
        assert location == tmp_path / ("z.npy.partial" if index else "z.npy")
    np.testing.assert_array_equal(np.load(tmp_path / "z.npy"), latents_of(state, 100))


def test_latents_that_16_bits_cannot_hold_keep_those_before_them(state, tmp_path):
    centred = dataclasses.replace(state, mean=state.mean * 0)
    largest = np.abs(latents_of(centred, 1000)).max(axis=1)
    factor = 70_000 / largest.max()
    first = int(np.argmax(largest * factor > 65_520))  # it rounds to infinity in float16
    kept = first // 100 * 100
    assert kept > 0
    wide = dataclasses.replace(centred, scale=centred.scale * factor)
    with pytest.raises(ValueError, match="dtype: expected a type that holds all latents") as raised:
        generate(wide, 1000, tmp_path / "z.npy", dtype="float16", chunk=100, batch=100)
    assert f"{kept:,} of 1,000 rows are kept" in raised.value.__notes__[0]
    assert generate(wide, 1000, tmp_path / "x.zarr", dtype="bfloat16", chunk=100) == tmp_path / "x.zarr"
