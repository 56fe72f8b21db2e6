r"""The source's procedures on the pairwise region: ``redraw`` and ``sequential``.

Both start from numbers in [-1, 1] and shrink some of them until all pair conditions hold. Neither has a
closed-form density.

``redraw``
    The procedure of the source method. Start from :math:`u \sim U(-1, 1)^K`, and visit all pairs in uniformly
    random order and orientation. If a pair :math:`(i, j)` violates its ellipse, redraw
    :math:`u_j \sim U(-c, c)`, :math:`c = \sqrt{1 - u_i^2}`. A redraw only shrinks, so one pass suffices.
    Here the procedure is drawn exactly by its events: a visited pair never conflicts again, so all pairs in
    conflict are unvisited, and the next one that the random order reaches is uniform among them. At K = 256,
    about 120 redraws replace 32,640 visits.
``sequential``
    The components in random order, each uniform within the narrowest bound of the earlier ones,
    :math:`|u_j| \le \sqrt{1 - \max u_i^2}`. One large value early on squeezes all that follow: at K = 256,
    about 7 % of these draws collapse towards the mean (rms of u below 0.2; none do under ``redraw``). It is
    drawn exactly by its records: the bound changes only if a square exceeds all earlier ones, which happens a
    few times, so the order need not be sorted.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ellipsoid.random import CounterStream, RowHalves, random_below, row_block, row_words, uniform_signed
from ellipsoid.regions import reduce_in_lanes


def _fill(philox_words, row, k):
    return uniform_signed(row_words(philox_words, row, CounterStream.FILL, k))


T = TypeVar("T")


def each_row(draw_one: Callable[..., T], philox_words: jax.Array, rows: RowHalves, k: int, *tables: Any) -> T:
    """Apply a draw of one row to each of the rows ``(n,)``."""
    return jax.vmap(lambda row: draw_one(philox_words, row, k, *tables))(rows)


# --- redraw ----------------------------------------------------------------------------------------

# Number of O(1) steps between two passes over the whole vectors for their largest squares.
_STEPS = 16
# Rows need 460 to 860 steps at K = 256. When this share of a batch is left, it continues on its own.
_LATE_SHARE = 8


class _Events(NamedTuple):
    """State of n vectors of K components on their way through the events of `redraw`.

    Each vector has three zones: ``n_large`` components with a square above 1/2, then components that may
    still conflict with one of these, then, from ``n_active`` on, components that never will again. Every pair
    in conflict has its larger member in the first zone, and the other in the first two. An item is a complex
    number, value + i position: two floats that move in one gather or scatter take half of the time of two
    arrays, and less still in one flat array.
    """

    items: jax.Array  # (n K,)
    n_large: jax.Array  # (n,)
    n_active: jax.Array  # (n,)

    @property
    def done(self):
        return (self.n_large == 0) | ((self.n_large == 1) & (self.n_active == 1))


def _start_events(philox_words, row, k):
    u = _fill(philox_words, row, k)
    large = jnp.square(u) > 0.5
    rank = jnp.cumsum(large.astype(np.int32))
    position = lax.iota(np.int32, k)
    index = jnp.where(large, rank - 1, rank[-1] + position - rank)
    items = lax.complex(u, position.astype(np.float32))
    return _Events(jnp.zeros_like(items).at[index].set(items, unique_indices=True), rank[-1], jnp.int32(k))


def _step_events(events, words, largest):
    """Propose a pair for each row, and redraw it if it conflicts or settle it if it never will again.

    Pairs of a large and any other active component are proposed until one conflicts, so the next event is
    uniform among the pairs in conflict. A pair of two large components can be proposed in two ways, and is
    accepted half of the time. `largest` bounds all squares from above.
    """
    items, n_large, n_active = events
    n = n_large.shape[0]
    row_start = lax.iota(np.int32, n) * np.int32(items.shape[0] // n)

    def look_up(items, index):
        return items.at[row_start + index].get(mode="promise_in_bounds", wrap_negative_indices=False)

    def put(items, index, item):
        return items.at[row_start + index].set(
            item,
            mode="promise_in_bounds",
            wrap_negative_indices=False,
            unique_indices=True,
            indices_are_sorted=True,
        )

    first = random_below(words[0], n_large.astype(np.uint32)).astype(np.int32)
    second = random_below(words[1], (n_active - 1).astype(np.uint32)).astype(np.int32)
    second = second + (second >= first)
    coin = words[3] >> 31 == 1
    item_1, item_2 = look_up(items, first), look_up(items, second)
    square_1, square_2 = jnp.square(item_1.real), jnp.square(item_2.real)
    both_large = second < n_large

    exceeds = square_1 + square_2 > 1
    conflict = exceeds & (coin | ~both_large) & ~events.done
    keep_first = coin | both_large
    redrawn = uniform_signed(words[2]) * jnp.sqrt(1 - jnp.where(keep_first, square_1, square_2))
    redraw_first = conflict & ~keep_first
    target = jnp.where(redraw_first, first, second)
    position = jnp.where(redraw_first, item_1.imag, item_2.imag)
    item = lax.complex(jnp.where(conflict, redrawn, item_2.real), position)

    shrunk = conflict & (target < n_large) & (jnp.square(redrawn) <= 0.5)
    # With one large component left, this must be the exact opposite of `exceeds`: with another rounding, a
    # pair could be neither in conflict nor settled, and the loop would never end.
    harmless = jnp.where(n_large == 1, ~exceeds, largest + square_2 <= 1)
    settled = harmless & ~both_large & ~events.done
    # An item that leaves a zone changes places with the last one in it; else `last` is the target itself.
    last = jnp.where(shrunk, n_large - 1, jnp.where(settled, n_active - 1, target))
    moved = jnp.where(target == last, item, look_up(items, last))
    items = put(put(items, target, moved), last, item)
    return _Events(items, n_large - shrunk, n_active - settled)


def _run_events(philox_words, rows, k, count, events, n_late):
    """Step all rows until at most `n_late` have conflicts left."""
    n = rows[0].shape[0]

    def steps(carry):
        count, events = carry
        largest = jnp.max(jnp.square(events.items.real).reshape(n, k), axis=1)
        # The words are made before the inner loop: inside, XLA would compute each word for every use of it.
        numbers = jnp.broadcast_to((count + lax.iota(np.uint32, _STEPS))[:, None], (_STEPS, n))
        words = jax.vmap(lambda number: row_block(philox_words, rows, CounterStream.REDRAW, number))(numbers)

        def step(i, events):
            return _step_events(events, tuple(word[i] for word in words), largest)

        return count + np.uint32(_STEPS), lax.fori_loop(0, _STEPS, step, events)

    return lax.while_loop(lambda carry: jnp.sum(~carry[1].done) > n_late, steps, (count, events))


def _draw_redraw_all(philox_words, rows, k):
    def restore(items):
        return jnp.zeros(k, np.float32).at[items.imag.astype(np.int32)].set(items.real, unique_indices=True)

    def flat(events):
        return events._replace(items=events.items.reshape(-1))

    def by_rows(events):
        return events._replace(items=events.items.reshape(-1, k))

    n_late = rows[0].shape[0] // _LATE_SHARE
    events = flat(each_row(_start_events, philox_words, rows, k))
    count, events = _run_events(philox_words, rows, k, np.uint32(0), events, n_late)
    # The rows that fill up are copies of row 0, which come out the same wherever they are stepped.
    late = jnp.nonzero(~events.done, size=max(n_late, 1), fill_value=0)[0]
    late_rows, late_events = jax.tree.map(lambda part: part[late], (rows, by_rows(events)))
    _, late_events = _run_events(philox_words, late_rows, k, count, flat(late_events), 0)
    items = by_rows(events).items.at[late].set(by_rows(late_events).items)
    return jax.vmap(restore)(items)


def _fixed_square(x):
    """Square in units of 2^-31.

    The counts below are updated step by step, so a pair must be judged alike each time. Floats would not do:
    XLA may fuse square and sum into one rounding in one place and two in another, and the loop never ends.
    """
    return (jnp.square(x) * np.float32(2**31)).astype(np.uint32)


def _draw_redraw_masked(philox_words, row, k, pairs):
    """Draw the events among the pairs of a mask, by each component's count of conflicts: O(K) per event."""
    positions = lax.iota(np.int32, k)

    def conflicts_with(squares, index, square):
        """Return which components would conflict with component `index` if its square were `square`."""
        return (squares + square > np.uint32(2**31)) & (positions != index) & pairs[index]

    def step(carry):
        event, u, squares, counts = carry
        choice, fill, _, _ = row_block(philox_words, row, CounterStream.REDRAW, event)
        # An ordered pair (keep, redraw) is uniform among those in conflict.
        ends = jnp.cumsum(counts)
        rank = random_below(choice, ends[-1].astype(np.uint32)).astype(np.int32)
        keep = jnp.sum(ends <= rank)
        partners = conflicts_with(squares, keep, squares[keep])
        redraw = jnp.sum(jnp.cumsum(partners) <= rank - (ends[keep] - counts[keep]))
        value = uniform_signed(fill) * jnp.sqrt(1 - jnp.square(u[keep]))
        square = _fixed_square(value)
        before = conflicts_with(squares, redraw, squares[redraw])
        after = conflicts_with(squares, redraw, square)
        here = positions == redraw
        counts = counts - before.astype(np.int32) + after.astype(np.int32)
        counts = jnp.where(here, jnp.sum(after, dtype=np.int32), counts)
        return event + 1, jnp.where(here, value, u), jnp.where(here, square, squares), counts

    u = _fill(philox_words, row, k)
    squares = _fixed_square(u)
    counts = jax.vmap(lambda i: jnp.sum(conflicts_with(squares, i, squares[i]), dtype=np.int32))(positions)
    return lax.while_loop(lambda carry: jnp.any(carry[3] > 0), step, (np.uint32(0), u, squares, counts))[1]


def draw_redraw(
    philox_words: jax.Array, rows: RowHalves, k: int, pairs: jax.Array | np.ndarray | None
) -> jax.Array:
    """Draw ``(n, k)`` vectors of ``redraw``, over all pairs or those of a mask."""
    if pairs is None:
        return _draw_redraw_all(philox_words, rows, k)
    return each_row(_draw_redraw_masked, philox_words, rows, k, jnp.asarray(pairs))


# --- sequential ------------------------------------------------------------------------------------


def _arrival_times(philox_words, row, k):
    """Draw ``(k,)`` distinct int32 times, whose order is a uniformly random permutation.

    The high bits are random. The low bits hold the position, which settles ties. The position is masked with
    bits that all components share, so either of two tied components comes first with the same probability.
    Ties of three bias the order slightly; they occur in 4e-8 of all rows at K = 256, and in 4 % at K = 4,096.
    """
    n_bits = (k - 1).bit_length()
    mask = row_block(philox_words, row, CounterStream.ORDER, np.uint32(2**32 - 1))[0]
    position = (lax.iota(np.uint32, k) ^ mask) & np.uint32(2**n_bits - 1)
    words = row_words(philox_words, row, CounterStream.ORDER, k) >> 1
    return (words >> n_bits << n_bits | position).astype(np.int32)


def _draw_sequential_all(philox_words, rows, k):
    fills = each_row(_fill, philox_words, rows, k)
    times = each_row(_arrival_times, philox_words, rows, k)
    never = np.int32(2**31 - 1)

    def earlier(a, b):
        first = a[0] <= b[0]
        return jnp.where(first, a[0], b[0]), jnp.where(first, a[1], b[1])

    def next_record(carry):
        values, largest, _ = carry
        # Only a later component can exceed the largest square so far.
        squares = jnp.square(values)
        exceeds = squares > largest[:, None]
        arrivals = jnp.where(exceeds, times, never), jnp.where(exceeds, squares, 0)
        arrival, record = reduce_in_lanes(arrivals, (never, np.float32(0)), earlier)
        largest = jnp.maximum(largest, record)
        bounded = fills * jnp.sqrt(1 - largest)[:, None]
        return jnp.where(times > arrival[:, None], bounded, values), largest, arrival

    n = rows[0].shape[0]
    carry = fills, jnp.zeros(n, np.float32), jnp.zeros(n, np.int32)
    return lax.while_loop(lambda carry: jnp.any(carry[2] < never), next_record, carry)[0]


def _random_order(philox_words, row, k):
    return jnp.argsort(_arrival_times(philox_words, row, k))


def _draw_sequential_masked(philox_words, row, k, pairs):
    fills, order = _fill(philox_words, row, k), _random_order(philox_words, row, k)

    def set_component(u, step):
        index, fill = step
        largest = jnp.max(jnp.where(pairs[index] & (lax.iota(np.int32, k) != index), jnp.square(u), 0))
        return u.at[index].set(fill * jnp.sqrt(1 - largest)), None

    return lax.scan(set_component, jnp.zeros(k, np.float32), (order, fills))[0]


def draw_sequential(
    philox_words: jax.Array, rows: RowHalves, k: int, pairs: jax.Array | np.ndarray | None
) -> jax.Array:
    """Draw ``(n, k)`` vectors of ``sequential``, over all pairs or those of a mask."""
    if pairs is None:
        return _draw_sequential_all(philox_words, rows, k)
    return each_row(_draw_sequential_masked, philox_words, rows, k, jnp.asarray(pairs))
