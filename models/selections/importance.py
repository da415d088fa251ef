"""Leaves out the features that the running model hardly uses, and tries them again later."""

import math
from collections.abc import Callable, Sequence

import numpy as np

from models.compiled._fleet import Fleet
from models.learner import Learner
from models.selection import Features, Selection
from models.selections._cells import (
    COUNT,
    DROPPED,
    LEARN,
    MOST,
    SCORE,
    SQUARES,
    WIDTH,
    hide,
    is_other,
    learn_variance,
)
from streamgauge.arrays import Floats, Ints
from streamgauge.calls import Argument, Call, Now, over_part, run_part
from streamgauge.kernels import kernel
from streamgauge.schedule import MODEL, STEP, Schedule
from streamgauge.state import Field

__all__ = ["build"]

# Behind a cell: how many rounds in a row its share was too small, and how many it is left out.
LOW, OUT = WIDTH, WIDTH + 1
# One small share may be chance.
ROUNDS = 2.0
# What a model remembers where its scaler divides by something else than the deviation.
OTHERWISE = {"window", "min", "abs_max", "median"}


@kernel
def _share(cells: Floats, weights: Floats, standardized: bool) -> bool:
    """SCORE = the share of each feature that the model sees; False where they have none yet."""
    total = 0.0
    for j in range(len(cells)):
        if cells[j, DROPPED] == 0.0:
            size = abs(weights[j])
            if not standardized:
                size *= math.sqrt(cells[j, SQUARES] / max(cells[j, COUNT], 1.0))
            cells[j, SCORE] = size
            total += size
    known = 0.0 < total < math.inf
    for j in range(len(cells)):
        if cells[j, DROPPED] == 0.0:
            cells[j, SCORE] = cells[j, SCORE] / total if known else 0.0
    return known


@kernel
def _decide(cells: Floats, threshold: float, keep: int, retry: int) -> None:
    """One feature goes; who was out long enough comes back."""
    weakest, seen = -1, 0
    for j in range(len(cells)):
        if cells[j, DROPPED] != 0.0:
            cells[j, OUT] += 1.0
            if cells[j, OUT] >= retry:
                cells[j, DROPPED] = 0.0
                cells[j, LOW] = 0.0
            continue
        seen += 1
        cells[j, LOW] = cells[j, LOW] + 1.0 if cells[j, SCORE] < threshold else 0.0
        if cells[j, LOW] >= ROUNDS and (weakest < 0 or cells[j, SCORE] < cells[weakest, SCORE]):
            weakest = j
    if weakest >= 0 and seen > keep:
        cells[weakest, DROPPED] = 1.0
        cells[weakest, OUT] = 0.0


@kernel
def _choose(
    codes: Ints, x: Floats, state: Floats, labels: Floats, inputs: Ints, models: Floats,
    weight: int, standardized: int, entry: int, table: Ints, parts: Ints, now: Ints,
    lane: int, threshold: float, keep: int, every: int, retry: int, n: int,
) -> None:  # fmt: skip
    begin, f = 0, len(inputs)
    for i in range(n):
        if is_other(codes, i, lane):
            continue
        row = codes[i, MODEL]
        cells = state[row]
        if codes[i, STEP] == LEARN:
            for j in range(f):
                if abs(x[i, inputs[j]]) <= MOST:
                    learn_variance(cells[j], x[i, inputs[j]])
            labels[row] += 1.0
        hide(cells, x[i], inputs)
        if codes[i, STEP] == LEARN and labels[row] % every == 0.0:
            # The model has to learn up to here first, whatever the rest of the batch holds.
            run_part(entry, table, parts, now, begin, i + 1)
            begin = i + 1
            if _share(cells, models[row, weight : weight + f], standardized != 0):
                _decide(cells, threshold, keep, retry)
    run_part(entry, table, parts, now, begin, n)


def _weights(learner: Learner, k: int) -> Fleet:
    """The compiled fleet, or a ValueError where its weights cannot be compared."""
    remedy = 'write by = "mutual_information", or take another model'
    fleet = learner if isinstance(learner, Fleet) else None
    if fleet is None:
        raise ValueError(f"the model does not run compiled, so its weights are not known; {remedy}")
    fields = {field.name: field.shape for field in fleet.block.fields}
    if fields.get("weight") != (k,):
        raise ValueError(f"the model has no weight of each feature; {remedy}")
    if fields.keys() & OTHERWISE:
        raise ValueError(
            "weights behind this scaler cannot be compared; put preprocessing.StandardScaler "
            "without a window in its place"
        )
    return fleet


def build(
    learner: Learner,
    inputs: Sequence[int],
    names: Sequence[str],
    capacity: int,
    *,
    threshold: float = 0.01,
    keep: int = 1,
    every: int = 200,
    retry: int = 20,
) -> Selection:
    """Recursive feature elimination, one pass: every `every` labels of a model, each feature's
    share is its weight times the deviation of what the model sees of it, over the sum of all.

    The one with the smallest share goes if that was below `threshold` twice in a row and more than
    `keep` features remain; after `retry` further rounds the model sees it again, with the weight
    that it had, for two rounds at least. After

    Guyon, Weston, Barnhill and Vapnik (2002), "Gene selection for cancer classification using
    support vector machines".

    The model must be a compiled one with a weight of each feature, behind a StandardScaler or none.
    """
    fleet = _weights(learner, len(inputs))
    if not 0.0 < threshold < 1.0:
        raise ValueError(f"threshold = {threshold} is no share; write one such as 0.01")
    for name, value in (("keep", keep), ("every", every), ("retry", retry)):
        if value < 1:
            raise ValueError(f"{name} = {value} is too little; write 1 or more")
    beside = [Field("labels")]
    features = Features(learner, inputs, names, capacity, width=WIDTH + 2, beside=beside)
    standardized = int(any(field.name == "deviation" for field in fleet.block.fields))
    own = (features.cells, features.beside("labels"), features.inputs)
    weights = (fleet.block.array, fleet.block.offset("weight"), standardized)
    last = (features.lane, threshold, keep, every, retry, Now.STEPS)
    held: list[Call] = []

    def call(schedule: Schedule) -> tuple[Callable[..., None], tuple[Argument, ...]]:
        s, now = schedule, np.zeros(len(Now), np.int64)
        walked = fleet.call(s)
        held.append(walked)
        part = over_part(walked, (s.codes, s.numbers, s.x, s.answers, s.parts))
        return _choose, (s.codes, s.x, *own, *weights, *part, now, *last)

    def why(row: int, j: int) -> str:
        cell, labels = features.cells[row, j], features.beside("labels")[row]
        if labels < every:
            return f"kept until the first {every} labels"
        share = f"{cell[SCORE]:.2%} of the model's weight"
        if cell[DROPPED]:
            return f"{share} when it was left out; tried again in {retry - cell[OUT]:.0f} rounds"
        return f"{share}, {'below' if cell[SCORE] < threshold else 'not below'} {threshold:.2%}"

    return Selection(features, call, why, includes=learner)
