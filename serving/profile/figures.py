"""What a profile knows: figures alone, without a word about how they are shown.

Times and durations are microseconds, shares 0 to 1; NaN where a figure is not defined.
"""

from dataclasses import dataclass, field

from streamgauge.arrays import Floats

__all__ = ["ChannelFigures", "DeviceFigures", "Histogram", "Pace", "Profile", "Season", "Timeline"]


@dataclass(frozen=True, slots=True)
class Pace:
    """How readings follow each other."""

    interval: float
    """Median between two that follow each other."""
    gaps: int
    """Steps of more than three intervals."""
    longest: float
    """The longest step."""


@dataclass(frozen=True, slots=True)
class Histogram:
    """`counts float64[b]` of values between the `edges float64[b + 1]`, and of those beyond."""

    edges: Floats
    counts: Floats
    below: int
    above: int


@dataclass(frozen=True, slots=True)
class Timeline:
    """Lowest, middle and highest value in equal parts of the recording, each `float64[p]`; NaN in
    parts without any."""

    low: Floats
    middle: Floats
    high: Floats
    by_time: bool
    """False = parts of equally many readings, of a recording that is mostly gaps."""


@dataclass(frozen=True, slots=True)
class Season:
    """`means float64[24 or 7]` by hour of day or day of week, as distance from the device's course
    over days or weeks, and how much of the variance about it those of all other days or
    weeks explain. `strength` is NaN where the recording is too short to tell."""

    means: Floats
    strength: float


@dataclass(frozen=True, slots=True)
class ChannelFigures:
    """One channel over all devices."""

    name: str
    values: int
    missing: float
    """Share of the readings that lack it."""
    pace: Pace
    low: float
    high: float
    mean: float
    quantiles: Floats
    """At 0.1, 1, 25, 50, 75, 99 and 99.9 %, from the sample."""
    distinct: int
    """Different values in the sample."""
    repeats: float
    """Share of values that are the same as the device's one before."""
    stuck: float
    spikes: float
    outliers: float
    """Shares of the values that the cleaners of these names flag."""
    histogram: Histogram
    timeline: Timeline
    autocorrelation: Floats
    """float64[lags + 1], in readings of one device; empty where there are too few."""
    hours: Season
    weekdays: Season

    @property
    def constant(self) -> bool:
        return not self.high > self.low


@dataclass(frozen=True, slots=True)
class DeviceFigures:
    """One device."""

    name: str
    readings: int
    refused: int
    """Readings that admission refuses: duplicate, late, clock wrong, without any value."""
    pace: Pace
    missing: float
    """Share of the values that are absent from its readings."""
    stuck: float
    spikes: float
    outliers: float
    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class Profile:
    """A whole recording."""

    name: str
    rows: int
    """Readings of the devices below."""
    left_out: int
    """Readings of devices beyond those that are told apart."""
    unreadable: int
    """Rows without a device or a time."""
    refused: dict[str, int]
    """Readings by the reason for which admission refuses them."""
    begin: int
    end: int
    zone: str
    sampled: int
    """Readings that quantiles, histograms and seasons rest on."""
    pace: Pace
    channels: list[ChannelFigures] = field(default_factory=list)
    devices: list[DeviceFigures] = field(default_factory=list)
