"""`streamgauge quarantine`: what was refused, on a stopped and on a running service."""

import argparse
import json
import sqlite3
import sys
from collections.abc import Callable, Mapping
from contextlib import nullcontext

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ingest.quarantine_file import (
    FILE,
    QuarantineDamaged,
    Wanted,
    connected,
    counts,
    find,
    records,
    request,
)
from ingest.times import instant, zone_named
from serving.api.quarantine import shown
from stream_processor.quarantine.rules import rule
from stream_processor.settings import load
from stream_processor.settings.model import Settings
from stream_processor.settings.problems import Problems
from streamgauge.durations import microseconds
from streamgauge.instants import iso

__all__ = ["quarantine"]

PAGE = 1_000


def quarantine(chosen: argparse.Namespace, env: Mapping[str, str], clock: Callable[[], int]) -> int:
    """Do what the command line says; the exit code."""
    try:
        settings = load(chosen.pipeline, env, for_replay=True)
        path = settings.state.dir / FILE
        if not path.exists():
            raise ValueError(f"{path} is not there: nothing was refused since the service runs")
        with connected(path) as file:
            return _ACTIONS[chosen.action](chosen, settings, file, clock())
    except (Problems, QuarantineDamaged, ValueError, OSError, sqlite3.Error) as wrong:
        print(wrong, file=sys.stderr)
        return 2


def _list(
    chosen: argparse.Namespace, settings: Settings, file: sqlite3.Connection, now: int
) -> int:
    wanted = _wanted(chosen, now)
    console = Console(width=None if sys.stdout.isatty() else 160)
    by_reason = counts(file, wanted)
    total = ", ".join(f"{n:,} {reason}" for reason, n in by_reason.items()) or "nothing"
    console.print(f"kept: {total}", highlight=False, markup=False)
    grid = Table(box=None)
    for heading in ("number", "received", "device", "reason", "detail", "replayed"):
        grid.add_column(heading, no_wrap=heading != "detail", justify="left")
    for one in find(file, wanted, before=None, limit=chosen.limit):
        waits = "at the next start" if one.requested else ""
        done = iso(one.replayed) if one.replayed else waits
        cells = (str(one.number), iso(one.received), one.device, one.reason, one.detail, done)
        grid.add_row(*map(Text, cells))
    if by_reason:
        console.print(grid)
    return 0


def _show(
    chosen: argparse.Namespace, settings: Settings, file: sqlite3.Connection, now: int
) -> int:
    found = records(file, [chosen.number])
    if not found:
        raise ValueError(f"there is no record {chosen.number}; `quarantine list` shows those")
    print(json.dumps(shown(found[0]), indent=2, default=str))
    return 0


def _export(
    chosen: argparse.Namespace, settings: Settings, file: sqlite3.Connection, now: int
) -> int:
    wanted, before = _wanted(chosen, now), None
    target = chosen.output.open("w", encoding="utf-8") if chosen.output else nullcontext(sys.stdout)
    with target as out:
        while found := find(file, wanted, before=before, limit=PAGE):
            for record in found:
                whole = {"payload_base64": record.content} if record.payload else {}
                print(json.dumps(shown(record) | whole), file=out)
            before = found[-1].number
    return 0


def _replay(
    chosen: argparse.Namespace, settings: Settings, file: sqlite3.Connection, now: int
) -> int:
    sources = settings.source_names

    def ready(reason: str, channel: str, before: str, source: str) -> bool:
        there = not source or source in sources
        return there and (not before or before != rule(settings, reason, channel))

    sent, left = request(file, _wanted(chosen, now), now, ready=ready, dry=chosen.dry_run)
    for reason, n in sorted(left.items()):
        print(f"{n:,} {reason}: left, for their rule is as it was or their source is gone")
    for reason, n in sorted(sent.items()):
        print(f"{n:,} {reason}: {'could be' if chosen.dry_run else 'will be'} sent again")
    if chosen.dry_run:
        print("nothing was changed")
    elif sent:
        print("they are sent again when the service starts next, before anything new is read")
    else:
        print("nothing to send again")
    return 0


_ACTIONS = {"list": _list, "show": _show, "export": _export, "replay": _replay}


def _wanted(chosen: argparse.Namespace, now: int) -> Wanted:
    return Wanted(
        chosen.reason,
        chosen.device,
        chosen.channel,
        _moment("--since", chosen.since, now),
        _moment("--until", chosen.until, now),
    )


def _moment(option: str, text: str | None, now: int) -> int | None:
    """A time, or a duration before now; ValueError where it is neither."""
    if text is None:
        return None
    found = instant(text, zone_named("UTC"))
    if found is None:
        try:
            found = now - microseconds(text.removesuffix("ago").strip())
        except ValueError:
            raise ValueError(
                f"{option} {text}: neither a time nor a duration; write 2026-03-01T12:00Z or 2h"
            ) from None
    return found
