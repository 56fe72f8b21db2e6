"""
A million rows into a file
==========================

A file can hold more draws than the memory. ``el.generate`` draws and writes them in
chunks. It goes on after an interruption, and it leaves the same bytes for the same
key.
"""

# %%
# One million latents
# -------------------
#
# The name of the output chooses the format. ``.zarr`` is a folder of shards that many
# programs read. The gauge of each row is written beside its latents. The rate below
# is that of the machine that built this page.

import tempfile
import time
from pathlib import Path

import numpy as np
import tensorstore

import ellipsoid as el
from ellipsoid import figures
from ellipsoid.models import decode_latents
from ellipsoid.runs import load_autoencoder

state = el.fit(np.load("run/latents.npy"))
out = Path(tempfile.mkdtemp()) / "latents.zarr"
settings = {"law": "uniform", "level": 2}

started = time.perf_counter()
el.generate(
    el.key(0),
    state,
    1_000_000,
    out,
    **settings,
    dtype="float16",
    beside=["gauge"],
    progress=False,
)
seconds = time.perf_counter() - started

n_bytes = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
print(f"{seconds:.1f} s, {1e6 / seconds:,.0f} rows/s, {n_bytes / 1e6:.0f} MB")

# %%
# Ten million rows take about ten times as long, ten times as much of the disk, and
# hardly more memory.
#
# Read some rows
# --------------
#
# A row is read without the others. The images below are rows from all over the file.


def opened(name):
    store = {"driver": "file", "path": f"{out / name}/"}
    return tensorstore.open({"driver": "zarr3", "kvstore": store}, read=True).result()


latents = opened("latents")
rows = np.arange(0, 1_000_000, 41_667)
some = np.asarray(latents[rows].read().result(), np.float32)

autoencoder = load_autoencoder("run")
names = [f"{row:,}" for row in rows]
figure = figures.image_grid(decode_latents(autoencoder, some), columns=8, labels=names)

# %%
# Every row by its number
# -----------------------
#
# The rows of one key form an infinite sequence. ``sample_at`` draws any of its rows
# without the rows before, and gives what the file holds, up to the rounding to 16
# bits.

draws = el.sample_at(el.key(0), state, rows, **settings)
print("largest difference:", np.abs(np.asarray(draws.latents) - some).max())
