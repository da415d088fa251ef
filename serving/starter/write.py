"""A starter pipeline.toml, its guesses explained beside them."""

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from serving.starter.guess import Guess, Measured
from serving.starter.seen import shown
from streamgauge.durations import text as duration
from streamgauge.schema import Kind

__all__ = ["Draft", "written"]

SHOWN = 5
HORIZONS = [
    unit * number * 10**6
    for unit, numbers in ((1, (1, 10, 30)), (60, (1, 5, 10, 30)), (3600, (1, 3, 6, 12)))
    for number in numbers
] + [days * 86_400 * 10**6 for days in (1, 7, 28)]
STEPS_AHEAD = 5
"""A first forecast looks at least so many readings ahead."""
_QUANTITIES = (
    (r"temp", (-60.0, 150.0)),
    (r"hum", (0.0, 100.0)),
    (r"batt.*(pct|percent|level)", (0.0, 100.0)),
)
"""What is known of a quantity by its name: its usual range."""
_BARE = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(slots=True)
class Draft:
    """One source: its table in the file, and what its readings mean."""

    use: str
    options: dict[str, Any]
    guess: Guess
    codec: str = ""
    notes: list[str] = field(default_factory=list)


def written(drafts: Sequence[Draft], name: str) -> str:
    """The whole file."""
    channels = _all_channels(drafts)
    parts = [
        "# Written by `streamgauge init` from what it saw; every guess is yours to correct.",
        f"[stream]\nname = {_value(name)}",
        *map(_devices, drafts[:1]),
        *map(_source, drafts),
        "[channels]\n" + "\n".join(_channel(channel) for channel in channels),
        *_task(drafts[0].guess, channels),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _all_channels(drafts: Sequence[Draft]) -> list[Measured]:
    found: dict[str, Measured] = {}
    for draft in drafts:
        for channel in draft.guess.channels:
            known = found.setdefault(channel.name, channel)
            known.low, known.high = min(known.low, channel.low), max(known.high, channel.high)
    return list(found.values())


def _devices(draft: Draft) -> str:
    lines = ["[devices]"]
    if draft.guess.zoneless:
        lines += ['timezone = "UTC"                 # the times name no zone: say which it is']
    return "\n".join(lines) if len(lines) > 1 else ""


def _source(draft: Draft) -> str:
    guess = draft.guess
    lines = ["[[source]]", f"use = {_value(draft.use)}"]
    lines += [f"{key} = {_value(value)}" for key, value in draft.options.items()]
    if draft.codec:
        lines.append(f"codec = {_value(draft.codec)}")
        origins = (("device", guess.device), ("time", guess.time))
        lines += [f"{key} = {_value(shown(origin))}" for key, origin in origins if origin]
    some = ", ".join(guess.devices[:SHOWN]) + (", ..." if len(guess.devices) > SHOWN else "")
    every = f", a reading each {_about(guess.interval)} per device" if guess.interval else ""
    lines.append(f"# {guess.rows:,} readings of {len(guess.devices):,} devices: {some}{every}")
    if guess.others:
        others = ", ".join(f"{path} = {example}" for path, example in guess.others.items())
        lines.append(f"# not read: {others}"[:300])
    lines += [f"# {note}" for note in draft.notes + guess.notes]
    return "\n".join(line.replace("\r", " ").replace("\n", " ") for line in lines)


def _channel(channel: Measured) -> str:
    table: dict[str, Any] = {"unit": channel.unit} if channel.unit else {}
    if channel.kind is Kind.BOOLEAN:
        table["kind"] = "boolean"
    else:
        table["range"] = [*_range(channel)]
    if channel.path != channel.name:
        table["path"] = shown(channel.path)
    seen = f"{channel.low:g} to {channel.high:g}" if channel.kind is Kind.NUMBER else "true, false"
    often = f", in {channel.share:.0%} of the readings" if channel.share < 0.995 else ""
    return f"{_key(channel.name)} = {_value(table)}   # seen: {seen}{often}"


def _range(channel: Measured) -> tuple[float, float]:
    """Ten times what was seen, or what the quantity usually allows: a fault is far outside."""
    most = _nice(10.0 * max(abs(channel.low), abs(channel.high), 1.0))
    low, high = (-most if channel.low < 0 else -_nice(most / 10)), most
    for pattern, (least, usual) in _QUANTITIES:
        usually = least <= channel.low and channel.high <= usual
        if usually and re.search(pattern, channel.name.lower()):
            return least, usual
    return low, high


def _nice(value: float) -> float:
    """The next 1, 2 or 5 with zeros."""
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1.0, 2.0, 5.0, 10.0) if step * power >= value)


def _task(guess: Guess, channels: Sequence[Measured]) -> list[str]:
    """One forecast, of the first channel that moves and is nearly always there."""
    moving = [channel for channel in channels if channel.varies]
    if not moving:
        return ["# No channel moved, so there is nothing to forecast yet: add [tasks.NAME]."]
    most = max(channel.share for channel in moving)
    target = next(channel for channel in moving if channel.share >= 0.9 * most).name
    horizon = next(
        (one for one in HORIZONS if one >= STEPS_AHEAD * guess.interval), HORIZONS[-1]
    ) if guess.interval else 600 * 10**6  # fmt: skip
    tolerance = max(10**6, horizon // 10, -(-2 * guess.interval // 10**6) * 10**6)
    slug = re.sub(r"[^a-z0-9]+", "_", target.lower()).strip("_") or "target"
    features = f"[features]\nlags = {{ {_key(target)} = [1, 2] }}"
    task = (
        f"[tasks.{slug}_in_{duration(horizon)}]\n"
        'kind = "forecast"\n'
        f"target = {_value(target)}\n"
        f'horizons = ["{duration(horizon)}"]\n'
        f'tolerance = "{duration(tolerance)}"\n'
        'model = ["preprocessing.StandardScaler", { use = "clip", limit = 5 }, '
        '"linear_model.LinearRegression"]'
    )
    return [features, task]


def _about(microseconds: int) -> str:
    """A duration to two digits or so."""
    for unit, size in (("d", 86_400e6), ("h", 3600e6), ("m", 60e6), ("s", 1e6)):
        if microseconds >= size:
            return f"{microseconds / size:.3g}{unit}"
    return f"{microseconds / 1e3:.3g}ms"


def _key(name: str) -> str:
    return name if _BARE.fullmatch(name) else json.dumps(name, ensure_ascii=False)


def _value(value: Any) -> str:
    """A value as TOML writes it on one line."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007F")
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    if isinstance(value, Mapping):
        inner = ", ".join(f"{_key(key)} = {_value(item)}" for key, item in value.items())
        return f"{{ {inner} }}"
    if isinstance(value, Sequence):
        return f"[{', '.join(map(_value, value))}]"
    return repr(value)
