import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import zlib
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import decode, fitted_state, generate

import ellipsoid as el
from ellipsoid.generation.sinks import NpySink


@pytest.fixture(scope="module")
def state():
    return fitted_state()


def latents_of(state, n, **options):
    return np.asarray(el.sample(el.key(3), state, n, **{"law": "uniform", **options}).latents)


def manifest_of(path):
    return json.loads(Path(f"{path}.json").read_text())


# --- rows ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("chunk", [100, 333, 5000, None])
def test_the_file_holds_the_rows_of_the_sequence_whatever_the_chunk(state, tmp_path, chunk):
    path = generate(state, 1000, tmp_path / "z.npy", level=2.0, chunk=chunk)
    assert path == tmp_path / "z.npy"
    written = np.load(path)
    assert written.dtype == np.float32
    np.testing.assert_array_equal(written, latents_of(state, 1000, level=2.0))
    assert {entry.name for entry in tmp_path.iterdir()} == {"z.npy", "z.npy.json"}


@pytest.mark.parametrize("chunk", [64, 100])
def test_images_are_rounded_and_clipped_never_wrapped(state, tmp_path, chunk):
    path = generate(state, 150, tmp_path / "x.npy", decode=decode, chunk=chunk, batch=32)
    floats = decode(latents_of(state, 150))
    assert floats.min() < 0
    assert floats.max() > 1
    images = np.load(path)
    assert images.dtype == np.uint8
    np.testing.assert_array_equal(images, np.round(np.clip(floats, 0, 1) * 255))


@pytest.mark.parametrize(
    ("dtype", "convert"),
    [
        (np.float64, np.asarray),
        *(
            (dtype, to)
            for dtype in (np.float32, np.float16, jnp.bfloat16)
            for to in (np.asarray, jnp.asarray)
        ),
    ],
)
def test_every_kind_of_pixel_is_rounded_alike(state, tmp_path, dtype, convert):
    pixels = np.array([-1e30, -0.1, 0, 0.25, 0.5, 1, 7, 1e30, np.inf, -np.inf, np.nan, 254.5 / 255])
    with np.errstate(over="ignore"):
        pixels = pixels.astype(dtype)
    images = convert(np.broadcast_to(pixels.reshape(1, 3, 4, 1), (8, 3, 4, 1)))
    path = generate(state, 1, tmp_path / "x.npy", decode=lambda z: images, batch=8)
    exact = np.round(np.nan_to_num(np.clip(np.asarray(pixels, np.float64), 0, 1)) * 255)
    # float32 holds 254.5 / 255 times 255 to within one unit in the last place of a half.
    np.testing.assert_array_equal(np.load(path).ravel()[:-1], exact[:-1])
    assert np.load(path).ravel()[-1] in (254, 255)


def test_a_decoder_is_always_given_whole_batches_and_compiled_once(state, tmp_path):
    traced = []

    @jax.jit
    def compiled(z):
        traced.append(z.shape)
        return jnp.reshape(z, (-1, 3, 4, 1))

    path = generate(state, 70, tmp_path / "x.npy", decode=compiled, chunk=30, batch=16)
    assert traced == [(16, 12)]
    expected = np.clip(latents_of(state, 70).reshape(-1, 3, 4, 1), 0, 1) * 255
    np.testing.assert_array_equal(np.load(path), np.round(expected))


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


def test_sixteen_bit_latents_are_judged_as_they_are_written(state, tmp_path):
    path = generate(state, 5000, tmp_path / "z.npy", dtype="float16", beside=("gauge", "scores"), chunk=999)
    draws = el.sample(el.key(3), state, 5000, law="uniform", dtype="float16")
    written = np.load(path)
    np.testing.assert_array_equal(written, draws.latents)
    np.testing.assert_array_equal(np.load(tmp_path / "z.scores.npy"), draws.scores)
    gauge = np.load(tmp_path / "z.gauge.npy")
    np.testing.assert_allclose(gauge, el.gauge(state, written), rtol=1e-5)
    assert gauge.max() > 1
    outside = int(np.sum(~np.asarray(el.contains(state, written))))
    assert 0 < outside < 5000
    assert manifest_of(path)["outside"] == outside
    assert manifest_of(path)["judged"] == 5000


def test_of_many_latents_an_even_share_is_judged(state, tmp_path, monkeypatch):
    monkeypatch.setattr("ellipsoid.generation.rows._JUDGED_ROWS", 1000)
    path = generate(state, 5003, tmp_path / "z.npy", dtype="float16", chunk=7 * 64)
    sample = np.load(path)[::5]
    assert manifest_of(path)["judged"] == len(sample)
    assert manifest_of(path)["outside"] == np.sum(~np.asarray(el.contains(state, sample)))


def test_the_gauge_does_not_depend_on_the_chunk(state, tmp_path):
    for chunk in (100, 5000):
        generate(state, 5000, tmp_path / f"{chunk}.npy", dtype="float16", beside=["gauge"], chunk=chunk)
    assert (tmp_path / "100.gauge.npy").read_bytes() == (tmp_path / "5000.gauge.npy").read_bytes()


def test_images_are_decoded_from_the_latents_that_are_written(state, tmp_path):
    generate(state, 300, tmp_path / "x.npy", dtype="float16", decode=decode, beside=("latents", "gauge"))
    latents = np.load(tmp_path / "x.latents.npy")
    assert latents.dtype == np.float16
    expected = np.round(np.clip(decode(latents.astype(np.float32)), 0, 1) * 255)
    np.testing.assert_array_equal(np.load(tmp_path / "x.npy"), expected)


def test_rows_go_to_a_function_in_order(state):
    received = []
    place = generate(state, 250, lambda start, columns: received.append((start, columns)), chunk=60)
    assert place is None
    assert [start for start, _ in received] == [0, 60, 120, 180, 240]
    rows = np.concatenate([columns["latents"] for _, columns in received])
    np.testing.assert_array_equal(rows, latents_of(state, 250))


# --- what is refused -------------------------------------------------------------------------------


def test_what_exists_is_not_overwritten(state, tmp_path):
    path = tmp_path / "z.npy"
    path.write_bytes(b"precious")
    with pytest.raises(FileExistsError, match=r"z\.npy exists: choose another name"):
        generate(state, 10, path)
    with pytest.raises(FileExistsError, match="no manifest"):
        generate(state, 10, path, verify=True)
    assert path.read_bytes() == b"precious"
    (tmp_path / "x.gauge.npy").write_bytes(b"precious")
    with pytest.raises(FileExistsError, match=r"x\.npy exists"):
        generate(state, 10, tmp_path / "x.npy", beside=("gauge",))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sink": "folder"}, r"latents are written to a \.npy file.*images need decode"),
        ({"n": 0}, "n: expected at least 1"),
        ({"chunk": 0}, "chunk: expected at least 1"),
        ({"batch": 0}, "batch: expected at least 1"),
        ({"law": "foo"}, "law: expected one of"),
        ({"level": -1.0}, "level"),
        ({"dtype": "bfloat16"}, "npy files have no bfloat16"),
        ({"dtype": "float64"}, "dtype: expected one of"),
        ({"beside": ("images",)}, "beside: expected"),
        ({"beside": "gauge"}, "beside: expected"),
        ({"processes": 2}, "both or neither"),
        ({"processes": 2, "process_id": 2}, "process_id: expected 0 to 1; got 2"),
        ({"sink": "x.parquet", "decode": decode}, "for latents"),
        ({"sink": "x.tar", "decode": lambda z: decode(z)[..., :2]}, "1, 3 or 4 channels"),
    ],
)
def test_bad_arguments(state, tmp_path, options, message):
    if options.get("sink") == "x.parquet":
        pytest.importorskip("pyarrow")
    arguments = {"n": 10, "sink": "z.npy", **options}
    arguments["sink"] = tmp_path / arguments["sink"]
    with pytest.raises(ValueError, match=message):
        generate(state, **arguments)
    assert list(tmp_path.iterdir()) == []


def test_too_little_space_is_said_before_the_start(state, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=1000 * 12 * 4 - 1)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(OSError, match=r"1,000 rows need about 0\.0 MB; 0\.0 MB are free"):
        generate(state, 1000, tmp_path / "z.npy")
    assert list(tmp_path.iterdir()) == []
    usage = usage._replace(free=usage.free + 1)
    generate(state, 1000, tmp_path / "z.npy")


# --- interruptions ---------------------------------------------------------------------------------


class Stop:
    """A decoder that raises on one call, and tells which rows it was given after it."""

    def __init__(self, error, at):
        self.calls, self.error, self.at = 0, error, at

    def __call__(self, z):
        self.calls += 1
        if self.calls == self.at:
            raise self.error
        return decode(z)


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
    rest = Stop(None, at=0)
    generate(state, 100, cut / sink, decode=rest, batch=10, chunk=10, beside=("gauge",))
    assert rest.calls == 1 + 4
    assert contents(cut) == contents(whole)


def contents(folder):
    """Give all names in a folder, and the checksums of files."""
    return {
        str(path.relative_to(folder)): zlib.crc32(path.read_bytes()) if path.is_file() else None
        for path in folder.rglob("*")
    }


def test_an_error_keeps_what_was_done(state, tmp_path):
    with pytest.raises(ZeroDivisionError):
        generate(state, 50, tmp_path / "x.npy", decode=Stop(ZeroDivisionError(), at=4), batch=10, chunk=10)
    rest = Stop(None, at=0)
    generate(state, 50, tmp_path / "x.npy", decode=rest, batch=10)  # the chunk is known from the first run
    assert rest.calls == 1 + 3


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
def test_other_settings_are_refused_by_name(state, tmp_path, change, message):
    arguments = {
        "key": el.key(3),
        "state": state,
        "n": 100,
        "sink": tmp_path / "x.npy",
        "law": "uniform",
        "chunk": 10,
        "batch": 10,
        "beside": ("latents",),
        "progress": False,
    }
    with pytest.raises(KeyboardInterrupt):
        el.generate(**arguments, decode=Stop(KeyboardInterrupt(), at=4))
    before = contents(tmp_path)
    if change == "another state":
        change = {"state": state.truncate(11)}
    with pytest.raises(ValueError, match=rf"x\.npy\.partial was made with other settings.*{message}"):
        el.generate(**{**arguments, **change}, decode=decode)
    assert contents(tmp_path) == before


def test_a_damaged_manifest_is_refused(state, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        generate(state, 50, tmp_path / "x.npy", decode=Stop(KeyboardInterrupt(), at=4), batch=10, chunk=10)
    part = tmp_path / "x.npy.partial" / "part-0.json"
    for damaged in (part.read_bytes()[:-9], b'{"format": "other"}', b"[]"):
        part.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"x\.npy, records of process 0: expected a manifest"):
            generate(state, 50, tmp_path / "x.npy", decode=decode, batch=10)


def test_the_manifest_finds_room_on_a_full_disk(state, tmp_path, monkeypatch):
    def replace_if_there_is_room(path, content):
        if path.with_name("reserve").exists():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        path.write_bytes(content)

    monkeypatch.setattr("ellipsoid.generation.sinks.local.replace_file", replace_if_there_is_room)
    with pytest.raises(KeyboardInterrupt):
        generate(state, 50, tmp_path / "x.npy", decode=Stop(KeyboardInterrupt(), at=4), batch=10, chunk=10)
    part = json.loads((tmp_path / "x.npy.partial" / "part-0.json").read_text())
    assert part["rows"] == 20


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


# --- verification ----------------------------------------------------------------------------------


@pytest.mark.parametrize("sink", ["x.npy", "folder", "x.tar", "x.zarr"])
def test_verify_writes_damaged_chunks_again(state, tmp_path, sink):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    options = {"batch": 10, "chunk": 10, "beside": ("latents",)}
    generate(state, 100, whole / sink, decode=decode, **options)
    with pytest.raises(KeyboardInterrupt):
        generate(state, 100, cut / sink, decode=Stop(KeyboardInterrupt(), at=8), **options)
    data = [path for path in (cut / f"{sink}.partial" / "data").rglob("*") if path.is_file()]
    for path in data:
        content = bytearray(path.read_bytes())
        if path.suffix != ".json" and any(content[128:]):
            content[140 if sink == "x.npy" else len(content) // 2] ^= 1
            path.write_bytes(content)
    rest = Stop(None, at=0)
    generate(state, 100, cut / sink, decode=rest, verify=True, **options)
    assert rest.calls > 1 + 4
    assert contents(cut) == contents(whole)


@pytest.mark.parametrize("sink", ["x.npy", "folder", "x.tar", "x.zarr", "x.parquet"])
def test_a_complete_result_can_be_verified(state, tmp_path, sink):
    if sink == "x.parquet":
        pytest.importorskip("pyarrow")
    options = {"chunk": 10} if sink == "x.parquet" else {"chunk": 10, "batch": 10, "decode": decode}
    path = generate(state, 100, tmp_path / sink, **options)
    assert generate(state, 100, tmp_path / sink, verify=True, **options) == path
    with pytest.raises(ValueError, match="other settings"):
        generate(state, 100, tmp_path / sink, verify=True, **options, level=2.0)
    victim = max(path for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".json")
    content = bytearray(victim.read_bytes())
    content[len(content) // 2] ^= 1
    victim.write_bytes(content)
    with pytest.raises(RuntimeError, match=r"is damaged: 1 of 10 chunks, of 10 rows each"):
        generate(state, 100, tmp_path / sink, verify=True, **options)
    victim.unlink()
    if sink != "x.npy":
        with pytest.raises(RuntimeError, match=r"is damaged: 1 of 10 chunks, of 10 rows each"):
            generate(state, 100, tmp_path / sink, verify=True, **options)


# --- order of events -------------------------------------------------------------------------------


class Logged(NpySink):
    """Tells what was asked of it, and in which order."""

    def __init__(self, path):
        super().__init__(path)
        self.events = []

    def log(self, *event):
        self.events.append(event)

    def write(self, start, columns):
        tally = super().write(start, columns)
        self.log("written", start // self.plan.chunk)
        return tally

    def flush(self):
        self.log("flush")
        super().flush()
        self.log("flushed")

    def record(self, name, content):
        super().record(name, content)
        self.log("recorded", {int(index) for index in json.loads(content)["chunks"]})


def test_the_manifest_tells_only_of_what_is_on_disk(state, tmp_path, monkeypatch):
    monkeypatch.setattr("ellipsoid.generation.manifest._INTERVAL", 0)
    monkeypatch.setattr("ellipsoid.generation.manifest._INTERVAL_PER_COST", 0)
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
            # The first chunks are not written before as many as may be in hand are drawn.
            assert ahead.wait(timeout=60)
            return super().write(start, columns)

    sink = Waiting(tmp_path / "x.npy")
    generate(state, 300, sink, decode=counting, batch=10, chunk=10)
    assert sink.workers < most <= sink.workers + 2


def test_a_result_that_was_cut_while_it_was_named_is_completed(state, tmp_path, monkeypatch):
    generate(state, 100, tmp_path / "whole" / "z.npy", beside=("gauge",))
    rename, moved = Path.replace, []

    def failing(self, target):
        moved.append(target)
        if len(moved) == 3:
            raise PermissionError("cut")
        return rename(self, target)

    monkeypatch.setattr(Path, "replace", failing)
    with pytest.raises(PermissionError):
        generate(state, 100, tmp_path / "cut" / "z.npy", beside=("gauge",))
    monkeypatch.undo()
    assert not (tmp_path / "cut" / "z.npy").exists()
    generate(state, 100, tmp_path / "cut" / "z.npy", beside=("gauge",))
    assert contents(tmp_path / "cut") == contents(tmp_path / "whole")


@pytest.mark.parametrize("sink", ["x.npy", "folder", "x.tar", "x.zarr"])
def test_what_is_left_beside_a_complete_result_is_removed(state, tmp_path, sink):
    options = {"decode": decode, "batch": 10, "chunk": 50}
    path = generate(state, 100, tmp_path / sink, **options)
    before = contents(tmp_path)
    work = tmp_path / f"{sink}.partial"
    for left in ((), ("reserve",), ("reserve", "data/")):
        work.mkdir()
        for name in left:
            (work / name).mkdir() if name.endswith("/") else (work / name).touch()
        with pytest.raises(ValueError, match="other settings"):
            generate(state, 100, tmp_path / sink, level=2.0, **options)
        work.mkdir(exist_ok=True)
        assert generate(state, 100, tmp_path / sink, **options) == path
        assert contents(tmp_path) == before
    (work / "data").mkdir(parents=True)
    (work / "data" / "precious").touch()
    with pytest.raises(FileExistsError):
        generate(state, 100, tmp_path / sink, **options)
    assert (work / "data" / "precious").exists()


# --- processes -------------------------------------------------------------------------------------

CHILD = """
import contextlib, os, signal, sys, threading
from pathlib import Path
import numpy as np
import ellipsoid as el
from ellipsoid.generation import manifest, sinks

folder, kill, delay, writes, processes, process_id = sys.argv[1:]
manifest._INTERVAL = 0.02
state = el.PCAState.load(Path(folder) / "state.npz")

def decode(z):
    return np.repeat(z[:, :3], 16, axis=1).reshape(-1, 3, 4, 4).transpose(0, 2, 3, 1)

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def dying(write):
    def wrapped(self, start, columns):
        dying.left -= 1
        if dying.left == 0:
            die()
        return write(self, start, columns)
    return wrapped

dying.left = int(writes)
sinks.NpySink.write = dying(sinks.NpySink.write)
el.sample(el.key(3), state, 10, law="uniform")  # compiles
timer = threading.Timer(float(delay), die)
if kill == "start":
    timer.start()
elif kill == "record":
    record = sinks.LocalSink.record

    def recording(self, name, content):
        record(self, name, content)
        with contextlib.suppress(RuntimeError):  # it runs already
            timer.start()

    sinks.LocalSink.record = recording
for name in ("z.npy", "images", "z.zarr"):
    images = {"decode": decode, "batch": 32} if name == "images" else {}
    # What is complete is refused.
    with contextlib.suppress(FileExistsError):
        el.generate(
            el.key(3), state, 3000, Path(folder) / name, law="uniform", chunk=50, progress=False,
            processes=int(processes), process_id=int(process_id), **images
        )
    if int(processes) > 1:
        break
os._exit(0)
"""


@pytest.fixture(scope="module")
def start_child(tmp_path_factory):
    """Start a process that generates into a folder, and is killed by itself.

    After a delay from its `kill`, "start" or first "record", or at its so-manieth write.
    """
    # Children share what they compile: that is most of the time they take.
    cache = {
        "JAX_COMPILATION_CACHE_DIR": str(tmp_path_factory.mktemp("cache")),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }

    def start(folder, *, kill="no", delay=0, writes=0, processes=1, process_id=0):
        arguments = [folder, kill, delay, writes, processes, process_id]
        command = [sys.executable, "-c", CHILD, *map(str, arguments)]
        return subprocess.Popen(command, env=os.environ | cache)

    return start


def test_a_run_that_is_killed_at_any_moment_leaves_the_same_bytes(state, tmp_path, start_child):
    state.save(tmp_path / "state.npz")
    rng, done, kills = np.random.default_rng(0), {}, 0
    while kills < 4:
        # At any moment, and at those when something is recorded, however slow the machine is.
        kill, longest = [("start", 0.4), ("record", 0.1)][kills % 2]
        child = start_child(tmp_path, kill=kill, delay=rng.uniform(0, longest))
        if child.wait() == 0:
            break
        assert child.returncode == -signal.SIGKILL
        kills += 1
        for part in tmp_path.glob("*.partial/part-0.json"):
            chunks = json.loads(part.read_text())["chunks"]
            assert done.get(part, {}).items() <= chunks.items()  # nothing that was recorded is lost
            done[part] = chunks
    assert kills >= 2
    assert done
    assert start_child(tmp_path).wait() == 0
    (tmp_path / "state.npz").unlink()
    whole = tmp_path.with_name(f"{tmp_path.name}-whole")
    generate(state, 3000, whole / "z.npy", chunk=50)
    generate(state, 3000, whole / "z.zarr", chunk=50)
    generate(state, 3000, whole / "images", chunk=50, decode=decode, batch=32)
    assert contents(tmp_path) == contents(whole)


def test_three_processes_one_of_which_is_killed(state, tmp_path, start_child):
    state.save(tmp_path / "state.npz")
    children = [
        start_child(tmp_path, writes=writes, processes=3, process_id=i) for i, writes in enumerate((0, 7, 0))
    ]
    assert [child.wait() for child in children] == [0, -signal.SIGKILL, 0]
    assert not (tmp_path / "z.npy").exists()
    assert {path.name for path in (tmp_path / "z.npy.partial").iterdir()} >= {"part-0.json", "part-2.json"}
    assert start_child(tmp_path, processes=3, process_id=1).wait() == 0
    np.testing.assert_array_equal(np.load(tmp_path / "z.npy"), latents_of(state, 3000))
    assert not (tmp_path / "z.npy.partial").exists()


def test_another_number_of_processes_can_finish(state, tmp_path):
    place = generate(state, 1000, tmp_path / "z.npy", chunk=10, processes=3, process_id=1)
    assert place == tmp_path / "z.npy.partial"
    sink = Logged(tmp_path / "z.npy")
    generate(state, 1000, sink)
    written = {event[1] for event in sink.events if event[0] == "written"}
    assert written == {index for index in range(100) if index % 3 != 1}
    np.testing.assert_array_equal(np.load(tmp_path / "z.npy"), latents_of(state, 1000))


def test_the_share_of_a_process_is_what_jax_says(state, tmp_path, monkeypatch):
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    for index in (1, 0):
        monkeypatch.setattr(jax, "process_index", lambda index=index: index)
        place = generate(state, 100, tmp_path / "z.npy", chunk=10)
        assert place == tmp_path / ("z.npy.partial" if index else "z.npy")
    np.testing.assert_array_equal(np.load(tmp_path / "z.npy"), latents_of(state, 100))


def test_several_devices_leave_the_same_bytes(state, tmp_path):
    """Devices are made when JAX starts, so they need a process of their own."""
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


def test_progress_goes_to_standard_error(state, tmp_path, capfd):
    generate(state, 10, tmp_path / "z.npy", progress=True)
    captured = capfd.readouterr()
    assert captured.out == ""
    assert "10/10" in captured.err
    assert "MB" in captured.err
