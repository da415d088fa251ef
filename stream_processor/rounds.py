"""Deliveries of one round, cut into what the journal has room for."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from streamgauge.delivery import Delivery

__all__ = ["groups", "parts"]


def groups(deliveries: Iterable[Delivery], largest: int) -> Iterator[list[Delivery]]:
    """Deliveries in groups that the journal has room for: of at most `largest` bytes together, or
    one that cannot be cut."""
    group, size = list[Delivery](), 0
    for delivery in deliveries:
        for part in parts(delivery, largest):
            more = sum(map(len, part.payloads))
            if group and size + more > largest:
                yield group
                group, size = [], 0
            group.append(part)
            size += more
    if group:
        yield group


def parts(delivery: Delivery, largest: int) -> Iterator[Delivery]:
    """A delivery as records that the journal has room for: payloads of at most `largest` bytes
    together, or a single one. Only the last of them is acknowledged, and tells the place."""
    start = size = 0
    for k, payload in enumerate(() if delivery.runs else delivery.payloads):
        if k > start and size + len(payload) > largest:
            yield replace(delivery.part(start, k), tokens=[], position=None)
            start, size = k, 0
        size += len(payload)
    yield delivery.part(start, len(delivery.payloads)) if start else delivery
