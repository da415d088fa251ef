"""Words of texts, weighed as River's TFIDF weighs them."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from river.feature_extraction import TFIDF

from ingest.codecs._tokens import tokens, word_number
from ingest.codecs._words import text
from stream_processor.features import tfidf
from streamgauge.arrays import Floats
from streamgauge.batch import Batch, Features
from streamgauge.schema import Channel, Schema
from streamgauge.tokens import WORDS
from tests.texts import LOG, noted, rivers

calm = settings(deadline=None, max_examples=60, derandomize=True)
VOCABULARY = ["pump", "Pümp", "seized", "bearing-7", "E1042", "the", "of", "a", "é", "_x", "ÀB"]
lines = st.lists(
    st.one_of(
        st.lists(st.sampled_from(VOCABULARY), max_size=12).map(" ".join),
        st.text(max_size=40),
        st.none(),
    ),
    min_size=1,
    max_size=25,
)


def batch_of(schema: Schema, texts: Sequence[Any], rows: Sequence[int] | int = 0) -> Batch:
    """A reading of each text."""
    batch = Batch(len(texts), schema.width)
    batch.n, batch.row[:] = len(texts), rows
    channel = schema.channels[1]
    read = tokens(channel)
    for i, one in enumerate(texts):
        batch.values[i, 1] = text(one, 4_096)[0]
        batch.values[i, schema.words["note"]] = read(one)
    return batch


def weighed(schema: Schema, batch: Batch, devices: int = 1, **options: Any) -> Floats:
    """float64[n, buckets]: the features of these readings."""
    operator = tfidf.build(schema, devices, 0, of=["note"], **options)
    features = Features(operator.names, operator.channels, max(1, batch.n))
    operator.call(batch, features).run(n=batch.n)
    return features.x[: batch.n].copy()


def shared(river: TFIDF, channel: Channel, texts: Sequence[str | None], size: int) -> bool:
    """Whether two words of these texts share a counter, or one has more words than are kept."""
    found = [list(river.process_text(one)) for one in texts if one]
    words = {word for some in found for word in some}
    places = {(word_number(word) - 1) % size for word in words}
    return len(places) < len(words) or max(map(len, found), default=0) > channel.words


@calm
@given(
    lines,
    st.sampled_from([(1, 1), (1, 2), (2, 3)]),
    st.sampled_from([(), ("pump", "the")]),
    st.sampled_from([2, 16, 1_024]),
)
def test_values_are_rivers(
    texts: list[str | None], ngrams: tuple[int, int], stop: tuple[str, ...], buckets: int
) -> None:
    """On any texts, summed by bucket; with many buckets, one by one."""
    schema = noted(ngrams=ngrams, stop_words=stop)
    river, channel = TFIDF(ngram_range=ngrams, stop_words=set(stop)), schema.channels[1]
    assume(not shared(river, channel, texts, WORDS))
    got = weighed(schema, batch_of(schema, texts), buckets=buckets, counters=WORDS)
    wanted = [rivers(river, one, buckets, WORDS) for one in texts]
    np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-9)


@pytest.mark.parametrize("scope", ["device", "fleet"])
def test_a_log_is_weighed_as_river_does(scope: Any) -> None:
    """By a River model for each device, or one for all; River's values are summed by bucket."""
    schema = noted(words=30)
    channel = schema.channels[1]
    assert not shared(TFIDF(), channel, LOG, WORDS)
    rows = [k % 3 for k in range(len(LOG))]
    options = {"buckets": 32, "scope": scope, "counters": WORDS}
    got = weighed(schema, batch_of(schema, LOG, rows), 3, **options)
    models = [TFIDF() for _ in range(3)] if scope == "device" else [TFIDF()] * 3
    wanted = [rivers(models[row], one, 32, WORDS) for row, one in zip(rows, LOG, strict=True)]
    np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-9)
    assert len({tuple(one) for one in np.round(got, 6).tolist()}) > 100


def test_what_has_no_words_weighs_nothing() -> None:
    """A text of marks and single letters is 0 everywhere; no text, or a filled one, is NaN."""
    schema = noted(words=5)
    batch = batch_of(schema, ["7 !", None, " ", "pump", "pump"])
    batch.values[4, schema.words["note"]] = math.nan
    batch.verdict[3] = 1
    got = weighed(schema, batch)
    np.testing.assert_array_equal(got[0], 0.0)
    assert np.isnan(got[1:]).all()
