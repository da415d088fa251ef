"""The bounded queue that a client's thread fills and the worker's thread empties."""

import threading
from collections import deque
from dataclasses import dataclass
from typing import Any

__all__ = ["Inbox", "PassedOver"]

_STEP_SECONDS = 0.05
BREATH_SECONDS = 0.002
WORTH_TAKING = 256


@dataclass(frozen=True, slots=True)
class PassedOver:
    """A message that is not delivered though it has its turn: why, for the rejects, if anything."""

    received: int
    topic: str
    reason: str
    detail: str
    payload: bytes


Entry = tuple[Any, Any, int, Any]
"""Topic, payload, received, token. A `PassedOver` has topic None and itself as payload."""


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
        self._passed_over = self._seen = 0

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

    def pass_over(self, why: PassedOver, token: Any) -> None:
        """Add a message's turn without the message."""
        self._passed_over += 1
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

    def take(self, limit: int, timeout: float) -> tuple[list[Entry], list[PassedOver], list[Any]]:
        """The oldest entries, at most `limit`: messages, what was passed over, and the tokens of
        both in order of arrival.

        Waits up to `timeout` seconds for the first entry. A lone entry is given at once; where
        messages stream in, two milliseconds pass first: the two threads would otherwise take the
        interpreter from each other for every few messages, at half the throughput.
        """
        entries = self._entries
        if not entries:
            self._arrived.clear()
            if not entries and not self._arrived.wait(timeout):
                return [], [], []
        if 1 < len(entries) < WORTH_TAKING:
            self._never.wait(BREATH_SECONDS)
        taken = [entries.popleft() for _ in range(min(limit, len(entries)))]
        tokens = [entry[3] for entry in taken]
        passed_over: list[PassedOver] = []
        if self._passed_over != self._seen:
            passed_over = [entry[1] for entry in taken if entry[0] is None]
            self._seen += len(passed_over)
            taken = [entry for entry in taken if entry[0] is not None]
        self._bytes_out += sum([len(entry[1]) for entry in taken])
        self._room.set()
        return taken, passed_over, tokens
