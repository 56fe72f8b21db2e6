"""The rows of a large batch: drawn, judged, decoded, and copied to the host as columns of arrays."""

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
# The C library returns blocks above 32 MB to the system after each use, and new pages for them cost a third
# of the time (400,000 rows of 256 float32: 2.1 s of CPU time in chunks of 64 MB, 1.6 s in chunks of 16 MB).
_CHUNK_BYTES = 2**24
# Judging a 16-bit row takes longer than drawing it. This many rows give the share outside with a standard
# error of at most 0.16 %.
_JUDGED_ROWS = 100_000
_JUDGED_BATCH = 2048


class Rows(NamedTuple):
    """Rows on the host.

    Attributes
    ----------
    columns : dict of str to array
        Values to write, by column.
    judged, outside : int
        Number of rows of a 16-bit type whose written values were judged, and how many of these rounding has
        put outside the region.
    """

    columns: dict[str, np.ndarray]
    judged: int
    outside: int


@dataclass(frozen=True, eq=False)
class RowSource:
    """Rows of one sequence, in the form in which they are written.

    Attributes
    ----------
    key : typed JAX key
        Key of the sequence.
    shape : PCAState, Mixture or Flow
        Shape to draw from, without data that no draw depends on.
    settings : DrawSettings
        Distribution and region of the draws.
    n : int
        Number of rows.
    names : list of str
        Columns to write, the main one first.
    dtype : {"float32", "float16", "bfloat16"}
        Data type of latents and scores.
    batch : int
        Number of latents in each call of `decode`, the same in all calls.
    decode : callable or None
        Function from latents to images.
    pixel_range : tuple of two float
        Black and white of float images.
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
        """First few rows, which show the types and shapes of all; they are drawn on first use."""
        return self.compute(0, min(self.n, self.batch))().columns

    @functools.cached_property
    def columns(self) -> dict[str, Column]:
        """Type and shape of each column."""
        return {name: Column(values.dtype, values.shape[1:]) for name, values in self.first.items()}

    def default_chunk(self) -> int:
        """Return the number of rows to write at a time: about 16 MB, and enough for all cores or devices."""
        n_bytes = sum(values.nbytes for values in self.first.values())
        by_bytes = 2 ** int(np.log2(max(_CHUNK_BYTES * n_rows(self.first) / n_bytes, 1)))
        if IMAGES in self.names:
            # Images take long to decode and encode, so a few of them already keep all cores busy.
            return min(by_bytes, max(self.batch, self.n // 32))
        platform = jax.default_backend()
        n_parallel = n_cores() if platform == "cpu" else jax.local_device_count()
        # Rows are drawn in whole blocks, one per core or device at a time.
        return max(by_bytes, n_parallel * shape_block_rows(self.shape, self.settings.law, platform))

    def configuration(self) -> dict[str, Any]:
        """Return everything that fixes the rows before they are decoded, by name, for a manifest."""
        region = as_region(self.settings.region)
        columns = {name: [column.dtype.name, list(column.shape)] for name, column in self.columns.items()}
        # The usual range is not recorded, so that manifests of earlier versions still match.
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
        """Start to compute rows `start` to `stop`; return a function that waits for them.

        Raises
        ------
        TypeError, ValueError
            If :func:`ellipsoid.sample_at` refuses an argument, or the decoder's images are invalid.
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
        """Draw rows `start` to `stop`, and a few more if several devices need equal shares."""
        devices = jax.local_devices()
        options = {**self.settings.options, "dtype": self.dtype}
        if len(devices) > 1:
            stop += (start - stop) % len(devices)
            options["sharding"] = NamedSharding(Mesh(devices, "rows"), PartitionSpec("rows"))
        return sample_at(self.key, self.shape, np.arange(start, stop, dtype=np.uint64), **options)

    def _judge(self, question: Callable[..., jax.Array], latents: np.ndarray) -> list[jax.Array]:
        """Ask `contains` or `gauge` of latents in batches of one size: compiled once, and rounded alike."""
        settings = self.settings
        region = {"level": settings.level, "fact": settings.fact, "region": settings.region}
        return map_batches(functools.partial(question, self.shape, **region), latents, _JUDGED_BATCH)

    @functools.cached_property
    def _decoder(self) -> ImageDecoder | None:
        return None if self.decode is None else ImageDecoder(self.decode, self.pixel_range)


def column_names(shape: Shape, *, has_images: bool, beside: Iterable[str]) -> list[str]:
    """Return the columns to write, the main one first.

    Raises
    ------
    ValueError
        If `beside` has unknown names, or asks for the parts of a shape that has none.
    """
    if isinstance(beside, str) or not set(beside) <= set(_BESIDE):
        raise ValueError(f"beside: expected a sequence of {', '.join(_BESIDE)}; got {beside!r}")
    if "part" in beside and not isinstance(shape, Mixture):
        raise ValueError("beside: expected no part, since this shape has none; got part; fit a mixture")
    return list(dict.fromkeys([IMAGES if has_images else "latents", *beside]))


def _drawn_from(shape: Shape) -> list[Any]:
    """Return everything in a shape that draws depend on."""
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
