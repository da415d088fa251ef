"""CBOR of unknown origin to values: only data, of bounded depth and size."""

import math
from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from io import BytesIO
from typing import Any
from uuid import UUID

import cbor2

from ingest.codecs._reading import DecodeError

__all__ = ["decoded"]


def decoded(payload: bytes, max_depth: int) -> Any:
    """The one item that the payload is; DecodeError otherwise."""
    decoder = cbor2.CBORDecoder(
        BytesIO(payload),
        semantic_decoders=_TAGS,
        max_depth=max_depth,
    )
    try:
        found = decoder.decode()
    except (cbor2.CBORDecodeError, ValueError, TypeError, RecursionError) as wrong:
        raise DecodeError("malformed", f"not readable as CBOR: {wrong}") from None
    try:
        decoder.read(1)
    except cbor2.CBORDecodeEOF:
        return found
    raise DecodeError("malformed", "bytes follow the CBOR item")


def _refused(value: Any, immutable: bool) -> Any:
    raise ValueError("a tag that no reading needs")


def _decimal(value: Any, immutable: bool) -> Any:
    exponent, mantissa = value
    if not isinstance(exponent, int) or not isinstance(mantissa, int):
        raise TypeError("a decimal fraction is two integers")
    try:
        return float(Decimal(mantissa).scaleb(exponent)) if abs(exponent) < 10_000 else math.inf
    except InvalidOperation:
        return math.inf


def _big(value: Any, immutable: bool) -> Any:
    # Of integers beyond 64 bits, as names of a map, any number can have one hash: filling the map
    # would take the square of their number. Floats cannot.
    whole = int.from_bytes(value)
    try:
        return float(whole)
    except OverflowError:
        return math.inf


def _big_negative(value: Any, immutable: bool) -> Any:
    return -1.0 - _big(value, immutable)


def _binary(value: Any, immutable: bool) -> Any:
    exponent, mantissa = value
    try:
        return math.ldexp(mantissa, exponent)
    except OverflowError:
        return math.inf


def _uuid(value: Any, immutable: bool) -> Any:
    return str(UUID(bytes=value))


_Tag = Callable[[Any, bool], Any]
_REFUSED = (25, 28, 29, 30, 35, 36, 52, 54, 256, 258, 260, 261, 43000)
"""References (a message could stand for far more than it is), regular expressions, mail, sets and
addresses: cbor2 would build objects for them."""
_TAGS: Mapping[int, _Tag] = dict.fromkeys(_REFUSED, _refused) | {
    2: _big,
    3: _big_negative,
    4: _decimal,
    5: _binary,
    37: _uuid,
}
