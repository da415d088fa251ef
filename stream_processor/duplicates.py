"""What makes two readings of a device the same one: a key for each reading, by policy.

| policy   | the same reading has the same          | so that                                      |
|----------|----------------------------------------|----------------------------------------------|
| time     | event time                             | a device has one reading at each instant     |
| content  | event time and values                  | messages about several channels share a time |
| sequence | count of the device, and event time    | a device may send the very same thing twice  |
| none     | -                                      | what is delivered twice is learned twice     |

A key is a whole number of at most 53 bits, which a float64 holds exactly. Different readings of one
device have the same key by accident once in 10**16 comparisons.
"""

from enum import StrEnum
from typing import Any

import numpy as np

from streamgauge.arrays import Floats
from streamgauge.kernels import kernel
from streamgauge.splitmix import mixed

__all__ = ["LONGEST_MEMORY", "Policy", "by_time", "key_of", "recognise", "remembered"]


class Policy(StrEnum):
    """How a reading that came before is recognised."""

    TIME = "time"
    CONTENT = "content"
    SEQUENCE = "sequence"
    NONE = "none"


LONGEST_MEMORY = 100
"""Readings of a device: a counter that begins again after 256 must have been forgotten by then,
even if half of its readings are lost."""
_REMEMBERED = {Policy.TIME: 8, Policy.CONTENT: 16, Policy.SEQUENCE: 64}
_CONTENT, _SEQUENCE = list(Policy).index(Policy.CONTENT), list(Policy).index(Policy.SEQUENCE)


def remembered(policy: Policy, asked: int | None) -> int:
    """How many readings of a device are remembered; `asked` is what the configuration says."""
    return 0 if policy is Policy.NONE else asked or _REMEMBERED[policy]


_word: Any = np.uint64
_whole: Any = np.int64
_TO_53_BITS = _word(11)
_ABSENT = _word(0x7FF8000000000000)
"""Every NaN is the same absence."""


@kernel
def _content_key(time: int, values: Floats) -> int:
    """Of event time and the bits of the k values."""
    words = values.view(np.uint64)
    state = mixed(_word(0), _word(time))
    for c in range(len(values)):
        state = mixed(state, words[c] if values[c] == values[c] else _ABSENT)
    key: int = _whole(state >> _TO_53_BITS)
    return key


@kernel
def _sequence_key(time: int, received: int, sequence: int) -> int:
    """Of the device's count and its event time; of the count alone where the event time is ours.

    A message that is delivered again keeps its event time, unless the device has no clock and its
    time is that of arrival. A counter that begins again does so at a new time. Readings without a
    count (-1) are told by their time.
    """
    dated = time != received or sequence < 0
    state = mixed(_word(1), _word(sequence))
    key: int = _whole(mixed(state, _word(time) if dated else _word(0)) >> _TO_53_BITS)
    return key


@kernel
def by_time(policy: int) -> bool:
    """Whether the key is the event time itself, so that a newer reading cannot have come before."""
    return policy not in (_CONTENT, _SEQUENCE)


@kernel
def key_of(policy: int, time: int, received: int, sequence: int, values: Floats) -> int:
    """The reading's key; `policy` is the place of the policy among all."""
    if policy == _CONTENT:
        return _content_key(time, values)
    if policy == _SEQUENCE:
        return _sequence_key(time, received, sequence)
    return time


@kernel
def recognise(key: int, count: int, d: int, recent: Floats) -> bool:
    """Whether the key is among the newest of `count` of device d that were written round and round
    into `recent[devices, remembered]`."""
    for k in range(min(count, recent.shape[1])):
        if recent[d, k] == key:
            return True
    return False
