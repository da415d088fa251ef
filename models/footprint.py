"""How large one of River's models is in a checkpoint: found by teaching one."""

import numpy as np

from models.learner import Learner
from streamgauge.classes import Classes
from streamgauge.schedule import LANE, MADE, SEQUENCE, STEP, TARGET, Schedule
from streamgauge.words import Step

__all__ = ["READINGS", "footprint"]

READINGS = 100
"""Few, since the slowest of River's models take ten milliseconds for one."""
APART = 600 * 10**6


def footprint(
    learner: Learner, columns: int, parts: int, classes: Classes | None
) -> tuple[int, int]:
    """Bytes of a model after READINGS of noise between 0 and 1, and after twice as many; (0, 0) of
    learners whose state is in blocks.

    `columns` is the width of the schedule's features, `parts` that of its parts. The learner is
    taught, and so are two classes where none are known: both are to be thrown away.
    """
    if learner.blobs is None:
        return 0, 0
    if classes is not None and not len(classes):
        classes.learned[:3] = 2.0, 0.0, 1.0
    rng = np.random.default_rng(0)
    found = []
    for part in range(2):
        numbers = np.arange(part * READINGS, (part + 1) * READINGS)
        y = rng.random(READINGS) if classes is None else rng.integers(len(classes), size=READINGS)
        schedule = Schedule(2 * READINGS, columns, parts)
        schedule.n = schedule.capacity
        schedule.x[:] = np.repeat(rng.random((READINGS, columns)), 2, axis=0)
        schedule.numbers[:, TARGET] = np.repeat(y, 2)
        schedule.codes[:, LANE] = learner.lane
        schedule.codes[:, STEP] = np.tile([Step.PREDICT, Step.LEARN], READINGS)
        schedule.codes[:, SEQUENCE] = np.repeat(numbers, 2)
        schedule.codes[:, MADE] = np.repeat(numbers * APART, 2)
        learner.run(schedule)
        [blob] = learner.blobs.dump([0])
        found.append(len(blob))
    return found[0], found[1]
