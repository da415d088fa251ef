"""Missing values: the most frequent of the recent ones of the device, for states and steps."""

from stream_processor.clean.missing._recent import MODE, fill_from_recent
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
    """The most frequent of the device's last `window` values, the smallest of those.

    - `ready_after`: values that must have come before one is filled in
    """
    return fill_from_recent(capacity, channel, MODE, window=window, ready_after=ready_after)
