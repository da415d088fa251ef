"""Missing values: the median of the recent ones of the device."""

from stream_processor.clean.missing._recent import MEDIAN, fill_from_recent
from stream_processor.operator import Operator
from streamgauge.schema import Schema

__all__ = ["build"]


def build(
    schema: Schema,
    capacity: int,
    channel: int,
    *,
    window: int = 25,
    ready_after: int = 3,
) -> Operator:
    """The median of the device's last `window` values.

    - `ready_after`: values that must have come before one is filled in
    """
    return fill_from_recent(capacity, channel, MEDIAN, window=window, ready_after=ready_after)
