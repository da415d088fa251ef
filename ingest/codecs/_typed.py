"""A typed parser made for one schema: the fast way through messages that are as they should be."""

from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any, Literal

import msgspec

from streamgauge.schema import Kind

__all__ = ["DEVICE", "SEQUENCE", "TIME", "Leaf", "TypedParser", "channel_type"]

Leaf = tuple[tuple[str, ...], Any, Any]
"""Path in the message, type, value where it is absent."""

_INNER = object()

DEVICE: Any = str | int
TIME: Any = int | float | str | None
SEQUENCE: Any = int | str | None


def channel_type(kind: Kind) -> Any:
    """What a channel of that kind may hold without a second look."""
    return bool | Literal[0, 1] | None if kind is Kind.BOOLEAN else float | None


class TypedParser:
    """Decodes one message into the tuple of its leaves, in the order given.

    `decode(payload)` raises ValueError or RecursionError on anything unexpected; `leaves(decoded)`
    is the tuple. Absent numbers are NaN, null is None.
    """

    __slots__ = ("decode", "leaves")

    def __init__(self, leaves: Sequence[Leaf]) -> None:
        tree: dict[str, Any] = {}
        names = [_plant(tree, leaf) for leaf in leaves]
        self.decode: Callable[[bytes], Any] = msgspec.json.Decoder(_struct(tree, "Message")).decode
        self.leaves: Callable[[Any], tuple[Any, ...]] = _getter(names)


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


def _getter(names: list[str]) -> Callable[[Any], tuple[Any, ...]]:
    if not any("." in name for name in names):
        return msgspec.structs.astuple
    if len(names) == 1:
        only = attrgetter(names[0])
        return lambda message: (only(message),)
    return attrgetter(*names)
