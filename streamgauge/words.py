"""Names of what can happen to a reading, a value, a step and a prediction: stable codes."""

from enum import IntEnum, IntFlag

__all__ = ["VERDICTS", "Flag", "Status", "Step", "Verdict"]


class Verdict(IntEnum):
    """Why a reading was admitted or not. Stored as uint8; the name is what users see."""

    ADMITTED = 0
    DUPLICATE = 1
    """Same device and same event time as one already admitted."""
    LATE = 2
    """Older than the device's newest reading."""
    FUTURE = 3
    """Event time further ahead of our clock than `devices.max_ahead` allows."""
    CLOCK_UNSET = 4
    """Event time before the year 2000, and that is not when it was received: the device's clock was
    never set."""
    OUT_OF_RANGE = 5
    """A channel whose policy is `outside = "reject"` left its range."""
    EMPTY = 6
    """No channel of the schema has a usable value."""
    RETAINED = 7
    """The broker repeats something old: shown as the last known state, learned by nothing."""


VERDICTS = tuple(verdict.name.lower() for verdict in Verdict)
"""Their names, by code."""


class Flag(IntFlag):
    """What cleaning did to a value. Stored as uint16 bits; a set bit means it was changed."""

    NON_FINITE = 1
    """NaN literal, infinity: removed."""
    OUT_OF_RANGE = 2
    """Outside the channel's declared range: removed."""
    EXTREME = 4
    """Magnitude beyond anything physical (over 1e24), whatever the range: removed."""
    WRONG_TYPE = 8
    """Not a number where the schema wants one: removed by the codec."""
    UNIT = 16
    """In a unit that cannot be converted to the channel's: removed by the codec."""
    RATE = 32
    """Changed faster than the channel can."""
    STUCK = 64
    """Unchanged for longer than a live sensor is."""
    SPIKE = 128
    """One value far from its neighbours."""
    OUTLIER = 256
    """Outside the band of what is usual for this device."""
    CAPPED = 512
    """Replaced by a limit or by the expected value."""
    FILLED = 1024
    """Was missing: the value is made up by the channel's policy."""
    CORRECTED = 2048
    """A misspelt category: taken by the codec for the word that it is most like."""
    UNKNOWN_CATEGORY = 4096
    """A category that is not in the channel's vocabulary: counted by the codec as unknown."""


class Step(IntEnum):
    """What a row of a `Schedule` asks of a model and of the scorer."""

    PREDICT = 0
    LEARN = 1
    SCORE = 2
    """A label that came too late to teach: scored only."""
    EXPIRE = 3
    """The label did not come in time."""


class Status(IntEnum):
    """State of a prediction, as users see it."""

    PENDING = 0
    LABELLED = 1
    EXPIRED = 2
    WARMING_UP = 3
    """Made before the model had learned `ready_after` labels; the label has not come yet."""
