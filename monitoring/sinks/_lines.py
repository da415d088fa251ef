"""Results as InfluxDB line protocol, encoded column by column, with no Python per record.

One record per line, `measurement,tags fields time`, the time in microseconds UTC. All fields but
the names of classes are floats, and always the same ones per series: a line that comes twice
overwrites itself.
"""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from streamgauge.arrays import Floats, Ints
from streamgauge.events import ACTIONS, Event, EventKind
from streamgauge.output import SCORE_COLUMNS, Output, Scores
from streamgauge.predictions import BASE, HALF, LABEL, LANE, MADE, RESIDUAL, ROW, VALUE

__all__ = ["Lines", "LinesEncoder", "tag"]

SILENCES = (EventKind.SILENT, EventKind.RETURNED)
DIRECTIONS = {
    EventKind.DRIFT_UP: "up",
    EventKind.DRIFT_DOWN: "down",
    EventKind.DRIFT: "changed",
}
_SPECIAL = re.compile(r"([,= ])")
_CONTROL = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
_SPOKEN = re.compile(r'(["\\])')
NO_WORDS: Mapping[str, NDArray[np.object_]] = {}
_LAST_BACKSLASHES = re.compile(r"\\+(?=[,= ]|$)")


@lru_cache(maxsize=65_536)
def tag(value: str) -> str:
    """A tag's value as line protocol writes it. What it cannot write is replaced: a control
    character by a space, a backslash before a special character or at the end by a slash."""
    writable = _CONTROL.sub(" ", value)
    return _SPECIAL.sub(r"\\\1", _LAST_BACKSLASHES.sub("/", writable))


class Lines:
    """Lines of line protocol, each with its newline, in one piece of memory."""

    def __init__(self, arrays: Sequence[pa.Array]) -> None:
        whole = pa.concat_arrays(arrays) if arrays else pa.array([], pa.string())
        _, offsets, data = whole.buffers()
        self._data = memoryview(data) if data is not None else memoryview(b"")
        self._offsets = np.frombuffer(offsets, np.int32)[: len(whole) + 1] if len(whole) else [0]

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def part(self, start: int, stop: int) -> bytes:
        """The lines from one place to another."""
        return bytes(self._data[self._offsets[start] : self._offsets[stop]])

    def shown(self, k: int) -> str:
        """One line as text."""
        return self.part(k, k + 1).decode(errors="replace").rstrip("\n")


class LinesEncoder:
    """Outputs of one stream into lines:

    - `iot_prediction` per device: `value` and `last_value` when predicted; `label` and `residual`
      join the same point, at the time when the prediction was made. Of a classification, whose
      `value` is the place of a class, also `class`, `label_class`, and the probability of each
      class as `p_CLASS`; of a clustering `distance`
    - `iot_model`: the scores over all devices, and those of single devices
    - `iot_drift`: `before`, `after`, `size`, `magnitude` and, where that is known, `since`
      (milliseconds since 1970), by `direction`; of a channel also by `channel` and `signal`, in
      place of the task
    - `iot_cluster` per device that came into a new one: `before`, `after`, and how many it knows
    - `iot_action` per device, task and `action`, what was done about drift or what that brought:
      `before`, `after`, `size`
    - `iot_silence` per device: `seconds` without a reading, or a value of `channel`, by `event`
    - `iot_recovered` per device and channel: a `value` that was refused once and is right

    Without `per_device` there are no single predictions, silences, values and no tag `device`.
    """

    def __init__(self, stream: str, *, per_device: bool) -> None:
        self._per_device = per_device
        self._stream = f",stream={tag(stream)}"

    def encode(self, outputs: Sequence[Output]) -> Lines:
        """All lines of these outputs."""
        arrays = []
        for output in outputs:
            if self._per_device and len(output.predictions):
                arrays += self._predictions(output)
            arrays += [self._scores(output, scores) for scores in output.scores]
            drifts = [event for event in output.events if event.kind in DIRECTIONS]
            if drifts:
                arrays.append(self._drifts(output, drifts))
            clusters = [one for one in output.events if one.kind is EventKind.NEW_CLUSTER]
            if clusters and self._per_device:
                series = [self._series("iot_cluster", output, k.lane, k.row) for k in clusters]
                arrays.append(_changes(series, clusters, {}))
            done = [one for one in output.events if one.kind in ACTIONS]
            if done and self._per_device:
                arrays.append(_changes([self._action(output, one) for one in done], done, {}))
            strange = [one for one in output.events if one.kind is EventKind.ANOMALY]
            if strange and self._per_device:
                series = [self._series("iot_anomaly", output, k.lane, k.row) for k in strange]
                arrays.append(_changes(series, strange, {}))
            silences = [event for event in output.events if event.kind in SILENCES]
            if silences and self._per_device:
                arrays.append(self._silences(output, silences))
            recovered = [one for one in output.events if one.kind is EventKind.RECOVERED]
            if recovered and self._per_device:
                arrays.append(self._recovered(output, recovered))
        return Lines(arrays)

    def _predictions(self, output: Output) -> list[pa.Array]:
        codes, numbers = output.predictions.codes, output.predictions.numbers
        pairs, where = np.unique(codes[:, LANE] << 32 | codes[:, ROW], return_inverse=True)
        prefixes = pa.array(
            [
                self._series("iot_prediction", output, p >> 32, p & 0xFFFFFFFF)
                for p in pairs.tolist()
            ]
        )
        made, arrays = output.predictions.made, []
        value, half = numbers[:, VALUE], numbers[:, HALF]
        told = {"value": value, "last_value": numbers[:, BASE]}
        # A column of which nothing is there is not looked through for each line.
        ends = {"lower": value - half, "upper": value + half} if np.isfinite(half).any() else {}
        known = {"label": numbers[:, LABEL], "residual": numbers[:, RESIDUAL]}
        for chosen, columns in ((made, told | ends), (~made, known)):
            fields = {name: column[chosen] for name, column in columns.items()}
            arrays.append(_lines(prefixes.take(where[chosen]), fields, codes[chosen, MADE]))
        for lane in np.unique(codes[:, LANE]).tolist():
            if output.predictions.lanes[lane].parts:
                arrays += self._parts(output, lane, prefixes.take(where))
        return arrays

    def _parts(self, output: Output, lane: int, prefixes: pa.Array) -> list[pa.Array]:
        """What belongs to the values of one lane: fields of the same points."""
        records = output.predictions
        own, times = records.codes[:, LANE] == lane, records.codes[:, MADE]
        made, told = own & records.made, own & ~records.made
        if (classes := records.classes[lane] if records.classes else None) is None:
            fields = {"distance": records.parts[made, 0]}
            return [_lines(prefixes.filter(pa.array(made)), fields, times[made])]
        chances = {f"p_{tag(name)}": records.parts[made, k]
                   for k, name in enumerate(classes.named())}  # fmt: skip
        said = {"class": classes.at(records.numbers[made, VALUE])}
        known = {"label_class": classes.at(records.numbers[told, LABEL])}
        return [
            _lines(prefixes.filter(pa.array(made)), chances, times[made], said),
            _lines(prefixes.filter(pa.array(told)), {}, times[told], known),
        ]

    def _scores(self, output: Output, scores: Scores) -> pa.Array:
        wanted = np.flatnonzero((scores.row < 0) | self._per_device)
        lanes, rows = scores.lane[wanted].tolist(), scores.row[wanted].tolist()
        pairs = zip(lanes, rows, strict=True)
        prefixes = pa.array(
            [self._series("iot_model", output, lane, row) for lane, row in pairs], pa.string()
        )
        fields = dict(zip(SCORE_COLUMNS, scores.numbers[wanted].T, strict=True))
        return _lines(prefixes, fields, np.full(len(wanted), scores.time))

    def _drifts(self, output: Output, drifts: Sequence[Event]) -> pa.Array:
        since = [one.since / 1_000 if one.since else np.nan for one in drifts]
        more = {"magnitude": [one.magnitude for one in drifts], "since": since}
        return _changes([self._drift(output, one) for one in drifts], drifts, more)

    def _drift(self, output: Output, one: Event) -> str:
        way = DIRECTIONS[one.kind]
        if one.lane >= 0:
            return self._series("iot_drift", output, one.lane, one.row, way)
        name = tag(output.device(one.row)) if self._per_device else ""
        who = f",device={name}" if name else ""
        what = f",direction={way},signal={one.signal}{self._stream}"
        return f"iot_drift,channel={tag(one.channel)}{who}{what}"

    def _action(self, output: Output, one: Event) -> str:
        of = self._series("iot_action", output, one.lane, one.row)
        return of.replace("iot_action", f"iot_action,action={one.kind.name.lower()}", 1)

    def _silences(self, output: Output, silences: Sequence[Event]) -> pa.Array:
        prefixes = []
        for one in silences:
            channel = f",channel={tag(one.channel)}" if one.channel else ""
            who = f",device={tag(output.device(one.row))},event={one.kind.name.lower()}"
            prefixes.append(f"iot_silence{channel}{who}{self._stream}")
        fields = {"seconds": np.array([one.size for one in silences])}
        return _lines(pa.array(prefixes), fields, np.array([one.time for one in silences]))

    def _recovered(self, output: Output, recovered: Sequence[Event]) -> pa.Array:
        prefixes = [
            f"iot_recovered,channel={tag(one.channel)},device={tag(output.device(one.row))}"
            f"{self._stream}"
            for one in recovered
        ]
        fields = {"value": np.array([one.after for one in recovered])}
        return _lines(pa.array(prefixes), fields, np.array([one.time for one in recovered]))

    def _series(
        self, measurement: str, output: Output, lane: int, row: int, direction: str = ""
    ) -> str:
        """Measurement and tags, which are in alphabetical order, as InfluxDB likes them."""
        name = tag(output.device(row)) if self._per_device else ""
        device = f",device={name}" if name else ""
        way = f",direction={direction}" if direction else ""
        of = output.predictions.lanes[lane]
        horizon = f",horizon={tag(of.horizon)}" if of.horizon else ""
        return f"{measurement}{device}{way}{horizon}{self._stream},task={tag(of.task)}"


def _changes(
    prefixes: Sequence[str], events: Sequence[Event], more: Mapping[str, Sequence[float]]
) -> pa.Array:
    """A line per event: what was before and is after, how many that rests on, and more."""
    told = {
        "before": [one.before for one in events],
        "after": [one.after for one in events],
        "size": [one.size for one in events],
        **more,
    }
    fields = {name: np.array(column, np.float64) for name, column in told.items()}
    return _lines(pa.array(prefixes), fields, np.array([one.time for one in events]))


def _lines(
    prefixes: pa.Array,
    fields: Mapping[str, Floats],
    times: Ints,
    words: Mapping[str, NDArray[np.object_]] = NO_WORDS,
) -> pa.Array:
    """A line per row with the fields that are finite, and the words that are not None; none for a
    row that has no such field."""
    usable = [np.isfinite(column) for column in fields.values()]
    there = [np.array([word is not None for word in column], np.bool_) for column in words.values()]
    keep = np.logical_or.reduce([*usable, *there])
    written = []
    for name, said in words.items():
        text = [None if word is None else _SPOKEN.sub(r"\\\1", word) for word in said[keep]]
        quoted = pc.binary_join_element_wise(f'{name}="', pa.array(text, pa.string()), '"', "")
        written.append(quoted)
    for (name, column), known in zip(fields.items(), usable, strict=True):
        number = pa.array(column[keep], mask=~known[keep]).cast(pa.string())
        written.append(pc.binary_join_element_wise(f"{name}=", number, ""))
    joined = pc.binary_join_element_wise(*written, ",", null_handling="skip")
    when = pa.array(times[keep]).cast(pa.string())
    prefix = prefixes.filter(pa.array(keep))
    return pc.binary_join_element_wise(prefix, " ", joined, " ", when, "\n", "")
