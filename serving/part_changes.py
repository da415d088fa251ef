"""Which parts of the service began to fail, or work again: what the log says of them, and since
when they are as they are."""

import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from serving.api.service import Part

__all__ = ["PartChanges", "Standing"]


class Standing:
    """Since when each part works, or does not: as far as somebody looked. Any thread may ask."""

    def __init__(self, clock: Callable[[], int]) -> None:
        self._clock, self._lock = clock, threading.Lock()
        self._since: dict[str, tuple[bool, int]] = {}

    def since(self, name: str, *, ok: bool) -> int:
        """When the part that is so now was first seen to be, by our clock."""
        with self._lock:
            was, then = self._since.get(name, (not ok, 0))
            if was != ok:
                then = self._clock()
                self._since[name] = (ok, then)
            return then


class PartChanges:
    """Looks at the parts from time to time. One fails when it does at two looks in a row, so that a
    connection that is made anew at once says nothing."""

    def __init__(self) -> None:
        self._failing: dict[str, int] = {}
        """Looks in a row at which a part failed."""

    def since(self, parts: Iterable[Part]) -> Iterator[tuple[str, dict[str, Any]]]:
        """What changed since the look before: words and fields of a record."""
        for part in parts:
            looks = self._failing.pop(part.name, 0)
            if not part.ok:
                self._failing[part.name] = looks + 1
                if looks == 1:
                    yield "not ready", {"part": part.name, "why": part.why}
            elif looks > 1:
                yield "ready again", {"part": part.name}
