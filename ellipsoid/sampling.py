"""Drawing latents: the jitted, batched entry to the laws, and the questions asked of a point.

Row ``i`` of a sequence depends on the key, ``i``, the state and the settings alone. Rows are computed
in fixed blocks of a size set by K, the last block padded: a new ``n`` compiles no new draw, and latents
(matrix products, whose rounding depends on the shape) keep their bits too on one backend.
"""

import dataclasses
import functools
import math
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.core import Tracer
from jax.sharding import NamedSharding, PartitionSpec

from ellipsoid.blocks import n_cores
from ellipsoid.checks import check_integer
from ellipsoid.laws import get_law
from ellipsoid.mixture import Mixture, apply_by_part
from ellipsoid.random import CounterStream, philox_words, row_block, uniform01
from ellipsoid.regions import ELLIPSOID, PAIRWISE, as_region, pairs_gauge
from ellipsoid.settings import DEFAULT_LEVEL, checked_radius
from ellipsoid.state import PCAState

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


class MixtureDraws(NamedTuple):
    """Vectors drawn from a mixture.

    Attributes
    ----------
    latents, scores, gauge
        As those of :class:`Draws`, the scores on the axes of the row's own part, the gauge in its region. For
        :func:`log_prob` project the latents: it takes scores on the axes that all parts share.
    part : (n,) array
        Int32, number of the part that each row was drawn from.
    """

    latents: jax.Array
    scores: jax.Array
    gauge: jax.Array
    part: jax.Array


def _as_draws(latents, scores, gauge, part):
    return Draws(latents, scores, gauge) if part is None else MixtureDraws(latents, scores, gauge, part)


def block_rows(k: int, law: str, platform: str) -> int:
    """Rows in a block for `k` components, a power of two.

    On a CPU a block holds about 2^20 numbers, where the start of a program no longer counts and the
    cache still helps; the procedures loop over rows on one core, so smaller blocks share the work
    better and serve a few rows sooner. An accelerator needs many rows at once.
    """
    log_numbers = 25 if platform != "cpu" else 18 if law in ("redraw", "sequential") else 20
    return 2 ** max(log_numbers - math.ceil(math.log2(max(k, 64))), 8)


def _of_rows(semi_axes, part, shape):
    """Semi-axes of each row: those of its part, or one for all."""
    return jnp.broadcast_to(semi_axes, shape) if part is None else semi_axes[part]


def _normalised(scores, semi_axes, part=None):
    return scores.astype(np.float32) / _of_rows(semi_axes, part, scores.shape)


def _round_inward(scores, dtype):
    """Round float32 to a 16-bit type towards zero, so that no rounded point leaves the region."""
    rounded = scores.astype(dtype)
    away = jnp.abs(rounded.astype(np.float32)) > jnp.abs(scores)
    # One step towards zero is one less in the bits of a sign-magnitude float (and takes infinity
    # to the largest finite number).
    bits = lax.bitcast_convert_type(rounded, np.uint16) - away.astype(np.uint16)
    return lax.bitcast_convert_type(bits, dtype)


def _by_rows(function, sharding):
    """Let each device work on its own rows of the first argument; it gets the others whole."""
    if sharding is None:
        return function

    def sharded(rows, *others):
        specs = (sharding.spec, *(PartitionSpec() for _ in others))
        return jax.shard_map(
            function, mesh=sharding.mesh, in_specs=specs, out_specs=sharding.spec, check_vma=False
        )(rows, *others)

    return sharded


# Scores and what is made of them are two programs: in one, XLA draws the numbers anew for the gauge.
# Both can write `into` the memory of an earlier block, as new pages cost as much as the draw itself.


@functools.partial(jax.jit, static_argnames=("sharding",))
def _choose_parts(rows, philox_words, weights, *, sharding=None):
    def choose(rows, philox_words, weights):
        words, *_ = row_block(philox_words, rows, CounterStream.PART, jnp.zeros_like(rows[0]))
        part = jnp.searchsorted(jnp.cumsum(weights), uniform01(words)).astype(np.int32)
        return jnp.minimum(part, weights.shape[0] - 1)  # where the sum is rounded to less than 1

    return _by_rows(choose, sharding)(rows, philox_words, weights)


@functools.partial(
    jax.jit, static_argnames=("law", "dtype", "sharding"), donate_argnames=("into",), keep_unused=True
)
def _draw_scores(rows, philox_words, semi_axes, settings, region, into=None, *, law, dtype, sharding=None):
    def draw(rows, philox_words, semi_axes, settings, region):
        numbers, part = rows
        u = get_law(law, region).draw(philox_words, numbers, semi_axes.shape[-1], settings)
        scores = u * _of_rows(semi_axes * _INWARD, part, u.shape)
        return scores if dtype == "float32" else _round_inward(scores, jnp.dtype(dtype))

    return _by_rows(draw, sharding)(rows, philox_words, semi_axes, settings, region)


@functools.partial(jax.jit, static_argnames=("sharding",), donate_argnames=("into",), keep_unused=True)
def _complete(rows, state, semi_axes, region, into=None, *, sharding=None):
    def of_one(state, scores):
        state, semi_axes = state
        return state.reconstruct(scores).astype(scores.dtype), region.gauge(_normalised(scores, semi_axes))

    def complete(rows, state, semi_axes, region):
        scores, part = rows
        if part is None:
            return of_one((state, semi_axes), scores)
        return apply_by_part(of_one, (state.parts, semi_axes), part, scores)

    return _by_rows(complete, sharding)(rows, state, semi_axes, region)


@functools.partial(jax.jit, static_argnames=("sharding",))
def _verifying_gauge(rows, semi_axes, region, *, sharding=None):
    """Gauge of each row: for the pairwise region by the full masked pair form, row by row."""

    def verify(rows, semi_axes, region):
        def one(row):
            u = _normalised(row[0], semi_axes, row[1])
            return pairs_gauge(u, region.pairs) if region.name == PAIRWISE else region.gauge(u)

        return lax.map(one, rows)

    return _by_rows(verify, sharding)(rows, semi_axes, region)


@functools.partial(jax.jit, static_argnames=("n", "sharding"))
def _join(blocks, n, *, sharding=None):
    """First `n` rows of all blocks; of each device, where there are several."""

    def join(blocks):
        return type(blocks[0])(*(jnp.concatenate(parts)[:n] for parts in zip(*blocks, strict=True)))

    return _by_rows(join, sharding)(blocks)


# --- checks on the host ----------------------------------------------------------------------------


def _is_traced(tree):
    return any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(tree))


def checked_state(state, label=None):
    """State or mixture as draws need it: of the parts that have a label, without what no draw depends on."""
    if not isinstance(state, PCAState | Mixture):
        raise TypeError(
            f"state: expected a PCAState, as made by ellipsoid.fit(latents), or a Mixture; "
            f"got {type(state).__name__}"
        )
    # No draw depends on the number of latents, which may be beyond the 32-bit integers that jit takes, nor on
    # the labels, each of which would be compiled anew.
    if isinstance(state, PCAState):
        if label is not None:
            raise ValueError("label: one state has no labels; fit a mixture with ellipsoid.fit_by_label")
        return dataclasses.replace(state, n_samples=0)
    if label is not None:
        state = state.select(label)
    return dataclasses.replace(state, shared=dataclasses.replace(state.shared, n_samples=0), names=(), has=())


def _semi_axes(state, radius):
    # Without the barrier XLA merges the radius with other factors under a surrounding jit: other bits.
    return lax.optimization_barrier(jnp.asarray(state.scale, np.float32) * jnp.float32(radius))


def _checked_dtype(dtype):
    try:
        name = jnp.dtype(dtype).name
    except TypeError:
        name = None
    if name not in _DTYPES:
        raise ValueError(f"dtype: expected one of {', '.join(_DTYPES)}; got {dtype!r}")
    return name


def _check_count(n):
    n = check_integer("n", n)
    if n < 1:
        raise ValueError(f"n: expected at least 1 vector; got {n}")
    return n


def _check_index(index):
    if isinstance(index, Tracer):
        if index.ndim != 1 or not jnp.issubdtype(index.dtype, jnp.integer):
            raise ValueError(f"index: expected a one-dimensional array of integers; got {index.aval}")
        return index
    index = np.asarray(index)
    if index.ndim != 1 or index.size == 0 or not np.issubdtype(index.dtype, np.integer):
        raise ValueError(
            f"index: expected a one-dimensional, non-empty array of integers; "
            f"got shape {index.shape} of {index.dtype}"
        )
    if index.min() < 0:
        raise ValueError(f"index: expected row numbers of at least 0; got {index.min()}")
    return index.astype(np.uint64)


def _check_sharding(sharding, n):
    """Return the sharding as one of the first axis alone, and its number of parts."""
    if not isinstance(sharding, NamedSharding):
        raise TypeError(f"sharding: expected a jax.sharding.NamedSharding; got {type(sharding).__name__}")
    axes, *others = sharding.spec or (None,)
    if axes is None or any(others):
        raise ValueError(f"sharding: expected a spec of the rows alone, as P('rows'); got {sharding.spec}")
    names = (axes,) if isinstance(axes, str) else axes
    n_parts = math.prod(sharding.mesh.shape[name] for name in names)
    if n % n_parts:
        raise ValueError(f"n: expected a multiple of the {n_parts} parts of the sharding; got {n}")
    return NamedSharding(sharding.mesh, PartitionSpec(axes)), n_parts


# --- drawing ---------------------------------------------------------------------------------------


def _halves(rows):
    """Low and high uint32 words of row numbers."""
    low = rows.astype(np.uint32)
    return low, (rows >> 32).astype(np.uint32) if rows.dtype.itemsize == 8 else low * np.uint32(0)


def _host_empty(shape, dtype):
    """Uninitialised array at a 64-byte boundary, which JAX takes over on a CPU without a copy."""
    n_bytes = math.prod(shape) * np.dtype(dtype).itemsize
    memory = np.empty(n_bytes + 64, np.uint8)
    start = -memory.ctypes.data % 64
    return memory[start : start + n_bytes].view(dtype).reshape(shape)


def _gather_on_host(draw_block, new_memory, starts, n):
    """First `n` rows of all blocks. Plain copies: no program is compiled for a new `n`."""
    memory = threading.local()

    def draw(start):
        block = draw_block(start, getattr(memory, "into", None) or new_memory())
        memory.into = block.scores, block.latents
        return block

    def copy(start, block):
        for target, part in zip(parts, block, strict=True):
            rows = target[start : start + part.shape[0]]
            rows[:] = np.asarray(part)[: rows.shape[0]]

    first = draw(starts[0])  # compiles, once
    parts = [_host_empty((n, *part.shape[1:]), part.dtype) for part in first]
    # JAX runs what one thread asks of a CPU one after the other, and loops over rows on one core.
    with ThreadPoolExecutor(n_cores()) as pool:
        others = pool.map(lambda start: copy(start, draw(start)), starts[1:])
        copy(starts[0], first)
        for _ in others:
            pass
    return type(first)(*jax.device_put(parts, may_alias=True))


def _draw(key, state, n, index, *, law, level, fact, region, label, verify, dtype, sharding):
    """Draw the `n` rows that `index` names, or the first `n` rows where it is None."""
    state = checked_state(state, label)
    k = state.n_components
    region = as_region(region)
    region.check(k)
    dtype = _checked_dtype(dtype)
    radius = checked_radius(level, fact)
    settings = jax.tree.map(jnp.asarray, get_law(law, region).prepare(k, radius, region))
    if region.name == ELLIPSOID and not _is_traced(radius) and radius < 0.5 * math.sqrt(k + 2):
        warnings.warn(
            f"level: at {radius:.4g} standard deviations all draws from a {k}-dimensional ellipsoid collapse "
            f"towards the mean; the data lie near {math.sqrt(k):.4g}, and matched_level gives "
            f"{math.sqrt(k + 2):.4g}",
            stacklevel=3,
        )
    words, semi_axes = philox_words(key), _semi_axes(state, radius)

    def choose_parts(numbers):
        if isinstance(state, PCAState):
            return None
        return _choose_parts(numbers, words, state.weights, sharding=sharding)

    def draw_scores(rows, into=None):
        return _draw_scores(
            rows, words, semi_axes, settings, region, into, law=law, dtype=dtype, sharding=sharding
        )

    def complete(rows, into=None):
        return _complete(rows, state, semi_axes, region, into, sharding=sharding)

    if _is_traced((words, state, radius, region, index)):
        if verify:
            raise ValueError(
                "verify: expected False under jit, where nothing can be raised; check afterwards"
            )
        if sharding is not None:
            raise ValueError("sharding: expected None under jit, where the surrounding program has its own")
        # As constants of a surrounding jit the settings would be folded into the arithmetic: other bits.
        settings = lax.optimization_barrier(settings)
        size = block_rows(k, law, jax.default_backend())
        rows = np.arange(n, dtype=np.uint64) if index is None else index
        rows = (jnp if _is_traced(rows) else np).pad(rows, (0, -n % size)).reshape(-1, size)
        numbers = _halves(rows)
        part = lax.map(choose_parts, numbers)
        scores = lax.map(draw_scores, (numbers, part))
        latents, gauge = lax.map(complete, (scores, part))
        draws = _as_draws(latents, scores, gauge, part)
        return jax.tree.map(lambda part: part.reshape(-1, *part.shape[2:])[:n], draws)

    n_parts = 1
    if sharding is not None:
        sharding, n_parts = _check_sharding(sharding, n)
        everywhere = NamedSharding(sharding.mesh, PartitionSpec())
        words, state, semi_axes, settings, region = jax.device_put(
            (words, state, semi_axes, settings, region), everywhere
        )
    platform = next(iter(semi_axes.devices())).platform
    size = block_rows(k, law, platform)
    part = n // n_parts

    def rows_from(start):
        """Rows of one block, or of one block of each device."""
        place = np.minimum(np.arange(start, start + size), part - 1)
        place = (np.arange(n_parts)[:, None] * part + place).ravel()
        low, high = _halves(place.astype(np.uint64) if index is None else index[place])
        return (low, high) if sharding is None else jax.device_put((low, high), sharding)

    def draw_block(start, into=(None, None)):
        numbers = rows_from(start)
        part = choose_parts(numbers)
        scores = draw_scores((numbers, part), into[0])
        latents, gauge = complete((scores, part), into[1])
        if verify:
            largest = float(jnp.max(_verifying_gauge((scores, part), semi_axes, region, sharding=sharding)))
            if not largest <= 1:
                raise RuntimeError(f"verify: a drawn vector has the gauge {largest:.9g}, above 1")
        return _as_draws(latents, scores, gauge, part)

    def new_memory():
        return jnp.empty((size, k), dtype), jnp.empty((size, state.n_features), dtype)

    starts = range(0, part, size)
    if platform == "cpu" and sharding is None:
        return _gather_on_host(draw_block, new_memory, starts, n)
    return _join([draw_block(start) for start in starts], part, sharding=sharding)


def sample(
    key,
    state,
    n,
    *,
    law="redraw",
    level=DEFAULT_LEVEL,
    fact=1.0,
    region="pairwise",
    label=None,
    verify=False,
    dtype="float32",
    sharding=None,
) -> Draws | MixtureDraws:
    """Draw new latents inside the shape of the latents that a state was fitted on.

    Parameters
    ----------
    key : typed JAX key
        From :func:`ellipsoid.key` or ``jax.random.key``.
    state : PCAState or Mixture
        Of a mixture each row first chooses its part, by the weights, and is then drawn inside that part's own
        region.
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
    label : str, number, sequence of these, or mapping of str to bool, optional
        Draw from the parts of a mixture that have this label only, see :meth:`ellipsoid.Mixture.select`.
    verify : bool
        Check every vector by the full masked K x K form (for the other regions, by their gauge)
        before it is handed out. Slow: for doubters.
    dtype : {"float32", "float16", "bfloat16"}
        Of latents and scores. 16-bit scores are rounded inward, latents to nearest.
    sharding : jax.sharding.NamedSharding, optional
        How the rows of the result are spread over devices, as ``NamedSharding(mesh, P("rows"))``:
        each device draws its own rows, without traffic between them. `n` must be a multiple of the
        number of parts. The rows are the same, bit for bit on one backend.

    Returns
    -------
    Draws
        ``latents`` (n, D), ``scores`` (n, K) and ``gauge`` (n,); :class:`MixtureDraws` also has ``part``
        (n,). Every gauge is at most 1 in the scores as they are handed out.

    Raises
    ------
    TypeError
        For a key, state or number of the wrong kind.
    ValueError
        For ``n < 1``, a level or fact that is not positive, an unknown law, region or label, or a law that
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
        key,
        state,
        n,
        None,
        law=law,
        level=level,
        fact=fact,
        region=region,
        label=label,
        verify=verify,
        dtype=dtype,
        sharding=sharding,
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
    label=None,
    verify=False,
    dtype="float32",
    sharding=None,
) -> Draws | MixtureDraws:
    """Draw the rows that `index` names of the infinite sequence that :func:`sample` begins.

    ``sample_at(key, state, arange(n))`` equals ``sample(key, state, n)``, bit for bit on one backend.

    Parameters
    ----------
    index : (n,) array of integers
        Row numbers in ``[0, 2**64)``, in any order.
    key, state, law, level, fact, region, label, verify, dtype, sharding
        As for :func:`sample`.

    Returns
    -------
    Draws or MixtureDraws

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
        label=label,
        verify=verify,
        dtype=dtype,
        sharding=sharding,
    )


# --- questions asked of a point --------------------------------------------------------------------


def _checked_last_axis(name, values, size):
    values = jnp.asarray(values, np.float32)
    if values.ndim == 0 or values.shape[-1] != size:
        raise ValueError(f"{name}: expected a last axis of {size}; got shape {values.shape}")
    return values


def gauge(state, latents, *, level=DEFAULT_LEVEL, fact=1.0, region="pairwise"):
    """Smallest factor by which the region must be scaled to contain each latent vector.

    Parameters
    ----------
    state : PCAState or Mixture
    latents : (..., D) array
    level, fact, region
        As for :func:`sample`.

    Returns
    -------
    (...) array
        At most 1 inside; in a mixture that of the part whose region is nearest. A latent vector is judged by
        its K scores: what lies off the K principal axes is not seen.

    Raises
    ------
    TypeError, ValueError
        For a state, level, fact or region as :func:`sample` refuses it, or latents of another size.
    """
    state, _, gauges = _judged(state, latents, level, fact, region)
    return gauges if isinstance(state, PCAState) else jnp.min(gauges, axis=0)


def _judged(state, latents, level, fact, region):
    """State and radius, checked, and the gauges by them: of all parts, ``(M, ...)``, in a mixture."""
    state = checked_state(state)
    region = as_region(region)
    region.check(state.n_components)
    latents = _checked_last_axis("latents", latents, state.n_features)
    radius = checked_radius(level, fact)
    return state, radius, _gauges(state, latents, radius, region)


@jax.jit
def _gauges(state, latents, radius, region):
    def gauge(part):
        return region.gauge(_normalised(part.project(latents), _semi_axes(part, radius)))

    return lax.map(gauge, state.parts) if isinstance(state, Mixture) else gauge(state)


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
    if tolerance is not None and not tolerance >= 0:
        raise ValueError(f"tolerance: expected a number of at least 0; got {tolerance}")
    state, radius, gauges = _judged(state, latents, level, fact, region)
    if isinstance(state, PCAState):
        return gauges <= 1 + (_round_trip_tolerance(state, radius) if tolerance is None else tolerance)
    if tolerance is None:
        tolerance = jax.vmap(_round_trip_tolerance, (0, None))(state.parts, radius)
    limits = jnp.broadcast_to(jnp.asarray(1 + tolerance), state.n_parts)
    return jnp.any(gauges <= limits.reshape(-1, *[1] * (gauges.ndim - 1)), axis=0)


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
    state : PCAState or Mixture
    scores : (..., K) array
        In latent units. For a mixture those on the axes that its parts share, ``state.project(latents)``: the
        density is the weighted sum of those of all parts.
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
    state = checked_state(state)
    region = as_region(region)
    region.check(state.n_components)
    density = get_law(law, region).log_density
    if density is None:
        raise ValueError(f"law: {law!r} has no closed-form density; uniform and normal have")
    scores = _checked_last_axis("scores", scores, state.n_components)
    radius = checked_radius(level, fact)

    def of_state(state, scores):
        semi_axes = _semi_axes(state, radius)
        u = _normalised(scores, semi_axes)
        inside = region.gauge(u) <= 1
        # The density of a point outside is never used, nor its gradient: hence the second where.
        u = jnp.where(inside[..., None], u, 0)
        return jnp.where(inside, density(u, radius, region) - jnp.sum(jnp.log(semi_axes)), -jnp.inf)

    if isinstance(state, PCAState):
        return of_state(state, scores)
    # The axes of a part are those that are shared, rotated: a density over either is the same number.
    latents = state.shared.reconstruct(scores)
    densities = lax.map(lambda part: of_state(part, part.project(latents)), state.parts)
    return jax.nn.logsumexp(densities, axis=0, b=state.weights.reshape(-1, *[1] * (scores.ndim - 1)))
