"""Decides what is an alert: results in, matters and messages into the outbox."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from monitoring.alerts import words
from monitoring.alerts.outbox import Outbox, Standing, over
from monitoring.alerts.rule import Alert, Matter, Rule, When, matches
from streamgauge.events import ACTIONS, DRIFTS, Event, EventKind
from streamgauge.output import SCORE_COLUMNS, Scores
from streamgauge.schedule import Lane

__all__ = ["News", "Watch"]

REMEMBERED = 7 * 86_400 * 10**6
"""Microseconds for which what is settled is known: longer than a journal reaches back."""
TOLD_ONCE = (When.DRIFT, When.CHANNEL_DRIFT, When.NEW_CLUSTER, When.ANOMALY, When.ACTION)
"""Of these nobody may say when they are over."""

SETTLED = (EventKind.EFFECT, EventKind.KEPT)
"""After these nothing of an action is to come."""


def _begins(event: Event, noted: Collection[str]) -> When | None:
    """Of which kind of matter the event is the beginning; drift of the signals `noted` is none."""
    if event.kind in DRIFTS and event.signal in noted:
        return None
    if event.kind in ACTIONS and event.kind not in SETTLED:
        return When.ACTION
    if event.kind in DRIFTS and event.lane < 0:
        return When.CHANNEL_DRIFT
    if event.kind is EventKind.DRIFT_UP:
        return When.DRIFT
    if event.kind is EventKind.NEW_CLUSTER:
        return When.NEW_CLUSTER
    if event.kind is EventKind.ANOMALY:
        return When.ANOMALY
    return When.SILENCE if event.kind is EventKind.SILENT else None


def _ends(event: Event) -> When | None:
    """Of which kind of matter the event is the end."""
    if event.kind in SETTLED:
        return When.ACTION
    if event.kind is EventKind.DRIFT_DOWN and event.lane >= 0:
        return When.DRIFT
    over = (EventKind.RETURNED, EventKind.EVICTED)
    return When.SILENCE if event.kind in over else None


def _of(event: Event) -> str:
    """The channel that an event is about, of a drift with what drifted; or the new cluster. An
    anomaly is of the device, whatever its cause, and an action of its model."""
    if event.kind is EventKind.NEW_CLUSTER:
        return f"cluster {event.after:.0f}"
    if event.kind is EventKind.ANOMALY or event.kind in ACTIONS:
        return ""
    drifted = event.kind in DRIFTS and event.channel
    return f"{event.signal} of {event.channel}" if drifted else event.channel


@dataclass(frozen=True, slots=True)
class News:
    """What one output says: events with their device, and scores over all devices."""

    events: Sequence[tuple[Event, str]]
    scores: Sequence[Scores]


class Watch:
    """The rules of a stream. Times are microseconds: `now` of our clock, events of theirs.

    `receivers` are names and the severities that each wants; `target(lane)` is the channel that a
    task predicts; of drift of the signals `noted` there are no alerts.
    """

    def __init__(
        self,
        rules: Sequence[Rule],
        lanes: Sequence[Lane],
        outbox: Outbox,
        receivers: Mapping[str, Sequence[str]],
        target: Callable[[Lane], str],
        *,
        group_wait: int,
        noted: Collection[str] = (),
    ) -> None:
        self._noted = noted
        self._rules, self._lanes, self._outbox = rules, lanes, outbox
        self._by_name = {rule.name: rule for rule in rules}
        self._receivers, self._target, self._wait = receivers, target, group_wait

    def take(self, news: Sequence[News], now: int) -> None:
        """Decide what results mean. What was taken before, as after a restart, changes nothing."""
        for one in news:
            for event, device in one.events:
                if self._outbox.is_new(self._name(event, device), now):
                    self._event(event, device, now)
            for scores in one.scores:
                self._scores(scores, now)

    def _name(self, event: Event, device: str) -> str:
        lane = self._lanes[event.lane].name if event.lane >= 0 else ""
        return "\0".join((event.kind.name, device, lane, _of(event), str(event.time)))

    def _event(self, event: Event, device: str, now: int) -> None:
        lane = self._lanes[event.lane] if event.lane >= 0 else None
        task = lane.name if lane else ""
        for rule in self._rules:
            fits = matches(rule.devices, device) and (not lane or matches(rule.tasks, lane.task))
            if not fits:
                continue
            matter = Matter(rule.name, device, task, _of(event))
            if _begins(event, self._noted) is rule.when:
                self._is_so(rule, matter, self._said(event, device, lane), event.time, now)
            elif _ends(event) is rule.when:
                self._is_over(matter, event.time, now)

    def _said(self, event: Event, device: str, lane: Lane | None) -> tuple[str, str]:
        if lane is not None and event.kind is EventKind.NEW_CLUSTER:
            return words.of_new_cluster(event, device, lane)
        if lane is not None and event.kind is EventKind.ANOMALY:
            return words.of_anomaly(event, device, lane)
        if lane is not None and event.kind in ACTIONS:
            return words.of_action(event, device, lane)
        if lane is not None:
            return words.of_drift(event, device, lane, self._target(lane))
        if event.kind in DRIFTS:
            return words.of_channel_drift(event, device)
        return words.of_silence(event, device)

    def _scores(self, scores: Scores, now: int) -> None:
        for place, row in enumerate(scores.row.tolist()):
            if row >= 0:
                continue
            lane = self._lanes[int(scores.lane[place])]
            numbers = dict(zip(SCORE_COLUMNS, scores.numbers[place].tolist(), strict=True))
            for rule in self._rules:
                if rule.when is not When.SCORE or not matches(rule.tasks, lane.task):
                    continue
                matter = Matter(rule.name, task=lane.name)
                if rule.condition and rule.condition(numbers):
                    since = self._since(matter, scores.time)
                    said = words.of_score(rule, lane, numbers, since)
                    self._is_so(rule, matter, said, since, now)
                else:
                    self._is_over(matter, scores.time, now)

    def parts(self, parts: Sequence[tuple[str, bool, str]], now: int) -> None:
        """Name, whether it is ready, and why not, of every part of the service."""
        for rule in self._rules:
            if rule.when is When.SERVICE:
                for name, ok, why in parts:
                    matter = Matter(rule.name, channel=name)
                    if ok:
                        self._is_over(matter, now, now)
                    else:
                        since = self._since(matter, now)
                        said = words.of_service(name, why, since)
                        self._is_so(rule, matter, said, since, now)

    def _since(self, matter: Matter, now: int) -> int:
        found = self._outbox.of(matter)
        return found.alert.starts if found and found.state != "over" else now

    def _is_so(
        self, rule: Rule, matter: Matter, said: tuple[str, str], starts: int, now: int
    ) -> None:
        """The matter is as the rule says: begin to wait, or note that it still is."""
        found = self._outbox.of(matter)
        if found is not None and found.state != "over":
            if rule.when in TOLD_ONCE:
                self._outbox.put(replace(found, seen=now))
            return
        alert = Alert(matter, rule.severity, rule.labels, *said, starts)
        told = found.told if found is not None else 0
        standing = Standing(matter, "pending", now, now, told, False, "", alert)
        self._outbox.put(standing)
        if not rule.lasting:
            self._fire(rule, standing, now)

    def _is_over(self, matter: Matter, ends: int, now: int) -> None:
        found = self._outbox.of(matter)
        if found is None or found.state == "over":
            return
        ended = over(found, now, max(ends, found.alert.starts + 1))
        if found.notified and self._outbox.take_back(matter):
            ended = replace(ended, told=0)
        elif found.notified:
            self._owe(ended.alert, now)
        self._outbox.put(ended)

    def tick(self, now: int) -> None:
        """Time went by: what has lasted long enough fires, what was held may be told, what was not
        seen again is over."""
        for standing in self._outbox.standing("pending", "firing"):
            rule = self._by_name.get(standing.matter.rule)
            if rule is None:
                self._is_over(standing.matter, now, now)
            elif standing.state == "pending" and now - standing.since >= rule.lasting:
                self._fire(rule, standing, now)
            elif standing.state == "firing":
                lost = rule.when in TOLD_ONCE and now - standing.seen >= rule.resolve_after
                if lost:
                    self._is_over(standing.matter, now, now)
                elif not standing.notified:
                    self._fire(rule, standing, now)
        self._outbox.forget(now - REMEMBERED)

    def _fire(self, rule: Rule, standing: Standing, now: int) -> None:
        held = next(self._reasons(rule, standing, now), "")
        if held:
            if (standing.state, standing.held) != ("firing", held):
                self._outbox.put(replace(standing, state="firing", held=held))
            return
        self._owe(standing.alert, now)
        told = replace(standing, state="firing", told=now, notified=True, held="")
        self._outbox.put(told)

    def _reasons(self, rule: Rule, standing: Standing, now: int) -> Iterator[str]:
        """Why nobody is told of it now."""
        matter = standing.matter
        for number, of_rule, of_device, _, _ in self._outbox.silences(now):
            if matches((of_rule,), matter.rule) and matches((of_device,), matter.device):
                yield f"silence {number}"
        if standing.told and now - standing.told < rule.cool_down:
            yield "cool_down"
        for other in self._outbox.standing("firing"):
            theirs = self._by_name.get(other.matter.rule)
            same = other.matter.device in ("", matter.device)
            if theirs and same and matter.rule in theirs.inhibits:
                yield f"inhibited by {theirs.name}"

    def _owe(self, alert: Alert, now: int) -> None:
        for receiver, severities in self._receivers.items():
            if alert.severity in severities:
                self._outbox.owe(receiver, alert, now + self._wait)
