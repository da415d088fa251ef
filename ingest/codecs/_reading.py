"""What a codec is given and gives: a message in; its readings, or why there are none, out."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from streamgauge.delivery import Delivery

__all__ = ["DecodeError", "Message", "Parse", "Reading", "bounded_bytes", "message_at"]


class DecodeError(ValueError):
    """A message, or one reading of it, that cannot be read.

    `reason` is a stable word, fit for a metric label: "malformed" (not of this format),
    "too_large", "no_device", "bad_time" and the like. `detail` says what was found and where.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason, self.detail = reason, detail


@dataclass(frozen=True, slots=True)
class Message:
    """One message as it came."""

    payload: bytes
    topic: str = ""
    received: int = 0
    """Our clock when it came, microseconds UTC."""
    key: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    stamp: int | None = None
    """The time that its log gives it, microseconds UTC."""
    retained: bool = False


@dataclass(slots=True)
class Reading:
    """Values of one device at one instant, under the names that the message gives them.

    A name that the schema does not know is skipped; None is an absent value. A number channel takes
    numbers and text that holds one, a boolean channel True, False, 1 and 0; anything else becomes
    NaN with its flag.
    """

    values: Mapping[str, Any]
    device: str | int | None = None
    """What the message names as its device; the option `device` overrules it."""
    time: Any = None
    """As the device wrote it: ISO text or a number since 1970, whose unit its magnitude tells. The
    option `time` overrules it; None is the time when the message was received."""
    at: int | None = None
    """Instead of `time` where the format fixes the unit: microseconds UTC."""
    sequence: int | None = None
    """The device's own count of this reading. None also where several readings share one number:
    they would be taken for repetitions."""
    units: Mapping[str, str] = field(default_factory=dict)
    """Units that the message itself names, by the name of the value."""
    around: Mapping[str, Any] = field(default_factory=dict)
    """What stands around the reading in its message: device and time may stand there as well."""


Parse = Callable[[Message], Iterable[Reading | DecodeError]]
"""One message to its readings. Raises `DecodeError` where the whole message cannot be read, yields
one for a part that cannot; the other readings count."""


def bounded_bytes(parse: Parse, max_bytes: int) -> Parse:
    """The same, but longer messages are refused unread."""

    def readings(message: Message) -> Iterable[Reading | DecodeError]:
        if len(message.payload) > max_bytes:
            size = f"{len(message.payload):,} bytes"
            raise DecodeError("too_large", f"{size}, more than max_bytes = {max_bytes:,}")
        return parse(message)

    return readings


def message_at(delivery: Delivery, i: int) -> Message:
    """The i-th message of a delivery."""
    return Message(
        delivery.payloads[i],
        delivery.topics[i],
        delivery.received[i],
        delivery.keys[i] if delivery.keys else "",
        delivery.headers[i] if delivery.headers else {},
        delivery.stamps[i] if delivery.stamps else None,
        delivery.retained,
    )
