"""`streamgauge init`: what it writes passes `check`, and a service that runs it learns."""

import io
import json
import re
import sqlite3
import threading
import tomllib
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pandas as pd
import pytest
import sqlalchemy as sa
from kafka import KafkaProducer

from ingest.sources.simulator import Fleet, publish
from serving.check import check
from serving.init import init
from serving.run import clock
from serving.starter.decoded import decoded
from serving.starter.guess import Guess, guess
from serving.starter.seen import Sample
from serving.starter.write import Draft, written
from stream_processor.pipeline import Pipeline
from streamgauge import database, plugins
from streamgauge.schema import Kind
from tests.contracts.golden import Golden, goldens
from tests.mqtt_traffic import publisher
from tests.recordings import recording
from tests.services.endpoint import Said, endpoint
from tests.services.influxdb import influxdb_1
from tests.services.kafka import new_topic, shared
from tests.services.mosquitto import mosquitto
from tests.services.ports import free_port, listening, wait_for
from tests.services.postgresql import PostgreSQL, postgresql
from tests.services.service import service

NOW = 1_772_366_400 * 10**6


def started(sources: Sequence[str], output: Path, seconds: float = 20.0) -> dict[str, Any]:
    """What `init` writes, as TOML; it passes `check`."""
    assert init(sources, output, seconds=seconds, clock=clock) == 0
    return passed(output)


def passed(output: Path) -> dict[str, Any]:
    """The file that `init` wrote, as TOML; it passes `check`."""
    said = io.StringIO()
    assert check(output, {"STREAMGAUGE_PASSWORD": "word"}, said) == 0, said.getvalue()
    return tomllib.loads(output.read_text(encoding="utf-8"))


def in_background(work: Callable[[], Any]) -> threading.Thread:
    """The work in a thread of its own."""
    thread = threading.Thread(target=work)
    thread.start()
    return thread


def test_a_fleet_on_a_broker(tmp_path: Path) -> None:
    """From messages of an unknown fleet to a service that has scores for its first forecast."""
    stop, output = threading.Event(), tmp_path / "first.toml"
    with mosquitto(tmp_path / "broker") as broker:
        fleet = Fleet(devices=5, interval=100_000, begin=clock())
        thread = in_background(lambda: publish(broker.url, fleet, stop, clock))

        def heard() -> bool:
            output.unlink(missing_ok=True)
            done = init([f"{broker.url}/pumps/#"], output, seconds=3.0, clock=clock) == 0
            text = output.read_text(encoding="utf-8") if done else ""
            return "5 devices: pump-001, pump-002" in text and "a reading each 100ms" in text

        try:
            # On a busy machine the fleet may not flow yet.
            wait_for(heard, 60.0, what="all pumps, each at its pace")
            found = passed(output)
            [source] = found["source"]
            assert (source["use"], source["codec"]) == ("mqtt", "json")
            assert (source["device"], source["time"]) == ("topic:1", "field:time")
            assert source["topics"] == ["pumps/#"]
            assert list(found["channels"]) == [
                "temperature", "pressure", "flow", "vibration", "power",
            ]  # fmt: skip
            text = output.read_text(encoding="utf-8")
            assert "a reading each 100ms per device" in text
            [task] = found["tasks"]
            with service(tmp_path / "service", text) as running:
                wait_for(
                    lambda: (
                        (running.get(f"/v1/tasks/{task}/scores")["items"] or [{}])[0]
                        .get("scores", {})
                        .get("labels")
                    ),
                    60.0,
                    what="a score",
                )
                assert len(running.get("/v1/devices")["items"]) == 5
        finally:
            stop.set()
            thread.join()


RECORDINGS = {
    "beijing_air": (8, "PM2.5"),
    "keti_rooms": (23, "co2"),
    "occupancy_detection": (1, "Temperature"),
    "appliances_energy": (1, "Appliances"),
    "nab": (1, "value"),
    "elec2": (1, ""),
    "tep": (1, ""),
    "cmapss_train": (1, ""),
    "intel_lab_30min": (50, ""),
    "steel_energy": (1, "Usage_kWh"),
}
"""Devices among the first rows at least, and the first target."""


@pytest.mark.parametrize("name", RECORDINGS)
def test_recordings(name: str, tmp_path: Path) -> None:
    """A start for each real recording: ground truth is no channel, and a replay predicts."""
    path = recording(f"{name}.csv.gz")
    found = started([str(path)], tmp_path / "pipeline.toml")
    devices, target = RECORDINGS[name]
    [task] = found["tasks"].values()
    assert target in ("", task["target"])
    assert not {"label", "split", "device", "time", "part"} & set(found["channels"])
    rows = pd.read_csv(path, nrows=2_000)
    predictions = Pipeline.from_toml(tmp_path / "pipeline.toml").replay(rows)
    assert (predictions.status == "labelled").mean() > 0.5
    assert f" of {devices} devices" in (tmp_path / "pipeline.toml").read_text() or devices == 1


STATIONS = [
    {"station": f"s{k % 3}", "at": f"2026-03-01T12:{k:02}:00Z", "temp_c": 20 + k / 7, "ok": True}
    for k in range(30)
]


def test_an_endpoint_with_rows(tmp_path: Path) -> None:
    """The path of the rows, the device, the time and a unit from a name."""
    with endpoint(lambda _: Said(json.dumps({"data": {"list": STATIONS}}).encode())) as server:
        found = started([f"{server.url}/now"], tmp_path / "p.toml", seconds=0.5)
    [source] = found["source"]
    assert (source["use"], source["rows"]) == ("poll", "$.data.list[*]")
    assert (source["device"], source["time"]) == ("field:station", "field:at")
    assert found["channels"]["temp_c"]["unit"] == "degC"
    assert found["channels"]["ok"] == {"kind": "boolean"}


def test_an_endpoint_with_columns(tmp_path: Path) -> None:
    """Weather as it usually comes: an array per quantity, and nothing that names a device."""
    hourly = {
        "time": [f"2026-03-01T{k:02}:00" for k in range(24)],
        "wind": [k / 3 for k in range(24)],
    }
    with endpoint(lambda _: Said(json.dumps({"lat": 1, "hourly": hourly}).encode())) as server:
        found = started([f"{server.url}/now?key=1"], tmp_path / "p.toml", seconds=0.5)
        [source] = found["source"]
        assert (source["columns"], source["constants"]) == ("$.hourly", {"device": "endpoint"})
        assert list(found["channels"]) == ["wind"]
        with service(tmp_path / "service", (tmp_path / "p.toml").read_text()) as running:
            running.wait_admitted(24)


def test_a_page(tmp_path: Path) -> None:
    """The largest table of a page, its columns named by their headings."""
    rows = "".join(f"<tr><td>n{k}</td><td>{k}.5 kW</td></tr>" for k in range(1, 6))
    page = f"<table><tr><th>Node</th><th>Power</th></tr>{rows}</table>"
    with endpoint(lambda _: Said(page.encode())) as server:
        found = started([server.url], tmp_path / "p.toml", seconds=0.5)
    [source] = found["source"]
    assert source["select"] == "table tr:has(td)"
    assert source["fields"] == {"Node": "td:nth-child(1)", "Power": "td:nth-child(2)"}
    assert (source["device"], source["time"]) == ("field:Node", "received")
    assert list(found["channels"]) == ["Power"]


def test_several_sources_feed_one_stream(tmp_path: Path) -> None:
    """Each `--from` is a table, their channels stand together."""
    file = tmp_path / "more.csv"
    file.write_text("id,ts,level\na,1772366400,1.5\na,1772366460,1.7\na,1772366520,1.9\n")
    with endpoint(lambda _: Said(json.dumps(STATIONS).encode())) as server:
        found = started([server.url, str(file)], tmp_path / "p.toml", seconds=0.5)
    assert [source["use"] for source in found["source"]] == ["poll", "file"]
    assert list(found["channels"]) == ["temp_c", "ok", "level"]
    assert found["source"][1]["device"] == "id"
    assert found["source"][1]["time"] == "ts"


def test_a_database(tmp_path: Path) -> None:
    """Table, device, time, and the column that grows; the file is relative to nothing."""
    path = tmp_path / "plant.db"
    with closing(sqlite3.connect(path)) as made:
        made.execute("create table r(id integer primary key, dev text, at text, temp_c real)")
        rows = [(f"p{k % 3}", f"2026-03-01T12:{k:02}:00Z", 20 + k / 7) for k in range(60)]
        made.executemany("insert into r(dev, at, temp_c) values(?, ?, ?)", rows)
        made.commit()
    found = started([f"sqlite:///{path}#r"], tmp_path / "p.toml")
    assert found["source"] == [
        {
            "use": "sql", "url": f"sqlite:///{path}", "table": "r", "time": "at", "device": "dev",
            "cursor": "id",
        }
    ]  # fmt: skip
    assert list(found["channels"]) == ["temp_c"]


@pytest.fixture(scope="module")
def server() -> Iterator[PostgreSQL]:
    """One PostgreSQL for the tests of this file."""
    with postgresql() as one:
        yield one


PUMPS = [
    (f"pump-{k % 4}", 1_772_366_400 + 60 * (k // 4), 20 + (k * 7 % 31) / 8, k % 5)
    for k in range(800)
]
"""Device, seconds, temperature and state: what the databases below are filled with."""


def learned(found: dict[str, Any], text: str, folder: Path) -> None:
    """A service that runs what `init` wrote reads all of it and scores its forecast."""
    [task] = found["tasks"]
    with service(folder, text) as running:
        running.wait_admitted(len(PUMPS))
        assert {one["id"] for one in running.get("/v1/devices")["items"]} == {
            f"pump-{k}" for k in range(4)
        }
        assert running.get(f"/v1/tasks/{task}/scores")["items"][0]["scores"]["labels"]


def test_a_postgresql(server: PostgreSQL, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Times with a zone and exact numbers, as PostgreSQL has them, under a schema; the password
    stays in the environment. What is written runs."""
    made = database.engine(server.url, server.password)
    with made.begin() as at:
        at.execute(sa.text("create schema plant"))
        at.execute(sa.text(
            "create table plant.readings(id bigserial primary key, dev varchar(20), "
            "at timestamptz, temp_c numeric(6, 3), state int, note text)"
        ))  # fmt: skip
        at.execute(
            sa.text(
                "insert into plant.readings(dev, at, temp_c, state) "
                "values(:dev, to_timestamp(:at), :temp_c, :state)"
            ),
            [dict(zip(("dev", "at", "temp_c", "state"), row, strict=True)) for row in PUMPS],
        )
    monkeypatch.setenv("STREAMGAUGE_PASSWORD", server.password)
    word = quote(server.password)
    found = started(
        [f"postgresql://plant:{word}@127.0.0.1:{server.port}/postgres/plant.readings"],
        tmp_path / "p.toml",
    )
    assert found["source"] == [
        {
            "use": "sql", "url": server.url, "table": "plant.readings", "cursor": "id",
            "device": "dev", "time": "at", "password": "${STREAMGAUGE_PASSWORD}",
        }
    ]  # fmt: skip
    assert list(found["channels"]) == ["temp_c", "state"]
    learned(found, (tmp_path / "p.toml").read_text(), tmp_path / "service")


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("postgresql://plant:wrong@127.0.0.1:{port}/postgres/readings", "password"),
        ("postgresql://plant:{word}@127.0.0.1:{port}/postgres/nothing", "nothing"),
        ("postgresql://plant:{word}@127.0.0.1:1/postgres/readings", "127.0.0.1"),
    ],
)
def test_a_postgresql_that_refuses(
    source: str,
    said: str,
    server: PostgreSQL,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """In its own words, without the password; no file is written."""
    url = source.format(port=server.port, word=quote(server.password))
    assert init([url], tmp_path / "p.toml", seconds=1.0, clock=clock) == 1
    told = capsys.readouterr()
    assert said in told.err
    assert "Traceback" not in told.err
    for secret in (server.password, quote(server.password), "wrong@"):
        assert secret not in told.err + told.out
    assert not (tmp_path / "p.toml").exists()


def test_an_influxdb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Device from a tag, channels from the fields, whatever is in their names; with a login. What
    is written runs."""
    with influxdb_1(tmp_path / "influxdb", auth=True) as server:
        server.does("CREATE USER reader WITH PASSWORD 'w/rd' WITH ALL PRIVILEGES")
        login = {"u": "reader", "p": "w/rd"}
        server.does("CREATE DATABASE plant", **login)
        lines = (
            f"hall\\ pumps,device={dev},site=a temp_c={temp},state={state}i {at}000000000"
            for dev, at, temp, state in PUMPS
        )
        server.write("\n".join(lines), **login)
        monkeypatch.setenv("STREAMGAUGE_PASSWORD", "w/rd")
        found = started(
            [f"influxdb://reader:w%2Frd@127.0.0.1:{server.port}/plant/hall%20pumps"],
            tmp_path / "p.toml",
        )
        assert found["source"] == [
            {
                "use": "influxdb", "url": server.url, "database": "plant", "device": "device",
                "measurement": "hall pumps", "username": "reader",
                "password": "${STREAMGAUGE_PASSWORD}",
            }
        ]  # fmt: skip
        assert set(found["channels"]) == {"temp_c", "state"}
        learned(found, (tmp_path / "p.toml").read_text(), tmp_path / "service")


def test_a_folder(tmp_path: Path) -> None:
    """Files of the first one's kind; where no column names a device, all rows are of one."""
    (tmp_path / "in").mkdir()
    lines = "".join(f"{1_772_366_400 + 60 * k},{k}.5\n" for k in range(5))
    (tmp_path / "in" / "a.csv").write_text("ts,level\n" + lines)
    [source] = started([str(tmp_path / "in")], tmp_path / "p.toml")["source"]
    assert source["pattern"] == "*.csv"
    assert (source["time"], source["device_id"]) == ("ts", "folder")


def seen(*messages: Any, topics: Sequence[str] = ("a/b",), keys: Sequence[str] = ("",)) -> Guess:
    """What messages mean."""
    samples = [
        Sample(json.dumps(one).encode(), topics[k % len(topics)], keys[k % len(keys)], NOW + k)
        for k, one in enumerate(messages)
    ]
    return guess(decoded(samples), NOW)


OTHERWISE = {
    "zigbee2mqtt-contact": "json",  # its base topic is not the bridge's own
    "scalar-esphome": "home_assistant",  # DOMAIN/NAME/state, as that has it
}
NOT_TOLD = {
    "csv-declared",  # nothing in it names the columns
    "csv-log",
    "csv-spreadsheet",  # nothing says that a semicolon parts them
    "scalar-pump_unit",
    "scalar-unavailable",
}
"""Real payloads that do not tell their codec by themselves."""


@pytest.mark.parametrize(
    "golden",
    [
        golden
        for codec in plugins.find("ingest.codecs")
        for golden in goldens(codec)
        if golden.expected["readings"] and not golden.expected.get("rejects")
    ],
    ids=str,
)
def test_the_codec_is_told_by_trying(golden: Golden, tmp_path: Path) -> None:
    """Every codec there is, a new one as well, is found by its own real payloads; what is written
    for them passes `check`."""
    samples = [
        Sample(*part)
        for one in golden.deliveries
        for part in zip(one.payloads, one.topics, [""], one.received, strict=True)
    ]
    if str(golden) in NOT_TOLD:
        with pytest.raises(ValueError, match="no codec reads these messages"):
            decoded(samples)
        return
    found = decoded(samples)
    assert found.codec == OTHERWISE.get(str(golden), golden.codec)
    if str(golden) == "cbor-array":  # it holds one value, which is infinite
        with pytest.raises(ValueError, match="nothing in what came is a number"):
            guess(found, NOW)
        return
    meaning = guess(found, samples[0].received + 10**6)
    options = {"topics": ["#"], **found.options}
    output = tmp_path / "pipeline.toml"
    output.write_text(written([Draft("mqtt", options, meaning, found.codec)], "x"))
    said = io.StringIO()
    assert check(output, {}, said) == 0, said.getvalue() + output.read_text()


def test_where_the_device_is() -> None:
    """A field of that name, else the key, else the level in which topics differ."""
    assert seen({"deviceId": "x", "v": 1}, {"deviceId": "y", "v": 2}).device == "field:deviceId"
    assert seen({"v": 1}, {"v": 2}, keys=("k1", "k2")).device == "key"
    assert seen({"v": 1}, {"v": 2}, topics=("a/p1/x", "a/p2/x")).device == "topic:1"
    assert seen({"v": 1}, topics=("plant/pump-7/telemetry",)).device == "topic:1"
    assert seen({"v": 1}, topics=("plant/pump/telemetry",)).device == "topic:1"
    assert seen({"v": 1, "meta": {"id": 7}}).device == "field:meta\x1fid"
    assert seen({"v": 1, "id": None}, {"v": 1}, topics=("a",)).device == "topic:0"


@pytest.mark.parametrize(
    ("value", "origin"),
    [
        ("2026-03-01T12:00:00Z", "field:ts"), (1_772_366_400, "field:ts"), (5, "received"),
        (1_772_366_400_123, "field:ts"), ("soon", "received"), (4e12, "received"),
    ],
)  # fmt: skip
def test_where_the_time_is(value: Any, origin: str) -> None:
    """A field of that name whose values can be times of our days."""
    found = seen({"ts": value, "v": 1.5})
    assert found.time == origin
    assert [one.name for one in found.channels if one.name != "ts"] == ["v"]


def test_what_is_measured() -> None:
    """Nested values get a path, numbers in text are numbers, the rest is left out and told."""
    message = {
        "device": "d", "time": NOW, "a": {"temp": 1.5}, "b": {"temp": "2.5", "mode": "auto"},
        "PM2.5": 3, "on": True, "valve": "open", "seq": 7, "note": None, "list": [1, 2],
    }  # fmt: skip
    found = seen(message, message | {"on": False})
    assert [(one.name, one.path, one.kind) for one in found.channels] == [
        ("a_temp", "a\x1ftemp", Kind.NUMBER),
        ("b_temp", "b\x1ftemp", Kind.NUMBER),
        ("PM2.5", "PM2.5", Kind.NUMBER),
        ("on", "on", Kind.BOOLEAN),
        ("valve", "valve", Kind.BOOLEAN),
    ]
    assert found.others == {"b.mode": "'auto'", "seq": "7"}


def test_words_are_offered(tmp_path: Path) -> None:
    """Words of a few kinds, lines and codes stand behind a "# ", ids of rows do not; without the
    "# ", and with the features that are named beside them, the file passes `check`."""
    found = seen(
        *(
            {
                "device": "d", "ts": NOW // 10**6 + k, "v": k, "id": f"r{k}", "code": f"E{k % 30}",
                "s": {"mode": ["auto", "by hand"][k % 2]}, "log": f"valve {k} jammed again",
            }
            for k in range(90)
        )
    )  # fmt: skip
    assert [(one.path, one.values, one.several) for one in found.worded] == [
        ("code", [], False),
        ("s\x1fmode", ["auto", "by hand"], False),
        ("log", [], True),
    ]
    text = written([Draft("mqtt", {"topics": ["t"]}, found, "json")], "words")
    offers = re.findall(r"^# (.*?)   # and in \[features\]: (.*)$", text, re.MULTILINE)
    assert len(offers) == 3
    for channel, feature in offers:
        text = text.replace(f"# {channel}", channel).replace(
            "[features]\n", f"[features]\n{feature}\n"
        )
    (tmp_path / "p.toml").write_text(text, encoding="utf-8")
    assert {"code", "mode", "log"} < set(passed(tmp_path / "p.toml")["channels"])


def test_readings_inside_a_message() -> None:
    """An array of objects in a message is where its readings are."""
    message = {"device": "d", "data": {"rows": [{"time": NOW + k, "v": k} for k in range(3)]}}
    samples = [Sample(json.dumps(message).encode(), "t", received=NOW)]
    found = decoded(samples)
    assert found.options == {"readings": "data.rows"}
    assert len(found.rows) == 3
    assert guess(found, NOW + 10).device == "field:device"
    assert guess(found, NOW + 10).interval == 1


def test_what_cannot_be_started_from(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each is told with what to do, and no file is written."""
    output, nowhere = tmp_path / "p.toml", free_port()
    (tmp_path / "empty.csv").write_text("device,time,a\n")
    (tmp_path / "words.csv").write_text("device,time,a\nd,2026-03-01T12:00:00Z,hello\n")
    (tmp_path / "timeless.csv").write_text("device,a\nd,1\n")
    for source, said in (
        (tmp_path / "none.csv", "there is no such file"),
        (tmp_path / "empty.csv", "no rows"),
        (tmp_path / "words.csv", "nothing in what came is a number"),
        (tmp_path / "timeless.csv", "no column is a time"),
        (f"mqtt://127.0.0.1:{nowhere}/#", "nothing came"),
        (f"http://127.0.0.1:{nowhere}/x", "nothing came"),
        (f"mqtt://me:word@127.0.0.1:{nowhere}/#", "nothing came"),
    ):
        assert init([str(source)], output, seconds=0.2, clock=clock) == 1
        told = capsys.readouterr()
        assert said in told.err
        assert "word@" not in told.out + told.err
        assert not output.exists()
    output.write_text("mine")
    assert init([str(tmp_path)], output, seconds=1, clock=clock) == 2
    assert output.read_text() == "mine"
    assert "there already" in capsys.readouterr().err


@pytest.fixture
def here_elsewhere() -> str:
    """An address of this machine that is not told from one elsewhere."""
    return "127.1"


def test_retained_messages_are_no_samples(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nobody knows how old they are: alone they are refused, beside others they do not count."""
    output, stop = tmp_path / "p.toml", threading.Event()
    with mosquitto(tmp_path / "broker") as broker, publisher(broker) as send:
        send(5, topic="pumps/old/telemetry", retain=True)
        assert init([f"{broker.url}/pumps/#"], output, seconds=1.0, clock=clock) == 1
        assert "only retained messages came" in capsys.readouterr().err

        def sending() -> None:
            while not stop.wait(0.02):
                send(1, topic="pumps/new/telemetry")

        thread = in_background(sending)
        try:
            started([f"{broker.url}/pumps/#"], output, seconds=2.0)
        finally:
            stop.set()
            thread.join()
    assert "of 1 devices: new," in output.read_text(encoding="utf-8")


def test_an_unencrypted_broker_elsewhere(tmp_path: Path, here_elsewhere: str) -> None:
    """The address says that nothing is encrypted, so the file says it as well, and `check` warns;
    one on this machine needs no word."""
    stop = threading.Event()
    with mosquitto(tmp_path / "broker") as broker:
        fleet = Fleet(devices=2, interval=100_000, begin=clock())
        thread = in_background(lambda: publish(broker.url, fleet, stop, clock))
        try:
            url = f"mqtt://{here_elsewhere}:{broker.port}/pumps/#"
            found = started([url], tmp_path / "there.toml", seconds=1.0)
            assert found["source"][0]["tls"] is False
            found = started([f"{broker.url}/pumps/#"], tmp_path / "here.toml", seconds=1.0)
            assert "tls" not in found["source"][0]
        finally:
            stop.set()
            thread.join()


def test_what_is_posted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Posts are taken as the service will take them; what is written runs and takes the same."""
    port = free_port()
    rows = [
        {"id": f"pump-{k % 3}", "at": NOW // 10**6 + k // 3, "temp_c": 20 + k % 7}
        for k in range(90)
    ]
    lines = "\n".join(map(json.dumps, rows[:60]))
    answers: list[int] = []

    def post() -> None:
        url = f"http://127.0.0.1:{port}/v1/readings"
        wait_for(lambda: listening(port), what="the address")
        for kind, body in (("x-ndjson", lines), ("json", json.dumps(rows[60:])), ("json", "")):
            header = {"content-type": f"application/{kind}"}
            answers.append(httpx.post(url, content=body, headers=header, timeout=20).status_code)

    thread = in_background(post)
    found = started([f"http:{port}"], tmp_path / "p.toml", seconds=4.0)
    thread.join()
    assert f"post readings to http://127.0.0.1:{port}/v1/readings" in capsys.readouterr().out
    assert answers == [202, 202, 422]
    assert found["source"] == [
        {"use": "http", "codec": "json", "device": "field:id", "time": "field:at"}
    ]
    with service(tmp_path / "service", (tmp_path / "p.toml").read_text()) as running:
        assert httpx.post(f"{running.url}/v1/readings", json=rows, timeout=20).status_code == 202
        running.wait_admitted(90)


@pytest.mark.slow
def test_a_kafka_topic(tmp_path: Path, here_elsewhere: str) -> None:
    """Device from the key, times and channels from the values; what is written runs."""
    bootstrap = shared()
    topic = new_topic(bootstrap, partitions=2)
    producer = KafkaProducer(bootstrap_servers=bootstrap)
    for k in range(200):
        value = json.dumps({"at": NOW // 10**6 + k, "temp_c": 20 + k % 7}).encode()
        producer.send(topic, value, key=f"pump-{k % 4}".encode())
    producer.flush()
    producer.close()
    found = started([f"kafka://{bootstrap}/{topic}"], tmp_path / "p.toml")
    assert found["source"] == [
        {
            "use": "kafka", "bootstrap_servers": bootstrap, "topics": [topic], "codec": "json",
            "device": "key", "time": "field:at",
        }
    ]  # fmt: skip
    assert list(found["channels"]) == ["temp_c"]
    with service(tmp_path / "service", (tmp_path / "p.toml").read_text()) as running:
        running.wait_admitted(200)
        assert len(running.get("/v1/devices")["items"]) == 4
    if bootstrap.startswith("127.0.0.1:"):
        there = bootstrap.replace("127.0.0.1", here_elsewhere)
        found = started([f"kafka://{there}/{topic}"], tmp_path / "there.toml")
        assert found["source"][0]["tls"] is False


def test_an_encrypted_kafka_is_asked_with_tls(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The scheme kafkas, also on this machine: one that does not speak TLS is told."""
    with mosquitto(tmp_path / "broker") as other:  # any server that is no TLS
        url = f"kafkas://127.0.0.1:{other.port}/readings"
        assert init([url], tmp_path / "p.toml", seconds=3.0, clock=clock) == 1
    assert "nothing came" in capsys.readouterr().err


def test_a_broker_with_a_password(tmp_path: Path) -> None:
    """The file has a reference to the environment, not the password that was given."""
    with mosquitto(tmp_path / "broker", passwords={"me": "w/rd"}) as broker:
        from paho.mqtt.client import Client
        from paho.mqtt.enums import CallbackAPIVersion

        client = Client(CallbackAPIVersion.VERSION2)
        client.username_pw_set("me", "w/rd")
        client.connect("127.0.0.1", broker.port)
        client.loop_start()
        stop = threading.Event()

        def send() -> None:
            while not stop.wait(0.05):
                client.publish("a/p1", b'{"v": 1.5}', 1)

        thread = in_background(send)
        url = broker.url.replace("://", "://me:w%2Frd@")
        found = started([f"{url}/a/+"], tmp_path / "p.toml", seconds=1.0)
        stop.set()
        thread.join()
        client.disconnect()
        client.loop_stop()
    [source] = found["source"]
    assert (source["username"], source["password"]) == ("me", "${STREAMGAUGE_PASSWORD}")
    assert "w/rd" not in (tmp_path / "p.toml").read_text()
    assert source["topics"] == ["a/+"]
    assert source["time"] == "received"
