"""One operator over batches of 1,000 devices, beside code that keeps an object per device.

Both sides begin with decoded readings of numbered devices. Ours has them as columns; the other has
a dictionary for each, as River's models take them, finds the device's object in a dictionary, and
makes of the result what a model would be given.
"""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from inspect import signature
from typing import Any

import numpy as np

from stream_processor.features import raw
from stream_processor.operator import FeatureOperator, Operator
from streamgauge.batch import Batch, Features
from streamgauge.calls import Chain, Now
from streamgauge.plugins import load
from streamgauge.schema import Channel, Schema

__all__ = [
    "CHANNELS",
    "DEVICES",
    "Beside",
    "Case",
    "Events",
    "Fleet",
    "PerDevice",
    "batches",
    "chained",
    "compared",
    "each",
    "loop",
]

DEVICES = 1_000
CHANNELS = ("temperature", "humidity", "pressure", "vibration")
WARM, TIMED, ROUNDS = 70, 36, 5
"""Batches of one reading of each device: until windows are full, and timed in each round."""
BESIDE = 6
"""Batches of a round that the object per device is given."""
PANDAS = 10
"""Batches until pandas, which takes a thousand times as long, is timed."""
START = 1_772_366_400_000_000

PerDevice = Callable[[], Callable[[float, int], Any]]
"""Makes what one device has: a function of value and event time."""
Events = Sequence[Mapping[str, Any]]
"""Readings: `device`, `time`, and the value of each channel, NaN where it is absent."""
Beside = Callable[[], Callable[[Events], None]]
"""Makes what a fleet has: a loop over readings."""
Fleet = dict[int, Any]


@dataclass(frozen=True)
class Case:
    """A plug-in with options, its bar in microseconds per event and channel, and its equivalent."""

    package: str
    name: str
    options: Mapping[str, Any]
    bar: float
    beside: Beside
    what: str
    """What stands beside it."""
    pandas: Beside | None = None
    """The same with pandas."""


def batches(count: int, size: int = DEVICES, seed: int = 1) -> list[Batch]:
    """Walks of 1,000 devices in turn, a second apart; now and then a value far off, or none."""
    rng = np.random.default_rng(seed)
    rounds = -(-count * size // DEVICES)
    shape = (rounds, DEVICES, len(CHANNELS))
    values = np.cumsum(rng.normal(0.0, 0.3, shape), axis=0) + rng.normal(0.0, 1.0, shape)
    values += 50.0
    values[rng.random(shape) < 0.002] += 40.0
    values[rng.random(shape) < 0.01] = np.nan
    flat = values.reshape(-1, len(CHANNELS))
    made = []
    for k in range(count):
        batch = Batch(size, len(CHANNELS))
        at = np.arange(k * size, (k + 1) * size)
        batch.n = size
        batch.row[:] = at % DEVICES
        batch.time[:] = START + at // DEVICES * 10**6
        batch.received[:] = batch.time
        batch.values[:] = flat[at]
        made.append(batch)
    return made


def chained(
    operators: Sequence[Operator], names: int, size: int = DEVICES
) -> Callable[[Batch], None]:
    """What the walk does: copy a batch into the worker's own, and run the bound calls over it."""
    own, chain = _bound(operators, names, size)

    def run(batch: Batch) -> None:
        own.take(batch, 0, batch.n)
        chain.run()

    return run


def _bound(operators: Sequence[Operator], names: int, size: int) -> tuple[Batch, Chain]:
    """The worker's own batch, and the calls that are bound to it."""
    own = Batch(size, len(CHANNELS))
    features = Features(["x"] * names, [frozenset()] * names, size)
    now = np.zeros(len(Now), np.int64)
    now[Now.N] = size
    return own, Chain([operator.call(own, features) for operator in operators], now)


def compared(cases: Sequence[Case]) -> list[dict[str, Any]]:
    """The quickest of rounds in which both take turns, since what else runs on a machine only adds
    to what a round takes."""
    data = batches(WARM + TIMED * ROUNDS)
    readings = [_events(batch) for batch in data]
    rows = []
    for case in cases:
        schema = Schema(map(Channel, CHANNELS))
        built = _built(case, schema)
        operator: Any = built[-1]
        own = _bound(built, sum(len(getattr(one, "names", ())) for one in built), DEVICES)
        ours, its, pandas = _in_turn(*own, case, data, readings)
        features = max(1, len(getattr(operator, "names", ())))
        rows.append(
            {
                "what": f"{case.package.rpartition('.')[2]}.{case.name}",
                "options": ", ".join(f"{k} {v}" for k, v in case.options.items() if k != "of"),
                "us per event": ours,
                "bar": case.bar * features,
                "holds": "yes" if ours <= case.bar * features else "NO",
                "beside": case.what,
                "its us": its,
                "times": its / max(ours, 1e-9),
                "pandas us": pandas if case.pandas else "",
                "times pandas": pandas / max(ours, 1e-9) if case.pandas else "",
            }
        )
    return rows


def _built(case: Case, schema: Schema) -> list[Operator | FeatureOperator]:
    """The operator; where it is made of features, behind the value of the first channel."""
    plugin = load(case.package, case.name)
    if "earlier" not in signature(plugin.build).parameters:
        return [plugin.build(schema, DEVICES, 0, **case.options)]
    first = raw.build(schema, DEVICES, 0, of=CHANNELS[:1])
    earlier = dict(zip(first.names, first.channels, strict=True))
    return [first, plugin.build(schema, DEVICES, 1, earlier, **case.options)]


def each(made: PerDevice) -> Beside:
    """A function per device, called with each value of the first channel that is there."""

    def one() -> Callable[[Events], None]:
        fleet = {device: made() for device in range(DEVICES)}

        def run(events: Events) -> None:
            for event in events:
                value = event["temperature"]
                if value == value:
                    fleet[event["device"]](value, event["time"])

        return run

    return one


def loop(made: Callable[[], Any], run: Callable[[Fleet, Events], None]) -> Beside:
    """An object per device, and a loop that looks them up."""

    def one() -> Callable[[Events], None]:
        return partial(run, {device: made() for device in range(DEVICES)})

    return one


def _events(batch: Batch) -> list[dict[str, Any]]:
    columns = (batch.row, batch.time, *batch.values.T)
    names = ("device", "time", *CHANNELS)
    return [
        dict(zip(names, reading, strict=True))
        for reading in zip(*(column.tolist() for column in columns), strict=True)
    ]


def _in_turn(
    own: Batch, chain: Chain, case: Case, data: Sequence[Batch], readings: Sequence[Events]
) -> list[float]:
    """Microseconds per event of the operator, of what stands beside it, and of pandas."""

    def take(batch: Batch) -> Callable[[], None]:
        own.take(batch, 0, batch.n)
        return chain.run

    runs: list[tuple[Callable[[Any], Callable[[], None]], Sequence[Any], int, int]]
    runs = [(take, data, WARM, TIMED), (partial(partial, case.beside()), readings, WARM, BESIDE)]
    if case.pandas:
        runs.append((partial(partial, case.pandas()), readings, PANDAS, 1))
    took = [[_round(*one, turn) for one in runs] for turn in range(ROUNDS)]
    return [min(of) for of in zip(*took, strict=True)] + [0.0] * (3 - len(runs))


def _round(
    ready: Callable[[Any], Callable[[], None]],
    data: Sequence[Any],
    warm: int,
    timed: int,
    turn: int,
) -> float:
    """Median of a round's batches, in microseconds of processor time per event."""
    for one in data[WARM - warm : WARM] if turn == 0 else ():
        ready(one)()
    begin = WARM + turn * TIMED
    took = []
    for one in data[begin : begin + timed]:
        run = ready(one)
        started = time.process_time()
        run()
        took.append(time.process_time() - started)
    return statistics.median(took) / DEVICES * 1e6
