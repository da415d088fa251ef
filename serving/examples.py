"""Cleaners, features and selections with the options of their `EXAMPLE`: what `list` measures and
`compile-kernels` compiles."""

import inspect
from types import ModuleType

from river import linear_model

from models.compile import compile as compile_model
from models.selection import Selection
from stream_processor.operator import Operator
from streamgauge.devices import Devices
from streamgauge.schema import Channel, Kind, Schema
from streamgauge.tags import Tags

__all__ = ["SCHEMA", "operator_of", "selection_of"]

_MODE = Channel("mode", kind=Kind.CATEGORY, values=("idle", "run"))
SCHEMA = Schema(
    [Channel("value"), Channel("other"), _MODE, Channel("code", kind=Kind.TEXT, words=30)]
)
"""The channels that an `EXAMPLE` may name."""


def operator_of(module: ModuleType, schema: Schema) -> Operator:
    """The operator of one device that works on the first channel, with the options of `EXAMPLE`
    beside the defaults. TypeError or ValueError where those are not enough."""
    devices = Devices(1, Tags(("site",), {"one": ("north",)}))
    beside = {"devices": devices, "earlier": {"value": frozenset({"value"})}}
    takes = inspect.signature(module.build).parameters
    given = [thing for name, thing in beside.items() if name in takes]
    operator: Operator = module.build(schema, 1, 0, *given, **getattr(module, "EXAMPLE", {}))
    return operator


def selection_of(module: ModuleType, features: int) -> Selection:
    """The selection among so many features before a linear model, with the options of `EXAMPLE`."""
    inputs, names = range(features), [f"f{k}" for k in range(features)]
    learner = compile_model(linear_model.LinearRegression, 0, inputs, names, 1).learner
    example = getattr(module, "EXAMPLE", {})
    selection: Selection = module.build(learner, inputs, names, 1, **example)
    return selection
