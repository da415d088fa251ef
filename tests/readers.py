"""What tests of table-reading sources share: taking all there is, and one schema."""

from typing import Any

import numpy as np

from ingest.source import Source
from streamgauge.delivery import Delivery, Readings
from streamgauge.schema import Channel, Schema
from tests.services.ports import wait_for

__all__ = ["NOW", "SCHEMA", "T0", "Taking", "rows_of"]

SCHEMA = Schema([Channel("heat"), Channel("kW", path="power")])
T0 = 1_772_366_400
"""Seconds."""
NOW = (T0 + 10**6) * 10**6
"""Where our clock stands, microseconds."""

Row = tuple[str, int, float, float]


def rows_of(readings: Readings) -> list[Row]:
    """Device, seconds behind T0, values."""
    seconds = (readings.time // 10**6 - T0).tolist()
    return list(zip(readings.devices, seconds, *readings.values.T.tolist(), strict=True))


class Taking:
    """Takes from a source as the worker does; keeps rows and deliveries."""

    def __init__(self, source: Source, position: Any = None) -> None:
        self.source = source
        self.rows: list[Row] = []
        self.deliveries: list[Delivery] = []
        if position is not None:
            source.resume(position)
        source.start()

    @property
    def position(self) -> Any:
        """Behind what was taken last."""
        return self.deliveries[-1].position

    def once(self, timeout: float = 0.02) -> bool:
        """One delivery, where there is one."""
        delivery = self.source.take(10_000, timeout)
        if delivery is None:
            return False
        assert delivery.readings is not None
        assert np.all(delivery.readings.received == NOW)
        self.deliveries.append(delivery)
        self.rows += rows_of(delivery.readings)
        return True

    def until(self, rows: int) -> "Taking":
        """Take until there are so many rows, and no more come at once."""

        def enough() -> bool:
            return not self.once() and len(self.rows) >= rows

        wait_for(enough, what=f"{rows} rows")
        assert len(self.rows) == rows
        return self

    def all(self) -> list[Row]:
        """Everything, to the end of a source that ends."""

        def ended() -> bool:
            self.once()
            return self.source.finished

        wait_for(ended, what="the end")
        self.source.stop()
        return self.rows

    def stop(self) -> "Taking":
        self.source.stop()
        return self
