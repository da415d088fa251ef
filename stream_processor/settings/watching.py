"""Which detectors watch what: [drift], with what it leaves open filled in."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from stream_processor.settings.fields import PluginUse
from stream_processor.settings.model import Settings
from streamgauge import plugins
from streamgauge.schema import Kind as ChannelKind
from streamgauge.signal import Kind

__all__ = ["AUTO", "DETECTORS", "FEW", "THRESHOLDS", "Watching", "watching"]

FEW = 10_000
"""Devices up to which channels are watched unless something else is said: what watches them takes
0.9 KB per channel and device."""
USUAL = {Kind.LEVEL: "cusum", Kind.NOISE: "cusum", Kind.SHAPE: "chunk_ks"}
OTHERS: Mapping[Kind, str] = {
    Kind.FEATURE: "channels",
    Kind.PREDICTION: "tasks",
    Kind.LABEL: "tasks",
    Kind.RELATION: "channels",
    Kind.MISSING: "channels",
    Kind.FLAGGED: "channels",
}
"""Signals that are watched only where a detector is named, and what they are of."""
AUTO = "auto"
"""What stands for the usual detector."""
DETECTORS, BUDGET = "monitoring.detectors", "alarms_per_day"
THRESHOLDS = ("h", "p_value", BUDGET)
"""Options of which a detector's state knows nothing."""
OWN = (*THRESHOLDS, "delta", "deviations", "alpha")
"""Options that say how often there are false alarms: who gives one has no need of the budget."""


@dataclass(frozen=True, slots=True)
class Watching:
    """What is watched: the key in [drift] and the detector of each kind of signal; the channels of
    numbers; and how many false alarms a day each kind of signal whose threshold follows from it may
    give in one part (channel, task, feature) of one device."""

    uses: Mapping[Kind, tuple[str, PluginUse]]
    channels: tuple[str, ...]
    each: Mapping[Kind, float]
    devices: int

    @property
    def by_channel(self) -> bool:
        """Whether the values of channels are watched."""
        return any(kind in (*USUAL, Kind.RELATION) for kind in self.uses)

    @property
    def presence(self) -> bool:
        """Whether it is watched which values are missing or flagged."""
        return Kind.MISSING in self.uses or Kind.FLAGGED in self.uses


def watching(settings: Settings, features: int = 1) -> Watching:
    """What the settings watch; `features` is how many there are of channels of numbers.

    All signals whose threshold follows from the budget share it evenly, and the parts of each on
    all devices its share.
    """
    drift = settings.drift
    devices = settings.devices.expected or settings.devices.limit
    channels = tuple(
        name for name, one in settings.channels.items() if one.kind is ChannelKind.NUMBER
    )
    uses: dict[Kind, tuple[str, PluginUse]] = {}
    if drift.detector is not None and settings.tasks:
        uses[Kind.ERROR] = "detector", drift.detector
    for kind, usual in USUAL.items():
        use: PluginUse | None = getattr(drift, kind.value)
        if use is not None and use.use == AUTO:
            use = PluginUse(usual) if devices <= FEW else None
        if use is not None and channels:
            uses[kind] = kind.value, use
    for kind, of in OTHERS.items():
        named: PluginUse | None = getattr(drift, kind.value)
        if named is not None and getattr(settings, of):
            uses[kind] = kind.value, named
    sharing = [kind for kind, (_, use) in uses.items() if _shares(use)]
    each = {
        kind: drift.alarms_per_day / (len(sharing) * devices * _parts(kind, settings, features))
        for kind in sharing
    }
    for kind in sharing:
        key, use = uses[kind]
        uses[kind] = key, replace(use, options={**use.options, BUDGET: each[kind]})
    return Watching(uses, channels, each, devices)


def _parts(kind: Kind, settings: Settings, features: int) -> int:
    """How many parts of a device a signal has; at least 1."""
    if kind in (Kind.ERROR, Kind.PREDICTION, Kind.LABEL):
        parts = sum(max(len(task.horizons), 1) for task in settings.tasks.values())
    elif kind in (Kind.MISSING, Kind.FLAGGED):
        parts = len(settings.channels)
    elif kind in USUAL:
        parts = sum(one.kind is ChannelKind.NUMBER for one in settings.channels.values())
    else:
        parts = features if kind is Kind.FEATURE else 1
    return max(parts, 1)


def _shares(use: PluginUse) -> bool:
    """Whether its threshold follows from the false alarms of all, since none is given itself."""
    known = plugins.names(DETECTORS)
    takes = use.use in known and BUDGET in plugins.options(plugins.load(DETECTORS, use.use))
    return takes and not {*OWN} & use.options.keys()
