"""Admission: which readings go on, and with which values. One kernel call per batch."""

import numpy as np
from numpy.typing import NDArray

from stream_processor.clean._range import FINE, REFUSED, examine, limits
from stream_processor.duplicates import Policy, key_of, recognise
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
def _order(time: int, key: int, device: NDArray[np.float64], recent: NDArray[np.float64]) -> int:
    count = int(device[_COUNT])
    if recognise(key, count, recent):
        return _DUPLICATE
    return _LATE if count > 0 and time < device[_NEWEST] else _ADMITTED


@kernel
def _remember(
    time: int,
    received: int,
    key: int,
    values: NDArray[np.float64],
    device: NDArray[np.float64],
    recent: NDArray[np.float64],
) -> None:
    count = int(device[_COUNT])
    if count == 0:
        device[_LAST:] = np.nan
    device[_NEWEST] = time
    device[_RECEIVED] = received
    device[_COUNT] = count + 1
    if len(recent) > 0:
        recent[count % len(recent)] = key
    for c in range(len(values)):
        if values[c] == values[c]:
            device[_LAST + c] = values[c]


@kernel
def _count_flags(flags: NDArray[np.uint16], counts: NDArray[np.float64]) -> None:
    for c in range(len(flags)):
        if flags[c] != 0:
            for bit in range(_FLAGS):
                counts[_VERDICTS + bit] += (flags[c] >> bit) & 1


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
    max_ahead, policy = int(rules[-1, 0]), int(rules[-1, 1])
    refused = 0
    for i in range(n):
        if verdict[i] == _ADMITTED:
            device, keys = state[row[i]], recent[row[i]]
            key = key_of(policy, time[i], received[i], sequence[i], values[i])
            word = clock_verdict(time[i], received[i], max_ahead)
            if word == _ADMITTED:
                word = _order(time[i], key, device, keys)
            if word == _ADMITTED:
                left = examine(values[i], flags[i], rules)
                _count_flags(flags[i], counts[0])
                if left == FINE:
                    _remember(time[i], received[i], key, values[i], device, keys)
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
        own = [float(max_ahead_us), float(list(Policy).index(duplicates)), 0.0]
        rules = np.vstack([limits(schema), own])
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
