"""Parsers made for one schema: the fast way through messages that are as they should be."""

from collections.abc import Callable, Sequence
from itertools import chain
from operator import attrgetter
from types import GenericAlias
from typing import Annotated, Any, Literal

import msgspec

from ingest.codecs._rows import MOST_READINGS
from ingest.codecs._words import longest
from streamgauge.schema import Channel, Kind

__all__ = [
    "DEVICE",
    "SEQUENCE",
    "TIME",
    "Columns",
    "GroupedParser",
    "Leaf",
    "TypedParser",
    "channel_type",
    "repeated",
]

Leaf = tuple[tuple[str, ...], Any, Any]
"""Path in the message, type, value where it is absent."""

Columns = tuple[list[Sequence[Any]], list[int] | None]
"""The leaves of readings as columns, and how many readings each message had: None = one each."""

Split = Callable[[Sequence[Any]], list[Sequence[Any]]]

_INNER = object()

DEVICE: Any = str | int
TIME: Any = int | float | str | None
SEQUENCE: Any = int | str | None


def channel_type(channel: Channel) -> Any:
    """What a channel may hold without a second look."""
    if channel.kind is Kind.CATEGORY:
        return Literal[channel.values] | None
    if channel.kind is Kind.TEXT:
        return Annotated[str, msgspec.Meta(max_length=longest(channel))] | None
    return bool | Literal[0, 1] | None if channel.kind is Kind.BOOLEAN else float | None


class TypedParser:
    """Decodes messages that are one reading, or an array of readings, into columns of their leaves.

    `decode(payload)` raises ValueError or RecursionError on anything unexpected. What it gives is a
    `reading`, whose `leaves` are a tuple in the order given, or a list of them. Absent numbers are
    NaN, null is None.
    """

    __slots__ = ("_split", "decode", "leaves", "reading")

    def __init__(self, leaves: Sequence[Leaf]) -> None:
        reading, names = _struct_and_names(leaves)
        self.reading: Any = reading
        self.leaves, self._split = _getter(names), _splitter(names)
        either: Any = reading | GenericAlias(list, (reading,))
        self.decode: Callable[[bytes], Any] = msgspec.json.Decoder(either).decode

    def columns(self, decoded: list[Any]) -> Columns | None:
        """The columns of decoded messages; None where one of them holds too many readings."""
        if list not in set(map(type, decoded)):
            return self._split(decoded), None
        readings = [one if type(one) is list else [one] for one in decoded]
        return _flattened(self._split, readings)


class GroupedParser:
    """The same for messages that hold an array of readings at a path.

    `shared` leaves, the first of each reading, may also stand around the array; a reading's own
    comes first.
    """

    __slots__ = ("_outer", "_shared", "_split", "decode", "reading")

    def __init__(self, path: tuple[str, ...], leaves: Sequence[Leaf], shared: int) -> None:
        inside = [(where, kind | None, None) for where, kind, _ in leaves[:shared]]
        reading, names = _struct_and_names([*inside, *leaves[shared:]])
        self._split = _splitter(names)
        readings: Any = GenericAlias(list, (reading,))
        message, names = _struct_and_names([*inside, (path, readings, None)])
        self._outer = _splitter(names)
        self.reading: Any = None
        self._shared = shared
        self.decode: Callable[[bytes], Any] = msgspec.json.Decoder(message).decode

    def leaves(self, decoded: Any) -> tuple[Any, ...]:
        """No message is one reading."""
        raise AssertionError

    def columns(self, decoded: list[Any]) -> Columns | None:
        """The columns of decoded messages; None where one holds no array or too many readings."""
        outer = self._outer(decoded)
        if None in outer[-1]:
            return None
        found = _flattened(self._split, outer[-1])
        if found is None:
            return None
        columns, counts = found
        for k in range(self._shared if columns else 0):
            without = columns[k].count(None)
            if without:
                around = repeated(outer[k], counts)
                columns[k] = (
                    around
                    if without == len(around)
                    else [b if a is None else a for a, b in zip(columns[k], around, strict=True)]
                )
        return columns, counts


def repeated(column: Sequence[Any], counts: list[int] | None) -> Sequence[Any]:
    """One entry per message as one per reading."""
    if counts is None:
        return column
    return [one for one, count in zip(column, counts, strict=True) for _ in range(count)]


def _flattened(split: Split, readings: Sequence[list[Any]]) -> Columns | None:
    counts = list(map(len, readings))
    if max(counts) > MOST_READINGS:
        return None
    flat = list(chain.from_iterable(readings))
    return split(flat) if flat else [], counts


def _struct_and_names(leaves: Sequence[Leaf]) -> tuple[Any, list[str]]:
    tree: dict[str, Any] = {}
    names = [_plant(tree, leaf) for leaf in leaves]
    return _struct(tree, "Message"), names


def _plant(tree: dict[str, Any], leaf: Leaf) -> str:
    """Add a leaf to the tree of names; its dotted attribute name. ValueError where two collide."""
    path, kind, absent = leaf
    attributes = []
    for name in path[:-1]:
        entry = tree.setdefault(name, (f"f{len(tree)}", {}, _INNER))
        if entry[2] is not _INNER:
            raise ValueError(f"{'.'.join(path)} lies inside {name!r}, which is a value itself")
        attributes.append(entry[0])
        tree = entry[1]
    if path[-1] in tree:
        raise ValueError(f"{'.'.join(path)} is read twice")
    attribute = f"f{len(tree)}"
    tree[path[-1]] = (attribute, kind, absent)
    return ".".join([*attributes, attribute])


def _struct(tree: dict[str, Any], name: str) -> Any:
    fields: list[tuple[str, Any, Any]] = []
    for attribute, kind, absent in tree.values():
        if absent is _INNER:
            inner = _struct(kind, f"{name}_{attribute}")
            fields.append((attribute, inner, msgspec.field(default_factory=inner)))
        else:
            fields.append((attribute, kind, absent))
    rename = {attribute: key for key, (attribute, _, _) in tree.items()}
    return msgspec.defstruct(name, fields, rename=rename, gc=False)


def _splitter(names: list[str]) -> Split:
    """Decoded readings to the columns of their leaves.

    The names are written out, f0 and f3.f1: this takes a third of the time of a tuple per reading,
    and of attrgetters.
    """
    columns = ", ".join(f"[one.{name} for one in some]" for name in names)
    made: Split = eval(f"lambda some: [{columns}]")  # noqa: S307  # _plant makes all names
    return made


def _getter(names: list[str]) -> Callable[[Any], tuple[Any, ...]]:
    if not any("." in name for name in names):
        return msgspec.structs.astuple
    if len(names) == 1:
        only = attrgetter(names[0])
        return lambda message: (only(message),)
    return attrgetter(*names)
