"""The contract of a drift detector: it watches one lane's residuals, one window per device."""

from collections.abc import Mapping
from typing import Protocol

from streamgauge.calls import Call
from streamgauge.events import Events
from streamgauge.schedule import Schedule
from streamgauge.state import Block

__all__ = ["Detector"]


class Detector(Protocol):
    """All state is in `blocks`. Plug-ins are the files of `monitoring/detectors`; each has
    `build(lane, capacity, *, options) -> Detector`."""

    lane: int
    blocks: Mapping[str, Block]

    def call(self, schedule: Schedule, events: Events) -> Call:
        """The kernel call that looks at the schedule's STEPS, those of this lane with a label.

        It appends an event per alarm; the log has room for one per step. Cutting a schedule
        anywhere changes neither events nor state. Residuals that are not finite, or beyond
        anything physical (1e24), are skipped.
        """
        ...
