"""One operator over batches of 1,000 devices, beside code that keeps an object per device."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from inspect import signature
from typing import Any

import numpy as np

from stream_processor.features import raw
from stream_processor.operator import FeatureOperator, Operator
from streamgauge.batch import Batch, Features
from streamgauge.calls import Chain, Now
from streamgauge.plugins import load
from streamgauge.schema import Channel, Schema

__all__ = ["CHANNELS", "DEVICES", "Case", "PerDevice", "batches", "chained", "compared"]

DEVICES = 1_000
CHANNELS = ("temperature", "humidity", "pressure", "vibration")
WARM, TIMED, ROUNDS = 70, 60, 3
"""Batches of one reading of each device: until windows are full, and timed in each round."""
BESIDE = 20
"""Batches of those that the object per device is given."""
START = 1_772_366_400_000_000

PerDevice = Callable[[], Callable[[float, int], Any]]
"""Makes what one device has: a function of value and event time."""


@dataclass(frozen=True)
class Case:
    """A plug-in with options, its bar in microseconds per event and channel, and its equivalent."""

    package: str
    name: str
    options: Mapping[str, Any]
    bar: float
    beside: PerDevice
    what: str
    """What stands beside it."""
    pandas: PerDevice | None = None
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
    own = Batch(size, len(CHANNELS))
    features = Features(["x"] * names, [frozenset()] * names, size)
    now = np.zeros(len(Now), np.int64)
    chain = Chain([operator.call(own, features) for operator in operators], now)
    now[Now.N] = size

    def run(batch: Batch) -> None:
        own.take(batch, 0, batch.n)
        chain.run()

    return run


def compared(cases: Sequence[Case]) -> list[dict[str, Any]]:
    """Medians of rounds in which both take turns; copying the batch is measured and taken off."""
    data = batches(WARM + TIMED * ROUNDS)
    copying = _timed([chained([], 0)], data)[0]
    rows = []
    for case in cases:
        schema = Schema(map(Channel, CHANNELS))
        built = _built(case, schema)
        operator: Any = built[-1]
        run = chained(built, sum(len(getattr(one, "names", ())) for one in built))
        others = [case.beside, *([case.pandas] if case.pandas else [])]
        ours, *theirs = _timed([run, *map(_objects, others)], data)
        ours -= copying
        features = max(1, len(getattr(operator, "names", ())))
        rows.append(
            {
                "what": f"{case.package.rpartition('.')[2]}.{case.name}",
                "options": ", ".join(f"{k} {v}" for k, v in case.options.items() if k != "of"),
                "us per event": ours,
                "bar": case.bar * features,
                "holds": "yes" if ours <= case.bar * features else "NO",
                "beside": case.what,
                "its us": theirs[0],
                "times": theirs[0] / max(ours, 1e-9),
                "pandas us": theirs[1] if case.pandas else "",
                "times pandas": theirs[1] / max(ours, 1e-9) if case.pandas else "",
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


def _objects(made: PerDevice) -> Callable[[Batch], None]:
    """One object per device, called with each value of the first channel that is there."""
    each = [made() for _ in range(DEVICES)]

    def run(batch: Batch) -> None:
        rows, values, times = batch.row.tolist(), batch.values[:, 0].tolist(), batch.time.tolist()
        for row, value, at in zip(rows, values, times, strict=True):
            if value == value:
                each[row](value, at)

    return run


def _timed(runs: Sequence[Callable[[Batch], None]], data: Sequence[Batch]) -> list[float]:
    """Microseconds of processor time per event of each, median of rounds in turn. All but the first
    are given fewer batches; their warm-up too is shorter."""
    took: list[list[float]] = [[] for _ in runs]
    for k, run in enumerate(runs):
        for batch in data[WARM - BESIDE if k else 0 : WARM]:
            run(batch)
    for turn in range(ROUNDS):
        begin = WARM + turn * TIMED
        for k, run in enumerate(runs):
            part = data[begin : begin + (BESIDE // ROUNDS if k else TIMED)]
            started = time.process_time()
            for batch in part:
                run(batch)
            spent = time.process_time() - started
            took[k].append(spent / sum(batch.n for batch in part) * 1e6)
    return [statistics.median(of) for of in took]
