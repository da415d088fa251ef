"""What a class, a score and a cluster look like where results go: by name, and not as a number."""

import json
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa

from monitoring.sinks import parquet, sql, store
from monitoring.sinks._lines import LinesEncoder
from monitoring.sinks._messages import encoded
from monitoring.sinks._sql_server import tables
from serving.api.devices import PredictionModel
from serving.cli import main
from stream_processor.pipeline import Pipeline
from streamgauge import database
from streamgauge.output import Output
from tests.kinds import live, loaded, rows, table
from tests.payloads import checked
from tests.services.influxdb import InfluxDB1, influxdb_1
from tests.services.postgresql import postgresql

CONFIG = """
[channels.nswprice]
[channels.nswdemand]
[tasks.trend]
kind = "classification"
classes = ["DOWN", "UP"]
ready_after = 5
before_ready = "none"
model = ["naive_bayes.GaussianNB"]
label = { from = "topic:labels", match = { time_within = "1s" } }
[tasks.strange]
kind = "anomaly"
ready_after = 0
model = ["preprocessing.StandardScaler", "anomaly.OneClassSVM"]
[tasks.mode]
kind = "clustering"
ready_after = 0
model = ["preprocessing.StandardScaler", "cluster.KMeans"]
[tasks.price]
kind = "forecast"
target = "nswprice"
horizons = ["30m"]
model = ["preprocessing.StandardScaler", "linear_model.LinearRegression"]
"""
DELAY = 10
ROWS = 60


class Ran:
    """A pipeline that took the beginning of elec2, its outputs and the table of its results."""

    def __init__(self) -> None:
        self.made: Pipeline = loaded(CONFIG)
        self.outputs: list[Output] = live(self.made, rows("elec2", ROWS), "label", DELAY)
        found = table(self.made, self.outputs)
        self.table = found.set_index("id").to_dict("index")
        self.lanes = self.made.walk.stages.lanes


@pytest.fixture(scope="module")
def ran() -> Ran:
    """One run for all tests of this file."""
    return Ran()


def chances(text: Any) -> dict[str, float]:
    """Probabilities of the table."""
    found: dict[str, float] = {} if pd.isna(text) else json.loads(text)
    return found


def said(value: Any) -> str | None:
    """A word of the table, or none."""
    return None if pd.isna(value) else str(value)


def ends(row: Mapping[Any, Any]) -> list[Any]:
    """Lower and upper end of the interval around a number, None where there is none."""
    known = [row.get(name) for name in ("lower", "upper")]
    return [None if one is None or pd.isna(one) else pytest.approx(one, rel=1e-12) for one in known]


def test_some_numbers_have_an_interval(ran: Ran) -> None:
    """Else nothing below would be told of intervals."""
    prices = [one for one in ran.table.values() if one["task"] == "price"]
    assert sum(ends(one) != [None, None] for one in prices) > ROWS / 4
    assert all(ends(one) == [None, None] for one in ran.table.values() if one not in prices)


def test_messages_name_them(ran: Ran) -> None:
    """What MQTT, Kafka and the live stream carry, by its schema; an outcome repeats the answer."""
    told = [(kind, checked(data)) for one in ran.outputs for kind, *_, data in encoded(one)]
    kinds = {"trend": set[str](), "strange": set[str](), "mode": set[str](), "price": set[str]()}
    for kind, data in told:
        if kind == "event":
            continue
        kinds[data["task"]].add(kind)
        expected = ran.table[data["id"]]
        if data["task"] == "trend":
            assert data["predicted_class"] == said(expected["prediction"])
            assert data["probabilities"] == chances(expected["probabilities"])
            assert (kind == "outcome") == ("label_class" in data)
            if kind == "outcome":
                assert data["label_class"] == said(expected["label"])
        elif data["task"] == "strange":
            assert data["score"] == data["prediction"] == expected["score"]
        elif data["task"] == "mode":
            assert data["distance"] == expected["score"]
        else:
            assert not data.keys() & {"predicted_class", "probabilities", "score", "distance"}
        assert [data.get("lower"), data.get("upper")] == ends(expected)
    labelled = {task for task, found in kinds.items() if "outcome" in found}
    assert labelled == {"trend", "price"}
    fresh = [data for kind, data in told if kind == "event"]
    assert {one["kind"] for one in fresh} == {"new_cluster"}


def in_one(outputs: Sequence[Output]) -> list[Output]:
    """The records of all these outputs as one: predictions and outcomes in turns."""
    every = [one.predictions for one in outputs]
    columns: dict[str, Any] = {
        name: np.concatenate([getattr(one, name) for one in every])
        for name in ("codes", "numbers", "parts")
    }
    return [replace(outputs[-1], predictions=replace(every[-1], **columns))]


@pytest.mark.parametrize("pieces", [list, in_one])
def test_the_history_keeps_them(
    pieces: Callable[[Sequence[Output]], list[Output]], ran: Ran, tmp_path: Path
) -> None:
    """By name, in a file that is opened again, in whatever pieces they came; the API takes them as
    they are."""
    kept = store.open(ran.lanes, "market", tmp_path, lambda: 10**15)
    for output in pieces(ran.outputs):
        kept.write(output)
    assert kept.flush(20)
    kept.close()
    kept = store.open(ran.lanes, "market", tmp_path, lambda: 10**15)
    try:
        for task in ("trend", "strange", "mode", "price"):
            found = kept.predictions("nsw", task, None, 1_000)
            assert len(found) == ROWS
            for one in found:
                expected = ran.table[one["id"]]
                view = PredictionModel.model_validate({"task": task, **one})
                assert [view.lower, view.upper] == ends(expected)
                if task == "trend":
                    assert view.predicted_class == said(expected["prediction"])
                    assert view.probabilities == chances(expected["probabilities"])
                    assert view.label_class == said(expected["label"])
                elif task == "strange":
                    assert view.score == expected["score"]
                elif task == "mode":
                    assert view.distance == expected["score"]
                else:
                    assert "predicted_class" not in one
    finally:
        kept.close()


def test_a_history_of_before_is_taken_over(ran: Ran, tmp_path: Path) -> None:
    """A file without this table, and without these scores, gets them."""
    import duckdb

    store.open(ran.lanes, "market", tmp_path, lambda: 10**15).close()
    with duckdb.connect(str(tmp_path / store.FILE)) as file:
        file.execute("drop table answers")
        file.execute("alter table scores drop column kappa")
        file.execute("alter table predictions drop column half")
    kept = store.open(ran.lanes, "market", tmp_path, lambda: 10**15)
    try:
        for output in ran.outputs:
            kept.write(output)
        assert kept.flush(20)
        assert kept.predictions("nsw", "trend", None, 1)[0]["predicted_class"] is not None
    finally:
        kept.close()


@pytest.fixture(scope="module")
def databases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[tuple[str, str]]]:
    """Addresses and passwords of an SQLite file and of a PostgreSQL."""
    file = tmp_path_factory.mktemp("sqlite") / "results.db"
    with postgresql() as server:
        yield [(f"sqlite:///{file}", ""), (server.url, server.password)]


def test_sql_has_columns_for_them(
    ran: Ran, databases: list[tuple[str, str]], tmp_path: Path
) -> None:
    """One row per prediction, with its words, also in tables that an earlier version made."""
    for url, password in databases:
        engine = database.engine(url, password)
        older = tables("streamgauge_")
        newer = {"predicted_class", "label_class", "probabilities", "distance", "kappa", "accuracy"}
        newer |= {"lower", "upper", "interval_width"}
        with engine.begin() as connection:
            for one in older.values():
                one.create(connection)
                for name in newer & set(one.columns.keys()):
                    connection.execute(sa.text(f"alter table {one.name} drop column {name}"))
        sink = sql.open(ran.lanes, "market", tmp_path, lambda: 10**15, url=url, password=password)
        for output in ran.outputs:
            sink.write(output)
        assert sink.flush(60), sink.state()
        sink.close()
        chosen = tables("streamgauge_")["predictions"]
        with engine.connect() as connection:
            found = [row._mapping for row in connection.execute(sa.select(chosen))]
        assert len(found) == 4 * ROWS
        for one in found:
            expected = ran.table[one["id"]]
            assert [one["lower"], one["upper"]] == ends(expected)
            if one["task"] == "trend":
                assert one["predicted_class"] == said(expected["prediction"])
                assert one["label_class"] == said(expected["label"])
                assert chances(one["probabilities"]) == chances(expected["probabilities"])
            elif one["task"] == "mode":
                assert one["distance"] == pytest.approx(expected["score"], rel=1e-12)
            else:
                assert one["predicted_class"] is one["distance"] is None


def test_parquet_has_columns_for_them(ran: Ran, tmp_path: Path) -> None:
    """Class names, probabilities by name, distances and intervals, in predictions and outcomes."""
    sink = parquet.open(
        ran.lanes, "market", tmp_path / "state", lambda: 10**15, path=tmp_path / "files"
    )
    sink.resume(0)
    for output in ran.outputs:
        sink.write(output)
    sink.close()
    found = {
        name: duckdb.read_parquet(f"{tmp_path}/files/{name}/*/*.parquet").df().to_dict("records")
        for name in ("predictions", "outcomes")
    }
    assert len(found["predictions"]) == 4 * ROWS
    assert {one["task"] for one in found["outcomes"]} == {"trend", "price"}
    for name, one in [(name, one) for name, told in found.items() for one in told]:
        expected = ran.table[one["id"]]
        interval = [None if pd.isna(one[end]) else one[end] for end in ("lower", "upper")]
        assert interval == ends(expected)
        if one["task"] == "trend":
            assert said(one["predicted_class"]) == said(expected["prediction"])
            if name == "predictions":
                assert one["probabilities"] == chances(expected["probabilities"])
            else:
                assert said(one["label_class"]) == said(expected["label"])
        elif one["task"] == "mode":
            assert one["distance"] == pytest.approx(expected["score"], rel=1e-12)
        else:
            assert said(one["predicted_class"]) is None
            assert pd.isna(one["distance"])


def test_influxdb_has_fields_for_them(ran: Ran, tmp_path: Path) -> None:
    """Class names as text, each probability and the distance as numbers, at the points' times."""
    with influxdb_1(tmp_path) as server:
        server.does("CREATE DATABASE plant")
        lines = LinesEncoder("market", per_device=True).encode(ran.outputs)
        # What it takes without being told is nanoseconds.
        server.write(lines.part(0, len(lines)).decode().replace("\n", "000\n"))
        found = {task: points(server, task) for task in ("trend", "mode", "strange", "price")}
        clusters = points(server, "mode", "iot_cluster")
    for one in ran.table.values():
        point = found[one["task"]].get(one["made_at"].timestamp(), {})
        assert [point.get("lower"), point.get("upper")] == ends(one)
        if one["task"] == "trend":
            assert point.get("class") == said(one["prediction"])
            assert point.get("label_class") == said(one["label"])
            ours = {name: point.get(f"p_{name}") for name in chances(one["probabilities"])}
            assert ours == pytest.approx(chances(one["probabilities"]))
        elif one["task"] == "mode":
            assert point["distance"] == pytest.approx(one["score"], rel=1e-12)
        else:
            assert not point.keys() & {"class", "distance"}
    assert {len(of) for of in found.values()} == {ROWS}
    events = [event for output in ran.outputs for event in output.events]
    assert {(time, one["after"]) for time, one in clusters.items()} == {
        (event.time / 1e6, event.after) for event in events
    }
    assert clusters


def points(
    server: InfluxDB1, task: str, measurement: str = "iot_prediction"
) -> dict[float, dict[str, Any]]:
    """The fields of a task's points that are there, by time in seconds."""
    asked = f"select * from {measurement} where task = '{task}'"
    query = urllib.parse.urlencode({"db": "plant", "q": asked, "epoch": "ms"})
    with urllib.request.urlopen(f"{server.url}/query?{query}", timeout=10) as answer:
        [series] = json.load(answer)["results"][0]["series"]
    rows = (dict(zip(series["columns"], row, strict=True)) for row in series["values"])
    return {
        row["time"] / 1000: {key: value for key, value in row.items() if value is not None}
        for row in rows
    }


def test_replay_writes_and_shows_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Classes beside numbers in CSV and Parquet; each kind's own scores in the report."""
    monkeypatch.setenv("COLUMNS", "200")
    config = CONFIG.replace(
        'label = { from = "topic:labels", match = { time_within = "1s" } }',
        'label = { from = "column:label" }',
    )
    (tmp_path / "pipeline.toml").write_text(config)
    rows("elec2", 80).to_csv(tmp_path / "elec2.csv", index=False)
    found = {}
    for name in ("out.csv", "out.parquet"):
        arguments = ["replay", tmp_path / "pipeline.toml", tmp_path / "elec2.csv", "--output"]
        assert main([*map(str, arguments), str(tmp_path / name)]) == 0
        read = pd.read_csv if name.endswith("csv") else pd.read_parquet
        found[name] = read(tmp_path / name)
    for one in found.values():
        assert set(one[one["task"] == "trend"]["prediction"].dropna()) == {"UP", "DOWN"}
        price = one[one["task"] == "price"]["prediction"].dropna().astype(float)
        assert len(price) > 50
    shown = capsys.readouterr().out
    for heading in ("balanced", "kappa", "last class: accuracy", "ROC AUC", "last value: MAE"):
        assert heading in shown
