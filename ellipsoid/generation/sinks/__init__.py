"""Sinks: the destinations of large batches, as arrays, image files, archives, tables, or a function."""

from ellipsoid.generation.sinks.base import CallbackSink as CallbackSink
from ellipsoid.generation.sinks.base import Checksum as Checksum
from ellipsoid.generation.sinks.base import Column as Column
from ellipsoid.generation.sinks.base import Columns as Columns
from ellipsoid.generation.sinks.base import Sink as Sink
from ellipsoid.generation.sinks.base import WritePlan as WritePlan
from ellipsoid.generation.sinks.choose import choose_sink as choose_sink
from ellipsoid.generation.sinks.local import LocalSink as LocalSink
from ellipsoid.generation.sinks.npy import NpySink as NpySink
from ellipsoid.generation.sinks.parquet import ParquetSink as ParquetSink
from ellipsoid.generation.sinks.png import PngSink as PngSink
from ellipsoid.generation.sinks.tar import TarSink as TarSink
from ellipsoid.generation.sinks.zarr import RemoteZarrSink as RemoteZarrSink
from ellipsoid.generation.sinks.zarr import ZarrSink as ZarrSink
