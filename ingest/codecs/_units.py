"""Values in another unit than their channel's: converted by a factor and an offset, found once."""

import math
import re
from collections.abc import Mapping
from fractions import Fraction
from functools import cache
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamgauge.arrays import Floats
from streamgauge.schema import Kind, Schema
from streamgauge.words import Flag

__all__ = ["Linear", "Units", "convert", "is_unit", "linear"]

Linear = tuple[float, float]
"""Factor and offset: value in the channel's unit = value x factor + offset."""

REMEMBERED = 1_000
"""Pairs of units remembered before all are found anew: strangers write them."""
_UNIT = re.compile(r"1?(?:[ */·.]*[^\W\d_]{1,12}(?:_[^\W\d_]+)?(?:[²³]|(?:\^|\*\*)?-?[1-9])?){1,4}")
_POWER = re.compile(r"([^\W\d_])(-?[1-9])(?=$|[ */·.])")
_LONGEST = 32
_ALSO = {"C": "degC", "F": "degF"}
"""What thermometers call their unit, to physics a charge and a capacity."""
_NAMES = {
    "Cel": "degC", "Celsius": "degC", "℃": "degC", "Fahrenheit": "degF", "℉": "degF",
    "°": "degree", "Ohm": "ohm",
    "%": "percent", "%RH": "percent", "%EL": "percent", "/100": "percent", "/1000": "permille",
    "/": "dimensionless", "EL": "dimensionless", "lat": "degree", "lon": "degree",
    "beats": "count", "beat/min": "count/minute", "bpm": "count/minute",
    "vars": "var*s", "varh": "var*h", "kvarh": "kvar*h", "VAs": "VA*s", "VAh": "VA*h",
    "kVAh": "kVA*h",
}  # fmt: skip
"""Units of SenML (RFC 8428 and 8798) and of everyday life that pint calls otherwise."""


class Units:
    """Brings values to their channels' units.

    `declared` names, by channel, the unit that the devices use where a message does not say. Raises
    ValueError where that cannot be converted to the channel's own.
    """

    def __init__(self, schema: Schema, declared: Mapping[str, str]) -> None:
        self._units = [channel.unit for channel in schema.channels]
        self._found: dict[tuple[int, str], Linear | None] = {}
        self.declared: dict[int, Linear] = {}
        """Column → its conversion, where the declared unit is not the channel's own."""
        for name, unit in declared.items():
            column = schema.index.get(name)
            if column is None:
                known = ", ".join(schema.names)
                raise ValueError(
                    f"units names a channel {name!r} that is not there; known: {known}"
                )
            if schema.channels[column].kind is not Kind.NUMBER or not self._units[column]:
                raise ValueError(
                    f"units: channel {name!r} has no unit to convert {unit!r} to; give it one: "
                    f'[channels.{name}] unit = "..."'
                )
            found = linear(unit, self._units[column])
            if found is None:
                raise ValueError(
                    f"units: {unit!r} cannot be converted to {self._units[column]!r}, the unit of "
                    f"channel {name!r}; use names that pint knows, such as degC, hPa or m/s"
                )
            if found != (1.0, 0.0):
                self.declared[column] = found

    def convert(self, column: int, value: float, unit: str) -> tuple[float, int]:
        """A channel's value that was measured in `unit`, and its flag; "" is the declared unit."""
        if value != value:  # absent in any unit
            return value, 0
        if not unit:
            found: Linear | None = self.declared.get(column, (1.0, 0.0))
        elif not self._units[column]:
            return value, 0
        else:
            found = self._linear(column, unit)
        if found is None:
            return math.nan, Flag.UNIT
        converted = value * found[0] + found[1]
        return (converted, 0) if math.isfinite(converted) else (math.nan, Flag.NON_FINITE)

    def _linear(self, column: int, unit: str) -> Linear | None:
        if unit == self._units[column]:
            return 1.0, 0.0
        if len(unit) > _LONGEST:
            return None
        if (column, unit) not in self._found:
            if len(self._found) >= REMEMBERED:
                self._found.clear()
            self._found[column, unit] = linear(unit, self._units[column])
        return self._found[column, unit]


def convert(values: Floats, flags: NDArray[np.uint16], conversion: Linear) -> None:
    """float64[n], uint16[n]: bring a column to its channel's unit, in place; as value by value."""
    factor, offset = conversion
    with np.errstate(over="ignore"):
        values *= factor
        values += offset
    beyond = np.isinf(values)
    values[beyond], flags[beyond] = math.nan, int(Flag.NON_FINITE)


def linear(source: str, target: str) -> Linear | None:
    """How values in one unit become values in another; None where they cannot, or not by a factor
    and an offset."""
    return (1.0, 0.0) if source == target else _found(source, target)


def is_unit(name: str) -> bool:
    """Whether values in other units can be brought to this one."""
    return _found(name, name) is not None


def _found(source: str, target: str) -> Linear | None:
    for one, other in product(_spellings(source), _spellings(target)):
        try:
            found = _resolved(one, other)
        except Exception:  # noqa: BLE001, S112  # pint raises whatever its tokens lead it to
            continue
        if found is not None:
            return found
    return None


def _resolved(source: str, target: str) -> Linear | None:
    registry = _registry()
    one, other = registry.parse_units(source), registry.parse_units(target)
    if _dimensions(registry, one) != _dimensions(registry, other):
        return None
    at = [registry.Quantity(Fraction(x), one).to(other).magnitude for x in (0, 1)]
    return float(at[1] - at[0]), float(at[0])


def _dimensions(registry: Any, unit: Any) -> dict[str, Any]:
    # Angles and turns are numbers to pint, so that 60 rpm would be 6.28 Hz.
    roots = dict(registry.get_root_units(unit)[1]._units)  # noqa: SLF001  # unit_items refuses dB
    roots.pop("count", None)
    return roots


def _spellings(unit: str) -> list[str]:
    """What a unit may be called in pint, the likeliest first; [] for what is no unit at all.

    pint computes what it reads: the text 2**9**9 keeps it busy for seconds.
    """
    name = unit.strip()
    if name in _NAMES:
        return [_NAMES[name]]
    if len(name) > _LONGEST or not _UNIT.fullmatch(name.replace("°", "").replace("%", "percent")):
        return []
    spelled = _POWER.sub(r"\1**\2", name).replace("·", "*").replace("%", "percent")
    return [spelled, _ALSO[name]] if name in _ALSO else [spelled]


@cache
def _registry() -> Any:
    """pint's units with exact factors, and some that sensors use; made when first needed."""
    import pint

    registry: Any = pint.UnitRegistry(non_int_type=Fraction)
    registry.define("parts_per_billion = 1/1000000000 = ppb")
    registry.define("parts_per_trillion = 1/1000000000000 = ppt")
    registry.define("volt_ampere_reactive = volt * ampere = var")
    return registry
