"""Idempotency keys of messages that are durable: a sender that asks again is told so."""

import base64
import struct
from collections import deque
from hashlib import blake2b

__all__ = ["Keys", "digest"]

_RECORD = struct.Struct("<16s16sq")


def digest(*parts: bytes) -> bytes:
    """16 bytes that stand for these parts."""
    whole = blake2b(digest_size=16)
    for part in parts:
        whole.update(len(part).to_bytes(8, "little"))
        whole.update(part)
    return whole.digest()


class Keys:
    """The newest `most` keys, none older than `age` microseconds, each with what it stood for.

    They are kept packed as well, 40 bytes each, so that a checkpoint copies them at once.
    """

    def __init__(self, most: int, age: int) -> None:
        self._most, self._age = most, age
        self._known: dict[bytes, tuple[bytes, int]] = {}
        self._order: deque[tuple[bytes, int]] = deque()
        self._packed = bytearray()

    def __len__(self) -> int:
        return len(self._known)

    def content(self, key: bytes, now: int) -> bytes | None:
        """Digest of what came with this key; None where it is unknown or too old."""
        found = self._known.get(key)
        return found[0] if found is not None and now - found[1] <= self._age else None

    def add(self, key: bytes, content: bytes, time: int) -> None:
        """Remember a key, whose messages came at this time, and forget what is too old."""
        if self._known.get(key, (b"", -1))[1] == time:
            return
        self._known[key] = (content, time)
        self._order.append((key, time))
        self._packed += _RECORD.pack(key, content, time)
        while len(self._order) > self._most or time - self._order[0][1] > self._age:
            oldest, its_time = self._order.popleft()
            del self._packed[: _RECORD.size]
            if self._known[oldest][1] == its_time:
                del self._known[oldest]

    def packed(self) -> str:
        """All of them as text for a position."""
        return base64.b64encode(self._packed).decode()

    @staticmethod
    def pack(entries: list[tuple[bytes, bytes, int]]) -> str:
        """Some keys as text: key, content and time of each."""
        return base64.b64encode(b"".join(_RECORD.pack(*entry) for entry in entries)).decode()

    def unpack(self, text: str) -> None:
        """Add what :meth:`packed` or :meth:`pack` gave."""
        for key, content, time in _RECORD.iter_unpack(base64.b64decode(text)):
            self.add(key, content, time)
