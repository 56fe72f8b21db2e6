"""Drawing many rows into files chunk by chunk, in bounded memory, so that a stopped run can continue.

Each step of a call is a module of this room. A row source (:mod:`~ellipsoid.generation.rows`) makes the rows.
The destination is inspected (:mod:`~ellipsoid.generation.destination`), and this process takes its share, so
that no other command writes there. Missing chunks are written (:mod:`~ellipsoid.generation.writing`) and
recorded (:mod:`~ellipsoid.generation.manifest`), or all chunks are read back
(:mod:`~ellipsoid.generation.verify`). Row ``i`` depends on the key, ``i``, the shape and the settings alone,
and writing a chunk again gives the same bytes. A run may therefore be stopped at any moment, and neither the
chunk size, nor the number of processes, nor a restart changes the result.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.typing import ArrayLike, DTypeLike

from ellipsoid.checks import check_count, check_integer
from ellipsoid.generation.destination import Destination, Status, look
from ellipsoid.generation.manifest import merge_records
from ellipsoid.generation.rows import RowSource, column_names
from ellipsoid.generation.sinks.base import Sink
from ellipsoid.generation.sinks.choose import choose_sink
from ellipsoid.generation.verify import confirm
from ellipsoid.generation.writing import Share, share_taken, write_missing_chunks
from ellipsoid.labels import Label
from ellipsoid.pixels import PIXEL_RANGE, check_pixel_range
from ellipsoid.regions import Region, as_region
from ellipsoid.settings import DEFAULT_LEVEL, DrawSettings
from ellipsoid.shapes import Shape, check_shape


def generate(
    key: jax.Array,
    shape: Shape,
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
    pixel_range: tuple[float, float] = PIXEL_RANGE,
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

    The result appears under its name when it is complete. Until then it lies in ``NAME.partial`` beside it.
    After an interruption of any kind, the same call continues there, and leaves the same bytes as an
    uninterrupted call. If the result is already complete, the same call changes nothing and returns its path.
    The file ``NAME.json`` beside a result, or ``manifest.json`` in a folder of images, records the
    settings of a finished result.

    Parameters
    ----------
    key, shape, n, law, level, fact, region, label
        Arguments of :func:`ellipsoid.sample`.
    sink : path, callable or Sink
        Destination of the rows. The end of a name selects the format:

        ============ =========================================================================
        ``.npy``     one array, ``(n, D)`` latents or ``(n, H, W, C)`` uint8 images
        ``.zarr``    a Zarr 3 group of arrays, one shard a chunk; also by URL (``gs://``, ``s3://``)
        ``.tar``     WebDataset shards, one a chunk
        ``.parquet`` a folder of Parquet files, one a chunk; latents only
        other        a folder of numbered PNG images
        ============ =========================================================================

        A function is called as ``function(start, columns)``, with the first row number and a dictionary of
        arrays. The classes of :mod:`ellipsoid.generation.sinks` take more settings.
    dtype : {"float32", "float16", "bfloat16"}
        Data type of latents and scores. bfloat16 needs a ``.zarr`` sink, since the other formats lack it.
    decode : callable, optional
        Function from ``(batch, D)`` float32 latents to ``(batch, H, W, C)`` images: uint8, or floats in
        `pixel_range`, which are rounded and clipped. Its latents are the written ones, also with a 16-bit
        `dtype`. The first batch is checked. By default latents are written and no images.
    pixel_range : tuple of two float
        Black and white of float images, such as (-1, 1) for a decoder that ends in tanh.
    decoder_digest : str, optional
        Text that identifies the decoder. A run cannot continue with another decoder. Without this text, a
        call for images that are already complete is refused.
    batch : int
        Number of latents in each call of `decode`, the same in all calls.
    beside : sequence of {"latents", "scores", "gauge", "part"}
        Columns to write beside the images or latents; "part" is the part of a mixture that drew the row. The
        gauge is that of the returned scores, at most 1. With a 16-bit `dtype` it is that of the written
        latents, and the manifest counts those that rounding has put outside, among all rows or among 100,000
        evenly spread ones.
    chunk : int, optional
        Number of rows that are written and recorded at a time; by default about 16 MB. It changes no row.
    verify : bool
        Whether to read back the chunks of earlier runs, and to write those again whose checksums differ. A
        complete result is read and compared as a whole.
    processes, process_id : int, optional
        Number of processes that share the chunks, on one or several machines with access to the same `sink`,
        and the number of this process, from 0. By default both come from ``jax.distributed``, or are 1 and 0.
        The last process to finish gives the result its name.
    progress : bool
        Whether to show a progress bar.

    Returns
    -------
    path, URL or None
        Place of the rows: the result, or ``NAME.partial`` while chunks of other processes are missing. None
        for a function.

    Raises
    ------
    FileExistsError
        If something else has the name of the sink: a file of other origin, a complete result of other
        settings, or complete images without a `decoder_digest` that shows that the same decoder made them;
        or if a living process is writing the same rows.
    FileNotFoundError
        If rows were removed before the result was complete.
    ImportError
        If a ``.zarr`` or ``.parquet`` sink lacks its package.
    KeyboardInterrupt
        If the user interrupts; the current chunks are written first.
    OSError
        If the disk has too little space or becomes full; all rows written so far are kept.
    RuntimeError
        If `verify` finds a complete result damaged, images change their shape during the run, or the records
        of a result do not add up to `n` rows or have several configurations.
    TypeError
        If an argument has the wrong type, or images are neither uint8 nor floats.
    ValueError
        If the sink cannot hold the requested columns, or its name ends like a file of another format. If an
        unfinished result, perhaps of another process, has other settings, or a manifest is damaged. If images
        do not have the shape ``(batch, H, W, C)`` with 1, 3 or 4 channels, hold NaN, or have many pixels
        beyond `pixel_range`. If a 16-bit `dtype` cannot hold a latent, or :func:`ellipsoid.sample` refuses an
        argument.
    Exception
        If `decode` or the function of a sink raises another error; a note says how many rows are kept.

    Warns
    -----
    UserWarning
        If all draws from an ellipsoid collapse; see :func:`ellipsoid.sample`.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> import ellipsoid as el
    >>> state = el.fit(np.random.default_rng(0).normal(size=(100, 2)))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = el.generate(el.key(0), state, 1000, Path(folder) / "z.npy", law="uniform", progress=False)
    ...     np.load(path, mmap_mode="r").shape
    (1000, 2)

    A function can also take the rows, chunk by chunk:

    >>> def count(start, columns):
    ...     print(start, len(columns["latents"]))
    >>> el.generate(el.key(0), state, 1000, count, law="uniform", chunk=600, progress=False)
    0 600
    600 400
    """
    n, batch = check_count("n", n), check_count("batch", batch)
    chunk = None if chunk is None else check_count("chunk", chunk)
    pixel_range = check_pixel_range(pixel_range)
    share = _share(processes, process_id)
    names = column_names(shape, has_images=decode is not None, beside=beside)
    shape = check_shape(shape, label)
    settings = DrawSettings(law, level, fact, as_region(region))
    settings.check(shape.n_components)

    source = RowSource(key, shape, settings, n, names, dtype, batch, decode, pixel_range)
    destination = look(choose_sink(sink), source, chunk, decoder_digest)
    if destination.status in (Status.NEW, Status.UNFINISHED):
        with share_taken(destination, source, share):
            # It is inspected again: another process may have continued or finished in between.
            destination = look(destination.sink, source, chunk, decoder_digest)
            _finish(destination, source, share, verify=verify, progress=progress)
    else:
        _finish(destination, source, share, verify=verify, progress=progress)
    return destination.sink.location()


def _finish(
    destination: Destination, source: RowSource, share: Share, *, verify: bool, progress: bool
) -> None:
    match destination.status:
        case Status.FOREIGN:
            raise destination.refusal(verify=verify)
        case Status.COMPLETE:
            confirm(destination, verify=verify, progress=progress)
        case Status.WRITTEN:
            destination.publish(merge_records(destination.processes.values()))
        case Status.NEW | Status.UNFINISHED:
            own = write_missing_chunks(destination, source, share, verify=verify, progress=progress)
            destination.publish(own)


def _share(processes: int | None, process_id: int | None) -> Share:
    if processes is None and process_id is None:
        return Share(jax.process_index(), jax.process_count())
    if processes is None or process_id is None:
        raise ValueError(
            f"processes and process_id: expected both or neither; got {processes} and {process_id}"
        )
    processes, process_id = check_count("processes", processes), check_integer("process_id", process_id)
    if not 0 <= process_id < processes:
        raise ValueError(f"process_id: expected 0 to {processes - 1}; got {process_id}")
    return Share(process_id, processes)
