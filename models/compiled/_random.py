"""Python's `random.Random`: the Mersenne twister, and what River draws from it.

Matsumoto and Nishimura (1998), "Mersenne twister"; `random.Random.sample` of Python 3.11 to 3.13;
`river.utils.random.poisson`. The state of a generator is float64[625]: 624 words of 32 bits, which
a double holds exactly, and how many of them are spent.
"""

import random

import numpy as np

from streamgauge.arrays import Floats, Ints
from streamgauge.kernels import kernel

__all__ = ["SIZE", "poisson", "sample", "state_of", "uniform"]

WORDS, AHEAD = 624, 397
SIZE = WORDS + 1
UPPER, LOWER, TWIST = 0x80000000, 0x7FFFFFFF, 0x9908B0DF
FIRST_MASK, SECOND_MASK = 0x9D2C5680, 0xEFC60000
# `random` makes a double of 27 and 26 bits of two words.
HIGH, ALL = 67_108_864.0, 9_007_199_254_740_992.0
# Of a larger population than this, `sample` remembers what it took instead of what is left; from
# six draws on the bound grows with them.
FEW_LEFT, FEW_TAKEN = 21, 5


def state_of(generator: random.Random) -> Floats:
    """float64[625]: where a generator stands."""
    return np.array(generator.getstate()[1], np.float64)


@kernel
def _twist(state: Floats) -> None:
    words = np.empty(WORDS, np.int64)
    for k in range(WORDS):
        words[k] = int(state[k])
    for k in range(WORDS):
        y = (words[k] & UPPER) | (words[(k + 1) % WORDS] & LOWER)
        words[k] = words[(k + AHEAD) % WORDS] ^ (y >> 1) ^ ((y & 1) * TWIST)
    for k in range(WORDS):
        state[k] = words[k]
    state[WORDS] = 0.0


@kernel
def _word(state: Floats) -> int:
    """The next 32 bits."""
    if state[WORDS] >= WORDS:
        _twist(state)
    y = int(state[int(state[WORDS])])
    state[WORDS] += 1.0
    y ^= y >> 11
    y ^= (y << 7) & FIRST_MASK
    y ^= (y << 15) & SECOND_MASK
    return y ^ (y >> 18)


@kernel
def uniform(state: Floats) -> float:
    """`random()`: from 0 to before 1."""
    high = _word(state) >> 5
    low = _word(state) >> 6
    return float((high * HIGH + low) / ALL)


@kernel
def _below(state: Floats, n: int) -> int:
    """`_randbelow(n)`: a whole number from 0 to before n, which is above 0."""
    bits = 0
    while n >> bits:
        bits += 1
    drawn = _word(state) >> (32 - bits)
    while drawn >= n:
        drawn = _word(state) >> (32 - bits)
    return drawn


@kernel
def poisson(state: Floats, limit: float) -> int:
    """How often, where `limit` is e to the power of minus the rate."""
    k, p = 0, 1.0
    while p > limit:
        k += 1
        p *= uniform(state)
    return k - 1


@kernel
def sample(state: Floats, pool: Ints, n: int, k: int, chosen: Floats) -> None:
    """`sample(pool[:n], k)` into `chosen`; the pool is spent."""
    bound = FEW_LEFT
    if k > FEW_TAKEN:
        size = 1
        while size < 3 * k:
            size *= 4
        bound += size
    if n <= bound:
        for i in range(k):
            j = _below(state, n - i)
            chosen[i] = pool[j]
            pool[j] = pool[n - i - 1]
        return
    for i in range(k):
        j = _below(state, n)
        # What was taken is marked in the pool.
        while pool[j] < 0:
            j = _below(state, n)
        chosen[i] = pool[j]
        pool[j] = -1
