"""What is an alert and what is owed: rules, cool-down, silences, inhibition, quiet hours."""

import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import time
from pathlib import Path
from typing import cast
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from monitoring.alerts.condition import parsed
from monitoring.alerts.outbox import Outbox
from monitoring.alerts.payload import Group, subject, text, webhook
from monitoring.alerts.postman import Postman, Quiet
from monitoring.alerts.receiver import NotDelivered, Receiver
from monitoring.alerts.rule import Matter, Rule, When
from monitoring.alerts.watch import News, Watch
from streamgauge.events import Event, EventKind
from streamgauge.output import SCORE_COLUMNS, Scores
from streamgauge.schedule import Lane

SECOND = 10**6
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
START = 1_772_366_400 * SECOND
LANE = Lane("pressure", "10m", 0, 600 * SECOND, 0, 0, True, (0,), 10, "last")
NAN = float("nan")


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    """One that is new."""
    made = Outbox(tmp_path)
    yield made
    made.close()


def watch(
    outbox: Outbox, *rules: Rule, wait: int = 0, receivers: Sequence[str] = ("ops",)
) -> Watch:
    """Rules whose alerts all go to each of the receivers."""
    wanted = dict.fromkeys(receivers, ("info", "warning", "critical"))
    return Watch(rules, [LANE], outbox, wanted, lambda lane: "pressure", group_wait=wait)


def drift(minute: float, device: str = "pump-1", *, up: bool = True) -> News:
    """A detector says that the error rose, or fell."""
    kind = EventKind.DRIFT_UP if up else EventKind.DRIFT_DOWN
    at = START + round(minute * MINUTE)
    return News([(Event(kind, 0, 0, at, -1, 0.1, 0.4, 32.0), device)], ())


def quiet_device(minute: float, device: str, *, back: bool = False) -> News:
    """A device fell silent, or is heard of again."""
    kind = EventKind.RETURNED if back else EventKind.SILENT
    at = START + round(minute * MINUTE)
    return News([(Event(kind, 0, -1, at, -1, NAN, NAN, 60.0), device)], ())


def moved(minute: float, signal: str, *, up: bool = True) -> News:
    """A detector says that a channel changed."""
    kind = EventKind.DRIFT_UP if up else EventKind.DRIFT_DOWN
    at = START + round(minute * MINUTE)
    event = Event(
        kind, 0, -1, at, -1, 20.1, 23.4, 60.0, channel="heat", signal=signal, since=START,
        magnitude=2.0, detector="cusum", version=1,
    )  # fmt: skip
    return News([(event, "pump-1")], ())


def scores(minute: float, **numbers: float) -> News:
    """Scores over all devices."""
    row = np.array([[numbers.get(name, NAN) for name in SCORE_COLUMNS]])
    at = START + round(minute * MINUTE)
    return News((), [Scores(at, np.zeros(1, np.int64), np.full(1, -1), row)])


class Told:
    """A receiver that keeps what it is told; it refuses as often as `refusals` say."""

    def __init__(self, *refusals: NotDelivered) -> None:
        self.groups: list[Group] = []
        self._refusals = list(refusals)

    def __call__(self, group: Group) -> None:
        self.groups.append(group)
        if self._refusals:
            raise self._refusals.pop(0)

    def close(self) -> None:
        """Nothing is open."""

    @property
    def said(self) -> list[tuple[str, str]]:
        """Status and device of every alert, in order."""
        return [(one.status, one.matter.device) for group in self.groups for one in group.alerts]


def deliver(
    outbox: Outbox, receiver: Callable[[Group], None], now: int, quiet: Quiet | None = None
) -> int:
    """All that is due to `ops` at that time; how many messages."""
    postman = Postman(outbox, {}, lambda: now, "test", "http://gauge", quiet, lambda: 1.0)
    # Given afterwards, it has no thread that looks by itself.
    postman.receivers = {"ops": cast("Receiver", receiver)}
    count = 0
    while postman.round("ops"):
        count += 1
    return count


def test_an_alert_fires_once_and_is_over_once(outbox: Outbox) -> None:
    """However often the detector says so; and the next time it is a new one."""
    one, told = watch(outbox, Rule("worse", When.DRIFT, cool_down=0)), Told()
    for minute in (1, 2, 3):
        one.take([drift(minute)], START + minute * MINUTE)
    deliver(outbox, told, START + 3 * MINUTE)
    one.take([drift(9, up=False)], START + 9 * MINUTE)
    deliver(outbox, told, START + 9 * MINUTE)
    one.take([drift(20)], START + 20 * MINUTE)
    deliver(outbox, told, START + 20 * MINUTE)
    assert told.said == [("firing", "pump-1"), ("resolved", "pump-1"), ("firing", "pump-1")]
    assert [one.alert.starts for one in outbox.standing("firing")] == [START + 20 * MINUTE]


def test_what_comes_again_after_a_restart_is_no_news(outbox: Outbox) -> None:
    """The walk repeats what lies behind its checkpoint; nobody is told twice."""
    news, rule, told = [drift(1), drift(2, up=False)], Rule("worse", When.DRIFT), Told()
    watch(outbox, rule).take(news[:1], START)
    deliver(outbox, told, START)
    watch(outbox, rule).take(news, START + MINUTE)
    watch(outbox, rule).take(news, START + 2 * MINUTE)
    deliver(outbox, told, START + 2 * MINUTE)
    assert told.said == [("firing", "pump-1"), ("resolved", "pump-1")]


def test_drift_that_is_not_seen_again_is_over(outbox: Outbox) -> None:
    """After `resolve_after` of our clock."""
    one, told = watch(outbox, Rule("worse", When.DRIFT, resolve_after=HOUR)), Told()
    one.take([drift(0)], START)
    deliver(outbox, told, START)
    one.tick(START + HOUR - 1)
    assert len(outbox.standing("firing")) == 1
    one.tick(START + HOUR)
    deliver(outbox, told, START + HOUR)
    assert told.said == [("firing", "pump-1"), ("resolved", "pump-1")]


def action(minute: float, kind: EventKind) -> News:
    """Something was done about the drift of a channel."""
    ((event, device),) = moved(minute, "level").events
    return News([(replace(event, kind=kind, lane=0), device)], ())


@pytest.mark.parametrize("last", [EventKind.EFFECT, EventKind.KEPT])
def test_what_is_done_about_drift_is_an_alert_until_its_effect_is_known(
    outbox: Outbox, last: EventKind
) -> None:
    """It says what was done and why; the effect ends it, or that another model was forgotten."""
    rules = [Rule(kind, When(kind)) for kind in ("action", "drift", "channel_drift")]
    one, told = watch(outbox, *rules), Told()
    one.take([action(1, EventKind.RESTARTED)], START + MINUTE)
    (standing,) = outbox.standing("firing")
    said = standing.alert
    assert said.matter.rule == "action"
    assert said.summary == "pump-1: model of pressure@10m restarted"
    assert "began anew, because level of heat rose from 20.1 to 23.4" in said.description
    deliver(outbox, told, START + MINUTE)
    one.take([action(5, last)], START + 5 * MINUTE)
    assert outbox.standing("firing") == []
    deliver(outbox, told, START + 5 * MINUTE)
    assert told.said == [("firing", "pump-1"), ("resolved", "pump-1")]


def test_drift_that_is_only_noted_is_no_alert(outbox: Outbox) -> None:
    """Whatever the rules say; drift of other signals is one."""
    rules = (Rule("moved", When.CHANNEL_DRIFT), Rule("worse", When.DRIFT))
    wanted = {"ops": ("warning",)}
    one = Watch(
        rules, [LANE], outbox, wanted, lambda lane: "", group_wait=0, noted=["noise", "error"]
    )
    error = replace(drift(1).events[0][0], signal="error")
    one.take([moved(1, "noise"), moved(1, "level"), News([(error, "pump-1")], ())], START + MINUTE)
    (standing,) = outbox.standing("firing")
    assert standing.alert.matter.channel == "level of heat"


def test_drift_of_a_channel_has_rules_of_its_own(outbox: Outbox) -> None:
    """Level and noise of a channel are two matters; a way back ends none; tasks are not meant."""
    rules = (Rule("worse", When.DRIFT), Rule("moved", When.CHANNEL_DRIFT, resolve_after=HOUR))
    one, told = watch(outbox, *rules), Told()
    news = [moved(1, "level"), moved(1, "noise"), moved(2, "level", up=False), drift(3)]
    one.take(news, START + 3 * MINUTE)
    fired = {
        (alert.alert.matter.rule, alert.alert.matter.channel) for alert in outbox.standing("firing")
    }
    assert fired == {("moved", "level of heat"), ("moved", "noise of heat"), ("worse", "")}
    said = {
        alert.alert.matter.channel: alert.alert.description for alert in outbox.standing("firing")
    }
    assert said["level of heat"].startswith("level of heat rose from 20.1 to 23.4 since 2")
    one.tick(START + 3 * MINUTE + HOUR)
    assert outbox.standing("firing") == []
    deliver(outbox, told, START + 4 * HOUR)


def new_cluster(minute: float, group: float) -> News:
    """A device came into a cluster where it had not been before."""
    at = START + round(minute * MINUTE)
    return News([(Event(EventKind.NEW_CLUSTER, 0, 0, at, -1, 1.0, group, 3.0), "pump-1")], ())


def test_each_new_cluster_is_an_alert_of_its_own(outbox: Outbox) -> None:
    """No drift of the task's error; once each; over after `resolve_after`; of the rule's tasks."""
    one = watch(
        outbox,
        Rule("worse", When.DRIFT),
        Rule("mode", When.NEW_CLUSTER, tasks=("pressure",), resolve_after=HOUR),
        Rule("other", When.NEW_CLUSTER, tasks=("flow",)),
    )
    told, now = Told(), START + 2 * MINUTE
    one.take([new_cluster(1, 2.0), new_cluster(2, 4.0), new_cluster(1, 2.0)], now)
    deliver(outbox, told, now)
    deliver(outbox, told, now)
    fired = [alert for group in told.groups for alert in group.alerts]
    assert [(alert.matter.rule, alert.matter.channel) for alert in fired] == [
        ("mode", "cluster 2"),
        ("mode", "cluster 4"),
    ]
    assert fired[0].summary == "pump-1 is in a cluster where it had not been before"
    said = "cluster 1 to cluster 2 at 2026-03-01T12:01:00.000000Z. It now knows 3 clusters."
    assert fired[0].description.endswith(said), fired[0].description
    one.tick(now + HOUR)
    assert outbox.standing("firing") == []


def test_what_must_last_fires_only_once_it_has_lasted(outbox: Outbox) -> None:
    """And what was over before says nothing."""
    one, told = watch(outbox, Rule("gone", When.SILENCE, lasting=5 * MINUTE)), Told()
    one.take([quiet_device(0, "a"), quiet_device(0, "b")], START)
    one.take([quiet_device(4, "b", back=True)], START + 4 * MINUTE)
    one.tick(START + 5 * MINUTE - 1)
    assert deliver(outbox, told, START + 5 * MINUTE) == 0
    one.tick(START + 5 * MINUTE)
    deliver(outbox, told, START + 5 * MINUTE)
    assert told.said == [("firing", "a")]


def test_alerts_of_one_rule_go_out_together(outbox: Outbox) -> None:
    """Those that come within `group_wait` of the first; other rules have messages of their own."""
    rules = (Rule("worse", When.DRIFT), Rule("gone", When.SILENCE))
    one, told = watch(outbox, *rules, wait=10 * SECOND), Told()
    one.take([drift(0, f"pump-{k}") for k in range(150)], START)
    one.take([quiet_device(0, "x")], START)
    assert deliver(outbox, told, START + 10 * SECOND - 1) == 0
    assert deliver(outbox, told, START + 10 * SECOND) == 2
    worse, gone = told.groups
    assert (len(worse.alerts), worse.truncated) == (100, 50)
    assert "(and 149 more)" in subject(worse)
    assert [alert.matter.device for alert in gone.alerts] == ["x"]


def test_what_is_over_before_anybody_was_told_is_not_told(outbox: Outbox) -> None:
    """A flicker within `group_wait` wakes nobody."""
    one, told = watch(outbox, Rule("gone", When.SILENCE), wait=10 * SECOND), Told()
    one.take([quiet_device(0, "a")], START)
    one.take([quiet_device(0.1, "a", back=True)], START + SECOND)
    assert deliver(outbox, told, START + HOUR) == 0


def test_a_matter_that_keeps_coming_back_cools_down(outbox: Outbox) -> None:
    """Within `cool_down` it fires unheard; if it still does then, it is told."""
    one, told = watch(outbox, Rule("gone", When.SILENCE, cool_down=HOUR)), Told()
    for minute in (0, 10, 20):
        one.take([quiet_device(minute, "a")], START + minute * MINUTE)
        deliver(outbox, told, START + minute * MINUTE)
        one.tick(START + minute * MINUTE)
        if minute < 20:
            back = quiet_device(minute + 1, "a", back=True)
            one.take([back], START + (minute + 1) * MINUTE)
    deliver(outbox, told, START + 30 * MINUTE)
    assert told.said == [("firing", "a"), ("resolved", "a")]
    assert [one.held for one in outbox.standing("firing")] == ["cool_down"]
    one.tick(START + HOUR)
    deliver(outbox, told, START + HOUR)
    assert told.said == [("firing", "a"), ("resolved", "a"), ("firing", "a")]


def test_silences_hold_alerts_until_they_end(outbox: Outbox) -> None:
    """By patterns of rule and device; what still fires then is told."""
    one, told = watch(outbox, Rule("gone", When.SILENCE)), Told()
    number = outbox.silence("*", "pump-*", START + HOUR, "maintenance")
    one.take([quiet_device(0, "pump-1"), quiet_device(0, "fan-1")], START)
    deliver(outbox, told, START)
    assert told.said == [("firing", "fan-1")]
    held = {one.matter.device: one.held for one in outbox.standing("firing")}
    assert held == {"fan-1": "", "pump-1": f"silence {number}"}
    one.tick(START + HOUR + 1)
    deliver(outbox, told, START + HOUR + 1)
    assert told.said == [("firing", "fan-1"), ("firing", "pump-1")]
    assert outbox.unsilence(number + 1) is False


def test_one_rule_may_speak_for_others(outbox: Outbox) -> None:
    """While a device is silent nobody is told that its predictions were bad."""
    rules = (
        Rule("gone", When.SILENCE, "critical", inhibits=("worse",)),
        Rule("worse", When.DRIFT),
    )
    one, told = watch(outbox, *rules), Told()
    one.take([quiet_device(0, "a")], START)
    one.take([drift(1, "a"), drift(1, "b")], START + MINUTE)
    deliver(outbox, told, START + MINUTE)
    assert told.said == [("firing", "a"), ("firing", "b")]
    assert [group.rule for group in told.groups] == ["gone", "worse"]
    one.take([quiet_device(2, "a", back=True)], START + 2 * MINUTE)
    one.tick(START + 2 * MINUTE)
    deliver(outbox, told, START + 2 * MINUTE)
    assert told.said[2:] == [("resolved", "a"), ("firing", "a")]


def test_scores_fire_while_their_condition_holds(outbox: Outbox) -> None:
    """Of the whole fleet; a number that is not defined yet fulfils nothing."""
    written = "rolling_mae > 2 * persistence_mae and labels >= 100"
    rule = Rule(
        "bad",
        When.SCORE,
        condition=parsed(written, SCORE_COLUMNS),
        text=written,
        lasting=2 * MINUTE,
    )
    one, told = watch(outbox, rule), Told()
    good = {"rolling_mae": 1.0, "persistence_mae": 1.0, "labels": 500.0}
    bad = good | {"rolling_mae": 3.0}
    for minute, numbers in enumerate([{}, good, bad, bad, bad, bad, good]):
        one.take([scores(minute, **numbers)], START + minute * MINUTE)
        one.tick(START + minute * MINUTE)
        deliver(outbox, told, START + minute * MINUTE)
    assert [status for status, _ in told.said] == ["firing", "resolved"]
    first = told.groups[0].alerts[0]
    assert first.starts == START + 2 * MINUTE
    assert "rolling_mae = 3" in first.description


def test_parts_of_the_service_are_watched(outbox: Outbox) -> None:
    """One alert for each part, with what it says is wrong."""
    one, told = watch(outbox, Rule("down", When.SERVICE, "critical")), Told()
    one.parts([("sink influxdb", False, "cannot connect"), ("worker", True, "")], START)
    deliver(outbox, told, START)
    one.parts([("sink influxdb", True, ""), ("worker", True, "")], START + MINUTE)
    deliver(outbox, told, START + MINUTE)
    assert [group.alerts[0].summary for group in told.groups] == ["sink influxdb is not ready"] * 2
    assert "cannot connect" in told.groups[0].alerts[0].description


def test_quiet_hours_let_only_critical_through(outbox: Outbox) -> None:
    """The others are told when the hours end; hours go over midnight."""
    rules = (Rule("gone", When.SILENCE, "critical"), Rule("worse", When.DRIFT, "warning"))
    night = Quiet(time(22), time(6), ZoneInfo("Europe/Berlin"))
    begin = START - START % (24 * HOUR) + 23 * HOUR
    one, told = watch(outbox, *rules), Told()
    one.take([drift(0, "a"), quiet_device(0, "b")], begin)
    deliver(outbox, told, begin, night)
    assert told.said == [("firing", "b")]
    deliver(outbox, told, begin + 6 * HOUR - SECOND, night)
    assert len(told.said) == 1
    deliver(outbox, told, begin + 6 * HOUR, night)
    assert told.said == [("firing", "b"), ("firing", "a")]


def test_a_message_is_tried_until_it_is_taken_with_the_same_key(outbox: Outbox) -> None:
    """What comes meanwhile has a message of its own; what never will be taken is set aside."""
    one = watch(outbox, Rule("gone", When.SILENCE))
    told = Told(NotDelivered("busy"), NotDelivered("slow down", wait=60.0))
    one.take([quiet_device(0, "a")], START)
    assert deliver(outbox, told, START) == 1
    one.take([quiet_device(0, "b")], START)
    assert deliver(outbox, told, START + SECOND - 1) == 1
    assert deliver(outbox, told, START + SECOND) == 1
    assert deliver(outbox, told, START + 61 * SECOND) == 1
    keys = [(group.alerts[0].matter.device, group.key) for group in told.groups]
    assert [device for device, _ in keys] == ["a", "b", "a", "b"]
    assert len(set(keys)) == 2
    assert outbox.counts() == {"delivered": 2}
    one.take([quiet_device(5, "c")], START + 5 * MINUTE)
    deliver(outbox, Told(NotDelivered("no such channel", again=False)), START + 5 * MINUTE)
    assert outbox.counts() == {"delivered": 2, "dead": 1}


def test_all_of_it_survives_in_the_file(tmp_path: Path) -> None:
    """What fires, what is owed and what was tried, when another process goes on."""
    first = Outbox(tmp_path)
    rule = Rule("gone", When.SILENCE, labels={"team": "pumps"}, lasting=MINUTE)
    watch(first, rule).take([quiet_device(0, "a")], START)
    first.close()
    second, told = Outbox(tmp_path), Told()
    watch(second, rule).tick(START + MINUTE)
    second.close()
    third = Outbox(tmp_path)
    deliver(third, told, START + MINUTE)
    third.close()
    alert = told.groups[0].alerts[0]
    assert (alert.labels, alert.starts, alert.severity) == ({"team": "pumps"}, START, "warning")


def test_the_webhook_is_alertmanagers(outbox: Outbox) -> None:
    """Version 4, every key of it, JSON without surprises, and links that open the device."""
    one, told = watch(outbox, Rule("worse", When.DRIFT, labels={"team": "pumps"})), Told()
    one.take([drift(1)], START)
    deliver(outbox, told, START)
    body = webhook(told.groups[0])
    assert json.loads(json.dumps(body)) == body
    (alert,) = body.pop("alerts")
    assert body == {
        "version": "4",
        "groupKey": '{}:{alertname="worse"}',
        "truncatedAlerts": 0,
        "status": "firing",
        "receiver": "ops",
        "groupLabels": {"alertname": "worse"},
        "commonLabels": alert["labels"],
        "commonAnnotations": alert["annotations"],
        "externalURL": "http://gauge",
    }
    assert alert["labels"] == {
        "alertname": "worse",
        "severity": "warning",
        "stream": "test",
        "device": "pump-1",
        "task": "pressure@10m",
        "team": "pumps",
    }
    assert alert["startsAt"] == "2026-03-01T12:01:00.000000Z"
    assert alert["endsAt"] == "0001-01-01T00:00:00Z"
    assert alert["generatorURL"] == "http://gauge/#device=pump-1&task=pressure%4010m"
    said = text(told.groups[0])
    assert "rose from 0.1 to 0.4, 4 times as large, over the last 32 labels" in said
    assert "Look at pressure first" in said


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("mae > 1", True),
        ("mae > 1 and rmse < 1", False),
        ("mae > 1 or rmse < 1", True),
        ("1 < mae <= 2", True),
        ("mae / (rmse - 3) > 0", False),
        ("-mae < 0", True),
        ("r2 < 100", False),
        ("2 * mae - 1 >= 3", True),
    ],
)
def test_conditions(condition: str, expected: bool) -> None:
    """As read; nothing holds of what is not defined, nor of a division by zero."""
    numbers = {"mae": 2.0, "rmse": 3.0, "r2": math.nan}
    assert parsed(condition, ("mae", "rmse", "r2"))(numbers) is expected


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        ("mae >", "is no condition"),
        ("mae", "is no comparison"),
        ("mea > 1", "there are: mae"),
        ("mae > 'x'", "has no place"),
        ("__import__('os').system('x') > 1", "has no place"),
        ("mae ** 999 > 1", "has no place"),
        ("(" * 2_000 + "mae > 1" + ")" * 2_000, "is no condition"),
    ],
)
def test_conditions_that_are_none(condition: str, words: str) -> None:
    """The error says what may be written."""
    with pytest.raises(ValueError, match=words):
        parsed(condition, ("mae",))


def test_alerts_have_a_fingerprint_of_their_matter() -> None:
    """Alike in every process, whatever was said."""
    first, again = Matter("worse", "a", "pressure@10m"), Matter("worse", "a", "pressure@10m")
    assert first.fingerprint == again.fingerprint == "aa9e2856ca0a98b5"
    assert first.fingerprint != Matter("worse", "b", "pressure@10m").fingerprint
