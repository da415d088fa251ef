"""Learning faster: for a while each label teaches a device's model several times.

What a model is taught several times in a row counts as much as so many labels: a gradient takes as
many steps, least squares forget as much, a leaf counts as many. So it works for models of any kind.
A lane's learner sees a copy of its steps for that, in which learn steps stand several times.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from models.learner import Learner
from streamgauge.arrays import Floats, Ints
from streamgauge.calls import Call, Now
from streamgauge.kernels import kernel
from streamgauge.schedule import DUE, LANE, ROW, SEQUENCE, STEP, Lane, Schedule
from streamgauge.state import Block, Field
from streamgauge.words import Step

__all__ = ["Repeats"]

_PREDICT, _LEARN = int(Step.PREDICT), int(Step.LEARN)
AGAIN = -1
"""Sequence of a step that stands there again: a mixture lets the fleet's model learn from those
that four divides only, and that one must not learn faster."""


@kernel
def repeat(
    codes: Ints, numbers: Floats, x: Floats, until: Floats, lane: int, times: int,
    own_codes: Ints, own_numbers: Floats, own_x: Floats, came: Ints, n: int,
) -> int:  # fmt: skip
    """Copy this lane's steps for models of 0 to n, learn steps of devices that learn faster so many
    times; `came` is where each copy came from and, last, n. How many there are."""
    m = 0
    for i in range(n):
        step = codes[i, STEP]
        if codes[i, LANE] != lane or (step != _PREDICT and step != _LEARN):
            continue
        fast = step == _LEARN and codes[i, DUE] < until[codes[i, ROW], lane]
        for k in range(times if fast else 1):
            own_codes[m], own_numbers[m], own_x[m], came[m] = codes[i], numbers[i], x[i], i
            if k > 0:
                own_codes[m, SEQUENCE] = AGAIN
            m += 1
    came[len(came) - 1] = n
    return m


@kernel
def hand_back(
    own_codes: Ints, own_answers: Floats, own_parts: Floats, own_causes: Floats, came: Ints,
    answers: Floats, parts: Floats, causes: Floats, m: int,
) -> int:  # fmt: skip
    """Put the answers of the m copies where the steps came from; how many of these there were."""
    for k in range(m):
        if own_codes[k, STEP] == _PREDICT:
            i = came[k]
            answers[i], causes[i] = own_answers[k], own_causes[k]
            parts[i] = own_parts[k]
    return int(came[len(came) - 1])


class Repeats:
    """Lanes whose models may learn faster, and until when each device's does."""

    def __init__(self, times: Mapping[int, int], lanes: Sequence[Lane], capacity: int) -> None:
        """`times` by lane: how often a label teaches then."""
        self._times = times
        state = Block([Field("until", (len(lanes),), along="lanes")], capacity)
        self.blocks: Mapping[str, Block] = {"pace": state}
        self._until = state.view("until")

    def begin(self, row: int, lane: int, until: int) -> None:
        """The device's model learns faster from labels before this event time."""
        self._until[row, lane] = max(self._until[row, lane], float(until))

    def of(self, learner: Learner, schedule: Schedule) -> "Repeated | None":
        """The learner as it may learn faster, from this schedule; None where it never does."""
        times = self._times.get(learner.lane)
        return Repeated(learner, schedule, self._until, times) if times else None


class Repeated:
    """A learner that is taught by a copy of a schedule's steps."""

    def __init__(self, learner: Learner, schedule: Schedule, until: Floats, times: int) -> None:
        self._learner = learner
        own = Schedule(times * schedule.capacity, schedule.x.shape[1], schedule.parts.shape[1])
        came = np.zeros(own.capacity + 1, np.int64)
        given = (schedule.codes, schedule.numbers, schedule.x, until, learner.lane, times)
        copies = (own.codes, own.numbers, own.x, came)
        said = (own.codes, own.answers, own.parts, own.causes, came)
        answers = (schedule.answers, schedule.parts, schedule.causes)
        self._own = own
        self._before = Call(repeat, (*given, *copies, Now.STEPS), (Now.STEPS,))
        self._behind = Call(hand_back, (*said, *answers, Now.STEPS), (Now.STEPS,))

    def calls(self) -> list[Call]:
        """All of it as kernel calls over STEPS; none where Python has to do it."""
        call = self._learner.call(self._own)
        return [] if call is None else [self._before, call, self._behind]

    def run(self, schedule: Schedule) -> None:
        """The same where Python does it, over the steps of the schedule that it is made for."""
        self._own.n = self._before.run(steps=schedule.n)
        self._learner.run(self._own)
        self._behind.run(steps=self._own.n)
