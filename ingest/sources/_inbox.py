"""The bounded queue that a client's thread fills and the worker's thread empties."""

import threading
from collections import deque
from dataclasses import dataclass
from typing import Any

__all__ = ["Inbox", "PassedOver", "Taken"]

_STEP_SECONDS = 0.05
BREATH_SECONDS = 0.002
WORTH_TAKING = 256
_RETAINED = 5


@dataclass(frozen=True, slots=True)
class PassedOver:
    """A message that is not delivered though it has its turn: why, for the rejects, if anything."""

    received: int
    topic: str
    reason: str
    detail: str
    payload: bytes


Entry = tuple[Any, ...]
"""Topic, payload, received, token; a retained message has a fifth. A `PassedOver` has topic None
and itself as payload."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What `Inbox.take` gives: messages that are retained all or none, what was passed over, and
    the tokens of both in order of arrival."""

    messages: list[Entry]
    passed_over: list[PassedOver]
    tokens: list[Any]
    retained: bool = False


class Inbox:
    """At most `limit` messages and about `most_bytes` payload bytes.

    One thread calls `put`, `full` and `wait_for_room`, one other `take`.
    """

    def __init__(self, limit: int, most_bytes: int) -> None:
        self._limit, self._most_bytes = limit, most_bytes
        self._entries: deque[Entry] = deque()
        self._arrived, self._room = threading.Event(), threading.Event()
        self._never = threading.Event()
        self._bytes_in = self._bytes_out = 0
        self._unusual = self._seen = 0

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def full(self) -> bool:
        waiting = self._bytes_in - self._bytes_out
        return len(self._entries) >= self._limit or waiting > self._most_bytes

    def put(self, topic: str, payload: bytes, received: int, token: Any) -> None:
        """Add a message; look at `full` before."""
        self._bytes_in += len(payload)
        self._entries.append((topic, payload, received, token))
        if not self._arrived.is_set():
            self._arrived.set()

    def put_retained(self, topic: str, payload: bytes, received: int, token: Any) -> None:
        """Add a message that repeats something old; look at `full` before."""
        self._unusual += 1
        self._bytes_in += len(payload)
        self._entries.append((topic, payload, received, token, True))
        self._arrived.set()

    def pass_over(self, why: PassedOver, token: Any) -> None:
        """Add a message's turn without the message."""
        self._unusual += 1
        self._entries.append((None, why, why.received, token))
        self._arrived.set()

    def wait_for_room(self, seconds: float, stopping: threading.Event) -> bool:
        """Whether room came within this time."""
        for _ in range(max(1, round(seconds / _STEP_SECONDS))):
            self._room.clear()
            if not self.full:
                return True
            if stopping.is_set():
                return False
            self._room.wait(_STEP_SECONDS)
        return not self.full

    def take(self, limit: int, timeout: float) -> Taken:
        """The oldest entries, at most `limit`; a delivery ends where retained messages begin or
        end.

        Waits up to `timeout` seconds for the first entry. A lone entry is given at once; where
        messages stream in, two milliseconds pass first: the two threads would otherwise take the
        interpreter from each other for every few messages, at half the throughput.
        """
        entries = self._entries
        if not entries:
            self._arrived.clear()
            if not entries and not self._arrived.wait(timeout):
                return Taken([], [], [])
        if 1 < len(entries) < WORTH_TAKING:
            self._never.wait(BREATH_SECONDS)
        taken = [entries.popleft() for _ in range(min(limit, len(entries)))]
        if self._unusual == self._seen:
            found = Taken(taken, [], [entry[3] for entry in taken])
        else:
            found = self._cut(taken)
        self._bytes_out += sum([len(entry[1]) for entry in found.messages])
        self._room.set()
        return found

    def _cut(self, taken: list[Entry]) -> Taken:
        """The first of these entries whose messages are retained all or none; the rest goes back
        to the front."""
        messages: list[Entry] = []
        passed_over: list[PassedOver] = []
        end = len(taken)
        for k, entry in enumerate(taken):
            if entry[0] is None:
                passed_over.append(entry[1])
            elif messages and len(entry) != len(messages[0]):
                end = k
                break
            else:
                messages.append(entry)
        self._entries.extendleft(reversed(taken[end:]))
        retained = bool(messages) and len(messages[0]) == _RETAINED
        self._seen += len(passed_over) + retained * len(messages)
        return Taken(messages, passed_over, [entry[3] for entry in taken[:end]], retained)
