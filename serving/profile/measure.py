"""A recording measured: from the file to its figures."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ingest.sources import file
from serving.profile.figures import ChannelFigures, DeviceFigures, Pace, Profile
from serving.profile.gather import Gathered
from serving.profile.shapes import autocorrelation, histogram, repeats, season, timeline
from streamgauge.arrays import Ints
from streamgauge.delivery import Readings
from streamgauge.durations import DAY, WEEK
from streamgauge.schema import Schema
from streamgauge.words import Flag, Verdict

__all__ = ["measure"]

QUANTILES = (0.001, 0.01, 0.25, 0.5, 0.75, 0.99, 0.999)
LAGS = 48
MOST_LAGS = 400
"""Lags are shown up to a day and a quarter where that is not more."""


def measure(path: Path, schema: Schema, zone: str, options: dict[str, Any]) -> Profile:
    """The figures of a recording; `options` are those of a file as a source, `zone` that of days
    and hours. ValueError or OSError where it cannot be read, or none of its readings is good."""
    gathered = Gathered(schema)
    for readings in _readings(path, schema, gathered, options):
        gathered.add(readings)
    rows = len(gathered.devices)
    if not rows or not gathered.present.any():
        raise ValueError(f"{path}: no reading in it has a device, a time and a value")
    pace = gathered.steps.overall(len(schema))
    return Profile(
        name=path.name,
        rows=int(gathered.verdicts.sum()),
        left_out=gathered.left_out,
        unreadable=gathered.rejects.counts.total(),
        refused=_refused(gathered),
        begin=int(gathered.begin[:rows].min()),
        end=int(gathered.end[:rows].max()),
        zone=zone,
        sampled=len(gathered.sample.row),
        pace=pace,
        channels=[_channel(gathered, c, pace, zone) for c in range(len(schema))],
        devices=[_device(gathered, row) for row in range(rows)],
    )


def _readings(
    path: Path, schema: Schema, gathered: Gathered, options: dict[str, Any]
) -> Iterator[Readings]:
    source = file.open(schema, 0, lambda: 0, gathered.rejects, path=path, **options)
    source.start()
    try:
        while not source.finished:
            delivery = source.take(1, 0.0)
            if delivery is not None and delivery.readings is not None:
                yield delivery.readings
    finally:
        source.stop()


def _refused(gathered: Gathered) -> dict[str, int]:
    totals = gathered.verdicts.sum(0).tolist()
    named = {word.name.lower(): totals[word] for word in Verdict if word is not Verdict.ADMITTED}
    return {name: count for name, count in named.items() if count}


def _channel(gathered: Gathered, c: int, pace: Pace, zone: str) -> ChannelFigures:
    sample = gathered.sample
    there = np.isfinite(sample.values[:, c])
    values, time = sample.values[there, c], sample.time[there]
    row = sample.row[there]
    hours, weekdays = _calendar(time, zone)
    present = int(gathered.present[:, c].sum())
    admitted = int(gathered.verdicts[:, Verdict.ADMITTED].sum())
    series = gathered.stretches.of(c)
    flagged = {flag: int(gathered.flagged(flag)[:, c].sum()) for flag in _FLAGS}
    known = len(values) > 0
    return ChannelFigures(
        name=gathered.schema.names[c],
        values=present,
        missing=1.0 - present / max(1, admitted),
        pace=gathered.steps.overall(c),
        low=float(gathered.low[c]) if present else np.nan,
        high=float(gathered.high[c]) if present else np.nan,
        mean=float(gathered.total[:, c].sum()) / present if present else np.nan,
        quantiles=np.quantile(values, QUANTILES) if known else np.full(len(QUANTILES), np.nan),
        distinct=len(np.unique(values)),
        repeats=repeats(series),
        stuck=flagged[Flag.STUCK] / max(1, present),
        spikes=flagged[Flag.SPIKE] / max(1, present),
        outliers=flagged[Flag.OUTLIER] / max(1, present),
        histogram=histogram(values),
        timeline=timeline(time, values, int(gathered.begin.min()), int(gathered.end.max())),
        autocorrelation=autocorrelation(series, _lags(pace)),
        hours=season(hours, 24, row, time, values, DAY),
        weekdays=season(weekdays, 7, row, time, values, WEEK),
    )


def _lags(pace: Pace) -> int:
    a_day = 1.25 * DAY / pace.interval if pace.interval > 0.0 else np.inf
    return int(a_day) if LAGS < a_day <= MOST_LAGS else LAGS


def _calendar(time: Ints, zone: str) -> tuple[Ints, Ints]:
    """Hour of day and day of week, Monday 0, in the zone."""
    local = pd.DatetimeIndex(time.astype("datetime64[us]")).tz_localize("UTC").tz_convert(zone)
    return np.asarray(local.hour, np.int64), np.asarray(local.day_of_week, np.int64)


def _device(gathered: Gathered, row: int) -> DeviceFigures:
    counts = gathered.verdicts[row]
    readings, admitted = int(counts.sum()), int(counts[Verdict.ADMITTED])
    present = int(gathered.present[row].sum())
    stuck, spikes, outliers = (
        int(gathered.flagged(flag)[row].sum()) / max(1, present) for flag in _FLAGS
    )
    return DeviceFigures(
        name=str(gathered.devices.ids[row]),
        readings=readings,
        refused=readings - admitted,
        pace=gathered.steps.pace(row, len(gathered.schema)),
        missing=1.0 - present / max(1, admitted * len(gathered.schema)),
        stuck=stuck,
        spikes=spikes,
        outliers=outliers,
        begin=int(gathered.begin[row]) if admitted else 0,
        end=int(gathered.end[row]) if admitted else 0,
    )


_FLAGS = (Flag.STUCK, Flag.SPIKE, Flag.OUTLIER)
