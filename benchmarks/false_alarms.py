"""False alarms on stationary stretches of real recordings, beside recall and delay on the same.

The stretches are those of `benchmarks/stationary.csv`. False alarms are per 100,000 values that a
detector could judge: after calibration, and after what it needs of its own. A change begins in the
middle of each stretch, at the same thresholds: what is left of a value once its hour of the day is
taken out is an AR(1); its level moves by one standard deviation, two or four, what drives it
becomes half as large again or three times as large, or exponentially distributed with the same mean
and variance. Recall is the share of stretches that a detector could judge in which it alarms before
the end, false alarms before the change set aside; the delay is the median, in values.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.signal import lfilter
from scipy.stats import rankdata

from benchmarks.drift import DATA
from benchmarks.stationary import ZONES, Stationary, listed
from tests.drifting import Watched, watch

__all__ = ["CHANGES", "DETECTORS", "Judged", "Recorded", "changed", "measured", "recorded"]

DETECTORS: Mapping[str, tuple[str, Mapping[str, Any], int]] = {
    "level by cusum": ("cusum", {}, 500),
    "noise by cusum": ("cusum", {}, 500),
    "noise by adwin": ("adwin", {}, 0),
    "level by adwin": ("adwin", {}, 0),
    "shape by chunk_ks": ("chunk_ks", {}, 11_000),
    "shape by chunk_ks of 50": ("chunk_ks", {"chunk": 50}, 1_100),
    "shape by hellinger of 50": ("hellinger", {"chunk": 50}, 1_100),
    "shape by wasserstein of 50": ("wasserstein", {"chunk": 50}, 1_100),
    "shape by window_ks": ("window_ks", {}, 1_200),
    "level by window_ks": ("window_ks", {}, 1_200),
    "shape by psi": ("psi", {}, 1_500),
    "level by psi": ("psi", {}, 1_500),
    "shape by kswin": ("kswin", {}, 100),
    "level by page_hinkley": ("page_hinkley", {}, 30),
    "level by mann_kendall": ("mann_kendall", {}, 28 * 24),
}
"""Signal, detector, options, and values that it needs before it can alarm."""
CHANGES: Mapping[str, tuple[str, ...]] = {
    "level 1 s": ("level", "shape"),
    "level 2 s": ("level", "shape"),
    "level 4 s": ("level", "shape"),
    "noise x1.5": ("noise", "shape"),
    "noise x3": ("noise", "shape"),
    "skewed": ("shape",),
}
"""Of each change the signals that should tell of it."""

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Recorded:
    """Stretches of one recording, behind each other."""

    zone: str
    row: Ints
    time: Ints
    each: list[Floats]


@dataclass
class Judged:
    """What a detector said of stretches: false alarms in so many values, and for each stretch in
    which a change could be found the delay, -1 where it was not."""

    alarms: int = 0
    values: int = 0
    delays: list[int] | None = None


def recorded() -> Iterator[Recorded]:
    """All stretches, by recording; those that are there."""
    for name, zone in ZONES.items():
        own = [one for one in listed() if one.file == name]
        path = DATA / f"{name}.csv.gz"
        if own and path.exists():
            yield _recorded(pd.read_csv(path, dtype={"device": str}), own, zone)


def _recorded(table: pd.DataFrame, own: list[Stationary], zone: str) -> Recorded:
    table["time"] = pd.to_datetime(table["time"], utc=True)
    table["day"] = table["time"].dt.tz_convert(zone).dt.strftime("%Y-%m-%d")
    devices = dict(list(table.groupby("device")))
    times, each = [], []
    for one in own:
        rows = devices[one.device]
        rows = rows[(rows["day"] >= one.first) & (rows["day"] <= one.last)]
        rows = rows.dropna(subset=[one.channel])
        times.append(rows["time"].dt.as_unit("us").astype("int64").to_numpy())
        each.append(rows[one.channel].to_numpy(np.float64))
    row = np.repeat(np.arange(len(own)), [len(x) for x in each])
    return Recorded(zone, row, np.concatenate(times), each)


def changed(time: Ints, x: Floats, change: str) -> Floats:
    """A stretch that changes in the middle of it in one of the `CHANGES`."""
    hour = (time // 3_600_000_000 % 24).astype(np.int64)
    seen = np.maximum(np.bincount(hour, minlength=24), 1)
    season = (np.bincount(hour, x, minlength=24) / seen)[hour]
    rest = x - season
    if change.startswith("level"):
        found: Floats = x + np.where(
            np.arange(len(x)) < len(x) // 2, 0.0, float(change.split()[1]) * rest.std()
        )
        return found
    phi = float(rest[1:] @ rest[:-1] / (rest @ rest))
    drive = rest.copy()
    drive[1:] -= phi * rest[:-1]
    later = drive[len(x) // 2 :]
    if change == "skewed":
        rank = rankdata(later, "ordinal") - 0.5
        later[:] = later.mean() + later.std() * (-np.log1p(-rank / len(later)) - 1.0)
    else:
        later *= float(change.removeprefix("noise x"))
    made: Floats = season + lfilter([1.0], [1.0, -phi], drive)
    return made


def measured(title: str, given: list[Recorded], changes: tuple[str, ...] = ()) -> dict[str, Judged]:
    """What one of the `DETECTORS` says of stretches as they are (""), and of what changes."""
    signal = title.split(maxsplit=1)[0]
    name, options, needs = DETECTORS[title]
    found = {change: Judged(delays=[]) for change in ("", *changes)}
    for one in given:
        for change, judged in found.items():
            _judge(one, change, {signal: (name, options)}, needs, judged)
    return found


def _judge(one: Recorded, change: str, detector: Any, needs: int, judged: Judged) -> None:
    each, starts = one.each, np.cumsum([0, *map(len, one.each)])
    if change:
        each = [
            changed(one.time[a:b], x, change)
            for a, b, x in zip(starts, starts[1:], one.each, strict=False)
        ]
    told = watch(one.row, one.time, np.concatenate(each).reshape(-1, 1), detector, zone=one.zone)
    if not change:
        judged.alarms += len(told.events)
        judged.values += int(np.maximum(told.by_row - needs, 0).sum())
        return
    judged.delays = (judged.delays or []) + list(_delays(told, [len(x) for x in each], needs))


def _delays(told: Watched, lengths: list[int], needs: int) -> Iterator[int]:
    """Of the stretches in which a detector was ready at the change."""
    for k, n in enumerate(lengths):
        if told.by_row[k] - needs <= n - n // 2:
            continue
        late = [at - n // 2 for at, event in told.events if event.row == k and at >= n // 2]
        yield min(late, default=-1)


def run() -> list[dict[str, Any]]:
    """A row per detector."""
    given = list(recorded())
    return [_row(title, given) for title in DETECTORS] if given else []


def _row(title: str, given: list[Recorded]) -> dict[str, Any]:
    signal = title.split(maxsplit=1)[0]
    of = tuple(change for change, signals in CHANGES.items() if signal in signals)
    found = measured(title, given, of)
    calm = found[""]
    row = {
        "detector": title,
        "values": calm.values,
        "false alarms": calm.alarms,
        "per 100,000": calm.alarms * 1e5 / max(calm.values, 1),
    }
    return row | {
        change: _words(found[change].delays if change in of else []) for change in CHANGES
    }


def _words(delays: list[int] | None) -> str:
    if not delays:
        return ""
    late = [delay for delay in delays if delay >= 0]
    share = f"{len(late) / len(delays):.0%} of {len(delays)}"
    return f"{np.median(late):,.0f} ({share})" if late else f"({share})"
