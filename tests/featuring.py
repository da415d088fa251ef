"""One device's readings through a feature, for tests that compare with plain code."""

from importlib import import_module
from typing import Any

import numpy as np

from streamgauge.arrays import Floats, Ints
from streamgauge.batch import Batch, Features
from streamgauge.schema import Channel, Schema

__all__ = ["SECOND", "START", "featured", "names_of"]

START = 1_772_366_400_000_000
SECOND = 1_000_000


def featured(name: str, values: Any, time: Ints | None = None, **options: Any) -> Floats:
    """float64[n, f]: what `stream_processor.features.<name>` makes of the readings of one device,
    one a second unless `time` says else; the first channel is called c0, and so on."""
    columns = np.array(values, np.float64)
    columns = columns[:, None] if columns.ndim == 1 else columns
    n, k = columns.shape
    operator = _built(name, k, options)
    batch = Batch(max(n, 1), k)
    batch.n = n
    batch.values[:n] = columns
    batch.time[:n] = START + np.arange(n) * SECOND if time is None else time
    batch.received[:n] = batch.time[:n]
    features = Features(operator.names, operator.channels, max(n, 1))
    operator.call(batch, features).run(n=n)
    return features.x[:n].copy()


def names_of(name: str, channels: int = 1, **options: Any) -> list[str]:
    """Names of its features."""
    return list(_built(name, channels, options).names)


def _built(name: str, channels: int, options: dict[str, Any]) -> Any:
    schema = Schema([Channel(f"c{c}") for c in range(channels)])
    return import_module(f"stream_processor.features.{name}").build(schema, 1, 0, **options)
