"""What the label join gives the models: steps, in event order."""

from dataclasses import dataclass

import numpy as np

__all__ = ["Lane", "Schedule"]

# Columns of `codes`.
STEP, LANE, ROW, SOURCE, SLOT, SEQUENCE, MADE, DUE = range(8)
# Columns of `numbers`.
TARGET, BASE, RESIDUAL, WEIGHT, LABEL = range(5)


@dataclass(frozen=True, slots=True)
class Lane:
    """One task at one horizon: what one fleet of models answers, and what its label is.

    `delay` is how long the label takes: microseconds of event time when `readings` is 0, else the
    label is that many readings of the same device later. 0 and 0 means the same reading.
    """

    task: str
    horizon: str
    """As the user wrote it: "10m", "1 reading", "" for a regression."""
    target: int
    """Column of the target channel."""
    delay: int
    readings: int
    tolerance: int
    """Microseconds after the horizon in which a reading still is the label."""
    change: bool
    """The model answers target[t+h] - target[t]; what is served adds the last value."""
    inputs: tuple[int, ...]
    """Columns of the features that this task may use."""
    ready_after: int
    """Labels that the model must have learned before its own answers are served."""
    before_ready: str
    """What is served until then: "last" or "none"."""

    @property
    def name(self) -> str:
        return f"{self.task}@{self.horizon}" if self.horizon else self.task


class Schedule:
    """Up to `capacity` steps in event order, over all lanes.

    - `codes int64[capacity, 8]`: step (`words.Step`), lane, device row, source (index of the
      reading in the batch), slot (place of the prediction in the device's ring of pending ones),
      sequence (count of the device's readings), made (event time of the prediction), due (event
      time that it is for; for a label the time of the reading that brought it)
    - `numbers float64[capacity, 5]`: target (what the model learns; NaN when predicting), base
      (last value of the target channel when the prediction was made), residual (label - prediction,
      written by the scorer), weight
    - `x float64[capacity, f]`: the features; a learn step carries the very features that the
      prediction was made with
    - `answers float64[capacity]`: what the models answered to predict steps
    """

    __slots__ = ("answers", "capacity", "codes", "n", "numbers", "x")

    def __init__(self, capacity: int, features: int) -> None:
        self.capacity = capacity
        self.n = 0
        self.codes = np.zeros((capacity, 8), np.int64)
        self.numbers = np.zeros((capacity, 5))
        self.x = np.zeros((capacity, features))
        self.answers = np.full(capacity, np.nan)
