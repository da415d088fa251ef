"""Formulas over the channels of a reading: ratios, products, powers, interactions."""

from collections.abc import Mapping

import numpy as np

from stream_processor.features._program import CONSTANT, DEEPEST, TOGETHER, compiled, results
from stream_processor.operator import FeatureOperator
from streamgauge.arrays import Bytes, Floats, Ints
from streamgauge.batch import Batch, Features
from streamgauge.calls import Call, Now
from streamgauge.kernels import inlined
from streamgauge.schema import Schema
from streamgauge.state import Block

__all__ = ["EXAMPLE", "build"]

EXAMPLE = {"of": {"ratio": "value / other"}}


def build(schema: Schema, capacity: int, column: int, *, of: Mapping[str, str]) -> FeatureOperator:
    """A feature for each name in `of`, computed from its formula: `{ efficiency = "load / flow" }`.

    Formulas know channels, numbers, `+ - * / **`, brackets and abs, sqrt, exp, log, sin, cos, min,
    max; a channel whose name is no plain word is written `channel("PM2.5")`. They are parsed, never
    evaluated as Python. NaN where a channel is absent, or there is no finite result.
    """
    if not of:
        raise ValueError('of is empty; write { name = "formula" }')
    return _Formulas(schema, column, of)


@inlined
def _compute(
    n: int,
    verdict: Bytes,
    values: Floats,
    x: Floats,
    column: int,
    ends: Ints,
    steps: Ints,
    constants: Floats,
    stack: Floats,
) -> None:
    for first in range(0, n, TOGETHER):
        begin, count = 0, min(n - first, TOGETHER)
        for k in range(len(ends)):
            results(values, first, count, steps[begin : ends[k]], constants, stack)
            for j in range(count):
                usable = verdict[first + j] == 0 and np.isfinite(stack[0, j])
                x[first + j, column + k] = stack[0, j] if usable else np.nan
            begin = ends[k]


class _Formulas:
    def __init__(self, schema: Schema, column: int, of: Mapping[str, str]) -> None:
        programs = {name: compiled(text, schema.index) for name, text in of.items()}
        self.names = tuple(programs)
        self.channels = tuple(frozenset(program.channels) for program in programs.values())
        self.blocks: Mapping[str, Block] = {}
        steps: list[tuple[int, int]] = []
        constants: list[float] = []
        ends: list[int] = []
        for program in programs.values():
            steps += [_moved(step, len(constants)) for step in program.steps]
            constants += program.constants
            ends.append(len(steps))
        self._bound = (
            column,
            np.array(ends, np.int64),
            np.array(steps, np.int64).reshape(-1, 2),
            np.array(constants or [0.0], np.float64),
            np.zeros((DEEPEST, TOGETHER)),
        )

    def call(self, batch: Batch, features: Features) -> Call:
        columns = (batch.verdict, batch.values, features.x)
        return Call(_compute, (Now.N, *columns, *self._bound))


def _moved(step: tuple[int, int], by: int) -> tuple[int, int]:
    """The step with its constant behind those of the formulas before."""
    operation, argument = step
    return (operation, argument + by) if operation == CONSTANT else step
