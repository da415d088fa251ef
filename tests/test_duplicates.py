"""stream_processor.duplicates: what is taken for a repetition, by policy."""

import math
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_processor.admit import Admit
from stream_processor.duplicates import LONGEST_MEMORY, Policy, key_of, remembered
from streamgauge.batch import Batch, Features
from streamgauge.schema import Channel, Schema
from streamgauge.words import Verdict

T = 1_700_000_000_000_000
SECOND = 10**6
TWO = Schema([Channel("a"), Channel("b")])
NAN = math.nan
FIRST, AGAIN, LATE = Verdict.ADMITTED, Verdict.DUPLICATE, Verdict.LATE

Reading = tuple[int, int, int, float, float]
"""Event time, received, sequence, two values."""


def verdicts(policy: Policy, readings: list[Reading], remember: int | None = None) -> list[Verdict]:
    """What becomes of the readings of one device."""
    admit = Admit(TWO, 1, max_ahead_us=0, duplicates=policy, remember=remembered(policy, remember))
    batch = Batch(len(readings), 2)
    batch.n = len(readings)
    for i, (time, received, sequence, a, b) in enumerate(readings):
        batch.time[i], batch.received[i], batch.sequence[i] = time, received, sequence
        batch.values[i] = a, b
    admit.call(batch, Features((), (), 0)).run(n=batch.n)
    return [Verdict(word) for word in batch.verdict[: batch.n]]


def dated(second: int, sequence: int = -1, a: float = 1.0, b: float = NAN) -> Reading:
    """A reading with the time of the device's own clock, on its way for a moment."""
    return T + second * SECOND, T + second * SECOND + 300, sequence, a, b


def undated(second: int, sequence: int = -1, a: float = 1.0, b: float = NAN) -> Reading:
    """A reading of a device without a clock: its time is when it came."""
    return T + second * SECOND, T + second * SECOND, sequence, a, b


def test_messages_about_several_channels_share_a_time() -> None:
    """By content each is a reading, and only what is delivered again is refused."""
    readings = [dated(0, a=1.0), dated(0, a=NAN, b=2.0), dated(0, a=1.0), dated(0, a=NAN, b=2.0)]
    assert verdicts(Policy.CONTENT, readings) == [FIRST, FIRST, AGAIN, AGAIN]
    assert verdicts(Policy.TIME, readings) == [FIRST, AGAIN, AGAIN, AGAIN]


def test_the_same_values_at_another_time_are_another_reading() -> None:
    """A sensor at rest goes on reporting."""
    assert verdicts(Policy.CONTENT, [dated(k) for k in range(40)]) == [FIRST] * 40


def test_what_came_long_ago_is_never_learned_again() -> None:
    """Beyond the memory of its content, a reading of an older time is late."""
    readings = [*(dated(k) for k in range(5)), dated(3), dated(0)]
    assert verdicts(Policy.CONTENT, readings, 2)[-2:] == [AGAIN, LATE]


def test_every_absence_is_the_same() -> None:
    """The bits of a NaN are no content."""
    (other,) = struct.unpack("<d", struct.pack("<Q", 0x7FF8_0000_0000_0001))
    readings = [dated(0, b=NAN), dated(0, b=other)]
    assert verdicts(Policy.CONTENT, readings) == [FIRST, AGAIN]


@pytest.mark.parametrize("make", [dated, undated])
@pytest.mark.parametrize("cycle", [256, 65_536])
def test_a_counter_that_wraps_around_goes_on(make: type, cycle: int) -> None:
    """Sparkplug counts to 255, LoRaWAN to 65,535: neither end costs a reading."""
    readings = [make(k, (cycle - 300 + k) % cycle) for k in range(600)]
    assert verdicts(Policy.SEQUENCE, readings) == [FIRST] * 600


@pytest.mark.parametrize("lost", [1, 2])
def test_a_counter_that_wraps_around_while_readings_are_lost(lost: int) -> None:
    """Every second reading may be lost, whatever is remembered at most."""
    readings = [undated(k, k % 256) for k in range(0, 1_000, lost)]
    assert set(verdicts(Policy.SEQUENCE, readings, LONGEST_MEMORY)) == {FIRST}


def test_a_device_that_starts_again_is_heard() -> None:
    """Its counter begins anew, but at new times."""
    readings = [dated(k, k) for k in range(5)] + [dated(10 + k, k) for k in range(5)]
    assert verdicts(Policy.SEQUENCE, readings) == [FIRST] * 10


def test_a_message_delivered_again_without_a_clock() -> None:
    """Its time is another each time, so only the counter can tell."""
    readings = [undated(k, 100 + k) for k in range(60)]
    again = [undated(100 + k, 100 + k) for k in range(60)]
    assert verdicts(Policy.SEQUENCE, [*readings, *again]) == [FIRST] * 60 + [AGAIN] * 60
    assert verdicts(Policy.TIME, [*readings, *again]) == [FIRST] * 120


def test_several_counts_at_one_time() -> None:
    """A device may send several readings at an instant, even the very same values."""
    readings = [dated(0, 1), dated(0, 2), dated(0, 1), dated(0, 2)]
    assert verdicts(Policy.SEQUENCE, readings) == [FIRST, FIRST, AGAIN, AGAIN]


def test_readings_without_a_count_go_by_their_time() -> None:
    """A message that has lost its counter is not taken for another."""
    readings = [dated(0), dated(0), dated(1), undated(2), undated(2), undated(3)]
    assert verdicts(Policy.SEQUENCE, readings) == [FIRST, AGAIN, FIRST, FIRST, AGAIN, FIRST]


def test_without_a_policy_what_comes_twice_is_taken_twice() -> None:
    """Only what is older than the newest is refused then."""
    assert verdicts(Policy.NONE, [dated(0), dated(1), dated(1), dated(0)]) == [
        FIRST,
        FIRST,
        FIRST,
        LATE,
    ]


WHOLE = st.integers(-(2**63), 2**63 - 1)


@settings(deadline=None, derandomize=True)
@given(WHOLE, WHOLE, WHOLE, st.lists(st.floats(), min_size=1, max_size=4))
def test_a_key_is_exact_in_the_state(
    time: int, received: int, count: int, values: list[float]
) -> None:
    """Keys of content and count are whole numbers that a float64 holds, whatever they are of."""
    for policy in (1, 2):
        key = key_of(policy, time, received, count, np.array(values))
        assert 0 <= key < 2**53
