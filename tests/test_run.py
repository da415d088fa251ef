"""`streamgauge run` as a user has it: a process between a real Mosquitto and HTTP."""

import csv
import gzip
import json
import signal
import socket
import subprocess
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from ingest.journal import Journal
from serving.compose import Running
from serving.run import clock
from stream_processor.pipeline import Pipeline
from stream_processor.settings import load_text
from stream_processor.settings.fields import PluginUse
from tests.recordings import recording
from tests.services.mosquitto import Mosquitto, mosquitto
from tests.services.ports import free_port, listening, wait_for
from tests.services.service import Service, command, environment, service

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "beijing.toml"
ROWS = 3_000
QUICK = 3.0
"""Seconds in which the service ends when it is asked to."""


def configured(broker: Mosquitto | str) -> str:
    """The example's text for that broker."""
    url = broker if isinstance(broker, str) else broker.url
    text = EXAMPLE.read_text(encoding="utf-8")
    assert "mqtt://localhost:1883" in text
    return text.replace("mqtt://localhost:1883", url)


@pytest.fixture(scope="module")
def readings() -> list[dict[str, str]]:
    """The first rows of the recording, as text."""
    with gzip.open(recording("beijing_air.csv.gz"), "rt", encoding="utf-8", newline="") as source:
        return list(islice(csv.DictReader(source), ROWS))


def message(row: dict[str, str]) -> tuple[str, bytes]:
    """Topic and payload of a reading as its station would publish it."""
    numbers = {k: float(v) for k, v in row.items() if v and k not in ("device", "time", "wd")}
    return f"air/{row['device']}", json.dumps({"time": row["time"]} | numbers).encode()


@contextmanager
def publisher(broker: Mosquitto) -> Iterator[Client]:
    """A client that publishes with QoS 1."""
    client = Client(CallbackAPIVersion.VERSION2)
    client.max_inflight_messages_set(200)
    client.connect("127.0.0.1", broker.port)
    client.loop_start()
    try:
        yield client
    finally:
        client.disconnect()
        client.loop_stop()


def publish(broker: Mosquitto, rows: list[dict[str, str]]) -> None:
    """Publish these readings; returns once the broker has them all."""
    with publisher(broker) as client:
        for info in [client.publish(*message(row), qos=1) for row in rows]:
            info.wait_for_publish(30)


@pytest.fixture(scope="module")
def whole(readings: list[dict[str, str]]) -> tuple[Pipeline, pd.DataFrame]:
    """The replay of all readings: the pipeline after it, and its table."""
    pipeline = Pipeline.from_toml(EXAMPLE)
    rows = pd.DataFrame(readings).drop(columns="wd")
    for name in rows.columns.difference(["device", "time"]):
        rows[name] = [float(text or "nan") for text in rows[name]]
    return pipeline, pipeline.replay(rows)


KEYS = (
    *("id", "task", "horizon", "prediction", "status", "label", "residual", "model_version"),
    *("made_at", "target_time"),
)
"""What a prediction says in the API as in the table of a replay."""


def expected_history(table: pd.DataFrame, device: str) -> list[dict[str, Any]]:
    """What the API should say of a device's predictions, newest first."""
    rows = table[table.device == device].iloc[::-1].astype(object)
    rows = rows.where(rows.notna(), None)
    return [{key: row[key] for key in KEYS} for row in rows.to_dict("records")]


def said_history(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same keys of what it did say; times as times."""
    times = ("made_at", "target_time")
    return [{k: pd.Timestamp(item[k]) if k in times else item[k] for k in KEYS} for item in items]


def assert_equal_to_replay(running: Service, whole: tuple[Pipeline, pd.DataFrame]) -> None:
    """Latest predictions, history and scores of every station are those of the replay."""
    pipeline, table = whole
    for device in sorted(set(table.device)):
        wanted = expected_history(table, device)
        ask = partial(running.get, f"/v1/devices/{device}/predictions?history={ROWS}")
        wait_for(partial(has_history, ask, len(wanted)), what=f"the history of {device}")
        said = ask()
        assert said_history(said["items"]) == wanted[:1]
        assert said_history(said["history"]) == wanted
    for device in ("", *set(table.device)):
        query = f"?device={device}" if device else ""
        [said] = running.get(f"/v1/tasks/pm25/scores{query}")["items"]
        [score] = pipeline.board.scores("pm25", device)
        assert said["scores"] == score.scores


def has_history(ask: Callable[[], Any], number: int) -> bool:
    """Whether so many predictions are stored, the older ones with their outcome."""
    history = ask()["history"]
    return len(history) >= number and history[1]["status"] != "pending"


def test_run_serves_live_what_replay_predicts(
    tmp_path: Path, readings: list[dict[str, str]], whole: tuple[Pipeline, pd.DataFrame]
) -> None:
    """From a real broker over HTTP: the same predictions, history and scores; then a quick end."""
    with (
        mosquitto(tmp_path / "broker") as broker,
        service(tmp_path / "service", configured(broker)) as running,
    ):
        publish(broker, readings)
        running.wait_admitted(ROWS)
        assert_equal_to_replay(running, whole)
        assert running.ready
        metrics = running.metrics()
        assert metrics["streamgauge_readings_total{admitted}"] == ROWS
        assert metrics["streamgauge_devices"] == 8
        # A live stream that nobody closes must not hold the end up.
        with urllib.request.urlopen(running.url + "/v1/stream", timeout=10):
            code, seconds = running.stop()
        assert code == 0
        assert seconds < QUICK
        assert running.errors == ""

        running.start()
        assert_equal_to_replay(running, whole)
        code, seconds = running.stop(signal.SIGINT)
        assert (code, seconds < QUICK) == (0, True)


def test_what_was_published_is_learned_once_however_often_it_is_killed(
    tmp_path: Path, readings: list[dict[str, str]], whole: tuple[Pipeline, pd.DataFrame]
) -> None:
    """SIGKILL in the middle, twice: in the end everything is as if nothing had happened."""
    with (
        mosquitto(tmp_path / "broker") as broker,
        service(tmp_path / "service", configured(broker), every="300ms") as running,
        publisher(broker) as client,
    ):
        sent = []
        for start, stop in ((0, 1_000), (1_000, 2_000), (2_000, ROWS)):
            sent += [client.publish(*message(row), qos=1) for row in readings[start:stop]]
            if stop < ROWS:
                running.wait_admitted(start + 100)
                running.kill()
                running.start()
        for info in sent:
            info.wait_for_publish(30)
        running.wait_admitted(ROWS)
        assert_equal_to_replay(running, whole)
        assert running.admitted == ROWS
        assert running.stop()[0] == 0
        assert stored_twice(running) == [0, 0]


def stored_twice(running: Service) -> list[int]:
    """Predictions and outcomes that the history file of a stopped service holds more than once."""
    names = "device, lane, sequence, made"
    with duckdb.connect(str(running.state / "history.duckdb"), read_only=True) as file:
        return [
            len(file.execute(f"select 1 from {t} group by {names} having count(*) > 1").fetchall())
            for t in ("predictions", "outcomes")
        ]


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory, readings: list[dict[str, str]]) -> Service:
    """A service that learned 400 readings and was stopped; its broker is gone."""
    folder = tmp_path_factory.mktemp("stopped")
    with mosquitto(folder / "broker") as broker, service(folder, configured(broker)) as running:
        publish(broker, readings[:400])
        running.wait_admitted(400)
        assert running.stop()[0] == 0
    return running


def files(folder: Path) -> dict[str, bytes]:
    """Every file of a state folder but locks and what no refusal needs to leave as it was."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "lock" not in path.name and not path.name.startswith("history")
    }


def test_a_damaged_checkpoint_is_refused_and_left_as_it_is(stopped: Service) -> None:
    """Exit code 1, the file and what to do named, nothing overwritten; whole again, it goes on."""
    checkpoint = stopped.state / "checkpoint"
    good = checkpoint.read_bytes()
    newer = good.replace(b"streamgauge checkpoint 2\n", b"streamgauge checkpoint 9\n", 1)
    damages = {
        "damaged": good[: len(good) // 2] + b"\xa5" * 64 + good[len(good) // 2 + 64 :],
        "format 9": newer,
    }
    for words, damage in damages.items():
        assert damage != good
        checkpoint.write_bytes(damage)
        before = files(stopped.state)
        code, said = stopped.refused()
        assert code == 1, words
        assert words in said
        assert str(checkpoint) in said
        assert "Traceback" not in said
        assert files(stopped.state) == before
    checkpoint.write_bytes(good)
    goes_on(stopped, 400)


def goes_on(stopped: Service, readings: int) -> None:
    """The service starts on its state and still knows its readings."""
    stopped.launch()
    wait_for(stopped.answers, 60.0, what=stopped.errors)
    assert stopped.admitted == readings
    assert stopped.stop()[0] == 0


@pytest.mark.slow
def test_a_damaged_journal_is_refused_and_left_as_it_is(stopped: Service) -> None:
    """Exit code 1 and a message, nothing overwritten."""
    journal = stopped.state / "journal"
    held = {path: path.read_bytes() for path in journal.glob("*.log")}
    place = Journal(journal)
    position = place.position
    place.close()
    for path in held:
        path.unlink()
    (journal / f"{position + 4_096:020d}.log").write_bytes(next(iter(held.values())))
    before = files(stopped.state)
    code, said = stopped.refused()
    assert code == 1, said
    assert str(journal) in said
    assert "Traceback" not in said
    assert files(stopped.state) == before
    for path in journal.glob("*.log"):
        path.unlink()
    for path, content in held.items():
        path.write_bytes(content)
    goes_on(stopped, 400)


@pytest.mark.slow
def test_a_changed_task_is_refused_by_name(stopped: Service) -> None:
    """What the state was made of changes only with consent; what it does not depend on may."""
    text = stopped.config.read_text(encoding="utf-8")
    stopped.config.write_text(text.replace('horizons = ["1h"]', 'horizons = ["2h"]'))
    code, said = stopped.refused()
    assert code == 2
    kept, anew = said.partition("starts anew:")[::2]
    assert "model pm25@2h (new)" in anew
    assert "model pm25@1h" in anew.partition("dropped:")[2]
    assert "channel PM2.5" in kept
    assert "--accept" in said
    assert "Traceback" not in said
    stopped.config.write_text(text.replace('unit = "hPa", range = [900, 1100]', 'unit = "mbar"'))
    goes_on(stopped, 400)
    stopped.config.write_text(text)


def test_a_taken_port_and_a_taken_state_are_told(stopped: Service) -> None:
    """Exit code 1 and what to do; the state is not touched."""
    before = files(stopped.state)
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", stopped.port))
        taken.listen()
        code, said = stopped.refused()
    assert code == 1
    assert f"127.0.0.1:{stopped.port}" in said
    assert "Traceback" not in said
    assert files(stopped.state) == before

    stopped.launch()
    wait_for(stopped.answers, 60.0)
    text = stopped.config.read_text(encoding="utf-8")
    second = stopped.folder / "second.toml"
    second.write_text(text.replace(f"port = {stopped.port}", f"port = {free_port()}"))
    run = subprocess.run(
        command("run", second), capture_output=True, text=True, timeout=60, check=False,
        env=environment(stopped.folder),
    )  # fmt: skip
    assert run.returncode == 1
    assert "in use by another" in run.stderr
    assert "Traceback" not in run.stderr
    assert stopped.stop()[0] == 0


def test_a_damaged_history_is_refused(stopped: Service) -> None:
    """Rubbish, or half of the file: exit code 1, the file and the remedy, no traceback."""
    history = stopped.state / "history.duckdb"
    good = history.read_bytes()
    for damage in (b"garbage" * 1000, good[: len(good) // 2]):
        history.write_bytes(damage)
        code, said = stopped.refused()
        assert code == 1
        assert f"{history} cannot be read as a history" in said
        assert "move it and its .wal away" in said
        assert "Traceback" not in said
        assert "leaked" not in said
    history.write_bytes(good)
    goes_on(stopped, 400)


FEWER = """
[devices]
limit = 2
[drift]
level = "none"
noise = "none"
shape = "none"
"""
"""Of so few devices channels would be watched as well, which is another change."""


def test_fewer_devices_than_there_are_and_another_source_are_refused(stopped: Service) -> None:
    """Both are named with what to do, nothing is changed, and put back it goes on."""
    text = stopped.config.read_text(encoding="utf-8")
    before = files(stopped.state)
    changes = {
        ("devices.limit is 2 now", 1): text + FEWER,
        ("source simulator (new)", 2): text + '\n[[source]]\nuse = "simulator"\n',
    }
    for (words, exit_code), changed in changes.items():
        assert changed != text
        stopped.config.write_text(changed)
        code, said = stopped.refused()
        assert code == exit_code
        assert words in said
        assert "Traceback" not in said
        assert files(stopped.state) == before
    stopped.config.write_text(text)
    goes_on(stopped, 400)


@pytest.mark.parametrize("refused", ["journal", "key", "sink"])
def test_what_fails_half_way_leaves_nothing_open(refused: str, tmp_path: Path) -> None:
    """No thread, file or lock stays; the same process can use the folder again at once."""
    env = {"STREAMGAUGE_KEY_FILE": str(tmp_path / "key")}
    text = configured("mqtt://localhost:1883") + f"\n[serve]\nport = {free_port()}\n"
    settings = load_text(text, tmp_path / "pipeline.toml", env)
    good = settings
    if refused == "journal":
        settings = replace(settings, state=replace(settings.state, journal_max=1_000))
    elif refused == "key":
        (tmp_path / "key").write_bytes(b"short")
    else:
        wrong = PluginUse("influxdb", {"url": "nonsense"})
        right = PluginUse("influxdb", {"url": "http://127.0.0.1:9"})
        settings = replace(settings, sinks=(right, wrong))
    before = set(threading.enumerate())
    with pytest.raises(ValueError, match=r"holds nothing|bytes, a signing key|no address"):
        Running(settings, env, clock)
    assert set(threading.enumerate()) == before
    (tmp_path / "key").unlink(missing_ok=True)
    again = Running(good, env, clock)
    again.stop()


def test_a_wrong_configuration_is_told_whole(tmp_path: Path) -> None:
    """Exit code 2 and every mistake with its line; nothing is made."""
    text = configured("mqtt://localhost:1883").replace('kind = "forecast"', 'kind = "guess"')
    one = Service(tmp_path, text + "\n[drift]\ndetector = 'adwim'\n")
    code, said = one.refused()
    assert code == 2
    for words in ('tasks.pm25.kind = "guess"', "adwim", "line "):
        assert words in said
    assert "Traceback" not in said
    assert not one.state.exists()


def unready(one: Service) -> str:
    """Why it is not ready, in words; empty where it is."""
    try:
        one.get("/readyz")
    except urllib.error.HTTPError as refused:
        return str(json.loads(refused.read())["detail"])
    return ""


@pytest.mark.slow
def test_a_broker_may_come_later_and_go_again(
    tmp_path: Path, readings: list[dict[str, str]]
) -> None:
    """Without a broker the service lives and says what it waits for; it connects by itself."""
    broker = Mosquitto(tmp_path / "broker", persistence=True)
    one = Service(tmp_path / "service", configured(broker))
    try:
        one.launch()
        wait_for(one.answers, 60.0)
        wait_for(
            lambda: "is the broker running?" in unready(one), 30.0, what="a refused connection"
        )
        broker.start()
        wait_for(lambda: one.ready, 30.0, what="a connection")
        publish(broker, readings[:40])
        one.wait_admitted(40)
        broker.stop()
        assert not listening(broker.port)
        wait_for(lambda: not one.ready, what="the loss to be seen")
        assert one.metrics()["streamgauge_part_up{source mqtt}"] == 0.0
        broker.start()
        wait_for(lambda: one.ready, 30.0, what="a connection again")
        publish(broker, readings[40:80])
        one.wait_admitted(80)
        assert one.stop()[0] == 0
    finally:
        one.kill()
        broker.stop()
