import zlib

import numpy as np
import pytest
from batches import generate, latents_of

from ellipsoid.generation.sinks import Checksum, Column, Sink, WritePlan


def test_a_sink_of_ones_own_needs_a_write_alone(state):
    class Means(Sink):
        def __init__(self):
            self.means = {}

        def write(self, start, columns):
            self.means[start] = columns["latents"].mean()
            return Checksum()

    sink = Means()
    assert generate(state, 250, sink, chunk=100) is None
    latents = latents_of(state, 250)
    assert sink.means == {start: latents[start : start + 100].mean() for start in (0, 100, 200)}


def test_a_plan_cuts_rows_into_chunks():
    plan = WritePlan(25, 10, {"latents": Column(np.dtype(np.float16), (12,))})
    assert [plan.rows(index) for index in range(plan.n_chunks)] == [(0, 10), (10, 20), (20, 25)]
    assert [plan.n_rows(range(i, 3, 2)) for i in range(3)] == [15, 10, 5]
    assert plan.columns["latents"].n_bytes == 24
    assert Column(np.dtype(np.float32), ()).n_bytes == 4


@pytest.mark.parametrize("pieces", [[b"abcdef"], [b"ab", b"", memoryview(b"cdef")]])
def test_a_checksum_does_not_depend_on_the_pieces(pieces):
    checksum = Checksum()
    for piece in pieces:
        checksum.add(piece)
    assert (checksum.n_bytes, checksum.crc32) == (6, zlib.crc32(b"abcdef"))
