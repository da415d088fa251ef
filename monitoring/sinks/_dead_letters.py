"""What a server refuses for good, in a file for whoever mends it."""

import json
import os
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from streamgauge.instants import iso

__all__ = ["DeadLetters"]

LIMIT = 20_000_000
"""Bytes of the file, after which it becomes `NAME.old` and a new one is begun."""


class DeadLetters:
    """JSON lines, each with `time` (our clock), `why` and `letter`: the record as it was sent."""

    def __init__(self, path: Path, clock: Callable[[], int], limit: int = LIMIT) -> None:
        self.path, self.why = path, ""
        """Why the newest could not be written, "" where they were."""
        self._clock, self._limit = clock, limit

    def add(self, letters: Iterable[str], why: str) -> None:
        """Append them; a disk that refuses is noted, and stops nobody."""
        time = iso(self._clock())
        text = "".join(
            json.dumps({"time": time, "why": why, "letter": letter}, ensure_ascii=False) + "\n"
            for letter in letters
        )
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            if self.path.exists() and self.path.stat().st_size > self._limit:
                self.path.replace(self.path.with_name(f"{self.path.name}.old"))
            with open(self.path, "ab", opener=partial(os.open, mode=0o600)) as file:
                file.write(text.encode(errors="replace"))
        except OSError as refused:
            self.why = f"cannot write {self.path}: {refused}"
        else:
            self.why = ""
