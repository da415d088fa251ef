"""The InfluxDB sink: none lost while the server is away, the worker never waits."""

import threading
from pathlib import Path

from tests.influx import (
    SLOW,
    Answer,
    arrived,
    delivered,
    expected,
    minutes,
    opened,
    picky,
    without_db,
)
from tests.outputs import made, output, predicted
from tests.services.ports import free_port, wait_for
from tests.services.victoria_metrics import victoria_metrics


def test_nothing_is_lost_while_the_server_is_not_there_yet(tmp_path: Path) -> None:
    """Started before its server, the sink says why it waits and delivers in the end."""
    with (
        victoria_metrics(tmp_path, running=False) as server,
        opened(server.url, spill_bytes=0) as sink,
    ):
        for minute in range(30):
            sink.write(output(minutes(minute, minute + 1)))
        assert not sink.flush(0.2)
        wait_for(lambda: not sink.state()["ok"])
        state = sink.state()
        assert server.url in state["why"]
        assert (state["backlog"], state["dropped_total"]) == (30 * 18, 0)
        server.start()
        arrived(sink)
        assert sink.state()["ok"]
        assert sink.state()["retries_total"] > 0
        wanted = without_db(expected(minutes(0, 30)))
        wait_for(lambda: without_db(server.points("iot_prediction.*")) == wanted)


def test_nothing_is_lost_when_the_server_restarts(tmp_path: Path) -> None:
    """Stopped in the middle of the stream and started again; batches of odd size."""
    with victoria_metrics(tmp_path) as server, opened(server.url, batch=7) as sink:
        for minute in range(60):
            sink.write(output(minutes(minute, minute + 1)))
            if minute == 20:
                wait_for(lambda: sink.state()["sent_total"] > 0)
                server.stop()
            if minute == 40:
                wait_for(lambda: not sink.state()["ok"])
                server.start()
        arrived(sink)
        wanted = without_db(expected(minutes(0, 60)))
        wait_for(lambda: without_db(server.points("iot_prediction.*")) == wanted)


def test_sending_again_changes_nothing(tmp_path: Path) -> None:
    """After a kill that cost the server its newest points, the walk's repetition restores them."""
    with victoria_metrics(tmp_path) as server, opened(server.url) as sink:
        delivered(sink, output(minutes(0, 20)))
        server.kill()
        server.start()
        delivered(sink, output(minutes(0, 20)))
        delivered(sink, output(minutes(0, 20)))
        wanted = without_db(expected(minutes(0, 20)))
        wait_for(lambda: without_db(server.points("iot_prediction.*")) == wanted)


def test_a_server_that_does_not_answer_stops_nobody() -> None:
    """Writes return while a request hangs; after its timeout it is made again."""
    hanging = threading.Event()

    def judge(lines: list[str]) -> Answer:
        first = not hanging.is_set()
        hanging.set()
        if first:
            ended.wait(SLOW)
        return 204, {}

    ended = threading.Event()
    with picky(judge) as server, opened(server.url, timeout="300ms") as sink:
        sink.write(output([predicted(0)]))
        assert hanging.wait(SLOW)
        for minute in range(1, 200):
            sink.write(output([predicted(minute)]))
        arrived(sink)
        ended.set()
        assert {int(line.rpartition(" ")[2]) for line in server.taken} == set(map(made, range(200)))


def test_a_full_buffer_drops_the_oldest() -> None:
    """What waits is bounded; the newest survive and the loss is counted and reported."""
    with picky(lambda lines: (204 if open_gate.is_set() else 503, {})) as server:
        open_gate = threading.Event()
        with opened(server.url, buffer_bytes=30_000, spill_bytes=0) as sink:
            sink.write(output([predicted(0)]))
            wait_for(lambda: not sink.state()["ok"])
            for minute in range(1, 101):
                sink.write(output([predicted(minute)]))
            state = sink.state()
            assert state["backlog_bytes"] <= 30_000
            assert state["dropped_total"] == 101 - state["backlog"] > 50
            open_gate.set()
            arrived(sink)
            times = [int(line.rpartition(" ")[2]) for line in server.taken]
            assert times[0] == made(0)
            assert times[1:] == [made(m) for m in range(state["dropped_total"] + 1, 101)]
            assert "were dropped" in sink.state()["why"]


def test_closing_delivers_what_waits() -> None:
    """Nothing that a reachable server would have taken is thrown away at the end."""
    with picky(lambda lines: (204, {})) as server:
        with opened(server.url, batch=10) as sink:
            for minute in range(300):
                sink.write(output([predicted(minute)]))
        assert len(server.taken) == 300
        sink.write(output([predicted(1)]))
        assert sink.state()["dropped_total"] == 1


def test_closing_without_a_server_ends_and_counts() -> None:
    """Waits are cut short; what was not delivered is said."""
    with opened(f"http://127.0.0.1:{free_port()}", spill_bytes=0) as sink:
        sink.write(output([predicted(1), predicted(2)]))
        wait_for(lambda: not sink.state()["ok"])
        sink.close()
        assert sink.state()["dropped_total"] == 2


def test_a_dead_server_does_not_hold_up_another() -> None:
    """Every sink has its own thread and its own waits."""
    with (
        picky(lambda lines: (204, {})) as server,
        opened(server.url) as healthy,
        opened(f"http://127.0.0.1:{free_port()}") as dead,
    ):
        dead.write(output([predicted(1)]))
        wait_for(lambda: not dead.state()["ok"])
        delivered(healthy, output([predicted(1)]))
        assert healthy.state()["ok"]
        assert dead.state()["backlog"] == 1
