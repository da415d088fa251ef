"""Polling: what is new becomes messages, by JSON path, columns or CSS selector, and only that."""

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from ingest.rejects import Rejects
from ingest.source import Source
from ingest.sources import poll
from streamgauge.delivery import Delivery
from streamgauge.schema import Channel, Kind, Schema
from tests.services.endpoint import Asked, Endpoint, Said, endpoint
from tests.services.ports import free_port, wait_for
from tests.services.service import service

NOW = 1_772_366_400 * 10**6
SCHEMA = Schema(
    [
        Channel("temperature", path="main.temp"),
        Channel("wind"),
        Channel("rain", kind=Kind.BOOLEAN),
        Channel("sky", kind=Kind.CATEGORY, values=("Nord", "Ost")),
    ]
)
ROWS = [
    {"device": f"d{k}", "time": 1_772_366_400 + k, "main": {"temp": 20.5 + k}} for k in range(3)
]


def said(value: Any, **more: Any) -> Said:
    """A JSON answer."""
    return Said(json.dumps(value).encode(), **more)


def always(answer: Said, asked: Asked) -> Said:
    """The same answer to everything."""
    return answer


@contextmanager
def polled(server: Endpoint | str, **options: Any) -> Iterator[Any]:
    """A running source that asks this server."""
    url = server if isinstance(server, str) else f"{server.url}/data?key=secret"
    options = {"url": url, "every": "20ms"} | options
    source = poll.open(SCHEMA, 2, lambda: NOW, Rejects(), **options)
    source.start()
    try:
        yield source
    finally:
        source.stop()


def taken(source: Source, limit: int = 1_000) -> Delivery:
    """The next delivery."""
    found: list[Delivery] = []

    def came() -> bool:
        delivery = source.take(limit, 0.01)
        found.extend([delivery] if delivery is not None else [])
        return bool(found)

    wait_for(came, what=f"a delivery: {source.state()}")
    return found[0]


def content(source: Source) -> list[Any]:
    """The messages of the next delivery."""
    return [json.loads(payload) for payload in taken(source).payloads]


def counted(source: Source, name: str, number: int) -> None:
    """Return once a counter has come so far; nothing new may come meanwhile."""

    def came() -> bool:
        assert source.take(10, 0.0) is None
        return bool(source.state()[name] >= number)

    wait_for(came, what=f"{number} {name}: {source.state()}")


def test_rows_by_json_path() -> None:
    """Each row is a message of its own, under the source's topic, received when it was read."""
    with endpoint(lambda _: said({"data": ROWS})) as server:
        with polled(server, rows="$.data[*]", topic="weather") as source:
            delivery = taken(source)
        assert [json.loads(payload) for payload in delivery.payloads] == ROWS
        assert delivery.topics == ["weather"] * 3
        assert delivery.received == [NOW] * 3
        assert delivery.source == 2
        assert server.asked[0].path == "/data?key=secret"


def test_fields_constants_and_the_whole_answer() -> None:
    """Fields are paths inside a row, put where the codec looks; without any, the answer stands."""
    answer = {"obs": [{"id": 7, "v": [{"t": 1.5}], "at": "2026-03-01T12:00:00Z"}, {"v": []}]}
    fields = {"temperature": "$.v[0].t", "time": "at", "wind": "$.none"}
    with endpoint(lambda _: said(answer)) as server:
        options = {"fields": fields, "constants": {"device": "weather", "rain": True}}
        with polled(server, rows="$.obs[*]", **options) as source:
            first, second = content(source)
        time = "2026-03-01T12:00:00Z"
        assert first == {"device": "weather", "rain": True, "main": {"temp": 1.5}, "time": time}
        assert second == {"device": "weather", "rain": True}
        with polled(server) as source:
            assert content(source) == [answer]


def test_columns() -> None:
    """An object of arrays, as weather services send it, becomes rows."""
    answer = {"units": {"wind": "m/s"}, "hourly": {"time": ["a", "b"], "wind": [1.5, None]}}
    with endpoint(lambda _: said(answer)) as server:
        with polled(server, columns="$.hourly") as source:
            assert content(source) == [{"time": "a", "wind": 1.5}, {"time": "b", "wind": None}]
        with polled(server, columns="$") as source:
            wait_for(lambda: "no arrays of one length" in source.state()["why"])


PAGE = """<html><table id="x"><tr><th>Station</th><th>T</th></tr>
<tr data-id="s1"><td>Nord</td><td class="t"> 1,234.5&nbsp;°C </td><td>on</td></tr>
<tr data-id="s2"><td>S&uuml;d</td><td class="t">−3 °C</td><td><a title="12.5 m/s">wind</a></td></tr>
<tr data-id="s3"><td>Ost</td><td class="t">n/a</td><td>2026-03-01</td></tr></table></html>"""


def test_a_page_by_css_selector() -> None:
    """Texts and attributes of each row; numbers lose unit and thousands marks."""
    fields = {
        "device": "@data-id", "name": "td", "temperature": "td.t", "rain": "td:nth-child(3)",
        "wind": "a@title", "sky": "td",
    }  # fmt: skip
    with (
        endpoint(lambda _: Said(PAGE.encode())) as server,
        polled(server, select="table#x tr:has(td)", fields=fields) as source,
    ):
        assert content(source) == [
            {"device": "s1", "name": "Nord", "sky": "Nord", "main": {"temp": 1234.5}, "rain": "on"},
            {
                "device": "s2", "name": "Süd", "sky": "Süd", "main": {"temp": -3.0},
                "rain": "wind", "wind": 12.5,
            },
            {"device": "s3", "name": "Ost", "sky": "Ost", "rain": "2026-03-01"},
        ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "decimal", "number"),
    [
        ("12", ".", 12.0), ("+0.5%", ".", 0.5), ("1 234,5 kW", ",", 1234.5), ("- 2", ".", -2.0),
        ("1.234", ",", 1234.0), ("3e-2", ".", 0.03), ("12.5.1", ".", None), ("10:30", ".", None),
        ("2026-03-01", ".", None), ("about 5", ".", None), ("", ".", None), ("1'000'000", ".", 1e6),
        ("5.", ".", 5.0), ("12,5", ".", None),
    ],
)  # fmt: skip
def test_numbers_of_a_page(text: str, decimal: str, number: float | None) -> None:
    """What is not clearly one number is none."""
    page = f"<p><b>{text}</b><i>d</i></p>".encode()
    fields = {"wind": "b", "device": "i"}
    with (
        endpoint(lambda _: Said(page)) as server,
        polled(server, select="p", fields=fields, decimal=decimal) as source,
    ):
        assert content(source)[0].get("wind") == number


def test_graphql() -> None:
    """The query is posted with its variables; a server that reads it answers what was asked."""
    stations = {"nord": {"wind": 1.5, "temp": 20}, "sued": {"wind": 2.5, "temp": 21}}

    def answer(asked: Asked) -> Said:
        posted = json.loads(asked.body)
        assert asked.method == "POST"
        found = re.fullmatch(
            r"query\(\$first: Int\) { stations\(first: \$first\) { ([\w ]+) } }", posted["query"]
        )
        assert found, posted
        names = list(stations)[: posted["variables"]["first"]]
        wanted = found[1].split()
        rows = [{k: ({"name": name} | stations[name])[k] for k in wanted} for name in names]
        return said({"data": {"stations": rows}})

    query = "query($first: Int) { stations(first: $first) { name wind } }"
    with (
        endpoint(answer) as server,
        polled(server, query=query, variables={"first": 1}, rows="$.data.stations[*]") as source,
    ):
        assert content(source) == [{"name": "nord", "wind": 1.5}]
        server.say = lambda _: said({"data": None, "errors": [{"message": "no field wind"}]})
        wait_for(lambda: "no field wind" in source.state()["why"])


def test_what_has_not_changed_is_not_delivered() -> None:
    """ETag and Last-Modified give 304; a server without them is compared with; rows that an answer
    repeats are left out."""
    for more in ({"etag": '"v1"'}, {"modified": "Sun, 01 Mar 2026 12:00:00 GMT"}, {}):
        with endpoint(partial(always, said(ROWS[:2], **more))) as server:
            with polled(server, rows="$[*]") as source:
                assert content(source) == ROWS[:2]
                counted(source, "unchanged", 3)
                server.say = lambda _: said(ROWS[1:], etag='"v2"')
                assert content(source) == ROWS[2:]
            assert (304 in server.statuses) == bool(more)


def test_after_a_restart_the_same_answer_is_not_new() -> None:
    """The position of a delivery tells the next life what was read, with an ETag or without."""
    for more in ({"etag": '"v1"'}, {}):
        with endpoint(partial(always, said(ROWS, **more))) as server:
            with polled(server, rows="$[*]") as source:
                first, rest = taken(source, 2), taken(source)
            assert (len(first.payloads), len(rest.payloads)) == (2, 1)
            assert first.position is None
            assert rest.position is not None
            json.dumps(rest.position)
            again = poll.open(
                SCHEMA,
                2,
                lambda: NOW,
                Rejects(),
                url=f"{server.url}/data",
                every="20ms",
                rows="$[*]",
            )
            again.resume(rest.position)
            again.start()
            counted(again, "unchanged", 2)
            again.stop()


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (Said(b"{}", 500), "answers 500"),
        (Said(b"no json"), "not readable as JSON"),
        (Said(b"[1, 2]"), "no row is an object"),
        (Said(b"[" * 900), "not readable as JSON"),
        (Said(b'[{"a": "' + b"x" * 2_000 + b'"}]'), "more than max_bytes = 1,000"),
        (Said(b"", 302, {"Location": "/data"}), "redirects more than 5 times"),
        (Said(b"", 302, {"Location": "http://192.0.2.1/"}), "to where we do not follow"),
        (Said(b"", 302, {"Location": "ftp://127.0.0.1/"}), "to where we do not follow"),
    ],
)
def test_answers_that_are_none(answer: Said, why: str) -> None:
    """The state says what was found, without the key in the url, until a good answer comes."""
    with (
        endpoint(lambda _: answer) as server,
        polled(server, rows="$[*]", max_bytes=1_000) as source,
    ):
        wait_for(lambda: why in source.state()["why"], what=f"{why}: {source.state()}")
        assert "secret" not in source.state()["why"]
        counted(source, "failed", 2)
        server.say = lambda _: said(ROWS)
        assert content(source) == ROWS
        assert source.state()["ok"]


def test_a_server_that_is_away() -> None:
    """It is asked again, and the state says what to look at."""
    with polled(f"http://127.0.0.1:{free_port()}/x?key=secret") as source:
        counted(source, "failed", 2)
        assert "does not answer" in source.state()["why"]
        assert "secret" not in source.state()["why"]


@pytest.mark.parametrize("after", ["3600", "Thu, 01 Jan 2099 00:00:00 GMT"])
def test_retry_after_is_obeyed(after: str) -> None:
    """Who says when to come again is not asked before."""
    limited = Said(b"", 429, {"Retry-After": after})
    with endpoint(lambda _: limited) as server, polled(server, every="1ms") as source:
        wait_for(lambda: source.state()["failed"] == 1)
        assert source._thread.is_alive()
        source._thread.join(0.3)
        assert len(server.asked) == 1


def test_pauses_grow_and_vary() -> None:
    """Failures double the pause up to a bound, by chance between half and all of it."""
    source: Any = poll.open(SCHEMA, 0, lambda: NOW, Rejects(), url="http://localhost/", every="1m")
    pauses = []
    for failures in (1, 2, 3, 30):
        source._failures = failures
        pauses.append([source._pause(0.0) for _ in range(50)])
    for found, longest in zip(pauses, (5.0, 10.0, 20.0, 300.0), strict=True):
        assert longest / 2 <= min(found) < max(found) <= longest
    assert source._pause(1_000.0) == 1_000.0
    source._failures = 0
    assert source._pause(0.0) == 60.0


def test_a_slow_endpoint_holds_nobody_up() -> None:
    """While the server thinks, `take` comes back at once, and so does `stop`."""
    release = threading.Event()

    def think(_: Asked) -> Said:
        release.wait(20)
        return said(ROWS)

    with endpoint(think) as server:
        with polled(server) as source:
            assert source.take(10, 0.0) is None
            release.set()
            assert content(source) == [ROWS]
        release.clear()
        with polled(server, timeout="50ms") as source:
            wait_for(lambda: source.state()["failed"] > 0)
            assert "timed out" in source.state()["why"]
        release.set()


def test_headers_go_to_their_own_host_only() -> None:
    """A redirect to another server does not carry the key there."""
    headers = {"X-API-Key": "secret"}
    with endpoint(lambda _: said(ROWS)) as other:
        elsewhere = Said(b"", 302, {"Location": f"{other.url}/moved"})
        with endpoint(lambda _: elsewhere) as server:
            with polled(server, rows="$[*]", headers=headers) as source:
                assert content(source) == ROWS
            assert server.asked[0].headers["x-api-key"] == "secret"
            assert other.asked[0].path == "/moved"
            assert "x-api-key" not in other.asked[0].headers


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"url": "http://example.org/"}, "write https://, or tls = false"),
        ({"url": "http://localhost/", "tls": True}, "write https://"),
        ({"url": "ftp://example.org/"}, "no web address"),
        ({"url": "nonsense"}, "no web address"),
        ({"url": "https://me:word@example.org/"}, "would show in logs"),
        ({"every": "1us"}, "at least 1ms"),
        ({"rows": "$.[x"}, "rows = '$.[x' is no JSON path"),
        ({"select": "table[[", "fields": {"wind": "b"}}, "select = 'table[[' is no CSS selector"),
        ({"select": "tr"}, "fields is missing"),
        ({"select": "tr", "fields": {"wind": "td["}}, "fields.wind = 'td['"),
        ({"rows": "$", "columns": "$"}, "columns beside rows"),
        ({"variables": {"a": 1}}, "variables belong to a query"),
        ({"decimal": ";"}, "decimal = ';'"),
        ({"max_bytes": 0}, "at least 1"),
    ],
)
def test_options_that_mean_nothing(options: dict[str, Any], said: str) -> None:
    """Each is refused with what to write instead."""
    options = {"url": "https://example.org/"} | options
    with pytest.raises(ValueError, match=re.escape(said)):
        poll.open(SCHEMA, 0, lambda: NOW, Rejects(), **options)


def test_http_elsewhere_must_be_said() -> None:
    """tls = false allows it."""
    poll.open(SCHEMA, 0, lambda: NOW, Rejects(), url="http://example.org/", tls=False)


CONFIG = """
[[source]]
use = "poll"
url = "{url}/data"
every = "50ms"
headers = {{ Authorization = "Bearer ${{HOME}}" }}
rows = "$.data[*]"
time = "received"

[channels]
wind = {{ unit = "m/s", range = [0, 100] }}
"""


def test_a_service_learns_what_was_polled_once(tmp_path: Path) -> None:
    """Journaled like any message: a kill and a restart neither lose it nor take it again, though
    our own clock is its time and no order would tell."""
    rows = [{"device": "weather", "wind": 3.5}]
    with endpoint(lambda _: said({"data": rows})) as server:
        config = CONFIG.format(url=server.url)
        with service(tmp_path, config, every="1h") as running:
            running.wait_admitted(1)
            assert running.get("/v1/devices/weather")["values"] == {"wind": 3.5}
            running.kill()
            before = len(server.asked)
            running.start()
            wait_for(lambda: len(server.asked) > before + 2)
            assert running.get("/v1/devices/weather")["readings"] == 1
            rows[0]["wind"] = 4.5
            wait_for(lambda: running.get("/v1/devices/weather")["readings"] == 2)
