"""stream_processor.features.raw"""

import math

import numpy as np
import pytest

from stream_processor.features import raw
from streamgauge.schema import Channel, Schema
from tests.frames import batch_of, computed

NAN = math.nan
SCHEMA = Schema([Channel("a"), Channel("b"), Channel("c")])


def test_values_in_the_order_asked_for() -> None:
    """Features have the channels' names and values; NaN where absent, infinite or not admitted."""
    operator = raw.build(SCHEMA, 1, 0, of=["c", "a"])
    batch = batch_of(SCHEMA, [1, 2, 3], {"a": [1.0, NAN, 3.0], "c": [math.inf, 5.0, 6.0]})
    batch.verdict[2] = 1
    assert operator.names == ("c", "a")
    assert operator.channels == (frozenset({"c"}), frozenset({"a"}))
    np.testing.assert_array_equal(computed(operator, batch), [[NAN, 1.0], [5.0, NAN], [NAN, NAN]])


def test_an_unknown_channel_is_named() -> None:
    """The message names the channel and those there are."""
    with pytest.raises(ValueError, match=r"features\.raw reads channel 'd'.*a, b, c"):
        raw.build(SCHEMA, 1, 0, of=["d"])
