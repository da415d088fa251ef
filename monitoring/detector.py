"""The contract of a drift detector: it watches one signal, and says when that has changed."""

from collections.abc import Mapping
from typing import Protocol

from streamgauge.arrays import Bools
from streamgauge.calls import Call
from streamgauge.events import Events
from streamgauge.signal import Signal
from streamgauge.state import Block

__all__ = ["Detector"]


class Detector(Protocol):
    """All state is in `blocks`, by device and part of the signal. Plug-ins are the files of
    `monitoring/detectors`; each has `build(signal, capacity, *, options) -> Detector`, which raises
    ValueError for a kind of signal that it makes no sense of, and a `VERSION`.
    """

    blocks: Mapping[str, Block]

    def call(self, signal: Signal, events: Events) -> Call:
        """The kernel call that looks at all values of this signal, one after the other.

        It appends at most one event per value, for which the log has room, with the number of the
        value as its `ORDER`. Cutting the values anywhere changes neither events nor state.
        """
        ...

    def ready(self, rows: slice) -> Bools:
        """bool[rows, parts]: of which the next value may bring an event; the others calibrate."""
        ...
