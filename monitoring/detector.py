"""The contract of a drift detector: it watches one lane's residuals, one window per device."""

from collections.abc import Mapping
from typing import Protocol

from streamgauge.events import Events
from streamgauge.schedule import Schedule
from streamgauge.state import Block

__all__ = ["Detector"]


class Detector(Protocol):
    """All state is in `blocks`. Plug-ins are the files of `monitoring/detectors`; each has
    `build(lane, capacity, *, options) -> Detector`."""

    lane: int
    blocks: Mapping[str, Block]

    def process(self, schedule: Schedule, start: int, events: Events) -> int:
        """Look at the steps from `start` on, those of this lane that brought a label.

        Appends an event per alarm. Returns `schedule.n`, or the step at which `events` was full:
        the caller empties it and calls again with that step as `start`. Cutting a schedule anywhere
        changes neither events nor state. Residuals that are not finite are skipped.
        """
        ...
