"""The sink that a name means."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ellipsoid.generation.sinks.base import CallbackSink, Sink
from ellipsoid.generation.sinks.npy import NpySink
from ellipsoid.generation.sinks.parquet import ParquetSink
from ellipsoid.generation.sinks.png import PngSink
from ellipsoid.generation.sinks.tar import TarSink
from ellipsoid.generation.sinks.zarr import RemoteZarrSink, ZarrSink

_BY_SUFFIX = {".npy": NpySink, ".zarr": ZarrSink, ".tar": TarSink, ".parquet": ParquetSink}


def choose_sink(sink: str | os.PathLike[str] | Callable[..., Any] | Sink) -> Sink:
    """Choose a sink by the end of a name; give a sink back, and wrap a function.

    Raises
    ------
    TypeError
        For anything else.
    ValueError
        For a URL that does not end in ``.zarr``.
    ImportError
        For a URL, if tensorstore is missing.

    Examples
    --------
    >>> from ellipsoid.generation.sinks import choose_sink
    >>> choose_sink("latents.npy").format, choose_sink("a_folder").format
    ('npy', 'png')
    """
    if isinstance(sink, Sink):
        return sink
    if callable(sink):
        return CallbackSink(sink)
    if not isinstance(sink, str | os.PathLike):
        raise TypeError(f"sink: expected a path, a function or a sink object; got {type(sink).__name__}")
    name = os.fspath(sink)
    suffix = Path(name).suffix
    if "://" in name:
        if suffix != ".zarr":
            raise ValueError(f"sink: expected a URL that ends in .zarr; got {name!r}")
        return RemoteZarrSink(name)
    return _BY_SUFFIX.get(suffix, PngSink)(name)
