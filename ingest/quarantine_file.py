"""The file of the quarantine: what was refused, as it was sent, with the reason; SQLite.

`quarantine.db` in the state folder. A running service writes it while a command reads it, which is
why it is not a part of the history: DuckDB lets one process have a file. Times are microseconds
UTC.
"""

import sqlite3
from base64 import b64decode
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec.structs import astuple

__all__ = [
    "FILE", "MESSAGE", "READING", "Kept", "QuarantineDamaged", "Record", "Wanted",
    "connected", "counts", "find", "insert", "mark", "records", "request", "waiting",
]  # fmt: skip

FILE = "quarantine.db"
FORMAT = 1
PATIENCE = 10.0
"""Seconds that one process waits for another's transaction."""
MESSAGE, READING = "message", "reading"


class QuarantineDamaged(ValueError):
    """The file cannot be read: damaged, of a newer format, or no quarantine at all."""


class Kept(msgspec.Struct, array_like=True, gc=False):
    """One message, reading or value to be kept; the columns of the file in their order."""

    place: int
    """Position in the journal behind the delivery that it came with."""
    kind: str
    """MESSAGE: what no codec could make a reading of. READING: values of one device."""
    part: int
    """Its number within the delivery: with place and kind the same thing after a restart."""
    received: int
    time: int | None
    """Event time; None where it is not known."""
    device: str
    channel: str
    """The channel at fault; "" where it is the reading or message as a whole."""
    reason: str
    detail: str
    rule: str
    """The setting that refused it, as it then was; "" where none did."""
    source: str
    topic: str
    content: str | None
    """A message's payload in base64, None where it was too long to keep; values as JSON."""
    flags: str
    """Names of the flags by channel, as JSON; "" where there is none."""
    key: str = ""
    headers: str = ""
    stamp: int | None = None


_COLUMNS = Kept.__struct_fields__
_TABLE = f"""
create table if not exists kept(
    number integer primary key autoincrement, {", ".join(_COLUMNS)},
    kept integer, requested integer, replayed integer, unique(place, kind, part))
"""
TOGETHER = 100
"""Rows of a statement: SQLite lets other threads go on for as long as one takes, and hands the
interpreter back and forth for each."""


def insert(file: sqlite3.Connection, rows: Sequence[Kept], now: int) -> None:
    """Add rows within a transaction; those that are there already stay as they are."""
    for start in range(0, len(rows), TOGETHER):
        part = rows[start : start + TOGETHER]
        file.execute(_insert(len(part)), [v for row in part for v in (*astuple(row), now)])


@cache
def _insert(n: int) -> str:
    row = f"({', '.join('?' * (len(_COLUMNS) + 1))})"
    names = ", ".join((*_COLUMNS, "kept"))
    return _statement("insert or ignore into kept", f"({names})", "values", ", ".join([row] * n))


def _statement(*parts: str) -> str:
    """A statement of constants. What is asked for is never a part of it, but bound to it."""
    return " ".join(parts)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which records; None = any. Times are when they were received, microseconds UTC."""

    reason: str | None = None
    device: str | None = None
    channel: str | None = None
    since: int | None = None
    until: int | None = None
    replayed: bool | None = None


@dataclass(frozen=True, slots=True)
class Record:
    """One record as it stands in the file."""

    number: int
    kind: str
    received: int
    time: int | None
    device: str
    channel: str
    reason: str
    detail: str
    rule: str
    source: str
    topic: str
    content: str | None
    flags: str
    key: str
    headers: str
    stamp: int | None
    kept: int
    requested: int | None
    """When a replay was asked for that is still to come."""
    replayed: int | None
    place: int | None

    @property
    def payload(self) -> bytes:
        """The message as it came; b"" of a reading, and where it was too long to keep."""
        return b64decode(self.content or "") if self.kind == MESSAGE else b""

    @property
    def values(self) -> dict[str, Any]:
        """Values by channel as they were sent; empty of a message."""
        return {} if self.kind == MESSAGE else dict(msgspec.json.decode(self.content or "{}"))

    @property
    def flagged(self) -> dict[str, list[str]]:
        """What cleaning did, by channel."""
        return dict(msgspec.json.decode(self.flags or "{}"))


Moment = Literal["requested", "replayed"]
_NUMBERED = "and number in (select value from json_each(?))"
_SELECTED = _statement("select", ", ".join(Record.__dataclass_fields__), "from kept")
_FITS = """
(:reason is null or reason = :reason) and (:device is null or device = :device)
and (:channel is null or channel = :channel) and (:since is null or received >= :since)
and (:until is null or received < :until)
and (:replayed is null or (replayed is not null) = :replayed)
"""


@contextmanager
def connected(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection to the file, which is made where there is none; closed behind the block.
    QuarantineDamaged where it is none, or not of this version."""
    connection = sqlite3.connect(
        path, timeout=PATIENCE, isolation_level=None, check_same_thread=False
    )
    try:
        _prepare(connection, path)
        yield connection
    finally:
        connection.close()


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    try:
        [(found,)] = connection.execute("pragma user_version").fetchall()
        if found not in (0, FORMAT):
            raise QuarantineDamaged(
                f"{path} has format {found}, this program writes {FORMAT}; run the version that "
                "wrote it, or move it away: a new quarantine is begun"
            )
        # A reader and the writer do not wait for each other; a commit is on the disk.
        connection.execute("pragma journal_mode = wal").fetchall()
        connection.execute("pragma synchronous = full")
        if not found:
            connection.execute(_TABLE)
            connection.execute(f"pragma user_version = {FORMAT}")
    except sqlite3.DatabaseError as refused:
        if isinstance(refused, sqlite3.OperationalError):
            raise OSError(f"{path}: {refused}") from None
        raise QuarantineDamaged(
            f"{path} cannot be read as a quarantine ({refused}); restore it from a backup, or move "
            "it away: a new one is begun, and nothing but past refusals is lost"
        ) from None


def counts(connection: sqlite3.Connection, wanted: Wanted) -> dict[str, int]:
    """How many there are of each reason, the most frequent first."""
    counted = "group by 1 order by 2 desc, 1"
    asked = _statement("select reason, count(*) from kept where", _FITS, counted)
    return dict(connection.execute(asked, asdict(wanted)).fetchall())


def find(
    connection: sqlite3.Connection, wanted: Wanted, *, before: int | None, limit: int
) -> list[Record]:
    """The newest records, those with a number below `before`."""
    newest = "and (:before is null or number < :before) order by number desc limit :limit"
    asked = _statement(_SELECTED, "where", _FITS, newest)
    given = asdict(wanted) | {"before": before, "limit": limit}
    return [Record(*row) for row in connection.execute(asked, given).fetchall()]


def records(connection: sqlite3.Connection, numbers: Sequence[int]) -> list[Record]:
    """The records with these numbers, in this order; those that are gone are left out."""
    asked = _statement(_SELECTED, "where number in (select value from json_each(?))")
    rows = connection.execute(asked, [msgspec.json.encode(numbers).decode()]).fetchall()
    found = {row[0]: Record(*row) for row in rows}
    return [found[number] for number in numbers if number in found]


def request(
    connection: sqlite3.Connection,
    wanted: Wanted,
    now: int,
    *,
    ready: Callable[[str, str, str, str], bool],
    dry: bool,
) -> tuple[dict[str, int], dict[str, int]]:
    """Ask for a replay of what was not replayed yet; how many by reason, and how many were left.

    `ready` says by reason, channel, rule and source whether one may be.
    """
    columns = "number, reason, channel, rule, source, content is null"
    new = "and replayed is null and requested is null order by number"
    asked = _statement("select", columns, "from kept where", _FITS, new)
    chosen: list[int] = []
    found: tuple[dict[str, int], dict[str, int]] = ({}, {})
    connection.execute("begin immediate")
    rows = connection.execute(asked, asdict(wanted)).fetchall()
    for number, reason, channel, rule, source, nothing in rows:
        fits = not nothing and ready(reason, channel, rule, source)
        counted = found[0 if fits else 1]
        counted[reason] = counted.get(reason, 0) + 1
        if fits:
            chosen.append(number)
    if not dry:
        mark(connection, "requested", chosen, now)
    connection.execute("commit")
    return found


def mark(connection: sqlite3.Connection, what: Moment, numbers: Sequence[int], now: int) -> None:
    """Write a time into the column `requested` or `replayed` of those where it is not yet."""
    connection.execute(
        _statement("update kept set", what, "= ? where replayed is null", _NUMBERED),
        [now, msgspec.json.encode(numbers).decode()],
    )


def waiting(connection: sqlite3.Connection) -> list[int]:
    """Numbers of what a replay was asked for and is still to come, in the order of event time."""
    asked = """select number from kept where requested is not null and replayed is null
        order by coalesce(time, received), place, part, number"""
    return [number for (number,) in connection.execute(asked).fetchall()]
