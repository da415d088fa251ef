"""From the numbers that a stream has for classes to their places: what models and scores work with.

It stands right behind the label join, and only where a task classifies. Classes that nobody
declared are learned in the order of the steps, each lane its own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from streamgauge.arrays import Floats, Ints
from streamgauge.calls import Call, Now
from streamgauge.classes import Classes
from streamgauge.kernels import kernel
from streamgauge.schedule import BASE, LABEL, LANE, STEP, TARGET, Schedule
from streamgauge.state import Block, Field, Keys
from streamgauge.words import Step

__all__ = ["Classify"]

_EXPIRE = int(Step.EXPIRE)
_PREDICT = int(Step.PREDICT)
# First column of a lane's numbers: how many classes are declared, or one of these.
NO_CLASSES, LEARNED = -2.0, -1.0


@kernel
def place(value: float, lane: int, declared: Floats, learned: Floats, width: int) -> float:
    """The place of the class that this number stands for, a new one where it may; else NaN."""
    if value != value:
        return np.nan
    if declared[lane, 0] >= 0.0:
        for k in range(int(declared[lane, 0])):
            if declared[lane, 1 + k] == value:
                return float(k)
        return np.nan
    first = lane * width
    count = int(learned[first])
    for k in range(count):
        if learned[first + 1 + k] == value:
            return float(k)
    if count >= int(declared[lane, 1]):
        return np.nan
    learned[first + 1 + count] = value
    learned[first] += 1.0
    return float(count)


@kernel
def classify(
    codes: Ints, numbers: Floats, declared: Floats, learned: Floats, refused: Floats, n: int
) -> None:
    """Put places where steps of classifications have numbers. A label that is no class, and none
    that may be learned any more, is counted and its prediction expires."""
    width = declared.shape[1]
    for i in range(n):
        lane = codes[i, LANE]
        if declared[lane, 0] == NO_CLASSES:
            continue
        numbers[i, BASE] = place(numbers[i, BASE], lane, declared, learned, width)
        label = numbers[i, LABEL]
        if codes[i, STEP] == _PREDICT or label != label:
            continue
        found = place(label, lane, declared, learned, width)
        numbers[i, LABEL] = found
        numbers[i, TARGET] = found
        if found != found:
            refused[lane] += 1.0
            codes[i, STEP] = _EXPIRE


class Classify:
    """The classes of all lanes; `of[lane]` is None where a lane does not classify."""

    def __init__(self, classes: Sequence[Classes | None]) -> None:
        lanes = len(classes)
        most = max((one.most for one in classes if one is not None), default=0)
        learned = Field("learned", (lanes, 1 + most), along="lanes", padded=True)
        state = Block([learned, Field("refused", (lanes,), along="lanes")], 1, keys=Keys.FLEET)
        self.blocks: Mapping[str, Block] = {"classes": state}
        learnt = state.view("learned")
        self.of = [
            None if one is None else replace(one, learned=learnt[0, k, : 1 + one.most])
            for k, one in enumerate(classes)
        ]
        self._declared = np.full((lanes, 1 + most), NO_CLASSES)
        for k, one in enumerate(classes):
            if one is not None and one.declared:
                self._declared[k, : 1 + one.most] = [one.most, *one.values]
            elif one is not None:
                self._declared[k, :2] = LEARNED, one.most

    def __bool__(self) -> bool:
        """Whether any lane classifies."""
        return any(one is not None for one in self.of)

    def refused(self, lane: int) -> int:
        """Labels of a lane that were none of its classes."""
        return int(self.blocks["classes"].view("refused")[0, lane])

    def call(self, schedule: Schedule) -> Call:
        """Put places into the schedule's STEPS."""
        state = self.blocks["classes"]
        columns = state.offset("refused")
        learned, refused = state.array[0, :columns], state.array[0, columns:]
        given = (schedule.codes, schedule.numbers, self._declared, learned, refused)
        return Call(classify, (*given, Now.STEPS))
