"""A REST or GraphQL endpoint, or a page, asked on an interval.

An answer is cut into messages here, in a thread of the source's own, and the codec reads those:
what the worker journals is small, and neither a slow server nor a long page holds it up. An answer
that says it has not changed (304), is the same as before, or only repeats rows of the one before
gives nothing.
"""

import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from ingest.rejects import Rejects
from ingest.source import Source
from ingest.sources._fetch import Answer, Endpoint, Failed, checked_url
from ingest.sources._rows import (
    Cut,
    Unreadable,
    columns_of,
    rows_of,
    selected,
    whole,
    without_errors,
)
from streamgauge.delivery import Delivery, Position
from streamgauge.durations import microseconds
from streamgauge.hosts import unencrypted
from streamgauge.schema import Schema

__all__ = ["notes", "open"]

CODEC = "json"
"""What reads the messages where the configuration names nothing else."""

FIRST_PAUSE, LONGEST_PAUSE = 5.0, 300.0
"""Seconds after the first failure, where the interval is not shorter, and, doubled each time, at
most, where the interval is not longer."""
STOP_SECONDS = 1.0
_STEP_SECONDS = 0.05


def open(  # noqa: A001  # the contract of a source's file
    schema: Schema,
    source_index: int,
    clock: Callable[[], int],
    rejects: Rejects,
    *,
    url: str,
    every: str = "1m",
    headers: dict[str, str] | None = None,
    query: str = "",
    variables: dict[str, str | int | float | bool] | None = None,
    rows: str = "",
    columns: str = "",
    select: str = "",
    fields: dict[str, str] | None = None,
    constants: dict[str, str | int | float | bool] | None = None,
    decimal: str = ".",
    topic: str = "poll",
    timeout: str = "10s",
    max_bytes: int = 1_000_000,
    redirects: int = 5,
    tls: bool | None = None,
) -> Source:
    """Ask an endpoint again and again.

    - `url`, `every`, `headers`: where, how often, and with what (secrets as "${NAME}")
    - `query`, `variables`: a GraphQL query, which is posted; left out, the url is read with GET
    - `rows`: JSON path of the readings, such as $.data[*]; or `columns`: of an object that holds an
      array per quantity; or `select`: CSS selector of a page's rows. None of them: the whole answer
      is one message.
    - `fields`: where a row keeps device, time and channels: JSON paths inside a row, or CSS
      selectors inside its element, "@name" behind for an attribute. Left out, a row's own names.
    - `constants`: what is added to each row, such as { device = "weather" }
    - `decimal`: the decimal mark of a page's numbers, "." or ","
    - `topic`: what the messages' topic is called
    - `timeout`, `max_bytes`, `redirects`: bounds of one answer
    - `tls`: left out, https is expected except on this machine; false allows http

    ValueError on options that mean nothing.
    """
    address, between, patience = checked_url(url, tls), microseconds(every), microseconds(timeout)
    if between < 1_000 or patience < 1_000:
        raise ValueError("every and timeout must be at least 1ms")
    if max_bytes < 1 or redirects < 0:
        raise ValueError("max_bytes must be at least 1 and redirects at least 0")
    if variables and not query:
        raise ValueError("variables belong to a query; add query, or put them into the url")
    cut = _cut(schema, rows, columns, select, fields or {}, constants or {}, decimal)
    cut = without_errors(cut) if query else cut
    endpoint = Endpoint(
        address,
        request={"query": query, "variables": variables or {}} if query else None,
        headers=headers or {},
        timeout=patience / 1e6,
        max_bytes=max_bytes,
        redirects=redirects,
        tls=tls,
        clock=clock,
    )
    chance = random.Random()
    return _PollSource(endpoint, cut, source_index, clock, topic, between / 1e6, chance)


def notes(options: Mapping[str, Any]) -> list[str]:
    """What is allowed but may surprise."""
    return unencrypted("poll", options, "read")


def _cut(
    schema: Schema,
    rows: str,
    columns: str,
    select: str,
    fields: dict[str, str],
    constants: dict[str, str | int | float | bool],
    decimal: str,
) -> Cut:
    """How an answer becomes messages."""
    given = [name for name, value in _named(rows, columns, select) if value]
    if len(given) > 1:
        raise ValueError(f"{given[1]} beside {given[0]}; say in one way where the rows are")
    if decimal not in (".", ","):
        raise ValueError(f'decimal = {decimal!r}; write "." or ","')
    if select:
        if not fields:
            raise ValueError(
                'fields is missing; say where a row has what: { temperature = "td.t" }'
            )
        return selected(schema, select, fields, constants, decimal)
    if columns:
        return columns_of(schema, columns, fields, constants)
    return rows_of(schema, rows, fields, constants) if rows or fields or constants else whole


def _named(rows: str, columns: str, select: str) -> tuple[tuple[str, str], ...]:
    return (("rows", rows), ("columns", columns), ("select", select))


@dataclass(slots=True)
class _Waiting:
    """An answer's messages that the worker has not all taken."""

    messages: list[bytes]
    received: int
    position: Position
    taken: int = 0


class _PollSource:
    """Its own thread asks and cuts; it asks again once the worker has taken what there was."""

    finished = False

    def __init__(
        self,
        endpoint: Endpoint,
        cut: Cut,
        source_index: int,
        clock: Callable[[], int],
        topic: str,
        every: float,
        chance: random.Random,
    ) -> None:
        self._endpoint, self._cut, self._source, self._clock = endpoint, cut, source_index, clock
        self._topic, self._every, self._chance = topic, every, chance
        self._waiting: _Waiting | None = None
        self._seen: frozenset[bytes] = frozenset()
        self._arrived, self._stopping = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="poll", daemon=True)
        self._why, self._failures = f"{endpoint.shown} was not asked yet", 0
        self._counts = dict.fromkeys(("asked", "unchanged", "failed", "received", "repeated"), 0)

    def start(self) -> None:
        self._thread.start()

    def resume(self, position: Position) -> None:
        """Before `start`: the answer that is told by this is not new."""
        self._endpoint.settle(Answer(b"", **position))

    def stop(self) -> None:
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join(STOP_SECONDS)
        self._why = "stopped"

    def take(self, limit: int, timeout: float) -> Delivery | None:
        """See `ingest.source.Source`."""
        if not self._arrived.wait(timeout) or self._waiting is None:
            return None
        it = self._waiting
        piece = it.messages[it.taken : it.taken + limit]
        it.taken += len(piece)
        n, done = len(piece), it.taken == len(it.messages)
        if done:
            self._waiting = None
            self._arrived.clear()
        position = it.position if done else None
        return Delivery(
            self._source, piece, [self._topic] * n, [it.received] * n, position=position
        )

    def acknowledge(self, tokens: list[Any]) -> None:
        """Nobody waits for it: what is lost is asked for again."""

    def state(self) -> dict[str, Any]:
        """See `ingest.source.Source`."""
        return {"ok": not self._why, "why": self._why, **self._counts}

    # What follows runs in the source's own thread.

    def _run(self) -> None:
        pause = 0.0
        while not self._stopping.wait(pause):
            began = time.monotonic()
            least = self._ask()
            pause = max(0.0, self._pause(least) - (time.monotonic() - began))
            while self._waiting is not None and not self._stopping.wait(_STEP_SECONDS):
                pass
        self._endpoint.close()

    def _pause(self, least: float) -> float:
        """Seconds from one question to the next, at least so many after a failure."""
        if not self._failures:
            return self._every
        first, longest = min(self._every, FIRST_PAUSE), max(self._every, LONGEST_PAUSE)
        grown = min(first * 2.0 ** min(self._failures - 1, 20), longest)
        return max(least, grown * self._chance.uniform(0.5, 1.0))

    def _ask(self) -> float:
        """Ask once; the least seconds until the next time, where the server named some."""
        self._counts["asked"] += 1
        try:
            answer = self._endpoint.fetch()
            if answer is not None:
                self._put(answer)
        except Failed as failed:
            self._fail(str(failed))
            return failed.pause
        except Unreadable as wrong:
            self._fail(f"{self._endpoint.shown}: {wrong}; compare the answer with the options")
            return 0.0
        except Exception as broken:  # noqa: BLE001 - an answer may break a library in any way
            self._fail(f"{self._endpoint.shown}: {type(broken).__name__}: {broken}; see the answer")
            return 0.0
        self._counts["unchanged"] += answer is None
        self._why, self._failures = "", 0
        return 0.0

    def _fail(self, why: str) -> None:
        self._counts["failed"] += 1
        self._why, self._failures = why, self._failures + 1

    def _put(self, answer: Answer) -> None:
        """Hand over the rows that the answer before this one did not have."""
        received, messages = self._clock(), self._cut(answer.body)
        marks = [blake2b(message, digest_size=8).digest() for message in messages]
        new = [m for m, mark in zip(messages, marks, strict=True) if mark not in self._seen]
        self._seen = frozenset(marks)
        self._endpoint.settle(answer)
        self._counts["received"] += len(new)
        self._counts["repeated"] += len(messages) - len(new)
        if new:
            position = {"etag": answer.etag, "modified": answer.modified, "digest": answer.digest}
            self._waiting = _Waiting(new, received, position)
            self._arrived.set()
