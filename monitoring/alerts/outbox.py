"""What alerts there are and which messages are owed, in one SQLite file that survives a kill.

What was decided and what is to be sent is written in one transaction, so nothing is told twice and
nothing forgotten: a message can come twice only where the process dies between the receiver's
answer and the note that it was delivered; then both have the same key.
"""

import json
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from monitoring.alerts.rule import Alert, Matter

__all__ = ["FILE", "Outbox", "Owed", "Standing"]

FILE = "alerts.sqlite"
SCHEMA = """
create table if not exists matters (
  fingerprint text primary key, rule text, device text, task text, channel text,
  state text, since integer, seen integer, told integer, notified integer, held text, alert text
);
create table if not exists events (event text primary key, at integer);
create table if not exists messages (
  id integer primary key, receiver text, rule text, fingerprint text, alert text,
  due integer, lot integer, tries integer, why text, state text, at integer
);
create index if not exists waiting on messages (state, receiver, due);
create table if not exists silences (
  id integer primary key, rule text, device text, until integer, comment text
);
"""
MOST = 100
"""Alerts in one message."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How a matter stands. Times are microseconds of our clock."""

    matter: Matter
    state: str
    """"pending", "firing" or "over"."""
    since: int
    """Since when it has been so."""
    seen: int
    """When it was last said to be so."""
    told: int
    """When a message that it fires was last put into the outbox; 0 = never."""
    notified: bool
    """Whether receivers think that it fires."""
    held: str
    """Why nobody is told although it fires; "" where somebody is."""
    alert: Alert


@dataclass(frozen=True, slots=True)
class Owed:
    """Messages of one rule that go to a receiver together, and how often that was tried."""

    lot: int
    rule: str
    alerts: Sequence[Alert]
    tries: int
    truncated: int


def _packed(alert: Alert) -> str:
    return json.dumps(
        [
            alert.severity,
            dict(alert.labels),
            alert.summary,
            alert.description,
            alert.starts,
            alert.ends,
        ]
    )


def _unpacked(matter: Matter, text: str) -> Alert:
    return Alert(matter, *json.loads(text))


class Outbox:
    """The file; every method may be called from any thread."""

    def __init__(self, folder: Path) -> None:
        self._lock = threading.RLock()
        self._file = sqlite3.connect(
            folder / FILE, check_same_thread=False, isolation_level=None, timeout=10.0
        )
        for line in ("pragma journal_mode = wal", "pragma synchronous = full"):
            self._file.execute(line)
        self._file.executescript(SCHEMA)

    def close(self) -> None:
        with self._lock:
            self._file.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing of what is done inside."""
        with self._lock:
            self._file.execute("begin immediate")
            try:
                yield
            except BaseException:
                self._file.execute("rollback")
                raise
            self._file.execute("commit")

    def _rows(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        with self._lock:
            return self._file.execute(sql, values).fetchall()

    def is_new(self, event: str, now: int) -> bool:
        """Note an event; False where it was noted before."""
        found = self._rows("insert or ignore into events values (?, ?) returning event", event, now)
        return bool(found)

    def standing(self, *states: str) -> list[Standing]:
        """All matters in these states, oldest first."""
        found = self._rows(
            "select rule, device, task, channel, state, since, seen, told, notified, held, alert "
            "from matters where state in (select value from json_each(?)) "
            "order by since, fingerprint",
            json.dumps(states),
        )
        return [_standing(row) for row in found]

    def of(self, matter: Matter) -> Standing | None:
        """How a matter stands; None where it was never heard of."""
        found = self._rows(
            "select rule, device, task, channel, state, since, seen, told, notified, held, alert "
            "from matters where fingerprint = ?",
            matter.fingerprint,
        )
        return _standing(found[0]) if found else None

    def put(self, standing: Standing) -> None:
        """Write how a matter stands."""
        matter = standing.matter
        self._rows(
            "insert or replace into matters values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            matter.fingerprint,
            *(matter.rule, matter.device, matter.task, matter.channel),
            *(standing.state, standing.since, standing.seen, standing.told),
            *(int(standing.notified), standing.held, _packed(standing.alert)),
        )

    def owe(self, receiver: str, alert: Alert, due: int) -> None:
        """A message to a receiver, due at that time."""
        matter = alert.matter
        self._rows(
            "insert into messages (receiver, rule, fingerprint, alert, due, tries, state) "
            "values (?, ?, ?, ?, ?, 0, 'waiting')",
            *(receiver, matter.rule, matter.fingerprint, _packed(alert), due),
        )

    def take_back(self, matter: Matter) -> bool:
        """Forget messages about a matter that nobody has been told yet; whether there were some and
        none is under way or delivered."""
        tried = self._rows(
            "select 1 from messages where fingerprint = ? and state = 'waiting' and tries > 0",
            matter.fingerprint,
        )
        gone = self._rows(
            "delete from messages where fingerprint = ? and state = 'waiting' and tries = 0 "
            "and lot is null returning id",
            matter.fingerprint,
        )
        return bool(gone) and not tried

    def owed(self, receiver: str, now: int, *, only: Sequence[str] = ()) -> Owed | None:
        """What a receiver is to be told next: the lot that is due, or all that waits of the rule
        whose message is. `only` names severities where the others have to wait."""
        with self.transaction():
            found = self._rows(
                "select m.id, m.lot, m.rule, m.alert from messages m where m.state = 'waiting' "
                "and m.receiver = ? and m.due <= ? order by m.id",
                *(receiver, now),
            )
            for first, lot, rule, alert in found:
                if only and json.loads(alert)[0] not in only:
                    continue
                if lot is None:
                    self._rows(
                        "update messages set lot = ? where state = 'waiting' and receiver = ? "
                        "and rule = ? and lot is null",
                        *(first, receiver, rule),
                    )
                return self._lot(receiver, first if lot is None else lot)
        return None

    def _lot(self, receiver: str, lot: int) -> Owed:
        found = self._rows(
            "select m.alert, m.tries, t.rule, t.device, t.task, t.channel from messages m "
            "join matters t using (fingerprint) where m.lot = ? and m.receiver = ? order by m.id",
            *(lot, receiver),
        )
        newest = {row[2:]: (_unpacked(Matter(*row[2:]), row[0]), row[1]) for row in found}
        alerts = [alert for alert, _ in newest.values()]
        tries = max(tries for _, tries in newest.values())
        return Owed(lot, found[0][2], alerts[:MOST], tries, max(0, len(alerts) - MOST))

    def delivered(self, receiver: str, lot: int, now: int) -> None:
        """The receiver has it."""
        self._rows(
            "update messages set state = 'delivered', at = ?, why = '' "
            "where lot = ? and receiver = ?",
            *(now, lot, receiver),
        )

    def put_off(self, receiver: str, lot: int, why: str, due: int) -> None:
        """The receiver did not take it; another try at that time."""
        self._rows(
            "update messages set tries = tries + 1, why = ?, due = ? where lot = ? "
            "and receiver = ? and state = 'waiting'",
            *(why, due, lot, receiver),
        )

    def give_up(self, receiver: str, lot: int, why: str, now: int) -> None:
        """The receiver never will take it."""
        self._rows(
            "update messages set state = 'dead', why = ?, at = ? where lot = ? and receiver = ?",
            *(why, now, lot, receiver),
        )

    def counts(self) -> dict[str, int]:
        """Messages by state."""
        found = self._rows("select state, count(*) from messages group by state")
        return {str(state): int(count) for state, count in found}

    def silence(self, rule: str, device: str, until: int, comment: str) -> int:
        """Say nothing of what fits these patterns until then; the number of the silence."""
        found = self._rows(
            "insert into silences (rule, device, until, comment) values (?, ?, ?, ?) returning id",
            *(rule, device, until, comment),
        )
        return int(found[0][0])

    def silences(self, now: int) -> list[tuple[int, str, str, int, str]]:
        """Number, rule, device, end and comment of those that hold now."""
        found = self._rows(
            "select id, rule, device, until, comment from silences where until > ? order by id", now
        )
        return [(int(a), str(b), str(c), int(d), str(e)) for a, b, c, d, e in found]

    def unsilence(self, number: int) -> bool:
        """End a silence; False where there is none of that number."""
        return bool(self._rows("delete from silences where id = ? returning id", number))

    def forget(self, before: int) -> None:
        """Drop what was settled before that time."""
        self._rows("delete from events where at < ?", before)
        self._rows("delete from silences where until < ?", before)
        self._rows("delete from messages where state != 'waiting' and at < ?", before)
        self._rows(
            "delete from matters where state = 'over' and seen < ? "
            "and fingerprint not in (select fingerprint from messages)",
            before,
        )


def _standing(row: tuple[Any, ...]) -> Standing:
    matter = Matter(*row[:4])
    state, since, seen, told, notified, held, alert = row[4:]
    return Standing(
        matter, state, since, seen, told, bool(notified), held, _unpacked(matter, alert)
    )


def over(standing: Standing, now: int, ends: int) -> Standing:
    """The same matter, over."""
    ended = replace(standing.alert, ends=ends)
    return replace(standing, state="over", seen=now, notified=False, held="", alert=ended)
