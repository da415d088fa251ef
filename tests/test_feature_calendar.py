"""stream_processor.features.calendar"""

import math
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import holidays
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_processor.features import calendar
from streamgauge.local_time import offsets
from streamgauge.schema import Channel, Schema
from tests.frames import batch_of, computed

SCHEMA = Schema([Channel("a")])
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
ZONES = [
    "UTC",
    "Europe/Berlin",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",
    "America/St_Johns",
    "Africa/Casablanca",
]
SECONDS = int((datetime(2040, 1, 1, tzinfo=UTC) - EPOCH).total_seconds())


def microseconds(moment: datetime) -> int:
    """Event time of a moment."""
    return (moment - EPOCH) // timedelta(microseconds=1)


def features(zone: str, moments: list[datetime], **options: Any) -> Any:
    """Calendar features of these moments."""
    operator = calendar.build(SCHEMA, 1, 0, zone=zone, **options)
    return computed(operator, batch_of(SCHEMA, [microseconds(m) for m in moments], {}))


@pytest.mark.parametrize("zone", ZONES)
@settings(deadline=None, max_examples=60, derandomize=True)
@given(seconds=st.lists(st.integers(631_152_000, SECONDS - 1), min_size=1, max_size=50))
def test_numbers_equal_datetime(zone: str, seconds: list[int]) -> None:
    """Hour, weekday, month and minute are what Python's datetime says, from 1990 to 2040."""
    moments = [EPOCH + timedelta(seconds=s) for s in seconds]
    local = [m.astimezone(ZoneInfo(zone)) for m in moments]
    wanted = [[m.hour, m.weekday(), m.month, 60 * m.hour + m.minute] for m in local]
    np.testing.assert_array_equal(features(zone, moments, of=list(calendar.FIELDS[:4])), wanted)


@pytest.mark.parametrize("zone", ZONES)
def test_every_change_of_the_clock_is_found_to_the_second(zone: str) -> None:
    """At each transition, and a microsecond before, features follow the zone's own clock."""
    table = offsets(zone)
    assert (len(table) > 1) == (zone not in {"UTC", "Asia/Kathmandu"})
    changes = [EPOCH + timedelta(microseconds=int(instant)) for instant in table[1:, 0]]
    moments = [change - timedelta(microseconds=us) for change in changes for us in (1, 0)]
    local = [m.astimezone(ZoneInfo(zone)) for m in moments]
    wanted = np.array([60 * m.hour + m.minute for m in local], float).reshape(-1, 1)
    np.testing.assert_array_equal(features(zone, moments, of=["minute_of_day"]), wanted)
    # A transition that changes nothing would prove nothing.
    assert np.all(wanted[::2] + 1 != wanted[1::2])


@settings(deadline=None, max_examples=60, derandomize=True)
@given(seconds=st.lists(st.integers(631_152_000, SECONDS - 1), min_size=1, max_size=50))
def test_the_position_in_the_year_equals_datetime(seconds: list[int]) -> None:
    """The cyclic month is the part of the year that is over, leap years included."""
    moments = [EPOCH + timedelta(seconds=s) for s in seconds]
    begins = [datetime(m.year, 1, 1, tzinfo=UTC) for m in moments]
    ends = [datetime(m.year + 1, 1, 1, tzinfo=UTC) for m in moments]
    part = np.array([(m - b) / (e - b) for m, b, e in zip(moments, begins, ends, strict=True)])
    got = features("UTC", moments, of=["month"], as_="cyclic")
    np.testing.assert_allclose(got["month_sin"], np.sin(2 * np.pi * part), atol=1e-12)
    np.testing.assert_allclose(got["month_cos"], np.cos(2 * np.pi * part), atol=1e-12)


def test_every_day_of_a_leap_cycle() -> None:
    """Months are right on each day, leap days and centuries included."""
    moments = [datetime(1999, 12, 31, 12, tzinfo=UTC) + timedelta(days=d) for d in range(36_600)]
    got = features("UTC", moments, of=["month", "weekday"])
    np.testing.assert_array_equal(got, [[m.month, m.weekday()] for m in moments])


def test_cyclic_is_the_position_on_the_circle() -> None:
    """A quarter of the day, the week or the year is a quarter of the circle."""
    monday = datetime(2024, 1, 1, tzinfo=UTC)
    moments = [
        monday,
        monday + timedelta(hours=6),
        monday + timedelta(days=1.75),
        monday + timedelta(days=91.5),
    ]
    got = features("UTC", moments, of=["hour", "weekday", "month"], as_="cyclic")
    assert list(got.columns[:2]) == ["hour_sin", "hour_cos"]
    np.testing.assert_allclose(got.iloc[0], [0, 1, 0, 1, 0, 1], atol=1e-12)
    np.testing.assert_allclose(got.iloc[1, :2], [1, 0], atol=1e-12)
    np.testing.assert_allclose(got.iloc[2, 2:4], [1, 0], atol=1e-12)
    np.testing.assert_allclose(got.iloc[3, 4:], [1, 0], atol=1e-12)


def test_cyclic_has_no_step_at_new_year() -> None:
    """A second before and after the turn of a leap or common year lie next to each other."""
    for year in (2024, 2025):
        turn = datetime(year + 1, 1, 1, tzinfo=UTC)
        moments = [turn - timedelta(seconds=1), turn]
        got = features("UTC", moments, of=["month", "weekday", "hour"], as_="cyclic")
        assert math.dist(got.iloc[0], got.iloc[1]) < 1e-4


@pytest.mark.parametrize(
    ("zone", "where"),
    [
        ("Europe/Berlin", {"country": "DE", "subdivision": "BY"}),
        ("Asia/Riyadh", {"country": "SA"}),
        ("America/New_York", {"country": "US"}),
    ],
)
def test_holidays_are_those_of_the_local_day(zone: str, where: dict[str, str]) -> None:
    """Holidays, the days before them and workdays as the package says, hour by hour."""
    begin = datetime(2026, 3, 20, tzinfo=UTC)
    moments = [begin + timedelta(hours=h) for h in range(24 * 300)]
    local = [m.astimezone(ZoneInfo(zone)).date() for m in moments]
    known = holidays.country_holidays(
        where["country"], subdiv=where.get("subdivision"), years=range(2025, 2029)
    )
    got = features(zone, moments, of=["holiday", "day_before_holiday", "workday"], **where)
    wanted = [
        [day in known, day + timedelta(days=1) in known, known.is_working_day(day)] for day in local
    ]
    np.testing.assert_array_equal(got, np.array(wanted, float))
    assert set(got["holiday"]) == {0.0, 1.0}


def test_holidays_stay_numbers_among_cyclic_fields() -> None:
    """In the order asked for; and NaN in years of which no calendar is known."""
    moments = [datetime(y, 12, 25, 6, tzinfo=UTC) for y in (1989, 1991, 2039, 2040)]
    got = features("UTC", moments, of=["holiday", "hour", "workday"], as_="cyclic", country="DE")
    assert list(got.columns) == ["holiday", "hour_sin", "hour_cos", "workday"]
    np.testing.assert_array_equal(got["holiday"], [math.nan, 1.0, 1.0, math.nan])
    np.testing.assert_allclose(got["hour_sin"], 1.0)
    # Sunday, 25 December 2039.
    np.testing.assert_array_equal(got["workday"], [math.nan, 0.0, 0.0, math.nan])


def test_years_without_a_calendar_have_no_holidays() -> None:
    """A country that was founded later has none before, which is not the same as no holiday."""
    moments = [datetime(y, 7, 9, 6, tzinfo=UTC) for y in (2010, 2012, 2026)]
    got = features("UTC", moments, of=["holiday", "workday"], country="SS")["holiday"]
    np.testing.assert_array_equal(got, [math.nan, 1.0, 1.0])


def test_what_the_package_warns_of_is_no_noise() -> None:
    """Feasts that the moon fixes are known for some decades; the other holidays are there."""
    moments = [datetime(y, 1, 26, 6, tzinfo=UTC) for y in (1995, 2026)]
    got = features("UTC", moments, of=["holiday"], country="IN")
    np.testing.assert_array_equal(got["holiday"], [1.0, 1.0])


def test_refused_readings_have_no_features() -> None:
    """NaN where the reading was not admitted; and the features come from no channel."""
    operator = calendar.build(SCHEMA, 1, 0, of=["hour"])
    batch = batch_of(SCHEMA, [0, 3_600_000_000], {})
    batch.verdict[0] = 1
    np.testing.assert_array_equal(computed(operator, batch), [[math.nan], [1.0]])
    assert operator.channels == (frozenset(),)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"of": ["hours"]}, r"is \['hours'\]; name each of hour, weekday"),
        ({"of": ["hour", "hour"]}, "at most once"),
        ({"of": ["hour"], "as_": "sine"}, '\'sine\'; write "number" or "cyclic"'),
        ({"of": ["hour"], "zone": "Mars/Base"}, "'Mars/Base' is no time zone; write an IANA name"),
        ({"of": ["hour"], "zone": "../etc"}, "is no time zone"),
        ({"of": ["holiday"]}, "need a country"),
        ({"of": ["hour"], "country": "DE"}, "the others have none"),
        ({"of": ["hour"], "subdivision": "BY"}, "the others have none"),
        ({"of": ["holiday"], "country": "XX"}, 'Country XX not available.*country = "DE"'),
        ({"of": ["workday"], "country": "DE", "subdivision": "QQ"}, "subdivision QQ"),
    ],
)
def test_wrong_options_are_explained(options: dict[str, Any], message: str) -> None:
    """Errors name what was found and what to write."""
    with pytest.raises(ValueError, match=message):
        calendar.build(SCHEMA, 1, 0, **options)
