"""Readings in order of event time, and messages assembled into rows: by example, end to end."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from stream_processor.pipeline import Pipeline
from stream_processor.settings import Problems, load_text
from stream_processor.snapshot import capture, restore
from streamgauge.delivery import Delivery
from streamgauge.words import Flag
from tests.test_walk import state

T = 1_700_000_000
SECOND = 10**6
NAN = math.nan
CONFIG = """
[devices]
max_ahead = "1m"
{devices}
[[source]]
use = "mqtt"
topics = ["t"]
codec = "json"
[channels.a]
range = [0, 100]
[channels.b]
{b}
[features]
raw = ["a", "b"]
[tasks.now]
kind = "regression"
target = "a"
model = "linear_model.LinearRegression"
"""
Message = tuple[float, dict[str, Any]]
"""Event time in seconds after T, and values."""


class Bench:
    """A pipeline that notes the rows which reach its features."""

    def __init__(self, devices: str, b: str = "") -> None:
        text = CONFIG.format(devices=devices, b=b)
        self.pipeline = Pipeline(load_text(text, Path("p.toml"), {}))
        self.rows: list[tuple[float, float, float]] = []
        self.flags: list[Flag] = []
        """What was done to the second channel of each."""
        walk = self.pipeline.walk
        through = walk.readings

        def noted(batch: Any) -> int:
            refused = through(batch)
            for i in range(batch.n):
                if batch.verdict[i] == 0:
                    time = (int(batch.time[i]) - T * SECOND) / SECOND
                    self.rows.append((time, *batch.values[i].tolist()))
                    self.flags.append(Flag(int(batch.flags[i, 1])))
            return refused

        walk.readings = noted  # type: ignore[method-assign] # the rows are looked at on their way

    def send(self, *messages: Message, received: float | None = None) -> None:
        """Messages of one device; received when they were made, unless told."""
        for second, values in messages:
            payload = {"device": "d", "time": T + second, **values}
            came = round((T + (second if received is None else received)) * SECOND)
            self.pipeline.feed(
                Delivery(payloads=[json.dumps(payload).encode()], topics=["t"], received=[came])
            )

    def tick(self, second: float) -> None:
        self.pipeline.feed(Delivery(clock=round((T + second) * SECOND)))

    def verdicts(self) -> dict[str, int]:
        counts = self.pipeline.board.counts()["readings"]
        return {name: n for name, n in counts.items() if n}

    def got(self) -> list[Any]:
        """Rows so far, absent values as None."""
        return [tuple(None if v != v else v for v in row) for row in self.rows]


def a(value: float) -> dict[str, float]:
    """A message about one channel."""
    return {"a": value}


def b(value: float) -> dict[str, float]:
    """A message about the other."""
    return {"b": value}


def test_readings_that_overtook_each_other_go_on_in_order() -> None:
    """Each waits until the device's newest is `reorder` ahead; what is older still is late."""
    bench = Bench('reorder = "5s"')
    bench.send((0, a(0)), (3, a(3)), (1, a(1)), (2, a(2)), (7, a(7)), received=8)
    assert bench.got() == [(0, 0, None), (1, 1, None), (2, 2, None)]
    bench.send((1.5, a(9)), received=8)
    assert bench.verdicts() == {"admitted": 3, "late": 1}
    bench.send((3, a(3)), (7, a(7)), received=8)
    assert bench.verdicts() == {"admitted": 3, "late": 1, "duplicate": 2}


def test_a_device_that_falls_silent_gets_its_readings_through() -> None:
    """Its clock goes on with ours: a tick lets go what has waited long enough, not before."""
    bench = Bench('reorder = "5s"')
    bench.send((10, a(1)), (12, a(2)), received=100)
    bench.tick(102)
    assert bench.got() == []
    bench.tick(104)
    assert bench.got() == [(10, 1, None)]
    bench.tick(106)
    assert bench.got() == [(10, 1, None), (12, 2, None)]


def test_more_readings_than_there_is_room_for_go_on_before_their_time() -> None:
    """The memory of a device is bounded; the oldest gives way, and order is kept."""
    bench = Bench('reorder = { up_to = "1h", readings = 3 }')
    bench.send(*[(second, a(second)) for second in (5, 4, 3, 2, 9, 8)], received=10)
    assert [row[0] for row in bench.got()] == [2, 3, 4]
    bench.send((1, a(1)), received=10)
    assert bench.verdicts()["late"] == 1


def test_a_time_from_the_future_lets_nothing_go() -> None:
    """A wrong clock moves no watermark."""
    bench = Bench('reorder = "5s"')
    bench.send((0, a(0)))
    bench.send((10_000, a(1)), received=1)
    assert bench.verdicts() == {"future": 1}
    bench.send((2, a(2)), (1, a(1)), (6.5, a(3)), received=7)
    assert [row[0] for row in bench.got()] == [0, 1]


def test_each_message_gives_a_row_with_the_last_known_values() -> None:
    """The other channels have what they had, unless that is older than `within`."""
    bench = Bench('assemble = { use = "last", within = "10s" }\nduplicates = "content"')
    bench.send((0, a(1)), (0, b(2)), (4, a(3)), (11, a(4)), (12, b(5)))
    assert bench.got() == [(0, 1, None), (0, 1, 2), (4, 3, 2), (11, 4, None), (12, 4, 5)]
    bench.send((12, b(5)))
    assert bench.verdicts()["duplicate"] == 1


def test_a_bad_value_is_not_taken_for_the_last_known() -> None:
    """A value outside its range is neither kept nor replaced by an older one."""
    bench = Bench('assemble = { use = "last", within = "10s" }')
    bench.send((0, a(1)), (1, {"a": 500, "b": 1}), (2, b(2)))
    assert bench.got() == [(0, 1, None), (1, None, 1), (2, 1, 2)]


def test_a_row_waits_for_all_channels() -> None:
    """It goes on when it is whole, at the time of its last message."""
    bench = Bench('assemble = { use = "wait", up_to = "2s" }')
    bench.send((0, a(1)))
    assert bench.got() == []
    bench.send((0.5, b(2)), (10, b(3)), (11, a(4)))
    assert bench.got() == [(0.5, 1, 2), (11, 4, 3)]


def test_a_row_is_not_waited_for_longer_than_asked() -> None:
    """A later message, a second value of a channel or a tick sends on what there is."""
    bench = Bench('assemble = { use = "wait", up_to = "2s" }')
    bench.send((0, a(1)), (5, a(2)), (6, a(3)))
    assert bench.got() == [(0, 1, None), (5, 2, None)]
    bench.tick(8)
    assert len(bench.rows) == 2
    bench.tick(8.001)
    assert bench.got()[2:] == [(6, 3, None)]


def test_messages_are_put_in_order_before_they_are_assembled() -> None:
    """The value of an earlier instant completes the row of that instant."""
    bench = Bench(
        'reorder = "5s"\nassemble = { use = "wait", up_to = "1s" }\nduplicates = "content"'
    )
    bench.send((1, a(1)), (3, a(3)), (1, b(10)), (3, b(30)), (9, a(9)), received=10)
    assert bench.got() == [(1, 1, 10), (3, 3, 30)]


@pytest.mark.parametrize("cut", [1, 3, 5, 8])
def test_what_waits_is_in_the_checkpoint(cut: int) -> None:
    """A pipeline restored in the middle of an unfinished row goes on to the same bits."""
    devices = (
        'reorder = "2s"\nassemble = { use = "wait", up_to = "3s" }\nduplicates = "content"\n'
        'evict_after = "10s"'
    )
    log = [(second, (a if second % 2 else b)(second)) for second in (0, 2, 1, 4, 3, 3, 6, 5, 9)]
    whole, first, second = Bench(devices), Bench(devices), Bench(devices)
    whole.send(*log, received=10)
    first.send(*log[:cut], received=10)
    saved = capture(first.pipeline.walk, {}, {})
    restore(second.pipeline.walk, saved)
    second.send(*log[cut:], received=10)
    for bench in (whole, second):
        bench.tick(17)
    assert first.got() + second.got() == whole.got()
    assert state(second.pipeline) == state(whole.pipeline)


def test_a_device_whose_first_reading_waits_keeps_its_row() -> None:
    """Rows of devices that nothing was admitted of are freed each tick, but not while that may
    yet be."""
    bench = Bench('reorder = "5s"')
    bench.send((0, a(1)), received=0)
    bench.tick(1)
    assert bench.pipeline.walk.stages.devices.known == 1
    bench.tick(6)
    assert bench.got() == [(0, 1, None)]
    bench.send((1_000, a(500)), received=0)
    bench.tick(7)
    assert bench.pipeline.walk.stages.devices.known == 1


@pytest.mark.parametrize(
    ("devices", "key", "remedy"),
    [
        ('assemble = { use = "last" }', "devices.assemble.within", 'add within = "10s"'),
        ('assemble = { use = "wait", within = "1s" }', "devices.assemble.up_to", "add up_to"),
        ('assemble = "last"', "devices.assemble", "table"),
        ("reorder = { readings = 3 }", "devices.reorder.up_to", "add up_to"),
        ('reorder = { up_to = "1s", readings = 257 }', "devices.reorder.readings", "256"),
        ('reorder = "1h"\nevict_after = "1h"', "devices.evict_after", "more than 1h"),
    ],
)
def test_what_is_wrong_in_the_configuration(devices: str, key: str, remedy: str) -> None:
    """Each mistake is told with its key and what to write."""
    with pytest.raises(Problems) as found:
        Bench(devices)
    assert any(key in p.key and remedy in p.remedy for p in found.value.problems), found.value


def test_without_either_nothing_is_there() -> None:
    """The stage costs nothing where it is not asked for."""
    stages = Bench("").pipeline.walk.stages
    assert stages.arrange is None
    assert not any(name.startswith("arrange") for name in stages.blocks())
    asked = Bench('reorder = "5s"').pipeline.walk.stages
    assert asked.bytes_per_device()[1] > stages.bytes_per_device()[1] + 33 * 7 * 8 - 64
