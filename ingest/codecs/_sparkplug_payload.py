"""The protobuf payload of Sparkplug B, described by its field numbers.

Source: Eclipse Sparkplug specification 3.0, section 6.4, "Payloads". Only what carries values is
described; protobuf skips the rest.
"""

import zlib
from functools import cache
from typing import Any

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
)
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError as NotProtobuf
from google.protobuf.message_factory import GetMessageClass

__all__ = ["Metric", "NotProtobuf", "payload", "rebirth", "value_of"]

_Field = FieldDescriptorProto
_OPTIONAL, _REPEATED = _Field.LABEL_OPTIONAL, _Field.LABEL_REPEATED
_U32, _U64, _FLOAT = _Field.TYPE_UINT32, _Field.TYPE_UINT64, _Field.TYPE_FLOAT
_DOUBLE, _BOOL, _TEXT = _Field.TYPE_DOUBLE, _Field.TYPE_BOOL, _Field.TYPE_STRING
_BYTES = _Field.TYPE_BYTES
_MESSAGE = _Field.TYPE_MESSAGE
_PACKAGE = "sparkplug"
_MESSAGES: dict[str, tuple[tuple[str, int, int, int, str], ...]] = {
    "Property": (("string_value", 8, _TEXT, _OPTIONAL, ""),),
    "Properties": (
        ("keys", 1, _TEXT, _REPEATED, ""),
        ("values", 2, _MESSAGE, _REPEATED, "Property"),
    ),
    "Metric": (
        ("name", 1, _TEXT, _OPTIONAL, ""),
        ("alias", 2, _U64, _OPTIONAL, ""),
        ("timestamp", 3, _U64, _OPTIONAL, ""),
        ("datatype", 4, _U32, _OPTIONAL, ""),
        ("is_null", 7, _BOOL, _OPTIONAL, ""),
        ("properties", 9, _MESSAGE, _OPTIONAL, "Properties"),
        ("int_value", 10, _U32, _OPTIONAL, ""),
        ("long_value", 11, _U64, _OPTIONAL, ""),
        ("float_value", 12, _FLOAT, _OPTIONAL, ""),
        ("double_value", 13, _DOUBLE, _OPTIONAL, ""),
        ("boolean_value", 14, _BOOL, _OPTIONAL, ""),
        ("string_value", 15, _TEXT, _OPTIONAL, ""),
    ),
    "Payload": (
        ("timestamp", 1, _U64, _OPTIONAL, ""),
        ("metrics", 2, _MESSAGE, _REPEATED, "Metric"),
        ("seq", 3, _U64, _OPTIONAL, ""),
        ("uuid", 4, _TEXT, _OPTIONAL, ""),
        ("body", 5, _BYTES, _OPTIONAL, ""),
    ),
}
"""Name, number, type, label and message of each field."""

Metric = Any
"""One metric of a payload, as protobuf gives it."""

_SIGNED = {1: 8, 2: 16, 3: 32, 4: 64}
"""Bits of the signed integer types (Int8 to Int64), which travel as two's complement."""
_BOOLEAN = 11
_COMPRESSED = "SPBV1.0_COMPRESSED"
"""What Eclipse Tahu's encoders call a payload whose body is a compressed one."""
_ZLIB_OR_GZIP = 32 + zlib.MAX_WBITS
_MOST_INFLATED, _MOST_TIMES = 1_000_000, 64
"""Bytes of an inflated body, and how many times its own size: births compress about tenfold."""
_VALUES = (
    "int_value",
    "long_value",
    "float_value",
    "double_value",
    "boolean_value",
    "string_value",
)


@cache
def _payload_class() -> Any:
    file = FileDescriptorProto(name="sparkplug.proto", package=_PACKAGE, syntax="proto2")
    for message, fields in _MESSAGES.items():
        described: DescriptorProto = file.message_type.add(name=message)
        for name, number, kind, label, of in fields:
            kind_name = f".{_PACKAGE}.{of}" if of else None
            described.field.add(
                name=name, number=number, type=kind, label=label, type_name=kind_name
            )
    pool = DescriptorPool()
    pool.Add(file)
    return GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.Payload"))


def payload(data: bytes) -> Any:
    """The payload in these bytes, inflated where a node compressed it; `NotProtobuf` where they are
    none."""
    found = _payload_class().FromString(data)
    if found.uuid != _COMPRESSED:
        return found
    inner = _payload_class().FromString(_inflated(found.body))
    if not inner.HasField("seq") and found.HasField("seq"):
        inner.seq = found.seq
    return inner


def _inflated(body: bytes) -> bytes:
    stream = zlib.decompressobj(_ZLIB_OR_GZIP)
    most = min(_MOST_INFLATED, _MOST_TIMES * len(body) + 1)
    try:
        inner = stream.decompress(body, most)
    except zlib.error as wrong:
        raise NotProtobuf(f"its body does not inflate: {wrong}") from None
    if not stream.eof:
        raise NotProtobuf(f"its body is cut short, or more than {most:,} bytes inflated")
    return inner


def value_of(metric: Metric, datatype: int) -> float | int | bool | str | None:
    """What a metric says, None where it says nothing that a channel could hold."""
    if metric.is_null:
        return None
    name = next((name for name in _VALUES if metric.HasField(name)), "")
    if not name:
        return None
    value: float | int | bool | str = getattr(metric, name)
    bits = _SIGNED.get(datatype)
    if bits is not None and isinstance(value, int):
        # Narrow types may be sign-extended to 32 bits or not: the low bits are the same.
        value &= (1 << bits) - 1
        return value - (1 << bits) if value >> (bits - 1) else value
    if datatype == _BOOLEAN and isinstance(value, int):
        return bool(value)
    return value


def rebirth(time: int) -> bytes:
    """The command that asks an edge node for its birth certificates; `time` in microseconds UTC."""
    asking = _payload_class()(timestamp=max(0, time // 1_000))
    asking.metrics.add(
        name="Node Control/Rebirth",
        timestamp=max(0, time // 1_000),
        datatype=_BOOLEAN,
        boolean_value=True,
    )
    return bytes(asking.SerializeToString())
