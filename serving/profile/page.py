"""A profile as one HTML page."""

from html import escape
from pathlib import Path

from serving.profile.figures import ChannelFigures, DeviceFigures, Profile, Season
from serving.profile.gather import STUCK
from serving.profile.wording import findings
from serving.report.charts import bars, course, histogram
from serving.report.page import page as whole
from serving.report.page import table
from serving.report.wording import number, period, share, when

__all__ = ["page"]

_MAIN = Path(__file__).with_name("main.html")
SHOWN = 500
"""Devices in the table."""
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_CHANNEL_HEADINGS = (
    "channel", "values", "missing", "every", "gaps", "longest gap", "lowest", "median", "highest",
    "stuck", "spikes", "outliers", "by hour", "by weekday",
)  # fmt: skip
_DEVICE_HEADINGS = (
    "device", "readings", "refused", "every", "gaps", "longest gap", "missing", "stuck", "spikes",
    "outliers", "first", "last",
)  # fmt: skip


def page(profile: Profile, config: str) -> str:
    """The whole report; `config` is the suggested pipeline.toml, or why there is none."""
    noticed = [f"<li>{escape(one)}</li>" for one in findings(profile)]
    return whole(
        "profile",
        profile.name,
        _facts(profile),
        _MAIN,
        findings="".join(noticed) or "<li>Nothing unusual.</li>",
        overview=table(_CHANNEL_HEADINGS, map(_channel_cells, range(10**6), profile.channels)),
        channels="".join(_channel(k, c, profile) for k, c in enumerate(profile.channels)),
        devices=table(_DEVICE_HEADINGS, map(_device_cells, profile.devices[:SHOWN])),
        more=_more(profile),
        config=escape(config),
        stuck=STUCK,
        sampled=f"{profile.sampled:,}",
        zone=escape(profile.zone),
    )


def _facts(profile: Profile) -> tuple[tuple[str, str], ...]:
    return (
        ("readings", f"{profile.rows:,}"),
        ("devices", f"{len(profile.devices):,}{'+' if profile.left_out else ''}"),
        ("channels", f"{len(profile.channels):,}"),
        ("one every", period(profile.pace.interval)),
        ("from (UTC)", when(profile.begin)),
        ("to (UTC)", when(profile.end)),
    )


def _channel_cells(k: int, channel: ChannelFigures) -> list[str]:
    return [
        f'<a href="#channel-{k}">{escape(channel.name)}</a>',
        f"{channel.values:,}",
        share(channel.missing),
        period(channel.pace.interval),
        f"{channel.pace.gaps:,}",
        period(channel.pace.longest),
        number(channel.low),
        number(channel.quantiles[3]),
        number(channel.high),
        share(channel.stuck),
        share(channel.spikes),
        share(channel.outliers),
        share(channel.hours.strength),
        share(channel.weekdays.strength),
    ]


def _device_cells(device: DeviceFigures) -> list[str]:
    return [
        escape(device.name),
        f"{device.readings:,}",
        f"{device.refused:,}",
        period(device.pace.interval),
        f"{device.pace.gaps:,}",
        period(device.pace.longest),
        share(device.missing),
        share(device.stuck),
        share(device.spikes),
        share(device.outliers),
        when(device.begin) if device.begin != device.end or device.begin else "–",
        when(device.end) if device.begin != device.end or device.end else "–",
    ]


def _more(profile: Profile) -> str:
    hidden = len(profile.devices) - SHOWN
    return f"<p>{hidden:,} more devices are not shown.</p>" if hidden > 0 else ""


def _channel(k: int, channel: ChannelFigures, profile: Profile) -> str:
    span = (when(profile.begin), when(profile.end))
    along = "Over time" if channel.timeline.by_time else "Reading by reading"
    drawn = channel.histogram
    lags = len(channel.autocorrelation) - 1
    hours = [f"{hour}:00" for hour in range(24)]
    charts = (
        course(along, channel.timeline.middle, channel.timeline.low, channel.timeline.high, span),
        histogram("Values", drawn.edges, drawn.counts, drawn.below, drawn.above),
        bars(
            "Autocorrelation",
            channel.autocorrelation[1:],
            ("1 reading later", f"{lags} readings later"),
            [f"{lag} later" for lag in range(1, lags + 1)],
        ),
        bars(
            f"By hour of day, explains {share(channel.hours.strength)}",
            channel.hours.means, ("0:00", "12:00", "23:00"), hours,
            _why_not(channel, channel.hours, "four days"),
        ),
        bars(
            f"By day of week, explains {share(channel.weekdays.strength)}",
            channel.weekdays.means, [day[:2] for day in WEEKDAYS], WEEKDAYS,
            _why_not(channel, channel.weekdays, "four weeks"),
        ),
    )  # fmt: skip
    facts = (
        ("mean", number(channel.mean)),
        ("middle half", f"{number(channel.quantiles[2])} to {number(channel.quantiles[4])}"),
        ("98 %", f"{number(channel.quantiles[1])} to {number(channel.quantiles[5])}"),
        ("same as before", share(channel.repeats)),
        ("different values", f"{channel.distinct:,}"),
    )
    said = "".join(f"<div><dt>{what}</dt><dd>{how}</dd></div>" for what, how in facts)
    return (
        f'<article id="channel-{k}"><h3>{escape(channel.name)}</h3><dl class="facts">{said}</dl>'
        f'<div class="charts">{"".join(charts)}</div></article>'
    )


def _why_not(channel: ChannelFigures, season: Season, least: str) -> str:
    """Why there are no bars of a season; empty where there are."""
    if not channel.values or channel.constant:
        return "never changes"
    return "" if season.strength == season.strength else f"needs at least {least}"
