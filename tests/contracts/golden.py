"""Real payloads and what becomes of them: `tests/golden/CODEC/NAME.expected.json`.

Beside it lies the payload, `NAME.` and any other ending, byte by byte as the device sent it; `.hex`
is text of hexadecimal digits, of which what follows a # is not read. The expectation:

    {
      "about": "which device or document the payload is from",
      "options": {"device": "topic:1"},
      "channels": [{"name": "t", "unit": "degC"}],
      "topic": "site/p-17", "received": "2026-03-01T12:00:00Z", "key": "", "headers": {},
      "readings": [{"device": "p-17", "time": "2026-03-01T12:00:00Z", "t": 21.5}],
      "rejects": {"malformed": 1},
      "requests": [["site/p-17/cmd", "hexadecimal digits"]]
    }

A reading names the channels that have a value; `sequence` where it has one, `flags` ({"t": 8})
where there are any, `words` ({"note": ["pump", "seized"]}) of texts that have some. Codecs that
remember get several messages, one delivery each: instead of `topic` there is "messages": [{"file":
"birth.hex", "topic": ...}, ...], with the same keys.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from streamgauge.delivery import Delivery
from streamgauge.schema import Channel, Kind, Schema

__all__ = ["Golden", "goldens", "micros"]

FOLDER = Path(__file__).parent.parent / "golden"
RECEIVED = "2026-03-01T12:00:00Z"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Golden:
    """One expectation and its messages."""

    codec: str
    name: str
    options: Mapping[str, Any]
    schema: Schema
    deliveries: tuple[Delivery, ...]
    expected: Mapping[str, Any]

    def __str__(self) -> str:
        return f"{self.codec}-{self.name}"

    @property
    def payloads(self) -> list[bytes]:
        """Its messages."""
        return [delivery.payloads[0] for delivery in self.deliveries]


def micros(text: str) -> int:
    """Microseconds UTC of a time in ISO 8601."""
    return (datetime.fromisoformat(text) - _EPOCH) // timedelta(microseconds=1)


@cache
def goldens(codec: str) -> tuple[Golden, ...]:
    """All of one codec, by name."""
    return tuple(_read(path) for path in sorted((FOLDER / codec).glob("*.expected.json")))


def _read(path: Path) -> Golden:
    expected = json.loads(path.read_text())
    name = path.name.removesuffix(".expected.json")
    if "messages" in expected:
        messages = [(path.parent / one["file"], one) for one in expected["messages"]]
    else:
        beside = [file for file in path.parent.glob(f"{name}.*") if file != path]
        assert len(beside) == 1, f"{path}: {len(beside)} payloads lie beside it"
        messages = [(beside[0], expected)]
    return Golden(
        path.parent.name,
        name,
        expected.get("options", {}),
        Schema(_channel(**channel) for channel in expected["channels"]),
        tuple(_delivery(_payload(file), one) for file, one in messages),
        expected,
    )


def _channel(kind: str = "number", values: Sequence[str] = (), **fields: Any) -> Channel:
    return Channel(kind=Kind(kind), values=tuple(values), **fields)


def _payload(file: Path) -> bytes:
    if file.suffix != ".hex":
        return file.read_bytes()
    return bytes.fromhex(re.sub(r"#.*", "", file.read_text()))


def _delivery(payload: bytes, message: Mapping[str, Any]) -> Delivery:
    return Delivery(
        0,
        [payload],
        [message.get("topic", "")],
        [micros(message.get("received", RECEIVED))],
        keys=[message["key"]] if "key" in message else [],
        headers=[message["headers"]] if "headers" in message else [],
        retained=message.get("retained", False),
    )
