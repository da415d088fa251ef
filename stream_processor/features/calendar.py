"""Where in the day, week and year a reading stands, by the clock on the wall; holidays."""

import math
import warnings
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache

import numpy as np
from numpy.typing import NDArray

from stream_processor.operator import FeatureOperator
from streamgauge.batch import Batch, Features
from streamgauge.calls import Call, Now
from streamgauge.kernels import kernel
from streamgauge.local_time import FROM as _FROM
from streamgauge.local_time import UNTIL as _UNTIL
from streamgauge.local_time import local_time, offsets
from streamgauge.schema import Schema
from streamgauge.state import Block

__all__ = ["EXAMPLE", "FIELDS", "build"]

EXAMPLE = {"of": ["hour"]}

FIELDS = (
    "hour", "weekday", "month", "minute_of_day", "holiday", "day_before_holiday", "workday",
)  # fmt: skip
_HOUR, _WEEKDAY, _MONTH, _MINUTE_OF_DAY, _OF_DAYS = range(5)
"""Fields from the last on are a matter of whole days, which have no position on a circle."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAY = 86_400_000_000
_FIRST_DAY = (_FROM - _EPOCH).days
_HOUR_US = 3_600_000_000
_MINUTE_US = 60_000_000


def build(
    schema: Schema,
    capacity: int,
    column: int,
    *,
    of: Sequence[str],
    as_: str = "number",
    zone: str = "UTC",
    country: str = "",
    subdivision: str = "",
) -> FeatureOperator:
    """Calendar features of the event time in the IANA time zone `zone`.

    `of` names any of hour (0 to 23), weekday (0 = Monday to 6), month (1 to 12), minute_of_day
    (0 to 1439), and of holiday, day_before_holiday and workday, which are 1 or 0: these are by the
    public holidays and weekends of `country`, an ISO code such as "DE", and of its `subdivision`
    such as "BY", as the package `holidays` knows them. `as_` (the key `as`) is "number", or
    "cyclic": `<name>_sin` and `<name>_cos` of the position in the day, the week or the year,
    without a step at the full hour; what is 1 or 0 stays so. Daylight saving time is right from
    1990 to 2040; outside, the nearest known offset holds. Holidays are NaN outside of these years,
    and in those of which the package knows none.
    """
    unknown = [name for name in of if name not in FIELDS]
    if unknown or len(set(of)) < len(of):
        raise ValueError(
            f"features.calendar is {list(of)!r}; name each of {', '.join(FIELDS)} at most once"
        )
    if as_ not in ("number", "cyclic"):
        raise ValueError(f'features.calendar as is {as_!r}; write "number" or "cyclic"')
    by_country = [name for name in of if FIELDS.index(name) >= _OF_DAYS]
    if bool(by_country) != bool(country) or (subdivision and not country):
        raise ValueError(
            f"features.calendar country is {country!r} and of is {list(of)!r}; holiday, "
            'day_before_holiday and workday need a country such as "DE", the others have none'
        )
    days = _days(country, subdivision) if country else np.zeros((0, 3))
    return _Calendar(column, tuple(of), as_ == "cyclic", offsets(zone), days)


@cache
def _days(country: str, subdivision: str) -> NDArray[np.float64]:
    """float64[days, 3]: for each day from _FROM to _UNTIL whether it is a holiday, the day before
    one, and a workday; NaN in years of which the package does not know them."""
    from holidays import country_holidays

    where = subdivision or None
    try:
        there = country_holidays(country, subdiv=where)
        first, last = max(_FROM.year, there.start_year), min(_UNTIL.year, there.end_year)
        years = range(first, last + 1)
        with warnings.catch_warnings(action="ignore"):
            # Some countries warn that feasts which the moon fixes are known for some decades only.
            known = country_holidays(country, subdiv=where, years=years, expand=False)
    except NotImplementedError as refused:
        raise ValueError(
            f"features.calendar knows no holidays there ({refused}); write an ISO 3166 code such "
            'as country = "DE", subdivision = "BY"'
        ) from refused
    dates = [(_FROM + timedelta(days=k)).date() for k in range((_UNTIL - _FROM).days + 1)]
    days = np.full((len(dates), 3), np.nan)
    for k, date in enumerate(dates):
        if date.year in years:
            days[k] = date in known, np.nan, known.is_working_day(date)
    days[:-1, 1] = days[1:, 0]
    return days[:-1]


@kernel
def _month(day: int) -> tuple[int, int, int]:
    """Month (1 to 12), days since 1 January and length of the year, of a day since 1970."""
    # Gregorian years begin in March here, so that the leap day is the last of its year.
    shifted = day + 719_468
    era = shifted // 146_097
    of_era = shifted - era * 146_097
    year = (of_era - of_era // 1_460 + of_era // 36_524 - of_era // 146_096) // 365
    of_year = of_era - (365 * year + year // 4 - year // 100)
    march_based = (5 * of_year + 2) // 153
    month = march_based + 3 if march_based < 10 else march_based - 9
    civil = year + 1 if month <= 2 else year
    leap = civil % 4 == 0 and (civil % 100 != 0 or civil % 400 == 0)
    since_january = of_year - 306 if month <= 2 else of_year + 59 + int(leap)
    return month, since_january, 365 + int(leap)


@kernel
def _position(field: int, day: int, of_day: int) -> tuple[int, float]:
    """The field's number, and the part (0 to 1) of its day, week or year that is over."""
    part = of_day / _DAY
    if field == _HOUR:
        return of_day // _HOUR_US, part
    if field == _MINUTE_OF_DAY:
        return of_day // _MINUTE_US, part
    if field == _WEEKDAY:
        weekday = (day + 3) % 7
        return weekday, (weekday + part) / 7.0
    month, since_january, year = _month(day)
    return month, (since_january + part) / year


@kernel
def _calendar(
    n: int,
    time: NDArray[np.int64],
    verdict: NDArray[np.uint8],
    x: NDArray[np.float64],
    column: int,
    cyclic: bool,
    plan: NDArray[np.int64],
    table: NDArray[np.int64],
    days: NDArray[np.float64],
) -> None:
    for i in range(n):
        local = local_time(time[i], table)
        day = local // _DAY
        at = column
        for k in range(len(plan)):
            if plan[k] >= _OF_DAYS:
                since = day - _FIRST_DAY
                known = verdict[i] == 0 and 0 <= since < len(days)
                x[i, at] = days[since, plan[k] - _OF_DAYS] if known else np.nan
                at += 1
                continue
            number, part = _position(plan[k], day, local - day * _DAY)
            if cyclic:
                angle = 2.0 * math.pi * part
                x[i, at] = math.sin(angle) if verdict[i] == 0 else np.nan
                x[i, at + 1] = math.cos(angle) if verdict[i] == 0 else np.nan
                at += 2
            else:
                x[i, at] = number if verdict[i] == 0 else np.nan
                at += 1


class _Calendar:
    def __init__(
        self,
        column: int,
        of: tuple[str, ...],
        cyclic: bool,
        table: NDArray[np.int64],
        days: NDArray[np.float64],
    ) -> None:
        plan = np.array([FIELDS.index(name) for name in of], np.int64)
        self.names = tuple(
            name + ending
            for name, field in zip(of, plan, strict=True)
            for ending in (("_sin", "_cos") if cyclic and field < _OF_DAYS else ("",))
        )
        self.channels = tuple(frozenset[str]() for _ in self.names)
        self.blocks: Mapping[str, Block] = {}
        self._bound = (column, cyclic, plan, table, days)

    def call(self, batch: Batch, features: Features) -> Call:
        return Call(_calendar, (Now.N, batch.time, batch.verdict, features.x, *self._bound))
