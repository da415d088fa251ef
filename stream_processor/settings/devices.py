"""[devices] and its tables: who may come, and in which order readings are taken."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from stream_processor.arrange.stage import ROOMIEST
from stream_processor.duplicates import LONGEST_MEMORY, Policy, remembered
from stream_processor.settings.fields import REQUIRED
from stream_processor.settings.kinds import AtLeastOne, Duration, Ever, Zone

__all__ = [
    "AssembleSettings",
    "DeviceSettings",
    "DuplicateSettings",
    "ReorderSettings",
    "TableSettings",
]


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
    """How long a device may be idle before its state leaves the memory; it comes back with it."""
    tags: TableSettings | None = None
    """What is known of the devices beforehand: site, type and the like."""
    silent_after: Ever = None
    """How long a device may be quiet before that is an event."""
    duplicates: DuplicateSettings = DuplicateSettings()
    reorder: ReorderSettings | None = None
    """None: a reading that is older than the device's newest is late."""
    assemble: AssembleSettings | None = None
    """None: a message has all channels that it will have."""
