"""What must be remembered of Sparkplug edge nodes to read their data."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from ingest.codecs._reading import DecodeError, Reading
from ingest.codecs._sparkplug_payload import Metric, rebirth, value_of

__all__ = ["Node", "Nodes"]

MOST_NODES, MOST_METRICS = 10_000, 20_000
"""Nodes remembered, and metrics of one node."""
ASK_AGAIN = 30_000_000
"""Microseconds between two requests for the births of one node."""
_SEQUENCE = 256
"""Sequence numbers go from 0 to 255, and again."""
_UNIT = "engUnit"

Known = tuple[str, int, str]
"""Name, data type and unit of a metric, as its birth said."""


@dataclass(slots=True)
class Node:
    """An edge node and its devices: what their births said, and where its sequence stands."""

    aliases: dict[str, Known] = field(default_factory=dict)
    """By alias, which is unique within the node (as text: these go into JSON)."""
    names: dict[str, Known] = field(default_factory=dict)
    """By device and name."""
    alive: list[str] = field(default_factory=list)
    """Who was born and did not die."""
    sequence: int = -1
    birth: int = -1
    """`bdSeq` of the last birth of the node, -1 where it said none."""

    def born(self, content: Any, device: str, *, whole: bool) -> None:
        """Learn from a birth; that of the node (`whole`) forgets everything before."""
        if whole:
            self.aliases, self.names, self.alive = {}, {}, []
            self.birth = _bd_sequence(content)
        if device not in self.alive:
            self.alive.append(device)
        for metric in content.metrics:
            if len(self.names) >= MOST_METRICS:
                break
            known = (metric.name, int(metric.datatype), _unit(metric))
            self.names[f"{device}/{metric.name}"] = known
            if metric.HasField("alias"):
                self.aliases[str(metric.alias)] = known

    def died(self, content: Any, device: str, *, whole: bool) -> None:
        """A death: of the device, or of the node with all its devices."""
        if not whole:
            self.alive = [one for one in self.alive if one != device]
        elif _bd_sequence(content) == self.birth:
            self.alive = []

    def missed(self, content: Any, device: str, *, first: bool) -> bool:
        """Whether something before this message did not come: its births are wanted."""
        unborn = not {device, _node_of(device)} <= set(self.alive)
        if not content.HasField("seq"):
            return unborn
        gap = self.skipped(content, first=first)
        unknown = any(self._known(metric, device) is None for metric in content.metrics)
        return gap or unknown or unborn

    def skipped(self, content: Any, *, first: bool) -> bool:
        """Whether the sequence, which the node and all its devices share, has a gap before this
        message. The death of a node counts nothing: it was written before all else was."""
        if not content.HasField("seq"):
            return False
        expected = (self.sequence + 1) % _SEQUENCE
        gap = not first and self.sequence >= 0 and content.seq != expected
        self.sequence = int(content.seq) % _SEQUENCE
        return gap

    def readings(self, content: Any, device: str) -> Iterator[Reading | DecodeError]:
        """A reading for each time that the metrics have, oldest first."""
        by_time: dict[int, Reading] = {}
        if not content.metrics:
            yield DecodeError("no_reading", f"{device[:80]}: no metrics")
        for metric in content.metrics:
            known = self._known(metric, device)
            if known is None:
                what = f"alias {metric.alias}" if metric.HasField("alias") else "no name"
                yield DecodeError("unknown_alias", f"{device[:80]}: {what}, which no birth named")
                continue
            name, datatype, unit = known
            stamp = metric.timestamp if metric.HasField("timestamp") else content.timestamp
            values: dict[str, Any] = {}
            reading = by_time.setdefault(int(stamp), Reading(values, device=device, units={}))
            self._put(reading, name, value_of(metric, datatype), unit)
        for stamp in sorted(by_time):
            reading = by_time[stamp]
            # A payload without any time is read at ours.
            reading.at = stamp * 1_000 if stamp else None
            yield reading

    def _put(self, reading: Reading, name: str, value: Any, unit: str) -> None:
        assert isinstance(reading.values, dict)
        assert isinstance(reading.units, dict)
        reading.values[name] = value
        if unit:
            reading.units[name] = unit

    def _known(self, metric: Metric, device: str) -> Known | None:
        if metric.name:
            known = self.names.get(f"{device}/{metric.name}", (metric.name, 0, ""))
            return (known[0], int(metric.datatype) or known[1], known[2])
        return self.aliases.get(str(metric.alias)) if metric.HasField("alias") else None


class Nodes:
    """All edge nodes of a stream, and the requests that they should be sent."""

    def __init__(self) -> None:
        self._nodes: dict[str, Node] = {}
        self._asked: dict[str, int] = {}
        self._requests: dict[str, bytes] = {}

    def at(self, place: str) -> Node:
        """The node at GROUP/NODE; beyond the limit the oldest is forgotten, and will be asked."""
        node = self._nodes.get(place)
        if node is None:
            if len(self._nodes) >= MOST_NODES:
                oldest = next(iter(self._nodes))
                del self._nodes[oldest]
                self._asked.pop(oldest, None)
            node = self._nodes[place] = Node()
        return node

    def ask(self, place: str, now: int) -> None:
        """Ask a node for its births, if it was not asked just now."""
        asked = self._asked.get(place)
        if asked is None or not 0 <= now - asked < ASK_AGAIN:
            self._asked[place] = now
            group, node = place.split("/", 1)
            self._requests[f"spBv1.0/{group}/NCMD/{node}"] = rebirth(now)

    def requests(self) -> list[tuple[str, bytes]]:
        """See `ingest.source.Asking`."""
        wanted, self._requests = list(self._requests.items()), {}
        return wanted

    def snapshot(self) -> dict[str, Any]:
        """See `ingest.source.Remembering`."""
        nodes = {place: asdict(node) for place, node in self._nodes.items()}
        return {"nodes": nodes, "asked": dict(self._asked)}

    def restore(self, saved: Mapping[str, Any]) -> None:
        """See `ingest.source.Remembering`."""
        self._nodes = {place: _restored(node) for place, node in saved["nodes"].items()}
        self._asked = dict(saved["asked"])


def _restored(saved: Mapping[str, Any]) -> Node:
    node = Node(**saved)
    node.aliases = {alias: _known_again(known) for alias, known in node.aliases.items()}
    node.names = {name: _known_again(known) for name, known in node.names.items()}
    return node


def _known_again(known: Any) -> Known:
    name, datatype, unit = known
    return name, datatype, unit


def _node_of(device: str) -> str:
    """GROUP/NODE of GROUP/NODE/DEVICE."""
    return "/".join(device.split("/")[:2])


def _bd_sequence(content: Any) -> int:
    """The number that ties a death to its birth, -1 where there is none."""
    for metric in content.metrics:
        if metric.name == "bdSeq":
            value = value_of(metric, 0)
            return int(value) if isinstance(value, int) else -1
    return -1


def _unit(metric: Metric) -> str:
    """The unit among a metric's properties."""
    found = metric.properties
    for name, value in zip(found.keys, found.values, strict=False):
        if name == _UNIT:
            return str(value.string_value)[:32]
    return ""
