"""`streamgauge init` on brokers and on posts; a service that runs what it writes learns."""

import json
import threading
from pathlib import Path

import httpx
import pytest
from kafka import KafkaProducer

from ingest.sources.simulator import Fleet, publish
from serving.init import init
from serving.run import clock
from tests.mqtt_traffic import publisher
from tests.services.kafka import new_topic, shared
from tests.services.mosquitto import mosquitto
from tests.services.ports import free_port, listening, wait_for
from tests.services.service import service
from tests.starting import NOW, in_background, passed, started


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
