"""Readings as pandas frames, for tests that compare an operator with a plain reference."""

from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stream_processor.operator import FeatureOperator
from streamgauge.batch import Batch, Features
from streamgauge.schema import Schema
from tests.contracts.streams import Stream

__all__ = ["admitted", "batch_of", "by_device", "computed"]


def batch_of(
    schema: Schema,
    time: NDArray[np.int64] | list[int],
    values: Mapping[str, NDArray[np.float64] | list[float]],
    row: NDArray[np.int32] | list[int] | None = None,
) -> Batch:
    """A batch of readings, received when they were made; one device unless rows are given."""
    n = len(time)
    batch = Batch(n, len(schema))
    batch.n = n
    batch.row[:] = 0 if row is None else row
    batch.time[:] = time
    batch.received[:] = batch.time
    for name, column in values.items():
        batch.values[:, schema.index[name]] = column
    return batch


def computed(operator: FeatureOperator, batch: Batch) -> pd.DataFrame:
    """The features of an operator that was built with column 0, by name."""
    features = Features(operator.names, operator.channels, batch.capacity)
    operator.call(batch, features).run(n=batch.n)
    return pd.DataFrame(features.x[: batch.n], columns=list(operator.names))


def admitted(stream: Stream, schema: Schema) -> pd.DataFrame:
    """The admitted readings of a stream: row, time and channels, indexed by place in the stream.

    What is not finite is absent.
    """
    frame = pd.DataFrame(stream.values, columns=list(schema.names))
    frame = frame.where(np.isfinite(frame))
    frame["row"], frame["time"] = stream.row, stream.time
    return frame[stream.verdict == 0]


def by_device(frame: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """The readings of each device, in order."""
    for _, part in frame.groupby("row", sort=False):
        yield part
