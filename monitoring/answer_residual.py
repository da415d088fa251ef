"""What the answers or the labels of a task do beyond what was expected of them: the residual of a
seasonal AR(1), as that of a channel.

A model whose answers rise though its error does not tells of another mix of inputs; labels that do
tell of another target. Of a classification the numbers are the places of its classes.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from monitoring.residual import LAST, seasons, take
from streamgauge.arrays import Floats, Ints
from streamgauge.calls import Call, Now
from streamgauge.kernels import kernel
from streamgauge.local_time import local_time, offsets
from streamgauge.schedule import BASE, DUE, LABEL, LANE, MADE, SOURCE, STEP, Lane, Schedule
from streamgauge.schedule import ROW as STEP_ROW
from streamgauge.signal import PART, ROW, TIME, Kind, Signal
from streamgauge.signal import SOURCE as SIGNAL_SOURCE
from streamgauge.state import Block
from streamgauge.words import Step

__all__ = ["AnswerResidual"]

_PREDICT, _LEARN, _SCORE = int(Step.PREDICT), int(Step.LEARN), int(Step.SCORE)
# Beyond anything physical, as in cleaning.
_HIGHEST = 1e24
# What `of_labels` and `changes` are behind each other in one array.
_OF_LABELS = 0


@kernel
def _value(
    i: int, steps: Ints, numbers: Floats, answers: Floats, settings: Ints
) -> tuple[float, int]:
    """Answer or label of a step and its time; NaN where it has none."""
    step, lane = steps[i, STEP], steps[i, LANE]
    if settings[_OF_LABELS] == 1:
        labelled = step == _LEARN or step == _SCORE
        return (numbers[i, LABEL] if labelled else math.nan), steps[i, DUE]
    if step != _PREDICT:
        return math.nan, 0
    # A model that answers a change is served with the last value.
    return answers[i] + (numbers[i, BASE] if settings[1 + lane] else 0.0), steps[i, MADE]


@kernel
def _collect(
    n: int, steps: Ints, given: Floats, answers: Floats, settings: Ints, zone: Ints,
    state: Floats, codes: Ints, numbers: Floats, count: Ints,
) -> None:  # fmt: skip
    k = 0
    for i in range(n):
        value, time = _value(i, steps, given, answers, settings)
        own = state[steps[i, STEP_ROW], steps[i, LANE]]
        # Labels from elsewhere may come in any order.
        if not abs(value) <= _HIGHEST or time < own[LAST]:
            continue
        if math.isnan(take(own, time, local_time(time, zone), value, numbers, k)):
            continue
        codes[k, ROW], codes[k, PART] = steps[i, STEP_ROW], steps[i, LANE]
        codes[k, TIME], codes[k, SIGNAL_SOURCE] = time, steps[i, SOURCE]
        k += 1
    count[0] = k


class AnswerResidual:
    """The residual of the answers or labels of all lanes, per device; see `monitoring.residual`.

    Answers are those of the models, before they are ready too. Block "state", per device and lane:
    264 bytes.
    """

    def __init__(
        self,
        kind: Literal[Kind.PREDICTION, Kind.LABEL],
        lanes: Sequence[Lane],
        capacity: int,
        *,
        zone: str,
        room: int,
    ) -> None:
        """`room` is the most steps of a schedule."""
        self.signal = Signal(kind, "lanes", [lane.name for lane in lanes], room)
        state = seasons(len(lanes), "lanes", capacity)
        self.blocks: Mapping[str, Block] = {"state": state}
        settings = [kind is Kind.LABEL, *(lane.change for lane in lanes)]
        self._bound = (np.array(settings, np.int64), offsets(zone), state.view("season"))

    def call(self, schedule: Schedule) -> Call:
        """Collect those of the schedule's STEPS in place of what the signal held."""
        given = (schedule.codes, schedule.numbers, schedule.answers)
        into = (self.signal.codes, self.signal.numbers, self.signal.count)
        return Call(_collect, (Now.STEPS, *given, *self._bound, *into))
