"""Drawing latents: the checked entry, and three ways to draw the rows of a sequence.

Rows are drawn inside a surrounding ``jax.jit``, by the threads of a host, or by several devices, each with
rows of its own. All three draw the same rows; see :mod:`ellipsoid.sequence`.
"""

import math
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.core import Tracer
from jax.sharding import NamedSharding, PartitionSpec, Sharding
from jax.typing import ArrayLike, DTypeLike

from ellipsoid.blocks import n_cores
from ellipsoid.checks import check_count, check_unmasked
from ellipsoid.draws import Draws, MixtureDraws, as_draws
from ellipsoid.labels import Label
from ellipsoid.regions import ELLIPSOID, Region
from ellipsoid.sequence import RowSequence, is_traced, join_blocks
from ellipsoid.settings import DEFAULT_LEVEL, DrawSettings
from ellipsoid.shapes import Shape, check_shape

_DTYPES = ("float32", "float16", "bfloat16")


# --- checks on the host ----------------------------------------------------------------------------


def _check_dtype(dtype: DTypeLike) -> str:
    try:
        name = jnp.dtype(dtype).name
    except TypeError:
        name = None
    if name not in _DTYPES:
        raise ValueError(f"dtype: expected one of {', '.join(_DTYPES)}; got {dtype!r}")
    return name


def _check_index(index: ArrayLike) -> jax.Array | np.ndarray:
    if isinstance(index, Tracer):
        if index.ndim != 1 or not jnp.issubdtype(index.dtype, jnp.integer):
            raise ValueError(f"index: expected a one-dimensional array of integers; got {index.aval}")
        return index
    index = np.asarray(check_unmasked("index", index))
    if index.ndim != 1 or index.size == 0 or not np.issubdtype(index.dtype, np.integer):
        raise ValueError(
            f"index: expected a one-dimensional, non-empty array of integers; "
            f"got shape {index.shape} of {index.dtype}"
        )
    if index.min() < 0:
        raise ValueError(f"index: expected row numbers of at least 0; got {index.min()}")
    return index.astype(np.uint64)


def _check_sharding(sharding: Any, n: int) -> tuple[NamedSharding, int]:
    """Return the sharding of the first axis alone, and its number of shards."""
    if not isinstance(sharding, NamedSharding):
        raise TypeError(f"sharding: expected a jax.sharding.NamedSharding; got {type(sharding).__name__}")
    axes, *others = sharding.spec or (None,)
    if axes is None or any(others):
        raise ValueError(f"sharding: expected a spec of the rows alone, like P('rows'); got {sharding.spec}")
    names = (axes,) if isinstance(axes, str) else axes
    n_shards = math.prod(sharding.mesh.shape[name] for name in names)
    if n % n_shards:
        raise ValueError(f"n: expected a multiple of the {n_shards} shards of the sharding; got {n}")
    return NamedSharding(sharding.mesh, PartitionSpec(axes)), n_shards


def _warn_of_collapse(sequence: RowSequence, stacklevel: int) -> None:
    k, radius = sequence.shape.n_components, sequence.radius
    if sequence.region.name == ELLIPSOID and not is_traced(radius) and radius < 0.5 * math.sqrt(k + 2):
        warnings.warn(
            f"level: all draws from a {k}-dimensional ellipsoid at {radius:.4g} standard deviations "
            f"collapse towards the mean; data lie near {math.sqrt(k):.4g} standard deviations, and "
            f"matched_level gives {math.sqrt(k + 2):.4g}",
            stacklevel=stacklevel,
        )


# --- three ways to draw ----------------------------------------------------------------------------


def _halves(rows):
    """Return the low and high uint32 words of row numbers."""
    low = rows.astype(np.uint32)
    return low, (rows >> 32).astype(np.uint32) if rows.dtype.itemsize == 8 else low * np.uint32(0)


def _numbers_at(positions: np.ndarray, index: np.ndarray | None) -> np.ndarray:
    """Return the row numbers at positions in the result, from `index` or else the positions themselves."""
    return positions.astype(np.uint64) if index is None else index[positions]


def _draw_traced(sequence: RowSequence, n: int, index: ArrayLike | None) -> Draws | MixtureDraws:
    """Draw inside a surrounding program, block by block."""
    sequence = sequence.as_data()
    size = sequence.block_rows(jax.default_backend())
    rows = np.arange(n, dtype=np.uint64) if index is None else index
    rows = (jnp if is_traced(rows) else np).pad(rows, (0, -n % size)).reshape(-1, size)
    halves = _halves(rows)
    part = lax.map(sequence.choose_parts, halves)
    scores = lax.map(lambda block: sequence.draw_scores(*block), (halves, part))
    latents, gauge = lax.map(lambda block: sequence.complete(*block), (scores, part))
    draws = as_draws(latents, scores, gauge, part)
    return jax.tree.map(lambda array: array.reshape(-1, *array.shape[2:])[:n], draws)


def _host_empty(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Return an uninitialised array at a 64-byte boundary, which JAX on a CPU adopts without a copy."""
    n_bytes = math.prod(shape) * dtype.itemsize
    memory = np.empty(n_bytes + 64, np.uint8)
    start = -memory.ctypes.data % 64
    return memory[start : start + n_bytes].view(dtype).reshape(shape)


def _draw_on_host(
    sequence: RowSequence, n: int, index: np.ndarray | None, *, verify: bool
) -> Draws | MixtureDraws:
    """Draw with one thread per core, each a block at a time.

    Blocks are copied into the result, so a new `n` compiles no program.
    """
    size, k, d = sequence.block_rows("cpu"), sequence.shape.n_components, sequence.shape.n_features
    memory = threading.local()

    def draw(start):
        rows = _halves(_numbers_at(np.minimum(np.arange(start, start + size), n - 1), index))
        into = getattr(memory, "into", None)
        if into is None:
            into = jnp.empty((size, k), sequence.dtype), jnp.empty((size, d), sequence.dtype)
        block = sequence.draw_block(rows, into, verify=verify)
        sequence.check_latents(block)
        memory.into = block.scores, block.latents
        return block

    def copy(start, block):
        for target, array in zip(result, block, strict=True):
            rows = target[start : start + size]
            rows[:] = np.asarray(array)[: len(rows)]

    first = draw(0)  # this compiles, once
    result = [_host_empty((n, *array.shape[1:]), array.dtype) for array in first]
    # On a CPU, JAX runs the calls of one thread one after the other, and loops over rows on one core.
    with ThreadPoolExecutor(n_cores()) as pool:
        others = pool.map(lambda start: copy(start, draw(start)), range(size, n, size))
        copy(0, first)
        for _ in others:
            pass
    return type(first)(*jax.device_put(result, may_alias=True))


def _draw_on_devices(
    sequence: RowSequence, n: int, index: np.ndarray | None, *, verify: bool, sharding: Sharding | None
) -> Draws | MixtureDraws:
    """Draw with one device, or with those of a sharding, each its own rows without communication."""
    shards, n_shards = None, 1
    if sharding is not None:
        shards, n_shards = _check_sharding(sharding, n)
        sequence = sequence.spread_over(shards)
    size, shard_rows = sequence.block_rows(sequence.platform), n // n_shards

    def draw(start):
        """Draw one block per device."""
        positions = np.minimum(np.arange(start, start + size), shard_rows - 1)
        positions = (np.arange(n_shards)[:, None] * shard_rows + positions).ravel()
        rows = _halves(_numbers_at(positions, index))
        return sequence.draw_block(rows if shards is None else jax.device_put(rows, shards), verify=verify)

    blocks = [draw(start) for start in range(0, shard_rows, size)]
    draws = join_blocks(blocks, shard_rows, sharding=shards)
    sequence.check_latents(draws)
    return draws


def draw_rows(
    sequence: RowSequence,
    n: int,
    index: Any = None,
    *,
    verify: bool = False,
    sharding: Sharding | None = None,
) -> Draws | MixtureDraws:
    """Draw the rows of a sequence at `index`, or its first `n` rows if `index` is None.

    Raises
    ------
    TypeError, ValueError, RuntimeError
        See :func:`sample`.
    """
    if sequence.is_traced or is_traced(index):
        if verify:
            raise ValueError(
                "verify: expected False under jit, where no error can be raised; got True; check the result"
            )
        if sharding is not None:
            raise ValueError(
                f"sharding: expected None under jit, where the surrounding program has its own; "
                f"got {sharding}"
            )
        return _draw_traced(sequence, n, index)
    if sharding is None and sequence.platform == "cpu":
        return _draw_on_host(sequence, n, index, verify=verify)
    return _draw_on_devices(sequence, n, index, verify=verify, sharding=sharding)


def _sequence(
    key: jax.Array, shape: Any, settings: DrawSettings, label: Label | None, dtype: DTypeLike
) -> RowSequence:
    sequence = RowSequence.of(key, check_shape(shape, label), settings, _check_dtype(dtype))
    _warn_of_collapse(sequence, stacklevel=4)
    return sequence


# --- public functions ------------------------------------------------------------------------------


def sample(
    key: jax.Array,
    shape: Shape,
    n: int,
    *,
    law: str = "redraw",
    level: float | jax.Array = DEFAULT_LEVEL,
    fact: float | jax.Array = 1.0,
    region: str | Region = "pairwise",
    label: Label | None = None,
    verify: bool = False,
    dtype: DTypeLike = "float32",
    sharding: Sharding | None = None,
) -> Draws | MixtureDraws:
    """Draw new latents inside the shape of the latents that it was fitted on.

    Parameters
    ----------
    key : typed JAX key
        Key from :func:`ellipsoid.key` or ``jax.random.key``.
    shape : PCAState, Mixture or Flow
        Shape to draw from. For a mixture, each row first chooses a part by the weights, and is then drawn
        inside the region of that part. For a flow, rows are drawn as scores and mapped to latents.
    n : int
        Number of vectors.
    law : {"redraw", "sequential", "uniform", "normal"}
        Distribution of the draws inside the region; see :mod:`ellipsoid.laws`.
    level : float
        Half width of the ellipse of each pair, in standard deviations of its components.
    fact : float
        Factor on the level; only ``fact * level`` matters.
    region : {"pairwise", "ellipsoid", "box"} or a region object
        Set that contains the draws; see :mod:`ellipsoid.regions`. A region object with a mask restricts the
        pairs.
    label : str, number, sequence of these, or mapping of str to bool, optional
        Label of the parts of a mixture, or of the latents of a flow, to draw from; see
        :meth:`ellipsoid.Mixture.select` and :meth:`ellipsoid.Flow.select`.
    verify : bool
        Whether every vector is checked by the full masked K x K form (for the other regions, by its gauge)
        before it is returned. Slow; meant for debugging and audits.
    dtype : {"float32", "float16", "bfloat16"}
        Data type of latents and scores. 16-bit scores are rounded inward, latents to nearest.
    sharding : jax.sharding.NamedSharding, optional
        Distribution of the rows over devices, such as ``NamedSharding(mesh, P("rows"))``. Each device draws
        its own rows without communication. `n` must be a multiple of the number of shards. The rows are the
        same, bit for bit on one backend.

    Returns
    -------
    Draws
        Tuple of ``latents`` (n, D), ``scores`` (n, K) and ``gauge`` (n,); :class:`MixtureDraws` also has
        ``part`` (n,). Every gauge of the returned scores is at most 1.

    Raises
    ------
    TypeError
        If `key` is not a typed key, `shape` is not a shape, `n` is not an integer, or `level` or `fact` is
        not a number. If `region` is neither a name nor a region object, or its mask is not boolean. If
        `label` has another type, or `sharding` is not a ``NamedSharding``. If `level` is traced where the law
        is normal.
    ValueError
        If `law`, `region`, `label` or `dtype` is unknown. If `n` is below 1, or `level` or `fact` is not
        finite and above 0. If the region does not have the law, or its mask is not (K, K) and symmetric. If
        `key` holds several keys, or `dtype` cannot hold a latent. If `sharding` shards other axes than the
        first, or `n` is not a multiple of its shards. If `verify` or `sharding` is given under ``jax.jit``.
    RuntimeError
        If `verify` finds a vector outside, or if the process was forked after JAX had been used.

    Warns
    -----
    UserWarning
        If all draws from an ellipsoid collapse towards the mean, because its level is far below the
        ``sqrt(K)`` standard deviations at which data lie in K dimensions.

    Notes
    -----
    Key, shape, level and fact may be traced by ``jax.jit``; `n` is static. Values are not checked there, so
    16-bit latents may be infinite.

    Examples
    --------
    >>> import ellipsoid as el
    >>> state = el.fit(np.random.default_rng(0).normal(size=(500, 8)), n_components=5)
    >>> draws = el.sample(el.key(0), state, 1000, law="uniform", level=2.0)
    >>> draws.latents.shape, draws.scores.shape, bool(draws.gauge.max() <= 1)
    ((1000, 8), (1000, 5), True)
    """
    n = check_count("n", n)
    sequence = _sequence(key, shape, DrawSettings(law, level, fact, region), label, dtype)
    return draw_rows(sequence, n, verify=verify, sharding=sharding)


def sample_at(
    key: jax.Array,
    shape: Shape,
    index: ArrayLike,
    *,
    law: str = "redraw",
    level: float | jax.Array = DEFAULT_LEVEL,
    fact: float | jax.Array = 1.0,
    region: str | Region = "pairwise",
    label: Label | None = None,
    verify: bool = False,
    dtype: DTypeLike = "float32",
    sharding: Sharding | None = None,
) -> Draws | MixtureDraws:
    """Draw the rows at `index` of the infinite sequence that :func:`sample` begins.

    ``sample_at(key, shape, arange(n))`` equals ``sample(key, shape, n)``, bit for bit on one backend.

    Parameters
    ----------
    index : (n,) array of integers
        Row numbers in ``[0, 2**64)``, in any order; may be traced.
    key, shape, law, level, fact, region, label, verify, dtype, sharding
        Arguments of :func:`sample`.

    Returns
    -------
    Draws or MixtureDraws
        Rows in the order of `index`.

    Raises
    ------
    TypeError, RuntimeError
        If :func:`sample` would raise it.
    ValueError
        If :func:`sample` would raise it, or if `index` is not a one-dimensional, non-empty array of integers
        of at least 0.

    Warns
    -----
    UserWarning
        If :func:`sample` would warn.

    Examples
    --------
    >>> import ellipsoid as el
    >>> state = el.fit(np.random.default_rng(0).normal(size=(500, 8)), n_components=5)
    >>> first = el.sample(el.key(0), state, 10)
    >>> again = el.sample_at(el.key(0), state, [3, 2**40])
    >>> bool((first.latents[3] == again.latents[0]).all())
    True
    """
    index = _check_index(index)
    sequence = _sequence(key, shape, DrawSettings(law, level, fact, region), label, dtype)
    return draw_rows(sequence, index.shape[0], index, verify=verify, sharding=sharding)
