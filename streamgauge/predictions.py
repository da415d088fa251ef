"""Predictions and their outcomes, as columns, on their way to the sinks."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streamgauge.schedule import Lane

__all__ = ["Predictions", "prediction_id"]

# Columns of `codes`.
STEP, LANE, ROW, SEQUENCE, MADE, DUE, STATUS, VERSION = range(8)
# Columns of `numbers`.
VALUE, BASE, LABEL, RESIDUAL = range(4)


@dataclass(frozen=True, slots=True)
class Predictions:
    """n records, in event order, of which each is a prediction or the outcome of an earlier one.

    - `codes int64[n, 8]`: step (`Step.PREDICT` for a prediction; LEARN, SCORE or EXPIRE for an
      outcome), lane, device row, sequence, made (event time when predicted), due (event time
      predicted for; in an outcome the event time of the label), status (`words.Status`), version
      (labels that the device's model had learned)
    - `numbers float64[n, 4]`: value (what was served), base (last value of the target then: the
      persistence forecast), label, residual = label - value

    A prediction and its outcome share (lane, device, sequence, made). `names[row]` is the device's
    id; `lanes[lane]` the task and horizon.
    """

    codes: NDArray[np.int64]
    numbers: NDArray[np.float64]
    names: Sequence[str | None]
    lanes: Sequence[Lane]

    def __len__(self) -> int:
        return len(self.codes)

    @property
    def made(self) -> NDArray[np.bool_]:
        """bool[n]: which records are predictions; the others are outcomes."""
        return np.asarray(self.codes[:, STEP] == 0)


def prediction_id(lane: Lane, device: str, sequence: int) -> str:
    """The prediction's name everywhere: the same after a replay, so that redelivery overwrites."""
    return f"{lane.name}/{device}/{sequence}"
