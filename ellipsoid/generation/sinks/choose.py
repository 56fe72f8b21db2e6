"""The choice of a sink by name."""

import os
import re
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

# Suffixes of other file formats; nobody wants a folder of images with such a name.
_OTHER_FORMATS = re.compile(
    r"\.(npz|h5|hdf5?|mat|csv|tsv|txt|jsonl?|xlsx|feather|arrow|pq|pth?|pkl|pickle|ckpt|safetensors|tfrecord|onnx"
    r"|lmdb|mdb|db|sqlite|zip|gz|tgz|bz2|tbz|xz|txz|zst|7z|rar|png|jpe?g|gif|webp|bmp|tiff?|svg|pdf|html|mp4)"
)


def choose_sink(sink: str | os.PathLike[str] | Callable[..., Any] | Sink) -> Sink:
    """Choose a sink by the suffix of a name, in either case; wrap a function, and return a sink unchanged.

    Raises
    ------
    TypeError
        If `sink` is not a path, a function or a sink.
    ValueError
        If a URL does not end in ``.zarr``, or a name has the suffix of another format.
    ImportError
        If `sink` is a URL and tensorstore is missing.

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
    suffix = Path(name).suffix.lower()
    if "://" in name:
        if suffix != ".zarr":
            raise ValueError(f"sink: expected a URL that ends in .zarr; got {name!r}")
        return RemoteZarrSink(name)
    if _OTHER_FORMATS.fullmatch(suffix):
        raise ValueError(
            f"sink: expected a name that ends in {', '.join(_BY_SUFFIX)}, or the name of a folder for PNG "
            f"images; got {name!r}"
        )
    return _BY_SUFFIX.get(suffix, PngSink)(name)
