"""A starter pipeline.toml, its guesses explained beside them."""

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from serving.starter.guess import Guess, Measured
from serving.starter.seen import BETWEEN, shown
from streamgauge.durations import text as duration
from streamgauge.schema import Kind

__all__ = [
    "HORIZONS",
    "Draft",
    "about",
    "stream_name",
    "target_of",
    "toml_value",
    "usual_range",
    "written",
]

SHOWN = 5
WORDS = 30
"""Of a line that are kept."""
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
    timezone: str = ""
    """Where the devices are, if anybody said so."""
    features: dict[str, Any] = field(default_factory=dict)
    """Options under [features]; two lags of the target where nothing is known."""


def stream_name(text: str) -> str:
    """What may stand for [stream] name of a text such as a folder's name."""
    return re.sub(r"[^a-z0-9-]+", "-", text.lower()).strip("-") or "stream"


def written(drafts: Sequence[Draft], name: str, command: str = "init") -> str:
    """The whole file, as this command of streamgauge's saw its sources."""
    channels = _all_channels(drafts)
    parts = [
        f"# Written by `streamgauge {command}` from what it saw; every guess is yours to correct.",
        f"[stream]\nname = {toml_value(name)}",
        *map(_devices, drafts[:1]),
        *map(_source, drafts),
        "\n".join(["[channels]", *map(_channel, channels), *_worded(drafts, channels)]),
        *_task(drafts[0], channels),
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
    if draft.timezone:
        lines.append(f"timezone = {toml_value(draft.timezone)}")
    elif draft.guess.zoneless:
        lines += ['timezone = "UTC"                 # the times name no zone: say which it is']
    return "\n".join(lines) if len(lines) > 1 else ""


def _source(draft: Draft) -> str:
    guess = draft.guess
    lines = ["[[source]]", f"use = {toml_value(draft.use)}"]
    lines += [f"{key} = {toml_value(value)}" for key, value in draft.options.items()]
    if draft.codec:
        lines.append(f"codec = {toml_value(draft.codec)}")
        origins = (("device", guess.device), ("time", guess.time))
        lines += [f"{key} = {toml_value(shown(origin))}" for key, origin in origins if origin]
    some = ", ".join(guess.devices[:SHOWN]) + (", ..." if len(guess.devices) > SHOWN else "")
    every = f", a reading each {about(guess.interval)} per device" if guess.interval else ""
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
        table["range"] = [*(channel.limits or _range(channel))]
    table |= channel.cleaning
    if channel.path != channel.name:
        table["path"] = shown(channel.path)
    seen = f"{channel.low:g} to {channel.high:g}" if channel.kind is Kind.NUMBER else "true, false"
    often = f", in {channel.share:.0%} of the readings" if channel.share < 0.995 else ""
    note = f"; {channel.note}" if channel.note else ""
    return f"{_key(channel.name)} = {toml_value(table)}   # seen: {seen}{often}{note}"


def _worded(drafts: Sequence[Draft], channels: Sequence[Measured]) -> list[str]:
    """Channels of words, each behind a "# ": whether they tell anything is the user's to say."""
    names = {channel.name for channel in channels}
    lines: list[str] = []
    for one in (one for draft in drafts for one in draft.guess.worded):
        name = one.path.rpartition(BETWEEN)[2]
        if name in names:
            continue
        names.add(name)
        table: dict[str, Any] = {"kind": "category" if one.values else "text"}
        table |= {"values": one.values} if one.values else {"words": WORDS} if one.several else {}
        table |= {"path": shown(one.path)} if one.path != name else {}
        feature = "onehot" if one.values else "tfidf" if one.several else "hashing"
        use = f"{feature} = {{ of = [{toml_value(name)}] }}"
        lines.append(f"# {_key(name)} = {toml_value(table)}   # and in [features]: {use}")
    return ["# Words; take the first # away to use them:", *lines] if lines else []


def _range(channel: Measured) -> tuple[float, float]:
    """Ten times what was seen, or what the quantity usually allows: a fault is far outside."""
    most = _nice(10.0 * max(abs(channel.low), abs(channel.high), 1.0))
    known = usual_range(channel.name)
    if known and known[0] <= channel.low and channel.high <= known[1]:
        return known
    return (-most if channel.low < 0 else -_nice(most / 10)), most


def usual_range(name: str) -> tuple[float, float] | None:
    """The range of a quantity that a channel's name tells, if it does."""
    return next((usual for word, usual in _QUANTITIES if re.search(word, name.lower())), None)


def _nice(value: float) -> float:
    """The next 1, 2 or 5 with zeros."""
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1.0, 2.0, 5.0, 10.0) if step * power >= value)


def target_of(channels: Sequence[Measured]) -> str:
    """The first channel that moves and is nearly always there; empty where none does."""
    moving = [channel for channel in channels if channel.varies]
    most = max((channel.share for channel in moving), default=0.0)
    return next((channel.name for channel in moving if channel.share >= 0.9 * most), "")


def _task(draft: Draft, channels: Sequence[Measured]) -> list[str]:
    """One forecast, and the features that it uses."""
    guess, target = draft.guess, target_of(channels)
    if not target:
        return ["# No channel moved, so there is nothing to forecast yet: add [tasks.NAME]."]
    horizon = next(
        (one for one in HORIZONS if one >= STEPS_AHEAD * guess.interval), HORIZONS[-1]
    ) if guess.interval else 600 * 10**6  # fmt: skip
    tolerance = max(10**6, horizon // 10, -(-2 * guess.interval // 10**6) * 10**6)
    slug = re.sub(r"[^a-z0-9]+", "_", target.lower()).strip("_") or "target"
    options = draft.features or {"lags": {target: [1, 2]}}
    features = "\n".join(
        ["[features]", *(f"{_key(key)} = {toml_value(value)}" for key, value in options.items())]
    )
    task = (
        f"[tasks.{slug}_in_{duration(horizon)}]\n"
        'kind = "forecast"\n'
        f"target = {toml_value(target)}\n"
        f'horizons = ["{duration(horizon)}"]\n'
        f'tolerance = "{duration(tolerance)}"'
    )
    return [features, task]


def about(microseconds: int) -> str:
    """A duration to two digits or so."""
    for unit, size in (("d", 86_400e6), ("h", 3600e6), ("m", 60e6), ("s", 1e6)):
        if microseconds >= size:
            return f"{microseconds / size:.3g}{unit}"
    return f"{microseconds / 1e3:.3g}ms"


def _key(name: str) -> str:
    return name if _BARE.fullmatch(name) else json.dumps(name, ensure_ascii=False)


def toml_value(value: Any) -> str:
    """A value as TOML writes it on one line."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007F")
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    if isinstance(value, Mapping):
        inner = ", ".join(f"{_key(key)} = {toml_value(item)}" for key, item in value.items())
        return f"{{ {inner} }}" if inner else "{}"
    if isinstance(value, Sequence):
        return f"[{', '.join(map(toml_value, value))}]"
    return repr(value)
