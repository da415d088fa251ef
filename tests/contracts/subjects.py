"""Every operator there is, built for the contract suite: at least one subject per file."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from typing import Any

import numpy as np

from ingest.codecs._tokens import tokens
from stream_processor.admit import Admit
from stream_processor.clean._range import EXTREME
from stream_processor.clocks import Clocks
from stream_processor.duplicates import Policy
from stream_processor.features import calendar, formula, group, lags, raw, rolling, shape, tfidf
from stream_processor.flag_counts import FlagCounts
from stream_processor.operator import Operator
from stream_processor.silence import Silence
from streamgauge import plugins
from streamgauge.batch import Batch, Features
from streamgauge.calls import Call, Now
from streamgauge.devices import Devices
from streamgauge.schema import Channel, Kind, Schema
from streamgauge.state import Keys
from streamgauge.tags import Tags
from streamgauge.words import Flag, Verdict
from tests.contracts.streams import CAPACITY, MAX_AHEAD, SCHEMA

__all__ = ["SUBJECTS", "Subject", "found", "without_subject"]

Seen = Callable[[Any], bool]


@dataclass(frozen=True)
class Subject:
    """An operator under test.

    `build(column)` makes a new one for `CAPACITY` devices. `outcomes` names what may happen to it,
    with a question to the operator whether it has; the suite's streams must make each happen.
    """

    module: str
    name: str
    build: Callable[[int], Operator]
    keys: Keys = Keys.DEVICE
    """DEVICE where no device has an influence on another; else what they have in common."""
    learned: bool = False
    """Whether what devices have in common is learned, and stays when one of them leaves."""
    admitted: bool = True
    """Whether it works on streams as admission leaves them, or as devices send them."""
    outcomes: Mapping[str, Seen] = field(default_factory=dict)

    @property
    def id(self) -> str:
        return f"{self.module.removeprefix('stream_processor.')}: {self.name}"


def found() -> list[str]:
    """Modules of all operators, from the folders that they live in."""
    clean = "stream_processor.clean"
    names = [
        "stream_processor.admit",
        "stream_processor.clocks",
        "stream_processor.flag_counts",
        "stream_processor.silence",
        f"{clean}._range",
    ]
    for folder in (clean, f"{clean}.outlier", f"{clean}.missing", "stream_processor.features"):
        names += [module.__name__ for module in plugins.find(folder).values()]
    return names


def without_subject(modules: Iterable[str], subjects: Iterable[Subject]) -> list[str]:
    """Modules that the suite would not look at."""
    return sorted(set(modules) - {subject.module for subject in subjects})


def _verdict(word: Verdict) -> Seen:
    return lambda admit: admit.verdicts()[word.name.lower()] > 0


def _flag(flag: Flag) -> Seen:
    return lambda admit: admit.flags()[str(flag.name).lower()] > 0


def _depth(layers: int) -> Seen:
    return lambda operator: bool((operator.blocks["ring"].depth == layers).any())


def _admit(policy: Policy = Policy.TIME, remember: int = 8) -> Callable[[int], Operator]:
    return lambda column: Admit(
        SCHEMA, CAPACITY, max_ahead_us=MAX_AHEAD, duplicates=policy, remember=remember
    )


def _admissions() -> Iterator[Subject]:
    """One for each way to recognise duplicates."""
    for policy, remember in zip(Policy, (8, 4, 16, 0), strict=True):
        # A retained message never comes here.
        never = {Verdict.RETAINED} if remember else {Verdict.RETAINED, Verdict.DUPLICATE}
        words = [word for word in Verdict if word not in never]
        yield Subject(
            "stream_processor.admit",
            f"duplicates by {policy}",
            _admit(policy, remember),
            admitted=False,
            outcomes={word.name: _verdict(word) for word in words},
        )


def _rolling(**options: Any) -> Callable[[int], Operator]:
    return lambda column: rolling.build(SCHEMA, CAPACITY, column, **options)


def _calendar(**options: Any) -> Callable[[int], Operator]:
    return lambda column: calendar.build(SCHEMA, CAPACITY, column, **options)


def _cleaner(module: str, channel: int, options: Mapping[str, Any]) -> Callable[[int], Operator]:
    def build(column: int) -> Operator:
        return _Counted(import_module(module).build(SCHEMA, CAPACITY, channel, **options))

    return build


class _Counted:
    """A stage behind admission, given values as that leaves them, with the flags that it set."""

    def __init__(self, operator: Operator) -> None:
        self.operator, self.blocks = operator, operator.blocks
        self.seen = Flag(0)

    def call(self, batch: Batch, features: Features) -> Call:
        inner = self.operator.call(batch, features)

        def run(n: int) -> None:
            values = batch.values[:n]
            values[~(np.abs(values) <= EXTREME)] = np.nan
            inner.run(n=n)
            admitted = batch.flags[:n][batch.verdict[:n] == 0]
            self.seen |= Flag(int(np.bitwise_or.reduce(admitted, axis=None)))

        return Call(run, (Now.N,))


class _Heard:
    """Silences, told after each batch."""

    def __init__(self) -> None:
        limits = [5 * 10**6, None, 30 * 10**6]
        self.silence = Silence(SCHEMA, CAPACITY, device=10**7, channels=limits, part=1_000)
        self.blocks = self.silence.blocks
        self.kinds: set[tuple[str, bool]] = set()

    def call(self, batch: Batch, features: Features) -> Call:
        inner = self.silence.call(batch, features)

        def run(n: int) -> None:
            values = batch.values[:n]
            values[~(np.abs(values) <= EXTREME)] = np.nan
            inner.run(n=n)
            events = self.silence.told(n)
            assert [event.source for event in events] == sorted(event.source for event in events)
            self.kinds |= {(event.kind.name, bool(event.channel)) for event in events}

        return Call(run, (Now.N,))


def _heard(kind: str, of_channel: bool, operator: _Heard) -> bool:
    return (kind, of_channel) in operator.kinds


_FEW = {"window": 9, "ready_after": 3, "accept_after": 3}
_CLEANERS: tuple[tuple[str, int, Mapping[str, Any], Flag], ...] = (
    ("rate", 0, {"per_second": 0.5, "action": "drop"}, Flag.RATE),
    ("rate", 0, {"per_second": 0.5, "action": "clip"}, Flag.CAPPED),
    ("spike", 0, {"limit": 1.5, "ready_after": 3, "action": "replace"}, Flag.SPIKE),
    ("spike", 2, {"limit": 1.5, "ready_after": 3, "action": "drop"}, Flag.SPIKE),
    ("stuck", 2, {"readings": 2, "tolerance": 1.0, "action": "drop"}, Flag.STUCK),
    ("stuck", 2, {"readings": 2, "after": "5s", "tolerance": 3.0}, Flag.STUCK),
    ("transform", 0, {"kind": "log"}, Flag.OUT_OF_RANGE),
    ("transform", 0, {"kind": "boxcox", "power": 0.5}, Flag.OUT_OF_RANGE),
    *(
        (f"outlier.{name}", 0, {**_FEW, "limit": limit, "action": action}, Flag.OUTLIER)
        for name, limit in (("hampel", 1.5), ("iqr", 0.5), ("zscore", 1.2))
        for action in ("flag", "drop", "clip", "winsorize", "replace")
    ),
    (
        "outlier.ewma",
        2,
        {"limit": 1.0, "ready_after": 4, "half_life": 5.0, "accept_after": 3},
        Flag.OUTLIER,
    ),
    ("missing.hold", 0, {"at_most": "30s"}, Flag.FILLED),
    ("missing.mean", 0, {"window": 7}, Flag.FILLED),
    ("missing.median", 0, {"window": 6}, Flag.FILLED),
    ("missing.mode", 0, {"window": 6}, Flag.FILLED),
    ("missing.seasonal", 0, {"period": "1m", "slots": 4}, Flag.FILLED),
    ("missing.predict", 0, {"of": ["load"], "ready_after": 5}, Flag.FILLED),
    ("missing.predict", 2, {"ready_after": 5}, Flag.FILLED),
)
"""File, channel, options, and a flag that it must have set at some time."""


def _cleaners() -> Iterator[Subject]:
    for name, channel, options, flag in _CLEANERS:
        yield Subject(
            f"stream_processor.clean.{name}",
            ", ".join(f"{key} {value}" for key, value in options.items()),
            _cleaner(f"stream_processor.clean.{name}", channel, options),
            outcomes={str(flag.name): partial(_set, flag)},
        )


def _set(flag: Flag, operator: _Counted) -> bool:
    return bool(operator.seen & flag)


_FEATURES = "stream_processor.features"
_BOTH = ["temperature", "free"]
_OTHER_FEATURES: tuple[tuple[str, Mapping[str, Any]], ...] = (
    ("weighted", {"of": _BOTH, "half_lives": [3, "30s"], "stats": ["mean", "std", "var"]}),
    ("differences", {"of": _BOTH, "lags": [1, 4]}),
    ("differences", {"of": ["free"], "lags": [2], "per": "second"}),
    ("quantiles", {"of": _BOTH, "window": {"readings": 6}, "stats": ["median", "q90", "mad"]}),
    ("quantiles", {"of": _BOTH, "window": {"readings": 5}, "stats": ["median", "q90", "iqr"]}),
    ("quantiles", {"of": ["free"], "window": "40s", "stats": ["iqr"], "readings_max": 5}),
    ("shape", {"of": _BOTH, "window": {"readings": 6}, "stats": shape.STATS}),
    ("shape", {"of": ["free"], "window": "40s", "stats": shape.STATS, "readings_max": 5}),
    ("spectrum", {"of": _BOTH, "bands": {"a": [0, 2], "b": [3, 4]}, "rate": 8.0, "window": 8}),
    ("since", {"value": ["free"], "change": ["load"], "above": {"load": 20.0}}),
)


def _feature(name: str, options: Mapping[str, Any], column: int) -> Operator:
    operator: Operator = import_module(f"{_FEATURES}.{name}").build(
        SCHEMA, CAPACITY, column, **options
    )
    return operator


_WORDED = Schema(
    [
        Channel("temperature", kind=Kind.CATEGORY, values=tuple(f"w{k}" for k in range(23))),
        Channel("load"),
        Channel("free", kind=Kind.TEXT),
    ]
)
_OF_WORDS: tuple[tuple[str, Mapping[str, Any]], ...] = (
    ("onehot", {"of": ["temperature"]}),
    ("ordinal", {"of": ["temperature"]}),
    ("frequency", {"of": ["temperature"]}),
    ("target_mean", {"of": ["temperature"], "target": "load", "weight": 2.0}),
    ("hashing", {"of": ["free"], "buckets": 5}),
)


def _of_words(name: str, options: Mapping[str, Any], column: int) -> Operator:
    plugin = import_module(f"{_FEATURES}.{name}")
    operator: Operator = plugin.build(_WORDED, CAPACITY, column, **options)
    return operator


class _Texts:
    """Readings with texts made of their values, and a feature of the words."""

    def __init__(self, options: Mapping[str, Any], column: int) -> None:
        channels = [Channel("temperature"), Channel("load")]
        text = Channel("free", kind=Kind.TEXT, words=12)
        self.schema = Schema([*channels, text])
        self.tokens = tokens(text)
        self.operator = tfidf.build(self.schema, CAPACITY, column, **options)
        self.names, self.blocks = self.operator.names, self.operator.blocks

    def call(self, batch: Batch, features: Features) -> Call:
        wide = Batch(batch.capacity, self.schema.width)
        inner = self.operator.call(wide, features)

        def run(n: int) -> None:
            wide.row[:n], wide.verdict[:n] = batch.row[:n], batch.verdict[:n]
            wide.values[:n, :3] = batch.values[:n]
            for i, value in enumerate(batch.values[:n, 2].tolist()):
                wide.values[i, self.schema.words["free"]] = self.tokens(_text_of(value))
            inner.run(n=n)

        return Call(run, (Now.N,))


def _text_of(value: float) -> str | None:
    if not math.isfinite(value):
        return None
    small = value % 97.0
    return " ".join(f"word{int(small * k) % 11}" for k in range(int(small) % 9))


_OF_TEXTS: tuple[Mapping[str, Any], ...] = (
    {"of": ["free"], "buckets": 5},
    {"of": ["free"], "buckets": 4, "counters": 6},
    {"of": ["free"], "scope": "fleet"},
)


_AMONG_DEVICES: tuple[tuple[str, Keys, Mapping[str, Any]], ...] = (
    ("tags", Keys.FLEET, {}),
    ("joined", Keys.FLEET, {"of": _BOTH, "device": "d7", "at_most": "20s", "readings_max": 3}),
    ("group", Keys.GROUP, {"of": _BOTH, "by": "site", "stats": group.STATS, "at_most": "20s"}),
    ("group", Keys.FLEET, {"of": ["free"], "stats": ["median", "mean"], "members_max": 2}),
)
"""File, key space and options of features that look at more than the device of a reading."""


def _known_devices() -> Devices:
    """A device in each row: of site a or b, or of none, with a depth."""
    ids = [f"d{row}" for row in range(CAPACITY)]
    table = {id_: [("a", "b", "a", "")[k % 4], str(k)] for k, id_ in enumerate(ids)}
    return Devices(CAPACITY, Tags(["site", "depth"], table))


def _remembers(operator: Operator) -> bool:
    shared = [block for block in operator.blocks.values() if block.keys is not Keys.DEVICE]
    return any(block.array.any() for block in shared)


def _among_devices(name: str, options: Mapping[str, Any], column: int) -> Operator:
    devices = _known_devices()
    plugin = import_module(f"{_FEATURES}.{name}")
    operator: Operator = plugin.build(SCHEMA, CAPACITY, column, devices, **options)
    devices.rows([f"d{row}" for row in range(CAPACITY)])
    return operator


class _Behind:
    """Channels as they are, and behind them a feature that is made of features."""

    def __init__(self, name: str, options: Mapping[str, Any], column: int) -> None:
        self.raw = raw.build(SCHEMA, CAPACITY, column, of=_BOTH)
        before = {f"other{k}": frozenset[str]() for k in range(column)}
        earlier = before | dict(zip(self.raw.names, self.raw.channels, strict=True))
        plugin = import_module(f"{_FEATURES}.{name}")
        self.operator = plugin.build(SCHEMA, CAPACITY, len(earlier), earlier, **options)
        self.names = (*self.raw.names, *self.operator.names)
        self.blocks: Mapping[str, Any] = self.operator.blocks

    def call(self, batch: Batch, features: Features) -> Call:
        first, second = (one.call(batch, features) for one in (self.raw, self.operator))

        def run(n: int) -> None:
            first.run(n=n)
            second.run(n=n)

        return Call(run, (Now.N,))


_OF_FEATURES: tuple[tuple[str, Mapping[str, Any]], ...] = tuple(
    ("scale", {"of": _BOTH, "method": method, "scope": scope, **more})
    for scope in ("device", "fleet")
    for method, more in (
        ("standard", {}),
        ("minmax", {}),
        ("maxabs", {}),
        ("robust", {"window": 6}),
    )
)

_ALL = rolling.STATS

SUBJECTS = (
    *_admissions(),
    Subject(
        "stream_processor.clocks",
        "skew",
        lambda column: Clocks(CAPACITY),
        admitted=False,
        outcomes={
            "known": lambda clocks: bool((clocks.blocks["clock"].view("runs") > 0).any()),
            "renewed": lambda clocks: bool((clocks.blocks["clock"].view("runs") > 7).any()),
            "wrong": lambda clocks: clocks.wrong(CAPACITY, 10**6) > 0,
        },
    ),
    Subject(
        "stream_processor.clean._range",
        "flags",
        _admit(),
        admitted=False,
        outcomes={str(flag.name): _flag(flag) for flag in Flag if flag < Flag.RATE},
    ),
    Subject(
        "stream_processor.flag_counts", "all", lambda column: _Counted(FlagCounts(SCHEMA, CAPACITY))
    ),
    Subject(
        "stream_processor.silence",
        "device and channels",
        lambda column: _Heard(),
        outcomes={
            f"{kind} {of_channel}": partial(_heard, kind, of_channel)
            for kind in ("SILENT", "RETURNED")
            for of_channel in (False, True)
        },
    ),
    *_cleaners(),
    Subject(
        f"{_FEATURES}.raw",
        "two",
        lambda column: raw.build(SCHEMA, CAPACITY, column, of=["free", "temperature"]),
    ),
    Subject(
        f"{_FEATURES}.lags",
        "two channels",
        lambda column: lags.build(
            SCHEMA, CAPACITY, column, lags={"temperature": [1, 2, 7], "free": [3]}
        ),
    ),
    Subject(
        f"{_FEATURES}.rolling",
        "one reading",
        _rolling(of=["free"], window={"readings": 1}, stats=_ALL),
    ),
    Subject(
        f"{_FEATURES}.rolling",
        "few readings",
        _rolling(of=["temperature", "free"], window={"readings": 5}, stats=["var", "mean"]),
    ),
    Subject(
        f"{_FEATURES}.rolling",
        "many readings",
        _rolling(of=["temperature", "load"], window={"readings": 70}, stats=_ALL),
        outcomes={"one layer": _depth(1), "many layers": _depth(16)},
    ),
    Subject(
        f"{_FEATURES}.rolling",
        "time",
        _rolling(of=["temperature", "load"], window="90s", stats=_ALL, readings_max=20),
        outcomes={
            "overflow": lambda operator: operator.overflowed > 0,
            "one layer": _depth(1),
            "two layers": _depth(2),
            "full ring": _depth(4),
        },
    ),
    Subject(
        f"{_FEATURES}.rolling",
        "time, sums alone",
        _rolling(of=["free"], window="10m", stats=["std"], readings_max=9),
        outcomes={"overflow": lambda operator: operator.overflowed > 0},
    ),
    *(
        Subject(
            f"{_FEATURES}.{name}",
            ", ".join(options),
            partial(_feature, name, options),
        )
        for name, options in _OTHER_FEATURES
    ),
    *(
        Subject(f"{_FEATURES}.{name}", ", ".join(options), partial(_of_words, name, options))
        for name, options in _OF_WORDS
    ),
    *(
        Subject(
            f"{_FEATURES}.tfidf",
            ", ".join(f"{key} {value}" for key, value in options.items()),
            partial(_Texts, options),
            Keys.FLEET if "scope" in options else Keys.DEVICE,
            learned=True,
            outcomes={"learns": lambda operator: bool(operator.blocks["state"].array.any())},
        )
        for options in _OF_TEXTS
    ),
    *(
        Subject(
            f"{_FEATURES}.{name}",
            f"{keys}, {', '.join(options)}",
            partial(_among_devices, name, options),
            keys,
            # What a device said that others look at stays said when it leaves.
            learned=name == "joined",
            outcomes={"remembers": _remembers} if name != "tags" else {},
        )
        for name, keys, options in _AMONG_DEVICES
    ),
    *(
        Subject(
            f"{_FEATURES}.{name}",
            f"{options['method']} of {options['scope']}",
            partial(_Behind, name, options),
            Keys(options["scope"]),
            learned=True,
            outcomes={"learns": lambda operator: bool(operator.blocks["state"].array.any())},
        )
        for name, options in _OF_FEATURES
    ),
    Subject(
        f"{_FEATURES}.formula",
        "three",
        lambda column: formula.build(
            SCHEMA,
            CAPACITY,
            column,
            of={"a": "load / temperature", "b": "exp(free) ** 2", "c": "max(load, free) - 1"},
        ),
    ),
    Subject(
        f"{_FEATURES}.calendar",
        "number",
        _calendar(of=calendar.FIELDS, zone="Europe/Berlin", country="DE"),
    ),
    Subject(
        f"{_FEATURES}.calendar",
        "cyclic",
        _calendar(
            of=["month", "holiday", "hour"],
            as_="cyclic",
            zone="Australia/Lord_Howe",
            country="AU",
            subdivision="NSW",
        ),
    ),
)
