"""The state of devices that were evicted, each in a record of a SQLite file beside the checkpoint.

A record is made as a part of the checkpoint is: arrays as safetensors, models as signed pickles, a
digest of each. It is never changed. The checkpoint says how far evictions and returns had come
(`at`), and a record leaves the file only once a checkpoint that does not need it is on the disk:
after a crash what came later is taken back, and the log brings it about again. So a device is
either in the checkpoint or has a record, never both.
"""

import json
import sqlite3
import weakref
from collections import deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from stream_processor.checkpoint import CheckpointRefused, Part, decode, encode, fault

__all__ = ["FILE", "Evicted", "stored"]

FILE = "evicted.db"
FORMAT = 1
PATIENCE = 10.0
"""Seconds that one thread waits for the other's transaction."""
TABLES = """
create table if not exists origins (number integer primary key, facts text unique);
create table if not exists devices (
  number integer primary key, device text, at integer, size integer, origin integer, entry text,
  tensors blob, pickles blob
);
"""
INSERT = """
insert into devices (device, at, size, origin, entry, tensors, pickles)
values (?, ?, ?, (select number from origins where facts = ?), ?, ?, ?)
"""
TAKE = """
select facts, entry, tensors, pickles
from devices join origins on origins.number = origin where devices.number = ?
"""


class _Record(NamedTuple):
    number: int
    size: int
    """Bytes of its state."""


def stored(facts: Mapping[str, Any]) -> Mapping[str, int]:
    """What a checkpoint of these facts says of it; one of an earlier version knew of none."""
    found: Mapping[str, int] = facts.get("evicted", {"at": 0, "devices": 0})
    return found


class Evicted:
    """Records by device id, the one evicted first comes first. Until it is opened on a file they
    are in one that ends with the process.

    One thread at a time, but for `settle` and `durable`, which the writer of checkpoints calls.
    """

    def __init__(self, most: int) -> None:
        """`most` bytes of state are kept; beyond it what was evicted first is forgotten."""
        self.most = most
        self.at = 0
        """Evictions and returns so far."""
        self.bytes = 0
        """Of the state that is kept."""
        self.trouble = ""
        """Why the last eviction could not be written; empty where it was."""
        self._path: Path | None = None
        # Pickles of a file that nobody else sees and that ends with the process.
        self._key = b"private"
        self._file: sqlite3.Connection | None = None
        self._live: dict[str, _Record] = {}
        self._dead: deque[tuple[int, int]] = deque()
        """When each record was needed no more, and its number."""
        self._durable = 0
        self._unsettled = False

    def __contains__(self, device: object) -> bool:
        return device in self._live

    def __len__(self) -> int:
        return len(self._live)

    def open(self, path: Path, key: bytes) -> None:
        """Keep records in this file, which is made with the first of them; CheckpointRefused where
        it is no such file."""
        self.close()
        self._path, self._key = path, key
        if path.exists():
            with self._reading():
                self._connect()

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """What SQLite says of a damaged file, as a refusal."""
        try:
            yield
        except sqlite3.DatabaseError as refused:
            raise self._refused(f"cannot be read ({refused})") from None

    def _connect(self) -> sqlite3.Connection:
        file = sqlite3.connect(
            self._path or "", timeout=PATIENCE, isolation_level=None, check_same_thread=False
        )
        weakref.finalize(self, file.close)
        self._file = file
        [(version,)] = file.execute("pragma user_version").fetchall()
        if version not in (0, FORMAT):
            raise self._refused(f"has format {version}, this version reads format {FORMAT}")
        # A commit waits for no disk: `settle` does, before the checkpoint that counts on it.
        for setting in ("journal_mode = wal", "synchronous = normal", "wal_autocheckpoint = 0"):
            file.execute(f"pragma {setting}").fetchall()
        if not version:
            file.executescript(TABLES)
            file.execute(f"pragma user_version = {FORMAT}")
        return file

    def close(self) -> None:
        """Let the file go; nothing is kept from then on."""
        if self._file is not None:
            self._file.close()
            self._file = None

    @property
    def facts(self) -> dict[str, int]:
        """What a checkpoint says of it."""
        return {"at": self.at, "devices": len(self)}

    def state(self) -> dict[str, Any]:
        """Whether it works, and what it holds."""
        held = {"devices": len(self), "bytes": self.bytes}
        return {"ok": not self.trouble, "why": self.trouble, **held}

    def add(self, parts: Mapping[str, Part], origin: str) -> bool:
        """Keep a part of one row for each device, of the configuration that `origin` tells (JSON).
        False where the file took none of them, of which `trouble` tells."""
        made: dict[str, _Record] = {}
        try:
            with self._writing() as file:
                file.execute("insert or ignore into origins (facts) values (?)", (origin,))
                for device, part in parts.items():
                    entry, tensors, pickles = encode(part, self._key)
                    size = len(tensors) + len(pickles)
                    row = (device, self.at + 1, size, origin, json.dumps(entry), tensors, pickles)
                    number = file.execute(INSERT, row).lastrowid
                    assert number is not None, "an inserted row has a number"
                    made[device] = _Record(number, size)
        except sqlite3.OperationalError as full:
            self.trouble = f"cannot write {self._path}: {full}; idle devices stay in memory"
            return False
        self.trouble = ""
        self.at += 1
        self._unsettled = True
        self._live |= made
        self.bytes += sum(record.size for record in made.values())
        while self.bytes > self.most and self._live:
            self._leave(next(iter(self._live)))
        return True

    def take(self, device: str) -> tuple[str, Part] | None:
        """Take a device's part out: its origin, and itself; None where there is none."""
        if device not in self._live:
            return None
        self.at += 1
        number = self._leave(device)
        assert self._file is not None
        with self._reading():
            [(origin, entry, tensors, pickles)] = self._file.execute(TAKE, (number,)).fetchall()
        index = json.loads(entry)
        found = fault(index, tensors, pickles, self._key)
        if found is not None:
            raise self._refused(f"holds a state of {device!r} that is {found.name.lower()}")
        return origin, decode(index, tensors, pickles)

    def _leave(self, device: str) -> int:
        number, size = self._live.pop(device)
        self.bytes -= size
        self._dead.append((self.at, number))
        return number

    def prune(self) -> None:
        """Delete what no checkpoint needs any more."""
        gone = [number for at, number in self._dead if at <= self._durable]
        # On a full disk they stay until there is room.
        if self._delete(gone):
            for _ in gone:
                self._dead.popleft()

    def _delete(self, numbers: Sequence[int]) -> bool:
        """Whether these records could be deleted."""
        if not numbers:
            return True
        try:
            with self._writing() as file:
                file.executemany(
                    "delete from devices where number = ?", [(number,) for number in numbers]
                )
        except sqlite3.OperationalError as full:
            self.trouble = f"cannot write {self._path}: {full}"
            return False
        return True

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction: all of it or nothing."""
        file = self._file or self._connect()
        file.execute("begin immediate")
        try:
            yield file
            file.execute("commit")
        except BaseException:
            if file.in_transaction:
                file.execute("rollback")
            raise

    def settle(self) -> None:
        """Wait until all that was added so far is on the disk; OSError where that fails."""
        if self._path is None or not self._unsettled:
            return
        self._unsettled = False
        try:
            with closing(sqlite3.connect(self._path, timeout=PATIENCE)) as file:
                file.execute("pragma synchronous = full")
                [(busy, *_)] = file.execute("pragma wal_checkpoint(full)").fetchall()
            if busy:
                raise OSError(f"it was busy for {PATIENCE:g} s")
        except (sqlite3.OperationalError, OSError) as refused:
            self._unsettled = True
            raise OSError(f"cannot write {self._path}: {refused}") from None

    def durable(self, facts: Mapping[str, int]) -> None:
        """A checkpoint with these `facts` is on the disk."""
        self._durable = facts["at"]

    def missing(self, facts: Mapping[str, int], known: Collection[str | None]) -> int:
        """Devices that had a record when a checkpoint with these facts was written and have none
        now; `known` are those in the checkpoint itself."""
        return max(0, facts["devices"] - len(self._meant(facts, known)))

    def back_to(self, facts: Mapping[str, int], known: Collection[str | None]) -> list[str]:
        """Be as it was when a checkpoint with these facts was written; see `missing`. The origins
        of what is kept."""
        self._live = self._meant(facts, known)
        while len(self._live) > facts["devices"]:
            # Forgotten by then, and not yet deleted.
            del self._live[next(iter(self._live))]
        self._dead.clear()
        self.at = self._durable = facts["at"]
        self.bytes = sum(record.size for record in self._live.values())
        if self._file is None:
            return []
        kept = {record.number for record in self._live.values()}
        numbers = self._file.execute("select number from devices").fetchall()
        if not self._delete([number for (number,) in numbers if number not in kept]):
            raise OSError(self.trouble)
        used = "select facts from origins where number in (select origin from devices)"
        return [facts for (facts,) in self._file.execute(used).fetchall()]

    def _meant(self, facts: Mapping[str, int], known: Collection[str | None]) -> dict[str, _Record]:
        """The newest record of each device that a checkpoint with these facts does not hold."""
        if self._file is None:
            return {}
        there = frozenset(known)
        of_then = "select device, number, size from devices where at <= ? order by number"
        with self._reading():
            rows = self._file.execute(of_then, (facts["at"],)).fetchall()
        newest = {device: _Record(number, size) for device, number, size in rows}
        left = {device: record for device, record in newest.items() if device not in there}
        return dict(sorted(left.items(), key=lambda named: named[1].number))

    def _refused(self, why: str) -> CheckpointRefused:
        return CheckpointRefused(
            f"{self._path} {why}; restore it from the backup that the checkpoint is from, or move "
            "it away and start once with --accept: devices that were idle then begin anew"
        )
