"""False alarms and delays of the drift detectors of channels, beside River's on the raw values.

False alarms are per 100,000 values of one channel, after calibration; delays are medians in values,
with the share that was found out within 8,000. The made-up streams have a value a minute and a
change after 30,000: levels move by half a standard deviation or a whole one, noise grows by half,
what drives the stream becomes skewed. `h` of level and noise is 40.

The real stretches are whole recordings. Nothing says that the weather of four years does not
change: stations of one city, which feel the same front, alarm together. Those in `SEEN` were looked
at while the defaults were chosen; those in `UNSEEN` were written down before, and measured after.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from river import drift

from tests.drifting import STREAMS, USUAL, Watched, delays, fleet, stream, watch

DEVICES = 10
QUIET, CHANGE, AFTER = 100_000, 30_000, 30_000
HORIZON = 8_000
DATA = Path(os.environ.get("STREAMGAUGE_DATA", Path(__file__).parents[2] / "shared" / "data"))

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Stretch:
    """Channels of all devices of a recording, whole, and where it was made."""

    file: str
    channels: tuple[str, ...]
    zone: str
    dates: tuple[str, str]
    """First and last day, both included."""


SEEN = (
    Stretch(
        "beijing_air.csv.gz", ("TEMP", "PRES", "DEWP"), "Asia/Shanghai",
        ("2013-03-01", "2017-02-28"),
    ),
    Stretch(
        "vic_electricity.csv.gz", ("demand", "temperature"), "Australia/Melbourne",
        ("2012-01-01", "2014-12-31"),
    ),
    Stretch(
        "keti_rooms.csv.gz", ("temperature", "humidity"), "America/Los_Angeles",
        ("2013-08-23", "2013-08-31"),
    ),
)  # fmt: skip
UNSEEN = (
    Stretch(
        "appliances_energy.csv.gz",
        (*(f"T{k}" for k in range(1, 10)), *(f"RH_{k}" for k in range(1, 10))),
        "Europe/Brussels",
        ("2016-01-11", "2016-05-27"),
    ),
    Stretch("beijing_air.csv.gz", ("WSPM",), "Asia/Shanghai", ("2013-03-01", "2017-02-28")),
)  # fmt: skip
OTHERS: Sequence[Mapping[str, tuple[str, Mapping[str, Any]]]] = (
    {"shape": ("window_ks", {})},
    {"shape": ("psi", {})},
    {"shape": ("hellinger", {})},
    {"shape": ("wasserstein", {})},
    {"shape": ("kswin", {})},
    {"level": ("page_hinkley", {})},
    {"level": ("mann_kendall", {})},
)
"""What is there beside the usual detectors: signal, detector and options."""
RIVER: Mapping[str, Callable[[], Any]] = {
    "River ADWIN": drift.ADWIN,
    "River PageHinkley": drift.PageHinkley,
}


def columns(name: str, n: int, **change: float) -> list[Floats]:
    """Values of `DEVICES` devices, which change after `CHANGE` of them."""
    return [stream(name, n, seed, change=CHANGE, **change) for seed in range(DEVICES)]


def run() -> list[dict[str, Any]]:
    """A row per detector and stream."""
    rows = [row for name in STREAMS for row in _made_up(name)]
    for stretches, when in ((SEEN, "seen"), (UNSEEN, "unseen")):
        rows += [row for stretch in stretches for row in _real(stretch, when)]
    return rows


def _row(detector: str, on: str, values: int, alarms: float, *delays: str) -> dict[str, Any]:
    names = ("level 0.5 s", "level 1 s", "noise x1.5", "skewed")
    told = dict(zip(names, delays or ("",) * len(names), strict=True))
    return {"detector": detector, "stream": on, "values": values, "per 100,000": alarms, **told}


def _made_up(name: str) -> list[dict[str, Any]]:
    changes = ({"shift": 0.5}, {"shift": 1.0}, {"scale": 1.5}, {"skewed": 1.0})
    tables = [columns(name, CHANGE + AFTER, **change) for change in changes]
    quiet, rows = columns(name, QUIET), []
    for detectors in (USUAL, *OTHERS):
        calm = fleet(quiet, detectors)
        changed = [fleet(table, detectors) for table in tables]
        rows += [
            _row(
                f"{signal} by {detector}", name, calm.values, calm.per_100k(signal),
                *(_delay(found, signal) for found in changed),
            )
            for signal, (detector, _) in detectors.items()
        ]  # fmt: skip
    for title, made in RIVER.items():
        rows.append(_row(title, name, QUIET * DEVICES, _river(made, quiet)))
    return rows


def _delay(found: Watched, signal: str) -> str:
    late = delays(found, signal, CHANGE, HORIZON, DEVICES)
    return f"{np.median(late):,.0f} ({len(late) / DEVICES:.0%})" if late else "0%"


def _river(made: Callable[[], Any], table: Sequence[Floats]) -> float:
    alarms = 0
    for values in table:
        detector = made()
        for value in values.tolist():
            detector.update(value)
            alarms += detector.drift_detected
    return alarms * 1e5 / sum(map(len, table))


def _real(stretch: Stretch, seen: str) -> list[dict[str, Any]]:
    """All channels of a recording together; skipped where it is absent."""
    if not (DATA / stretch.file).exists():
        return []
    row, time, values = table(stretch)
    on = f"{stretch.file.removesuffix('.csv.gz')} {' '.join(stretch.channels[:3])}, {seen}"
    rows = []
    for detectors in (USUAL, *OTHERS):
        each = [
            watch(row, time, column.reshape(-1, 1), detectors, zone=stretch.zone)
            for column in values.T
        ]
        given = sum(found.values for found in each)
        for signal, (detector, _) in detectors.items():
            alarms = sum(len(found.of(signal)) for found in each) * 1e5 / given
            rows.append(_row(f"{signal} by {detector}", on, given, alarms))
    raw = [
        column[(row == k) & np.isfinite(column)]
        for column in values.T
        for k in range(int(row.max()) + 1)
    ]
    for title, made in RIVER.items():
        rows.append(_row(title, on, sum(map(len, raw)), _river(made, raw)))
    return rows


def table(stretch: Stretch) -> tuple[NDArray[np.int64], NDArray[np.int64], Floats]:
    """Row, time and values of a stretch."""
    table = pd.read_csv(
        DATA / stretch.file, usecols=["device", "time", *stretch.channels], dtype={"device": str}
    )
    when = pd.to_datetime(table["time"], utc=True)
    first, last = (pd.Timestamp(day, tz=stretch.zone) for day in stretch.dates)
    kept = (when >= first) & (when < last + pd.Timedelta(days=1))
    row = pd.factorize(table.loc[kept, "device"])[0].astype(np.int64)
    time = when[kept].dt.as_unit("us").astype("int64").to_numpy().astype(np.int64)
    values: Floats = table.loc[kept, list(stretch.channels)].to_numpy(np.float64)
    return row, time, values
