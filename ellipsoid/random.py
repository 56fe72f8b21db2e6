"""Counter-based random numbers: Philox4x32-10 as JAX keys and as row-addressed words.

Philox (Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", 2011) maps a
64-bit key and a 128-bit counter to 128 random bits. Nothing carries over from one number to the next, so any
row of a sequence can be computed alone, anywhere, with the same result. The four 32-bit words of the counter
are

    ==== =====================================================================
    word holds
    ==== =====================================================================
    0    low half of the 64-bit row number (or of the index within an array)
    1    high half of it
    2    block within the row: each block gives four words
    3    stream: the use of the numbers, see :class:`CounterStream`
    ==== =====================================================================

Counters of different rows, blocks or streams differ in at least one word, so no two draws under one key share
a random number. (Keys folded from the row number would be simpler, but 64-bit folded keys repeat: among 10^9
rows, two share a key with a probability of 3 %.)
"""

import enum
import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.extend.random import define_prng_impl
from jax.typing import ArrayLike

from ellipsoid.checks import check_integer

# Multipliers and Weyl increments of the Philox 4x32 round (Salmon et al. 2011, table 2).
_MULTIPLIER_0 = np.uint64(0xD2511F53)
_MULTIPLIER_1 = np.uint64(0xCD9E8D57)
_WEYL_0 = np.uint32(0x9E3779B9)
_WEYL_1 = np.uint32(0xBB67AE85)
_ROUNDS = 10

#: Low and high half of row numbers, uint32.
RowHalves = tuple[ArrayLike, ArrayLike]
Words = tuple[jax.Array, jax.Array, jax.Array, jax.Array]


class CounterStream(enum.IntEnum):
    """Last word of the counter, which separates numbers of different uses."""

    ARRAY = 0  # jax.random arrays
    SPLIT = 1  # jax.random.split
    FOLD = 2  # jax.random.fold_in
    CONVERT = 3  # conversion of other keys to Philox keys
    FILL = 4  # one number for each component of a row
    PIECE = 5  # piece of the region, and position in it
    REDRAW = 6  # events of redraw
    ORDER = 7  # random order of the components
    PART = 8  # part of a mixture


def philox4x32(key: Sequence[ArrayLike] | jax.Array, counter: Sequence[ArrayLike]) -> Words:
    """Philox4x32-10, the random function behind every number drawn here.

    Parameters
    ----------
    key : pair of uint32 arrays
        The two words of the key.
    counter : four uint32 arrays
        The four words of the counter. All six arrays broadcast against each other.

    Returns
    -------
    tuple of four uint32 arrays
        Random words, of the shape that all six arrays broadcast to.
    """
    # Each word has a 64-bit lane, in which the product of two words is one instruction and its halves are a
    # shift and a mask. Packing and unpacking in every round would take 1.4 times as long.
    # (jax.lax.mulhi fails to compile on several devices.)
    with jax.enable_x64(True):

        def wide(word):
            return lax.convert_element_type(word, np.uint64)

        key_0, key_1 = (jnp.asarray(word, np.uint32) for word in key)
        x0, x1, x2, x3 = map(wide, counter)
        shift, low = np.uint64(32), np.uint64(0xFFFFFFFF)
        for _ in range(_ROUNDS):
            product_0, product_1 = x0 * _MULTIPLIER_0, x2 * _MULTIPLIER_1
            x0, x1 = product_1 >> shift ^ x1 ^ wide(key_0), product_1 & low
            x2, x3 = product_0 >> shift ^ x3 ^ wide(key_1), product_0 & low
            key_0, key_1 = key_0 + _WEYL_0, key_1 + _WEYL_1
        x0, x1, x2, x3 = (lax.convert_element_type(word, np.uint32) for word in (x0, x1, x2, x3))
        return x0, x1, x2, x3


def row_block(philox_words: jax.Array, row: RowHalves, stream: CounterStream, block: ArrayLike) -> Words:
    """Return four uint32 words for each of some blocks of one row.

    Parameters
    ----------
    philox_words : (2,) uint32 array
        Key from :func:`philox_words`.
    row : pair of uint32 scalars
        Low and high half of the row number.
    stream : CounterStream
        Use of the numbers.
    block : uint32 array
        Block numbers within the row.

    Returns
    -------
    tuple of four uint32 arrays
        Random words, each array of the shape of `block`.
    """
    counter = (row[0], row[1], block, np.uint32(stream))
    return philox4x32(
        (philox_words[0], philox_words[1]), tuple(jnp.broadcast_to(x, jnp.shape(block)) for x in counter)
    )


def row_words(philox_words: jax.Array, row: RowHalves, stream: CounterStream, count: int) -> jax.Array:
    """Return ``(count,)`` uint32 words of one row.

    From 128 words on, they are the words of the first ``count / 4`` blocks: all first words, then all second
    words, and so on. XLA writes this order in place on a CPU; interleaved words take twice as long. For fewer
    words XLA would join the parts anew for each number, up to ten times as slowly. They are therefore the
    first words, and beyond 64 the second words, of 64 blocks.
    """
    n_blocks = -(-count // 4) if count >= 128 else 64
    words = row_block(philox_words, row, stream, lax.iota(np.uint32, n_blocks))
    return jnp.concatenate(words[: -(-count // n_blocks)])[:count]


def uniform01(words: ArrayLike) -> jax.Array:
    """Return uniform float32 numbers in (0, 1] from uint32 words; their logarithms are finite."""
    return (lax.convert_element_type(words, np.float32) + np.float32(0.5)) * np.float32(2**-32)


def uniform_signed(words: ArrayLike) -> jax.Array:
    """Return uniform float32 numbers in [-1, 1], symmetric about zero, from uint32 words."""
    integers = lax.convert_element_type(lax.bitcast_convert_type(words, np.int32), np.float32)
    return (integers + np.float32(0.5)) * np.float32(2**-31)


def random_below(words: ArrayLike, bound: ArrayLike) -> jax.Array:
    """Return uniform uint32 integers in ``[0, bound)`` from uint32 words (bias below ``bound / 2^32``)."""
    with jax.enable_x64(True):
        product = lax.convert_element_type(words, np.uint64) * lax.convert_element_type(bound, np.uint64)
        return lax.convert_element_type(product >> np.uint64(32), np.uint32)


# --- typed JAX keys --------------------------------------------------------------------------------


def _seed(seed):
    if not jnp.issubdtype(seed.dtype, jnp.integer):
        raise TypeError(f"seed: expected an integer; got {seed.dtype}")
    high = lax.shift_right_logical(seed, seed.dtype.type(32)) if seed.dtype.itemsize == 8 else 0
    return jnp.stack([jnp.asarray(seed).astype(np.uint32), jnp.asarray(high).astype(np.uint32)])


def _derive(key_data, index, stream):
    zero = np.uint32(0)
    counter = (index, zero, zero, np.uint32(stream))
    words = philox4x32((key_data[0], key_data[1]), tuple(jnp.broadcast_to(x, index.shape) for x in counter))
    return jnp.stack(words[:2], axis=-1)


def _split(key_data, shape):
    return _derive(key_data, lax.iota(np.uint32, math.prod(shape)).reshape(shape), CounterStream.SPLIT)


def _fold_in(key_data, data):
    return _derive(key_data, jnp.asarray(data).astype(np.uint32), CounterStream.FOLD)


def _random_bits(key_data, bit_width, shape):
    size = math.prod(shape)
    n_words = size * 2 if bit_width == 64 else size
    # The words come in lines of 64 blocks: along one flat array, XLA computes them one at a time on a CPU.
    n_lines = -(-n_words // 256)
    if n_lines * 64 >= 2**32:
        raise NotImplementedError(f"shape: expected at most 2^34 random words; got {size} numbers")
    index = lax.iota(np.uint32, n_lines * 64).reshape(n_lines, 64)
    zero = jnp.zeros_like(index)
    counter = (index, zero, zero, zero + np.uint32(CounterStream.ARRAY))
    words = jnp.concatenate(philox4x32((key_data[0], key_data[1]), counter), axis=1).reshape(-1)[:n_words]
    if bit_width == 64:  # this occurs only with 64-bit types enabled
        low, high = words[:size].astype(np.uint64), words[size:].astype(np.uint64)
        return (low | (high << np.uint64(32))).reshape(shape)
    return words.astype(f"uint{bit_width}").reshape(shape)


_philox = define_prng_impl(
    key_shape=(2,),
    seed=_seed,
    split=_split,
    random_bits=_random_bits,
    fold_in=_fold_in,
    name="ellipsoid_philox4x32",
    tag="elp",
)


def key(seed: int | np.integer) -> jax.Array:
    """Make a typed JAX key of the Philox4x32-10 generator.

    The key works everywhere in :mod:`jax.random`, and uses all 64 bits of the seed.

    Parameters
    ----------
    seed : int
        Seed in ``[0, 2**64)``.

    Returns
    -------
    jax.Array
        Scalar typed key.

    Raises
    ------
    TypeError
        If the seed is not an integer.
    ValueError
        If the seed is negative or has more than 64 bits.

    Examples
    --------
    >>> draw_key, other_key = jax.random.split(key(2**40 + 1))
    >>> jax.random.uniform(draw_key, (3,)).shape
    (3,)
    """
    seed = check_integer("seed", seed)
    if not 0 <= seed < 2**64:
        raise ValueError(f"seed: expected an integer in [0, 2**64); got {seed}")
    words = np.array([seed & 0xFFFFFFFF, seed >> 32], np.uint32)
    return jax.random.wrap_key_data(jnp.asarray(words), impl=_philox)


def philox_words(key: jax.Array) -> jax.Array:
    """Turn any typed JAX key into the two words of a Philox key, ``(2,)`` uint32.

    A key made by :func:`key` gives its own words. The data of any other key is absorbed two words at a time,
    each pair enciphered under the words so far.

    Raises
    ------
    TypeError
        If `key` is not a typed key, but a seed or one of the older raw ``PRNGKey`` arrays.
    ValueError
        If `key` is an array of several keys.
    """
    if not (hasattr(key, "dtype") and jnp.issubdtype(key.dtype, jax.dtypes.prng_key)):
        raise TypeError(
            f"key: expected a typed JAX key, such as ellipsoid.key(0) or jax.random.key(0); "
            f"got {type(key).__name__}"
        )
    if key.shape != ():
        raise ValueError(f"key: expected a single key; got an array of keys of shape {key.shape}")
    data = jax.random.key_data(key)
    if jax.random.key_impl(key) == _philox:
        return data
    if data.size % 2:
        data = jnp.append(data, jnp.zeros(1, data.dtype))
    words = [jnp.uint32(0), jnp.uint32(data.size)]
    for i in range(0, data.size, 2):
        counter = (data[i], data[i + 1], np.uint32(i), np.uint32(CounterStream.CONVERT))
        words = list(philox4x32(words, counter)[:2])
    return jnp.stack(words)
