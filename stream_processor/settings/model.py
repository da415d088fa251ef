"""The settings of one stream, typed: what a valid pipeline.toml says, with every default filled in.

Each class is one table of the file and each field one key of it; `key` in a field's metadata is the
key's name where it differs. Durations are microseconds, sizes bytes.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from stream_processor.settings.document import Document, KeyPath
from stream_processor.settings.kinds import (
    AtLeastOne,
    Bind,
    Duration,
    Ever,
    Horizon,
    Host,
    JournalSize,
    Limits,
    Name,
    Port,
    Raw,
    Size,
    Span,
    Steps,
    Zone,
)
from streamgauge.devices import Devices
from streamgauge.schema import Channel, Kind, Outside, Schema
from streamgauge.tags import read_tags

__all__ = [
    "CalendarSettings",
    "ChannelSettings",
    "DeviceSettings",
    "DriftSettings",
    "FeatureSettings",
    "Options",
    "PluginUse",
    "RollingSettings",
    "ScoreSettings",
    "ServeSettings",
    "Settings",
    "SourceSettings",
    "StateSettings",
    "StoreSettings",
    "StreamSettings",
    "TableSettings",
    "TaskSettings",
]

CLEANERS = "stream_processor.clean"
REQUIRED: Mapping[str, Any] = {"required": True}
REST: Mapping[str, Any] = {"rest": True}
"""This field takes the keys that no other field of the table names."""

Names = Annotated[tuple[str, ...], Field(min_length=1)]
LEAST_TOLERANCE = 10**6
"""Clocks of devices are seldom truer than a second."""


@dataclass(frozen=True, slots=True)
class StreamSettings:
    """[stream]."""

    name: Name = "stream"


@dataclass(frozen=True, slots=True)
class StateSettings:
    """[state]: where the state lives and how often it is written."""

    dir: Path = Path("state")
    """Relative to the file's folder; absolute once loaded."""
    checkpoint_every: Duration = 30 * 10**6
    journal_max: JournalSize = 5 * 10**9
    durability: Literal["process", "power"] = "process"
    """What an acknowledged reading survives: the end of the process, or a loss of power."""


@dataclass(frozen=True, slots=True)
class TableSettings:
    """devices.tags; a plain path means `file`."""

    __shorthand__: ClassVar[str] = "file"

    file: Path = field(default=Path(), metadata=REQUIRED)
    """CSV with a column `device` and one per tag. Relative to the file's folder; absolute once
    loaded."""


@dataclass(frozen=True, slots=True)
class DeviceSettings:
    """[devices]."""

    limit: AtLeastOne = 100_000
    expected: AtLeastOne | None = None
    """How many there will be; `check` reckons their memory. None: `limit`."""
    timezone: Zone = "UTC"
    max_ahead: Duration = 5 * 60 * 10**6
    """How far ahead of our clock an event time may be."""
    evict_after: Ever = None
    tags: TableSettings | None = None
    """What is known of the devices beforehand: site, type and the like."""
    silent_after: Ever = None
    """How long a device may be quiet before that is an event."""


@dataclass(frozen=True, slots=True)
class PluginUse:
    """A plug-in's name and its options, checked against the plug-in's own signature.

    Written `"adwin"` or `{ use = "adwin", delta = 0.002 }`.
    """

    __shorthand__: ClassVar[str] = "use"

    use: str = field(default="", metadata=REQUIRED)
    options: dict[str, Any] = field(default_factory=dict, repr=False, metadata=REST)


@dataclass(frozen=True, slots=True)
class Options:
    """Options of the one plug-in that a key stands for."""

    options: dict[str, Any] = field(default_factory=dict, repr=False, metadata=REST)


@dataclass(frozen=True, slots=True)
class SourceSettings:
    """[[source]]: options of the source, and those of its codec from the same table."""

    use: str = field(default="", metadata=REQUIRED)
    codec: PluginUse | None = None
    """None where the source yields readings by itself."""
    first: bool = False
    """Read to its end before anything is taken from sources without it: history before live."""
    options: dict[str, Any] = field(default_factory=dict, repr=False, metadata=REST)


@dataclass(frozen=True, slots=True)
class ChannelSettings:
    """[channels.NAME]."""

    unit: str = ""
    kind: Kind = Kind.NUMBER
    range: Limits | None = None
    outside: Outside = Outside.MISSING
    path: str = ""
    values: tuple[str, ...] = ()
    """The words of a category."""
    similarity: Annotated[float, Field(ge=0, le=100)] = 85.0
    """How like one of them, percent, a misspelt word must be to be taken for it; 100 = none is."""
    decimal: Literal[".", ","] = "."
    """What stands before the decimals of numbers that are written as text."""
    silent_after: Ever = None
    """How long the channel may be absent before that is an event."""
    rate: Options | None = None
    """Cleaning, in the order in which it is done: see the files of `stream_processor/clean`."""
    spike: Options | None = None
    stuck: Options | None = None
    outlier: PluginUse | None = None
    missing: PluginUse | None = None
    transform: Options | None = None

    def cleaners(self) -> Iterator[tuple[str, str, PluginUse]]:
        """Key, folder of plug-ins and use of each policy that is set, in the order of the work."""
        for name in ("rate", "spike", "stuck", "outlier", "missing", "transform"):
            value = getattr(self, name)
            if isinstance(value, Options):
                yield name, CLEANERS, PluginUse(name, value.options)
            elif value is not None:
                yield name, f"{CLEANERS}.{name}", value


@dataclass(frozen=True, slots=True)
class RollingSettings:
    """One entry of features.rolling."""

    of: Names = field(default=(), metadata=REQUIRED)
    window: Horizon = field(default=Span("", 0, 0), metadata=REQUIRED)
    stats: Names = field(default=(), metadata=REQUIRED)
    readings_max: Annotated[int, Field(ge=2)] = 256
    """Most readings of one device that a time window holds."""


@dataclass(frozen=True, slots=True)
class CalendarSettings:
    """features.calendar; a plain list means `of`."""

    __shorthand__: ClassVar[str] = "of"

    of: Names = field(default=(), metadata=REQUIRED)
    encoding: Literal["number", "cyclic"] = field(default="number", metadata={"key": "as"})
    country: str = ""
    """Whose holidays these are, such as "DE"; and of which part of it, such as "BY"."""
    subdivision: str = ""


@dataclass(frozen=True, slots=True)
class FeatureSettings:
    """[features]."""

    raw: Raw = None
    """Channels whose current value is a feature; None = all of them."""
    lags: dict[str, tuple[AtLeastOne, ...]] = field(default_factory=dict)
    rolling: tuple[RollingSettings, ...] = ()
    calendar: CalendarSettings | None = None
    others: dict[str, Any] = field(default_factory=dict, metadata=REST)
    """Any other file of `stream_processor/features` by its name: its options, or a list of tables
    of options where it stands several times."""

    def uses(self) -> Iterator[tuple[KeyPath, PluginUse]]:
        """Key and use of each of the others, in order."""
        for name, given in self.others.items():
            if isinstance(given, list):
                for i, options in enumerate(given):
                    yield ("features", name, i), PluginUse(name, options)
            else:
                yield ("features", name), PluginUse(name, given)


@dataclass(frozen=True, slots=True)
class TaskSettings:
    """[tasks.NAME]."""

    kind: Literal["forecast", "regression"] = field(default="forecast", metadata=REQUIRED)
    target: str = field(default="", metadata=REQUIRED)
    model: Steps = field(default=(), metadata=REQUIRED)
    horizons: tuple[Horizon, ...] = ()
    tolerance: Duration | None = None
    predict: Literal["change", "level"] | None = None
    inputs: Names = ("*",)
    """Patterns of feature names, `*` and `?` as in file names; "!" in front excludes."""
    scope: Literal["device"] = "device"
    before_ready: Literal["last", "none"] = "last"
    ready_after: Annotated[int, Field(ge=0)] = 10
    pending: AtLeastOne = 1024
    """Predictions of one device that may wait for their label, per task and horizon."""

    @property
    def change(self) -> bool:
        """True when the model learns the target's change rather than its level."""
        return (self.predict or ("change" if self.kind == "forecast" else "level")) == "change"

    def tolerance_of(self, horizon: Span) -> int:
        """Microseconds after the horizon in which a reading still is the label.

        `tolerance` where given, else a tenth of the horizon and at least a second; 0 where the
        horizon counts readings.
        """
        if horizon.readings:
            return 0
        return self.tolerance or max(LEAST_TOLERANCE, horizon.duration // 10)


@dataclass(frozen=True, slots=True)
class DriftSettings:
    """[drift]."""

    detector: PluginUse | None = PluginUse("adwin")
    """None = nothing watches; written "none"."""


@dataclass(frozen=True, slots=True)
class ScoreSettings:
    """[scores]."""

    window: AtLeastOne = 50
    """Labels that the rolling scores cover."""


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """[store]: how much history is kept."""

    keep: Duration = 30 * 86_400 * 10**6
    max_size: Size = 10 * 10**9


@dataclass(frozen=True, slots=True)
class ServeSettings:
    """[serve]."""

    host: Bind = "127.0.0.1"
    port: Port = 8000
    api_keys: tuple[str, ...] = field(default=(), repr=False)
    """From the environment only: references in the file, and STREAMGAUGE_API_KEY."""
    hosts: tuple[Host, ...] = ()
    """Names in the Host header that are answered although no key is set; loopback always is."""
    page: bool = True
    """False = the API alone, without the page and its login."""


@dataclass(frozen=True, slots=True)
class Settings:
    """A whole pipeline.toml."""

    stream: StreamSettings = StreamSettings()
    state: StateSettings = StateSettings()
    devices: DeviceSettings = DeviceSettings()
    sources: tuple[SourceSettings, ...] = field(default=(), metadata={"key": "source"})
    channels: dict[str, ChannelSettings] = field(default_factory=dict)
    """In the file's order; empty where the replayed file's numeric columns become channels."""
    features: FeatureSettings = FeatureSettings()
    tasks: dict[str, TaskSettings] = field(default_factory=dict)
    drift: DriftSettings = DriftSettings()
    scores: ScoreSettings = ScoreSettings()
    sinks: tuple[PluginUse, ...] = field(default=(), metadata={"key": "sink"})
    store: StoreSettings = StoreSettings()
    serve: ServeSettings = ServeSettings()
    notes: tuple[str, ...] = field(default=(), metadata={"key": ""})
    """What is allowed but may surprise, one sentence each."""
    document: Document = field(
        default=Document({}), repr=False, compare=False, metadata={"key": ""}
    )
    """The text it came from, for the lines of problems found later."""

    def known_devices(self, limit: int) -> Devices:
        """No devices yet, and what is known of them beforehand; ValueError where that cannot be
        read."""
        table = self.devices.tags
        return Devices(limit, read_tags(table.file) if table else None)

    def schema(self) -> Schema:
        """The channels as the words of the walk."""
        return Schema(_channel(name, channel) for name, channel in self.channels.items())


def _channel(name: str, channel: ChannelSettings) -> Channel:
    low, high = channel.range or (float("-inf"), float("inf"))
    return Channel(
        name,
        channel.unit,
        channel.kind,
        low,
        high,
        channel.outside,
        channel.path,
        channel.values,
        channel.similarity,
        channel.decimal,
    )
