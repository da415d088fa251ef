"""Outliers by a band around the recent usual values of a device, whatever the band."""

import math

import numpy as np

from stream_processor.clean._one_channel import OneChannel
from stream_processor.clean.outlier._policy import (
    ACTIONS,
    INSIDE,
    JUDGED,
    NEW_LEVEL,
    OUTSIDE,
    Action,
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
from streamgauge.sorted_window import (
    clear,
    mean_and_deviation,
    median_deviation,
    push,
    push_unordered,
    quantile,
    size,
    width_of,
)
from streamgauge.state import Field

__all__ = ["HAMPEL", "IQR", "ZSCORE", "watch_window"]

HAMPEL, IQR, ZSCORE = range(3)

_TAIL = 0.05
_WINSORIZE = ACTIONS.index("winsorize")
_ROBUST = 1.4826
"""Makes the median absolute deviation of a normal distribution its standard deviation."""

# Columns of the rules.
_KIND, _WINDOW, _LIMIT, _ACTION, _ACCEPT, _READY, _STEPS = range(7)


def watch_window(
    capacity: int,
    channel: int,
    kind: int,
    *,
    window: int,
    limit: float,
    action: Action,
    accept_after: int,
    ready_after: int,
    steps: float,
) -> Operator:
    """The operator for one channel and kind of band; ValueError on options that mean nothing."""
    check_policy(accept_after, steps)
    if not (3 <= ready_after <= window <= 1_000):
        raise ValueError(
            f"window is {window} and ready_after {ready_after}; give a window of 3 to 1000 values "
            "and ready_after from 3 to the window"
        )
    if not 0.0 < limit < math.inf:
        raise ValueError(f"limit is {limit}; give a number above 0")
    chosen = [kind, window, limit, ACTIONS.index(action), accept_after, ready_after, steps]
    fields = [Field("judged", (JUDGED,)), Field("recent", (width_of(window),))]
    return OneChannel(_watch, capacity, fields, channel, chosen)


@kernel
def _band(row: Floats, window: int, kind: int, limit: float) -> tuple[float, float, float]:
    """Middle, lowest and highest usual value."""
    if kind == IQR:
        low, high = quantile(row, window, 0.25), quantile(row, window, 0.75)
        reach = limit * (high - low)
        return quantile(row, window, 0.5), low - reach, high + reach
    if kind == HAMPEL:
        middle = quantile(row, window, 0.5)
        reach = limit * _ROBUST * median_deviation(row, window, middle)
    else:
        middle, deviation = mean_and_deviation(row, window)
        reach = limit * deviation
    return middle, middle - reach, middle + reach


@kernel
def _keep(row: Floats, window: int, value: float, ordered: bool) -> None:
    if ordered:
        push(row, window, value)
    else:
        push_unordered(row, window, value)


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
    window, kind, action = int(rules[_WINDOW]), int(rules[_KIND]), int(rules[_ACTION])
    ordered = kind != ZSCORE or action == _WINSORIZE
    for i in range(n):
        value = values[i, channel]
        if verdict[i] != 0 or not np.isfinite(value):
            continue
        device = state[row[i]]
        recent = device[JUDGED:]
        if size(recent, window) < rules[_READY] or near(value, device, rules[_STEPS]):
            usual(value, device)
            _keep(recent, window, value, ordered)
            continue
        middle, low, high = _band(recent, window, kind, rules[_LIMIT])
        # Values that were all alike say nothing of how far the next one may be.
        known = high > low
        found = judge(value, low, high, device, int(rules[_ACCEPT])) if known else INSIDE
        if found == OUTSIDE:
            above = value > high
            tail = quantile(recent, window, 1.0 - _TAIL if above else _TAIL) if ordered else 0.0
            act(values[i], flags[i], channel, action, middle, high if above else low, tail)
            continue
        if found == NEW_LEVEL:
            clear(recent)
            settle(value, device)
        else:
            usual(value, device)
        _keep(recent, window, value, ordered)
