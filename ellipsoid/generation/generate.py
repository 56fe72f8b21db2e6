"""Drawing many rows into files, a chunk at a time: in bounded memory, and so that a cut run can go on.

The calling thread draws and decodes, that is, it keeps the device supplied with work; threads of the
sink bring what is ready to the host and write it. At most one chunk more than there are such threads is
on its way, so memory does not depend on n. A chunk that is finished is recorded in a manifest
(:mod:`ellipsoid.generation.manifest`), which is written after the data it speaks of; a run that finds a
manifest does what is left. Row ``i`` depends on the key, ``i``, the state and the settings alone, and a chunk
that is written again leaves the same bytes: so a run may be cut at any moment, and neither chunk, nor
the number of processes, nor a restart changes the result.
"""

import errno
import functools
import operator
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jax.typing import ArrayLike, DTypeLike

from ellipsoid.archive import digest
from ellipsoid.blocks import n_cores
from ellipsoid.checks import check_integer
from ellipsoid.density import contains, gauge
from ellipsoid.generation import manifest
from ellipsoid.generation.manifest import Record, Recorder, Records
from ellipsoid.generation.sinks import Column, Plan, Sink, as_sink
from ellipsoid.mixture import Label, Mixture
from ellipsoid.pixels import as_uint8
from ellipsoid.progress import progress_bar
from ellipsoid.random import philox_words
from ellipsoid.regions import Region, as_region
from ellipsoid.sampling import sample_at
from ellipsoid.sequence import block_rows
from ellipsoid.settings import DEFAULT_LEVEL
from ellipsoid.shapes import check_shape
from ellipsoid.state import PCAState

_BESIDE = ("latents", "scores", "gauge", "part")
# The C library hands blocks above 32 MB back to the system after each use; new pages for them cost a third of
# the time (400,000 rows of 256 float32: 2.1 s of CPU time in chunks of 64 MB, 1.6 s in chunks of 16 MB).
_CHUNK_BYTES = 2**24
# To judge a row of 16 bits takes longer than to draw it; from this many, the share outside has a standard
# error of at most 0.16 %.
_JUDGED_ROWS = 100_000
_JUDGED_BATCH = 2048


def generate(
    key: jax.Array,
    state: PCAState | Mixture,
    n: int,
    sink: str | os.PathLike[str] | Callable[..., Any] | Sink,
    *,
    law: str = "redraw",
    level: float = DEFAULT_LEVEL,
    fact: float = 1.0,
    region: str | Region = "pairwise",
    label: Label | None = None,
    dtype: DTypeLike = "float32",
    decode: Callable[[np.ndarray], ArrayLike] | None = None,
    decoder_digest: str | None = None,
    batch: int = 256,
    beside: tuple[str, ...] | list[str] = (),
    chunk: int | None = None,
    verify: bool = False,
    processes: int | None = None,
    process_id: int | None = None,
    progress: bool = True,
) -> Path | str | None:
    """Write the first `n` rows of a sequence, as latents or as decoded images.

    The result appears under its name when it is complete. Until then it lies in ``NAME.partial`` beside
    it; the same call goes on there, whatever stopped the one before, and leaves the same bytes as a call
    that was never stopped. What a finished result was made of is told by ``NAME.json`` beside a file and
    ``manifest.json`` in a folder.

    Parameters
    ----------
    key, state, n, law, level, fact, region, label
        As for :func:`ellipsoid.sample`.
    sink : path, callable or Sink
        A name is understood by its end:

        ============ =========================================================================
        ``.npy``     one array, ``(n, D)`` latents or ``(n, H, W, C)`` uint8 images
        ``.zarr``    a Zarr 3 group of arrays, one shard a chunk; also by URL (``gs://``, ``s3://``)
        ``.tar``     WebDataset shards, one a chunk
        ``.parquet`` a folder of Parquet files, one a chunk; latents only
        other        a folder of numbered PNG images
        ============ =========================================================================

        A function is called as ``function(start, columns)`` with the first row number and a dictionary
        of arrays. Objects of :mod:`ellipsoid.generation.sinks` allow for more settings.
    dtype : {"float32", "float16", "bfloat16"}
        Of latents and scores; bfloat16 in ``.zarr`` only, as the other formats do not have it.
    decode : callable, optional
        From ``(batch, D)`` float32 latents to ``(batch, H, W, C)`` images: uint8, or floats in [0, 1], which
        are rounded and clipped. Of 16-bit latents it is given the values that are written. Latents alone
        are written when absent.
    decoder_digest : str, optional
        Anything that tells the decoder from others. A run that goes on with another is refused.
    batch : int
        Rows that `decode` is given, always exactly so many.
    beside : sequence of {"latents", "scores", "gauge", "part"}
        What to write beside the images or latents; the part that a row was drawn from only of a mixture. The
        gauge is that of the scores as they are handed out, at most 1; with a 16-bit `dtype` it is that of
        the latents as they are written. How many of those rounding has put outside is told by the manifest,
        of all or of 100,000 rows spread evenly.
    chunk : int, optional
        Rows that are written and recorded at a time, about 16 MB by default. It changes no row.
    verify : bool
        Read back what earlier runs wrote, and write again what does not have its checksum. With a complete
        result: read all of it and compare.
    processes, process_id : int, optional
        Share the chunks between so many processes, on one or several machines that see the same `sink`;
        this is number `process_id`, from 0. By default what ``jax.distributed`` says, else 1 and 0. Whichever
        finishes last gives the result its name.
    progress : bool
        Show a progress bar.

    Returns
    -------
    path, URL or None
        Where the rows are: the result, or ``NAME.partial`` while chunks of other processes are missing.
        None for a function.

    Raises
    ------
    FileExistsError
        If the sink is complete already, or something else has its name.
    ValueError
        For a sink that can't hold what is asked for; for an unfinished result of other settings; and as
        :func:`ellipsoid.sample`.
    RuntimeError
        If `verify` finds a complete result damaged.
    OSError
        If the disk has too little space, or is full. What was written is kept.
    KeyboardInterrupt
        After the chunks in hand are written.
    """
    n, batch = _count("n", n), _count("batch", batch)
    processes, process_id = _process(processes, process_id)
    sink, region = as_sink(sink), as_region(region)
    settings = {"level": level, "fact": fact, "region": region}
    names = _column_names(decode, beside)
    if "part" in names and not isinstance(state, Mixture):
        raise ValueError("beside: expected no part, as one state has no parts; fit a mixture")
    state = check_shape(state, label)
    compute = functools.partial(
        _compute,
        functools.partial(_draw, key, state, law=law, dtype=dtype, **settings),
        functools.partial(gauge, state, **settings),
        functools.partial(contains, state, **settings),
        None if decode is None else functools.partial(_decode, decode, batch),
        names,
        max(1, n // _JUDGED_ROWS),
    )
    parts = _parts(sink)
    complete = sink.published()
    # A run was cut when its result was complete, but not all else was removed.
    tidied = complete is not None and sink.tidy()
    if tidied:
        parts = {}
    begun = [*parts.values()] or ([manifest.load(complete, sink.name)] if complete else [])
    first, *_ = compute(0, min(n, batch))()
    if chunk is None:
        chunk = begun[0][0]["chunk"] if begun else _default_chunk(first, n, batch, state, law)
    columns = {name: Column(values.dtype, values.shape[1:]) for name, values in first.items()}
    plan = Plan(n, _count("chunk", chunk), columns)
    sink.open(plan)
    configuration = {
        "n": n,
        "chunk": plan.chunk,
        "format": sink.format,
        "columns": {name: [column.dtype.name, list(column.shape)] for name, column in columns.items()},
        "law": law,
        "level": float(level),
        "fact": float(fact),
        "region": region.name,
        "pairs_digest": digest(region),
        "key": np.asarray(philox_words(key)).tolist(),
        "state_digest": digest(_drawn_from(state)),
        "decoder_digest": decoder_digest,
        "made_by": _versions(),
    }
    records = _merged(parts)
    if sink.exists() and len(records) < plan.n_chunks and (parts or not (verify or tidied)):
        raise FileExistsError(f"{sink.name} exists: choose another name, or remove it first")
    for other, _ in begun:
        _check_same(other, configuration, sink)
    if sink.exists() and not parts:
        if not begun:
            raise FileExistsError(
                f"{sink.name} exists and has no manifest to verify it by: choose another name"
            )
        if verify:
            _verify_complete(sink, plan, begun[0][1], progress)
        return sink.location()

    if not sink.exists():
        mine = range(process_id, plan.n_chunks, processes)
        _, own = parts.get(str(process_id), ({}, {}))
        if verify:
            for index in _damaged(sink, plan, {i: records[i] for i in mine if i in records}, progress):
                del records[index]
                own.pop(index, None)
        todo = [index for index in mine if index not in records]
        if todo:
            sink.check_space(first, n - sum(record.rows for record in records.values()))
            sink.create()
            _write_chunks(sink, plan, todo, compute, Recorder(sink, process_id, configuration, own), progress)
        # Others may have gone on meanwhile.
        records = own | _merged(_parts(sink))
    # What exists while nothing is left to do is a result that was cut while it was given its name.
    if len(records) == plan.n_chunks:
        if sum(record.rows for record in records.values()) != n:
            raise RuntimeError(f"{sink.name}: the chunks of the manifest do not add up to {n:,} rows")
        sink.publish(manifest.dump(configuration, records))
    return sink.location()


# --- what was asked for ----------------------------------------------------------------------------


def _count(name, value):
    value = check_integer(name, value)
    if value < 1:
        raise ValueError(f"{name}: expected at least 1; got {value}")
    return value


def _process(processes, process_id):
    if processes is None and process_id is None:
        return jax.process_count(), jax.process_index()
    if processes is None or process_id is None:
        raise ValueError("processes and process_id: expected both or neither")
    if not 0 <= operator.index(process_id) < operator.index(processes):
        raise ValueError(f"process_id: expected 0 to {processes - 1}; got {process_id}")
    return processes, process_id


def _column_names(decode, beside):
    unknown = set(beside) - set(_BESIDE)
    if unknown or isinstance(beside, str):
        raise ValueError(f"beside: expected a sequence of {', '.join(_BESIDE)}; got {beside!r}")
    return list(dict.fromkeys(["latents" if decode is None else "images", *beside]))


def _drawn_from(state):
    """Give all that draws from a state depend on."""
    if isinstance(state, Mixture):
        return [state.weights, *_drawn_from(state.parts)]
    return [state.mean, state.components, state.scale]


def _default_chunk(first, n, batch, state, law):
    rows = len(next(iter(first.values())))
    by_bytes = 2 ** int(
        np.log2(max(_CHUNK_BYTES * rows / sum(values.nbytes for values in first.values()), 1))
    )
    if "images" in first:
        # They take long to decode and encode: a few of them already are shared between the cores.
        return min(by_bytes, max(batch, n // 32))
    platform = jax.default_backend()
    n_parts = n_cores() if platform == "cpu" else jax.local_device_count()
    # Rows are drawn in whole blocks, one for each core or device at a time.
    return max(by_bytes, n_parts * block_rows(state.n_components, law, platform))


def _versions():
    from ellipsoid import __version__

    return {"ellipsoid": __version__, "jax": jax.__version__, "platform": jax.default_backend()}


def _check_same(begun, configuration, sink):
    differences = manifest.differences(begun, configuration)
    if differences:
        raise ValueError(
            f"sink: {sink.location()} was made with other settings ({'; '.join(differences)}); "
            f"give those, choose another name, or remove it"
        )


# --- rows ------------------------------------------------------------------------------------------


def _draw(key, state, start, stop, **options):
    """Draw rows `start` to `stop`, and a few more where several devices share them evenly."""
    devices = jax.local_devices()
    if len(devices) > 1:
        stop += (start - stop) % len(devices)
        options["sharding"] = NamedSharding(Mesh(devices, "rows"), PartitionSpec("rows"))
    return sample_at(key, state, np.arange(start, stop, dtype=np.uint64), **options)


def _compute(draw, gauge_of, inside, decode, names, judge_every, start, stop):
    """Start to compute some rows; gives a function that waits for them.

    That function returns the columns on the host, how many rows were judged, and how many are outside.
    """
    draws = draw(start, stop)
    columns = {name: [values] for name, values in draws._asdict().items()}
    sample = np.empty((0, 0))
    if draws.latents.dtype != np.float32:
        written = np.asarray(draws.latents)[: stop - start]
        sample = written[-start % judge_every :: judge_every]
        if "gauge" in names:
            columns["gauge"] = _in_batches(gauge_of, written, _JUDGED_BATCH)
    judged = _in_batches(inside, sample, _JUDGED_BATCH)
    if decode is not None:
        columns["images"] = decode(np.asarray(draws.latents, np.float32)[: stop - start])
    columns = {name: columns[name] for name in names}

    def wait():
        rows = {name: _joined(pieces)[: stop - start] for name, pieces in columns.items()}
        n_outside = int(np.sum(~_joined(judged)[: len(sample)])) if judged else 0
        return rows, len(sample), n_outside

    return wait


def _in_batches(function, rows, size):
    """Results of a function that is always given `size` rows: compiled once, and with the same rounding."""
    padded = np.pad(rows, ((0, -len(rows) % size), (0, 0)), mode="edge")
    return [function(padded[start : start + size]) for start in range(0, len(rows), size)]


def _decode(decode, size, latents):
    def images_of(z):
        images = decode(z)
        if np.ndim(images) != 4 or np.shape(images)[0] != size:
            raise ValueError(
                f"decode: expected images ({size}, H, W, C) of {size} latents; got shape {np.shape(images)}"
            )
        return as_uint8(images)

    return _in_batches(images_of, latents, size)


def _joined(pieces):
    pieces = [np.asarray(piece) for piece in pieces]
    return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)


# --- chunks ----------------------------------------------------------------------------------------


def _parts(sink):
    return {
        name: manifest.load(content, f"{sink.name}, part {name}") for name, content in sink.parts().items()
    }


def _merged(parts) -> Records:
    return {index: record for _, records in parts.values() for index, record in records.items()}


def _write_chunks(sink, plan, todo, compute, recorder, progress):
    def write(index, wait):
        start, stop = plan.rows(index)
        rows, n_judged, n_outside = wait()
        for name, column in plan.columns.items():
            if rows[name].shape != (stop - start, *column.shape) or rows[name].dtype != column.dtype:
                raise RuntimeError(
                    f"{name}: expected {column.dtype} rows of shape {column.shape}, as the first were; "
                    f"got {rows[name].dtype} {rows[name].shape} for rows {start} to {stop}"
                )
        tally = sink.write(start, rows)
        record = Record(stop - start, tally.n_bytes, tally.crc32, n_judged, n_outside)
        recorder.add(index, record)
        return record

    n_rows = sum(stop - start for start, stop in map(plan.rows, todo))
    n_bytes = 0
    try:
        # On the way out, whatever the reason, the pool finishes the chunks in hand; then they are recorded.
        with (
            recorder,
            progress_bar(Path(sink.name).name, n_rows, enabled=progress) as advance,
            ThreadPoolExecutor(sink.workers, "write") as pool,
        ):
            futures = (pool.submit(write, index, compute(*plan.rows(index))) for index in todo)
            for record in _results(futures, sink.workers):
                n_bytes += record.n_bytes
                advance(record.rows, f"{n_bytes / 1e6:,.0f} MB")
                recorder.update()
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"interrupted: {_how_to_go_on(sink, plan, recorder)}") from None
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        message = f"{error.strerror}: make room; {_how_to_go_on(sink, plan, recorder)}"
        raise OSError(error.errno, message) from error


def _results(futures: Iterable[Future[Record]], ahead: int) -> Iterator[Record]:
    """Results in order; a future is asked for while at most `ahead` are not waited for."""
    waiting: deque[Future[Record]] = deque()
    for future in futures:
        waiting.append(future)
        if len(waiting) > ahead:
            yield waiting.popleft().result()
    for future in waiting:
        yield future.result()


def _how_to_go_on(sink, plan, recorder):
    if sink.location() is None:
        return "nothing was kept"
    rows = sum(record.rows for record in recorder.saved.values())
    return f"{rows:,} of {plan.n:,} rows are kept in {sink.location()}; the same call goes on there"


def _damaged(sink, plan, records, progress) -> list[int]:
    """Chunks that, read back, do not have the size and checksum of their record."""

    def is_whole(index):
        tally = sink.read(*plan.rows(index))
        return (tally.n_bytes, tally.crc32) == (records[index].n_bytes, records[index].crc32)

    damaged = []
    with (
        progress_bar("verify", len(records), enabled=progress, unit="chunks") as advance,
        ThreadPoolExecutor(sink.workers) as pool,
    ):
        for index, whole in zip(records, pool.map(is_whole, records), strict=True):
            advance(1)
            if not whole:
                damaged.append(index)
    return damaged


def _verify_complete(sink, plan, records, progress):
    damaged = _damaged(sink, plan, records, progress)
    if damaged or len(records) < plan.n_chunks:
        first, _ = plan.rows(min(damaged, default=len(records)))
        raise RuntimeError(
            f"{sink.name} is damaged: {len(damaged)} of {plan.n_chunks} chunks, of {plan.chunk:,} rows each, "
            f"do not have their checksum, from row {first:,} on; remove it and generate it again"
        )
