"""Live push: who listens gets what it asked for, in order; nobody makes the worker wait."""

import asyncio
import json
import math
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import numpy as np
import pytest

from serving.live import Client, Full, Live
from serving.messages import KINDS, Message, Wanted, newest
from streamgauge.events import Event, EventKind
from streamgauge.output import SCORE_COLUMNS, Output, Scores
from tests.services.stand import DEVICES, EVIL, SLASHED, Stand, drift, identity, output, served

EVERYTHING = Wanted()


def scores(row: int) -> Scores:
    """Scores of the first lane, over all devices and of one row."""
    numbers = np.full((2, len(SCORE_COLUMNS)), math.nan)
    numbers[:, 1] = (1.5, 2.5)
    return Scores(0, np.zeros(2, np.int64), np.array([-1, row], np.int64), numbers)


def told(source: Output, wanted: Wanted = EVERYTHING, limit: int = 100) -> list[Message]:
    """The messages of one output."""
    return newest(source, wanted, limit, 1)[0]


async def drained(client: Client) -> list[Message]:
    """All messages of a client that is being closed."""
    return [message async for message in client.messages(60.0) if message is not None]


async def settled(live: Live) -> None:
    """Let the loop turn what was written into messages."""
    while live._waking:  # noqa: ASYNC110 - the hub needs no event for anybody but tests
        await asyncio.sleep(0.001)


def test_a_prediction_and_its_outcome_share_an_id() -> None:
    """The outcome names the prediction that it settles, with label and residual."""
    first, second = told(output(minutes=(50,))), told(output(minutes=(60,)))
    made, outcome = first[0], second[1]
    assert (made.kind, outcome.kind) == ("prediction", "outcome")
    assert made.data["id"] == outcome.data["id"] == identity("pump-1", 50)
    assert made.data["prediction"] == outcome.data["prediction"] == served(50)
    assert made.data["target_time"] == outcome.data["target_time"] == "2026-03-01T12:50:00.000000Z"
    residual = outcome.data["label"] - outcome.data["prediction"]
    assert outcome.data["residual"] == pytest.approx(residual)
    assert "label" not in made.data


@pytest.mark.parametrize(
    ("wanted", "kinds"),
    [
        (EVERYTHING, ["prediction", "outcome", "drift", "drift", "scores"]),
        (Wanted(kinds=frozenset({"outcome"})), ["outcome"]),
        (Wanted(kinds=frozenset({"drift", "scores"})), ["drift", "drift", "scores"]),
        (Wanted(device="pump-1"), ["prediction", "outcome", "drift", "scores"]),
        (Wanted(device=SLASHED), ["drift"]),
        (Wanted(device="nobody"), []),
        (Wanted(task="power"), ["prediction", "outcome", "drift", "drift", "scores"]),
        (Wanted(task="other"), []),
    ],
)
def test_a_listener_gets_what_it_asked_for(wanted: Wanted, kinds: list[str]) -> None:
    """Filters by device, task and kind; without a device the scores are those over all."""
    row = DEVICES.index("pump-1")
    events = (drift("pump-1", 5), drift(SLASHED, 6))
    source = output(events=events, scores=(scores(row),))
    assert [message.kind for message in told(source, wanted)] == kinds


def test_silences_and_evictions_are_events_of_devices() -> None:
    """They are no drift, and of no task: who follows one task is told of them as well."""
    nothing = (math.nan, math.nan)
    events = (
        drift("pump-1", 5),
        Event(EventKind.SILENT, 0, -1, 10**15, 0, *nothing, 600.0, "flow"),
        Event(EventKind.EVICTED, 0, -1, 10**15, -1, *nothing, math.nan),
    )
    source = output(events=events)
    found = told(source, Wanted(kinds=frozenset({"event"})))
    assert [(one.data["kind"], one.data["channel"]) for one in found] == [
        ("silent", "flow"),
        ("evicted", None),
    ]
    assert json.loads(found[1].json())["seconds"] is None
    assert found[0].data["seconds"] == 600.0
    assert len(told(source, Wanted(kinds=frozenset({"drift"})))) == 1
    assert told(source, Wanted(task="power", kinds=frozenset({"event"}))) == found


def test_scores_are_of_the_device_that_was_asked_for() -> None:
    """Over all devices without a filter, of the device with one."""
    source = output(scores=(scores(DEVICES.index("pump-1")),))
    kinds = frozenset({"scores"})
    overall, own = told(source, Wanted(kinds=kinds)), told(source, Wanted("pump-1", None, kinds))
    assert [(one.data["device"], one.data["scores"]["mae"]) for one in overall] == [(None, 1.5)]
    assert [(one.data["device"], one.data["scores"]["mae"]) for one in own] == [("pump-1", 2.5)]


def test_a_recycled_row_tells_the_device_of_its_own_time() -> None:
    """Names are those of the output, so a row that got a new device is not mixed up."""
    names = ["old", "pump-2"]
    source = output("old", (50,), names=names)
    assert {message.data["device"] for message in told(source)} == {"old"}
    assert told(source, Wanted(device="pump-2")) == []


def test_nan_is_null() -> None:
    """No message holds NaN, which JSON does not know."""
    message = told(output(scores=(scores(0),)))[-1]
    body = json.loads(message.json(), parse_constant=pytest.fail)
    assert body["scores"]["rmse"] is None
    assert body["scores"]["mae"] == 1.5


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 7, 100])
def test_a_limit_keeps_the_newest(limit: int) -> None:
    """What is left out is the oldest, counted, and the ids stay those of the whole output."""
    source = output(minutes=range(50, 52), events=(drift("pump-1", 5), drift("", 6)))
    whole, none = newest(source, EVERYTHING, 100, 9)
    kept, left_out = newest(source, EVERYTHING, limit, 9)
    assert none == 0
    assert kept == whole[-limit:]
    assert left_out == max(0, len(whole) - limit)
    assert [message.id for message in whole] == [f"9.{i}" for i in range(6)]


def test_nobody_listening_costs_nothing() -> None:
    """Without a listener an output is not even kept."""
    live = Live()
    live.write(output())
    assert len(live._inbox) == 0
    assert live.flush(1.0)
    assert live.state() == {"ok": True, "why": "", "clients": 0, "lost_total": 0}


def test_messages_come_in_the_order_of_the_worker() -> None:
    """A thread writes, the loop tells every listener all of it in order."""

    async def listen() -> list[list[Message]]:
        live = Live(interval=0.001)
        clients = [live.subscribe(EVERYTHING), live.subscribe(Wanted(device="pump-1"))]
        tasks = [asyncio.create_task(drained(client)) for client in clients]

        def work() -> None:
            for minute in range(20, 120):
                live.write(output(minutes=(minute,)))

        await asyncio.to_thread(work)
        await settled(live)
        live.close()
        return await asyncio.gather(*tasks)

    for messages in asyncio.run(listen()):
        made = [one.data["id"] for one in messages if one.kind == "prediction"]
        assert made == [identity("pump-1", minute) for minute in range(20, 120)]
        assert len({one.id for one in messages}) == len(messages) == 200


def test_a_slow_listener_loses_the_oldest_and_is_told_how_many() -> None:
    """The queue is bounded; a `dropped` message stands for what was pushed out."""

    async def listen() -> tuple[list[Message], dict[str, Any]]:
        live = Live(interval=0.001, capacity=10)
        client = live.subscribe(EVERYTHING)
        for minute in range(20, 28):
            live.write(output(minutes=(minute,)))
            await settled(live)
        live.close()
        return await drained(client), live.state()

    messages, state = asyncio.run(listen())
    assert (messages[0].kind, messages[0].data) == ("dropped", {"count": 6})
    assert [one.data["id"] for one in messages[1::2]] == [
        identity("pump-1", m) for m in range(23, 28)
    ]
    assert state["lost_total"] == 6


def test_a_burst_beyond_the_queue_keeps_the_newest() -> None:
    """More than a queue's worth at once: what is not even turned into messages is a known loss only
    within one output, an unknown one beyond it."""

    async def listen(bursts: list[range]) -> list[Message]:
        live = Live(interval=0.001, capacity=10)
        client = live.subscribe(EVERYTHING)
        for minutes in bursts:
            live.write(output(minutes=minutes))
        await settled(live)
        live.close()
        return await drained(client)

    one = asyncio.run(listen([range(20, 40)]))
    assert (one[0].kind, one[0].data) == ("dropped", {"count": 30})
    three = asyncio.run(listen([range(20, 30), range(30, 40), range(40, 45)]))
    assert (three[0].kind, three[0].data) == ("dropped", {"count": None})
    assert [m.data["id"] for m in three[1::2]] == [identity("pump-1", m) for m in range(40, 45)]


def test_those_who_ask_for_the_same_share_the_messages() -> None:
    """A message is made once, however many listen to it."""

    async def listen() -> list[list[Message]]:
        live = Live(interval=0.001)
        clients = [live.subscribe(Wanted(device="pump-1")) for _ in range(3)]
        live.write(output())
        await settled(live)
        live.close()
        return [await drained(client) for client in clients]

    first, *others = asyncio.run(listen())
    assert len(first) == 2
    for other in others:
        assert all(a is b for a, b in zip(first, other, strict=True))


def test_a_stalled_loop_drops_whole_outputs() -> None:
    """While the loop does not run only the newest outputs wait; the loss is told, uncounted."""

    async def listen() -> list[Message]:
        live = Live(interval=0.001, waiting=4)
        client = live.subscribe(EVERYTHING)
        for minute in range(20, 40):
            live.write(output(minutes=(minute,)))
        await settled(live)
        live.close()
        return await drained(client)

    messages = asyncio.run(listen())
    assert (messages[0].kind, messages[0].data) == ("dropped", {"count": None})
    made = [one.data["id"] for one in messages if one.kind == "prediction"]
    assert made == [identity("pump-1", minute) for minute in range(36, 40)]


def test_a_listener_that_comes_later_is_told_of_no_gap() -> None:
    """What was written before a listener came is not its loss."""

    async def listen() -> list[Message]:
        live = Live(interval=0.001)
        first = live.subscribe(EVERYTHING)
        live.write(output(minutes=(50,)))
        await settled(live)
        live.unsubscribe(first)
        live.write(output(minutes=(51,)))
        second = live.subscribe(EVERYTHING)
        live.write(output(minutes=(52,)))
        await settled(live)
        live.close()
        return await drained(second)

    assert [one.kind for one in asyncio.run(listen())] == ["prediction", "outcome"]


def test_listeners_are_limited() -> None:
    """Beyond the limit, and once the service stops, nobody is taken."""

    async def listen() -> None:
        live = Live(clients=2)
        first = live.subscribe(EVERYTHING)
        live.subscribe(EVERYTHING)
        with pytest.raises(Full, match="2 listeners"):
            live.subscribe(EVERYTHING)
        live.unsubscribe(first)
        live.subscribe(EVERYTHING)
        live.close()
        with pytest.raises(Full, match="stopping"):
            live.subscribe(EVERYTHING)

    asyncio.run(listen())


def test_writing_after_the_server_is_gone_does_no_harm() -> None:
    """The worker outlives the loop of the HTTP server."""
    live = Live()

    async def subscribe() -> None:
        live.subscribe(EVERYTHING)

    asyncio.run(subscribe())
    live.write(output())
    live.write(output())
    assert live.state()["clients"] == 0
    assert len(live._inbox) == 0
    live.close()


Events = Iterator[dict[str, str]]


def events(answer: httpx.Response) -> Events:
    """The server-sent events of a response, as name → text."""
    one: dict[str, str] = {}
    for line in answer.iter_lines():
        if line:
            name, _, text = line.partition(": ")
            one[name or "comment"] = text
        elif one:
            yield one
            one = {}


def test_events_arrive_over_http() -> None:
    """A real server pushes what the worker writes, filtered, with ids, and ends when it stops."""
    stand = Stand()
    with stand.served() as server:
        url = f"{server.url}/v1/stream"
        ask = {"device": EVIL, "kind": "prediction"}
        with httpx.stream("GET", url, params=ask, timeout=20) as answer:
            assert answer.headers["content-type"].startswith("text/event-stream")
            stream = events(answer)
            assert next(stream)["retry"] == "2000"
            for minute in (50, 51):
                stand.live.write(output("pump-1", (minute,)))
                stand.live.write(output(EVIL, (minute,)))
            found = [next(stream), next(stream)]
            assert [one["event"] for one in found] == ["prediction", "prediction"]
            ids = [json.loads(one["data"])["id"] for one in found]
            assert ids == [identity(EVIL, 50), identity(EVIL, 51)]
            assert len({one["id"] for one in found}) == 2
            threading.Thread(target=server.stop).start()
            assert list(stream) == []


def test_who_comes_back_is_told_that_something_may_be_missing() -> None:
    """A Last-Event-ID is taken; the stream begins with `dropped`, of unknown count."""
    stand = Stand()
    with stand.served() as server:
        url, headers = f"{server.url}/v1/stream", {"Last-Event-ID": "7.1"}
        with httpx.stream("GET", url, headers=headers, timeout=20) as answer:
            stream = events(answer)
            next(stream)
            assert next(stream) == {"event": "dropped", "data": '{"count":null}'}


def test_a_place_is_given_back_when_the_listener_leaves() -> None:
    """Beyond the limit 503 with Retry-After; after a listener hung up there is room again."""
    stand = Stand(live=Live(clients=1))
    with stand.served() as server:
        url = f"{server.url}/v1/stream"
        with httpx.stream("GET", url, timeout=20) as answer:
            stream = events(answer)
            next(stream)
            refused = httpx.get(url)
            assert refused.status_code == 503
            assert refused.headers["retry-after"] == "5"
            assert "limit" in refused.json()["detail"]
        gone = threading.Event()
        while stand.live.state()["clients"] and not gone.wait(0.01):
            continue
        with httpx.stream("GET", url, timeout=20) as answer:
            assert answer.status_code == 200


def test_a_silent_stream_is_kept_open() -> None:
    """After each stretch of silence there is something to send, and no message gets lost by it."""

    async def listen() -> list[Message | None]:
        live = Live(interval=0.001)
        client = live.subscribe(Wanted(kinds=frozenset({"outcome"})))
        messages = client.messages(0.005)
        found = [await anext(messages), await anext(messages)]
        live.write(output(minutes=(50,)))
        found += [one async for one in until_told(messages)]
        live.close()
        return found

    *silence, last = asyncio.run(listen())
    assert len(silence) >= 2
    assert set(silence) == {None}
    assert last is not None
    assert last.kind == "outcome"


async def until_told(messages: AsyncIterator[Message | None]) -> AsyncIterator[Message | None]:
    """Everything up to and with the first message."""
    async for one in messages:
        yield one
        if one is not None:
            return


def test_the_kinds_are_those_that_the_documentation_names() -> None:
    """Each kind can be asked for by itself."""
    assert KINDS == ("prediction", "outcome", "drift", "event", "scores")
