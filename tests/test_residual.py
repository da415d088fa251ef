"""The residual of a channel: what is left once time of day and predecessor are known."""

import numpy as np
import pytest
from numpy.typing import NDArray

from monitoring.residual import Residual
from streamgauge.batch import Batch
from streamgauge.signal import PART, ROW, SEEN, SOURCE, TIME, UNIT, USUAL, VALUE
from streamgauge.state import put_rows, reset_rows, take_rows
from streamgauge.words import Flag, Verdict
from tests.contracts.invariance import assert_same_state
from tests.drifting import MINUTE, START, stream

Floats = NDArray[np.float64]
HOUR = 60 * MINUTE
DAY = 24 * HOUR
WARM = 6_000
"""Values a minute apart after which a channel is calibrated."""


def of(
    values: Floats, *, gap: int = MINUTE, zone: str = "UTC", **changed: NDArray[np.generic]
) -> Batch:
    """Readings of device 0, one value of one channel each, at equal gaps."""
    table = values.reshape(len(values), -1)
    batch = Batch(len(values), table.shape[1])
    batch.n = len(values)
    batch.time[:] = START + np.arange(len(values)) * gap
    batch.values[:] = table
    for name, column in changed.items():
        getattr(batch, name)[:] = column
    return batch


def residual_of(batch: Batch, devices: int = 1, zone: str = "UTC") -> Residual:
    """A new residual of all channels of such batches."""
    channels = batch.values.shape[1]
    names = [f"c{k}" for k in range(channels)]
    return Residual(names, range(channels), devices, zone=zone, part=batch.capacity)


def collected(batch: Batch, zone: str = "UTC") -> Residual:
    """What a new residual made of a batch."""
    found = residual_of(batch, zone=zone)
    found.call(batch).run(n=batch.n)
    return found


@pytest.mark.parametrize("name", ["independent", "AR(1) .9", "AR(1) .9, daily"])
def test_what_is_left_is_independent_and_of_unit_variance(name: str) -> None:
    """The lag-1 autocorrelation goes, and the cycle of the day; its size is one."""
    found = collected(of(20.0 + 3.0 * stream(name, 40_000, 5)))
    left = found.level.numbers[: len(found.level), VALUE]
    assert len(left) == 40_000 - 5_000
    assert abs(left.mean()) < 0.02
    assert left.std() == pytest.approx(1.0, abs=0.03)
    assert abs(np.corrcoef(left[1:], left[:-1])[0, 1]) < 0.03
    hours = left[: len(left) // 1_440 * 1_440].reshape(-1, 24, 60).mean(axis=(0, 2))
    assert np.abs(hours).max() < 0.15


def test_columns_say_what_was_seen_what_was_usual_and_how_much_a_unit_is() -> None:
    """Level and noise share rows, times and sources; both can be told in the channel's unit."""
    values = 20.0 + 3.0 * stream("AR(1) .9, daily", 30_000, 6)
    found = collected(of(values))
    level, noise, n = found.level, found.noise, len(found.level)
    source = level.codes[:n, SOURCE]
    np.testing.assert_array_equal(level.numbers[:n, SEEN], values[source])
    np.testing.assert_array_equal(level.codes[:n, TIME], START + source * MINUTE)
    assert not level.codes[:n, [ROW, PART]].any()
    cycle = 20.0 + 6.0 * np.sin(2.0 * np.pi * source / 1_440)
    assert np.abs(level.numbers[:n, USUAL] - cycle)[-5_000:].mean() < 1.0
    spread = 3.0 * np.sqrt(1.0 - 0.81)
    assert np.median(level.numbers[:n, UNIT]) == pytest.approx(spread, rel=0.05)
    assert noise.count is level.count
    np.testing.assert_array_equal(noise.numbers[:n, VALUE], np.abs(level.numbers[:n, VALUE]))
    assert noise.numbers[:n, SEEN].mean() == pytest.approx(spread, rel=0.05)
    assert noise.numbers[:n, USUAL].mean() == pytest.approx(spread, rel=0.05)
    assert (noise.numbers[:n, VALUE] * noise.numbers[:n, UNIT]).mean() == pytest.approx(
        spread, rel=0.05
    )


@pytest.mark.parametrize(
    ("gap", "first"),
    [(MINUTE, 5_000), (10_000_000, 3 * DAY // 10_000_000 + 1), (HOUR, 20 * 24 + 1)],
)
def test_nothing_is_told_before_enough_is_known(gap: int, first: int) -> None:
    """5,000 values, or 20 days with 300 of them, and 3 days in any case; until then it says so."""
    batch = of(stream("independent", first + 40, 7), gap=gap)
    found = residual_of(batch)
    for part, words in (
        (batch.part(0, first - 1), "calibrating"),
        (batch.part(first - 1, first), "watched"),
    ):
        found.call(part).run(n=part.n)
        assert len(found.level) == 0
        assert found.watched(0) == {"c0": words}
    rest = batch.part(first, first + 40)
    found.call(rest).run(n=rest.n)
    assert len(found.level) == 40


def test_what_cleaning_made_up_and_what_was_not_admitted_is_left_out() -> None:
    """Filled and capped values, refused readings and absent values leave no trace."""
    values = stream("AR(1) .9", WARM + 200, 8)
    flags = np.zeros((len(values), 1), np.uint16)
    verdict = np.zeros(len(values), np.uint8)
    noisy = values.copy()
    for k, flag in enumerate((Flag.FILLED, Flag.CAPPED)):
        flags[WARM + k :: 40] = flag
    verdict[WARM + 2 :: 40] = Verdict.LATE
    noisy[WARM + 3 :: 40] = np.nan
    out = np.concatenate([np.arange(WARM + k, len(values), 40) for k in range(4)])
    noisy[np.setdiff1d(out, np.arange(WARM + 3, len(values), 40))] = 1e6
    found = collected(of(noisy, flags=flags, verdict=verdict))
    told = found.level.codes[: len(found.level), SOURCE]
    assert not np.isin(out, told).any()
    assert np.abs(found.level.numbers[: len(found.level), SEEN]).max() < 10
    # Marks that say where a value came from do not stop it.
    flags[:] = Flag.CORRECTED
    assert len(collected(of(values, flags=flags)).level) == len(collected(of(values)).level)


def test_a_long_gap_has_no_predecessor() -> None:
    """The first value after a silence is learned, and not judged by what came hours before."""
    values = stream("AR(1) .9", WARM + 50, 9)
    batch = of(values)
    batch.time[WARM + 10 :] += 5 * HOUR
    found = collected(batch)
    told = found.level.codes[: len(found.level), SOURCE]
    assert WARM + 9 in told
    assert WARM + 10 not in told
    assert WARM + 11 in told


def test_outliers_are_limited_and_do_not_move_what_is_usual() -> None:
    """A value far off counts as four standard deviations, and once."""
    values = stream("independent", WARM + 2_000, 10)
    plain = collected(of(values))
    values[WARM + 100 :: 200] = 1e9
    found = collected(of(values))
    left = found.level.numbers[: len(found.level)]
    assert left[:, VALUE].max() == 4.0
    usual = plain.level.numbers[: len(plain.level), USUAL]
    assert np.abs(left[-100:, USUAL] - usual[-100:]).max() < 1.0
    assert left[-1, UNIT] < 1.5


def test_a_channel_that_never_varied_and_then_does() -> None:
    """Constants are no deviation; the first change is; later ones by their own size."""
    values = np.full(WARM + 8_000, 7.0)
    values[WARM:] += np.random.default_rng(1).normal(size=8_000)
    found = collected(of(values))
    left = found.level.numbers[: len(found.level), VALUE]
    source = found.level.codes[: len(found.level), SOURCE]
    assert not left[source < WARM].any()
    assert abs(left[source == WARM][0]) == 4.0
    assert left[-2_000:].std() == pytest.approx(1.0, abs=0.2)


def test_the_day_is_that_of_the_zone() -> None:
    """The season follows the clock on the wall through a change to summer time."""
    # 2023-11-15 UTC to the next summer: in Berlin the clock moves on 31 March.
    n = 24 * 6 * 180
    times = START + np.arange(n) * (HOUR // 6)
    summer = times >= 1_711_846_800_000_000
    local = (times + np.where(summer, 2, 1) * HOUR) % DAY / DAY
    values = 10.0 * np.sin(2.0 * np.pi * local) + 0.3 * np.random.default_rng(2).normal(size=n)
    days = (times >= 1_711_846_800_000_000 + HOUR) & (times < 1_711_846_800_000_000 + 2 * DAY)
    missed = {}
    for zone in ("Europe/Berlin", "UTC"):
        found = collected(of(values, gap=HOUR // 6), zone=zone)
        m = len(found.level)
        after = days[found.level.codes[:m, SOURCE]]
        numbers = found.level.numbers[:m][after]
        missed[zone] = np.abs(numbers[:, SEEN] - numbers[:, USUAL]).mean()
    assert missed["Europe/Berlin"] < 0.5
    assert missed["UTC"] > 1.0


def test_cuts_moves_and_resets_change_nothing() -> None:
    """Any cut gives the same bits, a device goes on in another row, a row forgotten is new."""
    values = np.stack([stream("AR(1) .9, daily", 7_000, seed) for seed in (1, 2)], axis=1)
    values[50::97, 1] = np.nan
    whole = of(values)
    first, second = residual_of(whole, 3), residual_of(whole, 3)
    first.call(whole).run(n=7_000)
    wanted = [first.level.codes[: len(first.level)], first.level.numbers[: len(first.level)]]
    told: list[list[NDArray[np.generic]]] = [[], []]
    for start in range(0, 7_000, 501):
        part = whole.part(start, min(start + 501, 7_000))
        second.call(part).run(n=part.n)
        codes = second.level.codes[: len(second.level)].copy()
        codes[:, SOURCE] += start
        told[0].append(codes)
        told[1].append(second.level.numbers[: len(second.level)].copy())
    assert np.concatenate(told[0]).tobytes() == wanted[0].tobytes()
    assert np.concatenate(told[1]).tobytes() == wanted[1].tobytes()
    assert_same_state(first.blocks, second.blocks, np.arange(3))
    put_rows(second.blocks, np.array([2]), take_rows(first.blocks, np.array([0])))
    more = of(values[::-1].copy())
    more.time += 7_000 * MINUTE
    first.call(more).run(n=7_000)
    moved = of(values[::-1].copy(), row=np.full(7_000, 2))
    moved.time += 7_000 * MINUTE
    second.call(moved).run(n=7_000)
    n = len(first.level)
    assert first.level.numbers[:n].tobytes() == second.level.numbers[:n].tobytes()
    reset_rows(second.blocks, np.array([2]))
    assert_same_state(residual_of(whole, 3).blocks, second.blocks, np.array([2]))
