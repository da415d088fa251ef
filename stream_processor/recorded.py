"""The labels of a recording: columns of its rows, told as late as they would have been live."""

from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from heapq import heappop, heappush
from typing import NamedTuple

from stream_processor.settings.kinds import Span
from streamgauge.delivery import Readings

__all__ = ["ColumnLabel", "LabelColumn", "RecordedLabels"]


class LabelColumn(NamedTuple):
    """A lane whose labels are a column of recordings."""

    lane: int
    column: int
    """Column of `Readings.labels`."""
    delay: Span | None
    """When the label of a row becomes known; None: right after the row."""


class ColumnLabel(NamedTuple):
    """A label that became known when the log clock stood at `received`; NaN = there is none."""

    lane: int
    device: str
    time: int
    received: int
    value: float


class RecordedLabels:
    """Puts labels into the log of a recording where they become known: before the first row that
    came as much later as the delay says, or before that many further rows of the device."""

    def __init__(self, columns: Sequence[LabelColumn]) -> None:
        self._columns = columns
        self._timed: list[tuple[int, int, ColumnLabel]] = []
        self._counted: dict[tuple[str, int], deque[ColumnLabel]] = defaultdict(deque)
        self._order = 0

    def cut(self, readings: Readings) -> Iterator[Readings | list[ColumnLabel]]:
        """The readings in runs, with the labels that became known between them."""
        if not self._columns or readings.labels is None:
            yield readings
            return
        start = 0
        times, received = readings.time.tolist(), readings.received.tolist()
        for i, device in enumerate(readings.devices):
            known = self.known(received[i])
            known += self._after(device, received[i])
            if known:
                if i > start:
                    yield readings.part(start, i)
                yield known
                start = i
            values = readings.labels[i].tolist()
            at_once = list(self._wait(device, times[i], received[i], values))
            if at_once:
                yield readings.part(start, i + 1)
                yield at_once
                start = i + 1
        if start < len(readings):
            yield readings.part(start, len(readings))

    def known(self, clock: int) -> list[ColumnLabel]:
        """The labels that are known once the log clock stands there, oldest first."""
        found = []
        while self._timed and self._timed[0][0] <= clock:
            due, _, label = heappop(self._timed)
            found.append(label._replace(received=due))
        return found

    def _after(self, device: str, received: int) -> list[ColumnLabel]:
        """The labels that are known once one more reading of the device comes."""
        found = []
        for column in self._columns:
            waiting = self._counted.get((device, column.lane))
            if waiting and column.delay and len(waiting) >= column.delay.readings:
                found.append(waiting.popleft()._replace(received=received))
        return found

    def _wait(
        self, device: str, time: int, received: int, values: list[float]
    ) -> Iterator[ColumnLabel]:
        """Note the labels of a row; those that are known at once come back."""
        for lane, column, delay in self._columns:
            label = ColumnLabel(lane, device, time, received, values[column])
            if delay is None:
                yield label
            elif delay.readings:
                self._counted[device, lane].append(label)
            else:
                self._order += 1
                heappush(self._timed, (received + delay.duration, self._order, label))
