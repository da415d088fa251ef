"""Any River model, one instance per device or for all: what has no compiled equivalent."""

import pickle
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import copy_context
from functools import partial
from operator import itemgetter
from typing import Any

import numpy as np

from models.learner import Estimator, Make
from models.ways import Way
from streamgauge.arrays import Ints
from streamgauge.schedule import LANE, MODEL, STEP, TARGET, Schedule
from streamgauge.state import Block, Keys
from streamgauge.words import Step

__all__ = ["Models", "RiverFleet"]

PREDICT, LEARN = int(Step.PREDICT), int(Step.LEARN)
# Below this many steps, looking at each is quicker than letting numpy find this lane's.
FEW = 16
# A model that puts values into its messages must not fill the memory with them.
MOST_FAILURE_TEXTS = 50
OTHER = "other failures"
# Fixed, so that a checkpoint of one Python version reads in the next.
PICKLE_PROTOCOL = 5


class Models:
    """The estimators of a lane by model row; see `models.learner.Blobs`."""

    def __init__(self) -> None:
        self.of: dict[int, Estimator] = {}
        self.dirty: set[int] = set()

    def dump(self, rows: Sequence[int] | Ints) -> list[bytes]:
        """One pickle per row; empty where the row has no model yet."""
        models = (self.of.get(int(row)) for row in rows)
        return [b"" if model is None else pickle.dumps(model, PICKLE_PROTOCOL) for model in models]

    def load(self, rows: Sequence[int] | Ints, blobs: Sequence[bytes]) -> None:
        """Take over pickles of :meth:`dump`, whose origin the caller has verified."""
        for row, blob in zip(map(int, rows), blobs, strict=True):
            self.of.pop(row, None)
            if blob:
                self.of[row] = pickle.loads(blob)  # noqa: S301 - verified by the caller
            self.dirty.add(row)

    def drop(self, rows: Sequence[int] | Ints) -> None:
        """Forget these rows' models."""
        for row in map(int, rows):
            if self.of.pop(row, None) is not None:
                self.dirty.add(row)


class RiverFleet:
    """One estimator per model row, made when its first step comes.

    A feature that is NaN is left out of the dict that the estimator gets. What an estimator raises
    is counted in `failures` and its answer is NaN: one device's trouble stops nobody else.
    """

    def __init__(
        self,
        make: Make,
        lane: int,
        inputs: Sequence[int],
        names: Sequence[str],
        keys: Keys = Keys.DEVICE,
        way: Way | None = None,
    ) -> None:
        """`inputs` are the columns of `schedule.x` for this lane; `names[j]` is input j's name.
        `way` is how estimators are asked and taught; None = as regressors."""
        self.lane = lane
        self.keys = keys
        self.blocks: Mapping[str, Block] = {}
        self.blobs = Models()
        self.failures: Counter[str] = Counter()
        self._make = make
        self._ask, self._teach = way or Way(_ask, _teach)
        # `zip` stops at the shorter: what follows the inputs in a row is left out.
        self._named = partial(zip, tuple(names))
        # Models that diverge compute with infinities; numpy need not tell the log each time. A
        # context costs a tenth of entering `np.errstate` at every call.
        self._quiet = copy_context()
        self._quiet.run(np.seterr, all="ignore")
        self._pick = _picker(inputs)

    def call(self, schedule: Schedule) -> None:
        """None: River's objects cannot be called from a kernel."""

    def run(self, schedule: Schedule) -> None:
        """Predict and learn, step by step; see `models.learner.Learner`."""
        self._quiet.run(self._walk, schedule)

    def _walk(self, schedule: Schedule) -> None:
        named, pick, features = self._named, self._pick, schedule.x
        models, dirty = self.blobs.of, self.blobs.dirty
        ask, teach = self._ask, self._teach
        steps = self._many(schedule) if schedule.n > FEW else self._few(schedule)
        for i, step, row, gaps in steps:
            values = features[i].tolist()
            if pick is not None:
                values = pick(values)
            x = dict(named(values))
            # A sum is NaN if any value is, and quicker than looking at each of them.
            if gaps and (total := sum(values)) != total:
                x = {name: v for name, v in x.items() if v == v}
            dirty.add(row)
            try:
                model = models.get(row)
                if model is None:
                    model = models[row] = self._make()
                if step == PREDICT:
                    ask(model, x, schedule, i)
                else:
                    teach(model, x, schedule, i)
            except Exception as error:  # noqa: BLE001 - a model may raise anything
                self._failed(schedule, i, step, error)

    def _few(self, schedule: Schedule) -> Iterator[tuple[int, int, int, bool]]:
        """(index, step, row, whether features may be absent) of this lane's steps."""
        codes = schedule.codes[: schedule.n].tolist()
        for i, code in enumerate(codes):
            if code[LANE] == self.lane and code[STEP] <= LEARN:
                yield i, code[STEP], code[MODEL], True

    def _many(self, schedule: Schedule) -> Iterator[tuple[int, int, int, bool]]:
        """The same for long schedules, column by column: a list per step would keep Python's
        garbage collector busy."""
        codes = schedule.codes[: schedule.n]
        own = np.flatnonzero((codes[:, LANE] == self.lane) & (codes[:, STEP] <= LEARN))
        gaps = np.isnan(schedule.x[own]).any(axis=1)
        columns = (own, codes[own, STEP], codes[own, MODEL], gaps)
        return zip(*(column.tolist() for column in columns), strict=True)

    def evict(self, rows: Ints) -> None:
        """Forget these devices' models."""
        if self.keys is Keys.DEVICE:
            self.blobs.drop(rows)

    def restart(self, rows: Ints) -> None:
        """Begin these devices' models anew, empty."""
        self.evict(rows)

    def _failed(self, schedule: Schedule, i: int, step: int, error: Exception) -> None:
        if step == PREDICT:
            schedule.answers[i] = np.nan
            schedule.parts[i] = np.nan
        doing = "predict" if step == PREDICT else "learn"
        text = f"{doing}: {type(error).__name__}: {error}"
        known = text in self.failures or len(self.failures) < MOST_FAILURE_TEXTS
        self.failures[text if known else OTHER] += 1


def _ask(model: Any, x: dict[str, float], schedule: Schedule, i: int) -> None:
    answer = model.predict_one(x)
    schedule.answers[i] = np.nan if answer is None else answer


def _teach(model: Any, x: dict[str, float], schedule: Schedule, i: int) -> None:
    model.learn_one(x, schedule.numbers.item(i, TARGET))


def _picker(inputs: Sequence[int]) -> Callable[[list[float]], Sequence[float]] | None:
    """Chooses the inputs from one row of features; None where the row begins with them."""
    columns = tuple(inputs)
    if columns == tuple(range(len(columns))):
        return None
    if len(columns) > 1:
        return itemgetter(*columns)
    return lambda values: [values[columns[0]]]
