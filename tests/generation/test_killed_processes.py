"""Real processes that are killed while they write."""

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from batches import contents, generate, latents_of
from helpers import decode

pytestmark = pytest.mark.slow

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
    pixels = (z[:, :3] / 6 + np.float32(0.5)).clip(-0.04, 1.04)
    return np.repeat(pixels, 16, axis=1).reshape(-1, 3, 4, 4).transpose(0, 2, 3, 1)

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

    def recording(self, process, content):
        record(self, process, content)
        with contextlib.suppress(RuntimeError):  # it runs already
            timer.start()

    sinks.LocalSink.record = recording
for name in ("z.npy", "images", "z.zarr"):
    images = {"decode": decode, "batch": 32} if name == "images" else {}
    # A complete result is refused.
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
    """Start a process that generates into a folder, and kills itself.

    It does so some time after its start or its first record, as `kill` says, or at a write of this number.
    """
    # Children share what they compile, which takes most of their time.
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
        # Kills come at any moment, and when something is recorded, however slow the machine is.
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
