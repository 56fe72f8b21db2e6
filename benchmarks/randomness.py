"""A statistical battery for the random numbers of `ellipsoid`, and proof that it can fail.

Six streams of 32-bit words lay the numbers of the package side by side in the ways most likely to
show a pattern: arrays, short rows, streams, seeds and split keys. Each test gives a p-value that is
uniform on (0, 1) for ideal random words (in steps for the birthdays, which are counts); both ends
count against a stream, since a fit that is too good is a pattern too. The same tests must reject
weakened generators. TestU01 (L'Ecuyer and Simard, "TestU01: a C library for empirical testing of
random number generators", 2007) is run as well where the compiler finds it.

    python benchmarks/randomness.py [--small] [--parts streams weak rounds testu01]
"""

import argparse
import contextlib
import itertools
import math
import pathlib
import platform
import subprocess
import tempfile
from typing import IO, cast
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import scipy
from scipy import special, stats

import ellipsoid as el
from ellipsoid import random
from ellipsoid.random import CounterStream, philox4x32, row_block, row_words, uniform01, uniform_signed

CHUNK = 2**16  # number of words that are made at a time, about
SEED = 20_000
LEVEL = 1e-3  # chance that ideal words fail a whole verdict
FAILURE = 1e-10  # a single p-value that no number of tests explains

# --- streams: functions from 0, 1, 2, ... to the next words ---------------------------------------------


def array_words(index):
    """Make one array of `jax.random.bits` for each of consecutive seeds."""
    return jax.random.bits(el.key(SEED + index), (CHUNK,))


def row_stream(count, first=0):
    """Make rows of `count` words in row order, from row `first` on."""

    @jax.jit
    def rows(low, high):
        words = random.philox_words(el.key(SEED))
        return jax.vmap(lambda *row: row_words(words, row, CounterStream.FILL, count))(low, high)

    def chunk(index):
        size = CHUNK // count
        row = first + index * size + np.arange(size, dtype=np.uint64)
        return rows(row.astype(np.uint32), (row >> np.uint64(32)).astype(np.uint32))

    return chunk


def numbers(index, words_each):
    """Count on through the chunks: seeds, rows or blocks of a few words each."""
    size = CHUNK // words_each
    return index * jnp.uint32(size) + jnp.arange(size, dtype=np.uint32)


def _first_block(words, row, stream):
    return jnp.stack(row_block(words, (row, 0), stream, np.uint32(0)))


@jax.jit
def stream_words(index):
    """Make four words of every stream for each of consecutive rows."""
    words = random.philox_words(el.key(SEED))
    row = jax.vmap(lambda row: jnp.stack([_first_block(words, row, stream) for stream in CounterStream]))
    return row(numbers(index, 4 * len(CounterStream)))


@jax.jit
def seed_words(index):
    """Make the first four words of row 0 for each of consecutive seeds."""
    return jax.vmap(lambda seed: _first_block((seed, 0), 0, CounterStream.FILL))(numbers(index, 4))


@jax.jit
def _split_words(key):
    return jax.vmap(lambda key: jax.random.bits(key, (4,)))(jax.random.split(key, CHUNK // 4))


def split_words(index):
    """Make four words of each key of `jax.random.split`."""
    return _split_words(el.key(SEED + index))


# Each with two lags: from word to word of a block, between blocks, or between neighbouring rows.
STREAMS = {
    "arrays": (array_words, (64, 128)),
    "rows of 50": (row_stream(50), (1, 50)),
    "rows of 256": (row_stream(256, first=2**32 - 2048), (64, 256)),  # the low word overflows early
    "streams": (stream_words, (8, 32)),
    "seeds": (seed_words, (8, 12)),
    "split keys": (split_words, (8, 12)),
}


@contextlib.contextmanager
def philox_rounds(count):
    """Give the generator of the package another number of rounds."""
    with mock.patch.object(random, "_ROUNDS", count):
        jax.clear_caches()
        yield
    jax.clear_caches()


def congruential_words(index):
    """Make a linear congruential sequence modulo 2^32."""
    powers = np.cumprod(np.full(CHUNK, 69_069, np.uint32), dtype=np.uint32)
    start = congruential_words(index - 1)[-1] if index else np.uint32(1)
    return powers * start + np.cumsum(np.r_[np.uint32(1), powers[:-1]], dtype=np.uint32)


def _blocks(counter):
    zero = jnp.zeros_like(counter)
    return jnp.stack(philox4x32((np.uint32(SEED), np.uint32(0)), (counter, zero, zero, zero)), axis=-1)


def folded_words(index):
    """Make blocks of Philox with a counter of 16 bits."""
    return _blocks(numbers(index, 4) & np.uint32(2**16 - 1))


def overlapping_words(index):
    """Make rows of 256 whose counter is the row number plus the block: neighbours share words."""
    return _blocks(numbers(index, 256)[:, None] + jnp.arange(64, dtype=np.uint32))


def biased_words(index):
    """Make arrays in which one bit is set with a chance of 0.51."""
    words, other = array_words(index), array_words(10**6 + index)
    return words | jnp.where(other < np.uint32(0.02 * 2**32), np.uint32(1 << 7), np.uint32(0))


WEAK = {
    "linear congruential, modulo 2^32": (congruential_words, (8, 12)),
    "counter of 16 bits": (folded_words, (8, 12)),
    "row and block in one counter word": (overlapping_words, (252, 256)),
    "one bit set with a chance of 0.51": (biased_words, (8, 12)),
}


def take(chunk, count):
    """Make the first `count` words of a stream."""
    parts, have = [], 0
    while have < count:
        parts.append(np.asarray(chunk(len(parts))).ravel())
        have += parts[-1].size
    return np.concatenate(parts)[:count]


# --- tests: each returns p-values --------------------------------------------------------------------


def chi_square(counts, chances):
    """Compute Pearson's chi-square of counts against the chances of their cells."""
    if not counts.sum():
        return 0.0
    expected = counts.sum() * np.broadcast_to(chances, counts.shape)
    return stats.chi2.sf(np.sum((counts - expected) ** 2 / expected), counts.size - 1)


def sum_of_squares(z):
    """Test the sum of squares of independent standard normal scores."""
    return stats.chi2.sf(z @ z, z.size)


def largest_of(tail, count):
    """Give the chance that the largest of `count` independent values exceeds one of this tail chance."""
    return -np.expm1(count * special.log1p(-tail))


def digits(words, bits, low):
    """Take the `bits` lowest or highest bits of each word."""
    return words & np.uint32(2**bits - 1) if low else words >> np.uint32(32 - bits)


def join(words, bits, dimension, low):
    """Make one number of `bits` bits of each of `dimension` consecutive words."""
    columns = digits(words[: words.size // dimension * dimension], bits, low).reshape(-1, dimension)
    joined = np.zeros(len(columns), np.uint64)
    for column in columns.T:
        joined = joined << np.uint64(bits) | column
    return joined


def cells(words, bits, dimension, low):
    """Test that all values of `bits` bits of `dimension` consecutive words have equal counts."""
    size = 2 ** (bits * dimension)
    joined = join(words, bits, dimension, low).astype(np.int64)
    return chi_square(np.bincount(joined, minlength=size), 1 / size)


def bit_pairs(words, lag):
    """Test correlations of all bits with all bits of the word `lag` places on: together, and the largest.

    For lag 0 these are the pairs within a word.
    """

    def planes(part):
        bits = np.unpackbits(part.view(np.uint8)).reshape(-1, 32)
        return np.packbits(np.ascontiguousarray(bits.T), axis=1).view(np.uint64)

    size = (words.size - lag) // 64 * 64
    here, there = planes(words[:size]), planes(words[lag : lag + size])
    unequal = np.array([np.bitwise_count(plane ^ there).sum(axis=1, dtype=np.int64) for plane in here])
    z = (unequal.ravel() if lag else unequal[np.triu_indices(32, 1)]) * 2.0 - size
    z /= math.sqrt(size)
    return sum_of_squares(z), largest_of(special.erfc(np.abs(z).max() / math.sqrt(2)), z.size)


def bit_frequencies(words):
    """Test the frequency of each of the 32 bits."""
    ones = np.array([np.count_nonzero(words & np.uint32(1 << bit)) for bit in range(32)])
    return sum_of_squares((2 * ones - words.size) / math.sqrt(words.size))


def serial_correlations(values, lags):
    """Test correlations, at several lags, of independent values of mean 0 and variance 1."""
    z = [values[:-lag] @ values[lag:] / math.sqrt(values.size - lag) for lag in lags]
    return sum_of_squares(np.array(z))


def birthday_spacings(days, year):
    """Test equal spacings between the sorted birthdays of each row: Poisson, mean `m^3 / (4 year)` a row."""
    spacings = np.sort(np.diff(np.sort(days)))
    count = np.count_nonzero(spacings[:, 1:] == spacings[:, :-1])
    mean = len(days) * days.shape[1] ** 3 / (4 * year)
    return np.mean(stats.poisson.sf([count - 1, count], mean))  # half of the chance of a tie


def joined_birthdays(words, dimension, low):
    """Test birthday spacings of numbers joined from several words, in a year with about 8 to 64 equal."""
    bits = min(32, int(3 * math.log2(words.size // dimension) - 5) // dimension)
    return birthday_spacings(join(words, bits, dimension, low)[None], 2.0 ** (bits * dimension))


def gaps(words, bits, low):
    """Wait for `bits` bits of a word to be all zero: geometric."""
    places = np.flatnonzero(digits(words, bits, low) == 0)
    chance, last = 2.0**-bits, 4 * 2**bits
    counts = np.bincount(np.minimum(np.diff(places) - 1, last), minlength=last + 1)
    return chi_square(counts, np.r_[chance * (1 - chance) ** np.arange(last), (1 - chance) ** last])


def orders(words, length=5):
    """Test that all orders of `length` consecutive words have equal counts."""
    columns = words[: words.size // length * length].reshape(-1, length)
    code = np.zeros(len(columns), np.int64)
    for j in range(1, length):
        code = code * (j + 1) + np.sum(columns[:, :j] < columns[:, j : j + 1], axis=1)
    return chi_square(np.bincount(code, minlength=math.factorial(length)), 1 / math.factorial(length))


def matrix_ranks(words):
    """Test the ranks over GF(2) of 32 x 32 matrices whose rows are consecutive words."""
    rows = words[: words.size // 32 * 32].reshape(-1, 32).copy()
    rank = np.zeros(len(rows), np.int64)
    for bit in range(32):
        has = rows & np.uint32(1 << bit) != 0
        pivot = np.take_along_axis(rows, has.argmax(axis=1)[:, None], axis=1)
        rank += has.any(axis=1)
        rows ^= np.where(has, pivot, np.uint32(0))
    q = np.array([1 - 0.5**j for j in range(1, 33)])
    chances = [np.exp2(-lost * lost) * np.prod(q[lost:]) ** 2 / np.prod(q[: 32 - lost]) for lost in range(3)]
    counts = np.bincount(np.minimum(32 - rank, 3), minlength=4)
    return chi_square(counts, np.r_[chances, 1 - sum(chances)])


def hamming_weights(words):
    """Test the numbers of ones in a word: binomial."""
    chances = np.array([math.comb(32, ones) / 2**32 for ones in range(33)])
    counts = np.bincount(np.clip(np.bitwise_count(words), 6, 26) - 6, minlength=21)
    return chi_square(counts, np.r_[chances[:7].sum(), chances[7:26], chances[26:].sum()])


def kolmogorov_smirnov(values):
    """Test the distance of the empirical distribution of values in [0, 1] from the uniform one."""
    return stats.kstest(values, "uniform", method="asymp").pvalue


def largest_wave(values):
    """Test the largest Fourier coefficient of values of mean 0 and variance 1."""
    power = np.abs(np.fft.rfft(values)[1:-1]) ** 2 / values.size
    return largest_of(np.exp(-power.max()), power.size)


def battery(words, lags):
    """Run every test.

    Parameters
    ----------
    words : (n,) uint32
    lags : pair of int
        Distances, besides 1 to 4, at which this stream is most likely to repeat itself.

    Returns
    -------
    dict
        From the names of tests to p-values.
    """
    p, few = {}, words[: words.size // 4]
    for low, end in [(False, "high bits"), (True, "low bits")]:
        for bits, dimension in [(8, 1), (16, 1), (8, 2), (4, 4), (2, 8), (1, 16)]:
            p[f"cells, {bits} {end} of {dimension}"] = cells(words, bits, dimension, low)
        for dimension in (2, 4, 8):
            p[f"birthdays, {end} of {dimension}"] = joined_birthdays(words, dimension, low)
        p[f"gaps, {end}"] = gaps(words, 6, low)
        one_bit = np.packbits(digits(words, 1, low)).view(np.uint32)
        p[f"matrix ranks, one of the {end}"] = matrix_ranks(one_bit)
    p["matrix ranks, whole words"] = matrix_ranks(few)
    # More rows would feel the error of the Poisson law, about m^2 / year = 0.4 %.
    p["birthdays, whole words"] = birthday_spacings(words[: 2**18].reshape(64, 2**12), 2.0**32)
    p["orders of 5"] = orders(few)
    p["bit frequencies"] = bit_frequencies(words)
    lags = (1, 2, 3, 4, *lags)
    for name, lag in zip("01234AB", (0, *lags), strict=True):
        together, largest = bit_pairs(few, lag)
        p |= {f"bit pairs at lag {name}, together": together, f"bit pairs at lag {name}, largest": largest}
    p["Hamming weights"] = hamming_weights(words)
    weights = (np.bitwise_count(words) - 16.0) / math.sqrt(8)
    p["correlation of Hamming weights"] = serial_correlations(weights, lags)
    signed = np.asarray(uniform_signed(jnp.asarray(words)), np.float64)
    p["correlation of floats"] = serial_correlations(signed * math.sqrt(3), lags)
    p["correlation of squares"] = serial_correlations((signed**2 - 1 / 3) * math.sqrt(45 / 4), lags)
    p["largest wave"] = largest_wave(signed[: 2 ** int(math.log2(few.size))] * math.sqrt(3))
    p["Kolmogorov-Smirnov, uniform_signed"] = kolmogorov_smirnov((signed[: few.size] + 1) / 2)
    floats = np.asarray(uniform01(jnp.asarray(words)), np.float64)
    p["Kolmogorov-Smirnov, unit"] = kolmogorov_smirnov(floats[-few.size :])
    p["Kolmogorov-Smirnov, largest of 8"] = kolmogorov_smirnov(floats.reshape(-1, 8).max(axis=1) ** 8)
    return {name: float(value) for name, value in p.items()}


# --- verdicts ----------------------------------------------------------------------------------------


def two_sided(p):
    """Give the chance of a p-value as close to either end."""
    return 2 * min(p, 1 - p)


def verdict(p):
    """Combine p-values: Bonferroni for the smallest, Kolmogorov-Smirnov for all of them."""
    name = min(p, key=lambda name: two_sided(p[name]))
    smallest, failed = two_sided(p[name]), sum(two_sided(value) < FAILURE for value in p.values())
    uniform = stats.kstest(list(p.values()), "uniform").pvalue
    word = "accepted" if min(smallest * len(p), uniform) > LEVEL / 2 else "REJECTED"
    return (
        f"{word}; {failed} of {len(p)} fail, uniformity p {uniform:.1e}, smallest p {smallest:.1e} ({name})"
    )


def print_verdicts(streams, measure):
    """Print what `measure(chunk, lags)` says of each stream, and of all together."""
    together = {}
    for name, stream in streams.items():
        p = measure(*stream)
        print(f"{name:34} {verdict(p)}", flush=True)
        together |= {f"{name}: {test}": value for test, value in p.items()}
    if len(streams) > 1:
        print(f"{'all':34} {verdict(together)}")


def print_rounds(count):
    """Print the most rounds of Philox at which each test fails on each stream."""
    print(f"\nmost rounds of Philox, of 1 to 7, at which a test fails; {count:,} words")
    most = {}
    for rounds in range(1, 8):
        with philox_rounds(rounds):
            for column, (chunk, lags) in enumerate(STREAMS.values()):
                for test, p in battery(take(chunk, count), lags).items():
                    row = most.setdefault(test, [0] * len(STREAMS))
                    if two_sided(p) < FAILURE:
                        row[column] = rounds
    most["any test"] = [max(column) for column in zip(*most.values(), strict=True)]
    print(f"{'':34}" + "".join(f"{name:>13}" for name in STREAMS))
    for test, row in most.items():
        print(f"{test:34}" + "".join(f"{rounds or '-':>13}" for rounds in row))


# --- TestU01 -----------------------------------------------------------------------------------------

HARNESS = r"""
#include <stdio.h>
#include <stdlib.h>
#include <testu01/bbattery.h>
#include <testu01/swrite.h>
#include <testu01/unif01.h>

static unsigned int word(void) {
    static unsigned int buffer[1 << 16];
    static size_t have, next;
    if (next == have) {
        have = fread(buffer, sizeof *buffer, sizeof buffer / sizeof *buffer, stdin);
        next = 0;
        if (!have) exit(1);
    }
    return buffer[next++];
}

int main(void) {
    swrite_Basic = 0;
    bbattery_BATTERY(unif01_CreateExternGenBits("words", word));
    for (int i = 0; i < bbattery_NTests; i++)
        printf("@\t%d %s\t%.17g\n", i, bbattery_TestNames[i], bbattery_pVal[i]);
    return 0;
}
"""


@jax.jit
def reverse_bits(words):
    """Turn words around, last bit first: TestU01 looks mostly at high bits."""
    for shift, mask in [(1, 0x55555555), (2, 0x33333333), (4, 0x0F0F0F0F), (8, 0x00FF00FF), (16, 0xFFFF)]:
        words = (words >> shift) & np.uint32(mask) | (words & np.uint32(mask)) << shift
    return words


def run_harness(program, chunk):
    """Give the p-values of a battery of TestU01, which takes as many words as it wants."""
    report = program.with_suffix(".txt")
    with (
        report.open("w") as output,
        contextlib.suppress(BrokenPipeError),  # the program ends when it has had enough
        subprocess.Popen([program], stdin=subprocess.PIPE, stdout=output) as process,
    ):
        for index in itertools.count():
            cast(IO[bytes], process.stdin).write(np.asarray(chunk(index)).tobytes())
    rows = [line.split("\t") for line in report.read_text().splitlines() if line.startswith("@")]
    return {name: float(p) for _, name, p in rows}


def print_testu01(name, small):
    """Run a battery of TestU01 on every stream, forwards and bit-reversed, and with fewer rounds."""
    with tempfile.TemporaryDirectory() as folder:
        source, program = pathlib.Path(folder, "harness.c"), pathlib.Path(folder, "harness")
        source.write_text(HARNESS.replace("BATTERY", name))
        libraries = ["-ltestu01", "-ltestu01probdist", "-ltestu01mylib", "-lm"]
        try:
            subprocess.run(["cc", "-O2", source, "-o", program, *libraries], check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            print("\nTestU01 is left out: no compiler, or the library was not found")
            return

        def measure(chunk, lags):
            return run_harness(program, chunk)

        print(f"\n{name} of TestU01")
        turned = {
            f"{stream}, bits reversed": (lambda index, chunk=chunk: reverse_bits(chunk(index)), lags)
            for stream, (chunk, lags) in STREAMS.items()
        }
        print_verdicts(dict(list(STREAMS.items())[:1]) if small else STREAMS | turned, measure)
        for rounds in (3,) if small else (2, 3, 4, 5):
            with philox_rounds(rounds):
                print_verdicts({f"rows of 50, {rounds} rounds": STREAMS["rows of 50"]}, measure)


def main():
    """Run the parts asked for and print their tables."""
    parts = ["streams", "weak", "rounds", "testu01"]
    parser = argparse.ArgumentParser(description="Statistical tests of the random numbers of ellipsoid.")
    parser.add_argument("--small", action="store_true", help="fewer words; seconds instead of minutes")
    parser.add_argument("--parts", nargs="+", choices=parts, default=parts)
    parser.add_argument("--battery", choices=["SmallCrush", "Crush", "BigCrush"], default="SmallCrush")
    arguments = parser.parse_args()
    small = arguments.small

    print(
        f"jax {jax.__version__}, numpy {np.__version__}, scipy {scipy.__version__}, "
        f"Python {platform.python_version()}, {jax.devices()[0].platform}, {platform.machine()}"
    )
    for part, streams in [("streams", STREAMS), ("weak", WEAK)]:
        if part in arguments.parts:
            count = 2**20 if small else 2**24
            print(f"\n{part}, {count:,} words each")
            print_verdicts(streams, lambda chunk, lags, count=count: battery(take(chunk, count), lags))
    if "rounds" in arguments.parts:
        print_rounds(2**18 if small else 2**22)
    if "testu01" in arguments.parts:
        print_testu01(arguments.battery, small)


if __name__ == "__main__":
    main()
