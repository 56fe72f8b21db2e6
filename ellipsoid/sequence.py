"""The infinite sequence of rows that a key, a shape and settings define, and the programs that draw it.

Row ``i`` depends on the key, ``i``, the shape and the settings alone. Rows are computed in fixed blocks whose
size depends on K; the last block is padded. A new ``n`` therefore compiles no new draw. Latents keep their
bits on one backend too, although the rounding of matrix products depends on their shape.
"""

import dataclasses
import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.core import Tracer
from jax.sharding import NamedSharding, PartitionSpec

from ellipsoid.draws import Draws, MixtureDraws, as_draws
from ellipsoid.flow import Flow
from ellipsoid.laws import get_law
from ellipsoid.mixture import Mixture, apply_by_part
from ellipsoid.random import CounterStream, RowHalves, philox_words, row_block, uniform01
from ellipsoid.regions import PAIRWISE, Region, pairs_gauge
from ellipsoid.settings import DrawSettings
from ellipsoid.shapes import Shape, axes_of_rows, normalised, semi_axes

# Draws stay 1e-6 inside the boundary. The gauge recomputed from rounded float32 scores errs by up to 4e-7
# (sine, cosine, product, quotient, root), so none exceeds 1.
_INWARD = np.float32(1 - 2**-20)

Function = TypeVar("Function", bound=Callable)


def block_rows(k: int, law: str, platform: str) -> int:
    """Return the number of rows in a block for `k` components, a power of two.

    On a CPU a block holds about 2^20 numbers: enough to hide the start of a program, and few enough for the
    cache. The procedures loop over rows on one core, so smaller blocks balance the cores better and return a
    few rows sooner. An accelerator needs many rows at once.
    """
    log_numbers = 25 if platform != "cpu" else 18 if law in ("redraw", "sequential") else 20
    return 2 ** max(log_numbers - math.ceil(math.log2(max(k, 64))), 8)


def shape_block_rows(shape: Shape, law: str, platform: str) -> int:
    """Return the number of rows in a block of draws from a shape; see :func:`block_rows`.

    A row of a flow takes as long as thousands of numbers, so a few hundred rows keep all cores busy.
    """
    if isinstance(shape, Flow):
        return 2**8 if platform == "cpu" else 2**14
    return block_rows(shape.n_components, law, platform)


def is_traced(tree: Any) -> bool:
    """Whether any array of a pytree is traced."""
    return any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(tree))


# --- programs --------------------------------------------------------------------------------------


def _round_inward(scores, dtype):
    """Round float32 to a 16-bit type towards zero, so that no rounded point leaves the region."""
    rounded = scores.astype(dtype)
    away = jnp.abs(rounded.astype(np.float32)) > jnp.abs(scores)
    # In the bits of a sign-magnitude float, one less is one step towards zero (infinity becomes the largest
    # finite number).
    bits = lax.bitcast_convert_type(rounded, np.uint16) - away.astype(np.uint16)
    return lax.bitcast_convert_type(bits, dtype)


def _by_rows(function: Function, sharding: NamedSharding | None) -> Function:
    """Let each device work on its own rows of the first argument, with the other arguments whole."""
    if sharding is None:
        return function

    def sharded(rows, *others):
        specs = (sharding.spec, *(PartitionSpec() for _ in others))
        return jax.shard_map(
            function, mesh=sharding.mesh, in_specs=specs, out_specs=sharding.spec, check_vma=False
        )(rows, *others)

    return sharded  # pyright: ignore[reportReturnType]


# Scores, and their latents and gauges, are two programs: in one, XLA would draw the numbers twice.
# Both can write `into` the memory of an earlier block, since new pages cost as much as the draw itself.


@functools.partial(jax.jit, static_argnames=("sharding",))
def _choose_parts(rows, philox_words, weights, *, sharding=None):
    def choose(rows, philox_words, weights):
        words, *_ = row_block(philox_words, rows, CounterStream.PART, jnp.zeros_like(rows[0]))
        part = jnp.searchsorted(jnp.cumsum(weights), uniform01(words)).astype(np.int32)
        return jnp.minimum(part, weights.shape[0] - 1)  # the sum may be rounded to less than 1

    return _by_rows(choose, sharding)(rows, philox_words, weights)


@functools.partial(
    jax.jit, static_argnames=("law", "dtype", "sharding"), donate_argnames=("into",), keep_unused=True
)
def _draw_scores(rows, philox_words, semi_axes, tables, region, into=None, *, law, dtype, sharding=None):
    def draw(rows, philox_words, semi_axes, tables, region):
        halves, part = rows
        u = get_law(law, region).draw(philox_words, halves, semi_axes.shape[-1], tables)
        scores = u * axes_of_rows(semi_axes * _INWARD, part, u.shape)
        return scores if dtype == "float32" else _round_inward(scores, jnp.dtype(dtype))

    return _by_rows(draw, sharding)(rows, philox_words, semi_axes, tables, region)


@functools.partial(jax.jit, static_argnames=("sharding",), donate_argnames=("into",), keep_unused=True)
def _complete(rows, shape, semi_axes, region, into=None, *, sharding=None):
    def of_one(state, scores):
        state, semi_axes = state
        return state.reconstruct(scores).astype(scores.dtype), region.gauge(normalised(scores, semi_axes))

    def complete(rows, shape, semi_axes, region):
        scores, part = rows
        if part is None:
            return of_one((shape, semi_axes), scores)
        return apply_by_part(of_one, (shape.parts, semi_axes), part, scores)

    return _by_rows(complete, sharding)(rows, shape, semi_axes, region)


@functools.partial(jax.jit, static_argnames=("sharding",))
def _verifying_gauge(rows, semi_axes, region, *, sharding=None):
    """Return the gauge of each row; the pairwise region uses the full masked pair form, row by row."""

    def verify(rows, semi_axes, region):
        def one(row):
            u = normalised(row[0], semi_axes, row[1])
            return pairs_gauge(u, region.pairs) if region.name == PAIRWISE else region.gauge(u)

        return lax.map(one, rows)

    return _by_rows(verify, sharding)(rows, semi_axes, region)


@functools.partial(jax.jit, static_argnames=("n", "sharding"))
def join_blocks(
    blocks: list[Draws | MixtureDraws], n: int, *, sharding: NamedSharding | None = None
) -> Draws | MixtureDraws:
    """Return the first `n` rows of all blocks, or of each device's blocks if there are several devices."""

    def join(blocks):
        return type(blocks[0])(*(jnp.concatenate(arrays)[:n] for arrays in zip(*blocks, strict=True)))

    return _by_rows(join, sharding)(blocks)


@jax.jit
def _all_finite(latents):
    return jnp.isfinite(latents).all()


# --- the sequence ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class RowSequence:
    """Everything that the rows of one sequence depend on, and the steps that draw some of them.

    Attributes
    ----------
    shape : PCAState, Mixture or Flow
        Shape, as returned by :func:`ellipsoid.shapes.check_shape`.
    philox_words : (2,) uint32 array
        Words of the key.
    semi_axes : (K,) or (M, K) array
        Semi-axes of the region in latent units, for each part of a mixture.
    tables : pytree of arrays
        Tables of the law.
    region : region object
        Set that contains the draws, in normalised coordinates.
    radius : float
        Size of the region in standard deviations.
    law : str
        Name of the distribution.
    dtype : {"float32", "float16", "bfloat16"}
        Data type of latents and scores.
    sharding : NamedSharding, optional
        Distribution of the rows of a block over devices.
    """

    shape: Shape
    philox_words: jax.Array
    semi_axes: jax.Array
    tables: Any
    region: Region
    radius: float | jax.Array
    law: str
    dtype: str
    sharding: NamedSharding | None = None

    @classmethod
    def of(cls, key: jax.Array, shape: Shape, settings: DrawSettings, dtype: str = "float32") -> Self:
        """Prepare a sequence; `shape` and `dtype` are already checked.

        Raises
        ------
        TypeError, ValueError
            If the key or the settings are invalid.
        """
        k, radius = shape.n_components, settings.radius
        region = settings.region_of(k)
        tables = jax.tree.map(jnp.asarray, get_law(settings.law, region).prepare(k, radius, region))
        words, axes = philox_words(key), semi_axes(shape, radius)
        return cls(shape, words, axes, tables, region, radius, settings.law, dtype)

    @property
    def is_traced(self) -> bool:
        """Whether the sequence is drawn inside a surrounding program."""
        return is_traced((self.philox_words, self.shape, self.radius, self.region))

    @property
    def platform(self) -> str:
        """Kind of the devices that draw, if nothing is traced."""
        return next(iter(self.semi_axes.devices())).platform

    def block_rows(self, platform: str) -> int:
        """Return the number of rows in a block; see :func:`block_rows`."""
        return shape_block_rows(self.shape, self.law, platform)

    def as_data(self) -> Self:
        """Hide the tables from a surrounding program, which would fold them into other bits."""
        return dataclasses.replace(self, tables=lax.optimization_barrier(self.tables))

    def spread_over(self, sharding: NamedSharding) -> Self:
        """Copy to all devices what they need to draw their rows."""
        everywhere = NamedSharding(sharding.mesh, PartitionSpec())
        names = ("philox_words", "shape", "semi_axes", "tables", "region")
        values = jax.device_put([getattr(self, name) for name in names], everywhere)
        return dataclasses.replace(self, sharding=sharding, **dict(zip(names, values, strict=True)))

    def choose_parts(self, rows: RowHalves) -> jax.Array | None:
        """Choose the part of each row; return None if the shape is not a mixture."""
        if not isinstance(self.shape, Mixture):
            return None
        return _choose_parts(rows, self.philox_words, self.shape.weights, sharding=self.sharding)

    def draw_scores(
        self, rows: RowHalves, part: jax.Array | None, into: jax.Array | None = None
    ) -> jax.Array:
        """Draw the scores of a block of rows, into the memory of other scores if given."""
        return _draw_scores(
            (rows, part),
            self.philox_words,
            self.semi_axes,
            self.tables,
            self.region,
            into,
            law=self.law,
            dtype=self.dtype,
            sharding=self.sharding,
        )

    def complete(
        self, scores: jax.Array, part: jax.Array | None, into: jax.Array | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """Compute latents and gauges of a block of scores; the latents may reuse the memory of others."""
        return _complete(
            (scores, part), self.shape, self.semi_axes, self.region, into, sharding=self.sharding
        )

    def draw_block(
        self, rows: RowHalves, into: tuple[jax.Array | None, jax.Array | None] = (None, None), *, verify: bool
    ) -> Draws | MixtureDraws:
        """Draw a block of rows, into the memory of other scores and latents if given.

        Raises
        ------
        RuntimeError
            If `verify` finds a vector outside.
        """
        part = self.choose_parts(rows)
        scores = self.draw_scores(rows, part, into[0])
        latents, gauge = self.complete(scores, part, into[1])
        if verify:
            gauges = _verifying_gauge((scores, part), self.semi_axes, self.region, sharding=self.sharding)
            largest = float(jnp.max(gauges))
            if not largest <= 1:
                raise RuntimeError(f"verify: expected gauges of at most 1; got a draw with {largest:.9g}")
        return as_draws(latents, scores, gauge, part)

    def check_latents(self, draws: Draws | MixtureDraws) -> None:
        """Check that all 16-bit latents are finite; float32 latents are not checked.

        Raises
        ------
        ValueError
            If the 16-bit type cannot hold a latent.
        """
        if self.dtype == "float32" or bool(_all_finite(draws.latents)):
            return
        row, column = np.argwhere(~np.isfinite(np.asarray(draws.latents, np.float32)))[0]
        scores = np.asarray(draws.scores[row], np.float32)
        # The last field of a mixture's draws is the part.
        state = self.shape.part(int(draws[-1][row])) if isinstance(self.shape, Mixture) else self.shape
        latent = state.reconstruct(scores)[column]
        wider = "float32" if self.dtype == "bfloat16" else "float32 or bfloat16"
        raise ValueError(
            f"dtype: expected a type that holds all latents ({wider}), or smaller latents; got {self.dtype}, "
            f"whose largest number is {float(jnp.finfo(self.dtype).max):g}, and a latent of "
            f"{float(latent):g} in column {column}"
        )
