"""The contract of a source and of a codec."""

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from ingest.rejects import Rejects
from streamgauge.batch import Batch
from streamgauge.delivery import Delivery, Position

__all__ = [
    "Asking",
    "Codec",
    "Remembering",
    "Replying",
    "Rereading",
    "Showing",
    "Source",
    "Standing",
]


class Codec(Protocol):
    """Bytes to columns. Decodes every payload by itself; never raises on bad input."""

    def decode(self, delivery: Delivery, batch: Batch, rejects: Rejects) -> None:
        """Fill `batch` from row 0 with the readings of the delivery, in order, and set `batch.n`.

        What cannot become a reading is counted in `rejects` with its reason. A bad value in a good
        reading becomes NaN with its flag. Unknown devices beyond the limit are rejected.
        """
        ...


class Remembering(Protocol):
    """What a codec has beside `decode` where a message means nothing without earlier ones."""

    def snapshot(self) -> dict[str, Any]:
        """What it remembers, small and JSON-able: part of the checkpoint."""
        ...

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Take over what :meth:`snapshot` gave."""
        ...


class Asking(Protocol):
    """What a codec has beside `decode` where it must ask the senders for something."""

    def requests(self) -> list[tuple[str, bytes]]:
        """Topic and payload of each message to send since the last call; asked between batches,
        and passed to `Replying.send` of the source the messages came from."""
        ...


class Replying(Protocol):
    """What a source has beside the rest where something can be sent back by the way that the
    messages came."""

    def send(self, topic: str, payload: bytes) -> None:
        """Send when possible; never waits, never raises."""
        ...


class Rereading(Protocol):
    """What a source has beside the rest where its own log keeps the messages (`Delivery.runs`)."""

    def reread(self, delivery: Delivery) -> Delivery:
        """The delivery with the payloads, topics, keys and headers that its runs name, in that
        order; before `start`. OSError that says what is missing where the log has lost some."""
        ...


class Showing(Protocol):
    """What a codec has beside `decode` where it can say what a message holds before anybody has
    declared channels: `streamgauge init` tells by it which codec a source needs."""

    def show(
        self, payload: bytes, topic: str
    ) -> Iterable[tuple[str | int | None, Any, Mapping[str, Any], Mapping[str, str]]]:
        """Device, time, values and units of each reading; any error where it is no message."""
        ...


class Standing(Protocol):
    """What a source has beside the rest where the newest delivery's position does not tell all."""

    def position(self) -> Position:
        """What the checkpoint keeps for `resume`: where the source stands after everything that
        was acknowledged. Asked by the worker, between deliveries."""
        ...


class Source(Protocol):
    """Where deliveries come from. Owns its threads; nothing it does blocks the worker."""

    def start(self) -> None: ...

    def take(self, limit: int, timeout: float) -> Delivery | None:
        """What has arrived, at most `limit` messages; waits up to `timeout` seconds for the first.

        None when nothing came. Never waits to fill a delivery.
        """
        ...

    def acknowledge(self, tokens: list[Any]) -> None:
        """The messages with these tokens are durable: the sender may forget them."""
        ...

    def resume(self, position: Position) -> None:
        """Before `start`: go on after this position, which a delivery of this source carried."""
        ...

    @property
    def finished(self) -> bool:
        """True when there will never be more (a file read to its end)."""
        ...

    def state(self) -> dict[str, Any]:
        """Counters and condition for /metrics and /readyz: `ok: bool`, `why: str`, numbers."""
        ...

    def stop(self) -> None: ...
