"""Admission: which readings go on, and with which values. One kernel call per batch."""

import numpy as np
from numpy.typing import NDArray

from stream_processor.clean._range import FINE, REFUSED, examine, limits
from stream_processor.duplicates import Policy, by_time, key_of, recognise
from streamgauge.batch import Batch, Features
from streamgauge.calls import Call, Now
from streamgauge.kernels import kernel
from streamgauge.schema import Schema
from streamgauge.state import Block, Field, Keys
from streamgauge.words import Flag, Verdict

__all__ = ["Admit", "clock_verdict"]

# Columns of a device's state.
_NEWEST, _RECEIVED, _COUNT, _LAST = 0, 1, 2, 3

_YEAR_2000 = 946_684_800_000_000
_YEAR = 365 * 86_400 * 1_000_000
_ADMITTED = int(Verdict.ADMITTED)
_DUPLICATE = int(Verdict.DUPLICATE)
_LATE = int(Verdict.LATE)
_FUTURE = int(Verdict.FUTURE)
_CLOCK_UNSET = int(Verdict.CLOCK_UNSET)
_OUT_OF_RANGE = int(Verdict.OUT_OF_RANGE)
_EMPTY = int(Verdict.EMPTY)
_VERDICTS = len(Verdict)
_FLAGS = len(Flag)


@kernel
def clock_verdict(time: int, received: int, max_ahead: int) -> int:
    """Whether an event time can be true, of what came at `received`."""
    if time < _YEAR_2000 and time < received - _YEAR:
        return _CLOCK_UNSET
    return _FUTURE if time - received > max_ahead else _ADMITTED


@kernel
def _order(
    time: int, key: int, d: int, state: NDArray[np.float64], recent: NDArray[np.float64]
) -> int:
    count = int(state[d, _COUNT])
    if count == 0:
        return _ADMITTED
    if recognise(key, count, d, recent):
        return _DUPLICATE
    return _LATE if time < state[d, _NEWEST] else _ADMITTED


@kernel
def _remember(
    i: int,
    time: int,
    received: int,
    key: int,
    values: NDArray[np.float64],
    d: int,
    state: NDArray[np.float64],
    recent: NDArray[np.float64],
) -> None:
    count = int(state[d, _COUNT])
    if count == 0:
        state[d, _LAST:] = np.nan
    state[d, _NEWEST] = time
    state[d, _RECEIVED] = received
    state[d, _COUNT] = count + 1
    if recent.shape[1] > 0:
        recent[d, count % recent.shape[1]] = key
    for c in range(state.shape[1] - _LAST):
        if values[i, c] == values[i, c]:
            state[d, _LAST + c] = values[i, c]


@kernel
def _count_flags(
    i: int, channels: int, flags: NDArray[np.uint16], counts: NDArray[np.float64]
) -> None:
    for c in range(channels):
        if flags[i, c] != 0:
            for bit in range(_FLAGS):
                counts[0, _VERDICTS + bit] += (flags[i, c] >> bit) & 1


@kernel
def _admit(
    n: int,
    row: NDArray[np.int32],
    time: NDArray[np.int64],
    received: NDArray[np.int64],
    sequence: NDArray[np.int64],
    values: NDArray[np.float64],
    flags: NDArray[np.uint16],
    verdict: NDArray[np.uint8],
    state: NDArray[np.float64],
    recent: NDArray[np.float64],
    counts: NDArray[np.float64],
    rules: NDArray[np.float64],
) -> int:
    """Rows are named by index: a slice handed to a kernel costs as much as what it does."""
    max_ahead, policy = int(rules[-1, 0]), int(rules[-1, 1])
    plain = by_time(policy)
    refused = 0
    for i in range(n):
        if verdict[i] == _ADMITTED:
            d, t, r = row[i], time[i], received[i]
            key = t if plain else key_of(policy, t, r, sequence[i], values[i])
            word = clock_verdict(t, r, max_ahead)
            if word == _ADMITTED and not (plain and t > state[d, _NEWEST]):
                word = _order(t, key, d, state, recent)
            if word == _ADMITTED:
                left = examine(i, values, flags, rules)
                _count_flags(i, len(rules) - 1, flags, counts)
                if left == FINE:
                    _remember(i, t, r, key, values, d, state, recent)
                else:
                    word = _OUT_OF_RANGE if left == REFUSED else _EMPTY
            verdict[i] = word
        counts[0, verdict[i]] += 1.0
        refused += verdict[i] != _ADMITTED
    return refused


class Admit:
    """Gives each reading its verdict: clock, duplicate, order, then values. Stateful per device.

    A reading teaches the device's clock and order only once it is admitted: a timestamp from the
    future or a refused value never stands in the way of a later reading. Rows that have a verdict
    already are counted and left. Times are exact up to the year 2255 (2**53 microseconds).

    Block "admit", per device, all zero for a device never admitted: `newest` event time and
    `received` of the last admitted reading (microseconds UTC), `count` of admitted readings,
    `last[k]` usable values (NaN where a channel never had one; without meaning while `count` is 0).
    Block "recent", per device: keys of its last `remember` admitted readings; there is none where
    nothing is remembered. Block "counts", for the whole stream: `verdicts` and `flags`.

    - `max_ahead_us`: how far an event time may be ahead of `received`, microseconds
    - `duplicates`: how a reading that came before is recognised
    - `remember`: among how many of the device's readings; 0 with `Policy.NONE`
    """

    def __init__(
        self,
        schema: Schema,
        capacity: int,
        *,
        max_ahead_us: int,
        duplicates: Policy = Policy.TIME,
        remember: int = 8,
    ) -> None:
        if max_ahead_us < 0:
            raise ValueError(f"max_ahead_us is {max_ahead_us}; give 0 or more microseconds")
        fields = (Field("newest"), Field("received"), Field("count"))
        last = Field("last", (len(schema),), along="channels", later=np.nan)
        state = Block([*fields, last], capacity)
        numbers = (Field("verdicts", (_VERDICTS,)), Field("flags", (_FLAGS,)))
        counts = Block(numbers, 1, keys=Keys.FLEET)
        self.blocks: dict[str, Block] = {"admit": state, "counts": counts}
        recent = np.zeros((capacity, 0))
        if remember:
            self.blocks["recent"] = Block([Field("keys", (remember,))], capacity)
            recent = self.blocks["recent"].array
        self.newest = state.view("newest")
        self.received = state.view("received")
        self.count = state.view("count")
        self.last = state.view("last")
        # One array fewer per call: the last row of the rules is not a channel's.
        rules = limits(schema)
        rules[-1] = max_ahead_us, list(Policy).index(duplicates), 0.0
        self._bound = (state.array, recent, counts.array, rules)

    def call(self, batch: Batch, features: Features) -> Call:
        """Write verdicts and flags, remove bad values; REFUSED is how many were not admitted."""
        columns = (batch.row, batch.time, batch.received, batch.sequence)
        written = (batch.values, batch.flags, batch.verdict)
        return Call(_admit, (Now.N, *columns, *written, *self._bound), (Now.REFUSED,))

    def verdicts(self) -> dict[str, int]:
        """Readings so far by verdict, in lower case."""
        numbers = self.blocks["counts"].view("verdicts")[0]
        return {word.name.lower(): int(numbers[word]) for word in Verdict}

    def flags(self) -> dict[str, int]:
        """Values so far by flag, in lower case: those of readings that passed clock and order."""
        numbers = self.blocks["counts"].view("flags")[0]
        return {str(flag.name).lower(): int(n) for flag, n in zip(Flag, numbers, strict=True)}
