r"""Laws: how draws are spread inside a region, in normalised coordinates.

Every law draws ``u``, a ``(k,)`` float32 vector of gauge at most 1 (to a few units of rounding), from
``(key_words, row, k, settings)``: ``row`` holds the two halves of the row number, ``settings`` the
arrays that :attr:`Law.prepare` makes on the host from K, the radius and the region. Batches come from
``jax.vmap``, but for ``redraw``, whose loop runs over the batch until its last vector is done.

On the pairwise region:

``redraw``
    The procedure of the source method: start from :math:`u \sim U(-1, 1)^K`, visit all pairs in
    uniformly random order and orientation, and where a pair :math:`(i, j)` violates its ellipse
    redraw :math:`u_j \sim U(-c, c)`, :math:`c = \sqrt{1 - u_i^2}`. A redraw only shrinks, so one
    pass suffices. It is drawn here by its events, exactly: a visited pair never conflicts again, so
    all pairs in conflict are unvisited, and the next one that the random order reaches is uniform
    among them. Instead of 32,640 visits at K = 256 there are about 119 redraws.
``sequential``
    Components in random order, each uniform within the narrowest bound set by those before it,
    :math:`|u_j| \le \sqrt{1 - \max u_i^2}`. One early large value squeezes all that follow: at
    K = 256 about 7 % of these draws collapse towards the mean (rms of u below 0.2; none under
    ``redraw``).
``uniform``
    Uniform over the region: choose cube or spike by volume, in a spike its coordinate and its angle
    :math:`t` (density proportional to :math:`\cos^K t`), and fill the rest uniformly. Exact, without
    rejection, O(K).
``normal``
    The Gaussian :math:`N(0, \mathrm{diag}\, s^2)` kept to the region, drawn in the same way with
    Gaussian masses and inverse-erf fills. Exact, without rejection, O(K).

``uniform`` and ``normal`` exist on the ellipsoid and the box as well.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.core import Tracer
from jax.scipy.special import erf, erfinv

from ellipsoid import levels
from ellipsoid.random import Purpose, below, row_block, row_words, signed_unit, unit
from ellipsoid.regions import BOX, ELLIPSOID, PAIRWISE, Region

_SQRT_2 = np.float32(np.sqrt(2))
# erfinv(1) is infinite; the largest float32 below 1 keeps a fill finite (it is 5.4 sd out).
_BELOW_ONE = np.float32(1 - 2**-24)


class Law(NamedTuple):
    """A law on a region.

    Attributes
    ----------
    prepare : callable ``(k, radius, region) -> settings``
        Host side.
    draw : callable ``(key_words, rows, k, settings) -> (n, k) float32``
        For a batch of rows, a pair of ``(n,)`` uint32 arrays.
    log_density : callable ``(u, radius, region) -> (...)``, optional
        Over normalised coordinates, for points inside; absent where there is no closed form.
    """

    prepare: Callable[[int, float, Region], Any]
    draw: Callable[..., jax.Array]
    log_density: Callable[[jax.Array, float, Region], jax.Array] | None


def _interpolate(table, position):
    """Linear interpolation in a table of equal steps; `position` in steps, clamped to the table."""
    last = table.shape[0] - 1
    position = jnp.clip(position, 0, np.float32(last))  # also keeps an infinite one
    index = jnp.minimum(position.astype(np.int32), last - 1)
    low, high = table[index], table[index + 1]
    return low + (high - low) * (position - index.astype(np.float32))


def _batched(draw_one):
    def draw(key_words, rows, k, settings):
        return jax.vmap(lambda row: draw_one(key_words, row, k, settings))(rows)

    return draw


def _concrete(radius):
    if isinstance(radius, Tracer):
        raise TypeError("level: the normal law makes tables on the host and needs a concrete level and fact")
    return radius


def _standard_normal(words):
    return _SQRT_2 * erfinv(jnp.clip(signed_unit(words), -_BELOW_ONE, _BELOW_ONE))


# --- pairwise: cube and spikes ---------------------------------------------------------------------


def _uniform_pieces(k, radius, region):
    pieces = levels.uniform_pieces(k)
    return np.float32(pieces.spike_share), pieces.angles


def _normal_pieces(k, radius, region):
    radius = _concrete(radius)
    pieces = levels.normal_pieces(k, radius)
    return (np.float32(pieces.spike_share), pieces.angles), np.float32(radius)


def _draw_piece(key_words, row, k, pieces):
    """Cube or spike: the bound on the ordinary components, the index and the value of the spike.

    In the cube the index is K, which is no component.
    """
    spike_share, angles = pieces
    choice, place, angle, sign = row_block(key_words, row, Purpose.PIECE, np.uint32(0))
    in_spike = unit(choice) <= spike_share
    step = np.float32((angles.shape[0] - 1) / levels.MAX_EXPONENT)
    delta = _interpolate(angles, -jnp.log(unit(angle)) * step) / np.float32(k)
    # sin and cos of pi/4 + delta from those of delta, which is as small as 1/K.
    sine, cosine = (jnp.cos(delta) + jnp.sin(delta)) / _SQRT_2, (jnp.cos(delta) - jnp.sin(delta)) / _SQRT_2
    bound = jnp.where(in_spike, jnp.maximum(cosine, 0), 1 / _SQRT_2)
    index = jnp.where(in_spike, below(place, np.uint32(k)), np.uint32(k))
    return bound, index, jnp.where(sign >> 31 == 1, -sine, sine)


def _fill(key_words, row, k):
    return row_words(key_words, row, Purpose.FILL, k)


def _with_spike(ordinary, index, spike):
    return jnp.where(lax.iota(np.uint32, ordinary.shape[0]) == index, spike, ordinary)


def _draw_uniform_pairwise(key_words, row, k, pieces):
    bound, index, spike = _draw_piece(key_words, row, k, pieces)
    return _with_spike(bound * signed_unit(_fill(key_words, row, k)), index, spike)


def _bounded_normal(words, bound, radius):
    """Draw standard normal numbers kept to ``+-bound * radius``, divided by the radius."""
    mass = erf(bound * radius / _SQRT_2)
    rank = jnp.clip(signed_unit(words) * mass, -_BELOW_ONE, _BELOW_ONE)
    # The inverse may overshoot the bound by its own rounding.
    return jnp.clip(_SQRT_2 * erfinv(rank) / radius, -bound, bound)


def _draw_normal_pairwise(key_words, row, k, settings):
    pieces, radius = settings
    bound, index, spike = _draw_piece(key_words, row, k, pieces)
    return _with_spike(_bounded_normal(_fill(key_words, row, k), bound, radius), index, spike)


# --- pairwise: the source's procedures -------------------------------------------------------------


# Steps between two looks at the whole vector (its largest square); each step is O(1).
_STEPS = 16
# Rows need 350 to 900 steps at K = 256. Once this share of a batch is left, it goes on by itself.
_LATE_SHARE = 8


class _Events(NamedTuple):
    """Where one vector stands on its way through the events of `redraw`.

    The vector is kept in three zones: ``n_large`` components of a square above 1/2, then others that
    may still conflict with one of these, then, from ``n_active`` on, components that never will
    again. Every pair in conflict has its larger member in the first zone and the other in the first
    two. An item is a complex number, value + i position, as two floats that move in one gather or
    scatter take half of the time of two arrays.
    """

    items: jax.Array
    n_large: jax.Array
    n_active: jax.Array

    @property
    def done(self):
        return (self.n_large == 0) | ((self.n_large == 1) & (self.n_active == 1))


def _start_events(key_words, row, k):
    u = signed_unit(_fill(key_words, row, k))
    large = jnp.square(u) > 0.5
    rank = jnp.cumsum(large.astype(np.int32))
    position = lax.iota(np.int32, k)
    place = jnp.where(large, rank - 1, rank[-1] + position - rank)
    items = lax.complex(u, position.astype(np.float32))
    return _Events(jnp.zeros_like(items).at[place].set(items, unique_indices=True), rank[-1], jnp.int32(k))


def _step_events(events, words, largest):
    """Propose one pair: redraw if it conflicts, put it aside if it never will, else do nothing.

    A pair of a large and any other active component is proposed until one conflicts, which makes the
    next event uniform among the pairs in conflict; a pair of two large ones can be proposed in two
    ways and is taken half of the time. `largest` bounds all squares from above.
    """
    items, n_large, n_active = events
    first = below(words[0], n_large.astype(np.uint32)).astype(np.int32)
    second = below(words[1], (n_active - 1).astype(np.uint32)).astype(np.int32)
    second = second + (second >= first)
    coin = words[3] >> 31 == 1
    item_1, item_2 = items[first], items[second]
    square_1, square_2 = jnp.square(item_1.real), jnp.square(item_2.real)
    both_large = second < n_large

    exceeds = square_1 + square_2 > 1
    conflict = exceeds & (coin | ~both_large) & ~events.done
    keep_first = coin | both_large
    redrawn = signed_unit(words[2]) * jnp.sqrt(1 - jnp.where(keep_first, square_1, square_2))
    redraw_first = conflict & ~keep_first
    target = jnp.where(redraw_first, first, second)
    position = jnp.where(redraw_first, item_1.imag, item_2.imag)
    item = lax.complex(jnp.where(conflict, redrawn, item_2.real), position)

    shrunk = conflict & (target < n_large) & (jnp.square(redrawn) <= 0.5)
    # With one large component left the answer must be the exact opposite of `exceeds`: by another
    # rounding a pair could be neither in conflict nor settled, and the loop would never end.
    harmless = jnp.where(n_large == 1, ~exceeds, largest + square_2 <= 1)
    settled = harmless & ~both_large & ~events.done
    # What leaves a zone changes places with the last one in it; else `last` is the target itself.
    last = jnp.where(shrunk, n_large - 1, jnp.where(settled, n_active - 1, target))
    moved = jnp.where(target == last, item, items[last])
    items = items.at[jnp.stack([target, last])].set(jnp.stack([moved, item]))
    return _Events(items, n_large - shrunk, n_active - settled)


def _run_events(key_words, rows, count, events, n_late):
    """Step all rows until at most `n_late` are left with conflicts."""

    def steps(carry):
        count, events = carry
        largest = jnp.max(jnp.square(events.items.real), axis=1)
        # Made in one go: inside the inner loop XLA would compute each word again for every use of it.
        numbers = jnp.broadcast_to((count + lax.iota(np.uint32, _STEPS))[:, None], (_STEPS, largest.shape[0]))
        words = jax.vmap(lambda number: row_block(key_words, rows, Purpose.REDRAW, number))(numbers)

        def step(i, events):
            return jax.vmap(_step_events)(events, tuple(word[i] for word in words), largest)

        return count + np.uint32(_STEPS), lax.fori_loop(0, _STEPS, step, events)

    return lax.while_loop(lambda carry: jnp.sum(~carry[1].done) > n_late, steps, (count, events))


def _draw_redraw_all(key_words, rows, k):
    def restore(items):
        return jnp.zeros(k, np.float32).at[items.imag.astype(np.int32)].set(items.real, unique_indices=True)

    n_late = rows[0].shape[0] // _LATE_SHARE
    events = jax.vmap(lambda row: _start_events(key_words, row, k))(rows)
    count, events = _run_events(key_words, rows, np.uint32(0), events, n_late)
    # Rows to fill up with are copies of row 0, which come out the same wherever they are stepped.
    late = jnp.nonzero(~events.done, size=max(n_late, 1), fill_value=0)[0]
    late_rows, late_events = jax.tree.map(lambda part: part[late], (rows, events))
    _, late_events = _run_events(key_words, late_rows, count, late_events, 0)
    events = jax.tree.map(lambda part, new: part.at[late].set(new), events, late_events)
    return jax.vmap(restore)(events.items)


def _fixed_square(x):
    """Square in units of 2^-31.

    The counts below are kept up to date, so a pair must be judged alike each time. Sums of floats are
    not: XLA may fuse square and sum into one rounding here and two there, and the loop never ends.
    """
    return (jnp.square(x) * np.float32(2**31)).astype(np.uint32)


def _draw_redraw_masked(key_words, row, k, pairs):
    """Events among the pairs of a mask, by a count of each component's conflicts: O(K) an event."""
    positions = lax.iota(np.int32, k)

    def conflicts_with(squares, index, square):
        """Which components would conflict with component `index`, were its square `square`."""
        return (squares + square > np.uint32(2**31)) & (positions != index) & pairs[index]

    def step(carry):
        event, u, squares, counts = carry
        choice, fill, _, _ = row_block(key_words, row, Purpose.REDRAW, event)
        # An ordered pair (keep, redraw), uniform among those in conflict.
        ends = jnp.cumsum(counts)
        rank = below(choice, ends[-1].astype(np.uint32)).astype(np.int32)
        keep = jnp.sum(ends <= rank)
        partners = conflicts_with(squares, keep, squares[keep])
        redraw = jnp.sum(jnp.cumsum(partners) <= rank - (ends[keep] - counts[keep]))
        value = signed_unit(fill) * jnp.sqrt(1 - jnp.square(u[keep]))
        square = _fixed_square(value)
        before = conflicts_with(squares, redraw, squares[redraw])
        after = conflicts_with(squares, redraw, square)
        here = positions == redraw
        counts = counts - before.astype(np.int32) + after.astype(np.int32)
        counts = jnp.where(here, jnp.sum(after, dtype=np.int32), counts)
        return event + 1, jnp.where(here, value, u), jnp.where(here, square, squares), counts

    u = signed_unit(_fill(key_words, row, k))
    squares = _fixed_square(u)
    counts = jax.vmap(lambda i: jnp.sum(conflicts_with(squares, i, squares[i]), dtype=np.int32))(positions)
    return lax.while_loop(lambda carry: jnp.any(carry[3] > 0), step, (np.uint32(0), u, squares, counts))[1]


def _draw_redraw(key_words, rows, k, pairs):
    if pairs is None:
        return _draw_redraw_all(key_words, rows, k)
    return jax.vmap(lambda row: _draw_redraw_masked(key_words, row, k, jnp.asarray(pairs)))(rows)


def _random_order(key_words, row, k):
    """Uniformly random permutation, by sorting 64-bit numbers: a tie has a chance of 1e-12 at K = 4,096."""
    words = row_words(key_words, row, Purpose.ORDER, 2 * k)
    return lax.sort((words[:k], words[k:], lax.iota(np.int32, k)), num_keys=2)[2]


def _draw_sequential(key_words, row, k, pairs):
    fills = signed_unit(_fill(key_words, row, k))
    order = _random_order(key_words, row, k)
    if pairs is None:  # only the largest square so far counts

        def bounded(largest, fill):
            value = fill * jnp.sqrt(1 - largest)
            return jnp.maximum(largest, jnp.square(value)), value

        _, values = lax.scan(bounded, np.float32(0), fills)
        return jnp.zeros(k, np.float32).at[order].set(values, unique_indices=True)

    def place(u, step):
        index, fill = step
        largest = jnp.max(
            jnp.where(jnp.asarray(pairs)[index] & (lax.iota(np.int32, k) != index), jnp.square(u), 0)
        )
        return u.at[index].set(fill * jnp.sqrt(1 - largest)), None

    return lax.scan(place, jnp.zeros(k, np.float32), (order, fills))[0]


# --- ellipsoid and box -----------------------------------------------------------------------------


def _normal_lengths(k, radius, region):
    radius = _concrete(radius)
    return levels.normal_radii(k, radius), np.float32(radius)


def _normal_radius(k, radius, region):
    return np.float32(_concrete(radius))


def _direction(key_words, row, k):
    normal = _standard_normal(_fill(key_words, row, k))
    return normal / jnp.linalg.norm(normal)


def _draw_uniform_ellipsoid(key_words, row, k, _):
    rank = unit(row_block(key_words, row, Purpose.PIECE, np.uint32(0))[0])
    return _direction(key_words, row, k) * jnp.exp(jnp.log(rank) / np.float32(k))


def _draw_normal_ellipsoid(key_words, row, k, settings):
    log_lengths, radius = settings
    rank = unit(row_block(key_words, row, Purpose.PIECE, np.uint32(0))[0])
    logit = jnp.log(rank) - jnp.log1p(-rank)
    step = np.float32((log_lengths.shape[0] - 1) / (2 * levels.MAX_LOGIT))
    length = jnp.exp(_interpolate(log_lengths, (logit + np.float32(levels.MAX_LOGIT)) * step))
    return _direction(key_words, row, k) * jnp.minimum(length / radius, 1)


def _draw_uniform_box(key_words, row, k, _):
    return signed_unit(_fill(key_words, row, k))


def _draw_normal_box(key_words, row, k, radius):
    return _bounded_normal(_fill(key_words, row, k), np.float32(1), radius)


# --- densities -------------------------------------------------------------------------------------


def _log_density_uniform(u, radius, region):
    return jnp.full(u.shape[:-1], -region.log_volume(u.shape[-1]), u.dtype)


def _log_density_normal(u, radius, region):
    k = u.shape[-1]
    # In normalised coordinates the Gaussian has the standard deviation 1 / radius.
    constant = k * np.log(radius / np.sqrt(2 * np.pi)) - levels.log_joint_coverage(radius, k, region)
    return constant.astype(u.dtype) - u.dtype.type(radius**2 / 2) * jnp.sum(jnp.square(u), axis=-1)


def _pairs(k, radius, region):
    return region.pairs


def _nothing(k, radius, region):
    return None


LAWS: dict[tuple[str, str], Law] = {
    ("redraw", PAIRWISE): Law(_pairs, _draw_redraw, None),
    ("sequential", PAIRWISE): Law(_pairs, _batched(_draw_sequential), None),
    ("uniform", PAIRWISE): Law(_uniform_pieces, _batched(_draw_uniform_pairwise), _log_density_uniform),
    ("normal", PAIRWISE): Law(_normal_pieces, _batched(_draw_normal_pairwise), _log_density_normal),
    ("uniform", ELLIPSOID): Law(_nothing, _batched(_draw_uniform_ellipsoid), _log_density_uniform),
    ("normal", ELLIPSOID): Law(_normal_lengths, _batched(_draw_normal_ellipsoid), _log_density_normal),
    ("uniform", BOX): Law(_nothing, _batched(_draw_uniform_box), _log_density_uniform),
    ("normal", BOX): Law(_normal_radius, _batched(_draw_normal_box), _log_density_normal),
}

NAMES = tuple(dict.fromkeys(name for name, _ in LAWS))


def get_law(name: str, region: Region) -> Law:
    """Law of a name on a region.

    Raises
    ------
    ValueError
        For an unknown name, a law that the region doesn't have, or a closed-form law on a subset of
        the pairs.
    """
    if name not in NAMES:
        raise ValueError(f"law: expected one of {', '.join(NAMES)}, got {name!r}")
    law = LAWS.get((name, region.name))
    if law is None:
        available = ", ".join(law for law, region_name in LAWS if region_name == region.name)
        raise ValueError(
            f"law: {name!r} does not exist on the region {region.name!r}, which has: {available}"
        )
    if getattr(region, "pairs", None) is not None and law.log_density is not None:
        raise ValueError(f"law: {name!r} needs all pairs; on a subset use redraw or sequential")
    return law
