"""Cleaners and features with the options of their `EXAMPLE`: what `list` measures and
`compile-kernels` compiles."""

import inspect
from types import ModuleType

from stream_processor.operator import Operator
from streamgauge.devices import Devices
from streamgauge.schema import Channel, Kind, Schema
from streamgauge.tags import Tags

__all__ = ["SCHEMA", "operator_of"]

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
