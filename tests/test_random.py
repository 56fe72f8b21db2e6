import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from scipy import stats

import ellipsoid as el
from ellipsoid import random

# Key, counter and output of Philox4x32-10 as published with Random123 (kat_vectors).
KNOWN_ANSWERS = {
    "zeros": ([0] * 2, [0] * 4, [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
    "ones": ([0xFFFFFFFF] * 2, [0xFFFFFFFF] * 4, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
    "pi": (
        [0xA4093822, 0x299F31D0],
        [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
        [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
    ),
}
EXTREME_WORDS = np.array([0, 1, 2**31 - 1, 2**31, 2**32 - 1], np.uint32)


def uint32(values):
    return tuple(np.uint32(value) for value in values)


def row(number):
    return np.uint32(number & 0xFFFFFFFF), np.uint32(number >> 32)


row_words = jax.jit(random.row_words, static_argnums=(2, 3))
philox4x32 = jax.jit(random.philox4x32)


def words(key, number, stream=random.CounterStream.FILL, count=8):
    return np.asarray(row_words(random.philox_words(key), row(number), stream, count))


def bits(array):
    return np.asarray(jr.key_data(array) if jnp.issubdtype(array.dtype, jax.dtypes.prng_key) else array)


# --- the generator ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", KNOWN_ANSWERS)
@pytest.mark.parametrize("x64", [False, True])
@pytest.mark.parametrize("transform", [lambda f: f, jax.jit], ids=["eager", "jit"])
def test_philox_known_answers(name, x64, transform):
    key, counter, expected = KNOWN_ANSWERS[name]
    with jax.enable_x64(x64):
        got = transform(random.philox4x32)(uint32(key), uint32(counter))
        assert [int(word) for word in got] == expected
        assert all(word.dtype == np.uint32 for word in got)


@pytest.mark.parametrize(
    ("count", "n_blocks"), [(7, 64), (64, 64), (100, 64), (128, 32), (130, 33), (256, 64)]
)
def test_row_words_are_philox_of_the_documented_counter(count, n_blocks):
    philox_words = np.array([11, 22], np.uint32)
    got = row_words(philox_words, (np.uint32(5), np.uint32(6)), random.CounterStream.ORDER, count)
    blocks = [philox4x32(uint32([11, 22]), uint32([5, 6, block, 7])) for block in range(n_blocks)]
    expected = [int(block[word]) for word in range(4) for block in blocks][:count]
    np.testing.assert_array_equal(got, np.array(expected, np.uint32))


def test_uniform01_is_uniform_in_the_half_open_interval():
    extremes = np.asarray(random.uniform01(EXTREME_WORDS))
    assert extremes.dtype == np.float32
    assert extremes[0] == 2**-33
    assert extremes[-1] == 1
    values = random.uniform01(words(el.key(1), 0, count=100_000))
    assert stats.kstest(values, "uniform").pvalue > 1e-3
    assert stats.kstest(np.square(values), "uniform").pvalue < 1e-3


def test_uniform_signed_is_uniform_and_symmetric():
    extremes = np.asarray(random.uniform_signed(EXTREME_WORDS))
    assert extremes.dtype == np.float32
    assert extremes.min() == -1
    assert extremes.max() == 1
    assert extremes[0] == -extremes[-1]
    values = np.asarray(random.uniform_signed(words(el.key(2), 0, count=100_000)))
    assert stats.kstest(values, "uniform", args=(-1, 2)).pvalue > 1e-3
    assert stats.kstest(np.abs(values), "uniform", args=(-1, 2)).pvalue < 1e-3


@pytest.mark.parametrize("bound", [1, 2, 7, 256, 4095])
def test_random_below_is_uniform_over_the_integers(bound):
    values = np.asarray(random.random_below(words(el.key(3), 0, count=100_000), np.uint32(bound)))
    assert random.random_below(EXTREME_WORDS, np.uint32(bound)).max() == bound - 1
    counts = np.bincount(values, minlength=bound)
    assert len(counts) == bound
    assert bound == 1 or stats.chisquare(counts).pvalue > 1e-3


def test_words_of_rows_blocks_and_streams_do_not_overlap():
    rows = [0, 1, 2**32 - 1, 2**32, 2**32 + 1, 2**64 - 1]
    drawn = [words(el.key(0), number, stream) for number in rows for stream in random.CounterStream]
    assert len(np.unique(drawn)) == np.size(drawn)


def test_splits_folds_and_arrays_use_other_words_than_rows():
    key = el.key(0)
    folded = jax.jit(jax.vmap(lambda i: jr.fold_in(key, i)))(jnp.arange(8))
    derived = [bits(jr.split(key, 8)), bits(folded)]
    drawn = [bits(jr.bits(key, (8,))), *(words(key, number) for number in range(8))]
    everything = np.concatenate([np.ravel(part) for part in derived + drawn])
    assert len(np.unique(everything)) == everything.size


# --- keys ------------------------------------------------------------------------------------------


def test_key_keeps_64_bits_of_the_seed():
    seeds = [0, 5, 2**32, 2**32 + 5, 2**63, 2**64 - 1]
    assert len({tuple(bits(el.key(seed))) for seed in seeds}) == len(seeds)
    np.testing.assert_array_equal(bits(el.key(2**32 + 5)), [5, 1])
    np.testing.assert_array_equal(bits(el.key(np.int64(5))), [5, 0])


@pytest.mark.parametrize("seed", [1.0, "1", None, np.zeros(2)])
def test_key_refuses_what_is_no_integer(seed):
    with pytest.raises(TypeError, match=f"seed: expected an integer; got {type(seed).__name__}"):
        el.key(seed)


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_key_refuses_seeds_out_of_range(seed):
    with pytest.raises(ValueError, match=rf"seed: expected an integer in \[0, 2\*\*64\); got {seed}"):
        el.key(seed)


def test_keys_draw_from_jax_random():
    uniform_key, normal_key, order_key = jr.split(el.key(7), 3)
    uniform = jr.uniform(uniform_key, (200, 250))
    assert stats.kstest(np.ravel(uniform), "uniform").pvalue > 1e-3
    assert stats.kstest(np.ravel(jr.normal(normal_key, (50_000,))), "norm").pvalue > 1e-3
    np.testing.assert_array_equal(np.sort(jr.permutation(order_key, 100)), np.arange(100))
    assert not np.array_equal(jr.permutation(order_key, 100), np.arange(100))
    for dtype in (jnp.uint8, jnp.uint16, jnp.uint32):
        assert jr.bits(uniform_key, (3, 5), dtype).shape == (3, 5)


def test_keys_agree_under_jit_vmap_and_scan():
    key = el.key(9)
    keys = jr.split(key, 5)
    eager = np.stack([np.asarray(jr.normal(one, (3,))) for one in keys])
    mapped = jax.jit(jax.vmap(lambda one: jr.normal(one, (3,))))(keys)
    scanned = jax.lax.scan(lambda carry, one: (carry, jr.normal(one, (3,))), 0, keys)[1]
    np.testing.assert_allclose(mapped, eager, rtol=1e-6)  # erfinv is rounded differently when fused
    np.testing.assert_allclose(scanned, eager, rtol=1e-6)
    np.testing.assert_array_equal(bits(jax.jit(lambda key: jr.split(key, 5))(key)), bits(keys))
    np.testing.assert_array_equal(bits(jax.jit(jr.fold_in)(key, 3)), bits(jr.fold_in(key, 3)))
    assert jr.split(key, (2, 3)).shape == (2, 3)


def test_split_and_fold_in_give_distinct_keys():
    key = el.key(0)
    folded = jax.jit(jax.vmap(lambda i: jr.fold_in(key, i)))(jnp.arange(1000))
    derived = np.concatenate([bits(jr.split(key, 1000)), bits(folded), bits(key)[None]])
    assert len(np.unique(derived, axis=0)) == len(derived)


def test_numbers_are_the_same_under_x64():
    def numbers():
        key = el.key(2**40 + 1)
        split = jr.split(key, 4)
        uniform = jr.uniform(jr.fold_in(key, 5), (7,), jnp.float32)
        return [bits(split), bits(uniform), words(key, 2**33)]

    plain = numbers()
    with jax.enable_x64(True):
        assert jr.uniform(el.key(0), (3,)).dtype == np.float64
        for a, b in zip(plain, numbers(), strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("impl", ["threefry2x32", "rbg", "unsafe_rbg"])
def test_philox_words_take_every_typed_key(impl):
    converted = [random.philox_words(jr.key(seed, impl=impl)) for seed in range(20)]
    assert all(one.shape == (2,) and one.dtype == np.uint32 for one in converted)
    assert len({tuple(np.asarray(one)) for one in converted}) == 20


def test_philox_words_of_our_own_key_are_its_data():
    np.testing.assert_array_equal(random.philox_words(el.key(2**32 + 5)), [5, 1])


def test_philox_words_use_all_words_of_a_long_key():
    data = np.array([1, 2, 3, 4], np.uint32)
    changed = [data] + [data + np.eye(4, dtype=np.uint32)[i] for i in range(4)]
    converted = [random.philox_words(jr.wrap_key_data(jnp.asarray(one), impl="rbg")) for one in changed]
    assert len({tuple(np.asarray(one)) for one in converted}) == 5


@pytest.mark.parametrize("key", [0, np.zeros(2, np.uint32), jnp.zeros(2, jnp.uint32), None])
def test_philox_words_refuse_seeds_and_raw_keys(key):
    with pytest.raises(TypeError, match="key: expected a typed JAX key"):
        random.philox_words(key)


def test_philox_words_refuse_an_array_of_keys():
    with pytest.raises(ValueError, match=r"key: expected a single key; got an array of keys of shape \(3,\)"):
        random.philox_words(jr.split(el.key(0), 3))
