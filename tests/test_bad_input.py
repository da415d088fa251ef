"""Whatever a broker may bring: each has a counted, named outcome, and harms nobody else.

Real Mosquitto, real service, healthy stations among the dirt.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pandas as pd
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from stream_processor.pipeline import Pipeline
from tests.services.mosquitto import Mosquitto, mosquitto
from tests.services.ports import wait_for
from tests.services.service import Service, service

STREAM = """
[stream]
name = "plant"
[devices]
limit = 8
[[source]]
use = "mqtt"
url = "{url}"
topics = ["plant/#"]
device = "topic:1"
time = "field:time"
[channels.heat]
[channels.load]
range = [0, 100]
[channels.power]
range = [0, 500]
outside = "reject"
[features]
lags = {{ heat = [1] }}
rolling = [{{ of = ["load"], window = "10m", stats = ["mean", "std"] }}]
[tasks.ahead]
kind = "forecast"
target = "heat"
horizons = ["2m", {{ readings = 1 }}]
model = [
  "preprocessing.StandardScaler", "clip",
  {{ use = "linear_model.LinearRegression", clip_gradient = 1 }},
]
"""
HEALTHY = ("pump-1", "pump-2", "pump-3")
START = pd.Timestamp("2024-05-01T00:00:00Z")
MINUTES = 120
Message = tuple[str, bytes]
Outcome = tuple[str, str]
"""Metric and its label."""


def time_of(minute: float) -> str:
    """That minute as ISO text."""
    return (START + pd.Timedelta(minutes=minute)).isoformat()


def healthy(device: int, minute: int) -> dict[str, object]:
    """What a pump that is well says in that minute."""
    wave = (minute * (device + 3)) % 17
    return {"time": time_of(minute), "heat": 20.5 + wave, "load": 40 + wave / 3, "power": 3 * wave}


def reading(minute: float, **values: object) -> bytes:
    """A message of that minute."""
    return json.dumps({"time": time_of(minute)} | values).encode()


def raw(minute: float, text: str) -> bytes:
    """A message whose values are written as they stand."""
    return f'{{"time": "{time_of(minute)}", {text}}}'.encode()


def malformed() -> Iterator[tuple[Message, list[Outcome]]]:
    """What is no message at all."""
    named = [("rejected", "malformed")]
    deep = b"[" * 100_000 + b"]" * 100_000
    for payload in (
        b"", b"{", b"\xff\xfe\x00", b'"text"', b"5", b"null", b"{}}", b"[1, 2]", deep,
        b'{"heat": ' + deep + b"}",
    ):  # fmt: skip
        times = 2 if payload == b"[1, 2]" else 1
        yield ("plant/pump-1", payload), named * times
    yield ("plant/pump-1", b"[" + b"x" * 10_000_000 + b"]"), [("rejected", "too_large")]
    many = b"[" + b",".join([b"{}"] * 20_000) + b"]"
    yield ("plant/pump-1", many), [("rejected", "too_large")]


def nobody() -> Iterator[tuple[Message, list[Outcome]]]:
    """No device, or none that a fleet may have."""
    yield ("plant", reading(0, heat=1)), [("rejected", "topic_mismatch")]
    yield ("plant/" + "x" * 300, reading(0, heat=1)), [("rejected", "bad_device")]
    yield ("plant/a\u202eb", reading(0, heat=1)), [("rejected", "malformed")]
    yield ("plant/", reading(0, heat=1)), [("rejected", "bad_device")]


def never() -> Iterator[tuple[Message, list[Outcome]]]:
    """No time, or none that can be; on the topic of a pump that is well."""
    topic = "plant/pump-2"
    yield (topic, b'{"heat": 1}'), [("rejected", "no_time")]
    yield (topic, b'{"time": null, "heat": 1}'), [("rejected", "no_time")]
    for time in (b'"yesterday"', b"true", b"1e300", b"{}", b"-1e400", b'"' + b"9" * 5_000 + b'"'):
        yield (topic, b'{"time": ' + time + b', "heat": 1}'), [("rejected", "bad_time")]
    for time in (b'"2999-01-01T00:00:00Z"', b"32503680000000", b"99999999999"):
        yield (topic, b'{"time": ' + time + b', "heat": 1}'), [("readings", "future")]
    for time in (b"0", b"1", b'"1970-01-01T00:00:00Z"', b"-5"):
        yield (topic, b'{"time": ' + time + b', "heat": 1}'), [("readings", "clock_unset")]


def nothing() -> Iterator[tuple[Message, list[Outcome]]]:
    """No value that can be used; after the first minute, on the topic of a pump that is well."""
    empty = ("readings", "empty")
    bad = {
        '"heat": NaN': "non_finite",
        '"heat": Infinity': "non_finite",
        '"heat": -1e400': "non_finite",
        '"heat": 1e308': "extreme",
        '"heat": -1e308': "extreme",
        '"heat": "warm"': "wrong_type",
        '"heat": [1]': "wrong_type",
        '"heat": {"value": 1}': "wrong_type",
        '"heat": true': "wrong_type",
        '"load": 1e308': "extreme",
        '"load": -1': "out_of_range",
    }
    for text, flag in bad.items():
        yield ("plant/pump-3", raw(MINUTES + 1, text)), [empty, ("flags", flag)]
    for text in ('"heat": null', '"unknown": 5', '"heat": null, "load": null'):
        yield ("plant/pump-3", raw(MINUTES + 1, text)), [empty]
    refused = [("readings", "out_of_range"), ("flags", "out_of_range")]
    yield ("plant/pump-3", raw(MINUTES + 1, '"heat": 5, "power": 501')), refused
    yield ("plant/pump-1", reading(0.5 - MINUTES, heat=-5)), [("readings", "late")]


def odd() -> Iterator[tuple[Message, list[Outcome]]]:
    """Unusual, but good: clocks in milliseconds, arrays, numbers as text, names full of markup."""
    fine = ("readings", "admitted")
    milliseconds = int(START.timestamp() * 1000)
    clock = f'{{"time": {milliseconds}, "heat": 1.5}}'.encode()
    yield ("plant/odd-1", clock), [fine]
    array = json.dumps([{"time": time_of(k), "heat": k} for k in range(3)]).encode()
    yield ("plant/odd-2", array), [fine] * 3
    yield ("plant/odd-2", raw(5, '"heat": " 12.5 "')), [fine]
    yield ("plant/odd-2", raw(6, '"heat": NaN, "load": 5')), [fine, ("flags", "non_finite")]
    yield ("plant/odd-2", raw(7, '"heat": 1e308, "load": 5')), [fine, ("flags", "extreme")]
    yield ("plant/<b onclick=x>", reading(0, heat=1)), [fine]


def too_many() -> Iterator[tuple[Message, list[Outcome]]]:
    """More devices than the limit of eight: three are well, three odd; two more come in."""
    for k in range(40):
        outcome = ("readings", "admitted") if k < 2 else ("rejected", "device_limit")
        yield (f"plant/stranger-{k}", reading(0, heat=1)), [outcome]


def dirt() -> list[tuple[Message, list[Outcome]]]:
    """All of it."""
    return [*malformed(), *nobody(), *never(), *nothing(), *odd(), *too_many()]


def counted(running: Service) -> Counter[Outcome]:
    """Every outcome that /metrics counts."""
    found: Counter[Outcome] = Counter()
    for name, value in running.metrics().items():
        for kind in ("rejected", "readings", "flags"):
            if name.startswith(f"streamgauge_{kind}_total{{") and value:
                found[kind, name.partition("{")[2][:-1]] = int(value)
    return found


def arrived(outcomes: Counter[Outcome]) -> int:
    """Messages' parts that came to an end."""
    return sum(number for (kind, _), number in outcomes.items() if kind != "flags")


class Publisher:
    """Publishes in order with QoS 1 and waits until the broker has it."""

    def __init__(self, broker: Mosquitto) -> None:
        self.client = Client(CallbackAPIVersion.VERSION2)
        self.client.connect("127.0.0.1", broker.port)
        self.client.loop_start()

    def send(self, messages: list[Message]) -> None:
        """Hand these to the broker."""
        for info in [self.client.publish(*message, qos=1) for message in messages]:
            info.wait_for_publish(30)

    def close(self) -> None:
        """Hang up."""
        self.client.disconnect()
        self.client.loop_stop()


def minute(k: int) -> list[Message]:
    """What the pumps that are well say in that minute."""
    return [
        (f"plant/{name}", json.dumps(healthy(device, k)).encode())
        for device, name in enumerate(HEALTHY)
    ]


def without_dirt(folder: Path, minutes: int) -> tuple[Pipeline, pd.DataFrame]:
    """The pumps that are well, alone, from a recording."""
    path = folder / "clean.toml"
    path.write_text(STREAM.format(url="mqtt://localhost:1"), encoding="utf-8")
    rows = [
        {"device": name} | healthy(device, k)
        for k in range(minutes)
        for device, name in enumerate(HEALTHY)
    ]
    pipeline = Pipeline.from_toml(path)
    return pipeline, pipeline.replay(pd.DataFrame(rows))


def assert_unharmed(running: Service, alone: tuple[Pipeline, pd.DataFrame]) -> None:
    """Every prediction, label and score of the pumps that are well is as without the dirt."""
    pipeline, table = alone
    for name in HEALTHY:
        wanted = table[table.device == name].set_index("id")
        ask = partial(running.get, f"/v1/devices/{name}/predictions?history=1000")
        wait_for(partial(has_history, ask, len(wanted)), what=f"the history of {name}")
        said = {item["id"]: item for item in ask()["history"]}
        assert set(said) == set(wanted.index)
        for key, row in wanted.iterrows():
            assert said[str(key)]["prediction"] == row.prediction, key
        labelled = wanted[wanted.status == "labelled"]
        assert len(labelled) > 200
        [first, second] = running.get(f"/v1/tasks/ahead/scores?device={name}")["items"]
        board = pipeline.board.scores("ahead", name)
        assert [first["scores"], second["scores"]] == [one.scores for one in board]


def has_history(ask: Callable[[], Any], number: int) -> bool:
    """Whether so many predictions are stored."""
    return len(ask()["history"]) >= number


def test_bad_input_is_counted_by_name_and_harms_nobody(tmp_path: Path) -> None:
    """Each bad message ends as named, the service stays ready, the healthy are untouched, the
    broker may come and go, and memory stays what it was."""
    bad = dirt()
    expected = Counter(outcome for _, outcomes in bad for outcome in outcomes)
    with (
        mosquitto(tmp_path / "broker", persistence=True) as broker,
        service(tmp_path / "service", STREAM.format(url=broker.url)) as running,
    ):
        publisher = Publisher(broker)
        publisher.send(minute(0))
        expected["readings", "admitted"] += 3
        running.wait_admitted(3)
        before = running.metrics()["streamgauge_process_resident_memory_bytes"]
        again = [
            (topic, payload.replace(b'"heat": ', b'"heat": 9')) for topic, payload in minute(0)
        ]
        publisher.send(again)
        expected["readings", "duplicate"] += 3
        for k in range(1, MINUTES):
            publisher.send(minute(k) + [message for message, _ in bad[k - 1 :: MINUTES - 1]])
            expected["readings", "admitted"] += 3
        wait_for(lambda: arrived(counted(running)) >= arrived(expected), what="all of it")
        assert counted(running) == expected
        assert running.ready
        assert_unharmed(running, without_dirt(tmp_path, MINUTES))
        assert_told(running, expected)
        assert running.metrics()["streamgauge_devices"] == 8

        publisher.close()
        broker.restart()
        wait_for(lambda: running.ready, 30.0, what="the broker's return")
        publisher = Publisher(broker)
        for k in range(MINUTES, MINUTES + 5):
            publisher.send(minute(k))
        running.wait_admitted(expected["readings", "admitted"] + 15)
        assert_unharmed(running, without_dirt(tmp_path, MINUTES + 5))

        flood = [("plant/pump-1", b"[" + b"y" * 10_000_000)] * 20
        publisher.send(flood + [("plant/pump-1", b"{" * 1_000)] * 3_000)
        malformed_now = ("rejected", "malformed")
        wait_for(
            lambda: counted(running)[malformed_now] >= expected[malformed_now] + 3_000, 30.0,
            what="the flood",
        )  # fmt: skip
        grown = running.metrics()["streamgauge_process_resident_memory_bytes"] - before
        assert grown < 150e6
        assert running.ready
        publisher.close()
        code, _ = running.stop()
        assert (code, running.errors) == (0, "")


def _kept(running: Service, path: str, count: int) -> bool:
    found = running.get(path)
    return len(found["items"]) + len(found["outside"]) == count


def assert_told(running: Service, expected: Counter[Outcome]) -> None:
    """/v1/quarantine has each message that was refused, in the log or before it; the odd device
    is served by name."""
    for kind, reason in expected:
        if kind == "rejected":
            path = f"/v1/quarantine?reason={reason}&limit=1000"
            wait_for(partial(_kept, running, path, expected[kind, reason]), what=reason)
            found = running.get(path)
            items = found["items"] + found["outside"]
            assert all(item["detail"] for item in items)
            assert max(len(item["payload"]) for item in items) <= 4 * 4_096
    markup = "<b onclick=x>"
    assert running.get(f"/v1/devices/{quote(markup, safe='')}")["id"] == markup


def test_a_flood_of_devices_stays_within_the_limit(tmp_path: Path) -> None:
    """Ten thousand strangers: eight are known, the others counted, and metrics name none."""
    with (
        mosquitto(tmp_path / "broker") as broker,
        service(tmp_path / "service", STREAM.format(url=broker.url)) as running,
    ):
        publisher = Publisher(broker)
        publisher.send([(f"plant/stranger-{k}", reading(0, heat=1)) for k in range(10_000)])
        limited = ("rejected", "device_limit")
        wait_for(lambda: counted(running)[limited] == 9_992, 30.0, what="all strangers")
        assert running.admitted == 8
        assert "stranger" not in running.text("/metrics")
        assert len(running.get("/v1/devices?limit=1000")["items"]) == 8
        publisher.close()
