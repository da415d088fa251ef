"""The InfluxDB sink: what a server refuses is split, set aside or tried again."""

import json
import threading

import pyarrow as pa
import pytest

from monitoring.sinks._delivery import Delivery, GaveUp, Refused
from monitoring.sinks._influx_server import retry_after
from monitoring.sinks._lines import Lines
from tests.influx import Answer, arrived, delivered, opened, picky
from tests.outputs import made, output, predicted
from tests.services.ports import wait_for


def test_too_large_requests_are_split() -> None:
    """413 halves the request, and the ones after it; every line arrives once, in order."""

    def judge(lines: list[str]) -> Answer:
        return (413 if len(lines) > 10 else 204), {}

    with picky(judge) as server, opened(server.url, batch=64) as sink:
        delivered(sink, output([predicted(m) for m in range(500)]))
        assert [int(line.rpartition(" ")[2]) for line in server.taken] == list(
            map(made, range(500))
        )
        assert sum(size > 10 for size in server.sizes) <= 7
        assert sink.state()["dead_total"] == 0


def test_a_line_too_large_by_itself_is_set_aside() -> None:
    """What no request can carry is counted, and the rest goes on."""

    def judge(lines: list[str]) -> Answer:
        return (413 if f"{made(3)}" in "".join(lines) else 204), {}

    with picky(judge) as server, opened(server.url) as sink:
        delivered(sink, output([predicted(m) for m in range(9)]))
        assert len(server.taken) == 8
        assert sink.state()["dead_total"] == 1
        assert sink.state()["lost"]["dead"] == {"too_large": 1}


def test_malformed_lines_are_found_and_set_aside() -> None:
    """400 is bisected: all other lines of the batch arrive; the bad ones are counted and kept."""
    bad = {made(13), made(14), made(77)}

    def judge(lines: list[str]) -> Answer:
        return (400 if bad & {int(line.rpartition(" ")[2]) for line in lines} else 204), {}

    with picky(judge) as server, opened(server.url) as sink:
        delivered(sink, output([predicted(m) for m in range(100)]))
        assert len(server.taken) == 97
        state = sink.state()
        assert (state["dead_total"], state["sent_total"], state["ok"]) == (3, 97, True)
        assert state["lost"] == {"dropped": {}, "dead": {"refused": 3}}
        assert [int(line.rpartition(" ")[2]) for line, _ in sink.delivery.dead] == sorted(bad)
        assert "as the test wants" in sink.delivery.dead[0][1]
        assert sink._dead is not None
        letters = [json.loads(one) for one in sink._dead.path.read_text().splitlines()]
        assert [one["letter"] for one in letters] == [line for line, _ in sink.delivery.dead]
        assert [one["why"] for one in letters] == [why for _, why in sink.delivery.dead]


def test_a_server_that_refuses_every_line_is_not_asked_for_ever() -> None:
    """Beyond a number of refusals the rest of a batch is set aside whole."""
    with picky(lambda lines: (400, {})) as server, opened(server.url) as sink:
        delivered(sink, output([predicted(m) for m in range(5000)]))
        assert sink.state()["dead_total"] == 5000
        assert len(server.sizes) < 300
        assert sink._dead is not None
        letters = [json.loads(one)["letter"] for one in sink._dead.path.read_text().splitlines()]
        assert sorted(int(one.rpartition(" ")[2]) for one in letters) == list(
            map(made, range(5000))
        )


@pytest.mark.parametrize("status", [401, 404, 429, 500, 502, 503])
def test_what_an_operator_can_mend_is_tried_again(status: int) -> None:
    """A wrong token, a missing bucket, a proxy's gibberish and an overload lose nothing."""
    broken = threading.Event()
    broken.set()

    def judge(lines: list[str]) -> Answer:
        return (status, {"Retry-After": "0"}) if broken.is_set() else (204, {})

    with picky(judge) as server, opened(server.url) as sink:
        sink.write(output([predicted(1)]))
        wait_for(lambda: len(server.sizes) >= 3)
        state = sink.state()
        assert not state["ok"]
        assert server.url in state["why"]
        if status != 502:
            assert f"answered {status}: as the test wants" in state["why"]
        broken.clear()
        arrived(sink)
        assert len(server.taken) == 1


def lines_of(n: int) -> Lines:
    """n numbered lines."""
    return Lines([pa.array([f"line {k}\n" for k in range(n)])])


def test_waits_grow_by_doubling_with_jitter_and_obey_the_server() -> None:
    """0.5 s, 1 s, 2 s ... at most a minute, each shortened by chance; Retry-After overrides."""
    answers: list[Refused | None] = [Refused("away") for _ in range(9)]
    answers += [Refused("busy", status=429, wait=17.0), None]
    waits: list[float] = []

    def post(body: bytes) -> None:
        answer = answers.pop(0)
        if answer is not None:
            raise answer

    def sleep(seconds: float) -> bool:
        waits.append(seconds)
        return False

    chances = iter([1.0, 0.0, 1.0, 0.0, 0.5, 1.0, 1.0, 1.0, 1.0, 1.0])
    delivery = Delivery(post, 10, sleep, lambda: next(chances))
    delivery.send(lines_of(3))
    assert waits == [0.5, 0.5, 2.0, 2.0, 6.0, 16.0, 32.0, 60.0, 60.0, 17.0]
    assert delivery.counts == {"sent_total": 3, "retries_total": 10, "dead_total": 0}
    assert delivery.why == ""


def test_told_to_stop_it_gives_up() -> None:
    """In the middle of a wait."""

    def post(body: bytes) -> None:
        raise Refused("away")

    delivery = Delivery(post, 10, lambda seconds: True)
    with pytest.raises(GaveUp):
        delivery.send(lines_of(3))
    assert delivery.why == "away"


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("", None),
        ("soon", None),
        ("nan", None),
        ("12", 12.0),
        ("-3", 0.0),
        ("86400", 300.0),
        ("Sun, 01 Mar 2026 12:00:30 GMT", 30.0),
        ("Sun, 01 Mar 2026 11:00:00 GMT", 0.0),
    ],
)
def test_retry_after_is_seconds_or_a_date(header: str | None, seconds: float | None) -> None:
    """As HTTP allows; never longer than five minutes, never negative."""
    assert retry_after(header, 1_772_366_400.0) == seconds
