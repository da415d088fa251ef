"""Records of the quarantine, made of columns of what was lost, in the thread that writes them."""

from dataclasses import dataclass
from functools import cache
from typing import Any

import msgspec
import numpy as np

from ingest.quarantine_file import READING, Kept
from stream_processor.losses import DROPPING
from stream_processor.quarantine.rules import rule
from stream_processor.quarantine.values import named
from stream_processor.settings.model import Settings
from streamgauge.schema import Outside, Schema
from streamgauge.words import Flag, Verdict

__all__ = ["Lost", "Records", "as_json", "flagged", "writable"]

_BY_VALUE = (Verdict.EMPTY, Verdict.OUT_OF_RANGE)
_FAULTS = (*reversed(DROPPING), "extreme", "non_finite", "out_of_range", "wrong_type", "unit")
"""Flags that took a value out, the last in the order of the work first."""


@dataclass(slots=True)
class Lost:
    """Readings that lost something, as columns; `number` is theirs within the delivery."""

    place: int
    source: str
    number: list[int]
    device: list[str]
    time: list[int]
    received: list[int]
    verdict: list[int]
    flags: list[list[int]]
    sent: list[list[float]]
    gone: list[list[int]]


class Records:
    """Makes records, of one configuration."""

    def __init__(self, settings: Settings, schema: Schema) -> None:
        self._schema = schema
        refusing = [channel.outside is Outside.REJECT for channel in schema.channels]
        self._first = sorted(range(len(schema)), key=lambda c: not refusing[c])
        self.rule = cache(lambda reason, channel: rule(settings, reason, channel))
        """See `rule`."""

    def of(self, lost: Lost) -> list[Kept]:
        """A record for each reading that was refused, and for each value that was dropped."""
        made: list[Kept] = []
        width = len(self._schema) + 1
        for j, number in enumerate(lost.number):
            verdict, part = lost.verdict[j], number * width
            values = named(self._schema, lost.sent[j])
            if verdict:
                at = self._at_fault(verdict, lost.flags[j])
                made.append(self._record(lost, j, part, at, values))
                continue
            for c, gone in enumerate(lost.gone[j]):
                if gone:
                    name = self._schema.names[c]
                    made.append(self._record(lost, j, part + 1 + c, c, {name: values[name]}))
        return made

    def _record(self, lost: Lost, j: int, part: int, at: int, values: dict[str, Any]) -> Kept:
        verdict, flags, time = lost.verdict[j], lost.flags[j], lost.time[j]
        channel = self._schema.names[at] if at >= 0 else ""
        reason = (_fault(flags[at]) if at >= 0 else "") or _VERDICTS[verdict]
        return Kept(
            lost.place, READING, part, lost.received[j], time, writable(lost.device[j]), channel,
            reason, _detail(verdict, channel, values, time), self.rule(reason, channel),
            lost.source, "", as_json(values), flagged(self._schema.names, flags),
        )  # fmt: skip

    def _at_fault(self, verdict: int, flags: list[int]) -> int:
        """The channel for whose value a reading was refused; -1 where it was for no value."""
        if verdict not in _BY_VALUE:
            return -1
        return next((c for c in self._first if _fault(flags[c])), -1)


_VERDICTS = [verdict.name.lower() for verdict in Verdict]


@cache
def _fault(flag: int) -> str:
    """The name of the flag that took a value out; "" where none did."""
    names = _names(flag)
    return next((name for name in _FAULTS if name in names), "")


@cache
def _names(flag: int) -> list[str]:
    return [str(one.name).lower() for one in Flag if flag & one]


def flagged(names: tuple[str, ...], flags: list[int]) -> str:
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
    return msgspec.json.encode(value).decode()
