"""Dead letters: what was not admitted, counted by reason, the newest kept for inspection."""

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass

from ingest.codecs._reading import Message

__all__ = ["Reject", "Rejects"]

KEPT = 1_000
SHOWN = 1_024


@dataclass(frozen=True, slots=True)
class Reject:
    """One message or reading that was not admitted."""

    received: int
    """Microseconds UTC."""
    reason: str
    """A stable name from a small set, fit for a metric label."""
    detail: str
    """What was found and where."""
    topic: str
    """The first 1,024 characters."""
    payload: bytes
    """The first 1,024 bytes."""


class Rejects:
    """Counts per reason and the newest 1,000 rejects; bounded whatever comes in.

    `listener`, if given, sees every reject (for `replay --rejects FILE`); `undecoded`, once set,
    every message that came to a codec and was refused there, whole or in part.
    """

    undecoded: Callable[[str, str, Message], None] | None = None
    """Takes the reason, the detail and the message."""

    def __init__(self, listener: Callable[[Reject], None] | None = None) -> None:
        self.counts: Counter[str] = Counter()
        self.newest: deque[Reject] = deque(maxlen=KEPT)
        self.outside: deque[Reject] = deque(maxlen=KEPT)
        """Of the newest those that were refused outside of the log: no quarantine holds them."""
        self._listener = listener

    @property
    def listened(self) -> bool:
        """True when every reject is wanted, not only the newest."""
        return self._listener is not None

    def add(
        self, reason: str, detail: str, *, received: int, topic: str = "", payload: bytes = b""
    ) -> None:
        """Count one reject that never came into the log, and keep it."""
        self.counts[reason] += 1
        reject = self.note(reason, detail, received=received, topic=topic, payload=payload)
        self.outside.append(reject)

    def refuse(self, reason: str, detail: str, message: Message) -> None:
        """Count one message that a codec refused, whole or in part, and keep it."""
        self.counts[reason] += 1
        self.note(
            reason, detail,
            received=message.received, topic=message.topic, payload=message.payload,
        )  # fmt: skip
        if self.undecoded is not None:
            self.undecoded(reason, detail, message)

    def note(
        self, reason: str, detail: str, *, received: int, topic: str = "", payload: bytes = b""
    ) -> Reject:
        """Keep one reject that was counted elsewhere."""
        reject = Reject(received, reason, detail, topic[:SHOWN], bytes(payload[:SHOWN]))
        self.newest.append(reject)
        if self._listener is not None:
            self._listener(reject)
        return reject
