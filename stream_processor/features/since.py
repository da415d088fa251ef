"""Time since something last happened to a device: a reading, a value, a change, a threshold."""

from collections.abc import Mapping, Sequence

import numpy as np

from stream_processor.features._columns import column_of
from stream_processor.features._one_row import OneRow
from stream_processor.operator import FeatureOperator
from streamgauge.arrays import Bytes, Floats, Ints, Rows
from streamgauge.kernels import inlined
from streamgauge.schema import Schema
from streamgauge.state import Field

__all__ = ["build"]

_READING, _VALUE, _CHANGE, _ABOVE, _BELOW = range(5)
# State of an event: whether it happened, when, and the value before.
_KNOWN, _TIME, _LAST, _SEEN, _WIDTH = range(5)


def build(
    schema: Schema,
    capacity: int,
    column: int,
    *,
    reading: bool = True,
    value: Sequence[str] = (),
    change: Sequence[str] = (),
    above: Mapping[str, float] | None = None,
    below: Mapping[str, float] | None = None,
) -> FeatureOperator:
    """Seconds of event time since the last of each event before this reading.

    - `reading`: `since_reading`, the gap in the sampling
    - `value`: `<channel>_since_value`, since the channel was last present
    - `change`: `<channel>_since_change`, since it last had another value than before
    - `above`, `below`: `<channel>_since_above`, since it was last beyond the limit given

    NaN until it has happened once. What this reading itself brings counts from the next one on.
    """
    events: list[tuple[str, str, int, float]] = [("", "since_reading", _READING, 0.0)] * reading
    events += [(name, f"{name}_since_value", _VALUE, 0.0) for name in value]
    events += [(name, f"{name}_since_change", _CHANGE, 0.0) for name in change]
    events += [(name, f"{name}_since_above", _ABOVE, x) for name, x in (above or {}).items()]
    events += [(name, f"{name}_since_below", _BELOW, x) for name, x in (below or {}).items()]
    names = {name: frozenset({channel} - {""}) for channel, name, _, _ in events}
    if len(names) < len(events) or not events:
        raise ValueError(
            "features.since has no event, or one twice; name channels in value, change, above or "
            "below"
        )
    columns = [
        column_of(schema, channel, "features.since") if channel else 0 for channel, *_ in events
    ]
    rules = [number for _, _, kind, limit in events for number in (float(kind), limit)]
    fields = [Field("events", (len(events), _WIDTH))]
    return OneRow(_wait, capacity, fields, column, names, np.array(columns, np.int64), rules)


@inlined
def _happens(part: Floats, kind: int, value: float, limit: float) -> bool:
    """Whether this reading is such an event; remembers the value where that matters."""
    if kind == _READING:
        return True
    if not np.isfinite(value):
        return False
    if kind == _VALUE:
        return True
    if kind == _CHANGE:
        changed = part[_SEEN] != 0.0 and value != part[_LAST]
        part[_SEEN], part[_LAST] = 1.0, value
        return bool(changed)
    return bool(value > limit) if kind == _ABOVE else bool(value < limit)


@inlined
def _wait(
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
    for i in range(n):
        for k in range(len(of)):
            part = state[row[i], k * _WIDTH : (k + 1) * _WIDTH]
            if verdict[i] != 0:
                x[i, column + k] = np.nan
                continue
            known = part[_KNOWN] != 0.0
            x[i, column + k] = (time[i] - part[_TIME]) * 1e-6 if known else np.nan
            if _happens(part, int(rules[2 * k]), values[i, of[k]], rules[2 * k + 1]):
                part[_KNOWN], part[_TIME] = 1.0, time[i]
