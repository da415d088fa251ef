"""The log of the service: JSON where it is asked for, what fails and why, and never a secret."""

import io
import json
import logging
import threading
import warnings
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from serving.api.service import Part
from serving.hidden import hider, secrets_of
from serving.logs import LOG, LogFormat, logs
from serving.part_changes import PartChanges
from tests.services.ports import free_port, wait_for
from tests.services.service import Service

SECRETS = {
    "MQTT_PASSWORD": "hunter2-p@ss/word",
    "INFLUXDB_TOKEN": "tok3n-of-influx==",
    "HOOK": "https://hooks.example.org/services/T000/B000/hook-key?token=in-the-query",
    "CHAT": "slack://tokenA/tokenB/tokenC/alerts",
    "SENSOR_KEY": "sensor-write-key",
    "POLL_TOKEN": "polled-with-this",
    "DATABASE": "postgresql+pg8000://me:db-pass@10.0.0.1/plant",
}
SEEN = (
    *("hunter2", "tok3n", "T000", "hook-key", "in-the-query", "tokenA", "tokenC"),
    *("sensor-write", "db-pass", "api-key-of-env", "polled-with"),
)
"""What would betray one of them."""
TREE = {"a": [f"${{{name}}}" for name in SECRETS], "b": {"port": "${PORT}", "dir": "${DIR}"}}
PLAIN = {"PORT": "8443", "DIR": "/var/lib/streamgauge"}


def records(text: str) -> list[dict[str, Any]]:
    """Each line as the object that it has to be."""
    return [dict(json.loads(line)) for line in text.splitlines()]


def said(how: LogFormat = "json", *words: str, **fields: Any) -> str:
    """What is written of one record, with the secrets above in the configuration."""
    out = io.StringIO()
    with logs(how, out) as hiding:
        hiding.hidden = hider(secrets_of(TREE, SECRETS | PLAIN | {"X_API_KEY": "api-key-of-env"}))
        LOG.warning(*words, extra={"fields": fields})
    return out.getvalue()


@pytest.mark.parametrize("how", ["text", "json"])
@pytest.mark.parametrize("secret", [*SECRETS.values(), "api-key-of-env"])
def test_no_secret_is_seen_however_it_is_spelled(secret: str, how: LogFormat) -> None:
    """In the words, in an argument, in a field, quoted for an address, and as Python shows it."""
    for spelled in (secret, quote(secret, safe=""), repr(secret)):
        text = said(how, "could not %s", f"reach <{spelled}>!", why=f"said {spelled}", odd=[secret])
        assert not [part for part in SEEN if part in text]
        assert "could not reach" in text


@pytest.mark.parametrize(
    "part", ["db-pass", "tokenA", "tokenB", "services/T000/B000/hook-key", "token=in-the-query"]
)
def test_no_part_of_an_address_that_is_secret_is_seen(part: str) -> None:
    """Libraries take addresses apart: a password, a token, a path or a query alone."""
    assert part not in said("text", f"refused: {part}")


def test_what_is_no_secret_can_be_read() -> None:
    """Ports, paths and hosts help; so do addresses without a password."""
    words = (
        "/var/lib/streamgauge is full, see http://hooks.example.org:8443/readyz of me at 10.0.0.1"
    )
    assert words in said("json", words)


def test_what_is_too_short_to_be_told_from_words_stays() -> None:
    """A password of one letter would hide that letter in every word."""
    assert hider(secrets_of({"password": "${P}"}, {"P": "e"}))("see there") == "see there"


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ("mqtt://me:secret@host:1883/x refused", "mqtt://me:***@host:1883/x refused"),
        ("GET http://h/x?a=1&api_key=abc&b=2", "GET http://h/x?a=1&api_key=***&b=2"),
        ("Authorization: Bearer abcdefghijk.lm", "Authorization: Bearer ***"),
    ],
)
def test_what_looks_like_a_secret_is_hidden(text: str, hidden: str) -> None:
    """Whether or not it comes from the configuration."""
    assert hider(set())(text) == hidden


def test_a_record_is_one_object_on_one_line() -> None:
    """Time in UTC, level, logger, words and fields; a traceback within it; a field does not
    overwrite a word of the record's own."""
    out = io.StringIO()
    with logs("json", out):
        LOG.info("part %s", "one", extra={"fields": {"url": "http://h", "n": 3, "level": "x"}})
        try:
            raise ValueError("two\nlines")
        except ValueError:
            logging.getLogger("kafka.client").exception("it broke")
        logging.getLogger("kafka.client").info("not for operators")
    one, two = records(out.getvalue())
    assert one.pop("time").endswith("Z")
    words = {"level": "info", "logger": "streamgauge", "message": "part one"}
    assert one == {**words, "url": "http://h", "n": 3}
    assert (two["level"], two["logger"], two["message"]) == ("error", "kafka.client", "it broke")
    assert "Traceback" in two["error"]
    assert "ValueError: two\nlines" in two["error"]


def test_warnings_and_ended_threads_are_records() -> None:
    """Nothing of Python's own gets between the lines; afterwards all is as it was before."""
    out, hook = io.StringIO(), threading.excepthook

    def fails() -> None:
        raise OSError("no broker at mqtt://me:secret@host")

    with logs("json", out):
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.warn("old option", UserWarning, stacklevel=1)
        thread = threading.Thread(target=fails, name="source-1")
        thread.start()
        thread.join()
    one, two = records(out.getvalue())
    assert (one["logger"], "old option" in one["message"]) == ("py.warnings", True)
    assert two["message"] == "the thread source-1 ended"
    assert "OSError: no broker at mqtt://me:***@host" in two["error"]
    assert threading.excepthook is hook


def test_a_part_fails_when_it_does_twice() -> None:
    """Said once, with the reason; and once that it works again."""
    changes = PartChanges()
    fine, broken = Part("sink x", True, ""), Part("sink x", False, "refused")
    looks = [list(changes.since([part])) for part in (broken, fine, *[broken] * 3, fine, fine)]
    failed = [("not ready", {"part": "sink x", "why": "refused"})]
    again = [("ready again", {"part": "sink x"})]
    assert looks == [[], [], [], failed, [], again, []]


CONFIG = """
[[source]]
use = "mqtt"
url = "{url}"
topics = ["a/+"]
codec = "json"
username = "me"
password = "${{MQTT_PASSWORD}}"
tls = false
[[source]]
use = "poll"
url = "http://{poll}/values?token=${{POLL_TOKEN}}"
every = "1s"
codec = "json"
[channels.a]
[[sink]]
use = "influxdb"
url = "{url_of_influx}"
token = "${{INFLUXDB_TOKEN}}"
bucket = "b"
org = "o"
"""


def test_the_service_logs_json_and_no_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From start to stop, with a broker and a database that are not there: who is not ready and
    why, one object a line, nothing else on stdout, and no secret there or in /readyz."""
    for name, secret in SECRETS.items():
        monkeypatch.setenv(name, secret)
    monkeypatch.setenv("STREAMGAUGE_API_KEY", "api-key-of-env")
    mqtt, influx, poll = (f"127.0.0.1:{free_port()}" for _ in range(3))
    text = CONFIG.format(url=f"mqtt://{mqtt}", url_of_influx=f"http://{influx}", poll=poll)
    running = Service(tmp_path / "service", text)
    running.options = ("--log", "json")
    running.launch()
    try:
        words = ("listens", "source mqtt", "source poll")
        wait_for(lambda: all(word in running.errors for word in words), 60.0)
        told = running.refusal("/readyz")
        code, _ = running.stop()
    finally:
        running.kill()
    found = records(running.errors)
    assert code == 0
    # Before it, what is compiled is told.
    listens, last = next(one for one in found if "listens" in one["message"]), found[-1]
    assert (listens["level"], listens["url"]) == ("info", running.url)
    assert (last["message"], last["level"]) == ("streamgauge stopped", "info")
    failed = {one["part"]: one["why"] for one in found if one["message"] == "not ready"}
    assert failed["source mqtt"]
    assert failed["source poll"]
    assert (running.folder / "out").read_text() == ""
    assert {part["name"] for part in told["parts"] if not part["ok"]} >= {"source mqtt"}
    everything = running.errors + json.dumps(told)
    assert not [part for part in SEEN if part in everything]


def test_what_is_refused_at_the_start_is_json_too(tmp_path: Path) -> None:
    """A mistake in the configuration, and exit code 2."""
    running = Service(tmp_path, '[[source]]\nuse = "mqqt"\n')
    running.options = ("--log", "json")
    code, text = running.refused()
    (one,) = records(text)
    assert (code, one["level"]) == (2, "error")
    assert "mqqt" in one["message"]
