"""Features on a common scale: by mean and deviation, range, largest value, or quantiles."""

import math
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Literal

import numpy as np

from stream_processor.operator import FeatureOperator
from streamgauge.arrays import Bytes, Floats, Ints, Rows
from streamgauge.batch import Batch, Features
from streamgauge.calls import Call, Now
from streamgauge.kernels import inlined
from streamgauge.schema import Schema
from streamgauge.sorted_window import push, quantile, width_of
from streamgauge.state import Block, Field, Keys

__all__ = ["EXAMPLE", "METHODS", "build"]

EXAMPLE = {"of": ["value"]}

METHODS = ("standard", "minmax", "maxabs", "robust")
_STANDARD, _MINMAX, _MAXABS, _ROBUST = range(4)
# State of a feature: how many values came; then mean and variance, or smallest and largest, or
# the largest absolute one. `robust` has a window instead.
_COUNT, _FIRST, _SECOND, _WIDTH = 0, 1, 2, 3
# Larger than all that admission lets through; squares of it are still finite.
_MOST = 1e120


def build(
    schema: Schema,
    capacity: int,
    column: int,
    earlier: Mapping[str, frozenset[str]],
    *,
    of: Sequence[str],
    method: Literal["standard", "minmax", "maxabs", "robust"] = "standard",
    scope: Literal["device", "fleet"] = "device",
    window: int | None = None,
) -> FeatureOperator:
    """`<feature>_<method>` for each feature in `of`, by name or pattern; with `scope = "fleet"`
    `<feature>_<method>_of_fleet`, on one scale for all devices.

    `standard` is the distance from the mean in standard deviations, `minmax` the place between the
    smallest and the largest value so far, `maxabs` the value over the largest absolute one,
    `robust` the distance from the median in interquartile ranges of the last `window` values (100
    unless given; type 7 as in `quantiles`). A reading first joins the statistics and is then
    scaled, as River's scalers do with `learn_one` and `transform_one`; where nothing varies yet it
    is 0. An absent feature teaches nothing and stays absent; so does one beyond 1e120.

    Welford (1962), "Note on a method for calculating corrected sums of squares and products".
    """
    names = _chosen(of, earlier)
    if window is not None and (method != "robust" or not 2 <= window <= 4_096):
        raise ValueError(
            f'features.scale window is {window} with method = "{method}"; '
            'give 2 to 4096 values with method = "robust", or leave it out'
        )
    ending = f"_{method}" + ("_of_fleet" if scope == "fleet" else "")
    columns = np.array([list(earlier).index(name) for name in names], np.int64)
    made = {f"{name}{ending}": earlier[name] for name in names}
    size = (window or 100) if method == "robust" else 0
    keys = Keys.FLEET if scope == "fleet" else Keys.DEVICE
    return _Scale(capacity, column, made, columns, METHODS.index(method), size, keys)


def _chosen(of: Sequence[str], earlier: Mapping[str, frozenset[str]]) -> list[str]:
    """The features that the patterns choose, in the features' order."""
    for pattern in of:
        if not any(fnmatchcase(name, pattern) for name in earlier):
            raise ValueError(
                f"features.scale of holds {pattern!r}, and no feature is called that; there are: "
                f"{', '.join(earlier) or 'none'}"
            )
    if not of:
        raise ValueError('features.scale of is empty; name features, for example ["*"]')
    return [name for name in earlier if any(fnmatchcase(name, pattern) for pattern in of)]


@inlined
def _standard(part: Floats, value: float) -> float:
    part[_COUNT] += 1.0
    old = part[_FIRST]
    part[_FIRST] += (value - old) / part[_COUNT]
    step = (value - old) * (value - part[_FIRST])
    part[_SECOND] += (step - part[_SECOND]) / part[_COUNT]
    if part[_SECOND] <= 0.0:
        return 0.0
    return float((value - part[_FIRST]) / math.sqrt(part[_SECOND]))


@inlined
def _minmax(part: Floats, value: float) -> float:
    known = part[_COUNT] > 0.0
    part[_COUNT] = 1.0
    part[_FIRST] = min(part[_FIRST], value) if known else value
    part[_SECOND] = max(part[_SECOND], value) if known else value
    span = part[_SECOND] - part[_FIRST]
    return (value - part[_FIRST]) / span if span > 0.0 else 0.0


@inlined
def _maxabs(part: Floats, value: float) -> float:
    part[_FIRST] = max(part[_FIRST], abs(value))
    return value / part[_FIRST] if part[_FIRST] > 0.0 else 0.0


@inlined
def _robust(part: Floats, window: int, value: float) -> float:
    push(part, window, value)
    spread = quantile(part, window, 0.75) - quantile(part, window, 0.25)
    return (value - quantile(part, window, 0.5)) / spread if spread > 0.0 else 0.0


@inlined
def _one(part: Floats, method: int, window: int, value: float) -> float:
    """Let a value join the statistics of its feature, and scale it."""
    if method == _STANDARD:
        return _standard(part, value)
    if method == _MINMAX:
        return _minmax(part, value)
    if method == _MAXABS:
        return _maxabs(part, value)
    return _robust(part, window, value)


@inlined
def _scale(
    n: int,
    row: Rows,
    verdict: Bytes,
    x: Floats,
    column: int,
    of: Ints,
    state: Floats,
    shared: int,
    method: int,
    window: int,
) -> None:
    width = state.shape[1] // len(of)
    for i in range(n):
        own = state[0 if shared else row[i]]
        for c in range(len(of)):
            value = x[i, of[c]]
            # False for NaN too.
            if verdict[i] != 0 or not abs(value) <= _MOST:
                x[i, column + c] = np.nan
                continue
            found = _one(own[c * width : (c + 1) * width], method, window, value)
            x[i, column + c] = found if np.isfinite(found) else np.nan


class _Scale:
    def __init__(
        self,
        capacity: int,
        column: int,
        names: Mapping[str, frozenset[str]],
        of: Ints,
        method: int,
        window: int,
        keys: Keys,
    ) -> None:
        self.names, self.channels = tuple(names), tuple(names.values())
        width = width_of(window) if window else _WIDTH
        shared = keys is Keys.FLEET
        block = Block([Field("scale", (len(of), width))], 1 if shared else capacity, keys=keys)
        self.blocks: Mapping[str, Block] = {"state": block}
        self._bound = (column, of, block.array, int(shared), method, window)

    def call(self, batch: Batch, features: Features) -> Call:
        """See `stream_processor.operator.Operator`."""
        columns = (batch.row, batch.verdict, features.x)
        return Call(_scale, (Now.N, *columns, *self._bound))
