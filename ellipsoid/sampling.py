"""Drawing latents: the jitted, batched entry to the laws, and the questions asked of a point.

Row ``i`` of a sequence depends on the key, ``i``, the state and the settings alone. Rows are computed
in fixed blocks of a size set by K, the last block padded: a new ``n`` compiles nothing, and latents
(matrix products, whose rounding depends on the shape) keep their bits too on one backend.
"""

import dataclasses
import functools
import math
import operator
import warnings
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.core import Tracer

from ellipsoid.laws import get_law
from ellipsoid.random import key_words
from ellipsoid.regions import ELLIPSOID, PAIRWISE, as_region, pairs_gauge
from ellipsoid.state import PCAState

#: The source method's level 2.35 times its fact 0.7.
DEFAULT_LEVEL = 1.645

# Draws fill the region up to 1e-6 of its boundary: the gauge recomputed from rounded float32 scores
# errs by up to 4e-7 (sine, cosine, product, quotient, root), so none comes out above 1.
_INWARD = np.float32(1 - 2**-20)

_DTYPES = ("float32", "float16", "bfloat16")


class Draws(NamedTuple):
    """Drawn vectors.

    Attributes
    ----------
    latents : (n, D) array
        Ready for a decoder.
    scores : (n, K) array
        The same points on the principal axes, in latent units; every region condition holds in these.
    gauge : (n,) array
        Float32, at most 1: the factor by which the region could shrink and still hold the point.
    """

    latents: jax.Array
    scores: jax.Array
    gauge: jax.Array


def block_rows(k: int) -> int:
    """Rows in a block for `k` components: about 2^18 numbers, a power of two of rows.

    At K = 256, blocks of 1,024 to 4,096 rows are equally fast, and the smallest serve a few rows best.
    """
    return 2 ** min(max(18 - math.ceil(math.log2(k)), 8), 12)


def _normalised(scores, semi_axes):
    return scores.astype(np.float32) / jnp.broadcast_to(semi_axes, scores.shape)


def _round_inward(scores, dtype):
    """Round float32 to a 16-bit type towards zero, so that no rounded point leaves the region."""
    rounded = scores.astype(dtype)
    away = jnp.abs(rounded.astype(np.float32)) > jnp.abs(scores)
    # One step towards zero is one less in the bits of a sign-magnitude float (and takes infinity
    # to the largest finite number).
    bits = lax.bitcast_convert_type(rounded, np.uint16) - away.astype(np.uint16)
    return lax.bitcast_convert_type(bits, dtype)


@functools.partial(jax.jit, static_argnames=("law", "dtype"))
def _draw_block(key_words, rows, state, semi_axes, settings, region, *, law, dtype):
    k = semi_axes.shape[0]
    draw = get_law(law, region).draw
    u = draw(key_words, rows, k, settings)
    scores = u * jnp.broadcast_to(semi_axes * _INWARD, u.shape)
    if dtype != "float32":
        scores = _round_inward(scores, jnp.dtype(dtype))
    gauge = region.gauge(_normalised(scores, semi_axes))
    return Draws(state.reconstruct(scores).astype(dtype), scores, gauge)


@jax.jit
def _largest_gauge(scores, semi_axes, region):
    """Largest gauge in a block: for the pairwise region by the full masked pair form, row by row."""

    def one(row):
        u = _normalised(row, semi_axes)
        return pairs_gauge(u, region.pairs) if region.name == PAIRWISE else region.gauge(u)

    return jnp.max(lax.map(one, scores))


# --- checks on the host ----------------------------------------------------------------------------


def _is_traced(tree):
    return any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(tree))


def _radius(level, fact):
    if _is_traced((level, fact)):
        return jnp.float32(level) * jnp.float32(fact)
    for name, value in (("level", level), ("fact", fact)):
        if not isinstance(value, int | float | np.number | np.ndarray | jax.Array) or np.ndim(value):
            raise TypeError(f"{name}: expected a number, got {type(value).__name__}")
        if not (math.isfinite(value) and value > 0):
            raise ValueError(f"{name}: expected a finite number above 0, got {value}")
    return float(level) * float(fact)


def _checked_state(state):
    if not isinstance(state, PCAState):
        raise TypeError(
            f"state: expected a PCAState, as made by ellipsoid.fit(latents), got {type(state).__name__}"
        )
    # The number of latents may be beyond the 32-bit integers that jit takes, and no draw depends on it.
    return dataclasses.replace(state, n_samples=0)


def _semi_axes(state, radius):
    # Without the barrier XLA merges the radius with other factors under a surrounding jit: other bits.
    return lax.optimization_barrier(jnp.asarray(state.scale, np.float32) * jnp.float32(radius))


def _checked_dtype(dtype):
    try:
        name = jnp.dtype(dtype).name
    except TypeError:
        name = None
    if name not in _DTYPES:
        raise ValueError(f"dtype: expected one of {', '.join(_DTYPES)}, got {dtype!r}")
    return name


def _check_count(n):
    try:
        n = operator.index(n)
    except TypeError:
        raise TypeError(f"n: expected an integer, got {type(n).__name__}") from None
    if n < 1:
        raise ValueError(f"n: expected at least 1 vector, got {n}")
    return n


def _check_index(index):
    if isinstance(index, Tracer):
        if index.ndim != 1 or not jnp.issubdtype(index.dtype, jnp.integer):
            raise ValueError(f"index: expected a one-dimensional array of integers, got {index.aval}")
        return index
    index = np.asarray(index)
    if index.ndim != 1 or index.size == 0 or not np.issubdtype(index.dtype, np.integer):
        raise ValueError(
            f"index: expected a one-dimensional, non-empty array of integers, "
            f"got shape {index.shape} of {index.dtype}"
        )
    if index.min() < 0:
        raise ValueError(f"index: expected row numbers of at least 0, got {index.min()}")
    return index.astype(np.uint64)


# --- drawing ---------------------------------------------------------------------------------------


def _halves(rows):
    """Low and high uint32 words of row numbers."""
    low = rows.astype(np.uint32)
    return low, (rows >> 32).astype(np.uint32) if rows.dtype.itemsize == 8 else low * np.uint32(0)


def _one_ahead(iterator):
    """Hand out each item after the next one was asked for: JAX computes that one meanwhile."""
    previous = next(iterator)
    for current in iterator:
        yield previous
        previous = current
    yield previous


def _host_empty(shape, dtype):
    """Uninitialised array at a 64-byte boundary, which JAX takes over on a CPU without a copy."""
    n_bytes = math.prod(shape) * np.dtype(dtype).itemsize
    memory = np.empty(n_bytes + 64, np.uint8)
    start = -memory.ctypes.data % 64
    return memory[start : start + n_bytes].view(dtype).reshape(shape)


def _gather_on_host(blocks, n):
    """First `n` rows of all blocks. Plain copies: no program is compiled for a new `n`."""
    start, parts = 0, []
    for block in _one_ahead(blocks):
        parts = parts or [_host_empty((n, *part.shape[1:]), part.dtype) for part in block]
        count = min(block.gauge.shape[0], n - start)
        for target, part in zip(parts, block, strict=True):
            target[start : start + count] = np.asarray(part)[:count]
        start += count
    return Draws(*map(jnp.asarray, parts))


def _gather_on_device(blocks, n):
    return Draws(*(jnp.concatenate(parts)[:n] for parts in zip(*blocks, strict=True)))


def _draw(key, state, n, index, *, law, level, fact, region, verify, dtype):
    """Draw the `n` rows that `index` names, or the first `n` rows where it is None."""
    state = _checked_state(state)
    k = state.n_components
    region = as_region(region)
    region.check(k)
    dtype = _checked_dtype(dtype)
    radius = _radius(level, fact)
    settings = get_law(law, region).prepare(k, radius, region)
    if region.name == ELLIPSOID and not _is_traced(radius) and radius < 0.5 * math.sqrt(k + 2):
        warnings.warn(
            f"level: at {radius:.4g} standard deviations all draws from a {k}-dimensional ellipsoid collapse "
            f"towards the mean; the data lie near {math.sqrt(k):.4g}, and matched_level gives "
            f"{math.sqrt(k + 2):.4g}",
            stacklevel=3,
        )
    words, semi_axes = key_words(key), _semi_axes(state, radius)
    size = block_rows(k)

    def draw_block(*rows):
        return _draw_block(words, rows, state, semi_axes, settings, region, law=law, dtype=dtype)

    def verified(block):
        largest = float(_largest_gauge(block.scores, semi_axes, region))
        if not largest <= 1:
            raise RuntimeError(f"verify: a drawn vector has the gauge {largest:.9g}, above 1")
        return block

    if _is_traced((words, state, radius, region, index)):
        if verify:
            raise ValueError(
                "verify: expected False under jit, where nothing can be raised; check afterwards"
            )
        # As constants of a surrounding jit the settings would be folded into the arithmetic: other bits.
        settings = lax.optimization_barrier(jax.tree.map(jnp.asarray, settings))
        rows = np.arange(n, dtype=np.uint64) if index is None else index
        rows = (jnp if _is_traced(rows) else np).pad(rows, (0, -n % size)).reshape(-1, size)
        draws = lax.map(lambda rows: draw_block(*rows), _halves(rows))
        return jax.tree.map(lambda part: part.reshape(-1, *part.shape[2:])[:n], draws)

    def rows_from(start):
        if index is None:
            return np.arange(start, start + size, dtype=np.uint64)
        return np.pad(index[start : start + size], (0, max(0, start + size - n)))

    blocks = (draw_block(*_halves(rows_from(start))) for start in range(0, n, size))
    if verify:
        blocks = map(verified, blocks)
    on_cpu = all(device.platform == "cpu" for device in semi_axes.devices())
    return _gather_on_host(blocks, n) if on_cpu else _gather_on_device(blocks, n)


def sample(
    key,
    state,
    n,
    *,
    law="redraw",
    level=DEFAULT_LEVEL,
    fact=1.0,
    region="pairwise",
    verify=False,
    dtype="float32",
) -> Draws:
    """Draw new latents inside the shape of the latents that a state was fitted on.

    Parameters
    ----------
    key : typed JAX key
        From :func:`ellipsoid.key` or ``jax.random.key``.
    state : PCAState
    n : int
        Number of vectors.
    law : {"redraw", "sequential", "uniform", "normal"}
        How draws are spread inside the region, see :mod:`ellipsoid.laws`.
    level : float
        Half-width of each pair's ellipse in standard deviations of its components.
    fact : float
        Factor on the level; ``fact * level`` is what counts.
    region : {"pairwise", "ellipsoid", "box"} or a region object
        See :mod:`ellipsoid.regions`. A region object with a mask restricts the pairs.
    verify : bool
        Check every vector by the full masked K x K form (for the other regions, by their gauge)
        before it is handed out. Slow: for doubters.
    dtype : {"float32", "float16", "bfloat16"}
        Of latents and scores. 16-bit scores are rounded inward, latents to nearest.

    Returns
    -------
    Draws
        ``latents`` (n, D), ``scores`` (n, K) and ``gauge`` (n,). Every gauge is at most 1 in the
        scores as they are handed out.

    Raises
    ------
    TypeError
        For a key, state or number of the wrong kind.
    ValueError
        For ``n < 1``, a level or fact that is not positive, an unknown law or region, or a law that
        the region doesn't have.
    RuntimeError
        If `verify` finds a vector outside.

    Warns
    -----
    UserWarning
        If all draws from an ellipsoid collapse towards the mean, since its level is far below the
        ``sqrt(K)`` standard deviations at which data lie in K dimensions.

    Notes
    -----
    Key and state may be traced by ``jax.jit``; host checks are then skipped, and `n` is static.
    """
    n = _check_count(n)
    return _draw(
        key, state, n, None, law=law, level=level, fact=fact, region=region, verify=verify, dtype=dtype
    )


def sample_at(
    key,
    state,
    index,
    *,
    law="redraw",
    level=DEFAULT_LEVEL,
    fact=1.0,
    region="pairwise",
    verify=False,
    dtype="float32",
) -> Draws:
    """Draw the rows that `index` names of the infinite sequence that :func:`sample` begins.

    ``sample_at(key, state, arange(n))`` equals ``sample(key, state, n)``, bit for bit on one backend.

    Parameters
    ----------
    index : (n,) array of integers
        Row numbers in ``[0, 2**64)``, in any order.
    key, state, law, level, fact, region, verify, dtype
        As for :func:`sample`.

    Returns
    -------
    Draws

    Raises
    ------
    TypeError, ValueError, RuntimeError
        As for :func:`sample`; also if `index` is not a one-dimensional array of non-negative integers.
    """
    index = _check_index(index)
    return _draw(
        key,
        state,
        index.shape[0],
        index,
        law=law,
        level=level,
        fact=fact,
        region=region,
        verify=verify,
        dtype=dtype,
    )


# --- questions asked of a point --------------------------------------------------------------------


def _checked_last_axis(name, values, size):
    values = jnp.asarray(values, np.float32)
    if values.ndim == 0 or values.shape[-1] != size:
        raise ValueError(f"{name}: expected a last axis of {size}, got shape {values.shape}")
    return values


def gauge(state, latents, *, level=DEFAULT_LEVEL, fact=1.0, region="pairwise"):
    """Smallest factor by which the region must be scaled to contain each latent vector.

    Parameters
    ----------
    state : PCAState
    latents : (..., D) array
    level, fact, region
        As for :func:`sample`.

    Returns
    -------
    (...) array
        At most 1 inside. A latent vector is judged by its K scores: what lies off the K principal
        axes is not seen.

    Raises
    ------
    TypeError, ValueError
        For a state, level, fact or region as :func:`sample` refuses it, or latents of another size.
    """
    state = _checked_state(state)
    region = as_region(region)
    region.check(state.n_components)
    latents = _checked_last_axis("latents", latents, state.n_features)
    return _gauge(state, latents, _radius(level, fact), region)


@jax.jit
def _gauge(state, latents, radius, region):
    return region.gauge(_normalised(state.project(latents), _semi_axes(state, radius)))


def contains(state, latents, *, level=DEFAULT_LEVEL, fact=1.0, region="pairwise", tolerance=None):
    """Whether each latent vector lies inside the region, boundary included.

    Parameters
    ----------
    state, latents, level, fact, region
        As for :func:`gauge`.
    tolerance : float, optional
        A gauge up to ``1 + tolerance`` counts as inside. By default what scores lose on their way
        through float32 latents and back, about ``eps * max|z| / min(semi-axis)``.

    Returns
    -------
    (...) boolean array

    Raises
    ------
    TypeError, ValueError
        As for :func:`gauge`; also for a negative tolerance.
    """
    values = gauge(state, latents, level=level, fact=fact, region=region)
    if tolerance is None:
        tolerance = _round_trip_tolerance(state, _radius(level, fact))
    elif not tolerance >= 0:
        raise ValueError(f"tolerance: expected a number of at least 0, got {tolerance}")
    return values <= 1 + tolerance


def _round_trip_tolerance(state, radius):
    semi_axes = _semi_axes(state, radius)
    # Rounding of each latent, and of the two matrix products, is bounded by a few units of the length
    # of the vector; a score feels it in full, and the narrowest component most.
    length = jnp.linalg.norm(state.mean) + jnp.linalg.norm(semi_axes)
    return 4 * jnp.finfo(np.float32).eps * (1 + length / jnp.min(semi_axes))


def log_prob(state, scores, *, law="uniform", level=DEFAULT_LEVEL, fact=1.0, region="pairwise"):
    """Log-density of the draws over the scores.

    Parameters
    ----------
    state : PCAState
    scores : (..., K) array
        In latent units.
    law : {"uniform", "normal"}
        The laws that have a closed form.
    level, fact, region
        As for :func:`sample`.

    Returns
    -------
    (...) array
        Natural logarithm, per latent unit to the power K; ``-inf`` outside the region.

    Raises
    ------
    ValueError
        For ``redraw`` and ``sequential``, which have no closed form, an unknown law or region, or
        scores of another size.
    TypeError
        For a state, level or fact of the wrong kind.
    """
    state = _checked_state(state)
    region = as_region(region)
    region.check(state.n_components)
    density = get_law(law, region).log_density
    if density is None:
        raise ValueError(f"law: {law!r} has no closed-form density; uniform and normal have")
    scores = _checked_last_axis("scores", scores, state.n_components)
    radius = _radius(level, fact)
    semi_axes = _semi_axes(state, radius)
    u = _normalised(scores, semi_axes)
    inside = region.gauge(u) <= 1
    # The density of a point outside is never used, nor its gradient: hence the second where.
    u = jnp.where(inside[..., None], u, 0)
    return jnp.where(inside, density(u, radius, region) - jnp.sum(jnp.log(semi_axes)), -jnp.inf)
