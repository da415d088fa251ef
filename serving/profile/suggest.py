"""Cleaning and features that the figures of a recording suggest, filled into a draft."""

import math
from typing import Any

import numpy as np

from serving.profile.figures import ChannelFigures, Profile
from serving.profile.gather import STUCK
from serving.starter.guess import Measured
from serving.starter.write import HORIZONS, Draft, target_of, usual_range
from streamgauge.durations import DAY, text
from streamgauge.schema import Kind

__all__ = ["suggest"]

FAR = 10.0
"""A value so many times further from the median than 99.9 % of them is a fault, not a record."""
MOVES = 0.5
"""A channel in which fewer values than this repeat the one before moves."""
RARE = 0.005
"""Outliers and spikes that are more than this share are how the channel is."""
STUCK_SHARE = 0.05
HOLES = 0.001
"""Missing values below this share need no policy."""
BY_HOUR, BY_WEEKDAY = 0.05, 0.02
"""Shares of variance that make the calendar worth a feature."""
DAILY = 0.3
"""Share of variance by hour above which a gap is better filled by the hour than held."""
HOLD, ROLL = 5, 10
"""Intervals: the age at which a held value is too old; the window of rolling features."""
DEEPEST = 336
"""The largest lag that is suggested, 8 bytes per device each."""


def suggest(profile: Profile, draft: Draft) -> None:
    """Give the draft's channels ranges and policies, and the draft its features."""
    draft.guess.rows = profile.rows
    draft.guess.devices = [device.name for device in profile.devices]
    figures = {channel.name: channel for channel in profile.channels}
    for channel in draft.guess.channels:
        found = figures[channel.name]
        channel.share = 1.0 - found.missing
        if found.values:
            channel.low, channel.high = found.low, found.high
            channel.distinct = found.distinct
            _clean(channel, found)
    target = target_of(draft.guess.channels)
    if target:
        moving = [c.name for c in draft.guess.channels if c.varies and _moves(figures[c.name])]
        draft.features = _features(figures[target], moving, profile.pace.interval)


def _moves(found: ChannelFigures) -> bool:
    return not found.constant and found.repeats < MOVES


def _clean(channel: Measured, found: ChannelFigures) -> None:
    """The range, the policies and why one is not among them."""
    if channel.kind is Kind.NUMBER and not found.constant:
        channel.limits = _limits(channel, found)
    policies = channel.cleaning
    if channel.kind is Kind.NUMBER and _moves(found):
        if 0.0 < found.spikes <= RARE:
            policies["spike"] = {}
        if 0.0 < found.stuck <= STUCK_SHARE:
            policies["stuck"] = {"readings": STUCK}
        if 0.0 < found.outliers <= RARE:
            policies["outlier"] = "hampel"
        elif found.outliers > RARE:
            channel.note = f"{found.outliers:.1%} are far from their median, which is usual here"
    if found.missing > HOLES or "spike" in policies:
        daily = found.hours.strength > DAILY and found.pace.longest > HOLD * found.pace.interval
        held = {"use": "hold", "at_most": _duration(HOLD * found.pace.interval)}
        policies["missing"] = "seasonal" if daily else held


def _limits(channel: Measured, found: ChannelFigures) -> tuple[float, float]:
    """What the quantity usually allows, or far beyond what is seen; not below 0 without need."""
    lowest, _, _, middle, _, _, highest = found.quantiles.tolist()
    known = usual_range(channel.name)
    if known and known[0] <= found.quantiles[1] and found.quantiles[5] <= known[1]:
        return known
    low = _outward(middle - FAR * (middle - lowest), math.floor)
    high = _outward(middle + FAR * (highest - middle), math.ceil)
    if not low < high:
        return _outward(found.low, math.floor), _outward(found.high, math.ceil)
    return (0.0 if found.low >= 0.0 else low), high


def _outward(value: float, way: Any) -> float:
    """To two digits."""
    if value == 0.0:
        return 0.0
    digits = 1 - math.floor(math.log10(abs(value)))
    return float(way(value * 10.0**digits) / 10.0**digits)


def _duration(microseconds: float) -> str:
    """The next duration that people use."""
    if not math.isfinite(microseconds):
        return text(HORIZONS[-1])
    return text(next((one for one in HORIZONS if one >= microseconds), HORIZONS[-1]))


def _features(target: ChannelFigures, moving: list[str], interval: float) -> dict[str, Any]:
    """Options under [features]."""
    lags = [1, 2]
    a_day = round(DAY / interval) if interval > 0.0 else 0
    if target.hours.strength > BY_HOUR and 2 < a_day <= DEEPEST:
        lags.append(a_day)
    found: dict[str, Any] = {"lags": {target.name: lags}}
    near = target.autocorrelation
    if len(near) > 1 and near[1] > MOVES:
        found["differences"] = {"of": [target.name]}
    of = list(dict.fromkeys([target.name, *moving]))[:4]
    window = _duration(ROLL * interval) if interval > 0.0 else {"readings": ROLL}
    found["rolling"] = [{"of": of, "window": window, "stats": ["mean", "std"]}]
    calendar = [
        word
        for word, season, least in (
            ("hour", target.hours, BY_HOUR),
            ("weekday", target.weekdays, BY_WEEKDAY),
        )
        if np.isfinite(season.strength) and season.strength >= least
    ]
    if calendar:
        found["calendar"] = {"of": calendar, "as": "cyclic"}
    return found
