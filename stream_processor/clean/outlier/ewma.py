"""Outliers by an exponentially weighted mean and deviation: a band that follows slow change."""

import math
from typing import Literal

import numpy as np

from stream_processor.clean._one_channel import OneChannel
from stream_processor.clean.outlier._policy import (
    ACTIONS,
    JUDGED,
    NEW_LEVEL,
    OUTSIDE,
    act,
    check_policy,
    judge,
    near,
    settle,
    usual,
)
from stream_processor.operator import Operator
from streamgauge.arrays import Bytes, Floats, Ints, Rows, Words
from streamgauge.kernels import kernel
from streamgauge.schema import Schema
from streamgauge.state import Field

__all__ = ["build"]

# Columns of the rules, and of a device's running moments.
_FADE, _LIMIT, _ACTION, _ACCEPT, _READY, _STEPS = range(6)
_COUNT, _MEAN, _VARIANCE = range(3)


def build(
    schema: Schema,
    capacity: int,
    channel: int,
    *,
    half_life: float = 20.0,
    limit: float = 5.0,
    action: Literal["flag", "drop", "clip", "replace"] = "replace",
    accept_after: int = 10,
    ready_after: int = 20,
    steps: float = 8.0,
) -> Operator:
    """Values far from the exponentially weighted mean of the usual ones are outliers.

    - `half_life`: usual values after which one counts half
    - `limit`: exponentially weighted standard deviations from the mean
    - `action`: flag | drop | clip (edge of the band) | replace (the mean)
    - `accept_after`: so many values in a row on one side are a new level, not outliers
    - `ready_after`: values before the first judgement
    - `steps`: usual steps from the last usual value within which nothing is an outlier, wherever
      the band is: a channel that climbs at its own pace is usual; 0 judges by the band alone

    Roberts (1959), "Control chart tests based on geometric moving averages"; weights as pandas'
    `ewm(halflife=...).mean()` and `.var(bias=True)` with `adjust=False`.
    """
    check_policy(accept_after, steps)
    if not 0.0 < half_life < math.inf or not 0.0 < limit < math.inf or ready_after < 2:
        raise ValueError(
            f"half_life is {half_life}, limit {limit}, ready_after {ready_after}; give numbers "
            "above 0, and ready_after of 2 or more"
        )
    fade = 1.0 - 0.5 ** (1.0 / half_life)
    rules = [fade, limit, ACTIONS.index(action), accept_after, ready_after, steps]
    fields = [Field("judged", (JUDGED,)), *map(Field, ("count", "mean", "variance"))]
    return OneChannel(_watch, capacity, fields, channel, rules)


@kernel
def _learn(device: Floats, value: float, fade: float) -> None:
    if device[_COUNT] == 0.0:
        device[_MEAN] = value
    else:
        step = value - device[_MEAN]
        device[_MEAN] += fade * step
        device[_VARIANCE] = (1.0 - fade) * (device[_VARIANCE] + fade * step * step)
    device[_COUNT] += 1.0


@kernel
def _watch(
    n: int,
    row: Rows,
    time: Ints,
    verdict: Bytes,
    values: Floats,
    flags: Words,
    channel: int,
    state: Floats,
    rules: Floats,
) -> None:
    fade, action = rules[_FADE], int(rules[_ACTION])
    for i in range(n):
        value = values[i, channel]
        if verdict[i] != 0 or not np.isfinite(value):
            continue
        device = state[row[i]]
        moments = device[JUDGED:]
        # Values that were all alike say nothing of how far the next one may be.
        ready = moments[_COUNT] >= rules[_READY] and moments[_VARIANCE] > 0.0
        if ready and not near(value, device, rules[_STEPS]):
            middle = moments[_MEAN]
            reach = rules[_LIMIT] * math.sqrt(moments[_VARIANCE])
            found = judge(value, middle - reach, middle + reach, device, int(rules[_ACCEPT]))
            if found == OUTSIDE:
                edge = middle + reach if value > middle else middle - reach
                act(values[i], flags[i], channel, action, middle, edge, edge)
                continue
            if found == NEW_LEVEL:
                moments[:] = 0.0
                settle(value, device)
        usual(value, device)
        _learn(moments, value, fade)
