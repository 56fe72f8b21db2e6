import pytest

from ellipsoid.generation import manifest
from ellipsoid.generation.manifest import ChunkRecord, Manifest, Recorder
from ellipsoid.generation.sinks import Sink

RECORDS = {1: ChunkRecord(10, 400, 7, 0, 0), 0: ChunkRecord(10, 400, 5, 10, 3)}


def test_what_is_composed_is_read_back():
    content = manifest.dump({"n": 20, "law": "uniform"}, RECORDS)
    assert manifest.load(content, "x") == ({"n": 20, "law": "uniform"}, RECORDS)
    assert content.startswith(b'{"format": "ellipsoid.generation", "format_version": 1, ')
    assert b'"rows": 20, "bytes": 800, "judged": 10, "outside": 3' in content
    assert content.index(b'"0": [10, 400, 5') < content.index(b'"1": [10, 400, 7')


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{}",
        b"[" * 100_000,
        b'{"format": "ellipsoid.generation", "format_version": 2}',
        b'{"format": "ellipsoid.generation", "format_version": 1, "configuration": {}, "chunks": []}',
        b'{"format": "ellipsoid.generation", "format_version": 1, "configuration": 3, "chunks": {}}',
        manifest.dump({}, RECORDS).replace(b'"bytes": 800', b'"bytes": 801'),
    ],
)
def test_anything_else_is_refused(content):
    with pytest.raises(ValueError, match=r"x: expected a manifest of format ellipsoid\.generation 1; got"):
        manifest.load(content, "x")


def test_differences_are_named():
    assert manifest.differences({"a": 1, "b": None}, {"a": 2, "b": None}) == ["a: 1, not 2"]
    assert manifest.differences({}, {"law": "normal"}) == ['law: null, not "normal"']


def test_records_of_processes_are_merged():
    manifests = [Manifest({}, {index: record}) for index, record in RECORDS.items()]
    assert manifest.merge_records(manifests) == RECORDS


class Kept(Sink):
    def __init__(self):
        self.saved = []

    def record(self, process, content):
        self.saved.append((process, manifest.load(content, "x").records))


def test_a_recorder_saves_at_its_end_whatever_happens():
    sink = Kept()
    recorder = Recorder(sink, "3", {}, {})

    def cut():
        with recorder:
            for index, record in RECORDS.items():
                recorder.add(index, record)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        cut()
    assert sink.saved == [("3", RECORDS)]
    assert recorder.saved == RECORDS


def test_a_recorder_saves_seldom_and_not_without_need():
    sink = Kept()
    with Recorder(sink, "0", {}, {}) as recorder:
        for index in range(1000):
            recorder.add(index, RECORDS[0])
            recorder.update()
    assert len(sink.saved) <= 3
    with Recorder(sink, "0", {}, dict(RECORDS)):
        sink.saved.clear()
    assert sink.saved == []
