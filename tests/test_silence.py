"""stream_processor.silence"""

from pathlib import Path

import numpy as np
import pytest

from stream_processor.definition import definition
from stream_processor.pipeline import Pipeline
from stream_processor.settings import load_text
from stream_processor.silence import Silence
from stream_processor.snapshot import capture, restore
from streamgauge.batch import Batch, Features
from streamgauge.delivery import Delivery, Readings
from streamgauge.events import EventKind
from streamgauge.schema import Channel, Schema

SECOND = 10**6
BEGIN = 1_767_225_600 * SECOND
CONFIG = """
[devices]
silent_after = "10m"
evict_after = "2h"
[channels.heat]
silent_after = "5m"
missing = "hold"
[channels.load]
"""

Told = list[tuple[str, str, str, float, float]]


def pipeline(text: str = CONFIG) -> Pipeline:
    """A pipeline that predicts nothing and listens."""
    return Pipeline(load_text(text, Path("test.toml"), {}, for_replay=True))


def readings(*rows: tuple[str, float, float, float | None, float | None]) -> Delivery:
    """Rows of device, minute of its clock, minute of ours, heat and load."""
    return Delivery(
        readings=Readings(
            [row[0] for row in rows],
            np.array([BEGIN + round(row[1] * 60 * SECOND) for row in rows], np.int64),
            np.array([BEGIN + round(row[2] * 60 * SECOND) for row in rows], np.int64),
            np.array([[np.nan if v is None else v for v in row[3:]] for row in rows], np.float64),
        )
    )


def tick(minute: float) -> Delivery:
    """Our clock, alone."""
    return Delivery(clock=BEGIN + round(minute * 60 * SECOND))


def told(made: Pipeline) -> Told:
    """Kind, device, channel, minute and silent minutes of each event since the last call."""
    return [
        (
            event.kind.name,
            output.device(event.row),
            event.channel,
            (event.time - BEGIN) / (60 * SECOND),
            event.size / 60,
        )
        for output in made.sealed()
        for event in output.events
    ]


def after(*deliveries: Delivery) -> Told:
    """What these deliveries, fed one after the other, bring about."""
    made = pipeline()
    for delivery in deliveries:
        made.feed(delivery)
    return told(made)


def test_a_silent_device_is_told_once_by_a_tick_and_told_again_when_it_returns() -> None:
    """At the limit, not when the tick came; the return has the length of the whole silence."""
    made = pipeline('[devices]\nsilent_after = "10m"\n[channels.heat]\n[channels.load]\n')
    made.feed(readings(("a", 0, 0, 1.0, 1.0), ("b", 0, 0, 1.0, 1.0)))
    made.feed(tick(10))
    assert told(made) == []
    made.feed(readings(("b", 10, 10, 1.0, 1.0)))
    made.feed(tick(11))
    assert told(made) == [("SILENT", "a", "", 10.0, 10.0)]
    assert made.board.counts()["devices_silent"] == 1
    made.feed(tick(12))
    assert told(made) == []
    made.feed(readings(("a", 15, 15, 1.0, 1.0)))
    assert told(made) == [("RETURNED", "a", "", 15.0, 15.0)]
    counts = made.board.counts()
    assert (counts["devices_silent"], counts["silences"]) == (0, {"silent": 1, "returned": 1})


def test_a_gap_between_two_readings_is_a_silence_without_any_tick() -> None:
    """Both events stand before the reading that ends it, in event time."""
    assert after(readings(("a", 0, 0, 1.0, 1.0), ("a", 11, 11, 1.0, 1.0))) == [
        ("SILENT", "a", "", 10.0, 10.0),
        ("RETURNED", "a", "", 11.0, 11.0),
        ("SILENT", "a", "heat", 5.0, 5.0),
        ("RETURNED", "a", "heat", 11.0, 11.0),
    ]


def test_a_channel_falls_silent_while_its_device_goes_on() -> None:
    """What cleaning fills in is no sign of life; a channel that never came is not missed."""
    rows = [("a", m, m, 1.0 if m < 3 else None, 1.0) for m in range(9)]
    assert after(readings(*rows)) == [("SILENT", "a", "heat", 7.0, 5.0)]
    assert after(readings(*rows, ("a", 9, 9, 1.0, None)))[1] == ("RETURNED", "a", "heat", 9.0, 7.0)
    assert after(readings(*(("a", m, m, None, 1.0) for m in range(9)))) == []


def test_a_value_that_is_refused_is_no_sign_of_life() -> None:
    """Nor is a reading that is late."""
    text = CONFIG.replace('missing = "hold"', "range = [0, 10]")
    made = pipeline(text)
    made.feed(readings(("a", 0, 0, 1.0, 1.0), *(("a", m, m, 99.0, 1.0) for m in range(1, 7))))
    made.feed(readings(("a", 5.5, 6.5, 5.0, 1.0)))
    assert told(made) == [("SILENT", "a", "heat", 5.0, 5.0)]


def test_a_device_is_judged_by_its_own_clock() -> None:
    """One whose clock is a day behind is silent when our clock has gone on, not before."""
    day = -24 * 60.0
    made = pipeline()
    made.feed(readings(("a", day, 0, 1.0, 1.0), ("b", 0, 0, 1.0, 1.0)))
    made.feed(tick(9))
    assert [event[:3] for event in told(made)] == [
        ("SILENT", "a", "heat"),
        ("SILENT", "b", "heat"),
    ]
    made.feed(tick(10.5))
    assert [event[1:4] for event in told(made)] == [("a", "", day + 10), ("b", "", 10.0)]


def test_an_evicted_device_returns_from_its_silence() -> None:
    """Nobody counts it as silent while it is away."""
    made = pipeline()
    made.feed(readings(("a", 0, 0, 1.0, 1.0)))
    made.feed(tick(130))
    assert [event[0] for event in told(made)] == ["SILENT", "SILENT", "EVICTED"]
    assert made.board.counts()["devices_silent"] == 0
    made.feed(readings(("a", 131, 131, 1.0, 1.0)))
    assert [event[:3] for event in told(made)] == [("RETURNED", "a", ""), ("RETURNED", "a", "heat")]


def test_a_device_stays_until_its_silence_was_told() -> None:
    """It is evicted once nothing more is to be said of it."""
    made = pipeline(CONFIG.replace('evict_after = "2h"', 'evict_after = "6m"'))
    made.feed(readings(("a", 0, 0, 1.0, 1.0)))
    made.feed(tick(9))
    made.feed(tick(11))
    assert [event[:3] for event in told(made)] == [
        ("SILENT", "a", "heat"),
        ("SILENT", "a", ""),
        ("EVICTED", "a", ""),
    ]


def test_a_restart_in_a_silence_goes_on_with_it() -> None:
    """What was told before the checkpoint is not told again; the return is."""
    made, other = pipeline(), pipeline()
    made.feed(readings(("a", 0, 0, 1.0, 1.0)))
    made.feed(tick(20))
    assert len(told(made)) == 2
    restore(other.walk, capture(made.walk, {}, {}))
    other.feed(tick(21))
    assert told(other) == []
    other.feed(readings(("a", 22, 22, 1.0, 1.0)))
    assert [event[0] for event in told(other)] == ["RETURNED", "RETURNED"]


def test_whether_it_listens_is_no_part_of_what_the_state_is_made_of() -> None:
    """A limit may be set, changed and taken away between two runs."""
    quiet = pipeline("[channels.heat]\n[channels.load]\n")
    loud = pipeline('[devices]\nsilent_after = "10m"\n[channels.heat]\n[channels.load]\n')
    quiet.feed(readings(("a", 0, 0, 1.0, 1.0)))
    quiet.feed(tick(60))
    assert told(quiet) == []
    parts = [definition(one.settings, one.walk.stages) for one in (quiet, loud)]
    assert parts[0] == parts[1]
    restore(loud.walk, capture(quiet.walk, {}, {}))
    loud.feed(readings(("a", 60, 60, 1.0, 1.0)))
    loud.feed(tick(71))
    assert [event[0] for event in told(loud)] == ["SILENT"]


def test_a_fleet_that_falls_silent_at_once_overflows_nothing() -> None:
    """A log with room for one device's events is emptied as often as it takes."""
    schema = Schema([Channel("heat"), Channel("load")])
    silence = Silence(schema, 50, device=SECOND, channels=[SECOND, None], part=1)
    batch = Batch(1, 2)
    batch.n = 1
    call = silence.call(batch, Features((), (), 1))
    batch.values[0] = 1.0
    for row in range(50):
        batch.row[0], batch.time[0], batch.received[0] = row, BEGIN, BEGIN
        call.run(n=1)
    found = list(silence.tick(BEGIN + 2 * SECOND, 50))
    assert [event.row for event in found] == [row for row in range(50) for _ in range(2)]
    assert {event.kind for event in found} == {EventKind.SILENT}
    assert silence.silent(50) == 50


@pytest.mark.parametrize("value", ['"never"', '"1h"'])
def test_the_limit_is_a_duration_or_never(value: str) -> None:
    """As `evict_after` is written."""
    found = pipeline(f"[devices]\nsilent_after = {value}\n[channels.heat]\n").settings
    assert found.devices.silent_after == (None if value == '"never"' else 3600 * SECOND)
