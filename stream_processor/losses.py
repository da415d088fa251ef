"""What admission and cleaning take out of a batch: values as they were sent, and which are gone."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from streamgauge.arrays import Bytes, Floats, Ints
from streamgauge.batch import Batch
from streamgauge.calls import Call, Now
from streamgauge.kernels import kernel
from streamgauge.schema import Schema
from streamgauge.words import Verdict

__all__ = ["DROPPING", "Losses"]

DROPPING = ("rate", "spike", "stuck", "outlier")
"""Policies that may drop a value, in the order of the work; filling and transforming come later."""

_ADMITTED = int(Verdict.ADMITTED)
_DUPLICATE = int(Verdict.DUPLICATE)
_RETAINED = int(Verdict.RETAINED)


@kernel
def _take(n: int, values: Floats, sent: Floats, gone: Bytes) -> None:
    for i in range(n):
        for c in range(sent.shape[1]):
            sent[i, c] = values[i, c]
            gone[i, c] = 0


@kernel
def _compare(n: int, channel: int, values: Floats, sent: Floats, gone: Bytes) -> None:
    """Mark the values of a channel, of every one where it is -1, that were sent and are missing."""
    first, last = (0, sent.shape[1]) if channel < 0 else (channel, channel + 1)
    for i in range(n):
        for c in range(first, last):
            if np.isnan(values[i, c]) and not np.isnan(sent[i, c]):
                gone[i, c] = 1


@kernel
def _count(n: int, verdict: Bytes, gone: Bytes, rows: Ints) -> int:
    """Note the readings that lost something; what repeats another or is retained loses nothing."""
    m = 0
    for i in range(n):
        word = verdict[i]
        lost = word != _ADMITTED and word != _DUPLICATE and word != _RETAINED
        if word == _ADMITTED:
            for c in range(gone.shape[1]):
                lost |= gone[i, c] != 0
        if lost:
            rows[m] = i
            m += 1
    return m


class Losses:
    """Of the batch that was walked last, as long as no other is: `sent float64[capacity, k]`, the
    `k` channels as they came, `gone uint8[capacity, k]`: 1 where a value of an admitted reading was
    taken out."""

    def __init__(self, batch: Batch, k: int) -> None:
        self._batch = batch
        self.sent: Floats = np.full((batch.capacity, k), np.nan)
        self.gone: NDArray[np.uint8] = np.zeros((batch.capacity, k), np.uint8)
        self._rows = np.zeros(batch.capacity, np.int64)

    def rows(self, n: int) -> Ints:
        """int64[n]: the first n readings that lost something, in ascending order."""
        return self._rows[:n]

    def before(self, admission: Sequence[Call]) -> list[Call]:
        """The calls of admission, behind the one that notes what was sent."""
        pair = (self._batch.values, self.sent, self.gone)
        return [Call(_take, (Now.N, *pair)), *admission, Call(_compare, (Now.N, -1, *pair))]

    def after(self, cleaning: Mapping[str, Call], schema: Schema) -> list[Call]:
        """The calls of cleaning, with those between and behind them that look what is lost."""
        pair = (self._batch.values, self.sent, self.gone)
        calls: list[Call] = []
        for name, call in cleaning.items():
            calls.append(call)
            channel, _, policy = name.rpartition(".")
            if policy in DROPPING:
                calls.append(Call(_compare, (Now.N, schema.index[channel], *pair)))
        last = (self._batch.verdict, self.gone, self._rows)
        return [*calls, Call(_count, (Now.N, *last), (Now.LOST,))]
