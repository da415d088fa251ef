"""Stretches of real recordings in which nothing changes, chosen without looking at any detector.

A recording of one channel of one device is looked at by days: their mean, their standard deviation,
and the mean size of a step between neighbours. It is a stretch where all three pass two tests: KPSS
does not reject a constant level at 10 % (Kwiatkowski, Phillips, Schmidt and Shin 1992, Journal of
Econometrics 54; Bartlett's weights up to lag 4 (n / 100)^(1/4)), and a Wald test does not reject at
1 % that its months (28 days, two at least) have one mean, given how days around them scatter and
depend on each other up to a week; of independent days it rejects some 6 %. Else its halves are
looked at, as long as they have 28 days and 2,000 values. Of no stretch more than half of the values
are the same, and none holds an anomaly that is labelled. Left out are recordings of less than 28
days or 12 values a day, and made-up ones.

`python -m benchmarks.stationary` writes `stationary.csv` anew; the tests hold it to the rule.
"""

import csv
import math
from collections.abc import Iterator, Mapping
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import chi2

from benchmarks.drift import DATA

__all__ = ["LIST", "ZONES", "Stationary", "chosen", "kpss", "listed", "one_mean"]

LIST = Path(__file__).with_name("stationary.csv")
ZONES: Mapping[str, str] = {
    "air_quality_uci": "UTC",
    "appliances_energy": "Europe/Brussels",
    "beijing_air": "Asia/Shanghai",
    "elec2": "UTC",
    "nab": "UTC",
    "steel_energy": "UTC",
    "vic_electricity": "Australia/Melbourne",
}
"""Recordings of 28 days and more, and the zone of their days; UTC where they tell local time."""
NO_CHANNELS = ("device", "time", "label", "holiday", "date", "day", "period", "wd", "NSM")
"""Columns that are no sensor's."""
MONTH, LEAST = 28, 2_000
KPSS, CHANCE = 0.347, 0.01

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Stationary:
    """Whole days of one channel of one device, first and last included, and how many values."""

    file: str
    device: str
    channel: str
    first: str
    last: str
    events: int


def _long_run(rest: Floats, lags: int) -> float:
    """Variance of a sum of deviations, per value, with Bartlett's weights."""
    n = len(rest)
    total = float(rest @ rest) / n
    for k in range(1, lags + 1):
        total += 2.0 * (1.0 - k / (lags + 1.0)) * float(rest[k:] @ rest[:-k]) / n
    return total


def kpss(y: Floats) -> float:
    """The KPSS statistic of a constant level; infinite where nothing varies."""
    n, rest = len(y), y - y.mean()
    variance = _long_run(rest, int(4.0 * (n / 100.0) ** 0.25))
    sums = np.cumsum(rest)
    return float(sums @ sums) / (n * n * variance) if variance > 0.0 else math.inf


def one_mean(y: Floats) -> float:
    """How probable means of months so different are where there is one mean."""
    n, months = len(y), max(len(y) // MONTH, 2)
    month = np.arange(n) * months // n
    days = np.bincount(month)
    means = np.bincount(month, y) / days
    variance = _long_run(y - means[month], 7) * n / (n - months)
    apart = float(days @ (means - y.mean()) ** 2)
    return float(chi2.sf(apart / variance, months - 1)) if variance > 0.0 else 0.0


def _steady(days: pd.DataFrame) -> bool:
    each = [days[name].to_numpy(np.float64) for name in ("mean", "spread", "step")]
    return all(kpss(y) < KPSS and one_mean(y) > CHANCE for y in each)


def _stretches(days: pd.DataFrame, day: Any, x: Floats) -> Iterator[tuple[str, str, int]]:
    """First and last day, and how many values, of what passes among these days."""
    n = int(days["n"].sum())
    if n < LEAST or len(days) < MONTH or n < 12 * len(days):
        return
    first, last = days.index[0], days.index[-1]
    inside = x[(day >= first) & (day <= last)]
    common = int(np.unique(inside, return_counts=True)[1].max())
    if 2 * common <= n and not days["anomaly"].any() and _steady(days):
        yield str(first.date()), str(last.date()), n
        return
    middle = len(days) // 2
    yield from _stretches(days.iloc[:middle], day, x)
    yield from _stretches(days.iloc[middle:], day, x)


def chosen(name: str) -> Iterator[Stationary]:
    """What the rule finds in a recording, such as "beijing_air"."""
    table = pd.read_csv(DATA / f"{name}.csv.gz", dtype={"device": str})
    local = pd.to_datetime(table["time"], utc=True).dt.tz_convert(ZONES[name])
    table["day"] = local.dt.tz_localize(None).dt.floor("D")
    channels = [c for c in table.select_dtypes("number").columns if c not in NO_CHANNELS]
    for device, rows in table.groupby("device"):
        anomaly = rows["label"] if name == "nab" else pd.Series(0, rows.index)
        bad = anomaly.groupby(rows["day"]).max() > 0
        for channel in channels:
            own = rows[["day", channel]].dropna()
            x, day = own[channel].to_numpy(np.float64), own["day"].to_numpy()
            if len(x) < LEAST:
                continue
            step = pd.Series(np.abs(np.diff(x, prepend=x[0]))).groupby(day).mean()
            by_day = own.groupby("day")[channel]
            days = pd.DataFrame(
                {"mean": by_day.mean(), "spread": by_day.std(), "n": by_day.size()}
            ).fillna(0.0)
            days["step"], days["anomaly"] = step, bad.reindex(days.index)
            for first, last, n in _stretches(days, day, x):
                yield Stationary(name, str(device), channel, first, last, n)


def listed() -> list[Stationary]:
    """The stretches in `LIST`, which was written before anything was measured on them."""
    with LIST.open(encoding="utf-8", newline="") as file:
        return [
            Stationary(**{**row, "events": int(row["events"])})  # type: ignore[arg-type]  # csv
            for row in csv.DictReader(file)
        ]


def _write() -> None:
    with LIST.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(one.name for one in fields(Stationary))
        writer.writerows(astuple(one) for name in ZONES for one in chosen(name))


if __name__ == "__main__":
    _write()
