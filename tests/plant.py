"""A real service between an InfluxDB and a Prometheus, with tasks of every kind, and traffic."""

import json
import re
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from httpx import Client

from serving.compose import Running
from stream_processor.settings import load_text
from tests.drifting import MINUTE, START, stream
from tests.grafana import BOARDS, Question, combinations, filled, span
from tests.services.influxdb import InfluxDB1, influxdb_1
from tests.services.ports import free_port, wait_for
from tests.services.prometheus import Prometheus, prometheus

__all__ = ["MINUTES", "ODD", "PART", "Plant", "planted"]

ODD = "pump (2)/a+b"
"""A device whose name means something else in a regular expression."""
MINUTES, CHANGE, PART = 7_000, 6_000, 500
QUIET = range(MINUTES - 100, MINUTES - 90)
"""Minutes in which one channel sends nothing."""
CONFIG = """
[stream]
name = "plant.1"
[state]
dir = "state"
[serve]
port = {port}
[devices]
limit = 10
silent_after = "90s"
[[source]]
use = "http"
time = "field:ts"
partial = true
[channels.heat]
range = [-50, 100]
[channels.flow]
silent_after = "3m"
[channels.running]
kind = "boolean"
[tasks.heat_soon]
kind = "forecast"
target = "heat"
horizons = ["10m", {{ readings = 1 }}]
model = ["preprocessing.StandardScaler", "linear_model.LinearRegression"]
[tasks.runs]
kind = "classification"
target = "running"
horizons = ["10m"]
model = ["preprocessing.StandardScaler", "linear_model.LogisticRegression"]
[tasks.strange]
kind = "anomaly"
ready_after = 100
model = ["preprocessing.MinMaxScaler", "anomaly.HalfSpaceTrees"]
label = {{ from = "http", match = {{ time_within = "10s" }} }}
[tasks.mode]
kind = "clustering"
ready_after = 100
model = ["preprocessing.StandardScaler", {{ use = "cluster.KMeans", halflife = 0.2 }}]
[drift]
alarms_per_day = 1000
[drift.actions]
level = {{ use = "restart", tasks = ["heat_soon"] }}
[[sink]]
use = "influxdb"
url = "{url}"
database = "plant"
"""


@dataclass
class Plant:
    """A service that two devices post to, with a clock of the test's own."""

    running: Running
    client: Client
    influx: InfluxDB1
    monitor: Prometheus
    hands: list[int]

    @property
    def now(self) -> int:
        """What its clock says, microseconds UTC."""
        return self.hands[0]

    def post(self, device: str, first: int, last: int) -> None:
        """Readings and labels of these minutes; the clock goes with them."""
        heat = 20.0 + 2.0 * stream("AR(1) .9", MINUTES, 1, change=CHANGE, shift=6.0)
        flow = stream("AR(1) .9", MINUTES, 2)
        times = [START // 10**6 + 60 * k for k in range(MINUTES)]
        self.hands[0] = times[last - 1] * 10**6 + MINUTE // 60
        rows = [
            {"device": device, "ts": times[k], "heat": 999.0 if k % 100 == 7 else heat[k],
             "flow": None if k in QUIET else flow[k], "running": bool(heat[k] > 20.0)}
            for k in range(first, last)
        ]  # fmt: skip
        self._send("/v1/readings", [*rows, {"device": device, "ts": "never"}])
        told = [
            {"device": device, "time": times[k], "label": bool(abs(flow[k]) > 2.0)}
            for k in range(first, last)
        ]
        self._send("/v1/labels", told)

    def _send(self, path: str, body: Any) -> None:
        answer = self.client.post(path, json=body)
        assert answer.status_code == 202, answer.text

    def settle(self) -> None:
        """Let a minute pass, and wait for its scores: they come behind all that was posted."""
        self.hands[0] += MINUTE
        newest = f'SELECT count("labels") FROM "iot_model" WHERE time >= {self.now}u'
        wait_for(lambda: self.ask(newest), 60.0, what="scores")

    def ask(self, query: str) -> list[dict[str, Any]]:
        """The rows that InfluxDB answers, of all series, by column."""
        asked = urllib.parse.urlencode({"db": "plant", "epoch": "ms", "q": query})
        try:
            with urllib.request.urlopen(f"{self.influx.url}/query?{asked}", timeout=60) as answer:
                (found,) = json.load(answer)["results"]
        except urllib.error.HTTPError as refused:
            pytest.fail(f"{query}: {refused.read().decode()}")
        assert "error" not in found, (query, found)
        return [
            dict(zip(series["columns"], row, strict=True))
            for series in found.get("series", [])
            for row in series["values"]
        ]

    def rows(self, question: Question, chosen: dict[str, str]) -> list[dict[str, Any]]:
        """What a question finds over all that was posted, with these values of the variables."""
        end = self.now // 1_000
        begin = end - question.back if question.back else START // 1_000
        text = filled(question.text, chosen | span(begin, end))
        if question.kind == "prometheus":
            return self.monitor.query(text)
        return self.ask(text)

    def found(self, question: Question, choices: list[dict[str, str]]) -> list[dict[str, Any]]:
        """What it finds with each of these choices, together."""
        return [row for chosen in choices for row in self.rows(question, chosen)]

    def lacking(self, question: Question, choices: list[dict[str, str]]) -> set[str]:
        """Columns in which a question finds nothing, whatever is chosen; "rows" where it finds no
        row at all."""
        found = self.found(question, choices)
        known = {name for row in found for name, value in row.items() if value is not None}
        return {name for row in found for name in row} - known if found else {"rows"}

    def choices(self, board: str) -> list[dict[str, str]]:
        """What a user may choose in a dashboard."""
        found: dict[str, Any] = {}
        for variable in BOARDS[board]["templating"]["list"]:
            known = {name: values[0] for name, (_, values) in found.items()}
            if variable["datasource"]["type"] == "influxdb":
                values = [row["value"] for row in self.ask(filled(variable["query"], known))]
            else:
                asked = re.fullmatch(r"label_values\((\w+), (\w+)\)", variable["query"]["query"])
                assert asked is not None
                values = self.monitor.label_values(asked[1], asked[2])
            assert values, (board, variable["name"])
            found[variable["name"]] = (variable, values)
        chosen: list[dict[str, str]] = combinations(found)
        return chosen


@contextmanager
def planted(folder: Path) -> Iterator[Plant]:
    """That service between a real InfluxDB and a real Prometheus, before anything is posted."""
    with influxdb_1(folder / "influxdb") as influx:
        influx.does("CREATE DATABASE plant")
        env = {"STREAMGAUGE_KEY_FILE": str(folder / "key")}
        text = CONFIG.format(port=free_port(), url=influx.url)
        settings = load_text(text, folder / "pipeline.toml", env)
        hands = [START]
        running = Running(settings, env, lambda: hands[0])
        url = running.server.url
        try:
            with prometheus(folder, url) as monitor, Client(base_url=url, timeout=60) as client:
                plant = Plant(running, client, influx, monitor, hands)
                running.start()
                wait_for(lambda: monitor.query("up == 1"), what="a scrape")
                yield plant
        finally:
            running.stop()
