"""What the label join gives the models: steps, in event order."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from streamgauge.tags import tag_of

__all__ = ["Choose", "Elsewhere", "Lane", "Schedule", "TaskKind"]

TaskKind = Literal["forecast", "regression", "classification", "anomaly", "clustering"]
Choose = Literal["best", "mean", "halving"]
"""By whom of several candidates is answered: who erred least of late; the mean of all, weighted by
how they did; or the best, while the worse half leaves after every round."""

# Columns of `codes`.
STEP, LANE, ROW, SOURCE, SLOT, SEQUENCE, MADE, DUE, MODEL = range(9)
# Columns of `numbers`.
TARGET, BASE, RESIDUAL, WEIGHT, LABEL = range(5)


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """How labels that come by themselves, not with a reading, meet a lane's predictions.

    A label names the prediction's id, or a device and a time: then it belongs to the prediction
    for the nearest time, at most `within` microseconds away. Ages are between the arrivals of the
    two on our clock, microseconds.
    """

    within: int | None
    """None where labels name ids."""
    expire_after: int
    """Age from which a prediction waits no longer."""
    teach_until: int
    """Age beyond which a label is scored, but teaches nothing."""


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
    """Column of the target channel; -1 where labels come from elsewhere."""
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
    """What is served until then: "last" value, the answer of the "fleet"'s model, or "none"."""
    scope: str = "device"
    """Who shares a model: each device has its own ("device"), all have one together ("fleet"), or
    those with the same value of a tag ("tag:NAME")."""
    elsewhere: Elsewhere | None = None
    """None where the label is a later value of the target channel."""
    kind: TaskKind = "forecast"
    parts: int = 0
    """Numbers that the model answers beside its answer: the probability of each class, or the
    distances from the cluster's centre and from the nearest other one."""
    interval: float = 0.0
    """Share of labels that are to be within the interval around the answer; 0: there is none."""
    series: bool = False
    """A model of it continues the series of the target: it learns each value at its reading, and
    labels are for the scores."""
    by_itself: bool = False
    """The model learns each reading when it answers it; a label is for the scores, if one comes."""

    calibrate: bool = False
    """Probabilities of classes are moved to how labels fall."""
    alarm_every: float = 0.0
    """Microseconds in which a device may have one alarm; 0: there are none."""
    causes: tuple[str, ...] = ()
    """Of each input its channel, where the model says which is the strangest."""

    @property
    def name(self) -> str:
        return f"{self.task}@{self.horizon}" if self.horizon else self.task

    @property
    def tag(self) -> str:
        """The tag whose value those have in common who share a model; "" where it is none."""
        return tag_of(self.scope)


class Schedule:
    """Up to `capacity` steps in event order, over all lanes.

    - `codes int64[capacity, 9]`: step (`words.Step`), lane, device row, source (index of the
      reading in the batch), slot (place of the prediction in the device's ring of pending ones),
      sequence (count of the device's readings), made (event time of the prediction), due (event
      time that it is for; for a label the time of the reading that brought it), model (row of the
      model's state: the device row, 0 where the fleet shares one, or that of the device's group)
    - `numbers float64[capacity, 5]`: target (what the model learns; when predicting NaN,
      or of a lane of a series the value that came with the reading), base
      (last value of the target channel when the prediction was made), residual (label - prediction,
      written by the scorer), weight
    - `x float64[capacity, f]`: the features; a learn step carries the very features that the
      prediction was made with
    - `answers float64[capacity]`: what the models answered to predict steps; of a classification
      the place of the class, of an anomaly the score, of a clustering the number of the cluster
    - `parts float64[capacity, parts]`: what belongs to the answer (see `Lane.parts`), NaN where the
      model has none; no columns where no lane has any
    - `causes float64[capacity]`: of an anomaly, where no model is named, which of the lane's inputs
      is the strangest
    """

    __slots__ = ("answers", "capacity", "causes", "codes", "n", "numbers", "parts", "x")

    def __init__(self, capacity: int, features: int, parts: int = 0) -> None:
        self.capacity = capacity
        self.n = 0
        self.codes = np.zeros((capacity, 9), np.int64)
        self.numbers = np.zeros((capacity, 5))
        self.x = np.zeros((capacity, features))
        self.answers = np.full(capacity, np.nan)
        self.parts = np.full((capacity, parts), np.nan)
        self.causes = np.full(capacity, np.nan)
