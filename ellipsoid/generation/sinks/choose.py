"""The sink that a name means."""

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

# Ends of names of files, for which nobody wants a folder of images.
_OTHER_FORMATS = re.compile(
    r"\.(npz|h5|hdf5?|mat|csv|tsv|txt|jsonl?|xlsx|feather|arrow|pq|pth?|pkl|pickle|ckpt|safetensors|tfrecord|onnx"
    r"|lmdb|mdb|db|sqlite|zip|gz|tgz|bz2|tbz|xz|txz|zst|7z|rar|png|jpe?g|gif|webp|bmp|tiff?|svg|pdf|html|mp4)"
)


def choose_sink(sink: str | os.PathLike[str] | Callable[..., Any] | Sink) -> Sink:
    """Choose a sink by the end of a name, in capital or small letters; give a sink back, and wrap a function.

    Raises
    ------
    TypeError
        For anything else.
    ValueError
        For a URL that does not end in ``.zarr``, and for a name that ends as files of another format do.
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
