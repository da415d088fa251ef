"""Units: what is converted and how, what does not fit, and that no text of a message can hurt."""

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.codecs._by_message import by_message
from ingest.codecs._reading import Reading
from ingest.codecs._units import REMEMBERED, Units, is_unit, linear
from ingest.codecs.json import build
from ingest.rejects import Rejects
from streamgauge.batch import Batch
from streamgauge.delivery import Delivery
from streamgauge.devices import Devices
from streamgauge.schema import Channel, Kind, Schema
from streamgauge.words import Flag

SCHEMA = Schema(
    [
        Channel("t", unit="°C"),
        Channel("p", unit="hPa"),
        Channel("bare"),
        Channel("on", kind=Kind.BOOLEAN),
    ]
)


@pytest.mark.parametrize(
    ("source", "target", "value", "wanted"),
    [
        ("Cel", "degC", 21.5, 21.5), ("°F", "°C", 212.0, 100.0), ("F", "C", 32.0, 0.0),
        ("K", "°C", 273.15, 0.0), ("℉", "℃", 212.0, 100.0),
        ("C", "degF", 100.0, 212.0), ("%RH", "%", 41.0, 41.0),
        ("/", "%", 0.5, 50.0), ("m3/h", "l/min", 6.0, 100.0), ("µg/m³", "mg/m3", 5.0, 0.005),
        ("W/m2", "kW/m^2", 900.0, 0.9), ("lx", "lux", 7.0, 7.0), ("ppb", "ppm", 400.0, 0.4),
        ("kvar", "VA", 2.0, 2000.0), ("beat/min", "1/s", 60.0, 1.0),
        ("inHg", "hPa", 1.0, 33.86388640341),
        ("Mbit/s", "kB/s", 8.0, 1000.0), ("NTU", "NTU", 3.0, 3.0),
        ("decibel", "dB", -70.0, -70.0),
    ],
)  # fmt: skip
def test_units_of_sensors(source: str, target: str, value: float, wanted: float) -> None:
    """SenML's names, the signs people write and those pint knows lead to the same quantity."""
    found = linear(source, target)
    assert found is not None
    assert math.isclose(value * found[0] + found[1], wanted, rel_tol=1e-12, abs_tol=1e-12)


@pytest.mark.parametrize("unit", ["dB", "dBm", "Np", "decade"])
def test_logarithmic_units(unit: str) -> None:
    """They are units, and nothing but themselves: no factor leads from decibels to a power."""
    assert is_unit(unit)
    assert linear(unit, unit) == (1.0, 0.0)
    assert linear(unit, "mW") is None


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("hPa", "degC"), ("NTU", "m"), ("dBm", "W"), ("rpm", "Hz"), ("", "m"), ("m", ""),
        ("2**9**9**9", "m"), ("m**99", "m"), ("9" * 30, "m"), ("__import__('os')", "m"),
        ("(((((", "m"), ("m" * 10**6, "m"), ("m//s", "pH"), ("-", "m"), ("²", "m"),
    ],
)  # fmt: skip
def test_units_that_do_not_fit(source: str, target: str) -> None:
    """Another dimension, no linear way, or no unit at all: there is no conversion."""
    assert linear(source, target) is None


@settings(deadline=None, max_examples=300)
@given(st.one_of(st.text(max_size=40), st.from_regex(r"[a-zA-Z°µ%0-9/*^.()·² -]{0,40}")))
def test_any_text_for_a_unit(text: str) -> None:
    """Whatever a message calls its unit, it is one or it is not."""
    units = Units(SCHEMA, {})
    value, flag = units.convert(0, 1.0, text)
    assert math.isfinite(value) == (flag == 0)
    assert len(units._found) <= 1


def test_strangers_fill_no_memory() -> None:
    """However many names for units come, a bounded number is remembered."""
    units = Units(SCHEMA, {})
    for k in range(REMEMBERED + 5):
        assert units.convert(0, 1.0, f"x{chr(0x100 + k)}")[1] == Flag.UNIT
    assert len(units._found) <= REMEMBERED


def test_a_message_names_its_units() -> None:
    """A value comes in its channel's unit; one that cannot is absent, flagged and counted."""
    reading = Reading(
        {"t": 68, "p": 5, "bare": 7, "on": True},
        "a",
        units={"t": "degF", "p": "m", "bare": "furlong", "on": "V"},
    )
    codec = by_message(
        lambda message: [reading], SCHEMA, Devices(2), device="", time="", zone="UTC"
    )
    batch, rejects = Batch(1, 4), Rejects()
    codec.decode(Delivery(0, [b"x"], ["t"], [5]), batch, rejects)
    assert np.allclose(batch.values[0], [20.0, np.nan, 7.0, 1.0], equal_nan=True)
    assert batch.flags[0].tolist() == [0, Flag.UNIT, 0, 0]
    assert rejects.counts == {"unit_mismatch": 1}
    assert "'p'" in rejects.newest[0].detail


def test_declared_units_give_the_same_fast_and_slowly() -> None:
    """Alone, among others and at the second look, JSON values are converted to the same bits."""
    numbers = [68, -40.5, 1e308, 1.7e308, None, 451.123456789, 0]
    messages = [{"device": "a", "time": k, "t": x, "p": x} for k, x in enumerate(numbers)]

    def decoded(some: list[dict[str, Any]]) -> list[Any]:
        codec = build(SCHEMA, Devices(2), units={"t": "degF", "p": "kPa"})
        batch, n = Batch(1, 4), len(some)
        payloads = [json.dumps(one).encode() for one in some]
        codec.decode(Delivery(0, payloads, ["t"] * n, [5] * n), batch, Rejects())
        assert batch.n == n
        return [repr((batch.values[k, :2].tolist(), batch.flags[k, :2].tolist())) for k in range(n)]

    together = decoded(messages)
    assert together[0] == repr(([68 * (5 / 9) + -160 / 9, 680.0], [0, 0]))
    assert [one for message in messages for one in decoded([message])] == together
    assert decoded([one | {"bare": "x"} for one in messages]) == together
    assert f"nan], [0, {int(Flag.NON_FINITE)}]" in together[3]


@pytest.mark.parametrize(
    ("units", "match"),
    [
        ({"x": "degC"}, "known: t, p, bare, on"), ({"bare": "degC"}, "no unit"),
        ({"on": "V"}, "no unit"), ({"t": "hPa"}, "cannot be converted"),
        ({"t": "furlongs"}, "pint knows"),
    ],
)  # fmt: skip
def test_declared_units_that_mean_nothing(units: dict[str, str], match: str) -> None:
    """A unit that cannot be converted is refused before anything runs."""
    with pytest.raises(ValueError, match=match):
        build(SCHEMA, Devices(1), units=units)
