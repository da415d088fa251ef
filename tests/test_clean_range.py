"""stream_processor.clean._range"""

import math

import numpy as np
import pytest

from stream_processor.clean._range import FINE, NOTHING_LEFT, REFUSED, examine, limits
from streamgauge.schema import Channel, Outside, Schema
from streamgauge.words import Flag

NAN, INF = math.nan, math.inf


def vet(value: float, channel: Channel, flag: int = 0) -> tuple[int, float, Flag]:
    """What becomes of one value beside a good one: the answer, the value and its flags."""
    values = np.array([[0.5, 2.0], [value, 1.0]])
    flags = np.array([[0, 0], [flag, 0]], np.uint16)
    answer = examine(1, values, flags, limits(Schema([channel, Channel("other")])))
    assert values[0].tolist() == [0.5, 2.0]
    assert values[1, 1] == 1.0
    assert flags.ravel()[[0, 1, 3]].tolist() == [0, 0, 0]
    return answer, float(values[1, 0]), Flag(int(flags[1, 0]))


@pytest.mark.parametrize(
    ("value", "flag"),
    [
        (INF, Flag.NON_FINITE),
        (-INF, Flag.NON_FINITE),
        (1.0000001e24, Flag.EXTREME),
        (-1e308, Flag.EXTREME),
        (10.000001, Flag.OUT_OF_RANGE),
        (-5.000001, Flag.OUT_OF_RANGE),
    ],
)
def test_a_bad_value_is_removed_and_flagged_once(value: float, flag: Flag) -> None:
    """Each fault has its flag, the first that applies; the reading stays."""
    answer, left, flags = vet(value, Channel("a", low=-5.0, high=10.0))
    assert (answer, math.isnan(left), flags) == (FINE, True, flag)


@pytest.mark.parametrize("value", [-5.0, 10.0, 0.0, -0.0, 5e-324])
def test_bounds_belong_to_the_range(value: float) -> None:
    """A value at its bound stays as it is."""
    assert vet(value, Channel("a", low=-5.0, high=10.0)) == (FINE, value, Flag(0))


def test_without_a_range_only_the_impossible_is_removed() -> None:
    """A channel without a range takes any physical value, up to 1e24."""
    assert vet(1e24, Channel("a")) == (FINE, 1e24, Flag(0))
    assert vet(2e24, Channel("a"))[2] is Flag.EXTREME


@pytest.mark.parametrize(
    ("value", "answer"),
    [(11.0, REFUSED), (INF, REFUSED), (1e30, REFUSED), (NAN, FINE), (-1e30, FINE)],
)
def test_a_channel_may_refuse_the_whole_reading(value: float, answer: int) -> None:
    """`outside = "reject"` refuses whatever lies outside, infinity included, but not absence."""
    assert vet(value, Channel("a", high=10.0, outside=Outside.REJECT))[0] == answer


def test_a_flag_of_the_codec_stays() -> None:
    """A value that the codec removed keeps its flag."""
    assert vet(NAN, Channel("a"), Flag.WRONG_TYPE)[2] is Flag.WRONG_TYPE


def test_nothing_left() -> None:
    """A reading without any usable value says so."""
    rules = limits(Schema([Channel("a"), Channel("b", high=0.0)]))
    assert examine(0, np.array([[NAN, 1.0]]), np.zeros((1, 2), np.uint16), rules) == NOTHING_LEFT
    assert examine(0, np.array([[NAN, 0.0]]), np.zeros((1, 2), np.uint16), rules) == FINE
