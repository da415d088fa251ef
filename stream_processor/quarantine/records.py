"""Records of the quarantine, made of columns of what was lost, in the thread that writes them."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from ingest.quarantine_file import READING, Kept
from stream_processor.losses import DROPPING
from stream_processor.quarantine.rules import rule
from stream_processor.quarantine.values import named
from stream_processor.settings.model import Settings
from streamgauge.arrays import Floats, Ints
from streamgauge.schema import Outside, Schema
from streamgauge.words import VERDICTS, Flag, Verdict

__all__ = ["Lost", "Records", "as_json", "flagged", "writable"]

_BY_VALUE = (Verdict.EMPTY, Verdict.OUT_OF_RANGE)
_FAULTS = (*reversed(DROPPING), "extreme", "non_finite", "out_of_range", "wrong_type", "unit")
"""Flags that took a value out, the last in the order of the work first."""

_ENCODER = msgspec.json.Encoder()
KINDS = 1_000
"""Combinations of verdict and flags whose words are kept ready."""


@dataclass(slots=True)
class Lost:
    """Readings that lost something, as columns of k rows; `number` is theirs in the delivery."""

    place: int
    source: str
    number: Ints
    device: list[str]
    time: Ints
    received: Ints
    verdict: NDArray[np.uint8]
    flags: NDArray[np.uint16]
    """[k, channels or more]"""
    sent: Floats
    """[k, channels]"""
    gone: NDArray[Any]
    """[k, channels]: where it is not 0 a value of an admitted reading was taken out."""


class Fault(NamedTuple):
    """What records of one kind say alike."""

    channel: str
    reason: str
    rule: str
    flags: str


class Records:
    """Makes records, of one configuration."""

    def __init__(self, settings: Settings, schema: Schema) -> None:
        self._schema = schema
        refusing = [channel.outside is Outside.REJECT for channel in schema.channels]
        self._first = sorted(range(len(schema)), key=lambda c: not refusing[c])
        self.rule = cache(lambda reason, channel: rule(settings, reason, channel))
        """See `rule`."""
        self._fault = lru_cache(KINDS)(self._found)

    def of(self, lost: Lost) -> list[Kept]:
        """A record for each reading that was refused, and for each value that was dropped."""
        made: list[Kept] = []
        k = len(self._schema)
        columns = (lost.number, lost.verdict, lost.time, lost.received)
        tables = (lost.flags[:, :k], lost.sent, lost.gone)
        each = zip(lost.device, *(one.tolist() for one in (*columns, *tables)), strict=True)
        for device, number, verdict, time, received, words, sent, gone in each:
            reading = (lost, verdict, writable(device), time, received)
            part, flags, values = number * (k + 1), tuple(words), named(self._schema, sent)
            if verdict:
                made.append(_record(*reading, part, self._fault(verdict, flags, -1), values))
                continue
            for c in range(k):
                if gone[c]:
                    fault, name = self._fault(verdict, flags, c), self._schema.names[c]
                    made.append(_record(*reading, part + 1 + c, fault, {name: values[name]}))
        return made

    def _found(self, verdict: int, flags: tuple[int, ...], at: int) -> Fault:
        """`at` is the channel whose value was dropped; -1 where the reading was refused."""
        if at < 0 and verdict in _BY_VALUE:
            at = next((c for c in self._first if _took_out(flags[c])), -1)
        channel = self._schema.names[at] if at >= 0 else ""
        reason = (_took_out(flags[at]) if at >= 0 else "") or VERDICTS[verdict]
        told = flagged(self._schema.names, flags)
        return Fault(channel, reason, self.rule(reason, channel), told)


def _record(
    lost: Lost,
    verdict: int,
    device: str,
    time: int,
    received: int,
    part: int,
    fault: Fault,
    values: dict[str, Any],
) -> Kept:
    channel, reason, setting, flags = fault
    return Kept(
        lost.place, READING, part, received, time, device, channel, reason,
        _detail(verdict, channel, values, time), setting, lost.source, "", as_json(values), flags,
    )  # fmt: skip


@cache
def _took_out(flag: int) -> str:
    """The name of the flag that took a value out; "" where none did."""
    names = _names(flag)
    return next((name for name in _FAULTS if name in names), "")


@cache
def _names(flag: int) -> list[str]:
    return [str(one.name).lower() for one in Flag if flag & one]


def flagged(names: tuple[str, ...], flags: Sequence[int]) -> str:
    """Names of the flags by channel, as JSON; "" where there is none."""
    found = {name: _names(flag) for name, flag in zip(names, flags, strict=True) if flag}
    return as_json(found) if found else ""


def _detail(verdict: int, channel: str, values: dict[str, Any], time: int) -> str:
    if channel in values:
        how = "the reading was refused" if verdict else "the value was dropped"
        return f"{channel} = {values[channel]}: {how}"
    return f"event time {np.datetime64(time, 'us')}Z"


def writable(text: str) -> str:
    """What a file can hold: a lone surrogate is no text."""
    return text if text.isascii() else text.encode(errors="replace").decode()


def as_json(value: Any) -> str:
    """Compact JSON."""
    return _ENCODER.encode(value).decode()
