"""Drawing many rows into files, a chunk at a time: in bounded memory, and so that a cut run can go on.

Each step of a call is a module of this room. A row source (:mod:`~ellipsoid.generation.rows`) makes what is
to be written. The destination is looked at (:mod:`~ellipsoid.generation.destination`), and the share of this
process taken, so that no other command writes the same rows or other ones. Chunks that are missing are
written (:mod:`~ellipsoid.generation.writing`) and recorded (:mod:`~ellipsoid.generation.manifest`), or all
are read back (:mod:`~ellipsoid.generation.verify`). Row ``i`` depends on the key, ``i``, the shape and the
settings alone, and a chunk that is written again leaves the same bytes. A run may therefore be cut at any
moment, and neither chunk, nor the number of processes, nor a restart changes the result.
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

    The result appears under its name when it is complete. Until then it lies in ``NAME.partial`` beside
    it; the same call goes on there, whatever stopped the one before, and leaves the same bytes as a call
    that was never stopped. The same call after the result is complete changes nothing, and gives its place
    again. The file ``NAME.json`` beside a result, or ``manifest.json`` in a folder of images or
    arrays, tells what a finished result was made of.

    Parameters
    ----------
    key, shape, n, law, level, fact, region, label
        Arguments of :func:`ellipsoid.sample`.
    sink : path, callable or Sink
        Destination of the rows. A name is understood by its end:

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
        Type of latents and scores; bfloat16 in ``.zarr`` only, since the other formats do not have it.
    decode : callable, optional
        Function from ``(batch, D)`` float32 latents to ``(batch, H, W, C)`` images: uint8, or floats in
        `pixel_range`, which are rounded and clipped. The first batch is examined. It is given the values that
        are written, also where those have 16 bits. Latents alone are written when it is absent.
    pixel_range : tuple of two float
        Black and white of images that are floats: (-1, 1) for a decoder that ends in tanh.
    decoder_digest : str, optional
        Anything that tells the decoder from others. A run that goes on with another is refused; so is a call
        for images that are complete already, unless this tells that the same decoder made them.
    batch : int
        Rows that `decode` is given, always exactly so many.
    beside : sequence of {"latents", "scores", "gauge", "part"}
        Columns to write beside the images or latents; the part that a row was drawn from only of a mixture.
        The gauge is that of the scores as they are handed out, at most 1; with a 16-bit `dtype` it is that of
        the latents as they are written. The manifest tells how many of those rounding has put outside, of all
        or of 100,000 rows spread evenly.
    chunk : int, optional
        Rows that are written and recorded at a time, about 16 MB by default. It changes no row.
    verify : bool
        Whether to read back what earlier runs wrote, and to write again what does not have its checksum. A
        complete result is read as a whole and compared.
    processes, process_id : int, optional
        Number of processes that share the chunks, on one or several machines that see the same `sink`, and
        the number of this one, from 0. By default they are what ``jax.distributed`` says, else 1 and 0.
        Whichever process finishes last gives the result its name.
    progress : bool
        Whether to show a progress bar.

    Returns
    -------
    path, URL or None
        Place of the rows: the result, or ``NAME.partial`` while chunks of other processes are missing.
        None for a function.

    Raises
    ------
    FileExistsError
        If something else has the name of the sink: a file that was not made here, a complete result of other
        settings, or complete images where no `decoder_digest` tells that the same decoder made them. Also if
        a living process is writing the same rows; one that is dead is followed.
    FileNotFoundError
        If rows were removed before the result was complete.
    ImportError
        If a ``.zarr`` or ``.parquet`` sink lacks its package.
    KeyboardInterrupt
        After the chunks in hand are written.
    OSError
        If the disk has too little space, or is full; then all that was written is kept.
    RuntimeError
        If `verify` finds a complete result damaged; if images change their shape on the way; or if the
        records of a result do not add up to `n` rows, or are not of one configuration.
    TypeError
        For arguments of the wrong kind, and images that are neither uint8 nor floats.
    ValueError
        For a sink that cannot hold what is asked for, a name that ends as files of other formats do, an
        unfinished result of other settings, also one that another process has just begun, a damaged manifest,
        images of another shape than ``(batch, H, W, C)`` with 1, 3 or 4 channels, images with NaN or with
        many pixels beyond `pixel_range`, latents that a 16-bit `dtype` cannot hold, and for what
        :func:`ellipsoid.sample` refuses.
    Exception
        Whatever else `decode` or a function raises, with a note of what is kept.

    Warns
    -----
    UserWarning
        If all draws from an ellipsoid collapse, as for :func:`ellipsoid.sample`.

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

    Rows can also go to a function, a chunk at a time:

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
            # Again: another process may have gone on, or come to the end, in between.
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
