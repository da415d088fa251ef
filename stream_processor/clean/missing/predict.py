"""Missing values: told from the reading's other channels by a linear model that learns online."""

import math
from collections.abc import Sequence

import numpy as np

from stream_processor.clean._one_channel import OneChannel
from stream_processor.clean.missing._fill import fill
from stream_processor.operator import Operator
from streamgauge.arrays import Bytes, Floats, Ints, Rows, Words
from streamgauge.kernels import kernel
from streamgauge.schema import Schema
from streamgauge.state import Field

__all__ = ["build"]

# A device's state: complete readings learned from, then mean, variance and weight of each channel
# used, the missing one last (its weight has no meaning).
_COUNT = 0
_MEAN, _VARIANCE, _WEIGHT, _PARTS = range(4)


def build(
    schema: Schema,
    capacity: int,
    channel: int,
    *,
    of: Sequence[str] | None = None,
    rate: float = 0.1,
    half_life: float = 200.0,
    ready_after: int = 50,
) -> Operator:
    """The value that standardised other channels tell, by normalised least mean squares.

    Learns from readings that have all of them; fills a reading that lacks this one alone.

    - `of`: channels to tell it from; left out, all others
    - `rate`: step of learning, above 0 and below 2
    - `half_life`: readings after which one counts half in means and deviations
    - `ready_after`: complete readings before one is filled in

    Haykin (2002), "Adaptive Filter Theory", chapter 6.
    """
    names = [name for name in schema.names if name != schema.names[channel]] if of is None else of
    unknown = [name for name in names if name not in schema.index]
    if unknown or not names or schema.names[channel] in names or len(set(names)) < len(names):
        raise ValueError(
            f"of is {list(names)!r}; name other channels, each once: {', '.join(schema.names)}"
        )
    if not 0.0 < rate < 2.0 or not 0.0 < half_life < math.inf or ready_after < 2:
        raise ValueError(
            f"rate is {rate}, half_life {half_life}, ready_after {ready_after}; give a rate "
            "between 0 and 2, a half-life above 0 and 2 or more readings"
        )
    used = np.array([*(schema.index[name] for name in names), channel], np.int64)
    fade = 1.0 - 0.5 ** (1.0 / half_life)
    fields = [Field("count"), Field("models", (len(used), _PARTS))]
    return OneChannel(_fill, capacity, fields, used, [rate, fade, ready_after])


@kernel
def _standard(device: Floats, k: int, value: float) -> float:
    """The value of the k-th channel used in standard deviations from its mean."""
    at = 1 + _PARTS * k
    deviation = math.sqrt(device[at + _VARIANCE])
    return (value - device[at + _MEAN]) / deviation if deviation > 0.0 else 0.0


@kernel
def _told(device: Floats, values: Floats, used: Ints) -> tuple[float, float]:
    """The missing channel in standard deviations, and the squared length of the inputs."""
    told = length = 0.0
    for k in range(len(used) - 1):
        z = _standard(device, k, values[used[k]])
        told += device[1 + _PARTS * k + _WEIGHT] * z
        length += z * z
    return told, length


@kernel
def _learn(device: Floats, values: Floats, used: Ints, rate: float, fade: float) -> None:
    last = len(used) - 1
    told, length = _told(device, values, used)
    wrong = _standard(device, last, values[used[last]]) - told
    for k in range(last):
        z = _standard(device, k, values[used[k]])
        device[1 + _PARTS * k + _WEIGHT] += rate * wrong * z / (1.0 + length)
    device[_COUNT] += 1.0
    share = max(fade, 1.0 / device[_COUNT])
    for k in range(len(used)):
        at = 1 + _PARTS * k
        step = values[used[k]] - device[at + _MEAN]
        device[at + _MEAN] += share * step
        device[at + _VARIANCE] = (1.0 - share) * (device[at + _VARIANCE] + share * step * step)


@kernel
def _fill(
    n: int,
    row: Rows,
    time: Ints,
    verdict: Bytes,
    values: Floats,
    flags: Words,
    used: Ints,
    state: Floats,
    rules: Floats,
) -> None:
    last = len(used) - 1
    for i in range(n):
        if verdict[i] != 0:
            continue
        complete = True
        for k in range(last):
            complete = complete and np.isfinite(values[i, used[k]])
        if not complete:
            continue
        device = state[row[i]]
        if np.isfinite(values[i, used[last]]):
            _learn(device, values[i], used, rules[0], rules[1])
        elif device[_COUNT] >= rules[2]:
            told, _ = _told(device, values[i], used)
            at = 1 + _PARTS * last
            value = device[at + _MEAN] + told * math.sqrt(device[at + _VARIANCE])
            fill(values[i], flags[i], used[last], value)
