"""The settings of one stream, typed: what a valid pipeline.toml says, with every default filled in.

Each class is one table of the file and each field one key of it; `key` in a field's metadata is the
key's name where it differs. Durations are microseconds, sizes bytes.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from stream_processor.arrange.stage import ROOMIEST
from stream_processor.duplicates import LONGEST_MEMORY, Policy, remembered
from stream_processor.settings.document import Document, KeyPath
from stream_processor.settings.kinds import (
    AtLeastOne,
    Bind,
    Duration,
    Ever,
    Horizon,
    Host,
    JournalSize,
    LabelPlace,
    Limits,
    Match,
    Name,
    Port,
    Raw,
    Scope,
    Size,
    Span,
    Steps,
    Zone,
)
from streamgauge.classes import Class
from streamgauge.devices import Devices
from streamgauge.schedule import TaskKind
from streamgauge.schema import Channel, Kind, Outside, Schema
from streamgauge.tags import read_tags

__all__ = [
    "AssembleSettings",
    "CalendarSettings",
    "ChannelSettings",
    "DeviceSettings",
    "DriftSettings",
    "DuplicateSettings",
    "FeatureSettings",
    "InterpolateSettings",
    "LabelFields",
    "LabelSettings",
    "Options",
    "PluginUse",
    "ReorderSettings",
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
    wait_for_sinks: Duration = 10 * 60 * 10**6
    """How long a checkpoint waits for sinks that do not take results: after it, what waits for them
    is lost if the process is killed. It always waits for the history."""


@dataclass(frozen=True, slots=True)
class DuplicateSettings:
    """devices.duplicates; a plain word means `by`."""

    __shorthand__: ClassVar[str] = "by"

    by: Policy = Policy.TIME
    """How a reading that came before is recognised: see `stream_processor.duplicates`."""
    remember: Annotated[int, Field(ge=1, le=LONGEST_MEMORY)] | None = None
    """Among how many of the device's readings. None: 8 by time, 16 by content, 64 by sequence."""

    @property
    def kept(self) -> tuple[Policy, int]:
        """How, and among how many of a device's readings."""
        return self.by, remembered(self.by, self.remember)


@dataclass(frozen=True, slots=True)
class ReorderSettings:
    """devices.reorder; a plain duration means `up_to`."""

    __shorthand__: ClassVar[str] = "up_to"

    up_to: Duration = field(default=0, metadata=REQUIRED)
    """How much older than the device's newest a reading may be and still find its place."""
    readings: Annotated[int, Field(ge=1, le=ROOMIEST)] = 32
    """Readings of one device that are held back at most; beyond it the oldest goes on."""


@dataclass(frozen=True, slots=True)
class InterpolateSettings:
    """channels.NAME.interpolate; a plain duration means `up_to`."""

    __shorthand__: ClassVar[str] = "up_to"

    up_to: Duration = field(default=0, metadata=REQUIRED)
    """The longest time between two values of the channel through which those that are missing
    between them are interpolated: a reading that lacks one waits for as long."""
    readings: Annotated[int, Field(ge=1, le=ROOMIEST)] = 32
    """Readings of one device that wait at most, the largest of all channels; beyond it the oldest
    goes on without."""


@dataclass(frozen=True, slots=True)
class AssembleSettings:
    """devices.assemble: how messages about one channel become rows about all of them."""

    use: Literal["last", "wait"] = field(default="last", metadata=REQUIRED)
    """Each message gives a row with the last known values; or a row waits for all channels."""
    within: Duration | None = None
    """With "last": how old a known value may be."""
    up_to: Duration | None = None
    """With "wait": how long after its first message a row waits for the rest."""


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
    max_skew: Duration = 60 * 10**6
    """How far a device's clock may be from ours before it counts as wrong."""
    evict_after: Ever = None
    tags: TableSettings | None = None
    """What is known of the devices beforehand: site, type and the like."""
    silent_after: Ever = None
    """How long a device may be quiet before that is an event."""
    duplicates: DuplicateSettings = DuplicateSettings()
    reorder: ReorderSettings | None = None
    """None: a reading that is older than the device's newest is late."""
    assemble: AssembleSettings | None = None
    """None: a message has all channels that it will have."""


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
    interpolate: InterpolateSettings | None = None
    """Missing values between two that came; done first. None: a reading waits for no value."""
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
class LabelFields:
    """tasks.NAME.label.fields: where a label message has what; dotted paths."""

    id: str = "id"
    device: str = "device"
    """Or "topic:N", a level of the topic."""
    time: str = "time"
    label: str = "label"
    task: str = "task"
    """Optional: a message that names a task is for that one only."""


@dataclass(frozen=True, slots=True)
class LabelSettings:
    """tasks.NAME.label: labels that come by themselves, not as a channel of a reading."""

    source: LabelPlace = field(default="", metadata={"key": "from", "required": True})
    match: Match = field(default=None, metadata={"key": "match"})
    expire_after: Duration = 7 * 86_400 * 10**6
    """How long a prediction waits for its label, by our clock."""
    teach_until: Duration | None = None
    """Age up to which a label teaches; older ones are only scored. None: `expire_after`."""
    delay: Horizon | None = None
    """In a replay: when a column's label becomes known. None: right after its reading."""
    fields: LabelFields = LabelFields()

    @property
    def by_id(self) -> bool:
        """Whether a label names the id of its prediction; a column's is for its own row."""
        return self.match is None and not self.column

    @property
    def topic(self) -> str:
        """The filter of topics that brings them; "" for a column."""
        kind, _, rest = self.source.partition(":")
        return HTTP_LABELS if kind == "http" else rest if kind == "topic" else ""

    @property
    def column(self) -> str:
        """The column of a recording that holds them; "" where a topic does."""
        kind, _, rest = self.source.partition(":")
        return rest if kind == "column" else ""


HTTP_LABELS = "http/labels"
"""The topic under which labels sent over HTTP arrive."""


@dataclass(frozen=True, slots=True)
class SelectSettings:
    """tasks.NAME.select: which features the models see."""

    by: Literal["variance", "correlation"] = field(default="correlation", metadata=REQUIRED)
    keep: AtLeastOne | None = None
    """How many are kept by correlation with the label."""
    threshold: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    """By variance, those above it are kept; 0 unless given."""


@dataclass(frozen=True, slots=True)
class TaskSettings:
    """[tasks.NAME]."""

    kind: TaskKind = field(default="forecast", metadata=REQUIRED)
    target: str = ""
    """The channel that is predicted; none where `label` says that labels come by themselves. Of an
    anomaly detector the channel that it watches, where it watches a single one."""
    classes: tuple[Class, ...] = ()
    """The classes of a classification. None: the words of the target, false and true of a boolean,
    or whatever numbers come, up to `classes_max` different ones."""
    classes_max: Annotated[int, Field(ge=2, le=100)] = 20
    model: Steps = field(default=(), metadata=REQUIRED)
    horizons: tuple[Horizon, ...] = ()
    tolerance: Duration | None = None
    predict: Literal["change", "level"] | None = None
    inputs: Names = ("*",)
    """Patterns of feature names, `*` and `?` as in file names; "!" in front excludes."""
    select: SelectSettings | None = None
    scope: Scope = "device"
    label: LabelSettings | None = None
    before_ready: Literal["last", "none"] = "last"
    ready_after: Annotated[int, Field(ge=0)] = 10
    pending: AtLeastOne = 1024
    """Predictions of one device that may wait for their label, per task and horizon."""

    @property
    def change(self) -> bool:
        """True when the model learns the target's change rather than its level."""
        if self.kind not in ("forecast", "regression"):
            return False
        by_default = "change" if self.kind == "forecast" and self.label is None else "level"
        return (self.predict or by_default) == "change"

    @property
    def by_itself(self) -> bool:
        """True when the model learns each reading when it answers it, whatever labels say."""
        return self.kind in ("anomaly", "clustering")

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
    """From the environment only: references in the file, and STREAMGAUGE_API_KEY. They are good
    for everything."""
    read_keys: tuple[str, ...] = field(default=(), repr=False)
    """Good for asking only."""
    write_keys: tuple[str, ...] = field(default=(), repr=False)
    """Good for posting readings and labels only."""
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
        channels = (_channel(name, channel) for name, channel in self.channels.items())
        return Schema(channels, self.label_columns)

    @property
    def label_columns(self) -> tuple[Channel, ...]:
        """The columns of a recording that hold labels, each way of reading one once."""
        from stream_processor.settings.classes import label_channel

        tasks = self.tasks.values()
        columns = [(task, task.label.column) for task in tasks if task.label is not None]
        return tuple(dict.fromkeys(label_channel(task, name) for task, name in columns if name))


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
