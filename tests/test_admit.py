"""stream_processor.admit"""

import math
from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings

from stream_processor.admit import Admit
from streamgauge.batch import Batch, Features
from streamgauge.schema import Channel, Outside, Schema
from streamgauge.words import Flag, Verdict
from tests.contracts.streams import CAPACITY, MAX_AHEAD, SCHEMA, Stream, streams
from tests.frames import batch_of

T = 1_700_000_000_000_000
NAN = math.nan
RECENT = 8
NO_FEATURES = Features((), (), 0)
ONE = Schema([Channel("a", low=0.0, high=10.0)])


def verdicts(admit: Admit, batch: Batch) -> list[Verdict]:
    """Verdicts of a batch."""
    admit.call(batch, NO_FEATURES).run(n=batch.n)
    return [Verdict(word) for word in batch.verdict[: batch.n]]


def one(times: list[int], values: list[float] | None = None) -> Batch:
    """Readings of one device with one channel."""
    return batch_of(ONE, times, {"a": values or [1.0] * len(times)})


@dataclass
class Device:
    """What the plain reference below remembers of a device."""

    times: list[int] = field(default_factory=list)
    last: dict[int, float] = field(default_factory=dict)
    received: int = 0


class Plain:
    """Admission as one would write it down, for the kernel to agree with."""

    def __init__(self, schema: Schema) -> None:
        self.schema = schema
        self.devices: dict[int, Device] = {}
        self.flags: Counter[str] = Counter()

    def verdict(self, stream: Stream, i: int) -> Verdict:
        device = self.devices.setdefault(int(stream.row[i]), Device())
        time, received = int(stream.time[i]), int(stream.received[i])
        if stream.verdict[i]:
            return Verdict(stream.verdict[i])
        if time < 946_684_800_000_000:
            return Verdict.CLOCK_UNSET
        if time > received + MAX_AHEAD:
            return Verdict.FUTURE
        if time in device.times[-RECENT:]:
            return Verdict.DUPLICATE
        if device.times and time < device.times[-1]:
            return Verdict.LATE
        return self._values(stream, i, device)

    def _values(self, stream: Stream, i: int, device: Device) -> Verdict:
        usable, refused = {}, False
        for c, channel in enumerate(self.schema.channels):
            value, flag = float(stream.values[i, c]), Flag(int(stream.flags[i, c]))
            if math.isinf(value):
                flag |= Flag.NON_FINITE
            elif abs(value) > 1e24:
                flag |= Flag.EXTREME
            elif not math.isnan(value) and not channel.low <= value <= channel.high:
                flag |= Flag.OUT_OF_RANGE
            elif not math.isnan(value):
                usable[c] = value
            outside = value < channel.low or value > channel.high
            refused |= outside and channel.outside is Outside.REJECT
            self.flags.update(str(each.name).lower() for each in flag)
        if refused:
            return Verdict.OUT_OF_RANGE
        if not usable:
            return Verdict.EMPTY
        device.times.append(int(stream.time[i]))
        device.received = int(stream.received[i])
        device.last |= usable
        return Verdict.ADMITTED


@settings(deadline=None, max_examples=150, derandomize=True)
@given(stream=streams(admitted=False))
def test_agrees_with_a_plain_reference(stream: Stream) -> None:
    """Verdicts, counts and what is remembered equal a reference written without arrays."""
    admit, plain = Admit(SCHEMA, CAPACITY, max_ahead_us=MAX_AHEAD), Plain(SCHEMA)
    wanted = [plain.verdict(stream, i) for i in range(len(stream))]
    batch = Batch(len(stream), len(SCHEMA))
    stream.fill(batch, 0, len(stream))
    assert verdicts(admit, batch) == wanted
    assert admit.verdicts() == {w.name.lower(): wanted.count(w) for w in Verdict}
    assert admit.flags() == {str(f.name).lower(): plain.flags[str(f.name).lower()] for f in Flag}
    for row, device in plain.devices.items():
        assert admit.count[row] == len(device.times)
        if device.times:
            last = [device.last.get(c, NAN) for c in range(len(SCHEMA))]
            np.testing.assert_array_equal(admit.last[row], last)
            assert (admit.newest[row], admit.received[row]) == (device.times[-1], device.received)


def test_a_reading_is_a_duplicate_only_of_admitted_ones() -> None:
    """A refused value does not stop the corrected reading of the same time."""
    schema = Schema([Channel("a", low=0.0, high=10.0, outside=Outside.REJECT)])
    batch = batch_of(schema, [T, T, T, T], {"a": [11.0, NAN, 5.0, 5.0]})
    assert verdicts(Admit(schema, 1, max_ahead_us=0), batch) == [
        Verdict.OUT_OF_RANGE,
        Verdict.EMPTY,
        Verdict.ADMITTED,
        Verdict.DUPLICATE,
    ]


def test_a_future_timestamp_moves_no_clock() -> None:
    """A device whose clock jumped ahead once is heard again at once."""
    batch = one([T, T + 10**15, T + 1])
    batch.received[:] = T
    admit = Admit(ONE, 1, max_ahead_us=1)
    assert verdicts(admit, batch) == [Verdict.ADMITTED, Verdict.FUTURE, Verdict.ADMITTED]
    assert admit.newest[0] == T + 1


def test_how_far_ahead_is_still_admitted() -> None:
    """`max_ahead` itself is admitted, one microsecond more is not."""
    batch = one([T + 5, T + 6])
    batch.received[:] = T
    assert verdicts(Admit(ONE, 1, max_ahead_us=5), batch) == [Verdict.ADMITTED, Verdict.FUTURE]


def test_times_at_the_edge_of_int64() -> None:
    """No event time, however absurd, overflows into an admission."""
    batch = one([2**63 - 1, -(2**63), 0])
    batch.received[:] = T
    assert verdicts(Admit(ONE, 1, max_ahead_us=10**9), batch) == [
        Verdict.FUTURE,
        Verdict.CLOCK_UNSET,
        Verdict.CLOCK_UNSET,
    ]


def test_duplicate_and_late() -> None:
    """A known time is a duplicate for eight readings; after that, and if unknown, it is late."""
    times = [T + 10 * k for k in range(RECENT + 1)]
    batch = one([*times, times[1], times[0], times[-1] - 1, times[-1]])
    assert verdicts(Admit(ONE, 1, max_ahead_us=0), batch)[-4:] == [
        Verdict.DUPLICATE,
        Verdict.LATE,
        Verdict.LATE,
        Verdict.DUPLICATE,
    ]


def test_values_of_a_duplicate_are_not_counted_again() -> None:
    """A message delivered twice does not double the counts of bad values."""
    schema = Schema([Channel("a", high=10.0), Channel("b")])
    admit = Admit(schema, 1, max_ahead_us=0)
    batch = batch_of(schema, [T, T], {"a": [99.0, 99.0], "b": [1.0, 1.0]})
    assert verdicts(admit, batch) == [Verdict.ADMITTED, Verdict.DUPLICATE]
    assert admit.flags()["out_of_range"] == 1


def test_one_channel_does_not_stop_the_others() -> None:
    """A value outside its range is removed; the rest of the reading stays."""
    schema = Schema([Channel("a", high=10.0), Channel("b")])
    batch = batch_of(schema, [T], {"a": [99.0], "b": [1.0]})
    assert verdicts(Admit(schema, 1, max_ahead_us=0), batch) == [Verdict.ADMITTED]
    np.testing.assert_array_equal(batch.values, [[NAN, 1.0]])
    np.testing.assert_array_equal(batch.flags, [[Flag.OUT_OF_RANGE, 0]])


def test_a_verdict_given_before_stays() -> None:
    """Rows refused by someone else are counted and left, and teach nothing."""
    batch = one([T, T])
    batch.verdict[0] = Verdict.LATE
    admit = Admit(ONE, 1, max_ahead_us=0)
    assert verdicts(admit, batch) == [Verdict.LATE, Verdict.ADMITTED]
    assert admit.verdicts()["late"] == 1


def test_a_negative_allowance_is_refused() -> None:
    """The message says what was found and what to write."""
    with pytest.raises(ValueError, match="-1; give 0 or more"):
        Admit(ONE, 1, max_ahead_us=-1)
