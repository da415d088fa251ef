"""Outputs as tables of Arrow, made column by column, with no Python per prediction."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from monitoring.sinks._messages import event
from streamgauge.arrays import Bools, Floats, Ints
from streamgauge.durations import DAY
from streamgauge.output import SCORE_COLUMNS, Output
from streamgauge.predictions import (
    BASE,
    DUE,
    HALF,
    LABEL,
    LANE,
    MADE,
    RESIDUAL,
    ROW,
    SEQUENCE,
    STATUS,
    VALUE,
    VERSION,
)
from streamgauge.words import Status

__all__ = ["TABLES", "tables"]

MOMENT, TEXT, NUMBER = pa.timestamp("us", "UTC"), pa.string(), pa.float64()

_SAID = [
    ("id", TEXT), ("device", TEXT), ("task", TEXT), ("horizon", TEXT), ("made_at", MOMENT),
    ("target_time", MOMENT), ("sequence", pa.int64()), ("prediction", NUMBER),
    ("predicted_class", TEXT), ("lower", NUMBER), ("upper", NUMBER), ("distance", NUMBER),
    ("probabilities", pa.map_(TEXT, NUMBER)), ("last_value", NUMBER), ("status", TEXT),
    ("model_version", pa.int64()),
]  # fmt: skip
_KNOWN = [("label", NUMBER), ("label_class", TEXT), ("residual", NUMBER)]
_EVENT = [
    ("time", MOMENT), ("kind", TEXT), ("device", TEXT), ("task", TEXT), ("horizon", TEXT),
    ("channel", TEXT), ("signal", TEXT), ("severity", TEXT), ("since", MOMENT), ("before", NUMBER),
    ("after", NUMBER), ("size", NUMBER), ("magnitude", NUMBER), ("seconds", NUMBER),
    ("detector", TEXT), ("version", pa.int64()), ("text", TEXT),
]  # fmt: skip
_SCORED = [("time", MOMENT), ("device", TEXT), ("task", TEXT), ("horizon", TEXT)]

TABLES = {
    "predictions": pa.schema(_SAID),
    "outcomes": pa.schema(_SAID + _KNOWN),
    "events": pa.schema(_EVENT),
    "scores": pa.schema(_SCORED + [(name, NUMBER) for name in SCORE_COLUMNS]),
}
"""Columns by table. An outcome says again what was predicted; device and task are empty where it
is about all of them, and what is not known is null."""

_STATUS = pa.array([Status(k).name.lower() for k in range(len(Status))], TEXT)


def tables(output: Output) -> list[tuple[str, Ints, pa.Table]]:
    """Name, day of each row (days since 1970 UTC, by event time) and rows of each table of which
    the output has any."""
    found = []
    records = output.predictions
    if len(records):
        whole, days = _records(output), records.codes[:, MADE] // DAY
        for name, chosen in (("predictions", records.made), ("outcomes", ~records.made)):
            rows = whole.select(TABLES[name].names).filter(pa.array(chosen))
            found.append((name, days[chosen], rows))
    if output.events:
        times = np.array([one.time for one in output.events], np.int64)
        found.append(("events", times // DAY, _events(output)))
    for scores in output.scores:
        days = np.full(len(scores.lane), scores.time // DAY, np.int64)
        found.append(("scores", days, _scores(output, scores.time, scores.lane, scores.row,
                                              scores.numbers)))  # fmt: skip
    return [one for one in found if len(one[1])]


def _records(output: Output) -> pa.Table:
    records = output.predictions
    codes, numbers, lanes = records.codes, records.numbers, records.lanes
    lane, made = codes[:, LANE], codes[:, MADE]
    device = _devices(output, codes[:, ROW])
    named = pa.array([one.name for one in lanes], TEXT).take(pa.array(lane))
    sequence = pa.array(codes[:, SEQUENCE])
    chances = _chances(output)
    columns = {
        "id": pc.binary_join_element_wise(named, device, sequence.cast(TEXT), "/"),
        "device": device,
        "task": pa.array([one.task for one in lanes], TEXT).take(pa.array(lane)),
        "horizon": pa.array([one.horizon for one in lanes], TEXT).take(pa.array(lane)),
        "made_at": pa.array(made, MOMENT),
        "target_time": _due(output),
        "sequence": sequence,
        "prediction": _known(numbers[:, VALUE]),
        "predicted_class": _classes(output, numbers[:, VALUE]),
        "lower": _known(numbers[:, VALUE] - numbers[:, HALF]),
        "upper": _known(numbers[:, VALUE] + numbers[:, HALF]),
        "distance": _distance(output),
        "probabilities": chances,
        "last_value": _known(numbers[:, BASE]),
        "status": _STATUS.take(pa.array(codes[:, STATUS])),
        "model_version": pa.array(codes[:, VERSION]),
        "label": _known(numbers[:, LABEL]),
        "label_class": _classes(output, numbers[:, LABEL]),
        "residual": _known(numbers[:, RESIDUAL]),
    }
    return pa.table(columns, TABLES["outcomes"])


def _devices(output: Output, rows: Ints) -> pa.Array:
    found, where = np.unique(rows, return_inverse=True)
    names = [_text(output.device(row)) for row in found.tolist()]
    return pa.array(names, TEXT).take(pa.array(where))


def _text(name: str) -> str:
    """A lone surrogate in an id is no text that a file could hold."""
    return name.encode(errors="replace").decode()


def _due(output: Output) -> pa.Array:
    """When each is for; a horizon of readings is told by the outcome alone."""
    codes, lanes = output.predictions.codes, output.predictions.lanes
    by_readings = np.array([one.readings > 0 for one in lanes], np.bool_)[codes[:, LANE]]
    delay = np.array([one.delay for one in lanes], np.int64)[codes[:, LANE]]
    moments = np.where(by_readings, codes[:, DUE], codes[:, MADE] + delay)
    unknown = by_readings & (codes[:, STATUS] != Status.LABELLED)
    return pa.array(moments, MOMENT, mask=unknown)


def _known(numbers: Floats) -> pa.Array:
    return pa.array(numbers, NUMBER, mask=~np.isfinite(numbers))


def _classes(output: Output, places: Floats) -> pa.Array:
    """The names of classes by their places; null where a lane has none."""
    names: NDArray[np.object_] = np.full(len(places), None, object)
    for lane, classes in enumerate(output.predictions.classes):
        if classes is not None:
            own = _own(output, lane)
            names[own] = classes.at(places[own])
    return pa.array(names, TEXT)


def _distance(output: Output) -> pa.Array:
    found = np.full(len(output.predictions), np.nan)
    for lane, one in enumerate(output.predictions.lanes):
        if one.kind == "clustering" and one.parts:
            own = _own(output, lane)
            found[own] = output.predictions.parts[own, 0]
    return _known(found)


def _chances(output: Output) -> pa.Array:
    """The probability of each class by its name; empty where there is none."""
    parts = output.predictions.parts
    count, width = len(output.predictions), parts.shape[1]
    names = np.full((count, width), None, object)
    for lane, classes in enumerate(output.predictions.classes):
        if classes is not None and width:
            known = classes.named()[:width]
            names[_own(output, lane), : len(known)] = np.array(known, object)
    told = names.astype(bool) & np.isfinite(parts) if width else np.zeros((count, 0), np.bool_)
    offsets = np.concatenate([[0], np.cumsum(told.sum(axis=1))]).astype(np.int32)
    values = parts[told] if width else np.zeros(0)
    return pa.MapArray.from_arrays(
        pa.array(offsets), pa.array(names[told], TEXT), pa.array(values, NUMBER)
    )


def _own(output: Output, lane: int) -> Bools:
    own: Bools = output.predictions.codes[:, LANE] == lane
    return own


def _events(output: Output) -> pa.Table:
    schema = TABLES["events"]
    rows = []
    for one in output.events:
        told = event(output, one)
        row = {name: told.get(name) for name in schema.names}
        row |= {"time": one.time, "since": one.since or None, "device": told["device"] or ""}
        row |= {name: _finite(row[name]) for name in ("before", "after", "size", "seconds")}
        rows.append(row)
    return pa.Table.from_pylist(rows, schema)


def _finite(number: float | None) -> float | None:
    return number if number is not None and np.isfinite(number) else None


def _scores(output: Output, time: int, lane: Ints, row: Ints, numbers: Floats) -> pa.Table:
    lanes: Sequence[int] = lane.tolist()
    names = output.predictions.lanes
    columns = {
        "time": pa.array(np.full(len(lane), time), MOMENT),
        "device": _devices(output, row),
        "task": pa.array([names[k].task for k in lanes], TEXT),
        "horizon": pa.array([names[k].horizon for k in lanes], TEXT),
    }
    columns |= {name: _known(numbers[:, k]) for k, name in enumerate(SCORE_COLUMNS)}
    return pa.table(columns, TABLES["scores"])
