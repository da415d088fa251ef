"""Quantiles of the last values of a device, by count or by time: medians, percentiles, spreads."""

import re
from collections.abc import Mapping, Sequence

import numpy as np

from stream_processor.features._one_row import OneRow, columns_of
from stream_processor.features._span import span_of
from stream_processor.operator import FeatureOperator
from streamgauge.arrays import Bytes, Floats, Ints, Rows
from streamgauge.kernels import inlined
from streamgauge.schema import Schema
from streamgauge.sorted_window import (
    HEAD,
    drop_oldest,
    median_deviation,
    push,
    quantile,
    size,
    width_of,
)
from streamgauge.state import Field

__all__ = ["EXAMPLE", "build"]

EXAMPLE = {"of": ["value"], "window": {"readings": 50}}

_QUANTILE = re.compile(r"q(\d{1,2}(?:\.\d+)?)")
# How a statistic other than a plain quantile is written among the rules, whose numbers are 0 to 1.
_IQR, _MAD = 2.0, 3.0


def build(
    schema: Schema,
    capacity: int,
    column: int,
    *,
    of: Sequence[str],
    window: str | Mapping[str, int],
    stats: Sequence[str] = ("median",),
    readings_max: int = 256,
) -> FeatureOperator:
    """`<channel>_<stat>_<window>` for each of `median`, `q05` and other percentiles, `iqr`, `mad`.

    `window` is `{ readings = n }`, the device's last n present values with this one, or a duration:
    present values with event time in (t - window, t], at most `readings_max` of them. Quantiles
    lie between two values as numpy's `linear`; `iqr` is q75 - q25, `mad` the median distance from
    the median. NaN where the window is empty.

    Hyndman and Fan (1996), "Sample quantiles in statistical packages", type 7.
    """
    columns = columns_of(schema, of, "quantiles")
    span, most, ending = span_of(window, readings_max, "features.quantiles")
    names = {f"{c}_{stat}_{ending}": frozenset({c}) for c in of for stat in stats}
    if len(names) < len(of) * len(stats) or not stats:
        raise ValueError(f"features.quantiles stats is {list(stats)!r}; name each once")
    chosen = [_statistic(stat) for stat in stats]
    fields = [Field("windows", (len(of), width_of(most) + (most if span else 0)))]
    kernel = _rank_any if span or _MAD in chosen else _rank_last
    return OneRow(kernel, capacity, fields, column, names, columns, [span, most, *chosen], len(of))


def _statistic(stat: str) -> float:
    known = {"median": 0.5, "iqr": _IQR, "mad": _MAD}
    percent = _QUANTILE.fullmatch(stat)
    if stat in known:
        return known[stat]
    if percent is None:
        raise ValueError(
            f"features.quantiles stats holds {stat!r}; write median, iqr, mad, or a percentile "
            "such as q05 or q99.9"
        )
    return float(percent[1]) / 100.0


@inlined
def _value(row: Floats, window: int, stat: float, deviations: bool) -> float:
    if stat == _IQR:
        return quantile(row, window, 0.75) - quantile(row, window, 0.25)
    if deviations and stat == _MAD:
        return median_deviation(row, window, quantile(row, window, 0.5))
    return quantile(row, window, stat)


@inlined
def _rank(
    n: int,
    row: Rows,
    time: Ints,
    verdict: Bytes,
    values: Floats,
    x: Floats,
    column: int,
    of: Ints,
    state: Floats,
    rules: Floats,
    whole: bool,
) -> None:
    span, window, stats = int(rules[0]), int(rules[1]), rules[2:]
    times = state.shape[1] - window
    for i in range(n):
        if verdict[i] != 0:
            x[i, column : column + len(of) * len(stats)] = np.nan
            continue
        at = column
        for c in range(len(of)):
            part = state[np.uintp(row[i] * len(of) + c)]
            value = values[i, np.uintp(of[c])]
            if whole and span:
                while size(part, window) and part[times + int(part[HEAD])] <= time[i] - span:
                    drop_oldest(part, window)
            if np.isfinite(value):
                place = push(part, window, value)
                if whole and span:
                    part[times + place] = time[i]
            known = size(part, window) > 0
            for k in range(len(stats)):
                found = _value(part, window, stats[k], whole) if known else np.nan
                x[i, np.uintp(at)] = found if np.isfinite(found) else np.nan
                at += 1


@inlined
def _rank_last(
    n: int,
    row: Rows,
    time: Ints,
    verdict: Bytes,
    values: Floats,
    x: Floats,
    column: int,
    of: Ints,
    state: Floats,
    rules: Floats,
) -> None:
    """Quantiles of the last values: without what others need, the code is short enough that a
    processor works on several readings at a time."""
    _rank(n, row, time, verdict, values, x, column, of, state, rules, False)


@inlined
def _rank_any(
    n: int,
    row: Rows,
    time: Ints,
    verdict: Bytes,
    values: Floats,
    x: Floats,
    column: int,
    of: Ints,
    state: Floats,
    rules: Floats,
) -> None:
    _rank(n, row, time, verdict, values, x, column, of, state, rules, True)
