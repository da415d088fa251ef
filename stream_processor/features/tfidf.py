"""What each word of a text weighs: TF-IDF, learned as texts come, in a fixed number of features."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from stream_processor.features._categories import channels_of
from stream_processor.operator import FeatureOperator
from streamgauge.arrays import Bytes, Floats, Ints, Rows
from streamgauge.batch import Batch, Features
from streamgauge.calls import Call, Now
from streamgauge.kernels import kernel
from streamgauge.schema import Channel, Kind, Schema
from streamgauge.state import Block, Field, Keys
from streamgauge.tokens import BITS, MOST_WORDS, PER_VALUE, WORDS

__all__ = ["EXAMPLE", "build"]

EXAMPLE = {"of": ["code"]}

OF_A_DEVICE, OF_THE_FLEET = 256, 8_192
"""Counters of words unless said otherwise: 2 KB for a device, 64 KB for all of them."""
_DOCUMENTS, _COUNTERS = 0, 1
"""Columns of a channel's state: texts so far, then how many of them had a word of each counter."""
_HOLDS = 2.0 ** (BITS * PER_VALUE)
"""Above all that a column of words has."""


def build(
    schema: Schema,
    capacity: int,
    column: int,
    *,
    of: Sequence[str],
    buckets: int = 16,
    scope: Literal["device", "fleet"] = "device",
    counters: int | None = None,
) -> FeatureOperator:
    """`<channel>_tfidf<k>` for k from 0 to `buckets` - 1, of each text channel in `of`, which keeps
    its `words`; with `scope = "fleet"` `<channel>_tfidf<k>_of_fleet`, where the texts of all
    devices tell how usual a word is.

    Of each word its share of the text's words times ln((1 + texts) / (1 + texts with it)) + 1,
    divided by the length of the vector of all of them, is added to the word's bucket. A text first
    joins the counts and is then weighed, as River's TFIDF does with `learn_one` and
    `transform_one`: where no two words share a bucket the values are River's. How often words came
    is counted in `counters` (256 for each device, 8192 for the fleet, unless given, at most
    131071); those that share one count as one word. The same word falls into the same bucket for
    ever. NaN where the reading has no text, 0 where that has no words.

    Salton and Buckley (1988), "Term-weighting approaches in automatic text retrieval".

    Weinberger, Dasgupta, Langford, Smola and Attenberg (2009), "Feature hashing for large scale
    multitask learning".
    """
    channels = channels_of(schema, of, "tfidf", Kind.TEXT)
    for channel in channels:
        if not channel.words:
            raise ValueError(
                f"features.tfidf of has {channel.name!r}, whose words are not kept; "
                "add words = 30 to that channel"
            )
    if not 2 <= buckets <= 1_024:
        raise ValueError(f"features.tfidf buckets is {buckets}; give 2 to 1024")
    fleet = scope == "fleet"
    counted = (OF_THE_FLEET if fleet else OF_A_DEVICE) if counters is None else counters
    counted = max(counted, buckets) if counters is None else counted
    if not buckets <= counted <= WORDS:
        raise ValueError(
            f"features.tfidf counters is {counted}; give {buckets} (the buckets) to {WORDS}"
        )
    ending = "_of_fleet" if fleet else ""
    names = {
        f"{channel.name}_tfidf{k}{ending}": frozenset({channel.name})
        for channel in channels
        for k in range(buckets)
    }
    return _TfIdf(schema, capacity, column, names, channels, buckets, counted, fleet=fleet)


@kernel
def _terms(i: int, first: int, stop: int, values: Floats, counters: int, terms: Floats) -> int:
    """The counters of the words of reading i, each once, in the first row of `terms`, and how often
    it came in the second; how many there are."""
    found = 0
    for c in range(first, stop):
        if not 0.0 < values[i, c] < _HOLDS:
            break
        rest = int(values[i, c])
        while rest:
            term = ((rest & WORDS) - 1) % counters
            rest >>= BITS
            k = 0
            while k < found and terms[0, k] != term:
                k += 1
            if k == found:
                terms[0, k], terms[1, k] = term, 0.0
                found += 1
            terms[1, k] += 1.0
    return found


@kernel
def _weigh(
    found: int, terms: Floats, counts: Floats, x: Floats, i: int, at: int, buckets: int
) -> None:
    """Let a text join the counts, and add what its words weigh to their buckets."""
    counts[_DOCUMENTS] += 1.0
    words = 0.0
    for k in range(found):
        counts[_COUNTERS + int(terms[0, k])] += 1.0
        words += terms[1, k]
    squares = 0.0
    for k in range(found):
        usual = (1.0 + counts[_DOCUMENTS]) / (1.0 + counts[_COUNTERS + int(terms[0, k])])
        terms[1, k] = terms[1, k] / words * (math.log(usual) + 1.0)
        squares += terms[1, k] * terms[1, k]
    length = math.sqrt(squares)
    for k in range(found):
        x[i, at + int(terms[0, k]) % buckets] += terms[1, k] / length


@kernel
def _tfidf(
    n: int,
    row: Rows,
    verdict: Bytes,
    values: Floats,
    x: Floats,
    column: int,
    plan: Ints,
    state: Floats,
    terms: Floats,
    buckets: int,
    shared: int,
) -> None:
    width = state.shape[1] // len(plan)
    counters = width - _COUNTERS
    for i in range(n):
        for c in range(len(plan)):
            at, value = column + c * buckets, values[i, plan[c, 0]]
            # What no codec gives, such as 1e308, is no text.
            there = verdict[i] == 0 and 0.0 <= value < 2.0**53
            # What cleaning filled in has no words.
            there = there and 0.0 <= values[i, plan[c, 1]] < _HOLDS
            x[i, at : at + buckets] = 0.0 if there else np.nan
            if there:
                counts = state[0 if shared else row[i], c * width : (c + 1) * width]
                found = _terms(i, plan[c, 1], plan[c, 2], values, counters, terms)
                _weigh(found, terms, counts, x, i, at, buckets)


class _TfIdf:
    def __init__(
        self,
        schema: Schema,
        capacity: int,
        column: int,
        names: Mapping[str, frozenset[str]],
        channels: Sequence[Channel],
        buckets: int,
        counters: int,
        *,
        fleet: bool,
    ) -> None:
        self.names, self.channels = tuple(names), tuple(names.values())
        self.made_for: list[Any] = [[one.words, one.ngrams, one.stop_words] for one in channels]
        columns = [(schema.index[one.name], schema.words[one.name]) for one in channels]
        plan = np.array([(at, words.start, words.stop) for at, words in columns], np.int64)
        shape, keys = (len(channels), _COUNTERS + counters), Keys.FLEET if fleet else Keys.DEVICE
        block = Block([Field("texts", shape)], 1 if fleet else capacity, keys=keys)
        self.blocks: Mapping[str, Block] = {"state": block}
        terms = np.zeros((2, MOST_WORDS))
        self._bound = (column, plan, block.array, terms, buckets, int(fleet))

    def call(self, batch: Batch, features: Features) -> Call:
        """See `stream_processor.operator.Operator`."""
        columns = (batch.row, batch.verdict, batch.values, features.x)
        return Call(_tfidf, (Now.N, *columns, *self._bound))
