"""The settings of one stream, typed: what a valid pipeline.toml says, with every default filled in.

Each class is one table of the file and each field one key of it; `key` in a field's metadata is the
key's name where it differs. Durations are microseconds, sizes bytes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from stream_processor.settings.actions import ActionSettings
from stream_processor.settings.alerts import AlertSettings
from stream_processor.settings.channels import ChannelSettings
from stream_processor.settings.devices import DeviceSettings
from stream_processor.settings.document import Document, KeyPath
from stream_processor.settings.fields import REQUIRED, REST, Names, PluginUse
from stream_processor.settings.kinds import (
    AtLeastOne,
    Bind,
    Duration,
    Horizon,
    Host,
    JournalSize,
    Name,
    Port,
    Rate,
    Raw,
    Size,
    Span,
)
from stream_processor.settings.tasks import TaskSettings
from stream_processor.settings.tuning import TuneSettings
from streamgauge.devices import Devices
from streamgauge.schema import Channel, Schema
from streamgauge.tags import read_tags

__all__ = [
    "CalendarSettings",
    "DriftSettings",
    "FeatureSettings",
    "QuarantineSettings",
    "RollingSettings",
    "ScoreSettings",
    "ServeSettings",
    "Settings",
    "SourceSettings",
    "StateSettings",
    "StoreSettings",
    "StreamSettings",
    "numbered",
]


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
    """Readings that no checkpoint has yet; beyond it nothing more is acknowledged."""
    durability: Literal["process", "power"] = "process"
    """What an acknowledged reading survives: the end of the process, or a loss of power."""
    evicted_max: Size = 10 * 10**9
    """State that is kept of evicted devices; beyond it those evicted first are forgotten."""
    wait_for_sinks: Duration = 10 * 60 * 10**6
    """How long a checkpoint waits for sinks that do not take results: after it, what waits for them
    is lost if the process is killed. It always waits for the history."""


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
    """By channel how many readings back."""
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
class DriftSettings:
    """[drift]."""

    detector: PluginUse | None = field(default=PluginUse("adwin"))
    """Of the errors of tasks. None = nothing watches; written "none"."""
    level: PluginUse | None = field(default=PluginUse("auto"))
    """Of channels; "auto" is a detector up to 10,000 devices, and none beyond."""
    noise: PluginUse | None = field(default=PluginUse("auto"))
    """Of how much channels scatter."""
    shape: PluginUse | None = field(default=PluginUse("auto"))
    """Of how values of channels are distributed."""
    feature: PluginUse | None = None
    """Of features that are made of channels of numbers."""
    prediction: PluginUse | None = None
    """Of what models answer, whatever the label will be; of a classification places of classes."""
    label: PluginUse | None = None
    """Of labels, whatever was answered."""
    relation: PluginUse | None = None
    """Of how the channels of numbers lie to each other; there must be two."""
    missing: PluginUse | None = None
    """Of the share of readings without a value of a channel."""
    flagged: PluginUse | None = None
    """Of the share of values that cleaning changed or took out."""
    alarms_per_day: Rate = 2.0
    """False alarms a day that all signals of all devices together may give; detectors that have a
    threshold of their own, or none that follows from it, come on top."""
    actions: dict[str, ActionSettings] = field(default_factory=dict)
    """By signal, "error" or one of the above; "alert" where nothing is said."""


@dataclass(frozen=True, slots=True)
class ScoreSettings:
    """[scores]."""

    window: AtLeastOne = 50
    """Labels that the rolling scores cover."""
    half_life: AtLeastOne = 500
    """Labels after which one weighs half as much in the decayed scores."""


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """[store]: how much history is kept."""

    keep: Duration = 30 * 86_400 * 10**6
    max_size: Size = 10 * 10**9


@dataclass(frozen=True, slots=True)
class QuarantineSettings:
    """[quarantine]: how much of what was refused is kept, whichever bound is reached first."""

    keep: Duration = 30 * 86_400 * 10**6
    max_size: Size = 100 * 10**6


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
    devices: DeviceSettings = field(default=DeviceSettings())
    sources: tuple[SourceSettings, ...] = field(default=(), metadata={"key": "source"})
    channels: dict[str, ChannelSettings] = field(default_factory=dict)
    """In the file's order; empty where the replayed file's numeric columns become channels."""
    features: FeatureSettings = FeatureSettings()
    tasks: dict[str, TaskSettings] = field(default_factory=dict)
    drift: DriftSettings = DriftSettings()
    scores: ScoreSettings = ScoreSettings()
    sinks: tuple[PluginUse, ...] = field(default=(), metadata={"key": "sink"})
    store: StoreSettings = StoreSettings()
    alerts: AlertSettings = field(default=AlertSettings())
    quarantine: QuarantineSettings | None = QuarantineSettings()
    """None = what was refused is only counted; written "none"."""
    serve: ServeSettings = ServeSettings()
    tune: TuneSettings = field(default=TuneSettings(), repr=False)
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
    def source_names(self) -> list[str]:
        """A name for each source: its plug-in's, numbered where several are of one."""
        return numbered([source.use for source in self.sources])

    @property
    def label_columns(self) -> tuple[Channel, ...]:
        """The columns of a recording that hold labels, each way of reading one once."""
        from stream_processor.settings.classes import label_channel

        tasks = self.tasks.values()
        columns = [(task, task.label.column) for task in tasks if task.label is not None]
        return tuple(dict.fromkeys(label_channel(task, name) for task, name in columns if name))


def numbered(uses: Sequence[str]) -> list[str]:
    """Plug-ins of one kind by name, numbered where there are several of one name."""
    return [f"{use}-{k}" if uses.count(use) > 1 else use for k, use in enumerate(uses)]


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
        channel.words,
        channel.ngrams,
        channel.stop_words,
    )
