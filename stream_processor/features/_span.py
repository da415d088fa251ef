"""The window that a feature looks back over: the last values, or those of the last minutes."""

from collections.abc import Mapping

from streamgauge.durations import microseconds, text

__all__ = ["Span", "span_of"]

Span = tuple[int, int, str]
"""Microseconds (0 = counts values), most values, and how the names of features end."""


def span_of(
    window: str | Mapping[str, int], most: int, feature: str, *, least: int = 1, limit: int = 4_096
) -> Span:
    """Read `{readings = n}` or "10m"; ValueError that says how to write one otherwise.

    `most` is how many values a window of time holds; `least` and `limit` bound both.
    """
    if isinstance(window, str):
        span, values, ending = microseconds(window), most, text(microseconds(window))
    else:
        span, values = 0, window.get("readings", 0) if len(window) == 1 else 0
        ending = str(values)
    if not least <= values <= limit or (isinstance(window, str) and span < 1):
        shown = window if isinstance(window, str) else dict(window)
        raise ValueError(
            f"{feature} window is {shown!r} of at most {values} values; write {{ readings = n }} "
            f'or a duration such as "10m", and {least} to {limit} values'
        )
    return span, values, ending
