"""Alerts that reach someone: real receivers, a service that is killed, the commands."""

import json
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email import message_from_bytes
from email.message import Message
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiosmtpd.controller import Controller

from monitoring.alerts.outbox import FILE
from monitoring.alerts.payload import Group
from monitoring.alerts.receiver import NotDelivered
from monitoring.alerts.rule import Alert, Matter
from monitoring.receivers import apprise, email, webhook
from tests.services.endpoint import Asked, Said, endpoint
from tests.services.ports import free_port, wait_for
from tests.services.service import Service, command, environment

NOW = 1_772_366_400 * 10**6
GROUP = Group(
    "plant",
    "gone",
    "ops",
    [Alert(Matter("gone", "Ölpumpe 7"), "critical", {}, "Ölpumpe 7 is silent", "Since noon.", NOW)],
    "http://gauge",
    0,
    "plant.ops.1",
)


class Letters:
    """A real SMTP server's handler: keeps what it is sent; `refuse` is its answer otherwise."""

    def __init__(self) -> None:
        self.got: list[Message] = []
        self.refuse = ""

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802 - aiosmtpd calls it
        if self.refuse:
            return self.refuse
        self.got.append(message_from_bytes(envelope.content))
        return "250 OK"


@contextmanager
def post_office() -> Iterator[tuple[Letters, int]]:
    """A running SMTP server on loopback, and its port."""
    letters, port = Letters(), free_port()
    office = Controller(letters, hostname="127.0.0.1", port=port)
    office.start()
    try:
        yield letters, port
    finally:
        office.stop()


def ours(port: int) -> email.Email:
    """A receiver that sends there."""
    return email.open(
        host="127.0.0.1", port=port, sender="g@example.com", to=["ops@example.com"], security="none"
    )


def test_an_e_mail_says_it_all_and_has_the_same_id_when_it_comes_again() -> None:
    """Subject, text and Message-ID, over a real SMTP server."""
    with post_office() as (letters, port):
        for _ in range(2):
            ours(port)(GROUP)
    first, second = letters.got
    assert str(first["Message-ID"]) == str(second["Message-ID"]) == "<plant.ops.1@streamgauge>"
    assert first["To"] == "ops@example.com"
    body = first.get_payload(decode=True)
    assert isinstance(body, bytes)
    assert "Ölpumpe 7 is silent (critical)\r\nSince noon." in body.decode()
    assert "http://gauge/#device=%C3%96lpumpe+7" in body.decode()


@pytest.mark.parametrize(
    ("answer", "again"), [("451 later", True), ("550 no such user", False), ("", True)]
)
def test_what_an_smtp_server_refuses_is_tried_again_where_that_may_help(
    answer: str,
    again: bool,
) -> None:
    """Temporary refusals and servers that are not there, not lasting refusals."""
    with post_office() as (letters, port):
        letters.refuse = answer
        with pytest.raises(NotDelivered) as refused:
            ours(port if answer else free_port())(GROUP)
    assert refused.value.again is again


@pytest.mark.parametrize(
    ("status", "headers", "again", "wait"),
    [
        (500, {}, True, None),
        (429, {"Retry-After": "7"}, True, 7.0),
        (404, {}, False, None),
        (0, {}, True, None),
    ],
)
def test_what_a_webhook_refuses_is_tried_again_where_that_may_help(
    status: int,
    headers: dict[str, str],
    again: bool,
    wait: float | None,
) -> None:
    """By its status; a server that is not there may come back."""
    with endpoint(lambda asked: Said(b"no", status, headers)) as server:
        url = server.url if status else f"http://127.0.0.1:{free_port()}"
        receiver = webhook.open(url=url)
        with pytest.raises(NotDelivered) as refused:
            receiver(GROUP)
        receiver.close()
    assert (refused.value.again, refused.value.wait) == (again, wait)


def test_apprise_takes_alerts_to_where_it_can() -> None:
    """Its JSON service, on loopback; a refusal is tried again."""
    with endpoint(lambda asked: Said()) as server:
        receiver = apprise.open(urls=[server.url.replace("http", "json")])
        receiver(GROUP)
        server.say = lambda asked: Said(status=500)
        with pytest.raises(NotDelivered):
            receiver(GROUP)
        receiver.close()
    sent = json.loads(server.asked[0].body)
    assert sent["title"] == "[critical] Ölpumpe 7 is silent"
    assert sent["type"] == "failure"


@pytest.mark.parametrize(
    ("opened", "words"),
    [
        (lambda: webhook.open(url="ftp://x"), "no address"),
        (lambda: apprise.open(urls=["nothing at all"]), "no address that Apprise knows"),
        (lambda: apprise.open(urls=[]), "reaches nobody"),
        (lambda: email.open(host="h", to=["x"], sender="a@b.c"), "no e-mail address"),
        (lambda: email.open(host="h", to=[], sender="a@b.c"), "reaches nobody"),
        (
            lambda: email.open(
                host="h", to=["a@b.c"], sender="a@b.c", security="none", username="u"
            ),
            "could be read",
        ),
    ],
)
def test_receivers_that_could_reach_nobody(opened: Callable[[], Any], words: str) -> None:
    """The error says what to write."""
    with pytest.raises(ValueError, match=words):
        opened()


CONFIG = """
[stream]
name = "plant"
[[source]]
use = "http"
time = "field:t"
[devices]
silent_after = "1s"
[channels]
a = {{}}
[alerts]
group_wait = "{wait}"
url = "http://gauge.example.com"
[alerts.rules.gone]
when = "silence"
severity = "critical"
[alerts.receivers.ops]
use = "webhook"
url = "{url}"
[alerts.receivers.mail]
use = "email"
host = "127.0.0.1"
port = {port}
security = "none"
sender = "gauge@example.com"
to = ["ops@example.com"]
"""


def say(running: Service, *devices: str) -> None:
    """One reading of each device."""
    body = [{"device": d, "t": time.time(), "a": 1} for d in devices]
    httpx.post(f"{running.url}/v1/readings", json=body, timeout=10).raise_for_status()


def waiting(state: Path) -> int:
    """Messages that the outbox of a state folder owes."""
    with sqlite3.connect(f"file:{state / FILE}?mode=ro", uri=True) as file:
        rows = file.execute("select count(*) from messages where state = 'waiting'").fetchall()
    return int(rows[0][0])


def fired(asked: list[Asked]) -> list[tuple[str, str]]:
    """Status and device of every alert that the webhook got."""
    return [
        (one["status"], one["labels"]["device"])
        for request in asked
        for one in json.loads(request.body)["alerts"]
    ]


def test_a_kill_between_decision_and_delivery_loses_nothing_and_doubles_nothing(
    tmp_path: Path,
) -> None:
    """SIGKILL while messages wait: after the restart each receiver gets each alert once."""
    with endpoint(lambda asked: Said()) as server, post_office() as (letters, port):
        config = CONFIG.format(url=server.url, port=port, wait="4s")
        running = Service(tmp_path, config)
        try:
            running.start()
            say(running, "pump-1", "pump-2")
            wait_for(lambda: waiting(running.state) == 4, 20.0, what="four messages that wait")
            running.kill()
            assert server.asked == []
            running.start()
            wait_for(lambda: fired(server.asked) and letters.got, 20.0, what="alerts")
            wait_for(lambda: waiting(running.state) == 0, 20.0, what="an empty outbox")
            shown = running.get("/v1/alerts")["items"]
        finally:
            running.kill()
    assert sorted(fired(server.asked)) == [("firing", "pump-1"), ("firing", "pump-2")]
    assert len(letters.got) == 1
    assert {one["device"] for one in shown} == {"pump-1", "pump-2"}
    assert {one["status"] for one in shown} == {"firing"}


def test_a_receiver_that_is_away_for_a_while_is_told_afterwards(tmp_path: Path) -> None:
    """Readiness says what is wrong; the other receiver does not wait; `silence` holds new ones."""
    answer = Said(status=503)
    with endpoint(lambda asked: answer) as server, post_office() as (letters, port):
        running = Service(tmp_path, CONFIG.format(url=server.url, port=port, wait="1ms"))
        try:
            running.start()
            say(running, "pump-1")
            wait_for(lambda: server.asked and letters.got, 20.0, what="a try, and a letter")
            parts = {one["name"]: one for one in json.loads(_ready(running))["parts"]}
            assert "answered 503" in parts["sink alerts"]["why"]
            answer = Said()
            wait_for(lambda: waiting(running.state) == 0, 20.0, what="an empty outbox")
            said = _streamgauge(tmp_path, "silence", running.config, "--device", "pump-2")
            assert "silence 1: rule *, device pump-2, until" in said
            say(running, "pump-2")
            wait_for(
                lambda: (
                    [one["held"] for one in running.get("/v1/alerts")["items"]] == ["", "silence 1"]
                ),
                20.0,
                what="an alert that is held",
            )
            listed = _streamgauge(tmp_path, "list", running.config)
            assert "pump-2 is silent" in listed
            assert "(not told: silence 1)" in listed
            assert "is over" in _streamgauge(tmp_path, "unsilence", running.config, "1")
            wait_for(lambda: len(letters.got) > 1, 20.0, what="the alert that was held")
            wait_for(lambda: waiting(running.state) == 0, 20.0, what="both receivers' answers")
        finally:
            running.kill()
    keys = {request.headers["idempotency-key"] for request in server.asked}
    assert {key.rpartition(".")[0] for key in keys} == {"plant.ops"}
    assert len(keys) == 2


def _ready(running: Service) -> str:
    return httpx.get(f"{running.url}/readyz", timeout=10).text


def _streamgauge(folder: Path, *arguments: str | Path, code: int = 0) -> str:
    done = subprocess.run(
        command("alerts", *arguments),
        capture_output=True,
        text=True,
        env=environment(folder),
        timeout=60,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


def test_the_command_sends_a_test_alert(tmp_path: Path) -> None:
    """To every receiver, or one; the exit code tells whether all took it."""
    with endpoint(lambda asked: Said()) as server, post_office() as (letters, port):
        running = Service(tmp_path, CONFIG.format(url=server.url, port=port, wait="1ms"))
        said = _streamgauge(tmp_path, "test", running.config)
        assert said == "ops: delivered\nmail: delivered\n"
        assert str(letters.got[0]["Subject"]) == "[info] plant: this is a test"
        letters.refuse = "550 no"
        said = _streamgauge(tmp_path, "test", running.config, "--receiver", "mail", code=1)
        assert said == "mail: not delivered: 127.0.0.1 answered 550: no\n"
        said = _streamgauge(tmp_path, "test", running.config, "--receiver", "boss", code=2)
        assert "there are: ops, mail" in said
    assert len(server.asked) == 1


WRONG = """
[channels]
a = {}
[alerts]
quiet = "late"
[alerts.rules.x]
when = "score"
condition = "mea > 1"
inhibits = ["y"]
[alerts.rules.z]
when = "drift"
condition = "mae > 1"
severity = "awful"
[alerts.rules.w]
when = "new_cluster"
[alerts.receivers.r]
use = "webhook"
url = "x"
[alerts.receivers.s]
use = "pigeon"
"""


def test_every_mistake_is_named_with_its_remedy(tmp_path: Path) -> None:
    """At its line."""
    config = tmp_path / "pipeline.toml"
    config.write_text(WRONG)
    done = subprocess.run(
        command("check", config), capture_output=True, text=True, timeout=60, check=False
    )
    for said in (
        "'late' is no stretch of the day",
        "no score named 'mea'",
        'alerts.rules.x.inhibits[0] = "y": unknown rule; choose one of: w, x, z',
        'means nothing with when = "drift"; remove it',
        'alerts.rules.z.severity = "awful"',
        'alerts.rules.w.when = "new_cluster": can never be: no task that fits is of kind',
        "url = 'x' is no address",
        "no receivers named 'pigeon'; there are: apprise, email, webhook",
    ):
        assert said in done.stdout, done.stdout
