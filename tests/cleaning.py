"""One device's readings through a cleaner, for tests that compare with plain code."""

from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np

from streamgauge.arrays import Floats, Ints
from streamgauge.batch import Batch, Features
from streamgauge.schema import Channel, Schema
from streamgauge.words import Flag

__all__ = ["SECOND", "START", "Cleaned", "clean"]

START = 1_772_366_400_000_000
SECOND = 1_000_000


@dataclass(frozen=True)
class Cleaned:
    """What a cleaner left: `values float64[n]` and the flags of each."""

    values: Floats
    flags: list[Flag]


def clean(
    name: str,
    values: Any,
    time: Ints | None = None,
    others: Floats | None = None,
    **options: Any,
) -> Cleaned:
    """Send values of the first channel, one a second unless `time` says else, through the cleaner
    `stream_processor.clean.<name>`; `others float64[n, k]` are further channels."""
    own = np.array(values, np.float64)
    columns = own[:, None] if others is None else np.column_stack([own, others])
    n, k = columns.shape
    schema = Schema([Channel(f"c{c}") for c in range(k)])
    batch = Batch(n, k)
    batch.n = n
    batch.values[:] = columns
    batch.time[:] = START + np.arange(n) * SECOND if time is None else time
    batch.received[:] = batch.time
    plugin = import_module(f"stream_processor.clean.{name}")
    operator = plugin.build(schema, 1, 0, **options)
    operator.call(batch, Features((), (), n)).run(n=n)
    return Cleaned(batch.values[:n, 0].copy(), [Flag(int(f)) for f in batch.flags[:n, 0]])
