"""Transforms of a channel's values: logarithm, root, Box-Cox, inverse hyperbolic sine."""

import math
from collections.abc import Mapping
from typing import Literal

import numpy as np

from stream_processor.operator import Operator
from streamgauge.arrays import Bytes, Floats, Words
from streamgauge.batch import Batch, Features
from streamgauge.calls import Call, Now
from streamgauge.kernels import kernel
from streamgauge.schema import Schema
from streamgauge.state import Block
from streamgauge.words import Flag

__all__ = ["EXAMPLE", "build"]

EXAMPLE = {"kind": "log"}

KINDS = ("log", "log1p", "sqrt", "boxcox", "asinh")
_LOG, _LOG1P, _SQRT, _BOXCOX = range(4)
_OUTSIDE = int(Flag.OUT_OF_RANGE)


def build(
    schema: Schema,
    capacity: int,
    channel: int,
    *,
    kind: Literal["log", "log1p", "sqrt", "boxcox", "asinh"],
    power: float = 0.0,
) -> Operator:
    """The channel is its transform from here on: features, targets and predictions as well.

    - `kind`: log | log1p | sqrt | boxcox | asinh (a logarithm that takes values below 0 as well)
    - `power`: Box-Cox's, (x ** power - 1) / power, and log(x) where it is 0

    A value that has no transform, such as one below 0 under a root, is missing and flagged.
    Box and Cox (1964), "An analysis of transformations".
    """
    if kind != "boxcox" and power != 0.0:
        raise ValueError(f'power is {power}; only kind = "boxcox" has one')
    if not abs(power) <= 5.0:
        raise ValueError(f"power is {power}; give one from -5 to 5")
    return _Transform(channel, KINDS.index(kind), power)


@kernel
def _transformed(value: float, kind: int, power: float) -> float:
    if kind == _LOG or (kind == _BOXCOX and power == 0.0):
        return math.log(value) if value > 0.0 else np.nan
    if kind == _LOG1P:
        return math.log1p(value) if value > -1.0 else np.nan
    if kind == _SQRT:
        return math.sqrt(value) if value >= 0.0 else np.nan
    if kind == _BOXCOX:
        return (value**power - 1.0) / power if value > 0.0 else np.nan
    return math.asinh(value)


@kernel
def _transform(
    n: int,
    verdict: Bytes,
    values: Floats,
    flags: Words,
    channel: int,
    kind: int,
    power: float,
) -> None:
    for i in range(n):
        value = values[i, channel]
        if verdict[i] != 0 or not np.isfinite(value):
            continue
        made = _transformed(value, kind, power)
        if np.isfinite(made):
            values[i, channel] = made
        else:
            values[i, channel] = np.nan
            flags[i, channel] |= np.uint16(_OUTSIDE)


class _Transform:
    def __init__(self, channel: int, kind: int, power: float) -> None:
        self.blocks: Mapping[str, Block] = {}
        self._bound = (channel, kind, power)

    def call(self, batch: Batch, features: Features) -> Call:
        columns = (batch.verdict, batch.values, batch.flags)
        return Call(_transform, (Now.N, *columns, *self._bound))
