"""Labels that come from elsewhere, by themselves and in any order, and the predictions they meet.

A label names a prediction by its sequence, or by a time: then it belongs to the prediction for the
nearest time within the lane's window, of two as near to the earlier one. What is known when the
label comes decides: a label that came before its prediction meets nothing. Each label is counted:

- taught, scored: it met its prediction, and was young enough to teach, or too old
- duplicate: its prediction has a label already
- late: its prediction has expired, or is older than one that has
- unmatched: there is no such prediction
"""

import math

import numpy as np

from stream_processor.pending import (
    EXPIRED,
    EXPIRED_TIME,
    GONE,
    HINT,
    LINK,
    OLDEST,
    P_ASIDE,
    P_CHANGE,
    P_COUNTS,
    P_DELAY,
    P_MARK,
    P_RECEIVED,
    P_TEACH,
    P_TOLERANCE,
    P_WITHIN,
    PER_LANE,
    PUSHED,
    SEQ,
    TIME,
    WAITS,
    emit,
    know,
    predicted,
    release,
    settle,
    skip_settled,
)
from streamgauge.arrays import Floats, Ints
from streamgauge.kernels import kernel
from streamgauge.schedule import BASE, LABEL, TARGET
from streamgauge.words import Step

__all__ = ["LAGS", "TALLIES", "LabelBatch", "lag_quantile", "meet"]

# Columns of a label.
LANE, ROW, SEQUENCE, AT, RECEIVED = range(5)
TALLIES = ("unmatched", "duplicate", "late", "taught", "scored")
UNMATCHED, DUPLICATE, LATE, TAUGHT, SCORED = range(len(TALLIES))
# What a search gives where no prediction waits for the label: minus one, minus the tally.
NOBODY, SETTLED, OVERDUE = -1 - UNMATCHED, -1 - DUPLICATE, -1 - LATE

LAGS = 280
"""Buckets of the lags' histogram: the first up to a millisecond, each other a tenth longer than the
one before, the last from ten years on."""
SHORTEST = 1_000.0
RATIO = math.log(1.1)

_LEARN = int(Step.LEARN)
_SCORE = int(Step.SCORE)
_EXPIRE = int(Step.EXPIRE)


class LabelBatch:
    """Up to `capacity` labels in order of arrival, of which `n` count.

    - `codes int64[capacity, 5]`: lane, device row (-1 = not known), sequence (-1 where the label
      names a time), time that the label is for, received; times in microseconds UTC
    - `values float64[capacity]`: the labels; NaN says that there will be none
    """

    __slots__ = ("capacity", "codes", "n", "values")

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.n = 0
        self.codes = np.zeros((capacity, 5), np.int64)
        self.values = np.zeros(capacity)

    @property
    def rows(self) -> Ints:
        """Device rows of those whose device is known."""
        rows: Ints = self.codes[: self.n, 1]
        return rows[rows >= 0]


@kernel
def begin(d: int, lane: int, first: float, column: int, least: float, lanes: Ints, head: Floats,
          ring: Floats) -> float:  # fmt: skip
    """Where to begin a search through the device's list: at entry `first`, or at the one that the
    last label met if that comes later and its `column` is still at most `least`."""
    hint = head[d, lanes[lane, P_ASIDE] + HINT]
    if hint == 0.0 or head[d, OLDEST] == 0.0:
        return first
    at = int(hint) - 1
    alive = ring[at, d, SEQ] >= ring[int(first) - 1, d, SEQ]
    return hint if alive and ring[at, d, column] <= least else first


@kernel
def named(d: int, lane: int, sequence: int, lanes: Ints, head: Floats, ring: Floats) -> int:
    """The slot of the prediction of that sequence, or what is said of it instead."""
    if sequence >= head[d, PUSHED]:
        return NOBODY
    if sequence < head[d, lanes[lane, P_ASIDE] + EXPIRED]:
        return OVERDUE
    cursor = head[d, PER_LANE + lane]
    if cursor == 0.0 or ring[int(cursor) - 1, d, SEQ] > sequence:
        return SETTLED
    at = begin(d, lane, cursor, SEQ, float(sequence), lanes, head, ring)
    while ring[int(at) - 1, d, SEQ] < sequence:
        at = ring[int(at) - 1, d, LINK]
    slot = int(at) - 1
    mark = ring[slot, d, lanes[lane, P_MARK]]
    if mark != WAITS:
        return OVERDUE if mark == GONE else SETTLED
    return slot if predicted(d, lane, slot, lanes, ring) else NOBODY


@kernel
def nearest(d: int, lane: int, at: int, lanes: Ints, head: Floats, ring: Floats) -> int:
    """The slot of the prediction for the nearest time, or what is said of it instead."""
    within = lanes[lane, P_WITHIN]
    mark = lanes[lane, P_MARK]
    made = at - lanes[lane, P_DELAY]
    best, distance = -1, within + 1
    oldest = head[d, OLDEST]
    entry = oldest
    if entry != 0.0:
        entry = begin(d, lane, oldest, TIME, float(made - within - 1), lanes, head, ring)
    while entry != 0.0 and ring[int(entry) - 1, d, TIME] <= made + within:
        slot = int(entry) - 1
        if ring[slot, d, mark] == at:
            return SETTLED
        apart = abs(int(ring[slot, d, TIME]) - made)
        if apart < distance:
            best, distance = slot, apart
        entry = ring[slot, d, LINK]
    if best >= 0:
        if ring[best, d, mark] != WAITS:
            return OVERDUE if ring[best, d, mark] == GONE else SETTLED
        return best if predicted(d, lane, best, lanes, ring) else NOBODY
    released = head[d, head.shape[1] - 1]
    if released == 0.0 or made - within > released:
        return NOBODY
    return OVERDUE if made - within <= head[d, lanes[lane, P_ASIDE] + EXPIRED_TIME] else SETTLED


@kernel
def bucket(lag: float) -> int:
    """The bucket of a lag in microseconds."""
    if lag <= SHORTEST:
        return 0
    return min(LAGS - 1, 1 + int(math.log(lag / SHORTEST) / RATIO))


@kernel
def join_label(
    d: int, lane: int, slot: int, at: int, received: int, y: float, lanes: Ints, head: Floats,
    ring: Floats, counts: Floats, codes: Ints, numbers: Floats, sx: Floats, m: int,
) -> None:  # fmt: skip
    """Write step m: the prediction in `slot` has this label, or will have none."""
    aside = len(counts) // (len(TALLIES) + LAGS)
    own = lanes[lane, P_COUNTS]
    waited = float(received) - ring[slot, d, lanes[lane, P_RECEIVED]]
    step = _LEARN if waited <= lanes[lane, P_TEACH] else _SCORE
    if y == y:
        counts[(TAUGHT if step == _LEARN else SCORED) * aside + own] += 1.0
        counts[len(TALLIES) * aside + own * LAGS + bucket(waited)] += 1.0
    else:
        step = _EXPIRE
    due = at
    if due < 0:
        due = int(ring[slot, d, TIME]) + lanes[lane, P_DELAY]
    emit(step, lane, d, -1, slot, due, lanes, ring, codes, numbers, sx, m)
    if y == y:
        numbers[m, LABEL] = y
        numbers[m, TARGET] = y - numbers[m, BASE] if lanes[lane, P_CHANGE] == 1 else y
        know(d, lane, y, head, len(lanes))
    ring[slot, d, lanes[lane, P_MARK]] = max(at, 1)
    head[d, lanes[lane, P_ASIDE] + HINT] = slot + 1.0
    skip_settled(d, lane, lanes, head, ring)


@kernel
def meet(
    labels: Ints,
    values: Floats,
    lanes: Ints,
    head: Floats,
    ring: Floats,
    counts: Floats,
    codes: Ints,
    numbers: Floats,
    sx: Floats,
    start: int,
    n: int,
) -> tuple[int, int]:
    """Steps of labels start to n: (next label, steps). Stops early when the steps are full.

    Before a label is looked at, what has waited too long by then expires: one at a time, so that
    the search can be entered again.
    """
    aside = len(counts) // (len(TALLIES) + LAGS)
    m = 0
    for i in range(start, n):
        lane = labels[i, LANE]
        d = labels[i, ROW]
        own = lanes[lane, P_COUNTS]
        if d < 0:
            counts[UNMATCHED * aside + own] += 1.0
            continue
        received = labels[i, RECEIVED]
        while head[d, PER_LANE + lane] != 0.0:
            slot = int(head[d, PER_LANE + lane]) - 1
            waited = float(received) - ring[slot, d, lanes[lane, P_RECEIVED]]
            if waited <= lanes[lane, P_TOLERANCE]:
                break
            if m == len(codes):
                release(d, lanes, head, ring)
                return i, m
            due = received
            m = settle(_EXPIRE, lane, d, -1, slot, due, lanes, head, ring, codes, numbers, sx, m)
        release(d, lanes, head, ring)
        if m == len(codes):
            return i, m
        sequence, at = labels[i, SEQUENCE], labels[i, AT]
        if sequence >= 0:
            found = named(d, lane, sequence, lanes, head, ring)
            at = -1
        else:
            found = nearest(d, lane, at, lanes, head, ring)
        if found < 0:
            counts[(-1 - found) * aside + own] += 1.0
            continue
        join_label(d, lane, found, at, received, values[i], lanes, head, ring, counts, codes,
                   numbers, sx, m)  # fmt: skip
        m += 1
        release(d, lanes, head, ring)
    return n, m


def lag_quantile(lags: Floats, share: float) -> float | None:
    """Seconds within which that share of labels came, at most 5 % off; None before the first."""
    total = float(lags.sum())
    if not total:
        return None
    k = int(np.searchsorted(np.cumsum(lags), share * total))
    return SHORTEST / 1e6 * math.exp(RATIO * (k - 0.5))
