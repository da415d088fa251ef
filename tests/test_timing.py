"""Time per stage: laps within a chain of kernels, and in Python, by a clock of the test's own."""

import ctypes
from collections.abc import Iterator
from itertools import count

import numpy as np
import pytest

from streamgauge.calls import Call, Chain, Now
from streamgauge.delivery import Delivery
from streamgauge.kernels import kernel
from streamgauge.laps import MONOTONIC, SECONDS, Clock
from streamgauge.timing import Histogram, Stage, Timing

READ = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.POINTER(ctypes.c_int64))


def clock(times: Iterator[int]) -> tuple[Clock, object]:
    """A clock that shows these nanoseconds, one a look; and what must live as long."""

    def read(_: int, told: "ctypes._Pointer[ctypes.c_int64]") -> int:
        told[0], told[1] = divmod(next(times), 10**9)
        return 0

    function = READ(read)
    address = ctypes.cast(function, ctypes.c_void_p).value or 0
    return Clock(address, lambda: next(times)), function


@kernel
def _nothing(n: int) -> None:
    pass


class Told:
    def __init__(self) -> None:
        self.laps: list[tuple[Stage, int, int]] = []

    def lap(self, stage: Stage, began: int, ended: int) -> None:
        self.laps.append((stage, began, ended))

    def worked_off(self, delivery: Delivery, place: int) -> None:
        """Nothing is fed here."""


def run(*calls: Call) -> None:
    """Run them as the walk does."""
    Chain(calls, np.zeros(len(Now), np.int64)).run()


def test_a_lap_is_the_time_since_the_one_before() -> None:
    """Each stage of a chain gets its own time; a stage without calls has no lap."""
    times = iter([10**10, 10**10 + 3_000, 10**10 + 2_003_000])
    own, alive = clock(times)
    timing = Timing(own)
    work = Call(_nothing, (Now.N,))
    run(*timing.around((Stage.ADMIT, [work]), (Stage.CLEAN, []), (Stage.FEATURES, [work, work])))
    found = timing.stages()
    assert set(found) == {Stage.ADMIT, Stage.FEATURES}
    assert found[Stage.ADMIT].total == pytest.approx(3e-6)
    assert found[Stage.FEATURES].total == pytest.approx(2e-3)
    assert next(times, None) is None
    assert alive


def test_models_are_timed_by_lane() -> None:
    """Each lane by itself, in kernels and in Python, and all of them as one stage."""
    own, alive = clock(iter([0, 100, 1_100, 7_100, 7_200, 10_000]))
    timing = Timing(own)
    work = Call(_nothing, (Now.N,))
    run(*timing.around((Stage.MODELS, timing.by_lane([[work], [], [work, work]]))))
    assert timing.lanes() == [pytest.approx(1e-6), 0.0, pytest.approx(6e-6)]
    assert timing.stages()[Stage.MODELS].total == pytest.approx(7.2e-6)
    timing.spent_on(1, 8_000)
    assert timing.lanes()[1] == pytest.approx(2e-6)
    assert alive


@pytest.mark.parametrize(
    ("spent", "bound"), [(1, 1e-6), (1_000, 1e-6), (1_001, 2.5e-6), (10**10, 10.0), (10**10 + 1, 0)]
)
def test_a_time_is_counted_below_the_bound_that_it_does_not_pass(spent: int, bound: float) -> None:
    """As Prometheus has it: up to and with the bound, and one more beyond the last; in Python and
    in kernels."""
    own, alive = clock(iter([7 + spent, 0, spent]))
    timing = Timing(own)
    timing.spent(Stage.DECODE, 7)
    run(*timing.around((Stage.ADMIT, [Call(_nothing, (Now.N,))])))
    for stage in (Stage.DECODE, Stage.ADMIT):
        counts = timing.stages()[stage].counts
        assert sum(counts) == 1
        assert counts[SECONDS.index(bound) if bound else len(SECONDS)] == 1
    assert alive


def test_stages_in_python_and_in_kernels_count_together() -> None:
    """Two laps of one stage, one each way, are two in its histogram."""
    own, alive = clock(count(0, 500))
    timing = Timing(own)
    timing.spent(Stage.MODELS, 0)
    run(*timing.around((Stage.MODELS, [Call(_nothing, (Now.N,))])))
    assert timing.stages()[Stage.MODELS].up_to()[-1] == 2
    assert alive


def test_each_lap_is_told_once_in_order() -> None:
    """To whom asks: stages of a chain in the order of their time, after it has run."""
    own, alive = clock(count(10, 10))
    timing, told = Timing(own), Told()
    work = [Call(_nothing, (Now.N,))]
    chain = timing.around((Stage.MODELS, work), (Stage.ADMIT, work))
    run(*chain)
    timing.listener = told
    run(*chain)
    timing.tell()
    timing.tell()
    timing.spent(Stage.SINKS, 65)
    assert told.laps == [(Stage.MODELS, 40, 50), (Stage.ADMIT, 50, 60), (Stage.SINKS, 65, 70)]
    assert alive


def test_the_real_clock_is_the_one_of_python() -> None:
    """What kernels read lies between two looks of Python."""
    timing, told = Timing(), Told()
    timing.listener = told
    before = MONOTONIC.read()
    run(*timing.around((Stage.ADMIT, [Call(_nothing, (Now.N,))])))
    timing.tell()
    ((stage, began, ended),) = told.laps
    assert stage is Stage.ADMIT
    assert before <= began <= ended <= MONOTONIC.read()


def test_a_histogram_counts_up_to_each_bound() -> None:
    """Values on a bound belong below it."""
    sizes = Histogram((1.0, 4.0))
    for value in (1, 2, 4, 5):
        sizes.add(value)
    assert sizes.counted().up_to() == [1, 3, 4]
    assert sizes.counted().total == 12
