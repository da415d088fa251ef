"""Alerts of a configuration: built for a service, and for the commands that test and silence."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TextIO
from zoneinfo import ZoneInfo

from monitoring.alerts.alerts import Alerts
from monitoring.alerts.condition import parsed
from monitoring.alerts.outbox import FILE, Outbox
from monitoring.alerts.payload import Group
from monitoring.alerts.postman import Quiet
from monitoring.alerts.receiver import NotDelivered, Receiver
from monitoring.alerts.rule import Alert, Matter, Rule, When
from serving.check import print_problems
from stream_processor.settings import Problems, Settings, load
from stream_processor.settings.alerts import RuleSettings, quiet_hours
from streamgauge.instants import iso
from streamgauge.output import SCORE_COLUMNS
from streamgauge.plugins import load as plugin
from streamgauge.schedule import Lane

__all__ = ["alerts_of", "silence", "silences", "test", "unsilence"]

WRONG = 2
"""Exit code where the configuration cannot be used."""


def _rule(name: str, given: RuleSettings) -> Rule:
    return Rule(
        name,
        When(given.when),
        given.severity,
        given.devices,
        given.tasks,
        parsed(given.condition, SCORE_COLUMNS) if given.condition else None,
        given.condition,
        given.lasting,
        given.resolve_after,
        given.cool_down or 0,
        given.labels,
        given.inhibits,
    )


def _receivers(settings: Settings) -> dict[str, Receiver]:
    return {
        name: plugin("monitoring.receivers", one.use).open(**one.options)
        for name, one in settings.alerts.receivers.items()
    }


def alerts_of(settings: Settings, lanes: Sequence[Lane], clock: Callable[[], int]) -> Alerts | None:
    """The alerts of a service; None where it has no rules."""
    given = settings.alerts
    if not given.rules:
        return None
    names = list(settings.channels)
    hours = quiet_hours(given.quiet)
    return Alerts(
        [_rule(name, rule) for name, rule in given.rules.items()],
        {
            name: (receiver, given.receivers[name].severities)
            for name, receiver in _receivers(settings).items()
        },
        lanes,
        settings.state.dir,
        clock,
        stream=settings.stream.name,
        url=given.url,
        group_wait=given.group_wait,
        quiet=Quiet(*hours, ZoneInfo(settings.devices.timezone)) if hours else None,
        target=lambda lane: names[lane.target] if lane.target >= 0 else "",
        noted=[key for key, one in settings.drift.actions.items() if one.use == "note"],
    )


def test(
    path: Path, env: Mapping[str, str], only: str, clock: Callable[[], int], out: TextIO
) -> int:
    """Send a test alert to every receiver, or to one; 0 where all took it."""
    settings = _loaded(path, env, out)
    if settings is None:
        return WRONG
    receivers = _receivers(settings)
    if only and only not in receivers:
        there = ", ".join(receivers) or "none"
        out.write(f"no receiver named {only!r} in {path}; there are: {there}\n")
        return WRONG
    if not receivers:
        out.write(f"no [alerts.receivers.NAME] in {path}; add one, and test it again\n")
        return WRONG
    failed = 0
    for name, receiver in receivers.items():
        if only in ("", name):
            said = _told(settings, name, receiver, clock())
            failed += said != "delivered"
            out.write(f"{name}: {said}\n")
        receiver.close()
    return 1 if failed else 0


def _told(settings: Settings, name: str, receiver: Receiver, now: int) -> str:
    alert = Alert(
        Matter("test"),
        "info",
        {},
        f"{settings.stream.name}: this is a test",
        "Alerts of this stream reach you. Nothing happened.",
        now,
    )
    key = f"{settings.stream.name}.{name}.test.{now}"
    try:
        receiver(Group(settings.stream.name, "test", name, [alert], settings.alerts.url, 0, key))
    except NotDelivered as refused:
        return f"not delivered: {refused}"
    return "delivered"


def silence(
    path: Path,
    env: Mapping[str, str],
    rule: str,
    device: str,
    lasting: int,
    comment: str,
    clock: Callable[[], int],
    out: TextIO,
) -> int:
    """Tell nobody of what fits, for this long (microseconds); also while the service runs."""
    outbox = _outbox(path, env, out)
    if outbox is None:
        return WRONG
    until = clock() + lasting
    number = outbox.silence(rule, device, until, comment)
    outbox.close()
    out.write(f"silence {number}: rule {rule}, device {device}, until {iso(until)}\n")
    return 0


def unsilence(path: Path, env: Mapping[str, str], number: int, out: TextIO) -> int:
    """End a silence before its time."""
    outbox = _outbox(path, env, out)
    if outbox is None:
        return WRONG
    there = outbox.unsilence(number)
    outbox.close()
    out.write(f"silence {number} {'is over' if there else 'does not exist'}\n")
    return 0 if there else 1


def silences(path: Path, env: Mapping[str, str], clock: Callable[[], int], out: TextIO) -> int:
    """Print what fires, and what is silenced."""
    outbox = _outbox(path, env, out)
    if outbox is None:
        return WRONG
    for one in outbox.standing("firing"):
        held = f" (not told: {one.held})" if one.held else ""
        out.write(
            f"{one.alert.severity}: {one.alert.summary}, since {iso(one.alert.starts)}{held}\n"
        )
    for number, rule, device, until, comment in outbox.silences(clock()):
        said = f": {comment}" if comment else ""
        out.write(f"silence {number}: rule {rule}, device {device}, until {iso(until)}{said}\n")
    outbox.close()
    return 0


def _loaded(path: Path, env: Mapping[str, str], out: TextIO) -> Settings | None:
    try:
        return load(path, env)
    except Problems as found:
        print_problems(path, found.problems, out)
        return None


def _outbox(path: Path, env: Mapping[str, str], out: TextIO) -> Outbox | None:
    settings = _loaded(path, env, out)
    if settings is None:
        return None
    if not (settings.state.dir / FILE).exists():
        out.write(f"{settings.state.dir / FILE} is missing: no service with [alerts] ran yet\n")
        return None
    return Outbox(settings.state.dir)
