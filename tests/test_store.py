"""The embedded history: what was written comes back, whatever was asked for."""

import math
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import duckdb

from serving.api.history import History
from streamgauge.events import Event, EventKind
from streamgauge.output import SCORE_COLUMNS, Sink
from streamgauge.schedule import Lane
from tests.histories import DAY, SLOW, Clock, committed, opened, sequences
from tests.outputs import (
    LANES,
    LEVEL,
    START,
    made,
    output,
    predicted,
    scores,
    told,
)


def test_it_is_a_sink_and_a_history(tmp_path: Path) -> None:
    """The worker and the API may hold it by their own contracts."""
    with opened(tmp_path) as kept:
        sink: Sink = kept
        history: History = kept
        sink.write(output([predicted(1)]))
        assert sink.flush(SLOW)
        assert len(history.predictions("pump-1", "power", "10m", 10)) == 1


def test_a_prediction_comes_back_with_its_outcome(tmp_path: Path) -> None:
    """Every key that the API shows, before the label and after it."""
    with opened(tmp_path) as kept:
        committed(kept, output([predicted(7, row=2)]))
        (waiting,) = kept.predictions("Ölpumpe", "power", "10m", 10)
        assert waiting == {
            "id": "power@10m/Ölpumpe/7",
            "horizon": "10m",
            "made_at": made(7),
            "target_time": made(17),
            "prediction": 2007.0,
            "last_value": 2006.5,
            "label": None,
            "residual": None,
            "status": "pending",
            "model_version": 14,
        }
        committed(kept, output([told(7, row=2)]))
        (known,) = kept.predictions("Ölpumpe", "power", "10m", 10)
        assert known == waiting | {"label": 2007.25, "residual": 0.25, "status": "labelled"}


def test_an_expired_prediction_has_no_label(tmp_path: Path) -> None:
    """Status expired; a value that was never served is None."""
    with opened(tmp_path) as kept:
        committed(kept, output([predicted(3, value=math.nan), told(3, expired=True)]))
        (one,) = kept.predictions("pump-1", "power", "10m", 10)
        assert (one["status"], one["label"], one["residual"]) == ("expired", None, None)
        assert one["prediction"] is None


def test_a_horizon_in_readings_ends_when_the_label_comes(tmp_path: Path) -> None:
    """Its target time is unknown at first, then the time of the reading that was the label."""
    with opened(tmp_path) as kept:
        committed(kept, output([predicted(3, where=1), predicted(4, where=1), told(3, where=1)]))
        newest, older = kept.predictions("pump-1", "power", "1 reading", 10)
        assert (newest["target_time"], older["target_time"]) == (None, made(13))


def test_newest_come_first_up_to_the_limit(tmp_path: Path) -> None:
    """Of one horizon, or of all horizons of the task; other devices and tasks stay out."""
    records = [predicted(m, row, where) for m in range(30) for row in (0, 1) for where in (0, 1, 2)]
    with opened(tmp_path) as kept:
        committed(kept, output(records))
        assert sequences(kept, limit=5) == [29, 28, 27, 26, 25]
        both = kept.predictions("pump 2, hall=3", "power", None, 4)
        assert [one["id"] for one in both] == [
            "power@10m/pump 2, hall=3/29",
            "power@1 reading/pump 2, hall=3/29",
            "power@10m/pump 2, hall=3/28",
            "power@1 reading/pump 2, hall=3/28",
        ]
        assert kept.predictions("nobody", "power", "10m", 5) == []
        assert kept.predictions("pump-1", "speed", None, 5) == []
        assert kept.predictions("pump-1", "power", "10m", 0) == []


def test_old_rows_are_found_however_far_back(tmp_path: Path) -> None:
    """The search widens from the newest seconds to the oldest row."""
    clock = Clock()
    with opened(tmp_path, clock, keep=1000 * DAY) as kept:
        for day in (0, 3, 100, 300):
            clock.now = START + day * DAY
            committed(kept, output([predicted(day)]))
        assert sequences(kept) == [300, 100, 3, 0]
        assert sequences(kept, limit=2) == [300, 100]


def test_a_clock_that_jumps_back_hides_nothing(tmp_path: Path) -> None:
    """Rows written before and after our clock was set back are all answered."""
    clock = Clock()
    with opened(tmp_path, clock) as kept:
        committed(kept, output([predicted(1)]))
        clock.now -= 5 * DAY
        committed(kept, output([predicted(2)]))
        assert sequences(kept) == [2, 1]


def test_a_row_given_to_another_device_keeps_them_apart(tmp_path: Path) -> None:
    """After an eviction the same row stands for another device."""
    with opened(tmp_path) as kept:
        committed(kept, output([predicted(1)], names=["old", "b"]))
        committed(kept, output([predicted(2)], names=["new", "b"]))
        assert (sequences(kept, "old"), sequences(kept, "new")) == ([1], [2])


def test_devices_that_come_later_are_known_by_name(tmp_path: Path) -> None:
    """The list of names grows while the walk goes on."""
    names: list[str | None] = ["d0"]
    with opened(tmp_path) as kept:
        for row in range(50):
            committed(kept, output([predicted(row, row)], names=names))
            names.append(f"d{row + 1}")
        assert [sequences(kept, f"d{row}") for row in range(50)] == [[row] for row in range(50)]


def test_codes_mean_the_same_after_a_restart(tmp_path: Path) -> None:
    """Devices in another order and a task more: what was written before is read as it was."""
    with opened(tmp_path) as kept:
        committed(kept, output([predicted(1, row=0), predicted(1, row=2, where=2)]))
    lanes = (Lane("speed", "", 0, 0, 0, 0, False, (0,), 1, "last"), LANES[2], LANES[0])
    with opened(tmp_path, lanes=lanes) as kept:
        names = ["Ölpumpe", "x", "pump-1"]
        committed(kept, output([predicted(2, row=2, where=2)], names=names, lanes=lanes))
        assert sequences(kept) == [2, 1]
        (one,) = kept.predictions("Ölpumpe", "flow", None, 5)
        assert one["id"] == "flow/Ölpumpe/1"
        assert kept.predictions("x", "speed", None, 5) == []


def test_ids_of_any_characters_are_kept(tmp_path: Path) -> None:
    """Quotes, zero bytes and lone surrogates break neither the file nor the writer."""
    names = ["a'b\"c", "nul\0nul", "half\ud800", ""]
    with opened(tmp_path) as kept:
        committed(kept, output([predicted(k, k) for k in range(4)], names=names))
        assert [sequences(kept, name) for name in names] == [[0], [1], [2], [3]]
    with opened(tmp_path) as kept:
        assert [sequences(kept, name) for name in names if name != names[2]] == [[0], [1], [3]]


def test_events_of_devices_come_back_newest_first(tmp_path: Path) -> None:
    """Silences with channel and length, and evictions; drift is in a list of its own."""
    nothing = (math.nan, math.nan)
    events = [
        Event(EventKind.SILENT, 0, -1, made(1), -1, *nothing, 600.0),
        Event(EventKind.DRIFT_UP, 0, 0, made(2), 0, 0.5, 2.0, 30.0),
        Event(EventKind.RETURNED, 1, -1, made(3), 7, *nothing, 900.5, "flow"),
        Event(EventKind.EVICTED, 0, -1, made(4), -1, *nothing, math.nan),
    ]
    with opened(tmp_path) as kept:
        committed(kept, output([], events=events), output([], events=events))
        found = kept.events(10, None)
        assert [one["kind"] for one in found] == ["evicted", "returned", "silent"]
        assert found[1] == {
            "time": made(3),
            "device": "pump 2, hall=3",
            "channel": "flow",
            "kind": "returned",
            "seconds": 900.5,
        }
        assert [one["time"] for one in kept.events(10, "pump-1")] == [made(4), made(1)]
        assert len(kept.events(1, None)) == 1
        assert kept.events(10, "unknown") == []
        assert len(kept.drift(10, None)) == 1


def test_actions_and_effects_come_back_with_their_reasons(tmp_path: Path) -> None:
    """In words too; a restart repeats what a drift said, an effect says two mean errors."""
    restarted = replace(LEVEL, kind=EventKind.RESTARTED, lane=0)
    effect = replace(
        restarted, kind=EventKind.EFFECT, time=made(9), before=4.0, after=1.0, size=100.0,
        since=restarted.time,
    )  # fmt: skip
    with opened(tmp_path) as kept:
        committed(kept, output([], events=[LEVEL, restarted, effect]))
        brought, done = kept.events(10, "pump-1")
    assert done == {
        "time": made(5), "device": "pump-1", "channel": "flow", "kind": "restarted",
        "seconds": None, "task": "power", "horizon": "10m", "before": 20.5, "after": 18.0,
        "size": 40.0, "signal": "level", "since": made(2), "detector": "cusum",
        "text": done["text"],
    }  # fmt: skip
    because = "because level of flow fell from 20.5 to 18 since "
    assert done["text"].startswith(f"the model of power@10m began anew, {because}")
    assert brought["text"] == (
        "the mean error of power@10m after what was done because of level (cusum) "
        "went from 4 to 1 over 100 labels"
    )


def test_a_file_of_an_earlier_version_gets_its_new_columns(tmp_path: Path) -> None:
    """Events that were stored before channels were named are still there, and new ones fit."""
    before = Event(EventKind.EVICTED, 0, -1, made(1), -1, math.nan, math.nan, math.nan)
    with opened(tmp_path) as kept:
        committed(kept, output([], events=[before]))
        [path] = tmp_path.rglob("history.duckdb")
    with duckdb.connect(str(path)) as file:
        for column in ("channel", "signal", "since", "magnitude", "detector", "version"):
            file.execute(f"alter table events drop column {column}")
    after = Event(EventKind.SILENT, 0, -1, made(2), -1, math.nan, math.nan, 60.0, "flow")
    with opened(tmp_path) as kept:
        committed(kept, output([], events=[after, LEVEL]))
        assert [one["detector"] for one in kept.drift(10, None)] == ["cusum"]
        assert [one["channel"] for one in kept.events(10, None)] == ["flow", ""]


def test_drift_comes_back_newest_first(tmp_path: Path) -> None:
    """Of the fleet, of a device or of all; an eviction is no drift."""
    events = [
        Event(EventKind.DRIFT_UP, 0, 1, made(1), 0, 0.5, 2.0, 30.0),
        Event(EventKind.DRIFT_DOWN, -1, 2, made(3), 0, 4.0, math.nan, 30.0),
        Event(EventKind.EVICTED, 0, -1, made(4), -1, math.nan, math.nan, math.nan),
        Event(EventKind.DRIFT_UP, 1, 0, made(2), 0, 0.5, 2.0, 30.0),
    ]
    with opened(tmp_path) as kept:
        committed(kept, output([], events=events[:2]), output([], events=events[2:]))
        found = kept.drift(10, None)
        assert [one["time"] for one in found] == [made(3), made(2), made(1)]
        assert found[2] == {
            "time": made(1),
            "device": "pump-1",
            "task": "power",
            "horizon": "1 reading",
            "kind": "drift_up",
            "before": 0.5,
            "after": 2.0,
            "channel": "",
            "signal": "error",
            "severity": "alarm",
            "since": None,
            "magnitude": 0.0,
            "size": 30.0,
            "detector": "",
            "version": 0,
            "text": "error of power rose from 0.5 to 2",
        }
        assert (found[0]["device"], found[0]["task"], found[0]["kind"]) == (
            "",
            "flow",
            "drift_down",
        )
        assert found[0]["after"] is None
        assert [one["time"] for one in kept.drift(10, "pump 2, hall=3")] == [made(2)]
        assert [one["time"] for one in kept.drift(10, "")] == [made(3)]
        assert kept.drift(1, None) == found[:1]
        assert kept.drift(10, "nobody") == []
    with opened(tmp_path) as kept:
        assert kept.drift(10, None) == found


def test_drift_of_a_channel_comes_back_with_all_that_is_known(tmp_path: Path) -> None:
    """What drifted, how far, since when, and who says so."""
    with opened(tmp_path) as kept:
        committed(kept, output([], events=[LEVEL]))
        [found] = kept.drift(10, "pump-1")
    assert (found["task"], found["channel"], found["signal"]) == ("", "flow", "level")
    assert (found["kind"], found["severity"]) == ("drift_down", "alarm")
    assert (found["time"], found["since"]) == (LEVEL.time, LEVEL.since)
    assert (found["before"], found["after"], found["magnitude"]) == (20.5, 18.0, 3.0)
    assert (found["detector"], found["version"]) == ("cusum", 1)
    since = datetime.fromtimestamp(LEVEL.since / 1e6, UTC)
    assert found["text"] == f"level of flow fell from 20.5 to 18 since {since:%Y-%m-%dT%H:%M}Z"


def test_scores_over_time(tmp_path: Path) -> None:
    """Overall scores only, since a time, newest first; what was undefined is None."""
    with opened(tmp_path) as kept:
        committed(kept, *(output([], scores=[scores(m, (-1, 1))]) for m in range(6)))
        found = kept.score_history("power", "1 reading", made(2), 3)
        assert [one["time"] for one in found] == [made(5), made(4), made(3)]
        assert list(found[0]) == ["time", *SCORE_COLUMNS]
        assert [found[0][name] for name in SCORE_COLUMNS[:-1]] == [
            5.0 + k for k in range(len(SCORE_COLUMNS) - 1)
        ]
        assert found[0][SCORE_COLUMNS[-1]] is None
        assert len(kept.score_history("power", "1 reading", made(2), 100)) == 4
        assert kept.score_history("power", "2h", 0, 3) == []
