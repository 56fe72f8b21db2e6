"""The rows that a large batch has: drawn, judged, decoded, and brought to the host as columns of arrays."""

import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jax.typing import ArrayLike, DTypeLike

from ellipsoid.archive import digest
from ellipsoid.blocks import map_batches, n_cores
from ellipsoid.density import contains, gauge
from ellipsoid.draws import Draws, MixtureDraws
from ellipsoid.flow import Flow
from ellipsoid.generation.sinks.base import IMAGES, Column, n_rows
from ellipsoid.mixture import Mixture
from ellipsoid.pixels import PIXEL_RANGE, ImageDecoder
from ellipsoid.random import philox_words
from ellipsoid.regions import as_region
from ellipsoid.sampling import sample_at
from ellipsoid.sequence import shape_block_rows
from ellipsoid.settings import DrawSettings
from ellipsoid.shapes import Shape

_BESIDE = ("latents", "scores", "gauge", "part")
# The C library hands blocks above 32 MB back to the system after each use; new pages for them cost a third of
# the time (400,000 rows of 256 float32: 2.1 s of CPU time in chunks of 64 MB, 1.6 s in chunks of 16 MB).
_CHUNK_BYTES = 2**24
# To judge a row of 16 bits takes longer than to draw it; from this many, the share outside has a standard
# error of at most 0.16 %.
_JUDGED_ROWS = 100_000
_JUDGED_BATCH = 2048


class Rows(NamedTuple):
    """Some rows on the host.

    Attributes
    ----------
    columns : dict of str to array
        Values that are to be written, by column.
    judged, outside : int
        Rows of a 16-bit type that were looked at as they are written, and those of them that rounding has put
        outside of the region.
    """

    columns: dict[str, np.ndarray]
    judged: int
    outside: int


@dataclass(frozen=True, eq=False)
class RowSource:
    """The rows of one sequence, as they are to be written.

    Attributes
    ----------
    key : typed JAX key
        Key of the sequence.
    shape : PCAState, Mixture or Flow
        Shape to draw from, without what no draw depends on.
    settings : DrawSettings
        Distribution and region of the draws.
    n : int
        Number of rows.
    names : list of str
        Columns to write, the main one first.
    dtype : {"float32", "float16", "bfloat16"}
        Type of latents and scores.
    batch : int
        Rows that `decode` is given, always exactly so many.
    decode : callable or None
        Function from latents to images.
    pixel_range : tuple of two float
        Black and white of images that are floats.
    """

    key: jax.Array
    shape: Shape
    settings: DrawSettings
    n: int
    names: list[str]
    dtype: DTypeLike
    batch: int
    decode: Callable[[np.ndarray], ArrayLike] | None
    pixel_range: tuple[float, float] = PIXEL_RANGE

    @functools.cached_property
    def first(self) -> dict[str, np.ndarray]:
        """First few rows, which show what all will be like; drawn when they are asked for."""
        return self.compute(0, min(self.n, self.batch))().columns

    @functools.cached_property
    def columns(self) -> dict[str, Column]:
        """Type and shape of each column."""
        return {name: Column(values.dtype, values.shape[1:]) for name, values in self.first.items()}

    def default_chunk(self) -> int:
        """Rows to write at a time: about 16 MB, and enough to share between cores or devices."""
        n_bytes = sum(values.nbytes for values in self.first.values())
        by_bytes = 2 ** int(np.log2(max(_CHUNK_BYTES * n_rows(self.first) / n_bytes, 1)))
        if IMAGES in self.names:
            # They take long to decode and encode: a few of them already are shared between the cores.
            return min(by_bytes, max(self.batch, self.n // 32))
        platform = jax.default_backend()
        n_parallel = n_cores() if platform == "cpu" else jax.local_device_count()
        # Rows are drawn in whole blocks, one for each core or device at a time.
        return max(by_bytes, n_parallel * shape_block_rows(self.shape, self.settings.law, platform))

    def configuration(self) -> dict[str, Any]:
        """Everything that fixes the rows before they are decoded, by name, as a manifest keeps it."""
        region = as_region(self.settings.region)
        columns = {name: [column.dtype.name, list(column.shape)] for name, column in self.columns.items()}
        # Named where it is not the usual one only: manifests of before do not have it.
        is_usual = self.decode is None or self.pixel_range == PIXEL_RANGE
        return {
            "columns": columns,
            "law": self.settings.law,
            "level": float(self.settings.level),
            "fact": float(self.settings.fact),
            "region": region.name,
            "pairs_digest": digest(region),
            "key": np.asarray(philox_words(self.key)).tolist(),
            "state_digest": digest(_drawn_from(self.shape)),
            **({} if is_usual else {"pixel_range": list(self.pixel_range)}),
        }

    def compute(self, start: int, stop: int) -> Callable[[], Rows]:
        """Start to compute rows `start` to `stop`; gives a function that waits for them.

        Raises
        ------
        TypeError, ValueError
            For what :func:`ellipsoid.sample_at` refuses, and images that are none.
        """
        size, draws = stop - start, self._draw(start, stop)
        pieces: dict[str, list[Any]] = {name: [values] for name, values in draws._asdict().items()}
        n_judged, inside = 0, []
        if draws.latents.dtype != np.float32:
            written = np.asarray(draws.latents)[:size]
            every = max(1, self.n // _JUDGED_ROWS)
            judged = written[-start % every :: every]
            n_judged, inside = len(judged), self._judge(contains, judged)
            if "gauge" in self.names:
                pieces["gauge"] = self._judge(gauge, written)
        if self._decoder is not None:
            latents = np.asarray(draws.latents, np.float32)[:size]
            pieces[IMAGES] = map_batches(self._decoder, latents, self.batch)
        pieces = {name: pieces[name] for name in self.names}

        def wait() -> Rows:
            columns = {name: _joined(values)[:size] for name, values in pieces.items()}
            n_inside = int(np.sum(_joined(inside)[:n_judged])) if inside else 0
            return Rows(columns, n_judged, n_judged - n_inside)

        return wait

    def _draw(self, start: int, stop: int) -> Draws | MixtureDraws:
        """Draw rows `start` to `stop`, and a few more where several devices share them evenly."""
        devices = jax.local_devices()
        options = {**self.settings.options, "dtype": self.dtype}
        if len(devices) > 1:
            stop += (start - stop) % len(devices)
            options["sharding"] = NamedSharding(Mesh(devices, "rows"), PartitionSpec("rows"))
        return sample_at(self.key, self.shape, np.arange(start, stop, dtype=np.uint64), **options)

    def _judge(self, question: Callable[..., jax.Array], latents: np.ndarray) -> list[jax.Array]:
        """Ask `contains` or `gauge` of latents, always of so many: compiled once, and rounded alike."""
        settings = self.settings
        region = {"level": settings.level, "fact": settings.fact, "region": settings.region}
        return map_batches(functools.partial(question, self.shape, **region), latents, _JUDGED_BATCH)

    @functools.cached_property
    def _decoder(self) -> ImageDecoder | None:
        return None if self.decode is None else ImageDecoder(self.decode, self.pixel_range)


def column_names(shape: Shape, *, has_images: bool, beside: Iterable[str]) -> list[str]:
    """Columns to write, the main one first.

    Raises
    ------
    ValueError
        If `beside` has other names, or the part of a state that has none.
    """
    if isinstance(beside, str) or not set(beside) <= set(_BESIDE):
        raise ValueError(f"beside: expected a sequence of {', '.join(_BESIDE)}; got {beside!r}")
    if "part" in beside and not isinstance(shape, Mixture):
        raise ValueError("beside: expected no part, as this shape has none; fit a mixture")
    return list(dict.fromkeys([IMAGES if has_images else "latents", *beside]))


def _drawn_from(shape: Shape) -> list[Any]:
    """Everything that draws from a shape depend on."""
    if isinstance(shape, Mixture):
        return [shape.weights, *_drawn_from(shape.parts)]
    if isinstance(shape, Flow):
        base = shape.base
        axes = [base.mean, base.components, base.explained_variance]
        return [*axes, shape.velocity, shape.scale, shape.condition, shape.n_steps]
    return [shape.mean, shape.components, shape.scale]


def _joined(pieces: Iterable[Any]) -> np.ndarray:
    arrays = [np.asarray(piece) for piece in pieces]
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
