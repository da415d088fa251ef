"""From UTC to the clock on the wall of a time zone, for kernels."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np

from streamgauge.arrays import Ints
from streamgauge.kernels import kernel

__all__ = ["FROM", "UNTIL", "local_time", "offsets"]

FROM, UNTIL = datetime(1990, 1, 1, tzinfo=UTC), datetime(2040, 1, 1, tzinfo=UTC)
"""Between these, daylight saving time is right; outside, the nearest known offset holds."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def offsets(zone: str) -> Ints:
    """int64[m, 2]: from this UTC instant on, local time is UTC plus this; both in microseconds."""
    try:
        info = ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as unknown:
        raise ValueError(
            f'{zone!r} is no time zone; write an IANA name such as "Europe/Berlin"'
        ) from unknown
    table = [(FROM, _offset(FROM, info))]
    day = FROM
    while day < UNTIL:
        following = day + timedelta(days=1)
        if _offset(following, info) != table[-1][1]:
            table.append((_change(day, following, info), _offset(following, info)))
        day = following
    return np.array([((t - _EPOCH) // _MICROSECOND, o // _MICROSECOND) for t, o in table], np.int64)


def _offset(instant: datetime, zone: ZoneInfo) -> timedelta:
    return instant.astimezone(zone).utcoffset() or timedelta(0)


def _change(before: datetime, after: datetime, zone: ZoneInfo) -> datetime:
    """The second at which the zone's offset changed between two instants."""
    was = _offset(before, zone)
    while after - before > timedelta(seconds=1):
        middle = before + timedelta(seconds=(after - before) // timedelta(seconds=2))
        if _offset(middle, zone) == was:
            before = middle
        else:
            after = middle
    return after


@kernel
def local_time(time: int, table: Ints) -> int:
    """The clock on the wall at a UTC instant, by a table of `offsets`; both in microseconds."""
    low, high = 0, len(table)
    while high - low > 1:
        middle = (low + high) // 2
        if table[middle, 0] <= time:
            low = middle
        else:
            high = middle
    return time + int(table[low, 1])
