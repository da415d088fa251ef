"""What answers say beside their numbers, as columns of the history: names, not places, so that they
stay true when the configuration's classes change their order."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from monitoring.sinks._history_file import HistoryFile
from streamgauge.arrays import Bools, Floats, Ints
from streamgauge.output import Output
from streamgauge.predictions import LABEL, LANE, MADE, ROW, SEQUENCE, VALUE
from streamgauge.schedule import Lane

__all__ = ["answers_of", "words_of"]

NAMES = ("predicted_class", "label_class", "probabilities", "distance")
CHANCES = pa.map_(pa.string(), pa.float64())
QUESTION = f"""
select lane, sequence, made, {", ".join(f"any_value({name}) {name}" for name in NAMES)}
from answers
where device = $device and list_contains($lanes::smallint[], lane) and written >= $since
group by lane, sequence, made
"""  # noqa: S608 - the names are our own constants


def answers_of(output: Output, lane_codes: Ints, devices: Ints, written: int) -> list[pa.Table]:
    """The rows of an output, a table per lane that has any; `devices[row]` is the device's code."""
    records = output.predictions
    found = []
    for lane in np.unique(records.codes[:, LANE]).tolist():
        if records.lanes[lane].parts:
            own = np.flatnonzero(records.codes[:, LANE] == lane)
            codes = records.codes[own]
            named: dict[str, Any] = {
                "lane": np.full(len(own), lane_codes[lane]),
                "device": devices[codes[:, ROW]],
                "sequence": codes[:, SEQUENCE],
                "made": codes[:, MADE],
                "written": np.full(len(own), written),
            }
            found.append(pa.table(named | _words(output, lane, own)))
    return found


def _words(output: Output, lane: int, own: Ints) -> dict[str, pa.Array]:
    records = output.predictions
    made, parts, n = records.made[own], records.parts[own], len(own)
    if (classes := records.classes[lane] if records.classes else None) is None:
        none = pa.nulls(n, pa.string())
        distance = pa.array(parts[:, 0], mask=~made | np.isnan(parts[:, 0]))
        return dict(zip(NAMES, (none, none, pa.nulls(n, CHANCES), distance), strict=True))
    labels = np.where(made, np.nan, records.numbers[own, LABEL])
    return {
        "predicted_class": pa.array(classes.at(records.numbers[own, VALUE]), pa.string()),
        "label_class": pa.array(classes.at(labels), pa.string()),
        "probabilities": _chances(classes.named(), parts, made),
        "distance": pa.nulls(n, pa.float64()),
    }


def _chances(names: Sequence[str], parts: Floats, made: Bools) -> pa.Array:
    """A map per row from class to probability; null where a model gave none, and for outcomes."""
    n, count = len(parts), len(names)
    missing = ~made | np.isnan(parts[:, :count]).any(axis=1)
    if not count:
        return pa.nulls(n, CHANCES)
    # Arrow ends a row where the next one that is there begins: what is missing has no places.
    ends = np.append(0, np.cumsum(np.where(missing, 0, count))).astype(np.int32)
    offsets = pa.array(ends, mask=np.append(missing, False))
    keys = pa.array(np.tile(np.array(names, object), n - missing.sum()), pa.string())
    return pa.MapArray.from_arrays(offsets, keys, pa.array(parts[~missing, :count].ravel()))


def words_of(
    file: HistoryFile, lanes: Mapping[int, Lane], device: int, since: int
) -> dict[tuple[int, int, int], dict[str, Any]]:
    """The words of answers written since then, by lane code, sequence and time made."""
    codes = [code for code, lane in lanes.items() if lane.parts]
    if not codes:
        return {}
    with file.reader() as cursor:
        values = {"device": device, "lanes": codes, "since": since}
        rows = cursor.execute(QUESTION, values).fetchall()
    found = {}
    for lane, sequence, made, *words in rows:
        predicted, label, chances, distance = words
        classes = {"predicted_class": predicted, "label_class": label,
                   "probabilities": chances or {}}  # fmt: skip
        far = {"distance": distance}
        found[lane, sequence, made] = far if lanes[lane].kind == "clustering" else classes
    return found
