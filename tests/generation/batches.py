"""A decoder, sinks that record their calls, and one way to call generate."""

import json
import zlib
from pathlib import Path

import numpy as np
from helpers import decode

import ellipsoid as el
from ellipsoid.generation.sinks import NpySink


def generate(state, n, sink, **options):
    """Write rows of the sequence of key 3, uniform by default."""
    return el.generate(el.key(3), state, n, sink, **{"law": "uniform", "progress": False, **options})


def draws_of(state, n, **options):
    """Draw the rows that `generate` writes."""
    return el.sample(el.key(3), state, n, **{"law": "uniform", **options})


def latents_of(state, n, **options):
    """Draw the latents that `generate` writes."""
    return np.asarray(draws_of(state, n, **options).latents)


def images_of(latents):
    """Give the images that `generate` writes."""
    return np.round(np.clip(decode(np.asarray(latents, np.float32)), 0, 1) * 255).astype(np.uint8)


def manifest_of(path):
    """Give the manifest beside a file."""
    return json.loads(Path(f"{path}.json").read_text())


def contents(folder):
    """Give all names in a folder, with the checksums of files."""
    return {
        str(path.relative_to(folder)): zlib.crc32(path.read_bytes()) if path.is_file() else None
        for path in folder.rglob("*")
    }


class Stop:
    """A decoder that raises on one call, and counts them."""

    def __init__(self, error=None, at=0):
        self.calls, self.error, self.at = 0, error, at

    def __call__(self, z):
        self.calls += 1
        if self.calls == self.at:
            raise self.error
        return decode(z)


class Logged(NpySink):
    """A sink that records the calls to it, in their order."""

    def __init__(self, path):
        super().__init__(path)
        self.events = []

    def log(self, *event):
        self.events.append(event)

    def write(self, start, columns):
        checksum = super().write(start, columns)
        self.log("written", start // self.plan.chunk)
        return checksum

    def flush(self):
        self.log("flush")
        super().flush()
        self.log("flushed")

    def record(self, process, content):
        super().record(process, content)
        self.log("recorded", {int(index) for index in json.loads(content)["chunks"]})
