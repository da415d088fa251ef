"""Event times: every way a device may write them gives one microsecond, alone or in a column."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.times import instant, instants, zone_named

MOMENT = 1_711_012_512_123_456
BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (1_711_012_512, 1_711_012_512_000_000),
        (1_711_012_512.25, 1_711_012_512_250_000),
        (1_711_012_512_123, 1_711_012_512_123_000),
        (1_711_012_512_123.0, 1_711_012_512_123_000),
        (MOMENT, MOMENT),
        (MOMENT * 1000 + 789, MOMENT),
        ("1711012512", 1_711_012_512_000_000),
        ("1711012512123", 1_711_012_512_123_000),
        ("1711012512.5", 1_711_012_512_500_000),
        (" 1711012512 ", 1_711_012_512_000_000),
        ("2024-03-21T09:15:12.123456Z", MOMENT),
        ("2024-03-21T10:15:12.123456+01:00", MOMENT),
        ("2024-03-21 09:15:12.123456", MOMENT),
        ("20240321T091512.123456Z", MOMENT),
        ("2024-03-21", 1_710_979_200_000_000),
        (0, 0),
        (-1, -1_000_000),
    ],
)
def test_forms(written: object, expected: int) -> None:
    """Seconds to nanoseconds, numeric text and ISO 8601 are told apart."""
    assert instant(written, UTC) == expected
    column = instants([written, written], UTC)
    assert column is not None
    assert column.tolist() == [expected, expected]


@pytest.mark.parametrize(
    "written",
    [
        None, True, "", "now", "2024-02-30T00:00:00Z", float("nan"), float("inf"), 10**20, 1e20,
        "1" * 100, "9" * 5000, [1], {}, "1_000", "0x10", "2024-", "٣", "1e999",
        "0001-01-01T00:00:00+23:59x",
    ],
)  # fmt: skip
def test_what_is_not_a_time(written: object) -> None:
    """Whatever cannot be read is refused, alone and in a column, and nothing is raised."""
    assert instant(written, UTC) is None
    assert instants([1_711_012_512, written], UTC) is None


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59"])
def test_the_ends_of_the_calendar(text: str) -> None:
    """A time beyond the calendar's end in UTC is computed or refused, never raised."""
    assert instant(text, BERLIN) is None or isinstance(instant(text, BERLIN), int)


def test_text_without_a_zone_is_read_in_the_configured_zone() -> None:
    """Summer and winter offsets of the zone apply; an explicit zone wins."""
    assert instant("2024-07-01T12:00:00", BERLIN) == instant("2024-07-01T10:00:00Z", UTC)
    assert instant("2024-01-01T12:00:00", BERLIN) == instant("2024-01-01T11:00:00Z", UTC)
    assert instant("2024-07-01T12:00:00Z", BERLIN) == instant("2024-07-01T12:00:00Z", UTC)


def test_a_repeated_hour_is_its_first_passage() -> None:
    """02:30 on the night that summer time ends is the earlier of the two."""
    assert instant("2024-10-27T02:30:00", BERLIN) == instant("2024-10-27T00:30:00Z", UTC)


def test_unknown_zone_names_the_remedy() -> None:
    """A wrong zone name is refused with an example."""
    assert zone_named("UTC") is UTC
    with pytest.raises(ValueError, match="Europe/Berlin"):
        zone_named("Mars/Olympus")
    with pytest.raises(ValueError, match="time zone"):
        zone_named("../etc/passwd")


NUMBERS = st.one_of(
    st.integers(-(10**21), 10**21),
    st.floats(allow_nan=True, allow_infinity=True),
    st.floats(1e9, 2e9),
    st.integers(16 * 10**11, 18 * 10**11),
)


@given(st.lists(NUMBERS, min_size=1, max_size=8))
def test_a_column_equals_its_values_one_by_one(values: list[float]) -> None:
    """Vectorised and scalar conversion agree to the microsecond for every number."""
    each = [instant(value, UTC) for value in values]
    column = instants(values, UTC)
    if None in each:
        assert column is None
    else:
        assert column is not None
        assert column.tolist() == each


TEXTS = st.one_of(
    st.datetimes().map(datetime.isoformat),
    st.datetimes(timezones=st.just(UTC)).map(datetime.isoformat),
    st.integers(0, 2 * 10**15).map(str),
    st.text(max_size=30),
)


@given(st.lists(TEXTS, min_size=1, max_size=6))
def test_a_column_of_text_equals_its_texts_one_by_one(texts: list[str]) -> None:
    """ISO text, numeric text and nonsense read the same alone and in a column."""
    each = [instant(text, BERLIN) for text in texts]
    column = instants(texts, BERLIN)
    assert (None if column is None else column.tolist()) == (None if None in each else each)


@given(st.datetimes(timezones=st.just(UTC)))
def test_iso_text_round_trips(moment: datetime) -> None:
    """The ISO text of a moment is read back to its very microsecond."""
    there = instant(moment.isoformat(), BERLIN)
    past = moment - datetime(1970, 1, 1, tzinfo=UTC)
    assert there == (past.days * 86_400 + past.seconds) * 1_000_000 + past.microseconds
