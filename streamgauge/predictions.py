"""Predictions and their outcomes, as columns, on their way to the sinks."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamgauge.classes import Classes
from streamgauge.schedule import Lane

__all__ = ["Predictions", "answer", "interval", "prediction_id"]

# Columns of `codes`.
STEP, LANE, ROW, SEQUENCE, MADE, DUE, STATUS, VERSION = range(8)
# Columns of `numbers`.
VALUE, BASE, LABEL, RESIDUAL, HALF = range(5)


@dataclass(frozen=True, slots=True)
class Predictions:
    """n records, in event order, of which each is a prediction or the outcome of an earlier one.

    - `codes int64[n, 8]`: step (`Step.PREDICT` for a prediction; LEARN, SCORE or EXPIRE for an
      outcome), lane, device row, sequence, made (event time when predicted), due (event time
      predicted for; in an outcome the event time of the label), status (`words.Status`), version
      (labels that the device's model had learned)
    - `numbers float64[n, 5]`: value (what was served), base (last value of the target then: the
      persistence forecast), label, residual = label - value, half the width of the interval around
      the value (NaN where there is none)

    A prediction and its outcome share (lane, device, sequence, made). `names[row]` is the device's
    id; `lanes[lane]` the task and horizon.
    - `parts float64[n, k]`: what belongs to a value (see `Lane.parts`), NaN where there is none
    - `classes[lane]`: the classes of a classification, whose values and labels are places in them;
      None for other lanes; empty where no lane classifies
    """

    codes: NDArray[np.int64]
    numbers: NDArray[np.float64]
    names: Sequence[str | None]
    lanes: Sequence[Lane]
    parts: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 0)))
    classes: Sequence[Classes | None] = ()

    def __len__(self) -> int:
        return len(self.codes)

    def emptied(self) -> "Predictions":
        """None of the records, but the names and lanes that events and scores refer to."""
        parts = np.zeros((0, self.parts.shape[1]))
        codes, numbers = np.zeros((0, VERSION + 1), np.int64), np.zeros((0, HALF + 1))
        return Predictions(codes, numbers, self.names, self.lanes, parts, self.classes)

    def named(self, i: int) -> dict[str, Any]:
        """What the i-th record says beside its numbers: class and probabilities by name, the score,
        or the distance from the cluster; of an outcome the class of the label."""
        code, number = self.codes[i], self.numbers[i]
        lane = self.lanes[code[LANE]]
        if lane.kind in ("forecast", "regression"):
            return interval(float(number[VALUE]), float(number[HALF]))
        own = self.classes[code[LANE]] if self.classes else None
        made = bool(code[STEP] == 0)
        parts = self.parts[i, : lane.parts].tolist() if lane.parts else []
        told = {} if own is None or made else {"label_class": own.name(number[LABEL])}
        return answer(lane, own, float(number[VALUE]), parts) | told

    @property
    def made(self) -> NDArray[np.bool_]:
        """bool[n]: which records are predictions; the others are outcomes."""
        return np.asarray(self.codes[:, STEP] == 0)


def interval(value: float, half: float) -> dict[str, Any]:
    """The ends of the interval around a value; nothing where there is none."""
    return {"lower": value - half, "upper": value + half} if half == half else {}


def answer(
    lane: Lane, classes: Classes | None, value: float, parts: Sequence[float]
) -> dict[str, Any]:
    """What a served value means in words: nothing for a number. `parts` are those of the lane, or
    none where they are not known any more."""
    if classes is not None:
        chances = {"probabilities": classes.chances(parts)} if parts else {}
        return {"predicted_class": classes.name(value), **chances}
    if lane.kind == "clustering" and parts:
        return {"distance": parts[0]}
    if lane.kind == "anomaly":
        return {"score": value}
    return {}


def prediction_id(lane: Lane, device: str, sequence: int) -> str:
    """The prediction's name everywhere: the same after a replay, so that redelivery overwrites."""
    return f"{lane.name}/{device}/{sequence}"
